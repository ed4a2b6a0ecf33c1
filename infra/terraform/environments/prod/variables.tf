variable "account_id" {
  description = "The AWS account, 12 digits."
  type        = string
  nullable    = false
}

variable "region" {
  description = "The AWS region of everything; the public bucket is in us-west-2."
  type        = string
  default     = "us-west-2"
  nullable    = false
}

variable "alarm_emails" {
  description = "Addresses that AWS writes to, once they have confirmed."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "kms_key_arn" {
  description = "A KMS key for the bucket, the logs and the notifications; null: AWS's own keys."
  type        = string
  default     = null
}

variable "job_specific" {
  description = "What runs read that name nothing else: the config's `job_specific`."
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
}

variable "schedule" {
  description = "When the workflow starts by itself, in UTC: cron(0 6 ? * MON *). Null: when it is asked to."
  type        = string
  default     = null
}

variable "freshness_days" {
  description = "After how many days without a good run there is an alarm, 1 to 7, and more than the days between two runs of the schedule. Null: none."
  type        = number
  default     = null
}

variable "enable_table_optimizers" {
  description = "Glue's table optimizers. False until the first run has made the tables."
  type        = bool
  default     = false
  nullable    = false
}
