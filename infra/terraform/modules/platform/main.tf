# Everything of one environment: the six modules, joined. What a run reads when it is told nothing
# else, the default config, is in config.tf.

locals {
  name          = "oedi-${var.environment}"
  database_name = "oedi_${var.environment}"
  bucket_name   = coalesce(var.bucket_name, "${local.name}-${var.account_id}-${var.region}")
}

# What is planned is planned for one account and one region; credentials of another are an error
# of the person at the keyboard, and the plan ends before it has changed anything.
data "aws_caller_identity" "this" {
  lifecycle {
    postcondition {
      condition     = self.account_id == var.account_id
      error_message = "The credentials are of account ${self.account_id}, and account_id is ${var.account_id}: use the credentials of that account (AWS_PROFILE), or correct account_id."
    }
  }
}

data "aws_region" "this" {
  lifecycle {
    postcondition {
      condition     = self.name == var.region
      error_message = "The provider works in ${self.name}, and region is ${var.region}: give the provider region = var.region, or correct region."
    }
  }
}

module "warehouse" {
  source = "../warehouse"

  name                      = local.name
  bucket_name               = local.bucket_name
  database_name             = local.database_name
  kms_key_arn               = var.kms_key_arn
  force_destroy             = var.force_destroy
  query_results_expiry_days = var.query_results_expiry_days
  noncurrent_version_days   = var.noncurrent_version_days
}

module "etl_job" {
  source = "../etl_job"

  name                  = local.name
  bucket_name           = module.warehouse.bucket_name
  bucket_arn            = module.warehouse.bucket_arn
  database_name         = module.warehouse.database_name
  output_uri            = module.warehouse.output_uri
  warehouse_uri         = module.warehouse.warehouse_uri
  scripts_uri           = module.warehouse.scripts_uri
  kms_key_arn           = var.kms_key_arn
  package_dir           = "${var.project_dir}/dist"
  scripts_dir           = "${var.project_dir}/spark_jobs"
  default_config        = local.default_config
  glue                  = var.glue
  log_retention_days    = var.log_retention_days
  private_source_bucket = var.src_bucket == local.public_bucket ? null : var.src_bucket
  emr_serverless        = var.emr_serverless
}

module "query" {
  source = "../query"

  name              = local.name
  database_name     = module.warehouse.database_name
  query_results_uri = module.warehouse.query_results_uri
  kms_key_arn       = var.kms_key_arn
  queries_dir       = "${var.project_dir}/sql/queries"
  views_dir         = "${var.project_dir}/sql/views"
  scan_limit_bytes  = var.scan_limit_bytes
  defaults          = var.query_defaults
  force_destroy     = var.force_destroy
}

module "workflow" {
  source = "../workflow"

  name                    = local.name
  etl_job_name            = module.etl_job.etl_job_name
  bucket_name             = module.warehouse.bucket_name
  bucket_arn              = module.warehouse.bucket_arn
  database_name           = module.warehouse.database_name
  output_uri              = module.warehouse.output_uri
  warehouse_uri           = module.warehouse.warehouse_uri
  kms_key_arn             = var.kms_key_arn
  schedule                = var.schedule
  crawl_after             = var.crawl_after
  max_concurrent_runs     = var.glue.max_concurrent_runs
  iceberg_crawler_enabled = var.iceberg_crawler_enabled

  # What the command line needs to know of the deployment; the job ignores it.
  default_run_properties = {
    default_config   = module.etl_job.default_config_uri
    runs_uri         = module.etl_job.runs_uri
    workgroup        = module.query.workgroup_name
    database         = module.warehouse.database_name
    etl_job          = module.etl_job.etl_job_name
    log_group_prefix = module.etl_job.log_group_prefix
    output_uri       = module.warehouse.output_uri
    warehouse_uri    = module.warehouse.warehouse_uri
  }
}

module "monitoring" {
  source = "../monitoring"

  name                 = local.name
  etl_job_name         = module.etl_job.etl_job_name
  maintain_job_name    = module.etl_job.maintain_job_name
  error_log_group_name = module.etl_job.error_log_group_name
  metric_namespace     = "oedi-spark/${local.name}"
  alarm_emails         = var.alarm_emails
  kms_key_arn          = var.kms_key_arn
  freshness_days       = var.freshness_days
  slow_run_s           = var.slow_run_s
}

module "maintenance" {
  source = "../maintenance"

  name                    = local.name
  bucket_name             = module.warehouse.bucket_name
  bucket_arn              = module.warehouse.bucket_arn
  database_name           = module.warehouse.database_name
  warehouse_uri           = module.warehouse.warehouse_uri
  kms_key_arn             = var.kms_key_arn
  enable_table_optimizers = var.enable_table_optimizers
  tables                  = var.optimized_tables
  snapshot_retention      = var.snapshot_retention
  orphan_retention_days   = var.orphan_retention_days
}
