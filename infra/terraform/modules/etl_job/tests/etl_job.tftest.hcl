mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-west-2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/oedi-test" }
  }
}

variables {
  name           = "oedi-test"
  bucket_name    = "oedi-test-bucket"
  bucket_arn     = "arn:aws:s3:::oedi-test-bucket"
  database_name  = "oedi_test"
  output_uri     = "s3://oedi-test-bucket/etl_output"
  warehouse_uri  = "s3://oedi-test-bucket/warehouse"
  scripts_uri    = "s3://oedi-test-bucket/scripts"
  package_dir    = "./tests/fixtures/one"
  scripts_dir    = "../../../../spark_jobs"
  default_config = "src_bucket: oedi-data-lake\n"
}

run "the_job_and_what_it_is_started_with" {
  assert {
    condition = (
      aws_glue_job.etl.glue_version == "5.1"
      && aws_glue_job.etl.worker_type == "G.1X"
      && aws_glue_job.etl.number_of_workers == 5
      && aws_glue_job.etl.max_retries == 0
      && aws_glue_job.etl.execution_class == "STANDARD"
      && aws_glue_job.etl.command[0].name == "glueetl"
      && aws_glue_job.etl.execution_property[0].max_concurrent_runs == 1
    )
    error_message = "Glue 5.1 with five small workers, one run at a time, and no retry."
  }

  assert {
    condition = can(regex(
      "^s3://oedi-test-bucket/scripts/code/[0-9a-f]{16}/oedi_spark-0\\.0\\.1\\.gluewheels\\.zip$",
      aws_glue_job.etl.default_arguments["--additional-python-modules"],
    ))
    error_message = "The package lies in a folder that is named after its content."
  }

  assert {
    condition = (
      aws_glue_job.etl.command[0].script_location
      == replace(output.package_uri, "/[^/]+$/", "etl.py")
      && aws_glue_job.maintain.command[0].script_location
      == replace(output.package_uri, "/[^/]+$/", "maintain.py")
    )
    error_message = "Scripts and package change together."
  }

  assert {
    condition = (
      aws_glue_job.etl.default_arguments["--config"] == "s3://oedi-test-bucket/scripts/conf/default.yaml"
      && aws_glue_job.etl.default_arguments["--python-modules-installer-option"] == "--no-index"
      && aws_glue_job.etl.default_arguments["--job-bookmark-option"] == "job-bookmark-disable"
      && aws_glue_job.etl.default_arguments["--datalake-formats"] == "iceberg"
      && aws_glue_job.etl.default_arguments["--custom-logGroup-prefix"] == "/aws-glue/oedi-test/etl"
      && !contains(keys(aws_glue_job.etl.default_arguments), "--enable-auto-scaling")
    )
    error_message = "The default arguments are not those that the job needs."
  }

  assert {
    condition = (
      length(regexall("(^| --conf )spark[.]", aws_glue_job.etl.default_arguments["--conf"])) == 7
      && !startswith(aws_glue_job.etl.default_arguments["--conf"], "--conf")
      && strcontains(aws_glue_job.etl.default_arguments["--conf"], "spark.hadoop.fs.s3a.endpoint.region=us-west-2")
      && strcontains(aws_glue_job.etl.default_arguments["--conf"], "spark.sql.catalog.oedi.warehouse=s3://oedi-test-bucket/warehouse ")
    )
    error_message = "Glue takes one --conf: the first setting stands alone and the others are chained by --conf."
  }

  assert {
    condition = toset([for group in aws_cloudwatch_log_group.this : group.name]) == toset([
      "/aws-glue/oedi-test/etl/error", "/aws-glue/oedi-test/etl/output",
      "/aws-glue/oedi-test/maintain/error", "/aws-glue/oedi-test/maintain/output",
    ]) && alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 90])
    error_message = "Each job has its two log groups, and none is kept for ever."
  }

  assert {
    condition = (
      output.runs_uri == "s3://oedi-test-bucket/scripts/runs"
      && output.error_log_group_name == "/aws-glue/oedi-test/etl/error"
      && output.etl_job_name == "oedi-test-etl"
      && output.maintain_job_name == "oedi-test-maintain"
      && output.emr_application_id == null
      && output.emr_submit_parameters == null
    )
    error_message = "The outputs are not what the other modules build on."
  }
}

run "another_package_is_another_folder" {
  variables {
    package_dir = "./tests/fixtures/later"
  }

  assert {
    condition = (
      output.package_uri != run.the_job_and_what_it_is_started_with.package_uri
      && basename(output.package_uri) == basename(run.the_job_and_what_it_is_started_with.package_uri)
    )
    error_message = "A package with other bytes got the same key: a run that starts meanwhile would see it change."
  }
}

run "auto_scaling_is_an_argument" {
  variables {
    glue = { auto_scaling = true, number_of_workers = 20 }
  }

  assert {
    condition     = aws_glue_job.etl.default_arguments["--enable-auto-scaling"] == "true" && aws_glue_job.etl.number_of_workers == 20
    error_message = "With auto scaling the number of workers is the most there may be."
  }
}

