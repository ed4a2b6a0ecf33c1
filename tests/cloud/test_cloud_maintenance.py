"""A whole pass of maintenance over tables on S3 that Glue names."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from oedi_spark import maintenance
from oedi_spark.config import RunConfig
from oedi_spark.config_sections import MaintenanceConfig
from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_maintenance import MaintenanceStep
from oedi_spark.lake import orphans
from oedi_spark.lake.catalog import field_ids, open_catalog, open_table
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.lake.staging import stage_table
from oedi_spark.lake.writer import replace_partitions
from oedi_spark.pipeline import catalog_location
from tests.cloud.cloud import Cloud

RELEASE = "2024_comstock_amy2018_release_1"
CO, GA = Partition(RELEASE, "CO", 0), Partition(RELEASE, "GA", 0)
TOTAL = Column("total_kwh", "total", "kwh", "sum", known=True)
RUNS = ("20260101T000000Z-00000001", "20260102T000000Z-00000002")
ALIVE = "20260103T000000Z-00000003"
DEAD = "20260103T000000Z-00000004"


@pytest.fixture
def config(cloud: Cloud, bucket: str, tmp_path: Path) -> RunConfig:
    keep = MaintenanceConfig(
        snapshot_retention_days=0, snapshots_to_keep=1, orphan_age_days=1, compaction_min_files=2
    )
    return cloud.config(bucket, tmp_path / "logs").model_copy(update={"maintenance": keep})


@pytest.fixture
def hourly(config: RunConfig) -> Table:
    """Two snapshots; in the newest CO has buildings 1, 2 and 3 in a file each."""
    place = catalog_location(config)
    table = open_table(open_catalog(place), place, hourly_definition([TOTAL]))
    for run_id in RUNS:
        staged = []
        for bldg_id in (1, 2, 3):
            rows = pa.table(
                {
                    "release": [RELEASE],
                    "state": ["CO"],
                    "upgrade": pa.array([0], pa.int32()),
                    "bldg_id": [bldg_id],
                    "hour_start": pa.array([datetime(2018, 1, 1)], pa.timestamp("us")),
                    "total_kwh": [bldg_id / 2],
                }
            )
            uri = f"{table.location()}/data/{CO}/{run_id}-{bldg_id:05d}-0123456789ab.parquet"
            ids = field_ids(table)
            staged.append(stage_table(uri, CO, rows, ids, access=access_of(table)))
        replace_partitions(table, [CO], staged, run_id=run_id)
    return table.refresh()


def test_maintenance_on_s3_and_glue_leaves_the_rows_and_only_what_is_named(
    cloud: Cloud,
    bucket: str,
    config: RunConfig,
    hourly: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = hourly.location().removeprefix(f"s3://{bucket}/")
    left = f"{prefix}/data/{GA}"
    kept = {f"{left}/{name}" for name in (f"{DEAD}-1.parquet", f"{ALIVE}-1.parquet", "notes.csv")}
    gone = f"{prefix}/data/{CO}/{DEAD}-1.parquet"
    s3 = cloud.client("s3")
    for key in (*kept, gone):
        s3.put_object(Bucket=bucket, Key=key, Body=b"12345")
    s3.close()
    place = catalog_location(config)
    LeaseBook(place.database_uri, place.access).acquire(ALIVE, [GA])
    monkeypatch.setattr(orphans, "_DAY_S", -10.0)  # all that lies there is old
    before = cloud.keys(bucket)

    planned = maintenance.maintain(config, is_dry_run=True)
    assert cloud.keys(bucket) == before

    report = maintenance.maintain(config)

    done = {each.step: each for each in report.steps if each.table == "hourly"}
    rewritten = done[MaintenanceStep.COMPACTION].rewrites
    assert [(each.partition, len(each.inputs), each.row_count) for each in rewritten] == [
        (str(CO), 3, 3)
    ]
    assert planned.steps[0].rewrites[0].inputs == rewritten[0].inputs
    assert len(done[MaintenanceStep.EXPIRY].snapshots) == 2
    swept = done[MaintenanceStep.ORPHANS]
    assert [(each.uri, each.size_bytes) for each in swept.removed] == [(f"s3://{bucket}/{gone}", 5)]
    assert swept.foreign == (f"s3://{bucket}/{left}/notes.csv",)
    rows = hourly.refresh().scan().to_arrow().to_pydict()
    assert sorted(zip(rows["bldg_id"], rows["total_kwh"], strict=True)) == [
        (1, 0.5),
        (2, 1.0),
        (3, 1.5),
    ]
    data = {key for key in cloud.keys(bucket) if key.startswith(f"{prefix}/data/")}
    [task] = hourly.scan().plan_files()
    assert data == {task.file.file_path.removeprefix(f"s3://{bucket}/"), *kept}
    [snapshot] = hourly.snapshots()
    avro = {key for key in cloud.keys(bucket) if key.startswith(prefix) and key.endswith(".avro")}
    manifests = [each.manifest_path for each in snapshot.manifests(hourly.io)]
    assert avro == {
        each.removeprefix(f"s3://{bucket}/") for each in (*manifests, snapshot.manifest_list)
    }
