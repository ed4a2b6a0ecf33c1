"""Measure what was tried: encodings of a row group, ways to group, shortcuts of the reader.

    python -m bench.encodings [--distinct]

Single-threaded; each figure is the least of several runs, and the first line of each step is
what the job does. The row group is the one that the job writes: a dozen buildings, their
hours one below the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.lake import KINDS, PROJECT, BenchLake, find_real_lake, make_bench_lake
from bench.profile_batch import make_batch
from oedi_spark.lake.staging import has_few_values
from oedi_spark.transform import reader
from oedi_spark.transform.columns import Rule
from oedi_spark.transform.reader import Measure, ProfileReader
from oedi_spark.transform.rollup import roll_up_constant, roll_up_intervals

_BUILDINGS = 12


@dataclass(frozen=True)
class Trial:
    """One variant of one step; the first of each step is what the job does."""

    step: str
    variant: str
    ms_per_building: float
    kib_per_building: float | None = None

    def as_row(self) -> str:
        """A line of the Markdown table."""
        size = "" if self.kib_per_building is None else f"{self.kib_per_building:,.1f}"
        return f"| {self.step} | {self.variant} | {self.ms_per_building:,.2f} | {size} |"


@dataclass(frozen=True)
class Encoding:
    """How a row group is written. `split`: the columns with BYTE_STREAM_SPLIT."""

    dictionary: Sequence[str]
    level: int = 1
    split: Sequence[str] = ()


def try_encodings(block: pa.Table, repeat: int) -> list[Trial]:
    """Encode one row group in every way that was considered."""
    names = block.column_names
    few = [name for name in names if has_few_values(block[name].to_numpy())]
    constant = [name for name in names if len(np.unique(block[name].to_numpy())) == 1]
    many = [name for name in names if name not in {*few, *constant}]
    shape = f"{len(few)} few-valued, {len(constant)} constant, {len(many)} others"
    variants = {
        f"dictionary where a sample says it pays; zstd 1 ({shape})": Encoding(few),
        "dictionary for all columns": Encoding(names),
        "dictionary for none": Encoding(()),
        "dictionary for constants too": Encoding([*few, *constant]),
        "zstd 3": Encoding(few, level=3),
        "BYTE_STREAM_SPLIT for the others": Encoding(few, split=many),
    }
    sizes: dict[str, int] = {}

    def encode(variant: str) -> None:
        sizes[variant] = _encoded_size(block, variants[variant])

    works = {variant: partial(encode, variant) for variant in variants}
    return [
        Trial("encode", variant, 1000 * seconds / _BUILDINGS, sizes[variant] / 1024 / _BUILDINGS)
        for variant, seconds in _least_seconds(works, repeat).items()
    ]


def try_groupings(lake: BenchLake, repeat: int) -> list[Trial]:
    """Roll every column of one building up: add strided slices, or hash the hour of each row."""
    table = pq.read_table(lake.paths()[0], partitioning=None)
    measures = [name for name in table.column_names if name not in ("timestamp", "bldg_id")]
    columns = [table[name].to_numpy() for name in measures]
    hours = np.empty(table.num_rows // 4)
    quarter = pa.scalar(15 * 60 * 10**9, pa.duration("ns"))

    def hash_rows() -> None:
        stamps = table["timestamp"].cast(pa.timestamp("ns"))
        hour = pc.floor_temporal(pc.subtract(stamps, quarter), unit="hour")
        groups = table.append_column("hour_start", hour).group_by(
            ["bldg_id", "hour_start"], use_threads=False
        )
        groups.aggregate([(name, "sum") for name in measures])

    def add_slices() -> None:
        for values in columns:
            roll_up_intervals(values, Rule.SUM, hours)

    works = {"strided sums": add_slices, "hash each row": hash_rows}
    return [
        Trial("roll up", variant, 1000 * seconds)
        for variant, seconds in _least_seconds(works, repeat).items()
    ]


def try_reader(lake: BenchLake, repeat: int) -> list[Trial]:
    """Decode the same buildings with and without what the reader proves instead of decoding."""
    batch = make_batch(lake)
    contents = [(lake.root / file.key).read_bytes() for file in batch.files]
    profiles = ProfileReader(batch.facts)

    def read_all(replaced: Mapping[str, object]) -> None:
        with ExitStack() as stack:
            for name, answer in replaced.items():
                stack.enter_context(patch.object(reader, name, return_value=answer))
            for file, content in zip(batch.files, contents, strict=True):
                profiles.read_profile(content, file)

    stamps, constants = {"_raw_chunk": (b"", ())}, {"_constant": None}
    works = {
        "stamps proved once per batch, constants by the footer": partial(read_all, {}),
        "stamps decoded and proved per file": partial(read_all, stamps),
        "constant columns decoded": partial(read_all, constants),
        "both decoded": partial(read_all, {**stamps, **constants}),
    }
    return [
        Trial("decode", variant, 1000 * seconds / len(contents))
        for variant, seconds in _least_seconds(works, repeat).items()
    ]


def make_block(lake: BenchLake) -> pa.Table:
    """The hours of a lake's buildings, one below the other, as the job would write them."""
    batch = make_batch(lake)
    profiles = ProfileReader(batch.facts)
    parts: dict[str, list[np.ndarray[tuple[int], np.dtype[np.float64]]]] = {}
    for file in batch.files:
        profile = profiles.read_profile((lake.root / file.key).read_bytes(), file)
        for measure in profile.measures:
            hours = _hours(measure, len(profile.hour_start_us))
            parts.setdefault(measure.column.name, []).append(hours)
    return pa.table({name: np.concatenate(values) for name, values in parts.items()})


def _hours(measure: Measure, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    hours = np.full(count, np.nan)
    rule = Rule(measure.column.rule)
    if measure.constant is not None:
        roll_up_constant(measure.constant, rule, hours)
    elif measure.intervals is not None:
        roll_up_intervals(measure.intervals, rule, hours)
    return hours


def _encoded_size(block: pa.Table, encoding: Encoding) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(
        block,
        sink,
        compression="zstd",
        compression_level=encoding.level,
        use_dictionary=list(encoding.dictionary),
        column_encoding=dict.fromkeys(encoding.split, "BYTE_STREAM_SPLIT") or None,
        store_schema=False,
    )
    size: int = sink.getvalue().size
    return size


def _least_seconds(works: Mapping[str, Callable[[], None]], repeat: int) -> dict[str, float]:
    """The least time of each; they take turns, so that a busy moment hits all alike."""
    least = dict.fromkeys(works, float("inf"))
    for _ in range(repeat):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            least[name] = min(least[name], time.perf_counter() - started)
    return least


def main() -> None:
    """Print every trial."""
    parser = argparse.ArgumentParser(prog="python -m bench.encodings")
    parser.add_argument("--kind", choices=KINDS, default="comstock")
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--work", type=Path, default=PROJECT / "build" / "bench")
    args = parser.parse_args()
    name = f"{args.kind}-{_BUILDINGS}{'-distinct' if args.distinct else ''}"
    out = args.work.absolute() / "lakes" / name
    lake = make_bench_lake(out, _BUILDINGS, args.kind, find_real_lake(), distinct=args.distinct)
    pa.set_cpu_count(1)
    print("| step | variant | ms per building | KiB per building |")
    print("| --- | --- | ---: | ---: |")
    for trials in (
        try_encodings(make_block(lake), args.repeat),
        try_groupings(lake, args.repeat),
        try_reader(lake, args.repeat),
    ):
        for trial in trials:
            print(trial.as_row(), flush=True)


if __name__ == "__main__":
    main()
