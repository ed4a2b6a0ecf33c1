"""The views of a deployment, made by running the saved queries that define them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from oedi_spark.deployment.queries import VIEW_PREFIX, SavedQuery
from oedi_spark.errors import DeploymentError

_DEFINITION = re.compile(
    r"(?:\s|--[^\n]*\n)*CREATE\s+OR\s+REPLACE\s+VIEW\s+\"?(?P<view>[a-z0-9_]+)\"?\s+AS\s",
    re.IGNORECASE,
)


def find_views(saved: Sequence[SavedQuery], workgroup: str) -> tuple[SavedQuery, ...]:
    """The saved queries that define a view, by name.

    Raises:
        DeploymentError: There are none; or one of that name defines none, or another view than
            its name says, so that nothing is run that would do something else.
    """
    views = tuple(query for query in saved if query.is_view)
    what = f"the views of workgroup {workgroup}"
    if not views:
        way_out = "Apply the Terraform of this version"
        raise DeploymentError(what, f"no saved query is called {VIEW_PREFIX}…", way_out)
    for query in views:
        found = _DEFINITION.match(query.text)
        if found is None or found["view"].lower() != query.name.removeprefix(VIEW_PREFIX):
            cause = f"{query.name} is not CREATE OR REPLACE VIEW of the view in its name"
            raise DeploymentError(what, cause, "Apply the Terraform of this version")
    return views


def create_views(
    views: Sequence[SavedQuery],
    create: Callable[[SavedQuery], object],
    report: Callable[[SavedQuery, DeploymentError | None], None],
) -> tuple[SavedQuery, ...]:
    """Make every view; one that needs another is tried again once others are there.

    Args:
        views: Their definitions.
        create: Runs one, and raises a `DeploymentError` when it fails.
        report: Gets each view once, with the error that it failed of for good.

    Returns:
        Those that could not be made.
    """
    waiting = list(views)
    while waiting:
        failed: list[tuple[SavedQuery, DeploymentError]] = []
        for view in waiting:
            try:
                create(view)
            except DeploymentError as error:
                failed.append((view, error))
            else:
                report(view, None)
        if len(failed) == len(waiting):
            for view, why in failed:
                report(view, why)
            return tuple(view for view, _ in failed)
        waiting = [view for view, _ in failed]
    return ()
