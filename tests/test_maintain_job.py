"""Maintenance as people and Glue start it: a whole pass, its report, and a death in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from oedi_spark import maintenance, pipeline
from oedi_spark.cli import run_maintenance
from oedi_spark.cli_maintain import maintenance_command
from oedi_spark.config import RunConfig
from oedi_spark.config_json import to_yaml
from oedi_spark.config_sections import MaintenanceConfig
from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_maintenance import MaintenanceStep
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import ConfigError
from oedi_spark.lake.catalog import field_ids, open_catalog, open_table
from oedi_spark.lake.owned import TABLES
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.lake.staging import stage_table
from oedi_spark.lake.writer import replace_partitions
from oedi_spark.pipeline import catalog_location
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import PROJECT, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JOB = PROJECT / "spark_jobs" / "maintain.py"
LIMIT_S = 120
CO = Partition("2024_comstock_amy2018_release_1", "CO", 0)
TOTAL = Column("total_kwh", "total", "kwh", "sum", known=True)
KEEP_ONE = MaintenanceConfig(
    snapshot_retention_days=0, snapshots_to_keep=1, orphan_age_days=1, compaction_min_files=2
)


@pytest.fixture
def config(make_config: MakeConfig, tmp_path: Path) -> RunConfig:
    """A run whose maintenance keeps one snapshot and compacts two files."""
    return make_config(tmp_path / "lake").model_copy(update={"maintenance": KEEP_ONE})


@pytest.fixture
def config_file(config: RunConfig, tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(to_yaml(config), "utf-8")
    return path


@pytest.fixture
def hourly(config: RunConfig) -> Table:
    """Two snapshots; the newest has buildings 1, 2 and 3 in a file each."""
    place = catalog_location(config)
    table = open_table(open_catalog(place), place, hourly_definition([TOTAL]))
    for run_id in ("20260101T000000Z-00000001", "20260102T000000Z-00000002"):
        staged = []
        for bldg_id in (1, 2, 3):
            rows = pa.table(
                {
                    "release": [CO.release],
                    "state": [CO.state],
                    "upgrade": pa.array([CO.upgrade], pa.int32()),
                    "bldg_id": [bldg_id],
                    "hour_start": pa.array([datetime(2018, 1, 1)], pa.timestamp("us")),
                    "total_kwh": [bldg_id / 2],
                }
            )
            uri = f"{table.location()}/data/{CO}/{run_id}-{bldg_id:05d}-0123456789ab.parquet"
            staged.append(stage_table(uri, CO, rows, field_ids(table)))
        replace_partitions(table, [CO], staged, run_id=run_id)
    return table.refresh()


def stored(table: Table) -> set[str]:
    """Every file below the table's folder, relative to it."""
    root = Path(table.location().removeprefix("file://"))
    return {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()}


def contents(table: Table) -> list[tuple[int, float]]:
    rows = table.refresh().scan().to_arrow().to_pydict()
    return sorted(zip(rows["bldg_id"], rows["total_kwh"], strict=True))


def submit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(JOB), *arguments],
        env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


