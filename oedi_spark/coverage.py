"""Hold the metadata of a run against its series: what each partition expects, and what is there.

A building in the metadata without a series is a lost file or a failed model, one with a series
and no metadata has no weight, so it counts in no total. Both are told, neither ends the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import FileIndex, Partition, Reason
from oedi_spark.contracts_metadata import (
    Gap,
    MetadataColumn,
    MetadataIndex,
    MetadataListing,
    MetadataPeek,
)

_NO_IDS: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class MetadataFindings:
    """The metadata files of a run, and what a look into each one showed.

    `peeks` and `faults` go by the file's ordinal: each file is in one of them. `listing_of`
    names, for every partition that has metadata, the place of its listing in `index`.
    """

    index: MetadataIndex = field(default_factory=MetadataIndex)
    peeks: Mapping[int, MetadataPeek] = field(default_factory=dict)
    faults: Mapping[int, tuple[Reason, str]] = field(default_factory=dict)
    listing_of: Mapping[Partition, int] = field(default_factory=dict)

    def listing(self, partition: Partition) -> MetadataListing | None:
        """The files that describe a partition."""
        place = self.listing_of.get(partition)
        return None if place is None else self.index.listings[place]

    def bldg_ids(self, partition: Partition) -> NDArray[np.int64]:
        """The buildings that the metadata of a partition names, each once, in order."""
        listing = self.listing(partition)
        files = listing.files if listing else ()
        found = [
            self.peeks[file.ordinal].bldg_ids.get(partition.state, _NO_IDS)
            for file in files
            if file.ordinal in self.peeks
        ]
        return np.unique(np.concatenate(found)) if found else _NO_IDS

    def is_complete(self, partition: Partition) -> bool:
        """Whether every file that describes a partition could be looked into."""
        listing = self.listing(partition)
        return listing is not None and not any(f.ordinal in self.faults for f in listing.files)

    def columns(self) -> tuple[MetadataColumn, ...]:
        """Every column that any file has, each spelling and type once."""
        schemas = {id(peek.columns): peek.columns for peek in self.peeks.values()}
        return tuple({column: None for columns in schemas.values() for column in columns})


@dataclass(frozen=True)
class Coverage:
    """One partition: what its metadata expects, and what its series folder holds.

    `without_series` and `without_metadata` are bldg_ids, in order. The second stays empty when
    a metadata file could not be read: the building may be in it.
    """

    file_count: int = 0
    building_count: int = 0
    without_series: tuple[int, ...] = ()
    without_metadata: tuple[int, ...] = ()
    gap: Gap | None = None
    is_required: bool = False
    """The config asks for metadata, so a gap is a discrepancy and not a remark."""

    @property
    def is_whole(self) -> bool:
        """Whether series and metadata name the same buildings, as far as anyone asked."""
        missed = self.gap is not None and self.is_required
        return not (missed or self.without_series or self.without_metadata)


def assign_listings(
    index: MetadataIndex,
    peeks: Mapping[int, MetadataPeek],
    states_of: Mapping[tuple[str, int], Iterable[str] | None],
) -> dict[Partition, int]:
    """Which listing describes which partition.

    A listing of one state describes that one; a national one every state that was asked for,
    by (release, upgrade): None means all that its rows name. One that nobody could look into
    is tried for every state that was asked for.
    """
    assigned: dict[Partition, int] = {}
    for place, listing in enumerate(index.listings):
        states: Iterable[str]
        if listing.state is not None:
            states = (listing.state,)
        else:
            named = {
                s for f in listing.files if f.ordinal in peeks for s in peeks[f.ordinal].bldg_ids
            }
            asked = states_of.get((listing.release, listing.upgrade))
            is_seen = all(file.ordinal in peeks for file in listing.files)
            states = named if asked is None else named & set(asked) if is_seen else set(asked)
        for state in sorted(states):
            assigned[Partition(listing.release, state, listing.upgrade)] = place
    return assigned


def keep_named_buildings(
    index: FileIndex, findings: MetadataFindings, by_county: Iterable[Partition]
) -> FileIndex:
    """Leave only the series that the metadata of configured counties names.

    Where one of these files cannot be read, nothing is left: to publish the buildings of the
    others alone would take good hours out of the table.

    Args:
        index: Every building file of the run.
        findings: The metadata of the same run.
        by_county: The partitions whose job names counties; others are left as they are.
    """
    wanted = {
        partition: {int(bldg_id) for bldg_id in findings.bldg_ids(partition)}
        if findings.is_complete(partition)
        else set()
        for partition in by_county
    }
    return index.keep_buildings(wanted)


def compare_buildings(
    findings: MetadataFindings,
    partition: Partition,
    series: Sequence[int],
    *,
    is_required: bool,
    expects_series: bool,
    is_by_county: bool = False,
) -> Coverage:
    """Hold the ids of a partition's series against those of its metadata.

    Of a partition by county whose metadata is incomplete no series is read, so none is missed.
    """
    listing = findings.listing(partition)
    if listing is None:
        return Coverage(gap=Gap.METADATA_NOT_FOUND, is_required=is_required)
    if is_by_county and not findings.is_complete(partition):
        return Coverage(
            file_count=len(listing.files),
            gap=Gap.METADATA_INCOMPLETE,
            is_required=True,
        )
    expected = findings.bldg_ids(partition)
    coverage = Coverage(file_count=len(listing.files), is_required=is_required)
    told = _hold_against(coverage, series, expected, expects_series=expects_series)
    return told if findings.is_complete(partition) else replace(told, without_metadata=())


def correct_coverage(
    coverage: Coverage,
    series: Sequence[int],
    bldg_ids: NDArray[np.int64],
    *,
    expects_series: bool,
) -> Coverage:
    """What a task read takes the place of what a look before it showed, or could not show."""
    if coverage.gap is Gap.METADATA_INCOMPLETE or len(bldg_ids) == coverage.building_count:
        return coverage
    return _hold_against(coverage, series, bldg_ids, expects_series=expects_series)


def _hold_against(
    coverage: Coverage,
    series: Sequence[int],
    expected: NDArray[np.int64],
    *,
    expects_series: bool,
) -> Coverage:
    """The coverage with who is missing on which side."""
    found = np.unique(np.asarray(series, dtype=np.int64))
    lost = np.setdiff1d(expected, found, assume_unique=True) if expects_series else _NO_IDS
    return replace(
        coverage,
        building_count=len(expected),
        without_series=tuple(lost.tolist()),
        without_metadata=tuple(np.setdiff1d(found, expected, assume_unique=True).tolist()),
    )
