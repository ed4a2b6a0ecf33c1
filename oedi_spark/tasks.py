"""Send work to Spark and wait for it: one task per batch, descriptors back, never rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from py4j.protocol import Py4JError

from oedi_spark.attempts import run_job
from oedi_spark.contracts import Batch, BatchResult
from oedi_spark.contracts_metadata import MetadataBatch, MetadataResult
from oedi_spark.errors import SessionError
from oedi_spark.tracking.progress import Progress
from oedi_spark.tracking.transitions import TransitionsParam
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.metadata_batch import MetadataSettings, run_metadata_batch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPARK_START_LIMIT_S = 1200.0
"""A cluster may be busy; after this the run ends."""

MAX_WAVES = 3
"""Every file's columns are known after the first wave; the second is the last that can be due."""

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")
Work: TypeAlias = "Future[list[_Result]]"

Transitions = dict[int, int]
"""What happened to each building file, by ordinal; complete even when the batches failed."""


def wait_for_spark(spark: Future[SparkSession]) -> SparkSession:
    """The session, once it is there.

    Raises:
        SessionError: It did not start, or not in time.
    """
    try:
        return spark.result(SPARK_START_LIMIT_S)
    except Exception as error:
        raise SessionError("Spark did not start", f"{type(error).__name__}: {error}") from error


def run_batches(
    spark: SparkSession,
    batches: Sequence[Batch],
    settings: TaskSettings,
    progress: Progress,
    carried: Transitions,
) -> list[BatchResult]:
    """Roll building files up; shows progress, and fills `carried` also when it fails.

    Raises:
        SessionError: A task failed for a reason that has nothing to do with the data.
    """
    transitions = spark.sparkContext.accumulator({}, TransitionsParam())

    def task(batch: Batch) -> BatchResult:
        return run_batch(
            batch, settings, lambda ordinal, seen: transitions.add({ordinal: int(seen)})
        )

    def look(work: Work[BatchResult]) -> None:
        progress.wait(work)
        progress.advance(len(transitions.value))

    try:
        with progress.shown():
            return _collect(spark, batches, task, look)
    finally:
        carried.update(transitions.value)


def run_metadata_batches(
    spark: SparkSession, batches: Sequence[MetadataBatch], settings: MetadataSettings
) -> list[MetadataResult]:
    """Land, normalise and stage metadata files.

    Raises:
        SessionError: A task failed for a reason that has nothing to do with the data.
    """

    def task(batch: MetadataBatch) -> MetadataResult:
        return run_metadata_batch(batch, settings)

    return _collect(spark, batches, task, lambda work: wait([work], timeout=0.2))


def _collect(
    spark: SparkSession,
    batches: Sequence[_Batch],
    task: Callable[[_Batch], _Result],
    look: Callable[[Work[_Result]], object],
) -> list[_Result]:
    """Run a task per batch and wait, looking up now and then; an interrupt cancels the job."""
    context = spark.sparkContext
    rows = context.parallelize(batches, max(1, len(batches))).map(task)
    try:
        return run_job(context, rows.collect, look)
    except Py4JError as error:
        raise SessionError("a task failed", _task_failure(error)) from error


def _task_failure(error: Py4JError) -> str:
    """The line of a failed job's message that names the fault in the task."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception)\b.*: ", line)]
    return (named or lines)[0][:500]
