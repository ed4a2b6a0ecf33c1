"""A run that is killed in the middle: the table is as before, the next run leaves no orphan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import yaml

from oedi_spark.config import RunConfig, load_config
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.pipeline import catalog_location
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.session import submit_environment
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, PROJECT, ReadTable
from tests.named import files_named_by
from tests.test_pipeline import ROWS

BUILDINGS = 24
SUBMIT_LIMIT_S = 120


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A config over a lake of one release and two upgrades, in this test's folder."""
    folder = ReleaseFolder("2024", "comstock_amy2018_release_1")
    request = SampleRequest((folder,), upgrades=(0, 1), buildings=BUILDINGS)
    write_sample_lake(tmp_path / "lake", request)
    document = {
        "src_bucket": str(tmp_path / "lake"),
        "output_dir": str(tmp_path / "out"),
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0-1"}],
        "settings": {"log_dir": str(tmp_path / "logs"), "row_group_buildings": 2},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def submit(config: Path) -> subprocess.Popen[bytes]:
    """Start the job as a user does, in a process group of its own."""
    command = Path(sys.executable).with_name("spark-submit")
    environment = os.environ | submit_environment() | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [str(command), str(PROJECT / "spark_jobs" / "etl.py"), "--config", str(config)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(path: Path, pattern: str, known: set[Path], process: subprocess.Popen[bytes]) -> None:
    """Until a file appears that was not there before; the job must still be running then."""
    deadline = time.monotonic() + SUBMIT_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if set(path.glob(pattern)) - known:
            return
        time.sleep(0.01)
    pytest.fail(f"nothing was staged; the job ended with {process.poll()}")


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(SUBMIT_LIMIT_S)


def python_driver(submit_pid: int) -> psutil.Process:
    """The Python that runs etl.py, among the processes that come and go below spark-submit."""
    for child in psutil.Process(submit_pid).children(recursive=True):
        with suppress(psutil.Error):
            if "python" in child.name() and any(p.endswith("etl.py") for p in child.cmdline()):
                return child
    raise AssertionError("no driver")


def files_of(config: RunConfig, table: str) -> tuple[set[str], set[str]]:
    """(files that lie in a table's folder, files that one of its snapshots names)."""
    place = catalog_location(config)
    opened = open_catalog(place).load_table((place.database, table))
    root = Path(opened.location().removeprefix("file://"))
    lying = {str(path) for path in root.rglob("*") if path.is_file()}
    named = files_named_by(opened)
    return lying, {path.removeprefix("file://") for path in named}


def test_run_killed_while_staging_leaves_the_table_and_the_next_run_sweeps(
    config_path: Path, tmp_path: Path, read_table: ReadTable
) -> None:
    config = load_config(config_path)
    data = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0
    before: pa.Table = read_table(config).sort_by(ROWS)
    assert before.num_rows == 2 * BUILDINGS * 8760

    second = submit(config_path)
    wait_for(data, "**/*.parquet", set(data.glob("**/*.parquet")), second)
    kill(second)
    orphans = files_of(config, "hourly")
    assert orphans[0] - orphans[1] != set()
    assert read_table(config).sort_by(ROWS).equals(before)

    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0

    assert read_table(config).sort_by(ROWS).equals(before)
    for table in ("hourly", "columns"):
        lying, named = files_of(config, table)
        assert lying - named == set()
    assert list((tmp_path / "out" / "warehouse" / "oedi" / "_leases").iterdir()) == []


def test_first_run_killed_while_staging_leaves_an_empty_table_and_the_next_fills_it(
    config_path: Path, tmp_path: Path, read_table: ReadTable
) -> None:
    config = load_config(config_path)
    data = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    first = submit(config_path)
    wait_for(data, "**/*.parquet", set(), first)
    kill(first)
    assert read_table(config).num_rows == 0

    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0

    assert read_table(config).num_rows == 2 * BUILDINGS * 8760
    lying, named = files_of(config, "hourly")
    assert lying - named == set()


def test_run_that_is_asked_to_end_cleans_up_and_sums_up(
    config_path: Path, tmp_path: Path, read_table: ReadTable
) -> None:
    config = load_config(config_path)
    data = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    run = submit(config_path)
    wait_for(data, "**/*.parquet", set(), run)
    driver = python_driver(run.pid)

    driver.send_signal(signal.SIGTERM)

    assert run.wait(SUBMIT_LIMIT_S) == 143
    summary = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert summary["run"]["outcome"] == "not published"
    assert summary["data_files_stats"]["total_data_files_listed"] == 2 * BUILDINGS
    assert read_table(config).num_rows == 0
    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0
    assert read_table(config).num_rows == 2 * BUILDINGS * 8760
    lying, named = files_of(config, "hourly")
    assert lying - named == set()
