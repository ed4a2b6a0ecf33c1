"""Time the window engine beside the arrow engine: the same job, the same files, the same call.

    python -m bench.window --files 200 --repeat 3

Each run is `spark-submit spark_jobs/etl.py` in a fresh process, engines in turn. What Spark is
told by `--set KEY=VALUE` is told to both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import yaml

from bench.lake import KINDS, PROJECT, BenchLake, find_real_lake, make_bench_lake
from bench.measure import BenchError, Command, Usage, run_measured
from oedi_spark.session import submit_environment

ENGINES = ("arrow", "window")
_HOURS = 8760


@dataclass(frozen=True)
class EngineRun:
    """What one engine took. `batch_s`: from the first file in hand to the last one staged."""

    engine: str
    usage: Usage
    batch_s: float
    reader_s: float
    output_mib: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the lake, run the engines, print a table and the ratios; the exit code."""
    args = _parse(arguments)
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[: args.cores])
    name = f"{args.kind}-{args.files}{'-distinct' if args.distinct else ''}"
    lake = make_bench_lake(
        args.work / "lakes" / name, args.files, args.kind, find_real_lake(), distinct=args.distinct
    )
    runs: list[EngineRun] = []
    try:
        for turn in range(args.repeat):
            for engine in ENGINES if turn % 2 == 0 else ENGINES[::-1]:
                runs.append(_run(engine, lake, args))
                print(_line(engine, args.files, runs[-1:]), flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"\n{args.files:,} {args.kind} files, {lake.source}; medians of {args.repeat}")
    for engine in ENGINES:
        print(_line(engine, args.files, [run for run in runs if run.engine == engine]))
    arrow, window = (median(r.batch_s for r in runs if r.engine == each) for each in ENGINES)
    print(f"window ÷ arrow, batches: {window / arrow:.1f}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.window", description="Time engines.")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--kind", choices=KINDS, default="comstock")
    parser.add_argument("--distinct", action="store_true", help="no two buildings are equal")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--work", type=_folder, default=PROJECT / "build" / "bench")
    parser.add_argument("--time-limit", type=float, default=900.0, help="seconds per run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args(arguments)


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _run(engine: str, lake: BenchLake, args: argparse.Namespace) -> EngineRun:
    out = args.work / "out" / engine
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    kind = KINDS[lake.kind]
    job = {"release_year": kind.folder.year, "release_name": kind.folder.name}
    config = {
        "src_bucket": str(lake.root),
        "output_dir": str(out / "tables"),
        "job_specific": [job | {"state": kind.state, "upgrades": str(kind.upgrade)}],
        "settings": {"log_dir": str(out / "logs"), "engine": engine},
    }
    (out / "job.yaml").write_text(yaml.safe_dump(config), "utf-8")
    settings = [word for each in args.set for word in ("--conf", each)]
    submit = str(Path(sys.executable).with_name("spark-submit"))
    master = ["--master", f"local[{args.cores}]"]
    configured = ["--config", str(out / "job.yaml")]
    inherited = {key: value for key, value in os.environ.items() if key != "SPARK_HOME"}
    usage = run_measured(
        Command(
            arguments=[submit, *master, *settings, "spark_jobs/etl.py", *configured],
            environment={
                **inherited,
                **submit_environment(),
                "SPARK_CONF_DIR": "",
                "SPARK_LOCAL_DIRS": str(out / "spark"),
                "PYSPARK_DRIVER_PYTHON": sys.executable,
                "PYTHONPATH": str(PROJECT),
            },
            folder=PROJECT,
            log=args.work / f"{engine}.log",
            time_limit_s=args.time_limit,
        )
    )
    summary = json.loads((out / "logs" / "summary.json").read_text("utf-8"))
    staged = [path for path in out.rglob("*.parquet") if "hourly" in path.parts]
    hours = sum(pq.read_metadata(path).num_rows for path in staged)
    if hours != lake.files * _HOURS:
        raise BenchError(f"{engine} wrote {hours:,} hours, not {lake.files * _HOURS:,}")
    size_bytes = sum(path.stat().st_size for path in staged)
    shutil.rmtree(out)
    stat = summary["time_stat"]
    return EngineRun(
        engine, usage, stat["batches_seconds"], stat["stage_seconds"]["reader"], size_bytes / 2**20
    )


def _line(engine: str, files: int, runs: Sequence[EngineRun]) -> str:
    batch_s = median(run.batch_s for run in runs)
    return (
        f"  {engine:<6} process {median(run.usage.seconds for run in runs):6.1f} s, "
        f"batches {batch_s:6.1f} s, {files / batch_s:5.1f} files/s, "
        f"reader {median(run.reader_s for run in runs):5.1f} s, "
        f"output {median(run.output_mib for run in runs):6.1f} MiB, "
        f"python {max(run.usage.python_mib for run in runs):5.0f} MiB, "
        f"JVM {max(run.usage.jvm_mib for run in runs):5.0f} MiB, "
        f"others {max(run.usage.other_cores for run in runs):.1f} cores"
    )


if __name__ == "__main__":
    sys.exit(main())
