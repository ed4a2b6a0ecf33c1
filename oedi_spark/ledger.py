"""Enter a run into the ledger when it ends, however it ends.

What `pipeline.run` would hold if it were longer: the rows are `tracking/ledger.py`, the tables
`lake/ledger.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from oedi_spark.config import RunConfig
from oedi_spark.contracts import RunOrigin
from oedi_spark.errors import OediSparkError
from oedi_spark.lake.catalog import CatalogLocation
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.ledger import (
    Ledger,
    discrepancies_definition,
    open_ledger,
    runs_definition,
)
from oedi_spark.log import get_logger
from oedi_spark.tracking.discrepancies import Discrepancy, Identity, TrackedRun, find_discrepancies
from oedi_spark.tracking.ledger import (
    Rollback,
    SparkFacts,
    discrepancy_rows,
    finished_at_utc,
    rollback_row,
    run_row,
)
from oedi_spark.tracking.summary import RunSummary

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import SparkSession

ENTRY_LIMIT_S = 60.0
"""After this the run ends without its entry, whatever the catalog does."""

_FIRST_SEEN_LIMIT_S = 15.0
"""A ledger of thousands of runs that nobody compacts is slow to read."""

_Result = TypeVar("_Result")

_log = get_logger(__name__)


def enter_run(
    config: RunConfig,
    place: CatalogLocation,
    run: TrackedRun,
    summary: RunSummary,
    spark: Future[SparkSession],
    *,
    origin: RunOrigin,
    limit_s: float = ENTRY_LIMIT_S,
) -> None:
    """Append the run to `runs`, and what it lacked to `discrepancies`.

    A fault is logged and takes nothing away from the run: it is over by now. After `limit_s`
    the work is left to itself: it may still succeed, or it ends with the process, and then the
    next run sweeps what it left.
    """
    started_s = time.perf_counter()
    try:
        found = find_discrepancies(run)
        row = run_row(
            run,
            summary,
            config,
            spark=_look_at_spark(spark),
            origin=origin,
            discrepancy_count=len(found),
        )

        def enter() -> None:
            with open_ledger(place, summary.run_id) as ledger:
                _append_discrepancies(ledger, run, summary, found)
                ledger.append(runs_definition(), [row])

        _within(limit_s, enter)
    except Exception as error:  # noqa: BLE001 - the run's own outcome stands, whatever fails here
        _log.warning("run not entered into the ledger", error=say_fault(error))
    else:
        took_s = round(time.perf_counter() - started_s, 3)
        _log.debug("run entered into the ledger", discrepancies=len(found), took_s=took_s)


def enter_rollback(
    config: RunConfig,
    place: CatalogLocation,
    done: Rollback,
    error: OediSparkError | None,
    *,
    limit_s: float = ENTRY_LIMIT_S,
) -> None:
    """Append a rollback to `runs`. A fault is logged, and what is done stays done."""
    try:
        row = rollback_row(done, config, error)

        def enter() -> None:
            with open_ledger(place, done.rollback_id) as ledger:
                ledger.append(runs_definition(), [row])

        _within(limit_s, enter)
    except Exception as fault:  # noqa: BLE001 - the tables are what counts
        _log.warning("rollback not entered into the ledger", error=say_fault(fault))


def _append_discrepancies(
    ledger: Ledger, run: TrackedRun, summary: RunSummary, found: list[Discrepancy]
) -> None:
    """A fault here is logged: the run's own row, with their number, is worth more."""
    first_seen: dict[Identity, datetime] = {}
    try:
        if not found:
            ledger.ensure(discrepancies_definition())
            return
        try:
            releases = {each.release for each in found}
            first_seen = _within(_FIRST_SEEN_LIMIT_S, lambda: ledger.first_seen(releases))
        except Exception as error:  # noqa: BLE001 - a later run sees the earlier rows again
            _log.warning("first sightings not read", error=say_fault(error))
        rows = discrepancy_rows(
            found,
            run_id=summary.run_id,
            seen_at_utc=finished_at_utc(run, summary),
            first_seen_utc=first_seen,
        )
        ledger.append(discrepancies_definition(), rows)
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("discrepancies not entered into the ledger", error=say_fault(error))


def _within(limit_s: float, work: Callable[[], _Result]) -> _Result:
    """Do work in a thread of its own, and go on without it when its time is over.

    Not every wait has a limit that could be set: PyIceberg asks a REST catalog with none.

    Raises:
        TimeoutError: The time is over.
    """
    outcome = Future[_Result]()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            outcome.set_exception(error)

    # A daemon: a catalog that never answers does not keep the process from ending.
    Thread(target=copy_context().run, args=(run,), name="ledger", daemon=True).start()
    try:
        return outcome.result(limit_s)
    except TimeoutError:
        if outcome.done():
            raise
        raise TimeoutError(f"no end within {limit_s:g} s") from None


def _look_at_spark(spark: Future[SparkSession]) -> SparkFacts:
    """Version and cores of a Spark that has started; it may be gone by now."""
    if not spark.done():
        return SparkFacts()
    try:
        session = spark.result(0)
        return SparkFacts(str(session.version), int(session.sparkContext.defaultParallelism))
    except Exception as error:  # noqa: BLE001 - it did not start, or the JVM has died: any fault
        _log.debug("Spark not asked", error=say_fault(error))
        return SparkFacts()
