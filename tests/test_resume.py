"""A run over unchanged input leaves it alone; a run over changed input does what has changed."""

from __future__ import annotations

import json
import os
import re
import shutil
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table

from oedi_spark import pipeline, resume, survey
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Batch, BatchResult, FileOutcome, Partition, Reason, ReleaseFacts
from oedi_spark.contracts_resume import Redo
from oedi_spark.hours_step import _HoursStep
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.resume import NOT_RECALLED
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.errata import load_errata
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.survey import list_source, look_into, source_location
from tests.conftest import COMSTOCK, MakeConfig, ReadTable
from tests.test_pipeline import CO, ROWS, plant

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
BOTH = CO | {"state": ["CO", "GA"]}
FORCE, RETRY = Redo(force=True), Redo(retry_failed=True)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three ComStock buildings in CO and GA each, with their metadata."""
    root = tmp_path / "lake"
    write_sample_lake(root, SampleRequest((FOLDER,), states=("CO", "GA"), buildings=3))
    return root


@pytest.fixture
def no_spark() -> Future[SparkSession]:
    """A Spark that never comes: whoever waits for it fails at once."""
    future: Future[SparkSession] = Future()
    future.set_exception(AssertionError("Spark was waited for"))
    return future


def open_hourly(config: RunConfig, table: str = "hourly") -> Table:
    place = pipeline.catalog_location(config)
    return open_catalog(place).load_table((place.database, table))


def series(lake: Path, state: str) -> list[Path]:
    return sorted(lake.glob(f"**/timeseries_individual_buildings/**/state={state}/*.parquet"))


def touch(path: Path) -> None:
    """Another version of a file, as its ETag (time and size) says, with the same content."""
    path.write_bytes(path.read_bytes())


def snapshots(config: RunConfig) -> dict[str, int]:
    names = ("hourly", "metadata", "building_weights", "columns", "sources")
    return {name: len(open_hourly(config, name).snapshots()) for name in names}


def test_run_over_unchanged_input_reads_nothing_and_waits_for_no_spark(
    lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    no_spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    config = make_config(lake, BOTH)
    first = pipeline.run(config, spark)
    before, held = read_table(config).sort_by(ROWS), snapshots(config)
    assert (first.exit_code, first.skipped) == (0, ())

    again = pipeline.run(config, no_spark)

    assert (again.exit_code, again.outcome, again.read_bytes) == (0, "unchanged", 0)
    assert [str(each.partition) for each in again.skipped] == [
        "release=2024_comstock_amy2018_release_1/state=CO/upgrade=0",
        "release=2024_comstock_amy2018_release_1/state=GA/upgrade=0",
    ]
    data = again.data_files
    assert (data.listed, data.uploaded, data.unchanged, data.lost) == (6, 0, 6, {})
    assert again.skipped[0].hourly_rows == 3 * 8760
    assert again.skipped[0].run_id == first.run_id
    assert read_table(config).sort_by(ROWS).equals(before)
    assert snapshots(config) == held

    (copy,) = (tmp_path / "out" / "metadata").glob("*/state=GA/upgrade=0/*.parquet")
    landed = copy.read_bytes()
    copy.unlink()
    healed = pipeline.run(config, spark)

    assert (healed.exit_code, [each.partition.state for each in healed.skipped]) == (0, ["CO"])
    assert copy.read_bytes() == landed


def test_unchanged_metadata_is_not_opened_again(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    no_spark: Future[SparkSession],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(lake, BOTH)
    pipeline.run(config, spark)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a metadata file was opened")

    monkeypatch.setattr("oedi_spark.survey.peek_metadata", refuse)

    again = pipeline.run(config, no_spark)

    assert again.outcome == "unchanged"
    assert again.metadata.files.listed == again.metadata.files.unchanged == 2


def test_only_the_partition_of_a_changed_file_is_done_again(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(lake, BOTH)
    first = pipeline.run(config, spark)
    before = read_table(config).sort_by(ROWS)
    touch(series(lake, "GA")[0])

    second = pipeline.run(config, spark)

    assert (second.exit_code, second.outcome) == (0, "published")
    assert [each.partition.state for each in second.skipped] == ["CO"]
    data = second.data_files
    assert (data.listed, data.uploaded, data.unchanged) == (6, 3, 3)
    assert read_table(config).sort_by(ROWS).equals(before)
    runs = {row["state"]: row["run_id"] for row in read_table(config, "sources").to_pylist()}
    assert runs == {"CO": first.run_id, "GA": second.run_id}


@pytest.mark.parametrize("change", ["gone", "new", "metadata"])
def test_a_file_that_goes_or_comes_or_new_metadata_makes_its_partition_changed(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    change: str,
) -> None:
    config = make_config(lake, BOTH)
    hidden = series(lake, "GA")[0]
    if change == "new":
        hidden = hidden.rename(lake / "hidden")
    pipeline.run(config, spark)
    if change == "gone":
        hidden.unlink()
    elif change == "new":
        hidden.rename(series(lake, "GA")[0].with_name(sorted_name(lake)))
    else:
        (metadata,) = [p for p in lake.glob("**/*.parquet") if "GA_" in p.name]
        touch(metadata)

    second = pipeline.run(config, spark)

    assert [each.partition.state for each in second.skipped] == ["CO"]
    left = {"gone": 2, "new": 3, "metadata": 3}[change]
    hours = read_table(config)
    assert hours.group_by("state").aggregate([("hour_start", "count")]).sort_by(
        "state"
    ).to_pylist() == [
        {"state": "CO", "hour_start_count": 3 * 8760},
        {"state": "GA", "hour_start_count": left * 8760},
    ]


def sorted_name(lake: Path) -> str:
    """The name that the hidden file had: the only id that CO has and GA lacks is not it."""
    hidden = lake / "hidden"
    bldg_id = pq.read_table(hidden, columns=["bldg_id"])["bldg_id"][0].as_py()
    return f"{bldg_id}-0.parquet"


def test_force_replaces_every_partition(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(lake, BOTH)
    first = pipeline.run(config, spark)
    before = read_table(config).sort_by(ROWS)

    forced = pipeline.run(config, spark, redo=FORCE)

    assert (forced.outcome, forced.skipped, forced.data_files.uploaded) == ("published", (), 6)
    assert forced.snapshot_ids["oedi.hourly"] != first.snapshot_ids["oedi.hourly"]
    assert read_table(config).sort_by(ROWS).equals(before)
    assert pipeline.run(config, spark).outcome == "unchanged"


def test_other_settings_that_change_results_make_every_partition_changed(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    pipeline.run(make_config(lake, BOTH), spark)

    same = pipeline.run(make_config(lake, BOTH, read_ahead_files=2, listing_workers=2), spark)
    other = pipeline.run(make_config(lake, BOTH, max_failed_fraction=0.5), spark)

    assert (len(same.skipped), len(other.skipped)) == (2, 0)


def test_a_partition_that_lost_its_rows_is_done_again(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    """By a rollback, and by hand: the table does not bear out what is remembered."""
    config = make_config(lake, BOTH)
    pipeline.run(config, spark)
    before = read_table(config).sort_by(ROWS)
    bldg_id = before["bldg_id"][0].as_py()
    open_hourly(config).delete(f"bldg_id == {bldg_id} AND state == 'CO'")
    assert read_table(config).num_rows == before.num_rows - 8760

    healed = pipeline.run(config, spark)

    assert [each.partition.state for each in healed.skipped] == ["GA"]
    assert read_table(config).sort_by(ROWS).equals(before)

    touch(series(lake, "GA")[0])
    pipeline.run(config, spark)
    table = open_hourly(config)
    table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()

    again = pipeline.run(config, spark)

    assert again.exit_code == 0
    assert read_table(config).sort_by(ROWS).equals(before)


@pytest.mark.parametrize("table", ["metadata", "building_weights", "columns"])
def test_a_partition_that_lost_rows_of_another_table_is_done_again(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    table: str,
) -> None:
    config = make_config(lake, BOTH)
    pipeline.run(config, spark)
    count = read_table(config, table).num_rows
    open_hourly(config, table).delete("state == 'CO'")

    healed = pipeline.run(config, spark)

    assert [each.partition.state for each in healed.skipped] == ["GA"]
    assert read_table(config, table).num_rows == count


@pytest.fixture
def lake_with_bad_files(tmp_path: Path) -> tuple[Path, str, str]:
    """Eight buildings in CO, of which one file is cut short and one is no parquet."""
    planted = plant(tmp_path / "lake", (Trap.TRUNCATED_FILE, Trap.NOT_PARQUET), buildings=8)
    return tmp_path / "lake", planted[Trap.TRUNCATED_FILE], planted[Trap.NOT_PARQUET]


def test_failures_of_an_unchanged_partition_are_told_again_from_memory(
    lake_with_bad_files: tuple[Path, str, str],
    make_config: MakeConfig,
    spark: Future[SparkSession],
    no_spark: Future[SparkSession],
) -> None:
    root, cut, other = lake_with_bad_files
    config = make_config(root, CO, max_failed_fraction=0.5)
    first = pipeline.run(config, spark)

    again = pipeline.run(config, no_spark)

    assert (first.exit_code, again.exit_code) == (6, 6)
    assert again.outcome == "unchanged with discrepancies"
    told = again.data_files.missing_transforms
    assert {key: why.split(":")[0] for key, why in told.items()} == {
        cut: "truncated",
        other: "not_parquet",
    }
    assert all(first.run_id in why for why in told.values())
    assert (again.data_files.listed, again.data_files.unchanged) == (8, 6)
    summary = json.loads(json.dumps(again.as_json()))
    assert summary["data_files_stats"]["total_data_files_unchanged"] == 6
    assert len(summary["skipped_partitions"][0]["lost"]) == 2


def test_known_bad_files_are_not_fetched_when_their_partition_is_done_again(
    lake_with_bad_files: tuple[Path, str, str],
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    """One of them is healed: a new version is read; the other is as it was and is not."""
    root, cut, other = lake_with_bad_files
    config = make_config(root, CO, max_failed_fraction=0.5)
    first = pipeline.run(config, spark)
    good = next(path for path in series(root, "CO") if str(path).endswith(".parquet"))
    healed = root / cut
    table_bytes = _whole_version(root, cut)
    healed.write_bytes(table_bytes)

    second = pipeline.run(config, spark)

    assert second.exit_code == 6
    assert list(second.data_files.missing_transforms) == [other]
    assert first.run_id in second.data_files.missing_transforms[other]
    sizes = {p.relative_to(root).as_posix(): p.stat().st_size for p in series(root, "CO")}
    read = sum(size for key, size in sizes.items() if key != other)
    assert second.read_bytes == read + _metadata_bytes(root)
    assert good.exists()

    third = pipeline.run(config, spark, redo=RETRY)

    assert third.skipped == ()
    assert third.read_bytes == sum(sizes.values()) + _metadata_bytes(root)
    assert "remembered" not in third.data_files.missing_transforms[other]
    assert read_table(config).num_rows == 7 * 8760


def _whole_version(root: Path, key: str) -> bytes:
    """The same building from a lake without traps."""
    clean = root.parent / "clean"
    write_sample_lake(clean, SampleRequest((FOLDER,), buildings=8))
    return (clean / key).read_bytes()


def _metadata_bytes(root: Path) -> int:
    return sum(
        path.stat().st_size for path in root.glob("**/*.parquet") if "metadata" in path.as_posix()
    )


def test_retry_failed_leaves_partitions_without_failures_alone(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], no_spark: Future[SparkSession]
) -> None:
    config = make_config(lake, BOTH)
    pipeline.run(config, spark)

    assert pipeline.run(config, no_spark, redo=RETRY).outcome == "unchanged"


def test_a_building_without_series_is_told_again_from_memory(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], no_spark: Future[SparkSession]
) -> None:
    lost = series(lake, "CO")[0]
    lost.unlink()
    config = make_config(lake, BOTH)
    first = pipeline.run(config, spark)

    again = pipeline.run(config, no_spark)

    assert (first.exit_code, again.exit_code) == (6, 6)
    (gap,) = again.skipped[0].lost
    assert (gap.kind, gap.reason, gap.bldg_id) == ("gap", "no_series", int(lost.stem.split("-")[0]))


def test_a_failure_that_may_pass_is_tried_again(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    """A file that was gone for a moment, and is back as it was listed before."""
    config = make_config(lake, CO, max_failed_fraction=0.5)
    found = pipeline.plan(config)
    first_file = lake / found.index.files[0].key
    kept = shutil.move(first_file, lake / "kept")
    first = pipeline.run(config, spark, ready_plan=found)
    assert (first.exit_code, read_table(config).num_rows) == (6, 2 * 8760)
    shutil.move(kept, first_file)

    second = pipeline.run(config, spark)

    assert (second.exit_code, second.skipped, second.data_files.uploaded) == (0, (), 3)


def test_sources_name_every_file_of_a_partition_and_the_run(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(lake, CO)
    summary = pipeline.run(config, spark)

    rows = read_table(config, "sources").to_pylist()

    keys = {row["key"] for row in rows if row["kind"] == "series"}
    assert keys == {path.relative_to(lake).as_posix() for path in series(lake, "CO")}
    assert {row["kind"] for row in rows} == {"series", "metadata"}
    assert {row["run_id"] for row in rows} == {summary.run_id} == {r["staged_by"] for r in rows}
    assert {row["reason"] for row in rows} == {None}
    for row in rows:
        stat = (lake / row["key"]).stat()
        assert row["etag"] == f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
        assert row["size_bytes"] == stat.st_size
        assert row["modified_at_utc"].timestamp() or True
    assert COMSTOCK["release_name"] in rows[0]["release"]


@pytest.mark.parametrize("is_read", [True, False])
def test_hours_of_a_killed_run_are_taken_up_when_they_were_held_against_the_same_results(
    lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    monkeypatch: pytest.MonkeyPatch,
    is_read: bool,
) -> None:
    """A fault of a moment hid the metadata from the killed run: its hours are judged anew."""
    config = make_config(lake, CO, max_failed_fraction=0.5)
    (metadata,) = [path for path in lake.glob("**/*.parquet") if path.name.startswith("CO_")]
    spoiled = series(lake, "CO")[1]
    table = pq.ParquetFile(spoiled).read()
    for at, name in enumerate(table.column_names):
        if "energy_consumption" in name:  # also the intensities: only the metadata knows better
            table = table.set_column(at, name, pc.multiply(table[name], 4.0))
    pq.write_table(table, spoiled)
    whole, stat = metadata.read_bytes(), metadata.stat()
    if not is_read:
        metadata.write_bytes(bytes(len(whole)))
        os.utime(metadata, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    out = tmp_path / "out"
    judge = pipeline._judge

    def die(*arguments: object) -> None:
        judge(*arguments)  # type: ignore[arg-type] # as it was called
        shutil.copytree(out, tmp_path / "as it was killed")
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_judge", die)
        with pytest.raises(RuntimeError, match="killed"):
            pipeline.run(config, spark)
    shutil.rmtree(out)
    shutil.move(tmp_path / "as it was killed", out)
    for lease in out.rglob("_leases/*.json"):
        lease.write_text(re.sub(r'"process": "[^"]*"', '"process": "0:ended"', lease.read_text()))
    metadata.write_bytes(whole)
    os.utime(metadata, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    second = pipeline.run(config, spark)

    assert second.adopted_files == (3 if is_read else 0)
    ((key, why),) = second.data_files.lost.items()
    assert key.endswith(spoiled.name)
    assert why.startswith("published_scale_is_one: ")
    assert second.published_rows == 2 * 8760


@pytest.mark.parametrize(
    ("redo", "adopted"), [(Redo(), [0, 1]), (RETRY, [0]), (FORCE, [])], ids=str
)
def test_what_is_to_be_read_again_is_not_taken_up_from_a_killed_run(
    redo: Redo, adopted: list[int]
) -> None:
    """Two batches that a killed run has finished; in the second one a file failed."""
    partition = Partition("r", "CO", 0)
    facts = ReleaseFacts("r", None, None)
    batches = [Batch(at, partition, facts, (), {}) for at in (0, 1)]
    failed = FileOutcome(7, Reason.TRUNCATED, "why")
    results = [BatchResult(at, (), (failed,) * at, (), {}, 0) for at in (0, 1)]
    lake = SimpleNamespace(
        hourly=None, leftovers=SimpleNamespace(adopt=lambda *_: (list(results), []))
    )
    work = SimpleNamespace(redo=redo)
    step = _HoursStep(None, None, work, None, None, None)  # type: ignore[arg-type] # not asked

    taken, due = step._take_up(batches, lake)  # type: ignore[arg-type] # as much as is asked

    assert [each.batch_number for each in taken] == adopted
    assert [each.number for each in due] == [at for at in (0, 1) if at not in adopted]


def test_a_building_that_one_upgrade_has_is_missed_in_another_beside_a_job_of_counties(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    """The upgrade that has it is left alone, and counties of another release are read."""
    counties = ReleaseFolder("2024", "comstock_amy2018_release_2")
    request = SampleRequest((FOLDER, counties), upgrades=(0, 1), buildings=2)
    write_sample_lake(tmp_path / "lake", request)
    by_county = {
        "release_year": counties.year,
        "release_name": counties.name,
        "state": "CO",
        "upgrades": "0",
        "relative_metadata_prefix_type": "2",
        "counties": ["*"],
    }
    config = make_config(tmp_path / "lake", CO | {"upgrades": "0-1"}, by_county)
    folder = f"**/{FOLDER.name}/timeseries_individual_buildings/**/upgrade=1/**/*.parquet"
    gone = sorted((tmp_path / "lake").glob(folder))[0]
    gone.unlink()
    location = source_location(config)
    partitions = [Partition(FOLDER.release, "CO", upgrade) for upgrade in (0, 1)]

    plan = look_into(config, location, list_source(config, location), skipped=partitions[:1])

    missing = {line.partition: line.missing_buildings for line in plan.partitions}
    assert missing[partitions[1]] == (int(gone.stem.split("-")[0]),)
    assert missing[Partition(counties.release, "CO", 0)] == ()


def test_a_file_that_a_rule_rejected_is_not_recalled_for_the_metadata_has_a_say() -> None:
    """Published results, and the building type by which an erratum excuses a rule."""
    rejected = {"values_are_possible", "floor_area_is_as_published", "energy_is_no_power"}

    assert rejected | {"known_erratum", "fetch_failed"} <= NOT_RECALLED
    assert not {"truncated", "not_parquet", "wrong_row_count"} & NOT_RECALLED


def test_tables_of_the_code_count_for_every_partition_and_errata_for_theirs(
    lake: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(lake, BOTH)
    plan = pipeline.plan(config)

    def settings() -> dict[str, str]:
        found = resume.work_of_plan(config, plan, None).fingerprints
        return {partition.state: each.settings for partition, each in found.items()}

    before = settings()
    known = {"GA": load_errata()[:1]}
    with monkeypatch.context() as patch:
        patch.setattr(resume, "find_errata", lambda partition: known.get(partition.state, ()))
        with_errata = settings()
        known["GA"] = load_errata()[1:2]
        with_others = settings()
    monkeypatch.setattr(resume, "digest_tables", lambda: "0123456789abcdef")

    assert len({before["GA"], with_errata["GA"], with_others["GA"], settings()["GA"]}) == 4
    assert with_errata["CO"] == with_others["CO"]
    assert settings()["CO"] != before["CO"]


@pytest.mark.parametrize(("state", "exit_code"), [("CO", 5), ("GA", 6)])
def test_run_whose_listing_another_run_has_overtaken_puts_nothing_older_over_it(
    lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    exit_code: int,
) -> None:
    late = series(lake, "CO")[0]
    data = late.read_bytes()
    late.unlink()
    others: list[str] = []

    def overtake(*arguments: Any) -> Any:  # noqa: ANN401 - handed on as they are
        monkeypatch.setattr(pipeline, "peek_columns", survey.peek_columns)
        late.write_bytes(data)
        other = pipeline.run(make_config(lake, CO | {"state": state}), spark)
        others.append(other.run_id)
        assert other.exit_code == 0
        return survey.peek_columns(*arguments)

    monkeypatch.setattr(pipeline, "peek_columns", overtake)
    first = pipeline.run(make_config(lake, CO), spark)

    assert first.exit_code == exit_code
    if exit_code == 5:
        assert f"run {others[0]} published" in str(first.error)
        assert "while this run listed its source" in str(first.error)
        assert read_table(make_config(lake, CO)).num_rows == 3 * 8760
        return
    # Of other partitions nothing is in the way; the building that came late is told as missing.
    assert read_table(make_config(lake, CO)).num_rows == (2 + 3) * 8760
