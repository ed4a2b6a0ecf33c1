"""Summaries beside the tables, for runs on machines whose disks do not outlive them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from oedi_spark.contracts import RunOrigin
from oedi_spark.lake.files import AMBIENT, S3Access, write_whole
from oedi_spark.log import get_logger

_log = get_logger(__name__)


_WORKFLOW_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


def workflow_summary_uri(root_uri: str, workflow_run_id: str) -> str:
    """Where the summary of a run within a workflow lies, for whoever knows the workflow's run.

    Raises:
        ValueError: The id could lead out of the folder, so it is none.
    """
    if not _WORKFLOW_RUN_ID.fullmatch(workflow_run_id):
        raise ValueError(f"{workflow_run_id[:60]!r} is no id of a workflow's run")
    return f"{root_uri}/summaries/workflow-{workflow_run_id}.json"


def keep_summary(
    summary: Mapping[str, object],
    run_id: str,
    root_uri: str,
    access: S3Access = AMBIENT,
    *,
    origin: RunOrigin = RunOrigin(),  # noqa: B008 - frozen, so that all calls may share it
) -> str | None:
    """Write `summaries/summary-{run_id}.json` and, for whoever wants the newest, `summary.json`.

    A run within a workflow is written a third time, as `workflow-{workflow_run_id}.json`.

    Args:
        summary: What the run says of itself.
        run_id: The run.
        root_uri: The output folder.
        access: How S3 is reached.
        origin: Who started the run.

    Returns:
        The URI; None when it could not be written, which is logged: the run is what it was.
    """
    text = (json.dumps(summary, indent=2) + "\n").encode()
    uri = f"{root_uri}/summaries/summary-{run_id}.json"
    try:
        write_whole(uri, text, access)
        write_whole(f"{root_uri}/summaries/summary.json", text, access)
        if origin.workflow_run_id is not None:
            write_whole(workflow_summary_uri(root_uri, origin.workflow_run_id), text, access)
    except (OSError, ValueError) as error:
        _log.warning("summary not written", file=uri, error=str(error))
        return None
    return uri
