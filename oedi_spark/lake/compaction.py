"""Make few large files of many small ones, in one commit per table that changes no row.

Runs and compaction keep out of each other's way by leases: a partition that a run is replacing is
left out, and a run that wants one that is being compacted is told to wait. What others change all
the same, an engine that knows no leases, is noticed before the commit and left as they made it.

A state that the table `sources` does not bear out is merged too, and stays one that it does not.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.sorting import NullOrder, SortDirection
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import PrimitiveType

from oedi_spark.contracts import Partition
from oedi_spark.contracts_maintenance import (
    MaintenanceError,
    MaintenanceStep,
    Rewrite,
    SizedFile,
    StepReport,
)
from oedi_spark.errors import CommitUnknownError, PartitionBusyError
from oedi_spark.lake.catalog import commit_attempts, commit_uuid, table_name
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import delete_uris
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.owned import canonical, short_name
from oedi_spark.lake.rewrite import UnfitFileError, rewrite
from oedi_spark.lake.schemas import PARTITION_COLUMNS
from oedi_spark.lake.sources import merged_name, recorded_runs
from oedi_spark.lake.sweep import sweep_run
from oedi_spark.lake.writer import RUN_ID_PROPERTY  # noqa: TID251 - the mark of whoever commits


@dataclass(frozen=True)
class CompactionRule:
    """When files are too small, and what they become."""

    small_file_bytes: int
    min_files: int
    """A partition with fewer small files is left alone."""
    target_file_bytes: int
    row_group_rows: Mapping[str, int]
    """At most so many rows per row group, by table; of others about 96 MB in memory."""


@dataclass(frozen=True)
class _Bin:
    """Files of one partition that become one file. `partition` is None where there is none."""

    partition: Partition | None
    files: tuple[DataFile, ...]
    output: DataFile | None = None

    def as_rewrite(self) -> Rewrite:
        return Rewrite(
            partition="" if self.partition is None else str(self.partition),
            inputs=tuple(map(_sized, self.files)),
            row_count=sum(file.record_count for file in self.files),
            output=None if self.output is None else _sized(self.output),
        )


def compact(
    table: Table, leases: LeaseBook, *, run_id: str, rule: CompactionRule, is_dry_run: bool
) -> StepReport:
    """Rewrite the small files of every partition that has enough of them.

    Raises:
        MaintenanceError: The commit did not happen, or a rewritten file was not the same rows.
        CommitUnknownError: The catalog failed, and may have committed all the same.
        PublishError: The lease is gone, another run took this one for dead.
    """
    notes: list[str] = []
    bins = _choose(table.refresh(), rule, notes)
    bins = _without_busy(bins, leases, run_id, notes)
    if bins and not is_dry_run:
        partitions = {each.partition for each in bins if each.partition is not None}
        try:
            leases.acquire(run_id, partitions)
        except PartitionBusyError as busy:
            notes.append(f"{busy.partition} is being replaced by run {busy.run_id}")
            bins = []
        else:
            bins = _compact_held(table, leases, partitions, run_id, rule, notes)
    return StepReport(
        short_name(table),
        MaintenanceStep.COMPACTION,
        rewrites=tuple(each.as_rewrite() for each in bins),
        notes=tuple(dict.fromkeys(notes)),
    )


def _without_busy(
    bins: Sequence[_Bin], leases: LeaseBook, run_id: str, notes: list[str]
) -> list[_Bin]:
    """Those of partitions that no living run claims."""
    now_s = time.time()
    living = [each for each in leases.others(run_id) if each.is_alive(now_s)]
    owners = {cell: each.run_id for each in living for cell in each.partitions}
    for each in bins:
        if each.partition in owners:
            notes.append(f"{each.partition} is being replaced by run {owners[each.partition]}")
    return [each for each in bins if each.partition not in owners]


def _compact_held(
    table: Table,
    leases: LeaseBook,
    partitions: Collection[Partition],
    run_id: str,
    rule: CompactionRule,
    notes: list[str],
) -> list[_Bin]:
    """Choose again, now that no run changes the partitions; rewrite, and commit."""
    written: list[_Bin] = []
    try:
        with leases.kept_alive(run_id, partitions):
            table = table.refresh()
            chosen = _choose(table, rule, notes)
            recorded = recorded_runs(table, partitions)
            for at, each in enumerate(chosen):
                if each.partition is None or each.partition in partitions:
                    record = recorded.get(each.partition) if each.partition else None
                    name = merged_name(run_id, at, record, commit_uuid(run_id))
                    try:
                        written.append(_rewrite(table, each, name, rule))
                    except UnfitFileError as error:
                        notes.append(f"{each.partition or 'the table'} is left: {error}")
            leases.require_held(run_id)
            done = _commit(table, written, run_id, notes)
    except CommitUnknownError:
        with suppress(OSError):
            leases.abandon(run_id, partitions)
        raise
    except BaseException:
        _discard(table, written, run_id, partitions)
        with suppress(OSError):
            leases.release(run_id)
        raise
    leases.release(run_id)
    _delete_outputs(table, [each for each in written if each not in done])
    return done


def _choose(table: Table, rule: CompactionRule, notes: list[str]) -> list[_Bin]:
    """What becomes one file each; `notes` gains what is left out."""
    names = tuple(field.name for field in table.spec().fields)
    sort_columns = _sort_columns(table)
    if names not in ((), PARTITION_COLUMNS) or sort_columns is None:
        notes.append("its partitions or its sort order are not those of this package")
        return []
    cells: dict[Partition | None, list[FileScanTask]] = {}
    for task in table.scan().plan_files():
        if task.file.spec_id == table.metadata.default_spec_id:
            values = (task.file.partition[at] for at in range(len(names)))
            cells.setdefault(Partition(*values) if names else None, []).append(task)
    bins = []
    for partition, tasks in sorted(cells.items(), key=lambda cell: str(cell[0])):
        small = [task for task in tasks if task.file.file_size_in_bytes < rule.small_file_bytes]
        if len(small) < rule.min_files:
            continue
        if any(task.delete_files for task in tasks):
            notes.append(f"{partition or 'the table'} has rows that another engine deleted")
            continue
        ordered = sorted((task.file for task in small), key=_rank(table, sort_columns))
        bins += [_Bin(partition, files) for files in _pack(ordered, rule.target_file_bytes)]
    return bins


def _sort_columns(table: Table) -> tuple[str, ...] | None:
    """The columns of the table's order; None if it is not a plain rising one with nulls last."""
    fields = table.sort_order().fields
    is_plain = all(
        isinstance(each.transform, IdentityTransform)
        and each.direction == SortDirection.ASC
        and each.null_order == NullOrder.NULLS_LAST
        for each in fields
    )
    names = tuple(table.schema().find_column_name(each.source_id) for each in fields)
    return tuple(name for name in names if name) if is_plain else None


