"""`oedi-spark aws`: runs a deployment's workflow, and asks its saved queries."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from oedi_spark.cli_aws_run import (
    EXIT_INTERRUPTED,
    RegionOption,
    WorkflowOption,
    client_of_command,
    run_workflow,
)
from oedi_spark.console import plain_console
from oedi_spark.errors import ConfigError, DeploymentError

if TYPE_CHECKING:
    from oedi_spark.deployment.client import Client
    from oedi_spark.deployment.queries import Execution, Rows, SavedQuery

aws_app = typer.Typer(
    help="Run a deployment's workflow, and ask its saved queries.", no_args_is_help=True
)
queries_app = typer.Typer(help="List the saved queries of the workgroup, and run one.")
views_app = typer.Typer(help="The views for reports.", no_args_is_help=True)
aws_app.command("run-workflow")(run_workflow)
aws_app.add_typer(queries_app, name="queries")
aws_app.add_typer(views_app, name="views")

WorkgroupOption = Annotated[
    str | None, typer.Option(help="The Athena workgroup; else that of --workflow.")
]
TimeoutOption = Annotated[float, typer.Option(min=1, help="Then the query is stopped.")]
_QUERY_LIMIT_S = 1800.0


@dataclass(frozen=True)
class _Place:
    """Where to ask, as far as it was said."""

    workflow: str | None
    workgroup: str | None
    region: str | None

    def beside(self, context: typer.Context) -> _Place:
        """This, and where it says nothing, what stood before the subcommand."""
        outer = context.obj if isinstance(context.obj, _Place) else _Place(None, None, None)
        return _Place(
            self.workflow or outer.workflow,
            self.workgroup or outer.workgroup,
            self.region or outer.region,
        )

    def find_workgroup(self, context: typer.Context) -> str:
        """The workgroup that was named, or that of the workflow's deployment."""
        from oedi_spark.deployment.queries import require_workgroup_name
        from oedi_spark.deployment.workflow import read_deployment, require_workflow_name

        if self.workgroup:
            return require_workgroup_name(self.workgroup)
        if not self.workflow:
            fault = "give it, or --workflow (also OEDI_SPARK_WORKFLOW), which knows it"
            raise ConfigError("--workgroup", [fault])
        name = require_workflow_name(self.workflow)
        workgroup = read_deployment(client_of_command(context, "glue", self.region), name).workgroup
        return require_workgroup_name(workgroup)


@queries_app.callback(invoke_without_command=True)
def queries(
    context: typer.Context,
    workgroup: WorkgroupOption = None,
    workflow: WorkflowOption = None,
    region: RegionOption = None,
) -> None:
    """List the saved queries: oedi-spark aws queries --workgroup oedi-dev."""
    place = _Place(workflow, workgroup, region)
    if context.invoked_subcommand is not None:
        context.obj = place
        return
    from oedi_spark.deployment.client import one_line

    found, _, named = _saved(context, place)
    table = Table(Column("query", no_wrap=True), "what it says", box=None)
    for query in found:
        table.add_row(one_line(query.name), one_line(query.description))
    out = plain_console()
    out.print(table)
    out.print(f"{len(found)} saved queries in workgroup {named}", soft_wrap=True)


