"""States by code and by name, against tables that others keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from oedi_spark.source.states import (
    STATE_NAMES,
    STATE_OF_FIPS,
    fips_of,
    state_of_fips,
    state_of_gisjoin,
)


def test_fifty_states_the_district_and_puerto_rico() -> None:
    assert len(STATE_OF_FIPS) == len(STATE_NAMES) == 52
    assert {"DC", "PR"} < set(STATE_NAMES) == set(STATE_OF_FIPS.values())
    assert sorted(STATE_OF_FIPS) == list(STATE_OF_FIPS)
    assert sorted(STATE_NAMES.values()) == [STATE_NAMES[state] for state in _by_name(STATE_NAMES)]


def _by_name(names: Mapping[str, str]) -> list[str]:
    return sorted(names, key=lambda state: names[state])


@pytest.mark.parametrize(
    ("fips", "state", "name"),
    [
        ("01", "AL", "Alabama"),
        ("02", "AK", "Alaska"),
        ("11", "DC", "District of Columbia"),
        ("13", "GA", "Georgia"),
        ("48", "TX", "Texas"),
        ("56", "WY", "Wyoming"),
        ("72", "PR", "Puerto Rico"),
    ],
)
def test_codes_and_names_of_a_state(fips: str, state: str, name: str) -> None:
    assert (fips_of(state), state_of_fips(fips), STATE_NAMES[state]) == (fips, state, name)


@pytest.mark.parametrize(
    ("gisjoin", "state"),
    [
        ("G0800590", "CO"),  # county
        ("G11000101", "DC"),  # PUMA
        ("G08005900098321", "CO"),  # tract
        ("G0300010", None),
        ("Not Applicable", None),
        ("g0800590", None),
        ("G080059", None),
        ("", None),
    ],
)
def test_state_of_gisjoin(gisjoin: str, state: str | None) -> None:
    assert state_of_gisjoin(gisjoin) == state


def test_codes_that_are_none() -> None:
    assert fips_of("ak") is None
    assert state_of_fips("2") is None


@pytest.mark.real_lake
def test_every_county_of_the_reference_is_of_a_state(real_lake: Path) -> None:
    path = real_lake.parent / "reference/dsgrid/county_gisjoin_to_local_standard_time.csv"
    counties = pyarrow.csv.read_csv(path)["from_id"].to_pylist()

    states = [state_of_gisjoin(county) for county in counties]

    assert set(states) == set(STATE_NAMES) - {"HI", "PR"}
    assert len(states) > 3000


@pytest.mark.real_lake
def test_states_of_real_counties_are_those_that_their_rows_say(real_lake: Path) -> None:
    folder = real_lake.parent / "reference/buildstock-fetch/bldg_county_map"
    table = pyarrow.parquet.read_table(folder / "comstock_2025_amy2018_2.parquet")
    pairs = set(zip(table["county"].to_pylist(), table["state"].to_pylist(), strict=True))

    assert len(pairs) > 50
    assert {state_of_gisjoin(county) == state for county, state in pairs} == {True}