def _rank(table: Table, sort_columns: Sequence[str]) -> Any:  # noqa: ANN401 - a key of any values
    """Files by the first row that they can have, so that neighbours become one file."""
    fields = [table.schema().find_field(name) for name in sort_columns]

    def rank(file: DataFile) -> tuple[object, ...]:
        bounds = file.lower_bounds or {}
        lows = [
            from_bytes(each.field_type, bounds[each.field_id])
            if each.field_id in bounds and isinstance(each.field_type, PrimitiveType)
            else None
            for each in fields
        ]
        return (*((low is not None, low) for low in lows), file.file_path)

    return rank


def _pack(files: Iterable[DataFile], target_bytes: int) -> list[tuple[DataFile, ...]]:
    """Neighbours together, up to the size of a file; one that is left alone stays as it is."""
    packed: list[list[DataFile]] = []
    filled = target_bytes
    for file in files:
        if not packed or filled + file.file_size_in_bytes > target_bytes:
            packed.append([])
            filled = 0
        packed[-1].append(file)
        filled += file.file_size_in_bytes
    return [tuple(each) for each in packed if len(each) > 1]


def _rewrite(table: Table, each: _Bin, name: str, rule: CompactionRule) -> _Bin:
    below = "" if each.partition is None else f"{each.partition}/"
    uri = f"{table.location().rstrip('/')}/data/{below}{name}.parquet"
    output = rewrite(
        table,
        each.files,
        uri,
        sort_columns=_sort_columns(table) or (),
        row_group_rows=rule.row_group_rows.get(short_name(table)),
    )
    return replace(each, output=output)


def _commit(table: Table, written: Sequence[_Bin], run_id: str, notes: list[str]) -> list[_Bin]:
    """Put the new files in place of the old, in one snapshot; returns those that were."""
    done: list[_Bin] = []
    if not written:
        return done
    name = table_name(table)
    try:
        for attempt in commit_attempts(CommitFailedException, ValidationException):
            with attempt:
                table = table.refresh()
                done = _unchanged(table, written)
                _commit_once(table, done, run_id)
    except (CommitFailedException, ValidationException) as error:
        raise MaintenanceError(name, f"others kept changing it ({error})") from error
    except Exception as error:
        if is_refusal(error):
            raise MaintenanceError(name, f"the catalog refused ({say_fault(error)})") from error
        raise CommitUnknownError(name, say_fault(error)) from error
    notes.extend(
        f"{each.partition or 'the table'} was changed meanwhile"
        for each in written
        if each not in done
    )
    return done


def _unchanged(table: Table, written: Sequence[_Bin]) -> list[_Bin]:
    """Those all of whose inputs the table still has, and nothing was deleted from."""
    tasks = table.scan().plan_files()
    current = {task.file.file_path for task in tasks if not task.delete_files}
    return [each for each in written if {file.file_path for file in each.files} <= current]


def _commit_once(table: Table, done: Sequence[_Bin], run_id: str) -> None:
    if not done:
        return
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties={RUN_ID_PROPERTY: run_id}).overwrite(
        commit_uuid=commit_uuid(run_id)
    )
    with update:
        for each in done:
            for file in each.files:
                update.delete_data_file(file)
            if each.output is not None:
                update.append_data_file(each.output)
    transaction.commit_transaction()


def _discard(
    table: Table, written: Sequence[_Bin], run_id: str, partitions: Collection[Partition]
) -> None:
    """Remove what was written in vain; what cannot be removed now is left to the sweep."""
    with suppress(Exception):
        sweep_run(table, run_id, partitions)
        named = {task.file.file_path for task in table.refresh().scan().plan_files()}
        vain = [each for each in written if each.output and each.output.file_path not in named]
        _delete_outputs(table, vain)


def _delete_outputs(table: Table, written: Iterable[_Bin]) -> None:
    delete_uris((each.output.file_path for each in written if each.output), access_of(table))


def _sized(file: DataFile) -> SizedFile:
    return SizedFile(canonical(file.file_path), file.file_size_in_bytes)
