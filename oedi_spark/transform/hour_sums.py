"""Add rows of hours to sums, with as few passes over memory as the terms allow."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

HOURS_PER_YEAR = 8784
"""Of a leap year: the most that a row can have."""

NEXT_TO_NOTHING = 1e-7
"""A sum of gaps, in kWh, that nobody looks at closely."""

_add, _subtract = np.add, np.subtract
_low, _high = np.minimum.reduce, np.maximum.reduce

Hours = NDArray[np.float64]
Step = tuple[int, int]
"""A sum by its place, and the sign (1 or -1) with which a row goes into it."""


class HourSums:
    """Sums of one building after another, each of rows of hours and of what is constant.

    A sum that holds one row is that row: nothing is copied, so rows must stay as they are until
    the building is done. `offsets`: what each sum holds of constants, in every hour.
    """

    def __init__(self, count: int) -> None:
        self._block = np.empty((count, HOURS_PER_YEAR))
        self._own: list[Hours] = []
        self.begin(HOURS_PER_YEAR)

    def begin(self, hour_count: int) -> None:
        """All sums are empty again, and will be of rows of so many hours."""
        if not self._own or len(self._own[0]) != hour_count:
            self._own = [row[:hour_count] for row in self._block]
        self._held: list[Hours | None] = [None] * len(self._own)
        self._signs = [1] * len(self._own)
        self.offsets = [0.0] * len(self._own)

    def add(self, hours: Hours, steps: Iterable[Step]) -> None:
        """Add a row to some sums, and subtract it from others."""
        for at, sign in steps:
            held = self._held[at]
            if held is None:
                self._held[at], self._signs[at] = hours, sign
                continue
            # A sum that began with a subtraction is held with its sign turned.
            combine = _add if sign == self._signs[at] else _subtract
            self._held[at] = combine(held, hours, self._own[at])

    def row(self, at: int) -> Hours | None:
        """What a sum holds of rows, but for its sign; None of no row."""
        return self._held[at]

    def own(self, at: int) -> Hours:
        """The row of a sum that has one, to be changed at will: the sum is not asked for again."""
        own, held = self._own[at], self._held[at]
        if held is not None and held is not own:
            np.copyto(own, held)
        return own

    def sign(self, at: int) -> int:
        """By which the row of a sum is to be multiplied: 1 or -1."""
        return self._signs[at]

    def widest(self, at: int) -> float:
        """The largest absolute value of a sum in any hour, or a little more (`find_widest`)."""
        held, offset = self._held[at], self.offsets[at]
        return abs(offset) if held is None else find_widest(held, self._signs[at] * offset)

    def absolute(self, at: int) -> Hours:
        """The absolute value of a sum in every hour; of constants alone one value."""
        held, offset = self._held[at], self.offsets[at]
        hours = np.array([offset]) if held is None else held + self._signs[at] * offset
        np.abs(hours, out=hours)
        return hours


def find_widest(hours: Hours, offset: float) -> float:
    """The largest |hours + offset|; NaN if an hour is.

    Of hours that are next to nothing it is their norm: one pass, and surely no less.
    """
    if not offset:
        norm = math.sqrt(hours.dot(hours))
        if norm <= NEXT_TO_NOTHING:
            return norm
    return max(float(_high(hours)) + offset, -float(_low(hours)) - offset)
