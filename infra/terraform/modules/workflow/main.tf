# The workflow: a trigger, the job, and a crawler of the metadata copies that the job landed.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.name

  landed_prefix = "${trimprefix(var.output_uri, "s3://${var.bucket_name}/")}/metadata"
  tables_prefix = "${trimprefix(var.warehouse_uri, "s3://${var.bucket_name}/")}/${var.database_name}"
  read_prefixes = var.iceberg_crawler_enabled ? [local.landed_prefix, local.tables_prefix] : [local.landed_prefix]

  # A table `metadata` of the copies would take the name of the Iceberg table `metadata`.
  landed_tables  = "landed_"
  crawled_tables = "crawled_"
  table_prefixes = var.iceberg_crawler_enabled ? [local.landed_tables, local.crawled_tables] : [local.landed_tables]

  landed_crawler  = "${var.name}-landed"
  iceberg_crawler = "${var.name}-iceberg"

  glue_arn     = "arn:${local.partition}:glue:${local.region}:${local.account_id}"
  database_arn = "${local.glue_arn}:database/${var.database_name}"
  table_arn    = "${local.glue_arn}:table/${var.database_name}"
  log_arn      = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:/aws-glue/crawlers"
}

# provider aws 5.100.0: resource aws_glue_workflow
resource "aws_glue_workflow" "this" {
  name                   = var.name
  description            = "Rolls load profiles up to hours, then crawls the metadata copies."
  default_run_properties = var.default_run_properties
  max_concurrent_runs    = var.max_concurrent_runs
}

resource "aws_glue_trigger" "start" {
  name              = "${var.name}-start"
  description       = var.schedule == null ? "Starts a run when it is asked to." : "Starts a run at ${var.schedule}, UTC."
  workflow_name     = aws_glue_workflow.this.name
  type              = var.schedule == null ? "ON_DEMAND" : "SCHEDULED"
  schedule          = var.schedule
  start_on_creation = var.schedule == null ? null : true

  actions {
    job_name = var.etl_job_name
  }

  lifecycle {
    # Glue reports an on-demand trigger that nobody has started as not enabled, and would be asked
    # to enable it by each apply. A schedule that somebody has paused stays paused as well.
    ignore_changes = [enabled]
  }
}

resource "aws_glue_trigger" "after_etl" {
  name              = "${var.name}-after-etl"
  description       = "Crawls the landed metadata copies once the job is ${join(" or ", var.crawl_after)}."
  workflow_name     = aws_glue_workflow.this.name
  type              = "CONDITIONAL"
  start_on_creation = true

  predicate {
    logical = "ANY"

    dynamic "conditions" {
      for_each = var.crawl_after

      content {
        job_name = var.etl_job_name
        state    = conditions.value
      }
    }
  }

  actions {
    crawler_name = aws_glue_crawler.landed.name
  }
}

# provider aws 5.100.0: resource aws_glue_crawler
resource "aws_glue_crawler" "landed" {
  # checkov:skip=CKV_AWS_195: logs of a crawler name tables and folders of public data; the bucket is encrypted by itself
  name          = local.landed_crawler
  description   = "Tables over the metadata files, as the publisher wrote them."
  role          = aws_iam_role.crawler.arn
  database_name = var.database_name
  table_prefix  = local.landed_tables

  s3_target {
    path = "${var.output_uri}/metadata/"
    # Hidden files are unfinished or nobody's data.
    exclusions = [".*", "**/.*", "_*", "**/_*"]
  }

  # A run replaces files in folders that were crawled before, so new folders alone are not enough.
  recrawl_policy {
    recrawl_behavior = "CRAWL_EVERYTHING"
  }

  schema_change_policy {
    # A new release brings new columns.
    update_behavior = "UPDATE_IN_DATABASE"
    # A folder that is gone leaves an empty partition, which does no harm; the other choices would
    # need the right to delete, or mark a whole table as deprecated while a run replaces its files.
    delete_behavior = "LOG"
  }

  configuration = jsonencode({
    Version = 1.0
    # One table for all releases, at the folder `metadata`, instead of one per release.
    Grouping = {
      TableGroupingPolicy     = "CombineCompatibleSchemas"
      TableLevelConfiguration = length(split("/", local.landed_prefix)) + 1
    }
    CrawlerOutput = {
      # Columns are added, and never dropped for the release that was crawled last.
      Tables = { AddOrUpdateBehavior = "MergeNewColumns" }
      # Else a query over partitions of two releases fails on their different columns.
      Partitions = { AddOrUpdateBehavior = "InheritFromTable" }
    }
    # Some thousand partitions at most: an index would need more rights than it is worth.
    CreatePartitionIndex = false
  })

  depends_on = [aws_iam_role_policy.crawler]
}

