"""A first look at the hourly table: a few rows, and the average day. Reads, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, EqualTo
from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.lake.catalog import CatalogLocation, open_catalog

ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
_SHOWN = ("release", "state", "upgrade", "bldg_id", "hour_start", ELECTRICITY)


@dataclass(frozen=True)
class Look:
    """What the first look shows of one partition. `average_day_kwh`: 24 values, EST hours."""

    partition: Partition
    building_count: int
    row_count: int
    rows: pa.Table
    average_day_kwh: tuple[float, ...]


def look_at_hours(location: CatalogLocation, *, row_count: int = 5) -> tuple[Look, ...]:
    """One look per partition of the hourly table; none when there is no table yet."""
    catalog = open_catalog(location)
    try:
        table = catalog.load_table((location.database, "hourly"))
    except NoSuchTableError:
        return ()
    cells = table.inspect.partitions().to_pylist()
    partitions = sorted(Partition(**cell["partition"]) for cell in cells)
    return tuple(_look(table, partition, row_count) for partition in partitions)


def _look(table: Table, partition: Partition, row_count: int) -> Look:
    only = And(
        EqualTo(term="release", value=partition.release),
        EqualTo(term="state", value=partition.state),
        EqualTo(term="upgrade", value=partition.upgrade),
    )
    present = {field.name for field in table.schema().fields}
    shown = tuple(name for name in _SHOWN if name in present)
    hours = table.scan(row_filter=only, selected_fields=shown).to_arrow()
    return Look(
        partition=partition,
        building_count=pc.count_distinct(hours["bldg_id"]).as_py(),
        row_count=hours.num_rows,
        rows=hours.slice(0, row_count),
        average_day_kwh=_average_day(hours) if ELECTRICITY in present else (),
    )


def _average_day(hours: pa.Table) -> tuple[float, ...]:
    """Mean electricity of a building in each hour of the day, 0 to 23, EST."""
    of_day = hours.append_column("hour_of_day", pc.hour(hours["hour_start"]))
    means = of_day.group_by("hour_of_day").aggregate([(ELECTRICITY, "mean")])
    by_hour = dict(
        zip(means["hour_of_day"].to_pylist(), means[f"{ELECTRICITY}_mean"].to_pylist(), strict=True)
    )
    return tuple(by_hour.get(hour) or 0.0 for hour in range(24))
