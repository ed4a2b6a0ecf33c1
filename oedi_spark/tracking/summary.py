"""The summary of a run: as JSON with the keys that users of the previous system read, as text.

Every listed file is in exactly one place: uploaded, unchanged since an earlier run, or in one of
the three `missing_…` maps with its reason. So listed = uploaded + unchanged + missing fetches +
missing transforms + missing uploads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oedi_spark.checksums import is_md5
from oedi_spark.contracts import Reason, Transition
from oedi_spark.contracts_metadata import Gap, GeographyCoverage
from oedi_spark.contracts_resume import Skipped
from oedi_spark.coverage import Coverage
from oedi_spark.escaping import printable
from oedi_spark.log import get_logger
from oedi_spark.tracking.quality_summary import QualitySummary

_log = get_logger(__name__)


@dataclass
class FileStats:
    """Where the listed files ended. The maps go from key to reason.

    `unchanged`: not read, because an earlier run published them as they are. `verified`: fetched,
    and the bytes have the MD5 that was listed; `unverified`: fetched, and none was listed.
    """

    listed: int = 0
    uploaded: int = 0
    unchanged: int = 0
    missing_fetches: dict[str, str] = field(default_factory=dict)
    missing_transforms: dict[str, str] = field(default_factory=dict)
    missing_uploads: dict[str, str] = field(default_factory=dict)
    verified: int = 0
    unverified: int = 0

    def place(
        self, key: str, done: int, why: Callable[[], tuple[Reason, str]], *, etag: str | None
    ) -> None:
        """Count one listed file where its transitions have brought it.

        `why` gives reason and detail; it is asked only of a file that was not uploaded.
        """
        self.listed += 1
        if done & Transition.FETCHED:
            self.verified += is_md5(etag)
            self.unverified += not is_md5(etag)
        if done & Transition.UPLOADED:
            self.uploaded += 1
            return
        reason, detail = why()
        lost = (
            self.missing_fetches
            if not done & Transition.FETCHED
            else self.missing_transforms
            if not done & Transition.TRANSFORMED
            else self.missing_uploads
        )
        lost[key] = f"{reason}: {detail}"

    def leave(self, count: int, lost: Mapping[str, str]) -> None:
        """Count the files of a partition that is left alone, of which some were lost before."""
        self.listed += count
        self.unchanged += count - len(lost)
        self.missing_transforms |= lost

    @property
    def lost(self) -> dict[str, str]:
        """Every listed file that was not uploaded, with its reason."""
        return self.missing_fetches | self.missing_transforms | self.missing_uploads

    def as_json(self, kind: str, middle: str) -> dict[str, object]:
        """The keys of the previous system: `kind` is data or metadata, `middle` its second step."""
        return {
            f"total_{kind}_files_listed": self.listed,
            f"total_{kind}_files_uploaded": self.uploaded,
            f"total_{kind}_files_unchanged": self.unchanged,
            f"total_{kind}_files_verified": self.verified,
            f"total_{kind}_files_unverified": self.unverified,
            f"missing_{kind}_fetches_count": len(self.missing_fetches),
            f"missing_{kind}_{middle}_count": len(self.missing_transforms),
            f"missing_{kind}_uploads_count": len(self.missing_uploads),
            f"missing_{kind}_fetches_files": self.missing_fetches,
            f"missing_{kind}_{middle}_files": self.missing_transforms,
            f"missing_{kind}_uploads_files": self.missing_uploads,
        }


@dataclass(frozen=True)
class MetadataSummary:
    """What became of the metadata. The maps go from key, or URI, to what there is to say.

    `rejected`: landed, but its rows are not in the table. `withheld`: partitions whose metadata
    is fine and whose hours are not published, so that neither is.
    """

    files: FileStats = field(default_factory=FileStats)
    layouts: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)
    landed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    counties_not_found: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    surplus: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows_published: int = 0
    geographies: Mapping[str, tuple[GeographyCoverage, ...]] = field(default_factory=dict)
    """By partition: how much of the stock that its metadata stands for has a series."""

    def as_json(self) -> dict[str, object]:
        """Everything beside the file counts, which have their own place in the summary."""
        return {
            "layouts": dict(self.layouts),
            "rows_published": self.rows_published,
            "landed_files": {uri: dict(facts) for uri, facts in self.landed.items()},
            "rejected_files": dict(self.rejected),
            "withheld_partitions": list(self.withheld),
            "counties_not_found": list(self.counties_not_found),
            "surplus_files": dict(self.surplus),
            "notes": list(self.notes),
            "geographies": {
                partition: {each.kind: {**vars(each), "share": each.share} for each in found}
                for partition, found in self.geographies.items()
            },
        }

    def coverage_lines(self) -> Iterator[str]:
        """For a person: the kinds of geography of which not all weight has a series."""
        for partition, found in self.geographies.items():
            for each in found:
                if each.covered_weight < each.weight:
                    yield (
                        f"  {partition}: by {each.kind} {each.share:.2%} of the weight has a"
                        f" series, in {each.covered_count:,} of {each.count:,}"
                    )


@dataclass(frozen=True)
class PartitionLine:
    """One partition: how many files it listed, how many are published, with how many hours."""

    partition: str
    listed: int
    uploaded: int
    rows: int
    missing_buildings: tuple[int, ...]
    coverage: Coverage = field(default_factory=Coverage)

    def as_json(self) -> dict[str, object]:
        """Its entry in `partitions`."""
        return {
            "partition": self.partition,
            "files_listed": self.listed,
            "files_uploaded": self.uploaded,
            "rows_published": self.rows,
            "missing_buildings": list(self.missing_buildings),
            "metadata_files": self.coverage.file_count,
            "metadata_buildings": self.coverage.building_count,
            "metadata_gap": self.coverage.gap,
            Gap.NO_SERIES.value: list(self.coverage.without_series),
            Gap.NO_METADATA.value: list(self.coverage.without_metadata),
        }

    def as_text(self) -> str:
        """Its line for a person."""
        gaps = {
            "missing": self.missing_buildings,
            f"in metadata without a series ({Gap.NO_SERIES})": self.coverage.without_series,
            f"without metadata ({Gap.NO_METADATA})": self.coverage.without_metadata,
        }
        notes = [f"{len(ids):,} {what}" for what, ids in gaps.items() if ids]
        if self.coverage.gap:
            notes.append(self.coverage.gap.value)
        files = f"{self.uploaded:,} of {self.listed:,} files, {self.rows:,} hours"
        return ", ".join([f"  {self.partition}: {files}", *notes])


@dataclass(frozen=True)
class RunSummary:
    """What a run did, whether it succeeded or not."""

    run_id: str
    outcome: str
    exit_code: int
    error: str | None
    started_at_utc: str
    total_s: float
    stage_s: Mapping[str, float]
    batch_s: float
    data_files: FileStats
    metadata: MetadataSummary
    surplus: Mapping[str, str]
    partitions: tuple[PartitionLine, ...]
    published_rows: int
    read_bytes: int
    written_bytes: int
    files_per_second: float
    snapshot_ids: Mapping[str, int]
    missing_values: Mapping[str, str]
    columns_by_unit: tuple[str, ...]
    columns_omitted: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    adopted_files: int = 0
    """Files whose hours a run that was killed had staged."""
    quality: QualitySummary = field(default_factory=QualitySummary)

    def headline(self) -> dict[str, object]:
        """The figures for one log line."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "files_listed": self.data_files.listed,
            "files_uploaded": self.data_files.uploaded,
            "files_unchanged": self.data_files.unchanged,
            "hours": self.published_rows,
            "took_s": round(self.total_s, 1),
        }

    def as_json(self) -> dict[str, object]:
        """The whole summary; the first three keys are those of the previous system."""
        return {
            "time_stat": {
                "total_time_seconds": round(self.total_s, 2),
                "batches_seconds": round(self.batch_s, 2),
                "stage_seconds": {name: round(took, 3) for name, took in self.stage_s.items()},
                "started_at_utc": self.started_at_utc,
            },
            "data_files_stats": self.data_files.as_json("data", "transforms"),
            "metadata_files_stats": self.metadata.files.as_json("metadata", "bypasses"),
            "run": {
                "run_id": self.run_id,
                "outcome": self.outcome,
                "exit_code": self.exit_code,
                "error": self.error,
            },
            "volume": {
                "rows_published": self.published_rows,
                "bytes_read": self.read_bytes,
                "bytes_written": self.written_bytes,
                "files_per_second": round(self.files_per_second, 1),
            },
            "snapshot_ids": dict(self.snapshot_ids),
            "partitions": [line.as_json() for line in self.partitions],
            "skipped_partitions": [each.as_json() for each in self.skipped],
            "files_taken_up": self.adopted_files,
            "metadata": self.metadata.as_json(),
            "quality": self.quality.as_json(),
            "surplus_files": dict(self.surplus),
            "missing_values_files": dict(self.missing_values),
            "columns_ruled_by_unit": list(self.columns_by_unit),
            "columns_omitted": list(self.columns_omitted),
            "text": self.as_text().splitlines(),
        }

    def as_text(self) -> str:
        """The summary for a person: the counts, then whatever is not as it should be."""
        lines = [f"run {self.run_id}: {self.outcome} (exit {self.exit_code})", *self._counts()]
        for name, took in self.stage_s.items():
            note = "  in all tasks together" if name in ("reader", "rollup") else ""
            lines.append(f"  stage     {name:<8} {took:>8.2f} s{note}")
        lines += [line.as_text() for line in self.partitions]
        lines += [each.as_text() for each in self.skipped]
        lines += [f"  snapshot  {table} {number}" for table, number in self.snapshot_ids.items()]
        lines += [printable(line) for line in self.quality.as_lines()]
        lines += [printable(line) for line in self.metadata.coverage_lines()]
        lines += self._oddities()
        if self.error:
            lines += [f"  {printable(line)}" for line in self.error.splitlines()]
        return "\n".join(lines)

    def _counts(self) -> list[str]:
        data = self.data_files
        lost = (
            f"{len(data.missing_fetches)} not fetched, {len(data.missing_transforms)}"
            f" not transformed, {len(data.missing_uploads)} not uploaded"
        )
        took = (
            f"in {self.batch_s:.1f} s, {self.files_per_second:.0f} files/s;"
            f" whole run {self.total_s:.1f} s"
        )
        hours = f"{self.published_rows:,} hours, {_mib(self.written_bytes)} written"
        metadata, landed = self.metadata, self.metadata.files.uploaded
        described = f"{landed:>10,} of {metadata.files.listed:,} files landed"
        return [
            f"  listed    {data.listed:>10,} files",
            f"  uploaded  {data.uploaded:>10,} files: {hours}",
            *self._earlier(),
            f"  lost      {len(data.lost):>10,} files: {lost}",
            f"  surplus   {len(self.surplus):>10,} files: not read",
            self._verified(),
            f"  metadata  {described}, {metadata.rows_published:,} rows",
            f"  read      {_mib(self.read_bytes):>10} {took}",
        ]

    def _verified(self) -> str:
        counts = (self.data_files, self.metadata.files)
        verified = sum(each.verified for each in counts)
        unverified = sum(each.unverified for each in counts)
        note = ": a wrong byte in them may go unnoticed" if unverified else ""
        return f"  verified  {verified:>10,} files by checksum; {unverified:,} have none{note}"

    def _earlier(self) -> list[str]:
        unchanged, count = self.data_files.unchanged, len(self.skipped)
        lines = []
        if self.adopted_files:
            lines.append(f"  taken up  {self.adopted_files:>10,} files: a killed run did them")
        if count:
            lines.append(
                f"  unchanged {unchanged:>10,} files: {count:,} partitions left as they are"
            )
        return lines

    def _oddities(self) -> list[str]:
        data = self.data_files
        lines: list[str] = []
        for title, found in (
            ("not fetched", data.missing_fetches),
            ("not transformed", data.missing_transforms),
            ("not uploaded", data.missing_uploads),
            ("surplus", self.surplus),
            ("odd", self.missing_values),
            ("metadata not landed", self.metadata.files.lost),
            ("metadata not in the table", self.metadata.rejected),
            ("surplus metadata", self.metadata.surplus),
        ):
            lines += _named(title, found)
        lines += [f"  metadata  {printable(each)}" for each in self.metadata.counties_not_found]
        lines += [f"  metadata withheld with its hours: {each}" for each in self.metadata.withheld]
        lines += [f"  metadata  {printable(each)}" for each in self.metadata.notes]
        for title, names in (
            ("columns ruled by their unit alone", self.columns_by_unit),
            ("columns left out, no rule and no unit", self.columns_omitted),
        ):
            if names:
                lines.append(f"  {title}: {', '.join(map(printable, names))}")
        return lines


def write_summary(summary: RunSummary, folder: Path) -> Path | None:
    """Write `summary-{run_id}.json` and, for whoever wants the newest, `summary.json`.

    Returns:
        The file; None when it could not be written, which is logged and takes nothing away
        from the run itself: the summary is printed all the same.
    """
    text = json.dumps(summary.as_json(), indent=2) + "\n"
    path = folder / f"summary-{summary.run_id}.json"
    unfinished = folder / f".summary-{summary.run_id}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        unfinished.write_text(text, "utf-8")
        unfinished.replace(folder / "summary.json")
    except OSError as error:
        _log.warning("summary not written", file=str(path), error=str(error))
        return None
    return path


def _named(title: str, found: Mapping[str, str], most: int = 10) -> list[str]:
    lines = [
        f"  {title}: {printable(key.rsplit('/', 1)[-1])}  {printable(why)}"
        for key, why in list(found.items())[:most]
    ]
    if len(found) > most:
        lines.append(f"  {title}: … and {len(found) - most} more, all in the JSON summary")
    return lines


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
