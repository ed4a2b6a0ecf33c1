"""Expiry, orphans and old metadata: what goes is named by nobody, and nothing else goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.contracts_maintenance import MaintenanceError, StepReport
from oedi_spark.errors import CommitUnknownError
from oedi_spark.lake import expiry
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid, open_catalog
from oedi_spark.lake.expiry import expire_snapshots
from oedi_spark.lake.files import AMBIENT
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.orphans import (
    sweep_beside,
    sweep_leases,
    sweep_old_metadata,
    sweep_orphans,
)
from oedi_spark.lake.owned import canonical, delete_below, delete_owned, open_owned
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.lake.writer import replace_partitions
from oedi_spark.maintenance import maintain
from oedi_spark.places import catalog_location
from tests.conftest import MakeConfig
from tests.lake.conftest import TOTAL

Stage = Callable[[Table, Partition, float, str], StagedFile]
R = "2024_comstock_amy2018_release_1"
CO, GA = Partition(R, "CO", 0), Partition(R, "GA", 0)
RUNS = [f"2026010{day}T000000Z-0000000{day}" for day in range(1, 8)]
DAY_S = 86_400.0
UUID = "00000000-0000-0000-0000-000000000000"


def publish(table: Table, stage: Stage, *run_ids: str, partition: Partition = CO) -> list[int]:
    """One snapshot per run, of the value 1, 2, …; returns their ids."""
    for value, run_id in enumerate(run_ids, 1):
        staged = stage(table, partition, float(value), run_id)
        replace_partitions(table, [partition], [staged], run_id=run_id)
    return [each.snapshot_id for each in table.refresh().snapshots()]


def folder(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"))


def stored(table: Table) -> set[str]:
    """Every file below the table's folder, relative to it."""
    root = folder(table)
    return {str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir()}


def put(table: Table, name: str, *, age_days: float) -> str:
    """A file of that name and age in the table's folder."""
    path = folder(table) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    touch(path, age_days)
    return name


def touch(path: Path, age_days: float) -> None:
    at_s = time.time() - age_days * DAY_S
    os.utime(path, (at_s, at_s))


def age_all(table: Table) -> None:
    """Make everything there is older than any limit."""
    for name in stored(table):
        touch(folder(table) / name, 30)


def names(table: Table, report: StepReport) -> set[str]:
    root = f"{table.location()}/"
    return {each.uri.removeprefix(root) for each in report.removed}


def expire(table: Table, *, days: float = 0, keep: int = 1, dry: bool = False) -> StepReport:
    time.sleep(0.005)  # so that the newest snapshot is older than now
    return expire_snapshots(table, retention_days=days, keep=keep, is_dry_run=dry)


def totals(table: Table, snapshot_id: int) -> list[float]:
    rows = table.refresh().scan(snapshot_id=snapshot_id).to_arrow()
    return sorted(rows["total_kwh"].to_pylist())


# Expiry


def test_expire_removes_old_snapshots_with_their_files_and_keeps_the_newest(
    hourly: Table, stage: Stage
) -> None:
    ids = publish(hourly, stage, *RUNS[:4])
    cells = f"data/{CO}"
    gone = {f"{cells}/{RUNS[0]}.parquet", f"{cells}/{RUNS[1]}.parquet"}

    report = expire(hourly, keep=2)

    assert report.snapshots == tuple(ids[:2])
    assert {name for name in names(hourly, report) if name.startswith("data/")} == gone
    left = stored(hourly)
    assert {name for name in left if name.startswith("data/")} == {
        f"{cells}/{RUNS[2]}.parquet",
        f"{cells}/{RUNS[3]}.parquet",
    }
    assert not names(hourly, report) & left
    assert len([name for name in left if name.startswith("metadata/snap-")]) == 2
    assert [totals(hourly, each) for each in ids[2:]] == [[3.0] * 4, [4.0] * 4]
    assert hourly.refresh().snapshot_by_id(ids[0]) is None


def test_expire_keeps_what_is_younger_than_the_retention(hourly: Table, stage: Stage) -> None:
    publish(hourly, stage, *RUNS[:3])
    before = stored(hourly)

    assert expire(hourly, days=1).is_idle
    assert stored(hourly) == before


