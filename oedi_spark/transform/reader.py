"""Decode one building file and prove what it claims: whose it is, and when.

Stage 3 of 7: indexer → READER → rollup.

In   the bytes of one parquet file, 35,040 (or 35,136) rows of 15 minutes.
Out  a `Profile`: the id, the start of each hour, and each measure's intervals, in EST.

Two shortcuts, both proofs and not guesses:

*Constants.* More than half of the real columns hold one value throughout. Statistics alone do
not prove that (they leave NaN out, so a NaN hides behind min = max); a dictionary page that
holds a single value does, together with a chunk too small for pages without a dictionary.

*Stamps.* Every building of a release has the same stamps, so the same encoded bytes. They are
decoded and proved once; a chunk of equal bytes, type, codec and row count is equal stamps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import Column, Reason, ReleaseFacts, SourceFile
from oedi_spark.errors import FileFault
from oedi_spark.transform.columns import BLDG_ID, TIMESTAMP, Rule, describe_columns
from oedi_spark.transform.parquet_bytes import (
    open_parquet,
    require_named_chunks,
    require_sound_chunks,
    say_error,
)
from oedi_spark.transform.stamps import prove_hours, stamps_ns

Floats = NDArray[np.floating[Any]]

MAX_COLUMNS = 2_000
MAX_CELLS = 64_000_000

_MAX_CONSTANT_CHUNK_BYTES = 1024


@dataclass(frozen=True)
class Measure:
    """One column of one building. Neither `constant` nor `intervals`: it has no value at all."""

    column: Column
    constant: float | None = None
    intervals: Floats | None = None


@dataclass(frozen=True)
class Profile:
    """One building's year, proved to be regular. `hour_start_us`: EST, since 1970, no zone."""

    bldg_id: int
    hour_start_us: NDArray[np.int64]
    measures: tuple[Measure, ...]
    omitted: tuple[Column, ...]


@dataclass(frozen=True)
class _Field:
    """A physical column: where it is, what it becomes, how its one-value dictionary begins."""

    index: int
    column: Column
    physical_type: str
    dictionary_prefix: bytes | None
    is_null_type: bool


@dataclass(frozen=True)
class _FileSchema:
    timestamp: int
    bldg_id: int
    fields: tuple[_Field, ...]
    omitted: tuple[Column, ...]


@dataclass(frozen=True)
class _ProvenStamps:
    raw: bytes
    identity: tuple[object, ...]
    hour_start_us: NDArray[np.int64]


class ProfileReader:
    """Reads the files of one batch; keeps what one file proved for the next."""

    def __init__(self, facts: ReleaseFacts) -> None:
        self._facts = facts
        self._parquet_schema: Any = None
        self._schema: _FileSchema | None = None
        self._stamps: _ProvenStamps | None = None
        self._is_named = False

    def read_profile(self, data: bytes, file: SourceFile) -> Profile:
        """Decode a building file.

        Raises:
            FileFault: The file is not what its name and its release say it is.
        """
        parquet = open_parquet(data)
        try:
            _require_bounded(parquet.metadata)
            schema = self._file_schema(parquet)
            if parquet.metadata.num_rows == 0:
                raise FileFault(Reason.NO_ROWS, "a parquet file without rows")
            require_sound_chunks(parquet)
            self._require_named_chunks(parquet)
            _require_id(parquet, schema, file.bldg_id)
            hour_start_us = self._hour_starts(parquet, schema, data)
            measures = _read_measures(parquet, schema, data)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileFault(Reason.UNREADABLE, say_error(error)) from error
        return Profile(file.bldg_id, hour_start_us, measures, schema.omitted)

    def _file_schema(self, parquet: pq.ParquetFile) -> _FileSchema:
        """The meaning of the columns; taken from the last file when the schema is the same."""
        if self._schema is None or not parquet.schema.equals(self._parquet_schema):
            self._schema = _understand(parquet)
            self._parquet_schema = parquet.schema
            self._is_named = False
        return self._schema

    def _require_named_chunks(self, parquet: pq.ParquetFile) -> None:
        """Once for each schema; only after `require_sound_chunks`."""
        if not self._is_named:
            require_named_chunks(parquet)
            self._is_named = True

    def _hour_starts(
        self, parquet: pq.ParquetFile, schema: _FileSchema, data: bytes
    ) -> NDArray[np.int64]:
        raw, identity = _raw_chunk(parquet, schema.timestamp, data)
        known = self._stamps
        if known is not None and raw and known.identity == identity and known.raw == raw:
            return known.hour_start_us
        table = parquet.reader.read_all(column_indices=[schema.timestamp], use_threads=False)
        hour_start_us = prove_hours(stamps_ns(table.column(0)), self._facts)
        self._stamps = _ProvenStamps(raw, identity, hour_start_us)
        return hour_start_us


