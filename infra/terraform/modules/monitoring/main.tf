# Who is told what: a topic, the ends of Glue runs, and alarms on what the job's own log says.
#
# Two ways that do not depend on each other. EventBridge tells of every run that Glue calls failed,
# also of one that died without a word, but delivers as well as it can and no better. The alarms
# read the log, which says more, and miss only what was never written; the alarm on freshness
# misses nothing, for it waits for what should be there.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  region     = data.aws_region.current.name
  job_names  = compact([var.etl_job_name, var.maintain_job_name])
  namespace  = coalesce(var.metric_namespace, "oedi-spark/${var.name}")
}

# provider aws 5.100.0: resource aws_sns_topic
resource "aws_sns_topic" "this" {
  # checkov:skip=CKV_AWS_26: with kms_key_arn it is; without, no key of AWS's would let CloudWatch and EventBridge publish
  name = "${var.name}-alarms"
  # alias/aws/sns is not a choice: nobody can change its policy, which lets neither of them use it.
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "AlarmsAndRulesOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.value
}

# https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html
resource "aws_cloudwatch_event_rule" "run_failed" {
  name        = "${var.name}-run-failed"
  description = "Runs of ${join(" and ", local.job_names)} that Glue calls failed, timed out or stopped."

  event_pattern = jsonencode({
    source      = ["aws.glue"]
    detail-type = ["Glue Job State Change"]
    detail = {
      jobName = local.job_names
      state   = ["FAILED", "TIMEOUT", "STOPPED"]
    }
  })
}

resource "aws_cloudwatch_event_target" "topic" {
  rule      = aws_cloudwatch_event_rule.run_failed.name
  target_id = "topic"
  arn       = aws_sns_topic.this.arn

  input_transformer {
    input_paths = {
      job     = "$.detail.jobName"
      message = "$.detail.message"
      run     = "$.detail.jobRunId"
      state   = "$.detail.state"
      time    = "$.time"
    }
    # A sentence and no JSON, so it stands in quotes, which are taken off before it is sent.
    input_template = "\"Glue job <job>, run <run>, ended as <state> at <time>: <message>. Exit code 6 means that it published, with discrepancies; the summary in etl_output/summaries says what is missing.\""
  }

  depends_on = [aws_sns_topic_policy.this]
}
