"""The main job on the real files: the promise that everything else stands on.

The annual figures are those of the issue that asked for this job; the sums of the source are
taken here by DuckDB, straight from the source files.
"""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from tests.conftest import COMSTOCK, RESSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.real_lake

ELECTRICITY = "out_electricity_total_energy_consumption_kwh"


@pytest.fixture
def real_run(
    real_lake: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> tuple[RunConfig, Path]:
    config = make_config(
        real_lake,
        COMSTOCK | {"state": "GA", "upgrades": "10,11,19"},
        RESSTOCK | {"state": "AL", "upgrades": "0"},
    )
    summary = pipeline.run(config, spark)
    assert (summary.exit_code, summary.data_files.listed, summary.data_files.uploaded) == (0, 6, 6)
    return config, real_lake


def test_run_on_real_files_gives_a_year_of_hours_per_building(
    real_run: tuple[RunConfig, Path], read_table: ReadTable
) -> None:
    hours = read_table(real_run[0])

    per_building = hours.group_by(["release", "state", "upgrade", "bldg_id"]).aggregate(
        [("hour_start", "count"), ("hour_start", "min"), ("hour_start", "max")]
    )
    first, last = datetime(2018, 1, 1, 0), datetime(2018, 12, 31, 23)
    assert hours.num_rows == 6 * 8760
    assert sorted(tuple(row.values()) for row in per_building.to_pylist()) == [
        ("2022_resstock_amy2018_release_1", "AL", 0, 100066, 8760, first, last),
        ("2022_resstock_amy2018_release_1", "AL", 0, 100140, 8760, first, last),
        ("2022_resstock_amy2018_release_1", "AL", 0, 100171, 8760, first, last),
        ("2024_comstock_amy2018_release_1", "GA", 10, 98542, 8760, first, last),
        ("2024_comstock_amy2018_release_1", "GA", 11, 98542, 8760, first, last),
        ("2024_comstock_amy2018_release_1", "GA", 19, 98542, 8760, first, last),
    ]


@pytest.mark.parametrize(
    ("bldg_id", "upgrade", "annual_kwh"),
    [(98542, 19, 58029.2), (100066, 0, 5468.0), (100140, 0, 11223.9), (100171, 0, 23238.7)],
)
def test_run_on_real_files_gives_the_known_annual_electricity(
    real_run: tuple[RunConfig, Path],
    read_table: ReadTable,
    bldg_id: int,
    upgrade: int,
    annual_kwh: float,
) -> None:
    hours = _only(read_table(real_run[0]), bldg_id, upgrade)

    assert pc.sum(hours[ELECTRICITY]).as_py() == pytest.approx(annual_kwh, abs=0.05)


def test_run_on_real_files_keeps_every_column_sum_and_the_first_hour(
    real_run: tuple[RunConfig, Path], read_table: ReadTable
) -> None:
    config, lake = real_run
    table = read_table(config)
    names = {
        (row["release"], row["source_name"]): row["column_name"]
        for row in read_table(config, "columns").to_pylist()
    }
    compared = 0
    for path in sorted(lake.glob("**/timeseries_individual_buildings/**/*.parquet")):
        bldg_id, upgrade = map(int, path.stem.split("-"))
        release = "_".join(path.parts[-7:-5])
        hours = _only(table, bldg_id, upgrade).sort_by("hour_start")
        for source_name, total, first_hour in _source_sums(path):
            found = hours[names[release, source_name]]
            assert pc.sum(found).as_py() == pytest.approx(total, rel=1e-9, abs=1e-12), source_name
            assert found[0].as_py() == pytest.approx(first_hour, rel=1e-12), source_name
            compared += 1

    assert compared == 3 * 54 + 3 * 102


def test_run_on_real_files_records_what_every_column_is(
    real_run: tuple[RunConfig, Path], read_table: ReadTable
) -> None:
    columns = read_table(real_run[0], "columns").to_pylist()

    electricity = [row for row in columns if row["column_name"] == ELECTRICITY]
    assert [(row["state"], row["upgrade"], row["building_count"]) for row in electricity] != []
    assert {(row["source_name"], row["unit"], row["rule"]) for row in electricity} == {
        ("out.electricity.total.energy_consumption", "kwh", "sum")
    }
    assert sorted((r["state"], r["upgrade"], r["building_count"]) for r in electricity) == [
        ("AL", 0, 3),
        ("GA", 10, 1),
        ("GA", 11, 1),
        ("GA", 19, 1),
    ]
    assert {row["is_known"] for row in columns} == {1}


def _only(table: pa.Table, bldg_id: int, upgrade: int) -> pa.Table:
    chosen = pc.and_(pc.equal(table["bldg_id"], bldg_id), pc.equal(table["upgrade"], upgrade))
    return table.filter(chosen)


def _source_sums(path: Path) -> list[tuple[str, float, float]]:
    """(column, sum of the year, sum of the first four stamps), as DuckDB reads the source."""
    with duckdb.connect() as connection:
        source = connection.read_parquet(str(path), hive_partitioning=False)
        measures = [name for name in source.columns if name.startswith("out.")]
        sums = ", ".join(f'sum("{name}")' for name in measures)
        (whole,) = source.aggregate(sums).fetchall()
        (first,) = source.order("timestamp").limit(4).aggregate(sums).fetchall()
    return list(zip(measures, whole, first, strict=True))
