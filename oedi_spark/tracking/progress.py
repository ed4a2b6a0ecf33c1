"""Show how far a run is: a live bar on a terminal, one log line per 5 % elsewhere.

Spark hands over what a task saw when the task ends, so the bar moves batch by batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from oedi_spark.log import get_logger

_LOG_STEP = 0.05
_POLL_S = 0.25

_log = get_logger(__name__)


class Progress:
    """Files done of files listed, over all the waves of one run."""

    def __init__(self, total: int, *, console: Console | None = None) -> None:
        self.total = max(1, total)
        self._done = 0
        self._logged = 0.0
        self._console = console or Console(file=sys.stderr)
        self._bar: Bar | None = None
        self._task: Any = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar, where there is a terminal to show it on."""
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("rolling up"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bar(*columns, console=self._console, transient=True) as bar:
            self._bar, self._task = bar, bar.add_task("files", total=self.total)
            yield
            self._bar = None

    def wait(self, work: Future[Any]) -> None:
        """Until the work is done, or it is time to look again."""
        wait([work], timeout=_POLL_S)

    def advance_to(self, done: int) -> None:
        """Say how many files are done by now; never goes back."""
        self._done = max(self._done, done)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            return
        share = self._done / self.total
        if share - self._logged >= _LOG_STEP or (share >= 1 and self._logged < 1):
            self._logged = share
            _log.info("progress", files=self._done, of=self.total, percent=round(100 * share))
