# The environment that analysts query: nothing in it is deleted by a `destroy`.

locals {
  environment = "prod"
}

module "platform" {
  source = "../../modules/platform"

  account_id  = var.account_id
  region      = var.region
  environment = local.environment
  project_dir = "${path.root}/../../../.."

  force_destroy             = false
  query_results_expiry_days = 30
  noncurrent_version_days   = 14
  log_retention_days        = 180

  glue = {
    worker_type         = "G.2X"
    number_of_workers   = 10
    timeout_minutes     = 480
    max_concurrent_runs = 3 # of different states; runs of one partition refuse each other
    auto_scaling        = true
  }

  kms_key_arn             = var.kms_key_arn
  job_specific            = var.job_specific
  alarm_emails            = var.alarm_emails
  schedule                = var.schedule
  freshness_days          = var.freshness_days
  slow_run_s              = 4 * 3600
  crawl_after             = ["SUCCEEDED", "FAILED"] # exit 6 published, and is FAILED for Glue
  enable_table_optimizers = var.enable_table_optimizers
}
