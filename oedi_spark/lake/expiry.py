"""Expire old snapshots, and remove the files that only they named.

The catalog is told first. Whoever is stopped between the two leaves files that no snapshot
names, which the sweep of orphans finds. A reader who is still at an expired snapshot fails.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId

from oedi_spark.contracts_maintenance import MaintenanceError, MaintenanceStep, StepReport
from oedi_spark.errors import CommitUnknownError
from oedi_spark.lake.catalog import commit_attempts, table_name
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.owned import (
    canonical,
    delete_owned,
    measure,
    named_files,
    outside,
    short_name,
)

_DAY_S = 86_400.0


def expire_snapshots(
    table: Table, *, retention_days: float, keep: int, is_dry_run: bool
) -> StepReport:
    """Expire what is older than the retention, but never one of the `keep` newest.

    The head of every branch and every tagged snapshot stay.

    Raises:
        MaintenanceError: The catalog refused, or others kept changing the table.
        CommitUnknownError: The catalog failed, and may have expired them all the same.
    """
    cutoff_s = time.time() - retention_days * _DAY_S
    table = table.refresh()
    before, expired = table.metadata, _choose(table, cutoff_s, keep)
    if not expired:
        return StepReport(short_name(table), MaintenanceStep.EXPIRY)
    if not is_dry_run:
        before, expired = _commit(table, cutoff_s, keep)
        table = table.refresh()
    gone_ids = {each.snapshot_id for each in expired}
    unneeded = named_files(table, expired) | {
        canonical(each.statistics_path): each.file_size_in_bytes
        for each in before.statistics
        if each.snapshot_id in gone_ids
    }
    kept = [each for each in table.snapshots() if each.snapshot_id not in gone_ids]
    for uri in named_files(table, kept):
        unneeded.pop(uri, None)
    elsewhere = outside(table, unneeded)
    ours = {uri: size for uri, size in unneeded.items() if uri not in elsewhere}
    removed = measure(ours, access_of(table))
    if not is_dry_run:
        delete_owned(table, ours)
    return StepReport(
        short_name(table),
        MaintenanceStep.EXPIRY,
        snapshots=tuple(each.snapshot_id for each in expired),
        removed=removed,
        foreign=tuple(elsewhere),
    )


def _choose(table: Table, cutoff_s: float, keep: int) -> list[Snapshot]:
    """Those that go, oldest first."""
    newest_first = sorted(
        table.snapshots(), key=lambda each: (each.timestamp_ms, each.sequence_number), reverse=True
    )
    named = {ref.snapshot_id for ref in table.metadata.refs.values()}
    return [
        each
        for each in reversed(newest_first[keep:])
        if each.timestamp_ms < cutoff_s * 1000 and each.snapshot_id not in named
    ]


def _commit(table: Table, cutoff_s: float, keep: int) -> tuple[TableMetadata, list[Snapshot]]:
    """The metadata before the commit, and the snapshots that are gone with it."""
    before, expired = table.metadata, _choose(table, cutoff_s, keep)
    try:
        for attempt in commit_attempts(CommitFailedException):
            with attempt:
                table = table.refresh()
                before, expired = table.metadata, _choose(table, cutoff_s, keep)
                _expire(table, expired)
    except CommitFailedException as error:
        raise MaintenanceError(table_name(table), f"others kept changing it ({error})") from error
    except Exception as error:
        if is_refusal(error):
            cause = f"the catalog refused ({say_fault(error)})"
            raise MaintenanceError(table_name(table), cause) from error
        raise CommitUnknownError(table_name(table), say_fault(error)) from error
    return before, expired


def _expire(table: Table, expired: Sequence[Snapshot]) -> None:
    if not expired:
        return
    expire = table.maintenance.expire_snapshots()
    expire.by_ids([each.snapshot_id for each in expired])
    # A branch that is set back meanwhile to a snapshot that expires would be lost with it.
    expire._requirements = tuple(
        AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id)
        for name, ref in table.metadata.refs.items()
    )
    expire.commit()
