"""A catalog and a warehouse of their own, and small staged files to publish."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition, StagedFile
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.lake.writer import stage_rows

TOTAL = Column("total_kwh", "total", "kwh", "sum", known=True)


@pytest.fixture
def place(tmp_path: Path) -> CatalogLocation:
    """Where catalog and tables lie; nothing is there yet."""
    warehouse = tmp_path / "warehouse"
    return CatalogLocation(
        kind="sql",
        name="oedi",
        database="eulp",
        warehouse_uri=f"file://{warehouse}",
        uri=f"sqlite:///{tmp_path}/catalog/catalog.db",
    )


@pytest.fixture
def hourly(place: CatalogLocation) -> Table:
    """The hourly table, empty, with one measure."""
    return open_table(open_catalog(place), place, hourly_definition([TOTAL]))


@pytest.fixture
def stage() -> Callable[..., StagedFile]:
    """Stage two buildings (1 and 2) of two hours each, all of one value, for a run."""

    def stage_two(table: Table, partition: Partition, value: float, run_id: str) -> StagedFile:
        first = datetime(2018, 1, 1)
        rows = pa.table(
            {
                "release": [partition.release] * 4,
                "state": [partition.state] * 4,
                "upgrade": pa.array([partition.upgrade] * 4, pa.int32()),
                "bldg_id": [1, 1, 2, 2],
                "hour_start": pa.array([first, first + timedelta(hours=1)] * 2, pa.timestamp("us")),
                "total_kwh": [value] * 4,
            }
        )
        return stage_rows(table, partition, rows, run_id=run_id)

    return stage_two
