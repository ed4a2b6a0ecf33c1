"""Open the tables for one run: its partitions claimed, what dead runs left swept.

The other half of stage 6 is the writer; this is the frame around a whole run, because files are
staged long before they are committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition
from oedi_spark.errors import CommitUnknownError, OediSparkError, PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table, reserve_columns
from oedi_spark.lake.lease import Lease, LeaseBook
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

    After a commit whose outcome nobody knows nothing is swept: the table may name it.

    Raises:
        PublishError: The catalog does not answer, or another run holds a partition.
    """
    leases = LeaseBook(f"{place.warehouse_uri}/{place.database}")
    dead = leases.acquire(run_id, partitions)
    with leases.kept_alive(run_id, partitions):
        try:
            lake = _open(place, leases, measures)
            _sweep_dead(lake, dead)
            yield lake
        except CommitUnknownError:
            _tidy(lambda: leases.abandon(run_id, partitions))
            raise
        except BaseException:
            _sweep_own(place, run_id, partitions)
            _tidy(lambda: leases.abandon(run_id, partitions))
            raise
    _sweep_own(place, run_id, partitions)
    _tidy(lambda: leases.release(run_id))


def _open(place: CatalogLocation, leases: LeaseBook, measures: Collection[Column]) -> Lake:
    try:
        catalog = open_catalog(place)
        hourly = open_table(catalog, place, hourly_definition(measures))
        columns = open_table(catalog, place, columns_definition())
        return Lake(reserve_columns(hourly, measures), columns, leases)
    except OediSparkError:
        raise
    except Exception as error:
        cause = f"the catalog failed ({type(error).__name__}: {error})"
        raise PublishError(f"{place.database}.hourly", cause) from error


def _sweep_dead(lake: Lake, dead: Collection[Lease]) -> None:
    for lease in dead:
        swept = 0
        for table in (lake.hourly, lake.columns):
            swept += len(sweep_run(table, lease.run_id, lease.partitions))
        _log.warning("swept a dead run", run=lease.run_id, files=swept)
        lake.leases.release(lease.run_id)


def _sweep_own(place: CatalogLocation, run_id: str, partitions: Collection[Partition]) -> None:
    """Remove what this run staged in vain, and metadata files that lost a race."""

    def sweep() -> None:
        catalog = open_catalog(place, create=False)
        for name in ("hourly", "columns"):
            if catalog.table_exists((place.database, name)):
                table = catalog.load_table((place.database, name))
                sweep_run(table, run_id, partitions)
                sweep_metadata(table)

    _tidy(sweep)


def _tidy(work: Callable[[], object]) -> None:
    """Clean up; a fault here is logged and never takes the place of the run's own outcome."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - any fault of a catalog or a file system
        _log.warning("clean-up failed", error=f"{type(error).__name__}: {error}")
