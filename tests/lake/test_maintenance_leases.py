"""Orphans of a run that only counts as dead: it is stopped before anything of its own goes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.contracts_maintenance import StepReport
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid, open_catalog
from oedi_spark.lake.files import S3Access
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.ledger import ledger_claim, open_ledger, runs_definition
from oedi_spark.lake.orphans import sweep_beside, sweep_orphans
from oedi_spark.lake.owned import delete_below, delete_owned
from oedi_spark.lake.writer import replace_partitions
from tests.lake.test_ledger import enter, run_of

Stage = Callable[[Table, Partition, float, str], StagedFile]
CO = Partition("2024_comstock_amy2018_release_1", "CO", 0)
FIRST, SLEEPER, OTHER = (f"2026010{day}T000000Z-0000000{day}" for day in (1, 2, 3))
TWENTY_MINUTES_S = 1200
DAY_S = 86_400


@pytest.fixture
def book(place: CatalogLocation) -> LeaseBook:
    return LeaseBook(place.database_uri)


@pytest.fixture
def asleep(hourly: Table, stage: Stage, place: CatalogLocation, book: LeaseBook) -> Path:
    """The one file that SLEEPER staged nine days ago; its lease is as of another machine."""
    first = stage(hourly, CO, 1.0, FIRST)
    replace_partitions(hourly, [CO], [first], run_id=FIRST)
    book.acquire(SLEEPER, [CO])
    fall_asleep(place, SLEEPER)
    return aged(stage(hourly, CO, 2.0, SLEEPER).path)


def aged(uri: str) -> Path:
    path = Path(uri.removeprefix("file://"))
    os.utime(path, (time.time() - 9 * DAY_S,) * 2)
    return path


def lease_of(place: CatalogLocation, run_id: str) -> Path:
    return Path(place.database_uri.removeprefix("file://")) / "_leases" / f"{run_id}.json"


def fall_asleep(place: CatalogLocation, run_id: str) -> None:
    """Make a lease one of another machine, which has not renewed it for longer than it may."""
    path = lease_of(place, run_id)
    late = {"machine": "another", "renewed_at_s": time.time() - TWENTY_MINUTES_S}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | late), "utf-8")


def sweep(table: Table, place: CatalogLocation, *, dry: bool = False) -> StepReport:
    return sweep_orphans(table, place, age_days=3, is_dry_run=dry)


def test_orphans_of_a_run_that_counts_as_dead_go_and_it_can_publish_no_more(
    hourly: Table, place: CatalogLocation, book: LeaseBook, asleep: Path
) -> None:
    report = sweep(hourly, place)

    assert [each.uri for each in report.removed] == [f"file://{asleep}"]
    assert report.notes == (f"run {SLEEPER} counts as dead; its lease was released first",)
    assert not asleep.exists()
    with pytest.raises(PublishError, match="its lease is gone"):
        book.require_held(SLEEPER)
    assert hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [1.0] * 4


def test_lease_of_a_run_that_counts_as_dead_is_gone_before_the_first_file_goes(
    hourly: Table, place: CatalogLocation, asleep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[bool]()

    def look_first(table: Table, uris: Collection[str]) -> None:
        seen.append(lease_of(place, SLEEPER).exists())
        delete_owned(table, uris)

    monkeypatch.setattr("oedi_spark.lake.orphans.delete_owned", look_first)

    sweep(hourly, place)

    assert seen == [False]
    assert not asleep.exists()


def test_dry_run_says_whose_lease_would_be_released_and_leaves_it(
    hourly: Table, place: CatalogLocation, book: LeaseBook, asleep: Path
) -> None:
    report = sweep(hourly, place, dry=True)

    assert [each.uri for each in report.removed] == [f"file://{asleep}"]
    assert report.notes == (f"run {SLEEPER} counts as dead; its lease would be released first",)
    assert asleep.exists()
    book.require_held(SLEEPER)


def test_orphans_that_a_run_commits_just_before_it_loses_its_lease_stay(
    hourly: Table,
    stage: Stage,
    place: CatalogLocation,
    asleep: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = stage(hourly, CO, 2.0, SLEEPER)
    aged(staged.path)
    other, release = open_catalog(place).load_table(hourly.name()), LeaseBook.release

    def commit_first(book: LeaseBook, run_id: str) -> None:
        replace_partitions(other, [CO], [staged], run_id=SLEEPER)
        release(book, run_id)

    monkeypatch.setattr(LeaseBook, "release", commit_first)

    report = sweep(hourly, place)

    assert report.removed == ()
    assert asleep.exists()
    assert hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [2.0] * 4


def test_orphans_of_a_run_that_renews_while_its_lease_is_released_stay(
    hourly: Table,
    place: CatalogLocation,
    book: LeaseBook,
    asleep: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had seen its lease, and writes it once more: it may be about to commit."""
    release = LeaseBook.release

    def be_renewed(of: LeaseBook, run_id: str) -> None:
        release(of, run_id)
        of.renew(run_id, [CO])

    monkeypatch.setattr(LeaseBook, "release", be_renewed)

    assert sweep(hourly, place).removed == ()
    assert asleep.exists()
    with pytest.raises(PublishError, match="its lease is gone"):
        book.require_held(SLEEPER)


