"""One metadata file opened, proved to be readable, and its columns by name.

pyarrow takes `in.sqft` for the head of a nested path and reads `in.sqft..ft2` along with it, so
columns are read by their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import MetadataColumn
from oedi_spark.errors import FileFault
from oedi_spark.transform.metadata_columns import BLDG_ID, SOURCE_KEYS, describe_metadata_columns
from oedi_spark.transform.parquet_bytes import open_parquet, require_sound_chunks, say_error

MAX_COLUMNS = 10_000
MAX_CELLS = 1_000_000_000
"""The largest known are national: 2.2 M rows of some 200 columns (ResStock 2024.1), and 205,000
of 1,300 (ComStock 2024 R2): domain sheet §1, §5."""

_INDEX = "__index_level_0__"
_READ_CELLS = 8_000_000


@dataclass(frozen=True)
class _Field:
    """A column: its name, its type, and the one leaf that holds it; None for nested types."""

    name: str
    kind: pa.DataType
    leaf: int | None


class MetadataSource:
    """A metadata file whose footer is sound and whose size is not absurd."""

    def __init__(self, source: bytes | BufferedIOBase) -> None:
        self._parquet: pq.ParquetFile = open_parquet(source)
        metadata = self._parquet.metadata
        self.row_count: int = metadata.num_rows
        cells = metadata.num_rows * metadata.num_columns
        if metadata.num_columns > MAX_COLUMNS or cells > MAX_CELLS:
            raise FileFault(
                Reason.TOO_LARGE, f"{metadata.num_rows:,} rows × {metadata.num_columns:,} columns"
            )
        if metadata.num_rows == 0:
            raise FileFault(Reason.NO_ROWS, "a parquet file without rows")
        self._fields = _find_fields(self._parquet)
        self._id_field = _find_id(self._parquet.schema_arrow, self._fields)
        self._by_name = {field.name: field for field in self._fields}

    @property
    def columns(self) -> tuple[MetadataColumn, ...]:
        """The columns that a table can hold, without the keys, in the file's order."""
        return describe_metadata_columns(
            tuple((field.name, str(field.kind)) for field in self._fields if self._is_result(field))
        )

    @property
    def nested(self) -> tuple[str, ...]:
        """Names of the columns that hold lists or structs."""
        return tuple(field.name for field in self._fields if field.leaf is None)

    def read_ids(self) -> NDArray[np.int64]:
        """The building of each row.

        Raises:
            FileFault: `missing_bldg_id`: a null, a fraction, or no numbers at all.
        """
        (column,) = self._read([self._id_field])
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        name, kind = self._id_field.name, column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise FileFault(Reason.MISSING_BLDG_ID, f"{name} is {kind}, not a number")
        if column.null_count:
            raise FileFault(
                Reason.MISSING_BLDG_ID,
                f"{name} is null in {column.null_count:,} of {len(column):,} rows",
            )
        try:
            ids: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise FileFault(Reason.MISSING_BLDG_ID, f"{name}: {say_error(error)}") from error
        return ids

    def read_columns(self, names: Iterable[str]) -> dict[str, pa.ChunkedArray]:
        """Those of the named columns that the file has, and that are not nested."""
        fields = [
            field
            for name in names
            if (field := self._by_name.get(name)) is not None and field.leaf is not None
        ]
        return dict(zip((each.name for each in fields), self._read(fields), strict=True))

    def iter_columns(
        self, columns: Sequence[MetadataColumn]
    ) -> Iterator[tuple[MetadataColumn, pa.ChunkedArray]]:
        """Each column whole; a bounded number of cells is decoded at a time."""
        step = max(1, _READ_CELLS // self.row_count)
        for at in range(0, len(columns), step):
            group = columns[at : at + step]
            found = self._read([self._by_name[column.source_name] for column in group])
            yield from zip(group, found, strict=True)

    def _is_result(self, field: _Field) -> bool:
        return not (field.leaf is None or field.name in SOURCE_KEYS or field is self._id_field)

    def _read(self, fields: Sequence[_Field]) -> list[pa.ChunkedArray]:
        """Decoded columns in the order of `fields`; decoding is in the order of the file."""
        asked = [field.leaf for field in fields if field.leaf is not None]
        leaves = sorted(asked)
        if not leaves:
            return []
        require_sound_chunks(self._parquet, leaves)
        table = self._parquet.reader.read_all(column_indices=leaves, use_threads=False)
        if table.num_rows != self.row_count:
            raise ValueError(f"{table.num_rows} rows decoded, {self.row_count} promised")
        place = {leaf: at for at, leaf in enumerate(leaves)}
        return [table.column(place[leaf]) for leaf in asked]


@contextmanager
def decoding() -> Iterator[None]:
    """Whatever pyarrow says of a broken file becomes its reason.

    Raises:
        FileFault: `unreadable`.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileFault(Reason.UNREADABLE, say_error(error)) from error


def _find_fields(parquet: pq.ParquetFile) -> tuple[_Field, ...]:
    fields, leaf = [], 0
    for field in parquet.schema_arrow:
        is_nested = pa.types.is_nested(_storage_type(field.type))
        fields.append(_Field(field.name, field.type, None if is_nested else leaf))
        leaf += _count_leaves(field.type)
    if leaf != parquet.metadata.num_columns:
        raise ValueError(f"{leaf} columns by the schema, {parquet.metadata.num_columns} stored")
    return tuple(fields)


def _storage_type(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _count_leaves(kind: pa.DataType) -> int:
    kind = _storage_type(kind)
    if not pa.types.is_nested(kind):
        return 1
    if pa.types.is_map(kind):
        return _count_leaves(kind.key_type) + _count_leaves(kind.item_type)
    if pa.types.is_struct(kind):
        return sum(_count_leaves(each.type) for each in kind)
    return _count_leaves(kind.value_type)


def _find_id(schema: pa.Schema, fields: Sequence[_Field]) -> _Field:
    """The column of ids, or the pandas index that has become one (domain sheet §5)."""
    found = [field for field in fields if field.name == BLDG_ID]
    if not found:
        index = _index_names(schema)
        found = [field for field in fields if field.name in index]
    if len(found) != 1:
        raise FileFault(
            Reason.MISSING_BLDG_ID, f"{len(found)} columns named {BLDG_ID} among {len(fields)}"
        )
    if found[0].leaf is None:
        raise FileFault(Reason.MISSING_BLDG_ID, f"{found[0].name} is {found[0].kind}")
    return found[0]


def _index_names(schema: pa.Schema) -> frozenset[str]:
    """Index columns that pandas calls bldg_id, or nothing at all."""
    stored = schema.pandas_metadata
    if not isinstance(stored, dict):
        return frozenset()
    # A range index is a description, not a column.
    index = [each for each in stored.get("index_columns", ()) if isinstance(each, str)]
    named = {
        each.get("field_name"): each.get("name")
        for each in stored.get("columns", ())
        if isinstance(each, dict)
    }
    return frozenset(
        each
        for each in index
        if named.get(each, each) == BLDG_ID or (each == _INDEX and named.get(each) is None)
    )
