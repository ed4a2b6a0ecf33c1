"""What crosses the borders between stages on the metadata side: frozen values and their words.

indexer ─ MetadataIndex ─► plan ─ MetadataBatch ─► normalise, weigh, land, stage ─
MetadataResult ─► writer ─ Publication ─► tracker
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import Partition, Reason, StagedFile, SurplusFile, Transition

NOT_LANDED = frozenset(
    {Reason.EMPTY, Reason.NOT_PARQUET, Reason.TRUNCATED, Reason.UNREADABLE, Reason.TOO_LARGE}
)
"""Of such a file no copy is landed: one breaks every query of whoever crawls the copies."""

NATIONAL = "national"
"""The `state=` of a landed file that holds every state."""


class MetadataPattern(StrEnum):
    """How the key of one metadata file is built; `source/metadata_keys.py` has the templates."""

    NATIONAL_SINGLE = "national_single"
    NATIONAL_MACHINE = "national_machine"
    NATIONAL_STATE_FIRST = "national_state_first"
    NATIONAL_FULL = "national_full"
    STATE_FIRST = "state_first"
    STATE_FULL = "state_full"
    COUNTY_FULL = "county_full"
    AGG_NATIONAL = "agg_national"
    AGG_STATE = "agg_state"
    AGG_COUNTY = "agg_county"
    AGG_PUMA = "agg_puma"


class WeightModel(StrEnum):
    """What a release's weight counts."""

    BUILDING = "building"
    """One row and one weight per building (domain sheet §5: ResStock, ComStock to 2024 R1)."""
    GEOGRAPHIES = "geographies"
    """A building stands in many tracts, with a weight in each (ComStock from 2024 R2 on)."""


class Grain(StrEnum):
    """What one metadata row is. The values are those of the table's column `grain`."""

    BUILDING = "building"
    TRACT = "building-tract"
    COUNTY = "building-county"
    PUMA = "building-puma"
    STATE = "building-state"


class GeographyKind(StrEnum):
    """What a geography of `building_weights` is."""

    STATE = "state"
    COUNTY = "county"
    PUMA = "puma"


class Gap(StrEnum):
    """Why something that was expected is not there. The values are what the summary prints."""

    NO_SERIES = "no_series"
    NO_METADATA = "no_metadata"
    METADATA_NOT_FOUND = "metadata_not_found"
    COUNTY_NOT_FOUND = "county_not_found"
    METADATA_INCOMPLETE = "metadata_incomplete"
    """A file of configured counties cannot be read, so nobody knows which buildings they have."""


class ColumnKind(StrEnum):
    """The type of a metadata column in the table; decided by its name, never by its data.

    So the order in which states and releases are loaded does not matter.
    """

    DOUBLE = "double"
    STRING = "string"
    BOOLEAN = "boolean"
    LONG = "long"


@dataclass(frozen=True)
class MetadataColumn:
    """One column of the metadata table and what a file calls it. `source_type`: the file's."""

    name: str
    source_name: str
    unit: str
    kind: ColumnKind
    source_type: str


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """One metadata file as it was listed. `ordinal` names it within its run.

    `state` is None for a national file, `county` for one that is not of a county.
    """

    ordinal: int
    key: str
    pattern: MetadataPattern
    upgrade: int
    state: str | None
    county: str | None
    size_bytes: int
    etag: str | None
    modified_at_utc: str


@dataclass(frozen=True)
class MetadataListing:
    """The files that together are the metadata of one release and upgrade in one state.

    A national file (`state` is None) is the metadata of every state of the run.
    `is_whole_state`: False when the config names counties, so that no sum over the files is
    a state's.
    """

    release: str
    upgrade: int
    state: str | None
    weight_model: WeightModel | None
    is_whole_state: bool
    files: tuple[MetadataFile, ...]

    @property
    def landing_folder(self) -> str:
        """Where its copies lie below `{output_dir}/metadata/`."""
        return f"release={self.release}/state={self.state or NATIONAL}/upgrade={self.upgrade}"


