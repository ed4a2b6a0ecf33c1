"""Enter a run into the ledger when it ends, however it ends.

What `pipeline.run` would hold if it were longer: the rows are `tracking/ledger.py`, the tables
`lake/ledger.py`.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from oedi_spark.config import RunConfig
from oedi_spark.contracts import RunOrigin
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
from oedi_spark.tracking.ledger import SparkFacts, discrepancy_rows, finished_at_utc, run_row
from oedi_spark.tracking.summary import RunSummary

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import SparkSession

_log = get_logger(__name__)


def enter_run(
    config: RunConfig,
    place: CatalogLocation,
    run: TrackedRun,
    summary: RunSummary,
    spark: Future[SparkSession],
    *,
    origin: RunOrigin,
) -> None:
    """Append the run to `runs`, and what it lacked to `discrepancies`.

    A fault is logged and takes nothing away from the run: it is over by now.
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
        with open_ledger(place, summary.run_id) as ledger:
            if found:
                _append_discrepancies(ledger, run, summary, found)
            ledger.append(runs_definition(), [row])
    except Exception as error:  # noqa: BLE001 - the run's own outcome stands, whatever fails here
        _log.warning("run not entered into the ledger", error=say_fault(error))
    else:
        took_s = round(time.perf_counter() - started_s, 3)
        _log.debug("run entered into the ledger", discrepancies=len(found), took_s=took_s)


def _append_discrepancies(
    ledger: Ledger, run: TrackedRun, summary: RunSummary, found: list[Discrepancy]
) -> None:
    """A fault here is logged: the run's own row, with their number, is worth more."""
    first_seen: dict[Identity, datetime] = {}
    try:
        try:
            first_seen = ledger.first_seen({each.release for each in found})
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
