# The project is the checkout: `make package` must have run.

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
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/oedi-test" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::oedi-test-123456789012-us-west-2" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-west-2:123456789012:oedi-test-alarms" }
  }
}

variables {
  account_id  = "123456789012"
  region      = "us-west-2"
  environment = "test"
  project_dir = "../../../.."
}

run "six_modules_share_names_and_places" {
  assert {
    condition = (
      output.bucket_name == "oedi-test-123456789012-us-west-2"
      && output.database_name == "oedi_test"
      && output.output_uri == "s3://oedi-test-123456789012-us-west-2/etl_output"
      && output.warehouse_uri == "s3://oedi-test-123456789012-us-west-2/warehouse"
      && output.runs_uri == "s3://oedi-test-123456789012-us-west-2/scripts/runs"
      && output.default_config_uri == "s3://oedi-test-123456789012-us-west-2/scripts/conf/default.yaml"
      && output.etl_job_name == "oedi-test-etl"
      && output.workflow_name == "oedi-test"
      && output.workgroup_name == "oedi-test"
      && output.optimizer_role_arn == null
      && output.emr_application_id == null
    )
    error_message = "Names begin with oedi-test, and options are off."
  }

  assert {
    condition = yamldecode(local.default_config) == {
      src_bucket = "oedi-data-lake"
      output_dir = "s3://oedi-test-123456789012-us-west-2/etl_output"
      job_specific = [{
        release_year = "2024"
        release_name = "comstock_amy2018_release_1"
        state        = "CO"
        upgrades     = "0-1"
      }]
      source = { region = "us-west-2" }
      catalog = {
        type          = "glue"
        database      = "oedi_test"
        region        = "us-west-2"
        warehouse_dir = "s3://oedi-test-123456789012-us-west-2/warehouse"
      }
      settings = {
        log_dir    = "/tmp/oedi-logs"
        log_format = "json"
      }
      maintenance = {}
    }
    error_message = "The default config holds what conf/glue.yaml holds, and nothing that was not set."
  }
}

run "settings_and_other_servers_reach_the_config" {
  command = plan

  variables {
    settings         = { engine = "window", read_ahead_files = 8 }
    config_overrides = { source_endpoint_url = "http://127.0.0.1:5000", source_path_style = true, s3_endpoint_url = "http://127.0.0.1:5000" }
    src_bucket       = "our-lake"

    maintenance_settings = { snapshots_to_keep = 7 }
  }

  assert {
    condition = (
      yamldecode(local.default_config).settings == { engine = "window", log_dir = "/tmp/oedi-logs", log_format = "json", read_ahead_files = 8 }
      && yamldecode(local.default_config).source == { endpoint_url = "http://127.0.0.1:5000", path_style = true, region = "us-west-2" }
      && yamldecode(local.default_config).catalog.s3_endpoint_url == "http://127.0.0.1:5000"
      && yamldecode(local.default_config).src_bucket == "our-lake"
      && yamldecode(local.default_config).maintenance == { snapshots_to_keep = 7 }
    )
    error_message = "What was set stands in the config."
  }
}

run "options_that_are_on_are_made" {
  variables {
    enable_table_optimizers = true
    emr_serverless          = { enabled = true }
  }

  assert {
    condition     = output.optimizer_role_arn != null && output.emr_application_id != null
    error_message = "An option that was asked for is there."
  }
}

run "credentials_of_another_account_are_refused" {
  command = plan

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "999999999999" }
  }

  expect_failures = [data.aws_caller_identity.this]
}

run "a_provider_of_another_region_is_refused" {
  command = plan

  override_data {
    target = data.aws_region.this
    values = { name = "eu-central-1" }
  }

  expect_failures = [data.aws_region.this]
}

run "an_environment_in_capitals_and_an_account_of_eleven_digits_are_refused" {
  command = plan

  variables {
    environment      = "Dev"
    account_id       = "12345678901"
    region           = "oregon"
    job_specific     = []
    src_bucket       = "s3://lake/prefix"
    src_region       = "oregon"
    config_overrides = { s3_endpoint_url = "http://me:secret@host" }
  }

  expect_failures = [
    var.environment,
    var.account_id,
    var.region,
    var.job_specific,
    var.src_bucket,
    var.src_region,
    var.config_overrides,
  ]
}

run "an_environment_of_one_letter_and_a_small_state_are_refused" {
  command = plan

  variables {
    environment  = "d"
    job_specific = [{ release_year = "2024", release_name = "comstock_amy2018_release_1", state = "co", upgrades = "0" }]
  }

  expect_failures = [
    var.environment,
    var.job_specific,
  ]
}

run "an_environment_with_a_dash_and_a_release_outside_its_folder_are_refused" {
  command = plan

  variables {
    environment  = "my-dev"
    job_specific = [{ release_year = "2024", release_name = "a/../../b", state = "CO", upgrades = "0" }]
  }

  expect_failures = [
    var.environment,
    var.job_specific,
  ]
}

run "an_environment_with_a_digit_first_and_an_upgrade_in_words_are_refused" {
  command = plan

  variables {
    environment  = "1dev"
    job_specific = [{ release_year = "2024", release_name = "comstock_amy2018_release_1", state = "CO", upgrades = "zero" }]
  }

  expect_failures = [
    var.environment,
    var.job_specific,
  ]
}

run "an_environment_that_is_too_long_and_a_year_of_two_digits_are_refused" {
  command = plan

  variables {
    environment  = "developmentxx"
    job_specific = [{ release_year = "24", release_name = "comstock_amy2018_release_1", state = "CO", upgrades = "0" }]
  }

  expect_failures = [
    var.environment,
    var.job_specific,
  ]
}

run "settings_that_every_run_would_refuse_are_refused" {
  command = plan

  variables {
    settings     = { logging_level = "WARNING" }
    job_specific = [{ release_year = "2024", release_name = "..", state = "CO", upgrades = "0" }]
    glue         = { timeout_minutes = 60 }
    slow_run_s   = 3600
  }

  expect_failures = [
    var.settings,
    var.job_specific,
    var.slow_run_s,
  ]
}

run "a_range_that_goes_downwards_and_an_unknown_engine_are_refused" {
  command = plan

  variables {
    settings     = { engine = "spark" }
    job_specific = [{ release_year = "2024", release_name = "comstock_amy2018_release_1", state = "CO", upgrades = "5-1" }]
  }

  expect_failures = [
    var.settings,
    var.job_specific,
  ]
}

run "a_share_above_one_and_a_range_without_end_are_refused" {
  command = plan

  variables {
    settings     = { max_failed_fraction = 5, listing_workers = 9999 }
    job_specific = [{ release_year = "2024", release_name = "comstock_amy2018_release_1", state = "CO", upgrades = "0-999999999" }]
  }

  expect_failures = [
    var.settings,
    var.job_specific,
  ]
}