@dataclass(frozen=True)
class LayoutMatch:
    """How a release's metadata was resolved; `oedi-spark plan` prints it.

    `how`: `configured`, `registered`, or `tried` (an unregistered release).
    `prefixes`: the folders that were looked into, below the bucket.
    """

    release: str
    how: str
    patterns: tuple[MetadataPattern, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class MetadataIndex:
    """Every metadata file of a run. `MetadataFile.ordinal` is its place in `files`."""

    listings: tuple[MetadataListing, ...] = ()
    matches: tuple[LayoutMatch, ...] = ()
    counties_not_found: tuple[tuple[Partition, str], ...] = ()
    """A county that the config names, and a partition in which no file is of it."""
    surplus: tuple[SurplusFile, ...] = ()

    @property
    def files(self) -> tuple[MetadataFile, ...]:
        """All files, in order of ordinal."""
        return tuple(file for listing in self.listings for file in listing.files)

    def listings_of(self, partition: Partition) -> tuple[MetadataListing, ...]:
        """Those that describe a partition, or may: a national one is not asked for its states."""
        places = self._places
        cell = (partition.release, partition.upgrade)
        found = [*places.get((*cell, None), ()), *places.get((*cell, partition.state), ())]
        return tuple(self.listings[place] for place in found)

    @cached_property
    def _places(self) -> dict[tuple[str, int, str | None], list[int]]:
        places: dict[tuple[str, int, str | None], list[int]] = {}
        for place, each in enumerate(self.listings):
            places.setdefault((each.release, each.upgrade, each.state), []).append(place)
        return places

    def keep(self, listings: Collection[MetadataListing]) -> MetadataIndex:
        """The index with these listings alone, its files numbered anew."""
        kept = {id(each) for each in listings}
        chosen, start = [], 0
        for each in self.listings:
            if id(each) in kept:
                files = [replace(file, ordinal=at) for at, file in enumerate(each.files, start)]
                start += len(files)
                chosen.append(replace(each, files=tuple(files)))
        return replace(self, listings=tuple(chosen))


@dataclass(frozen=True)
class MetadataPeek:
    """What a metadata file's footer and its id column say, read without the rest of it.

    `bldg_ids` has one array per state: distinct, sorted. A row whose state cannot be told is
    in none of them.
    """

    row_count: int
    columns: tuple[MetadataColumn, ...]
    bldg_ids: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class MetadataBatch:
    """One listing as one task takes it.

    `states` are the partitions wanted of it.
    """

    number: int
    listing: MetadataListing
    states: tuple[str, ...]
    series: Mapping[str, NDArray[np.int64]]
    """By state: the buildings whose series this run reads, which the weights will be joined to."""


@dataclass(frozen=True)
class MetadataOutcome:
    """What became of one metadata file; `reason` is None when all is well.

    `transitions`: LISTED, FETCHED, TRANSFORMED (the old summary says bypassed: it can be read
    as parquet, and its copy waits as it is); the driver adds UPLOADED when the copy has landed.
    A landed file may still have a reason: then its rows are not in the table.
    """

    ordinal: int
    transitions: Transition
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class LandedFile:
    """A byte-for-byte copy of a metadata file, read back and compared.

    `waiting_uri`: where it waits for the commit, out of sight; None when it lies at `uri`.
    """

    ordinal: int
    uri: str
    md5: str
    size_bytes: int
    waiting_uri: str | None = None


@dataclass(frozen=True)
class GeographyCoverage:
    """Of one kind of geography how many, and how much weight, have a building with a series.

    Weights are real buildings or dwellings. `astray_weight`: of rows whose code is of another
    state than the partition, or, by county, of rows without a county; the latter are not in
    `weight`. `weightless_count`: buildings that weigh nothing in one of the geographies.
    """

    kind: str
    count: int
    covered_count: int
    weight: float
    covered_weight: float
    astray_weight: float = 0.0
    weightless_count: int = 0

    @property
    def share(self) -> float:
        """Of the weight; 1 where there is none to cover."""
        return self.covered_weight / self.weight if self.weight else 1.0


@dataclass(frozen=True)
class MetadataPart:
    """The metadata of one partition, staged: rows, and the weights that they sum to."""

    partition: Partition
    metadata: tuple[StagedFile, ...]
    weights: StagedFile | None
    columns: tuple[MetadataColumn, ...]
    bldg_ids: NDArray[np.int64]
    published_uri: str | None = None
    """Where its annual results by building wait for the series; None if it has none."""
    published_digest: str | None = None
    """Of these results: the same whenever the same files could be read."""
    geographies: tuple[GeographyCoverage, ...] = ()


@dataclass(frozen=True)
class FanOut:
    """A join that would change rows or weight, as a task tells the driver of it."""

    what: str
    on: tuple[str, ...]
    rows: tuple[int, int]
    weight: tuple[float, float]


@dataclass(frozen=True)
class MetadataResult:
    """What one metadata task hands back to the driver: descriptors, never rows."""

    batch_number: int
    parts: tuple[MetadataPart, ...]
    outcomes: tuple[MetadataOutcome, ...]
    landed: tuple[LandedFile, ...]
    read_bytes: int
    notes: tuple[str, ...] = ()
    """What is odd and no fault: rows without a state, columns that no table can hold."""
    late: tuple[MetadataColumn, ...] = ()
    """Columns without a field id: nothing is staged until the table has them."""
    fan_out: FanOut | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
