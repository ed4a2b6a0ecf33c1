# One role for each job, and in each what that job does and nothing more.

locals {
  output_prefix    = trimprefix(var.output_uri, "s3://${var.bucket_name}/")
  warehouse_prefix = trimprefix(var.warehouse_uri, "s3://${var.bucket_name}/")

  glue_arn_prefix = "arn:${local.partition}:glue:${local.region}:${local.account_id}"
  logs_arn_prefix = "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group"

  # What both jobs need, whatever they do with the tables.
  shared_statements = concat(
    [
      {
        Sid    = "ReadCodeAndConfigs"
        Effect = "Allow"
        Action = ["s3:GetObject"]
        # /* : keys below one prefix; each version of the code and each run's config has its own.
        Resource = ["${var.bucket_arn}/${local.scripts_prefix}/*"]
      },
      {
        Sid      = "PutMetricsOfGlue"
        Effect   = "Allow"
        Action   = ["cloudwatch:PutMetricData"]
        Resource = ["*"] # CloudWatch knows no resource for metrics; the namespace is the limit
        Condition = {
          StringEquals = { "cloudwatch:namespace" = "Glue" }
        }
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

  # :* : streams within a group; Glue names them after runs. The groups are there already, but Glue
  # asks for one before it writes.
  log_statements = {
    for job, prefix in local.log_group_prefixes : job => {
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = flatten([for kind in ["error", "output"] : ["${local.logs_arn_prefix}:${prefix}/${kind}", "${local.logs_arn_prefix}:${prefix}/${kind}:*"]])
    }
  }

  # S3 asks for the same right, with the key as prefix, before it says of a key that is not there
  # 404 and not 403; so the prefixes of all that is read must be listable.
  list_statements = {
    for job, prefixes in {
      etl      = [local.output_prefix, local.warehouse_prefix, local.scripts_prefix]
      maintain = [local.warehouse_prefix, local.scripts_prefix]
      } : job => {
      Sid      = "ListOwnPrefixes"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [var.bucket_arn]
      Condition = {
        # /* : keys below each of these prefixes.
        StringLike = { "s3:prefix" = flatten([for prefix in prefixes : [prefix, "${prefix}/*"]]) }
      }
    }
  }

  # /* : the database's own tables, which the job makes; no other database is named.
  table_arns = [
    "${local.glue_arn_prefix}:catalog",
    "${local.glue_arn_prefix}:database/${var.database_name}",
    "${local.glue_arn_prefix}:table/${var.database_name}/*",
  ]

  write_actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]

  etl_statements = concat(
    [
      {
        Sid    = "WriteTablesAndSummaries"
        Effect = "Allow"
        Action = local.write_actions
        # /* : keys below two prefixes of one bucket. Not s3:DeleteObjectVersion: what is deleted
        # can be brought back.
        Resource = ["${var.bucket_arn}/${local.output_prefix}/*", "${var.bucket_arn}/${local.warehouse_prefix}/*"]
      },
      {
        Sid      = "CommitTables"
        Effect   = "Allow"
        Action   = ["glue:GetDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable"]
        Resource = local.table_arns
      },
      {
        Sid      = "ReadRunPropertiesOfTheWorkflow"
        Effect   = "Allow"
        Action   = ["glue:GetWorkflowRunProperties"]
        Resource = ["${local.glue_arn_prefix}:workflow/${var.name}"]
      },
    ],
    var.private_source_bucket == null ? [] : [
      {
        Sid    = "ReadTheSource"
        Effect = "Allow"
        Action = ["s3:ListBucket", "s3:GetObject"]
        # /* : every key of the source, whose layout differs from release to release.
        Resource = ["arn:${local.partition}:s3:::${var.private_source_bucket}", "arn:${local.partition}:s3:::${var.private_source_bucket}/*"]
      },
    ],
  )

  maintain_statements = [
    {
      Sid      = "RewriteTables"
      Effect   = "Allow"
      Action   = local.write_actions
      Resource = ["${var.bucket_arn}/${local.warehouse_prefix}/*"] # /* : keys below one prefix
    },
    {
      Sid      = "CommitTables"
      Effect   = "Allow"
      Action   = ["glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"]
      Resource = local.table_arns
    },
  ]

  # Which services may take a role, for this account alone: a service can be asked by anybody.
  trusted_services = {
    etl      = concat(["glue.amazonaws.com"], var.emr_serverless.enabled ? ["emr-serverless.amazonaws.com"] : [])
    maintain = ["glue.amazonaws.com"]
  }
  trust = {
    for job, services in local.trusted_services : job => jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Effect    = "Allow"
          Principal = { Service = services }
          Action    = "sts:AssumeRole"
          Condition = {
            StringEquals = { "aws:SourceAccount" = local.account_id }
          }
        },
      ]
    })
  }
}

resource "aws_iam_role" "etl" {
  name               = "${var.name}-etl"
  description        = "Of the Glue job ${var.name}-etl"
  assume_role_policy = local.trust.etl
  tags               = var.tags
}

resource "aws_iam_role_policy" "etl" {
  name = "job"
  role = aws_iam_role.etl.id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.etl_statements, [local.list_statements.etl, local.log_statements.etl], local.shared_statements)
  })
}

resource "aws_iam_role" "maintain" {
  name               = "${var.name}-maintain"
  description        = "Of the Glue job ${var.name}-maintain"
  assume_role_policy = local.trust.maintain
  tags               = var.tags
}

resource "aws_iam_role_policy" "maintain" {
  name = "job"
  role = aws_iam_role.maintain.id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.maintain_statements, [local.list_statements.maintain, local.log_statements.maintain], local.shared_statements)
  })
}
