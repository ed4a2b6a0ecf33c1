"""What a run need not do again: partitions that are as they were, files that cannot get better.

The driver's part of stage 2 beside `survey.py`: a listing, held against what the tables remember.
And at the end of the run, what the next one will remember.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from oedi_spark.config import RunConfig
from oedi_spark.contracts import FileOutcome, Partition, PartitionListing, Reason, SourceFile
from oedi_spark.contracts_metadata import Gap, MetadataFile
from oedi_spark.contracts_resume import (
    TRANSIENT,
    Fingerprint,
    PartitionMemory,
    PartitionRecord,
    Recalled,
    Redo,
    Skipped,
    SourceKind,
    SourceRow,
)
from oedi_spark.errors import OediSparkError
from oedi_spark.fingerprints import fingerprint_partition, fingerprint_settings
from oedi_spark.lake.catalog import CatalogLocation
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.publication import Harvest
from oedi_spark.lake.sources import recall, runs_of
from oedi_spark.landed_copies import find_unlanded
from oedi_spark.log import get_logger
from oedi_spark.plan import PartitionPlan, Plan
from oedi_spark.result_tables import digest_tables, say_errata
from oedi_spark.source.errata import find_errata
from oedi_spark.source.storage import SourceLocation
from oedi_spark.survey import SourceListing, jobs_of, list_source, look_into
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.transform.rules import RULE_OF

_log = get_logger(__name__)


@dataclass(frozen=True)
class Work:
    """What a run does, and what it leaves as it is.

    `recalled` goes by the ordinal of the plan's files: those that are not fetched, because they
    failed for good. `fingerprints` are those of the plan's partitions. `redo`: as it was asked.
    """

    plan: Plan
    fingerprints: Mapping[Partition, Fingerprint]
    skipped: tuple[Skipped, ...] = ()
    recalled: Mapping[int, Recalled] = field(default_factory=dict)
    redo: Redo = Redo()  # noqa: RUF009 - frozen

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to read: the rest of the run, and Spark, are not needed."""
        return bool(self.skipped) and not (self.plan.index.files or self.plan.metadata.index.files)


def find_work(
    config: RunConfig, location: SourceLocation, place: CatalogLocation, redo: Redo, rules: object
) -> Work:
    """List the source, and leave out what has not changed since an earlier run published it.

    Only keys, sizes and ETags are compared; of metadata no file is opened that is left out. Of
    landed copies it is looked whether they lie where this config puts them, and their sizes.

    Raises:
        SourceError: Nothing to read, a folder could not be listed, or two files claim to be
            the same metadata.
    """
    listed = list_source(config, location)
    fingerprints = _fingerprints(config, listed, rules)
    memory = {} if redo.force else _recall(place, listed.partitions)
    unchanged = {
        partition: known
        for partition, known in memory.items()
        if known.is_intact
        and known.whole == fingerprints[partition].whole
        and not known.has_transient
        and not (redo.retry_failed and known.has_failed)
    }
    for partition in find_unlanded(config, listed.metadata, unchanged):
        _log.info("copies of metadata are not in their place", partition=str(partition))
        del unchanged[partition]
    skipped = tuple(_skip(config, listed, unchanged))
    plan = look_into(config, location, listed, skipped=unchanged.keys())
    recalled = {} if redo.retry_failed else _failed_before(plan, memory, fingerprints)
    return Work(plan, fingerprints, skipped, recalled, redo)


def work_of_plan(config: RunConfig, plan: Plan, rules: object) -> Work:
    """All of a plan that was made earlier."""
    listed = SourceListing(plan.index, plan.metadata.index, {}, plan.metadata.listing_of)
    return Work(plan, _fingerprints(config, listed, rules))


def _fingerprints(
    config: RunConfig, listed: SourceListing, rules: object
) -> dict[Partition, Fingerprint]:
    series = {each.partition: each for each in listed.index.listings}
    return {
        partition: fingerprint_partition(
            series.get(partition),
            listed.metadata.listings_of(partition),
            fingerprint_settings(
                config.settings,
                jobs_of(config, partition),
                rules,
                errata=say_errata(find_errata(partition)),
                tables=digest_tables(),
            ),
        )
        for partition in listed.partitions
    }


def _recall(
    place: CatalogLocation, partitions: Collection[Partition]
) -> dict[Partition, PartitionMemory]:
    """What the tables remember. Nothing, when they cannot be asked: then all is done again."""
    try:
        return recall(place, partitions)
    except OediSparkError as error:
        _log.warning("what was published is not known", error=str(error))
    except Exception as error:  # noqa: BLE001 - any fault of a catalog or a file system
        _log.warning("what was published is not known", error=say_fault(error))
    return {}


def _skip(
    config: RunConfig, listed: SourceListing, unchanged: Mapping[Partition, PartitionMemory]
) -> Iterator[Skipped]:
    """What is told of partitions that are left alone: from memory, and from the listing."""
    listings = {each.partition: each for each in listed.index.listings}
    missing = listed.index.missing_buildings() if unchanged else {}
    for partition, known in sorted(unchanged.items()):
        found = listings.get(partition)
        by_county = all(job.counties for job in jobs_of(config, partition))
        described = listed.metadata.listings_of(partition)
        yield Skipped(
            partition=partition,
            run_id=known.run_id,
            file_count=known.file_count,
            metadata_keys=tuple(file.key for each in described for file in each.files),
            hourly_rows=known.hourly_rows,
            lost=known.lost,
            missing_buildings=() if by_county else missing.get(partition, ()),
            surplus={each.key: each.why.value for each in found.surplus} if found else {},
        )