def read_columns(data: bytes) -> tuple[Column, ...]:
    """The measures that a file has and that would be published.

    Raises:
        FileFault: As `ProfileReader.read_profile` for the schema of the file.
    """
    parquet = open_parquet(data)
    try:
        _require_bounded(parquet.metadata)
        schema = _understand(parquet)
        require_sound_chunks(parquet)
        require_named_chunks(parquet)
        return tuple(field.column for field in schema.fields)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileFault(Reason.UNREADABLE, say_error(error)) from error


def _require_bounded(metadata: pq.FileMetaData) -> None:
    """A footer of a few bytes can promise gigabytes; a building has some 35,000 × 230 cells."""
    if metadata.num_columns > MAX_COLUMNS or metadata.num_rows * metadata.num_columns > MAX_CELLS:
        raise FileFault(
            Reason.TOO_LARGE, f"{metadata.num_rows:,} rows × {metadata.num_columns:,} columns"
        )


def _understand(parquet: pq.ParquetFile) -> _FileSchema:
    schema = parquet.schema_arrow
    names = schema.names
    for name, reason in ((TIMESTAMP, Reason.MISSING_TIMESTAMP), (BLDG_ID, Reason.MISSING_BLDG_ID)):
        if names.count(name) != 1:
            raise FileFault(reason, f"{names.count(name)} columns named {name}")
    measures = tuple(name for name in names if name not in (TIMESTAMP, BLDG_ID))
    described = {
        name: replace(column, source_type=str(schema.field(name).type))
        for name, column in zip(measures, describe_columns(measures), strict=True)
    }
    if any(pa.types.is_nested(each.type) for each in schema):
        raise FileFault(Reason.NOT_NUMERIC, "a column holds lists or structs")
    if not pa.types.is_integer(schema.field(BLDG_ID).type):
        kind = schema.field(BLDG_ID).type
        raise FileFault(Reason.BLDG_ID_CONTRADICTS_NAME, f"bldg_id is {kind}, not an integer")
    kept = [name for name in measures if described[name].rule != Rule.OMIT]
    for name in kept:
        _require_numeric(schema.field(name))
    return _FileSchema(
        timestamp=names.index(TIMESTAMP),
        bldg_id=names.index(BLDG_ID),
        fields=tuple(
            _Field(
                index=names.index(name),
                column=described[name],
                physical_type=parquet.schema.column(names.index(name)).physical_type,
                dictionary_prefix=_one_value_dictionary(schema.field(name).type),
                is_null_type=pa.types.is_null(schema.field(name).type),
            )
            for name in kept
        ),
        omitted=tuple(described[name] for name in measures if described[name].rule == Rule.OMIT),
    )