ROWS = [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_job_as_glue_starts_it_maintains_every_table_without_spark(
    hourly: Table, config_file: Path
) -> None:
    ended = submit(
        *("--job-bookmark-option", "job-bookmark-disable", "--enable-metrics", ""),
        *("--JOB_NAME", "oedi-dev-maintain", "--JOB_RUN_ID", "jr_1"),
        *("--python-modules-installer-option", "--no-index"),
        *("--dry-run", "false", "--config", str(config_file)),
    )

    assert ended.returncode == 0, ended.stderr
    assert "3 files of release=2024_comstock_amy2018_release_1/state=CO/upgrade=0" in ended.stdout
    assert "3 rows became 1" in ended.stdout
    assert "snapshots that expired: 2" in ended.stdout
    assert "event='maintenance ended'" in ended.stderr
    assert "java" not in ended.stderr.lower()
    assert contents(hourly) == ROWS
    assert len(hourly.snapshots()) == 1
    data = [name for name in stored(hourly) if name.startswith("data/")]
    assert len(data) == 1
    assert "-maintain-c00000-" in data[0]


def test_job_dry_run_names_every_file_and_changes_nothing(hourly: Table, config_file: Path) -> None:
    before = stored(hourly)
    old = sorted(name for name in before if "20260101T000000Z-00000001-" in name)

    ended = submit("--dry-run", "true", "--config", str(config_file))

    assert ended.returncode == 0, ended.stderr
    assert "snapshots that would expire: 1" in ended.stdout
    for name in old:
        size = (Path(hourly.location().removeprefix("file://")) / name).stat().st_size
        assert f"{hourly.location()}/{name} {size:,}" in ended.stdout
    assert stored(hourly) == before
    assert len(hourly.refresh().snapshots()) == 2


@pytest.mark.parametrize("place", ["rewrite", "delete"])
def test_maintenance_that_is_killed_leaves_the_rows_and_the_next_leaves_only_what_is_named(
    hourly: Table, config: RunConfig, config_file: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after a rewritten file is there and before it is committed; or after the expiry."""
    target = {"rewrite": "compaction._commit", "delete": "expiry.delete_owned"}[place]
    program = (
        "import os, signal, sys\n"
        f"from oedi_spark.lake import {target.split('.')[0]} as module\n"
        f"module.{target.split('.')[1]} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from oedi_spark.cli import run_maintenance\n"
        "run_maintenance(sys.argv[1:])\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, f"--config={config_file}"],
        env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert contents(hourly) == ROWS
    root = Path(hourly.location().removeprefix("file://"))
    for name in stored(hourly):
        os.utime(root / name, (0, 0))

    maintenance.maintain(config)

    assert contents(hourly) == ROWS
    [snapshot] = hourly.refresh().snapshots()
    named = {hourly.metadata_location, snapshot.manifest_list}
    named |= {each.metadata_file for each in hourly.metadata.metadata_log}
    for manifest in snapshot.manifests(hourly.io):
        named.add(manifest.manifest_path)
        entries = manifest.fetch_manifest_entry(hourly.io, discard_deleted=True)
        named |= {entry.data_file.file_path for entry in entries}
    assert {f"{hourly.location()}/{name}" for name in stored(hourly)} == named


def test_maintenance_of_one_table_and_step_leaves_the_others(
    hourly: Table, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_maintenance(
            [
                "--config",
                str(config_file),
                "--only",
                "expiry",
                "--table",
                "hourly,columns",
                "--json",
            ]
        )
        == 0
    )

    report = json.loads(capsys.readouterr().out)
    assert report["tables"] == ["hourly"]
    assert [(each["table"], each["step"]) for each in report["steps"]] == [("hourly", "expiry")]
    assert len(report["steps"][0]["snapshots"]) == 1
    assert len(hourly.refresh().snapshots()) == 1


def test_maintenance_before_the_first_run_has_nothing_to_do(
    config_file: Path, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_maintenance(["--config", str(config_file)]) == 0

    assert "there is no table yet" in capsys.readouterr().out
    assert not Path(config.output_dir).exists()


def test_maintenance_of_a_table_that_lies_elsewhere_touches_none_and_exits_5(
    hourly: Table, config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = stored(hourly)
    hourly.catalog.create_table(
        ("oedi", "runs"), hourly.schema(), location=f"file://{tmp_path}/theirs"
    )

    assert run_maintenance(["--config", str(config_file)]) == 5

    said = " ".join(capfd.readouterr().err.split())
    assert "oedi.runs was not maintained: it lies at" in said
    assert stored(hourly) == before


def test_maintenance_of_a_folder_that_cannot_be_listed_exits_5(
    hourly: Table, config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = Path(hourly.location().removeprefix("file://"))
    root.rename(tmp_path / "moved")
    root.symlink_to(tmp_path / "moved")

    assert run_maintenance(["--config", str(config_file), "--only", "orphans"]) == 5

    assert "through a link" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--config", "a.yaml"], ["maintain", "--config=a.yaml"]),
        (
            ["--dry_run", "--only=expiry, orphans", "--config", "a"],
            ["maintain", "--dry-run", "--only=expiry,orphans", "--config=a"],
        ),
        (["--dry-run", "false", "--only", "", "--config=a"], ["maintain", "--only=", "--config=a"]),
        (["--table", " ,", "--config=a"], ["maintain", "--table=", "--config=a"]),
        (
            ["--table", "hourly,runs", "--state", "", "--config=a"],
            ["maintain", "--table=hourly", "--table=runs", "--config=a"],
        ),
        (["--help"], ["maintain", "--help"]),
    ],
)
def test_arguments_of_glue_are_those_of_the_command(
    arguments: Sequence[str], command: list[str]
) -> None:
    assert maintenance_command(arguments) == command


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--state", "CO", "--config", "a"], "--state is of a run"),
        (["--dry-run", "maybe"], "write true or false"),
        (["--drive-run"], "--drive-run is not known"),
    ],
)
def test_arguments_that_mean_nothing_here_are_refused(arguments: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        maintenance_command(arguments)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--only", "expire"], "expire is not known; did you mean expiry?"),
        (["--table", "hours"], "hours is not known"),
        (["--only", ","], "names no step; write some of compaction,expiry,orphans,metadata"),
        (["--only", ""], "names no step"),
        (["--only"], "names no step"),
        (["--table", ""], "names no table; write one of hourly, metadata"),
        (["--table", " , "], "names no table"),
    ],
)
def test_a_step_or_table_that_is_not_known_is_refused_with_exit_2(
    config_file: Path, option: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_maintenance(["--config", str(config_file), *option]) == 2
    assert said in " ".join(capfd.readouterr().err.split())


def test_small_files_larger_than_half_a_target_are_refused(config: RunConfig) -> None:
    document = config.model_dump(mode="json", by_alias=True)
    document["settings"]["target_file_bytes"] = 2 * 1024 * 1024
    document["maintenance"]["small_file_bytes"] = 1024 * 1024 + 1

    with pytest.raises(ValueError, match="small_file_bytes 1048577 is too large"):
        RunConfig.model_validate(document)


def test_maintenance_after_real_runs_leaves_every_table_as_it_reads(
    spark: Future[SparkSession],
    make_config: MakeConfig,
    read_table: ReadTable,
    tmp_path: Path,
) -> None:
    lake = tmp_path / "lake"
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(lake, SampleRequest((release,), states=("CO",), buildings=3))
    config = make_config(lake).model_copy(update={"maintenance": KEEP_ONE})
    for _ in range(2):
        assert pipeline.run(config, spark, redo=Redo(force=True)).exit_code == 0
    before = {name: digest(read_table(config, name)) for name in TABLES}

    time.sleep(0.01)
    planned = maintenance.maintain(config, is_dry_run=True)
    report = maintenance.maintain(config)

    assert {name: digest(read_table(config, name)) for name in TABLES} == before
    assert before["hourly"][0] == 3 * 8760
    expired = {
        each.table: len(each.snapshots)
        for each in report.steps
        if each.step == MaintenanceStep.EXPIRY and each.snapshots
    }
    assert expired["hourly"] == 1
    assert report.tables == planned.tables
    again = maintenance.maintain(config)
    assert [each for each in again.steps if not each.is_idle] == []


def digest(rows: pa.Table) -> tuple[int, list[str]]:
    """Row count, and the rows in print and in order."""
    columns = rows.select(sorted(rows.column_names)).to_pydict().values()
    return rows.num_rows, sorted(map(repr, zip(*columns, strict=True)))
