"""The whole job from S3 to S3 and Glue; all who read the tables read the same, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyspark
import pytest
from pyiceberg.catalog import Catalog

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts_resume import Redo
from oedi_spark.lake.catalog import open_catalog, spark_catalog_settings
from oedi_spark.session import submit_environment
from tests.cloud.cloud import CREDENTIALS, Cloud
from tests.conftest import PROJECT, MakeConfig, ReadTable
from tests.named import files_named_by

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = ("hourly", "metadata", "building_weights")
KEYS = ("release", "state", "upgrade", "bldg_id", "hour_start", "geography_kind", "geography_id")
SPARK_LIMIT_S = 120


def comparable(table: pa.Table) -> pa.Table:
    """Columns by name and rows by key; doubles as their 64 bits, text as plain text."""
    columns = {}
    for name in sorted(table.column_names):
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_large_string(column.type):
            column = column.cast(pa.string())
        if pa.types.is_float64(column.type):
            column = pc.cast(column, pa.float64()).view(pa.int64())
        columns[name] = column
    keys = [(name, "ascending") for name in KEYS if name in columns]
    return pa.table(columns).sort_by(keys)


def by_duckdb(cloud: Cloud, catalog: Catalog, identifier: tuple[str, str], to: Path) -> pa.Table:
    """The data files that the table names, fetched and read by DuckDB."""
    table = catalog.load_table(identifier)
    s3, paths = cloud.client("s3"), []
    for number, task in enumerate(table.scan().plan_files()):
        bucket, key = task.file.file_path.removeprefix("s3://").split("/", 1)
        paths.append(str(to / f"{identifier[1]}-{number}.parquet"))
        s3.download_file(bucket, key, paths[-1])
    s3.close()
    with duckdb.connect() as connection:
        # By name: a file that lacks a column of the table has no value in it.
        read = connection.read_parquet(paths, union_by_name=True, hive_partitioning=False)
        return read.to_arrow_table()


def by_spark(config: RunConfig, folder: Path) -> dict[str, pa.Table]:
    """The tables as Spark's own Iceberg and Glue read them, in a process with their jars."""
    packages = Path(pyspark.__file__).parents[1]
    sdk = packages / "bodo_iceberg_connector" / "jars" / "libs"
    jars = sorted((packages / "snowpark_connect_deps_iceberg" / "jars").glob("*-3.5_2.12-*.jar"))
    for pattern in ("*2.29.26.jar", "eventstream*.jar", "reactive-streams*.jar"):
        jars += sorted(sdk.glob(pattern))
    place = pipeline.catalog_location(config)
    settings = spark_catalog_settings(place) | {
        "spark.jars": ",".join(map(str, jars)),
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        f"spark.sql.catalog.{place.name}.http-client.type": "urlconnection",
    }
    request = {"settings": settings, "folder": str(folder), "tables": list(TABLES)}
    request["database"] = f"{place.name}.{place.database}"
    environment = dict(os.environ) | submit_environment() | dict(CREDENTIALS)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.cloud.spark_reader", json.dumps(request)],
        cwd=PROJECT,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        timeout=SPARK_LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return {name: pq.read_table(folder / name) for name in TABLES}


@pytest.fixture
def config(cloud: Cloud, bucket: str, tmp_path: Path) -> RunConfig:
    """Two states of the lake, encrypted as the config asks."""
    return cloud.config(bucket, tmp_path / "logs", state=["CO", "GA"], sse="AES256")


