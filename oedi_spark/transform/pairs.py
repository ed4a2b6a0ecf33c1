"""Hold the years of energies beside those of their intensities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Pair = tuple[int, int]
"""The places of an energy and of its intensity."""


def find_area(pairs: Sequence[Pair], totals: Sequence[float]) -> float:
    """The floor area (ft²) that energies and intensities have between them; NaN if there is none.

    The middle one of what each pair of columns says, which one damaged column cannot move.
    """
    areas = [totals[energy] / totals[intensity] for energy, intensity in pairs if totals[intensity]]
    if not math.isfinite(sum(areas)):
        areas = [area for area in areas if math.isfinite(area)]
    return sorted(areas)[len(areas) // 2] if areas else math.nan


def find_odd_pairs(
    pairs: Sequence[Pair],
    totals: Sequence[float],
    area_ft2: float,
    *,
    beyond: float,
    spare_kwh: float,
) -> Iterator[tuple[int, float]]:
    """Energies that are not their intensity times floor area, with what they are of it.

    Args:
        pairs: Places in `totals`.
        totals: Of every column; a pair with a NaN is left out.
        area_ft2: As `find_area` says.
        beyond: A share; who is off by no more is left out.
        spare_kwh: Beside an intensity of zero so little energy is left out; more is infinitely
            many times nothing.
    """
    for energy, intensity in pairs:
        found, expected = totals[energy], totals[intensity] * area_ft2
        if expected:
            if abs(found / expected - 1) > beyond:
                yield energy, found / expected
        elif abs(found) > spare_kwh:
            yield energy, math.inf
