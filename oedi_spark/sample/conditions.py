"""What ResStock series hold besides energy: emissions, loads, temperatures, schedules.

Each column name falls to the first rule whose pattern it matches; what matches none is zero,
as it is for most homes (no pool, no attic, no power outage).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from oedi_spark.sample.clock import Clock, Series
from oedi_spark.sample.schemas import EndUse
from oedi_spark.sample.weather import Weather

_KBTU_PER_KWH = 1 / 0.2930710701722222
_CO2E_KG_PER_KWH = {"natural_gas": 0.228, "propane": 0.261, "fuel_oil": 0.309}


@dataclass(frozen=True, eq=False)
class HomeState:
    """What the rules read: energies by fuel and end use, totals included, in local time."""

    energies: Mapping[EndUse, Series]
    clock: Clock
    weather: Weather

    def sum_end_use(self, end_use: str) -> Series:
        """One end use over all fuels."""
        parts = [load for (_, name), load in self.energies.items() if name == end_use]
        return np.asarray(sum(parts, np.zeros(self.clock.interval_count)), dtype=np.float64)


Rule = Callable[[str, HomeState], Series]


def build_condition(name: str, home: HomeState) -> Series:
    """The series of one column that is no energy."""
    for pattern, rule in _RULES:
        if re.search(pattern, name):
            return np.round(rule(name, home), 5) + 0.0
    return np.zeros(home.clock.interval_count)


def _emissions(name: str, home: HomeState) -> Series:
    """Kg CO2e: one factor per fuel, for electricity one per scenario and hour of the day."""
    named = [fuel for fuel in ("electricity", *_CO2E_KG_PER_KWH) if fuel in name]
    scenario = re.search(r"(lrmer|aer)_[a-z]+_[0-9a-z]+", name.replace("__", " "))
    total = np.zeros(home.clock.interval_count)
    for fuel in named or ("electricity", *_CO2E_KG_PER_KWH):
        energy = home.energies.get((fuel, "total"))
        if energy is None:
            continue
        factor: float | Series = _CO2E_KG_PER_KWH.get(fuel, 0.0)
        if fuel == "electricity":
            mean = 0.25 + crc32((scenario.group() if scenario else "").encode()) % 200 / 1000
            factor = mean * (1 - 0.3 * home.weather.sun)
        total = total + energy * factor
    return total


def _load_delivered(name: str, home: HomeState) -> Series:
    """KBtu of heating, cooling or hot water that reached the home."""
    end_use = "hot_water" if "hot_water" in name else "cooling" if "cooling" in name else "heating"
    efficiency = {"cooling": 3.2, "heating": 0.9, "hot_water": 0.9}[end_use]
    return home.sum_end_use(end_use) * efficiency * _KBTU_PER_KWH


def _component_load(name: str, home: HomeState) -> Series:
    """A fixed share of the heating or cooling load for each part of the envelope."""
    mode, part = name.split("__")[1:3]
    share = (crc32(part.encode()) % 100 - 20) / 800
    return home.sum_end_use(mode) * share * _KBTU_PER_KWH


def _indoor_c(_: str, home: HomeState) -> Series:
    return np.clip(0.15 * home.weather.dry_bulb_c + 18.5, 19.5, 24.5)


def _buffer_c(_: str, home: HomeState) -> Series:
    """Attics and garages: between inside and outside, and the sun on the roof."""
    return 0.6 * home.weather.dry_bulb_c + 7 + 4 * home.weather.sun


def _outdoor_c(_: str, home: HomeState) -> Series:
    return home.weather.dry_bulb_c


def _wet_bulb_c(_: str, home: HomeState) -> Series:
    return 0.8 * home.weather.dry_bulb_c - 1.5


def _heating_setpoint_c(_: str, home: HomeState) -> Series:
    return np.where(_is_night(home.clock), 18.3, 20.6)


def _cooling_setpoint_c(_: str, home: HomeState) -> Series:
    return np.where(_is_night(home.clock), 25.6, 24.4)


def _outdoor_humidity(_: str, home: HomeState) -> Series:
    return np.clip(75 - 1.2 * (home.weather.dry_bulb_c - 10) - 15 * home.weather.sun, 15, 100)


def _humidity_ratio(_: str, home: HomeState) -> Series:
    return np.clip(0.004 + 0.0003 * home.weather.dry_bulb_c, 0.001, 0.02)


def _occupants(_: str, home: HomeState) -> Series:
    away = (home.clock.wall_hour > 8.5) & (home.clock.wall_hour < 16.5) & ~home.clock.is_weekend
    return np.where(away, 0.3, 1.0)


def _people_watt(name: str, home: HomeState) -> Series:
    return _occupants(name, home) * (280.0 if "total" in name else 170.0)


def _unmet_hours(name: str, home: HomeState) -> Series:
    """A quarter of an hour whenever the weather beats the system, which is seldom."""
    outside = home.weather.dry_bulb_c
    beaten = outside > 36 if "cooling" in name else outside < -18
    return np.where(beaten, 0.25, 0.0)


def _appliance_schedule(name: str, home: HomeState) -> Series:
    """The appliance's own load, as a fraction of its highest."""
    end_use = name.rsplit(".", 1)[-1].removeprefix("hot_water_")
    renamed = {
        "cooking_range": "range_oven",
        "plug_loads_other": "plug_loads",
        "plug_loads_tv": "television",
        "fixtures": "hot_water",
    }
    load = home.sum_end_use(renamed.get(end_use, end_use))
    peak = float(load.max())
    return np.divide(load, peak) if peak else load


