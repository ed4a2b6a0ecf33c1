"""What a run remembers of earlier ones: frozen values that cross the borders between stages.

table `sources` ─ PartitionMemory ─► resume ─ Work ─► the stages ─ SourceRow ─► table `sources`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from oedi_spark.contracts import FileOutcome, Partition, Reason

TRANSIENT = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.ACCESS_DENIED,
        Reason.CHANGED_SINCE_LISTING,
        Reason.SIZE_MISMATCH,
        Reason.CHECKSUM_MISMATCH,
        Reason.FETCH_FAILED,
        Reason.LANDING_FAILED,
        Reason.PARTITION_WITHHELD,
        Reason.NOT_COMMITTED,
        Reason.NOT_REACHED,
    }
)
"""Reasons that may be gone at the next attempt, with the same bytes. All others are permanent."""


class SourceKind(StrEnum):
    """What a row of the table `sources` is of."""

    SERIES = "series"
    METADATA = "metadata"
    GAP = "gap"
    """No file: something that was expected and is not there."""


@dataclass(frozen=True)
class Redo:
    """What a run does again although it need not."""

    force: bool = False
    """Replace every partition, and read every file, also those that failed before."""
    retry_failed: bool = False
    """Read files that failed for good, and so redo the partitions that have some."""


@dataclass(frozen=True)
class Fingerprint:
    """Sixteen hex digits each, of one partition.

    `settings`: the part of the config and of the code that changes results. `context`: that,
    and the partition's metadata files. `whole`: that, and its building files.
    """

    whole: str
    settings: str
    context: str


@dataclass(frozen=True)
class SourceRow:
    """One file that a partition was made of, or one gap. `reason` is None when it was published."""

    kind: SourceKind
    bldg_id: int | None
    key: str | None
    size_bytes: int | None
    etag: str | None
    modified_at_utc: str | None
    reason: str | None
    detail: str | None


@dataclass(frozen=True)
class PartitionRecord:
    """What is written of a partition once everything of it is in its place."""

    fingerprint: Fingerprint
    staged_by: tuple[str, ...]
    """The runs whose names its data files bear."""
    file_count: int
    hourly_rows: int
    metadata_rows: int
    weight_rows: int
    rows: tuple[SourceRow, ...]


@dataclass(frozen=True)
class PartitionMemory:
    """What the tables say of a partition now.

    `is_intact`: its data files are those that were recorded, with as many rows.
    `lost`: files that were not published and gaps, as they were recorded.
    """

    partition: Partition
    whole: str
    settings: str
    run_id: str
    file_count: int
    hourly_rows: int
    is_intact: bool
    lost: tuple[SourceRow, ...] = ()

    @property
    def has_transient(self) -> bool:
        """Whether another attempt may do better, with the same files."""
        return any(row.reason in TRANSIENT for row in self.lost)

    @property
    def has_failed(self) -> bool:
        """Whether any file of it is not in the tables."""
        return any(row.kind is not SourceKind.GAP for row in self.lost)

    @property
    def lost_files(self) -> tuple[SourceRow, ...]:
        """The building files that are not in the table."""
        return tuple(row for row in self.lost if row.kind is SourceKind.SERIES)


@dataclass(frozen=True)
class Skipped:
    """A partition that is as an earlier run published it, and is left alone."""

    partition: Partition
    run_id: str
    file_count: int
    metadata_keys: tuple[str, ...]
    hourly_rows: int
    lost: tuple[SourceRow, ...] = ()
    missing_buildings: tuple[int, ...] = ()
    surplus: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for is in the table."""
        return not (self.lost or self.missing_buildings)

    @property
    def lost_files(self) -> dict[str, str]:
        """Key and reason of the building files that are not in the table."""
        note = f"remembered from run {self.run_id}, not read again"
        return {
            row.key: f"{row.reason}: {row.detail} ({note})"
            for row in self.lost
            if row.kind is SourceKind.SERIES and row.key
        }

    def as_json(self) -> dict[str, object]:
        """Its entry in `skipped_partitions`."""
        return {
            "partition": str(self.partition),
            "published_by": self.run_id,
            "files": self.file_count,
            "metadata_files": len(self.metadata_keys),
            "rows": self.hourly_rows,
            "missing_buildings": list(self.missing_buildings),
            "lost": [
                {"kind": r.kind, "key": r.key, "bldg_id": r.bldg_id}
                | {"reason": r.reason, "detail": r.detail}
                for r in self.lost
            ],
        }

    def as_text(self) -> str:
        """Its line for a person."""
        gaps = sum(1 for row in self.lost if row.kind is SourceKind.GAP)
        rejected = sum(1 for row in self.lost if row.kind is SourceKind.METADATA)
        notes = {
            "building files not in the table": len(self.lost_files),
            "metadata files not in the table": rejected,
            "gaps between metadata and series": gaps,
            "missing": len(self.missing_buildings),
        }
        told = [f"{count:,} {what}" for what, count in notes.items() if count]
        since = f"unchanged since run {self.run_id}"
        files = f"{self.file_count:,} files, {self.hourly_rows:,} hours"
        return ", ".join([f"  {self.partition}: {since}, {files}", *told])


@dataclass(frozen=True)
class Recalled:
    """A building file of this run that failed for good before. It is not fetched.

    `row` is what was remembered, and shall be again.
    """

    outcome: FileOutcome
    row: SourceRow
