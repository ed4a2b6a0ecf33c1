"""Names, units and rules of source columns, spelled as the releases spell them."""

from __future__ import annotations

import re

import pytest

from oedi_spark.contracts import Column, Reason
from oedi_spark.errors import FileFault
from oedi_spark.sample.schemas import ColumnKind, load_families
from oedi_spark.transform.columns import describe_column, describe_columns

COOLING = "out_electricity_cooling_energy_consumption"


@pytest.mark.parametrize(
    ("source_name", "name", "unit", "rule"),
    [
        ("out.electricity.cooling.energy_consumption", f"{COOLING}_kwh", "kwh", "sum"),
        ("out.electricity.cooling.energy_consumption.kwh", f"{COOLING}_kwh", "kwh", "sum"),
        ("out.electricity.cooling.energy_consumption..kwh", f"{COOLING}_kwh", "kwh", "sum"),
        (
            "out.electricity.cooling.energy_consumption_intensity",
            f"{COOLING}_intensity_kwh_per_ft2",
            "kwh_per_ft2",
            "sum",
        ),
        (
            "out.electricity.cooling.energy_consumption_intensity..kwh_per_ft2",
            f"{COOLING}_intensity_kwh_per_ft2",
            "kwh_per_ft2",
            "sum",
        ),
        (
            "out.electricity.pv.energy_savings",
            "out_electricity_pv_energy_savings_kwh",
            "kwh",
            "sum",
        ),
        ("in.sqft", "in_sqft_ft2", "ft2", "keep"),
        ("in.sqft..ft2", "in_sqft_ft2", "ft2", "keep"),
        (
            "component_load__cooling__walls__kbtu",
            "component_load_cooling_walls_kbtu",
            "kbtu",
            "sum",
        ),
        (
            "out.load.hot_water.energy_delivered.kbtu",
            "out_load_hot_water_energy_delivered_kbtu",
            "kbtu",
            "sum",
        ),
        ("out.outdoor_air_dryblub_temp.c", "out_outdoor_air_dryblub_temp_c", "c", "mean"),
        (
            "out.zone_mean_air_temp.conditioned_space.c",
            "out_zone_mean_air_temp_conditioned_space_c",
            "c",
            "mean",
        ),
        ("out.schedules.occupants", "out_schedules_occupants", "fraction", "mean"),
        (
            "out.schedules.cooling_setpoint",
            "out_schedules_cooling_setpoint_c",
            "c",
            "mean",
        ),
        (
            "out.schedules.heating_setpoint..c",
            "out_schedules_heating_setpoint_c",
            "c",
            "mean",
        ),
        (
            "out.total.lrmer_midcase_15_2025start.co2e_kg",
            "out_total_lrmer_midcase_15_2025start_co2e_kg",
            "co2e_kg",
            "sum",
        ),
        (
            "out.total.lrmer_midcase_15__electricity.co2e_kg",
            "out_total_lrmer_midcase_15_electricity_co2e_kg",
            "co2e_kg",
            "sum",
        ),
        (
            "out.emissions.electricity.total.lrmer_midcase_15..co2e_kg",
            "out_emissions_electricity_total_lrmer_midcase_15_co2e_kg",
            "co2e_kg",
            "sum",
        ),
        ("out.unmet_hours.cooling..hour", "out_unmet_hours_cooling_hour", "hour", "sum"),
        (
            "out.hot_water.clothes_washer..gal",
            "out_hot_water_clothes_washer_gal",
            "gal",
            "sum",
        ),
    ],
)
def test_describe_column_of_a_family_has_its_name_unit_and_rule(
    source_name: str, name: str, unit: str, rule: str
) -> None:
    assert describe_column(source_name) == Column(name, source_name, unit, rule, known=True)


