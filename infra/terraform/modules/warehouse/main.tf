# One bucket for an environment, and the Glue database whose tables lie in it.
#
#   etl_output/      landed copies of metadata, summaries of runs
#   warehouse/       the Iceberg tables; never expires
#   query-results/   what Athena writes; expires
#   scripts/         code, the default config, and configs of single runs, which expire

locals {
  prefixes = {
    output        = "etl_output"
    warehouse     = "warehouse"
    query_results = "query-results"
    scripts       = "scripts"
  }
  # A job's config names the folders without a slash at the end.
  uris = { for key, prefix in local.prefixes : key => "s3://${aws_s3_bucket.this.bucket}/${prefix}" }

  expiry_days = merge(var.expiring_prefixes, { "query-results/" = var.query_results_expiry_days })
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18: no access log, which needs a second bucket; where reads must be on record, turn on CloudTrail's data events.
  # checkov:skip=CKV_AWS_144: no copy in another region; the tables can be computed again from a public bucket.
  # checkov:skip=CKV_AWS_145: KMS is an option (kms_key_arn); S3's own keys encrypt otherwise.
  # checkov:skip=CKV2_AWS_62: nobody waits for events of this bucket; runs report to EventBridge.

  bucket        = var.bucket_name
  force_destroy = var.force_destroy
  tags          = var.tags

  # So that a destroy, or a change of the name, tries the bucket first. One that holds data stops it
  # there, and the database still says which files are tables.
  depends_on = [aws_glue_catalog_database.this]
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    # One request to KMS for many objects: without it each of thousands of files asks for a key.
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# On, although Iceberg keeps snapshots of its own: those do not help when the files are deleted
# behind its back (`aws s3 rm --recursive`, a wrong orphan removal). No role of ours may delete a
# version. The price is small, because data files are never overwritten: what a run replaces is
# paid for noncurrent_version_days longer.
resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for refusal in [
        { sid = "TlsOnly", operator = "Bool", key = "aws:SecureTransport", value = "false" },
        { sid = "NoOldTls", operator = "NumericLessThan", key = "s3:TlsVersion", value = "1.2" },
        ] : {
        Sid    = refusal.sid
        Effect = "Deny"
        # Everybody and every action (*): a refusal that left one out would not hold.
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"] # the bucket and all in it, as above
        Condition = { (refusal.operator) = { (refusal.key) = refusal.value } }
      }
    ]
  })

  # S3 refuses a policy while it is still deciding whether the bucket may be public.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  # Deletes by age: each within a folder that holds no table (see expiring_prefixes).
  dynamic "rule" {
    for_each = local.expiry_days

    content {
      id     = "expire-${trimsuffix(replace(rule.key, "/", "-"), "-")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }
    }
  }

  # The whole bucket, and nothing that a reader can see: versions that were already deleted or
  # overwritten, the markers left of them, and parts of uploads that a killed run never finished.
  rule {
    id     = "sweep-what-nobody-sees"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_version_days
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # Noncurrent versions are those of a versioned bucket.
  depends_on = [aws_s3_bucket_versioning.this]

  lifecycle {
    precondition {
      condition     = alltrue([for prefix in keys(local.expiry_days) : !startswith(prefix, "${local.prefixes.warehouse}/") && !startswith("${local.prefixes.warehouse}/", prefix)])
      error_message = "An expiring prefix reaches ${local.prefixes.warehouse}/ and would delete live tables. Remove it from expiring_prefixes."
    }
  }
}

resource "aws_glue_catalog_database" "this" {
  name         = var.database_name
  description  = "End-Use Load Profiles as hours, and their metadata, of ${var.name}"
  location_uri = "s3://${var.bucket_name}/${local.prefixes.warehouse}/${var.database_name}"
  tags         = var.tags
}
