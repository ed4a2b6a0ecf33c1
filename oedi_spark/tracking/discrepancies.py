"""Everything that a run was asked for and that is not in the tables, one row per thing.

Part of stage 7 of 7: writer → TRACKER. A file that failed has a row of its own. Files that only
shared a fate (the run ended, their partition was withheld) are counted in one row of their
partition, and so are buildings that one side lacks: of either there can be hundreds of thousands,
and the summary names each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from oedi_spark.contracts import Column, FileOutcome, Partition, Reason, Transition, Verdict
from oedi_spark.contracts_metadata import Gap, MetadataListing
from oedi_spark.contracts_resume import Skipped, SourceKind, SourceRow
from oedi_spark.plan import PartitionPlan, Plan
from oedi_spark.tracking.metadata_tracker import MetadataTracker

_SHOWN = 20
"""Of the buildings that one row stands for."""


class Absence(StrEnum):
    """Reasons that are neither of a file (`Reason`) nor of a side that lacks something (`Gap`)."""

    MISSING_BUILDINGS = "missing_buildings"
    """Another upgrade of the same release and state has these buildings."""
    NO_FILES = "no_files"
    """A partition that was asked for has no building file at all."""
    COLUMN_OMITTED = "column_omitted"
    """No rule and no unit say how a column is rolled up, so it is in no table."""
    METADATA_REMOVED = "metadata_removed"
    """The partition had metadata of an earlier run, and has none of this one."""


Identity = tuple[str | None, str | None, int | None, str, str]
"""Release, state, upgrade, key and reason: what makes two rows speak of one thing."""


@dataclass(frozen=True)
class Discrepancy:
    """One thing that is not as it was asked for.

    `key`: the file, the partition, the column's name at the source, or the county. `state` is
    None where a file holds every state.
    """

    release: str
    state: str | None
    upgrade: int
    key: str
    stage: str
    reason: str
    detail: str
    etag: str | None = None

    @property
    def identity(self) -> Identity:
        """By what it is known again in a later run."""
        return (self.release, self.state, self.upgrade, self.key, self.reason)


class TrackedRun(Protocol):
    """What is read of `RunTracker`."""

    run_id: str
    started_at_utc: datetime
    seconds: dict[str, float]
    plan: Plan | None
    transitions: dict[int, int]
    outcomes: dict[int, FileOutcome]
    columns: dict[Partition, dict[Column, int]]
    verdicts: tuple[Verdict, ...]
    metadata: MetadataTracker
    skipped: tuple[Skipped, ...]


def find_discrepancies(run: TrackedRun) -> list[Discrepancy]:
    """Every discrepancy of a run as it stands, in order, each identity once.

    Of a run that ended by itself there is none exactly when its tracker has none. A run that
    failed before it knew what to read has none either: its error says why.
    """
    remembered = [each for skipped in run.skipped for each in _remembered(skipped)]
    if run.plan is None and not remembered:
        return []
    found = (
        *remembered,
        *(_lost_files(run, run.plan) if run.plan else ()),
        *_withheld(run.verdicts),
        *_held(run.metadata),
        *(each for line in (run.plan.partitions if run.plan else ()) for each in _gaps(line)),
        *_omitted_columns(run.columns),
        *_metadata_files(run.metadata),
        *_metadata_gaps(run.metadata),
    )
    distinct: dict[Identity, Discrepancy] = {}
    for each in found:
        distinct.setdefault(each.identity, each)
    return sorted(
        distinct.values(), key=lambda x: (x.release, x.state or "", x.upgrade, x.key, x.reason)
    )


def _of(partition: Partition, key: str, stage: str, reason: str, detail: str) -> Discrepancy:
    return Discrepancy(
        partition.release, partition.state, partition.upgrade, key, stage, reason, detail
    )


def _stage_of(done: int) -> str:
    """The stage that a file did not get through."""
    if not done & Transition.FETCHED:
        return "reader"
    return "writer" if done & Transition.TRANSFORMED else "rollup"


def _lost_files(run: TrackedRun, plan: Plan) -> Iterator[Discrepancy]:
    withheld = {verdict.partition for verdict in run.verdicts if not verdict.is_published}
    for listing in plan.index.listings:
        partition, fates = listing.partition, Counter[Reason]()
        for file in listing.files:
            done = run.transitions[file.ordinal]
            outcome = run.outcomes.get(file.ordinal)
            if done & Transition.UPLOADED:
                continue
            if outcome is None or outcome.reason is None:
                fates[_fate(done)] += 1
                continue
            yield Discrepancy(
                release=partition.release,
                state=partition.state,
                upgrade=partition.upgrade,
                key=file.key,
                stage=_stage_of(done),
                reason=outcome.reason.value,
                detail=outcome.detail,
                etag=file.etag,
            )
        if partition in withheld:
            del fates[Reason.NOT_COMMITTED]  # their partition's row says it
        for fate, count in fates.items():
            yield _of(partition, str(partition), *_tell(fate, count))


def _remembered(skipped: Skipped) -> Iterator[Discrepancy]:
    """What a partition lacked when it was published, and so lacks still."""
    partition, gaps = skipped.partition, defaultdict[str, list[SourceRow]](list)
    for row in skipped.lost:
        if row.kind is SourceKind.GAP or row.key is None:
            gaps[row.reason or ""].append(row)
            continue
        yield Discrepancy(
            release=partition.release,
            state=partition.state,
            upgrade=partition.upgrade,
            key=row.key,
            stage="quality" if row.kind is SourceKind.METADATA else "rollup",
            reason=row.reason or "",
            detail=row.detail or "",
            etag=row.etag,
        )
    for reason, rows in gaps.items():
        bldg_ids = [row.bldg_id for row in rows if row.bldg_id is not None]
        detail = _count_buildings(bldg_ids) if bldg_ids else rows[0].detail or ""
        yield _of(partition, str(partition), "indexer", reason, detail)
    if skipped.missing_buildings:
        reason, detail = Absence.MISSING_BUILDINGS, _count_buildings(skipped.missing_buildings)
        yield _of(partition, str(partition), "indexer", reason.value, detail)


def _fate(done: int) -> Reason:
    """Why a file without a fault of its own is not in the table."""
    return Reason.NOT_COMMITTED if done & Transition.TRANSFORMED else Reason.NOT_REACHED


def _tell(fate: Reason, count: int) -> tuple[str, str, str]:
    """(stage, reason, detail) of files that share a fate."""
    if fate is Reason.NOT_REACHED:
        return "reader", fate.value, f"{count:,} file(s): the run ended before they were read"
    return "writer", fate.value, f"{count:,} file(s): staged, but the commit did not happen"


def _withheld(verdicts: Iterable[Verdict]) -> Iterator[Discrepancy]:
    for each in verdicts:
        if not each.is_published:
            failed = f"{each.failed:,} of {each.listed:,} file(s) failed"
            detail = "; ".join([failed, *each.broken]) + ", so none is published"
            key, reason = str(each.partition), Reason.PARTITION_WITHHELD.value
            yield _of(each.partition, key, "quality", reason, detail)


def _held(metadata: MetadataTracker) -> Iterator[Discrepancy]:
    """Partitions of which there is metadata and no building file, and hours of another run."""
    for partition, why in metadata.held.items():
        detail = f"metadata is not published: {why}"
        reason = Reason.PARTITION_WITHHELD.value
        yield _of(partition, str(partition), "quality", reason, detail)


def _gaps(line: PartitionPlan) -> Iterator[Discrepancy]:
    """What a partition lacks, as the indexer saw it; remarks are none."""
    covered, key = line.coverage, str(line.partition)
    for reason, bldg_ids in (
        (Absence.MISSING_BUILDINGS, line.missing_buildings if line.expects_series else ()),
        (Gap.NO_SERIES, covered.without_series),
        (Gap.NO_METADATA, covered.without_metadata),
    ):
        if bldg_ids:
            yield _of(line.partition, key, "indexer", reason.value, _count_buildings(bldg_ids))
    if line.expects_series and not line.file_count:
        detail = "asked for, and its folder holds no building file"
        yield _of(line.partition, key, "indexer", Absence.NO_FILES.value, detail)
    if covered.gap is not None and covered.is_required:
        detail = f"{covered.file_count:,} metadata file(s) found"
        yield _of(line.partition, key, "indexer", covered.gap.value, detail)


def _count_buildings(bldg_ids: Sequence[int]) -> str:
    more = "" if len(bldg_ids) <= _SHOWN else f" and {len(bldg_ids) - _SHOWN:,} more"
    return f"{len(bldg_ids):,} building(s): {', '.join(map(str, bldg_ids[:_SHOWN]))}{more}"


def _omitted_columns(columns: Mapping[Partition, Mapping[Column, int]]) -> Iterator[Discrepancy]:
    for partition, counts in columns.items():
        omitted = Counter[str]()
        for column, count in counts.items():
            if column.rule == "omit":
                omitted[column.source_name] += count
        for source_name, count in omitted.items():
            detail = f"{count:,} building(s) have it; no rule and no unit says how to roll it up"
            reason = Absence.COLUMN_OMITTED.value
            yield _of(partition, source_name, "reader", reason, detail)


def _metadata_files(metadata: MetadataTracker) -> Iterator[Discrepancy]:
    for listing in metadata.findings.index.listings:
        fates = Counter[Reason]()
        for file in listing.files:
            outcome = metadata.outcomes.get(file.ordinal)
            if outcome is None or outcome.reason is None:
                if file.ordinal not in metadata.landed:
                    fates[Reason.NOT_COMMITTED if outcome else Reason.NOT_REACHED] += 1
                continue
            is_landed = file.ordinal in metadata.landed
            yield Discrepancy(
                release=listing.release,
                state=listing.state,
                upgrade=listing.upgrade,
                key=file.key,
                stage="quality" if is_landed else _stage_of(outcome.transitions),
                reason=outcome.reason.value,
                detail=outcome.detail,
                etag=file.etag,
            )
        yield from _shared_fates(listing, fates)


def _shared_fates(listing: MetadataListing, fates: Mapping[Reason, int]) -> Iterator[Discrepancy]:
    key = f"metadata/{listing.landing_folder}"
    for fate, count in fates.items():
        stage, reason, _ = _tell(fate, count)
        detail = (
            f"{count:,} metadata file(s): the run ended before they were read"
            if fate is Reason.NOT_REACHED
            else f"{count:,} metadata file(s): copied, but their partition was not published"
        )
        yield Discrepancy(
            listing.release, listing.state, listing.upgrade, key, stage, reason, detail
        )


def _metadata_gaps(metadata: MetadataTracker) -> Iterator[Discrepancy]:
    for partition, county in metadata.findings.index.counties_not_found:
        reason = Gap.COUNTY_NOT_FOUND.value
        yield _of(partition, county, "indexer", reason, "no metadata file is of this county")
    yield from _emptied(metadata.emptied)


def _emptied(partitions: Collection[Partition]) -> Iterator[Discrepancy]:
    for partition in sorted(partitions):
        detail = "metadata of an earlier run was removed, this run has none"
        reason = Absence.METADATA_REMOVED.value
        yield _of(partition, str(partition), "writer", reason, detail)
