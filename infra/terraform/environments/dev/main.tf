# An environment to try things in: it may be destroyed with its data, and costs as little as it can.

locals {
  environment = "dev"
}

module "platform" {
  source = "../../modules/platform"

  account_id  = var.account_id
  region      = var.region
  environment = local.environment
  project_dir = "${path.root}/../../../.."

  force_destroy             = true
  query_results_expiry_days = 7
  noncurrent_version_days   = 1
  log_retention_days        = 14

  # A third cheaper; a run may start late, and AWS may take workers away from it.
  glue = {
    worker_type       = "G.1X"
    number_of_workers = 3
    execution_class   = "FLEX"
    timeout_minutes   = 120
  }

  # What a core costs in an hour: a FLEX DPU is 0.29 and has four. The ledger estimates with it.
  settings = { usd_per_core_hour = 0.0725 }

  slow_run_s              = 3600
  kms_key_arn             = var.kms_key_arn
  job_specific            = var.job_specific
  alarm_emails            = var.alarm_emails
  schedule                = var.schedule
  freshness_days          = var.freshness_days
  enable_table_optimizers = var.enable_table_optimizers
}
