"""Prove building files before Spark SQL reads them, so that no file can fail a job.

Each file is fetched, verified and decoded once, by the same code that reads it for the fast
engine: so both engines refuse the same files, for the same reasons. What is left for Spark SQL
is known in every detail: types, stamps, step, hours. Beyond what the fast engine takes, a file
with other steps or with gaps passes if `window_grid` is certain of its intervals.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import (
    Column,
    FileOutcome,
    Partition,
    Reason,
    ReleaseFacts,
    SourceFile,
    Transition,
)
from oedi_spark.errors import FileFault
from oedi_spark.source.storage import open_storage
from oedi_spark.transform.batch import MarkTransition, TaskSettings
from oedi_spark.transform.columns import (
    BLDG_ID,
    TIMESTAMP,
    Rule,
    describe_columns,
    require_known,
)
from oedi_spark.transform.fetching import fetch_ahead, fetch_building
from oedi_spark.transform.parquet_bytes import open_parquet, say_error
from oedi_spark.transform.reader import Measure, ProfileReader
from oedi_spark.transform.stamps import INTERVAL_S, stamps_ns
from oedi_spark.transform.window_grid import Grid, find_grid

NOTHING = "void"
"""The type of a column that holds nothing; it is not read."""

_TYPES = {
    "null": NOTHING,
    "double": "double",
    "float": "float",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
}
_DECIMAL = re.compile(r"decimal(?:32|64|128)\((?P<precision>\d+), (?P<scale>\d+)\)")
_MAY_OVERFLOW = np.finfo(np.float64).max / 16


@dataclass(frozen=True)
class SourceColumn:
    """One column that Spark has to read, and the type that the file gives it."""

    name: str
    source_name: str
    spark_type: str
    rule: str


@dataclass(frozen=True)
class Layout:
    """What decides how Spark reads a file; files of one layout are read together.

    `stamp` is how the stamps are stored: `ns` as integers, `ntz` or `ltz` as Spark's types.
    """

    stamp: str
    columns: frozenset[SourceColumn]


@dataclass(frozen=True)
class ProvedFile:
    """A file whose hours are certain. `empty_hours_us` are those that it has no row of.

    `interval_totals`: of each measure that is published, in the file's order, what its hours have
    to sum to (four times that, where it is averaged); NaN where nothing is asked.
    """

    file: SourceFile
    layout: Layout
    step_s: int
    shift_s: int
    hour_count: int
    empty_hours_us: tuple[int, ...]
    detail: str | None
    interval_totals: tuple[float, ...]


@dataclass(frozen=True)
class Proof:
    """What is known of one file: proved, or deferred for its columns, or at fault."""

    ordinal: int
    proved: ProvedFile | None = None
    outcome: FileOutcome | None = None
    columns: tuple[Column, ...] = ()
    read_bytes: int = 0
    took_s: float = 0.0


@dataclass(frozen=True)
class ProofTask:
    """Files of one partition to be proved by one task; `measures` are those that may be staged."""

    partition: Partition
    facts: ReleaseFacts
    files: tuple[SourceFile, ...]
    measures: frozenset[str]


def prove_files(task: ProofTask, settings: TaskSettings, mark: MarkTransition) -> list[Proof]:
    """Fetch, verify and decode files; nothing about their content raises."""
    prover = _Prover(task, settings)
    proofs = []
    fetch = partial(fetch_building, open_storage(settings.location))
    for file, fetched in fetch_ahead(task.files, fetch, ahead=settings.read_ahead_files):
        started = time.perf_counter()
        mark(file.ordinal, Transition.LISTED)
        size_bytes = 0
        try:
            data = fetched.result()
            size_bytes = len(data)
            mark(file.ordinal, Transition.FETCHED)
            proof = prover.prove(data, file)
        except FileFault as fault:
            outcome = FileOutcome(file.ordinal, fault.reason, fault.detail)
            proof = Proof(file.ordinal, outcome=outcome)
        took_s = time.perf_counter() - started
        proofs.append(replace(proof, read_bytes=size_bytes, took_s=took_s))
    return proofs


class _Prover:
    """Proves the files of one task; keeps the layout of one file for the next."""

    def __init__(self, task: ProofTask, settings: TaskSettings) -> None:
        self._task, self._settings = task, settings
        self._reader = ProfileReader(task.facts)
        self._layouts: dict[Layout, Layout] = {}
        self._described: dict[tuple[Column, ...], tuple[Column, ...]] = {}

    def prove(self, data: bytes, file: SourceFile) -> Proof:
        measures, omitted, grid = self._read(data, file)
        kept = tuple(measure.column for measure in measures)
        # Equal for most files, and sent as one value if they are one.
        columns = self._described.setdefault((*kept, *omitted), (*kept, *omitted))
        if self._settings.strict_columns:
            require_known((*omitted, *kept))
        if any(column.name not in self._task.measures for column in kept):
            return Proof(file.ordinal, columns=kept)
        layout = _lay_out(open_parquet(data), kept)
        detail = _describe_grid(grid, _count_lacking(measures, grid))
        proved = ProvedFile(
            file=file,
            layout=self._layouts.setdefault(layout, layout),
            step_s=grid.step_s,
            shift_s=grid.shift_s,
            hour_count=grid.hour_count,
            empty_hours_us=tuple(grid.hour_start_us[grid.empty_hours()].tolist()),
            detail=detail,
            interval_totals=tuple(_sum_intervals(each, grid) for each in measures),
        )
        return Proof(file.ordinal, proved=proved, columns=columns)

    def _read(
        self, data: bytes, file: SourceFile
    ) -> tuple[tuple[Measure, ...], tuple[Column, ...], Grid]:
        try:
            profile = self._reader.read_profile(data, file)
        except FileFault as fault:
            if fault.reason is not Reason.STAMPS_IRREGULAR:
                raise
            return self._read_odd_steps(data, fault)
        # Regular quarter-hours: the first stamp says which end they name.
        at_end = _first_stamp_ns(data) != int(profile.hour_start_us[0]) * 1000
        grid = Grid(INTERVAL_S, INTERVAL_S if at_end else 0, profile.hour_start_us)
        return profile.measures, profile.omitted, grid

    def _read_odd_steps(
        self, data: bytes, fault: FileFault
    ) -> tuple[tuple[Measure, ...], tuple[Column, ...], Grid]:
        """A file that the reader proved up to its stamps; raises its fault if they fit no grid."""
        parquet = open_parquet(data)
        try:
            grid = find_grid(stamps_ns(_column(parquet, TIMESTAMP)), self._task.facts)
            if grid is None:
                raise fault
            columns = _describe(parquet)
            omitted = tuple(column for column in columns if column.rule == Rule.OMIT)
            kept = tuple(column for column in columns if column.rule != Rule.OMIT)
            return tuple(_decode(parquet, column) for column in kept), omitted, grid
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileFault(Reason.UNREADABLE, say_error(error)) from error


def _sum_intervals(measure: Measure, grid: Grid) -> float:
    """The intervals by themselves, as if four made an hour; NaN of a constant, or with a gap."""
    if measure.intervals is None or measure.column.rule == Rule.KEEP:
        return float("nan")
    total = float(np.add.reduce(measure.intervals, dtype=np.float64))
    return total * grid.step_s / INTERVAL_S if measure.column.rule == Rule.MEAN else total


def _column(parquet: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    at = parquet.schema_arrow.names.index(name)
    return parquet.reader.read_all(column_indices=[at], use_threads=False).column(0)


def _first_stamp_ns(data: bytes) -> int:
    """The first stamp of a file whose stamps are proved."""
    parquet = open_parquet(data)
    batches = parquet.reader.iter_batches(
        1,
        row_groups=[0],
        column_indices=[parquet.schema_arrow.names.index(TIMESTAMP)],
        use_threads=False,
    )
    return int(stamps_ns(pa.chunked_array([next(batches).column(0)]))[0])


def _describe(parquet: pq.ParquetFile) -> tuple[Column, ...]:
    schema = parquet.schema_arrow
    names = tuple(name for name in schema.names if name not in (TIMESTAMP, BLDG_ID))
    return tuple(
        replace(column, source_type=str(schema.field(name).type))
        for name, column in zip(names, describe_columns(names), strict=True)
    )


def _decode(parquet: pq.ParquetFile, column: Column) -> Measure:
    values = _column(parquet, column.source_name)
    if values.null_count == len(values):
        return Measure(column)
    return Measure(column, intervals=values.cast(pa.float64()).to_numpy())


def _lay_out(parquet: pq.ParquetFile, columns: Sequence[Column]) -> Layout:
    return Layout(
        stamp=_stamp_kind(parquet),
        columns=frozenset(
            SourceColumn(each.name, each.source_name, _spark_type(each), each.rule)
            for each in columns
        ),
    )


def _stamp_kind(parquet: pq.ParquetFile) -> str:
    """As parquet has it, not Arrow: a schema that Arrow stored beside it may say otherwise."""
    column = parquet.schema.column(parquet.schema_arrow.names.index(TIMESTAMP))
    logical = str(column.logical_type)
    if column.physical_type == "INT96":
        return "ltz"
    if not logical.startswith("Timestamp") or "timeUnit=nanoseconds" in logical:
        return "ns"
    return "ltz" if "isAdjustedToUTC=true" in logical else "ntz"


def _spark_type(column: Column) -> str:
    decimal = _DECIMAL.fullmatch(column.source_type)
    if decimal:
        return f"decimal({decimal['precision']},{decimal['scale']})"
    if column.source_type not in _TYPES:
        detail = f"{column.source_name[:200]!r} is {column.source_type}, which Spark does not read"
        raise FileFault(Reason.NOT_NUMERIC, detail)
    return _TYPES[column.source_type]


def _count_lacking(measures: Sequence[Measure], grid: Grid) -> tuple[int, int]:
    """(whole hours that lack a value, columns that lack one); a column without any is absent.

    Raises:
        FileFault: `not_finite`, when a value is infinite or an hour becomes so.
    """
    lacking = np.zeros(grid.hour_count, dtype=bool)
    columns = 0
    incomplete = grid.incomplete_hours() if grid.hour_of is not None else None
    for measure in measures:
        if measure.constant is not None:
            factor = 4.0 if measure.column.rule == Rule.SUM else 1.0
            _require_finite(np.array([factor * measure.constant]), measure)
        if measure.intervals is None:
            continue
        missing = _missing_hours(measure, measure.intervals, grid)
        if incomplete is not None:
            missing[incomplete] = False
        columns += bool(missing.any())
        lacking |= missing
    return int(lacking.sum()), columns


def _missing_hours(measure: Measure, intervals: NDArray[Any], grid: Grid) -> NDArray[np.bool_]:
    """Whether each hour lacks a value of a column. One look tells whether there is anything."""
    nothing = np.zeros(grid.hour_count, dtype=bool)
    with np.errstate(all="ignore"):
        low, high = float(intervals.min()), float(intervals.max())
    if -_MAY_OVERFLOW < low <= high < _MAY_OVERFLOW:
        return nothing
    hour_of = np.arange(len(intervals)) // 4 if grid.hour_of is None else grid.hour_of
    with np.errstate(all="ignore"):
        hours = np.bincount(hour_of, weights=intervals, minlength=grid.hour_count)
    _require_finite(intervals, measure)
    if measure.column.rule == Rule.KEEP:
        is_first = np.diff(hour_of, prepend=-1) > 0
        nothing[hour_of[is_first & np.isnan(intervals)]] = True
        return nothing
    _require_finite(hours, measure)
    return np.isnan(hours)


def _require_finite(values: NDArray[Any], measure: Measure) -> None:
    if np.isinf(values).any():
        name = measure.column.source_name
        raise FileFault(Reason.NOT_FINITE, f"{name} holds an infinite value, or sums to one")


def _describe_grid(grid: Grid, lacking: tuple[int, int]) -> str | None:
    parts = []
    if grid.step_s != INTERVAL_S:
        parts.append(f"{grid.step_s // 60}-minute steps")
    if grid.hour_of is not None and len(incomplete := grid.incomplete_hours()):
        parts.append(f"{len(incomplete)} hours lack intervals")
    if lacking[1]:
        parts.append(f"{lacking[0]} hours lack a value in {lacking[1]} column(s)")
    return "; ".join(parts) or None
