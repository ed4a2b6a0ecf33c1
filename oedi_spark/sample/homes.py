"""Loads of ResStock homes: spiky, because one home is one dryer and one range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oedi_spark.sample.clock import Clock, Series
from oedi_spark.sample.schemas import EndUse
from oedi_spark.sample.weather import Weather


@dataclass(frozen=True)
class HomeType:
    """One building type: its part of the stock, and its mean electricity (kWh a year).

    Both are ResStock 2022's figures per dwelling.
    """

    name: str
    stock: int
    annual_kwh: float
    sqft: tuple[int, ...]


HOME_TYPES = (
    HomeType("Single-Family Detached", 338_087, 13_622, (1202, 1690, 2176, 2663, 3301)),
    HomeType("Multi-Family with 5+ Units", 100_345, 7_285, (617, 853, 1138)),
    HomeType("Multi-Family with 2 - 4 Units", 43_868, 8_118, (617, 866, 1202)),
    HomeType("Mobile Home", 34_491, 11_896, (877, 1138, 1690)),
    HomeType("Single-Family Attached", 32_125, 9_487, (1138, 1690, 2115)),
)
HEATING_FUELS = ("Natural Gas", "Electricity", "Propane", "Fuel Oil")
_FUEL_SHARES = (0.5, 0.36, 0.07, 0.07)
_FUEL_OF_HEATING = {
    "Natural Gas": "natural_gas",
    "Electricity": "electricity",
    "Propane": "propane",
    "Fuel Oil": "fuel_oil",
}
# Kilowatt-hours a year of what runs smoothly; the rest of a home's electricity scales them.
_SMOOTH_ANNUAL_KWH = {
    "plug_loads": 2_600.0,
    "lighting_interior": 1_200.0,
    "refrigerator": 600.0,
    "lighting_exterior": 120.0,
    "ceiling_fan": 85.0,
    "mech_vent": 24.0,
}


@dataclass(frozen=True)
class Home:
    """What chance decided about one home before its loads are drawn."""

    kind: HomeType
    sqft: float
    heating_fuel: str
    has_pv: bool


@dataclass(frozen=True)
class _Habit:
    """A burst that recurs: how often a year, when in the day, how long, how much at a time."""

    end_use: str
    events_a_year: int
    hour: float
    spread_h: float
    quarters: int
    kwh_per_quarter: float


_HABITS = (
    _Habit("clothes_dryer", 190, 17.0, 4.0, 3, 0.85),
    _Habit("clothes_washer", 210, 15.5, 4.0, 2, 0.09),
    _Habit("dishwasher", 150, 20.0, 2.5, 3, 0.12),
    _Habit("range_oven", 420, 18.0, 2.5, 2, 0.45),
)
_WATER = _Habit("hot_water", 1_500, 12.0, 6.0, 2, 1.05)


def choose_home(rng: np.random.Generator, *, has_pv: bool) -> Home:
    """Draw a home: its type as often as in the stock, then its size and fuel."""
    stock = np.array([kind.stock for kind in HOME_TYPES], dtype=np.float64)
    kind = HOME_TYPES[int(rng.choice(len(HOME_TYPES), p=stock / stock.sum()))]
    sqft = float(kind.sqft[int(rng.integers(len(kind.sqft)))])
    fuel = HEATING_FUELS[int(rng.choice(len(HEATING_FUELS), p=_FUEL_SHARES))]
    return Home(kind, sqft, fuel, has_pv)


def build_home_loads(
    home: Home, *, clock: Clock, weather: Weather, rng: np.random.Generator
) -> dict[EndUse, Series]:
    """The end uses of one home in kWh per quarter-hour, in local standard time.

    `electricity.pv` is negative: it gives.
    """
    presence = _presence(clock)
    loads = _draw_habits(home, clock, rng)
    smooth = _draw_smooth(presence, weather, rng)
    conditioning = _draw_conditioning(home, weather, rng)
    loads |= {one: load for one, load in conditioning.items() if one[0] != "electricity"}
    smooth |= {one: load for one, load in conditioning.items() if one[0] == "electricity"}
    wanted = home.kind.annual_kwh * float(rng.uniform(0.85, 1.15))
    wanted *= 1.25 if home.heating_fuel == "Electricity" else 0.9
    bursts = sum(float(load.sum()) for (fuel, _), load in loads.items() if fuel == "electricity")
    scale = max(wanted - bursts, 0.3 * wanted) / sum(float(load.sum()) for load in smooth.values())
    loads |= {end_use: load * scale for end_use, load in smooth.items()}
    if home.has_pv:
        loads["electricity", "pv"] = -weather.sun * float(rng.uniform(3.0, 8.0)) / 4
    return {end_use: np.round(load, 4) + 0.0 for end_use, load in loads.items()}


def _draw_habits(home: Home, clock: Clock, rng: np.random.Generator) -> dict[EndUse, Series]:
    """Bursts. Water is heated with the fuel of the house, gas water and ranges burn more."""
    fuel = _FUEL_OF_HEATING[home.heating_fuel]
    share = home.kind.annual_kwh / HOME_TYPES[0].annual_kwh
    loads = {}
    for habit in _HABITS:
        cooks_with = fuel if habit.end_use == "range_oven" and fuel != "fuel_oil" else "electricity"
        loads[cooks_with, habit.end_use] = _draw_bursts(habit, share, clock, rng)
    water = _draw_bursts(_WATER, share, clock, rng)
    loads[fuel, "hot_water"] = water if fuel == "electricity" else water * 1.6
    return loads


def _draw_bursts(habit: _Habit, share: float, clock: Clock, rng: np.random.Generator) -> Series:
    """Events at random days, near the habit's hour by the clock on the wall."""
    row_count = clock.interval_count
    count = int(habit.events_a_year * share * rng.uniform(0.7, 1.3))
    day = rng.integers(0, row_count // 96, count)
    hour = rng.normal(habit.hour, habit.spread_h, count) % 24
    start = day * 96 + (hour * 4).astype(np.int64)
    ahead = np.round((clock.wall_hour - clock.hour) % 24 * 4).astype(np.int64)
    start -= ahead[start]
    size = habit.kwh_per_quarter * rng.uniform(0.6, 1.2, count)
    load = np.zeros(row_count)
    for quarter in range(habit.quarters):
        load[(start + quarter) % row_count] = size
    return load


def _draw_smooth(
    presence: Series, weather: Weather, rng: np.random.Generator
) -> dict[EndUse, Series]:
    row_count = len(presence)
    warm = np.clip((weather.dry_bulb_c - 5) / 25, 0.3, 1.2)
    chance = np.repeat(rng.lognormal(0, 0.25, -(-row_count // 4)), 4)[:row_count]
    shapes = {
        "plug_loads": (0.6 + presence) * chance,
        "lighting_interior": 0.1 + presence * (0.35 + weather.dark),
        "refrigerator": 1 + 0.2 * warm,
        "lighting_exterior": 0.25 + weather.dark,
        "ceiling_fan": warm * (0.5 + presence),
        "mech_vent": np.ones(row_count),
    }
    return {
        ("electricity", end_use): shape * (_SMOOTH_ANNUAL_KWH[end_use] / shape.sum())
        for end_use, shape in shapes.items()
    }


def _draw_conditioning(
    home: Home, weather: Weather, rng: np.random.Generator
) -> dict[EndUse, Series]:
    """Heating and cooling by the degrees outside, and the fans that carry them."""
    size = home.sqft / 2_000 * float(rng.uniform(0.8, 1.2))
    heat = np.maximum(15.0 - weather.dry_bulb_c, 0) * 0.1 * size
    heat[heat < 0.08 * size] = 0.0
    cool = np.maximum(weather.dry_bulb_c + 6 * weather.sun - 22.0, 0) * 0.06 * size
    fuel = _FUEL_OF_HEATING[home.heating_fuel]
    loads = {
        (fuel, "heating"): heat / (2.2 if fuel == "electricity" else 0.8),
        ("electricity", "heating_fans_pumps"): heat * 0.03,
        ("electricity", "cooling"): cool,
        ("electricity", "cooling_fans_pumps"): cool * 0.2,
    }
    if fuel == "electricity":
        loads[fuel, "heating_hp_bkup"] = np.where(weather.dry_bulb_c < -8, heat * 0.4, 0.0)
    return loads


def _presence(clock: Clock) -> Series:
    """How much of the household is up and at home, by the clock on the wall."""
    morning = 0.6 * np.exp(-(((clock.wall_hour - 7.5) / 1.5) ** 2))
    evening = np.exp(-(((clock.wall_hour - 19.5) / 2.5) ** 2))
    daytime = np.where(clock.is_weekend, 0.5, 0.2) * (np.abs(clock.wall_hour - 13) < 5)
    present: Series = np.maximum.reduce([morning, evening, daytime])
    return present