def _require_numeric(field: pa.Field) -> None:
    kind = field.type
    if not (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise FileFault(Reason.NOT_NUMERIC, f"{field.name[:200]!r} is {kind}, not a number")


def _one_value_dictionary(kind: pa.DataType) -> bytes | None:
    """How the header of a dictionary page of one value begins, for a type (parquet.thrift).

    Thrift's compact protocol: field 1, i32, DICTIONARY_PAGE (2); field 2, i32, bytes of the
    page before compression: the width of one value. Numbers are zigzag, so doubled.
    """
    width = {"double": 8, "float": 4}.get(str(kind))
    return bytes((0x15, 2 * 2, 0x15, 2 * width)) if width else None


def _constant(field: _Field, row_group: Any, data: bytes) -> float | None:  # noqa: ANN401
    """The one value that a chunk is proved to hold throughout, else None."""
    chunk = row_group.column(field.index)
    at = chunk.dictionary_page_offset
    if at is None or field.dictionary_prefix is None:
        return None
    if chunk.total_uncompressed_size > _MAX_CONSTANT_CHUNK_BYTES:
        return None
    if data[at : at + 4] != field.dictionary_prefix or not _has_type_of(field, chunk):
        return None
    statistics = chunk.statistics
    if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
        return None
    low, high = statistics.min_raw, statistics.max_raw
    return float(low) if low == high else None


def _has_type_of(field: _Field, chunk: Any) -> bool:  # noqa: ANN401
    """Statistics of a chunk of another type than the schema's end the process."""
    return bool(chunk.physical_type == field.physical_type)


def _read_measures(
    parquet: pq.ParquetFile, schema: _FileSchema, data: bytes
) -> tuple[Measure, ...]:
    metadata = parquet.metadata
    row_group = metadata.row_group(0) if metadata.num_row_groups == 1 else None
    constants: dict[int, float] = {}
    if row_group is not None:
        for field in schema.fields:
            value = _constant(field, row_group, data)
            if value is not None:
                constants[field.index] = value
    wanted = [f.index for f in schema.fields if f.index not in constants and not f.is_null_type]
    decoded: dict[int, Floats | None] = {}
    if wanted:
        table = parquet.reader.read_all(column_indices=wanted, use_threads=False)
        if table.num_rows != metadata.num_rows:
            raise ValueError(f"{table.num_rows} rows decoded, {metadata.num_rows} promised")
        decoded = {i: _intervals(table.column(at)) for at, i in enumerate(wanted)}
    return tuple(
        Measure(field.column, constants.get(field.index), decoded.get(field.index))
        for field in schema.fields
    )


def _intervals(column: pa.ChunkedArray) -> Floats | None:
    """The values with NaN where there is none; None when there is none at all."""
    if column.null_count == len(column):
        return None
    if not pa.types.is_floating(column.type) or column.type.bit_width == 16:
        column = column.cast(pa.float64())
    values: Floats = (
        column.chunk(0).to_numpy(zero_copy_only=False)
        if column.num_chunks == 1
        else column.to_numpy()
    )
    return values


def _require_id(parquet: pq.ParquetFile, schema: _FileSchema, bldg_id: int) -> None:
    """Every row's `bldg_id` is the one in the file name."""
    metadata = parquet.metadata
    if metadata.num_row_groups == 1 and _is_constant_id(parquet, schema):
        found = metadata.row_group(0).column(schema.bldg_id).statistics.min_raw
        others = found != bldg_id
    else:
        column = parquet.reader.read_all(column_indices=[schema.bldg_id], use_threads=False)[0]
        if column.null_count:
            found, others = f"null in {column.null_count} rows", True
        else:
            ids = np.unique(column.to_numpy())
            others = not (len(ids) == 1 and ids[0] == bldg_id)
            found = ", ".join(map(str, ids[:3]))
    if others:
        raise FileFault(
            Reason.BLDG_ID_CONTRADICTS_NAME, f"bldg_id is {found}, the file name says {bldg_id}"
        )


def _is_constant_id(parquet: pq.ParquetFile, schema: _FileSchema) -> bool:
    """Integers have no NaN: equal bounds and no nulls prove that the id is one throughout."""
    chunk = parquet.metadata.row_group(0).column(schema.bldg_id)
    if not chunk.physical_type == parquet.schema.column(schema.bldg_id).physical_type == "INT64":
        return False
    statistics = chunk.statistics
    return bool(
        statistics is not None
        and statistics.has_min_max
        and statistics.null_count == 0
        and statistics.min_raw == statistics.max_raw
    )


def _raw_chunk(
    parquet: pq.ParquetFile, index: int, data: bytes
) -> tuple[bytes, tuple[object, ...]]:
    """The encoded bytes of a column, and what else decides what they mean; b"" if unknown."""
    metadata = parquet.metadata
    if metadata.num_row_groups != 1:
        return b"", ()
    chunk = metadata.row_group(0).column(index)
    start = chunk.dictionary_page_offset
    if start is None or not 0 < start < chunk.data_page_offset:
        start = chunk.data_page_offset
    raw = data[start : start + chunk.total_compressed_size]
    kind = parquet.schema.column(index)
    identity = (
        metadata.num_rows,
        chunk.compression,
        chunk.physical_type,
        str(kind.logical_type),
        kind.max_definition_level,
    )
    return (raw if len(raw) == chunk.total_compressed_size else b""), identity
