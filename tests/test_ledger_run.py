"""Every run enters itself into the ledger, however it ends; `runs` and `discrepancies` print it."""

from __future__ import annotations

import json
import signal
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from oedi_spark import pipeline
from oedi_spark.cli_ledger import discrepancies, runs
from oedi_spark.config import RunConfig, load_config
from oedi_spark.contracts import Partition, RunOrigin
from oedi_spark.errors import ConfigError, PublishError
from oedi_spark.lake.catalog import CatalogLocation
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.ledger import (
    Ledger,
    discrepancies_definition,
    open_ledger,
    runs_definition,
)
from oedi_spark.lake.schemas import TableDefinition
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, MakeConfig, ReadTable
from tests.lake.test_ledger import discrepancy_of, run_of
from tests.test_killed import SUBMIT_LIMIT_S, python_driver, submit, wait_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
R = "2024_comstock_amy2018_release_1"
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three buildings in CO, nothing wrong with them."""
    root = tmp_path_factory.mktemp("lake")
    write_sample_lake(root, SampleRequest((FOLDER,), buildings=3))
    return root


def ledger_runs(config: RunConfig, read_table: ReadTable) -> list[Row]:
    rows: list[Row] = read_table(config, "runs").to_pylist()
    return sorted(rows, key=lambda row: row["started_at_utc"])


def ledger_discrepancies(config: RunConfig, read_table: ReadTable) -> list[Row]:
    rows: list[Row] = read_table(config, "discrepancies").to_pylist()
    return sorted(rows, key=lambda row: (row["last_seen_utc"], row["key"], row["reason"]))


def test_complete_run_is_one_row_with_its_figures_and_no_discrepancy(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(lake, CO, usd_per_core_hour=3600.0)
    before = datetime.now(UTC).replace(tzinfo=None)

    summary = pipeline.run(config, spark, origin=RunOrigin("jr_1", "oedi-dev", "wr_1"))

    assert summary.exit_code == 0
    (row,) = ledger_runs(config, read_table)
    figures = ("partition_count", "files_listed", "files_uploaded", "files_lost")
    assert [row[name] for name in figures] == [1, 3, 3, 0]
    assert (row["hours_published"], row["metadata_rows_published"]) == (3 * 8760, 3)
    assert (row["outcome"], row["exit_code"], row["error"]) == ("published", 0, None)
    assert (row["engine"], row["spark_version"]) == ("arrow", "3.5.6")
    assert (row["job_run_id"], row["workflow_run_id"]) == ("jr_1", "wr_1")
    assert {
        f"oedi.{table}": row[f"{table}_snapshot_id"]
        for table in ("hourly", "metadata", "building_weights", "columns", "sources")
    } == summary.snapshot_ids
    cores = spark.result().sparkContext.defaultParallelism
    assert row["core_count"] == cores
    assert row["cost_estimate_usd"] == pytest.approx(cores * row["total_s"])
    assert before <= row["started_at_utc"] < row["finished_at_utc"]
    took = row["finished_at_utc"] - row["started_at_utc"]
    assert took == pytest.approx(timedelta(seconds=row["total_s"]), abs=timedelta(microseconds=2))
    assert RunConfig.model_validate_json(row["config_json"]) == config
    none_yet = read_table(config, "discrepancies")
    assert (none_yet.num_rows, none_yet.column_names[0]) == (0, "run_id")  # there, and empty
    assert not list(Path(config.warehouse_root).rglob("_leases/*"))


def test_files_that_fail_are_on_record_until_a_run_finds_them_mended(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    traps = (Trap.TRUNCATED_FILE, Trap.NOT_PARQUET)
    report = write_sample_lake(
        tmp_path / "lake", SampleRequest((FOLDER,), buildings=6, traps=traps)
    )
    config = make_config(tmp_path / "lake", CO, max_failed_fraction=0.5)
    keys = {str(name): key for key, name in report.trapped.items()}
    first = pipeline.run(config, spark)
    second = pipeline.run(config, spark)

    assert (first.exit_code, second.exit_code) == (6, 6)
    found = ledger_discrepancies(config, read_table)
    assert [row["run_id"] for row in found] == [first.run_id] * 2 + [second.run_id] * 2
    assert {(row["key"], row["reason"], row["stage"]) for row in found[:2]} == {
        (keys["truncated_file"], "truncated", "rollup"),
        (keys["not_parquet"], "not_parquet", "rollup"),
    }
    assert {(row["release"], row["state"], row["upgrade"]) for row in found} == {(R, "CO", 0)}
    assert all(row["etag"] for row in found)
    for early, late in zip(found[:2], found[2:], strict=True):
        assert (late["key"], late["first_seen_utc"]) == (early["key"], early["first_seen_utc"])
        assert early["first_seen_utc"] == early["last_seen_utc"] < late["last_seen_utc"]
    path = write_config(config, tmp_path)
    assert len(printed_json(discrepancies, path)) == 2
    assert len(printed_json(discrepancies, path, "--open")) == 2

    whole = tmp_path / "whole"
    write_sample_lake(whole, SampleRequest((FOLDER,), buildings=6))
    for key in keys.values():
        (tmp_path / "lake" / key).write_bytes((whole / key).read_bytes())
    third = pipeline.run(config, spark)

    assert third.exit_code == 0
    assert printed_json(discrepancies, path, "--open") == []
    assert len(printed_json(discrepancies, path)) == 2
    assert [row["discrepancy_count"] for row in printed_json(runs, path)] == [0, 2, 2]
    assert [row["files_lost"] for row in printed_json(runs, path)] == [0, 2, 2]


def test_run_without_source_files_is_on_record_as_failed(
    tmp_path: Path, make_config: MakeConfig, read_table: ReadTable
) -> None:
    (tmp_path / "lake").mkdir()
    config = make_config(tmp_path / "lake", CO)
    never: Future[SparkSession] = Future()

    summary = pipeline.run(config, never)

    assert summary.exit_code == 3
    (row,) = ledger_runs(config, read_table)
    assert (row["exit_code"], row["outcome"], row["error"]) == (3, "not published", summary.error)
    assert (row["spark_version"], row["core_count"], row["hourly_snapshot_id"]) == (None,) * 3
    assert read_table(config, "hourly").num_rows == 0


def test_run_that_gave_way_to_another_is_on_record(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(lake, CO)
    place = pipeline.catalog_location(config)
    LeaseBook(place.database_uri).renew("run-alive", [Partition(R, "CO", 0)])

    assert pipeline.run(config, spark).exit_code == 5

    (row,) = ledger_runs(config, read_table)
    assert (row["exit_code"], row["files_listed"], row["files_lost"]) == (5, 3, 3)
    assert "run run-alive is replacing" in row["error"]
    assert [(x["reason"], x["detail"]) for x in ledger_discrepancies(config, read_table)] == [
        ("not_reached", "1 metadata file(s): the run ended before they were read"),
        ("not_reached", "3 file(s): the run ended before they were read"),
    ]
    left = Path(place.database_uri.removeprefix("file://")) / "_leases"
    assert [path.name for path in left.iterdir()] == ["run-alive.json"]


@pytest.mark.parametrize(
    ("fault", "exit_code", "error"),
    [(SystemExit(143), 143, "143"), (RuntimeError("nobody foresaw it"), 1, "nobody foresaw it")],
)
def test_run_that_ends_by_something_else_is_on_record_and_the_fault_goes_on(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    exit_code: int,
    error: str,
) -> None:
    config = make_config(lake, CO)

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(pipeline, "_publish", fail)
    with pytest.raises(type(fault)):
        pipeline.run(config, spark)

    (row,) = ledger_runs(config, read_table)
    assert (row["exit_code"], row["error"], row["hours_published"]) == (exit_code, error, 0)
    reasons = {row["reason"] for row in ledger_discrepancies(config, read_table)}
    assert reasons == {"not_committed"}


def test_run_that_is_asked_to_end_enters_itself_before_it_does(
    tmp_path: Path, read_table: ReadTable
) -> None:
    write_sample_lake(tmp_path / "lake", SampleRequest((FOLDER,), buildings=24))
    document = {
        "src_bucket": str(tmp_path / "lake"),
        "output_dir": str(tmp_path / "out"),
        "job_specific": [CO],
        "settings": {"log_dir": str(tmp_path / "logs"), "row_group_buildings": 2},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    run = submit(path)
    data = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    wait_for(data, "**/*.parquet", set(), run)

    python_driver(run.pid).send_signal(signal.SIGTERM)

    assert run.wait(SUBMIT_LIMIT_S) == 143
    (row,) = ledger_runs(load_config(path), read_table)
    assert (row["exit_code"], row["outcome"], row["files_listed"]) == (143, "not published", 24)


def break_ledger(*_: object, **__: object) -> None:
    raise ConnectionError("no route to the catalog")


def test_ledger_that_cannot_be_reached_is_a_warning_and_the_outcome_stays(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(lake, CO)
    monkeypatch.setattr("oedi_spark.lake.ledger.open_catalog", break_ledger)

    assert pipeline.run(config, spark).exit_code == 0

    said = "".join(capsys.readouterr()) + caplog.text  # a command before may have set logs up
    assert "run not entered into the ledger" in said
    assert "ConnectionError: no route to the catalog" in said
    assert read_table(config).num_rows == 3 * 8760
    assert read_table(config, "runs").num_rows == 0


@pytest.mark.parametrize("broken", ["first_seen", "append"])
def test_discrepancies_that_cannot_be_entered_leave_the_row_of_the_run(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    config = make_config(lake, CO | {"upgrades": "0,7"})
    append = Ledger.append

    def append_runs_alone(ledger: Ledger, definition: TableDefinition, rows: list[Row]) -> None:
        if definition.name == "discrepancies":
            break_ledger()
        append(ledger, definition, rows)

    if broken == "append":
        monkeypatch.setattr(Ledger, "append", append_runs_alone)
    else:
        monkeypatch.setattr(Ledger, "first_seen", break_ledger)

    assert pipeline.run(config, spark).exit_code == 6

    (row,) = ledger_runs(config, read_table)
    assert row["discrepancy_count"] == 2
    rows = 0 if broken == "append" else 2
    assert read_table(config, "discrepancies").num_rows == rows


# ---- the commands, over a small ledger that the lake's own functions wrote


HOSTILE = "k/[red]1[/red]\x1b[2J\n-0.parquet"
MAY = datetime(2026, 5, 1, 6, 30)


def write_config(config: RunConfig, folder: Path) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
    return path


@pytest.fixture
def kept(make_config: MakeConfig, tmp_path: Path) -> Path:
    """Two runs: the first found one thing in AZ and one in CO, the second, of CO, the last."""
    config = make_config(tmp_path, CO)
    place = pipeline.catalog_location(config)
    text = config.model_dump_json(by_alias=True)
    for run_id, day, states, keys in (
        ("run-1", 1, "*", (("AZ", "k/az"), ("CO", HOSTILE))),
        ("run-2", 2, "CO", (("CO", HOSTILE),)),
    ):
        seen = MAY + timedelta(days=day - 1)
        more = {"config_json": text.replace('"state":["CO"]', f'"state":["{states}"]')}
        row = run_of(run_id) | more | {"started_at_utc": seen, "error": "one\ntwo", "exit_code": 5}
        found = [
            discrepancy_of(run_id, key, MAY, release=R, state=state, last_seen_utc=seen)
            for state, key in keys
        ]
        enter(place, run_id, row, found)
    return write_config(config, tmp_path)


def enter(place: CatalogLocation, run_id: str, row: Row, found: list[Row]) -> None:
    with open_ledger(place, run_id) as ledger:
        ledger.append(discrepancies_definition(), found)
        ledger.append(runs_definition(), [row])


def invoke(command: Any, config: Path, *arguments: str) -> Result:  # noqa: ANN401 - either command
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, ["--config", str(config), *arguments])


def printed(command: Any, config: Path, *arguments: str) -> list[str]:  # noqa: ANN401 - as above
    """The lines of the output, blanks made one."""
    result = invoke(command, config, *arguments)
    assert (result.exception, result.exit_code) == (None, 0)
    return [" ".join(line.split()) for line in result.output.splitlines()]


def printed_json(command: Any, config: Path, *arguments: str) -> list[Row]:  # noqa: ANN401 - as above
    rows: list[Row] = json.loads(invoke(command, config, "--json", *arguments).output)
    return rows


def test_runs_prints_the_newest_first_and_why_they_failed(kept: Path) -> None:
    assert printed(runs, kept) == [
        "run started (UTC) took exit outcome partitions files lost hours discrepancies USD",
        "run-2 2026-05-02 06:30 1.5 s 5 text 7 7 of 7 7 7 7",
        "run-1 2026-05-01 06:30 1.5 s 5 text 7 7 of 7 7 7 7",
        "run-2: one",
        "run-1: one",
        "2 of 2 runs",
    ]
    assert printed(runs, kept, "--last", "1")[-1] == "1 of 2 runs"


def test_runs_as_json_has_every_column_and_says_utc(kept: Path) -> None:
    (newest,) = printed_json(runs, kept, "--last", "1")

    assert list(newest) == [field.name for field in runs_definition().schema.fields]
    assert newest["started_at_utc"] == "2026-05-02T06:30:00Z"
    assert newest["error"] == "one\ntwo"


def test_discrepancies_prints_the_newest_word_on_each_thing_escaped(kept: Path) -> None:
    assert printed(discrepancies, kept) == [
        "release state upgrade key stage reason detail first seen (UTC) last seen (UTC)",
        f"{R} AZ 0 k/az reader truncated two\\nlines 2026-05-01 06:30 2026-05-01 06:30",
        (
            f"{R} CO 0 k/[red]1[/red]\\x1b[2J\\n-0.parquet reader truncated two\\nlines"
            " 2026-05-01 06:30 2026-05-02 06:30"
        ),
        "2 discrepancies",
    ]
    assert "\x1b" not in invoke(discrepancies, kept, "--json").output


def test_discrepancies_of_one_run_of_one_reason_and_still_open(kept: Path) -> None:
    def found(*arguments: str) -> list[tuple[str, str]]:
        rows = printed_json(discrepancies, kept, *arguments)
        return [(row["run_id"], row["state"]) for row in rows]

    assert found("--run", "run-1") == [("run-1", "AZ"), ("run-1", "CO")]
    assert found("--open") == [("run-1", "AZ"), ("run-2", "CO")]
    assert found("--reason", "truncated") == [("run-1", "AZ"), ("run-2", "CO")]
    assert found("--reason", "not_found") == []
    assert printed(discrepancies, kept, "--reason", "not_found") == ["0 discrepancies"]


def test_discrepancies_of_a_run_that_never_was_is_refused(kept: Path) -> None:
    error = invoke(discrepancies, kept, "--run", "run-9\n").exception

    assert isinstance(error, ConfigError)
    assert error.faults == ("the ledger has no run run-9\\n; `oedi-spark runs` lists them",)


def test_discrepancies_of_one_run_and_open_exclude_each_other(kept: Path) -> None:
    assert isinstance(invoke(discrepancies, kept, "--run", "x", "--open").exception, ConfigError)


def test_commands_before_any_run_say_what_to_do(make_config: MakeConfig, tmp_path: Path) -> None:
    path = write_config(make_config(tmp_path, CO), tmp_path)
    for command in (runs, discrepancies):
        error = invoke(command, path).exception
        assert isinstance(error, PublishError)
        assert "run `oedi-spark run` first" in str(error)
    assert [each.name for each in tmp_path.iterdir()] == ["run.yaml"]
