"""Names, units and kinds of metadata columns, spelled as the releases spell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import ColumnKind
from oedi_spark.errors import FileFault
from oedi_spark.transform.columns import describe_column
from oedi_spark.transform.metadata_columns import (
    KEY_COLUMNS,
    describe_metadata_column,
    describe_metadata_columns,
    text_sibling,
)

COOLING = "out_electricity_cooling_energy_consumption_kwh"


@pytest.mark.parametrize(
    ("source_name", "name", "unit", "kind"),
    [
        ("out.electricity.cooling.energy_consumption", COOLING, "kwh", "double"),
        ("out.electricity.cooling.energy_consumption.kwh", COOLING, "kwh", "double"),
        ("out.electricity.cooling.energy_consumption..kwh", COOLING, "kwh", "double"),
        (
            "out.electricity.total.energy_consumption_intensity",
            "out_electricity_total_energy_consumption_intensity_kwh_per_ft2",
            "kwh_per_ft2",
            "double",
        ),
        (
            "out.electricity.pv.energy_savings",
            "out_electricity_pv_energy_savings_kwh",
            "kwh",
            "double",
        ),
        (
            "calc.weighted.electricity.total.energy_consumption..tbtu",
            "calc_weighted_electricity_total_energy_consumption_tbtu",
            "tbtu",
            "double",
        ),
        (  # It is TBtu, but the name does not say so; kWh would be wrong.
            "calc.weighted.electricity.total.energy_consumption",
            "calc_weighted_electricity_total_energy_consumption",
            "",
            "double",
        ),
        (
            "calc.weighted.emissions.natural_gas..co2e_mmt",
            "calc_weighted_emissions_natural_gas_co2e_mmt",
            "co2e_mmt",
            "double",
        ),
        ("calc.weighted.sqft", "calc_weighted_sqft_ft2", "ft2", "double"),
        ("calc.weighted.sqft..ft2", "calc_weighted_sqft_ft2", "ft2", "double"),
        ("in.sqft", "in_sqft_ft2", "ft2", "double"),
        ("in.sqft..ft2", "in_sqft_ft2", "ft2", "double"),
        ("calc.segment", "calc_segment", "", "string"),
        ("out.load.cooling.peak.kbtu_hr", "out_load_cooling_peak_kbtu_hr", "kbtu_hr", "double"),
        (
            "out.params.size_heating_system..kbtu_per_h",
            "out_params_size_heating_system_kbtu_per_h",
            "kbtu_per_h",
            "double",
        ),
        ("out.qoi.peak..furlong", "out_qoi_peak_furlong", "furlong", "double"),
        ("out.qoi.peak.furlong", "out_qoi_peak_furlong", "", "double"),
        (
            "out.electricity.summer.peak.kw",
            "out_electricity_summer_peak_kw",
            "kw",
            "double",
        ),
        (
            "out.utility_bills.fuel_oil_bill..usd",
            "out_utility_bills_fuel_oil_bill_usd",
            "usd",
            "double",
        ),
        (
            "component_load__cooling__walls__kbtu",
            "component_load_cooling_walls_kbtu",
            "kbtu",
            "double",
        ),
        ("in.geometry_stories", "in_geometry_stories", "", "string"),
        ("in.number_of_stories", "in_number_of_stories", "", "double"),
        ("in.tstat_clg_sp_f..f", "in_tstat_clg_sp_f_f", "f", "double"),
        ("in.bedrooms", "in_bedrooms", "", "string"),
        ("in.vintage", "in_vintage", "", "string"),
        ("upgrade.heating_fuel", "upgrade_heating_fuel", "", "string"),
        ("completed_status", "completed_status", "", "string"),
        ("applicability", "applicability", "", "boolean"),
        ("bldg_id", "bldg_id", "", "long"),
        ("weight", "weight", "", "double"),
        ("in.state", "in_state", "", "string"),
        ("state", "source_state", "", "string"),
        ("Release", "source_release", "", "string"),
        ("county_gisjoin", "source_county_gisjoin", "", "string"),
        ("Weight", "source_weight", "", "double"),
        ("out.note.text", "out_note_text", "", "string"),
        ("..", "unnamed", "", "string"),
    ],
)
def test_a_name_alone_gives_name_unit_and_kind(
    source_name: str, name: str, unit: str, kind: str
) -> None:
    found = describe_metadata_column(source_name, "int64")

    assert (found.name, found.unit, found.kind.value) == (name, unit, kind)
    assert (found.source_name, found.source_type) == (source_name, "int64")


@pytest.mark.parametrize("suffix", ["", ".kwh", "..kwh"])
def test_an_energy_is_called_as_in_hourly(suffix: str) -> None:
    source_name = f"out.natural_gas.heating.energy_consumption{suffix}"

    assert describe_metadata_column(source_name).name == describe_column(source_name).name


def test_two_spellings_of_one_name_are_refused_and_both_are_named() -> None:
    with pytest.raises(FileFault) as caught:
        describe_metadata_columns((("in.sqft", "double"), ("in.sqft..ft2", "double")))

    assert caught.value.reason is Reason.COLUMN_COLLISION
    assert "'in.sqft' and 'in.sqft..ft2' both become in_sqft_ft2" in caught.value.detail


def test_a_sibling_has_the_kind_of_any_column_of_its_name() -> None:
    sibling = text_sibling(describe_metadata_column("out.qoi.peak..kw"))

    assert (sibling.name, sibling.kind) == ("out_qoi_peak_kw_text", ColumnKind.STRING)
    assert describe_metadata_column("out.qoi.peak.kw.text").kind is ColumnKind.STRING


@given(st.text(max_size=300), st.sampled_from(["", "int32", "null", "double"]))
def test_no_name_takes_a_key_and_the_type_decides_nothing(source_name: str, kind: str) -> None:
    found = describe_metadata_column(source_name, kind)
    bare = describe_metadata_column(source_name)

    assert (found.name, found.unit, found.kind) == (bare.name, bare.unit, bare.kind)
    assert found.name.isascii()
    assert set(found.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    if source_name not in ("bldg_id", "upgrade", "weight"):
        assert found.name not in KEY_COLUMNS
