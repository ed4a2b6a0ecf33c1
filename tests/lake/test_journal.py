"""What a killed run has finished is taken up once, by who may, and only as it was left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    FileOutcome,
    IntervalStamp,
    MeasureStatistics,
    Partition,
    Reason,
    ReleaseFacts,
    RuleFinding,
    SourceFile,
    StagedFile,
)
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn, MetadataPart
from oedi_spark.errors import PublishError
from oedi_spark.lake import leftovers as leftovers_module
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.claim import Lake, claim_lake, tidy_dead_runs
from oedi_spark.lake.files import read_whole
from oedi_spark.lake.journal import journal_folder, leave_entry
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.leftovers import LEFTOVER_TTL_S, Entry, Leftovers, gather, read_entries
from oedi_spark.lake.publication import Harvest, publish
from oedi_spark.lake.writer import replace_partitions
from tests.lake.conftest import TOTAL

Stage = Callable[..., StagedFile]
R = "2024_comstock_amy2018_release_1"
GA, AL = Partition(R, "GA", 0), Partition(R, "AL", 0)
DEAD, LIVING = "20260101T000000Z-0000000a", "20260101T000000Z-0000000b"
FACTS = ReleaseFacts(R, IntervalStamp.END, 35_040, 2018)
MARK = "0123456789abcdef"
VINTAGE = MetadataColumn("in_vintage", "in.vintage", "text", ColumnKind.STRING, "string")
NO_ROWS = MetadataPart(GA, (), None, (), np.array([], dtype=np.int64))


def batch_of(*ordinals: int, fingerprint: str = MARK, partition: Partition = GA) -> Batch:
    files = tuple(
        SourceFile(at, f"GA/{at}-0.parquet", at, 10, "e", "2024-01-01T00:00:00Z") for at in ordinals
    )
    return Batch(3, partition, FACTS, files, {"bldg_id": 4}, fingerprint)


def finish(table: Table, stage: Stage, batch: Batch, run_id: str = DEAD) -> BatchResult:
    """What a task hands back: two files staged, one failed, one put off."""
    named = f"{run_id}-00003-0123456789ab"
    staged = replace(
        stage(table, batch.partition, 1.0, named),
        ordinals=(batch.files[0].ordinal, batch.files[1].ordinal),
    )
    return BatchResult(
        batch_number=batch.number,
        staged=(staged,),
        outcomes=(FileOutcome(batch.files[2].ordinal, Reason.TRUNCATED, "cut"),),
        deferred=(batch.files[3].ordinal,),
        columns={TOTAL: 2, Column("b_c", "b", "c", "mean", known=False, source_type="float"): 1},
        read_bytes=77,
        seconds={"reader": 1.5},
        findings=(RuleFinding(batch.files[1].ordinal, "energy_is_not_negative", "-1"),),
        judged={"energy_is_not_negative": 2},
        statistics={"total_kwh": MeasureStatistics(2, 8.5, {-3: 1, 12: 1}, 4, 0, 0.5, 1e300)},
    )


def leave(place: CatalogLocation, table: Table, stage: Stage, batch: Batch) -> BatchResult:
    """A dead run with one finished batch: file, entry, lease."""
    result = finish(table, stage, batch)
    leave_entry(journal_folder(place.database_uri, DEAD), batch, result)
    LeaseBook(place.database_uri).abandon(DEAD, [GA, AL])
    return result


def lying(place: CatalogLocation) -> list[str]:
    root = Path(place.database_uri.removeprefix("file://"))
    return sorted(str(path) for path in root.glob("hourly/data/**/*.parquet"))


def leftovers(place: CatalogLocation, *claimed: Partition) -> Leftovers:
    dead = tuple(LeaseBook(place.database_uri).others(LIVING))
    return gather(place.database_uri, dead, claimed or (GA,))


def test_entry_brings_back_the_result_with_the_ordinals_of_the_new_run(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    result = leave(place, hourly, stage, batch_of(10, 11, 12, 13))

    (taken,), due = leftovers(place).adopt([replace(batch_of(0, 1, 2, 3), number=9)], hourly)

    assert due == []
    assert taken.staged[0] == replace(result.staged[0], ordinals=(0, 1))
    assert taken == replace(
        result,
        batch_number=9,
        staged=(replace(result.staged[0], ordinals=(0, 1)),),
        outcomes=(FileOutcome(2, Reason.TRUNCATED, "cut"),),
        deferred=(3,),
        findings=(RuleFinding(1, "energy_is_not_negative", "-1"),),
        read_bytes=0,
        seconds={},
    )


def test_batch_of_another_fingerprint_is_due(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    leave(place, hourly, stage, batch_of(10, 11, 12, 13))
    other = batch_of(0, 1, 2, 3, fingerprint="f" * 16)

    assert leftovers(place).adopt([other], hourly) == ([], [other])


@pytest.mark.parametrize("harm", ["gone", "cut", "elsewhere", "other run", "other partition"])
def test_entry_whose_file_is_not_as_it_was_left_is_not_taken_up(
    place: CatalogLocation, hourly: Table, stage: Stage, tmp_path: Path, harm: str
) -> None:
    batch = batch_of(0, 1, 2, 3)
    result = leave(place, hourly, stage, batch)
    path = Path(result.staged[0].path.removeprefix("file://"))
    claim = batch
    if harm == "gone":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "other partition":
        claim = replace(batch, partition=AL)
    else:
        stranger = tmp_path / "stranger.parquet"
        if harm == "other run":
            stranger = path.with_name(f"{LIVING}-00003-0123456789ab.parquet")
        path.rename(stranger)
        entry = next(Path(place.database_uri.removeprefix("file://")).glob("_staged/*/*.json"))
        entry.write_text(entry.read_text().replace(str(path), str(stranger)))

    assert leftovers(place).adopt([claim], hourly) == ([], [claim])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"fingerprint": "0123456789abcdef"}', '{"result": 1}', "9" * 10_000]
)
def test_entry_that_makes_no_sense_is_passed_over(
    place: CatalogLocation, hourly: Table, stage: Stage, text: str
) -> None:
    leave(place, hourly, stage, batch_of(0, 1, 2, 3))
    entry = next(Path(place.database_uri.removeprefix("file://")).glob("_staged/*/*.json"))
    entry.write_text(text)

    assert read_entries(place.database_uri, DEAD) == ()


def test_batch_with_a_failure_that_may_pass_leaves_no_entry(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    result = finish(hourly, stage, batch)
    folder = journal_folder(place.database_uri, DEAD)
    passing = replace(result, outcomes=(FileOutcome(2, Reason.FETCH_FAILED, "503"),))

    leave_entry(folder, batch, passing)
    leave_entry(folder, replace(batch, fingerprint=""), result)
    leave_entry(folder, batch, replace(result, staged=()))

    assert read_entries(place.database_uri, DEAD) == ()


def test_file_that_a_later_snapshot_has_dropped_is_not_taken_up_and_a_live_one_is(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    result = leave(place, hourly, stage, batch)
    replace_partitions(hourly, [GA], result.staged, run_id=DEAD)
    assert leftovers(place).adopt([batch], hourly)[1] == []

    other = stage(hourly, GA, 2.0, LIVING)
    replace_partitions(hourly, [GA], [other], run_id=LIVING)

    assert leftovers(place).adopt([batch], hourly)[1] == [batch]


def test_files_that_the_table_holds_already_are_not_committed_again(
    hourly: Table, stage: Stage
) -> None:
    staged = [stage(hourly, GA, 1.0, DEAD)]
    replace_partitions(hourly, [GA], staged, run_id=DEAD)
    held = hourly.refresh().current_snapshot()
    assert held is not None

    publication = replace_partitions(hourly, [GA], staged, run_id=LIVING)

    assert publication.snapshot_id == held.snapshot_id
    assert len(hourly.refresh().snapshots()) == 1
    more = [*staged, stage(hourly, GA, 2.0, LIVING)]
    replace_partitions(hourly, [GA], more, run_id=LIVING)
    current = hourly.refresh().current_snapshot()
    assert current is not None
    assert current.summary is not None
    assert current.summary.additional_properties["added-data-files"] == "1"
    assert "deleted-data-files" not in current.summary.additional_properties
    assert hourly.scan().to_arrow().num_rows == 8


def test_claim_spares_what_may_be_taken_up_and_removes_it_in_the_end(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    result = leave(place, hourly, stage, batch)
    half = Path(result.staged[0].path.removeprefix("file://")).with_name(f"{DEAD}-half.parquet")
    half.write_bytes(b"half")

    with claim_lake(place, LIVING, [GA, AL], [TOTAL]) as lake:
        assert lying(place) == [result.staged[0].path.removeprefix("file://")]
        assert lake.leftovers.adopt([batch], lake.hourly)[1] == []

    assert lying(place) == []
    root = Path(place.database_uri.removeprefix("file://"))
    assert list(root.glob("_staged/**/*.json")) == list(root.glob("_leases/*")) == []


def test_claim_that_commits_what_it_took_up_keeps_it(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    leave(place, hourly, stage, batch)

    with claim_lake(place, LIVING, [GA, AL], [TOTAL]) as lake:
        (taken,), _ = lake.leftovers.adopt([batch], lake.hourly)
        replace_partitions(lake.hourly, [GA], taken.staged, run_id=LIVING)

    assert hourly.refresh().scan().to_arrow().num_rows == 4
    assert list(LeaseBook(place.database_uri).others(LIVING)) == []


def test_claim_that_fails_leaves_it_to_the_next(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    leave(place, hourly, stage, batch)

    with pytest.raises(KeyboardInterrupt), claim_lake(place, LIVING, [GA], [TOTAL]):
        raise KeyboardInterrupt

    with claim_lake(place, "20260101T000000Z-0000000c", [GA, AL], [TOTAL]) as lake:
        assert lake.leftovers.adopt([batch], lake.hourly)[1] == []


def test_claim_of_other_partitions_leaves_it_to_whoever_claims_them(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    result = leave(place, hourly, stage, batch)

    with claim_lake(place, LIVING, [AL], [TOTAL]) as lake:
        assert lake.leftovers.adopt([batch], lake.hourly)[1] == [batch]

    assert lying(place) == [result.staged[0].path.removeprefix("file://")]
    (lease,) = LeaseBook(place.database_uri).others(LIVING)
    assert lease.partitions == {GA}
    with claim_lake(place, "20260101T000000Z-0000000c", [GA], [TOTAL]) as lake:
        assert lake.leftovers.adopt([batch], lake.hourly)[1] == []


def test_run_with_nothing_to_do_sweeps_its_partitions(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    leave(place, hourly, stage, batch_of(0, 1, 2, 3))

    tidy_dead_runs(place, LIVING, [GA])

    assert lying(place) == []
    assert list(LeaseBook(place.database_uri).others(LIVING)) == []


def test_run_with_nothing_to_do_lets_a_living_run_be(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    leases = LeaseBook(place.database_uri)
    leases.renew(DEAD, [GA])
    kept = stage(hourly, GA, 1.0, DEAD)

    tidy_dead_runs(place, LIVING, [GA])

    assert lying(place) == [kept.path.removeprefix("file://")]
    assert [each.run_id for each in leases.others("none")] == [DEAD]


@pytest.mark.parametrize(("share", "taken", "left"), [(0.4, 1, 1), (0.7, 0, 0), (1.1, 0, 0)])
def test_leftovers_grow_old(
    place: CatalogLocation, hourly: Table, stage: Stage, share: float, taken: int, left: int
) -> None:
    """Taken up for half the time, and left to others for all of it."""
    batch = batch_of(0, 1, 2, 3)
    leave(place, hourly, stage, batch)
    lease = next(Path(place.database_uri.removeprefix("file://")).glob("_leases/*.json"))
    document = json.loads(lease.read_text())
    document["renewed_at_s"] = time.time() - share * LEFTOVER_TTL_S
    lease.write_text(json.dumps(document))
    os.utime(lease)

    assert len(leftovers(place, GA).adopt([batch], hourly)[0]) == taken
    kept: tuple[Entry, ...] = leftovers(place, AL).foreign
    assert len(kept) == (1 if share < 1 else 0)
    assert len(leftovers(place, GA).leases) == left


def everything(place: CatalogLocation) -> set[str]:
    """What lies in the folders of data, of entries and of leases."""
    root = Path(place.database_uri.removeprefix("file://"))
    found = [*root.glob("hourly/data/**/*"), *root.glob("_staged/**/*"), *root.glob("_leases/*")]
    return {str(path) for path in found if path.is_file()}


@pytest.mark.parametrize("claimed", [(GA, AL), (AL,)])
@pytest.mark.parametrize("is_idle", [True, False])
def test_entry_that_cannot_be_read_leaves_all_of_its_run_to_the_next(
    place: CatalogLocation,
    hourly: Table,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    claimed: tuple[Partition, ...],
    is_idle: bool,
) -> None:
    """Also in partitions that this run does not claim, and beside an entry that can be read."""
    batch, other = batch_of(0, 1, 2, 3), batch_of(4, 5, 6, 7, fingerprint="f" * 16, partition=AL)
    leave(place, hourly, stage, batch)
    leave(place, hourly, stage, other)
    before, plain = everything(place), read_whole
    assert len(before) == 5  # two files, two entries, a lease

    def fail(uri: str, *access: object) -> bytes:
        if uri.endswith(f"/{MARK}.json"):
            raise PermissionError("503 Slow Down")
        return plain(uri, *access)  # type: ignore[arg-type] # passed on

    with monkeypatch.context() as patch:
        patch.setattr(leftovers_module, "read_whole", fail)
        if is_idle:
            tidy_dead_runs(place, LIVING, claimed)
        else:
            with claim_lake(place, LIVING, claimed, [TOTAL]) as lake:
                assert lake.leftovers.adopt([batch, other], lake.hourly)[0] == []
    assert everything(place) == before

    with claim_lake(place, "20260101T000000Z-0000000c", [GA, AL], [TOTAL]) as lake:
        assert lake.leftovers.adopt([batch, other], lake.hourly)[1] == []


def test_entry_that_is_gone_when_it_is_read_is_none(
    place: CatalogLocation, hourly: Table, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(place, hourly, stage, batch_of(0, 1, 2, 3))

    def be_late(*_: object) -> bytes:
        raise FileNotFoundError("gone")

    monkeypatch.setattr(leftovers_module, "read_whole", be_late)

    assert read_entries(place.database_uri, DEAD) == ()


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_file_that_vanishes_after_it_was_taken_up_fails_the_run_before_it_commits_anything(
    place: CatalogLocation, hourly: Table, stage: Stage, harm: str
) -> None:
    batch = batch_of(0, 1, 2, 3)
    path = Path(leave(place, hourly, stage, batch).staged[0].path.removeprefix("file://"))

    def take_up_and_publish(lake: Lake) -> None:
        (taken,), _ = lake.leftovers.adopt([batch], lake.hourly)
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
        own = stage(lake.hourly, AL, 1.0, LIVING)
        harvest = Harvest({GA: taken.staged, AL: (own,)}, {}, {GA: NO_ROWS})
        list(publish(lake, harvest, run_id=LIVING))

    with (
        pytest.raises(PublishError) as caught,
        claim_lake(place, LIVING, [GA, AL], [TOTAL], [VINTAGE]) as lake,
    ):
        take_up_and_publish(lake)

    assert str(caught.value) == (
        "eulp.hourly was not published: 1 file(s) that it took up from a killed run are gone or of "
        f"another size (file://{path}); the next run does their work again. The table is as "
        "before; run again."
    )
    assert caught.value.exit_code == 5
    catalog = open_catalog(place)
    tables = [catalog.load_table(name) for name in catalog.list_tables(place.database)]
    assert sorted(table.name()[-1] for table in tables if table.current_snapshot()) == []
    with claim_lake(place, "20260101T000000Z-0000000c", [GA, AL], [TOTAL]) as lake:
        assert lake.leftovers.adopt([batch], lake.hourly) == ([], [batch])


def test_file_that_vanishes_while_other_tables_are_committed_is_noticed_before_the_hours(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    path = Path(leave(place, hourly, stage, batch).staged[0].path.removeprefix("file://"))

    def publish_half(lake: Lake) -> None:
        (taken,), _ = lake.leftovers.adopt([batch], lake.hourly)
        harvest = Harvest({GA: taken.staged}, {}, {GA: NO_ROWS})
        for publication in publish(lake, harvest, run_id=LIVING):
            told.append(publication.table)
            path.unlink(missing_ok=True)

    told: list[str] = []
    with (
        pytest.raises(PublishError, match="gone or of another size"),
        claim_lake(place, LIVING, [GA, AL], [TOTAL], [VINTAGE]) as lake,
    ):
        publish_half(lake)

    assert told == ["eulp.building_weights", "eulp.metadata"]


def test_files_that_were_taken_up_and_lie_there_are_published(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    batch = batch_of(0, 1, 2, 3)
    leave(place, hourly, stage, batch)

    with claim_lake(place, LIVING, [GA, AL], [TOTAL]) as lake:
        (taken,), _ = lake.leftovers.adopt([batch], lake.hourly)
        told = publish(lake, Harvest({GA: taken.staged}, {}, {}), run_id=LIVING)
        assert [each.row_count for each in told] == [4, 0]

    assert hourly.refresh().scan().to_arrow().num_rows == 4


def test_run_that_is_taken_for_dead_between_two_commits_makes_no_more(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    """It may have slept there, and been swept: a commit would name files that are gone."""

    def publish_and_sleep(lake: Lake) -> None:
        own = stage(lake.hourly, GA, 1.0, LIVING)
        harvest = Harvest({GA: (own,)}, {}, {GA: NO_ROWS})
        for publication in publish(lake, harvest, run_id=LIVING):
            told.append(publication.table)
            if len(told) == 2:
                lake.leases.release(LIVING)  # as whoever takes it for dead does

    told: list[str] = []
    with (
        pytest.raises(PublishError, match="took this one for dead"),
        claim_lake(place, LIVING, [GA], [TOTAL], [VINTAGE]) as lake,
    ):
        publish_and_sleep(lake)

    assert told == ["eulp.building_weights", "eulp.metadata"]
    assert hourly.refresh().current_snapshot() is None
