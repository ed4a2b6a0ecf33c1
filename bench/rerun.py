"""Run the job over many files, then again over the same: the second time costs a listing.

    python -m bench.rerun --files 10000

The files are small (one measure that never changes), because nothing here depends on what is in
them; keys, sizes and ETags are as many as for large ones. The rerun is a fresh process, from its
start to its end; what is compared is the listing alone, in a process of its own. The promise: no
more than the listing plus three seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from oedi_spark.config import load_config
from oedi_spark.source.layout import ReleaseFolder, partition_prefix
from oedi_spark.survey import list_source, source_location

PROMISED_S = 3.0
BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
TREE = "timeseries_individual_buildings/by_state"
FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
_LIMIT_S = 3600


def make_lake(root: Path, files: int) -> None:
    """So many buildings of one release and state, each of one measure."""
    folder = root / partition_prefix(BASE, FOLDER, TREE, state="GA", upgrade=0)
    folder.mkdir(parents=True, exist_ok=True)
    quarters = np.arange(1, 35_041) * np.timedelta64(15, "m")
    stamps = pa.array((np.datetime64("2018-01-01", "us") + quarters).astype("datetime64[us]"))
    energy = pa.array(np.full(35_040, 0.25))
    for bldg_id in range(100_001, 100_001 + files):
        path = folder / f"{bldg_id}-0.parquet"
        if path.exists():
            continue
        ids = pa.array(np.full(35_040, bldg_id))
        name = "out.electricity.total.energy_consumption"
        rows = pa.table({"bldg_id": ids, "timestamp": stamps, name: energy})
        pq.write_table(rows, path, compression="zstd")


def write_config(work: Path) -> Path:
    """A run over all of it."""
    job = {"release_year": FOLDER.year, "release_name": FOLDER.name, "state": "GA"}
    document = {
        "src_bucket": str(work / "lake"),
        "output_dir": str(work / "out"),
        "job_specific": [job | {"upgrades": "0"}],
        "settings": {"log_dir": str(work / "logs")},
    }
    path = work / "run.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def list_only(config: Path) -> float:
    """Seconds that the listing takes, in this process."""
    loaded = load_config(config)
    started = time.perf_counter()
    list_source(loaded, source_location(loaded))
    return time.perf_counter() - started


def run_job(config: Path, work: Path) -> tuple[float, dict[str, object]]:
    """Seconds of the whole process, and the run's summary."""
    program = str(Path(sys.executable).with_name("oedi-spark"))
    started = time.perf_counter()
    done = subprocess.run(
        [program, "run", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    took_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    summary: dict[str, object] = json.loads((work / "logs" / "summary.json").read_text("utf-8"))
    return took_s, summary


def measure(files: int, work: Path, repeat: int) -> dict[str, object]:
    """First run, listings, reruns; medians of the latter two."""
    make_lake(work / "lake", files)
    config = write_config(work)
    shutil.rmtree(work / "out", ignore_errors=True)
    first_s, _ = run_job(config, work)
    listings, reruns, cpu, outcomes = [], [], [], set()
    for _ in range(repeat):
        command = [sys.executable, "-m", "bench.rerun", "--list-only", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        listings.append(float(done.stdout))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s, summary = run_job(config, work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        reruns.append(took_s)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        outcomes.add(str(summary["run"]["outcome"]))  # type: ignore[index] # of JSON
    return {
        "files": files,
        "first_run_s": round(first_s, 2),
        "listing_s": round(sorted(listings)[repeat // 2], 2),
        "rerun_s": round(sorted(reruns)[repeat // 2], 2),
        "rerun_cpu_s": round(sorted(cpu)[repeat // 2], 2),
        "outcomes": sorted(outcomes),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 when the promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=Path("build/bench-rerun"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--list-only", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.list_only:
        print(list_only(asked.list_only))
        return 0
    found = measure(asked.files, asked.work.absolute(), asked.repeat)
    print(json.dumps(found))
    listing_s, rerun_s = found["listing_s"], found["rerun_s"]
    if not (isinstance(listing_s, float) and isinstance(rerun_s, float)):
        raise TypeError("no figures")
    return int(rerun_s > listing_s + PROMISED_S)


if __name__ == "__main__":
    sys.exit(main())
