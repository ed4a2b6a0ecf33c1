"""Write one batch's hours as Iceberg data files that no reader can see yet.

Part of stage 6 of 7: quality → WRITER → tracker, the half that runs in the tasks.

In   buildings in order of bldg_id, each as a row of hours per measure.
Out  one parquet file (rows sorted by bldg_id, hour_start; row groups of about a dozen
     buildings; Iceberg field ids) and its `StagedFile`, with statistics read from its footer.

The encodings are PLAIN and dictionary only: Iceberg's vectorised readers know no others.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import ColumnStatistics, Partition, StagedFile
from oedi_spark.lake.files import AMBIENT, S3Access, create_parent, open_uri

KEY_COLUMNS = ("release", "state", "upgrade", "bldg_id", "hour_start")
COMPRESSION_LEVEL = 1
"""Of zstd. Level 3 costs 22–40 % more time for 0–8 % of the bytes (docs/performance.md)."""

_HOURS_PER_YEAR = 8784
_MAX_BLOCK_BYTES = 96 * 1024 * 1024
_ROW_GROUP_BYTES = 128 * 1024 * 1024
_SAMPLE = 4096
_DISTINCT_SHARE_FOR_DICTIONARY = 1 / 16


@dataclass(frozen=True)
class StagingTarget:
    """Where a batch's file goes. `uri` is the whole path of the file to be written."""

    uri: str
    partition: Partition
    field_ids: dict[str, int]
    row_group_buildings: int
    access: S3Access = AMBIENT


