"""The main job end to end on sample lakes: reruns, bad input, the gate, the summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table, Transaction

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Reason
from oedi_spark.contracts_resume import Redo
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, RESSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMSTOCK_FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
RESSTOCK_FOLDER = ReleaseFolder("2022", "resstock_amy2018_release_1")
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}
KEYS = [("release", "ascending"), ("state", "ascending"), ("upgrade", "ascending")]
ROWS = [*KEYS, ("bldg_id", "ascending"), ("hour_start", "ascending")]


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three ComStock buildings in CO and GA each, upgrades 0 and 1; nothing wrong with them."""
    root = tmp_path_factory.mktemp("small_lake")
    request = SampleRequest((COMSTOCK_FOLDER,), states=("CO", "GA"), upgrades=(0, 1), buildings=3)
    write_sample_lake(root, request)
    return root


def plant(root: Path, traps: Iterable[Trap], buildings: int) -> dict[str, str]:
    """A ComStock lake in CO with traps; returns {trap: key} of those planted on one file."""
    request = SampleRequest((COMSTOCK_FOLDER,), buildings=buildings, traps=tuple(traps))
    report = write_sample_lake(root, request)
    return {name: key for key, name in report.trapped.items()}


def test_run_twice_replaces_the_same_rows(
    small_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(small_lake, CO | {"state": ["CO", "GA"], "upgrades": "0-1"})

    first = pipeline.run(config, spark)
    once = read_table(config).sort_by(ROWS)
    second = pipeline.run(config, spark, redo=Redo(force=True))
    twice = read_table(config).sort_by(ROWS)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert once.num_rows == 2 * 2 * 3 * 8760
    assert twice.equals(once)
    assert first.snapshot_ids["oedi.hourly"] != second.snapshot_ids["oedi.hourly"]


def test_run_of_one_state_leaves_the_others_alone(
    small_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    pipeline.run(make_config(small_lake, CO | {"state": "GA"}), spark)
    config = make_config(small_lake, CO)

    pipeline.run(config, spark)

    counts = read_table(config).group_by("state").aggregate([("hour_start", "count")])
    assert sorted(tuple(row.values()) for row in counts.to_pylist()) == [
        ("CO", 3 * 8760),
        ("GA", 3 * 8760),
    ]


def test_run_of_two_releases_at_once_keeps_each_ones_columns(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((COMSTOCK_FOLDER, RESSTOCK_FOLDER), buildings=2))
    config = make_config(lake, CO, RESSTOCK | {"state": "CO", "upgrades": "*"})

    assert pipeline.run(config, spark).exit_code == 0

    hours = read_table(config)
    resstock = hours.filter(pc.equal(hours["release"], "2022_resstock_amy2018_release_1"))
    comstock = hours.filter(pc.equal(hours["release"], "2024_comstock_amy2018_release_1"))
    only_homes = "out_electricity_refrigerator_energy_consumption_kwh"
    assert resstock[only_homes].null_count == 0
    assert comstock[only_homes].null_count == comstock.num_rows == 2 * 8760


EXPECTED_REASONS = {
    Trap.TRUNCATED_FILE: Reason.TRUNCATED,
    Trap.NOT_PARQUET: Reason.NOT_PARQUET,
    Trap.EMPTY_FILE: Reason.EMPTY,
    Trap.ZERO_ROWS: Reason.NO_ROWS,
    Trap.MISSING_TIMESTAMP: Reason.MISSING_TIMESTAMP,
    Trap.MISSING_BLDG_ID: Reason.MISSING_BLDG_ID,
    Trap.CONTRADICTING_BLDG_ID: Reason.BLDG_ID_CONTRADICTS_NAME,
    Trap.IRREGULAR_STAMPS: Reason.STAMPS_IRREGULAR,
    Trap.DUPLICATE_STAMPS: Reason.STAMPS_DUPLICATED,
    Trap.UNSORTED_STAMPS: Reason.STAMPS_UNSORTED,
    Trap.WRONG_ROW_COUNT: Reason.WRONG_ROW_COUNT,
    Trap.STRING_COLUMN: Reason.NOT_NUMERIC,
}


def test_run_over_every_bad_file_gives_each_its_reason_and_publishes_the_rest(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    planted = plant(tmp_path / "lake", EXPECTED_REASONS, buildings=len(EXPECTED_REASONS) + 2)
    config = make_config(tmp_path / "lake", CO, max_failed_fraction=0.9)

    summary = pipeline.run(config, spark)

    lost = summary.data_files.missing_transforms
    assert summary.exit_code == 6
    assert {key: why.split(":")[0] for key, why in lost.items()} == {
        planted[trap]: reason.value for trap, reason in EXPECTED_REASONS.items()
    }
    assert summary.data_files.missing_fetches == {}
    assert (summary.data_files.listed, summary.data_files.uploaded) == (14, 2)
    assert read_table(config).num_rows == 2 * 8760


def test_run_meets_values_and_columns_that_are_odd_but_not_wrong(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    traps = (
        Trap.NAN_VALUES,
        Trap.NULL_VALUES,
        Trap.MISSING_COLUMNS,
        Trap.EXTRA_COLUMN,
        Trap.NULL_TYPE_COLUMN,
        Trap.MULTI_ROW_GROUPS,
    )
    planted = plant(tmp_path / "lake", traps, buildings=8)
    config = make_config(tmp_path / "lake", CO)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0
    assert read_table(config).num_rows == 8 * 8760
    assert set(summary.missing_values) == {planted[Trap.NAN_VALUES], planted[Trap.NULL_VALUES]}


def test_run_counts_files_that_vanish_or_change_after_the_plan(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    plant(tmp_path / "lake", (), buildings=4)
    config = make_config(tmp_path / "lake", CO, max_failed_fraction=0.5)
    found = pipeline.plan(config)
    gone, cut = (tmp_path / "lake" / file.key for file in found.index.files[:2])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])

    summary = pipeline.run(config, spark, ready_plan=found)

    reasons = {k: v.split(":")[0] for k, v in summary.data_files.missing_fetches.items()}
    assert summary.exit_code == 6
    assert reasons == {
        found.index.files[0].key: "not_found",
        found.index.files[1].key: "changed_since_listing",
    }
    assert read_table(config).num_rows == 2 * 8760


def test_run_holds_a_partition_back_when_too_many_of_its_files_fail(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    request = SampleRequest((COMSTOCK_FOLDER,), states=("CO", "GA"), buildings=3)
    write_sample_lake(lake, request)
    config = make_config(lake, CO | {"state": ["CO", "GA"]})
    pipeline.run(config, spark)
    before = read_table(config).sort_by(ROWS)
    broken = next(lake.glob("**/state=CO/*-0.parquet"))
    broken.write_bytes(b"PAR1 not any more")

    summary = pipeline.run(config, spark, redo=Redo(force=True))

    assert summary.exit_code == 4
    assert summary.outcome == "partly published"
    assert read_table(config).sort_by(ROWS).equals(before)
    assert len(summary.data_files.missing_transforms) == 1
    assert {why.split(":")[0] for why in summary.data_files.missing_uploads.values()} == {
        "partition_withheld"
    }
    stats = summary.data_files
    assert (stats.listed, stats.uploaded, len(stats.missing_uploads)) == (6, 3, 2)


def test_run_that_reads_a_column_late_loses_no_building(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    planted = plant(tmp_path / "lake", (Trap.EXTRA_COLUMN,), buildings=5)
    config = make_config(tmp_path / "lake", CO)
    odd = int(Path(planted[Trap.EXTRA_COLUMN]).stem.split("-")[0])
    source = pq.ParquetFile(tmp_path / "lake" / planted[Trap.EXTRA_COLUMN]).read()
    everyone = set(_any_other(tmp_path / "lake", odd).column_names)
    (extra,) = set(source.column_names) - everyone
    columns = {r["source_name"]: r["column_name"] for r in _dictionary(config, spark, read_table)}

    hours = read_table(config)

    has_it = hours.filter(pc.equal(hours["bldg_id"], odd))[columns[extra]]
    assert hours.num_rows == 5 * 8760
    assert pc.sum(has_it).as_py() == pytest.approx(pc.sum(source[extra]).as_py(), rel=1e-9)
    assert hours[columns[extra]].null_count == 4 * 8760


def _dictionary(
    config: RunConfig, spark: Future[SparkSession], read_table: ReadTable
) -> list[dict[str, str]]:
    assert pipeline.run(config, spark).exit_code == 0
    rows: list[dict[str, str]] = read_table(config, "columns").to_pylist()
    return rows


def _any_other(lake: Path, bldg_id: int) -> pa.Table:
    paths = sorted(lake.glob("**/by_state/**/*-0.parquet"))
    return pq.ParquetFile(next(p for p in paths if p.stem != f"{bldg_id}-0")).read()


def test_run_on_interval_beginning_files_puts_each_hour_where_it_belongs(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    ending, beginning = ReleaseFolder("2030", "comstock_a"), ReleaseFolder("2030", "comstock_b")
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((ending,), buildings=2))
    shutil.copytree(*_release_trees(lake, ending, beginning))
    for path in lake.glob("**/comstock_b/timeseries*/**/*.parquet"):
        _shift_stamps_to_beginning(path)
    jobs = [
        {"release_year": "2030", "release_name": n, "state": "CO", "upgrades": 0}
        for n in ("comstock_a", "comstock_b")
    ]
    config = make_config(lake, *jobs)

    assert pipeline.run(config, spark).exit_code == 0

    hours = read_table(config).sort_by(ROWS)
    a = hours.filter(pc.equal(hours["release"], "2030_comstock_a")).drop_columns("release")
    b = hours.filter(pc.equal(hours["release"], "2030_comstock_b")).drop_columns("release")
    assert a.num_rows == 2 * 8760
    assert a.combine_chunks().equals(b.combine_chunks())


def _release_trees(lake: Path, old: ReleaseFolder, new: ReleaseFolder) -> tuple[Path, Path]:
    (tree,) = lake.glob(f"**/{old.year}/{old.name}")
    return tree, tree.with_name(new.name)


def _shift_stamps_to_beginning(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    stamps = pc.subtract(table["timestamp"], pa.scalar(900_000_000_000, pa.duration("ns")))
    pq.write_table(table.set_column(0, "timestamp", stamps), path, version="2.6")


def test_run_refuses_stamps_that_contradict_the_release(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    plant(tmp_path / "lake", (Trap.INTERVAL_BEGINNING,), buildings=2)

    summary = pipeline.run(make_config(tmp_path / "lake", CO), spark)

    reasons = {why.split(":")[0] for why in summary.data_files.missing_transforms.values()}
    assert summary.exit_code == 4
    assert reasons == {"stamp_contradicts_release"}


@pytest.mark.parametrize(
    "trap", [Trap.FLOAT32, Trap.INT64_NANOS, Trap.UTC_STAMPS, Trap.DOUBLE_DOT_UNITS]
)
def test_run_reads_other_spellings_of_the_same_lake_alike(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    trap: Trap,
) -> None:
    plant(tmp_path / "plain", (), buildings=2)
    plant(tmp_path / "other", (trap,), buildings=2)
    config = make_config(tmp_path / "plain", CO)
    pipeline.run(config, spark)
    expected = read_table(config).sort_by(ROWS)

    other = make_config(tmp_path / "other", CO)
    assert pipeline.run(other, spark).exit_code == 0
    found = read_table(other).sort_by(ROWS)

    assert found.column_names == expected.column_names
    for name in expected.column_names:
        if trap is Trap.FLOAT32 and name.startswith("out_"):
            difference = pc.max(pc.abs(pc.subtract(found[name], expected[name]))).as_py()
            assert difference <= 1e-5 * max(1.0, pc.max(expected[name]).as_py())
        else:
            assert found[name].equals(expected[name]), name


def test_run_writes_the_summary_with_the_keys_that_users_read(
    small_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    config = make_config(small_lake, CO)

    summary = pipeline.run(config, spark)

    written = json.loads((tmp_path / "logs" / f"summary-{summary.run_id}.json").read_text())
    assert written == json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert written["time_stat"]["total_time_seconds"] > 0
    assert list(written)[:3] == ["time_stat", "data_files_stats", "metadata_files_stats"]
    assert written["data_files_stats"] == {
        "total_data_files_listed": 3,
        "total_data_files_uploaded": 3,
        "total_data_files_unchanged": 0,
        "total_data_files_verified": 0,
        "total_data_files_unverified": 3,
        "missing_data_fetches_count": 0,
        "missing_data_transforms_count": 0,
        "missing_data_uploads_count": 0,
        "missing_data_fetches_files": {},
        "missing_data_transforms_files": {},
        "missing_data_uploads_files": {},
    }
    assert set(written["metadata_files_stats"]) == {
        "total_metadata_files_listed",
        "total_metadata_files_uploaded",
        "total_metadata_files_unchanged",
        "total_metadata_files_verified",
        "total_metadata_files_unverified",
        "missing_metadata_fetches_count",
        "missing_metadata_bypasses_count",
        "missing_metadata_uploads_count",
        "missing_metadata_fetches_files",
        "missing_metadata_bypasses_files",
        "missing_metadata_uploads_files",
    }
    assert written["volume"]["rows_published"] == 3 * 8760
    assert written["metadata_files_stats"]["total_metadata_files_uploaded"] == 1
    assert set(written["snapshot_ids"]) == {
        "oedi.hourly",
        "oedi.columns",
        "oedi.sources",
        "oedi.metadata",
        "oedi.building_weights",
    }


def test_run_without_any_building_file_says_so_and_writes_its_ledger_alone(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    (tmp_path / "lake").mkdir()

    summary = pipeline.run(make_config(tmp_path / "lake", CO), spark)

    assert summary.exit_code == 3
    assert "No building files under" in (summary.error or "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"catalog.db", "warehouse"}
    database = tmp_path / "out" / "warehouse" / "oedi"
    assert {path.name for path in database.iterdir()} == {
        "_leases",
        "runs",
        "discrepancies",
    }
    assert list((database / "_leases").iterdir()) == []


def test_run_with_a_missing_partition_publishes_the_others_and_says_so(
    small_lake: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    summary = pipeline.run(make_config(small_lake, CO | {"upgrades": "0,7"}), spark)

    assert summary.exit_code == 6
    assert [(line.partition[-9:], line.listed) for line in summary.partitions] == [
        ("upgrade=0", 3),
        ("upgrade=7", 0),
    ]


def test_plan_writes_nothing(small_lake: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    found = pipeline.plan(make_config(small_lake, CO | {"state": "*", "upgrades": "*"}))

    assert [(str(p.partition)[-18:], p.file_count) for p in found.partitions] == [
        ("state=CO/upgrade=0", 3),
        ("state=CO/upgrade=1", 3),
        ("state=GA/upgrade=0", 3),
        ("state=GA/upgrade=1", 3),
    ]
    assert list(tmp_path.iterdir()) == []


def test_run_whose_tasks_cannot_write_ends_with_7_and_the_next_one_publishes(
    small_lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    tmp_path: Path,
) -> None:
    config = make_config(small_lake, CO)
    in_the_way = tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the tasks need a folder")

    summary = pipeline.run(config, spark)

    assert (summary.exit_code, summary.outcome) == (7, "not published")
    assert "a task failed" in (summary.error or "")
    assert summary.data_files.listed == len(summary.data_files.lost) == 3
    assert read_table(config).num_rows == 0
    in_the_way.unlink()
    assert pipeline.run(config, spark).exit_code == 0
    assert read_table(config).num_rows == 3 * 8760


@pytest.mark.parametrize("name", ["my lake", "müller", "a@b=c,d+e"])
def test_run_into_a_folder_of_any_allowed_name_gives_a_table_that_can_be_read(
    small_lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    tmp_path: Path,
    name: str,
) -> None:
    config = make_config(small_lake, CO).model_copy(update={"output_dir": str(tmp_path / name)})

    assert pipeline.run(config, spark).exit_code == 0

    assert read_table(config).num_rows == 3 * 8760
    assert {path.name for path in tmp_path.iterdir()} == {name, "logs"}


def test_run_whose_commit_happened_but_was_not_confirmed_keeps_every_file(
    small_lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(small_lake, CO)
    commit = Transaction.commit_transaction

    def commit_and_hang_up(transaction: Transaction) -> Table:
        committed = commit(transaction)
        if committed.name()[-1] == "hourly":
            raise ConnectionError("504 Gateway Timeout")
        return committed

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", commit_and_hang_up)
        summary = pipeline.run(config, spark)

    assert summary.exit_code == 5
    assert "did not say whether the commit happened" in (summary.error or "")
    assert read_table(config).num_rows == 3 * 8760
    assert pipeline.run(config, spark).exit_code == 0
    assert read_table(config).num_rows == 3 * 8760


def test_run_with_a_column_that_nobody_can_roll_up_says_so(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    plant(tmp_path / "lake", (), buildings=2)
    path = next((tmp_path / "lake").glob("**/by_state/**/*-0.parquet"))
    table = pq.ParquetFile(path).read()
    odd = table.append_column("out.something.new", table.column(1))
    pq.write_table(odd, path, version="2.6")

    summary = pipeline.run(make_config(tmp_path / "lake", CO), spark)

    assert summary.exit_code == 6
    assert summary.columns_omitted == ("out.something.new",)
    assert summary.data_files.uploaded == 2
