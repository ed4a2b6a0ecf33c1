"""Tell buildings whose years are all near what is published from those to be looked at closely.

What each year may be is reckoned once for a batch. A building is then a few comparisons, one after
the other: in between a file was decoded, and the processor adds two numbers sooner than it finds
its way back into numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oedi_spark.transform.published import Floats
from oedi_spark.transform.published_results import PublishedResults

_SAFE = 1 - 1e-9
"""Of what is allowed: so that rounding here never lets through what the rule would not."""


@dataclass(frozen=True)
class Allowances:
    """Which columns make up each published result, and how far from it their sum may be.

    `results`: its place in `PublishedResults.measures`. `shares` of the result, and `spare` beside
    them and beside what was rounded off it.
    """

    places: Sequence[tuple[int, ...]]
    results: Sequence[int]
    shares: Floats
    spare: Floats


class NearYears:
    """The ranges of one kind of buildings of a batch."""

    def __init__(self, published: PublishedResults, allowances: Allowances) -> None:
        self._places = tuple(allowances.places)
        results = list(allowances.results)
        years, roundings = published.years[:, results], published.roundings[:, results]
        allowed = allowances.shares * np.abs(years) + allowances.spare + roundings
        # What is not published is never looked at.
        lows = np.nan_to_num(years - _SAFE * allowed, nan=-math.inf)
        highs = np.nan_to_num(years + _SAFE * allowed, nan=math.inf)
        self._ranges = {
            bldg_id: (low, high)
            for bldg_id, low, high in zip(
                published.bldg_ids, lows.tolist(), highs.tolist(), strict=True
            )
        }

    def hold(self, bldg_id: int | None, totals: Sequence[float]) -> bool:
        """Whether every year is there and near; no, of a building that nothing is known of."""
        if bldg_id not in self._ranges:
            return False
        for places, low, high in zip(self._places, *self._ranges[bldg_id], strict=True):
            year = totals[places[0]]
            if len(places) > 1:
                year = sum(totals[at] for at in places)
            if not low <= year <= high:
                return False
        return True
