output "workflow_name" {
  description = "The workflow, as `oedi-spark aws run-workflow --workflow` takes it."
  value       = aws_glue_workflow.this.name
}

output "workflow_arn" {
  description = "The ARN of the workflow."
  value       = aws_glue_workflow.this.arn
}

output "landed_crawler_name" {
  description = "The crawler of the landed metadata copies."
  value       = aws_glue_crawler.landed.name
}