def test_expire_keeps_tagged_snapshots_and_heads_of_branches_readable(
    hourly: Table, stage: Stage
) -> None:
    ids = publish(hourly, stage, *RUNS[:4])
    hourly.manage_snapshots().create_tag(ids[0], "paper").create_branch(ids[1], "trial").commit()

    report = expire(hourly)

    assert report.snapshots == (ids[2],)
    assert [totals(hourly, each) for each in (ids[0], ids[1], ids[3])] == [
        [1.0] * 4,
        [2.0] * 4,
        [4.0] * 4,
    ]


def test_expire_keeps_files_that_a_later_snapshot_took_over(hourly: Table, stage: Stage) -> None:
    publish(hourly, stage, RUNS[0], partition=GA)
    publish(hourly, stage, *RUNS[1:4])

    report = expire(hourly)

    assert len(report.snapshots) == 3
    assert f"data/{GA}/{RUNS[0]}.parquet" in stored(hourly)
    rows = hourly.refresh().scan().to_arrow().to_pydict()
    assert sorted(zip(rows["state"], rows["total_kwh"], strict=True)) == [
        *[("CO", 3.0)] * 4,
        *[("GA", 1.0)] * 4,
    ]


def test_expire_dry_run_names_what_the_real_one_removes_and_changes_nothing(
    hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, *RUNS[:4])
    before, location = stored(hourly), hourly.refresh().metadata_location

    planned = expire(hourly, dry=True)

    assert stored(hourly) == before
    assert hourly.refresh().metadata_location == location
    sizes = {
        each.uri: Path(each.uri.removeprefix("file://")).stat().st_size for each in planned.removed
    }
    assert {each.uri: each.size_bytes for each in planned.removed} == sizes
    assert expire(hourly) == planned


def test_expire_that_is_killed_before_it_deletes_is_finished_by_the_sweep(
    hourly: Table, stage: Stage, place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, stage, *RUNS[:4])
    planned = expire(hourly, dry=True)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(expiry, "delete_owned", die)
        with pytest.raises(KeyboardInterrupt):
            expire(hourly)
    assert names(hourly, planned) <= stored(hourly)
    assert expire(hourly).is_idle
    age_all(hourly)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert names(hourly, report) == names(hourly, planned)
    current = hourly.refresh().current_snapshot()
    assert current is not None
    assert len([name for name in stored(hourly) if name.endswith(".parquet")]) == 1
    assert totals(hourly, current.snapshot_id) == [4.0] * 4


def test_expire_does_not_take_a_branch_along_that_was_set_back_meanwhile(
    hourly: Table, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = publish(hourly, stage, *RUNS[:3])
    plain, beaten = expiry._expire, list[int]()

    def be_beaten(table: Table, expired: Any) -> None:  # noqa: ANN401 - passed on
        if not beaten:
            beaten.append(1)
            other = table.catalog.load_table(table.name())
            other.manage_snapshots().rollback_to_snapshot(ids[0]).commit()
        plain(table, expired)

    monkeypatch.setattr(expiry, "_expire", be_beaten)

    report = expire(hourly)

    assert report.snapshots == (ids[1],)
    current = hourly.refresh().current_snapshot()
    assert current is not None
    assert (current.snapshot_id, totals(hourly, ids[0])) == (ids[0], [1.0] * 4)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (CommitFailedException("others were faster"), MaintenanceError),
        (OSError("the answer was lost"), CommitUnknownError),
    ],
)
def test_expire_whose_commit_fails_deletes_nothing(
    hourly: Table,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    expected: type[Exception],
) -> None:
    publish(hourly, stage, *RUNS[:3])
    before = stored(hourly)

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(expiry, "_expire", fail)
    monkeypatch.setattr("oedi_spark.lake.catalog.COMMIT_ATTEMPTS", 2)

    with pytest.raises(expected):
        expire(hourly)
    assert stored(hourly) == before


# Orphans


