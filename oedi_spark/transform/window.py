"""The window engine: Spark SQL's own functions roll the hours up, in the place of Arrow's.

In   the batches that the fast engine would be given.
Out  the same results: staged files, outcomes, columns, so that all that follows is one code.

First every file is proved (`window_proof`), then Spark SQL reads those that passed, as many batches
of a partition at a time as there are slots, and stages them (`window_query`). A file that Spark
cannot read although Arrow can is found by Spark's message and left out of a second attempt.

It is here for what the fast engine refuses, steps of 5 and 30 minutes and gaps, and as the
reference that the fast engine is checked against. `docs/performance.md` says what it costs.
"""

from __future__ import annotations

import re
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import pyarrow.parquet as pq
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from oedi_spark.attempts import run_job
from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    FileOutcome,
    Reason,
    StagedFile,
    Transition,
)
from oedi_spark.errors import SessionError
from oedi_spark.lake.files import S3Access, list_uris, open_uri
from oedi_spark.lake.journal import leave_entry
from oedi_spark.lake.staging import describe_staged
from oedi_spark.log import get_logger
from oedi_spark.tracking.progress import Progress
from oedi_spark.tracking.transitions import TransitionsParam
from oedi_spark.transform.batch import TaskSettings
from oedi_spark.transform.published_results import read_published
from oedi_spark.transform.rules import RuleBook
from oedi_spark.transform.statistics import describe_measures
from oedi_spark.transform.window_places import (
    output_options,
    source_options,
    source_uri,
    spark_uri,
)
from oedi_spark.transform.window_proof import Proof, ProofTask, ProvedFile, prove_files
from oedi_spark.transform.window_quality import Judgement, StagedBuilding, judge_staged
from oedi_spark.transform.window_query import SETTINGS, Wave, write_hours

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_T = TypeVar("_T")
_PROOF_FILES = 64
_MAX_UNREADABLE = 16
_SCHEME = re.compile(r"(?:file|s3a?|hdfs):/[^\s'\",;)\]}]+")
_OF_CONTENT = re.compile(
    r"Parquet|SchemaColumnConvert|UnsupportedOperation|IllegalArgument|OutOfBounds|[Dd]ecod|[Cc]odec"
)
"""What Spark says of a file whose bytes it cannot read; a disk or a network says other things."""

_PART = re.compile(r"part-(?P<batch>[0-9]{5,})-.+\.parquet")

_log = get_logger(__name__)


def run_window_batches(
    spark: SparkSession,
    batches: Sequence[Batch],
    settings: TaskSettings,
    progress: Progress,
    carried: dict[int, int],
) -> list[BatchResult]:
    """Roll building files up as `tasks.run_batches` does, with Spark SQL.

    Raises:
        SessionError: A task failed for a reason that has nothing to do with the data.
    """
    engine = _Engine(spark, settings, progress, carried)
    with progress.shown():
        proofs = engine.prove(batches)
        slots = max(1, spark.sparkContext.defaultParallelism)
        results = []
        for wave in _waves(batches, slots):
            results += engine.roll_up(wave, proofs)
        return results


def _waves(batches: Sequence[Batch], slots: int) -> Iterator[list[Batch]]:
    """Batches of one partition, as many as can be written at once: that bounds the shuffle."""
    ordered = sorted(batches, key=lambda each: (each.partition, each.number))
    for _, group in groupby(ordered, key=lambda each: each.partition):
        mine = list(group)
        yield from (mine[at : at + slots] for at in range(0, len(mine), slots))


@dataclass
class _Staged:
    """What became of a wave; `kept`, `staged` by batch, `left_out` and `judged` by ordinal."""

    kept: dict[int, tuple[ProvedFile, ...]] = field(default_factory=dict)
    staged: dict[int, StagedFile] = field(default_factory=dict)
    left_out: dict[int, FileOutcome] = field(default_factory=dict)
    judged: dict[int, Judgement] = field(default_factory=dict)


