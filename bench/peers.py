"""What a user would run instead: quarter-hours in, one zstd parquet of hours out.

    python -m bench.peers NAME --folder BUILDING_FILES --out FOLDER --result FILE

One of them per process, so that no engine inherits another's memory, threads or caches.
`work_s` in the result leaves the interpreter's start and the imports out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import pyarrow.parquet as pq

OUTPUT_NAME = "hours.parquet"
_KEYS = ("timestamp", "bldg_id")


@dataclass(frozen=True)
class Task:
    """What a peer is given: the same for all."""

    files: Sequence[Path]
    out: Path
    cores: int

    def measures(self) -> list[str]:
        """The columns to be summed, as the first file names them."""
        return [name for name in pq.read_schema(self.files[0]).names if name not in _KEYS]


def prepare_floor(task: Task) -> Callable[[], None]:
    """Decode every column of every file and do nothing with it: no job can be faster."""

    def work() -> None:
        with Pool(task.cores) as pool:
            pool.map(_decode, [task.files[at :: task.cores] for at in range(task.cores)])

    return work


def _decode(paths: Sequence[Path]) -> None:
    for path in paths:
        pq.read_table(path, use_threads=False, partitioning=None)


def prepare_polars(task: Task) -> Callable[[], None]:
    """Scan, group by building and hour, sum, sink; the streaming sink, as its manual says."""
    os.environ["POLARS_MAX_THREADS"] = str(task.cores)
    import polars as pl

    def work() -> None:
        start = pl.col("timestamp") - pl.duration(minutes=15)
        hour = start.dt.truncate("1h").alias("hour_start")
        frame = pl.scan_parquet(list(task.files), hive_partitioning=False)
        sums = [pl.col(name).sum() for name in task.measures()]
        frame.group_by(["bldg_id", hour]).agg(sums).sink_parquet(
            task.out / OUTPUT_NAME, compression="zstd"
        )

    return work


def prepare_duckdb(task: Task) -> Callable[[], None]:
    """The same in SQL."""
    import duckdb

    def work() -> None:
        sums = ", ".join(f'sum("{name}") AS "{name}"' for name in task.measures())
        pattern = task.files[0].parent / "*.parquet"
        connection = duckdb.connect()
        connection.execute(
            f"SET threads = {task.cores}; SET preserve_insertion_order = false; "
            f"SET temp_directory = '{task.out / 'spill'}'"
        )
        connection.execute(
            "COPY (SELECT bldg_id, date_trunc('hour', timestamp - INTERVAL 15 MINUTE)"
            f" AS hour_start, {sums} FROM read_parquet('{pattern}', hive_partitioning = false)"
            f" GROUP BY 1, 2) TO '{task.out / OUTPUT_NAME}' (FORMAT parquet, COMPRESSION zstd)"
        )

    return work


PEERS = {"floor": prepare_floor, "polars": prepare_polars, "duckdb": prepare_duckdb}


def main() -> None:
    """Run one peer and write how long its work took."""
    parser = argparse.ArgumentParser(description="Run one peer of the job.")
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted(args.folder.glob("*.parquet"))
    work = PEERS[args.name](Task(files, args.out, args.cores))
    started = time.perf_counter()
    work()
    took_s = time.perf_counter() - started
    args.result.write_text(json.dumps({"work_s": took_s}), "utf-8")


if __name__ == "__main__":
    main()
