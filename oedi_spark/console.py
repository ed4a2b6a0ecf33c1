"""The one console that the commands print tables on."""

from __future__ import annotations

import sys

from rich.console import Console


def plain_console() -> Console:
    """For tables that hold names from outside: shown as they are, and wide enough in a pipe."""
    width = None if sys.stdout.isatty() else 180
    return Console(markup=False, highlight=False, emoji=False, width=width)
