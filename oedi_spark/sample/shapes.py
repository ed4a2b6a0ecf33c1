"""From one building's seed to the columns of its file.

Loads are drawn in local standard time, summed to totals, and shifted to EST last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from oedi_spark.sample.clock import Clock, Series, build_clock, shift_to_eastern
from oedi_spark.sample.commercial import (
    COMMERCIAL_TYPES,
    build_commercial_loads,
    choose_heating_fuel,
)
from oedi_spark.sample.conditions import HomeState, build_condition
from oedi_spark.sample.homes import build_home_loads, choose_home
from oedi_spark.sample.places import Place
from oedi_spark.sample.schemas import (
    ColumnKind,
    EndUse,
    Family,
    resolve_family,
    resolve_series_year,
)
from oedi_spark.sample.weather import Weather, build_weather
from oedi_spark.source.layout import ReleaseFolder

IDS_PER_STATE = 10_000
_ID_STRIDE = 7_919
_COMMERCIAL_VINTAGES = (
    "Before 1946",
    "1946 to 1959",
    "1970 to 1979",
    "1990 to 1999",
    "2013 to 2018",
)
_HOME_VINTAGES = ("<1940", "1950s", "1970s", "1980s", "1990s", "2000s", "2010s")
# Which end uses an upgrade saves on; upgrade 1 takes the first group, 4 the first again.
_SAVINGS = (
    ("interior_lighting", "lighting_interior", "lighting_exterior", "exterior_lighting"),
    ("heating", "cooling", "fans", "heating_fans_pumps", "cooling_fans_pumps"),
    ("interior_equipment", "plug_loads", "water_systems", "hot_water"),
)


@dataclass(frozen=True)
class Traits:
    """What the metadata say of a building."""

    building_type: str
    sqft: float
    vintage: str
    heating_fuel: str
    weight: float


@dataclass(frozen=True)
class Setting:
    """Everything that buildings of one release and state share."""

    seed: int
    folder: ReleaseFolder
    family: Family
    place: Place
    clock: Clock
    weather: Weather

    @property
    def is_commercial(self) -> bool:
        """Whether these are ComStock's buildings."""
        return self.folder.name.startswith("comstock")


@dataclass(frozen=True, eq=False)
class Profile:
    """One building: its traits, and its end uses in local standard time, totals left out."""

    bldg_id: int
    position: int
    traits: Traits
    end_uses: Mapping[EndUse, Series]


def build_setting(seed: int, folder: ReleaseFolder, place: Place) -> Setting:
    """Clock and weather of one state in a release's year; releases of a year share weather."""
    series_year = resolve_series_year(folder)
    clock = build_clock(series_year, place)
    weather = build_weather(place, clock, seeded_rng(seed, series_year.year, place.state))
    return Setting(seed, folder, resolve_family(folder), place, clock, weather)


def seeded_rng(*parts: object) -> np.random.Generator:
    """A generator that depends on the parts alone, in every process and on every machine."""
    return np.random.default_rng(crc32("\x1f".join(str(part) for part in parts).encode()))


def building_ids(seed: int, folder: ReleaseFolder, place: Place, count: int) -> tuple[int, ...]:
    """Ids in the order in which buildings are drawn; a larger sample begins with a smaller one's.

    The state's FIPS code is in the id, so no id occurs in two states of a release.
    """
    first = crc32(f"{seed}\x1f{folder.release}".encode())
    return tuple(
        place.fips * IDS_PER_STATE + (first + position * _ID_STRIDE) % IDS_PER_STATE
        for position in range(count)
    )


def is_applicable(position: int, upgrade: int) -> bool:
    """Whether an upgrade changes a building: four in five."""
    return upgrade == 0 or (position + upgrade) % 5 != 0


def build_profile(setting: Setting, bldg_id: int, position: int) -> Profile:
    """Draw the baseline of one building. Every sixth home has solar panels."""
    rng = seeded_rng(setting.seed, setting.folder.release, setting.place.state, bldg_id)
    if setting.is_commercial:
        return _build_commercial(setting, bldg_id, position, rng)
    home = choose_home(rng, has_pv=position % 6 == 3)
    vintage = _HOME_VINTAGES[int(rng.integers(len(_HOME_VINTAGES)))]
    weight = {"2024": 252.3016, "2025": 253.9037}.get(setting.folder.year, 242.1310)
    if setting.folder.name.startswith("resstock_dataset_2024.1"):
        weight = 63.0753
    traits = Traits(home.kind.name, home.sqft, vintage, home.heating_fuel, weight)
    loads = build_home_loads(home, clock=setting.clock, weather=setting.weather, rng=rng)
    return Profile(bldg_id, position, traits, loads)


