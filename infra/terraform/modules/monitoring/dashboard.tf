# One page: are runs coming, how long do they take, what is missing, what does it cost.

locals {
  glue_gauge = [
    "Glue", "glue.driver.ExecutorAllocationManager.executors.numberAllExecutors",
    "JobName", var.etl_job_name, "JobRunId", "ALL", "Type", "gauge",
  ]
  glue_failed_tasks = [
    "Glue", "glue.driver.aggregate.numFailedTasks",
    "JobName", var.etl_job_name, "JobRunId", "ALL", "Type", "count",
  ]
  # Athena splits the figure by state and type of the query, so it is searched for and summed.
  athena_bytes = "SUM(SEARCH('{AWS/Athena,QueryState,QueryType,WorkGroup} MetricName=\"ProcessedBytes\" WorkGroup=\"${var.name}\"', 'Sum', 86400))"

  panels = [
    {
      title   = "Runs a day"
      stat    = "Sum"
      period  = 86400
      metrics = [[local.namespace, "runs_published"], [local.namespace, "runs_failed"]]
    },
    {
      title   = "Seconds of a run"
      stat    = "Maximum"
      period  = 3600
      metrics = [[local.namespace, "run_s"]]
    },
    {
      title   = "Files listed, uploaded, lost"
      stat    = "Sum"
      period  = 86400
      metrics = [[local.namespace, "files_listed"], [local.namespace, "files_uploaded"], [local.namespace, "files_lost"]]
    },
    {
      title   = "Hours published"
      stat    = "Sum"
      period  = 86400
      metrics = [[local.namespace, "hours"]]
    },
    {
      title   = "Bytes that Athena read"
      stat    = "Sum"
      period  = 86400
      metrics = [[{ expression = local.athena_bytes, label = "bytes a day", id = "bytes" }]]
    },
    {
      title   = "Glue executors, and tasks that failed"
      stat    = "Maximum"
      period  = 60
      metrics = [local.glue_gauge, local.glue_failed_tasks]
    },
  ]

  alarms = concat(
    [for alarm in aws_cloudwatch_metric_alarm.count : alarm.arn],
    [aws_cloudwatch_metric_alarm.slow.arn, aws_cloudwatch_metric_alarm.undelivered.arn],
    aws_cloudwatch_metric_alarm.stale[*].arn,
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        x          = 0
        y          = 0
        width      = 24
        height     = 3
        properties = { title = "Alarms", alarms = local.alarms }
      }],
      [for index, panel in local.panels : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 3 + 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = panel.title
          view    = "timeSeries"
          region  = local.region
          stat    = panel.stat
          period  = panel.period
          metrics = panel.metrics
        }
      }],
    )
  })
}
