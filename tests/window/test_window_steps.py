"""What only the window engine rolls up: other steps and gaps; and what it must survive."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table
from pyspark.errors import PySparkException

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition, Reason, SourceFile
from oedi_spark.errors import SessionError
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.lake.sweep import sweep_run
from oedi_spark.sample.lake import BASE_PARTITION, DATA_PARTITION
from oedi_spark.source.layout import ReleaseFolder, partition_prefix
from oedi_spark.transform.window import _blame
from oedi_spark.transform.window_proof import Layout, ProvedFile
from oedi_spark.transform.window_query import Wave
from tests.conftest import COMSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}
KWH, SETPOINT, AREA = "out.electricity.total.energy_consumption", "out.indoor.t..c", "in.sqft"
NAMES = ("out_electricity_total_energy_consumption_kwh", "out_indoor_t_c", "in_sqft_ft2")
YEAR_MIN = 365 * 24 * 60


def write_building(
    lake: Path,
    bldg_id: int,
    step_min: int,
    drop: tuple[int, ...] = (),
    *,
    head_kwh: tuple[float, ...] = (),
    **options: object,
) -> str:
    """A year in steps, each of 1, 2, 3, … kWh and 10, 20, 30, … °C from the hour on; its key."""
    count = YEAR_MIN // step_min
    per_hour = 60 // step_min
    first = datetime(2018, 1, 1) + timedelta(minutes=step_min)
    stamps = np.datetime64(first, "us") + np.arange(count) * np.timedelta64(step_min, "m")
    place = np.arange(count) % per_hour + 1.0
    kwh = place.copy()
    kwh[: len(head_kwh)] = head_kwh
    columns: Mapping[str, object] = {
        "bldg_id": np.full(count, bldg_id),
        "timestamp": stamps,
        KWH: kwh,
        SETPOINT: 10 * place,
        AREA: 1_000.0 + place,
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    kept = np.delete(np.arange(count), list(drop))
    prefix = partition_prefix(BASE_PARTITION, FOLDER, DATA_PARTITION, state="CO", upgrade=0)
    path = lake / prefix / f"{bldg_id}-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.take(pa.array(kept)), path, **options)
    return f"{prefix}/{path.name}"


def window_config(make_config: MakeConfig, lake: Path) -> RunConfig:
    return make_config(lake, CO, engine="window", max_failed_fraction=0.9)


def hourly(config: RunConfig) -> Table:
    place = pipeline.catalog_location(config)
    return open_catalog(place).load_table((place.database, "hourly"))


def test_other_steps_and_gaps_become_hours_and_are_reported(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    regular = write_building(lake, 1, 15)
    five = write_building(lake, 2, 5)
    half = write_building(lake, 3, 30)
    gappy = write_building(lake, 4, 15, drop=(5, 8, 9, 10, 11))  # in hour 1; all of hour 2
    mixed = write_building(lake, 5, 15, drop=tuple(range(1, 30_000, 3)))

    endless = write_building(lake, 6, 30, head_kwh=(-inf, inf))
    huge = write_building(lake, 7, 15, head_kwh=(1.5e308,))

    summary = pipeline.run(window_config(make_config, lake), spark)

    assert summary.missing_values == {
        five: "5-minute steps",
        half: "30-minute steps",
        gappy: "2 hours lack intervals",
    }
    assert {key: why.split(":")[0] for key, why in summary.data_files.lost.items()} == {
        mixed: Reason.STAMPS_IRREGULAR.value,
        endless: Reason.NOT_FINITE.value,
        huge: "values_are_possible",
    }
    assert regular not in summary.missing_values
    hours = read_table(window_config(make_config, lake)).sort_by(
        [("bldg_id", "ascending"), ("hour_start", "ascending")]
    )
    assert hours.num_rows == 4 * 8760
    found = {
        bldg_id: list(zip(*(rows[name].to_pylist()[:4] for name in NAMES), strict=True))
        for bldg_id in (1, 2, 3, 4)
        if (rows := hours.filter(pc.equal(hours["bldg_id"], bldg_id)))
    }
    quarter = (10.0, 25.0, 1_001.0)  # 1+2+3+4; the mean of 10, 20, 30, 40; the first
    assert found == {
        1: [quarter] * 4,
        2: [(78.0, pytest.approx(65.0, rel=1e-12), 1_001.0)] * 4,  # 1+…+12; mean of 10…120
        3: [(3.0, 15.0, 1_001.0)] * 4,
        4: [quarter, (None, None, None), (None, None, None), quarter],
    }
    starts = hours.filter(pc.equal(hours["bldg_id"], 4))["hour_start"]
    assert [starts[0].as_py(), starts[2].as_py(), starts[-1].as_py()] == [
        datetime(2018, 1, 1, 0),
        datetime(2018, 1, 1, 2),
        datetime(2018, 12, 31, 23),
    ]


def test_a_file_that_spark_cannot_read_is_left_out_and_the_others_are_published(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_building(lake, 1, 15)
    split = write_building(
        lake, 2, 15, use_dictionary=False, column_encoding={KWH: "BYTE_STREAM_SPLIT"}
    )
    config = window_config(make_config, lake)

    summary = pipeline.run(config, spark)

    assert list(summary.data_files.missing_transforms) == [split]
    assert summary.data_files.missing_transforms[split].startswith("unreadable: Arrow reads it")
    assert read_table(config).num_rows == 8760
    staged = {each.file.file_path for each in hourly(config).scan().plan_files()}
    left = {
        f"file://{path}"
        for path in Path(hourly(config).location().removeprefix("file://"), "data").rglob("*")
        if path.is_file()
    }
    assert left == staged


@pytest.mark.parametrize(
    "cause", ["java.io.IOException: No space left on device", "AmazonS3Exception: Access Denied"]
)
def test_a_fault_of_the_machine_is_not_blamed_on_the_file_that_was_read(cause: str) -> None:
    layout = Layout("ns", frozenset())
    file = SourceFile(0, "a/1-0.parquet", 1, 10, None, "")
    proved = ProvedFile(file, layout, 900, 900, 8760, (), None, ())
    partition = Partition("2024_comstock_amy2018_release_1", "CO", 0)
    wave = Wave(partition, {}, ((proved,),), {0: "file:///lake/a/1-0.parquet"}, {}, 12)
    message = f"Error while reading file file:///lake/a/1-0.parquet.\nCaused by: {cause}"

    with pytest.raises(SessionError, match=cause):
        _blame(PySparkException(message), wave)


def test_sweep_takes_all_that_spark_left_of_a_dead_run_and_nothing_else(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_building(lake, 1, 15)
    config = window_config(make_config, lake)
    pipeline.run(config, spark)
    table = hourly(config)
    partition = Partition("2024_comstock_amy2018_release_1", "CO", 0)
    folder = Path(table.location().removeprefix("file://"), "data", str(partition))
    dead = [
        folder / "run-1-window-0a" / "_temporary" / "0" / "task_1" / "part-00000-x.parquet",
        folder / "run-1-window-0a" / ".part-00001-x.parquet.crc",
    ]
    other = folder / "run-10-window-0b" / "part-00000-x.parquet"
    for path in (*dead, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    swept = sweep_run(table, "run-1", [partition])

    assert {uri.removeprefix("file://") for uri in swept} == set(map(str, dead))
    assert not (folder / "run-1-window-0a").exists()
    assert other.exists()
    assert read_table(config).num_rows == 8760
