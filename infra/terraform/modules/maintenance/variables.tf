variable "name" {
  description = "What everything of the environment is called, such as oedi-dev."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "\"${var.name}\" is no name: write 2 to 31 of a-z, 0-9 and -, beginning with a letter."
  }
}

variable "bucket_name" {
  description = "The bucket of the tables."
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

variable "warehouse_uri" {
  description = "The config's `catalog.warehouse_dir`, s3://bucket/prefix."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.warehouse_uri, "s3://${var.bucket_name}/")
    error_message = "warehouse_uri must lie in s3://${var.bucket_name}/, for the role reaches no other bucket."
  }
}

variable "kms_key_arn" {
  description = "The KMS key of the bucket; null: none."
  type        = string
  default     = null
}

variable "enable_table_optimizers" {
  description = "Whether Glue keeps the tables small by itself, for money (DPU hours). False until the first run has made the tables: AWS refuses an optimizer of a table that is not there."
  type        = bool
  default     = false
  nullable    = false
}

variable "tables" {
  description = "The tables to keep small."
  type        = list(string)
  default     = ["hourly", "metadata", "building_weights", "columns", "sources", "runs", "discrepancies"]
  nullable    = false

  validation {
    condition     = length(var.tables) == length(distinct(var.tables))
    error_message = "tables names ${join(", ", var.tables)}, one of them twice: remove it."
  }

  validation {
    condition     = alltrue([for table in var.tables : can(regex("^[a-z][a-z0-9_]{0,99}$", table))])
    error_message = "tables: write names of a-z, 0-9 and _, as Glue keeps them."
  }
}

variable "snapshot_retention" {
  description = "How long a snapshot can be read, and how many stay in any case."
  type = object({
    days      = optional(number, 5)
    keep_last = optional(number, 1)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.snapshot_retention.days >= 1 && var.snapshot_retention.days <= 365 && floor(var.snapshot_retention.days) == var.snapshot_retention.days
    error_message = "snapshot_retention.days must be whole days, 1 to 365."
  }

  validation {
    condition     = var.snapshot_retention.keep_last >= 1 && floor(var.snapshot_retention.keep_last) == var.snapshot_retention.keep_last
    error_message = "snapshot_retention.keep_last must be 1 or more: a table without a snapshot is empty."
  }
}

variable "orphan_retention_days" {
  description = "How old a file that no snapshot names must be before it is deleted."
  type        = number
  default     = 7
  nullable    = false

  # Files of a run that has not committed yet look like orphans. A run may last two days (see
  # glue.timeout_minutes of the module etl_job).
  validation {
    condition     = var.orphan_retention_days >= 3 && var.orphan_retention_days <= 365 && floor(var.orphan_retention_days) == var.orphan_retention_days
    error_message = "orphan_retention_days must be whole days, 3 to 365: a shorter time could delete files of a run that is still going."
  }
}
