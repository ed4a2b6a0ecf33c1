variable "name" {
  description = "What everything of the environment is called, such as oedi-dev."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "\"${var.name}\" is no name: write 2 to 31 of a-z, 0-9 and -, beginning with a letter."
  }
}

# --- where things lie: outputs of the module `warehouse` ---

variable "bucket_name" {
  description = "The bucket of the environment."
  type        = string
  nullable    = false
}

variable "bucket_arn" {
  description = "Its ARN."
  type        = string
  nullable    = false
}

variable "database_name" {
  description = "The Glue database of the tables."
  type        = string
  nullable    = false
}

variable "output_uri" {
  description = "The config's `output_dir`, s3://bucket/prefix."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.output_uri, "s3://${var.bucket_name}/")
    error_message = "output_uri must lie in s3://${var.bucket_name}/, for the roles reach no other bucket."
  }
}

variable "warehouse_uri" {
  description = "The config's `catalog.warehouse_dir`, s3://bucket/prefix."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.warehouse_uri, "s3://${var.bucket_name}/")
    error_message = "warehouse_uri must lie in s3://${var.bucket_name}/, for the roles reach no other bucket."
  }
}

variable "scripts_uri" {
  description = "Where code and configs are put, s3://bucket/prefix."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.scripts_uri, "s3://${var.bucket_name}/")
    error_message = "scripts_uri must lie in s3://${var.bucket_name}/, for the roles reach no other bucket."
  }
}

variable "kms_key_arn" {
  description = "The KMS key of the bucket and of the log groups; null: none. Its policy must let CloudWatch Logs use it."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (arn:aws:kms:region:account:key/id), not its id or alias: policies name it."
  }
}

# --- what is run ---

variable "package_dir" {
  description = "The folder with the zip of wheels, which `make package` writes (dist)."
  type        = string
  nullable    = false

  validation {
    condition     = length(fileset(var.package_dir, "oedi_spark-*.gluewheels.zip")) > 0
    error_message = "${var.package_dir} holds no oedi_spark-*.gluewheels.zip: run `make package` first."
  }

  validation {
    condition     = length(fileset(var.package_dir, "oedi_spark-*.gluewheels.zip")) < 2
    error_message = "${var.package_dir} holds several oedi_spark-*.gluewheels.zip and only one can be run: remove the folder and run `make package`."
  }
}

variable "scripts_dir" {
  description = "The folder with etl.py and maintain.py (spark_jobs)."
  type        = string
  nullable    = false

  validation {
    condition     = length(fileset(var.scripts_dir, "{etl,maintain}.py")) == 2
    error_message = "${var.scripts_dir} must hold etl.py and maintain.py: give the folder spark_jobs of the checkout."
  }
}

variable "default_config" {
  description = "The config of runs that name no other, as YAML text."
  type        = string
  nullable    = false
}

variable "glue" {
  description = "How the ETL job runs. With `auto_scaling`, `number_of_workers` is the most there may be. FLEX costs a third less, may start late and be interrupted."
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

  validation {
    condition     = can(regex("^5\\.[1-9][0-9]*$", var.glue.version))
    error_message = "glue.version \"${var.glue.version}\": write 5.1 or a later 5.x. The package is made of wheels for Python 3.11 and Spark 3.5."
  }

  validation {
    condition     = contains(["G.1X", "G.2X", "G.4X", "G.8X"], var.glue.worker_type)
    error_message = "glue.worker_type \"${var.glue.worker_type}\": write G.1X, G.2X, G.4X or G.8X."
  }

  validation {
    condition     = contains(["STANDARD", "FLEX"], var.glue.execution_class)
    error_message = "glue.execution_class \"${var.glue.execution_class}\": write STANDARD or FLEX."
  }

  validation {
    condition     = var.glue.execution_class != "FLEX" || contains(["G.1X", "G.2X"], var.glue.worker_type)
    error_message = "glue.execution_class FLEX runs on G.1X and G.2X alone, and worker_type is ${var.glue.worker_type}: change one of them."
  }

  validation {
    condition     = var.glue.number_of_workers >= 2 && var.glue.number_of_workers <= 299 && floor(var.glue.number_of_workers) == var.glue.number_of_workers
    error_message = "glue.number_of_workers must be 2 to 299: one is the driver, and another must do the work."
  }

  validation {
    condition     = var.glue.timeout_minutes >= 5 && var.glue.timeout_minutes <= 2880 && floor(var.glue.timeout_minutes) == var.glue.timeout_minutes
    error_message = "glue.timeout_minutes must be 5 to 2880: a run that hangs is paid for until then."
  }

  validation {
    condition     = var.glue.max_concurrent_runs >= 1 && var.glue.max_concurrent_runs <= 50 && floor(var.glue.max_concurrent_runs) == var.glue.max_concurrent_runs
    error_message = "glue.max_concurrent_runs must be 1 to 50. Runs of the same partitions refuse each other; runs of different states may go together."
  }
}

variable "maintenance_workers" {
  description = "How many G.1X workers the maintenance job has."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.maintenance_workers >= 2 && var.maintenance_workers <= 50 && floor(var.maintenance_workers) == var.maintenance_workers
    error_message = "maintenance_workers must be 2 to 50: one is the driver, and another must do the work."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps what the jobs say."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days ${var.log_retention_days} is not one of CloudWatch's: write 7, 14, 30, 60, 90, 180 or 365, for instance. 0, which is for ever, is refused."
  }
}

variable "private_source_bucket" {
  description = "A bucket to read from that is not public; null: none. The public one is read unsigned and needs no right."
  type        = string
  default     = null

  validation {
    condition     = var.private_source_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.private_source_bucket))
    error_message = "private_source_bucket must be the name of a bucket, without s3:// and without a prefix."
  }
}

variable "emr_serverless" {
  description = "An EMR Serverless application beside the Glue job, for the same script. Off: nothing of it exists. `archive_name` is the environment that docs/running.md builds, put into the folder scripts/ by hand."
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

  validation {
    condition     = can(regex("^emr-7\\.(1[0-9]|[2-9][0-9])\\.[0-9]+$", var.emr_serverless.release_label))
    error_message = "emr_serverless.release_label \"${var.emr_serverless.release_label}\": write emr-7.10.0 or a later emr-7. Before, s3:// is another file system; after, Spark is another."
  }

  validation {
    condition = (
      can(regex("^[1-9][0-9]* vCPU$", var.emr_serverless.maximum_capacity.cpu))
      && can(regex("^[1-9][0-9]* GB$", var.emr_serverless.maximum_capacity.memory))
      && can(regex("^[1-9][0-9]* GB$", var.emr_serverless.maximum_capacity.disk))
    )
    error_message = "emr_serverless.maximum_capacity: write \"64 vCPU\", \"256 GB\" and \"1000 GB\". Without a maximum it grows without end."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+\\.tar\\.gz$", var.emr_serverless.archive_name))
    error_message = "emr_serverless.archive_name must be the name of a .tar.gz, without a folder."
  }
}

variable "tags" {
  description = "Tags beside those of the provider."
  type        = map(string)
  default     = {}
  nullable    = false
}
