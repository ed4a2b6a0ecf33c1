output "topic_arn" {
  description = "The topic of all notifications; subscribe whatever else shall hear of them."
  value       = aws_sns_topic.this.arn
}

output "dashboard_name" {
  description = "The CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
