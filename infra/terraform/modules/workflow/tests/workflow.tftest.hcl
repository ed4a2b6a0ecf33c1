# What the module makes of its variables, without a server: `terraform test`.

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
    defaults = { arn = "arn:aws:iam::123456789012:role/oedi-dev-crawler" }
  }
}

variables {
  name          = "oedi-dev"
  etl_job_name  = "oedi-dev-etl"
  bucket_name   = "oedi-dev-123456789012-us-west-2"
  bucket_arn    = "arn:aws:s3:::oedi-dev-123456789012-us-west-2"
  database_name = "oedi_dev"
  output_uri    = "s3://oedi-dev-123456789012-us-west-2/etl_output"
  warehouse_uri = "s3://oedi-dev-123456789012-us-west-2/warehouse"
}

run "without_a_schedule_it_starts_on_demand" {
  command = plan

  assert {
    condition     = aws_glue_trigger.start.type == "ON_DEMAND" && aws_glue_trigger.start.schedule == null
    error_message = "The trigger is not on demand."
  }
  assert {
    condition     = aws_glue_trigger.start.actions[0].job_name == "oedi-dev-etl"
    error_message = "It does not start the job."
  }
  assert {
    condition     = aws_glue_workflow.this.max_concurrent_runs == 1
    error_message = "More than one run at a time."
  }
}

run "with_a_schedule_it_starts_by_itself" {
  command = plan

  variables {
    schedule = "cron(30 6 ? * MON-FRI *)"
  }

  assert {
    condition     = aws_glue_trigger.start.type == "SCHEDULED" && aws_glue_trigger.start.schedule == "cron(30 6 ? * MON-FRI *)"
    error_message = "The trigger does not have the schedule."
  }
}

run "copies_are_crawled_after_success_alone" {
  command = plan

  assert {
    condition     = [for each in one(aws_glue_trigger.after_etl.predicate).conditions : "${each.job_name} ${each.state}"] == ["oedi-dev-etl SUCCEEDED"]
    error_message = "The condition is another."
  }
  assert {
    condition     = aws_glue_trigger.after_etl.actions[0].crawler_name == "oedi-dev-landed"
    error_message = "It does not start the crawler of the copies."
  }
}

run "copies_are_crawled_after_discrepancies_too_if_asked" {
  command = plan

  variables {
    crawl_after = ["SUCCEEDED", "FAILED"]
  }

  assert {
    condition     = [for each in one(aws_glue_trigger.after_etl.predicate).conditions : each.state] == ["SUCCEEDED", "FAILED"]
    error_message = "The conditions are others."
  }
  assert {
    condition     = one(aws_glue_trigger.after_etl.predicate).logical == "ANY"
    error_message = "A run cannot end in two ways at once: any must do."
  }
}

run "crawler_reads_the_copies_into_tables_of_its_own_prefix" {
  command = plan

  assert {
    condition     = aws_glue_crawler.landed.s3_target[0].path == "s3://oedi-dev-123456789012-us-west-2/etl_output/metadata/"
    error_message = "It crawls something else."
  }
  assert {
    condition     = aws_glue_crawler.landed.table_prefix == "landed_"
    error_message = "Its table would collide with the Iceberg table metadata."
  }
  assert {
    # Bucket 1, etl_output 2, metadata 3.
    condition     = jsondecode(aws_glue_crawler.landed.configuration).Grouping.TableLevelConfiguration == 3
    error_message = "The table would lie at another level than the folder metadata."
  }
  assert {
    condition     = contains(aws_glue_crawler.landed.s3_target[0].exclusions, "**/.*")
    error_message = "Hidden files would be crawled."
  }
}

run "iceberg_crawler_is_off" {
  command = plan

  assert {
    condition     = length(aws_glue_crawler.iceberg) == 0
    error_message = "It is on by default."
  }
  assert {
    condition     = !strcontains(jsonencode(data.aws_iam_policy_document.crawler.statement), "/warehouse")
    error_message = "The role may read the tables, which nothing of it needs."
  }
}

run "iceberg_crawler_reads_the_tables_into_names_of_its_own" {
  command = plan

  variables {
    iceberg_crawler_enabled = true
  }

  assert {
    condition     = aws_glue_crawler.iceberg[0].iceberg_target[0].paths == toset(["s3://oedi-dev-123456789012-us-west-2/warehouse/oedi_dev/"])
    error_message = "It crawls something else."
  }
  assert {
    condition     = aws_glue_crawler.iceberg[0].table_prefix == "crawled_"
    error_message = "It could set the job's own tables back."
  }
  assert {
    condition     = strcontains(jsonencode(data.aws_iam_policy_document.crawler.statement), "/warehouse/oedi_dev/*")
    error_message = "Its role may not read the tables."
  }
}

run "key_is_for_s3_alone" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = anytrue([
      for each in data.aws_iam_policy_document.crawler.statement :
      each.actions == toset(["kms:Decrypt"]) && each.condition != null
    ])
    error_message = "The role may not decrypt, or not through S3 alone."
  }
}

run "schedule_of_five_fields_is_refused" {
  command = plan

  variables {
    schedule = "cron(0 6 * * *)"
  }

  expect_failures = [var.schedule]
}

run "schedule_of_two_kinds_of_day_is_refused" {
  command = plan

  variables {
    schedule = "cron(0 6 1 * MON *)"
  }

  expect_failures = [var.schedule]
}

run "unknown_end_of_a_job_is_refused" {
  command = plan

  variables {
    crawl_after = ["SUCCEEDED", "SUCCESS"]
  }

  expect_failures = [var.crawl_after]
}

run "no_end_of_a_job_is_refused" {
  command = plan

  variables {
    crawl_after = []
  }

  expect_failures = [var.crawl_after]
}

run "property_that_would_replace_an_argument_is_refused" {
  command = plan

  variables {
    default_run_properties = { state = "CO", workgroup = "oedi-dev" }
  }

  expect_failures = [var.default_run_properties]
}

run "alias_of_a_key_is_refused" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:alias/lake"
  }

  expect_failures = [var.kms_key_arn]
}

run "name_of_another_kind_is_refused" {
  command = plan

  variables {
    name = "Oedi-Dev"
  }

  expect_failures = [var.name]
}
