variable "name" {
  description = "What everything of the environment begins with: `oedi-dev`. The workgroup is called so."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^oedi-[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "`name` is oedi- and an environment of 2 to 12 lower-case letters and digits: write oedi-dev."
  }
}

variable "database_name" {
  description = "The Glue database that the saved queries run in."
  type        = string
  nullable    = false
}

variable "query_results_uri" {
  description = "Where Athena puts results; the bucket expires them."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^s3://[^/]+/.*[^/]$", var.query_results_uri))
    error_message = "`query_results_uri` names a bucket and a prefix, without a slash at the end: write s3://BUCKET/query-results."
  }
}

variable "kms_key_arn" {
  description = "The key that results are encrypted with; null for S3's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "`kms_key_arn` is the ARN of a key, not of an alias: write arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "queries_dir" {
  description = "A folder of `NAME.sql` files; each becomes the saved query NAME."
  type        = string
  nullable    = false

  validation {
    condition     = length(fileset(var.queries_dir, "*.sql")) > 0
    error_message = "`queries_dir` (${var.queries_dir}) holds no .sql file: name the folder sql/queries of the checkout."
  }

  validation {
    condition     = alltrue([for file in fileset(var.queries_dir, "*.sql") : can(regex("^[a-z][a-z0-9_]{0,122}\\.sql$", file))])
    error_message = "The files of `queries_dir` are named a-z, 0-9 and _, at most 123 characters before .sql: rename ${join(", ", [for file in fileset(var.queries_dir, "*.sql") : file if !can(regex("^[a-z][a-z0-9_]{0,122}\\.sql$", file))])}."
  }
}

variable "views_dir" {
  description = "A folder of `NAME.sql` files that each create the view NAME; each becomes the saved query view_NAME."
  type        = string
  nullable    = false

  validation {
    condition     = length(fileset(var.views_dir, "*.sql")) > 0
    error_message = "`views_dir` (${var.views_dir}) holds no .sql file: name the folder sql/views of the checkout."
  }

  validation {
    condition     = alltrue([for file in fileset(var.views_dir, "*.sql") : can(regex("^[a-z][a-z0-9_]{0,122}\\.sql$", file))])
    error_message = "The files of `views_dir` are named a-z, 0-9 and _, at most 123 characters before .sql: rename ${join(", ", [for file in fileset(var.views_dir, "*.sql") : file if !can(regex("^[a-z][a-z0-9_]{0,122}\\.sql$", file))])}."
  }
}

variable "scan_limit_bytes" {
  description = "Athena stops a query that has read more; what it has read is paid for. 1 TB costs about 5 dollars."
  type        = number
  default     = 100000000000 # half a dollar
  nullable    = false

  validation {
    condition     = var.scan_limit_bytes >= 10485760 && floor(var.scan_limit_bytes) == var.scan_limit_bytes
    error_message = "`scan_limit_bytes` is a whole number from 10485760 (10 MiB, Athena's smallest) on."
  }
}

variable "defaults" {
  description = "What the saved queries choose where a line is marked `-- choose release`, `state` or `upgrade`. Null leaves what the file says, and so does upgrade 0. A query with a line `-- Product: resstock` takes a release of that product only."
  type = object({
    release = optional(string)
    state   = optional(string)
    upgrade = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.defaults.release == null || can(regex("^[A-Za-z0-9_.]{1,200}$", var.defaults.release))
    error_message = "`defaults.release` is a year and a name: write 2024_comstock_amy2018_release_1."
  }

  validation {
    condition     = var.defaults.state == null || can(regex("^[A-Z]{2}$", var.defaults.state))
    error_message = "`defaults.state` is two capital letters: write CO."
  }

  validation {
    condition     = var.defaults.upgrade == null || can(regex("^[0-9]{1,9}$", tostring(var.defaults.upgrade)))
    error_message = "`defaults.upgrade` is the number of an upgrade, from 0 on; 0 is the baseline."
  }
}

variable "force_destroy" {
  description = "Let the workgroup be destroyed with the queries that people saved in it, and its history."
  type        = bool
  default     = false
  nullable    = false
}