# Tables that were committed through the Glue catalog are in it, at their newest metadata: a crawler
# that finds an older file could only set them back, and costs ten minutes of two DPU each time. So
# its tables have a prefix of their own, nothing starts it, and it is made only when asked for.
resource "aws_glue_crawler" "iceberg" {
  # checkov:skip=CKV_AWS_195: as for the other crawler
  count = var.iceberg_crawler_enabled ? 1 : 0

  name          = local.iceberg_crawler
  description   = "Registers Iceberg tables that another catalog committed into the warehouse."
  role          = aws_iam_role.crawler.arn
  database_name = var.database_name
  table_prefix  = local.crawled_tables

  iceberg_target {
    paths                   = ["${var.warehouse_uri}/${var.database_name}/"]
    maximum_traversal_depth = 2 # the tables lie directly below; leases and waiting copies are hidden
    exclusions              = ["_*/**"]
  }

  schema_change_policy {
    update_behavior = "UPDATE_IN_DATABASE"
    delete_behavior = "LOG"
  }

  depends_on = [aws_iam_role_policy.crawler]
}

data "aws_iam_policy_document" "crawler_trust" {
  statement {
    sid     = "GlueOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["glue.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

resource "aws_iam_role" "crawler" {
  name               = "${var.name}-crawler"
  description        = "Reads the landed metadata copies and writes their tables."
  assume_role_policy = data.aws_iam_policy_document.crawler_trust.json
}

data "aws_iam_policy_document" "crawler" {
  statement {
    sid       = "FindBucket"
    actions   = ["s3:GetBucketLocation"]
    resources = [var.bucket_arn]
  }

  statement {
    sid       = "ListWhatIsCrawled"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      # The folder itself, with and without its slash, and whatever lies in it.
      values = flatten([for prefix in local.read_prefixes : [prefix, "${prefix}/*"]])
    }
  }

  statement {
    sid     = "ReadWhatIsCrawled"
    actions = ["s3:GetObject"]
    # The names of the files are the publisher's.
    resources = [for prefix in local.read_prefixes : "${var.bucket_arn}/${prefix}/*"]
  }

  statement {
    sid     = "ReadCatalog"
    actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"]
    # Whether a name is taken is asked of every table of this database; nothing is written by it.
    resources = ["${local.glue_arn}:catalog", local.database_arn, "${local.table_arn}/*"]
  }

  statement {
    sid = "WriteOwnTables"
    actions = [
      "glue:BatchCreatePartition",
      "glue:BatchGetPartition",
      "glue:BatchUpdatePartition",
      "glue:CreatePartition",
      "glue:CreateTable",
      "glue:GetPartition",
      "glue:GetPartitions",
      "glue:UpdatePartition",
      "glue:UpdateTable",
    ]
    resources = concat(
      ["${local.glue_arn}:catalog", local.database_arn],
      # The crawler chooses the names behind its prefix.
      [for prefix in local.table_prefixes : "${local.table_arn}/${prefix}*"],
    )
  }

  statement {
    sid     = "MakeLogGroup"
    actions = ["logs:CreateLogGroup"]
    # One group of the account for all crawlers, so not ours to make or to name. :* because
    # CloudWatch asks for this right with the name of a stream, empty, behind that of the group.
    resources = [local.log_arn, "${local.log_arn}:*"]
  }

  statement {
    sid     = "Log"
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    # A stream is named after its crawler; those of other crawlers are not ours.
    resources = concat(
      [local.log_arn, "${local.log_arn}:log-stream:${local.landed_crawler}"],
      var.iceberg_crawler_enabled ? ["${local.log_arn}:log-stream:${local.iceberg_crawler}"] : [],
    )
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "DecryptWhatIsCrawled"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "crawler" {
  name   = "crawl"
  role   = aws_iam_role.crawler.id
  policy = data.aws_iam_policy_document.crawler.json
}
