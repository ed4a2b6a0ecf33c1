"""Make a lake of N building files of the real shape, to be timed.

The files are real buildings (or sampled ones where the real files are absent) under new ids:
real columns, values, zeros, stamps and encodings, so reading them costs what it costs on the
real thing. By default the same few buildings are repeated. zstd finds such repeats, which
makes every engine's output smaller than in life; `distinct` scales each building's values by
a factor of its own, so that no two are equal.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oedi_spark.sample.lake import (
    BASE_PARTITION,
    DATA_PARTITION,
    SampleRequest,
    write_sample_lake,
)
from oedi_spark.source.layout import ReleaseFolder, partition_prefix, timeseries_prefix

PROJECT = Path(__file__).resolve().parents[1]
REAL_LAKE_VARIABLE = "OEDI_REAL_LAKE"

_FIRST_ID = 100_001
_PLACEHOLDER_ID = 0x0123_4567_89AB_CDEF
"""An id whose eight bytes occur nowhere else in a file, so they can be replaced in place."""

_SAMPLED_BUILDINGS = 3
_MARKER = "bench_lake.json"
_FORMAT = 1
"""Raised whenever the same request would give other bytes; older lakes are then rewritten."""


@dataclass(frozen=True)
class Kind:
    """Whose shape the files have, and in which partition they lie."""

    folder: ReleaseFolder
    state: str
    upgrade: int = 0


KINDS = {
    "comstock": Kind(ReleaseFolder("2024", "comstock_amy2018_release_1"), "GA"),
    "resstock": Kind(ReleaseFolder("2022", "resstock_amy2018_release_1"), "AL"),
}


@dataclass(frozen=True)
class BenchLake:
    """A lake that is there. `source` says what the files were made of: real or sample."""

    root: Path
    kind: str
    files: int
    distinct: bool
    source: str

    @property
    def prefix(self) -> str:
        """The key of the folder that holds the building files."""
        kind = KINDS[self.kind]
        return partition_prefix(
            BASE_PARTITION, kind.folder, DATA_PARTITION, state=kind.state, upgrade=kind.upgrade
        )

    @property
    def folder(self) -> Path:
        """The folder that holds the building files."""
        return self.root / self.prefix

    def paths(self) -> list[Path]:
        """The building files, in order of id."""
        return sorted(self.folder.glob("*.parquet"))


def find_real_lake() -> Path:
    """Where the real files would be: OEDI_REAL_LAKE, else beside the project."""
    default = PROJECT.parent / "shared" / "data" / "lake"
    return Path(os.environ.get(REAL_LAKE_VARIABLE, default))


def make_bench_lake(
    out: Path, files: int, kind: str, source: Path, *, distinct: bool = False
) -> BenchLake:
    """Write `files` building files below `out`, or take the lake that is there already.

    Args:
        out: The folder that becomes the bucket; whatever lake it holds is replaced.
        files: How many buildings.
        kind: A key of `KINDS`.
        source: A lake with real files of that release; without them buildings are sampled.
        distinct: Scale every building's values by a factor of its own.
    """
    real = _building_files(source, KINDS[kind])
    lake = BenchLake(out, kind, files, distinct, "real" if real else "sample")
    marker = out / _MARKER
    wanted = json.dumps({**asdict(lake), "root": None, "format": _FORMAT})
    if marker.exists() and marker.read_text("utf-8") == wanted:
        return lake
    marker.unlink(missing_ok=True)
    shutil.rmtree(out / BASE_PARTITION, ignore_errors=True)
    lake.folder.mkdir(parents=True)
    tables = [_without_id(path) for path in real or _sampled_files(out / "source", KINDS[kind])]
    (_write_distinct if distinct else _write_repeated)(tables, lake)
    marker.write_text(wanted, "utf-8")
    return lake


def _building_files(source: Path, kind: Kind) -> list[Path]:
    root = source / timeseries_prefix(BASE_PARTITION, kind.folder, DATA_PARTITION)
    return sorted(root.glob("upgrade=*/state=*/*.parquet"))


def _sampled_files(out: Path, kind: Kind) -> list[Path]:
    request = SampleRequest((kind.folder,), (kind.state,), (0,), _SAMPLED_BUILDINGS)
    write_sample_lake(out, request)
    return _building_files(out, kind)


def _without_id(path: Path) -> pa.Table:
    """A building's rows, decoded once for all its copies, under the placeholder id."""
    table = pq.read_table(path, partitioning=None)
    return _with_id(table, _PLACEHOLDER_ID)


def _with_id(table: pa.Table, bldg_id: int) -> pa.Table:
    at = table.schema.get_field_index("bldg_id")
    ids = pa.array(np.full(table.num_rows, bldg_id, dtype=np.int64))
    return table.set_column(at, table.schema.field(at).with_type(pa.int64()), ids)


def _encode(table: pa.Table) -> bytes:
    """As the publishers do: snappy, one row group, the stamps in their own unit."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy", row_group_size=table.num_rows)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _write_repeated(tables: list[pa.Table], lake: BenchLake) -> None:
    """Encode each building once; a copy is those bytes with another id in them."""
    placeholder = struct.pack("<q", _PLACEHOLDER_ID)
    templates = [_encode(table) for table in tables]
    for at in range(lake.files):
        bldg_id = _FIRST_ID + at
        data = templates[at % len(templates)].replace(placeholder, struct.pack("<q", bldg_id))
        path = _path(lake, bldg_id)
        path.write_bytes(data)
        if at < len(templates):
            _require_id(path, bldg_id)


def _require_id(path: Path, bldg_id: int) -> None:
    """The rows and the statistics of a restamped file say the new id and no other."""
    parquet = pq.ParquetFile(path)
    names = parquet.schema_arrow.names
    bounds = parquet.metadata.row_group(0).column(names.index("bldg_id")).statistics
    found = pc.unique(parquet.read(["bldg_id"])["bldg_id"]).to_pylist()
    if not found == [bounds.min_raw] == [bounds.max_raw] == [bldg_id]:
        raise RuntimeError(f"{path.name} holds id {found}, not {bldg_id}")


def _write_distinct(tables: list[pa.Table], lake: BenchLake) -> None:
    """Scale and encode every building by itself, on every core."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        work = partial(_write_scaled, lake)
        ats = range(lake.files)
        chosen = (tables[at % len(tables)] for at in ats)
        # In slices, so that no more tables wait in the pool's queue than the cores can use.
        for start in range(0, lake.files, 8 * cores):
            part = range(start, min(start + 8 * cores, lake.files))
            list(pool.map(work, part, [next(chosen) for _ in part]))


def _write_scaled(lake: BenchLake, at: int, table: pa.Table) -> None:
    factor = 0.5 + (at * 0.618_033_988_749_895) % 1.0
    columns = [
        pc.multiply(column, factor) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    scaled = pa.table(columns, names=table.column_names)
    _path(lake, _FIRST_ID + at).write_bytes(_encode(_with_id(scaled, _FIRST_ID + at)))


def _path(lake: BenchLake, bldg_id: int) -> Path:
    return lake.folder / f"{bldg_id}-{KINDS[lake.kind].upgrade}.parquet"
