# --- where ---

variable "account_id" {
  description = "The AWS account, 12 digits. Credentials of another account are refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id \"${var.account_id}\" is no account: write its 12 digits in quotes, as `aws sts get-caller-identity` shows them."
  }
}

variable "region" {
  description = "The AWS region of everything, such as us-west-2, where the public bucket is: nearer is cheaper and faster."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[1-9]$", var.region))
    error_message = "region \"${var.region}\" is no region: write one such as us-west-2."
  }
}

variable "environment" {
  description = "Names everything: oedi-{environment}."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "environment \"${var.environment}\": write 2 to 12 of a-z and 0-9, beginning with a letter, such as dev. Names of buckets and databases are made of it."
  }
}

variable "project_dir" {
  description = "The checkout, with dist/ (made by `make package`), spark_jobs/ and sql/."
  type        = string
  nullable    = false
}

# --- the bucket ---

variable "bucket_name" {
  description = "The bucket to make; null: oedi-{environment}-{account}-{region}."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete tables, results and saved queries."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key for the bucket, the logs and the notifications; null: AWS's own keys. Its policy must let logs.{region}.amazonaws.com, events.amazonaws.com and cloudwatch.amazonaws.com use it."
  type        = string
  default     = null
}

variable "query_results_expiry_days" {
  description = "After how many days results of Athena are deleted."
  type        = number
  default     = 30
  nullable    = false
}

variable "noncurrent_version_days" {
  description = "For how many days what was deleted can be brought back."
  type        = number
  default     = 7
  nullable    = false
}

# --- what runs read ---

variable "src_bucket" {
  description = "The config's `src_bucket`. Any but the public bucket is read with the role, which gets the right to."
  type        = string
  default     = "oedi-data-lake"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.src_bucket))
    error_message = "src_bucket \"${var.src_bucket}\" is no bucket: write its name, without s3:// and without a prefix."
  }
}

variable "src_region" {
  description = "The region of `src_bucket`."
  type        = string
  default     = "us-west-2"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[1-9]$", var.src_region))
    error_message = "src_region \"${var.src_region}\" is no region: write one such as us-west-2."
  }
}

variable "job_specific" {
  description = "What runs read that name nothing else: the config's `job_specific`. `state` and `upgrades` as there: CO, \"CO,GA\" or \"*\"; 0, \"0-5\" or \"*\"."
  type = list(object({
    release_year = string
    release_name = string
    state        = string
    upgrades     = string
  }))
  default = [{
    release_year = "2024"
    release_name = "comstock_amy2018_release_1"
    state        = "CO"
    upgrades     = "0-1"
  }]
  nullable = false

  validation {
    condition     = length(var.job_specific) > 0
    error_message = "job_specific names no release: write at least one."
  }

  validation {
    condition     = alltrue([for job in var.job_specific : can(regex("^[0-9]{4}$", job.release_year))])
    error_message = "job_specific: release_year is four digits, such as \"2024\"."
  }

  validation {
    condition     = alltrue([for job in var.job_specific : can(regex("^[A-Za-z0-9_][A-Za-z0-9_.=-]*(/[A-Za-z0-9_][A-Za-z0-9_.=-]*)?$", job.release_name))])
    error_message = "job_specific: release_name is the folder of a release, such as comstock_amy2018_release_1 or resstock_dataset_2024.1/resstock_tmy3."
  }

  validation {
    condition     = alltrue([for job in var.job_specific : can(regex("^([A-Z]{2}(, ?[A-Z]{2})*|\\*)$", job.state))])
    error_message = "job_specific: state is two capitals such as CO, several such as CO,GA, or * for all."
  }

  validation {
    condition     = alltrue([for job in var.job_specific : can(regex("^([0-9]+(-[0-9]+)?(, ?[0-9]+(-[0-9]+)?)*|\\*)$", job.upgrades))])
    error_message = "job_specific: upgrades are numbers and ranges such as 0,2-4, or * for all."
  }

  validation {
    condition = alltrue(flatten([
      for job in var.job_specific : [
        for range in regexall("([0-9]+)-([0-9]+)", job.upgrades) : tonumber(range[0]) <= tonumber(range[1]) && tonumber(range[1]) <= 999
      ]
    ]))
    error_message = "job_specific: a range of upgrades goes upwards, and no release has a thousand of them: write 0-5."
  }
}

variable "settings" {
  description = "The config's `settings` that differ from the job's own defaults; docs/config.md says what each does."
  type = object({
    logging_level       = optional(string)
    listing_workers     = optional(number)
    max_failed_fraction = optional(number)
    strict_columns      = optional(bool)
    target_file_bytes   = optional(number)
    row_group_buildings = optional(number)
    read_ahead_files    = optional(number)
    engine              = optional(string)
    usd_per_core_hour   = optional(number)
  })
  default  = {}
  nullable = false

  # The job refuses the same; but only once it runs, and is paid for.
  validation {
    condition     = contains(["DEBUG", "INFO"], coalesce(var.settings.logging_level, "INFO"))
    error_message = "settings.logging_level: write DEBUG or INFO. The alarms read the log, and less would blind them."
  }

  validation {
    condition     = contains(["arrow", "window"], coalesce(var.settings.engine, "arrow"))
    error_message = "settings.engine: write arrow, or window, which takes some 30 times as long."
  }

  validation {
    condition     = var.settings.max_failed_fraction == null || try(var.settings.max_failed_fraction >= 0 && var.settings.max_failed_fraction <= 1, false)
    error_message = "settings.max_failed_fraction: write a share from 0 to 1."
  }

  validation {
    condition     = alltrue([for number in [var.settings.listing_workers, var.settings.read_ahead_files] : number == null || try(number >= 1 && number <= 64, false)])
    error_message = "settings: listing_workers and read_ahead_files are 1 to 64."
  }
}

