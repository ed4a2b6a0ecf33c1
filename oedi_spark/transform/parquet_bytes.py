"""Open parquet that nobody vouches for: series and metadata go through the same door."""

from __future__ import annotations

import io
from collections.abc import Sequence
from io import BufferedIOBase

import pyarrow as pa
import pyarrow.parquet as pq

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault

_MAGIC = b"PAR1"


def open_parquet(source: bytes | BufferedIOBase) -> pq.ParquetFile:
    """Open a parquet file, telling the ways apart in which it may not be one.

    `source`: the bytes, or a file that can be sought in, of which only the ends are read.

    Raises:
        FileFault: `empty`, `not_parquet`, `truncated` or `unreadable`.
    """
    size_bytes, first, last = _ends(source)
    if not size_bytes:
        raise FileFault(Reason.EMPTY, "0 bytes")
    if first != _MAGIC:
        raise FileFault(Reason.NOT_PARQUET, f"begins with {first!r}")
    if size_bytes < 12 or last != _MAGIC:
        raise FileFault(Reason.TRUNCATED, f"begins as parquet, ends after {size_bytes} bytes")
    readable = pa.BufferReader(source) if isinstance(source, bytes) else source
    try:
        return pq.ParquetFile(readable, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileFault(Reason.UNREADABLE, say_error(error)) from error


def require_sound_chunks(parquet: pq.ParquetFile, columns: Sequence[int] | None = None) -> None:
    """Have a footer that contradicts itself refused where an exception can be caught.

    `RowGroupMetaData.column` ends the process for a chunk that does not fit the schema (seen
    with pyarrow 22). A batch of no rows opens every chunk and decodes none: 4 % of a file.

    `columns`: the leaves that will be read, if not all. A chunk that is opened is fetched.
    """
    wanted = list(range(parquet.metadata.num_columns) if columns is None else columns)
    groups = list(range(parquet.metadata.num_row_groups))
    for _ in parquet.reader.iter_batches(
        0, row_groups=groups, column_indices=wanted, use_threads=False
    ):
        return


def require_named_chunks(parquet: pq.ParquetFile) -> None:
    """Have a column refused whose name the footer tells twice, and not the same.

    A name with one bit flipped is a name too: the column would be missing, and there would be
    another one that nobody knows. Only after `require_sound_chunks`.

    Raises:
        FileFault: `unreadable`.
    """
    if not parquet.metadata.num_row_groups:
        return
    group = parquet.metadata.row_group(0)
    for at in range(parquet.metadata.num_columns):
        name, other = parquet.schema.column(at).path, group.column(at).path_in_schema
        if name != other:
            raise FileFault(
                Reason.UNREADABLE, f"the footer calls a column {name[:200]!r} and {other[:200]!r}"
            )


def say_error(error: BaseException) -> str:
    """An exception in one short line that holds no control characters."""
    return f"{type(error).__name__}: {str(error)[:200]!r}"


def _ends(source: bytes | BufferedIOBase) -> tuple[int, bytes, bytes]:
    if isinstance(source, bytes):
        return len(source), source[:4], source[-4:]
    size_bytes = source.seek(0, io.SEEK_END)
    source.seek(max(0, size_bytes - 4))
    last = source.read(4)
    source.seek(0)
    return size_bytes, source.read(4), last
