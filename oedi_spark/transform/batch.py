"""The body of one task: reader → rollup → quality → staged parquet.

Beside `pipeline.py` the module that joins stages. It runs in a Python worker of Spark,
knows no Spark, and hands back descriptors, never rows.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    FileOutcome,
    SourceFile,
    Transition,
)
from oedi_spark.errors import FileFault
from oedi_spark.lake.files import AMBIENT, S3Access
from oedi_spark.lake.journal import leave_entry
from oedi_spark.lake.staging import StagedWriter, StagingTarget
from oedi_spark.source.storage import SourceLocation, open_storage
from oedi_spark.transform.columns import Rule, require_known
from oedi_spark.transform.facts import FactFinder
from oedi_spark.transform.fetching import fetch_ahead, fetch_building
from oedi_spark.transform.published_results import open_published
from oedi_spark.transform.quality import BuildingGate, count_missing_hours
from oedi_spark.transform.reader import Measure, Profile, ProfileReader
from oedi_spark.transform.rollup import roll_up_constant, roll_up_intervals
from oedi_spark.transform.rules import RuleBook

MarkTransition = Callable[[int, Transition], None]
"""Told of each file (by ordinal) and each thing that happened to it."""


@dataclass(frozen=True)
class TaskSettings:
    """What every task of a run needs to know, the same for all."""

    location: SourceLocation
    data_uri: str
    run_id: str
    row_group_buildings: int
    read_ahead_files: int
    strict_columns: bool
    beat_path: str | None = None
    """A file that a task lengthens by one byte per building file, if the driver can see it."""
    access: S3Access = AMBIENT
    """How S3 is reached, when the hours are staged there."""
    journal_uri: str | None = None
    """Where a finished batch leaves word of itself, for a run that comes after this one's end."""
    rules: RuleBook | None = field(default_factory=RuleBook)
    """What each building is held against. None: nothing is judged, to time the rest alone."""


def run_batch(batch: Batch, settings: TaskSettings, mark: MarkTransition) -> BatchResult:
    """Turn a batch's building files into one staged parquet file of hours.

    A file that cannot become hours is an outcome with a reason; only what has nothing to do
    with the data (no disk, no memory, a lost worker) raises, and then nothing stays staged.
    """
    name = f"{settings.run_id}-{batch.number:05d}-{uuid.uuid4().hex[:12]}.parquet"
    target = StagingTarget(
        uri=f"{settings.data_uri}/{batch.partition}/{name}",
        partition=batch.partition,
        field_ids=dict(batch.field_ids),
        row_group_buildings=settings.row_group_buildings,
        access=settings.access,
    )
    body = _BatchBody(batch, settings, mark, StagedWriter(target))
    try:
        result = body.run()
    except BaseException:
        body.writer.discard()
        raise
    if settings.journal_uri is not None:
        leave_entry(settings.journal_uri, batch, result, settings.access)
    return result


