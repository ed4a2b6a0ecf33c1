"""Compare the job with its peers, all on the same files in the same call.

    python -m bench.run --files 1126 --files 4504 --repeat 3

Prints one table and a verdict per promise; writes the figures to WORK/NAME.json. Everything
it writes lies below --work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.candidates import CANDIDATES, JOB, Run, Setting, run_candidate
from bench.lake import KINDS, PROJECT, BenchLake, find_real_lake, make_bench_lake
from bench.measure import BenchError
from bench.report import PROMISED_FILES, Verdict, format_report, judge, take_medians

_ENGINES = ("duckdb", "numpy", "polars", "pyarrow", "pyiceberg", "pyspark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the lakes, run the candidates, report; the exit code."""
    args = _parse(arguments)
    _hold_to_cores(args.cores)
    setting = Setting(args.work, args.cores, args.time_limit)
    args.work.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    try:
        for files in sorted(set(args.files)):
            lake = _lake(args, files)
            is_first = files == min(args.files)
            names = [n for n in args.only if n == JOB or is_first or args.peers_everywhere]
            runs += _run_all(names, lake, setting, args.repeat)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if not runs:
        print("bench: nothing to report", file=sys.stderr)
        return 2
    verdicts = _report(runs, args)
    return 1 if args.check and any(verdict.holds is False for verdict in verdicts) else 0


def _report(runs: Sequence[Run], args: argparse.Namespace) -> list[Verdict]:
    """Write the figures down, then print what they mean."""
    results = take_medians(runs)
    verdicts = judge(results)
    document = {
        "setting": _describe(args),
        "results": [run.as_json() for run in results.values()],
        "runs": [run.as_json() for run in runs],
        "verdicts": [
            {"promise": v.promise, "bound": v.bound, "measured": v.measured, "holds": v.holds}
            for v in verdicts
        ],
    }
    path = args.work / f"{args.name or _name(args)}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(f"\n{format_report(results, verdicts)}\n\nfigures: {path}")
    return verdicts


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Time the job.")
    parser.add_argument("--files", type=_positive, action="append", help="repeatable; 1126")
    parser.add_argument("--kind", choices=KINDS, default="comstock")
    parser.add_argument("--distinct", action="store_true", help="no two buildings are equal")
    parser.add_argument("--only", type=_candidates, default=CANDIDATES, help="job,floor,…")
    parser.add_argument("--repeat", type=_positive, default=1, help="report medians of N runs")
    parser.add_argument("--cores", type=_positive, default=2)
    parser.add_argument("--work", type=_folder, default=PROJECT / "build" / "bench")
    parser.add_argument("--name", help="of the JSON file; made up from the options by default")
    parser.add_argument("--time-limit", type=float, default=900.0, help="seconds per candidate")
    parser.add_argument("--check", action="store_true", help="exit 1 if a promise is broken")
    parser.add_argument(
        "--peers-everywhere",
        action="store_true",
        help="run the peers on every size, not on the smallest only: their memory grows",
    )
    args = parser.parse_args(arguments)
    args.files = args.files or [PROMISED_FILES]
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _candidates(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} not among {', '.join(CANDIDATES)}")
    return names


def _hold_to_cores(cores: int) -> None:
    """Keep this process and all that it starts to so many cores."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < cores:
        print(f"bench: only {len(allowed)} cores for {cores}", file=sys.stderr)
    os.sched_setaffinity(0, allowed[:cores])


def _lake(args: argparse.Namespace, files: int) -> BenchLake:
    """The lake of one size, its files in the page cache."""
    name = f"{args.kind}-{files}{'-distinct' if args.distinct else ''}"
    out = args.work / "lakes" / name
    lake = make_bench_lake(out, files, args.kind, find_real_lake(), distinct=args.distinct)
    size_bytes = sum(len(path.read_bytes()) for path in lake.paths())
    print(f"{files:,} {args.kind} files, {lake.source}, {size_bytes / 2**20:,.0f} MiB", flush=True)
    return lake


def _run_all(names: Sequence[str], lake: BenchLake, setting: Setting, repeat: int) -> list[Run]:
    """Run each candidate `repeat` times, each round beginning with another one.

    A peer that fails is told and left out; there is nothing to say without the job.
    """
    runs = []
    for turn in range(repeat):
        shift = turn % max(1, len(names))
        for name in (*names[shift:], *names[:shift]):
            try:
                run = run_candidate(name, lake, setting)
            except BenchError as error:
                if name == JOB:
                    raise
                print(f"  {error}", flush=True)
                continue
            runs.append(run)
            figures = f"{run.process_s:6.1f} s, {run.files_per_second:4.0f} files/s"
            figures += f", {run.python_mib:5.0f} MiB"
            print(f"  {name:<7} {figures}, others {run.other_cores:.1f} cores", flush=True)
    return runs


def _name(args: argparse.Namespace) -> str:
    sizes = "-".join(map(str, sorted(set(args.files))))
    return f"{args.kind}-{sizes}{'-distinct' if args.distinct else ''}"


def _describe(args: argparse.Namespace) -> dict[str, object]:
    return {
        "files": sorted(set(args.files)),
        "kind": args.kind,
        "distinct": args.distinct,
        "repeat": args.repeat,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        **{engine: version(engine) for engine in _ENGINES},
    }


if __name__ == "__main__":
    sys.exit(main())
