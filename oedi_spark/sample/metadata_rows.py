"""Rows of metadata: in which words a release says what a building is and where it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from oedi_spark.sample.places import Place, load_places
from oedi_spark.sample.schemas import EndUse
from oedi_spark.sample.shapes import Traits, seeded_rng
from oedi_spark.source.layout import ReleaseFolder

TBTU_PER_KWH = 3412.141633 / 1e12
Row = dict[str, object]
_FIRST_PUMA = 101


class MetadataLayout(StrEnum):
    """How a release lays its metadata out."""

    NATIONAL = "national"
    NATIONAL_MACHINE = "national_machine"
    BY_STATE = "by_state"
    BY_STATE_FULL = "by_state_full"
    BY_TRACT = "by_tract"


class RowGrain(StrEnum):
    """What one row is. Each leaves out the geographies that are finer than itself."""

    TRACT = "tract"
    COUNTY = "county"
    PUMA = "puma"
    STATE = "state"


@dataclass(frozen=True)
class BuildingRecord:
    """One building under one upgrade in one state. `annual_kwh`: sums of the series as drawn.

    `simulated_in` is the state whose weather the model had: another one than `state` where a
    building stands for stock of two states.
    """

    bldg_id: int
    state: str
    upgrade: int
    applicable: bool
    traits: Traits
    annual_kwh: Mapping[EndUse, float]
    simulated_in: str


@dataclass(frozen=True)
class TractWeight:
    """Where weight counts, and the county whose weather the model was simulated with."""

    county: str
    puma: str
    tract: str
    weight: float
    simulated_in: str


@dataclass(frozen=True)
class Words:
    """How a release spells: floor area, the unit of an energy, and the name of an upgrade."""

    layout: MetadataLayout
    sqft: str
    energy_suffix: str
    names_upgrade_zero: bool
    is_commercial: bool

    def upgrade_name(self, upgrade: int) -> str:
        """`baseline` and `upgrade05` until 2024; `upgrade0` and `upgrade5` since."""
        if self.names_upgrade_zero:
            return f"upgrade{upgrade}"
        return f"upgrade{upgrade:02d}" if upgrade else "baseline"


def is_annual_only(folder: ReleaseFolder) -> bool:
    """Whether a release has no series: ResStock 2024.1 alone (domain sheet §1)."""
    return folder.name.startswith("resstock_dataset_")


def resolve_metadata_layout(folder: ReleaseFolder) -> MetadataLayout:
    """Where a release keeps its metadata."""
    if folder.year <= "2021":
        return MetadataLayout.NATIONAL
    if is_annual_only(folder):
        return MetadataLayout.NATIONAL_MACHINE
    if folder.name.startswith("comstock"):
        is_multi_county = folder.year >= "2025" or (
            folder.year == "2024" and not folder.name.endswith("release_1")
        )
        return MetadataLayout.BY_TRACT if is_multi_county else MetadataLayout.BY_STATE
    return MetadataLayout.BY_STATE_FULL if folder.year >= "2025" else MetadataLayout.BY_STATE


def resolve_words(folder: ReleaseFolder) -> Words:
    """The words of a release."""
    layout = resolve_metadata_layout(folder)
    is_commercial = folder.name.startswith("comstock")
    suffix = ""
    if folder.year >= "2024":
        suffix = "..kwh" if is_commercial or folder.year >= "2025" else ".kwh"
    spells_area_unit = layout in (MetadataLayout.BY_TRACT, MetadataLayout.BY_STATE_FULL)
    return Words(
        layout=layout,
        sqft="in.sqft..ft2" if spells_area_unit else "in.sqft",
        energy_suffix=suffix,
        names_upgrade_zero=folder.year >= "2025",
        is_commercial=is_commercial,
    )


def build_row(
    words: Words,
    record: BuildingRecord,
    weights: Sequence[TractWeight],
    grain: RowGrain = RowGrain.TRACT,
) -> Row:
    """One row for the geography that `weights` cover."""
    traits = replace(record.traits, weight=sum(one.weight for one in weights))
    row: Row = {
        "bldg_id": record.bldg_id,
        "upgrade": record.upgrade,
        "weight": traits.weight,
        "applicability": record.applicable,
        "in.upgrade_name": f"Upgrade {record.upgrade}" if record.upgrade else "Baseline",
        "completed_status": "Success",
        "in.state": record.state,
        words.sqft: traits.sqft,
        "in.vintage": traits.vintage,
        "in.heating_fuel": traits.heating_fuel,
    }
    if not words.is_commercial:
        row["in.county"] = weights[0].county
        row["in.puma"] = weights[0].puma
        row["in.geometry_building_type_recs"] = traits.building_type
    else:
        row["in.comstock_building_type"] = traits.building_type
        row |= _commercial_geography(words, weights[0], grain)
    for end_use, annual_kwh in record.annual_kwh.items():
        row[f"out.{'.'.join(end_use)}.energy_consumption{words.energy_suffix}"] = annual_kwh
    return row | (_weighted_results(words, record, traits) if words.is_commercial else {})


def draw_tract_weights(
    folder: ReleaseFolder, seed: int, record: BuildingRecord, words: Words
) -> tuple[TractWeight, ...]:
    """Where a building's weight counts in a state: one tract, or several of some counties.

    Two to four counties, as far as the sample knows so many of the state.
    """
    place = load_places()[record.state]
    visits = record.state != record.simulated_in
    rng = seeded_rng(
        seed, folder.release, record.bldg_id, "geography", *([record.state] if visits else [])
    )
    if words.layout is not MetadataLayout.BY_TRACT:
        index = int(rng.integers(len(place.counties)))
        county = place.counties[index]
        puma = _puma(place, index)
        return (TractWeight(county, puma, f"{county}000100", record.traits.weight, county),)
    tracts = _draw_tracts(place, rng)
    simulated_in = place.counties[tracts[0][0]]
    if visits:
        at_home = replace(record, state=record.simulated_in)
        simulated_in = draw_tract_weights(folder, seed, at_home, words)[0].simulated_in
    shares = rng.dirichlet([2.0] * len(tracts)).tolist()
    return tuple(
        TractWeight(
            county=place.counties[index],
            puma=_puma(place, index),
            tract=f"{place.counties[index]}{100 * (tract + 1):06d}",
            weight=record.traits.weight * share,
            simulated_in=simulated_in,
        )
        for (index, tract), share in zip(tracts, shares, strict=True)
    )


def _draw_tracts(place: Place, rng: np.random.Generator) -> list[tuple[int, int]]:
    """County by its place in the list, and tract by number; one to three tracts of a county."""
    county_count = min(int(rng.integers(2, 5)), len(place.counties))
    chosen = sorted(rng.choice(len(place.counties), size=county_count, replace=False).tolist())
    return [(index, tract) for index in chosen for tract in range(int(rng.integers(1, 4)))]


def _puma(place: Place, county_index: int) -> str:
    """Invented, in the form of the real ones: each holds two counties."""
    return f"G{place.fips:02d}0{_FIRST_PUMA + county_index // 2:05d}"


def _commercial_geography(words: Words, where: TractWeight, grain: RowGrain) -> Row:
    row: Row = {}
    if grain in (RowGrain.TRACT, RowGrain.COUNTY):
        row["in.nhgis_county_gisjoin"] = where.county
    if grain in (RowGrain.TRACT, RowGrain.PUMA):
        row["in.nhgis_puma_gisjoin"] = where.puma
    if grain is RowGrain.TRACT:
        row["in.nhgis_tract_gisjoin"] = where.tract
    if words.layout is MetadataLayout.BY_TRACT:
        row["in.as_simulated_nhgis_county_gisjoin"] = where.simulated_in
    return row


def _weighted_results(words: Words, record: BuildingRecord, traits: Traits) -> Row:
    """`calc.weighted.*`: totals times weight, in TBtu whatever the unit of `out.*`."""
    row: Row = {words.sqft.replace("in.", "calc.weighted.", 1): traits.sqft * traits.weight}
    for (fuel, end_use), annual_kwh in record.annual_kwh.items():
        if end_use == "total":
            name = f"calc.weighted.{fuel}.total.energy_consumption..tbtu"
            row[name] = annual_kwh * traits.weight * TBTU_PER_KWH
    return row