run "the_public_source_needs_no_right_and_no_key_none" {
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.etl.policy).Statement : statement.Resource
      ])) == toset([
      "arn:aws:s3:::oedi-test-bucket",
      "arn:aws:s3:::oedi-test-bucket/etl_output/*",
      "arn:aws:s3:::oedi-test-bucket/warehouse/*",
      "arn:aws:s3:::oedi-test-bucket/scripts/*",
      "arn:aws:glue:us-west-2:123456789012:catalog",
      "arn:aws:glue:us-west-2:123456789012:database/oedi_test",
      "arn:aws:glue:us-west-2:123456789012:table/oedi_test/*",
      "arn:aws:glue:us-west-2:123456789012:workflow/oedi-test",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/oedi-test/etl/error",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/oedi-test/etl/error:*",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/oedi-test/etl/output",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/oedi-test/etl/output:*",
      "*",
    ])
    error_message = "The ETL role reaches more, or less, than its prefixes, database, workflow and logs."
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.etl.policy, aws_iam_role_policy.maintain.policy] : alltrue([
        for statement in jsondecode(policy).Statement :
        alltrue([for action in statement.Action : !strcontains(action, "*")])
        && (statement.Resource != ["*"] || try(statement.Condition.StringEquals["cloudwatch:namespace"], "any") == "Glue")
      ])
    ])
    error_message = "No action is a pattern, and only metrics of Glue may be put without a resource."
  }
}

run "the_maintenance_role_reaches_the_tables_alone" {
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.maintain.policy).Statement : statement.Resource
      if anytrue([for action in statement.Action : contains(["s3:PutObject", "s3:DeleteObject"], action)])
    ])) == toset(["arn:aws:s3:::oedi-test-bucket/warehouse/*"])
    error_message = "Maintenance writes and deletes in warehouse/ alone."
  }

  assert {
    condition = !anytrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.maintain.policy).Statement : [
        for action in statement.Action : contains(["glue:CreateTable", "glue:DeleteTable"], action)
      ]
    ]))
    error_message = "Maintenance neither makes tables nor drops them."
  }
}

run "a_private_source_may_be_read" {
  variables {
    private_source_bucket = "our-source"
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.etl.policy).Statement : statement.Action
      if contains(statement.Resource, "arn:aws:s3:::our-source/*")
    ] == [["s3:ListBucket", "s3:GetObject"]]
    error_message = "A private source is listed and read, and nothing else."
  }
}

run "a_key_may_be_used_through_s3_alone" {
  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.etl.policy, aws_iam_role_policy.maintain.policy] : [
        for statement in jsondecode(policy).Statement : statement.Condition.StringEquals["kms:ViaService"]
        if statement.Resource == ["arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"]
      ] == ["s3.us-west-2.amazonaws.com"]
    ]) && alltrue([for group in aws_cloudwatch_log_group.this : group.kms_key_id == var.kms_key_arn])
    error_message = "The key is named, used through S3, and encrypts the logs."
  }
}

run "a_service_of_another_account_may_not_take_the_roles" {
  assert {
    condition = alltrue([
      for role in [aws_iam_role.etl, aws_iam_role.maintain] : alltrue([
        for statement in jsondecode(role.assume_role_policy).Statement :
        statement.Principal.Service == ["glue.amazonaws.com"]
        && statement.Condition.StringEquals["aws:SourceAccount"] == "123456789012"
      ])
    ])
    error_message = "Only Glue, and only for this account, takes a role."
  }
}

run "emr_serverless_is_off_by_default" {
  assert {
    condition     = length(aws_emrserverless_application.this) == 0
    error_message = "Nobody asked for EMR."
  }
}

run "emr_serverless_has_a_maximum_and_the_role" {
  variables {
    emr_serverless = { enabled = true, maximum_capacity = { cpu = "16 vCPU" } }
  }

  assert {
    condition = (
      aws_emrserverless_application.this[0].release_label == "emr-7.13.0"
      && aws_emrserverless_application.this[0].maximum_capacity[0].cpu == "16 vCPU"
      && aws_emrserverless_application.this[0].maximum_capacity[0].memory == "256 GB"
      && aws_emrserverless_application.this[0].maximum_capacity[0].disk == "1000 GB"
    )
    error_message = "The application has a release and a maximum of all three."
  }

  assert {
    condition = (
      jsondecode(aws_iam_role.etl.assume_role_policy).Statement[0].Principal.Service == ["glue.amazonaws.com", "emr-serverless.amazonaws.com"]
      && jsondecode(aws_iam_role.maintain.assume_role_policy).Statement[0].Principal.Service == ["glue.amazonaws.com"]
    )
    error_message = "EMR Serverless takes the ETL role and no other."
  }

  assert {
    condition     = strcontains(output.emr_submit_parameters, "--conf spark.archives=s3://oedi-test-bucket/scripts/environment.tar.gz#environment ")
    error_message = "A run there is told where its environment lies."
  }
}
