"""Metadata held against series: who is missing on which side, and when that cannot be said."""

from __future__ import annotations

import numpy as np

from oedi_spark.contracts import (
    FileIndex,
    Partition,
    PartitionListing,
    Reason,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.contracts_metadata import (
    Gap,
    MetadataFile,
    MetadataIndex,
    MetadataListing,
    MetadataPattern,
    MetadataPeek,
)
from oedi_spark.coverage import (
    MetadataFindings,
    assign_listings,
    compare_buildings,
    keep_named_buildings,
)
from oedi_spark.plan import Expectations, build_metadata_batches, build_plan

RELEASE = "2024_comstock_amy2018_release_2"
CO, AK = Partition(RELEASE, "CO", 0), Partition(RELEASE, "AK", 0)


def _file(ordinal: int, state: str | None, county: str | None = None) -> MetadataFile:
    return MetadataFile(
        ordinal=ordinal,
        key=f"metadata/{ordinal}.parquet",
        pattern=MetadataPattern.COUNTY_FULL if county else MetadataPattern.STATE_FULL,
        upgrade=0,
        state=state,
        county=county,
        size_bytes=10 + ordinal,
        etag=None,
        modified_at_utc="2024-01-01T00:00:00Z",
    )


def _listing(state: str | None, *files: MetadataFile) -> MetadataListing:
    return MetadataListing(RELEASE, 0, state, None, is_whole_state=True, files=files)


def _peek(**bldg_ids: list[int]) -> MetadataPeek:
    return MetadataPeek(3, (), {state: np.array(ids) for state, ids in bldg_ids.items()})


def _by_county() -> MetadataFindings:
    """CO in two county files that share building 2."""
    files = (_file(0, "CO", "G0800010"), _file(1, "CO", "G0800590"))
    index = MetadataIndex((_listing("CO", *files),))
    return MetadataFindings(index, {0: _peek(CO=[1, 2]), 1: _peek(CO=[2, 5])}, {}, {CO: 0})


def _series(*bldg_ids: int) -> FileIndex:
    files = tuple(
        SourceFile(at, f"{bldg_id}-0.parquet", bldg_id, 1, None, "")
        for at, bldg_id in enumerate(bldg_ids)
    )
    facts = ReleaseFacts(RELEASE, None, None)
    return FileIndex((PartitionListing(CO, facts, "prefix", files, ()),))


def test_compare_buildings_names_who_is_missing_on_either_side() -> None:
    coverage = compare_buildings(_by_county(), CO, [9, 2, 1], is_required=True, expects_series=True)

    assert (coverage.file_count, coverage.building_count) == (2, 3)
    assert (coverage.without_series, coverage.without_metadata) == ((5,), (9,))
    assert coverage.gap is None
    assert not coverage.is_whole


def test_compare_buildings_with_a_file_nobody_could_read_accuses_no_series() -> None:
    whole = _by_county()
    found = MetadataFindings(
        whole.index, {0: whole.peeks[0]}, {1: (Reason.UNREADABLE, "bad footer")}, {CO: 0}
    )

    coverage = compare_buildings(found, CO, [1, 5], is_required=True, expects_series=True)

    assert (coverage.without_series, coverage.without_metadata) == ((2,), ())


def test_compare_buildings_of_an_annual_release_expects_no_series() -> None:
    coverage = compare_buildings(_by_county(), CO, [], is_required=False, expects_series=False)

    assert coverage.without_series == ()
    assert coverage.is_whole


def test_compare_buildings_without_metadata_is_a_gap_only_if_it_was_asked_for() -> None:
    asked = compare_buildings(_by_county(), AK, [1], is_required=True, expects_series=True)
    unasked = compare_buildings(_by_county(), AK, [1], is_required=False, expects_series=True)

    assert asked.gap is unasked.gap is Gap.METADATA_NOT_FOUND
    assert (asked.is_whole, unasked.is_whole) == (False, True)
    assert asked.without_metadata == ()


def test_assign_listings_gives_a_national_file_to_the_states_that_were_asked_for() -> None:
    index = MetadataIndex((_listing(None, _file(0, None)),))
    peeks = {0: _peek(CO=[1], AK=[2], WY=[3])}

    some = assign_listings(index, peeks, {(RELEASE, 0): ("CO", "AK", "TX")})
    every = assign_listings(index, peeks, {(RELEASE, 0): None})

    assert some == {AK: 0, CO: 0}
    assert [each.state for each in every] == ["AK", "CO", "WY"]


def test_keep_named_buildings_reads_only_what_the_counties_name() -> None:
    kept = keep_named_buildings(_series(1, 3, 5), _by_county(), [CO])

    assert [(file.ordinal, file.bldg_id) for file in kept.files] == [(0, 1), (1, 5)]
    assert keep_named_buildings(_series(1, 3), _by_county(), []) == _series(1, 3)


def test_build_plan_has_a_line_for_metadata_without_any_series_folder() -> None:
    index = MetadataIndex((_listing("AK", _file(0, "AK")),))
    found = MetadataFindings(index, {0: _peek(AK=[7, 8])}, {}, {AK: 0})

    plan = build_plan(_series(1), found, Expectations())

    alaska, colorado = plan.partitions
    assert (alaska.partition, alaska.file_count) == (AK, 0)
    assert alaska.coverage.without_series == (7, 8)
    assert not alaska.is_whole
    assert colorado.coverage.gap is Gap.METADATA_NOT_FOUND
    assert colorado.is_whole


def test_build_plan_of_an_annual_release_is_whole_without_series() -> None:
    index = MetadataIndex((_listing("AK", _file(0, "AK")),))
    found = MetadataFindings(index, {0: _peek(AK=[7, 8])}, {}, {AK: 0})

    plan = build_plan(FileIndex(()), found, Expectations(annual_only=frozenset({RELEASE})))

    assert [line.is_whole for line in plan.partitions] == [True]


def test_build_metadata_batches_takes_the_series_that_weights_will_be_joined_to() -> None:
    plan = build_plan(_series(1, 3, 5), _by_county(), Expectations())

    (batch,) = build_metadata_batches(plan)

    assert batch.states == ("CO",)
    assert batch.series["CO"].tolist() == [1, 3, 5]


def test_build_metadata_batches_accounts_for_a_file_that_describes_nothing() -> None:
    index = MetadataIndex((_listing(None, _file(0, None)),))
    found = MetadataFindings(index, {}, {0: (Reason.NOT_PARQUET, "no footer")}, {})

    (batch,) = build_metadata_batches(build_plan(_series(1), found))

    assert (batch.states, batch.listing.files) == ((), index.files)


def test_assign_listings_tries_a_national_file_that_nobody_saw_for_every_state_asked() -> None:
    index = MetadataIndex((_listing(None, _file(0, None)),))

    assert assign_listings(index, {}, {(RELEASE, 0): ("CO", "AK")}) == {AK: 0, CO: 0}
    assert assign_listings(index, {}, {(RELEASE, 0): None}) == {}


def test_a_county_file_that_cannot_be_read_leaves_no_series_and_says_so() -> None:
    """To publish the other counties' buildings alone would take good hours out of the table."""
    whole = _by_county()
    found = MetadataFindings(
        whole.index, {0: whole.peeks[0]}, {1: (Reason.FETCH_FAILED, "503")}, {CO: 0}
    )
    expectations = Expectations(by_county=frozenset({CO}))

    kept = keep_named_buildings(_series(1, 2, 5), found, [CO])
    (line,) = build_plan(kept, found, expectations).partitions

    assert kept.files == ()
    assert line.coverage.gap is Gap.METADATA_INCOMPLETE
    assert not line.is_whole


def test_build_plan_has_a_line_for_a_partition_that_was_named_and_is_not_there() -> None:
    expectations = Expectations(
        metadata_required=frozenset({RELEASE}),
        annual_only=frozenset({RELEASE}),
        named=frozenset({AK}),
    )

    (line,) = build_plan(FileIndex(()), MetadataFindings(), expectations).partitions

    assert (line.partition, line.coverage.gap) == (AK, Gap.METADATA_NOT_FOUND)
    assert not line.is_whole


def test_what_a_task_read_corrects_what_a_look_could_not_show() -> None:
    index = MetadataIndex((_listing("CO", _file(0, "CO")),))
    found = MetadataFindings(index, {}, {0: (Reason.FETCH_FAILED, "503")}, {CO: 0})
    plan = build_plan(_series(1, 3), found, Expectations())
    assert plan.partitions[0].coverage.building_count == 0

    (line,) = plan.corrected({CO: np.array([1, 2, 4])}).partitions

    assert line.coverage.building_count == 3
    assert (line.coverage.without_series, line.coverage.without_metadata) == ((2, 4), (3,))


def test_what_a_task_read_names_the_buildings_of_a_partition_without_any_series() -> None:
    index = MetadataIndex((_listing("AK", _file(0, "AK")),))
    found = MetadataFindings(index, {}, {0: (Reason.FETCH_FAILED, "503")}, {AK: 0})
    read = {AK: np.array([7, 8])}

    (line,) = build_plan(FileIndex(()), found, Expectations()).corrected(read).partitions
    annual = Expectations(annual_only=frozenset({RELEASE}))
    (other,) = build_plan(FileIndex(()), found, annual).corrected(read).partitions

    assert line.coverage.without_series == (7, 8)
    assert (other.coverage.building_count, other.coverage.without_series) == (2, ())