def test_run_that_renews_after_its_orphans_went_can_publish_no_more(
    hourly: Table, place: CatalogLocation, book: LeaseBook, asleep: Path
) -> None:
    """It had seen its lease before the sweep, and writes it once more when all is over."""
    sweep(hourly, place)
    assert not asleep.exists()

    book.renew(SLEEPER, [CO])

    with pytest.raises(PublishError, match="its lease is gone"):
        book.require_held(SLEEPER)
    assert [each.run_id for each in book.acquire(OTHER, [CO])] == [SLEEPER]


def test_lease_of_a_dead_run_of_which_nothing_old_lies_there_stays(
    hourly: Table, place: CatalogLocation, book: LeaseBook, asleep: Path
) -> None:
    book.acquire(OTHER, [])
    fall_asleep(place, OTHER)

    sweep(hourly, place)

    assert not asleep.exists()
    book.require_held(OTHER)


def test_landing_of_a_run_that_counts_as_dead_goes_after_its_lease(
    hourly: Table, place: CatalogLocation, asleep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Path(place.database_uri.removeprefix("file://")) / "_landing" / SLEEPER / "a.parquet"
    waiting.parent.mkdir(parents=True)
    waiting.write_text("x", "utf-8")
    aged(f"file://{waiting}")
    seen = list[bool]()

    def look_first(folder: str, uris: Collection[str], access: S3Access) -> None:
        seen.append(lease_of(place, SLEEPER).exists())
        delete_below(folder, uris, access)

    monkeypatch.setattr("oedi_spark.lake.orphans.delete_below", look_first)

    planned = sweep_beside(place, "_landing", age_days=3, is_dry_run=True)
    assert lease_of(place, SLEEPER).exists()
    report = sweep_beside(place, "_landing", age_days=3, is_dry_run=False)

    assert planned.removed == report.removed
    assert [each.uri for each in report.removed] == [f"file://{waiting}"]
    assert (seen, waiting.exists(), asleep.exists()) == ([False], False, True)
    assert report.notes == (f"run {SLEEPER} counts as dead; its lease was released first",)


def test_ledger_entry_that_counts_as_dead_is_swept_and_appends_no_more(
    place: CatalogLocation,
) -> None:
    enter(place, "run-0")
    runs = open_catalog(place).load_table((place.database, "runs"))
    with open_ledger(place, SLEEPER) as ledger:
        claim = ledger_claim(SLEEPER)
        fall_asleep(place, claim)
        name = f"data/00000-0-{commit_uuid(claim)}.parquet"
        staged = Path(runs.location().removeprefix("file://")) / name
        staged.write_bytes(b"12345")
        aged(f"file://{staged}")

        report = sweep(runs, place)

        assert [each.uri for each in report.removed] == [f"file://{staged}"]
        with pytest.raises(PublishError, match="runs was not published: its lease is gone"):
            ledger.append(runs_definition(), [run_of(SLEEPER)])
    assert len(runs.refresh().snapshots()) == 1