@dataclass
class _Engine:
    """One run of the window engine, on the driver."""

    spark: SparkSession
    settings: TaskSettings
    progress: Progress
    carried: dict[int, int]

    def __post_init__(self) -> None:
        self._session = self.spark.newSession()
        for key, value in SETTINGS.items():
            self._session.conf.set(key, value)
        self._done = 0

    def prove(self, batches: Sequence[Batch]) -> dict[int, Proof]:
        """Every file's proof, by ordinal."""
        transitions = self.spark.sparkContext.accumulator({}, TransitionsParam())
        settings = self.settings
        tasks = [
            ProofTask(
                partition=batch.partition,
                facts=batch.facts,
                files=batch.files[at : at + _PROOF_FILES],
                measures=frozenset(batch.field_ids),
            )
            for batch in batches
            for at in range(0, len(batch.files), _PROOF_FILES)
        ]

        def prove(task: ProofTask) -> list[Proof]:
            return prove_files(
                task, settings, lambda ordinal, seen: transitions.add({ordinal: int(seen)})
            )

        rows = self.spark.sparkContext.parallelize(tasks, max(1, len(tasks))).flatMap(prove)
        try:
            return {proof.ordinal: proof for proof in self._wait(rows.collect)}
        except (Py4JError, PySparkException) as error:
            raise SessionError("a task failed", _say(error)) from error
        finally:
            for ordinal, seen in transitions.value.items():
                self.carried[ordinal] = self.carried.get(ordinal, 0) | seen

    def roll_up(self, batches: Sequence[Batch], proofs: dict[int, Proof]) -> list[BatchResult]:
        """Stage the proved files of a wave; its results, a batch each."""
        started = time.perf_counter()
        done = self._stage(batches, proofs)
        took_s = time.perf_counter() - started
        results = []
        for batch in batches:
            for proved in done.kept[batch.number]:
                self.carried[proved.file.ordinal] |= int(Transition.TRANSFORMED)
            result = _describe(batch, proofs, done)
            if self.settings.journal_uri is not None:
                leave_entry(self.settings.journal_uri, batch, result, self.settings.access)
            results.append(replace(result, seconds={**result.seconds, "rollup": took_s}))
            took_s = 0.0
        self._done += sum(len(batch.files) for batch in batches)
        self.progress.advance(self._done)
        return results

    def _stage(self, batches: Sequence[Batch], proofs: dict[int, Proof]) -> _Staged:
        """Stage a wave until no file is left in it that Spark cannot read, or that a rule blocks.

        Rules are asked of the first attempt that Spark can read; a second one leaves out what they
        refuse, and what the first one staged is swept as any other vain attempt is.
        """
        done = _Staged()
        unreadable_count = 0
        while True:
            done.staged.clear()
            done.kept = {
                batch.number: tuple(
                    proved
                    for file in batch.files
                    if (proved := proofs[file.ordinal].proved) and file.ordinal not in done.left_out
                )
                for batch in batches
            }
            filled = [batch for batch in batches if done.kept[batch.number]]
            if not filled:
                return done
            wave = self._wave(filled, [done.kept[batch.number] for batch in filled])
            folder, fault = self._try(wave, filled, done.staged)
            if fault is not None:
                if unreadable_count >= _MAX_UNREADABLE:
                    raise SessionError("Spark SQL could not read the files", fault.detail)
                unreadable_count += 1
                done.left_out[fault.ordinal] = fault
                continue
            if done.judged or self.settings.rules is None:
                return done
            uri = filled[0].published_uri
            done.judged = self._judge(wave, folder, proofs, self.settings.rules, uri)
            refused = [each.outcome for each in done.judged.values() if each.outcome]
            if not refused:
                return done
            done.left_out |= {outcome.ordinal: outcome for outcome in refused}

    def _judge(
        self,
        wave: Wave,
        folder: str,
        proofs: dict[int, Proof],
        rules: RuleBook,
        published_uri: str | None,
    ) -> dict[int, Judgement]:
        hours = self._session.read.options(**wave.options).parquet(folder)
        buildings = [
            StagedBuilding(
                ordinal=proved.file.ordinal,
                bldg_id=proved.file.bldg_id,
                columns=tuple(
                    each for each in proofs[proved.file.ordinal].columns if each.rule != "omit"
                ),
                interval_totals=proved.interval_totals,
            )
            for files in wave.batches
            for proved in files
        ]
        ids = [each.bldg_id for each in buildings]
        published = published_uri and read_published(
            published_uri, ids, wave.field_ids, self.settings.access
        )
        return self._wait(
            lambda: judge_staged(hours, buildings, rules, wave.partition, published or None)
        )

    def _wave(self, batches: Sequence[Batch], kept: Sequence[tuple[ProvedFile, ...]]) -> Wave:
        location = self.settings.location
        return Wave(
            partition=batches[0].partition,
            field_ids=dict(batches[0].field_ids),
            batches=tuple(kept),
            uris={
                proved.file.ordinal: source_uri(self.spark, location, proved.file.key)
                for files in kept
                for proved in files
            },
            options={
                **source_options(location),
                **output_options(self.settings.data_uri, self.settings.access),
            },
            row_group_buildings=self.settings.row_group_buildings,
        )

    def _try(
        self, wave: Wave, batches: Sequence[Batch], staged: dict[int, StagedFile]
    ) -> tuple[str, FileOutcome | None]:
        """Write a wave: where, and the file that Spark could not read, if it failed for that."""
        name = f"{self.settings.run_id}-window-{uuid.uuid4().hex[:12]}"
        folder = f"{self.settings.data_uri}/{wave.partition}/{name}"
        target = spark_uri(self.spark, folder)
        try:
            self._wait(lambda: write_hours(self._session, wave, target))
        except (Py4JError, PySparkException) as error:
            return target, _blame(error, wave)
        for at, file in _describe_folder(folder, wave, self.settings.access):
            staged[batches[at].number] = file
        return target, None

    def _wait(self, work: Callable[[], _T]) -> _T:
        """Work of Spark's, looking up now and then; an interrupt cancels its jobs."""

        def look(done: Future[_T]) -> None:
            self.progress.wait(done)

        return run_job(self.spark.sparkContext, work, look)


