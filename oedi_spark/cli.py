"""`oedi-spark`: parses and prints, decides nothing."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from oedi_spark import __version__, config_json
from oedi_spark.cli_aws import aws_app
from oedi_spark.cli_checksums import checksums
from oedi_spark.cli_columns import columns
from oedi_spark.cli_doctor import doctor
from oedi_spark.cli_history import history, quarantine_app, rollback
from oedi_spark.cli_ledger import discrepancies, runs
from oedi_spark.cli_maintain import maintain, maintenance_command
from oedi_spark.cli_options import ConfigOption, load_logged
from oedi_spark.cli_quality import validate
from oedi_spark.cli_releases import releases_app
from oedi_spark.config import load_config_with_notes
from oedi_spark.console import plain_console
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import ConfigError, OediSparkError
from oedi_spark.escaping import in_ascii
from oedi_spark.job_arguments import JobArguments, parse_job_arguments
from oedi_spark.log import get_logger
from oedi_spark.run_properties import origin_of, with_run_properties
from oedi_spark.session import start_in_background, submit_environment
from oedi_spark.source.layout import ReleaseFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from oedi_spark.lake.preview import Look

app = typer.Typer(
    help="NREL End-Use Load Profiles, rolled up to hours, as Apache Iceberg tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Check and convert configs.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(releases_app, name="releases")
app.add_typer(aws_app, name="aws")
app.command()(checksums)
app.command()(columns)
app.command()(doctor)
app.command()(maintain)
app.command()(runs)
app.command()(discrepancies)
app.command()(validate)
app.command()(history)
app.command()(rollback)
app.add_typer(quarantine_app, name="quarantine")

_log = get_logger(__name__)

ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
"""The measure that a first look shows."""

StateOption = Annotated[str | None, typer.Option(help="Replaces state of every job: CO or '*'.")]
UpgradesOption = Annotated[
    str | None, typer.Option(help="Replaces upgrades of every job: '0,1-5' or '*'.")
]
OutputOption = Annotated[str | None, typer.Option(help="Replaces output_dir.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also replace partitions that have not changed.")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="Also read files that failed for good before.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be replaced, and change nothing.")
]


def main() -> None:
    """The console script: one line for an error that is known, its exit code, no traceback."""
    sys.exit(_guarded(lambda: _invoke(sys.argv[1:])))


@dataclass(frozen=True)
class _Job:
    """What the main job brings along beside its arguments."""

    spark: Future[SparkSession]
    run_properties: Mapping[str, str]


def run_job(arguments: Sequence[str], spark: Future[SparkSession]) -> int:
    """What `spark_jobs/etl.py` starts: `oedi-spark run` with these arguments.

    Args:
        arguments: As on the command line, or as AWS Glue passes them.
        spark: The session, which may still be starting.

    A polite end (SIGTERM) is an end like any other: cleaned up, summed up, exit 143.

    Returns:
        The exit code; `errors.py` says what each one means.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _guarded(lambda: _invoke_job(parse_job_arguments(arguments), spark))


def run_maintenance(arguments: Sequence[str]) -> int:
    """What `spark_jobs/maintain.py` starts: `oedi-spark maintain`; see `run_job`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _guarded(lambda: _invoke(maintenance_command(arguments)))


def _invoke_job(given: JobArguments, spark: Future[SparkSession]) -> int:
    parsed = with_run_properties(given)
    return _invoke(["run", *parsed.as_command()], _Job(spark, parsed.run))


def _invoke(arguments: Sequence[str], job: _Job | None = None) -> int:
    """Parse and run; misuse is printed and ends with exit 2, as a faulty config does."""
    try:
        app(args=list(arguments), prog_name="oedi-spark", obj=job)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except OediSparkError as error:
        Console(stderr=True, highlight=False, markup=False).print(f"oedi-spark: {error}")
        return error.exit_code


@app.command()
def run(
    context: typer.Context,
    config: ConfigOption,
    state: StateOption = None,
    upgrades: UpgradesOption = None,
    output_dir: OutputOption = None,
    force: ForceOption = False,
    retry_failed: RetryOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Run the main job here: oedi-spark run --config conf/local.yaml."""
    changes = {"state": state, "upgrades": upgrades, "output_dir": output_dir}
    given: _Job | None = context.obj
    in_glue = given is not None and bool(given.run_properties)
    loaded = load_logged(config, changes, to_file=not dry_run, in_glue=in_glue)
    if dry_run:
        from oedi_spark.validation import explain_dry_run

        for line in explain_dry_run(loaded, Redo(force, retry_failed)):
            typer.echo(line)
        return
    job = given or _Job(start_in_background(), {})
    if job.run_properties:
        _log.info("started by Glue", **job.run_properties)
    from oedi_spark import pipeline  # a second of imports, while Spark starts

    origin = origin_of(job.run_properties)
    summary = pipeline.run(loaded, job.spark, redo=Redo(force, retry_failed), origin=origin)
    typer.echo(summary.as_text())
    raise typer.Exit(summary.exit_code)


@app.command()
def plan(config: ConfigOption, state: StateOption = None, upgrades: UpgradesOption = None) -> None:
    """Print what a run would read, per partition; nothing is written."""
    from oedi_spark.plan import explain_plan
    from oedi_spark.survey import source_location, survey  # no Spark, no catalog: 35 MiB less

    loaded = load_logged(config, {"state": state, "upgrades": upgrades}, to_file=False)
    found = survey(loaded, source_location(loaded))
    head = ("partition", "files", "MiB", "missing", "surplus", "metadata", "no series")
    table = Table(*head, "no metadata", box=None)
    for each in found.partitions:
        covered = each.coverage
        absent = "all" if each.expects_series else "none published"
        table.add_row(
            str(each.partition),
            f"{each.file_count:,}",
            f"{each.size_bytes / 2**20:,.1f}",
            f"{len(each.missing_buildings):,}" if each.file_count else absent,
            f"{len(each.surplus):,}",
            covered.gap or f"{covered.building_count:,} in {covered.file_count:,}",
            f"{len(covered.without_series):,}",
            f"{len(covered.without_metadata):,}",
        )
    out = plain_console()
    out.print(table)
    for line in explain_plan(found):
        out.print(line, soft_wrap=True)


