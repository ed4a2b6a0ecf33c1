"""Open the tables for one run: its partitions claimed, what dead runs left swept.

The other half of stage 6 is the writer; this is the frame around a whole run, because files are
staged long before they are committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table, reserve_columns
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.schemas import columns_definition, hourly_definition
from oedi_spark.lake.sweep import sweep_metadata, sweep_run
from oedi_spark.log import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True)
class Lake:
    """The tables of a run, opened, and the leases beside them."""

    hourly: Table
    columns: Table
    leases: LeaseBook


@contextmanager
def claim_lake(
    place: CatalogLocation,
    run_id: str,
    partitions: Collection[Partition],
    measures: Collection[Column],
) -> Iterator[Lake]:
    """The tables with these measures as columns; afterwards nothing uncommitted is left.

    Raises:
        PublishError: The catalog does not answer, or another run holds a partition.
    """
    catalog = open_catalog(place)
    leases = LeaseBook(f"{place.warehouse_uri}/{place.database}")
    dead = leases.acquire(run_id, partitions)
    try:
        hourly = open_table(catalog, place, hourly_definition(measures))
        lake = Lake(
            reserve_columns(hourly, measures),
            open_table(catalog, place, columns_definition()),
            leases,
        )
        for lease in dead:
            for table in (lake.hourly, lake.columns):
                swept = sweep_run(table, lease.run_id, lease.partitions)
                _log.warning("swept a dead run", run=lease.run_id, files=len(swept))
            leases.release(lease.run_id)
        try:
            yield lake
        finally:
            for table in (lake.hourly.refresh(), lake.columns.refresh()):
                sweep_run(table, run_id, partitions)
                if dead:
                    sweep_metadata(table)
    except BaseException:
        leases.abandon(run_id, partitions)
        raise
    leases.release(run_id)
