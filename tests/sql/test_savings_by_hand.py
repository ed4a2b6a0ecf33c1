"""The savings of an upgrade on a few rows written out by hand: who is compared, and who is not."""

from __future__ import annotations

import duckdb
import pytest

from tests.sql.rows_by_hand import Values, register_hours, register_upgrade
from tests.sql.saved_sql import run


def test_upgrade_savings_leave_out_who_has_no_baseline_or_is_not_upgraded(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    register_hours(
        by_hand,
        [
            (0, 1, "2018-01-01T00:00", (10.0, 4.0, 14.0)),
            (1, 1, "2018-01-01T00:00", (5.0, None, 5.0)),
            (0, 2, "2018-01-01T00:00", (64.0, None, 64.0)),
            (1, 2, "2018-01-01T00:00", (64.0, None, 64.0)),
            (1, 3, "2018-01-01T00:00", (128.0, None, 128.0)),
        ],
    )
    register_upgrade(by_hand, [(1, True), (1, True), (2, False), (3, True)])

    (row,) = run(by_hand, "upgrade_savings")

    assert (row["model_count"], row["represented_count"]) == (1, 2.0)
    assert row["buildings_left_out"] == 1
    assert (row["baseline_electricity_kwh"], row["electricity_saved_kwh"]) == (20.0, 10.0)
    assert row["electricity_saved_percent"] == 50.0
    assert (row["natural_gas_saved_kwh"], row["natural_gas_saved_percent"]) == (8.0, 100.0)
    assert row["site_energy_saved_kwh"] == 18.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Electricity, gas and site energy of two hours.
        ([(8.0, 2.0, 10.0)] * 2, [(8.0, 2.0, 10.0), (None, None, None)]),
        ([(8.0, 2.0, 10.0), (None, None, None)], [(8.0, 2.0, 10.0)] * 2),
        ([(8.0, 2.0, 10.0)] * 2, [(8.0, 2.0, 10.0), (None, 2.0, 10.0)]),
        ([(8.0, 2.0, 10.0)] * 2, [(8.0, 2.0, 10.0), (8.0, None, 10.0)]),
        ([(8.0, 2.0, 10.0)] * 2, [(8.0, 2.0, 10.0), (8.0, 2.0, None)]),
        ([(8.0, 2.0, 10.0)] * 2, [(8.0, 2.0, 10.0)]),
        # No gas after the upgrade, but before it gas of one hour only.
        ([(8.0, 2.0, 10.0), (8.0, None, 10.0)], [(8.0, None, 8.0)] * 2),
        ([(None, None, None)] * 2, [(None, None, None)] * 2),
    ],
)
def test_upgrade_savings_of_a_building_with_other_hours_on_each_side_are_left_out_and_counted(
    by_hand: duckdb.DuckDBPyConnection, before: list[Values], after: list[Values]
) -> None:
    # Building 1 is compared, though it lacks the same hour on both sides.
    whole: list[Values] = [(16.0, 4.0, 20.0), (None, None, None)]
    saving: list[Values] = [(12.0, 4.0, 16.0), (None, None, None)]
    sides = [(0, 1, whole), (1, 1, saving), (0, 2, before), (1, 2, after)]
    register_hours(
        by_hand,
        [
            (upgrade, bldg_id, f"2018-01-01T{hour:02d}:00", values)
            for upgrade, bldg_id, hours in sides
            for hour, values in enumerate(hours)
        ],
    )
    register_upgrade(by_hand, [(1, True), (2, True)])

    (row,) = run(by_hand, "upgrade_savings")

    assert row == {
        "building_type": "SmallOffice",
        "model_count": 1,
        "buildings_left_out": 1,
        "represented_count": 2.0,
        "baseline_electricity_kwh": 32.0,
        "electricity_saved_kwh": 8.0,
        "electricity_saved_percent": 25.0,
        "baseline_natural_gas_kwh": 8.0,
        "natural_gas_saved_kwh": 0.0,
        "natural_gas_saved_percent": 0.0,
        "baseline_site_energy_kwh": 40.0,
        "site_energy_saved_kwh": 8.0,
        "site_energy_saved_percent": 20.0,
    }


def test_upgrade_savings_of_nothing_but_an_upgrade_with_a_lost_hour_are_not_50_percent(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    register_hours(
        by_hand,
        [
            (0, 1, "2018-01-01T00:00", (8.0, None, 8.0)),
            (0, 1, "2018-01-01T01:00", (8.0, None, 8.0)),
            (1, 1, "2018-01-01T00:00", (8.0, None, 8.0)),
            (1, 1, "2018-01-01T01:00", (None, None, None)),
        ],
    )
    register_upgrade(by_hand, [(1, True)])

    (row,) = run(by_hand, "upgrade_savings")

    assert (row["model_count"], row["represented_count"], row["buildings_left_out"]) == (0, 0, 1)
    assert row["electricity_saved_kwh"] is None
    assert row["site_energy_saved_percent"] is None
