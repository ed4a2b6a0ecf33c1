# Glue 5 writes to {prefix}/error (all that is said) and {prefix}/output (what a program prints).
# Made here, so that they are encrypted and do not grow for ever: Glue would make them without.

locals {
  log_group_prefixes = {
    etl      = "/aws-glue/${var.name}/etl"
    maintain = "/aws-glue/${var.name}/maintain"
  }
  log_groups = {
    for pair in setproduct(keys(local.log_group_prefixes), ["error", "output"]) :
    join("-", pair) => "${local.log_group_prefixes[pair[0]]}/${pair[1]}"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.log_groups
  # checkov:skip=CKV_AWS_158: KMS is an option (kms_key_arn); CloudWatch's own keys encrypt otherwise.
  # checkov:skip=CKV_AWS_338: the retention is a variable; what a run did stands in the ledger tables for ever.

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}
