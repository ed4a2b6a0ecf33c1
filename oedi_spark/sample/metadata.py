"""Metadata and annual results beside the series, at the keys and in the words of each release.

From ComStock 2024 release 2 on, a building stands for stock in several counties, with a
weight in each: there the files are one per county, in two grains (tract and county), and the
by-state file sums the weights up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import pyarrow as pa

from oedi_spark.sample.places import load_places
from oedi_spark.sample.schemas import EndUse
from oedi_spark.sample.shapes import Traits, seeded_rng
from oedi_spark.source.layout import ReleaseFolder

TBTU_PER_KWH = 3412.141633 / 1e12
Row = dict[str, object]


class MetadataLayout(StrEnum):
    """How a release lays its metadata out."""

    NATIONAL = "national"
    BY_STATE = "by_state"
    BY_STATE_FULL = "by_state_full"
    BY_TRACT = "by_tract"


@dataclass(frozen=True)
class BuildingRecord:
    """One building under one upgrade. `annual_kwh` are the sums of the series as drawn."""

    bldg_id: int
    state: str
    upgrade: int
    applicable: bool
    traits: Traits
    annual_kwh: Mapping[EndUse, float]


@dataclass(frozen=True)
class _TractWeight:
    """Where weight counts, and the county whose weather the model was simulated with."""

    county: str
    tract: str
    weight: float
    simulated_in: str


@dataclass(frozen=True)
class _Words:
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


def resolve_metadata_layout(folder: ReleaseFolder) -> MetadataLayout:
    """Where a release keeps its metadata."""
    if folder.year <= "2021":
        return MetadataLayout.NATIONAL
    if folder.name.startswith("comstock"):
        is_multi_county = folder.year >= "2025" or (
            folder.year == "2024" and not folder.name.endswith("release_1")
        )
        return MetadataLayout.BY_TRACT if is_multi_county else MetadataLayout.BY_STATE
    return MetadataLayout.BY_STATE_FULL if folder.year >= "2025" else MetadataLayout.BY_STATE


def build_metadata(
    folder: ReleaseFolder, seed: int, records: Sequence[BuildingRecord]
) -> Iterator[tuple[str, pa.Table]]:
    """The metadata files of one release: key below the release's folder, and rows."""
    words = _resolve_words(folder)
    groups: dict[tuple[str, int], list[tuple[BuildingRecord, tuple[_TractWeight, ...]]]]
    groups = defaultdict(list)
    for record in sorted(records, key=lambda one: (one.state, one.upgrade, one.bldg_id)):
        weights = _draw_tract_weights(folder, seed, record, words)
        groups[record.state, record.upgrade].append((record, weights))
    if words.layout is MetadataLayout.NATIONAL:
        rows = [_build_row(words, *one) for group in groups.values() for one in group]
        yield "metadata/metadata.parquet", pa.Table.from_pylist(rows)
        return
    for (state, upgrade), group in groups.items():
        name = words.upgrade_name(upgrade)
        if words.layout is MetadataLayout.BY_TRACT:
            yield from _build_county_files(words, state, name, group)
            continue
        rows = [_build_row(words, *one) for one in group]
        yield _by_state_key(words, state, name), pa.Table.from_pylist(rows)


def _by_state_key(words: _Words, state: str, name: str) -> str:
    root = "metadata_and_annual_results/by_state"
    if words.layout is MetadataLayout.BY_STATE_FULL:
        return f"{root}/full/parquet/state={state}/{state}_{name}.parquet"
    return f"{root}/state={state}/parquet/{state}_{name}_metadata_and_annual_results.parquet"


def _build_county_files(
    words: _Words,
    state: str,
    name: str,
    group: Sequence[tuple[BuildingRecord, tuple[_TractWeight, ...]]],
) -> Iterator[tuple[str, pa.Table]]:
    """One file per county in each grain, then the state's."""
    by_tract: dict[str, list[Row]] = defaultdict(list)
    by_county: dict[str, list[Row]] = defaultdict(list)
    by_state: list[Row] = []
    for record, weights in group:
        for one in weights:
            by_tract[one.county].append(_build_row(words, record, (one,)))
        for county in dict.fromkeys(one.county for one in weights):
            here = tuple(one for one in weights if one.county == county)
            by_county[county].append(_build_row(words, record, here, without=("tract",)))
        by_state.append(_build_row(words, record, weights, without=("tract", "county")))
    folder = f"by_state_and_county/full/parquet/state={state}"
    for county in sorted(by_tract):
        stem = f"{folder}/county={county}/{state}_{county}_{name}"
        table = pa.Table.from_pylist(by_tract[county])
        yield f"metadata_and_annual_results/{stem}.parquet", table
        table = pa.Table.from_pylist(by_county[county])
        yield f"metadata_and_annual_results_aggregates/{stem}_agg.parquet", table
    key = f"by_state/full/parquet/state={state}/{state}_{name}_agg.parquet"
    yield f"metadata_and_annual_results_aggregates/{key}", pa.Table.from_pylist(by_state)


