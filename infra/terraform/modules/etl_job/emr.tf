# The same script on EMR Serverless, with the role of the Glue job; docs/running.md starts a run.

resource "aws_emrserverless_application" "this" {
  count = var.emr_serverless.enabled ? 1 : 0

  name          = var.name
  release_label = var.emr_serverless.release_label
  type          = "spark"

  # Without it the number of executors has no limit of its own.
  maximum_capacity {
    cpu    = var.emr_serverless.maximum_capacity.cpu
    memory = var.emr_serverless.maximum_capacity.memory
    disk   = var.emr_serverless.maximum_capacity.disk
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = 15
  }

  tags = var.tags
}
