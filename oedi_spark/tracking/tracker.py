"""Follow every file from listed to uploaded.

Stage 7 of 7: writer → TRACKER.

A Spark accumulator carries the transitions that the tasks saw, per file. Merging two records
of a file is a bitwise or, so a task that was retried or ran twice counts once. Spark hands the
updates over when a task ends; the driver adds what only it knows: listed and uploaded.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from oedi_spark.contracts import (
    BatchResult,
    Column,
    FileOutcome,
    Partition,
    Publication,
    Reason,
    StagedFile,
    Transition,
    Verdict,
)
from oedi_spark.contracts_metadata import MetadataResult
from oedi_spark.contracts_resume import Recalled, Skipped
from oedi_spark.log import get_logger
from oedi_spark.plan import Plan
from oedi_spark.tracking.metadata_tracker import MetadataTracker
from oedi_spark.tracking.quality_summary import QualitySummary, QualityTracker
from oedi_spark.tracking.summary import FileStats, PartitionLine, RunSummary
from oedi_spark.transform.partition_claims import PartitionFigures
from oedi_spark.transform.rules import RuleBook

STAGES = ("config", "indexer", "reader", "rollup", "quality", "writer", "tracker")

_log = get_logger(__name__)


class RunTracker:
    """What one run did; complete at every moment, so a failed run can be summed up too."""

    def __init__(self, run_id: str, rules: RuleBook | None = None) -> None:
        self.run_id = run_id
        self.started_at_utc = datetime.now(UTC)
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.plan: Plan | None = None
        self.transitions: dict[int, int] = {}
        self.outcomes: dict[int, FileOutcome] = {}
        self.columns: dict[Partition, dict[Column, int]] = {}
        self.staged: list[StagedFile] = []
        self.verdicts: tuple[Verdict, ...] = ()
        self.publications: list[Publication] = []
        self.metadata = MetadataTracker()
        self.quality = QualityTracker(rules or RuleBook())
        self.skipped: tuple[Skipped, ...] = ()
        self.adopted_files = 0
        self.read_bytes = 0
        self.batch_seconds = 0.0
        """Wall seconds from the first batch sent out to the last one back."""
        self._started_s = time.perf_counter()

    @contextmanager
    def stage(self, *names: str) -> Iterator[None]:
        """Time a stage (or several that run as one) and log that it begins and ends."""
        label = " → ".join(names)
        _log.info("stage started", stage=label)
        started = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - started
            if len(names) == 1:
                self.seconds[names[0]] += took_s
            _log.info("stage ended", stage=label, took_s=round(took_s, 3))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._started_s

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that the run replaces: those that listed series or metadata."""
        return frozenset(self._ordinals().keys() | self.metadata.findings.listing_of.keys())

    @property
    def claimed(self) -> frozenset[Partition]:
        """The partitions that no other run may change meanwhile: those left alone, too."""
        return self.partitions | {each.partition for each in self.skipped}

    def record_skipped(self, skipped: Sequence[Skipped], recalled: Mapping[int, Recalled]) -> None:
        """Partitions are left alone, and files of others too, which failed for good before."""
        self.skipped = tuple(skipped)
        for ordinal, each in recalled.items():
            self.outcomes[ordinal] = each.outcome
            # Where it was lost then; only what is absurdly large is never fetched.
            if each.outcome.reason is not Reason.TOO_LARGE:
                self.transitions[ordinal] |= int(Transition.FETCHED)

    def record_plan(self, plan: Plan) -> None:
        """Every building file and every metadata file of the plan is listed."""
        self.plan = plan
        self.metadata.record_findings(plan.metadata)
        self.transitions = {file.ordinal: int(Transition.LISTED) for file in plan.index.files}

    def record_transitions(self, carried: Mapping[int, int]) -> None:
        """Take over what the accumulator carried."""
        for ordinal, transitions in carried.items():
            self.transitions[ordinal] = self.transitions.get(ordinal, 0) | transitions

    @contextmanager
    def timed_batches(self) -> Iterator[None]:
        """Count the wall seconds from the first batch sent out to the last one back."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.batch_seconds += time.perf_counter() - started

    def has_discrepancies(self) -> bool:
        """Whether anything that was asked for is not in the table."""
        lost = any(not done & Transition.UPLOADED for done in self.transitions.values())
        lost |= any(c.rule == "omit" for counts in self.columns.values() for c in counts)
        partitions = self.plan.partitions if self.plan else ()
        is_whole = all(each.is_whole for each in partitions)
        is_whole &= all(each.is_whole for each in self.skipped)
        return lost or not is_whole or self.metadata.has_discrepancies()

    def record_metadata(self, results: Sequence[MetadataResult]) -> None:
        """Take over what the metadata tasks handed back."""
        self.metadata.record_results(results)
        if self.plan is not None:
            read = {part.partition: part.bldg_ids for result in results for part in result.parts}
            self.plan = self.plan.corrected(read)
        self.read_bytes += sum(result.read_bytes for result in results)
        for result in results:
            for name, took_s in result.seconds.items():
                self.seconds[name] += took_s

    def record_results(
        self, results: Iterable[BatchResult], partition_of: Mapping[int, Partition]
    ) -> None:
        """Take over what the tasks handed back."""
        for result in results:
            self.outcomes.update({outcome.ordinal: outcome for outcome in result.outcomes})
            self.staged += result.staged
            self.read_bytes += result.read_bytes
            for name, took_s in result.seconds.items():
                self.seconds[name] += took_s
            self.quality.record_result(partition_of[result.batch_number], result)
            counts = self.columns.setdefault(partition_of[result.batch_number], {})
            for column, count in result.columns.items():
                counts[column] = counts.get(column, 0) + count

    def record_publication(
        self, publication: Publication, committed: Sequence[StagedFile] = ()
    ) -> None:
        """A snapshot is in the catalog: the files staged into it are uploaded."""
        self.publications.append(publication)
        if publication.table.endswith(".metadata"):
            self.metadata.record_publication(publication)
        for staged in committed:
            for ordinal in staged.ordinals:
                self.transitions[ordinal] |= int(Transition.UPLOADED)

    def failed_by_partition(self) -> dict[Partition, int]:
        """Files that were read and cannot become hours, per partition."""
        return {
            partition: sum(
                1
                for ordinal in ordinals
                if (outcome := self.outcomes.get(ordinal)) and outcome.reason is not None
            )
            for partition, ordinals in self._ordinals().items()
        }

    def reasons_of(self, partition: Partition) -> dict[str, int]:
        """Why files of a partition cannot become hours, the most frequent reason first."""
        outcomes = map(self.outcomes.get, self._ordinals().get(partition, range(0)))
        reasons = Counter(each.reason.value for each in outcomes if each and each.reason)
        return dict(reasons.most_common())

    def partition_figures(self) -> Iterator[PartitionFigures]:
        """What the rules of a whole partition are asked of: each that listed building files."""
        lines = self.plan.partitions if self.plan else ()
        for each in lines:
            if not each.file_count:
                continue
            staged = [file for file in self.staged if file.partition == each.partition]
            covered = each.coverage
            yield PartitionFigures(
                partition=each.partition,
                building_count=sum(file.building_count for file in staged),
                row_count=sum(file.row_count for file in staged),
                expected_count=each.file_count + len(each.missing_buildings),
                missing_count=len(each.missing_buildings),
                described_count=covered.building_count,
                unmatched_count=len(covered.without_series) + len(covered.without_metadata),
                statistics=self.quality.statistics.get(each.partition, {}),
                geographies=self.metadata.geographies(each.partition),
            )

    def _summarise_quality(self) -> QualitySummary:
        fetched: dict[Partition, dict[int, str]] = {}
        for listing in self.plan.index.listings if self.plan else ():
            fetched[listing.partition] = {
                file.ordinal: file.key
                for file in listing.files
                if self.transitions[file.ordinal] & Transition.FETCHED
            }
        refused = (each.reason for each in self.metadata.outcomes.values() if each.reason)
        held = {each.partition for each in self.verdicts if not (each.is_published or each.broken)}
        return self.quality.summarise(fetched, self.outcomes, refused, held)

    def _reason_of(self, ordinal: int, withheld: set[int]) -> tuple[Reason, str]:
        """Why a listed file was not uploaded."""
        outcome = self.outcomes.get(ordinal)
        if outcome is not None and outcome.reason is not None:
            return outcome.reason, outcome.detail
        if not self.transitions[ordinal] & Transition.TRANSFORMED:
            return Reason.NOT_REACHED, "the run ended before this file was read"
        if ordinal in withheld:
            return (
                Reason.PARTITION_WITHHELD,
                "its partition did not pass, so none of it is published",
            )
        return Reason.NOT_COMMITTED, "staged, but the commit did not happen"

    def _withheld_ordinals(self) -> set[int]:
        ordinals = self._ordinals()
        held = [verdict.partition for verdict in self.verdicts if not verdict.is_published]
        return {ordinal for partition in held for ordinal in ordinals[partition]}

    def _ordinals(self) -> dict[Partition, range]:
        if self.plan is None:
            return {}
        return {
            each.partition: range(each.files[0].ordinal, each.files[-1].ordinal + 1)
            for each in self.plan.index.listings
            if each.files
        }

    def summarise(self, *, outcome: str, exit_code: int, error: str | None) -> RunSummary:
        """The run as it stands, every listed file in exactly one place."""
        files = self.plan.index.files if self.plan else ()
        uploaded = [f for f in files if self.transitions[f.ordinal] & Transition.UPLOADED]
        return RunSummary(
            run_id=self.run_id,
            outcome=outcome,
            exit_code=exit_code,
            error=error,
            started_at_utc=self.started_at_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
            total_s=self.elapsed_s,
            stage_s=dict(self.seconds),
            batch_s=self.batch_seconds,
            data_files=self._file_stats(),
            metadata=self.metadata.summarise(
                (verdict.partition for verdict in self.verdicts if not verdict.is_published),
                {key for each in self.skipped for key in each.metadata_keys},
            ),
            surplus=self._surplus(),
            partitions=self._partition_lines(),
            published_rows=sum(p.row_count for p in self.publications if p.is_hourly),
            read_bytes=self.read_bytes,
            written_bytes=sum(p.size_bytes for p in self.publications if p.is_hourly),
            files_per_second=len(uploaded) / self.batch_seconds if self.batch_seconds else 0.0,
            snapshot_ids={p.table: p.snapshot_id for p in self.publications},
            missing_values=self._missing_values(),
            quality=self._summarise_quality(),
            columns_by_unit=self._column_names(lambda c: not c.known and c.rule != "omit"),
            columns_omitted=self._column_names(lambda c: c.rule == "omit"),
            skipped=self.skipped,
            adopted_files=self.adopted_files,
        )

    def _file_stats(self) -> FileStats:
        stats = FileStats()
        withheld = self._withheld_ordinals()
        for file in self.plan.index.files if self.plan else ():
            why = partial(self._reason_of, file.ordinal, withheld)
            stats.place(file.key, self.transitions[file.ordinal], why, etag=file.etag)
        for each in self.skipped:
            stats.leave(each.file_count, each.lost_files)
        return stats

    def _partition_lines(self) -> tuple[PartitionLine, ...]:
        rows: dict[Partition, int] = {}
        for staged in self.staged:
            rows[staged.partition] = rows.get(staged.partition, 0) + staged.row_count
        ordinals = self._ordinals()
        lines = []
        for each in self.plan.partitions if self.plan else ():
            done = [self.transitions[at] for at in ordinals.get(each.partition, range(0))]
            uploaded = sum(1 for transitions in done if transitions & Transition.UPLOADED)
            lines.append(
                PartitionLine(
                    partition=str(each.partition),
                    listed=each.file_count,
                    uploaded=uploaded,
                    rows=rows.get(each.partition, 0) if uploaded else 0,
                    missing_buildings=each.missing_buildings,
                    coverage=each.coverage,
                )
            )
        return tuple(lines)

    def _missing_values(self) -> dict[str, str]:
        files = self.plan.index.files if self.plan else ()
        return {
            files[outcome.ordinal].key: outcome.detail
            for outcome in self.outcomes.values()
            if outcome.reason is None
        }

    def _surplus(self) -> dict[str, str]:
        told = [each.surplus for each in (self.plan.partitions if self.plan else ())]
        told += [each.surplus for each in self.skipped]
        return {key: why for surplus in told for key, why in surplus.items()}

    def _column_names(self, wanted: Callable[[Column], bool]) -> tuple[str, ...]:
        return tuple(
            sorted({c.source_name for counts in self.columns.values() for c in counts if wanted(c)})
        )