def _build_row(
    words: _Words,
    record: BuildingRecord,
    weights: Sequence[_TractWeight],
    *,
    without: Iterable[str] = (),
) -> Row:
    """One row for the geography that `weights` cover; `without` leaves finer columns out."""
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
        row["in.geometry_building_type_recs"] = traits.building_type
    else:
        row["in.comstock_building_type"] = traits.building_type
        row |= _commercial_geography(words, weights, without)
    for end_use, annual_kwh in record.annual_kwh.items():
        row[f"out.{'.'.join(end_use)}.energy_consumption{words.energy_suffix}"] = annual_kwh
    return row | (_weighted_results(words, record, traits) if words.is_commercial else {})


def _commercial_geography(
    words: _Words, weights: Sequence[_TractWeight], without: Iterable[str]
) -> Row:
    row: Row = {}
    if "county" not in without:
        row["in.nhgis_county_gisjoin"] = weights[0].county
    if "tract" not in without:
        row["in.nhgis_tract_gisjoin"] = weights[0].tract
    if words.layout is MetadataLayout.BY_TRACT:
        row["in.as_simulated_nhgis_county_gisjoin"] = weights[0].simulated_in
    return row


def _weighted_results(words: _Words, record: BuildingRecord, traits: Traits) -> Row:
    """`calc.weighted.*`: totals times weight, in TBtu whatever the unit of `out.*`."""
    row: Row = {words.sqft.replace("in.", "calc.weighted.", 1): traits.sqft * traits.weight}
    for (fuel, end_use), annual_kwh in record.annual_kwh.items():
        if end_use == "total":
            name = f"calc.weighted.{fuel}.total.energy_consumption..tbtu"
            row[name] = annual_kwh * traits.weight * TBTU_PER_KWH
    return row


def _draw_tract_weights(
    folder: ReleaseFolder, seed: int, record: BuildingRecord, words: _Words
) -> tuple[_TractWeight, ...]:
    """Where a building's weight counts: one tract, or several of two to four counties."""
    counties = load_places()[record.state].counties
    rng = seeded_rng(seed, folder.release, record.bldg_id, "geography")
    if words.layout is not MetadataLayout.BY_TRACT:
        county = counties[int(rng.integers(len(counties)))]
        return (_TractWeight(county, f"{county}000100", record.traits.weight, county),)
    county_count = min(int(rng.integers(2, 5)), len(counties))
    chosen = sorted(rng.choice(len(counties), size=county_count, replace=False).tolist())
    tracts = [
        (counties[index], f"{counties[index]}{100 * (tract + 1):06d}")
        for index in chosen
        for tract in range(int(rng.integers(1, 4)))
    ]
    shares = rng.dirichlet([2.0] * len(tracts)).tolist()
    weight = record.traits.weight
    return tuple(
        _TractWeight(county, tract, weight * share, tracts[0][0])
        for (county, tract), share in zip(tracts, shares, strict=True)
    )


def _resolve_words(folder: ReleaseFolder) -> _Words:
    layout = resolve_metadata_layout(folder)
    is_commercial = folder.name.startswith("comstock")
    suffix = ""
    if folder.year >= "2024":
        suffix = "..kwh" if is_commercial or folder.year >= "2025" else ".kwh"
    spells_area_unit = layout in (MetadataLayout.BY_TRACT, MetadataLayout.BY_STATE_FULL)
    return _Words(
        layout=layout,
        sqft="in.sqft..ft2" if spells_area_unit else "in.sqft",
        energy_suffix=suffix,
        names_upgrade_zero=folder.year >= "2025",
        is_commercial=is_commercial,
    )
