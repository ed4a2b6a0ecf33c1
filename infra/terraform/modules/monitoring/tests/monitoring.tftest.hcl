# What the module makes of its variables, without a server: `terraform test`.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-west-2" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-west-2:123456789012:oedi-dev-alarms" }
  }
}

variables {
  name                 = "oedi-dev"
  etl_job_name         = "oedi-dev-etl"
  error_log_group_name = "/oedi-dev/error"
}

run "rule_hears_of_every_end_but_success_of_this_job" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.run_failed.event_pattern) == {
      source      = ["aws.glue"]
      detail-type = ["Glue Job State Change"]
      detail      = { jobName = ["oedi-dev-etl"], state = ["FAILED", "TIMEOUT", "STOPPED"] }
    }
    error_message = "The pattern is another."
  }
}

run "silence_is_fine_for_all_alarms_but_freshness" {
  command = apply

  variables {
    freshness_days = 2
  }

  assert {
    condition = alltrue([
      for each in concat(values(aws_cloudwatch_metric_alarm.count), [aws_cloudwatch_metric_alarm.slow, aws_cloudwatch_metric_alarm.undelivered]) :
      each.treat_missing_data == "notBreaching" && each.alarm_actions == toset([aws_sns_topic.this.arn])
    ])
    error_message = "An alarm rings for nothing, or for nobody."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.stale[0].treat_missing_data == "breaching"
      && aws_cloudwatch_metric_alarm.stale[0].period * aws_cloudwatch_metric_alarm.stale[0].evaluation_periods == 2 * 86400
      && aws_cloudwatch_metric_alarm.stale[0].alarm_actions == toset([aws_sns_topic.this.arn])
    )
    error_message = "Two days without a published run would not ring."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.stale[0].statistic == "Sum"
      && aws_cloudwatch_metric_alarm.stale[0].comparison_operator == "LessThanThreshold"
      && aws_cloudwatch_metric_alarm.stale[0].threshold == 1
      && aws_cloudwatch_metric_alarm.stale[0].metric_name == "runs_published"
    )
    error_message = "It does not wait for one published run."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.slow.statistic == "Maximum"
      && aws_cloudwatch_metric_alarm.slow.comparison_operator == "GreaterThanThreshold"
      && aws_cloudwatch_metric_alarm.slow.threshold == 7200
      && aws_cloudwatch_metric_alarm.slow.metric_name == "run_s"
    )
    error_message = "A run of more than two hours would not be called slow."
  }
  assert {
    condition     = alltrue([for each in aws_cloudwatch_log_metric_filter.this : each.log_group_name == "/oedi-dev/error" && each.metric_transformation[0].namespace == "oedi-spark/oedi-dev"])
    error_message = "Another log group, or another namespace."
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 7
    error_message = "The dashboard lacks a panel."
  }
}

run "an_environment_on_demand_has_no_alarm_on_freshness" {
  command = plan

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.stale) == 0
    error_message = "It would ring for ever."
  }
}

run "each_address_is_subscribed" {
  command = plan

  variables {
    alarm_emails = ["a@example.org", "b@example.org"]
  }

  assert {
    condition     = [for each in aws_sns_topic_subscription.email : each.endpoint] == ["a@example.org", "b@example.org"]
    error_message = "The addresses are others."
  }
}

run "topic_takes_the_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition     = aws_sns_topic.this.kms_master_key_id == var.kms_key_arn
    error_message = "The topic is not encrypted with it."
  }
}

run "key_of_aws_for_sns_is_refused" {
  command = plan

  variables {
    kms_key_arn = "alias/aws/sns"
  }

  expect_failures = [var.kms_key_arn]
}

run "more_days_than_cloudwatch_looks_back_are_refused" {
  command = plan

  variables {
    freshness_days = 8
  }

  expect_failures = [var.freshness_days]
}

run "half_a_day_is_refused" {
  command = plan

  variables {
    freshness_days = 1.5
  }

  expect_failures = [var.freshness_days]
}

run "what_is_no_address_is_refused" {
  command = plan

  variables {
    alarm_emails = ["the team"]
  }

  expect_failures = [var.alarm_emails]
}

run "namespace_of_amazon_is_refused" {
  command = plan

  variables {
    metric_namespace = "AWS/Glue"
  }

  expect_failures = [var.metric_namespace]
}
