"""The Glue workflow of a deployment: what it says of itself, a run begun once, a run followed.

Its *default* run properties describe the deployment to whoever may start it; they are read and
never written. What one run shall do differently goes into the properties of that run alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from oedi_spark.deployment.client import Client, explained, one_line, open_client
from oedi_spark.errors import ConfigError, DeploymentError

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 30.0
_PAUSE_GROWTH = 1.3
MOST_FAULTS_IN_A_ROW = 10
"""So many polls may fail one after the other, each after its own attempts: some five minutes."""
START_ATTEMPTS = 4

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_OVER = frozenset({"COMPLETED", "STOPPED", "ERROR"})
_BAD_CRAWLS = frozenset({"FAILED", "ERROR", "CANCELLED"})
_FAR_PAST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Deployment:
    """What a workflow's default run properties say of where it is deployed."""

    default_config: str
    """The config of a run that names none."""
    runs_uri: str
    """The folder on S3 for the configs of single runs."""
    workgroup: str
    database: str
    etl_job: str
    output_uri: str
    """The `output_dir` that its job may write to."""
    warehouse_uri: str
    """The `catalog.warehouse_dir`, likewise."""
    log_group_prefix: str
    """What the job's log groups begin with, before `/error`."""


@dataclass(frozen=True)
class Node:
    """A job or a crawler of a workflow, and how its latest run in this run of the workflow is."""

    kind: str
    """`job` or `crawler`."""
    name: str
    state: str
    """Glue's own word, or `WAITING`: nothing has started it yet."""
    job_run_id: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def has_failed_crawl(self) -> bool:
        """Whether it is a crawler that did not come to its end."""
        return self.kind == "crawler" and self.state in _BAD_CRAWLS

    def elapsed_s(self, now: datetime) -> float | None:
        """How long it has run, or did; None before it begins."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.ended_at or now) - self.started_at).total_seconds())


@dataclass(frozen=True)
class RunView:
    """A run of a workflow at one moment."""

    status: str
    nodes: tuple[Node, ...]
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in _OVER

    def job(self, name: str) -> Node | None:
        """The node of a job; None when the graph has none of that name."""
        return next((n for n in self.nodes if n.kind == "job" and n.name == name), None)


def require_workflow_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        ConfigError: It cannot; AWS was not asked.
    """
    if not _NAME.fullmatch(name):
        fault = f"{one_line(name, 60)!r} is no name of a workflow; write --workflow oedi-dev"
        raise ConfigError("--workflow", [fault])
    return name


def read_deployment(glue: Client, workflow: str) -> Deployment:
    """What the workflow says of its deployment.

    Raises:
        DeploymentError: There is no such workflow, or not all is said that must be.
    """
    with explained("glue", f"workflow {workflow} cannot be read"):
        found = glue.get_workflow(Name=workflow, IncludeGraph=False)["Workflow"]
    said: Mapping[str, str] = found.get("DefaultRunProperties") or {}
    names = [each.name for each in fields(Deployment)]
    missing = [name for name in names if not said.get(name)]
    if missing:
        raise DeploymentError(
            f"workflow {workflow}",
            f"its default run properties lack {', '.join(missing)}",
            "Apply the Terraform of this version, or name a workflow that it made",
        )
    return Deployment(**{name: said[name] for name in names})


def start_run(region: str | None, workflow: str, properties: Mapping[str, str]) -> str:
    """Start the workflow once, and say which run it is.

    Only a request that Glue was too busy to look at is made again: to repeat one whose answer
    was lost could start a second cluster.

    Raises:
        DeploymentError: It did not start; or nobody knows, which the message says.
    """
    glue = open_client("glue", region, attempts=1)
    attempts = Retrying(
        retry=retry_if_exception(_was_not_taken),
        stop=stop_after_attempt(START_ATTEMPTS),
        wait=wait_random_exponential(multiplier=1, max=8),
        reraise=True,
    )
    try:
        with closing(glue):
            run_id: str = attempts(_start_once, glue, workflow, dict(properties))
    except DeploymentError as error:
        if error.code == "ConcurrentRunsExceededException":
            raise DeploymentError(
                f"workflow {workflow} did not start",
                "it has as many runs at a time as it may",
                "Wait until one ends (`aws glue get-workflow-runs`), or raise its "
                "max_concurrent_runs",
                code=error.code,
            ) from error
        if error.is_passing and not _was_not_taken(error):
            raise DeploymentError(
                f"nobody knows whether workflow {workflow} has started",
                error.cause,
                f"Look before starting again: aws glue get-workflow-runs --name {workflow} "
                "--max-results 3",
                code=error.code,
            ) from error
        raise
    return run_id


