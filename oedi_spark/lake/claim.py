"""Open the tables for one run: its partitions claimed, what dead runs left swept.

The other half of stage 6 is the writer; this is the frame around a whole run, because files are
staged long before they are committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_metadata import MetadataColumn
from oedi_spark.errors import CommitUnknownError, OediSparkError, PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.faults import is_storage_fault, say_fault
from oedi_spark.lake.landing import sweep_waiting
from oedi_spark.lake.lease import Lease, LeaseBook
from oedi_spark.lake.metadata_schemas import building_weights_definition, metadata_definition
from oedi_spark.lake.schemas import columns_definition, hourly_definition
from oedi_spark.lake.sweep import sweep_metadata, sweep_run
from oedi_spark.log import get_logger

_TABLES = ("hourly", "columns", "metadata", "building_weights")
_LEDGER_TABLES = ("runs", "discrepancies")
"""Swept after dead runs only: `lake/ledger.py` cleans up behind the living."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class Lake:
    """The tables of a run, opened, and the leases beside them.

    `metadata` and `weights` are None where no run has taken metadata yet.
    """

    hourly: Table
    columns: Table
    leases: LeaseBook
    metadata: Table | None = None
    weights: Table | None = None


@contextmanager
def claim_lake(
    place: CatalogLocation,
    run_id: str,
    partitions: Collection[Partition],
    measures: Collection[Column],
    metadata_columns: Collection[MetadataColumn] | None = None,
) -> Iterator[Lake]:
    """The tables with these columns; afterwards nothing uncommitted is left in any.

    After a commit whose outcome nobody knows nothing is swept: the table may name it.

    Args:
        place: The catalog.
        run_id: The run.
        partitions: What it will replace, in whichever table.
        measures: Columns of `hourly`.
        metadata_columns: Columns of `metadata`; None when the run takes no metadata, and then
            its tables are not made.

    Raises:
        PublishError: The catalog or the store does not answer, at any moment of the run; or
            another run holds a partition.
    """
    leases = LeaseBook(place.database_uri, place.access)
    try:
        dead = leases.acquire(run_id, partitions)
    except OSError as error:
        cause = f"the folder of its leases does not answer ({error})"
        raise PublishError(f"{place.database}.hourly", cause) from error
    with leases.kept_alive(run_id, partitions):
        try:
            lake = _open(place, leases, measures, metadata_columns)
            _sweep_dead(place, leases, dead)
            yield lake
        except CommitUnknownError:
            _tidy(lambda: leases.abandon(run_id, partitions))
            raise
        except BaseException as error:
            _sweep_own(place, run_id, partitions)
            _tidy(lambda: leases.abandon(run_id, partitions))
            if is_storage_fault(error):
                raise PublishError(f"{place.database}.hourly", say_fault(error)) from error
            raise
    _sweep_own(place, run_id, partitions)
    _tidy(lambda: leases.release(run_id))


def _open(
    place: CatalogLocation,
    leases: LeaseBook,
    measures: Collection[Column],
    metadata_columns: Collection[MetadataColumn] | None,
) -> Lake:
    try:
        catalog = open_catalog(place)
        lake = Lake(
            hourly=open_table(catalog, place, hourly_definition(measures)),
            columns=open_table(catalog, place, columns_definition()),
            leases=leases,
        )
        if metadata_columns is None:
            # Hours that are replaced may have weights of an earlier run, which then go.
            names = [(place.database, name) for name in ("metadata", "building_weights")]
            if not all(catalog.table_exists(each) for each in names):
                return lake
            metadata, weights = (catalog.load_table(each) for each in names)
            return replace(lake, metadata=metadata, weights=weights)
        return replace(
            lake,
            metadata=open_table(catalog, place, metadata_definition(metadata_columns)),
            weights=open_table(catalog, place, building_weights_definition()),
        )
    except OediSparkError:
        raise
    except Exception as error:
        cause = f"the catalog failed ({say_fault(error)})"
        raise PublishError(f"{place.database}.hourly", cause) from error


def _sweep_dead(place: CatalogLocation, leases: LeaseBook, dead: Collection[Lease]) -> None:
    """Remove what dead runs left, also in tables that this run does not open."""
    if not dead:
        return
    catalog = open_catalog(place, create=False)
    tables = _existing_tables(catalog, place, (*_TABLES, *_LEDGER_TABLES))
    for lease in dead:
        swept = 0
        for table in tables:
            swept += len(sweep_run(table, lease.run_id, lease.partitions))
        sweep_waiting(place.database_uri, lease.run_id, place.access)
        _log.warning("swept a dead run", run=lease.run_id, files=swept)
        leases.release(lease.run_id)


def _sweep_own(place: CatalogLocation, run_id: str, partitions: Collection[Partition]) -> None:
    """Remove what this run staged in vain, and metadata files that lost a race."""

    def sweep() -> None:
        for table in _existing_tables(open_catalog(place, create=False), place):
            sweep_run(table, run_id, partitions)
            sweep_metadata(table)

    _tidy(sweep)
    _tidy(lambda: sweep_waiting(place.database_uri, run_id, place.access))


def _existing_tables(
    catalog: Catalog, place: CatalogLocation, names: Collection[str] = _TABLES
) -> list[Table]:
    identifiers = [(place.database, name) for name in names]
    return [catalog.load_table(each) for each in identifiers if catalog.table_exists(each)]


def _tidy(work: Callable[[], object]) -> None:
    """Clean up; a fault here is logged and never takes the place of the run's own outcome."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - any fault of a catalog or a file system
        _log.warning("clean-up failed", error=say_fault(error))
