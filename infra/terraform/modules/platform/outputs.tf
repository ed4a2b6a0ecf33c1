output "bucket_name" {
  description = "The bucket of the environment."
  value       = module.warehouse.bucket_name
}

output "database_name" {
  description = "The Glue database of the tables."
  value       = module.warehouse.database_name
}

output "output_uri" {
  description = "The config's `output_dir`."
  value       = module.warehouse.output_uri
}

output "warehouse_uri" {
  description = "The config's `catalog.warehouse_dir`."
  value       = module.warehouse.warehouse_uri
}

output "etl_job_name" {
  description = "The Glue job that rolls up and publishes."
  value       = module.etl_job.etl_job_name
}

output "maintain_job_name" {
  description = "The Glue job that keeps the tables small."
  value       = module.etl_job.maintain_job_name
}

output "etl_role_arn" {
  description = "The role of the ETL job, and of EMR Serverless."
  value       = module.etl_job.etl_role_arn
}

output "etl_role_name" {
  description = "The name of that role."
  value       = module.etl_job.etl_role_name
}

output "maintain_role_name" {
  description = "The role of the maintenance job."
  value       = module.etl_job.maintain_role_name
}

output "default_config_uri" {
  description = "The config of runs that name no other."
  value       = module.etl_job.default_config_uri
}

output "runs_uri" {
  description = "Where configs of single runs are uploaded."
  value       = module.etl_job.runs_uri
}

output "error_log_group_name" {
  description = "The log group with all that the ETL job says."
  value       = module.etl_job.error_log_group_name
}

output "workflow_name" {
  description = "The workflow; `oedi-spark aws run-workflow` starts it."
  value       = module.workflow.workflow_name
}

output "landed_crawler_name" {
  description = "The crawler of the landed metadata."
  value       = module.workflow.landed_crawler_name
}

output "workgroup_name" {
  description = "The Athena workgroup; `oedi-spark aws queries` uses it."
  value       = module.query.workgroup_name
}

output "named_query_ids" {
  description = "The saved queries."
  value       = module.query.named_query_ids
}

output "topic_arn" {
  description = "The SNS topic of alarms."
  value       = module.monitoring.topic_arn
}

output "dashboard_name" {
  description = "The CloudWatch dashboard."
  value       = module.monitoring.dashboard_name
}

output "optimizer_role_arn" {
  description = "The role of the table optimizers; null while they are off."
  value       = module.maintenance.optimizer_role_arn
}

output "emr_application_id" {
  description = "The EMR Serverless application; null when the option is off."
  value       = module.etl_job.emr_application_id
}

output "emr_submit_parameters" {
  description = "The sparkSubmitParameters of a run there; null when the option is off."
  value       = module.etl_job.emr_submit_parameters
}
