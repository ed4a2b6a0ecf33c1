"""Loads of ComStock buildings: weekday plateaus, night bases, heating and cooling by weather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oedi_spark.sample.clock import Clock, Series
from oedi_spark.sample.schemas import EndUse
from oedi_spark.sample.weather import Weather

_COOLING_DEGREE_HOURS = 9_000.0
_HEATING_DEGREE_HOURS = 45_000.0


@dataclass(frozen=True)
class CommercialType:
    """One building type. Uses are kWh/ft2 a year; `cooling` and `heating` for a mild climate.

    `weekend` is the share of a weekday's activity. `extras` are further end uses of
    electricity: pumps, refrigeration, and so on.
    """

    name: str
    sqft: tuple[int, int]
    opens: float
    closes: float
    weekend: float
    night: float
    lighting: float
    equipment: float
    fans: float
    cooling: float
    heating: float
    water: float
    gas_equipment: float = 0.0
    exterior: float = 0.4
    extras: tuple[tuple[str, float], ...] = ()


COMMERCIAL_TYPES = (
    CommercialType("SmallOffice", (1_500, 20_000), 8, 18, 0.1, 0.3, 2.6, 2.9, 1.1, 1.8, 4.0, 0.3),
    CommercialType(
        "RetailStandalone", (4_000, 80_000), 9, 21, 0.9, 0.2, 4.2, 1.6, 1.6, 2.0, 4.5, 0.2
    ),
    CommercialType("Warehouse", (8_000, 200_000), 7, 17, 0.2, 0.2, 1.9, 0.9, 0.3, 0.4, 3.5, 0.1),
    CommercialType(
        "QuickServiceRestaurant", (1_500, 4_000), 10, 22, 1.0, 0.3, 6.0, 18.0, 5.0, 6.0, 9.0,
        6.0, 40.0, 2.0, (("refrigeration", 9.0),),
    ),
    CommercialType(
        "LargeOffice", (120_000, 500_000), 8, 18, 0.2, 0.35, 2.7, 3.9, 1.6, 2.4, 3.0, 0.3,
        extras=(("pumps", 0.5),),
    ),
    CommercialType(
        "PrimarySchool", (20_000, 90_000), 7, 16, 0.05, 0.3, 2.4, 2.6, 1.2, 1.6, 5.5, 0.6, 0.8,
        extras=(("heat_recovery", 0.05),),
    ),
    CommercialType(
        "RetailStripmall", (5_000, 60_000), 9, 21, 0.8, 0.25, 4.6, 2.2, 1.9, 2.2, 4.8, 0.5
    ),
    CommercialType(
        "FullServiceRestaurant", (3_000, 9_000), 10, 23, 1.0, 0.3, 5.0, 12.0, 4.5, 5.0, 9.0,
        5.0, 28.0, 1.5, (("refrigeration", 6.0),),
    ),
    CommercialType(
        "MediumOffice", (20_000, 120_000), 8, 18, 0.1, 0.3, 2.6, 3.3, 1.3, 2.0, 3.5, 0.3
    ),
    CommercialType(
        "Hospital", (100_000, 500_000), 6, 22, 0.95, 0.75, 4.0, 5.5, 4.5, 4.5, 8.0, 1.8, 1.2,
        extras=(("pumps", 1.6),),
    ),
    CommercialType("Outpatient", (8_000, 80_000), 7, 19, 0.2, 0.4, 3.0, 4.2, 2.8, 2.8, 6.0, 0.5),
    CommercialType(
        "SmallHotel", (15_000, 60_000), 6, 23, 1.0, 0.55, 2.2, 2.8, 1.2, 1.8, 3.0, 2.6, 0.5
    ),
    CommercialType(
        "SecondarySchool", (60_000, 250_000), 7, 16, 0.05, 0.3, 2.5, 2.4, 1.4, 1.7, 6.0, 0.7, 0.5,
        extras=(("heat_recovery", 0.05),),
    ),
    CommercialType(
        "LargeHotel", (80_000, 300_000), 6, 23, 1.0, 0.6, 2.6, 3.0, 1.8, 2.4, 4.0, 3.4, 1.6,
        extras=(("pumps", 0.4),),
    ),
)  # fmt: skip
HEATING_FUELS = ("NaturalGas", "Electricity", "Propane", "DistrictHeating")
_FUEL_OF_HEATING = {
    "NaturalGas": "natural_gas",
    "Electricity": "electricity",
    "Propane": "other_fuel",
    "DistrictHeating": "district_heating",
}


def choose_heating_fuel(kind: CommercialType, rng: np.random.Generator) -> str:
    """Gas as a rule; district heat for large buildings only, propane where nobody cooks."""
    chances = np.array([0.6, 0.3, 0.1, 0.0])
    if kind.gas_equipment:
        chances = np.array([0.7, 0.3, 0.0, 0.0])
    elif kind.sqft[0] >= 100_000:
        chances = np.array([0.4, 0.3, 0.0, 0.3])
    return HEATING_FUELS[int(rng.choice(len(HEATING_FUELS), p=chances))]


def build_commercial_loads(
    kind: CommercialType,
    *,
    sqft: float,
    heating_fuel: str,
    clock: Clock,
    weather: Weather,
    rng: np.random.Generator,
) -> dict[EndUse, Series]:
    """The end uses of one building in kWh per quarter-hour, in local standard time."""
    shift_h = float(rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5]))
    open_share = _open_share(kind, clock, shift_h)
    running = np.maximum(_open_share(kind, clock, shift_h, early_h=1.5), 0.25)
    size = float(rng.uniform(0.8, 1.25))
    activity = kind.night + (1 - kind.night) * open_share
    loads: dict[EndUse, Series] = {
        ("electricity", "interior_lighting"): _spread(activity, kind.lighting, rng),
        ("electricity", "interior_equipment"): _spread(activity + 0.1, kind.equipment, rng),
        ("electricity", "exterior_lighting"): _spread(weather.dark, kind.exterior, None),
        ("electricity", "fans"): _spread(running, kind.fans, rng),
    }
    for end_use, use in kind.extras:
        loads["electricity", end_use] = _spread(0.5 + running, use, rng)
    if kind.gas_equipment:
        loads["natural_gas", "interior_equipment"] = _spread(
            _meals(clock) * open_share, kind.gas_equipment, rng
        )
    _add_conditioning(loads, kind, heating_fuel, weather, running)
    water_fuel = _FUEL_OF_HEATING[heating_fuel]
    loads[water_fuel, "water_systems"] = _spread(0.05 + open_share, kind.water, rng)
    return {end_use: values * sqft * size for end_use, values in loads.items()}


def _add_conditioning(
    loads: dict[EndUse, Series],
    kind: CommercialType,
    heating_fuel: str,
    weather: Weather,
    running: Series,
) -> None:
    """Add heating and cooling per ft2, in proportion to the degrees beyond 15 °C."""
    beyond = weather.dry_bulb_c - 15.0
    cooling_need = np.maximum(beyond, 0) * running / 4 / _COOLING_DEGREE_HOURS
    morning = np.maximum(np.diff(running, prepend=running[0]), 0)
    heating_need = np.maximum(-beyond, 0) * (0.4 + 0.6 * running + morning) / 4
    cooling_fuel, efficiency = "electricity", 1.0
    if heating_fuel == "DistrictHeating":
        cooling_fuel, efficiency = "district_cooling", 3.0
    loads[cooling_fuel, "cooling"] = cooling_need * kind.cooling * efficiency
    heat_per_use = kind.heating * (0.45 if heating_fuel == "Electricity" else 1.0)
    fuel = _FUEL_OF_HEATING[heating_fuel]
    loads[fuel, "heating"] = heating_need * heat_per_use / _HEATING_DEGREE_HOURS


def _open_share(kind: CommercialType, clock: Clock, shift_h: float, early_h: float = 0.0) -> Series:
    """0 when closed, 1 when fully open, an hour of ramp at both ends; by the clock on the wall."""
    opens, closes = kind.opens + shift_h - early_h, kind.closes + shift_h
    rise = np.clip(clock.wall_hour - opens + 0.5, 0, 1)
    fall = np.clip(closes + 0.5 - clock.wall_hour, 0, 1)
    share: Series = rise * fall * np.where(clock.is_weekend, kind.weekend, 1.0)
    return share


def _meals(clock: Clock) -> Series:
    """Two peaks a day, at half past twelve and at seven."""
    noon = np.exp(-(((clock.wall_hour - 12.5) / 1.3) ** 2))
    evening = np.exp(-(((clock.wall_hour - 19.0) / 1.6) ** 2))
    peaks: Series = 0.15 + noon + evening
    return peaks


def _spread(shape: Series, annual: float, rng: np.random.Generator | None) -> Series:
    """Scale a shape to its annual sum; with `rng`, every day differs a little."""
    if rng is not None:
        day_count = -(-len(shape) // 96)
        shape = shape * np.repeat(rng.uniform(0.92, 1.08, day_count), 96)[: len(shape)]
    scaled: Series = shape * (annual / shape.sum())
    return scaled
