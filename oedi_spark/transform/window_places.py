"""Where Spark finds what Python reaches in its own way: URIs, and Hadoop's settings for S3.

Credentials are none of them: Spark finds its own, as the Python tasks do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oedi_spark.lake.files import S3Access, is_on_s3
from oedi_spark.source.storage import SourceLocation

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_S3 = "s3://"
_ENCRYPTIONS = {"AES256": "AES256", "aws:kms": "SSE-KMS"}


def source_uri(spark: SparkSession, location: SourceLocation, key: str) -> str:
    """A key of the source, as a URI for Spark."""
    if location.is_local:
        return f"file://{location.root}/{key}"
    return spark_uri(spark, f"{_S3}{location.root}/{key}")


def spark_uri(spark: SparkSession, uri: str) -> str:
    """A URI as Spark takes it: `s3:` stays where the cluster has a file system for it."""
    if not is_on_s3(uri) or _has_s3(spark):
        return uri
    return f"s3a://{uri.removeprefix(_S3)}"


def source_options(location: SourceLocation) -> dict[str, str]:
    """How S3A reaches the bucket of a location; for that bucket alone."""
    if location.is_local:
        return {}
    prefix = f"fs.s3a.bucket.{location.root.split('/', 1)[0]}"
    options = {
        f"{prefix}.connection.establish.timeout": f"{round(location.connect_timeout_s * 1000)}",
        f"{prefix}.connection.timeout": f"{round(location.read_timeout_s * 1000)}",
        f"{prefix}.attempts.maximum": str(location.max_attempts),
    }
    if location.anonymous:
        provider = "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"
        options[f"{prefix}.aws.credentials.provider"] = provider
    if location.endpoint_url:
        is_plain = location.endpoint_url.startswith("http:")
        options[f"{prefix}.endpoint"] = location.endpoint_url
        options[f"{prefix}.connection.ssl.enabled"] = "false" if is_plain else "true"
    if location.region:
        options[f"{prefix}.endpoint.region"] = location.region
    if location.path_style:
        options[f"{prefix}.path.style.access"] = "true"
    if location.requester_pays:
        options[f"{prefix}.requester.pays.enabled"] = "true"
    return options


def output_options(data_uri: str, access: S3Access) -> dict[str, str]:
    """How S3A reaches the bucket that is written to."""
    if not is_on_s3(data_uri):
        return {}
    bucket = data_uri.removeprefix(_S3).split("/", 1)[0]
    options = source_options(access.bucket(bucket))
    if access.sse is not None:
        prefix = f"fs.s3a.bucket.{bucket}.encryption"
        options[f"{prefix}.algorithm"] = _ENCRYPTIONS[access.sse]
        if access.kms_key_id:
            options[f"{prefix}.key"] = access.kms_key_id
    return options


def _has_s3(spark: SparkSession) -> bool:
    """Whether `s3:` is S3A, as it is on Glue 5.1 and EMR from 7.10; EMRFS knows other settings."""
    context = spark.sparkContext._jsc
    known = context.hadoopConfiguration().get("fs.s3.impl") if context is not None else None
    return str(known or "").endswith(".S3AFileSystem")
