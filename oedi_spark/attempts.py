"""Run work of Spark's, and wait until no attempt at a task is left running.

So what lies in storage afterwards is all that will: what no result names can be swept.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from py4j.protocol import Py4JError

from oedi_spark.log import get_logger

if TYPE_CHECKING:
    from pyspark import SparkContext

STRAY_LIMIT_S = 30.0
"""Spark ends a task that it no longer needs within 2 s, and one that it cannot reach never."""

_T = TypeVar("_T")

_log = get_logger(__name__)


def run_job(
    context: SparkContext, work: Callable[[], _T], look: Callable[[Future[_T]], object]
) -> _T:
    """Do work that starts Spark jobs, in a thread of its own, looking up now and then.

    An interrupt cancels these jobs and no others. Whichever way it ends, no attempt at one of
    their tasks goes on after it.
    """
    group = f"oedi-spark-{uuid.uuid4().hex}"

    def grouped() -> _T:
        context.setJobGroup(group, "oedi-spark")
        return work()

    try:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(grouped)
            try:
                while not done.done():
                    look(done)
            except BaseException:
                _cancel(context, group, done)
                raise
            return done.result()
    finally:
        wait_for_strays(context, group)


def _cancel(context: SparkContext, group: str, done: Future[_T]) -> None:
    """Cancel what runs, and what is begun meanwhile, until the work has ended."""
    deadline = time.monotonic() + STRAY_LIMIT_S
    with suppress(Py4JError, OSError):  # a Spark that is gone has no jobs either
        while not done.done() and time.monotonic() < deadline:
            context.cancelJobGroup(group)
            wait([done], timeout=0.2)


def wait_for_strays(context: SparkContext, group: str) -> None:
    """Until no attempt at a task of these jobs runs: a job ends before its spare attempts do.

    A spare attempt is one that speculation began and another one beat, or one of a job that
    failed. Spark tells each to end when the job ends, and kills its Python 2 s later.
    """
    deadline = time.monotonic() + STRAY_LIMIT_S
    try:
        while (count := _running_attempts(context, group)) and time.monotonic() < deadline:
            time.sleep(0.02)
    except (Py4JError, OSError) as error:  # Spark is gone, or going: nothing can be asked
        _log.warning("attempts not counted", error=type(error).__name__)
        return
    if count:
        _log.warning("attempts still running", attempts=count, waited_s=STRAY_LIMIT_S)


def _running_attempts(context: SparkContext, group: str) -> int:
    """How many attempts are running, by what Spark's listeners heard; at least 1 in a live job."""
    tracker = context.statusTracker()
    count = 0
    for job_id in tracker.getJobIdsForGroup(group):
        job = tracker.getJobInfo(job_id)
        if job is None:
            continue
        stages = [tracker.getStageInfo(stage_id) for stage_id in job.stageIds]
        active = sum(stage.numActiveTasks for stage in stages if stage is not None)
        count += active or int(job.status == "RUNNING")
    return count
