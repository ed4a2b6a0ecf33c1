"""`oedi-spark runs` and `oedi-spark discrepancies`: the ledger, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from oedi_spark.cli_options import ConfigOption, load_place
from oedi_spark.console import folded_table, plain_console
from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii

if TYPE_CHECKING:
    from oedi_spark.lake.catalog import CatalogLocation

Row = Mapping[str, object]

JsonOption = Annotated[
    bool, typer.Option("--json", help="A JSON list with every column, for scripts.")
]


def runs(
    config: ConfigOption,
    last: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Print the newest runs of the ledger, failed ones too."""
    place = load_place(config)
    from oedi_spark.lake.ledger import read_runs

    rows = read_runs(place)
    if as_json:
        _print_json(rows[:last])
        return
    table = folded_table(
        *("run", "started (UTC)", "took", "exit", "outcome"),
        *("partitions", "files", "lost", "hours", "discrepancies", "USD"),
    )
    for row in rows[:last]:
        table.add_row(*_run_cells(row))
    out = plain_console()
    out.print(table)
    for row in rows[:last]:
        if row["error"] is not None:
            first_line = str(row["error"]).split("\n", 1)[0]
            out.print(f"{in_ascii(row['run_id'])}: {in_ascii(first_line)}", soft_wrap=True)
    out.print(f"{min(last, len(rows)):,} of {len(rows):,} runs")


def _run_cells(row: Row) -> list[str]:
    cost = row["cost_estimate_usd"]
    return [
        in_ascii(row["run_id"]),
        _minute(row["started_at_utc"]),
        f"{float(str(row['total_s'])):,.1f} s",
        str(row["exit_code"]),
        in_ascii(row["outcome"]),
        _count(row["partition_count"]),
        f"{_count(row['files_uploaded'])} of {_count(row['files_listed'])}",
        _count(row["files_lost"]),
        _count(row["hours_published"]),
        _count(row["discrepancy_count"]),
        "" if cost is None else f"{float(str(cost)):,.4f}",
    ]


def discrepancies(
    config: ConfigOption,
    run: Annotated[str | None, typer.Option(help="Of this run alone.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code.")] = None,
    open_only: Annotated[
        bool, typer.Option("--open", help="Of the latest run of each partition.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what is not in the tables as it was asked for: of each thing the newest word."""
    if run is not None and open_only:
        raise ConfigError("--open", ["is of the latest runs, and --run of one; leave one out"])
    place = load_place(config)
    rows = _read_open(place, reason) if open_only else _read_newest(place, run, reason)
    if as_json:
        _print_json(rows)
        return
    table = folded_table(
        *("release", "state", "upgrade", "key", "stage", "reason", "detail"),
        *("first seen (UTC)", "last seen (UTC)"),
    )
    for row in rows:
        place_names = (row["release"], row["state"], row["upgrade"])
        table.add_row(
            *("" if each is None else in_ascii(each) for each in place_names),
            *(in_ascii(row[name]) for name in ("key", "stage", "reason", "detail")),
            _minute(row["first_seen_utc"]),
            _minute(row["last_seen_utc"]),
        )
    out = plain_console()
    if rows:
        out.print(table)
    out.print(f"{len(rows):,} discrepancies")


def _read_newest(
    place: CatalogLocation, run: str | None, reason: str | None
) -> Sequence[dict[str, object]]:
    from oedi_spark.lake.ledger import read_discrepancies, read_runs
    from oedi_spark.tracking.ledger import newest_of_each

    if run is not None and all(row["run_id"] != run for row in read_runs(place)):
        fault = f"the ledger has no run {in_ascii(run)}; `oedi-spark runs` lists them"
        raise ConfigError("--run", [fault])
    return newest_of_each(read_discrepancies(place, run_id=run, reason=reason))


def _read_open(place: CatalogLocation, reason: str | None) -> Sequence[dict[str, object]]:
    from oedi_spark.lake.ledger import read_discrepancies, read_runs
    from oedi_spark.tracking.ledger import still_open

    return still_open(read_runs(place), read_discrepancies(place, reason=reason))


def _print_json(rows: Sequence[Row]) -> None:
    """Times as ISO 8601 with the Z of UTC; characters beyond ASCII escaped."""
    shown = [{name: _plain(value) for name, value in row.items()} for row in rows]
    typer.echo(json.dumps(shown, indent=2))


def _plain(value: object) -> object:
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else value


def _minute(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else ""


def _count(value: object) -> str:
    return f"{int(str(value)):,}"
