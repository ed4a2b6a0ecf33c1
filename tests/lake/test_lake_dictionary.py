"""The dictionary as it is read back, also from a table of an earlier version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.dictionary import DictionaryRow, read_dictionary
from oedi_spark.lake.schemas import TableDefinition, columns_definition
from oedi_spark.lake.writer import replace_partitions, stage_rows

R1, R2 = "2022_resstock_amy2018_release_1", "2024_comstock_amy2018_release_1"


def _row(partition: Partition, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - values
    return {
        "release": partition.release,
        "state": partition.state,
        "upgrade": partition.upgrade,
        "column_name": name,
        "source_name": f"out.{name}",
        "unit": "kwh",
        "rule": "sum",
        "is_known": 1,
        "building_count": 12,
        **more,
    }


def _publish(table: Table, partition: Partition, *rows: dict[str, Any]) -> None:
    run_id = f"run-{partition.state}"
    staged = stage_rows(table, partition, pa.Table.from_pylist(list(rows)), run_id=run_id)
    replace_partitions(table, [partition], [staged], run_id=run_id)


def _open_as_before(place: CatalogLocation) -> Table:
    """The table as it was made before it knew of the metadata: nine columns, all required."""
    fields = columns_definition().schema.fields[:9]
    assert all(field.required for field in fields)
    before = TableDefinition("columns", Schema(*fields), ("column_name",))
    return open_table(open_catalog(place), place, before)


def test_read_dictionary_of_all_releases_and_of_one(place: CatalogLocation) -> None:
    table = open_table(open_catalog(place), place, columns_definition())
    co, al = Partition(R2, "CO", 0), Partition(R1, "AL", 1)
    _publish(
        table,
        co,
        _row(co, "total_kwh", table_name="hourly", source_type="double"),
        _row(co, "in_vintage", table_name="metadata", source_type="string", is_known=0),
    )
    _publish(table, al, _row(al, "total_kwh", table_name="hourly"))

    hours = DictionaryRow(
        *(R2, "CO", 0, "hourly"), *("total_kwh", "out.total_kwh", "kwh", "sum"), "double", True, 12
    )
    vintage = DictionaryRow(
        *(R2, "CO", 0, "metadata"),
        *("in_vintage", "out.in_vintage", "kwh", "sum"),
        *("string", False, 12),
    )
    assert read_dictionary(place, R2) == [hours, vintage]
    assert [(row.release, row.source_type) for row in read_dictionary(place, None)] == [
        (R1, None),
        (R2, "double"),
        (R2, "string"),
    ]
    assert read_dictionary(place, "' OR 1 = 1") == []


def test_a_table_of_an_earlier_version_is_read_and_evolved(place: CatalogLocation) -> None:
    co, ga = Partition(R2, "CO", 0), Partition(R2, "GA", 0)
    _publish(_open_as_before(place), co, _row(co, "total_kwh"))

    before = read_dictionary(place, None)
    table = open_table(open_catalog(place), place, columns_definition())
    _publish(table, ga, _row(ga, "a", table_name="metadata", source_type="int32"))
    after = read_dictionary(place, None)

    assert table.schema().column_names[9:] == ["table_name", "source_type"]
    assert len(table.metadata.schemas) == 2
    assert [(row.state, row.table_name, row.source_type) for row in before] == [
        ("CO", "hourly", None)
    ]
    assert [(row.state, row.table_name, row.source_type) for row in after] == [
        ("CO", "hourly", None),
        ("GA", "metadata", "int32"),
    ]


def test_rows_that_differ_only_in_a_type_unknown_or_known_are_sorted(
    place: CatalogLocation,
) -> None:
    table = open_table(open_catalog(place), place, columns_definition())
    co = Partition(R2, "CO", 0)
    _publish(table, co, _row(co, "a", source_type="double"), _row(co, "a"))

    assert [row.source_type for row in read_dictionary(place, None)] == [None, "double"]


def test_read_dictionary_before_the_first_run_says_to_run(place: CatalogLocation) -> None:
    with pytest.raises(PublishError, match="run `oedi-spark run` first"):
        read_dictionary(place, None)
    assert not Path(str(place.uri).removeprefix("sqlite:///")).exists()

    open_catalog(place)
    with pytest.raises(PublishError, match="run `oedi-spark run` first"):
        read_dictionary(place, None)
