# The Athena workgroup, and the saved queries: one per file of queries_dir and of views_dir.

data "aws_caller_identity" "current" {}

locals {
  # What stands before the marker is the only thing that is replaced on a line.
  marked = {
    release = "'[A-Za-z0-9_.]+'(\\s*-- choose release\\s*)$"
    state   = "'[A-Z]{2}'(\\s*-- choose state\\s*)$"
    upgrade = "= *[0-9]+(\\s*-- choose upgrade\\s*)$"
    county  = "'G[0-9]{7}'(\\s*-- choose county\\s*)$"
  }
  chosen = {
    release = var.defaults.release == null ? null : "'${var.defaults.release}'"
    state   = var.defaults.state == null ? null : "'${var.defaults.state}'"
    # The baseline is what the files choose, but where one compares an upgrade with it.
    upgrade = coalesce(var.defaults.upgrade, 0) == 0 ? null : "= ${var.defaults.upgrade}"
  }

  files = merge(
    { for file in fileset(var.queries_dir, "*.sql") : trimsuffix(file, ".sql") => "${var.queries_dir}/${file}" },
    { for file in fileset(var.views_dir, "*.sql") : "view_${trimsuffix(file, ".sql")}" => "${var.views_dir}/${file}" },
  )
  lines = { for name, path in local.files : name => split("\n", file(path)) }

  # A query of one product's columns (`-- Product: resstock`) keeps its release if the chosen one is
  # of another product, whose tables lack them.
  product = { for name, path in local.files : name => try(regex("(?m)^-- Product: *(\\w+)", file(path))[0], "") }
  takes_release = { for name, product in local.product : name => (
    local.chosen.release != null && (product == "" || strcontains(coalesce(local.chosen.release, "-"), product))
  ) }

  # One step per marker, because a function of Terraform cannot be folded over a map.
  with_release = { for name, lines in local.lines : name => [
    for line in lines : !local.takes_release[name] ? line : replace(line, "/${local.marked.release}/", "${local.chosen.release}$1")
  ] }
  with_state = { for name, lines in local.with_release : name => [
    for line in lines : local.chosen.state == null ? line : replace(line, "/${local.marked.state}/", "${local.chosen.state}$1")
  ] }
  with_upgrade = { for name, lines in local.with_state : name => [
    for line in lines : local.chosen.upgrade == null ? line : replace(line, "/${local.marked.upgrade}/", "${local.chosen.upgrade}$1")
  ] }
  queries = { for name, lines in local.with_upgrade : name => join("\n", lines) }

  # A marker behind anything else would let the file's own choice pass for the asked one.
  misplaced = { for name, lines in local.lines : name => [
    for line in lines : trimspace(line)
    if can(regex("-- choose \\w+\\s*$", line))
    && !anytrue([for pattern in values(local.marked) : can(regex(pattern, line))])
  ] }
}

# provider aws 5.100.0: resource aws_athena_workgroup
resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "Queries over the load profiles: limited in what they read, results encrypted."
  force_destroy = var.force_destroy

  configuration {
    # Else a client's own settings would replace the place, the encryption and the limit.
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_bytes
    requester_pays_enabled             = false

    engine_version {
      # The saved queries are written for it; AUTO would change it under them.
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location = "${var.query_results_uri}/"
      # A bucket of that name in another account is refused instead of filled.
      expected_bucket_owner = data.aws_caller_identity.current.account_id

      encryption_configuration {
        encryption_option = var.kms_key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each = local.queries

  name        = each.key
  description = substr(trimspace(trimprefix(trimprefix(split("\n", each.value)[0], "--"), " ")), 0, 1024)
  workgroup   = aws_athena_workgroup.this.name
  database    = var.database_name
  query       = each.value

  lifecycle {
    precondition {
      condition     = can(regex("^-- \\S", each.value))
      error_message = "${local.files[each.key]} does not begin with a line `-- What it answers`: add it, it becomes the description."
    }

    precondition {
      condition     = length(local.misplaced[each.key]) == 0
      error_message = "${local.files[each.key]}: a marker `-- choose …` stands right behind its literal ('CO', = 0) at the end of the line; this one does not: ${join(" | ", local.misplaced[each.key])}."
    }

    precondition {
      # Four bytes in base64 hold three, so this counts bytes, as Athena does, not characters.
      condition     = length(base64encode(each.value)) * 3 / 4 <= 262144
      error_message = "${local.files[each.key]} is longer than the 262144 bytes that Athena saves: shorten it."
    }

    precondition {
      condition     = !startswith(each.key, "view_") || can(regex("(?im)^CREATE OR REPLACE VIEW ${trimprefix(each.key, "view_")} AS\\b", each.value))
      error_message = "${local.files[each.key]} does not create the view it is named after: begin with CREATE OR REPLACE VIEW ${trimprefix(each.key, "view_")} AS."
    }
  }
}
