# What is refused. A run here holds a bad value of several variables at once, and each must be told:
# a run costs a second, whatever it holds.

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

run "no_package_and_large_workers_with_flex" {
  command = plan

  variables {
    package_dir           = "./tests/fixtures/none"
    glue                  = { execution_class = "FLEX", worker_type = "G.4X" }
    log_retention_days    = 0
    private_source_bucket = "s3://our-source/prefix"
    emr_serverless        = { enabled = true, release_label = "emr-7.9.0" }
    name                  = "OEDI-test"
  }

  expect_failures = [
    var.package_dir,
    var.glue,
    var.log_retention_days,
    var.private_source_bucket,
    var.emr_serverless,
    var.name,
  ]
}

run "two_packages_and_an_unknown_worker_type" {
  command = plan

  variables {
    package_dir        = "./tests/fixtures/two"
    glue               = { worker_type = "G.16X" }
    log_retention_days = 100
    emr_serverless     = { enabled = true, maximum_capacity = { memory = "256" } }
  }

  expect_failures = [
    var.package_dir,
    var.glue,
    var.log_retention_days,
    var.emr_serverless,
  ]
}

run "no_scripts_and_an_unknown_execution_class" {
  command = plan

  variables {
    scripts_dir         = "./tests/fixtures/one"
    glue                = { execution_class = "SPOT" }
    kms_key_arn         = "11111111-2222-3333-4444-555555555555"
    maintenance_workers = 1
  }

  expect_failures = [
    var.scripts_dir,
    var.glue,
    var.kms_key_arn,
    var.maintenance_workers,
  ]
}

run "places_in_another_bucket_and_a_glue_of_another_python" {
  command = plan

  variables {
    output_uri    = "s3://other-bucket/etl_output"
    warehouse_uri = "s3://oedi-test-bucket-2/warehouse"
    scripts_uri   = "s3://other-bucket/scripts"
    glue          = { version = "6.0" }
  }

  expect_failures = [
    var.output_uri,
    var.warehouse_uri,
    var.scripts_uri,
    var.glue,
  ]
}

run "a_driver_without_workers" {
  command = plan

  variables {
    glue = { number_of_workers = 1 }
  }

  expect_failures = [
    var.glue,
  ]
}

run "a_run_that_never_ends" {
  command = plan

  variables {
    glue = { timeout_minutes = 100000 }
  }

  expect_failures = [
    var.glue,
  ]
}

run "no_run_at_all" {
  command = plan

  variables {
    glue = { max_concurrent_runs = 0 }
  }

  expect_failures = [
    var.glue,
  ]
}
