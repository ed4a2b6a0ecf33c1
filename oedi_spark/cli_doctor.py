"""`oedi-spark doctor`: prints what would stop a run, and what to do about it."""

from __future__ import annotations

import typer
from rich.table import Column, Table

from oedi_spark.cli_options import ConfigOption
from oedi_spark.config import load_config_with_notes
from oedi_spark.console import plain_console
from oedi_spark.log import configure_logs


def doctor(config: ConfigOption) -> None:
    """Check what a run needs: Java, libraries, credentials, buckets, catalog. Leaves no trace.

    Ends with 0, or with the exit code that a run would most likely end with.
    """
    loaded, notes = load_config_with_notes(config)
    configure_logs(level="WARNING", file=None, as_json=loaded.settings.log_format == "json")
    from oedi_spark.doctor import examine, exit_code_of  # a second of imports, as in cli.py

    results = examine(loaded)
    table = Table(*(Column(head, overflow="fold") for head in ("check", "", "what")), box=None)
    for note in notes:
        table.add_row("config", "warn", _escape(note))
    for each in results:
        table.add_row(each.name, each.finding.status.value, _escape(each.finding.fact))
        if each.finding.advice:
            table.add_row("", "", f"→ {_escape(each.finding.advice)}")
    out = plain_console()
    out.print(table)
    code = exit_code_of(results)
    out.print(
        "A run would fail: see `fail` above." if code else "Nothing stands in the way of a run."
    )
    raise typer.Exit(code)


def _escape(text: str) -> str:
    """Names come from outside: what would break the line or move the cursor is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
