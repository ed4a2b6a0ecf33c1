"""The one console that the commands print tables on."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Column, Table


def plain_console() -> Console:
    """For tables that hold names from outside: shown as they are, and wide enough in a pipe."""
    width = None if sys.stdout.isatty() else 180
    return Console(markup=False, highlight=False, emoji=False, width=width)


def folded_table(*headers: str) -> Table:
    """A table whose long names are folded, never cut: a name that was cut is another name."""
    return Table(*(Column(header, overflow="fold") for header in headers), box=None)
