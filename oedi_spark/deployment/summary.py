"""The summary that a run in a workflow left on S3: found, and told as the run itself tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oedi_spark.deployment.client import one_line
from oedi_spark.errors import DeploymentError
from oedi_spark.lake.files import S3Access, read_whole
from oedi_spark.lake.summaries import workflow_summary_uri

_LONGEST_LINE = 2000


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
    """What the run told of itself, line by line; a job of another version left the outcome alone.

    The lines are text from outside: what would move the cursor is escaped.
    """
    told = document.get("text")
    if isinstance(told, list) and told:
        return "\n".join(one_line(line, _LONGEST_LINE) for line in told)
    run = document["run"]
    named = (run.get(key, "not known") for key in ("run_id", "outcome"))
    run_id, outcome = map(one_line, named)
    lines = [f"run {run_id}: {outcome} (exit {run['exit_code']})"]
    if run.get("error"):
        lines.append(f"  {one_line(run['error'], _LONGEST_LINE)}")
    return "\n".join([*lines, "  the rest is of another version: see the JSON"])
