"""A run that is killed in the middle: the table is as before, the next run leaves no orphan.

And it takes up what the killed one has finished.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from oedi_spark import pipeline
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
BASE = (
    "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock/2024",
    "comstock_amy2018_release_1/timeseries_individual_buildings",
)


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


def submit(config: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the job as a user does, in a process group of its own."""
    command = Path(sys.executable).with_name("spark-submit")
    environment = os.environ | submit_environment() | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [str(command), str(PROJECT / "spark_jobs" / "etl.py"), "--config", str(config), *more],
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


def require_tidy(config: RunConfig) -> None:
    """Nothing lies beside the tables or in them that no snapshot names."""
    for table in ("hourly", "columns", "metadata", "building_weights", "sources"):
        lying, named = files_of(config, table)
        assert lying - named == set(), table
    root = Path(pipeline.catalog_location(config).database_uri.removeprefix("file://"))
    for folder in ("_leases", "_staged", "_landing"):
        assert [path for path in (root / folder).rglob("*") if path.is_file()] == []


def test_run_killed_while_staging_leaves_the_table_and_the_next_run_sweeps(
    config_path: Path, tmp_path: Path, read_table: ReadTable
) -> None:
    config = load_config(config_path)
    data = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0
    before: pa.Table = read_table(config).sort_by(ROWS)
    assert before.num_rows == 2 * BUILDINGS * 8760

    second = submit(config_path, "--force", "true")
    wait_for(data, "**/*.parquet", set(data.glob("**/*.parquet")), second)
    kill(second)
    orphans = files_of(config, "hourly")
    assert orphans[0] - orphans[1] != set()
    assert read_table(config).sort_by(ROWS).equals(before)

    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0

    assert read_table(config).sort_by(ROWS).equals(before)
    require_tidy(config)


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


def entries(config: RunConfig) -> list[Path]:
    """What finished batches of a run have left."""
    root = Path(catalog_location(config).database_uri.removeprefix("file://"))
    return sorted(root.glob("_staged/*/*.json"))


def spoil(config: RunConfig, entry: Path) -> int:
    """Break the source files of a finished batch under the same time and size, so the same ETag.

    Whoever reads one again finds no parquet, so what comes out whole was not read again. Those
    that a run looks into for columns, before it reads, are left: first, middle and last.

    Returns:
        How many files the batch had.
    """
    (staged,) = json.loads(entry.read_text())["result"]["staged"]
    file = pq.ParquetFile(staged["path"].removeprefix("file://"))
    ids = set(file.read(columns=["bldg_id"])["bldg_id"].to_pylist())
    folder = f"**/upgrade={staged['partition']['upgrade']}/state=CO"
    (found,) = Path(config.src_root, *BASE).glob(folder)
    paths = sorted(found.glob("*.parquet"), key=lambda path: int(path.stem.split("-")[0]))
    assert len(paths) == BUILDINGS
    peeked = {paths[at] for at in (0, BUILDINGS // 2, BUILDINGS - 1)}
    broken = [p for p in paths if int(p.stem.split("-")[0]) in ids and p not in peeked]
    for path in broken:
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert broken
    return len(ids)


@pytest.mark.parametrize("batch_count", [1, 5])
def test_finished_batches_of_a_killed_run_are_taken_up_and_not_fetched_again(
    config_path: Path, tmp_path: Path, read_table: ReadTable, batch_count: int
) -> None:
    """Killed when that many of twelve were finished; their sources cannot be read any more."""
    document = yaml.safe_load(config_path.read_text())
    document["settings"]["target_file_bytes"] = 2**20
    config_path.write_text(yaml.safe_dump(document))
    config = load_config(config_path)
    first = submit(config_path)
    deadline = time.monotonic() + SUBMIT_LIMIT_S
    while len(entries(config)) < batch_count and time.monotonic() < deadline:
        assert first.poll() is None
        time.sleep(0.005)
    kill(first)
    assert read_table(config).num_rows == 0
    finished = entries(config)
    kept = tmp_path / "kept"
    shutil.copytree(config.src_root, kept)
    taken = sum(spoil(config, entry) for entry in finished)
    assert taken >= batch_count

    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0

    summary = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert summary["files_taken_up"] == taken
    assert summary["data_files_stats"]["total_data_files_uploaded"] == 2 * BUILDINGS
    require_tidy(config)
    undisturbed = config.model_copy(
        update={"src_bucket": str(kept), "output_dir": str(tmp_path / "other")}
    )
    other = tmp_path / "other.yaml"
    other.write_text(
        yaml.safe_dump(document | {"src_bucket": str(kept), "output_dir": str(tmp_path / "other")})
    )
    assert submit(other).wait(SUBMIT_LIMIT_S) == 0
    assert read_table(config).sort_by(ROWS).equals(read_table(undisturbed).sort_by(ROWS))


def test_run_killed_after_the_hours_were_committed_takes_them_up(
    config_path: Path, tmp_path: Path, read_table: ReadTable
) -> None:
    """Hours are in the table, the memory of them is not: done again without a new commit."""
    config = load_config(config_path)
    program = (
        "import os, signal, sys\n"
        "from oedi_spark import pipeline\n"
        "def die(*_, **__): os.killpg(0, signal.SIGKILL)\n"
        "pipeline.land_copies = die\n"
        "from oedi_spark.config import load_config\n"
        "from oedi_spark.session import start_in_background\n"
        "pipeline.run(load_config(sys.argv[1]), start_in_background())\n"
    )
    environment = os.environ | submit_environment() | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(config_path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.wait(SUBMIT_LIMIT_S) == -signal.SIGKILL
    assert read_table(config).num_rows == 2 * BUILDINGS * 8760
    place = catalog_location(config)
    hourly = open_catalog(place).load_table((place.database, "hourly"))
    for entry in entries(config):
        spoil(config, entry)

    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0

    summary = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert summary["files_taken_up"] == 2 * BUILDINGS
    assert len(hourly.refresh().snapshots()) == 1
    assert read_table(config).num_rows == 2 * BUILDINGS * 8760
    require_tidy(config)
    assert submit(config_path).wait(SUBMIT_LIMIT_S) == 0
    summary = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert summary["run"]["outcome"] == "unchanged"