NOT_RECALLED = TRANSIENT | {reason for reason in Reason if reason.value in RULE_OF}
"""Also what a rule of the gate has rejected: metadata has a say in that (published results, and the
building type that a known erratum is of), and it may be other metadata by now."""


def _failed_before(
    plan: Plan,
    memory: Mapping[Partition, PartitionMemory],
    fingerprints: Mapping[Partition, Fingerprint],
) -> dict[int, Recalled]:
    """The files of partitions to redo that failed for good, and are the same as they were then."""
    recalled = {}
    for listing in plan.index.listings:
        known = memory.get(listing.partition)
        if known is None or known.settings != fingerprints[listing.partition].settings:
            continue
        failed = {row.key: row for row in known.lost_files}
        for file in listing.files:
            row = failed.get(file.key)
            if row is not None and row.reason not in NOT_RECALLED and _is_same(row, file):
                note = f"remembered from run {known.run_id}, not read again"
                outcome = FileOutcome(
                    file.ordinal, Reason(str(row.reason)), f"{row.detail} ({note})"
                )
                recalled[file.ordinal] = Recalled(outcome, row)
    return recalled


def _is_same(row: SourceRow, file: SourceFile) -> bool:
    version = (row.size_bytes, row.etag)
    is_dated = file.etag is not None or row.modified_at_utc == file.modified_at_utc
    return version == (file.size_bytes, file.etag) and is_dated


def remember(
    work: Work, tracker: RunTracker, harvest: Harvest, unsettled: Collection[Partition]
) -> dict[Partition, PartitionRecord]:
    """What the next run shall know of each partition that this one has published.

    Not of `unsettled` ones: their landed copies are not as they should be, so they are done again.
    """
    found = work.plan if tracker.plan is None else tracker.plan
    listings = {each.partition: each for each in found.index.listings}
    gaps = {line.partition: tuple(_gaps(line, tracker)) for line in found.partitions}
    return {
        partition: _record(
            work,
            tracker,
            harvest,
            partition,
            (
                *_series_rows(work, tracker, listings.get(partition)),
                *_metadata_rows(tracker, partition),
                *gaps.get(partition, ()),
            ),
        )
        for partition in harvest.partitions
        if partition not in unsettled
    }


def _record(
    work: Work,
    tracker: RunTracker,
    harvest: Harvest,
    partition: Partition,
    rows: tuple[SourceRow, ...],
) -> PartitionRecord:
    hours = harvest.hours.get(partition, ())
    part = harvest.metadata.get(partition)
    metadata = part.metadata if part else ()
    weights = (part.weights,) if part and part.weights else ()
    staged = [file.path for file in (*hours, *metadata, *weights)]
    return PartitionRecord(
        fingerprint=work.fingerprints[partition],
        staged_by=tuple(sorted({tracker.run_id, *runs_of(staged, partition)})),
        file_count=sum(1 for row in rows if row.kind is SourceKind.SERIES),
        hourly_rows=sum(file.row_count for file in hours),
        metadata_rows=sum(file.row_count for file in metadata),
        weight_rows=sum(file.row_count for file in weights),
        rows=rows,
    )


def _series_rows(
    work: Work, tracker: RunTracker, listing: PartitionListing | None
) -> Iterator[SourceRow]:
    for file in listing.files if listing else ():
        if file.ordinal in work.recalled:
            yield work.recalled[file.ordinal].row
            continue
        outcome = tracker.outcomes.get(file.ordinal)
        reason = outcome.reason if outcome else None
        detail = outcome.detail if outcome and reason else None
        yield _row(SourceKind.SERIES, file.bldg_id, file, reason, detail)


def _metadata_rows(tracker: RunTracker, partition: Partition) -> Iterator[SourceRow]:
    metadata = tracker.metadata
    # Also of a national file that nobody could look into, of which no state is known.
    described = metadata.findings.index.listings_of(partition)
    for file in (file for listing in described for file in listing.files):
        outcome = metadata.outcomes.get(file.ordinal)
        reason = outcome.reason if outcome else Reason.NOT_REACHED
        if reason is None and file.ordinal not in metadata.landed:
            reason = Reason.NOT_COMMITTED
        detail = outcome.detail if outcome and reason else None
        yield _row(SourceKind.METADATA, None, file, reason, detail)


def _row(
    kind: SourceKind,
    bldg_id: int | None,
    file: SourceFile | MetadataFile,
    reason: Reason | None,
    detail: str | None,
) -> SourceRow:
    return SourceRow(
        kind=kind,
        bldg_id=bldg_id,
        key=file.key,
        size_bytes=file.size_bytes,
        etag=file.etag,
        modified_at_utc=file.modified_at_utc,
        reason=reason.value if reason else None,
        detail=detail,
    )


def _gaps(line: PartitionPlan, tracker: RunTracker) -> Iterator[SourceRow]:
    """What makes the partition less than whole, and has no file."""
    covered = line.coverage
    for gap, bldg_ids in (
        (Gap.NO_SERIES, covered.without_series),
        (Gap.NO_METADATA, covered.without_metadata),
    ):
        yield from (_gap(gap, bldg_id=bldg_id) for bldg_id in bldg_ids)
    if covered.gap is not None and covered.is_required:
        yield _gap(covered.gap)
    if line.expects_series and not line.file_count:
        yield _gap("no_files", detail="no building file lies there")
    omitted = sorted(
        column.source_name
        for column in tracker.columns.get(line.partition, {})
        if column.rule == "omit"
    )
    if omitted:
        yield _gap("columns_omitted", detail=", ".join(omitted))


def _gap(reason: str, *, bldg_id: int | None = None, detail: str | None = None) -> SourceRow:
    return SourceRow(SourceKind.GAP, bldg_id, None, None, None, None, str(reason), detail)
