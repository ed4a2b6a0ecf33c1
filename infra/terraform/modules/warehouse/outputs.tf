output "bucket_name" {
  description = "The bucket of the environment."
  value       = aws_s3_bucket.this.bucket
}

output "bucket_arn" {
  description = "Its ARN, for policies."
  value       = aws_s3_bucket.this.arn
}

output "database_name" {
  description = "The Glue database."
  value       = aws_glue_catalog_database.this.name
}

output "output_uri" {
  description = "The config's `output_dir`."
  value       = local.uris.output
}

output "warehouse_uri" {
  description = "The config's `catalog.warehouse_dir`."
  value       = local.uris.warehouse
}

output "query_results_uri" {
  description = "Where Athena writes results."
  value       = local.uris.query_results
}

output "scripts_uri" {
  description = "Where code and configs lie."
  value       = local.uris.scripts
}
