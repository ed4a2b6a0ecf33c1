"""Find the grid of stamps that are no regular quarter-hours: other steps, and gaps.

The fast engine refuses such a file (`stamps_irregular`); the window engine rolls it up if it is
certain what its intervals are:

- The step is 5, 15 or 30 minutes, and every two neighbouring stamps lie a multiple of it apart.
- At least nine in ten neighbours lie one step apart. Fewer, and the steps may be mixed: a half
  year of 15 minutes and one of 30 is refused, because a gap of 15 and a step of 30 look alike.
- The first and the last interval of the year are there, so that year and stamp are proved as
  they are for any other file. Stamps out of order, or twice, are refused as everywhere.

An hour that lacks an interval has no value, whatever is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import ReleaseFacts
from oedi_spark.transform.stamps import INTERVAL_S, prove_hours

STEPS_S = (300, INTERVAL_S, 1800)
_LEAST_SHARE = 0.9
_NS = 1_000_000_000
_HOUR_S = 3600


@dataclass(frozen=True)
class Grid:
    """Where the intervals of a file lie.

    `shift_s` is what a stamp lies behind the start of its interval; `hour_of` the hour of each
    interval, counted from the first; None where four follow each other to the end.
    """

    step_s: int
    shift_s: int
    hour_start_us: NDArray[np.int64]
    hour_of: NDArray[np.int64] | None = None

    @property
    def hour_count(self) -> int:
        """Hours of the year."""
        return len(self.hour_start_us)

    def interval_counts(self) -> NDArray[np.int64]:
        """How many intervals each hour has."""
        if self.hour_of is None:
            return np.full(self.hour_count, 4)
        return np.bincount(self.hour_of, minlength=self.hour_count)

    def incomplete_hours(self) -> NDArray[np.int64]:
        """The hours that lack an interval."""
        return np.flatnonzero(self.interval_counts() != _HOUR_S // self.step_s)

    def empty_hours(self) -> NDArray[np.int64]:
        """The hours that lack every interval."""
        return np.flatnonzero(self.interval_counts() == 0)


def find_grid(stamps_ns: NDArray[np.int64], facts: ReleaseFacts) -> Grid | None:
    """The grid of stamps that are no regular quarter-hours; None if they lie on none.

    Raises:
        FileFault: `wrong_row_count`, `wrong_year` or `stamp_contradicts_release`: there is a
            grid, but not of the year that the release declares.
    """
    step_s = _find_step(stamps_ns)
    if step_s is None:
        return None
    first = np.datetime64(int(stamps_ns[0]), "ns")
    into_year_ns = int(stamps_ns[0]) - int(
        first.astype("datetime64[Y]").astype("M8[ns]").view("i8")
    )
    if into_year_ns not in (0, step_s * _NS):
        return None
    shift_s = into_year_ns // _NS
    starts_ns = stamps_ns - shift_s * _NS
    whole_ns = int(starts_ns[-1] - starts_ns[0]) + step_s * _NS
    # The year is proved on the quarter-hours that would fill it, by the code that always does.
    quarters = np.arange(whole_ns // (INTERVAL_S * _NS), dtype=np.int64)
    named_ns = int(starts_ns[0]) + (INTERVAL_S * _NS if shift_s else 0)
    hour_start_us = prove_hours(named_ns + quarters * INTERVAL_S * _NS, facts)
    return Grid(
        step_s=step_s,
        shift_s=shift_s,
        hour_start_us=hour_start_us,
        hour_of=(starts_ns - starts_ns[0]) // (_HOUR_S * _NS),
    )


def _find_step(stamps_ns: NDArray[np.int64]) -> int | None:
    steps_ns = np.diff(stamps_ns)
    if not len(steps_ns) or (steps_ns <= 0).any():
        return None
    values, counts = np.unique(steps_ns, return_counts=True)
    usual_ns = int(values[counts.argmax()])
    is_even = usual_ns in {step * _NS for step in STEPS_S} and not (values % usual_ns).any()
    if not is_even or counts.max() < _LEAST_SHARE * len(steps_ns):
        return None
    return usual_ns // _NS