def test_orphans_go_when_they_are_old_and_ours_and_nothing_else_goes(
    hourly: Table, stage: Stage, place: CatalogLocation
) -> None:
    publish(hourly, stage, *RUNS[:2])
    age_all(hourly)
    before = stored(hourly)
    cells = f"data/{CO}"
    orphans = {
        put(hourly, name, age_days=4)
        for name in (
            f"{cells}/{RUNS[2]}.parquet",
            f"{cells}/{RUNS[2]}-00001-0123456789ab.parquet",
            f"{cells}/{RUNS[2]}-maintain-c00000-0123456789ab.parquet",
            f"{cells}/{RUNS[2]}-window-0123456789ab/_temporary/0/part-0.parquet",
            f"data/00000-0-{UUID}.parquet",
            f"metadata/{UUID}-m0.avro",
            f"metadata/snap-123-0-{UUID}.avro",
        )
    }
    foreign = {
        put(hourly, name, age_days=400)
        for name in (
            f"{cells}/notes.parquet",
            f"{cells}/.hidden",
            "data/other/table.csv",
            "readme.txt",
            f"{RUNS[2]}.parquet",
        )
    }
    young = put(hourly, f"{cells}/{RUNS[3]}.parquet", age_days=2)
    put(hourly, f"{cells}/young.txt", age_days=2)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert names(hourly, report) == orphans
    assert report.removed_bytes == 5 * len(orphans)
    assert {uri.removeprefix(f"{hourly.location()}/") for uri in report.foreign} == foreign
    assert stored(hourly) == before | foreign | {young, f"{cells}/young.txt"}
    assert not (folder(hourly) / f"{cells}/{RUNS[2]}-window-0123456789ab").exists()
    assert hourly.refresh().scan().to_arrow().num_rows == 4


def test_orphans_dry_run_names_them_and_removes_nothing(
    hourly: Table, place: CatalogLocation
) -> None:
    orphan = put(hourly, f"data/{CO}/{RUNS[2]}.parquet", age_days=4)
    before = stored(hourly)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=True)

    assert names(hourly, report) == {orphan}
    assert [each.size_bytes for each in report.removed] == [5]
    assert stored(hourly) == before


def test_orphans_of_a_living_run_stay_whatever_their_age(
    hourly: Table, place: CatalogLocation
) -> None:
    LeaseBook(place.database_uri).acquire(RUNS[4], [CO])
    alive = {
        put(hourly, f"data/{CO}/{RUNS[4]}-00001-0123456789ab.parquet", age_days=9),
        put(hourly, f"data/{CO}/{RUNS[4]}-window-01/part-0.parquet", age_days=9),
        put(hourly, f"metadata/{commit_uuid(RUNS[4])}-m0.avro", age_days=9),
    }
    dead = put(hourly, f"data/{GA}/{RUNS[5]}-00001-0123456789ab.parquet", age_days=9)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert names(hourly, report) == {dead}
    assert alive <= stored(hourly)


def test_orphans_in_a_partition_that_a_living_run_claims_stay_for_it_to_take_up(
    hourly: Table, place: CatalogLocation
) -> None:
    """They bear the id of the dead run that has finished them, whose lease still lies there."""
    book = LeaseBook(place.database_uri)
    book.abandon(RUNS[3], [CO, GA])
    book.renew(RUNS[4], [CO])
    kept = {
        put(hourly, f"data/{CO}/{RUNS[3]}-00001-0123456789ab.parquet", age_days=9),
        put(hourly, f"data/{CO}/{RUNS[3]}-window-01/part-0.parquet", age_days=9),
    }
    assert sweep_orphans(hourly, place, age_days=3, is_dry_run=False).is_idle
    dead = put(hourly, f"data/{GA}/{RUNS[3]}-00001-0123456789ab.parquet", age_days=9)
    put(hourly, f"data/{CO}0/{RUNS[3]}-00001-0123456789ab.parquet", age_days=9)  # upgrade 00

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert names(hourly, report) == {dead, f"data/{CO}0/{RUNS[3]}-00001-0123456789ab.parquet"}
    assert kept <= stored(hourly)