class StagedWriter:
    """Collects buildings into a block in memory and writes a row group whenever it is full.

    Use `rows` to get the block's next free row, fill it, then `keep` it; a row that is not
    kept is overwritten by the next building. `finish` closes the file, `discard` removes it.
    """

    def __init__(self, target: StagingTarget) -> None:
        self._target = target
        self.measures = tuple(name for name in target.field_ids if name not in KEY_COLUMNS)
        row_bytes = 8 * _HOURS_PER_YEAR * max(1, len(self.measures))
        fitting = max(1, _MAX_BLOCK_BYTES // row_bytes)
        self._capacity = min(target.row_group_buildings, fitting) * _HOURS_PER_YEAR
        self._block = np.empty((len(self.measures), self._capacity))
        self._has_nulls = np.zeros(len(self.measures), dtype=bool)
        self._bldg_id = np.empty(self._capacity, dtype=np.int64)
        self._hour_start_us = np.empty(self._capacity, dtype=np.int64)
        self._filled = 0
        self._ordinals: list[int] = []
        self._writer: pq.ParquetWriter | None = None
        self._metadata: list[pq.FileMetaData] = []
        self.encode_s = 0.0
        """Seconds spent on encoding and writing."""

    def rows(self, hour_count: int) -> NDArray[np.float64]:
        """The next building's part of the block: (measures, `hour_count`), to be filled whole."""
        if self._filled + hour_count > self._capacity:
            self._flush()
        return self._block[:, self._filled : self._filled + hour_count]

    def keep(
        self,
        ordinal: int,
        bldg_id: int,
        hour_start_us: NDArray[np.int64],
        has_nulls: NDArray[np.bool_],
    ) -> None:
        """Accept what was filled into `rows` (NaN is null there) as this building's hours."""
        end = self._filled + len(hour_start_us)
        self._bldg_id[self._filled : end] = bldg_id
        self._hour_start_us[self._filled : end] = hour_start_us
        self._has_nulls |= has_nulls
        self._filled = end
        self._ordinals.append(ordinal)

    def finish(self) -> StagedFile | None:
        """Close the file. None, and no file, when no building was kept."""
        self._flush()
        if self._writer is None:
            return None
        self._writer.close()
        return describe_staged(
            self._target.uri,
            self._target.partition,
            self._metadata[0],
            self._target.field_ids,
            ordinals=self._ordinals,
            access=self._target.access,
        )

    def discard(self) -> None:
        """Remove whatever was written; what cannot be removed now is left to the sweep.

        Raises nothing: it is called when something else went wrong, often the disk itself.
        """
        if self._writer is not None:
            _give_up(self._writer)
        with suppress(OSError):
            filesystem, path = open_uri(self._target.uri, self._target.access)
            filesystem.delete_file(path)

    def _flush(self) -> None:
        if not self._filled:
            return
        started = time.perf_counter()
        table = self._table()
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table, row_group_size=self._filled)
        self._filled = 0
        self._has_nulls[:] = False
        self.encode_s += time.perf_counter() - started

    def _table(self) -> pa.Table:
        count = self._filled
        partition = self._target.partition
        keys = {
            "release": _repeated(partition.release, count),
            "state": _repeated(partition.state, count),
            "upgrade": pa.array(np.full(count, partition.upgrade, dtype=np.int32)),
            "bldg_id": pa.array(self._bldg_id[:count]),
            "hour_start": pa.array(self._hour_start_us[:count]).cast(pa.timestamp("us")),
        }
        arrays = [keys[name] for name in KEY_COLUMNS]
        for at in range(len(self.measures)):
            values = self._block[at, :count]
            mask = np.isnan(values) if self._has_nulls[at] else None
            arrays.append(pa.array(values, mask=mask))
        fields = [
            pa.field(
                name,
                array.type,
                nullable=name not in KEY_COLUMNS,
                metadata={"PARQUET:field_id": str(self._target.field_ids[name])},
            )
            for name, array in zip((*KEY_COLUMNS, *self.measures), arrays, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        filesystem, path = open_uri(self._target.uri, self._target.access)
        create_parent(filesystem, path)
        return pq.ParquetWriter(
            path,
            schema,
            filesystem=filesystem,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=["release", "state", *self._repetitive_measures()],
            store_schema=False,
            metadata_collector=self._metadata,
        )

    def _repetitive_measures(self) -> list[str]:
        block = self._block[:, : self._filled]
        return [name for at, name in enumerate(self.measures) if has_few_values(block[at])]


def has_few_values(values: NDArray[np.floating[Any]]) -> bool:
    """Whether a dictionary pays for a column, by a sample of it: few values, but not one.

    Hashing a dictionary of one value costs twice what zstd needs to find that a column is
    constant; on full-mantissa doubles it costs 2.7 times and saves nothing (bench).
    """
    sample = values[:: max(1, len(values) // _SAMPLE)]
    return 1 < len(np.unique(sample)) <= _DISTINCT_SHARE_FOR_DICTIONARY * len(sample)


def _repeated(value: str, count: int) -> pa.Array:
    """One string for every row, as a dictionary: parquet keeps it so, nothing is hashed."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), [value])


def stage_table(
    uri: str,
    partition: Partition,
    rows: pa.Table,
    field_ids: Mapping[str, int],
    *,
    statistics_for: Collection[str] | None = None,
    row_group_rows: int | None = None,
    access: S3Access = AMBIENT,
) -> StagedFile:
    """Stage the rows of one partition that are in memory, with the columns that they have.

    The rows must come in the sort order of their table, and in its types: neither is changed
    here. A column of the table that they lack is null to readers.

    Args:
        uri: The whole path of the file; its name must begin with the run id (`sweep_run`).
        partition: Which cell of the table the rows replace.
        rows: At least the partition's columns.
        field_ids: Iceberg's, by column name; may have more than the rows.
        statistics_for: The columns that get statistics, in the file and in the manifest; None
            means all.
        row_group_rows: Rows per row group; None chooses groups of about 128 MB in memory.
        access: How S3 is reached.

    Raises:
        ValueError: A column has no field id or no type, or the rows are of another partition.
    """
    _require_stageable(rows, partition, field_ids)
    schema = pa.schema([_with_field_id(each, field_ids[each.name]) for each in rows.schema])
    texts = [each.name for each in schema if _is_text(each.type)]
    counted = statistics_for is None or [n for n in schema.names if n in statistics_for]
    if row_group_rows is None:
        row_group_rows = max(1, rows.num_rows * _ROW_GROUP_BYTES // max(1, rows.nbytes))
    filesystem, path = open_uri(uri, access)
    create_parent(filesystem, path)
    collected: list[pq.FileMetaData] = []
    writer = pq.ParquetWriter(
        path,
        schema,
        filesystem=filesystem,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=texts,
        column_encoding={name: "PLAIN" for name in schema.names if name not in texts},
        data_page_version="1.0",
        write_statistics=counted,
        store_schema=False,
        metadata_collector=collected,
    )
    try:
        writer.write_table(rows.cast(schema), row_group_size=row_group_rows)
        writer.close()
    except BaseException:
        _give_up(writer)
        raise
    return describe_staged(uri, partition, collected[0], field_ids, access=access)


def _give_up(writer: pq.ParquetWriter) -> None:
    """Close a writer after a fault, without another one in the place of the first.

    Of a disk that is full pyarrow raises a RuntimeError here: there is no footer to collect.
    """
    with suppress(OSError, pa.ArrowException, RuntimeError):
        writer.close()


def _require_stageable(rows: pa.Table, partition: Partition, ids: Mapping[str, int]) -> None:
    unknown = sorted(set(rows.column_names) - ids.keys())
    if unknown:
        raise ValueError(f"the table has no field ids for {', '.join(unknown)}")
    untyped = [each.name for each in rows.schema if pa.types.is_null(each.type)]
    if untyped:
        raise ValueError(f"columns without a type: {', '.join(untyped)}")
    for name in ("release", "state", "upgrade"):
        strays = [each for each in rows[name].unique().to_pylist() if each != vars(partition)[name]]
        if strays:
            raise ValueError(f"rows of {name} {strays[0]!r} are not of {partition}")


def _with_field_id(field: pa.Field, field_id: int) -> pa.Field:
    return field.with_metadata({"PARQUET:field_id": str(field_id)})


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def describe_staged(
    uri: str,
    partition: Partition,
    metadata: pq.FileMetaData,
    field_ids: Mapping[str, int],
    *,
    ordinals: Sequence[int] = (),
    access: S3Access = AMBIENT,
) -> StagedFile:
    """A file that was just written, with its size and what its footer says of it.

    Of a column without statistics in the footer nothing is said.
    """
    filesystem, path = open_uri(uri, access)
    return StagedFile(
        partition=partition,
        path=uri,
        size_bytes=filesystem.get_file_info(path).size,
        row_count=metadata.num_rows,
        split_offsets=_split_offsets(metadata),
        columns=_statistics(metadata, field_ids),
        ordinals=tuple(ordinals),
    )


def _split_offsets(metadata: pq.FileMetaData) -> tuple[int, ...]:
    """Where each row group begins, so that readers can share a file between tasks."""
    starts = []
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(0)
        offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
        starts.append(min(offset for offset in offsets if offset))
    return tuple(starts)


def _statistics(
    metadata: pq.FileMetaData, field_ids: Mapping[str, int]
) -> tuple[ColumnStatistics, ...]:
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    chunks_of = (
        (field_ids[name], [group.column(at) for group in groups])
        for at, name in enumerate(metadata.schema.names)
    )
    return tuple(
        _column_statistics(field_id, chunks)
        for field_id, chunks in chunks_of
        if all(chunk.is_stats_set for chunk in chunks)
    )


def _column_statistics(field_id: int, chunks: Sequence[Any]) -> ColumnStatistics:
    """Bounds only where every chunk has them or holds nulls alone; elsewhere nothing is sure."""
    bounds = [chunk.statistics for chunk in chunks]
    bounded = [each for each in bounds if each.has_min_max]
    is_sure = bool(bounded) and all(each.has_min_max or not each.num_values for each in bounds)
    return ColumnStatistics(
        field_id=field_id,
        compressed_bytes=sum(chunk.total_compressed_size for chunk in chunks),
        value_count=sum(chunk.num_values for chunk in chunks),
        null_count=sum(each.null_count for each in bounds),
        lower=_text(min(each.min_raw for each in bounded)) if is_sure else None,
        upper=_text(max(each.max_raw for each in bounded)) if is_sure else None,
    )


def _text(bound: int | float | str | bytes) -> int | float | str:
    return bound.decode() if isinstance(bound, bytes) else bound
