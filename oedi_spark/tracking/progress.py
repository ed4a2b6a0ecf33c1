"""Show how far a run is: a live bar on a terminal, one log line per 5 % elsewhere.

Spark hands over what a task saw only when the task ends. Where tasks and driver share a machine
they also share a file that grows by a byte per building file, so the bar moves file by file;
on a cluster it moves batch by batch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from tempfile import NamedTemporaryFile
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from oedi_spark.log import get_logger

_LOG_STEP = 0.05
_POLL_S = 0.25
_BEAT_PREFIX = ".progress-"
_BEAT_TTL_S = 2 * 86400.0
"""A run adds to its file with every building file; one that has not for so long was killed."""

_log = get_logger(__name__)


@contextmanager
def beat_file(master: str, folder: Path) -> Iterator[str | None]:
    """A file for the tasks to lengthen, gone afterwards; None where they run elsewhere.

    Those that killed runs left in the folder go, once they are old.
    """
    if not master.startswith("local") or not folder.is_dir():
        yield None
        return
    _remove_old(folder)
    with NamedTemporaryFile(dir=folder, prefix=_BEAT_PREFIX, delete=False) as file:
        path = Path(file.name)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)  # another run may have taken it for old


def _remove_old(folder: Path) -> None:
    with suppress(OSError):  # the run does not need it
        for path in folder.glob(f"{_BEAT_PREFIX}*"):
            found = path.lstat()
            if S_ISREG(found.st_mode) and time.time() - found.st_mtime > _BEAT_TTL_S:
                path.unlink()


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
        beats = 0
        if self._beats:
            with suppress(FileNotFoundError):
                beats = Path(self._beats).stat().st_size
        self._done = min(self._total, max(self._done, carried, beats))
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            return
        share = self._done / self._total
        if share - self._logged >= _LOG_STEP or (share >= 1 and self._logged < 1):
            self._logged = share
            _log.info("progress", files=self._done, of=self._total, percent=round(100 * share))
