variable "name" {
  description = "What everything of the environment begins with: `oedi-dev`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^oedi-[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "`name` is oedi- and an environment of 2 to 12 lower-case letters and digits: write oedi-dev."
  }
}

variable "etl_job_name" {
  description = "The Glue job that the workflow starts."
  type        = string
  nullable    = false
}

variable "bucket_name" {
  description = "The bucket of the environment, where the landed copies lie."
  type        = string
  nullable    = false
}

variable "bucket_arn" {
  description = "The ARN of that bucket."
  type        = string
  nullable    = false
}

variable "database_name" {
  description = "The Glue database that the crawlers write into."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.database_name))
    error_message = "`database_name` may hold a-z, 0-9 and _ only, because Glue stores names in lower case."
  }
}

variable "output_uri" {
  description = "The `output_dir` of the runs; the landed copies lie in its folder `metadata`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^s3://[^/]+/.*[^/]$", var.output_uri))
    error_message = "`output_uri` names a bucket and a prefix, without a slash at the end: write s3://BUCKET/etl_output."
  }
}

variable "warehouse_uri" {
  description = "Where the Iceberg tables lie; only the Iceberg crawler reads it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^s3://[^/]+/.*[^/]$", var.warehouse_uri))
    error_message = "`warehouse_uri` names a bucket and a prefix, without a slash at the end: write s3://BUCKET/warehouse."
  }
}

variable "kms_key_arn" {
  description = "The key that the bucket's objects are encrypted with; null for S3's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "`kms_key_arn` is the ARN of a key, not of an alias: write arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "schedule" {
  description = "When the workflow starts by itself, in UTC: `cron(0 6 * * ? *)`. Null: when it is asked to."
  type        = string
  default     = null

  validation {
    condition = var.schedule == null || (
      can(regex("^cron\\(([0-9A-Za-z,/*?#-]+ ){5}[0-9A-Za-z,/*?#-]+\\)$", var.schedule))
      && can(regex("^cron\\(\\S+ \\S+ (\\? \\S+ [^?]|[^?]\\S* \\S+ \\?)", var.schedule))
    )
    error_message = "`schedule` has six fields, of which the day of the month or the day of the week is ?: write cron(0 6 * * ? *) for six o'clock UTC each day."
  }
}

variable "crawl_after" {
  description = "Ends of the job after which the landed copies are crawled. A run that published with discrepancies (exit 6) is FAILED for Glue: add FAILED to crawl after it as well."
  type        = list(string)
  default     = ["SUCCEEDED"]
  nullable    = false

  validation {
    condition = (
      length(var.crawl_after) > 0
      && length(distinct(var.crawl_after)) == length(var.crawl_after)
      && alltrue([for state in var.crawl_after : contains(["SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED"], state)])
    )
    error_message = "`crawl_after` names each of SUCCEEDED, FAILED, TIMEOUT and STOPPED at most once, and at least one of them."
  }
}

variable "max_concurrent_runs" {
  description = "Runs of the workflow at a time. Runs of different partitions may go side by side; two of the same partition do not, the second ends with exit 5. Not above the job's own limit."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_concurrent_runs >= 1 && floor(var.max_concurrent_runs) == var.max_concurrent_runs
    error_message = "`max_concurrent_runs` is a whole number from 1 on."
  }
}

variable "iceberg_crawler_enabled" {
  description = "Make a crawler of the Iceberg tables. Tables that the job commits are in the catalog already: only for those that another catalog committed into the same warehouse."
  type        = bool
  default     = false
  nullable    = false
}

variable "default_run_properties" {
  description = "What describes the deployment to the command line: default_config, runs_uri, workgroup, database, etl_job. Readable by whoever may read the workflow: no secrets."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.default_run_properties), ["config", "state", "upgrades"])) == 0
    error_message = "`default_run_properties` may not hold config, state or upgrades: they would replace the job's own arguments in every run. Set the job's default config instead."
  }
}
