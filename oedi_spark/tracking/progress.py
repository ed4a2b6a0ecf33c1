"""Show how far a run is: a live bar on a terminal, one log line per 5 % elsewhere.

Spark hands over what a task saw only when the task ends. Where tasks and driver share a machine
they also share a file that grows by a byte per building file, so the bar moves file by file;
on a cluster it moves batch by batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from oedi_spark.log import get_logger

_LOG_STEP = 0.05
_POLL_S = 0.25

_log = get_logger(__name__)


@contextmanager
def beat_file(master: str, folder: Path) -> Iterator[str | None]:
    """A file for the tasks to lengthen, gone afterwards; None where they run elsewhere."""
    if not master.startswith("local") or not folder.is_dir():
        yield None
        return
    with NamedTemporaryFile(dir=folder, prefix=".progress-") as file:
        yield file.name


class Progress:
    """Files done of files listed, over all the waves of one run."""

    def __init__(
        self, total: int, *, beats: str | None = None, console: Console | None = None
    ) -> None:
        self._total = max(1, total)
        self._beats = beats
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
            self._bar, self._task = bar, bar.add_task("files", total=self._total)
            yield
            self._bar = None

    def wait(self, work: Future[Any]) -> None:
        """Until the work is done, or it is time to look again."""
        wait([work], timeout=_POLL_S)

    def advance(self, carried: int) -> None:
        """Say how many files the accumulator carries by now; the bar never goes back."""
        beats = Path(self._beats).stat().st_size if self._beats else 0
        self._done = min(self._total, max(self._done, carried, beats))
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            return
        share = self._done / self._total
        if share - self._logged >= _LOG_STEP or (share >= 1 and self._logged < 1):
            self._logged = share
            _log.info("progress", files=self._done, of=self._total, percent=round(100 * share))
