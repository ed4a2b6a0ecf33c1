# What the module makes of its variables and of the files in tests/sql, without a server.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  name              = "oedi-dev"
  database_name     = "oedi_dev"
  query_results_uri = "s3://oedi-dev-123456789012-us-west-2/query-results"
  queries_dir       = "tests/sql/queries"
  views_dir         = "tests/sql/views"
}

run "each_file_is_a_saved_query" {
  command = plan

  assert {
    condition     = keys(aws_athena_named_query.this) == ["annual", "last_runs", "savings", "view_buildings"]
    error_message = "The saved queries are others than the files."
  }
  assert {
    condition     = aws_athena_named_query.this["annual"].description == "What do the buildings of one state use in a year?"
    error_message = "The description is not the first line."
  }
  assert {
    condition     = aws_athena_named_query.this["annual"].query == file("tests/sql/queries/annual.sql")
    error_message = "Without defaults a text is as it stands in its file."
  }
  assert {
    condition     = aws_athena_named_query.this["annual"].database == "oedi_dev"
    error_message = "It runs in another database."
  }
}

run "marked_literals_are_replaced_and_no_others" {
  command = plan

  variables {
    defaults = { release = "2025_resstock_tmy3_release_1", state = "NY", upgrade = 12 }
  }

  assert {
    condition = slice(split("\n", aws_athena_named_query.this["annual"].query), 4, 8) == tolist([
      "WHERE h.release = '2025_resstock_tmy3_release_1' -- choose release",
      "  AND h.state = 'NY' -- choose state",
      "  AND h.upgrade = 12 -- choose upgrade",
      "  AND h.other = 'CO'",
    ])
    error_message = "The lines are: ${aws_athena_named_query.this["annual"].query}"
  }
  assert {
    condition     = aws_athena_named_query.this["last_runs"].query == file("tests/sql/queries/last_runs.sql")
    error_message = "A text without markers was changed."
  }
}

run "what_is_not_chosen_stays" {
  command = plan

  variables {
    defaults = { state = "NY" }
  }

  assert {
    condition = slice(split("\n", aws_athena_named_query.this["annual"].query), 4, 7) == tolist([
      "WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release",
      "  AND h.state = 'NY' -- choose state",
      "  AND h.upgrade = 0 -- choose upgrade",
    ])
    error_message = "The lines are: ${aws_athena_named_query.this["annual"].query}"
  }
}

run "release_of_another_product_stays_out" {
  command = plan

  variables {
    defaults = { release = "2024_comstock_amy2018_release_1", state = "GA" }
  }

  assert {
    condition = slice(split("\n", aws_athena_named_query.this["savings"].query), 4, 6) == tolist([
      "WHERE h.release = '2022_resstock_amy2018_release_1' -- choose release",
      "  AND h.state = 'GA' -- choose state",
    ])
    error_message = "The lines are: ${aws_athena_named_query.this["savings"].query}"
  }
}

run "release_of_the_same_product_is_taken" {
  command = plan

  variables {
    defaults = { release = "2025_resstock_amy2018_release_1" }
  }

  assert {
    condition     = strcontains(aws_athena_named_query.this["savings"].query, "'2025_resstock_amy2018_release_1' -- choose release")
    error_message = "The lines are: ${aws_athena_named_query.this["savings"].query}"
  }
}

run "an_upgrade_is_not_compared_with_itself_by_default" {
  command = plan

  variables {
    defaults = { upgrade = 0 }
  }

  assert {
    condition     = strcontains(aws_athena_named_query.this["savings"].query, "AND h.upgrade = 1 -- choose upgrade")
    error_message = "The lines are: ${aws_athena_named_query.this["savings"].query}"
  }
}

run "clients_cannot_change_what_the_workgroup_says" {
  command = plan

  assert {
    condition = (
      aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration
      && aws_athena_workgroup.this.configuration[0].publish_cloudwatch_metrics_enabled
      && !aws_athena_workgroup.this.configuration[0].requester_pays_enabled
      && aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 100000000000
      && aws_athena_workgroup.this.configuration[0].engine_version[0].selected_engine_version == "Athena engine version 3"
    )
    error_message = "The settings are others."
  }
  assert {
    condition = (
      aws_athena_workgroup.this.configuration[0].result_configuration[0].output_location == "s3://oedi-dev-123456789012-us-west-2/query-results/"
      && aws_athena_workgroup.this.configuration[0].result_configuration[0].expected_bucket_owner == "123456789012"
      && aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_S3"
    )
    error_message = "Results go elsewhere, or are not encrypted."
  }
}

run "results_are_encrypted_with_the_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = (
      aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS"
      && aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].kms_key_arn == var.kms_key_arn
    )
    error_message = "The key is not used."
  }
}

run "limit_below_athenas_smallest_is_refused" {
  command = plan

  variables {
    scan_limit_bytes = 10485759
  }

  expect_failures = [var.scan_limit_bytes]
}

run "literal_that_would_end_its_quotes_is_refused" {
  command = plan

  variables {
    defaults = { release = "x' OR '1'='1" }
  }

  expect_failures = [var.defaults]
}

run "state_of_another_kind_is_refused" {
  command = plan

  variables {
    defaults = { state = "Colorado" }
  }

  expect_failures = [var.defaults]
}

run "negative_upgrade_is_refused" {
  command = plan

  variables {
    defaults = { upgrade = -1 }
  }

  expect_failures = [var.defaults]
}

run "folder_without_queries_is_refused" {
  command = plan

  variables {
    queries_dir = "tests/sql/nothing_here"
  }

  expect_failures = [var.queries_dir]
}

run "file_with_a_space_in_its_name_is_refused" {
  command = plan

  variables {
    queries_dir = "tests/sql/badname"
  }

  expect_failures = [var.queries_dir]
}

run "marker_apart_from_its_literal_is_refused" {
  command = plan

  variables {
    queries_dir = "tests/sql/misplaced"
  }

  expect_failures = [aws_athena_named_query.this["one"]]
}

run "file_without_a_first_line_is_refused" {
  command = plan

  variables {
    queries_dir = "tests/sql/untitled"
  }

  expect_failures = [aws_athena_named_query.this["one"]]
}

run "view_of_another_name_is_refused" {
  command = plan

  variables {
    views_dir = "tests/sql/badview"
  }

  expect_failures = [aws_athena_named_query.this["view_buildings"]]
}
