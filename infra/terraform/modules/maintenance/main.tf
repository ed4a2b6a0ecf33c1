# Glue's own upkeep of Iceberg tables: compaction, snapshot retention, removal of orphan files.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  account_id       = data.aws_caller_identity.this.account_id
  partition        = data.aws_partition.this.partition
  region           = data.aws_region.this.name
  warehouse_prefix = trimprefix(var.warehouse_uri, "s3://${var.bucket_name}/")
  glue_arn_prefix  = "arn:${local.partition}:glue:${local.region}:${local.account_id}"
  logs_arn_prefix  = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group"

  # Off: neither optimizers nor a role that could do their work.
  tables = var.enable_table_optimizers ? toset(var.tables) : toset([])
  folders = {
    for table in var.tables : table => "${local.warehouse_prefix}/${var.database_name}/${table}"
  }

  statements = concat(
    [
      {
        Sid    = "RewriteTheTables"
        Effect = "Allow"
        Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        # /* : keys of the tables that are named, one folder each; not the leases beside them.
        Resource = [for table in var.tables : "${var.bucket_arn}/${local.folders[table]}/*"]
      },
      {
        Sid      = "ListTheTables"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [var.bucket_arn]
        Condition = {
          # /* : keys below the folders of the tables.
          StringLike = { "s3:prefix" = flatten([for table in var.tables : [local.folders[table], "${local.folders[table]}/*"]]) }
        }
      },
      {
        Sid    = "CommitTables"
        Effect = "Allow"
        Action = ["glue:GetTable", "glue:UpdateTable"]
        Resource = concat(
          ["${local.glue_arn_prefix}:catalog", "${local.glue_arn_prefix}:database/${var.database_name}"],
          [for table in var.tables : "${local.glue_arn_prefix}:table/${var.database_name}/${table}"],
        )
      },
      {
        Sid    = "WriteLogs"
        Effect = "Allow"
        Action = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        # :* : streams, which Glue names; the groups are those that it writes to, in every account.
        Resource = [
          for kind in ["compaction", "retention", "orphan-file-deletion"] :
          "${local.logs_arn_prefix}:/aws-glue/iceberg-${kind}/logs:*"
        ]
      },
    ],
    var.kms_key_arn == null ? [] : [
      {
        Sid      = "UseTheKeyThroughS3"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" }
        }
      },
    ],
  )
}

resource "aws_iam_role" "this" {
  count = var.enable_table_optimizers ? 1 : 0

  name        = "${var.name}-optimizer"
  description = "Of Glue's table optimizers in ${var.database_name}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "glue.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "this" {
  count = var.enable_table_optimizers ? 1 : 0

  name   = "optimize"
  role   = aws_iam_role.this[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}

resource "aws_glue_catalog_table_optimizer" "compaction" {
  for_each = local.tables

  catalog_id    = local.account_id
  database_name = var.database_name
  table_name    = each.key
  type          = "compaction"

  configuration {
    role_arn = aws_iam_role.this[0].arn
    enabled  = true
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_glue_catalog_table_optimizer" "retention" {
  for_each = local.tables

  catalog_id    = local.account_id
  database_name = var.database_name
  table_name    = each.key
  type          = "retention"

  configuration {
    role_arn = aws_iam_role.this[0].arn
    enabled  = true

    retention_configuration {
      iceberg_configuration {
        snapshot_retention_period_in_days = var.snapshot_retention.days
        number_of_snapshots_to_retain     = var.snapshot_retention.keep_last
        clean_expired_files               = true
      }
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_glue_catalog_table_optimizer" "orphan_files" {
  for_each = local.tables

  catalog_id    = local.account_id
  database_name = var.database_name
  table_name    = each.key
  type          = "orphan_file_deletion"

  configuration {
    role_arn = aws_iam_role.this[0].arn
    enabled  = true

    orphan_file_deletion_configuration {
      iceberg_configuration {
        # The table's own folder: two tables that shared one would delete each other's files.
        location                             = "s3://${var.bucket_name}/${local.folders[each.key]}"
        orphan_file_retention_period_in_days = var.orphan_retention_days
      }
    }
  }

  depends_on = [aws_iam_role_policy.this]
}
