"""`oedi-spark rollback`: take a run back, and enter that into the ledger as a run of its own."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from oedi_spark.config import RunConfig
from oedi_spark.errors import CommitUnknownError, OediSparkError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, table_name
from oedi_spark.lake.history import PUBLISHED_TABLES, load_tables
from oedi_spark.lake.rollback import roll_back
from oedi_spark.lake.rollback_plan import RollbackPlan
from oedi_spark.lake.writer import RUN_ID_PROPERTY  # noqa: TID251 - the mark of whoever commits
from oedi_spark.ledger import enter_rollback
from oedi_spark.places import catalog_location
from oedi_spark.tracking.ledger import Rollback


def take_back(config: RunConfig, run_id: str, *, rollback_id: str) -> RollbackPlan:
    """Roll a run back, and leave a row in `runs` if any table has changed.

    Also of a rollback that stopped between two tables, or of which nobody knows how far it came. A
    row that cannot be entered is logged, and takes nothing away from the rollback.

    Args:
        config: Of the tables.
        run_id: The run to undo.
        rollback_id: Of this rollback, which its snapshots and its row bear.

    Raises:
        RollbackError: As `roll_back`.
        CommitUnknownError: As `roll_back`.
    """
    place, started_at_utc = catalog_location(config), datetime.now(UTC)

    def enter(error: OediSparkError | None) -> None:
        snapshot_ids = _snapshots_of(place, rollback_id)
        if snapshot_ids or error is None or isinstance(error, CommitUnknownError):
            done = Rollback(rollback_id, run_id, started_at_utc, datetime.now(UTC), snapshot_ids)
            enter_rollback(config, place, done, error)

    try:
        plan = roll_back(place, run_id, rollback_id=rollback_id)
    except OediSparkError as error:
        enter(error)
        raise
    if plan.tables:
        enter(None)
    return plan


def _snapshots_of(place: CatalogLocation, rollback_id: str) -> dict[str, int]:
    """The snapshots that a rollback made, by table. None, when the catalog does not answer."""
    found: dict[str, int] = {}
    with suppress(Exception):  # what it did is in the catalog, and told by `oedi-spark history`
        for table in load_tables(open_catalog(place, create=False), place, PUBLISHED_TABLES):
            for snapshot in table.snapshots():
                told = snapshot.summary.additional_properties if snapshot.summary else {}
                if told.get(RUN_ID_PROPERTY) == rollback_id:
                    found[table_name(table)] = snapshot.snapshot_id
    return found
