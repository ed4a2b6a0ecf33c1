variable "name" {
  description = "What everything of the environment begins with: `oedi-dev`. Its Athena workgroup is called so."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^oedi-[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "`name` is oedi- and an environment of 2 to 12 lower-case letters and digits: write oedi-dev."
  }
}

variable "etl_job_name" {
  description = "The Glue job that is watched."
  type        = string
  nullable    = false
}

variable "maintain_job_name" {
  description = "The Glue job that keeps the tables tidy; null: nobody is told of its failures."
  type        = string
  default     = null
}

variable "error_log_group_name" {
  description = "The log group that Glue writes the job's standard error to: its log lines, as JSON."
  type        = string
  nullable    = false
}

variable "metric_namespace" {
  description = "The CloudWatch namespace of the figures that are read from the log lines; null for oedi-spark/NAME."
  type        = string
  default     = null

  validation {
    condition     = var.metric_namespace == null || (can(regex("^[A-Za-z0-9._/#-]{1,255}$", var.metric_namespace)) && !startswith(coalesce(var.metric_namespace, "-"), "AWS/"))
    error_message = "`metric_namespace` holds letters, digits and . _ / # -, and does not begin with AWS/, which is Amazon's own."
  }
}

variable "alarm_emails" {
  description = "Who is written to. Each address gets a mail to confirm first; until then nothing is sent to it."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for each in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", each))])
    error_message = "`alarm_emails` holds addresses as team@example.org, one per entry."
  }
}

variable "kms_key_arn" {
  description = "A key of your own to encrypt notifications with; null for none. Its policy must let events.amazonaws.com and cloudwatch.amazonaws.com use kms:GenerateDataKey* and kms:Decrypt, else nothing is sent."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "`kms_key_arn` is the ARN of a key of your own. An alias will not do, alias/aws/sns least of all: AWS's key for SNS lets neither CloudWatch nor EventBridge publish."
  }
}

variable "freshness_days" {
  description = "Alarm when no run has published for so many days. Null: never, for an environment that runs on demand. A schedule that is rarer than weekly cannot be watched so: CloudWatch looks back seven days."
  type        = number
  default     = null

  validation {
    condition     = var.freshness_days == null || contains([1, 2, 3, 4, 5, 6, 7], coalesce(var.freshness_days, 1))
    error_message = "`freshness_days` is 1 to 7, because CloudWatch looks back no further; or null for no such alarm."
  }
}

variable "slow_run_s" {
  description = "Alarm when a run took longer, in seconds."
  type        = number
  default     = 7200
  nullable    = false

  validation {
    condition     = var.slow_run_s > 0
    error_message = "`slow_run_s` is a number of seconds above 0."
  }
}

variable "lost_files_threshold" {
  description = "Alarm when more files than this are lost within five minutes."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.lost_files_threshold >= 0
    error_message = "`lost_files_threshold` is a number from 0 on; 0 alarms on the first lost file."
  }
}
