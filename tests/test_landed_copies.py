"""A partition is as it was only while the copies of its metadata lie where they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oedi_spark.contracts import (
    FileIndex,
    Partition,
    PartitionListing,
    Reason,
    ReleaseFacts,
    Transition,
)
from oedi_spark.contracts_metadata import (
    MetadataFile,
    MetadataIndex,
    MetadataListing,
    MetadataOutcome,
    MetadataPattern,
    MetadataResult,
    WeightModel,
)
from oedi_spark.contracts_resume import Fingerprint, PartitionMemory, SourceKind, SourceRow
from oedi_spark.coverage import MetadataFindings
from oedi_spark.lake.publication import Harvest
from oedi_spark.landed_copies import find_unlanded
from oedi_spark.plan import Plan
from oedi_spark.resume import Work, remember
from oedi_spark.tracking.tracker import RunTracker
from tests.conftest import MakeConfig

R = "2024_comstock_amy2018_release_2"
CO, GA = Partition(R, "CO", 0), Partition(R, "GA", 0)
STAMP = "2024-01-01T00:00:00Z"


def county(ordinal: int, state: str, name: str) -> MetadataFile:
    key = f"base/county={name}/{name}.parquet"
    pattern = MetadataPattern.COUNTY_FULL
    return MetadataFile(ordinal, key, pattern, 0, state, name, 10 + ordinal, "etag", STAMP)


def listing(state: str, *files: MetadataFile) -> MetadataListing:
    return MetadataListing(R, 0, state, WeightModel.GEOGRAPHIES, True, files)


INDEX = MetadataIndex(
    (
        listing("CO", county(0, "CO", "G0800010"), county(1, "CO", "G0800030")),
        listing("GA", county(2, "GA", "G1300010")),
    )
)
PLACES = {
    "CO/upgrade=0/county=G0800010/G0800010.parquet": 10,
    "CO/upgrade=0/county=G0800030/G0800030.parquet": 11,
    "GA/upgrade=0/county=G1300010/G1300010.parquet": 12,
}


def memory(partition: Partition, *lost: SourceRow) -> PartitionMemory:
    return PartitionMemory(partition, "w", "s", "run", 3, 26_280, is_intact=True, lost=lost)


KNOWN = {CO: memory(CO), GA: memory(GA)}


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """The three copies, below the output folder of this test."""
    root = tmp_path / "out" / "metadata" / f"release={R}"
    for name, size in PLACES.items():
        path = root / f"state={name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return root


def test_copies_in_their_place_leave_their_partitions_alone(
    landed: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    assert find_unlanded(make_config(tmp_path), INDEX, KNOWN) == frozenset()


@pytest.mark.parametrize("change", ["gone", "shorter", "empty folder"])
def test_one_copy_that_is_gone_or_of_another_size_is_found(
    landed: Path, tmp_path: Path, make_config: MakeConfig, change: str
) -> None:
    path = landed / "state=CO/upgrade=0/county=G0800030/G0800030.parquet"
    if change == "shorter":
        path.write_bytes(b"x" * 10)
    else:
        path.unlink()
    if change == "empty folder":
        (landed / "state=CO/upgrade=0/county=G0800010/G0800010.parquet").unlink()

    assert find_unlanded(make_config(tmp_path), INDEX, KNOWN) == {CO}


def test_another_output_folder_has_no_copy_at_all(
    landed: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(tmp_path).model_copy(update={"output_dir": str(tmp_path / "other")})

    assert find_unlanded(config, INDEX, KNOWN) == {CO, GA}
    assert find_unlanded(config, MetadataIndex(), KNOWN) == frozenset()


@pytest.mark.parametrize(
    ("reason", "found"),
    [(Reason.TRUNCATED, frozenset()), (Reason.MISSING_WEIGHT, frozenset({GA}))],
)
def test_a_damaged_file_has_no_copy_and_a_rejected_one_has(
    landed: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    reason: Reason,
    found: frozenset[Partition],
) -> None:
    (landed / "state=GA/upgrade=0/county=G1300010/G1300010.parquet").unlink()
    key = INDEX.listings[1].files[0].key
    row = SourceRow(SourceKind.METADATA, None, key, 12, "etag", STAMP, reason.value, "why")

    assert find_unlanded(make_config(tmp_path), INDEX, KNOWN | {GA: memory(GA, row)}) == found


def test_a_national_copy_is_of_every_state(
    landed: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    file = replace(county(0, "CO", "x"), state=None, county=None, key="base/national.parquet")
    national = MetadataIndex((replace(listing("CO", file), state=None),))
    config = make_config(tmp_path)
    assert find_unlanded(config, national, KNOWN) == {CO, GA}
    path = landed / "state=national/upgrade=0/national.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 10)

    assert find_unlanded(config, national, KNOWN) == frozenset()


def test_national_file_that_nobody_could_look_into_leaves_its_partitions_alone_next_time(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    """A job of every state learns the states from it; damaged, it names none."""
    file = replace(county(0, "CO", "x"), state=None, county=None, key="base/national.parquet")
    national = MetadataIndex((replace(listing("CO", file), state=None),))
    series = PartitionListing(CO, ReleaseFacts(R, None, None), "", (), ())
    plan = Plan(FileIndex((series,)), (), MetadataFindings(national, listing_of={}))
    tracker = RunTracker("20260101T000000Z-aaaaaaaa")
    tracker.record_plan(plan)
    outcome = MetadataOutcome(0, Transition.FETCHED, Reason.TRUNCATED, "ends after 10 bytes")
    tracker.metadata.record_results([MetadataResult(0, (), (outcome,), (), 0)])
    work = Work(plan, {CO: Fingerprint("w", "s", "c")})

    record = remember(work, tracker, Harvest({CO: ()}, {}, {}), ())[CO]

    assert [(row.key, row.reason) for row in record.rows] == [(file.key, "truncated")]
    known = {CO: memory(CO, *record.rows)}
    assert find_unlanded(make_config(tmp_path), national, known) == frozenset()
