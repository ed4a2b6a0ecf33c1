"""Synthetic weather of one state and year, in local standard time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oedi_spark.sample.clock import ROWS_PER_DAY, Clock, Series
from oedi_spark.sample.places import Place

_COLDEST_DAY = 18
_NEW_YEAR_COLD_C = 8.0


@dataclass(frozen=True, eq=False)
class Weather:
    """Per quarter-hour: dry bulb in °C, sun from 0 to 1 (clouds taken off), night as 0 or 1."""

    dry_bulb_c: Series
    sun: Series
    dark: Series


def build_weather(place: Place, clock: Clock, rng: np.random.Generator) -> Weather:
    """Seasons and days follow from the latitude; the rest is chance.

    A cold spell begins the year and a mild one ends it, so that the rows which wrap from
    December to January can be seen in everything that is heated.
    """
    day_count = int(clock.day[-1]) + 1
    days = np.arange(day_count)
    season = np.cos(2 * np.pi * (days - _COLDEST_DAY) / day_count)
    mean_c, swing_c = 41 - 0.72 * place.latitude, max(2.0, 0.36 * place.latitude - 3)
    chance = np.convolve(rng.normal(0, 4.0, day_count + 2), [0.25, 0.5, 0.25], "valid")
    spells = _NEW_YEAR_COLD_C * (np.exp(-(day_count - days) / 4) - np.exp(-days / 4))
    midday = (days + 0.5) * ROWS_PER_DAY
    quarters = np.arange(clock.interval_count)
    slow = np.interp(quarters, midday, mean_c - swing_c * season + chance + spells)
    daylight_hours = 12 - 0.085 * place.latitude * season
    half_day = (daylight_hours / 2)[clock.day]
    height = np.cos(np.pi / 2 * np.clip((clock.hour - 12) / half_day, -1, 1))
    clouds = rng.uniform(0.35, 1.0, day_count)[clock.day]
    return Weather(
        dry_bulb_c=slow + 5.0 * np.cos(2 * np.pi * (clock.hour - 15) / 24),
        sun=height * clouds * (1 - 0.35 * season[clock.day]) / 1.35,
        dark=(np.abs(clock.hour - 12) >= half_day).astype(np.float64),
    )
