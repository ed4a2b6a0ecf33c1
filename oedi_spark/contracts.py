"""What crosses the borders between stages: frozen values, and the words for what went wrong.

indexer ─ SourceFile ─► plan ─ Batch ─► reader, rollup, quality ─ StagedFile, FileOutcome ─►
writer ─ Publication ─► tracker
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import IntFlag, StrEnum


class Reason(StrEnum):
    """Why a file's hours are not in the table. The values are what the summary prints."""

    # fetch
    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    CHANGED_SINCE_LISTING = "changed_since_listing"
    SIZE_MISMATCH = "size_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    FETCH_FAILED = "fetch_failed"
    # decode
    EMPTY = "empty"
    NOT_PARQUET = "not_parquet"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    NO_ROWS = "no_rows"
    TOO_LARGE = "too_large"
    # schema
    MISSING_TIMESTAMP = "missing_timestamp"
    MISSING_BLDG_ID = "missing_bldg_id"
    BLDG_ID_CONTRADICTS_NAME = "bldg_id_contradicts_name"
    NOT_NUMERIC = "not_numeric"
    COLUMN_COLLISION = "column_collision"
    UNKNOWN_COLUMN = "unknown_column"
    # time
    STAMPS_NOT_TIME = "stamps_not_time"
    STAMPS_UNSORTED = "stamps_unsorted"
    STAMPS_DUPLICATED = "stamps_duplicated"
    STAMPS_IRREGULAR = "stamps_irregular"
    STAMP_CONTRADICTS_RELEASE = "stamp_contradicts_release"
    WRONG_ROW_COUNT = "wrong_row_count"
    WRONG_YEAR = "wrong_year"
    # values
    NOT_FINITE = "not_finite"
    # metadata
    MISSING_WEIGHT = "missing_weight"
    WEIGHT_NULL = "weight_null"
    WEIGHT_NEGATIVE = "weight_negative"
    WEIGHT_OUT_OF_RANGE = "weight_out_of_range"
    ROWS_DUPLICATED = "rows_duplicated"
    STATE_CONTRADICTS_NAME = "state_contradicts_name"
    COUNTY_CONTRADICTS_NAME = "county_contradicts_name"
    UPGRADE_CONTRADICTS_NAME = "upgrade_contradicts_name"
    LANDING_FAILED = "landing_failed"
    # quality rules that block, by their names (transform/rules.py)
    HOURS_SUM_TO_INTERVALS = "hours_sum_to_intervals"
    VALUES_ARE_POSSIBLE = "values_are_possible"
    ENERGY_IS_NOT_NEGATIVE = "energy_is_not_negative"
    ENERGY_IS_NO_POWER = "energy_is_no_power"
    END_USES_SUM_TO_FUEL_TOTALS = "end_uses_sum_to_fuel_totals"
    FUEL_TOTALS_SUM_TO_SITE_ENERGY = "fuel_totals_sum_to_site_energy"
    NET_IS_TOTAL_AND_GENERATION = "net_is_total_and_generation"
    ENERGY_IS_INTENSITY_TIMES_AREA = "energy_is_intensity_times_area"
    VALUES_ARE_PLAUSIBLE = "values_are_plausible"
    INTENSITY_IS_PLAUSIBLE = "intensity_is_plausible"
    VALUES_ARE_COMPLETE = "values_are_complete"
    FLOOR_AREA_IS_AS_PUBLISHED = "floor_area_is_as_published"
    PUBLISHED_SCALE_IS_ONE = "published_scale_is_one"
    SUMS_AGREE_WITH_PUBLISHED = "sums_agree_with_published"
    OTHER_RESULTS_AGREE_WITH_PUBLISHED = "other_results_agree_with_published"
    INTENSITY_FITS_BUILDING_TYPE = "intensity_fits_building_type"
    KNOWN_ERRATUM = "known_erratum"
    # whole partition, or whole run
    PARTITION_WITHHELD = "partition_withheld"
    NOT_COMMITTED = "not_committed"
    NOT_REACHED = "not_reached"


class Surplus(StrEnum):
    """Why a listed file is not read at all."""

    NOT_A_BUILDING_FILE = "not_a_building_file"
    OTHER_UPGRADE = "other_upgrade"
    OUTSIDE_SOURCE = "outside_source"
    NOT_A_METADATA_FILE = "not_a_metadata_file"


