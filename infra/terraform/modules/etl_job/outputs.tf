output "etl_job_name" {
  description = "The Glue job of spark_jobs/etl.py."
  value       = aws_glue_job.etl.name
}

output "maintain_job_name" {
  description = "The Glue job of spark_jobs/maintain.py."
  value       = aws_glue_job.maintain.name
}

output "etl_role_arn" {
  description = "The role of the ETL job, and of EMR Serverless."
  value       = aws_iam_role.etl.arn
}

output "etl_role_name" {
  description = "Its name."
  value       = aws_iam_role.etl.name
}

output "maintain_role_name" {
  description = "The role of the maintenance job."
  value       = aws_iam_role.maintain.name
}

output "package_uri" {
  description = "The zip of wheels that the jobs install."
  value       = aws_glue_job.etl.default_arguments["--additional-python-modules"]
}

output "default_config_uri" {
  description = "The config of runs that name no other."
  value       = local.default_config_uri
}

output "runs_uri" {
  description = "Where configs of single runs are uploaded; they expire."
  value       = "${var.scripts_uri}/runs"
}

output "log_group_prefix" {
  description = "Of the ETL job's log groups."
  value       = local.log_group_prefixes.etl
}

output "error_log_group_name" {
  description = "The log group with all that the ETL job says."
  value       = aws_cloudwatch_log_group.this["etl-error"].name
}

output "emr_application_id" {
  description = "The EMR Serverless application; null when the option is off."
  value       = one(aws_emrserverless_application.this[*].id)
}

output "emr_submit_parameters" {
  description = "The sparkSubmitParameters of a run on EMR Serverless; null when the option is off."
  value = !var.emr_serverless.enabled ? null : join(" ", [
    for setting in [
      "spark.archives=${var.scripts_uri}/${var.emr_serverless.archive_name}#environment",
      "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python",
      "spark.emr-serverless.driverEnv.PYSPARK_PYTHON=./environment/bin/python",
      "spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python",
      "spark.hadoop.fs.s3a.endpoint.region=${local.region}",
    ] : "--conf ${setting}"
  ])
}
