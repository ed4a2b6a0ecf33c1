"""Read the dictionary back: what every published column is called at its source.

The table `columns` has one row per release, state, upgrade, table and spelling. Reads, decides
nothing; what the rows of two releases say of each other is `oedi_spark/dictionary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.table import Table

from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog
from oedi_spark.lake.faults import say_fault

HOURLY = "hourly"


@dataclass(frozen=True)
class DictionaryRow:
    """One column of one partition under one source name.

    `table_name` is `hourly` or `metadata`. `source_type` is the parquet type at the source;
    None where the row was written before the types were kept. `building_count`: the
    partition's published buildings that have the column.
    """

    release: str
    state: str
    upgrade: int
    table_name: str
    column_name: str
    source_name: str
    unit: str
    rule: str
    source_type: str | None
    is_known: bool
    building_count: int


def read_dictionary(place: CatalogLocation, release: str | None) -> list[DictionaryRow]:
    """The dictionary's rows of one release, or of all, sorted.

    Rows from before the column `table_name` existed are of `hourly`: there was nothing else.

    Raises:
        PublishError: There is no catalog or no dictionary yet, or it cannot be read.
    """
    name = f"{place.database}.columns"
    nothing_yet = (
        "there is no dictionary yet, for nothing was published: run `oedi-spark run` first"
    )
    if not catalog_exists(place):
        raise PublishError(name, nothing_yet)
    try:
        table = open_catalog(place, create=False).load_table((place.database, "columns"))
        rows = _read(table, release)
    except PublishError:
        raise
    except NoSuchTableError as error:
        raise PublishError(name, nothing_yet) from error
    except Exception as error:
        cause = f"the dictionary cannot be read ({say_fault(error)})"
        raise PublishError(name, cause) from error
    return sorted(map(_row, rows.to_pylist()), key=_place)


def _read(table: Table, release: str | None) -> pa.Table:
    of_release: BooleanExpression = AlwaysTrue()
    if release is not None:
        of_release = In(term="release", literals={release})
    return table.scan(row_filter=of_release).to_arrow()


def _place(row: DictionaryRow) -> tuple[str, ...]:
    """Where a row comes: by partition and table, then by name."""
    return (
        *(row.release, row.state, f"{row.upgrade:09d}", row.table_name),
        *(row.column_name, row.source_name, row.unit, row.rule, row.source_type or ""),
    )


def _row(row: dict[str, object]) -> DictionaryRow:
    source_type = row.get("source_type")
    return DictionaryRow(
        release=str(row["release"]),
        state=str(row["state"]),
        upgrade=int(str(row["upgrade"])),
        table_name=str(row.get("table_name") or HOURLY),
        column_name=str(row["column_name"]),
        source_name=str(row["source_name"]),
        unit=str(row["unit"]),
        rule=str(row["rule"]),
        source_type=None if source_type is None else str(source_type),
        is_known=bool(row["is_known"]),
        building_count=int(str(row["building_count"])),
    )
