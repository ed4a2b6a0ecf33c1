"""What each snapshot of our tables changed, and which run made it.

Only manifests that a snapshot itself wrote are read, so a long history costs its changes, not the
table's size times its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFileContent, ManifestEntry, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, ancestors_of

from oedi_spark.contracts import Partition
from oedi_spark.errors import PublishError
from oedi_spark.escaping import printable
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog, table_name
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.partitions import partition_of
from oedi_spark.lake.schemas import PARTITION_COLUMNS
from oedi_spark.lake.writer import RUN_ID_PROPERTY  # noqa: TID251 - the mark of whoever commits

PUBLISHED_TABLES = ("building_weights", "metadata", "hourly", "columns", "sources")
"""What a run publishes, in the order of its commits."""

TABLES = (*PUBLISHED_TABLES, "runs", "discrepancies")
"""Every table that this package makes."""

ROLLED_BACK_PROPERTY = "oedi-spark.rolled-back"
"""In the summary of a snapshot that undoes a run: the id of that run."""

_PARALLEL = 8
"""Snapshots that are looked at at once: on S3 each is a wait."""

_MERGED = re.compile(r"(?:.*/)?[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}(?:-maintain)?-c[0-9]{5}-[^/]*")
"""What maintenance calls a file that it has made of several."""


class HistoryError(PublishError):
    """The history of the tables cannot be told. Nothing was changed."""

    def __init__(self, what: str, cause: str) -> None:
        super().__init__(what, cause)
        self.args = (f"The history of {what} cannot be read: {cause}.",)


@dataclass(frozen=True)
class CellChange:
    """What a snapshot changed in one partition; None: the table has no partitions of ours.

    `is_merge`: the same rows lie in other files.
    """

    partition: Partition | None
    added_rows: int
    removed_rows: int
    is_merge: bool


@dataclass(frozen=True)
class Change:
    """One snapshot of one table. `table` is its name without the database.

    `is_current`: the state that readers see came through it. `rolled_back`: the run that it undid.
    """

    table: str
    snapshot_id: int
    sequence_number: int
    """Its place among all snapshots that the table ever had, from 1."""
    committed_at_ms: int
    operation: str
    run_id: str | None
    rolled_back: str | None
    cells: tuple[CellChange, ...]
    is_current: bool

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Those that it changed."""
        return tuple(cell.partition for cell in self.cells if cell.partition is not None)

    @property
    def added_rows(self) -> int:
        """Rows in the files that it added."""
        return sum(cell.added_rows for cell in self.cells)

    @property
    def removed_rows(self) -> int:
        """Rows in the files that it took out."""
        return sum(cell.removed_rows for cell in self.cells)


def read_history(place: CatalogLocation, names: Collection[str] = TABLES) -> tuple[Change, ...]:
    """Every kept snapshot of the named tables, the newest first; none of a table that is not there.

    Raises:
        HistoryError: There is no catalog or no table yet, or one of them cannot be read.
    """
    if not catalog_exists(place):
        raise HistoryError(place.database, "nothing was published yet")
    try:
        tables = load_tables(open_catalog(place, create=False), place, names)
        if not tables:
            raise HistoryError(place.database, "nothing was published yet")
        found = [change for table in tables for change in changes_of(table)]
    except PublishError:
        raise
    except Exception as error:
        raise HistoryError(place.database, say_fault(error)) from error
    return tuple(sorted(found, key=lambda each: each.committed_at_ms, reverse=True))


def load_tables(
    catalog: Catalog, place: CatalogLocation, names: Collection[str]
) -> tuple[Table, ...]:
    """Those of the named tables that are there, in the order of the names."""
    identifiers = [(place.database, name) for name in names]
    return tuple(catalog.load_table(each) for each in identifiers if catalog.table_exists(each))


def changes_of(table: Table, *, after: int = 0) -> tuple[Change, ...]:
    """The kept snapshots of one table with a sequence number beyond `after`, the oldest first.

    Raises:
        HistoryError: A manifest that a snapshot names is not there, or makes no sense.
    """
    wanted = [each for each in table.snapshots() if (each.sequence_number or 0) > after]
    line = {each.snapshot_id for each in ancestors_of(table.current_snapshot(), table.metadata)}
    try:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(
                lambda each: _change(table, each, is_current=each.snapshot_id in line),
                sorted(wanted, key=lambda each: each.sequence_number or 0),
            )
            return tuple(found)
    except Exception as error:
        raise HistoryError(table_name(table), say_fault(error)) from error


def _change(table: Table, snapshot: Snapshot, *, is_current: bool) -> Change:
    summary = snapshot.summary
    told = summary.additional_properties if summary else {}
    operation = summary.operation if summary else None
    return Change(
        table=str(table.name()[-1]),
        snapshot_id=snapshot.snapshot_id,
        sequence_number=snapshot.sequence_number or 0,
        committed_at_ms=snapshot.timestamp_ms,
        operation=operation.value if operation else "",
        run_id=_one_line(told.get(RUN_ID_PROPERTY)),
        rolled_back=_one_line(told.get(ROLLED_BACK_PROPERTY)),
        cells=_cells(table, snapshot, is_replace=operation is Operation.REPLACE),
        is_current=is_current,
    )


def _one_line(text: str | None) -> str | None:
    """A property that any program may have written, without line breaks or control characters."""
    return text if text is None else printable(text)


def _cells(table: Table, snapshot: Snapshot, *, is_replace: bool) -> tuple[CellChange, ...]:
    added: dict[Partition | None, list[ManifestEntry]] = {}
    removed: dict[Partition | None, list[ManifestEntry]] = {}
    for partition, entry in _entries(table, snapshot):
        into = added if entry.status is ManifestEntryStatus.ADDED else removed
        into.setdefault(partition, []).append(entry)
    return tuple(
        _cell(each, added.get(each, ()), removed.get(each, ()), is_replace=is_replace)
        for each in sorted({*added, *removed}, key=str)
    )


def _entries(table: Table, snapshot: Snapshot) -> Iterator[tuple[Partition | None, ManifestEntry]]:
    """The files that a snapshot added or took out, with the partition of each."""
    ours = {
        number: tuple(field.name for field in spec.fields) == PARTITION_COLUMNS
        for number, spec in table.specs().items()
    }
    for manifest in snapshot.manifests(table.io):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        is_ours = ours.get(manifest.partition_spec_id, False)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            if entry.status is not ManifestEntryStatus.EXISTING:
                yield (partition_of(entry.data_file) if is_ours else None), entry


def _cell(
    partition: Partition | None,
    added: Collection[ManifestEntry],
    removed: Collection[ManifestEntry],
    *,
    is_replace: bool,
) -> CellChange:
    files = [entry.data_file for entry in (*added, *removed)]
    is_data = all(file.content is DataFileContent.DATA for file in files)
    added_rows = sum(entry.data_file.record_count for entry in added)
    removed_rows = sum(entry.data_file.record_count for entry in removed)
    is_named = bool(added) and all(_MERGED.fullmatch(e.data_file.file_path) for e in added)
    is_merge = is_data and added_rows == removed_rows and (is_named or is_replace)
    return CellChange(partition, added_rows, removed_rows, is_merge)
