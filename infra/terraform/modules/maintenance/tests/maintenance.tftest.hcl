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
    defaults = { arn = "arn:aws:iam::123456789012:role/oedi-test-optimizer" }
  }
}

variables {
  name          = "oedi-test"
  bucket_name   = "oedi-test-bucket"
  bucket_arn    = "arn:aws:s3:::oedi-test-bucket"
  database_name = "oedi_test"
  warehouse_uri = "s3://oedi-test-bucket/warehouse"
}

run "off_makes_nothing" {
  assert {
    condition = (
      length(aws_glue_catalog_table_optimizer.compaction) == 0
      && length(aws_glue_catalog_table_optimizer.retention) == 0
      && length(aws_glue_catalog_table_optimizer.orphan_files) == 0
      && length(aws_iam_role.this) == 0
      && output.optimizer_role_arn == null
    )
    error_message = "Off is the default, and makes neither optimizers nor a role."
  }
}

run "on_makes_three_for_each_table" {
  variables {
    enable_table_optimizers = true
    tables                  = ["hourly", "metadata"]
  }

  assert {
    condition = (
      toset(keys(aws_glue_catalog_table_optimizer.compaction)) == toset(["hourly", "metadata"])
      && toset(keys(aws_glue_catalog_table_optimizer.retention)) == toset(["hourly", "metadata"])
      && toset(keys(aws_glue_catalog_table_optimizer.orphan_files)) == toset(["hourly", "metadata"])
    )
    error_message = "Each table has a compaction, a retention and an orphan file deletion."
  }

  assert {
    condition = alltrue([
      for kind, optimizers in {
        compaction           = aws_glue_catalog_table_optimizer.compaction
        retention            = aws_glue_catalog_table_optimizer.retention
        orphan_file_deletion = aws_glue_catalog_table_optimizer.orphan_files
        } : alltrue([
          for table, optimizer in optimizers :
          optimizer.type == kind && optimizer.table_name == table && optimizer.catalog_id == "123456789012"
          && optimizer.configuration[0].enabled && optimizer.configuration[0].role_arn == output.optimizer_role_arn
      ])
    ])
    error_message = "An optimizer is of its kind, of its table, on, and has the role."
  }

  assert {
    condition = (
      aws_glue_catalog_table_optimizer.orphan_files["hourly"].configuration[0].orphan_file_deletion_configuration[0].iceberg_configuration[0].location
      == "s3://oedi-test-bucket/warehouse/oedi_test/hourly"
    )
    error_message = "Orphans are looked for in the table's own folder alone."
  }

  assert {
    condition = (
      aws_glue_catalog_table_optimizer.retention["hourly"].configuration[0].retention_configuration[0].iceberg_configuration[0].snapshot_retention_period_in_days == 5
      && aws_glue_catalog_table_optimizer.orphan_files["hourly"].configuration[0].orphan_file_deletion_configuration[0].iceberg_configuration[0].orphan_file_retention_period_in_days == 7
    )
    error_message = "Snapshots stay five days and orphans seven."
  }
}

run "the_role_reaches_the_tables_that_are_named_and_no_other" {
  variables {
    enable_table_optimizers = true
    tables                  = ["hourly"]
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this[0].policy).Statement : statement.Resource
      ])) == toset([
      "arn:aws:s3:::oedi-test-bucket",
      "arn:aws:s3:::oedi-test-bucket/warehouse/oedi_test/hourly/*",
      "arn:aws:glue:us-west-2:123456789012:catalog",
      "arn:aws:glue:us-west-2:123456789012:database/oedi_test",
      "arn:aws:glue:us-west-2:123456789012:table/oedi_test/hourly",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/iceberg-compaction/logs:*",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/iceberg-retention/logs:*",
      "arn:aws:logs:us-west-2:123456789012:log-group:/aws-glue/iceberg-orphan-file-deletion/logs:*",
    ])
    error_message = "The role of the optimizers reaches more, or less, than the tables it is for."
  }
}

run "a_short_orphan_window_a_table_twice_and_no_snapshot_are_refused" {
  command = plan

  variables {
    orphan_retention_days = 2
    tables                = ["hourly", "metadata", "hourly"]
    snapshot_retention    = { keep_last = 0 }
    warehouse_uri         = "s3://other-bucket/warehouse"
  }

  expect_failures = [
    var.orphan_retention_days,
    var.tables,
    var.snapshot_retention,
    var.warehouse_uri,
  ]
}

run "a_table_that_is_a_path_is_refused" {
  command = plan

  variables {
    tables = ["../hourly"]
  }

  expect_failures = [var.tables]
}
