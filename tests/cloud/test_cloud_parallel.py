"""Several runs at once into one table, and one that is killed between staging and commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.lake.files import read_whole, write_whole
from oedi_spark.lake.lease import LEASE_TTL_S, LeaseBook
from oedi_spark.session import submit_environment
from oedi_spark.tracking.summary import RunSummary
from tests.cloud.cloud import CREDENTIALS, STATES, Cloud
from tests.conftest import PROJECT, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RELEASE = "2024_comstock_amy2018_release_1"
HOURS = 2 * 8760
SUBMIT_LIMIT_S = 120


def rows_by_state(config: RunConfig) -> dict[str, tuple[int, int]]:
    """(rows, different building-hours) of each state in the table."""
    place = pipeline.catalog_location(config)
    table = open_catalog(place).load_table((place.database, "hourly"))
    columns = ("state", "bldg_id", "hour_start")
    found: dict[str, tuple[int, int]] = {}
    for state in STATES:
        rows = table.scan(row_filter=f"state = '{state}'", selected_fields=columns).to_arrow()
        unique = rows.group_by(["bldg_id", "hour_start"]).aggregate([])
        found[state] = (rows.num_rows, unique.num_rows)
    return found


def test_eight_runs_of_eight_states_at_once_give_all_rows_and_none_twice(
    cloud: Cloud, bucket: str, cloud_spark: Future[SparkSession], tmp_path: Path
) -> None:
    configs = [cloud.config(bucket, tmp_path / state, state=state) for state in STATES]
    refused_before = cloud.refusals()

    with ThreadPoolExecutor(len(configs)) as pool:
        summaries = list(pool.map(lambda config: pipeline.run(config, cloud_spark), configs))

    assert [(each.exit_code, each.error) for each in summaries] == [(0, None)] * 8
    assert rows_by_state(configs[0]) == dict.fromkeys(STATES, (HOURS, HOURS))
    assert cloud.refusals() > refused_before  # they did get in each other's way
    assert not [key for key in cloud.keys(bucket) if "/_leases/" in key]


def test_two_runs_of_one_partition_serialise_or_one_gives_way(
    cloud: Cloud, bucket: str, cloud_spark: Future[SparkSession], tmp_path: Path
) -> None:
    configs = [cloud.config(bucket, tmp_path / name, state="CO") for name in ("a", "b")]
    assert pipeline.run(configs[0], cloud_spark).exit_code == 0

    def run_again(config: RunConfig) -> RunSummary:
        return pipeline.run(config, cloud_spark, redo=Redo(force=True))

    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(run_again, configs))

    for each in summaries:
        assert each.exit_code in (0, 5)
        said = ("is replacing", "while this run listed its source")
        assert each.exit_code == 0 or any(words in str(each.error) for words in said)
    assert rows_by_state(configs[0])["CO"] == (HOURS, HOURS)


def test_lease_of_a_living_run_elsewhere_refuses_and_an_old_one_does_not(
    cloud: Cloud, bucket: str, cloud_spark: Future[SparkSession], tmp_path: Path
) -> None:
    config = cloud.config(bucket, tmp_path / "logs", state="CO")
    place = pipeline.catalog_location(config)
    database_uri = f"{place.warehouse_uri}/{place.database}"
    LeaseBook(database_uri, place.access).renew("run-elsewhere", [Partition(RELEASE, "CO", 0)])
    lease = f"{database_uri}/_leases/run-elsewhere.json"
    text = read_whole(lease, place.access).decode()
    here = yaml.safe_load(text)["machine"]
    elsewhere = text.replace(here, "another-machine")
    write_whole(lease, elsewhere.encode(), place.access)

    refused = pipeline.run(config, cloud_spark)

    assert refused.exit_code == 5
    assert "run run-elsewhere is replacing" in str(refused.error)
    renewed = yaml.safe_load(elsewhere)["renewed_at_s"]
    old = elsewhere.replace(str(renewed), str(renewed - LEASE_TTL_S - 1))
    write_whole(lease, old.encode(), place.access)
    assert pipeline.run(config, cloud_spark).exit_code == 0
    left = [key for key in cloud.keys(bucket) if "/_leases/" in key]
    assert [key.rsplit("/", 1)[1] for key in left] == ["run-elsewhere.ended"]


def test_lease_that_was_swept_is_not_made_anew(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oedi_spark.lake.lease.RENEW_EVERY_S", 0.5)
    leases = LeaseBook(f"s3://{bucket}/db", cloud.access)
    held = [Partition(RELEASE, "CO", 0)]
    lease = f"s3://{bucket}/db/_leases/run-1.json"
    leases.acquire("run-1", held)
    first = read_whole(lease, cloud.access)
    with leases.kept_alive("run-1", held):
        deadline = time.monotonic() + 20
        while read_whole(lease, cloud.access) == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (
            read_whole(lease, cloud.access) != first
        )  # it was renewed, and is so half a second on
        leases.release("run-1")
        time.sleep(1)
    assert cloud.keys(bucket) == set()
    with pytest.raises(PublishError, match="its lease is gone"):
        leases.require_held("run-1")


def test_run_killed_between_staging_and_commit_leaves_the_table_and_nothing_else_in_the_end(
    cloud: Cloud, cloud_spark: Future[SparkSession], read_table: ReadTable, tmp_path: Path
) -> None:
    bucket, first, config, staged = kill_before_commit(cloud, cloud_spark, read_table, tmp_path)
    before = read_table(first)
    lying = cloud.keys(bucket)
    assert staged <= lying
    assert len([key for key in lying if "/_leases/" in key]) == 1
    # One that claims none of its partitions leaves what was finished to one that does.
    assert pipeline.run(first, cloud_spark).outcome == "unchanged"
    assert read_table(first).equals(before)
    again = pipeline.run(config, cloud_spark)
    assert again.exit_code == 0
    assert read_table(config).num_rows == 5 * HOURS
    place = pipeline.catalog_location(config)
    hourly = open_catalog(place).load_table((place.database, "hourly"))
    named = {task.file.file_path for task in hourly.scan().plan_files()}
    swept = {f"s3://{bucket}/{key}" for key in cloud.keys(bucket)}
    assert {uri for uri in swept if "/hourly/data/" in uri} == named
    assert not [uri for uri in swept if "/_leases/" in uri or "/_staged/" in uri]


def kill_before_commit(
    cloud: Cloud, cloud_spark: Future[SparkSession], read_table: ReadTable, folder: Path
) -> tuple[str, RunConfig, RunConfig, set[str]]:
    """A bucket with a table, the run that made it, one that was killed, and what that staged.

    On a busy machine a kill may come after the commit: then the table has all of it, and another
    bucket is tried.
    """
    for attempt in range(4):
        bucket, logs = cloud.make_bucket(), folder / str(attempt)
        first = cloud.config(bucket, logs / "first", state="CO")
        assert pipeline.run(first, cloud_spark).exit_code == 0
        before = read_table(first)
        config = cloud.config(bucket, logs, state=list(STATES[:5]))
        published = cloud.keys(bucket)
        path = logs / "run.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
        process = submit(path)
        staged = wait_for_hours(cloud, bucket, published, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(SUBMIT_LIMIT_S)
        if read_table(first).equals(before):
            return bucket, first, config, staged
        assert read_table(config).num_rows == 5 * HOURS
    pytest.fail("every kill came after the commit")


def submit(config: Path) -> subprocess.Popen[bytes]:
    """Start the job as a user does, in a process group of its own."""
    command = Path(sys.executable).with_name("spark-submit")
    environment = os.environ | submit_environment() | dict(CREDENTIALS)
    return subprocess.Popen(
        [str(command), str(PROJECT / "spark_jobs" / "etl.py"), "--config", str(config)],
        env=environment | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_hours(
    cloud: Cloud, bucket: str, known: set[str], process: subprocess.Popen[bytes]
) -> set[str]:
    """The files of hours that were staged first, while the run still goes on."""
    deadline = time.monotonic() + SUBMIT_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        new = {key for key in cloud.keys(bucket) - known if "/hourly/data/" in key}
        if new:
            return new
        time.sleep(0.02)
    pytest.fail(f"nothing was staged; the job ended with {process.poll()}")
