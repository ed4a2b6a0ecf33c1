"""Tables go back to before a run, whole or not at all, and nobody else's work is lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from typer.testing import CliRunner

from oedi_spark import pipeline
from oedi_spark.cli import app
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition, Publication
from oedi_spark.errors import OediSparkError, PublishError
from oedi_spark.lake import publication, restore
from oedi_spark.lake import rollback as rollback_module
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.history import PUBLISHED_TABLES, read_history
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.restore import UnfitPartitionError
from oedi_spark.lake.rollback import roll_back
from oedi_spark.lake.rollback_plan import RollbackError, RollbackPlan, TablePlan, plan_rollback
from oedi_spark.lake.writer import RUN_ID_PROPERTY, replace_partitions
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, PROJECT
from tests.named import files_named_by

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RELEASE = "2024_comstock_amy2018_release_1"
GA = Partition(RELEASE, "GA", 0)
YEAR_HOURS = 8760
KILL_LIMIT_S = 60

Tables = dict[str, pa.Table]


def make_lake(root: Path) -> Path:
    """Two ComStock buildings in CO and GA each, with their metadata."""
    folder = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(root, SampleRequest((folder,), states=("CO", "GA"), buildings=2))
    return root


def make_run_config(lake: Path, folder: Path, *states: str) -> RunConfig:
    return RunConfig.model_validate(
        {
            "src_bucket": str(lake),
            "output_dir": str(folder / "out"),
            "job_specific": [COMSTOCK | {"state": list(states or ("CO", "GA")), "upgrades": "0"}],
            "settings": {"log_dir": str(folder / "logs")},
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path / "lake")


@pytest.fixture
def config(lake: Path, tmp_path: Path) -> RunConfig:
    return make_run_config(lake, tmp_path)


class Published:
    """Two runs over a lake, the second without one building of GA. No test changes it."""

    def __init__(self, config: RunConfig, first: str, second: str) -> None:
        self.config, self.first, self.second = config, first, second
        self.place = pipeline.catalog_location(config)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, spark: Future[SparkSession]) -> Published:
    root = tmp_path_factory.mktemp("rollback")
    config = make_run_config(make_lake(root / "lake"), root)
    first = pipeline.run(config, spark).run_id
    series(root / "lake", "GA")[0].unlink()
    return Published(config, first, pipeline.run(config, spark).run_id)


def series(lake: Path, state: str) -> list[Path]:
    return sorted(lake.glob(f"**/timeseries_individual_buildings/**/state={state}/*.parquet"))


def undo(config: RunConfig, run_id: str) -> RollbackPlan:
    place = pipeline.catalog_location(config)
    return roll_back(place, run_id, rollback_id=pipeline.new_run_id())


def load(place: CatalogLocation, name: str) -> Table:
    return open_catalog(place, create=False).load_table((place.database, name))


def rows_of(config: RunConfig, *, state: str | None = None) -> Tables:
    """Every row of every table in one order, without the names of the runs that staged it."""
    place, found = pipeline.catalog_location(config), {}
    for name in PUBLISHED_TABLES:
        rows = load(place, name).scan().to_arrow()
        if state is not None:
            rows = rows.filter(pc.equal(rows["state"], state))
        if name == "sources":
            rows = rows.drop_columns(["staged_by"])
        found[name] = rows.sort_by([(column, "ascending") for column in rows.column_names])
    return found


def by_duckdb(config: RunConfig) -> list[tuple[object, ...]]:
    """Hours and their weighted energy per state, as who joins the two tables reads them."""
    place = pipeline.catalog_location(config)
    with duckdb.connect() as connection:
        for name in ("hourly", "building_weights"):
            tasks = load(place, name).scan().plan_files()
            paths = [task.file.file_path.removeprefix("file://") for task in tasks]
            connection.read_parquet(paths, union_by_name=True, hive_partitioning=False).create_view(
                name
            )
        return connection.sql(
            "SELECT h.state, count(*), count(DISTINCT h.bldg_id), round(sum(weight * "
            "out_electricity_total_energy_consumption_kwh), 3), count(w.bldg_id) "
            "FROM hourly h LEFT JOIN building_weights w ON h.release = w.release "
            "AND h.state = w.state AND h.upgrade = w.upgrade AND h.bldg_id = w.bldg_id "
            "AND w.geography_kind = 'state' GROUP BY 1 ORDER BY 1"
        ).fetchall()


def snapshots(place: CatalogLocation) -> dict[str, int]:
    return {name: len(load(place, name).snapshots()) for name in PUBLISHED_TABLES}


def files_in(place: CatalogLocation, name: str, state: str) -> dict[str, DataFile]:
    tasks = load(place, name).scan().plan_files()
    return {
        task.file.file_path: task.file
        for task in tasks
        if f"/state={state}/" in task.file.file_path
    }


def unnamed_files(place: CatalogLocation) -> set[str]:
    """Files below the tables that no snapshot names."""
    root = Path(place.database_uri.removeprefix("file://"))
    lying = {str(path) for path in root.rglob("*") if path.is_file()}
    for name in (*PUBLISHED_TABLES, "runs", "discrepancies"):
        lying -= {each.removeprefix("file://") for each in files_named_by(load(place, name))}
    return lying


def test_rollback_returns_one_run_and_leaves_later_work_of_others(
    lake: Path, config: RunConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    first = pipeline.run(config, spark)
    before, joined = rows_of(config, state="GA"), by_duckdb(config)
    aside = shutil.move(series(lake, "GA")[0], tmp_path / "aside.parquet")
    second = pipeline.run(config, spark)
    assert rows_of(config, state="GA")["hourly"].num_rows == YEAR_HOURS
    shutil.move(aside, series(lake, "GA")[0].parent / _name_of_the_missing(config, lake))
    series(lake, "CO")[0].unlink()
    third = pipeline.run(make_run_config(lake, tmp_path, "CO"), spark)
    later = rows_of(config, state="CO")
    old = {
        name: files_in(pipeline.catalog_location(config), name, "GA") for name in PUBLISHED_TABLES
    }

    plan = undo(config, second.run_id)

    assert [each.name for each in plan.tables] == list(PUBLISHED_TABLES)
    assert {cell.partition for each in plan.tables for cell in each.cells} == {GA}
    assert rows_of(config, state="GA") == before
    assert rows_of(config, state="CO") == later
    assert before["hourly"].num_rows == 2 * YEAR_HOURS
    assert by_duckdb(config)[1] == joined[1]  # GA; every hour has a weight
    assert joined[1][1] == joined[1][4] == 2 * YEAR_HOURS
    assert_no_old_file_came_back(pipeline.catalog_location(config), old, first.run_id)
    assert unnamed_files(pipeline.catalog_location(config)) == set()
    again = pipeline.run(config, spark)  # GA is at the source as the first run found it
    assert {each.partition.state: each.run_id for each in again.skipped} == {
        "GA": first.run_id,
        "CO": third.run_id,
    }


def _name_of_the_missing(config: RunConfig, lake: Path) -> str:
    """The file of GA that the first run published and that does not lie there any more."""
    rows = load(pipeline.catalog_location(config), "sources")
    first = next(iter(rows.snapshots())).snapshot_id
    keys = rows.scan(snapshot_id=first).to_arrow().to_pylist()
    names = {
        r["key"].rsplit("/", 1)[1] for r in keys if (r["state"], r["kind"]) == ("GA", "series")
    }
    (missing,) = names - {path.name for path in series(lake, "GA")}
    return str(missing)


def assert_no_old_file_came_back(
    place: CatalogLocation, old: dict[str, dict[str, DataFile]], first: str
) -> None:
    """Iceberg's own expiry deletes what an expired snapshot took out, also if it came back."""
    for name in PUBLISHED_TABLES:
        now = files_in(place, name, "GA")
        assert now
        assert not now.keys() & old[name].keys()
        assert not [path for path in now if path.rsplit("/", 1)[1].startswith(first)]


