"""The time axis: local standard time, what clocks on the wall show, and the shift to EST."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from oedi_spark.sample.places import Place
from oedi_spark.sample.schemas import SeriesYear

Series = npt.NDArray[np.float64]
ROWS_PER_HOUR = 4
ROWS_PER_DAY = 96


@dataclass(frozen=True, eq=False)
class Clock:
    """One value per quarter-hour in local standard time, for the quarter that begins there.

    `wall_hour` and `is_weekend` follow daylight saving time, as people do; `hour` follows
    the sun.
    """

    day: npt.NDArray[np.int64]
    hour: Series
    wall_hour: Series
    is_weekend: npt.NDArray[np.bool_]

    @property
    def interval_count(self) -> int:
        """Rows of the series."""
        return len(self.hour)


@lru_cache(maxsize=64)
def build_clock(series_year: SeriesYear, place: Place) -> Clock:
    """The clock of one state in one year."""
    quarter = np.arange(series_year.interval_count)
    day, hour = quarter // ROWS_PER_DAY, quarter % ROWS_PER_DAY / ROWS_PER_HOUR
    starts, ends = _daylight_saving_quarters(series_year.year)
    in_summer = place.daylight_saving & (quarter >= starts) & (quarter < ends)
    wall_quarter = quarter + in_summer * ROWS_PER_HOUR
    weekday = (date(series_year.year, 1, 1).weekday() + wall_quarter // ROWS_PER_DAY) % 7
    return Clock(
        day=day,
        hour=hour,
        wall_hour=wall_quarter % ROWS_PER_DAY / ROWS_PER_HOUR,
        is_weekend=weekday >= 5,
    )


def shift_to_eastern(local: Series, hours_west: int) -> Series:
    """Move a series from local standard time to EST.

    What falls off the end wraps to the beginning, as in the published files: in Colorado the
    first eight rows of January are the last two hours of December.
    """
    return np.roll(local, hours_west * ROWS_PER_HOUR)


def build_stamps(series_year: SeriesYear) -> npt.NDArray[np.datetime64]:
    """Interval-ending stamps in EST, in nanoseconds: 1 January 00:15 and on."""
    first = np.datetime64(f"{series_year.year}-01-01T00:15", "ns")
    return first + np.arange(series_year.interval_count) * np.timedelta64(15, "m")


def _daylight_saving_quarters(year: int) -> tuple[int, int]:
    """Second Sunday of March 2:00 to first Sunday of November 1:00, in standard time."""
    starts = _first_sunday(year, 3) + timedelta(days=7)
    ends = _first_sunday(year, 11)
    new_year = date(year, 1, 1)
    return (
        (starts - new_year).days * ROWS_PER_DAY + 2 * ROWS_PER_HOUR,
        (ends - new_year).days * ROWS_PER_DAY + 1 * ROWS_PER_HOUR,
    )


def _first_sunday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7)
