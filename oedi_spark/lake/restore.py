"""Files of an earlier snapshot, found and copied under names of a rollback's own.

Beside `rollback.py`, which decides and commits. A copy bears the rollback's id, so that what one
leaves that was stopped can be swept, and no expiry of an old snapshot takes it for its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntryStatus,
)
from pyiceberg.table import Table
from pyiceberg.types import StringType

from oedi_spark.contracts import Partition
from oedi_spark.lake.catalog import table_name
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import create_parent, open_uri
from oedi_spark.lake.partitions import coarse_filter, partition_of
from oedi_spark.lake.writer import stage_rows  # noqa: TID251 - the writer's other half, backwards

_PARALLEL = 8
"""Files that are copied at once: on S3 each is a wait."""

_CHUNK_BYTES = 8 * 1024 * 1024
_PLAIN = re.compile(
    r"release=(?!\.{1,2}/)[A-Za-z0-9._-]{1,200}/state=[A-Za-z]{2,20}/upgrade=[0-9]{1,9}"
)


class UnfitPartitionError(Exception):
    """A partition cannot be restored faithfully; the message says which, and why."""


class Restorable(Protocol):
    """One partition, with the files that come back to it and those that go."""

    @property
    def partition(self) -> Partition:
        """Which one."""

    @property
    def back(self) -> tuple[DataFile, ...]:
        """What it had before."""

    @property
    def out(self) -> tuple[DataFile, ...]:
        """What it has now, and then not any more."""


def require_plain(partition: Partition) -> None:
    """Refuse a partition that could not be a folder: names in a table are data.

    Raises:
        UnfitPartitionError: It is none.
    """
    if not _PLAIN.fullmatch(str(partition)):
        raise UnfitPartitionError(f"{str(partition)!r} is no folder of a partition")


def files_at(
    table: Table, snapshot_id: int | None, partitions: Collection[Partition]
) -> dict[Partition, list[DataFile]]:
    """The data files that a snapshot holds of the partitions; none without a snapshot.

    Raises:
        UnfitPartitionError: Rows of one were deleted by another engine, or it is partitioned in
            another way: its files alone do not say what readers saw.
    """
    found: dict[Partition, list[DataFile]] = {}
    if snapshot_id is None or not partitions:
        return found
    scan = table.scan(row_filter=coarse_filter(partitions), snapshot_id=snapshot_id)
    for task in scan.plan_files():
        if task.file.spec_id != table.metadata.default_spec_id:
            raise UnfitPartitionError(f"{table_name(table)} was partitioned in another way")
        partition = partition_of(task.file)
        if partition in partitions:
            if task.delete_files:
                cause = f"has rows in {partition} that another engine deleted"
                raise UnfitPartitionError(f"{table_name(table)} {cause}")
            found.setdefault(partition, []).append(task.file)
    return found


def files_before(
    table: Table, snapshot_id: int, partitions: Collection[Partition]
) -> dict[Partition, list[DataFile]]:
    """The data files that the partitions had before a snapshot, by what it says it changed.

    The one before it need not be kept, and is not asked for: once that has expired, a snapshot may
    say that it had none.

    Raises:
        UnfitPartitionError: As `files_at`.
    """
    snapshot = table.snapshot_by_id(snapshot_id)
    found = {
        partition: {file.file_path: file for file in files}
        for partition, files in files_at(table, snapshot_id, partitions).items()
    }
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        is_own = manifest.added_snapshot_id == snapshot_id
        if not is_own and manifest.content is ManifestContent.DATA:
            continue
        if manifest.partition_spec_id != table.metadata.default_spec_id:
            raise UnfitPartitionError(f"{table_name(table)} was partitioned in another way")
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            file, partition = entry.data_file, partition_of(entry.data_file)
            if partition not in partitions:
                continue
            if file.content is not DataFileContent.DATA:
                cause = f"has rows in {partition} that another engine deleted"
                raise UnfitPartitionError(f"{table_name(table)} {cause}")
            if entry.status is ManifestEntryStatus.ADDED:
                found[partition].pop(file.file_path)
            elif entry.status is ManifestEntryStatus.DELETED:
                found.setdefault(partition, {})[file.file_path] = file
    return {partition: list(files.values()) for partition, files in found.items()}


def missing_files(table: Table, files: Sequence[DataFile]) -> list[str]:
    """The URIs of those that are not there, or not with all their bytes."""
    access = access_of(table)

    def is_there(file: DataFile) -> bool:
        filesystem, path = open_uri(file.file_path, access)
        return bool(filesystem.get_file_info(path).size == file.file_size_in_bytes)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = list(pool.map(is_there, files))
    return sorted(file.file_path for file, there in zip(files, found, strict=True) if not there)


def copy_files(
    table: Table, files: Mapping[Partition, Sequence[DataFile]], rollback_id: str
) -> list[DataFile]:
    """Copy files byte for byte, below the table's own folder; returns what to commit.

    Raises:
        OSError: One could not be read or written.
        UnfitPartitionError: A copy does not hold the rows that the original is said to have.
    """

    def copy(job: tuple[int, Partition, DataFile]) -> DataFile:
        number, partition, file = job
        name = f"{rollback_id}-r{number:05d}.parquet"
        uri = f"{table.location().rstrip('/')}/data/{partition}/{name}"
        _copy(table, file, uri)
        return _placed(table, file, file_path=uri)

    pairs = [(partition, file) for partition in sorted(files) for file in files[partition]]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(copy, [(number, *pair) for number, pair in enumerate(pairs)]))


def _copy(table: Table, file: DataFile, uri: str) -> None:
    access = access_of(table)
    source, source_path = open_uri(file.file_path, access)
    target, path = open_uri(uri, access)
    create_parent(target, path)
    with source.open_input_stream(source_path) as stream, target.open_output_stream(path) as out:
        while chunk := stream.read(_CHUNK_BYTES):
            out.write(chunk)
    try:
        row_count = pq.read_metadata(path, filesystem=target).num_rows
    except pa.ArrowInvalid as error:
        raise UnfitPartitionError(f"{file.file_path} is no parquet file any more") from error
    size_bytes = target.get_file_info(path).size
    if (size_bytes, row_count) != (file.file_size_in_bytes, file.record_count):
        raise UnfitPartitionError(
            f"{file.file_path} should have {file.record_count} rows in {file.file_size_in_bytes} "
            f"bytes, its copy has {row_count} in {size_bytes}"
        )


def copy_records(
    table: Table, files: Mapping[Partition, Sequence[DataFile]], rollback_id: str
) -> list[DataFile]:
    """Files of the table `sources`, with the rollback among those that the data files bear.

    Without it the restored partitions would not be taken for what is recorded of them. Of a
    partition with several files, which no run makes, none: it is done again.

    Raises:
        OSError: One could not be read or written.
    """
    made = []
    for partition, old in sorted(files.items()):
        if len(old) != 1:
            continue
        rows = _read(table, old[0])
        named = {
            name for text in rows["staged_by"].unique().to_pylist() for name in text.split(",")
        }
        staged_by = ",".join(sorted({*named, rollback_id}))
        place = rows.column_names.index("staged_by")
        rows = rows.set_column(place, "staged_by", pa.array([staged_by] * rows.num_rows))
        staged = stage_rows(table, partition, rows, run_id=rollback_id)
        field_id = table.schema().find_field("staged_by").field_id
        bound = {field_id: to_bytes(StringType(), staged_by)}
        made.append(
            _placed(
                table,
                old[0],
                file_path=staged.path,
                file_size_in_bytes=staged.size_bytes,
                record_count=staged.row_count,
                split_offsets=list(staged.split_offsets),
                column_sizes={each.field_id: each.compressed_bytes for each in staged.columns},
                lower_bounds=dict(old[0].lower_bounds or {}) | bound,
                upper_bounds=dict(old[0].upper_bounds or {}) | bound,
            )
        )
    return made


def find_stale_copies(sources: Table, cells: Sequence[Restorable]) -> frozenset[Partition]:
    """Those of whose metadata other files were landed than what comes back was made of."""
    stale = set()
    for cell in cells:
        landed = _landed(sources, cell.out)
        if landed and landed != _landed(sources, cell.back):
            stale.add(cell.partition)
    return frozenset(stale)


def _landed(sources: Table, files: Sequence[DataFile]) -> set[tuple[object, ...]]:
    rows = [row for file in files for row in _read(sources, file).to_pylist()]
    return {
        (row["key"], row["size_bytes"], row["etag"], row["modified_at_utc"])
        for row in rows
        if row["kind"] == "metadata" and row["reason"] is None
    }


def _read(table: Table, file: DataFile) -> pa.Table:
    filesystem, path = open_uri(file.file_path, access_of(table))
    return pq.read_table(path, filesystem=filesystem, partitioning=None)


def _placed(table: Table, file: DataFile, **changes: object) -> DataFile:
    """The entry of a file that lies elsewhere, and in some figures differs."""
    names = (
        *("content", "file_path", "file_format", "partition", "record_count"),
        *("file_size_in_bytes", "column_sizes", "value_counts", "null_value_counts"),
        *("nan_value_counts", "lower_bounds", "upper_bounds", "key_metadata", "split_offsets"),
        *("equality_ids", "sort_order_id", "spec_id"),
    )
    told = {name: getattr(file, name) for name in names} | changes
    return DataFile.from_args(table.metadata.format_version, **told)
