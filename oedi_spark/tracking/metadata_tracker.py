"""Follow every metadata file from listed to landed, and say what the joins of a run lack.

Part of stage 7 of 7: writer → TRACKER. Each metadata task hands its outcomes back with its
result, and Spark keeps one result per task, so a retried task counts once without an
accumulator.
"""

from __future__ import annotations

from collections.abc import Iterable

from oedi_spark.contracts import Partition, Publication, Reason, Transition
from oedi_spark.contracts_metadata import (
    Gap,
    LandedFile,
    MetadataFile,
    MetadataListing,
    MetadataOutcome,
    MetadataPart,
    MetadataResult,
)
from oedi_spark.coverage import MetadataFindings
from oedi_spark.tracking.summary import FileStats, MetadataSummary


class MetadataTracker:
    """What a run did with its metadata; complete at every moment."""

    def __init__(self) -> None:
        self.findings = MetadataFindings()
        self.outcomes: dict[int, MetadataOutcome] = {}
        self.landed: dict[int, LandedFile] = {}
        self.parts: dict[Partition, MetadataPart] = {}
        self.notes: list[str] = []
        self.published: set[Partition] = set()
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
            self.landed.update({each.ordinal: each for each in result.landed})
            self.parts.update({part.partition: part for part in result.parts})
            self.notes += result.notes

    def record_publication(self, publication: Publication) -> None:
        """A snapshot of `metadata` is in the catalog."""
        self.published |= set(publication.partitions)
        self.published_rows += publication.row_count

    def landing_folders(self) -> dict[str, tuple[tuple[MetadataListing, MetadataFile], ...]]:
        """The folders in which something has landed, and every file that belongs there."""
        return {
            listing.landing_folder: tuple((listing, file) for file in listing.files)
            for listing in self.findings.index.listings
            if any(file.ordinal in self.landed for file in listing.files)
        }

    def has_discrepancies(self) -> bool:
        """Whether any metadata that was asked for is not in the table."""
        found = self.findings
        unlanded = any(file.ordinal not in self.landed for file in found.index.files)
        faulted = any(outcome.reason is not None for outcome in self.outcomes.values())
        return bool(unlanded or faulted or found.index.counties_not_found)

    def summarise(self, withheld: Iterable[Partition]) -> MetadataSummary:
        """The metadata side of the summary, every file in exactly one place."""
        index = self.findings.index
        key_of = {file.ordinal: file.key for file in index.files}
        held = set(withheld)
        return MetadataSummary(
            files=self._file_stats(),
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
            withheld=tuple(str(each) for each in sorted(self.parts.keys() & held)),
            surplus={each.key: each.why.value for each in index.surplus},
            notes=tuple(self.notes),
            rows_published=self.published_rows,
        )

    def _file_stats(self) -> FileStats:
        stats = FileStats()
        for file in self.findings.index.files:
            stats.listed += 1
            outcome = self.outcomes.get(file.ordinal)
            done = outcome.transitions if outcome else Transition.LISTED
            if done & Transition.UPLOADED:
                stats.uploaded += 1
                continue
            reason, detail = self._reason_of(outcome)
            lost = (
                stats.missing_fetches
                if not done & Transition.FETCHED
                else stats.missing_transforms
                if not done & Transition.TRANSFORMED
                else stats.missing_uploads
            )
            lost[file.key] = f"{reason}: {detail}"
        return stats

    @staticmethod
    def _reason_of(outcome: MetadataOutcome | None) -> tuple[Reason, str]:
        if outcome is None or outcome.reason is None:
            return Reason.NOT_REACHED, "the run ended before this file was read"
        return outcome.reason, outcome.detail