def _start_once(glue: Client, workflow: str, properties: dict[str, str]) -> str:
    with explained("glue", f"workflow {workflow} did not start"):
        run_id: str = glue.start_workflow_run(Name=workflow, RunProperties=properties)["RunId"]
    return run_id


def _was_not_taken(error: BaseException) -> bool:
    return isinstance(error, DeploymentError) and "hrottl" in error.code


def read_run(glue: Client, workflow: str, run_id: str) -> RunView:
    """How a run is at this moment, with each of its jobs and crawlers.

    Raises:
        DeploymentError: It cannot be read; `is_passing` says whether to ask again.
    """
    with explained("glue", f"run {run_id} of workflow {workflow} cannot be read"):
        run = glue.get_workflow_run(Name=workflow, RunId=run_id, IncludeGraph=True)["Run"]
    nodes = (run.get("Graph") or {}).get("Nodes") or []
    error = run.get("ErrorMessage")
    return RunView(
        status=one_line(run.get("Status", "UNKNOWN"), 40),
        nodes=tuple(_read_nodes(nodes)),
        error=one_line(error) if error else None,
    )


def _read_nodes(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Node]:
    """Triggers are left out: what they start says all there is to know."""
    for node in nodes:
        name = one_line(node.get("Name", ""), 255)
        if node.get("Type") == "JOB":
            yield _job(name, (node.get("JobDetails") or {}).get("JobRuns") or [])
        elif node.get("Type") == "CRAWLER":
            yield _crawler(name, (node.get("CrawlerDetails") or {}).get("Crawls") or [])


def _job(name: str, runs: Sequence[Mapping[str, Any]]) -> Node:
    if not runs:
        return Node("job", name, "WAITING")
    last = max(runs, key=lambda run: (run.get("Attempt") or 0, run.get("StartedOn") or _FAR_PAST))
    return Node(
        kind="job",
        name=name,
        state=one_line(last.get("JobRunState", "UNKNOWN"), 40),
        job_run_id=last.get("Id"),
        error=last.get("ErrorMessage"),
        started_at=last.get("StartedOn"),
        ended_at=last.get("CompletedOn"),
    )


def _crawler(name: str, crawls: Sequence[Mapping[str, Any]]) -> Node:
    if not crawls:
        return Node("crawler", name, "WAITING")
    last = max(crawls, key=lambda crawl: crawl.get("StartedOn") or _FAR_PAST)
    return Node(
        kind="crawler",
        name=name,
        state=one_line(last.get("State", "UNKNOWN"), 40),
        error=last.get("ErrorMessage"),
        started_at=last.get("StartedOn"),
        ended_at=last.get("CompletedOn"),
    )


def follow_run(
    read: Callable[[], RunView], report: Callable[[RunView], None], *, limit_s: float
) -> RunView:
    """Ask again and again until the run is over, at first after 5 s, at last after 30.

    Args:
        read: Looks once.
        report: Gets every look, the last one too.
        limit_s: Then waiting ends, and not the run.

    Returns:
        The last look.

    Raises:
        DeploymentError: The limit is over; or Glue was asked ten times in vain, or says that
            there is no such run.
    """
    ends_at = time.monotonic() + limit_s
    pause_s, faults, status = FIRST_PAUSE_S, 0, "of unknown state"
    while True:
        try:
            view = read()
        except DeploymentError as error:
            faults += 1
            if not error.is_passing or faults >= MOST_FAULTS_IN_A_ROW:
                raise
        else:
            faults, status = 0, view.status
            report(view)
            if view.is_over:
                return view
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            cause = f"it is {status} after {limit_s:,.0f} s, the limit of --timeout-s"
            raise DeploymentError("the run was not followed to its end", cause, "It goes on")
        time.sleep(min(pause_s, left_s))
        pause_s = min(LONGEST_PAUSE_S, pause_s * _PAUSE_GROWTH)
