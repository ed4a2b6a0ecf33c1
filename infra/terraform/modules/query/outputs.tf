output "workgroup_name" {
  description = "The workgroup, as `oedi-spark aws queries --workgroup` takes it."
  value       = aws_athena_workgroup.this.name
}

output "named_query_ids" {
  description = "From the name of a saved query to its id."
  value       = { for name, query in aws_athena_named_query.this : name => query.id }
}
