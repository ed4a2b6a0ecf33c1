"""What is recorded of a partition is believed as long as its files are those that were recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.contracts_resume import (
    Fingerprint,
    PartitionRecord,
    SourceKind,
    SourceRow,
)
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.compaction import CompactionRule, compact
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.rollback import roll_back
from oedi_spark.lake.schemas import columns_definition, sources_definition
from oedi_spark.lake.sources import recall, sources_rows
from oedi_spark.lake.writer import replace_partitions, stage_rows
from tests.lake.test_maintenance_compaction import CO, GA, R, Rows, publish

FIRST, SECOND, THIRD = (f"2026010{day}T000000Z-0000000{day}" for day in (1, 2, 3))
MERGED = ("20260108T000000Z-0000000b-maintain", "20260109T000000Z-0000000c-maintain")
UNDO = "20260110T000000Z-0000000d"
RULE = CompactionRule(2**20, min_files=2, target_file_bytes=2**22, row_group_rows={})
OLD: list[Rows] = [[(1, 0, 1.5)], [(2, 0, 2.5)]]
NEW: list[Rows] = [[(1, 0, 3.5)], [(2, 0, 4.5)]]
NOTHING_LOST = SourceRow(SourceKind.SERIES, 1, "CO/1-0.parquet", 10, "e", None, None, None)


def record(
    place: CatalogLocation,
    run_id: str,
    partition: Partition = CO,
    *,
    hours: int = 2,
    said_by: str | None = None,
) -> None:
    """The dictionary and the record of a run that published so many hours."""
    catalog = open_catalog(place)
    columns = open_table(catalog, place, columns_definition())
    row = {
        field.name: "x" for field in columns.schema().fields if str(field.field_type) == "string"
    }
    row |= {"release": R, "state": partition.state}
    counts = {n.name: 0 for n in columns.schema().fields if str(n.field_type) in ("int", "long")}
    rows = pa.Table.from_pylist([row | counts])
    staged = [stage_rows(columns, partition, rows, run_id=run_id)]
    replace_partitions(columns, [partition], staged, run_id=run_id)
    sources = open_table(catalog, place, sources_definition())
    told = PartitionRecord(
        Fingerprint("f" * 16, "e" * 16, "d" * 16), (run_id,), 2, hours, 0, 0, (NOTHING_LOST,)
    )
    rows = sources_rows(partition, told, said_by or run_id)
    staged = [stage_rows(sources, partition, rows, run_id=run_id)]
    replace_partitions(sources, [partition], staged, run_id=run_id)


def merge(table: Table, place: CatalogLocation, maintenance_id: str = MERGED[0]) -> list[str]:
    """Compact; returns the names of the files of CO."""
    leases = LeaseBook(place.database_uri)
    report = compact(table, leases, run_id=maintenance_id, rule=RULE, is_dry_run=False)
    assert [len(each.inputs) for each in report.rewrites] == [2]
    return names(table)


def names(table: Table) -> list[str]:
    tasks = table.refresh().scan().plan_files()
    return sorted(Path(task.file.file_path).name for task in tasks)


def is_intact(place: CatalogLocation, partition: Partition = CO) -> bool:
    return recall(place, [partition])[partition].is_intact


def test_state_that_is_recorded_stays_intact_when_its_files_are_merged(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, FIRST)
    assert recall(place, [CO]) == {}
    record(place, FIRST)
    assert is_intact(place)

    (name,) = merge(hourly, place)

    assert name.startswith(f"{MERGED[0]}-c00000-of-{FIRST}-")
    assert is_intact(place)


def test_files_that_are_merged_again_are_still_what_is_recorded(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, [*OLD, [(3, 0, 0.5)], [(4, 0, 0.5)]], FIRST)
    record(place, FIRST, hours=4)
    sizes = [task.file.file_size_in_bytes for task in hourly.refresh().scan().plan_files()]
    leases, of_two = LeaseBook(place.database_uri), replace(RULE, target_file_bytes=2 * max(sizes))
    compact(hourly, leases, run_id=MERGED[0], rule=of_two, is_dry_run=False)
    assert [f"-of-{FIRST}-" in name for name in names(hourly)] == [True, True]

    (name,) = merge(hourly, place, MERGED[1])

    assert name.startswith(f"{MERGED[1]}-c00000-of-{FIRST}-")
    assert is_intact(place)


def test_state_that_was_set_back_by_hand_is_not_taken_for_the_recorded_one_once_merged(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, FIRST)
    record(place, FIRST)
    publish(hourly, CO, NEW, SECOND)
    record(place, SECOND)
    first = hourly.refresh().snapshots()[0].snapshot_id
    hourly.manage_snapshots().rollback_to_snapshot(first).commit()
    assert not is_intact(place)

    (name,) = merge(hourly, place)

    assert "-of-" not in name
    assert not is_intact(place)
    assert hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist() == [1.5, 2.5]


def test_merged_state_of_before_a_run_is_not_taken_for_what_that_run_recorded(
    hourly: Table, place: CatalogLocation
) -> None:
    """Maintenance began after the run, and merged before the run came to its lease."""
    publish(hourly, CO, OLD, FIRST)
    record(place, FIRST)
    merge(hourly, place)
    merged = hourly.refresh().snapshots()[-1].snapshot_id
    publish(hourly, CO, NEW, SECOND)
    record(place, SECOND)
    assert is_intact(place)

    hourly.refresh().manage_snapshots().rollback_to_snapshot(merged).commit()

    assert not is_intact(place)


def test_merged_files_of_which_no_record_is_told_are_another_state(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, FIRST)
    record(place, FIRST)
    rows = hourly.refresh().scan().to_arrow()

    staged = [stage_rows(hourly, CO, rows, run_id=f"{MERGED[0]}-c00000-0123456789ab")]
    replace_partitions(hourly, [CO], staged, run_id=MERGED[0])

    assert not is_intact(place)


def test_record_of_what_is_no_run_makes_no_name(hourly: Table, place: CatalogLocation) -> None:
    """What a table says is data, and would become part of a path."""
    publish(hourly, CO, OLD, FIRST)
    record(place, FIRST, said_by="../../x")
    assert is_intact(place)

    (name,) = merge(hourly, place)

    assert name.startswith(f"{MERGED[0]}-c00000-")
    assert "-of-" not in name


def test_merge_takes_each_partition_by_its_own_record(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, FIRST)
    publish(hourly, GA, OLD, SECOND)
    record(place, FIRST)
    record(place, THIRD, GA)  # of a state that is not there
    leases = LeaseBook(place.database_uri)

    compact(hourly, leases, run_id=MERGED[0], rule=RULE, is_dry_run=False)

    assert [f"-of-{FIRST}-" in name for name in names(hourly)] == [True, False]
    assert (is_intact(place), is_intact(place, GA)) == (True, False)


@pytest.mark.parametrize("is_merged", [True, False])
def test_rollback_to_what_was_recorded_is_intact(
    hourly: Table, place: CatalogLocation, is_merged: bool
) -> None:
    publish(hourly, CO, OLD, FIRST)
    record(place, FIRST)
    if is_merged:
        merge(hourly, place)
    publish(hourly, CO, NEW, SECOND)
    record(place, SECOND)
    merge(hourly, place, MERGED[1])

    plan = roll_back(place, SECOND, rollback_id=UNDO)

    assert plan.unrecorded == frozenset()
    assert sorted(hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist()) == [1.5, 2.5]
    assert is_intact(place)
    assert recall(place, [CO])[CO].run_id == FIRST


@pytest.mark.parametrize("is_merged", [True, False])
def test_rollback_to_what_was_never_recorded_is_done_again(
    hourly: Table, place: CatalogLocation, is_merged: bool
) -> None:
    """The copies bear the rollback's name, which tells nothing of what they are copies of."""
    publish(hourly, CO, OLD, FIRST)
    record(place, SECOND)  # whose hours somebody has taken out
    assert not is_intact(place)
    if is_merged:
        merge(hourly, place)
    publish(hourly, CO, NEW, THIRD)
    record(place, THIRD)

    plan = roll_back(place, THIRD, rollback_id=UNDO)

    assert plan.unrecorded == {CO}
    assert sorted(hourly.refresh().scan().to_arrow()["total_kwh"].to_pylist()) == [1.5, 2.5]
    assert recall(place, [CO]) == {}
