"""Who took which run back is in the ledger, beside the runs themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from pyiceberg.table import Table
from typer.testing import CliRunner, Result

from oedi_spark.cli import app
from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.lake import rollback as rollback_module
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.ledger import read_runs
from oedi_spark.lake.rollback_plan import RollbackError, TablePlan
from oedi_spark.lake.schemas import sources_definition
from oedi_spark.lake.writer import replace_partitions
from oedi_spark.tracking.ledger import still_open

RELEASE = "2024_comstock_amy2018_release_1"
CO = Partition(RELEASE, "CO", 0)
FIRST, SECOND = "20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb"

Stage = Callable[[Table, Partition, float, str], StagedFile]


@pytest.fixture
def config_path(place: CatalogLocation, tmp_path: Path) -> Path:
    """A config of the tables of this test."""
    job = {"release_year": "2024", "release_name": "comstock_amy2018_release_1", "state": "CO"}
    document = {
        "src_bucket": str(tmp_path),
        "output_dir": str(tmp_path / "out"),
        "job_specific": [job | {"upgrades": "0"}],
        "catalog": {
            "uri": place.uri,
            "database": place.database,
            "warehouse_dir": place.warehouse_uri.removeprefix("file://"),
        },
        "settings": {"log_dir": str(tmp_path / "logs")},
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def twice(hourly: Table, stage: Stage) -> Table:
    """Hours that two runs have published, one after the other."""
    for value, run_id in ((1.5, FIRST), (2.5, SECOND)):
        replace_partitions(hourly, [CO], [stage(hourly, CO, value, run_id)], run_id=run_id)
    return hourly


def command(config: Path, run_id: str, *options: str) -> Result:
    arguments = ["rollback", "--config", str(config), "--run", run_id, *options]
    return CliRunner().invoke(app, arguments)


def test_rollback_leaves_a_row_with_its_own_id_and_the_snapshots_that_it_made(
    place: CatalogLocation, twice: Table, config_path: Path
) -> None:
    assert command(config_path, SECOND, "--dry-run").exit_code == 0
    assert command(config_path, SECOND).exit_code == 0

    (row,) = read_runs(place)
    made = twice.refresh().current_snapshot()
    assert made is not None
    assert made.summary is not None
    assert row["run_id"] == made.summary.additional_properties["oedi-spark.run-id"]
    assert row["run_id"] not in (FIRST, SECOND)
    assert (row["outcome"], row["exit_code"], row["error"]) == (f"rolled back {SECOND}", 0, None)
    assert (row["hourly_snapshot_id"], row["sources_snapshot_id"]) == (made.snapshot_id, None)
    assert (row["partition_count"], row["files_listed"], row["hours_published"]) == (0, 0, 0)
    assert json.loads(str(row["config_json"]))["job_specific"][0]["upgrades"] == "0"
    began, ended = row["started_at_utc"], row["finished_at_utc"]
    assert isinstance(began, datetime)
    assert isinstance(ended, datetime)
    assert began < ended
    assert twice.scan().to_arrow()["total_kwh"].to_pylist() == [1.5] * 4


def test_rollback_that_changes_nothing_leaves_no_row_and_is_not_taken_back_itself(
    place: CatalogLocation, twice: Table, config_path: Path
) -> None:
    refused = command(config_path, FIRST)
    assert "later work on its partitions would be lost" in str(refused.exception)
    assert command(config_path, SECOND).exit_code == 0
    (row,) = read_runs(place)

    again = command(config_path, SECOND)
    of_itself = command(config_path, str(row["run_id"]))

    assert again.exit_code == 0
    assert "rolled back already: nothing to do" in again.output
    assert f"it is itself the rollback of run {SECOND}" in str(of_itself.exception)
    assert len(read_runs(place)) == 1
    assert twice.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [1.5] * 4


def test_rollback_that_stops_between_two_tables_is_told_as_partly_done(
    place: CatalogLocation, twice: Table, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours are returned, the records that come after them are not."""
    sources = open_table(open_catalog(place), place, sources_definition())
    replace_partitions(sources, [CO], [], run_id=SECOND)
    commit = rollback_module._commit

    def stop(each: TablePlan, *rest: object) -> None:
        if each.name == "sources":
            raise RollbackError(SECOND, "the catalog is on fire", ["hourly"])
        commit(each, *rest)  # type: ignore[arg-type] # as it was called

    with monkeypatch.context() as patch:
        patch.setattr(rollback_module, "_commit", stop)
        stopped = command(config_path, SECOND)
    completed = command(config_path, SECOND)

    assert "the catalog is on fire" in str(stopped.exception)
    assert completed.exit_code == 0
    last, first = read_runs(place)
    assert (first["outcome"], first["exit_code"]) == (f"partly rolled back {SECOND}", 5)
    assert "It is in hourly; run the same command again" in str(first["error"])
    assert first["hourly_snapshot_id"] is not None
    assert (last["outcome"], last["hourly_snapshot_id"]) == (f"rolled back {SECOND}", None)
    assert last["sources_snapshot_id"] is not None


@pytest.mark.parametrize("fault", ["the lease stays", "the snapshots are not read"])
def test_rollback_that_is_done_is_entered_whatever_fails_afterwards(
    place: CatalogLocation,
    twice: Table,
    config_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("closed")

    with monkeypatch.context() as patch:
        if fault == "the lease stays":
            patch.setattr(LeaseBook, "release", refuse)
        else:
            patch.setattr("oedi_spark.rollback_run.load_tables", refuse)
        done = command(config_path, SECOND)

    assert (done.exit_code, done.exception) == (0, None)
    (row,) = read_runs(place)
    assert (row["outcome"], row["exit_code"]) == (f"rolled back {SECOND}", 0)
    assert twice.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [1.5] * 4


def test_open_discrepancies_are_those_of_the_newest_run_that_was_not_taken_back() -> None:
    job = {"release_year": "2024", "release_name": "comstock_amy2018_release_1", "state": "CO"}
    asked = json.dumps({"job_specific": [job | {"upgrades": "0"}]})

    def run(run_id: str, outcome: str, partitions: int) -> dict[str, object]:
        began = f"2026-01-0{run_id} 00:00:00"
        told = {"run_id": run_id, "started_at_utc": began, "outcome": outcome}
        return told | {"partition_count": partitions, "config_json": asked}

    def row(run_id: str, reason: str) -> dict[str, object]:
        named = {"release": RELEASE, "state": "CO", "upgrade": 0, "key": "k"}
        return named | {"run_id": run_id, "reason": reason}

    rows = [row("1", "no_series"), row("2", "no_metadata")]
    runs = [run("1", "published with discrepancies", 1), run("2", "published", 1)]

    assert still_open(runs, rows) == [rows[1]]
    assert still_open([*runs, run("3", "rolled back 2", 0)], rows) == [rows[0]]
    assert still_open([*runs, run("3", "partly rolled back 2", 0)], rows) == [rows[1]]