class Transition(IntFlag):
    """What a file has been through. Merging two records of one file is a bitwise or."""

    LISTED = 1
    FETCHED = 2
    TRANSFORMED = 4
    UPLOADED = 8


class IntervalStamp(StrEnum):
    """Which end of its quarter-hour a `timestamp` names."""

    END = "end"
    BEGINNING = "beginning"


@dataclass(frozen=True, order=True)
class Partition:
    """One cell of the hourly table: what a run replaces whole, or leaves alone."""

    release: str
    state: str
    upgrade: int

    def __str__(self) -> str:
        return f"release={self.release}/state={self.state}/upgrade={self.upgrade}"


@dataclass(frozen=True)
class ReleaseFacts:
    """What the reader must know of a release. None: not known, take it from each file.

    `interval_count` is the number of 15-minute rows that every building has: 35,040, or
    35,136 for ResStock AMY2012 (domain sheet §3). `calendar_year` is the year of the stamps; a
    typical year (TMY3) is stamped with a year of the publisher's choice, so it has none.
    """

    release: str
    stamp: IntervalStamp | None
    interval_count: int | None
    calendar_year: int | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One building file as it was listed. `ordinal` names it within its run."""

    ordinal: int
    key: str
    bldg_id: int
    size_bytes: int
    etag: str | None
    modified_at_utc: str


@dataclass(frozen=True)
class Column:
    """One measure: our name, the source's name and type, and its rule."""

    name: str
    source_name: str
    unit: str
    rule: str
    known: bool
    source_type: str = ""


@dataclass(frozen=True)
class Batch:
    """The files that one task reads together, all of one partition, in order of bldg_id.

    `field_ids` maps canonical column names to Iceberg field ids; a measure that is not in
    it cannot be staged yet, and its file comes back as `deferred`.
    """

    number: int
    partition: Partition
    facts: ReleaseFacts
    files: tuple[SourceFile, ...]
    field_ids: Mapping[str, int]
    fingerprint: str = ""
    """Of everything that its staged file depends on. Empty: what it stages is not taken up by
    a later run."""
    published_uri: str | None = None
    """The published annual results of its partition (`transform/published.py`), if it has any."""


@dataclass(frozen=True)
class ColumnStatistics:
    """Iceberg's figures for one column of one staged file. Bounds leave nulls out."""

    field_id: int
    compressed_bytes: int
    value_count: int
    null_count: int
    lower: int | float | str | None
    upper: int | float | str | None


