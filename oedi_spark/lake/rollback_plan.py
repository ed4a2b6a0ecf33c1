"""What rolling one run back would do, or why it cannot be; nothing is written here.

Of each table only the partitions that the run changed are returned to the snapshot before it. A
partition that another run has changed since is refused, in whatever table, before any is touched:
the tables agree with one another only when all of them are returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog, table_name
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.history import PUBLISHED_TABLES, Change, changes_of, load_tables
from oedi_spark.lake.restore import (
    UnfitPartitionError,
    files_at,
    files_before,
    find_stale_copies,
    missing_files,
    require_plain,
)
from oedi_spark.lake.sources import find_unrecorded

_SHOWN = 3


class RollbackError(PublishError):
    """A run was not rolled back, or not in every table: `done` names those in which it was."""

    def __init__(self, run_id: str, cause: str, done: Sequence[str] = ()) -> None:
        super().__init__(run_id, cause)
        self.run_id, self.done = run_id, tuple(done)
        state = "The tables are as before."
        if done:
            state = f"It is in {', '.join(done)}; run the same command again to complete it."
        self.args = (f"Run {run_id} was not rolled back: {cause}. {state}",)


@dataclass(frozen=True)
class Cell:
    """One partition of one table. `back` was there before the run and is not any more."""

    partition: Partition
    back: tuple[DataFile, ...]
    out: tuple[DataFile, ...]
    stay: tuple[DataFile, ...]

    @property
    def before_rows(self) -> int:
        """Rows that it had before the run, and has again."""
        return sum(file.record_count for file in (*self.back, *self.stay))

    @property
    def now_rows(self) -> int:
        """Rows that it has as long as nothing is done."""
        return sum(file.record_count for file in (*self.out, *self.stay))


@dataclass(frozen=True)
class TablePlan:
    """What is done to one table. `snapshot_id`: the first one that the run made of it."""

    table: Table
    snapshot_id: int
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Without the database."""
        return str(self.table.name()[-1])

    @property
    def partitions(self) -> frozenset[Partition]:
        """Those that are restored."""
        return frozenset(cell.partition for cell in self.cells)

    @property
    def held(self) -> frozenset[str]:
        """The files that the partitions hold until it is done."""
        return frozenset(file.file_path for cell in self.cells for file in (*cell.out, *cell.stay))


@dataclass(frozen=True)
class RollbackPlan:
    """What rolling a run back does. `done`: the tables in which it is rolled back already.

    `stale_copies`: partitions whose landed copies of metadata are those of the run, and stay:
    nothing is recorded of them, so that the next run does them again. Nor of `unrecorded` ones,
    whose state before the run was not the one that was recorded.
    """

    run_id: str
    tables: tuple[TablePlan, ...]
    done: tuple[str, ...]
    stale_copies: frozenset[Partition]
    unrecorded: frozenset[Partition] = frozenset()

    @property
    def partitions(self) -> frozenset[Partition]:
        """Every partition that is restored in any table."""
        return frozenset().union(*(each.partitions for each in self.tables))


def plan_rollback(place: CatalogLocation, run_id: str) -> RollbackPlan:
    """What rolling a run back would do. Reads manifests, asks for files; writes nothing.

    Raises:
        RollbackError: It cannot be: the run is not known, later runs would be lost, or what was
            there before has expired. Nothing was changed.
        HistoryError: The tables' history cannot be read.
    """
    if not catalog_exists(place):
        raise RollbackError(run_id, "nothing was published yet")
    try:
        tables = load_tables(open_catalog(place, create=False), place, PUBLISHED_TABLES)
        for table in tables:
            _require_place(table, place, run_id)
        return _plan(tables, run_id)
    except PublishError:
        raise
    except UnfitPartitionError as error:
        raise RollbackError(run_id, str(error)) from error
    except Exception as error:
        raise RollbackError(run_id, f"the tables cannot be read ({say_fault(error)})") from error


def _require_place(table: Table, place: CatalogLocation, run_id: str) -> None:
    name = str(table.name()[-1])
    found, wanted = table.location().rstrip("/"), place.table_uri(name)
    if found != wanted:
        raise RollbackError(
            run_id,
            f"{table_name(table)} lies at {found}, and by this config it would be at {wanted}: "
            "use the config of the run",
        )


def _plan(tables: Sequence[Table], run_id: str) -> RollbackPlan:
    lines = {
        str(table.name()[-1]): [each for each in changes_of(table) if each.is_current]
        for table in tables
    }
    every = [change for line in lines.values() for change in line]
    made = {name: _made_by(line, run_id) for name, line in lines.items()}
    done = tuple(name for name, line in lines.items() if _is_undone(line, run_id))
    due = [table for table in tables if made[str(table.name()[-1])]]
    due = [table for table in due if str(table.name()[-1]) not in done]
    _require_run(run_id, every, is_known=bool(due or done))
    if not due:
        return RollbackPlan(run_id, (), done, frozenset())
    _require_kept(run_id, lines, made)
    for table in due:
        _require_newest(run_id, lines[str(table.name()[-1])], made[str(table.name()[-1])])
    plans = tuple(_plan_table(table, made[str(table.name()[-1])]) for table in due)
    _require_files(run_id, plans)
    sources = next((each for each in plans if each.name == "sources"), None)
    changed = frozenset().union(*(each.partitions for each in plans if each.name == "metadata"))
    stale = find_stale_copies(sources.table, sources.cells) if sources else changed
    return RollbackPlan(run_id, plans, done, stale, _unrecorded(sources, plans))


