"""`oedi-spark aws run-workflow`: starts a deployment's workflow, and follows it."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from oedi_spark.config import RunConfig, load_config_with_notes
from oedi_spark.errors import ConfigError, DeploymentError

if TYPE_CHECKING:
    from oedi_spark.deployment.client import Client
    from oedi_spark.deployment.summary import FoundSummary
    from oedi_spark.deployment.workflow import Deployment, Node, RunView

WorkflowOption = Annotated[
    str | None,
    typer.Option(help="The Glue workflow, as oedi-dev.", envvar="OEDI_SPARK_WORKFLOW"),
]
RegionOption = Annotated[
    str | None, typer.Option(help="AWS_REGION, or the profile's, where it is not given.")
]

EXIT_INTERRUPTED = 130
EXIT_NOT_SUMMED_UP = 1
"""The job ended without a summary: nobody foresaw it, so that only its logs can tell."""

_SAY_AGAIN_AFTER_S = 60.0
_WAIT_LIMIT_S = 6 * 3600


def run_workflow(
    context: typer.Context,
    workflow: WorkflowOption = None,
    config: Annotated[
        str | None,
        typer.Option(help="Of this run alone: a file, or s3://bucket/key; a copy is uploaded."),
    ] = None,
    state: Annotated[str | None, typer.Option(help="Of every job: CO or '*'.")] = None,
    upgrades: Annotated[str | None, typer.Option(help="Of every job: '0,1-5' or '*'.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run, and end as it ends.")
    ] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help="Of --wait.")] = _WAIT_LIMIT_S,
    region: RegionOption = None,
) -> None:
    """Start a deployment's workflow: oedi-spark aws run-workflow --workflow oedi-dev --wait.

    The config is proved before anything starts, and goes with this run alone: the deployed
    default stays what it is.
    """
    from oedi_spark.deployment.upload import upload_config
    from oedi_spark.deployment.workflow import read_deployment, require_workflow_name, start_run

    if not workflow:
        raise ConfigError("--workflow", ["give it, or set OEDI_SPARK_WORKFLOW: oedi-dev"])
    name = require_workflow_name(workflow)
    glue = client_of_command(context, "glue", region)
    deployment = read_deployment(glue, name)
    source = config or deployment.default_config
    proved = _prove(source, deployment, state=state or None, upgrades=upgrades or None)
    if config and not config.startswith(f"{deployment.runs_uri}/"):
        config = upload_config(
            client_of_command(context, "s3", region), config, deployment.runs_uri
        )
        typer.echo(f"config  {config}")
    asked = {"config": config, "state": state, "upgrades": upgrades}
    run_id = start_run(region, name, {key: value for key, value in asked.items() if value})
    run = _Run(name, run_id, str(glue.meta.region_name), deployment)
    run.print_links()
    if not wait:
        typer.echo(f"look at it with: {run.how_to_look}")
        return
    view = run.follow(timeout_s)
    raise typer.Exit(run.conclude(view, run.find_summary(proved)))


def client_of_command(context: typer.Context, service: str, region: str | None) -> Client:
    """A client that is closed when the command ends."""
    from oedi_spark.deployment.client import open_client

    client = open_client(service, region)
    context.call_on_close(client.close)
    return client


def _prove(source: str, deployment: Deployment, **overrides: str | None) -> RunConfig:
    """The config as the job will read it: what is wrong with it is said here, for nothing.

    Tables elsewhere than the deployment's would be out of reach of its upkeep, or of the role;
    and once they were there, the deployed default would be refused.
    """
    loaded, notes = load_config_with_notes(source, overrides)
    faults = []
    if loaded.src_is_local:
        fault = "src_bucket: is a folder of a machine, which a job on AWS does not have"
        faults.append(f"{fault}; write a bucket")
    for key, found, wanted in (
        ("output_dir", loaded.output_root, deployment.output_uri),
        ("catalog.warehouse_dir", loaded.warehouse_root, deployment.warehouse_uri),
        ("catalog.type", loaded.catalog.type, "glue"),
        ("catalog.database", loaded.catalog.database, deployment.database),
    ):
        if found != wanted:
            faults.append(f"{key}: is {found}; the deployment's is {wanted}, so write that")
    if faults:
        raise ConfigError(source, faults)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    return loaded


class _Run:
    """One run of a workflow, as this command tells of it."""

    def __init__(self, workflow: str, run_id: str, region: str, deployment: Deployment) -> None:
        self.workflow, self.run_id, self.region = workflow, run_id, region
        self.deployment = deployment
        named = ("--name", workflow, "--run-id", run_id, "--region", region)
        self.how_to_look = shlex.join(["aws", "glue", "get-workflow-run", *named])
        self._said: tuple[str, ...] = ()
        self._said_at_s = 0.0
        self._job_run_id: str | None = None

    def print_links(self) -> None:
        """The run's id, and the pages of the console that are there before it begins."""
        from oedi_spark.deployment import links

        region, job = self.region, self.deployment.etl_job
        typer.echo(f"run  {self.run_id}")
        typer.echo(f"workflow  {links.workflow_run_link(region, self.workflow, self.run_id)}")
        typer.echo(f"job  {links.job_link(region, job)}")
        typer.echo(f"logs  {links.logs_link(region, self.deployment.log_group_prefix, None)}")
        typer.echo(f"athena  {links.workgroup_link(region, self.deployment.workgroup)}")

    def follow(self, limit_s: float) -> RunView:
        """Wait for the end; what ends the waiting before says how to go on looking."""
        from oedi_spark.deployment.client import open_client
        from oedi_spark.deployment.workflow import follow_run, read_run

        try:
            with closing(open_client("glue", self.region)) as glue:
                return follow_run(
                    lambda: read_run(glue, self.workflow, self.run_id),
                    self._report,
                    limit_s=limit_s,
                )
        except KeyboardInterrupt:
            typer.echo(f"\nno longer followed; the run goes on: {self.how_to_look}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except DeploymentError:
            typer.echo(f"look at it with: {self.how_to_look}", err=True)
            raise

    def _report(self, view: RunView) -> None:
        """A line whenever something has changed, and once a minute."""
        from oedi_spark.deployment import links

        job = view.job(self.deployment.etl_job)
        if job and job.job_run_id and job.job_run_id != self._job_run_id:
            self._job_run_id = job.job_run_id
            typer.echo(f"job run  {links.job_run_link(self.region, job.name, job.job_run_id)}")
            group = self.deployment.log_group_prefix
            typer.echo(f"logs  {links.logs_link(self.region, group, job.job_run_id)}")
        states = (view.status, *(node.state for node in view.nodes))
        now_s = time.monotonic()
        if states == self._said and now_s - self._said_at_s < _SAY_AGAIN_AFTER_S:
            return
        self._said, self._said_at_s = states, now_s
        typer.echo(f"{view.status}: {'; '.join(map(_node_text, view.nodes))}", err=True)

    def find_summary(self, config: RunConfig) -> FoundSummary | None:
        """What the run left on S3."""
        from oedi_spark.deployment.summary import find_summary
        from oedi_spark.places import output_access

        access = output_access(config)
        access = replace(access, region=access.region or self.region)
        return find_summary(config.output_root, self.run_id, access)

    def conclude(self, view: RunView, found: FoundSummary | None) -> int:
        """Print what came of it.

        Returns:
            The run's own exit code; 1 when its job ended without a summary.

        Raises:
            DeploymentError: The run is complete, and something around it is not.
        """
        if found is None:
            return self._conclude_without_summary(view)
        typer.echo(found.text)
        typer.echo(f"summary  {found.uri}")
        around = [_crawl_text(node) for node in view.nodes if node.has_failed_crawl]
        if view.status != "COMPLETED":
            around.append(f"the run of the workflow is {view.status} ({view.error or 'no reason'})")
        if not around:
            return found.exit_code
        if found.exit_code:
            typer.echo(f"oedi-spark: beside that, {'; '.join(around)}", err=True)
            return found.exit_code
        raise DeploymentError(
            "the tables are published, but not all around them is done",
            "; ".join(around),
            f"Look with `{self.how_to_look}`",
        )

    def _conclude_without_summary(self, view: RunView) -> int:
        from oedi_spark.deployment.client import one_line

        job = view.job(self.deployment.etl_job)
        look = f"Look with `{self.how_to_look}`"
        if job is None or job.job_run_id is None:
            cause = f"the run is {view.status} ({view.error or 'no reason given'})"
            what = f"job {self.deployment.etl_job} was never started"
            raise DeploymentError(what, cause, look)
        if job.state == "SUCCEEDED":
            raise DeploymentError(
                f"job run {job.job_run_id} succeeded and left no summary",
                f"the output_dir of its config has no summaries/workflow-{self.run_id}.json",
                "See whether the job has an --output-dir of its own, and the log of the run",
            )
        said = one_line(job.error or "Glue gives no reason", 1000).rstrip(".")
        typer.echo(
            f"oedi-spark: job run {job.job_run_id} is {job.state} and left no summary: {said}. "
            "See its logs (the link above); the tables are as before, or complete.",
            err=True,
        )
        return EXIT_NOT_SUMMED_UP


def _node_text(node: Node) -> str:
    elapsed_s = node.elapsed_s(datetime.now(UTC))
    if elapsed_s is None:
        return f"{node.name} {node.state}"
    minutes, seconds = divmod(round(elapsed_s), 60)
    return f"{node.name} {node.state} {minutes}:{seconds:02d}"


def _crawl_text(node: Node) -> str:
    from oedi_spark.deployment.client import one_line

    return f"crawler {node.name} is {node.state} ({one_line(node.error or 'no reason given')})"
