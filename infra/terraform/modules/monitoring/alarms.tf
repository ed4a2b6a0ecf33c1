# Figures from the job's log lines, and alarms on them. The fields are those of the event
# `run ended` (its outcome, exit code, seconds, files and hours) and of `file lost`.

locals {
  # Exit 6 has published all that could be read; the summary and the ledger name the rest.
  published = "(($.exit_code = 0) || ($.exit_code = 6))"
  failed    = "($.exit_code != 0) && ($.exit_code != 6)"
  run_ended = "($.event = \"run ended\")"

  # No default values: a minute with log lines and no end of a run is no run of zero seconds, and
  # zeros would hide from the alarm on freshness that nothing came.
  log_figures = {
    runs_published = { pattern = "{ ${local.run_ended} && ${local.published} }", value = "1", unit = "Count" }
    runs_failed    = { pattern = "{ ${local.run_ended} && ${local.failed} }", value = "1", unit = "Count" }
    run_s          = { pattern = "{ ${local.run_ended} && ($.took_s >= 0) }", value = "$.took_s", unit = "Seconds" }
    hours          = { pattern = "{ ${local.run_ended} && ($.hours >= 0) }", value = "$.hours", unit = "Count" }
    files_listed   = { pattern = "{ ${local.run_ended} && ($.files_listed >= 0) }", value = "$.files_listed", unit = "Count" }
    files_uploaded = { pattern = "{ ${local.run_ended} && ($.files_uploaded >= 0) }", value = "$.files_uploaded", unit = "Count" }
    files_lost     = { pattern = "{ $.event = \"file lost\" }", value = "1", unit = "Count" }
    errors_logged  = { pattern = "{ ($.level = \"error\") || ($.level = \"critical\") }", value = "1", unit = "Count" }
    # What a config that is refused ends with: a line for people, before there is any JSON.
    refusals = { pattern = "\"oedi-spark:\"", value = "1", unit = "Count" }
  }

  # Each names what to open, because the mail is all that is at hand at night.
  count_alarms = {
    failed-runs = {
      figure      = "runs_failed"
      threshold   = 0
      description = "A run of ${var.etl_job_name} ended with an exit code other than 0 and 6. Open etl_output/summaries/summary.json: `run` has the code and the reason."
    }
    lost-files = {
      figure      = "files_lost"
      threshold   = var.lost_files_threshold
      description = "Files that were listed are not in the tables. The log lines `file lost` and the table discrepancies name each with its reason."
    }
    errors = {
      figure      = "errors_logged"
      threshold   = 0
      description = "The job logged an error. Search the log group ${var.error_log_group_name} for error."
    }
    refusals = {
      figure      = "refusals"
      threshold   = 0
      description = "The job was refused before it began, by its config or its arguments. Search the log group ${var.error_log_group_name} for oedi-spark: and read on from there."
    }
  }
}

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.log_figures

  name           = "${var.name}-${replace(each.key, "_", "-")}"
  log_group_name = var.error_log_group_name
  pattern        = each.value.pattern

  metric_transformation {
    name      = each.key
    namespace = local.namespace
    value     = each.value.value
    unit      = each.value.unit
  }
}

resource "aws_cloudwatch_metric_alarm" "count" {
  for_each = local.count_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = local.namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this[each.value.figure].metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  # A job that does not run says nothing, and that is nothing wrong.
  treat_missing_data = "notBreaching"
  alarm_actions      = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "slow" {
  alarm_name          = "${var.name}-slow-run"
  alarm_description   = "A run of ${var.etl_job_name} took more than ${var.slow_run_s} s. Its summary has the seconds of each stage."
  namespace           = local.namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["run_s"].metric_transformation[0].name
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.slow_run_s
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "stale" {
  count = var.freshness_days == null ? 0 : 1

  alarm_name          = "${var.name}-stale"
  alarm_description   = "No run of ${var.etl_job_name} has published for ${var.freshness_days} days. Look at the trigger ${var.name}-start and at the last runs of the workflow."
  namespace           = local.namespace
  metric_name         = aws_cloudwatch_log_metric_filter.this["runs_published"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = var.freshness_days # each a day: seven days are CloudWatch's most
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  # Nothing is what it waits for.
  treat_missing_data = "breaching"
  alarm_actions      = [aws_sns_topic.this.arn]
  ok_actions         = [aws_sns_topic.this.arn]
}

# If the topic refuses EventBridge, nobody hears of a failed run, and nothing else says so.
resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = "${var.name}-undelivered"
  alarm_description   = "EventBridge could not tell the topic ${aws_sns_topic.this.name} of a failed run. Compare the policies of the topic and of its key."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.run_failed.name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}