def _unrecorded(sources: TablePlan | None, plans: Sequence[TablePlan]) -> frozenset[Partition]:
    """Copies bear the rollback's name, so what they were copied from is held against the record."""
    if sources is None:
        return frozenset()
    before = {each.name: {c.partition: (*c.back, *c.stay) for c in each.cells} for each in plans}
    records = before.pop("sources")
    return find_unrecorded(sources.table, records, before)


def _made_by(line: Sequence[Change], run_id: str) -> list[Change]:
    return [each for each in line if each.run_id == run_id and each.rolled_back is None]


def _is_undone(line: Sequence[Change], run_id: str) -> bool:
    return any(each.rolled_back == run_id for each in line)


def _require_run(run_id: str, every: Sequence[Change], *, is_known: bool) -> None:
    """Refuse what is no run of the main job, or one of which no table has anything."""
    undone = next((e.rolled_back for e in every if e.run_id == run_id and e.rolled_back), None)
    if undone is not None:
        way_out = "to have that run's rows again, run its config again"
        raise RollbackError(run_id, f"it is itself the rollback of run {undone}; {way_out}")
    cells = [cell for each in every if each.run_id == run_id for cell in each.cells]
    if cells and all(cell.is_merge for cell in cells):
        raise RollbackError(run_id, "it is maintenance, which merged files and changed no row")
    if not is_known:
        raise RollbackError(
            run_id,
            "no table's current state came through a snapshot of it: it published nothing, or its "
            "snapshots have expired; `oedi-spark history` lists those that are kept",
        )


def _require_kept(
    run_id: str, lines: Mapping[str, Sequence[Change]], made: Mapping[str, Sequence[Change]]
) -> None:
    """Refuse when a table may have had a snapshot of the run that has expired since."""
    began_ms = min(each.committed_at_ms for found in made.values() for each in found)
    for name, line in lines.items():
        is_cut = bool(line) and line[0].sequence_number > 1
        if not made[name] and is_cut and line[0].committed_at_ms > began_ms:
            raise RollbackError(
                run_id, f"the snapshots that {name} had when it published have expired"
            )


def _require_newest(run_id: str, line: Sequence[Change], made: Sequence[Change]) -> None:
    """Refuse when another run has changed one of the partitions since, and was not undone."""
    touched = {partition for each in made for partition in each.partitions}
    undone = {each.rolled_back for each in line if each.rolled_back}
    conflicts: dict[str, set[Partition]] = {}
    for later in line[line.index(made[0]) :]:
        if later in made or later.rolled_back or later.run_id in undone:
            continue
        lost = {cell.partition for cell in later.cells if not cell.is_merge} & touched
        if lost or any(cell.partition is None for cell in later.cells):
            who = later.run_id or f"another program's snapshot {later.snapshot_id}"
            conflicts.setdefault(who, set()).update(each for each in lost if each is not None)
    if conflicts:
        told = "; ".join(f"{who} ({_some(sorted(map(str, p)))})" for who, p in conflicts.items())
        raise RollbackError(
            run_id,
            f"in {line[0].table} later work on its partitions would be lost: {told}. Roll that "
            "back first, the newest run before the others",
        )


def _plan_table(table: Table, made: Sequence[Change]) -> TablePlan:
    touched = {partition for each in made for partition in each.partitions}
    for partition in touched:
        require_plain(partition)
    before: dict[Partition, list[DataFile]] = {}
    for each in reversed(made):
        before |= {partition: [] for partition in each.partitions}
        before |= files_before(table, each.snapshot_id, each.partitions)
    current = table.current_snapshot()
    now = files_at(table, current.snapshot_id if current else None, touched)
    cells = []
    for partition in sorted(touched):
        old = {file.file_path: file for file in before.get(partition, ())}
        new = {file.file_path: file for file in now.get(partition, ())}
        cells.append(
            Cell(
                partition,
                back=tuple(old[path] for path in sorted(old.keys() - new.keys())),
                out=tuple(new[path] for path in sorted(new.keys() - old.keys())),
                stay=tuple(new[path] for path in sorted(new.keys() & old.keys())),
            )
        )
    return TablePlan(table, made[0].snapshot_id, tuple(cells))


def _require_files(run_id: str, plans: Sequence[TablePlan]) -> None:
    """Refuse when a file to bring back is not there any more, whole."""
    gone = [
        uri
        for each in plans
        for uri in missing_files(each.table, [file for cell in each.cells for file in cell.back])
    ]
    if gone:
        count = f"{len(gone)} file(s) of the state before it are gone or cut short"
        raise RollbackError(run_id, f"{count}: {_some(gone)}")


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    shown = (word.encode("unicode_escape").decode() for word in words[:_SHOWN])
    return ", ".join(shown) + more
