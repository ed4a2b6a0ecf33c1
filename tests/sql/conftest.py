"""One lake, one run of the job over it, and its tables in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.pipeline import catalog_location
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.sql.saved_sql import VIEWS, to_duckdb

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMSTOCK = ReleaseFolder("2024", "comstock_amy2018_release_1")
MANY_COUNTIES = ReleaseFolder("2024", "comstock_amy2018_release_2")
RESSTOCK = ReleaseFolder("2022", "resstock_amy2018_release_1")
TABLES = ("hourly", "metadata", "building_weights", "columns", "runs", "discrepancies")


@pytest.fixture(scope="session")
def sql_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two states: Colorado, which the queries choose, and Georgia, which no result may hold.

    ComStock 2024 R1 with an upgrade, one of whose buildings it does not apply to; 2024 R2, whose
    buildings count in many counties, one of them in both states; ResStock 2022 with a solar home.
    """
    root = tmp_path_factory.mktemp("sql_lake")
    both = ("CO", "GA")
    for request in (
        SampleRequest((COMSTOCK,), both, upgrades=(0, 1), buildings=6),
        SampleRequest((MANY_COUNTIES,), both, upgrades=(0, 1), buildings=5),
        SampleRequest((RESSTOCK,), both, buildings=4),
    ):
        write_sample_lake(root, request)
    _drop_columns(root)
    return root


def _drop_columns(root: Path) -> None:
    """Of the first ComStock building in Colorado: no column for gas, nor for other fuels."""
    for upgrade in (0, 1):
        folder = f"2024/{COMSTOCK.name}/timeseries_individual_buildings/by_state/upgrade={upgrade}"
        path = min(root.glob(f"*/*/{folder}/state=CO/*.parquet"))
        table = pq.ParquetFile(path).read()
        lacking = [
            name
            for name in table.column_names
            if name.startswith(("out.natural_gas.", "out.other_fuel."))
        ]
        assert lacking
        pq.write_table(table.drop_columns(lacking), path)


def _job(folder: ReleaseFolder, upgrades: str, **settings: object) -> dict[str, object]:
    names = {"release_year": folder.year, "release_name": folder.name}
    return names | {"state": ["CO", "GA"], "upgrades": upgrades} | settings


@pytest.fixture(scope="session")
def sql_tables(
    sql_lake: Path, tmp_path_factory: pytest.TempPathFactory, spark: Future[SparkSession]
) -> dict[str, pa.Table]:
    """The tables of one run over the lake."""
    out = tmp_path_factory.mktemp("sql_run")
    config = RunConfig.model_validate(
        {
            "src_bucket": str(sql_lake),
            "output_dir": str(out / "out"),
            "job_specific": [
                _job(COMSTOCK, "0,1"),
                _job(MANY_COUNTIES, "0,1", relative_metadata_prefix_type="2", counties=["*"]),
                _job(RESSTOCK, "0"),
            ],
            "settings": {
                "log_dir": str(out / "logs"),
                # `_drop_columns` takes fuels away and leaves them in the site's total.
                "quality_rules": {"fuel_totals_sum_to_site_energy": {"severity": "warn"}},
            },
        }
    )
    summary = pipeline.run(config, spark)
    assert summary.exit_code == 0, summary.as_text()
    return _read_tables(config, TABLES)


def _read_tables(config: RunConfig, names: tuple[str, ...]) -> dict[str, pa.Table]:
    place = catalog_location(config)
    catalog = open_catalog(place)
    return {name: catalog.load_table((place.database, name)).scan().to_arrow() for name in names}


@pytest.fixture(scope="session")
def athena(sql_tables: dict[str, pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the tables and the views."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, table in sql_tables.items():
            connection.register(name, table)
        for path in VIEWS:
            connection.execute(to_duckdb(path.read_text("utf-8")))
        yield connection


@dataclass(frozen=True)
class ThreeRuns:
    """A ledger, and what happened: the runs in order of time, the building files by number."""

    connection: duckdb.DuckDBPyConnection
    run_ids: tuple[str, ...]
    keys: tuple[str, ...]


@pytest.fixture(scope="session")
def three_runs(
    tmp_path_factory: pytest.TempPathFactory, spark: Future[SparkSession]
) -> Iterator[ThreeRuns]:
    """Of four files two are bad and two published; then none is, as too many are bad.

    The third run finds the second file mended, and the first one bad in another way.
    """
    root = tmp_path_factory.mktemp("three_runs")
    write_sample_lake(root / "lake", SampleRequest((COMSTOCK,), buildings=4))
    files = sorted((root / "lake").rglob("*-0.parquet"))
    good = files[1].read_bytes()
    run_ids = []
    for contents, max_failed_fraction, exit_code in (
        ((b"", b"PAR1, torn off"), 1.0, 6),
        ((b"", b"PAR1, torn off"), 0.0, 4),
        ((b"no parquet", good), 1.0, 6),
    ):
        for path, content in zip(files[:2], contents, strict=True):
            path.write_bytes(content)
        config = RunConfig.model_validate(
            {
                "src_bucket": str(root / "lake"),
                "output_dir": str(root / "out"),
                "job_specific": [_job(COMSTOCK, "0") | {"state": ["CO"]}],
                "settings": {
                    "log_dir": str(root / "logs"),
                    "max_failed_fraction": max_failed_fraction,
                },
            }
        )
        summary = pipeline.run(config, spark)
        assert summary.exit_code == exit_code, summary.as_text()
        run_ids.append(summary.run_id)
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, table in _read_tables(config, ("runs", "discrepancies")).items():
            connection.register(name, table)
        keys = tuple(str(path.relative_to(root / "lake")) for path in files)
        yield ThreeRuns(connection, tuple(run_ids), keys)


@pytest.fixture
def by_hand() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with no table yet."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection
