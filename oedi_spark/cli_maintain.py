"""`oedi-spark maintain`, and the arguments that `spark_jobs/maintain.py` gets from Glue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from oedi_spark.cli_options import ConfigOption, load_logged, require_known
from oedi_spark.contracts_maintenance import MaintenanceStep
from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii
from oedi_spark.job_arguments import parse_job_arguments

_SWITCHES = {"--dry-run": "--dry-run", "--dry_run": "--dry-run", "--json": "--json"}
_LISTS = {"--only": "--only", "--table": "--table"}
_TRUE, _FALSE = ("", "true", "1", "yes"), ("false", "0", "no")


def maintain(
    config: ConfigOption,
    output_dir: Annotated[str | None, typer.Option(help="Replaces output_dir.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; name what would be changed.")
    ] = False,
    table: Annotated[list[str] | None, typer.Option(help="Only this table; repeatable.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Only these: compaction,expiry,orphans,metadata.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compact the tables, expire old snapshots, remove what nothing names.

    oedi-spark maintain --config conf/local.yaml --dry-run
    """
    loaded = load_logged(config, {"output_dir": output_dir})
    from oedi_spark import maintenance  # a second of imports
    from oedi_spark.lake.owned import TABLES

    report = maintenance.maintain(
        loaded,
        tables=_known_tables(table, TABLES),
        steps=[MaintenanceStep(each) for each in _known_steps(only)],
        is_dry_run=dry_run,
    )
    typer.echo(maintenance.as_json(report) if as_json else maintenance.as_text(report))


def _known_steps(only: str | None) -> tuple[str, ...]:
    """The steps that were named; every one only where the option was left out."""
    every = [str(each) for each in MaintenanceStep]
    if only is None:
        return tuple(every)
    wanted = [each.strip() for each in only.split(",") if each.strip()]
    if not wanted:
        # A list that came out empty where it was made: whoever made it meant less than all.
        fault = f"names no step; write some of {','.join(every)}, or leave it out for all"
        raise ConfigError("--only", [fault])
    return require_known("--only", wanted, every, "is not known")


def _known_tables(tables: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The tables that were named; none only where the option was left out."""
    if not all(each.strip(" ,") for each in tables or ()):
        fault = f"names no table; write one of {', '.join(known)}, or leave it out for all"
        raise ConfigError("--table", [fault])
    return require_known("--table", tables or (), known, "is not known")


def maintenance_command(arguments: Sequence[str]) -> list[str]:
    """What a shell or Glue passed to the script, as arguments of `oedi-spark`.

    Glue has no switches: there `--dry-run` is `true` or `false`, and a list one text with commas.
    A list that is given and empty is handed on, to be refused.

    Raises:
        ConfigError: With every fault: an argument nobody knows, or one that only a run has.
    """
    command, rest = ["maintain"], []
    for name, value, was in _pairs(arguments):
        if name in _SWITCHES:
            command += [_SWITCHES[name]] if _is_on(name, value) else []
        elif name in _LISTS:
            parts = [each.strip() for each in value.split(",") if each.strip()]
            values = parts or [""] if name == "--table" else [",".join(parts)]
            command += [f"{_LISTS[name]}={each}" for each in values]
        else:
            rest += was
    parsed = parse_job_arguments(rest)
    if parsed.wants_help:
        return ["maintain", "--help"]
    strays = sorted(parsed.ours.keys() - {"--config", "--output-dir"})
    if strays:
        fault = "is of a run; maintenance takes whole tables: remove it, or name one by --table"
        raise ConfigError("the job's arguments", [f"{name} {fault}" for name in strays])
    return command + [f"{name}={value}" for name, value in parsed.ours.items()]


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Each argument's name and value, and how it was written."""
    at = 0
    while at < len(arguments):
        was = [arguments[at]]
        name, joined, value = was[0].partition("=")
        follows = at + 1 < len(arguments) and not arguments[at + 1].startswith("--")
        if name.startswith("--") and not joined and follows:
            value = arguments[at + 1]
            was.append(value)
        yield name, value.strip(), was
        at += len(was)


def _is_on(name: str, value: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        shown = in_ascii(value)[:60]
        raise ConfigError("the job's arguments", [f"{name} is {shown!r}; write true or false"])
    return value.lower() in _TRUE
