"""A first look at the hourly table: a few rows, and the average day. Reads, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from oedi_spark.contracts import Partition
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog


@dataclass(frozen=True)
class Look:
    """What the first look shows of one partition. `average_day_kwh`: 24 values, EST hours.

    `row_count` is of the whole partition; the rows and the day are of `seen_buildings`, those
    of its first file: a partition may hold half a billion hours.
    """

    partition: Partition
    row_count: int
    seen_buildings: int
    rows: pa.Table
    average_day_kwh: tuple[float, ...]


def look_at_hours(location: CatalogLocation, measure: str, *, row_count: int) -> tuple[Look, ...]:
    """One look per partition of the hourly table; none when there is no table yet.

    Reads three columns of one file per partition.
    """
    if not catalog_exists(location):
        return ()
    try:
        table = open_catalog(location, create=False).load_table((location.database, "hourly"))
    except NoSuchTableError:
        return ()
    first: dict[Partition, FileScanTask] = {}
    counts: dict[Partition, int] = {}
    for task in table.scan().plan_files():
        partition = Partition(*(task.file.partition[at] for at in range(3)))
        first.setdefault(partition, task)
        counts[partition] = counts.get(partition, 0) + task.file.record_count
    return tuple(
        _look(table, partition, first[partition], measure, (counts[partition], row_count))
        for partition in sorted(first)
    )


def _look(
    table: Table, partition: Partition, task: FileScanTask, measure: str, counts: tuple[int, int]
) -> Look:
    present = {field.name for field in table.schema().fields}
    shown = tuple(name for name in ("bldg_id", "hour_start", measure) if name in present)
    schema = table.schema().select(*shown)
    hours = ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_table([task])
    return Look(
        partition=partition,
        row_count=counts[0],
        seen_buildings=pc.count_distinct(hours["bldg_id"]).as_py(),
        rows=hours.slice(0, counts[1]),
        average_day_kwh=_average_day(hours, measure) if measure in present else (),
    )


def _average_day(hours: pa.Table, measure: str) -> tuple[float, ...]:
    """A building's mean in each hour of the day, 0 to 23, EST."""
    of_day = hours.append_column("hour_of_day", pc.hour(hours["hour_start"]))
    means = of_day.group_by("hour_of_day").aggregate([(measure, "mean")])
    by_hour = dict(
        zip(means["hour_of_day"].to_pylist(), means[f"{measure}_mean"].to_pylist(), strict=True)
    )
    return tuple(by_hour.get(hour) or 0.0 for hour in range(24))
