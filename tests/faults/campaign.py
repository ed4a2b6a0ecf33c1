"""A process that forks runs of the real pipeline, each of which may die at a named point.

`python -m tests.faults.campaign` imports everything once and then forks a child per line on its
standard input: a run without Spark's start takes a second, so that dozens can be killed. Only
Spark is stood in for: batches run one after another in the child. The fault is patched into the
child alone, and is always SIGKILL to its own process group.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oedi_spark.config import load_config
from tests.conftest import PROJECT

REPLY_LIMIT_S = 120.0
_began_ms = 0.0
"""Of this child."""

COMMITS = ("building_weights", "metadata", "hourly", "columns", "sources")
"""The tables, in the order in which a run commits them."""

NONE, ALL = 0, len(COMMITS)


@dataclass(frozen=True)
class Point:
    """Where a run dies: before or after the n-th call of something, or halfway in a write.

    `committed` tables (of `COMMITS`, from the first) are new by then. `matches` gets the call's
    arguments. `modes`: the situations in which the point is passed at all.
    """

    name: str
    target: str
    when: str
    committed: int = NONE
    nth: int = 1
    matches: Callable[..., bool] = lambda *_, **__: True
    modes: tuple[str, ...] = ("first", "replace")


def _stage(name: str) -> Callable[..., bool]:
    return lambda _tracker, *names: name in names


def _of_table(name: str) -> Callable[..., bool]:
    """Commits of a snapshot; not those of a column."""

    def matches(*given: Any) -> bool:  # noqa: ANN401 - PyIceberg's own types
        _catalog, table, _requirements, updates = given
        return table.name()[-1] == name and any("snapshot" in each.action for each in updates)

    return matches


def _new_metadata_of(name: str) -> Callable[..., bool]:
    """Metadata files that hold a snapshot which this run made."""

    def matches(metadata: Any, *_: object, **__: object) -> bool:  # noqa: ANN401 - PyIceberg's own type
        last = metadata.snapshots[-1].timestamp_ms if metadata.snapshots else 0
        return str(metadata.location).endswith(f"/{name}") and last > _began_ms

    return matches


_STAGES = ("config", "indexer", "reader", "quality", "writer", "tracker")
_CATALOG = "pyiceberg.catalog.sql:SqlCatalog"
_STAGE = "oedi_spark.tracking.tracker:RunTracker.stage"
_FILES, _CLAIM = "oedi_spark.lake.files", "oedi_spark.lake.claim"
_METADATA, _BATCH = "oedi_spark.metadata_step", "oedi_spark.transform.batch"

BORDERS = tuple(
    Point(f"{when}-{stage}", _STAGE, when, done, matches=_stage(stage))
    for stage in _STAGES
    for when, done in (
        ("enter", ALL if stage == "tracker" else NONE),
        ("leave", ALL if stage in ("writer", "tracker") else NONE),
    )
)
COMMIT_POINTS = tuple(
    point
    for at, table in enumerate(COMMITS)
    for point in (
        Point(f"before-{table}", f"{_CATALOG}.commit_table", "before", at, 1, _of_table(table)),
        Point(
            f"written-{table}", f"{_CATALOG}._write_metadata", "after", at, 1,
            _new_metadata_of(table),
        ),
        Point(f"after-{table}", f"{_CATALOG}.commit_table", "after", at + 1, 1, _of_table(table)),
    )
)  # fmt: skip
WRITE_POINTS = (
    Point("half-lease", "oedi_spark.lake.lease:write_whole", "half"),
    Point("after-lease", "oedi_spark.lake.lease:LeaseBook.acquire", "after"),
    Point("before-table", f"{_CATALOG}.create_table", "before", nth=2, modes=("first",)),
    Point("written-table", f"{_CATALOG}._write_metadata", "after", nth=3, modes=("first",)),
    Point("after-table", f"{_CATALOG}.create_table", "after", nth=4, modes=("first",)),
    Point("half-copy", "oedi_spark.transform.metadata_batch:land_file", "after"),
    Point("staged-metadata", "oedi_spark.transform.metadata_batch:stage_table", "after"),
    Point("half-published", "oedi_spark.transform.published:write_whole", "half"),
    Point("taken-metadata", "oedi_spark.pipeline:take_metadata", "after"),
    Point("half-hours", "oedi_spark.lake.staging:StagedWriter._flush", "after"),
    Point("half-second-hours", "oedi_spark.lake.staging:StagedWriter._flush", "after", nth=3),
    Point("staged-hours", "oedi_spark.lake.staging:StagedWriter.finish", "after"),
    Point("half-entry", "oedi_spark.lake.journal:write_whole", "half"),
    Point("half-second-entry", "oedi_spark.lake.journal:write_whole", "half", nth=2),
    Point("first-entry", f"{_BATCH}:leave_entry", "after"),
    Point("second-entry", f"{_BATCH}:leave_entry", "after", nth=2),
    Point("third-entry", f"{_BATCH}:leave_entry", "after", nth=3),
)
ENDING_POINTS = (
    Point("before-landing", "oedi_spark.pipeline:land_copies", "before", 4),
    Point("first-landed", f"{_METADATA}:show_file", "after", 4),
    Point("second-landing", f"{_METADATA}:show_file", "before", 4, nth=2),
    Point("before-superseded", f"{_METADATA}:remove_superseded", "before", 4),
    Point("after-landing", "oedi_spark.pipeline:land_copies", "after", 4),
    Point("first-sources-row", "oedi_spark.lake.publication:stage_rows", "after", 4, nth=4),
    Point("before-sweep", f"{_CLAIM}:_sweep_own", "before", ALL),
    Point("in-sweep", f"{_CLAIM}:drop_entries", "before", ALL),
    Point("after-sweep", f"{_CLAIM}:_sweep_own", "after", ALL),
    Point("before-release", f"{_CLAIM}:LeaseBook.release", "before", ALL),
    Point("after-release", f"{_CLAIM}:LeaseBook.release", "after", ALL),
)
AGAIN_POINTS = (
    Point("gathered", f"{_CLAIM}:gather", "after"),
    Point("before-dead-sweep", f"{_CLAIM}:_sweep_dead", "before"),
    Point("half-dead-sweep", f"{_CLAIM}:sweep_run", "after"),
    Point("dead-waiting", f"{_CLAIM}:sweep_waiting", "after"),
    Point("after-dead-sweep", f"{_CLAIM}:_sweep_dead", "after"),
    Point("adopted", "oedi_spark.lake.leftovers:Leftovers.adopt", "after"),
    Point("after-hourly", f"{_CATALOG}.commit_table", "after", 3, 1, _of_table("hourly")),
    Point("before-settling", f"{_CLAIM}:_settle", "before", ALL),
    Point("half-settled", f"{_CLAIM}:drop_entries", "after", ALL, nth=2),
    Point("settled", f"{_CLAIM}:_settle", "after", ALL),
)
"""Of a run that comes after one that was killed with finished batches."""

POINTS = {
    point.name: point
    for point in (*BORDERS, *COMMIT_POINTS, *WRITE_POINTS, *ENDING_POINTS, *AGAIN_POINTS)
}


def _die() -> None:
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)


def arm(point: Point) -> None:
    """Patch the point into this process."""
    module, path = point.target.split(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for each in owners:
        owner = getattr(owner, each)
    real, calls = getattr(owner, name), 0
    is_static = isinstance(inspect.getattr_static(owner, name), staticmethod)

    def stand_in(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for anything
        nonlocal calls
        calls += bool(point.matches(*given, **named))
        is_due = calls == point.nth and point.matches(*given, **named)
        if is_due and point.when == "half":
            _write_half(*given)
        if is_due and point.when in ("before", "enter"):
            _die()
        result = real(*given, **named)
        if is_due and point.when == "leave":
            return _DyingContext(result)
        if is_due:
            _die()
        return result

    setattr(owner, name, staticmethod(stand_in) if is_static else stand_in)


class _DyingContext:
    """A stage that is entered as ever, and dies when it is left."""

    def __init__(self, real: Any) -> None:  # noqa: ANN401 - a context manager
        self._real = real

    def __enter__(self) -> object:
        return self._real.__enter__()

    def __exit__(self, *error: object) -> None:
        self._real.__exit__(*error)
        _die()


def _write_half(uri: str, data: bytes, *_: object) -> None:
    """As much of a small file as was written when the machine died, under its unfinished name."""
    path = Path(uri.removeprefix("file://"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.0badcafe.unfinished").write_bytes(data[: len(data) // 2])
    _die()


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def map(self, work: Callable[[Any], Any]) -> _Rows:
        self._work = work
        return self

    def collect(self) -> list[Any]:
        return [self._work(row) for row in self._rows]


class _Accumulator:
    def __init__(self, value: Any, param: Any) -> None:  # noqa: ANN401 - Spark's own types
        self.value, self._param = value, param

    def add(self, more: Any) -> None:  # noqa: ANN401 - as above
        self.value = self._param.addInPlace(self.value, more)


class StandInContext:
    """What the pipeline asks of a SparkContext, with tasks that run one after another."""

    master = "local[2]"
    defaultParallelism = 4  # noqa: N815 - Spark's name

    def parallelize(self, rows: Iterable[Any], _slices: int) -> _Rows:
        """The rows, for `map` and `collect`."""
        return _Rows(list(rows))

    def accumulator(self, value: object, param: object) -> _Accumulator:
        """A sum of what the tasks add."""
        return _Accumulator(value, param)

    def setJobGroup(self, group: str, about: str) -> None:  # noqa: N802 - Spark's name
        """Nothing: there is one job at a time."""

    def cancelJobGroup(self, group: str) -> None:  # noqa: N802 - Spark's name
        """Nothing: a killed process cancels nothing."""

    def statusTracker(self) -> StandInContext:  # noqa: N802 - Spark's name
        """Itself, which knows of no jobs."""
        return self

    def getJobIdsForGroup(self, _group: str) -> list[int]:  # noqa: N802 - Spark's name
        """None is left when `collect` has come back."""
        return []


class StandInSession:
    """What the pipeline asks of a SparkSession."""

    version = "3.5.6"

    def __init__(self) -> None:
        self.sparkContext = StandInContext()


def stand_in_spark() -> Future[Any]:
    """A session that is there at once."""
    future: Future[Any] = Future()
    future.set_result(StandInSession())
    return future


def _run_child(wanted: dict[str, Any]) -> None:
    global _began_ms  # noqa: PLW0603 - a child runs once
    os.setsid()
    _began_ms = time.time() * 1000
    exit_code = 70
    try:
        from oedi_spark import pipeline

        if wanted["point"]:
            arm(POINTS[wanted["point"]])
        if wanted["max_file_bytes"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["max_file_bytes"],) * 2)
        exit_code = pipeline.run(load_config(Path(wanted["config"])), stand_in_spark()).exit_code
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(exit_code)


def serve() -> None:
    """Fork a run per line of standard input; answer with its pid, then with how it ended."""
    import oedi_spark.pipeline
    import oedi_spark.transform.published_results  # noqa: F401 - loaded before the fork

    for module in ("pyiceberg.catalog.sql", "pyiceberg.io.pyarrow", "pyarrow.dataset"):
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run_child(json.loads(line))
        answers.write(f"{pid}\n")
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")


class Forge:
    """The server, from the side of the test."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.campaign"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(
        self,
        config: Path,
        *,
        point: str = "",
        kill_after_s: float | None = None,
        max_file_bytes: int = 0,
    ) -> int:
        """One run; its exit code, or minus the signal that ended it."""
        assert self._process.stdin is not None
        wanted = {"config": str(config), "point": point, "max_file_bytes": max_file_bytes}
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        pid = int(self._answer())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            for _ in range(50):  # until the child is a group of its own
                try:
                    os.killpg(pid, signal.SIGKILL)
                    break
                except ProcessLookupError:
                    time.sleep(0.001)
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server of runs has ended"
        return line

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


if __name__ == "__main__":
    serve()