def test_orphans_that_a_run_comes_to_take_up_while_they_are_looked_at_stay(
    hourly: Table, place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the dead run's lease just before that was released."""
    LeaseBook(place.database_uri).abandon(RUNS[3], [CO])
    kept = put(hourly, f"data/{CO}/{RUNS[3]}-00001-0123456789ab.parquet", age_days=9)
    release = LeaseBook.release

    def claim_first(book: LeaseBook, run_id: str) -> None:
        assert [each.run_id for each in book.acquire(RUNS[4], [CO])] == [RUNS[3]]
        release(book, run_id)

    monkeypatch.setattr(LeaseBook, "release", claim_first)

    assert sweep_orphans(hourly, place, age_days=3, is_dry_run=False).removed == ()
    assert kept in stored(hourly)


def test_orphans_that_a_run_commits_while_they_are_looked_at_stay(
    hourly: Table, stage: Stage, place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = stage(hourly, CO, 2.0, RUNS[0])
    touch(Path(staged.path.removeprefix("file://")), 9)
    leases, other = LeaseBook(place.database_uri), open_catalog(place).load_table(hourly.name())
    leases.acquire(RUNS[0], [CO])
    plain = LeaseBook.others

    def commit_first(book: LeaseBook, run_id: str) -> Any:  # noqa: ANN401 - passed on
        replace_partitions(other, [CO], [staged], run_id=RUNS[0])
        leases.release(RUNS[0])
        return plain(book, run_id)

    monkeypatch.setattr(LeaseBook, "others", commit_first)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert report.removed == ()
    assert hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [2.0] * 4


def test_orphans_are_not_told_where_snapshots_name_files_elsewhere(
    hourly: Table, stage: Stage, place: CatalogLocation, tmp_path: Path
) -> None:
    staged = stage(hourly, CO, 1.0, RUNS[0])
    moved = tmp_path / f"{RUNS[0]}.parquet"
    moved.write_bytes(Path(staged.path.removeprefix("file://")).read_bytes())
    hourly.add_files([f"file://{moved}"])
    age_all(hourly)
    before = stored(hourly)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert report.removed == ()
    assert f"snapshots name files elsewhere (file://{moved})" in report.notes[0]
    assert stored(hourly) == before


def test_orphans_are_never_links_nor_what_a_link_leads_to(
    hourly: Table, place: CatalogLocation, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = outside / f"{RUNS[2]}.parquet"
    kept.write_text("kept")
    touch(kept, 9)
    (folder(hourly) / "data").mkdir(exist_ok=True)
    (folder(hourly) / f"data/{RUNS[2]}.parquet").symlink_to(kept)
    (folder(hourly) / "data/release=x").symlink_to(outside)
    for link in (f"data/{RUNS[2]}.parquet", "data/release=x"):
        os.utime(folder(hourly) / link, (0, 0), follow_symlinks=False)

    report = sweep_orphans(hourly, place, age_days=3, is_dry_run=False)

    assert report.removed == ()
    assert len(report.foreign) == 2
    assert kept.read_text("utf-8") == "kept"


def test_delete_owned_refuses_what_lies_elsewhere_and_then_deletes_nothing(
    hourly: Table, stage: Stage, tmp_path: Path
) -> None:
    mine = stage(hourly, CO, 1.0, RUNS[0]).path
    other = tmp_path / "other.parquet"
    other.write_text("kept")
    (folder(hourly) / "data/link").symlink_to(tmp_path)
    for stray in (
        f"file://{other}",
        f"{hourly.location()}/data/../../../../other.parquet",
        f"{hourly.location()}/data/link/other.parquet",
        f"{hourly.location()}-other/x.parquet",
    ):
        with pytest.raises(MaintenanceError, match="does not lie in it"):
            delete_owned(hourly, [mine, stray])
    assert other.read_text("utf-8") == "kept"
    assert Path(mine.removeprefix("file://")).exists()


def test_delete_below_takes_no_key_that_climbs() -> None:
    with pytest.raises(MaintenanceError, match="does not lie in it"):
        delete_below("s3://bucket/warehouse/hourly", ["s3://bucket/warehouse/hourly/../x"], AMBIENT)


def test_landing_of_dead_runs_goes_and_of_living_ones_stays(
    hourly: Table, place: CatalogLocation
) -> None:
    LeaseBook(place.database_uri).acquire(RUNS[4], [CO])
    root = Path(place.database_uri.removeprefix("file://")) / "_landing"
    ages = {f"{RUNS[3]}/a/b.parquet": 9, f"{RUNS[4]}/b.parquet": 9, f"{RUNS[5]}/b.parquet": 1}
    for name, age_days in {**ages, "mine/b.parquet": 9}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
        touch(root / name, age_days)

    planned = sweep_beside(place, "_landing", age_days=3, is_dry_run=True)
    report = sweep_beside(place, "_landing", age_days=3, is_dry_run=False)

    assert planned == report
    assert [each.uri for each in report.removed] == [f"file://{root}/{RUNS[3]}/a/b.parquet"]
    assert report.foreign == (f"file://{root}/mine/b.parquet",)
    assert {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()} == {
        f"{RUNS[4]}/b.parquet",
        f"{RUNS[5]}/b.parquet",
        "mine/b.parquet",
    }
    assert not (root / RUNS[3]).exists()


def lay(root: Path, ages_days: Mapping[str, float]) -> None:
    """Small files of these names and ages."""
    for name, age_days in ages_days.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
        touch(root / name, age_days)


def test_entries_of_dead_runs_go_and_of_living_ones_stay(
    hourly: Table, place: CatalogLocation
) -> None:
    LeaseBook(place.database_uri).acquire(RUNS[4], [CO])
    root = Path(place.database_uri.removeprefix("file://")) / "_staged"
    gone = {f"{RUNS[3]}/{'0' * 16}.json", f"{RUNS[3]}/{'1' * 16}.json.0badcafe.unfinished"}
    foreign = {"mine/0.json", f"{RUNS[3]}/notes.txt", f"{RUNS[3]}/a/{'0' * 16}.json", "x.json"}
    kept = {f"{RUNS[4]}/{'0' * 16}.json"}
    lay(root, dict.fromkeys((*gone, *foreign, *kept), 9) | {f"{RUNS[5]}/{'0' * 16}.json": 1})

    planned = sweep_beside(place, "_staged", age_days=3, is_dry_run=True)
    report = sweep_beside(place, "_staged", age_days=3, is_dry_run=False)

    assert planned == report
    assert {each.uri for each in report.removed} == {f"file://{root}/{name}" for name in gone}
    assert set(report.foreign) == {f"file://{root}/{name}" for name in foreign}
    assert {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()} == {
        *foreign,
        *kept,
        f"{RUNS[5]}/{'0' * 16}.json",
    }


def test_old_marks_go_from_among_the_leases_and_no_lease(place: CatalogLocation) -> None:
    root = Path(place.database_uri.removeprefix("file://")) / "_leases"
    kept = {f"{RUNS[1]}.ended": 6.9, f"{RUNS[2]}.json": 400, "notes.txt": 400}
    gone = {f"{RUNS[3]}.ended": 7.1, f"{RUNS[4]}.json.0badcafe.unfinished": 1}
    lay(root, {**kept, **gone})

    planned = sweep_leases(place, is_dry_run=True)
    assert len(list(root.iterdir())) == 5
    report = sweep_leases(place, is_dry_run=False)

    assert planned == report
    assert [each.uri for each in report.removed] == [f"file://{root}/{name}" for name in gone]
    assert {path.name for path in root.iterdir()} == kept.keys()


def test_a_pass_over_everything_sweeps_also_what_lies_beside_the_tables(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    root = Path(catalog_location(config).database_uri.removeprefix("file://"))
    lay(
        root,
        {
            f"_landing/{RUNS[3]}/a.parquet": 4,
            f"_staged/{RUNS[3]}/{'0' * 16}.json": 4,
            f"_leases/{RUNS[3]}.ended": 8,
        },
    )

    one = maintain(config, tables=["hourly"])
    report = maintain(config)

    assert [each.table for each in one.steps] == []
    assert [(each.table, len(each.removed)) for each in report.steps] == [
        ("_landing", 1),
        ("_staged", 1),
        ("_leases", 1),
    ]
    assert [path for path in root.rglob("*") if path.is_file()] == []


# Metadata, and whose table it is


def test_old_metadata_goes_that_no_log_names_up_to_the_current_version(
    hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, *RUNS[:2])
    before = stored(hourly)
    lost = put(hourly, f"metadata/00001-{UUID}.metadata.json", age_days=0)
    coming = put(hourly, f"metadata/00003-{UUID}.metadata.json", age_days=0)

    planned = sweep_old_metadata(hourly, is_dry_run=True)
    assert lost in stored(hourly)
    report = sweep_old_metadata(hourly, is_dry_run=False)

    assert planned == report
    assert names(hourly, report) == {lost}
    assert stored(hourly) == before | {coming}


def test_open_owned_skips_what_is_not_there_and_refuses_a_table_elsewhere(
    hourly: Table, place: CatalogLocation, tmp_path: Path
) -> None:
    catalog = open_catalog(place)
    assert [table.name() for table in open_owned(catalog, place, ["hourly", "columns"])] == [
        ("eulp", "hourly")
    ]
    elsewhere = f"file://{tmp_path}/elsewhere"
    definition = hourly_definition([TOTAL])
    catalog.create_table(("eulp", "columns"), definition.schema, location=elsewhere)

    with pytest.raises(MaintenanceError, match=r"it lies at .*elsewhere, and by this config"):
        open_owned(catalog, place, ["hourly", "columns"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("file:/a/b c", "file:///a/b c"),
        ("file:///a/b", "file:///a/b"),
        ("/a/b", "file:///a/b"),
        ("s3a://bucket/a//b", "s3://bucket/a//b"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_canonical_spells_what_engines_spell_otherwise(written: str, meant: str) -> None:
    assert canonical(written) == meant
