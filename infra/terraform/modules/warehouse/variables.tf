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
  description = "The one bucket of the environment. A new name makes a new, empty bucket."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "\"${var.bucket_name}\" is no bucket name: write 3 to 63 of a-z, 0-9 and -, no dot (TLS would refuse it), ends in a letter or digit."
  }
}

variable "database_name" {
  description = "The Glue database of the tables, such as oedi_dev."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,99}$", var.database_name))
    error_message = "\"${var.database_name}\" is no database name: write a-z, 0-9 and _ only, because Glue keeps names in lower case and Athena reads - as minus."
  }
}

variable "kms_key_arn" {
  description = "The KMS key of the bucket; null: S3's own keys (AES256)."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (arn:aws:kms:region:account:key/id), not its id or alias: policies name it."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete a bucket that still holds tables. For environments whose data can be made again."
  type        = bool
  default     = false
  nullable    = false
}

variable "expiring_prefixes" {
  description = "Prefixes whose objects are deleted by age, and after how many days; beside `query-results/`."
  type        = map(number)
  default     = { "scripts/runs/" = 365 }
  nullable    = false

  # An expiring rule that reaches the tables deletes live data files and metadata, and Iceberg
  # cannot bring them back. So a prefix must lie within one of two folders that hold no table.
  validation {
    condition     = alltrue([for prefix in keys(var.expiring_prefixes) : can(regex("^(query-results|scripts/runs)/", prefix))])
    error_message = "expiring_prefixes may lie in query-results/ and scripts/runs/ alone: a rule over warehouse/, etl_output/ or the whole bucket would delete tables. Remove the others."
  }

  validation {
    condition     = alltrue([for days in values(var.expiring_prefixes) : days >= 1 && floor(days) == days])
    error_message = "expiring_prefixes: write whole days, 1 or more."
  }
}

variable "query_results_expiry_days" {
  description = "After how many days results of Athena are deleted."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.query_results_expiry_days >= 1 && var.query_results_expiry_days <= 3650 && floor(var.query_results_expiry_days) == var.query_results_expiry_days
    error_message = "query_results_expiry_days must be whole days, 1 to 3650."
  }
}

variable "noncurrent_version_days" {
  description = "For how many days what was deleted or overwritten can be brought back, and is paid for."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.noncurrent_version_days >= 1 && var.noncurrent_version_days <= 365 && floor(var.noncurrent_version_days) == var.noncurrent_version_days
    error_message = "noncurrent_version_days must be whole days, 1 to 365."
  }
}

variable "tags" {
  description = "Tags beside those of the provider."
  type        = map(string)
  default     = {}
  nullable    = false
}
