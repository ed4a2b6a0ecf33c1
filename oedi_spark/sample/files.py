"""From columns to bytes, and from bytes to a file that is there whole or not at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oedi_spark.sample.clock import Series, build_stamps
from oedi_spark.sample.schemas import ColumnKind, EndUse, resolve_series_year
from oedi_spark.sample.shapes import Profile, Setting, build_columns

# Small enough to give up early on columns whose values never repeat: half the time to write.
_DICTIONARY_BYTES = 16_384


def build_table(setting: Setting, profile: Profile, energies: Mapping[EndUse, Series]) -> pa.Table:
    """One building's file as its release has it: naive stamps, doubles, no metadata."""
    columns = build_columns(setting, profile, energies)
    unit = setting.family.stamp_unit
    stamps = build_stamps(resolve_series_year(setting.folder)).astype(f"datetime64[{unit}]")
    arrays = []
    for column in setting.family.columns:
        if column.kind is ColumnKind.TIMESTAMP:
            arrays.append(pa.array(stamps, pa.timestamp(unit)))
        elif column.kind is ColumnKind.BLDG_ID:
            arrays.append(pa.array(np.full(len(stamps), profile.bldg_id, dtype=np.int64)))
        else:
            arrays.append(pa.array(columns[column.name]))
    return pa.table(arrays, names=[column.name for column in setting.family.columns])


def encode_parquet(table: pa.Table, *, row_group_rows: int | None = None) -> bytes:
    """Parquet as the releases have it: SNAPPY, and one row group unless told otherwise."""
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        version="2.6",
        compression="snappy",
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        row_group_size=row_group_rows or max(table.num_rows, 1),
    )
    return sink.getvalue()


class LakeWriter:
    """Writes the files of a lake, each whole or not at all, and knows their MD5s.

    `md5s` goes by key, and has None for a file that was taken away. Threads may share it.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.md5s: dict[str, str | None] = {}

    def write(self, key: str, content: bytes) -> int:
        """Write beside the file, then take its place; returns the size."""
        path = self._out / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)
        self.md5s[key] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return len(content)

    def remove(self, key: str) -> None:
        """Take a file away, if it is there."""
        (self._out / key).unlink(missing_ok=True)
        self.md5s[key] = None