def test_partition_that_was_new_in_the_run_is_emptied(
    lake: Path, config: RunConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    pipeline.run(make_run_config(lake, tmp_path, "CO"), spark)
    before = rows_of(config)
    second = pipeline.run(config, spark)
    assert rows_of(config)["hourly"].num_rows == 4 * YEAR_HOURS

    plan = undo(config, second.run_id)

    assert {cell.before_rows for each in plan.tables for cell in each.cells} == {0}
    assert rows_of(config) == before
    assert plan.stale_copies == {GA}
    third = pipeline.run(config, spark)
    assert third.published_rows == 2 * YEAR_HOURS


def test_run_whose_rows_a_later_one_replaced_waits_for_that_to_be_rolled_back(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    first = pipeline.run(config, spark)
    whole = rows_of(config)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    before = rows_of(config)
    gone = series(lake, "GA")[0]
    gone.write_bytes(gone.read_bytes())
    third = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    held = snapshots(place)

    with pytest.raises(RollbackError, match="later work on its partitions would be lost") as caught:
        undo(config, second.run_id)

    assert third.run_id in str(caught.value)
    assert str(GA) in str(caught.value)
    assert snapshots(place) == held
    undo(config, third.run_id)
    assert rows_of(config) == before
    undo(config, second.run_id)
    assert rows_of(config) == whole
    undo(config, first.run_id)
    assert {name: rows.num_rows for name, rows in rows_of(config).items()} == dict.fromkeys(
        PUBLISHED_TABLES, 0
    )
    assert pipeline.run(config, spark).published_rows == 3 * YEAR_HOURS


def test_rollback_again_does_nothing(
    lake: Path, config: RunConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    pipeline.run(config, spark)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    first_time = by_command(config, second.run_id, tmp_path)
    assert "hourly: 1 partition(s) returned to before snapshot" in first_time
    place = pipeline.catalog_location(config)
    held, rows = snapshots(place), rows_of(config)
    again = by_command(config, second.run_id, tmp_path)
    assert again == f"Run {second.run_id} is rolled back already: nothing to do.\n"

    plan = undo(config, second.run_id)

    assert (plan.tables, plan.done) == ((), PUBLISHED_TABLES)
    assert (snapshots(place), rows_of(config)) == (held, rows)
    marked = {(each.table, each.rolled_back) for each in read_history(place) if each.rolled_back}
    assert marked == {(name, second.run_id) for name in PUBLISHED_TABLES}
    pipeline.run(config, spark)  # what was rolled back may come again, and a third time stays
    held = snapshots(place)
    assert undo(config, second.run_id).tables == ()
    assert snapshots(place) == held


def test_rollback_killed_between_two_tables_is_completed_by_the_next(
    lake: Path, config: RunConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    pipeline.run(config, spark)
    before = rows_of(config)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    held = snapshots(place)
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "from oedi_spark.lake import rollback\n"
        "from oedi_spark.lake.catalog import CatalogLocation\n"
        "from oedi_spark.lake.files import S3Access\n"
        "commit, count = rollback._commit, []\n"
        "def stop(*arguments):\n"
        "    if len(count) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    count.append(commit(*arguments))\n"
        "rollback._commit = stop\n"
        f"place = {place!r}\n"
        f"rollback.roll_back(place, {second.run_id!r}, rollback_id={pipeline.new_run_id()!r})\n"
    )
    killed = subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
        timeout=KILL_LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    moved = {name: count - held[name] for name, count in snapshots(place).items()}
    assert moved == dict(zip(PUBLISHED_TABLES, (1, 1, 0, 0, 0), strict=True))
    assert unnamed_files(place)

    plan = undo(config, second.run_id)

    assert [each.name for each in plan.tables] == ["hourly", "columns", "sources"]
    assert plan.done == ("building_weights", "metadata")
    assert rows_of(config) == before
    assert {each[1] for each in by_duckdb(config)} == {2 * YEAR_HOURS}
    assert unnamed_files(place) == set()


def test_rollback_whose_lease_is_taken_away_commits_nothing_more(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run took it for dead, and swept the copies that it would commit."""
    copy = restore.copy_files

    def lose(*arguments: object) -> list[DataFile]:
        for lease in LeaseBook(published.place.database_uri).others(""):
            LeaseBook(published.place.database_uri).release(lease.run_id)
        return copy(*arguments)  # type: ignore[arg-type] # as it was called

    held = snapshots(published.place)
    monkeypatch.setattr(rollback_module, "copy_files", lose)

    with pytest.raises(RollbackError, match="another run took this one for dead"):
        undo(published.config, published.second)

    assert snapshots(published.place) == held
    forget_leases(published.place)


def forget_leases(place: CatalogLocation) -> int:
    """Remove ended leases, which the next run would; returns how many there were."""
    ended = list(LeaseBook(place.database_uri).others(""))
    assert not any(each.is_alive(0) for each in ended)
    for each in ended:
        LeaseBook(place.database_uri).release(each.run_id)
    return len(ended)


def test_half_rolled_back_partition_is_done_again_by_a_run(
    lake: Path,
    config: RunConfig,
    spark: Future[SparkSession],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline.run(config, spark)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    after = rows_of(config, state="GA")
    commit = rollback_module._commit_once

    def refuse(each: TablePlan, *rest: object) -> None:
        if each.name == "hourly":
            raise UnfitPartitionError("the catalog is on fire")
        commit(each, *rest)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(rollback_module, "_commit_once", refuse)
    with pytest.raises(RollbackError, match="building_weights, metadata") as caught:
        undo(config, second.run_id)
    assert caught.value.done == ("building_weights", "metadata")
    assert "run the same command again" in str(caught.value)
    monkeypatch.undo()

    third = pipeline.run(config, spark)

    assert [each.partition.state for each in third.skipped] == ["CO"]
    found = rows_of(config, state="GA")
    assert found["hourly"] == after["hourly"]
    assert found["building_weights"] == after["building_weights"]
    with pytest.raises(RollbackError, match="would be lost"):
        undo(config, second.run_id)


@pytest.mark.parametrize("last", ["building_weights", "metadata", "hourly", "columns"])
def test_run_that_died_while_it_published_is_rolled_back(
    lake: Path,
    config: RunConfig,
    spark: Future[SparkSession],
    monkeypatch: pytest.MonkeyPatch,
    last: str,
) -> None:
    pipeline.run(config, spark)
    before, joined = rows_of(config), by_duckdb(config)
    (found,) = lake.glob("**/metadata_and_annual_results/**/state=GA/**/*.parquet")
    rows = pq.read_table(found, partitioning=None)
    place = rows.column_names.index("weight")
    pq.write_table(rows.set_column(place, "weight", pc.multiply(rows["weight"], 2.0)), found)
    publish = replace_partitions

    def die(table: Table, *arguments: object, **named: object) -> Publication:
        if str(table.name()[-1]) == last:
            raise PublishError(last, "the catalog is on fire")
        return publish(table, *arguments, **named)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(publication, "replace_partitions", die)
    failed = pipeline.run(config, spark)
    monkeypatch.undo()
    assert failed.exit_code == 5
    committed = PUBLISHED_TABLES[: PUBLISHED_TABLES.index(last)]
    if not committed:
        with pytest.raises(RollbackError, match="published nothing"):
            undo(config, failed.run_id)
        return
    assert by_duckdb(config) != joined

    plan = undo(config, failed.run_id)

    assert tuple(each.name for each in plan.tables) == committed
    assert rows_of(config) == before
    assert by_duckdb(config) == joined


def test_copies_of_other_metadata_make_the_next_run_do_the_partition_again(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    pipeline.run(config, spark)
    before = rows_of(config)
    (found,) = lake.glob("**/metadata_and_annual_results/**/state=GA/**/*.parquet")
    old_bytes = found.read_bytes()
    rows = pq.read_table(found, partitioning=None)
    pq.write_table(rows.slice(0, rows.num_rows - 1), found)
    second = pipeline.run(config, spark)
    landed = Path(config.output_dir) / "metadata" / str(GA) / found.name
    assert landed.read_bytes() == found.read_bytes()

    plan = undo(config, second.run_id)

    assert plan.stale_copies == {GA}
    after = rows_of(config)
    assert after["metadata"] == before["metadata"]
    assert set(after["sources"]["state"].to_pylist()) == {"CO"}
    found.write_bytes(old_bytes)
    third = pipeline.run(config, spark)
    assert [each.partition.state for each in third.skipped] == ["CO"]
    assert landed.read_bytes() == old_bytes


def test_files_that_were_merged_since_do_not_stand_in_the_way(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    pipeline.run(config, spark)
    before = rows_of(config)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    maintenance = pipeline.new_run_id()
    table = load(place, "hourly")
    (old,) = files_in(place, "hourly", "GA").values()
    merged = f"{old.file_path.rsplit('/', 1)[0]}/{maintenance}-c00000-{uuid.uuid4()}.parquet"
    shutil.copy(old.file_path.removeprefix("file://"), merged.removeprefix("file://"))
    transaction = table.transaction()
    with transaction.update_snapshot(
        snapshot_properties={RUN_ID_PROPERTY: maintenance}
    ).overwrite() as update:
        update.delete_data_file(old)
        update.append_data_file(restore._placed(table, old, file_path=merged))
    transaction.commit_transaction()

    with pytest.raises(RollbackError, match="merged files and changed no row"):
        undo(config, maintenance)
    undo(config, second.run_id)

    assert rows_of(config) == before


@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_files_of_before_that_are_gone_are_named_and_nothing_is_done(
    published: Published, name: str, tmp_path: Path
) -> None:
    place, held = published.place, snapshots(published.place)
    plan = plan_rollback(place, published.second)
    (each,) = [each for each in plan.tables if each.name == name]
    gone = Path(each.cells[0].back[0].file_path.removeprefix("file://"))
    aside = Path(shutil.move(gone, tmp_path / "aside"))
    try:
        with pytest.raises(RollbackError, match="gone or cut short") as caught:
            undo(published.config, published.second)
        gone.write_bytes(aside.read_bytes()[:-1])
        with pytest.raises(RollbackError, match="gone or cut short"):
            undo(published.config, published.second)
    finally:
        shutil.move(aside, gone)

    assert str(gone) in str(caught.value)
    assert caught.value.exit_code == 5
    assert snapshots(place) == held


def test_expired_snapshot_of_before_is_not_taken_for_an_empty_table(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    """PyIceberg then says that the run's snapshot had none before it."""
    pipeline.run(config, spark)
    before = rows_of(config)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    for name in PUBLISHED_TABLES:
        expire_oldest(place, name)
        assert load(place, name).snapshots()[0].parent_snapshot_id is None

    undo(config, second.run_id)

    assert rows_of(config) == before


def expire_oldest(place: CatalogLocation, name: str) -> None:
    table = load(place, name)
    table.maintenance.expire_snapshots().by_id(table.snapshots()[0].snapshot_id).commit()


def test_table_whose_snapshot_of_the_run_has_expired_is_named_and_nothing_is_done(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    pipeline.run(config, spark)
    series(lake, "GA")[0].unlink()
    second = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    transaction = load(place, "columns").transaction()
    with transaction.update_snapshot().overwrite():
        pass  # another program's snapshot, so that the run's own can expire
    transaction.commit_transaction()
    expire_oldest(place, "columns")
    expire_oldest(place, "columns")
    held = snapshots(place)

    with pytest.raises(RollbackError, match="the snapshots that columns had"):
        undo(config, second.run_id)

    assert snapshots(place) == held


def test_run_that_nobody_knows_is_refused(published: Published) -> None:
    with pytest.raises(RollbackError, match="oedi-spark history") as caught:
        undo(published.config, "20200101T000000Z-00000000")

    assert "20200101T000000Z-00000000" in str(caught.value)
    assert "The tables are as before" in str(caught.value)


def test_rollback_cannot_be_rolled_back(
    lake: Path, config: RunConfig, spark: Future[SparkSession]
) -> None:
    first = pipeline.run(config, spark)
    place = pipeline.catalog_location(config)
    rollback_id = pipeline.new_run_id()
    roll_back(place, first.run_id, rollback_id=rollback_id)

    with pytest.raises(RollbackError, match=f"itself the rollback of run {first.run_id}"):
        undo(config, rollback_id)


def test_partition_that_another_run_is_replacing_is_left_to_it(published: Published) -> None:
    leases = LeaseBook(published.place.database_uri)
    leases.renew("20260101T000000Z-aaaaaaaa", {GA})
    held = snapshots(published.place)
    try:
        with pytest.raises(RollbackError, match="20260101T000000Z-aaaaaaaa is replacing"):
            undo(published.config, published.second)
    finally:
        leases.release("20260101T000000Z-aaaaaaaa")

    assert snapshots(published.place) == held
    assert list(leases.others("")) == []


def test_disk_that_is_full_leaves_tables_and_disk_as_they_were(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = restore._copy
    done: list[str] = []

    def fill(table: Table, file: DataFile, uri: str) -> None:
        if len(done) == 2:
            Path(uri.removeprefix("file://")).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(uri)
        copy(table, file, uri)

    held, rows = snapshots(published.place), rows_of(published.config)
    monkeypatch.setattr(restore, "_copy", fill)
    with pytest.raises(RollbackError, match="No space left on device"):
        undo(published.config, published.second)
    monkeypatch.undo()

    assert done
    assert (snapshots(published.place), rows_of(published.config)) == (held, rows)
    root = Path(published.place.database_uri.removeprefix("file://"))
    assert not list(root.rglob("*-r0000*.parquet"))
    assert forget_leases(published.place) == 1


def test_copy_with_other_rows_than_the_manifest_says_is_refused(
    published: Published, tmp_path: Path
) -> None:
    plan = plan_rollback(published.place, published.second)
    (each,) = [each for each in plan.tables if each.name == "hourly"]
    file = each.cells[0].back[0]
    path = Path(file.file_path.removeprefix("file://"))
    good = path.read_bytes()
    held = snapshots(published.place)
    try:
        path.write_bytes(good[:-8] + b"\0" * 8)  # as long, and no footer
        with pytest.raises(RollbackError, match="no parquet file any more"):
            undo(published.config, published.second)
        path.write_bytes(half_the_rows(path, good, tmp_path))
        with pytest.raises(RollbackError, match=r"17520 rows in \d+ bytes, its copy has 8760 in"):
            undo(published.config, published.second)
    finally:
        path.write_bytes(good)
        forget_leases(published.place)

    assert snapshots(published.place) == held


def half_the_rows(path: Path, good: bytes, folder: Path) -> bytes:
    """Sound parquet of the same length: nobody reads what lies before the footer."""
    path.write_bytes(good)
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows.slice(0, 8760), folder / "less.parquet", compression="zstd")
    less = (folder / "less.parquet").read_bytes()
    footer_bytes = int.from_bytes(less[-8:-4], "little") + 8
    filler = b"\0" * (len(good) - len(less))
    assert filler
    return less[:-footer_bytes] + filler + less[-footer_bytes:]


def test_dry_run_names_what_it_would_do_and_does_nothing(
    published: Published, tmp_path: Path
) -> None:
    held = snapshots(published.place)

    told = by_command(published.config, published.second, tmp_path, "--dry-run")

    assert "hourly: 1 partition(s) would be returned to before snapshot" in told
    assert f"{GA}: 8,760 rows become 17,520, 1 file(s) out, 1 copied" in told
    assert told.endswith("Nothing was changed.\n")
    assert snapshots(published.place) == held


def by_command(config: RunConfig, run_id: str, folder: Path, *options: str) -> str:
    """What `oedi-spark rollback` prints."""
    written = folder / "run.yaml"
    written.write_text(config.model_dump_json(by_alias=True))
    command = ["rollback", "--config", str(written), "--run", run_id, *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return result.output


def test_table_that_lies_elsewhere_is_not_touched(published: Published, tmp_path: Path) -> None:
    elsewhere = published.config.model_copy(
        update={
            "catalog": published.config.catalog.model_copy(
                update={"warehouse_dir": str(tmp_path / "elsewhere")}
            )
        }
    )

    with pytest.raises(OediSparkError, match="by this config it would be at"):
        undo(elsewhere, published.second)
