"""Return the tables to before one run, and leave what other runs did as it is.

One new snapshot per table. What it adds are copies of the files of the snapshot before: a path
that a snapshot took out must not come back, because whoever expires that snapshot may delete the
file by its name, without a look whether a later one names it again.

Everything is looked at and every file copied before the first commit. Tables follow one another
as in publication; a rollback that is stopped between two of them is completed by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile

from oedi_spark.contracts import Partition
from oedi_spark.errors import CommitUnknownError, PartitionBusyError, PublishError
from oedi_spark.lake.catalog import CatalogLocation, commit_attempts, commit_uuid, table_name
from oedi_spark.lake.claim import tidy_dead_runs
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.history import ROLLED_BACK_PROPERTY
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.restore import UnfitPartitionError, copy_files, copy_records, files_at
from oedi_spark.lake.rollback_plan import RollbackError, RollbackPlan, TablePlan, plan_rollback
from oedi_spark.lake.sweep import sweep_metadata, sweep_run
from oedi_spark.lake.writer import RUN_ID_PROPERTY  # noqa: TID251 - the mark of whoever commits


def roll_back(place: CatalogLocation, run_id: str, *, rollback_id: str) -> RollbackPlan:
    """Roll a run back in every table; returns what was done. Nothing, if it was before.

    Args:
        place: The catalog.
        run_id: The run to undo.
        rollback_id: Of this rollback: a run id of its own, which its files and snapshots bear.

    Raises:
        RollbackError: As `plan_rollback`; or another run holds a partition, a file could not be
            copied, or a commit did not happen. `done` names the tables that were committed.
        CommitUnknownError: The catalog failed, and may have committed. The same command again
            completes it.
    """
    found = plan_rollback(place, run_id)
    if not found.tables:
        return found
    partitions = found.partitions
    with _leased(place, run_id, rollback_id, partitions) as leases:
        plan = plan_rollback(place, run_id)
        if not plan.partitions <= partitions:
            raise RollbackError(run_id, "its partitions were changed meanwhile; try again")
        with _swept(plan, rollback_id):
            added = [_copy(each, plan, rollback_id) for each in plan.tables]
            done = list(plan.done)
            for each, files in zip(plan.tables, added, strict=True):
                _require_held(leases, run_id, rollback_id, done)
                _commit(each, files, run_id, rollback_id, done)
                done.append(each.name)
    with suppress(OSError):  # the run is rolled back, whatever becomes of the tidying up
        tidy_dead_runs(place, rollback_id, partitions)
    return plan


def _require_held(leases: LeaseBook, run_id: str, rollback_id: str, done: Sequence[str]) -> None:
    """Refuse to commit once another run took this for dead: it has swept the copies."""
    try:
        leases.require_held(rollback_id)
    except PublishError as gone:
        raise RollbackError(run_id, gone.cause, done) from gone
    except OSError as error:
        cause = f"the folder of its leases does not answer ({say_fault(error)})"
        raise RollbackError(run_id, cause, done) from error


@contextmanager
def _leased(
    place: CatalogLocation, run_id: str, rollback_id: str, partitions: Collection[Partition]
) -> Iterator[LeaseBook]:
    """Keep every run away from the partitions; none may be at one of them."""
    leases = LeaseBook(place.database_uri, place.access)
    try:
        leases.acquire(rollback_id, partitions)
    except PartitionBusyError as busy:
        cause = f"run {busy.run_id} is replacing {busy.partition} (lease {busy.lease})"
        raise RollbackError(run_id, f"{cause}; wait until it ends") from busy
    except OSError as error:
        cause = f"the folder of its leases does not answer ({say_fault(error)})"
        raise RollbackError(run_id, cause) from error
    try:
        with leases.kept_alive(rollback_id, partitions):
            yield leases
    except BaseException:
        with suppress(OSError):  # the fault that counts is the one that is under way
            leases.abandon(rollback_id, partitions)
        raise
    with suppress(OSError):  # all is done, and a lease that stays ends with this process
        leases.release(rollback_id)


@contextmanager
def _swept(plan: RollbackPlan, rollback_id: str) -> Iterator[None]:
    """Leave nothing uncommitted behind, unless nobody knows what is committed."""

    def sweep() -> None:
        for each in plan.tables:
            with suppress(Exception):  # the next run finds the lease, and sweeps
                sweep_run(each.table, rollback_id, each.partitions)
                sweep_metadata(each.table)

    try:
        yield
    except CommitUnknownError:
        raise
    except BaseException:
        sweep()
        raise
    sweep()


def _copy(each: TablePlan, plan: RollbackPlan, rollback_id: str) -> list[DataFile]:
    """Copies of what comes back to one table, which no reader sees yet."""
    back = {cell.partition: cell.back for cell in each.cells}
    try:
        if each.name == "sources":
            lost = plan.stale_copies | plan.unrecorded
            kept = {at: files for at, files in back.items() if at not in lost}
            return copy_records(each.table, kept, rollback_id)
        return copy_files(each.table, back, rollback_id)
    except (OSError, UnfitPartitionError) as error:
        cause = f"files of {table_name(each.table)} could not be copied ({say_fault(error)})"
        raise RollbackError(plan.run_id, cause) from error


def _commit(
    each: TablePlan, added: Sequence[DataFile], run_id: str, rollback_id: str, done: Sequence[str]
) -> None:
    """One snapshot that restores the partitions and says of which run it is the rollback."""
    name = table_name(each.table)
    try:
        for attempt in commit_attempts(CommitFailedException, ValidationException):
            with attempt:
                _commit_once(each, added, run_id, rollback_id)
    except (CommitFailedException, ValidationException) as error:
        raise RollbackError(run_id, f"others kept changing {name} ({error})", done) from error
    except UnfitPartitionError as error:
        raise RollbackError(run_id, str(error), done) from error
    except Exception as error:
        if is_refusal(error):
            cause = f"the catalog refused to change {name} ({say_fault(error)})"
            raise RollbackError(run_id, cause, done) from error
        raise CommitUnknownError(name, say_fault(error)) from error


def _commit_once(each: TablePlan, added: Sequence[DataFile], run_id: str, rollback_id: str) -> None:
    table = each.table.refresh()
    current = table.current_snapshot()
    now = files_at(table, current.snapshot_id if current else None, each.partitions)
    if {file.file_path for files in now.values() for file in files} != each.held:
        raise UnfitPartitionError(f"{table_name(table)} was changed meanwhile, without a lease")
    properties = {RUN_ID_PROPERTY: rollback_id, ROLLED_BACK_PROPERTY: run_id}
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=properties).overwrite(
        commit_uuid=commit_uuid(rollback_id)
    )
    with update:
        for cell in each.cells:
            for file in cell.out:
                update.delete_data_file(file)
        for file in added:
            update.append_data_file(file)
    transaction.commit_transaction()