def _hot_water_gal(name: str, home: HomeState) -> Series:
    """Gallons with the water heater's bursts, shared out over what draws them."""
    share = {"clothes_washer": 0.1, "dishwasher": 0.05, "distribution_waste": 0.15}
    end_use = name.split(".")[2]
    return home.sum_end_use("hot_water") * share.get(end_use, 0.7) * 6.0


def _irradiance(name: str, home: HomeState) -> Series:
    return home.weather.sun * (180.0 if "diffuse" in name else 750.0)


def _air_flow(name: str, home: HomeState) -> Series:
    """Infiltration and ventilation grow with the difference between in and out."""
    level = {"infiltration": 60.0, "mechanical_ventilation": 45.0}
    base = next((flow for part, flow in level.items() if part in name), 0.0)
    flow: Series = base * (0.5 + np.abs(home.weather.dry_bulb_c - 20) / 30)
    return flow


def _wind(_: str, home: HomeState) -> Series:
    speed: Series = 3.0 + 1.5 * np.sin(home.clock.day * 0.9) + home.weather.sun
    return speed


def _is_night(clock: Clock) -> npt.NDArray[np.bool_]:
    return (clock.wall_hour < 6) | (clock.wall_hour >= 22)


_RULES: tuple[tuple[str, Rule], ...] = (
    (r"co2e_kg$", _emissions),
    (r"^component_load__", _component_load),
    (r"^out\.load\.(cooling|heating|hot_water)\.", _load_delivered),
    (r"dry(bul|blu)b_temp", _outdoor_c),
    (r"wetbulb_temp", _wet_bulb_c),
    (r"zone_mean_air_temp\.(living|conditioned)_space", _indoor_c),
    (r"zone_mean_air_temp\.(attic_vented|garage)", _buffer_c),
    (r"indoor_dewpoint_temperature", lambda name, home: _indoor_c(name, home) - 11.0),
    (r"indoor_(\w+_)?temperature", _indoor_c),
    (r"heating_setpoint", _heating_setpoint_c),
    (r"cooling_setpoint", _cooling_setpoint_c),
    (r"humidity_ratio", _humidity_ratio),
    (r"indoor_relative_humidity", lambda name, home: 25 + 0.3 * _outdoor_humidity(name, home)),
    (r"outdoor_air_relative_humidity", _outdoor_humidity),
    (r"indoor_airflow", _air_flow),
    (r"people\.", _people_watt),
    (r"weather\..*radiation", _irradiance),
    (r"wind_speed", _wind),
    (r"unmet_hours\.(cooling|heating)", _unmet_hours),
    (r"^out\.hot_water\.", _hot_water_gal),
    (r"schedules\.occupants", _occupants),
    (
        r"schedules\.(ceiling_fan|clothes_|cooking_range|dishwasher|hot_water_|lighting_|plug_)",
        _appliance_schedule,
    ),
)
