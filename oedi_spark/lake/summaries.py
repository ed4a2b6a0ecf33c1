"""Summaries beside the tables, for runs on machines whose disks do not outlive them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from oedi_spark.lake.files import AMBIENT, S3Access, write_whole
from oedi_spark.log import get_logger

_log = get_logger(__name__)


def keep_summary(
    summary: Mapping[str, object], run_id: str, root_uri: str, access: S3Access = AMBIENT
) -> str | None:
    """Write `summaries/summary-{run_id}.json` and, for whoever wants the newest, `summary.json`.

    Args:
        summary: What the run says of itself.
        run_id: The run.
        root_uri: The output folder.
        access: How S3 is reached.

    Returns:
        The URI; None when it could not be written, which is logged: the run is what it was.
    """
    text = (json.dumps(summary, indent=2) + "\n").encode()
    uri = f"{root_uri}/summaries/summary-{run_id}.json"
    try:
        write_whole(uri, text, access)
        write_whole(f"{root_uri}/summaries/summary.json", text, access)
    except OSError as error:
        _log.warning("summary not written", file=uri, error=str(error))
        return None
    return uri
