"""The summary that a run in a workflow left on S3: found, and told as the run itself tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oedi_spark.contracts_metadata import Gap
from oedi_spark.coverage import Coverage
from oedi_spark.deployment.client import one_line
from oedi_spark.errors import DeploymentError
from oedi_spark.lake.files import S3Access, read_whole
from oedi_spark.lake.summaries import workflow_summary_uri
from oedi_spark.tracking.summary import FileStats, MetadataSummary, PartitionLine, RunSummary


@dataclass(frozen=True)
class FoundSummary:
    """A summary, and where it lies."""

    uri: str
    exit_code: int
    text: str


def find_summary(root_uri: str, workflow_run_id: str, access: S3Access) -> FoundSummary | None:
    """The summary of a workflow's run.

    Args:
        root_uri: The run's `output_dir`.
        workflow_run_id: As Glue named it.
        access: How S3 is reached.

    Returns:
        None when there is none: the job ended before it could write one.

    Raises:
        DeploymentError: It cannot be read, or is no summary.
    """
    uri = workflow_summary_uri(root_uri, workflow_run_id)
    try:
        content = read_whole(uri, access)
    except FileNotFoundError:
        return None
    except OSError as error:
        way_out = "Allow s3:GetObject on summaries/ and s3:ListBucket, and look again"
        raise DeploymentError("the summary was not read", one_line(error), way_out) from error
    try:
        document = json.loads(content)
        exit_code = _exit_code(document["run"]["exit_code"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        cause, way_out = f"{uri} is no summary of a run", "Look at it with `aws s3 cp`"
        raise DeploymentError("the summary was not read", cause, way_out) from error
    return FoundSummary(uri, exit_code, summary_text(document))


def _exit_code(value: object) -> int:
    """What a process can end with: 256 would end as 0, and true is no number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise ValueError(f"{value!r} is no exit code")
    return value


def summary_text(document: Mapping[str, Any]) -> str:
    """A summary's JSON as `RunSummary.as_text` would have told it.

    The job may be of another version than this command. What then does not fit is not guessed
    at: the outcome alone is told.
    """
    try:
        return _build(document).as_text()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        run = document["run"]
        named = (run.get(key, "not known") for key in ("run_id", "outcome"))
        run_id, outcome = map(one_line, named)
        lines = [f"run {run_id}: {outcome} (exit {run['exit_code']})"]
        if run.get("error"):
            lines.append(f"  {one_line(run['error'], 2000)}")
        return "\n".join([*lines, "  the rest is of another version: see the JSON"])


def _build(document: Mapping[str, Any]) -> RunSummary:
    run, times, volume = document["run"], document["time_stat"], document["volume"]
    return RunSummary(
        run_id=one_line(run["run_id"]),
        outcome=one_line(run["outcome"]),
        exit_code=int(run["exit_code"]),
        error=None if run["error"] is None else str(run["error"]),
        started_at_utc=str(times["started_at_utc"]),
        total_s=float(times["total_time_seconds"]),
        stage_s={one_line(name): float(took) for name, took in times["stage_seconds"].items()},
        batch_s=float(times["batches_seconds"]),
        data_files=_file_stats(document["data_files_stats"], "data", "transforms"),
        metadata=_metadata(document["metadata"], document["metadata_files_stats"]),
        surplus=_texts(document["surplus_files"]),
        partitions=tuple(_partition(line) for line in document["partitions"]),
        published_rows=int(volume["rows_published"]),
        read_bytes=int(volume["bytes_read"]),
        written_bytes=int(volume["bytes_written"]),
        files_per_second=float(volume["files_per_second"]),
        snapshot_ids={
            one_line(table): int(number) for table, number in document["snapshot_ids"].items()
        },
        missing_values=_texts(document["missing_values_files"]),
        columns_by_unit=tuple(map(str, document["columns_ruled_by_unit"])),
        columns_omitted=tuple(map(str, document["columns_omitted"])),
    )


def _file_stats(stats: Mapping[str, Any], kind: str, middle: str) -> FileStats:
    return FileStats(
        listed=int(stats[f"total_{kind}_files_listed"]),
        uploaded=int(stats[f"total_{kind}_files_uploaded"]),
        missing_fetches=_texts(stats[f"missing_{kind}_fetches_files"]),
        missing_transforms=_texts(stats[f"missing_{kind}_{middle}_files"]),
        missing_uploads=_texts(stats[f"missing_{kind}_uploads_files"]),
    )


def _metadata(facts: Mapping[str, Any], stats: Mapping[str, Any]) -> MetadataSummary:
    return MetadataSummary(
        files=_file_stats(stats, "metadata", "bypasses"),
        layouts=_texts(facts["layouts"]),
        rejected=_texts(facts["rejected_files"]),
        landed={str(uri): dict(each) for uri, each in facts["landed_files"].items()},
        counties_not_found=tuple(map(str, facts["counties_not_found"])),
        withheld=tuple(one_line(each) for each in facts["withheld_partitions"]),
        surplus=_texts(facts["surplus_files"]),
        notes=tuple(map(str, facts["notes"])),
        rows_published=int(facts["rows_published"]),
    )


def _partition(line: Mapping[str, Any]) -> PartitionLine:
    gap = line["metadata_gap"]
    return PartitionLine(
        partition=one_line(line["partition"]),
        listed=int(line["files_listed"]),
        uploaded=int(line["files_uploaded"]),
        rows=int(line["rows_published"]),
        missing_buildings=tuple(map(int, line["missing_buildings"])),
        coverage=Coverage(
            file_count=int(line["metadata_files"]),
            building_count=int(line["metadata_buildings"]),
            without_series=tuple(map(int, line[Gap.NO_SERIES.value])),
            without_metadata=tuple(map(int, line[Gap.NO_METADATA.value])),
            gap=None if gap is None else Gap(gap),
        ),
    )


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in found.items()}
