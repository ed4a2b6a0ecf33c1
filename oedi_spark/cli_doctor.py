"""`oedi-spark doctor`: prints what would stop a run, and what to do about it."""

from __future__ import annotations

import typer

from oedi_spark.cli_options import ConfigOption, load_quietly
from oedi_spark.console import folded_table, plain_console
from oedi_spark.escaping import printable


def doctor(config: ConfigOption) -> None:
    """Check what a run needs: Java, libraries, credentials, buckets, catalog. Leaves no trace.

    Ends with 0, or with the exit code that a run would most likely end with.
    """
    loaded, notes = load_quietly(config)
    from oedi_spark.doctor import examine, exit_code_of  # a second of imports, as in cli.py

    results = examine(loaded)
    table = folded_table("check", "", "what")
    for note in notes:
        table.add_row("config", "warn", printable(note))
    for each in results:
        table.add_row(each.name, each.finding.status.value, printable(each.finding.fact))
        if each.finding.advice:
            table.add_row("", "", f"→ {printable(each.finding.advice)}")
    out = plain_console()
    out.print(table)
    code = exit_code_of(results)
    out.print(
        "A run would fail: see `fail` above." if code else "Nothing stands in the way of a run."
    )
    raise typer.Exit(code)
