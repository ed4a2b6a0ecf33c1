"""Show where a task's time goes: one batch, one process, no Spark.

python -m bench.profile_batch --files 100 --cprofile
"""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench.lake import KINDS, PROJECT, BenchLake, find_real_lake, make_bench_lake
from oedi_spark.config import Settings
from oedi_spark.contracts import Batch, BatchResult, Partition, SourceFile
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.source.layout import parse_building_name
from oedi_spark.source.releases import resolve_release
from oedi_spark.source.storage import SourceLocation, open_storage
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.reader import ProfileReader, read_columns


@dataclass(frozen=True)
class Costs:
    """Seconds of one batch. `read_s` runs in threads beside the rest, the others in turn."""

    files: int
    total_s: float
    cpu_s: float
    read_s: float
    decode_s: float
    reader_s: float
    rollup_s: float
    encode_s: float

    def __str__(self) -> str:
        per_file = 1000 / self.files
        parts = (
            ("decode", self.decode_s),
            ("waiting for reads", max(0.0, self.reader_s - self.decode_s)),
            ("roll-up", self.rollup_s),
            ("encode and write", self.encode_s),
            ("the rest", self.total_s - self.reader_s - self.rollup_s - self.encode_s),
        )
        lines = [f"{'part':<20} {'ms per building':>15} {'share':>6}"]
        lines += [
            f"{name:<20} {seconds * per_file:>15.2f} {seconds / self.total_s:>6.0%}"
            for name, seconds in parts
        ]
        total = f"{'total':<20} {self.total_s * per_file:>15.2f} {1:>6.0%}"
        beside = f"{'beside it: reading':<20} {self.read_s * per_file:>15.2f}"
        speed = f"{self.files / self.total_s:.1f} files/s per core, CPU {self.cpu_s:.2f} s"
        return "\n".join([*lines, total, beside, speed])


def make_batch(lake: BenchLake) -> Batch:
    """One batch of all the files of a lake, with invented field ids."""
    kind = KINDS[lake.kind]
    files = []
    for ordinal, path in enumerate(lake.paths()):
        named = parse_building_name(path.name)
        if named is None:
            raise ValueError(f"{path} is no building file")
        size_bytes = path.stat().st_size
        files.append(
            SourceFile(ordinal, f"{lake.prefix}/{path.name}", named[0], size_bytes, None, "")
        )
    columns = read_columns(lake.paths()[0].read_bytes())
    names = [*KEY_COLUMNS, *(column.name for column in columns if column.rule != "omit")]
    return Batch(
        number=0,
        partition=Partition(kind.folder.release, kind.state, kind.upgrade),
        facts=resolve_release(kind.folder),
        files=tuple(files),
        field_ids={name: at for at, name in enumerate(names, 1)},
    )


def profile(lake: BenchLake, out: Path) -> Costs:
    """Run the batch, then its reading and its decoding by themselves."""
    batch = make_batch(lake)
    location = SourceLocation(root=str(lake.root), is_local=True)
    started, cpu_started = time.perf_counter(), time.process_time()
    result = _run(batch, location, out)
    total_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    _require_whole(result, len(batch.files))
    read_s, decode_s = _time_reader(batch, location)
    return Costs(
        files=len(batch.files),
        total_s=total_s,
        cpu_s=cpu_s,
        read_s=read_s,
        decode_s=decode_s,
        reader_s=result.seconds["reader"],
        rollup_s=result.seconds["rollup"],
        encode_s=result.seconds["writer"],
    )


def _run(batch: Batch, location: SourceLocation, out: Path) -> BatchResult:
    defaults = Settings()
    settings = TaskSettings(
        location=location,
        data_uri=(out / "data").as_uri(),
        run_id="profile",
        row_group_buildings=defaults.row_group_buildings,
        read_ahead_files=defaults.read_ahead_files,
        strict_columns=False,
    )
    try:
        return run_batch(batch, settings, lambda _ordinal, _seen: None)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _require_whole(result: BatchResult, files: int) -> None:
    buildings = sum(staged.building_count for staged in result.staged)
    if buildings != files:
        raise RuntimeError(f"{buildings} of {files} buildings staged: {result.outcomes[:3]}")


def _time_reader(batch: Batch, location: SourceLocation) -> tuple[float, float]:
    storage, reader = open_storage(location), ProfileReader(batch.facts)
    read_s = decode_s = 0.0
    for file in batch.files:
        started = time.perf_counter()
        data = storage.read_file(file.key, etag=file.etag)
        fetched = time.perf_counter()
        reader.read_profile(data, file)
        read_s += fetched - started
        decode_s += time.perf_counter() - fetched
    return read_s, decode_s


def main() -> None:
    """Profile one batch and print its costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile_batch")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--kind", choices=KINDS, default="comstock")
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--work", type=Path, default=PROJECT / "build" / "bench")
    parser.add_argument("--cprofile", action="store_true", help="print the 15 dearest functions")
    args = parser.parse_args()
    name = f"{args.kind}-{args.files}{'-distinct' if args.distinct else ''}"
    out = args.work.absolute() / "lakes" / name
    lake = make_bench_lake(out, args.files, args.kind, find_real_lake(), distinct=args.distinct)
    staged = args.work.absolute() / f"profile-{os.getpid()}"
    profile(lake, staged)  # once unmeasured: imports, page cache, thread pools
    print(f"{args.files} {args.kind} files, {lake.source}")
    print(profile(lake, staged))
    if args.cprofile:
        print(_dearest_functions(lake, staged))


def _dearest_functions(lake: BenchLake, out: Path) -> str:
    batch, location = make_batch(lake), SourceLocation(root=str(lake.root), is_local=True)
    profiler = cProfile.Profile()
    profiler.runcall(_run, batch, location, out)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(15)
    return text.getvalue()


if __name__ == "__main__":
    main()