def _describe_folder(
    folder_uri: str, wave: Wave, access: S3Access
) -> Iterator[tuple[int, StagedFile]]:
    """Each file that Spark staged, with the place of its batch; its hours are those proved."""
    found = 0
    for uri in sorted(list_uris(folder_uri, access)):
        match = _PART.fullmatch(uri.rsplit("/", 1)[1])
        if match is None:
            continue
        at = int(match["batch"])
        filesystem, path = open_uri(uri, access)
        metadata = pq.read_metadata(path, filesystem=filesystem)
        hours = sum(proved.hour_count for proved in wave.batches[at])
        if metadata.num_rows != hours:
            raise SessionError(
                f"Spark SQL wrote {metadata.num_rows:,} hours of {wave.partition}",
                f"the files are proved to hold {hours:,}",
            )
        ordinals = [proved.file.ordinal for proved in wave.batches[at]]
        yield (
            at,
            describe_staged(
                uri, wave.partition, metadata, wave.field_ids, ordinals=ordinals, access=access
            ),
        )
        found += 1
    if found != len(wave.batches):
        raise SessionError(f"Spark SQL wrote {found} files", f"{len(wave.batches)} are due")


def _blame(error: Exception, wave: Wave) -> FileOutcome:
    """The file that a job's failure names, if the fault lies in its content, or it is gone.

    Raises:
        SessionError: It names none, or the fault is another.
    """
    text, cause = str(error), _say(error)
    is_gone = "FileNotFoundException" in cause
    if not is_gone and not _OF_CONTENT.search(cause):
        raise SessionError("Spark SQL failed", cause) from error
    ordinals = {uri.rsplit("/", 1)[1]: ordinal for ordinal, uri in wave.uris.items()}
    for found in _SCHEME.findall(text):
        name = urllib.parse.unquote(found).rstrip(".").rsplit("/", 1)[1]
        if name in ordinals:
            _log.warning("Spark could not read a file", name=name)
            if is_gone:
                return FileOutcome(ordinals[name], Reason.NOT_FOUND, "gone since it was proved")
            detail = f"Arrow reads it, Spark does not: {cause[:200]!r}"
            return FileOutcome(ordinals[name], Reason.UNREADABLE, detail)
    raise SessionError("Spark SQL failed", cause) from error


def _say(error: Exception) -> str:
    """The line of a failed job's message that names the fault at the bottom of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    named = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception)\b.*: ", line)]
    return (causes[-1:] or named[:1] or lines[:1] or [type(error).__name__])[0][:500]


def _describe(batch: Batch, proofs: dict[int, Proof], done: _Staged) -> BatchResult:
    mine = [proofs[file.ordinal] for file in batch.files]
    outcomes = []
    columns: Counter[Column] = Counter()
    deferred = []
    for proof in mine:
        outcome = proof.outcome or done.left_out.get(proof.ordinal)
        if outcome is not None:
            outcomes.append(outcome)
        elif proof.proved is None:
            deferred.append(proof.ordinal)
            columns.update(dict.fromkeys(proof.columns, 0))
        else:
            columns.update(proof.columns)
            if proof.proved.detail:
                outcomes.append(FileOutcome(proof.ordinal, None, proof.proved.detail))
    staged = done.staged.get(batch.number)
    judged = [done.judged[each.ordinal] for each in mine if each.ordinal in done.judged]
    asked = Counter(name for each in judged for name in each.asked)
    years: dict[str, list[float]] = {}
    for name, year in (item for each in judged for item in each.years.items()):
        years.setdefault(name, []).append(year)
    return BatchResult(
        batch_number=batch.number,
        staged=(staged,) if staged else (),
        outcomes=tuple(outcomes),
        deferred=tuple(deferred),
        columns=dict(columns),
        read_bytes=sum(proof.read_bytes for proof in mine),
        seconds={"reader": sum(proof.took_s for proof in mine)},
        findings=tuple(finding for each in judged for finding in each.findings),
        judged=dict(asked),
        statistics=describe_measures(years, (staged,), batch.field_ids) if staged else {},
    )
