"""Open the tables for one run: its partitions claimed, what dead runs left swept.

The other half of stage 6 is the writer; this is the frame around a whole run, because files are
staged long before they are committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_metadata import MetadataColumn
from oedi_spark.errors import (
    CommitUnknownError,
    OediSparkError,
    PartitionBusyError,
    PublishError,
)
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.faults import is_storage_fault, say_fault
from oedi_spark.lake.landing import sweep_waiting
from oedi_spark.lake.lease import Lease, LeaseBook
from oedi_spark.lake.leftovers import Leftovers, drop_entries, gather
from oedi_spark.lake.metadata_schemas import building_weights_definition, metadata_definition
from oedi_spark.lake.schemas import columns_definition, hourly_definition, sources_definition
from oedi_spark.lake.sweep import sweep_metadata, sweep_run
from oedi_spark.log import get_logger

_TABLES = ("hourly", "columns", "metadata", "building_weights", "sources")
_LEDGER_TABLES = ("runs", "discrepancies")
"""Swept after dead runs only: `lake/ledger.py` cleans up behind the living."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class Lake:
    """The tables of a run, opened, and the leases beside them.

    `metadata` and `weights` are None where no run has taken metadata yet. `leftovers`: what runs
    that were killed have finished.
    """

    hourly: Table
    columns: Table
    sources: Table
    leases: LeaseBook
    leftovers: Leftovers
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

    What runs that were killed have finished is left until the end, for this one to take up; if
    this one fails too, for the next.

    After a commit whose outcome nobody knows nothing is swept: the table may name it. Nor is it
    once another run took this one for dead: that run may be taking up what this one staged.

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
            left = gather(place.database_uri, dead, partitions, place.access)
            lake = _open(place, leases, left, measures, metadata_columns)
            _sweep_dead(place, leases, dead, left, _claimed_by_others(leases, run_id))
            yield lake
        except CommitUnknownError:
            _tidy(lambda: leases.abandon(run_id, partitions))
            raise
        except BaseException as error:
            if _is_held(leases, run_id):
                _sweep_own(place, run_id, partitions)
            _tidy(lambda: leases.abandon(run_id, partitions))
            if is_storage_fault(error):
                raise PublishError(f"{place.database}.hourly", say_fault(error)) from error
            raise
    if _is_held(leases, run_id):
        _sweep_own(place, run_id, partitions)
        _tidy(lambda: _settle(place, leases, left))
        _tidy(lambda: leases.release(run_id))


def tidy_dead_runs(place: CatalogLocation, run_id: str, partitions: Collection[Partition]) -> None:
    """Sweep what dead runs left, for a run that has nothing else to do; a living one is let be.

    A fault is logged: there is nothing that it could take from such a run.
    """

    def sweep() -> None:
        leases = LeaseBook(place.database_uri, place.access)
        if not any(True for _ in leases.others(run_id)):
            return
        with suppress(PartitionBusyError):
            dead = leases.acquire(run_id, partitions)
            try:
                with leases.kept_alive(run_id, partitions):
                    left = gather(place.database_uri, dead, partitions, place.access)
                    _sweep_dead(place, leases, dead, left, _claimed_by_others(leases, run_id))
                    if _is_held(leases, run_id):
                        _settle(place, leases, left)
            finally:
                _tidy(lambda: leases.release(run_id))

    _tidy(sweep)


def _is_held(leases: LeaseBook, run_id: str) -> bool:
    """Whether what the run staged, and found of dead runs, is still its own to remove."""
    try:
        if leases.is_held(run_id):
            return True
    except OSError as error:
        _log.warning("lease not read", run=run_id, error=say_fault(error))
        return False
    _log.warning("taken for dead, so nothing is swept", run=run_id)
    return False


def _open(
    place: CatalogLocation,
    leases: LeaseBook,
    leftovers: Leftovers,
    measures: Collection[Column],
    metadata_columns: Collection[MetadataColumn] | None,
) -> Lake:
    try:
        catalog = open_catalog(place)
        lake = Lake(
            hourly=open_table(catalog, place, hourly_definition(measures)),
            columns=open_table(catalog, place, columns_definition()),
            sources=open_table(catalog, place, sources_definition()),
            leases=leases,
            leftovers=leftovers,
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


def _sweep_dead(
    place: CatalogLocation,
    leases: LeaseBook,
    dead: Collection[Lease],
    left: Leftovers,
    busy: frozenset[Partition],
) -> None:
    """Remove what dead runs left, also in tables that this run does not open.

    Of finished batches that this run or another may take up, file, entry and lease stay; and so
    does all that lies in the partitions of another living run (`busy`), and all of a run whose
    entries could not be read.
    """
    if not dead:
        return
    catalog = open_catalog(place, create=False)
    tables = _existing_tables(catalog, place, (*_TABLES, *_LEDGER_TABLES))
    for lease in dead:
        leases.end(lease)  # before anything of it goes
        if lease.run_id in left.unread:
            continue  # the next run looks again
        swept, spared = 0, left.spared(lease.run_id)
        for table in tables:
            swept += len(sweep_run(table, lease.run_id, lease.partitions - busy, spared=spared))
        sweep_waiting(place.database_uri, lease.run_id, place.access)
        _log.warning("swept a dead run", run=lease.run_id, files=swept, spared=len(spared))
        if lease.partitions & busy:
            continue  # a living run may be taking its work up; the next one looks again
        if not spared:
            drop_entries(place.database_uri, lease.run_id, place.access)
            leases.release(lease.run_id)


def _claimed_by_others(leases: LeaseBook, run_id: str) -> frozenset[Partition]:
    now_s = time.time()
    living = (each for each in leases.others(run_id) if each.is_alive(now_s))
    return frozenset(partition for each in living for partition in each.partitions)


def _settle(place: CatalogLocation, leases: LeaseBook, left: Leftovers) -> None:
    """Remove what this run did not take up, where it could have; the rest waits for others."""
    tables = _existing_tables(open_catalog(place, create=False), place) if left.leases else []
    for lease in left.leases:
        for table in tables:
            sweep_run(table, lease.run_id, lease.partitions & left.claimed)
        kept = [entry for entry in left.foreign if entry.run_id == lease.run_id]
        drop_entries(
            place.database_uri, lease.run_id, place.access, keep={entry.uri for entry in kept}
        )
        if kept:
            leases.narrow(lease, {entry.partition for entry in kept})
        else:
            leases.release(lease.run_id)


def _sweep_own(place: CatalogLocation, run_id: str, partitions: Collection[Partition]) -> None:
    """Remove what this run staged in vain, and metadata files that lost a race."""

    def sweep() -> None:
        for table in _existing_tables(open_catalog(place, create=False), place):
            sweep_run(table, run_id, partitions)
            sweep_metadata(table)

    _tidy(sweep)
    _tidy(lambda: drop_entries(place.database_uri, run_id, place.access))
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