@pytest.mark.parametrize(
    ("source_name", "name", "unit", "rule"),
    [
        ("out.novel.flow.cfm", "out_novel_flow_cfm", "cfm", "mean"),
        ("out.novel.amount..therm", "out_novel_amount_therm", "therm", "sum"),
        ("novel__amount__kbtu", "novel_amount_kbtu", "kbtu", "sum"),
        ("out.novel.power.kw", "out_novel_power_kw", "kw", "mean"),
        ("out.novel.area..ft2", "out_novel_area_ft2", "ft2", "keep"),
        ("out.novel.thing", "out_novel_thing", "unknown", "omit"),
        ("out.novel.thing.parsec", "out_novel_thing_parsec", "unknown", "omit"),
        ("kwh", "kwh", "unknown", "omit"),
        ("__index_level_0__", "index_level_0", "unknown", "omit"),
        ("", "unnamed", "unknown", "omit"),
        ("'; DROP TABLE hourly; --", "drop_table_hourly", "unknown", "omit"),
    ],
)
def test_describe_column_of_no_family_goes_by_its_unit_and_is_not_known(
    source_name: str, name: str, unit: str, rule: str
) -> None:
    assert describe_column(source_name) == Column(name, source_name, unit, rule, known=False)


def test_describe_column_too_long_to_be_a_name_is_omitted_and_cut() -> None:
    column = describe_column("x" * 500 + ".kwh")

    assert (column.rule, column.known) == ("omit", False)
    assert (column.source_name, column.name) == ("x" * 200, "x" * 200 + "_kwh")


def _expected_rule(name: str) -> str:
    """The rule of a published column, told from a few words of its name."""
    if name.startswith("in.sqft"):
        return "keep"
    state = r"temp|schedules|humidity|out\.indoor|out\.outdoor|out\.weather|out\.people"
    return "mean" if re.search(state, name) else "sum"


@pytest.mark.parametrize("family", sorted(load_families()))
def test_describe_columns_knows_every_column_of_a_family(family: str) -> None:
    keys = (ColumnKind.TIMESTAMP, ColumnKind.BLDG_ID)
    columns = load_families()[family].columns
    names = tuple(column.name for column in columns if column.kind not in keys)

    described = describe_columns(names)

    assert [column.source_name for column in described if not column.known] == []
    assert {c.source_name: c.rule for c in described} == {n: _expected_rule(n) for n in names}
    assert len({column.name for column in described}) == len(names) == len(columns) - 2
    assert [c.name for c in described if not re.fullmatch(r"[a-z][a-z0-9_]*", c.name)] == []


@pytest.mark.parametrize("family", sorted(load_families()))
def test_describe_columns_units_follow_from_the_kind(family: str) -> None:
    units = {
        column.name: describe_column(column.name).unit
        for column in load_families()[family].columns
        if column.kind in (ColumnKind.ENERGY, ColumnKind.INTENSITY, ColumnKind.SQFT)
    }

    assert units == {
        name: "ft2" if "sqft" in name else "kwh_per_ft2" if "_intensity" in name else "kwh"
        for name in units
    }


def test_describe_columns_is_one_vocabulary_over_all_spellings() -> None:
    comstock = load_families()["comstock_2023_on"]
    energies = [column.name for column in comstock.columns if column.kind is ColumnKind.ENERGY]

    plain, single, double = (
        [describe_column(f"{name}{suffix}").name for name in energies]
        for suffix in ("", ".kwh", "..kwh")
    )

    assert plain == single == double
    assert len(set(plain)) == 27


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("out.a.energy_consumption", "out.a.energy_consumption..kwh"),
        ("out.a.energy_consumption.kwh", "out.a.energy_consumption..kwh"),
        ("out.a.b.energy_consumption", "out.a_b.energy_consumption"),
        ("out.A.energy_consumption", "out.a.energy_consumption"),
        ("in.sqft", "in.sqft..ft2"),
        ("novel.flow.cfm", "novel_flow.cfm"),
    ],
)
def test_describe_columns_refuses_two_that_become_one(first: str, second: str) -> None:
    with pytest.raises(FileFault) as caught:
        describe_columns((first, second))

    assert caught.value.reason is Reason.COLUMN_COLLISION
    assert repr(first) in caught.value.detail
    assert repr(second) in caught.value.detail


def test_describe_columns_lets_omitted_columns_share_a_name() -> None:
    described = describe_columns(("some.thing", "some_thing"))

    assert [column.rule for column in described] == ["omit", "omit"]
