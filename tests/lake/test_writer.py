"""The one commit: exactly these partitions, whole or not at all, whoever else commits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import duckdb
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction

from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, reserve_columns
from oedi_spark.lake.writer import list_data_files, replace_partitions

Stage = Callable[[Table, Partition, float, str], StagedFile]
R = "2024_comstock_amy2018_release_1"
AK0, AK1, CO0, CO1 = (Partition(R, state, up) for state in ("AK", "CO") for up in (0, 1))


def _publish(table: Table, stage: Stage, run_id: str, values: dict[Partition, float]) -> int:
    staged = [stage(table, partition, value, run_id) for partition, value in values.items()]
    return replace_partitions(table, list(values), staged, run_id=run_id).snapshot_id


def _counts(table: Table, snapshot_id: int | None = None) -> dict[tuple[str, int, float], int]:
    """Rows by state, upgrade and value, read by PyIceberg."""
    rows = table.refresh().scan(snapshot_id=snapshot_id).to_arrow()
    return Counter(
        zip(
            rows["state"].to_pylist(),
            rows["upgrade"].to_pylist(),
            rows["total_kwh"].to_pylist(),
            strict=True,
        )
    )


def test_replace_partitions_publishes_what_was_staged(hourly: Table, stage: Stage) -> None:
    staged = [stage(hourly, AK0, 1.0, "run-1"), stage(hourly, CO1, 2.0, "run-1")]

    publication = replace_partitions(hourly, [CO1, AK0], staged, run_id="run-1")

    assert _counts(hourly) == {("AK", 0, 1.0): 4, ("CO", 1, 2.0): 4}
    snapshot = hourly.current_snapshot()
    assert snapshot is not None
    assert publication.snapshot_id == snapshot.snapshot_id
    assert publication.table == "eulp.hourly"
    assert publication.is_hourly
    assert publication.partitions == (AK0, CO1)
    assert (publication.file_count, publication.row_count) == (2, 8)
    assert publication.size_bytes == sum(Path(s.path[7:]).stat().st_size for s in staged)


def test_replace_partitions_replaces_exactly_those(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.0, AK1: 1.0, CO0: 1.0, CO1: 1.0})

    # The coarse filter of these two also finds AK1 and CO0.
    staged = [stage(hourly, AK0, 2.0, "run-2"), stage(hourly, CO1, 2.0, "run-2")]
    publication = replace_partitions(hourly, [AK0, CO1], staged, run_id="run-2")

    assert publication.file_count == 2
    assert _counts(hourly) == {
        ("AK", 0, 2.0): 4,
        ("AK", 1, 1.0): 4,
        ("CO", 0, 1.0): 4,
        ("CO", 1, 2.0): 4,
    }


def test_replace_partitions_makes_one_snapshot_a_commit(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.0, CO0: 1.0})
    _publish(hourly, stage, "run-2", {AK0: 2.0, CO0: 2.0})

    summaries = [snapshot.summary for snapshot in hourly.refresh().snapshots()]

    assert len(summaries) == 2
    found = [
        (each.operation.value, each["oedi-spark.run-id"], each["total-records"])
        for each in summaries
        if each is not None
    ]
    assert found == [("append", "run-1", "8"), ("overwrite", "run-2", "8")]


def test_replace_partitions_with_the_same_rows_again_changes_no_row(
    hourly: Table, stage: Stage
) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.0, CO0: 2.0})
    _publish(hourly, stage, "run-2", {AK0: 1.0, CO0: 2.0})

    assert _counts(hourly) == {("AK", 0, 1.0): 4, ("CO", 0, 2.0): 4}


def test_replace_partitions_with_several_files_of_one_partition_takes_all(
    hourly: Table, stage: Stage
) -> None:
    staged = [stage(hourly, AK0, value, f"run-{value}") for value in (1.0, 2.0)]
    replace_partitions(hourly, [AK0], staged, run_id="run-1")
    _publish(hourly, stage, "run-2", {AK0: 3.0})

    assert _counts(hourly) == {("AK", 0, 3.0): 4}


def test_an_old_snapshot_still_has_the_old_rows(hourly: Table, stage: Stage) -> None:
    first = _publish(hourly, stage, "run-1", {AK0: 1.0, CO0: 1.0})
    second = _publish(hourly, stage, "run-2", {AK0: 2.0})

    assert _counts(hourly, first) == {("AK", 0, 1.0): 4, ("CO", 0, 1.0): 4}
    assert _counts(hourly, second) == {("AK", 0, 2.0): 4, ("CO", 0, 1.0): 4}


def test_replace_partitions_refuses_a_file_staged_elsewhere(hourly: Table, stage: Stage) -> None:
    before = hourly.metadata_location

    with pytest.raises(PublishError) as caught:
        replace_partitions(hourly, [AK0], [stage(hourly, AK1, 1.0, "run-1")], run_id="run-1")

    assert f"release={R}/state=AK/upgrade=1" in str(caught.value)
    assert hourly.refresh().metadata_location == before


def test_replace_partitions_reads_back_identically_in_duckdb(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.5, CO0: 2.5})
    _publish(hourly, stage, "run-2", {AK0: 0.25})
    by_iceberg = hourly.refresh().scan().to_arrow().sort_by("state").to_pylist()

    paths = [task.file.file_path[7:] for task in hourly.scan().plan_files()]
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT state, bldg_id, hour_start, total_kwh FROM read_parquet({paths}) "
            "ORDER BY state, bldg_id, hour_start"
        ).fetchall()

    assert rows == [
        (row["state"], row["bldg_id"], row["hour_start"], row["total_kwh"]) for row in by_iceberg
    ]
    assert [row[3] for row in rows] == [0.25] * 4 + [2.5] * 4


def test_staged_statistics_prune_files(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.5, CO0: 2.5})

    def planned(row_filter: str) -> list[str]:
        tasks = hourly.refresh().scan(row_filter=row_filter).plan_files()
        return sorted(task.file.file_path.split("state=")[1][:2] for task in tasks)

    assert planned("total_kwh > 2") == ["CO"]
    assert planned("total_kwh <= 1.5") == ["AK"]
    assert planned("bldg_id > 2") == []
    assert planned("bldg_id = 2") == ["AK", "CO"]
    assert planned("hour_start >= '2018-01-01T02:00:00'") == []
    assert planned("state = 'AK'") == ["AK"]
    assert planned("total_kwh is null") == []


def test_hours_staged_before_a_column_was_added_have_null_there(
    hourly: Table, stage: Stage
) -> None:
    from oedi_spark.contracts import Column

    staged = stage(hourly, AK0, 1.0, "run-1")
    wider = reserve_columns(hourly, [Column("later_kwh", "later", "kwh", "sum", known=True)])

    replace_partitions(wider, [AK0], [staged], run_id="run-1")

    rows = wider.refresh().scan().to_arrow()
    assert rows["later_kwh"].to_pylist() == [None] * 4
    assert rows["total_kwh"].to_pylist() == [1.0] * 4


def _at_once(place: CatalogLocation, count: int, publish: Callable[[Table, int], int]) -> list[int]:
    """Publish from several threads that start together, each with its own catalog."""
    barrier = Barrier(count)

    def run(number: int) -> int:
        table = open_catalog(place).load_table(("eulp", "hourly"))
        barrier.wait(30)
        return publish(table, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_replace_partitions_from_eight_threads_lands_each_once(
    hourly: Table, stage: Stage, place: CatalogLocation
) -> None:
    _publish(hourly, stage, "run-0", {Partition(R, "CO", number): 0.0 for number in range(4)})

    def publish(table: Table, number: int) -> int:
        values = {Partition(R, "CO", number): number + 1.0}
        return _publish(table, stage, f"run-{number + 1}", values)

    snapshots = _at_once(place, 8, publish)

    assert _counts(hourly) == {("CO", number, number + 1.0): 4 for number in range(8)}
    assert len(set(snapshots)) == 8
    runs = [str(s.summary["oedi-spark.run-id"]) for s in hourly.snapshots() if s.summary]
    assert sorted(runs) == [f"run-{number}" for number in range(9)]


@pytest.mark.parametrize("is_new", [True, False])
def test_replace_partitions_of_the_same_partition_at_once_leaves_one_of_them(
    hourly: Table, stage: Stage, place: CatalogLocation, is_new: bool
) -> None:
    if not is_new:
        _publish(hourly, stage, "run-0", {AK0: 9.0})

    _at_once(place, 3, lambda t, n: _publish(t, stage, f"run-{n + 1}", {AK0: n + 1.0}))

    counts = _counts(hourly)
    assert list(counts.values()) == [4]
    assert set(counts) <= {("AK", 0, 1.0), ("AK", 0, 2.0), ("AK", 0, 3.0)}


def test_replace_partitions_after_the_table_was_read_replaces_what_is_there_now(
    hourly: Table, stage: Stage, place: CatalogLocation
) -> None:
    stale = open_catalog(place).load_table(("eulp", "hourly"))
    _publish(hourly, stage, "run-1", {AK0: 1.0, CO0: 1.0})

    _publish(stale, stage, "run-2", {AK0: 2.0})

    assert _counts(hourly) == {("AK", 0, 2.0): 4, ("CO", 0, 1.0): 4}


def test_replace_partitions_that_always_loses_changes_nothing(
    hourly: Table, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.0})
    attempts = []

    def lose(_: Transaction) -> Table:
        attempts.append(1)
        raise CommitFailedException("beaten")

    monkeypatch.setattr(Transaction, "commit_transaction", lose)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    staged = stage(hourly, AK0, 2.0, "run-2")

    with pytest.raises(PublishError) as caught:
        replace_partitions(hourly, [AK0], [staged], run_id="run-2")

    assert "beaten" in str(caught.value)
    assert caught.value.table == "eulp.hourly"
    assert len(attempts) == 16
    assert _counts(hourly) == {("AK", 0, 1.0): 4}


def test_replace_partitions_killed_before_the_catalog_knows_changes_nothing(
    hourly: Table, stage: Stage, place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(hourly, stage, "run-1", {AK0: 1.0, CO0: 1.0})

    def die(_: Transaction) -> Table:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", die)
        staged = [stage(hourly, AK0, 2.0, "run-2"), stage(hourly, CO0, 2.0, "run-2")]
        with pytest.raises(KeyboardInterrupt):
            replace_partitions(hourly, [AK0, CO0], staged, run_id="run-2")

    fresh = open_catalog(place).load_table(("eulp", "hourly"))
    assert _counts(fresh) == {("AK", 0, 1.0): 4, ("CO", 0, 1.0): 4}


def test_replace_partitions_takes_five_hundred_in_one_commit(hourly: Table, stage: Stage) -> None:
    many = {Partition(R, "CO", number): 1.0 for number in range(500)}
    _publish(hourly, stage, "run-1", many)
    staged = [stage(hourly, partition, 2.0, "run-2") for partition in many]

    started = time.monotonic()
    replace_partitions(hourly, list(many), staged, run_id="run-2")
    took_s = time.monotonic() - started

    assert took_s < 60
    assert len(hourly.refresh().snapshots()) == 2
    summary = hourly.snapshots()[-1].summary
    assert summary is not None
    assert [summary[f"total-{name}"] for name in ("records", "data-files")] == ["2000", "500"]
    assert [summary[name] for name in ("added-records", "deleted-records")] == ["2000", "2000"]


def test_replace_partitions_with_hostile_values_touches_no_other(
    hourly: Table, stage: Stage
) -> None:
    """Values are values: nothing of a release name is read as an expression."""
    hostile = Partition("x' OR release <> '", "CO", 0)
    _publish(hourly, stage, "run-1", {CO0: 1.0})
    staged = replace(stage(hourly, CO0, 2.0, "run-2"), partition=hostile)

    replace_partitions(hourly, [hostile], [staged], run_id="run-2")

    assert len(list_data_files(hourly.refresh(), [CO0])) == 1
    assert list_data_files(hourly, []) == []
