"""Every saved query on tables that the job wrote, against sums taken from the source files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tests.sql.conftest import ThreeRuns
from tests.sql.saved_sql import Rows, run
from tests.sql.source_files import (
    ELECTRICITY,
    GAS,
    SITE,
    Hours,
    Weighed,
    hour_starts,
    read_applicable,
    read_hours,
    read_published,
    read_weights,
    weighted_sum,
)

OFFICES = "2024_comstock_amy2018_release_1"
MANY = "2024_comstock_amy2018_release_2"
HOMES = "2022_resstock_amy2018_release_1"
BY_STATE = "metadata_and_annual_results/by_state/state=CO/parquet/CO_{}_*.parquet"
BY_TRACT = "metadata_and_annual_results/by_state_and_county/full/parquet/state=CO/*/*_{}.parquet"
METADATA = {OFFICES: BY_STATE, MANY: BY_TRACT, HOMES: BY_STATE}
DENVER = "G0800310"

BOTH_COMSTOCKS = pytest.mark.parametrize("release", [OFFICES, MANY])


def of_state(lake: Path, release: str, word: str = "baseline") -> dict[int, Weighed]:
    """Each building's weight in Colorado."""
    found = read_weights(lake, release, METADATA[release].format(word), "in.state")
    assert {state for _, state in found} == {"CO"}
    return {bldg_id: each for (bldg_id, _), each in found.items()}


def by_type(
    lake: Path, release: str, column: str, places: Mapping[int, Weighed], upgrade: int = 0
) -> dict[str, Hours]:
    """The weighted hours of each building type."""
    buildings = read_hours(lake, release, "CO", upgrade)
    kinds: dict[str, dict[int, float]] = defaultdict(dict)
    for bldg_id, each in places.items():
        kinds[each.building_type][bldg_id] = each.weight
    return {kind: weighted_sum(buildings, weights, column) for kind, weights in kinds.items()}


def keyed(rows: Rows, *keys: str) -> dict[Any, dict[str, Any]]:
    """Rows by their key, which must be one."""
    found = {tuple(row[key] for key in keys) if keys[1:] else row[keys[0]]: row for row in rows}
    assert len(found) == len(rows)
    return found


@BOTH_COMSTOCKS
def test_load_by_type_and_end_use_is_the_weighted_sum_of_the_files(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, release: str
) -> None:
    rows = keyed(
        run(athena, "load_by_type_and_end_use", release=release),
        "building_type",
        "fuel",
        "end_use",
    )

    places = of_state(sql_lake, release)
    types = {each.building_type for each in places.values()}
    assert len(rows) == 20 * len(types)
    for (kind, fuel, end_use), row in rows.items():
        site = by_type(sql_lake, release, SITE, places)[kind].sum()
        if fuel == "all":
            named = (
                f"out.{each[1]}.{each[2]}.energy_consumption" for each in rows if each[0] == kind
            )
            energy = site - sum(
                by_type(sql_lake, release, column, places)[kind].sum() for column in named
            )
            assert end_use == "other"
            assert row["energy_kwh"] == pytest.approx(energy, abs=1e-9 * site)
            continue
        column = f"out.{fuel}.{end_use}.energy_consumption"
        energy = by_type(sql_lake, release, column, places)[kind].sum()
        assert row["energy_kwh"] == pytest.approx(energy)
        assert row["percent_of_site_energy"] == pytest.approx(100 * energy / site)