variable "maintenance_settings" {
  description = "The config's `maintenance` where it differs from the job's own defaults; docs/maintenance.md says what each does."
  type = object({
    snapshot_retention_days = optional(number)
    snapshots_to_keep       = optional(number)
    orphan_age_days         = optional(number)
    small_file_bytes        = optional(number)
    compaction_min_files    = optional(number)
  })
  default  = {}
  nullable = false
}

variable "config_overrides" {
  description = "Other servers than AWS that the default config shall name, for a gateway, or to try the deployment against a local server. Null: AWS."
  type = object({
    source_endpoint_url  = optional(string)
    source_path_style    = optional(bool)
    catalog_endpoint_url = optional(string)
    s3_endpoint_url      = optional(string)
    s3_path_style        = optional(bool)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for url in [var.config_overrides.source_endpoint_url, var.config_overrides.catalog_endpoint_url, var.config_overrides.s3_endpoint_url] :
      url == null || can(regex("^https?://[^@/]+/?$", url))
    ])
    error_message = "config_overrides: write http://host:port or https://host. A user or a password may not stand in it, for the config is not secret."
  }
}

# --- how they run ---

variable "glue" {
  description = "How the ETL job runs: see the module etl_job."
  type = object({
    version             = optional(string, "5.1")
    worker_type         = optional(string, "G.1X")
    number_of_workers   = optional(number, 5)
    execution_class     = optional(string, "STANDARD")
    timeout_minutes     = optional(number, 240)
    max_concurrent_runs = optional(number, 1)
    auto_scaling        = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps what the jobs say."
  type        = number
  default     = 90
  nullable    = false
}

variable "emr_serverless" {
  description = "An EMR Serverless application beside the Glue job: see the module etl_job."
  type = object({
    enabled       = optional(bool, false)
    release_label = optional(string, "emr-7.13.0")
    archive_name  = optional(string, "environment.tar.gz")
    maximum_capacity = optional(object({
      cpu    = optional(string, "64 vCPU")
      memory = optional(string, "256 GB")
      disk   = optional(string, "1000 GB")
    }), {})
  })
  default  = {}
  nullable = false
}

variable "schedule" {
  description = "When the workflow starts by itself, as AWS writes it in UTC: cron(0 6 ? * MON *). Null: when it is asked to."
  type        = string
  default     = null
}

variable "crawl_after" {
  description = "After which states of the job the landed copies are crawled. With FAILED also after a run that published with discrepancies (exit 6)."
  type        = list(string)
  default     = ["SUCCEEDED"]
  nullable    = false
}

variable "iceberg_crawler_enabled" {
  description = "A crawler of the Iceberg tables. Tables committed through the Glue catalog need none."
  type        = bool
  default     = false
  nullable    = false
}

# --- queries ---

variable "scan_limit_bytes" {
  description = "Where Athena stops a query. 100 GB cost half a dollar."
  type        = number
  default     = 100000000000
  nullable    = false
}

variable "query_defaults" {
  description = "Which release, state and upgrade the saved queries choose."
  type = object({
    release = optional(string, "2024_comstock_amy2018_release_1")
    state   = optional(string, "CO")
    upgrade = optional(number, 0)
  })
  default  = {}
  nullable = false
}

# --- who hears of it ---

variable "alarm_emails" {
  description = "Addresses that AWS writes to, once they have confirmed."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "freshness_days" {
  description = "After how many days without a good run there is an alarm, 1 to 7; null: none, as without a schedule."
  type        = number
  default     = null
}

variable "slow_run_s" {
  description = "After how many seconds a run is called slow."
  type        = number
  default     = 7200
  nullable    = false

  validation {
    condition     = var.slow_run_s < var.glue.timeout_minutes * 60
    error_message = "slow_run_s is ${var.slow_run_s} s, and glue.timeout_minutes ends a run after ${var.glue.timeout_minutes * 60} s: the alarm could never ring. Write less."
  }
}

# --- upkeep ---

variable "enable_table_optimizers" {
  description = "Glue's table optimizers. False until the first run has made the tables."
  type        = bool
  default     = false
  nullable    = false
}

variable "optimized_tables" {
  description = "The tables that optimizers keep small."
  type        = list(string)
  default     = ["hourly", "metadata", "building_weights", "columns", "sources", "runs", "discrepancies"]
  nullable    = false
}

variable "snapshot_retention" {
  description = "How long optimizers leave a snapshot readable, and how many stay in any case."
  type = object({
    days      = optional(number, 5)
    keep_last = optional(number, 1)
  })
  default  = {}
  nullable = false
}

variable "orphan_retention_days" {
  description = "How old a file that no snapshot names must be before an optimizer deletes it; 3 or more."
  type        = number
  default     = 7
  nullable    = false
}
