"""How partitions are cut into batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.contracts import (
    FileIndex,
    IntervalStamp,
    Partition,
    PartitionListing,
    ReleaseFacts,
    SourceFile,
    Surplus,
    SurplusFile,
)
from oedi_spark.plan import BatchSizing, build_batches, build_plan

RELEASE = "2024_comstock_amy2018_release_1"
FACTS = ReleaseFacts(RELEASE, IntervalStamp.END, 35_040)
IDS = {RELEASE: {"bldg_id": 4, "hour_start": 5}}
MIB = 1024 * 1024
SIZING = BatchSizing(target_file_bytes=192 * MIB, row_group_buildings=12, slots=2)


def _listing(state: str, sizes: list[int], *, first: int = 0) -> PartitionListing:
    prefix = f"p/upgrade=0/state={state}"
    return PartitionListing(
        partition=Partition(RELEASE, state, 0),
        facts=FACTS,
        prefix=prefix,
        files=tuple(
            SourceFile(first + at, f"{prefix}/{at}-0.parquet", at, size, None, "")
            for at, size in enumerate(sizes)
        ),
        surplus=(),
    )


@given(
    partitions=st.lists(st.lists(st.integers(1, 30_000_000), max_size=200), min_size=1, max_size=6),
    row_group_buildings=st.integers(1, 24),
    target_file_bytes=st.integers(1_000_000, 500_000_000),
    slots=st.integers(1, 64),
)
def test_build_batches_takes_every_file_once_in_batches_of_two_row_groups(
    partitions: list[list[int]], row_group_buildings: int, target_file_bytes: int, slots: int
) -> None:
    listings = []
    for at, sizes in enumerate(partitions):
        first = sum(map(len, partitions[:at]))
        listings.append(_listing(f"{chr(65 + at)}A", sizes, first=first))

    batches = build_batches(
        tuple(listings), IDS, BatchSizing(target_file_bytes, row_group_buildings, slots)
    )

    taken = [file.ordinal for batch in batches for file in batch.files]
    assert sorted(taken) == list(range(sum(map(len, partitions))))
    assert [batch.number for batch in batches] == list(range(len(batches)))
    for batch in batches:
        ids = [file.bldg_id for file in batch.files]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        whole = next(each for each in listings if each.partition == batch.partition)
        assert set(batch.files) <= set(whole.files)
        assert len(ids) == len(whole.files) or len(ids) >= 2 * row_group_buildings
    volumes = [sum(file.size_bytes for file in batch.files) for batch in batches]
    assert volumes == sorted(volumes, reverse=True)


def test_build_batches_leaves_a_tiny_partition_whole() -> None:
    (batch,) = build_batches((_listing("CO", [2_500_000] * 8),), IDS, SIZING)

    assert [file.bldg_id for file in batch.files] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert (batch.partition, batch.facts) == (Partition(RELEASE, "CO", 0), FACTS)
    assert dict(batch.field_ids) == {"bldg_id": 4, "hour_start": 5}


def test_build_batches_keeps_all_slots_busy_to_the_end() -> None:
    batches = build_batches((_listing("CO", [2_500_000] * 1_126),), IDS, SIZING)

    assert len(batches) == 2
    assert [len(batch.files) for batch in batches] == [563, 563]


def test_build_batches_splits_what_is_too_large_for_one_file() -> None:
    # 6,000 files of 2.5 MB make 2.25 GB of ComStock hours, 0.15 of them: 11.2 files of 192 MiB.
    batches = build_batches((_listing("CO", [2_500_000] * 6_000),), IDS, SIZING)

    assert sorted(len(batch.files) for batch in batches) == [545] * 6 + [546] * 5


def test_build_batches_shares_slots_between_partitions() -> None:
    sizing = BatchSizing(target_file_bytes=192 * MIB, row_group_buildings=12, slots=4)
    listings = (_listing("AK", [1_000] * 10), _listing("CO", [2_500_000] * 100, first=10))

    batches = build_batches(listings, IDS, sizing)

    assert [(str(batch.partition.state), len(batch.files)) for batch in batches] == [
        ("CO", 34),
        ("CO", 33),
        ("CO", 33),
        ("AK", 10),
    ]


def test_build_batches_gives_an_empty_partition_none() -> None:
    assert build_batches((_listing("AK", []),), IDS, SIZING) == ()


def test_build_plan_lays_out_what_was_listed() -> None:
    listing = _listing("AK", [10, 20])
    stray = SurplusFile(f"{listing.prefix}/notes.txt", Surplus.NOT_A_BUILDING_FILE)
    upgraded = PartitionListing(
        partition=Partition(RELEASE, "AK", 1),
        facts=ReleaseFacts(RELEASE, None, None),
        prefix="p/upgrade=1/state=AK",
        files=listing.files[1:],
        surplus=(stray,),
    )

    first, second = build_plan(FileIndex((listing, upgraded))).partitions

    assert (first.file_count, first.size_bytes, first.is_registered) == (2, 30, True)
    assert (first.missing_buildings, dict(first.surplus)) == ((), {})
    assert (second.missing_buildings, second.is_registered) == ((0,), False)
    assert dict(second.surplus) == {"p/upgrade=0/state=AK/notes.txt": "not_a_building_file"}
