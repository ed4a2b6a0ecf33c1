"""Sums of a few rows written out by hand, of which some have no value: each says how many."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from sqlglot import exp

from tests.sql.rows_by_hand import PLACE, Values, register_hours, register_weights
from tests.sql.saved_sql import parse, read, run, to_duckdb


@pytest.fixture
def lacking(by_hand: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Four hours of two buildings in Denver: all there, one lacks all, or electricity, both all."""
    nothing = (None, None, None)
    first: list[Values] = [(8.0, None, 8.0), nothing, (None, 1.0, 1.0), nothing]
    second: list[Values] = [(1.0, 2.0, 3.0), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0), nothing]
    # Building 3 has no weight: what it lacks is missing nowhere.
    register_hours(
        by_hand,
        [
            (0, bldg_id, f"2018-01-01T{hour:02d}:00", values)
            for bldg_id, hours in ((1, first), (2, second), (3, [nothing] * 4))
            for hour, values in enumerate(hours)
        ],
    )
    places = (("state", "CO"), ("county", "G0800310"))
    register_weights(
        by_hand,
        [
            (0, *place, bldg_id, weight, None)
            for place in places
            for bldg_id, weight in ((1, 2.0), (2, 3.0))
        ],
    )
    return by_hand


@pytest.mark.parametrize("name", ["annual_totals_by_type", "county_totals"])
def test_totals_of_a_query_count_the_hours_that_they_lack(
    lacking: duckdb.DuckDBPyConnection, name: str
) -> None:
    (row,) = run(lacking, name)

    assert (row["electricity_kwh"], row["natural_gas_kwh"]) == (25.0, 20.0)
    assert (row["site_energy_kwh"], row["missing_hours"]) == (45.0, 4)


@pytest.mark.parametrize(
    "name", ["daily_load_by_type", "monthly_load_by_type", "monthly_load_by_county"]
)
def test_totals_of_a_view_count_the_hours_that_they_lack(
    lacking: duckdb.DuckDBPyConnection, name: str
) -> None:
    lacking.execute(to_duckdb(read(name)))
    (row,) = lacking.sql(f"SELECT * FROM {name}").to_arrow_table().to_pylist()

    assert (row["electricity_kwh"], row["natural_gas_kwh"]) == (25.0, 20.0)
    assert (row["site_energy_kwh"], row["missing_hours"]) == (45.0, 4)


def test_county_hourly_of_an_hour_without_any_value_is_null_and_not_zero(
    lacking: duckdb.DuckDBPyConnection,
) -> None:
    rows = run(lacking, "county_hourly")

    assert [tuple(row.values())[1:] for row in rows] == [
        (19.0, 6.0, 25.0, 2, 0),
        (3.0, 6.0, 9.0, 2, 1),
        (3.0, 8.0, 11.0, 2, 1),
        (None, 0.0, None, 2, 2),
    ]


@pytest.mark.parametrize("name", ["load_by_type_and_end_use", "load_by_type_and_end_use_resstock"])
def test_end_uses_say_how_many_hours_have_no_site_energy(
    lacking: duckdb.DuckDBPyConnection, name: str
) -> None:
    hours = lacking.sql("SELECT * FROM hourly").to_arrow_table()
    named = {each.name for each in parse(read(name)).find_all(exp.Column) if each.table == "h"}
    for column in sorted(named - set(hours.column_names)):
        hours = hours.append_column(column, pa.nulls(len(hours), pa.float64()))
    lacking.register("hourly", hours)

    rows = run(lacking, name, release=PLACE["release"])

    assert {row["missing_hours"] for row in rows} == {3}
    assert sum(row["energy_kwh"] for row in rows) == 45.0
