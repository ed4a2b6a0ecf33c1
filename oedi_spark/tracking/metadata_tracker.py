"""Follow every metadata file from listed to landed, and say what the joins of a run lack.

Part of stage 7 of 7: writer → TRACKER. Each metadata task hands its outcomes back with its
result, and Spark keeps one result per task, so a retried task counts once without an
accumulator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from oedi_spark.contracts import Partition, Publication, Reason, Transition
from oedi_spark.contracts_metadata import (
    Gap,
    GeographyCoverage,
    LandedFile,
    MetadataColumn,
    MetadataListing,
    MetadataOutcome,
    MetadataPart,
    MetadataResult,
)
from oedi_spark.coverage import MetadataFindings
from oedi_spark.errors import FileFault
from oedi_spark.tracking.summary import FileStats, MetadataSummary


class MetadataTracker:
    """What a run did with its metadata; complete at every moment."""

    def __init__(self) -> None:
        self.findings = MetadataFindings()
        self.outcomes: dict[int, MetadataOutcome] = {}
        self.landed: dict[int, LandedFile] = {}
        self.parts: dict[Partition, MetadataPart] = {}
        self._schemas: dict[tuple[MetadataColumn, ...], tuple[MetadataColumn, ...]] = {}
        self.notes: list[str] = []
        self.copies: dict[int, LandedFile] = {}
        """Those that are made, by ordinal; some wait, some have landed."""
        self.emptied: set[Partition] = set()
        """Partitions that had metadata of an earlier run, and have none of this one."""
        self.held: dict[Partition, str] = {}
        """Partitions without building files whose metadata is held back, and why."""
        self.published_rows = 0

    def record_findings(self, findings: MetadataFindings) -> None:
        """Every metadata file of the plan is listed."""
        self.findings = findings

    def record_results(self, results: Iterable[MetadataResult]) -> None:
        """Take over what the tasks handed back."""
        for result in results:
            for outcome in result.outcomes:
                # A national file is taken in portions: of several outcomes the worst counts.
                known = self.outcomes.get(outcome.ordinal)
                if known is None or known.reason is None:
                    self.outcomes[outcome.ordinal] = outcome
            self.copies.update({each.ordinal: each for each in result.landed})
            for part in result.parts:
                # Thousands of parts have one of a few schemas, each a thousand columns.
                columns = self._schemas.setdefault(part.columns, part.columns)
                self.parts[part.partition] = replace(part, columns=columns)
            self.notes += result.notes

    def published_uri(self, partition: Partition) -> str | None:
        """Where the annual results of a partition wait for its series; None if it has none."""
        part = self.parts.get(partition)
        return None if part is None else part.published_uri

    def published_digest(self, partition: Partition) -> str | None:
        """What these results are; None if it has none."""
        part = self.parts.get(partition)
        return None if part is None else part.published_digest

    def geographies(self, partition: Partition) -> tuple[GeographyCoverage, ...]:
        """What its metadata stands for, by kind of geography."""
        part = self.parts.get(partition)
        return () if part is None else part.geographies

    def record_publication(self, publication: Publication) -> None:
        """A snapshot of `metadata` is in the catalog."""
        self.published_rows += publication.row_count
        self.emptied |= set(publication.partitions) - self.parts.keys()

    def record_held(self, held: Mapping[Partition, str]) -> None:
        """The metadata of these partitions stays as an earlier run published it, if one did."""
        self.held = dict(held)

    def record_landed(self, landed: LandedFile) -> None:
        """A copy is in its place."""
        outcome = self.outcomes[landed.ordinal]
        self.landed[landed.ordinal] = landed
        self.outcomes[landed.ordinal] = replace(
            outcome, transitions=outcome.transitions | Transition.UPLOADED
        )

    def record_landing_fault(self, ordinal: int, fault: FileFault) -> None:
        """A copy could not be put into its place."""
        outcome = self.outcomes[ordinal]
        self.outcomes[ordinal] = replace(outcome, reason=fault.reason, detail=fault.detail)

    def published_listings(self, withheld: Collection[Partition]) -> Iterator[MetadataListing]:
        """The listings whose copies are to be shown: not all their partitions are withheld."""
        found = self.findings
        described: dict[int, set[Partition]] = {}
        for partition, place in found.listing_of.items():
            described.setdefault(place, set()).add(partition)
        for place, listing in enumerate(found.index.listings):
            partitions = described.get(place, set())
            if not partitions or not partitions <= set(withheld):
                yield listing

    def has_discrepancies(self) -> bool:
        """Whether any metadata that was asked for is not in the table."""
        found = self.findings
        unlanded = any(file.ordinal not in self.landed for file in found.index.files)
        faulted = any(outcome.reason is not None for outcome in self.outcomes.values())
        is_lacking = self.held or self.emptied or found.index.counties_not_found
        return bool(unlanded or faulted or is_lacking)

    def summarise(
        self, withheld: Iterable[Partition], unchanged: Collection[str] = ()
    ) -> MetadataSummary:
        """The metadata side of the summary, every file in exactly one place.

        `unchanged`: keys of files of partitions that are left alone; national ones may be read
        for others all the same.
        """
        index = self.findings.index
        key_of = {file.ordinal: file.key for file in index.files}
        held = set(withheld)
        return MetadataSummary(
            files=self._file_stats(unchanged),
            layouts={
                match.release: f"{', '.join(match.patterns) or 'none found'} ({match.how})"
                for match in index.matches
            },
            rejected={
                key_of[at]: f"{outcome.reason}: {outcome.detail}"
                for at, outcome in sorted(self.outcomes.items())
                if outcome.reason is not None and at in self.landed
            },
            landed={
                each.uri: {"key": key_of[each.ordinal], "md5": each.md5, "bytes": each.size_bytes}
                for each in self.landed.values()
            },
            counties_not_found=tuple(
                f"{partition} county={county}: {Gap.COUNTY_NOT_FOUND}"
                for partition, county in index.counties_not_found
            ),
            withheld=tuple(map(str, sorted((self.parts.keys() & held) | self.held.keys()))),
            surplus={each.key: each.why.value for each in index.surplus},
            notes=(
                *dict.fromkeys(self.notes),
                *(f"{each}: metadata held back: {why}" for each, why in self.held.items()),
                *(
                    f"{each}: metadata of an earlier run removed, this one has none"
                    for each in sorted(self.emptied)
                ),
            ),
            rows_published=self.published_rows,
            geographies={
                str(partition): part.geographies for partition, part in sorted(self.parts.items())
            },
        )

    def _file_stats(self, unchanged: Collection[str]) -> FileStats:
        stats = FileStats()
        stats.leave(len(set(unchanged) - {file.key for file in self.findings.index.files}), {})
        for file in self.findings.index.files:
            outcome = self.outcomes.get(file.ordinal)
            done = outcome.transitions if outcome else Transition.LISTED
            stats.place(file.key, done, partial(self._reason_of, outcome), etag=file.etag)
        return stats

    @staticmethod
    def _reason_of(outcome: MetadataOutcome | None) -> tuple[Reason, str]:
        if outcome is None:
            return Reason.NOT_REACHED, "the run ended before this file was read"
        if outcome.reason is None:
            return Reason.NOT_COMMITTED, "copied, but the hours of its partition were not published"
        return outcome.reason, outcome.detail