def test_pyiceberg_spark_and_duckdb_read_what_a_local_run_gives(
    cloud: Cloud,
    bucket: str,
    config: RunConfig,
    cloud_spark: Future[SparkSession],
    make_config: MakeConfig,
    read_table: ReadTable,
    tmp_path: Path,
) -> None:
    summary = pipeline.run(config, cloud_spark)

    assert (summary.error, summary.exit_code) == (None, 0)
    job = {"release_year": "2024", "release_name": "comstock_amy2018_release_1", "upgrades": "0"}
    local = make_config(cloud.lake, job | {"state": ["CO", "GA"]})
    assert pipeline.run(local, cloud_spark).exit_code == 0
    place = pipeline.catalog_location(config)
    catalog = open_catalog(place, create=False)
    spark_reads = by_spark(config, tmp_path)
    rows = {}
    for name in TABLES:
        expected = comparable(read_table(local, name))
        rows[name] = expected.num_rows
        assert comparable(read_table(config, name)).equals(expected), f"{name} by PyIceberg"
        assert comparable(spark_reads[name]).equals(expected), f"{name} by Spark"
        duck = by_duckdb(cloud, catalog, (place.database, name), tmp_path)
        assert comparable(duck).equals(expected), f"{name} by DuckDB"
    assert rows["hourly"] == 4 * 8760  # two buildings in each of two states
    assert rows["metadata"] == 4
    assert_nothing_else_lies_there(cloud, bucket, catalog, place.database)
    assert_summary_lies_beside_the_tables(cloud, bucket, summary.run_id)


def assert_nothing_else_lies_there(
    cloud: Cloud, bucket: str, catalog: Catalog, database: str
) -> None:
    """Every file is one that a table names, a landed copy or a summary; and encrypted."""
    named = set()
    for name in (*TABLES, "columns", "sources", "runs", "discrepancies"):
        table = catalog.load_table((database, name))
        named |= files_named_by(table)
        for secret in CREDENTIALS.values():
            assert secret == "true" or secret not in str(table.properties)
    lying = cloud.keys(bucket)
    beside = {key for key in lying if key.startswith(("out/metadata/", "out/summaries/"))}
    assert {f"s3://{bucket}/{key}" for key in lying - beside} == named
    assert sum(key.startswith("out/metadata/") for key in beside) == 2
    s3 = cloud.client("s3")
    asked = {s3.head_object(Bucket=bucket, Key=k).get("ServerSideEncryption") for k in lying}
    s3.close()
    assert asked == {"AES256"}


def assert_summary_lies_beside_the_tables(cloud: Cloud, bucket: str, run_id: str) -> None:
    """Under its own name and as the newest; without a secret."""
    s3 = cloud.client("s3")
    keys = [f"out/summaries/summary-{run_id}.json", "out/summaries/summary.json"]
    texts = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    s3.close()
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["data_files_stats"]["total_data_files_listed"] == 4
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in texts[0]


def test_second_run_replaces_and_writes_no_copy_again(
    cloud: Cloud, bucket: str, cloud_spark: Future[SparkSession], tmp_path: Path
) -> None:
    config = cloud.config(bucket, tmp_path / "logs", state="CO")
    assert pipeline.run(config, cloud_spark).exit_code == 0
    s3 = cloud.client("s3")
    (copy,) = (key for key in cloud.keys(bucket) if key.startswith("out/metadata/"))
    written_at = s3.head_object(Bucket=bucket, Key=copy)["LastModified"]

    second = pipeline.run(config, cloud_spark, redo=Redo(force=True))

    assert (second.error, second.exit_code) == (None, 0)
    place = pipeline.catalog_location(config)
    hourly = open_catalog(place).load_table((place.database, "hourly"))
    assert hourly.scan().to_arrow().num_rows == 2 * 8760
    assert len(hourly.snapshots()) == 2
    assert s3.head_object(Bucket=bucket, Key=copy)["LastModified"] == written_at
    assert not [key for key in cloud.keys(bucket) if "/_leases/" in key]
    s3.close()


def test_output_that_may_not_be_written_ends_the_run_with_its_reason(
    cloud: Cloud, cloud_spark: Future[SparkSession], tmp_path: Path
) -> None:
    config = cloud.config("no-such-bucket-here", tmp_path / "logs")

    summary = pipeline.run(config, cloud_spark)

    assert summary.exit_code == 5
    assert "NoSuchBucket" in str(summary.error)
