"""The catalog block of a run in the cloud: what it may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.config_json import to_yaml
from oedi_spark.config_sections import SourceConfig
from oedi_spark.lake.catalog import open_catalog, spark_catalog_settings
from oedi_spark.lake.file_io import file_io_properties
from oedi_spark.lake.s3_access import S3Access
from oedi_spark.survey import source_location

JOB = {
    "release_year": "2024",
    "release_name": "comstock_amy2018_release_1",
    "state": "CO",
    "upgrades": "0",
}
FULL: dict[str, object] = {
    "type": "glue",
    "database": "eulp",
    "region": "eu-west-1",
    "endpoint_url": "https://glue.example:8443",
    "catalog_id": "012345678901",
    "s3_endpoint_url": "https://s3.example",
    "s3_path_style": True,
    "sse": "aws:kms",
    "kms_key_id": "alias/lake",
}


def build(catalog: dict[str, object], output_dir: str = "s3://lake/out") -> RunConfig:
    return RunConfig.model_validate(
        {
            "src_bucket": "oedi-data-lake",
            "output_dir": output_dir,
            "job_specific": [JOB],
            "catalog": catalog,
        }
    )


def test_every_key_reaches_whoever_needs_it() -> None:
    place = pipeline.catalog_location(build(FULL))

    assert (place.kind, place.database, place.warehouse_uri) == (
        "glue",
        "eulp",
        "s3://lake/out/warehouse",
    )
    assert (place.glue_endpoint_url, place.catalog_id) == (
        "https://glue.example:8443",
        "012345678901",
    )
    assert place.access == S3Access(
        endpoint_url="https://s3.example",
        region="eu-west-1",
        path_style=True,
        sse="aws:kms",
        kms_key_id="alias/lake",
        connect_timeout_s=10,
        request_timeout_s=60,
        max_attempts=5,
    )
    assert spark_catalog_settings(place) == {
        "spark.sql.extensions": (
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        ),
        "spark.sql.catalog.oedi": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.oedi.type": "glue",
        "spark.sql.catalog.oedi.warehouse": "s3://lake/out/warehouse",
        "spark.sql.catalog.oedi.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.oedi.glue.endpoint": "https://glue.example:8443",
        "spark.sql.catalog.oedi.glue.id": "012345678901",
        "spark.sql.catalog.oedi.client.region": "eu-west-1",
        "spark.sql.catalog.oedi.s3.endpoint": "https://s3.example",
        "spark.sql.catalog.oedi.s3.path-style-access": "true",
        "spark.sql.catalog.oedi.s3.sse.type": "kms",
        "spark.sql.catalog.oedi.s3.sse.key": "alias/lake",
    }


def test_what_is_not_said_is_left_to_the_environment() -> None:
    place = pipeline.catalog_location(build({"type": "glue"}))

    assert place.access == S3Access()
    assert (place.glue_endpoint_url, place.catalog_id) == (None, None)
    assert file_io_properties(place.access) == {
        "s3.path-style-access": "false",
        "s3.connect-timeout": "10.0",
        "s3.request-timeout": "60.0",
        "oedi-spark.s3.max-attempts": "5",
    }


def test_sqlite_is_nothing_that_spark_reads() -> None:
    assert spark_catalog_settings(pipeline.catalog_location(build({}, "out"))) == {}


def test_yaml_of_a_cloud_run_reads_back(tmp_path: Path) -> None:
    from oedi_spark.config import load_config

    run = build(FULL)
    path = tmp_path / "run.yaml"
    path.write_text(to_yaml(run))
    assert load_config(path) == run


def test_account_may_be_written_without_quotes(tmp_path: Path) -> None:
    assert build({"type": "glue", "catalog_id": 123456789012}).catalog.catalog_id == "123456789012"


@pytest.mark.parametrize(
    ("output_dir", "catalog", "message"),
    [
        ("out", {"sse": "AES256"}, "sse: of an output_dir on S3 alone"),
        ("out", {"s3_endpoint_url": "http://h", "s3_path_style": True}, "s3_endpoint_url, s3_path"),
        ("s3://lake", {"type": "glue", "catalog_id": "12345"}, "'12345' is no account"),
        ("s3://lake", {"type": "glue", "kms_key_id": "alias/x"}, "needs sse: aws:kms"),
        (
            "s3://lake",
            {"type": "glue", "sse": "aws:kms", "kms_key_id": "a\r\nx-amz: y"},
            "is no key",
        ),
        (
            "s3://lake",
            {"type": "rest", "uri": "https://h", "endpoint_url": "https://g"},
            "belongs to type glue",
        ),
        ("s3://lake", {"type": "glue", "endpoint_url": "http://a:b@h"}, "must not hold a user"),
        ("s3://lake", {"type": "glue", "region": "EU West"}, "String should match pattern"),
        ("s3://lake", {"type": "glue", "sse": "aws:fs"}, "Input should be 'none', 'AES256'"),
    ],
)
def test_what_does_not_fit_is_refused(
    output_dir: str, catalog: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        build(catalog, output_dir)
    assert message in caught.value.errors()[0]["msg"]


def test_requester_pays_needs_to_say_who_pays() -> None:
    with pytest.raises(ValidationError, match="requester_pays needs signed requests"):
        SourceConfig(requester_pays=True, anonymous=True)
    run = build({"type": "glue"})
    signed = run.model_copy(update={"source": SourceConfig(requester_pays=True)})
    assert source_location(signed).requester_pays


def test_glue_names_the_account_in_every_request() -> None:
    place = pipeline.catalog_location(build(FULL))
    catalog: Any = open_catalog(place, create=False)
    asked: list[dict[str, object]] = []

    def stop(params: dict[str, object], **_: object) -> None:
        asked.append(dict(params))
        raise RuntimeError("far enough")

    update = catalog.glue.update_table.__closure__[0].cell_contents
    for client in (catalog.glue, update.__self__):
        client.meta.events.register("before-parameter-build.glue", stop)
    with pytest.raises(RuntimeError):
        catalog.glue.get_table(DatabaseName="eulp", Name="hourly")
    with pytest.raises(RuntimeError):
        catalog.glue.update_table(DatabaseName="eulp", TableInput={"Name": "hourly"})
    assert [each["CatalogId"] for each in asked] == ["012345678901"] * 2
