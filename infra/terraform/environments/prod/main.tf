# The environment that analysts query. `terraform destroy` is refused as a whole, by the guard below.

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

  # What a core costs in an hour: a DPU is 0.44 and has four. The ledger estimates with it.
  settings = { usd_per_core_hour = 0.11 }

  kms_key_arn             = var.kms_key_arn
  job_specific            = var.job_specific
  alarm_emails            = var.alarm_emails
  schedule                = var.schedule
  freshness_days          = var.freshness_days
  slow_run_s              = 4 * 3600
  crawl_after             = ["SUCCEEDED", "FAILED"] # exit 6 published, and is FAILED for Glue
  enable_table_optimizers = var.enable_table_optimizers
}

# A destroy would begin with the database, whose deletion takes every table out of the catalog, long
# before it stopped at the bucket, which is not empty. Who means it removes this block first.
resource "terraform_data" "guard" {
  lifecycle {
    prevent_destroy = true
  }
}