class _BatchBody:
    """The state of one running batch."""

    def __init__(
        self, batch: Batch, settings: TaskSettings, mark: MarkTransition, writer: StagedWriter
    ) -> None:
        self.writer = writer
        self._batch, self._settings, self._mark = batch, settings, mark
        self._reader = ProfileReader(batch.facts)
        self._rows_of = {name: row for row, name in enumerate(writer.measures)}
        self._outcomes: list[FileOutcome] = []
        self._deferred: list[int] = []
        self._columns: Counter[Column] = Counter()
        self._gate = settings.rules and BuildingGate(
            settings.rules, batch.partition, open_published(batch, settings.access)
        )
        self._read_bytes = 0
        self._reader_s = 0.0

    def run(self) -> BatchResult:
        started = time.perf_counter()
        fetch = partial(fetch_building, open_storage(self._settings.location))
        ahead = self._settings.read_ahead_files
        for file, fetched in fetch_ahead(self._batch.files, fetch, ahead=ahead):
            self._beat()
            self._mark(file.ordinal, Transition.LISTED)
            try:
                self._transform(file, self._read(file, fetched))
            except FileFault as fault:
                self._outcomes.append(FileOutcome(file.ordinal, fault.reason, fault.detail))
        staged = self.writer.finish()
        return BatchResult(
            batch_number=self._batch.number,
            staged=(staged,) if staged else (),
            outcomes=tuple(self._outcomes),
            deferred=tuple(self._deferred),
            columns=dict(self._columns),
            read_bytes=self._read_bytes,
            seconds={
                "reader": self._reader_s,
                "rollup": time.perf_counter() - started - self._reader_s - self.writer.encode_s,
                "writer": self.writer.encode_s,
            },
            findings=tuple(self._gate.findings) if self._gate else (),
            judged=self._gate.judged() if self._gate else {},
            statistics=self._gate.statistics((staged,), self._batch.field_ids)
            if self._gate and staged
            else {},
        )

    def _beat(self) -> None:
        """Tell the driver that one more file is in hand; Spark tells it only when a task ends."""
        if self._settings.beat_path is not None:
            with suppress(OSError), Path(self._settings.beat_path).open("ab") as beats:
                beats.write(b".")

    def _transform(self, file: SourceFile, profile: Profile) -> None:
        """Roll a building up, judge it, and keep its hours; or put it off, or fault it."""
        if self._settings.strict_columns:
            require_known((*profile.omitted, *(each.column for each in profile.measures)))
        if any(m.column.name not in self._rows_of for m in profile.measures):
            self._columns.update({m.column: 0 for m in profile.measures})
            self._deferred.append(file.ordinal)
            return
        block = self.writer.rows(len(profile.hour_start_us))
        has_nulls = np.ones(len(block), dtype=bool)
        absent = set(range(len(block)))
        lacking: list[int] = []
        columns = [measure.column for measure in profile.measures]
        facts = self._gate.begin(columns, block.shape[1]) if self._gate else None
        with np.errstate(invalid="ignore", over="ignore"):
            for at, measure in enumerate(profile.measures):
                row = self._rows_of[measure.column.name]
                absent.discard(row)
                has_nulls[row], missing = _fill(measure, block[row], facts, at)
                if missing:
                    lacking.append(row)
            block[sorted(absent)] = np.nan
            hours_missing = int(np.isnan(block[lacking]).any(axis=0).sum()) if lacking else 0
            if self._gate:
                self._gate.judge(file.ordinal, profile.bldg_id, hours_missing)
        self.writer.keep(file.ordinal, profile.bldg_id, profile.hour_start_us, has_nulls)
        self._columns.update(measure.column for measure in profile.measures)
        self._columns.update(profile.omitted)
        self._mark(file.ordinal, Transition.TRANSFORMED)
        if lacking:
            detail = f"{hours_missing} hours lack a value in {len(lacking)} column(s)"
            self._outcomes.append(FileOutcome(file.ordinal, None, detail))

    def _read(self, file: SourceFile, fetched: Future[bytes]) -> Profile:
        started = time.perf_counter()
        try:
            data = fetched.result()
            self._read_bytes += len(data)
            self._mark(file.ordinal, Transition.FETCHED)
            return self._reader.read_profile(data, file)
        finally:
            self._reader_s += time.perf_counter() - started


def _fill(
    measure: Measure,
    hours: np.ndarray[tuple[int], np.dtype[np.float64]],
    facts: FactFinder | None,
    at: int,
) -> tuple[bool, int]:
    """Write one measure's hours, and tell them to the gate; is any null, how many lost theirs."""
    rule = Rule(measure.column.rule)
    name = measure.column.source_name
    if measure.constant is not None:
        roll_up_constant(measure.constant, rule, hours)
        value = float(hours[0])
        count_missing_hours(hours[:1], hours[:1], source_name=name, total=value)
        if facts and value:
            facts.add_constant(at, value)
        return False, 0
    if measure.intervals is None:
        hours[:] = np.nan
        if facts:
            facts.add_nothing(at)
        return True, 0
    roll_up_intervals(measure.intervals, rule, hours)
    total = float(np.add.reduce(hours))
    missing = count_missing_hours(hours, measure.intervals, source_name=name, total=total)
    if facts:
        facts.add_hours(at, hours, measure.intervals, total)
    return missing > 0, missing