@dataclass(frozen=True)
class StagedFile:
    """One parquet file of hours that no reader can see until it is committed."""

    partition: Partition
    path: str
    size_bytes: int
    row_count: int
    split_offsets: tuple[int, ...]
    columns: tuple[ColumnStatistics, ...]
    ordinals: tuple[int, ...]

    @property
    def building_count(self) -> int:
        """Buildings whose hours are in it: one per source file."""
        return len(self.ordinals)


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file whose story is not simply “all well”.

    Without a reason the file was published, and `detail` says what is odd about it.
    """

    ordinal: int
    reason: Reason | None
    detail: str


@dataclass(frozen=True)
class RuleFinding:
    """A rule of severity `warn` that does not hold of one file. `rule` is its name."""

    ordinal: int
    rule: str
    detail: str


@dataclass(frozen=True)
class MeasureStatistics:
    """One measure over buildings: bounded whatever their number, and mergeable.

    Of hours: `hour_count`, of these `null_count` without a value, `lower` and `upper`; None where
    there is no value. Of years: `building_count` that have every hour, `annual_total` of them
    together (the sum of a building's hours, their mean for a measure that is averaged), and a
    `histogram` of them by logarithmic bin (`transform/statistics.py`).
    """

    building_count: int
    annual_total: float
    histogram: Mapping[int, int]
    hour_count: int = 0
    null_count: int = 0
    lower: float | None = None
    upper: float | None = None

    def merged(self, other: MeasureStatistics) -> MeasureStatistics:
        """Both together."""
        counts = dict(self.histogram)
        for place, count in other.histogram.items():
            counts[place] = counts.get(place, 0) + count
        lowers = [each for each in (self.lower, other.lower) if each is not None]
        uppers = [each for each in (self.upper, other.upper) if each is not None]
        return MeasureStatistics(
            self.building_count + other.building_count,
            self.annual_total + other.annual_total,
            counts,
            self.hour_count + other.hour_count,
            self.null_count + other.null_count,
            min(lowers, default=None),
            max(uppers, default=None),
        )


@dataclass(frozen=True)
class BatchResult:
    """What one task hands back to the driver: descriptors, never rows.

    `judged` counts, by rule, the buildings of which it was asked; `statistics` go by measure.
    """

    batch_number: int
    staged: tuple[StagedFile, ...]
    outcomes: tuple[FileOutcome, ...]
    deferred: tuple[int, ...]
    columns: Mapping[Column, int]
    read_bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[RuleFinding, ...] = ()
    judged: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, MeasureStatistics] = field(default_factory=dict)


@dataclass(frozen=True)
class SurplusFile:
    """A file that lies among the building files and is not read."""

    key: str
    why: Surplus


@dataclass(frozen=True)
class PartitionListing:
    """What one partition's folder holds."""

    partition: Partition
    facts: ReleaseFacts
    prefix: str
    files: tuple[SourceFile, ...]
    surplus: tuple[SurplusFile, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all building files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class FileIndex:
    """Every partition of a run. `SourceFile.ordinal` is its place in `files`."""

    listings: tuple[PartitionListing, ...]

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All building files, in order of ordinal."""
        return tuple(file for listing in self.listings for file in listing.files)

    def keep_buildings(self, wanted: Mapping[Partition, Collection[int]]) -> FileIndex:
        """The index without those buildings of the named partitions that are not wanted."""
        if not wanted:
            return self
        listings = []
        for each in self.listings:
            kept = wanted.get(each.partition)
            chosen = tuple(file for file in each.files if kept is None or file.bldg_id in kept)
            listings.append(replace(each, files=chosen))
        return FileIndex(tuple(listings)).renumbered()

    def without(self, partitions: Collection[Partition]) -> FileIndex:
        """The index without these partitions."""
        kept = tuple(each for each in self.listings if each.partition not in partitions)
        return FileIndex(kept).renumbered() if len(kept) < len(self.listings) else self

    def renumbered(self) -> FileIndex:
        """The same files, each `ordinal` its place in `files`."""
        listings, start = [], 0
        for each in self.listings:
            files = tuple(replace(file, ordinal=at) for at, file in enumerate(each.files, start))
            start += len(files)
            listings.append(replace(each, files=files))
        return FileIndex(tuple(listings))

    def missing_buildings(self) -> dict[Partition, tuple[int, ...]]:
        """Buildings that another upgrade of the same release and state has, and this one not.

        Every upgrade folder holds every building, inapplicable ones included (domain §0.9), so
        a gap is either a failed model or a lost file.
        """
        have = {each.partition: {f.bldg_id for f in each.files} for each in self.listings}
        everyone: dict[tuple[str, str], set[int]] = {}
        for partition, ids in have.items():
            everyone.setdefault((partition.release, partition.state), set()).update(ids)
        missing = {
            partition: tuple(sorted(everyone[partition.release, partition.state] - ids))
            for partition, ids in have.items()
        }
        return {partition: ids for partition, ids in missing.items() if ids}


@dataclass(frozen=True)
class Verdict:
    """Whether a partition may be published. `broken`: rules of it that block, in words."""

    partition: Partition
    listed: int
    failed: int
    is_published: bool
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.partition}: {self.failed} of {self.listed} files failed"
        return "; ".join([said, *self.broken])


@dataclass(frozen=True)
class RunOrigin:
    """Who started a run: a job run of Glue, perhaps within a workflow. All None elsewhere."""

    job_run_id: str | None = None
    workflow_name: str | None = None
    workflow_run_id: str | None = None


@dataclass(frozen=True)
class Publication:
    """One committed snapshot."""

    table: str
    snapshot_id: int
    partitions: tuple[Partition, ...]
    file_count: int
    row_count: int
    size_bytes: int

    @property
    def is_hourly(self) -> bool:
        """Whether it published hours, not the dictionary."""
        return self.table.endswith(".hourly")
