"""Tables in Glue go back to before a run; rejected files are set aside in a bucket."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from oedi_spark import pipeline
from oedi_spark.contracts import Partition, SourceFile
from oedi_spark.contracts_resume import Redo
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.lake.history import PUBLISHED_TABLES, read_history
from oedi_spark.lake.quarantine import Quarantine, Rejected, SetAside
from oedi_spark.lake.rollback import roll_back
from tests.cloud.cloud import Cloud
from tests.cloud.test_cloud_run import TABLES, by_duckdb, comparable
from tests.conftest import ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RELEASE = "2024_comstock_amy2018_release_1"


def test_run_in_glue_is_rolled_back_and_again_changes_nothing(
    cloud: Cloud,
    bucket: str,
    cloud_spark: Future[SparkSession],
    read_table: ReadTable,
    tmp_path: Path,
) -> None:
    config = cloud.config(bucket, tmp_path / "logs", state="CO", sse="AES256")
    first = pipeline.run(config, cloud_spark)
    before = {name: comparable(read_table(config, name)) for name in TABLES}
    wider = cloud.config(bucket, tmp_path / "logs", state=["CO", "GA"], sse="AES256")
    second = pipeline.run(wider, cloud_spark, redo=Redo(force=True))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert read_table(config).num_rows == 4 * 8760  # two buildings in each of two states
    place, rollback_id = pipeline.catalog_location(config), pipeline.new_run_id()

    plan = roll_back(place, second.run_id, rollback_id=rollback_id)

    assert [each.name for each in plan.tables] == list(PUBLISHED_TABLES)
    assert plan.partitions == {Partition(RELEASE, "CO", 0), Partition(RELEASE, "GA", 0)}
    catalog = open_catalog(place, create=False)
    for name in TABLES:
        assert comparable(read_table(config, name)).equals(before[name]), f"{name} by PyIceberg"
        duck = by_duckdb(cloud, catalog, (place.database, name), tmp_path)
        assert comparable(duck).equals(before[name]), f"{name} by DuckDB"
    copies = {key for key in cloud.keys(bucket) if f"/{rollback_id}" in key}
    assert {key.rsplit("/", 1)[1] for key in copies} == {
        f"{rollback_id}-r00000.parquet",
        f"{rollback_id}.parquet",
    }
    assert encryption_of(cloud, bucket, copies) == {"AES256"}
    assert not [key for key in cloud.keys(bucket) if "/_leases/" in key]
    history = read_history(place)
    undone = {each.table for each in history if each.rolled_back == second.run_id}
    assert undone == set(PUBLISHED_TABLES)
    again = roll_back(place, second.run_id, rollback_id=pipeline.new_run_id())
    assert (again.tables, again.done) == ((), PUBLISHED_TABLES)
    assert len(read_history(place)) == len(history)
    third = pipeline.run(config, cloud_spark)
    assert (third.outcome, third.skipped[0].run_id) == ("unchanged", first.run_id)


def encryption_of(cloud: Cloud, bucket: str, keys: set[str]) -> set[str]:
    s3 = cloud.client("s3")
    found = {s3.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"] for key in keys}
    s3.close()
    return found


def test_rejected_file_is_set_aside_in_a_bucket_until_it_is_published(
    cloud: Cloud, bucket: str
) -> None:
    partition = Partition(RELEASE, "CO", 0)
    place = Quarantine(f"s3://{bucket}/out", f"s3://{bucket}/out/warehouse", cloud.access)
    file = SourceFile(0, "a/7-0.parquet", 7, 4, "etag", "2026-01-01T00:00:00Z")
    rejected = [Rejected(file, "truncated", "no footer")]

    def settle(published: tuple[str, ...]) -> SetAside:
        return place.settle(
            partition,
            () if published else rejected,
            published,
            run_id="20260101T000000Z-aaaaaaaa",
            read=lambda _: b"PAR1",
        )

    assert settle(()) == SetAside(copied=1)
    folder = f"out/quarantine/{partition}"
    assert cloud.keys(bucket) == {
        f"{folder}/7-0.parquet",
        f"{folder}/7-0.parquet.reason.json",
    }
    assert [(each.name, each.reason) for each in place.entries()] == [("7-0.parquet", "truncated")]
    assert settle(()) == SetAside(kept=1)
    assert settle(("a/7-0.parquet",)) == SetAside(removed=1)
    assert cloud.keys(bucket) == set()