@app.command()
def look(config: ConfigOption, rows: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """Print a few rows of the hourly table and the average day of each partition."""
    from oedi_spark.lake.preview import look_at_hours
    from oedi_spark.places import catalog_location

    place = catalog_location(load_logged(config, to_file=False))
    looks = look_at_hours(place, ELECTRICITY, row_count=rows)
    out = plain_console()
    if not looks:
        out.print("There is no hourly table yet: run `oedi-spark run` first.")
        return
    _print_rows(out, looks[0])
    out.print(f"\naverage day of {looks[0].seen_buildings:,} of its buildings")
    _print_day(out, looks[0].average_day_kwh)
    out.print("\nevery partition; its average day, hour 0 to 23 EST, as a line")
    for each in looks:
        out.print(
            f"  {each.partition}: {each.row_count:,} hours  {_sparkline(each.average_day_kwh)}"
        )


def _print_rows(out: Console, look: Look) -> None:
    table = Table("bldg_id", "hour_start (EST)", "electricity, kWh", box=None)
    for row in look.rows.to_pylist():
        kwh = row.get(ELECTRICITY)
        table.add_row(
            str(row["bldg_id"]), f"{row['hour_start']}", "" if kwh is None else f"{kwh:.4f}"
        )
    out.print(f"{look.partition}, the first hours of {look.row_count:,}")
    out.print(table)


def _print_day(out: Console, kwh: Sequence[float]) -> None:
    if not kwh:
        return
    top = max(*kwh, 1e-12)
    out.print("electricity per building, kWh in each hour (EST)")
    for hour in range(24):
        bar = "█" * round(40 * max(kwh[hour], 0.0) / top)
        out.print(f"  {hour:02d}  {bar:<40} {kwh[hour]:8.2f}")


def _sparkline(kwh: Sequence[float]) -> str:
    top = max(*kwh, 1e-12) if kwh else 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(7, max(0, int(8 * each / top)))] for each in kwh)


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="The folder that becomes the bucket.")],
    buildings: Annotated[int, typer.Option(min=1, help="Per release and state.")] = 8,
    release: Annotated[list[str] | None, typer.Option(help="2024/comstock_…; repeatable.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="CO; repeatable.")] = None,
    upgrade: Annotated[list[int] | None, typer.Option(help="0; repeatable.")] = None,
    seed: int = 2018,
    trap: Annotated[list[str] | None, typer.Option(help="Plant a known fault.")] = None,
    all_metadata: Annotated[
        bool, typer.Option("--all-metadata", help="Every metadata tree, not the usual ones.")
    ] = False,
) -> None:
    """Write a deterministic piece of the OEDI bucket: oedi-spark sample --out build/lake."""
    from oedi_spark.sample.checksums import write_checksums
    from oedi_spark.sample.lake import SampleRequest, write_sample_lake
    from oedi_spark.sample.traps import Trap

    default = SampleRequest()
    unknown = [f"{each!r} is no trap" for each in trap or () if each not in set(Trap)]
    if unknown:
        raise ConfigError("--trap", [*unknown, f"known: {', '.join(Trap)}"])
    request = SampleRequest(
        releases=tuple(map(_release_folder, release)) if release else default.releases,
        states=tuple(state) if state else default.states,
        upgrades=tuple(upgrade) if upgrade else default.upgrades,
        buildings=buildings,
        seed=seed,
        traps=tuple(map(Trap, trap or ())),
        metadata="all" if all_metadata else "usual",
    )
    report = write_sample_lake(out, request)
    write_checksums(report)
    typer.echo(
        f"{report.data_files} building files and {report.metadata_files} metadata files, "
        f"{report.size_bytes / 2**20:.1f} MiB, under {report.root}"
    )
    for key, name in report.trapped.items():
        typer.echo(f"trap {name}: {in_ascii(key)}")


def _release_folder(text: str) -> ReleaseFolder:
    year, _, name = text.partition("/")
    if not (year.isdigit() and name):
        raise ConfigError("--release", [f"{text!r}: write YEAR/NAME, as 2024/comstock_…"])
    return ReleaseFolder(year=year, name=name)


@config_app.command()
def convert(
    old: Annotated[str, typer.Argument(help="The previous system's config.json.")],
) -> None:
    """Print a previous system's config.json as YAML; notes go to stderr."""
    loaded, notes = load_config_with_notes(old)
    for note in notes:
        typer.echo(f"# {note}", err=True)
    typer.echo(config_json.to_yaml(loaded), nl=False)


@config_app.command()
def check(config: ConfigOption) -> None:
    """Say whether a config is valid, and list every fault if not."""
    load_logged(config, to_file=False)
    typer.echo(f"{config} is valid")


@app.command()
def spark_env(
    archive: Annotated[
        bool, typer.Option(help="For the run that writes the class archive.")
    ] = False,
) -> None:
    """Print what spark-submit should find in its environment, for a shell to evaluate."""
    for name, value in submit_environment().items():
        use, write = "-XX:SharedArchiveFile=", "-XX:ArchiveClassesAtExit="
        typer.echo(f"export {name}={shlex.quote(value.replace(use, write) if archive else value)}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
