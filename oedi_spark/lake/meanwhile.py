"""What others published while a run listed its source and had no lease yet.

Such a run would put what an older listing names over what a newer one gave. So it takes note of the
tables before it lists, and looks at them once more when it holds its lease.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog, table_name
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.history import changes_of, load_tables
from oedi_spark.log import get_logger

_TABLES = ("hourly", "metadata")

_log = get_logger(__name__)


def note_tables(place: CatalogLocation) -> Mapping[str, int] | None:
    """The number of each table's last snapshot, by its name; none of a table that is not there.

    None when the catalog does not answer: nothing is compared then, and that is logged.
    """
    try:
        if not catalog_exists(place):
            return {}
        tables = load_tables(open_catalog(place, create=False), place, _TABLES)
        return {str(table.name()[-1]): _last_number(table) for table in tables}
    except Exception as error:  # noqa: BLE001 - any fault of a catalog; the run finds its own
        _log.warning("the tables were not looked at before listing", error=say_fault(error))
        return None


def _last_number(table: Table) -> int:
    return max((each.sequence_number or 0 for each in table.snapshots()), default=0)


def require_unpublished(
    tables: Collection[Table | None],
    noted: Mapping[str, int] | None,
    partitions: Collection[Partition],
) -> None:
    """Refuse to go on where another run has published one of the partitions meanwhile.

    Files that were merged hold the same rows, and do not count.

    Args:
        tables: As they are now, with the lease held.
        noted: As `note_tables` found them.
        partitions: What this run will replace.

    Raises:
        PublishError: A partition was changed; the message names it and who did.
    """
    if noted is None:
        return
    for table in (each for each in tables if each is not None):
        for change in changes_of(table, after=noted.get(str(table.name()[-1]), 0)):
            touched = {cell.partition for cell in change.cells if not cell.is_merge}
            shared = sorted(touched & set(partitions), key=str)
            if shared:
                who = f"run {change.run_id}" if change.run_id else "another program"
                raise PublishError(
                    table_name(table),
                    f"{who} published {shared[0]} while this run listed its source, which may be "
                    "older",
                )
