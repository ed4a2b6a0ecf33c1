"""moto's server with the one thing that its Glue leaves out: the check of a table's version.

AWS refuses an UpdateTable whose `VersionId` is not the current one; moto takes it, and loses the
commit in between. `python -m tests.cloud.glue_server PORT`; each refusal is a line of its log.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.glue.responses import GlueResponse
from moto.server import main

REFUSED = "stale version refused"


def checking_versions(update: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An UpdateTable that compares versions; one at a time, so that nothing comes in between."""
    one_at_a_time = Lock()

    @functools.wraps(update)
    def checked(request: Any) -> Any:  # noqa: ANN401 - moto has no types
        asked = request.parameters
        with one_at_a_time:
            if asked.get("VersionId"):
                table = request.glue_backend.get_table(
                    asked["DatabaseName"], asked["TableInput"]["Name"]
                )
                current = table.as_dict()["VersionId"]
                if asked["VersionId"] != current:
                    said = f"{REFUSED}: {asked['VersionId']}, it is {current}"
                    sys.stderr.write(f"{said}\n")
                    raise JsonRESTError("ConcurrentModificationException", said)
            return update(request)

    return checked


if __name__ == "__main__":
    checked = checking_versions(GlueResponse.update_table)
    setattr(GlueResponse, "update_table", checked)  # noqa: B010 - mypy refuses the assignment
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
