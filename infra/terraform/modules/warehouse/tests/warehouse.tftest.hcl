mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::oedi-test-123456789012-us-west-2" }
  }
}

variables {
  name          = "oedi-test"
  bucket_name   = "oedi-test-123456789012-us-west-2"
  database_name = "oedi_test"
}

run "names_and_places" {
  assert {
    condition = (
      output.output_uri == "s3://oedi-test-123456789012-us-west-2/etl_output"
      && output.warehouse_uri == "s3://oedi-test-123456789012-us-west-2/warehouse"
      && output.query_results_uri == "s3://oedi-test-123456789012-us-west-2/query-results"
      && output.scripts_uri == "s3://oedi-test-123456789012-us-west-2/scripts"
    )
    error_message = "The four prefixes are etl_output, warehouse, query-results and scripts, without a slash at the end."
  }

  assert {
    condition     = aws_glue_catalog_database.this.location_uri == "s3://oedi-test-123456789012-us-west-2/warehouse/oedi_test"
    error_message = "A database lies in the folder where the job puts its tables."
  }

  assert {
    condition     = aws_s3_bucket.this.force_destroy == false
    error_message = "A bucket with data is not destroyed unless somebody asked for it."
  }
}

run "only_two_folders_expire" {
  assert {
    condition = toset([
      for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.filter[0].prefix
      if anytrue([for expiration in rule.expiration : coalesce(expiration.days, 0) > 0 || expiration.date != null])
    ]) == toset(["query-results/", "scripts/runs/"])
    error_message = "A rule deletes by age elsewhere than in query-results/ and scripts/runs/: it could delete tables."
  }

  assert {
    condition = anytrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this.rule :
      rule.abort_incomplete_multipart_upload[0].days_after_initiation == 1 && rule.id == "sweep-what-nobody-sees"
      if length(rule.abort_incomplete_multipart_upload) > 0
    ])
    error_message = "Unfinished uploads of the whole bucket are called off after a day."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.status == "Enabled"])
    error_message = "A rule that is off does nothing."
  }
}

run "a_rule_over_the_tables_is_refused" {
  command = plan

  variables {
    expiring_prefixes = { "warehouse/" = 30 }
  }

  expect_failures = [var.expiring_prefixes]
}

run "a_rule_over_a_part_of_the_tables_is_refused" {
  command = plan

  variables {
    expiring_prefixes = { "warehouse/oedi_test/hourly/data/" = 30 }
  }

  expect_failures = [var.expiring_prefixes]
}

run "a_rule_over_the_whole_bucket_is_refused" {
  command = plan

  variables {
    expiring_prefixes = { "" = 30 }
  }

  expect_failures = [var.expiring_prefixes]
}

run "a_rule_whose_prefix_begins_the_tables_prefix_is_refused" {
  command = plan

  variables {
    expiring_prefixes = { "w" = 30 }
  }

  expect_failures = [var.expiring_prefixes]
}

run "a_rule_over_landed_copies_is_refused" {
  command = plan

  variables {
    expiring_prefixes = { "etl_output/metadata/" = 30 }
  }

  expect_failures = [var.expiring_prefixes]
}

run "s3_encrypts_with_its_own_keys" {
  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.this.rule :
      rule.apply_server_side_encryption_by_default[0].sse_algorithm == "AES256" && rule.bucket_key_enabled == false
    ])
    error_message = "Without a key it is AES256."
  }
}

run "a_key_encrypts_and_is_asked_once_for_many_objects" {
  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.this.rule :
      rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"
      && rule.apply_server_side_encryption_by_default[0].kms_master_key_id == "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
      && rule.bucket_key_enabled
    ])
    error_message = "With a key it is aws:kms with that key, and a bucket key."
  }
}

run "part_of_a_day_and_bad_names_are_refused" {
  command = plan

  variables {
    query_results_expiry_days = 0.5
    noncurrent_version_days   = 0
    kms_key_arn               = "alias/mine"
    bucket_name               = "oedi.test"
    database_name             = "oedi-test"
    name                      = "OEDI"
  }

  expect_failures = [
    var.query_results_expiry_days,
    var.noncurrent_version_days,
    var.kms_key_arn,
    var.bucket_name,
    var.database_name,
    var.name,
  ]
}

run "plain_text_and_old_tls_are_denied_to_everybody" {
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement :
      statement.Effect == "Deny" && statement.Principal == "*" && statement.Action == "s3:*"
      ]) && (
      jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
      && jsondecode(aws_s3_bucket_policy.this.policy).Statement[1].Condition.NumericLessThan["s3:TlsVersion"] == "1.2"
    )
    error_message = "The policy denies everything without TLS 1.2."
  }
}
