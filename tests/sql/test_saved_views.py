"""Every view on tables that the job wrote, against sums taken from the source files."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.sql.saved_sql import Rows
from tests.sql.source_files import (
    ELECTRICITY,
    GAS,
    SITE,
    hour_starts,
    read_applicable,
    read_hours,
    read_weights,
    weighted_sum,
)

OFFICES = "2024_comstock_amy2018_release_1"
MANY = "2024_comstock_amy2018_release_2"
BASELINE = "state = 'CO' AND upgrade = 0"
STATE_FILES = "metadata_and_annual_results/by_state/state=CO/parquet/CO_baseline_*.parquet"
TRACT_FILES = (
    "metadata_and_annual_results/by_state_and_county/full/parquet/state=CO/*/*_baseline.parquet"
)
COUNTY = "in.nhgis_county_gisjoin"


def select(connection: duckdb.DuckDBPyConnection, text: str) -> Rows:
    rows: Rows = connection.sql(text).to_arrow_table().to_pylist()
    return rows


def test_scenarios_are_one_row_per_partition(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    rows = {row["scenario_key"]: row for row in select(athena, "SELECT * FROM scenarios")}

    assert len(rows) == 4 + 4 + 2
    upgraded = rows[f"{MANY}/CO/1"]
    assert (upgraded["upgrade_name"], upgraded["product"]) == ("Upgrade 1", "ComStock")
    # There is one in five that the upgrade does not apply to.
    assert (upgraded["model_count"], upgraded["applicable_model_count"]) == (5, 4)
    weights = read_weights(sql_lake, MANY, TRACT_FILES, "in.state")
    baseline = rows[f"{MANY}/CO/0"]
    assert baseline["upgrade_name"] == "Baseline"
    assert baseline["represented_count"] == pytest.approx(
        sum(each.weight for each in weights.values())
    )
    assert rows["2022_resstock_amy2018_release_1/GA/0"]["product"] == "ResStock"


def test_buildings_are_one_row_each_also_where_they_count_in_many_counties(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    text = f"SELECT * FROM buildings WHERE release = '{MANY}' AND {BASELINE}"
    rows = {row["bldg_id"]: row for row in select(athena, text)}

    weights = read_weights(sql_lake, MANY, TRACT_FILES, "in.state")
    counties = read_weights(sql_lake, MANY, TRACT_FILES, COUNTY)
    assert set(rows) == {bldg_id for bldg_id, _ in weights}
    for (bldg_id, _), each in weights.items():
        row = rows[bldg_id]
        assert row["building_key"] == f"{MANY}/CO/0/{bldg_id}"
        assert row["weight"] == pytest.approx(each.weight)
        assert (row["building_type"], row["floor_area_ft2"]) == (
            each.building_type,
            each.floor_area_ft2,
        )
        assert row["county_count"] == len([key for key in counties if key[0] == bldg_id]) > 1
        assert row["county_gisjoin"] is None


def test_buildings_of_a_release_with_one_county_each_name_it_and_who_is_upgraded(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    text = f"SELECT * FROM buildings WHERE release = '{OFFICES}' AND state = 'CO'"
    rows = select(athena, text)

    counties = dict(read_weights(sql_lake, OFFICES, STATE_FILES, COUNTY))
    assert {(row["bldg_id"], row["county_gisjoin"]) for row in rows} == set(counties)
    assert len(rows) == 2 * 6
    upgraded = read_applicable(sql_lake, OFFICES, STATE_FILES.replace("baseline", "upgrade01"))
    assert len(upgraded) == 5
    assert {
        row["bldg_id"] for row in rows if row["upgrade"] == 1 and row["is_applicable"]
    } == upgraded


def test_hourly_load_has_one_row_per_hour_and_names_its_parts(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    text = f"SELECT * FROM hourly_load WHERE release = '{OFFICES}' AND {BASELINE}"
    rows = select(athena, f"{text} ORDER BY bldg_id, hour_start_est")

    buildings = read_hours(sql_lake, OFFICES, "CO", 0)
    assert len(rows) == 6 * 8760
    last = max(buildings)
    mine = rows[-8760:]
    assert [row["electricity_kwh"] for row in mine] == pytest.approx(buildings[last][ELECTRICITY])
    assert [row["natural_gas_kwh"] for row in mine] == pytest.approx(buildings[last][GAS])
    # 30 June 2018 was a Saturday: 180 days after the first of January.
    saturday = mine[180 * 24 + 17]
    assert saturday["hour_start_est"] == datetime(2018, 6, 30, 17)
    assert (saturday["day_est"], saturday["month_of_year"]) == (date(2018, 6, 30), 6)
    assert (saturday["day_of_week"], saturday["hour_est"]) == (6, 17)
    assert saturday["is_weekend"]
    assert not mine[179 * 24]["is_weekend"]
    assert [row["is_wrapped_day"] for row in mine] == [True] * 24 + [False] * 8736
    without_gas = min(buildings)
    assert {row["natural_gas_kwh"] for row in rows if row["bldg_id"] == without_gas} == {None}


def test_daily_load_by_type_is_weighted_and_holds_the_peak_of_the_sum(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    text = f"SELECT * FROM daily_load_by_type WHERE release = '{OFFICES}' AND {BASELINE}"
    rows = select(athena, text)

    places = read_weights(sql_lake, OFFICES, STATE_FILES, "in.state")
    kinds: dict[str, dict[int, float]] = defaultdict(dict)
    for (bldg_id, _), each in places.items():
        kinds[each.building_type][bldg_id] = each.weight
    days = hour_starts()[::24].astype("datetime64[D]").tolist()
    assert len(rows) == len(kinds) * 365
    buildings = read_hours(sql_lake, OFFICES, "CO", 0)
    loads = {
        (kind, column): weighted_sum(buildings, weights, column).reshape(365, 24)
        for kind, weights in kinds.items()
        for column in (ELECTRICITY, GAS, SITE)
    }
    for row in rows:
        kind, day = row["building_type"], days.index(row["day_est"])
        electricity = loads[kind, ELECTRICITY][day]
        assert row["electricity_kwh"] == pytest.approx(electricity.sum())
        assert row["peak_electricity_kwh"] == pytest.approx(electricity.max())
        assert row["natural_gas_kwh"] == pytest.approx(loads[kind, GAS][day].sum())
        assert row["site_energy_kwh"] == pytest.approx(loads[kind, SITE][day].sum())


@pytest.mark.parametrize(
    ("view", "place", "column"),
    [
        ("monthly_load_by_type", "in.state", "state"),
        ("monthly_load_by_county", COUNTY, "county_gisjoin"),
    ],
)
def test_monthly_load_weighs_a_building_where_it_counts(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, view: str, place: str, column: str
) -> None:
    rows = select(athena, f"SELECT * FROM {view} WHERE release = '{MANY}' AND {BASELINE}")

    month = hour_starts().astype("datetime64[M]").astype(int) % 12
    buildings = read_hours(sql_lake, MANY, "CO", 0)
    expected: dict[tuple[str, str, date], list[float]] = defaultdict(lambda: [0.0] * 5)
    for (bldg_id, where), each in read_weights(sql_lake, MANY, TRACT_FILES, place).items():
        for at in range(12):
            cell = expected[where, each.building_type, date(2018, at + 1, 1)]
            for index, name in enumerate((ELECTRICITY, GAS, SITE)):
                cell[index] += each.weight * float(np.sum(buildings[bldg_id][name][month == at]))
            cell[3] += 1
            cell[4] += each.weight
    found = {
        (row[column], row["building_type"], row["month_start_est"]): [
            row["electricity_kwh"],
            row["natural_gas_kwh"],
            row["site_energy_kwh"],
            row["model_count"],
            row["represented_count"],
        ]
        for row in rows
    }
    assert len(found) == len(rows)
    assert set(found) == set(expected)
    for key, values in found.items():
        assert values == pytest.approx(expected[key])
    assert {row["missing_hours"] for row in rows} == {0}
