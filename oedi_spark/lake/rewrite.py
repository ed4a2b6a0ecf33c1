"""Write several small data files of one partition as one, with the same rows in the table's order.

In memory are: the compressed inputs (at most one target file), a share of rows of each, and one
row group on its way out. What was written is read back and compared before anyone is told of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table

from oedi_spark.contracts_maintenance import MaintenanceError
from oedi_spark.lake.catalog import table_name
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import S3Access, create_parent, delete_uris, open_uri, read_whole
from oedi_spark.lake.merge import RowDigest, is_sorted, merge_sorted, sort_rows
from oedi_spark.lake.owned import canonical
from oedi_spark.lake.staging import COMPRESSION_LEVEL

_MERGE_BYTES = 96 * 1024 * 1024
"""Of decoded rows that wait to be merged, of all inputs together."""
_ROW_GROUP_BYTES = 96 * 1024 * 1024
_TEXT_BYTES = 32
_FIELD_ID = b"PARQUET:field_id"


class UnfitFileError(Exception):
    """A file that another program wrote cannot be rewritten faithfully; its partition is left."""


@dataclass(frozen=True)
class _Layout:
    """What the new file looks like: the columns that any input has, written as they were."""

    schema: pa.Schema
    dictionaries: tuple[str, ...]
    statistics: tuple[str, ...]

    @property
    def row_bytes(self) -> int:
        """About how much memory a row takes."""
        return sum(
            _TEXT_BYTES if _is_text(each.type) else max(1, each.type.bit_width // 8)
            for each in self.schema
        )


def rewrite(
    table: Table,
    files: Sequence[DataFile],
    uri: str,
    *,
    sort_columns: Sequence[str],
    row_group_rows: int | None = None,
) -> DataFile:
    """Write the rows of these files to a new one, which no reader sees yet.

    Args:
        table: Theirs; its current schema is that of the new file.
        files: Of one partition.
        uri: Where the new one goes.
        sort_columns: The table's order, ascending, nulls last; none leaves rows as they come.
        row_group_rows: At most so many rows per row group; None fills about 96 MB in memory.

    Raises:
        UnfitFileError: A file is not as this package writes them. Nothing was written.
        MaintenanceError: What was written is not what was read; it is removed.
    """
    access = access_of(table)
    sources = [_open(file, access) for file in files]
    layout = _layout(table, sources)
    rows_at_once = max(1024, _MERGE_BYTES // max(1, len(sources) * layout.row_bytes))
    fitting = max(1024, _ROW_GROUP_BYTES // max(1, layout.row_bytes))
    wanted, written = RowDigest(), RowDigest()
    streams = [
        map(wanted.add, _stream(source, layout.schema, sort_columns, rows_at_once))
        for source in sources
    ]
    del sources  # each goes when it has been read, so that not all are there at the end
    try:
        metadata = _write(
            uri,
            layout,
            merge_sorted(streams, sort_columns),
            min(row_group_rows or fitting, fitting),
            access,
        )
        size_bytes = _read_back(uri, layout, written, rows_at_once, access)
        counted = sum(file.record_count for file in files)
        if wanted != written or wanted.row_count != counted:
            raise MaintenanceError(
                table_name(table),
                f"{uri} holds {written.row_count} rows that are not the {wanted.row_count} read "
                f"from its {len(files)} inputs, of which the table counts {counted}",
            )
    except BaseException:
        with suppress(OSError):
            delete_uris([uri], access)
        raise
    return _describe(table, files[0], uri, metadata, size_bytes)


def _open(file: DataFile, access: S3Access) -> pq.ParquetFile:
    uri = canonical(file.file_path)
    data = read_whole(uri, access)
    if len(data) != file.file_size_in_bytes:
        raise UnfitFileError(
            f"{uri} has {len(data)} bytes, the table says {file.file_size_in_bytes}"
        )
    try:
        return pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise UnfitFileError(f"{uri} is no parquet file ({error})") from error


def _names_by_id(source: pq.ParquetFile) -> dict[int, str]:
    names = {}
    for field in source.schema_arrow:
        if not field.metadata or _FIELD_ID not in field.metadata:
            raise UnfitFileError(f"its column {field.name} has no field id")
        names[int(field.metadata[_FIELD_ID])] = field.name
    return names


def _layout(table: Table, sources: Sequence[pq.ParquetFile]) -> _Layout:
    present = {field_id for source in sources for field_id in _names_by_id(source)}
    fields = [each for each in table.schema().fields if each.field_id in present or each.required]
    if any(not each.field_type.is_primitive for each in fields):
        raise UnfitFileError("a column of it is nested")
    typed = schema_to_pyarrow(table.schema(), include_field_ids=True)
    dictionaries, statistics = set(), set()
    for source in sources:
        columns = _names_by_id(source)
        ids = {name: field_id for field_id, name in columns.items()}
        for group in range(source.metadata.num_row_groups):
            for at, name in enumerate(source.schema.names):
                chunk = source.metadata.row_group(group).column(at)
                if chunk.has_dictionary_page:
                    dictionaries.add(ids[name])
                if chunk.is_stats_set:
                    statistics.add(ids[name])
    return _Layout(
        pa.schema([typed.field(each.name) for each in fields]),
        tuple(each.name for each in fields if each.field_id in dictionaries),
        tuple(each.name for each in fields if each.field_id in statistics),
    )


def _stream(
    source: pq.ParquetFile, schema: pa.Schema, sort_columns: Sequence[str], rows_at_once: int
) -> Iterator[pa.Table]:
    """The rows of a file, a share at a time, in the order of the table."""
    try:
        yield from _read(source, schema, sort_columns, rows_at_once)
    except (OSError, pa.ArrowException) as error:  # it lies in memory: no store is at fault
        raise UnfitFileError(f"a file of it cannot be read as the table's ({error})") from error


def _read(
    source: pq.ParquetFile, schema: pa.Schema, sort_columns: Sequence[str], rows_at_once: int
) -> Iterator[pa.Table]:
    names = _names_by_id(source)
    keys = [names.get(int(schema.field(each).metadata[_FIELD_ID])) for each in sort_columns]
    known = [each for each in keys if each is not None]
    if known and not is_sorted(source.read(columns=known), known):
        rows = sort_rows(_fit(source.read(), names, schema), sort_columns)
        for start in range(0, rows.num_rows, rows_at_once):
            yield rows.slice(start, rows_at_once)
        return
    for batch in source.iter_batches(batch_size=rows_at_once):
        yield _fit(pa.Table.from_batches([batch]), names, schema)


def _fit(rows: pa.Table, names: dict[int, str], schema: pa.Schema) -> pa.Table:
    """The rows with the columns of the new file; one that they lack is null."""
    columns = []
    for field in schema:
        name = names.get(int(field.metadata[_FIELD_ID]))
        if name is None and not field.nullable:
            raise UnfitFileError(f"it lacks the required column {field.name}")
        column = pa.nulls(rows.num_rows, field.type) if name is None else rows[name]
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _write(
    uri: str, layout: _Layout, merged: Iterator[pa.Table], group_rows: int, access: S3Access
) -> pq.FileMetaData:
    filesystem, path = open_uri(uri, access)
    create_parent(filesystem, path)
    collected: list[pq.FileMetaData] = []
    plain = set(layout.schema.names).difference(layout.dictionaries)
    with pq.ParquetWriter(
        path,
        layout.schema,
        filesystem=filesystem,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=list(layout.dictionaries),
        column_encoding=dict.fromkeys(plain, "PLAIN"),
        data_page_version="1.0",
        write_statistics=list(layout.statistics),
        store_schema=False,
        metadata_collector=collected,
    ) as writer:
        for group in _in_groups(merged, group_rows):
            writer.write_table(group, row_group_size=group_rows)
    return collected[0]


def _in_groups(tables: Iterator[pa.Table], group_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many rows each, the last of fewer."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= group_rows:
            rows = pa.concat_tables(waiting)
            yield rows.slice(0, group_rows)
            count -= group_rows
            waiting = [rows.slice(group_rows)] if count else []
    if count:
        yield pa.concat_tables(waiting)


def _read_back(
    uri: str, layout: _Layout, digest: RowDigest, rows_at_once: int, access: S3Access
) -> int:
    """Add up what the store gives back for a file; returns its size."""
    data = read_whole(uri, access)
    source = pq.ParquetFile(pa.BufferReader(data))
    for batch in source.iter_batches(batch_size=rows_at_once):
        digest.add(_fit(pa.Table.from_batches([batch]), _names_by_id(source), layout.schema))
    return len(data)


def _describe(
    table: Table, like: DataFile, uri: str, metadata: pq.FileMetaData, size_bytes: int
) -> DataFile:
    """The new file as a manifest names it, with the statistics that the table asks for."""
    schema = table.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=metadata,
        stats_columns=compute_statistics_plan(schema, table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=uri,
        file_format=FileFormat.PARQUET,
        partition=like.partition,
        file_size_in_bytes=size_bytes,
        sort_order_id=table.metadata.default_sort_order_id,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