@queries_app.command()
def run(  # noqa: PLR0913, PLR0917 - each is an option of the command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As `oedi-spark aws queries` lists it.")],
    release: Annotated[str | None, typer.Option(help="In place of the saved one.")] = None,
    state: Annotated[str | None, typer.Option(help="CO, in place of the saved one.")] = None,
    upgrade: Annotated[str | None, typer.Option(help="0, in place of the saved one.")] = None,
    county: Annotated[str | None, typer.Option(help="G0800310, the same.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="So many rows are shown.")] = 50,
    output: Annotated[Path | None, typer.Option(help="All rows, as CSV.")] = None,
    usd_per_tb: Annotated[float, typer.Option(min=0, help="Athena's price in your region.")] = 5.0,
    timeout_s: TimeoutOption = _QUERY_LIMIT_S,
    workgroup: WorkgroupOption = None,
    workflow: WorkflowOption = None,
    region: RegionOption = None,
) -> None:
    """Run a saved query, print its rows, and what it scanned and cost."""
    from oedi_spark.deployment.choices import choose
    from oedi_spark.deployment.queries import find_query, read_rows, run_query

    found, athena, named = _saved(context, _Place(workflow, workgroup, region).beside(context))
    query = find_query(found, name, named)
    wanted = {"release": release, "state": state, "upgrade": upgrade, "county": county}
    text = choose(name, query.text, {key: value for key, value in wanted.items() if value})
    with _stopped_by_hand():
        done = run_query(athena, query, text, named, limit_s=timeout_s)
    try:
        _print_rows(read_rows(athena, done), limit, output)
    finally:  # it is billed, whether its rows can be shown or not
        _print_cost(done, usd_per_tb, str(athena.meta.region_name))


@views_app.command()
def create(
    context: typer.Context,
    timeout_s: TimeoutOption = _QUERY_LIMIT_S,
    workgroup: WorkgroupOption = None,
    workflow: WorkflowOption = None,
    region: RegionOption = None,
) -> None:
    """Make the views: runs each saved query `view_…`; safe to repeat."""
    from oedi_spark.deployment.queries import run_query
    from oedi_spark.deployment.views import create_views, find_views

    found, athena, named = _saved(context, _Place(workflow, workgroup, region))
    views = find_views(found, named)

    def report(view: SavedQuery, error: DeploymentError | None) -> None:
        typer.echo(f"{view.name}: {error.cause if error else 'made'}")

    with _stopped_by_hand():
        failed = create_views(
            views,
            lambda view: run_query(athena, view, view.text, named, limit_s=timeout_s),
            report,
        )
    if failed:
        raise DeploymentError(
            f"{len(failed)} of {len(views)} views were not made",
            ", ".join(view.name for view in failed),
            "Run the workflow first: a view needs its tables; then try again",
        )


def _saved(context: typer.Context, place: _Place) -> tuple[tuple[SavedQuery, ...], Client, str]:
    from oedi_spark.deployment.queries import list_saved_queries

    workgroup = place.find_workgroup(context)
    athena = client_of_command(context, "athena", place.region)
    return list_saved_queries(athena, workgroup), athena, workgroup


@contextmanager
def _stopped_by_hand() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nthe query was told to stop; what it has scanned is billed", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_rows(found: Rows, limit: int, output: Path | None) -> None:
    """The first rows as a table; all of them into a file, if one was named."""
    from oedi_spark.deployment.client import one_line

    table = Table(*map(one_line, found.columns), box=None)
    is_cut, count = False, 0
    with _csv_file(output) as write:
        if write:
            write(found.columns)
        for row in found.rows:
            count += 1
            if count <= limit:
                table.add_row(*("" if value is None else one_line(value, 80) for value in row))
            elif not write:
                is_cut = True
                break
            if write:
                write(row)
    out = plain_console()
    if limit and found.columns:
        out.print(table)
    shown = f"the first {limit:,} rows; there are more" if is_cut else f"{count:,} rows"
    if output:
        shown = f"{count:,} rows, all in {output}; the first {min(limit, count):,} are shown"
    typer.echo(shown, err=True)


@contextmanager
def _csv_file(path: Path | None) -> Iterator[Callable[[Sequence[str | None]], object] | None]:
    """A CSV file that appears whole; None when none is wanted."""
    if path is None:
        yield None
        return
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            yield csv.writer(stream).writerow
        unfinished.replace(path)
    except OSError as error:
        fault = f"{path} cannot be written: {error.strerror}; the query was run, and is billed"
        raise ConfigError("--output", [fault]) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _print_cost(done: Execution, usd_per_tb: float, region: str) -> None:
    from oedi_spark.deployment.links import query_link

    cost = "free, as definitions are"
    if done.is_billed:
        price = f"at ${usd_per_tb:g} per TB and 10 MB at least"
        cost = f"${done.cost_usd(usd_per_tb):.6f} {price}"
    typer.echo(f"scanned {done.scanned_bytes:,} bytes in {done.took_s:.1f} s: {cost}", err=True)
    typer.echo(f"query  {query_link(region, done.id)}", err=True)
