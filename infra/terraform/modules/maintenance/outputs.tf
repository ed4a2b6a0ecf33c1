output "optimizer_role_arn" {
  description = "The role of the table optimizers; null while they are off."
  value       = one(aws_iam_role.this[*].arn)
}
