"""How long one wide metadata file takes to normalise, and how much memory, beside reading it.

    python -m bench.metadata_rows [--rows 20000] [--columns 1300]

The file is as wide and as mixed as ComStock's full metadata (domain sheet §5): two in three
columns are results, the others labels. Each candidate runs in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import Command, Usage, run_measured
from oedi_spark.contracts_metadata import MetadataFile, MetadataPattern
from oedi_spark.transform.metadata import read_metadata

TARGET_S = 10.0
TARGET_MIB = 2048.0

_COUNTY = "G0800590"


def make_wide_file(path: Path, *, rows: int, columns: int) -> None:
    """A county's metadata by tract: labels, results, and what spoils types, from a fixed seed."""
    rng = np.random.default_rng(3)
    tracts = np.array([f"{_COUNTY}{100 * at:06d}" for at in range(1, 101)])
    table: dict[str, pa.Array] = {
        "bldg_id": pa.array(rng.permutation(np.arange(rows) // 50)),
        "upgrade": pa.array(np.zeros(rows, dtype=np.int64)),
        "weight": pa.array(rng.random(rows)),
        "applicability": pa.array(np.ones(rows, dtype=bool)),
        "in.state": pa.array(np.full(rows, "CO")),
        "in.nhgis_county_gisjoin": pa.array(np.full(rows, _COUNTY)),
    }
    # A building's fifty rows lie in fifty tracts.
    order = np.argsort(np.asarray(table["bldg_id"]), kind="stable")
    tract = np.empty(rows, dtype=tracts.dtype)
    tract[order] = tracts[np.arange(rows) % 50]
    table["in.nhgis_tract_gisjoin"] = pa.array(tract)
    words = np.array([f"Option {at}" for at in range(40)] + ["None", "1970s"])
    makers: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array(rng.random(rows) * 1e5),
        lambda: pa.array(rng.integers(0, 9, rows)),
        lambda: pa.array(words[rng.integers(0, len(words), rows)]),
        lambda: pa.array(rng.random(rows), mask=rng.random(rows) < 0.5),
        lambda: pa.array(words[rng.integers(0, len(words), rows)]).dictionary_encode(),
        lambda: pa.nulls(rows),
    )
    for at in range(columns - len(table)):
        make = makers[at % len(makers)]
        is_label = at % len(makers) in (2, 4)
        table[f"in.option_{at}" if is_label else f"out.use_{at}.energy_consumption..kwh"] = make()
    pq.write_table(pa.table(table), path, compression="snappy")


def normalise(path: Path) -> int:
    """Columns of the normalised rows."""
    data = path.read_bytes()
    pattern = MetadataPattern.COUNTY_FULL
    file = MetadataFile(0, path.name, pattern, 0, "CO", _COUNTY, len(data), None, "")
    (found,) = read_metadata(data, file, release="bench", weight_model=None, states=("CO",))
    return int(found.rows.num_columns)


def read_only(path: Path) -> int:
    """Columns of the file as pyarrow reads it."""
    return int(pq.read_table(path, use_threads=False, partitioning=None).num_columns)


def import_only(path: Path) -> int:
    """Nothing: what a fresh process and the imports take."""
    return len(path.name)


CANDIDATES: Mapping[str, Callable[[Path], int]] = {
    "import only": import_only,
    "pq.read_table": read_only,
    "read_metadata": normalise,
}


def main() -> int:
    """Print a line per candidate; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=1_300)
    parser.add_argument("--candidate", choices=CANDIDATES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        print(CANDIDATES[options.candidate](options.file), "columns")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "wide.parquet")
        make_wide_file(path, rows=options.rows, columns=options.columns)
        size_mib = path.stat().st_size / 2**20
        print(f"{options.rows:,} rows × {options.columns:,} columns, {size_mib:.1f} MiB")
        usages = {name: _run(name, path) for name in CANDIDATES}
    return _report(usages)


def _run(name: str, path: Path) -> Usage:
    return run_measured(
        Command(
            [sys.executable, "-m", "bench.metadata_rows", "--candidate", name, "--file", str(path)],
            os.environ,
            Path(__file__).resolve().parents[1],
            path.with_name(f"{name}.log"),
            time_limit_s=300.0,
        )
    )


def _report(usages: Mapping[str, Usage]) -> int:
    start_s = usages["import only"].seconds
    read_s = usages["pq.read_table"].seconds - start_s
    for name, usage in usages.items():
        work_s = usage.seconds - start_s
        ratio = f"{work_s / read_s:5.1f} × read_table" if name == "read_metadata" else ""
        print(
            f"{name:<14} {usage.seconds:6.2f} s, {work_s:6.2f} s of it work, "
            f"{usage.python_mib:7.0f} MiB {ratio}"
        )
    found = usages["read_metadata"]
    is_met = found.seconds < TARGET_S and found.python_mib < TARGET_MIB
    print(f"targets {TARGET_S:g} s and {TARGET_MIB:g} MiB: {'met' if is_met else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