def apply_upgrade(setting: Setting, profile: Profile, upgrade: int) -> Profile:
    """The building under an upgrade; an exact copy where the upgrade does not apply."""
    if upgrade == 0 or not is_applicable(profile.position, upgrade):
        return profile
    rng = seeded_rng(setting.seed, setting.folder.release, profile.bldg_id, "upgrade", upgrade)
    keeps = 1 - float(rng.uniform(0.1, 0.35))
    saved = _SAVINGS[(upgrade - 1) % len(_SAVINGS)]
    end_uses = {
        one: load * keeps if one[1] in saved else load for one, load in profile.end_uses.items()
    }
    return replace(profile, end_uses=end_uses)


def build_energies(profile: Profile, family: Family) -> dict[EndUse, Series]:
    """Every energy of the family in file order, local time: zeros where the building has none.

    A fuel's total is the sum of its end uses, solar panels left out; `site_energy.total` the
    sum of the fuels; `net` is total and panels, which count below zero.
    """
    loads = _rename_end_uses(profile.end_uses, family)
    zeros = np.zeros(len(next(iter(loads.values()))))
    energies = {one: loads.get(one, zeros) for one in family.end_uses}
    fuels = dict.fromkeys(fuel for fuel, _ in family.end_uses if fuel != "site_energy")
    for fuel in fuels:
        parts = [load for one, load in loads.items() if one[0] == fuel and one[1] != "pv"]
        energies[fuel, "total"] = np.asarray(sum(parts, zeros))
    site = np.asarray(sum((energies[fuel, "total"] for fuel in fuels), zeros))
    energies["site_energy", "total"] = site
    panels = loads.get(("electricity", "pv"), zeros)
    for fuel in ("electricity", "site_energy"):
        if (fuel, "net") in energies:
            energies[fuel, "net"] = energies[fuel, "total"] + panels
    return energies


def build_columns(
    setting: Setting, profile: Profile, energies: Mapping[EndUse, Series]
) -> dict[str, Series]:
    """The measures of one file in EST, by column name; stamps and bldg_id left out."""
    state = HomeState(energies, setting.clock, setting.weather)
    hours_west, sqft = setting.place.hours_west, profile.traits.sqft
    shifted = {one: shift_to_eastern(load, hours_west) for one, load in energies.items()}
    columns = {}
    for column in setting.family.columns:
        if column.kind is ColumnKind.ENERGY and column.end_use:
            columns[column.name] = shifted[column.end_use]
        elif column.kind is ColumnKind.INTENSITY and column.end_use:
            columns[column.name] = shifted[column.end_use] / sqft
        elif column.kind is ColumnKind.SQFT:
            columns[column.name] = np.full(setting.clock.interval_count, sqft)
        elif column.kind is ColumnKind.OTHER:
            local = build_condition(column.name, state)
            columns[column.name] = shift_to_eastern(local, hours_west)
    return columns


def _build_commercial(
    setting: Setting, bldg_id: int, position: int, rng: np.random.Generator
) -> Profile:
    kind = COMMERCIAL_TYPES[position % len(COMMERCIAL_TYPES)]
    smallest, largest = np.log(kind.sqft)
    sqft = round(float(np.exp(rng.uniform(smallest, largest))), -2)
    fuel = choose_heating_fuel(kind, rng)
    vintage = _COMMERCIAL_VINTAGES[int(rng.integers(len(_COMMERCIAL_VINTAGES)))]
    traits = Traits(kind.name, sqft, vintage, fuel, round(float(rng.uniform(2.0, 12.0)), 6))
    loads = build_commercial_loads(
        kind, sqft=sqft, heating_fuel=fuel, clock=setting.clock, weather=setting.weather, rng=rng
    )
    return Profile(bldg_id, position, traits, loads)


def _rename_end_uses(end_uses: Mapping[EndUse, Series], family: Family) -> dict[EndUse, Series]:
    """Call end uses as the family does, and take television out of the plugs where it is apart."""
    loads = {(fuel, family.aliases.get(use, use)): load for (fuel, use), load in end_uses.items()}
    if ("electricity", "television") in family.end_uses:
        plugs = loads["electricity", "plug_loads"]
        television = np.round(plugs * 0.2, 4)
        loads["electricity", "television"] = television
        loads["electricity", "plug_loads"] = plugs - television
    strangers = sorted(set(loads) - set(family.end_uses))
    if strangers:
        raise KeyError(f"{family.name} has no {strangers}")
    return loads
