# The Glue jobs of spark_jobs/etl.py and spark_jobs/maintain.py, and what they run.
# Their roles are in roles.tf, their log groups in logs.tf, EMR Serverless in emr.tf.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  region     = data.aws_region.this.name

  scripts_prefix = trimprefix(var.scripts_uri, "s3://${var.bucket_name}/")

  package = one(fileset(var.package_dir, "oedi_spark-*.gluewheels.zip"))
  code = {
    (local.package) = "${var.package_dir}/${local.package}"
    "etl.py"        = "${var.scripts_dir}/etl.py"
    "maintain.py"   = "${var.scripts_dir}/maintain.py"
  }
  # Named after its content: a job changes from one version to the next by one update, and no run
  # ever gets a mixture of two. The folder before goes with the apply.
  code_version = substr(sha256(join(" ", [for name in sort(keys(local.code)) : filesha256(local.code[name])])), 0, 16)
  code_uri     = "${var.scripts_uri}/code/${local.code_version}"

  # The one --conf that Glue takes; further settings are chained inside its value. They serve who
  # reads the tables through Spark SQL in such a job; the job's own reads and commits need none.
  spark_settings = {
    "spark.sql.extensions"                = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
    "spark.sql.catalog.oedi"              = "org.apache.iceberg.spark.SparkCatalog"
    "spark.sql.catalog.oedi.type"         = "glue"
    "spark.sql.catalog.oedi.warehouse"    = var.warehouse_uri
    "spark.sql.catalog.oedi.io-impl"      = "org.apache.iceberg.aws.s3.S3FileIO"
    "spark.hadoop.fs.s3a.endpoint.region" = local.region # without it S3A takes us-east-2
    "spark.ui.showConsoleProgress"        = "false"      # a bar would stand before a log line, which no filter then matches
  }

  default_arguments = {
    "--config"                          = local.default_config_uri
    "--additional-python-modules"       = "${local.code_uri}/${local.package}"
    "--python-modules-installer-option" = "--no-index" # the zip alone: no package from the internet
    "--datalake-formats"                = "iceberg"
    "--conf"                            = join(" --conf ", [for key in sort(keys(local.spark_settings)) : "${key}=${local.spark_settings[key]}"])
    "--job-bookmark-option"             = "job-bookmark-disable" # what was done stands in the tables
    "--enable-metrics"                  = "true"
  }
  default_config_uri = "${var.scripts_uri}/conf/default.yaml"
}

resource "aws_s3_object" "code" {
  for_each = local.code

  bucket      = var.bucket_name
  key         = "${local.scripts_prefix}/code/${local.code_version}/${each.key}"
  source      = each.value
  source_hash = filesha256(each.value)

  lifecycle {
    # The job must point at the new code before the old is gone.
    create_before_destroy = true
  }
}

resource "aws_s3_object" "default_config" {
  bucket       = var.bucket_name
  key          = "${local.scripts_prefix}/conf/default.yaml"
  content      = var.default_config
  content_type = "application/yaml"
  source_hash  = sha256(var.default_config)
}

# provider aws 5.100.0: resource aws_glue_job
resource "aws_glue_job" "etl" {
  # checkov:skip=CKV_AWS_195: no security configuration; the bucket and the log groups encrypt, and it would rename the log groups that have a retention.
  name        = "${var.name}-etl"
  description = "Rolls End-Use Load Profiles up to hours and publishes them to ${var.database_name}"
  role_arn    = aws_iam_role.etl.arn

  glue_version      = var.glue.version
  worker_type       = var.glue.worker_type
  number_of_workers = var.glue.number_of_workers
  execution_class   = var.glue.execution_class
  timeout           = var.glue.timeout_minutes
  # A retry reads the same broken file again, at the same price.
  max_retries = 0

  command {
    name            = "glueetl"
    script_location = "${local.code_uri}/etl.py"
    python_version  = "3"
  }

  default_arguments = merge(
    local.default_arguments,
    { "--custom-logGroup-prefix" = local.log_group_prefixes.etl },
    var.glue.auto_scaling ? { "--enable-auto-scaling" = "true" } : {},
  )

  execution_property {
    max_concurrent_runs = var.glue.max_concurrent_runs
  }

  tags       = var.tags
  depends_on = [aws_s3_object.code, aws_s3_object.default_config, aws_cloudwatch_log_group.this, aws_iam_role_policy.etl]
}

resource "aws_glue_job" "maintain" {
  # checkov:skip=CKV_AWS_195: no security configuration; as above.
  name        = "${var.name}-maintain"
  description = "Keeps the Iceberg tables of ${var.database_name} small and tidy"
  role_arn    = aws_iam_role.maintain.arn

  glue_version      = var.glue.version
  worker_type       = "G.1X"
  number_of_workers = var.maintenance_workers
  execution_class   = "STANDARD"
  timeout           = var.glue.timeout_minutes
  max_retries       = 0

  command {
    name            = "glueetl"
    script_location = "${local.code_uri}/maintain.py"
    python_version  = "3"
  }

  default_arguments = merge(
    local.default_arguments,
    { "--custom-logGroup-prefix" = local.log_group_prefixes.maintain },
  )

  # One at a time: two that expire snapshots of one table undo each other's work.
  execution_property {
    max_concurrent_runs = 1
  }

  tags       = var.tags
  depends_on = [aws_s3_object.code, aws_s3_object.default_config, aws_cloudwatch_log_group.this, aws_iam_role_policy.maintain]
}
