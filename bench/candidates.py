"""Run one candidate (a peer, or the job as its users start it) on one lake, and measure it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from bench.lake import KINDS, PROJECT, BenchLake
from bench.measure import BenchError, Command, Usage, run_measured
from bench.peers import PEERS
from oedi_spark.session import submit_environment

JOB = "job"
CANDIDATES = (*PEERS, JOB)

_HOURS = 8760


@dataclass(frozen=True)
class Setting:
    """Where and how the candidates run, the same for all."""

    work: Path
    cores: int
    time_limit_s: float


@dataclass(frozen=True)
class Run:
    """One candidate on one lake.

    `process_s` is the whole process, from its start to its end. `work_s` is the part that
    handles files: without interpreter and imports for a peer, the batches for the job.
    """

    candidate: str
    files: int
    process_s: float
    work_s: float
    output_mib: float
    python_mib: float
    jvm_mib: float
    other_cores: float

    @property
    def files_per_second(self) -> float:
        """Files per second of work."""
        return self.files / self.work_s

    def as_json(self) -> dict[str, object]:
        """All figures, for the result file."""
        return {**asdict(self), "files_per_second": self.files_per_second}


def run_candidate(name: str, lake: BenchLake, setting: Setting) -> Run:
    """Run a candidate in a fresh process and check that it made every hour.

    Raises:
        BenchError: It failed, or its output does not hold one row per building and hour.
    """
    out = setting.work / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.sync()  # what the last candidate wrote is not to be paid for by this one
    try:
        if name == JOB:
            usage, work_s = _run_job(lake, out, setting)
        else:
            usage, work_s = _run_peer(name, lake, out, setting)
    except BenchError as error:
        raise BenchError(f"{name} on {lake.files:,} files {error}") from None
    outputs = _outputs(out)
    if name != "floor":
        _require_all_hours(name, outputs, lake.files * _HOURS)
    size_bytes = sum(path.stat().st_size for path in outputs)
    shutil.rmtree(out)
    return Run(
        candidate=name,
        files=lake.files,
        process_s=usage.seconds,
        work_s=work_s,
        output_mib=size_bytes / 2**20,
        python_mib=usage.python_mib,
        jvm_mib=usage.jvm_mib,
        other_cores=usage.other_cores,
    )


def _run_peer(name: str, lake: BenchLake, out: Path, setting: Setting) -> tuple[Usage, float]:
    result = out / "result.json"
    arguments = [sys.executable, "-m", "bench.peers", name, "--folder", str(lake.folder)]
    arguments += ["--out", str(out), "--result", str(result), "--cores", str(setting.cores)]
    usage = _measure(name, arguments, {}, setting)
    return usage, float(json.loads(result.read_text("utf-8"))["work_s"])


def _run_job(lake: BenchLake, out: Path, setting: Setting) -> tuple[Usage, float]:
    config, logs = out / "job.yaml", out / "logs"
    config.write_text(yaml.safe_dump(_job_config(lake, out, logs)), "utf-8")
    environment = submit_environment() | {
        "SPARK_CONF_DIR": "",
        "SPARK_LOCAL_DIRS": str(out / "spark"),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    arguments = [str(Path(sys.executable).with_name("spark-submit"))]
    arguments += ["--master", f"local[{setting.cores}]", "spark_jobs/etl.py"]
    usage = _measure(JOB, [*arguments, "--config", str(config)], environment, setting)
    summary = json.loads((logs / "summary.json").read_text("utf-8"))
    return usage, float(summary["time_stat"]["batches_seconds"])


def _job_config(lake: BenchLake, out: Path, logs: Path) -> dict[str, object]:
    kind = KINDS[lake.kind]
    job = {
        "release_year": kind.folder.year,
        "release_name": kind.folder.name,
        "state": kind.state,
        "upgrades": str(kind.upgrade),
    }
    return {
        "src_bucket": str(lake.root),
        "output_dir": str(out / "tables"),
        "job_specific": [job],
        "settings": {"log_dir": str(logs)},
    }


def _measure(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], setting: Setting
) -> Usage:
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    inherited = {key: value for key, value in os.environ.items() if key != "SPARK_HOME"}
    return run_measured(
        Command(
            arguments=arguments,
            environment={**inherited, "PYTHONPATH": path, **environment},
            folder=PROJECT,
            log=setting.work / f"{name}.log",
            time_limit_s=setting.time_limit_s,
        )
    )


def _outputs(out: Path) -> list[Path]:
    """The parquet files of hours; the job's small tables are left out."""
    small = {"columns", "sources", "runs", "discrepancies"}
    return sorted(path for path in out.rglob("*.parquet") if small.isdisjoint(path.parts))


def _require_all_hours(name: str, outputs: Sequence[Path], wanted: int) -> None:
    found = sum(pq.read_metadata(path).num_rows for path in outputs)
    if found != wanted:
        raise BenchError(f"{name} wrote {found:,} hours, not {wanted:,}")