def test_load_by_type_and_end_use_resstock_leaves_generation_out_of_other(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    rows = keyed(
        run(athena, "load_by_type_and_end_use_resstock"), "building_type", "fuel", "end_use"
    )

    places = of_state(sql_lake, HOMES)
    generated = 0.0
    for kind in {each.building_type for each in places.values()}:
        site = by_type(sql_lake, HOMES, SITE, places)[kind].sum()
        mine = {key[1:]: row["energy_kwh"] for key, row in rows.items() if key[0] == kind}
        assert len(mine) == 38
        other = mine.pop(("all", "other"))
        for (fuel, end_use), energy in mine.items():
            column = f"out.{fuel}.{end_use}.energy_consumption"
            assert energy == pytest.approx(by_type(sql_lake, HOMES, column, places)[kind].sum())
        generated += mine.pop(("electricity", "pv"))
        assert sum(mine.values()) + other == pytest.approx(site)
        unnamed = sum(
            by_type(sql_lake, HOMES, f"out.{each}.energy_consumption", places)[kind].sum()
            for each in (
                "electricity.hot_tub_heater",
                "electricity.hot_tub_pump",
                "natural_gas.hot_tub_heater",
                "propane.heating_hp_bkup",
                "fuel_oil.heating_hp_bkup",
            )
        )
        assert other == pytest.approx(unnamed, abs=1e-6 * site)
    assert generated < 0


@BOTH_COMSTOCKS
def test_annual_totals_by_type_are_weighted_and_per_floor_area(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, release: str
) -> None:
    rows = keyed(run(athena, "annual_totals_by_type", release=release), "building_type")

    places = of_state(sql_lake, release)
    assert set(rows) == {each.building_type for each in places.values()}
    for kind, row in rows.items():
        mine = [each for each in places.values() if each.building_type == kind]
        area = sum(each.floor_area_ft2 * each.weight for each in mine)
        site = by_type(sql_lake, release, SITE, places)[kind].sum()
        assert row["model_count"] == len(mine)
        assert row["represented_count"] == pytest.approx(sum(each.weight for each in mine))
        assert row["floor_area_ft2"] == pytest.approx(area)
        assert row["site_energy_kwh_per_ft2"] == pytest.approx(site / area)
        assert row["missing_hours"] == 0
        for name, column in (("electricity", ELECTRICITY), ("natural_gas", GAS)):
            expected = by_type(sql_lake, release, column, places)[kind].sum()
            assert row[f"{name}_kwh"] == pytest.approx(expected)


def test_average_day_is_the_mean_of_the_days_of_its_kind_without_1_january(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    rows = run(athena, "average_day")

    starts = hour_starts()
    days = starts.astype("datetime64[D]")
    month = starts.astype("datetime64[M]").astype(int) % 12 + 1
    hour = (starts - days).astype(int)
    is_weekend = (days.astype(int) + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    is_new_year = days == np.datetime64("2018-01-01")
    loads = by_type(sql_lake, OFFICES, ELECTRICITY, of_state(sql_lake, OFFICES))
    assert len(rows) == len(loads) * 12 * 2 * 24
    for row in rows:
        mask = (month == row["month_of_year"]) & (hour == row["hour_est"]) & ~is_new_year
        mask &= is_weekend == (row["day_kind"] == "weekend")
        assert row["day_count"] == mask.sum()
        expected = loads[row["building_type"]][mask].mean()
        assert row["electricity_kwh"] == pytest.approx(expected)


def state_load(lake: Path, release: str = OFFICES) -> Hours:
    """Colorado's electricity, hour by hour."""
    weights = {bldg_id: each.weight for bldg_id, each in of_state(lake, release).items()}
    return weighted_sum(read_hours(lake, release, "CO", 0), weights, ELECTRICITY)


@BOTH_COMSTOCKS
def test_peak_day_holds_the_highest_hour_and_the_other_the_lowest_peak(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, release: str
) -> None:
    rows = run(athena, "peak_day", release=release)

    load = state_load(sql_lake, release).reshape(365, 24)
    days = hour_starts().reshape(365, 24)[:, 0].astype("datetime64[D]").tolist()
    at = {"peak": int(load.max(axis=1).argmax()), "minimum peak": int(load.max(axis=1).argmin())}
    assert [(row["day_kind"], row["hour_est"]) for row in rows] == [
        (kind, hour) for kind in at for hour in range(24)
    ]
    for row in rows:
        of_day = load[at[row["day_kind"]]]
        assert row["day_est"] == days[at[row["day_kind"]]]
        assert row["electricity_kwh"] == pytest.approx(of_day[row["hour_est"]])
        if row["is_peak_hour"]:
            assert row["electricity_kwh"] == pytest.approx(of_day.max())
    assert {row["day_kind"] for row in rows if row["is_peak_hour"]} == set(at)


def test_load_duration_ranks_all_hours_of_the_year(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    rows = run(athena, "load_duration")

    load = state_load(sql_lake)
    assert [row["load_rank"] for row in rows] == list(range(1, 8761))
    assert [row["electricity_kwh"] for row in rows] == pytest.approx(np.sort(load)[::-1])
    assert rows[0]["hour_start_est"] == hour_starts()[load.argmax()].astype("datetime64[s]").item()
    assert rows[87]["percent_of_hours"] == pytest.approx(88 / 87.6)
    assert rows[87]["percent_of_peak"] == pytest.approx(100 * np.sort(load)[-88] / load.max())
    assert rows[-1]["percent_of_hours"] == 100.0


def test_county_totals_weigh_a_building_in_each_of_its_counties(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    rows = keyed(run(athena, "county_totals", release=MANY), "county_gisjoin", "building_type")

    places = read_weights(sql_lake, MANY, BY_TRACT.format("baseline"), "in.nhgis_county_gisjoin")
    buildings = read_hours(sql_lake, MANY, "CO", 0)
    assert len(places) > len(buildings) == 6 - 1
    expected: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (bldg_id, county), each in places.items():
        cell = expected[county, each.building_type]
        cell["model_count"] += 1
        cell["represented_count"] += each.weight
        cell["floor_area_ft2"] += each.weight * each.floor_area_ft2
        cell["electricity_kwh"] += each.weight * buildings[bldg_id][ELECTRICITY].sum()
        cell["natural_gas_kwh"] += each.weight * buildings[bldg_id][GAS].sum()
        cell["site_energy_kwh"] += each.weight * buildings[bldg_id][SITE].sum()
    assert set(rows) == set(expected)
    for key, row in rows.items():
        county, kind = key
        assert row == pytest.approx(
            expected[county, kind]
            | {"county_gisjoin": county, "building_type": kind, "missing_hours": 0}
        )
    state = state_load(sql_lake, MANY).sum()
    assert sum(row["electricity_kwh"] for row in rows.values()) == pytest.approx(state)


def test_county_hourly_has_the_weights_of_one_county_alone(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path
) -> None:
    places = read_weights(sql_lake, MANY, BY_TRACT.format("baseline"), "in.nhgis_county_gisjoin")
    county = max(county for _, county in places)
    rows = run(athena, "county_hourly", release=MANY, county=county)

    weights = {bldg_id: each.weight for (bldg_id, place), each in places.items() if place == county}
    assert 0 < len(weights) < 5
    buildings = read_hours(sql_lake, MANY, "CO", 0)
    assert [row["hour_start_est"] for row in rows] == hour_starts().astype("datetime64[s]").tolist()
    assert {row["model_count"] for row in rows} == {len(weights)}
    for name, column in (("electricity", ELECTRICITY), ("natural_gas", GAS), ("site_energy", SITE)):
        assert [row[f"{name}_kwh"] for row in rows] == pytest.approx(
            weighted_sum(buildings, weights, column)
        )


@BOTH_COMSTOCKS
def test_upgrade_savings_count_each_building_once_and_none_that_is_not_upgraded(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, release: str
) -> None:
    rows = keyed(run(athena, "upgrade_savings", release=release), "building_type")

    places = of_state(sql_lake, release, "upgrade01")
    applicable = read_applicable(sql_lake, release, METADATA[release].format("upgrade01"))
    assert 0 < len(applicable) < len(places)
    upgraded = {bldg_id: each for bldg_id, each in places.items() if bldg_id in applicable}
    assert set(rows) == {each.building_type for each in upgraded.values()}
    for kind, row in rows.items():
        mine = [each for each in upgraded.values() if each.building_type == kind]
        assert (row["model_count"], row["buildings_left_out"]) == (len(mine), 0)
        assert row["represented_count"] == pytest.approx(sum(each.weight for each in mine))
        for name, column in (
            ("electricity", ELECTRICITY),
            ("natural_gas", GAS),
            ("site_energy", SITE),
        ):
            before = by_type(sql_lake, release, column, upgraded)[kind].sum()
            saved = before - by_type(sql_lake, release, column, upgraded, upgrade=1)[kind].sum()
            assert row[f"baseline_{name}_kwh"] == pytest.approx(before)
            assert row[f"{name}_saved_kwh"] == pytest.approx(saved, abs=1e-9 * (before + 1))
            if before:
                assert row[f"{name}_saved_percent"] == pytest.approx(100 * saved / before)
            else:
                assert row[f"{name}_saved_percent"] is None


def test_upgrade_savings_of_the_baseline_are_nothing(athena: duckdb.DuckDBPyConnection) -> None:
    rows = run(athena, "upgrade_savings", upgrade=0)

    assert sum(row["model_count"] for row in rows) == 6
    assert {row["electricity_saved_kwh"] for row in rows} == {0.0}


@BOTH_COMSTOCKS
def test_annual_reconciliation_puts_hours_beside_the_published_figure(
    athena: duckdb.DuckDBPyConnection, sql_lake: Path, release: str
) -> None:
    rows = keyed(run(athena, "annual_reconciliation", release=release), "bldg_id")

    buildings = read_hours(sql_lake, release, "CO", 0)
    published = read_published(
        sql_lake, release, METADATA[release].format("baseline"), f"{ELECTRICITY}..kwh"
    )
    assert set(rows) == set(buildings)
    for bldg_id, sums in buildings.items():
        row = rows[bldg_id]
        assert row["hour_count"] == 8760
        assert row["hours_kwh"] == pytest.approx(sums[ELECTRICITY].sum())
        assert row["published_kwh"] == published[bldg_id]
        difference = row["hours_kwh"] - published[bldg_id]
        assert row["difference_kwh"] == pytest.approx(difference)
        assert abs(row["difference_percent"]) < 0.1


def test_data_dictionary_says_what_a_column_is_in_each_table(
    athena: duckdb.DuckDBPyConnection,
) -> None:
    rows = run(athena, "data_dictionary")

    name = "out_electricity_total_energy_consumption_kwh"
    (hourly, metadata) = [row for row in rows if row["column_name"] == name]
    assert (hourly["table_name"], metadata["table_name"]) == ("hourly", "metadata")
    assert hourly["source_name"] == ELECTRICITY
    assert metadata["source_name"] == f"{ELECTRICITY}..kwh"
    assert (hourly["unit"], hourly["rule"], hourly["is_known"]) == ("kwh", "sum", True)
    assert hourly["building_count"] == 6
    gas = "out_natural_gas_total_energy_consumption_kwh"
    assert next(row for row in rows if row["column_name"] == gas)["building_count"] == 5


def test_last_runs_are_told_newest_first_and_with_those_that_published_nothing(
    three_runs: ThreeRuns,
) -> None:
    rows = run(three_runs.connection, "last_runs")

    first, second, third = three_runs.run_ids
    assert [(row["run_id"], row["exit_code"], row["hours_published"]) for row in rows] == [
        (third, 6, 3 * 8760),
        (second, 4, 0),
        (first, 6, 2 * 8760),
    ]
    assert [(row["files_listed"], row["files_lost"]) for row in rows] == [(4, 1), (4, 4), (4, 2)]
    found = three_runs.connection.sql("SELECT run_id FROM discrepancies").fetchall()
    assert [row["discrepancy_count"] for row in rows] == [
        found.count((run_id,)) for run_id in (third, second, first)
    ]


def test_run_discrepancies_are_those_of_the_last_run(three_runs: ThreeRuns) -> None:
    rows = run(three_runs.connection, "run_discrepancies")

    assert [(row["run_id"], row["key"], row["reason"]) for row in rows] == [
        (three_runs.run_ids[2], three_runs.keys[0], "not_parquet")
    ]


def test_discrepancies_of_a_ledger_after_a_clean_run_are_no_rows(
    athena: duckdb.DuckDBPyConnection,
) -> None:
    (last,) = run(athena, "last_runs")

    assert (last["exit_code"], last["files_lost"], last["discrepancy_count"]) == (0, 0, 0)
    assert run(athena, "run_discrepancies") == []
    assert run(athena, "open_discrepancies") == []


def test_open_discrepancies_are_the_latest_finding_of_each_file_and_who_published_since(
    three_runs: ThreeRuns,
) -> None:
    rows = run(three_runs.connection, "open_discrepancies")

    _, second, third = three_runs.run_ids
    keys = three_runs.keys
    found = {row["key"]: row for row in rows}
    assert rows[0] == found[keys[0]]
    assert (rows[0]["reason"], rows[0]["last_run_id"]) == ("not_parquet", third)
    assert rows[0]["publishing_runs_since"] == 0
    truncated = found[keys[1]]
    assert (truncated["reason"], truncated["last_run_id"]) == ("truncated", second)
    assert truncated["first_seen_utc"] < truncated["last_seen_utc"]
    # What else the second run found is of the partition that it withheld.
    assert {(row["last_run_id"], row["publishing_runs_since"]) for row in rows[1:]} == {(second, 1)}
    assert "partition_withheld" in {row["reason"] for row in rows}
