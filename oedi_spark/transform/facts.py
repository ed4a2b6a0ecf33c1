"""Gather a building's figures while its hours pass, for the fast engine.

Each row of hours is looked at once, right after it was filled and while the processor still has
it: a sum that exists anyway, its extremes, and one addition for each balance it is part of. What
is constant throughout is never scanned, and what is zero throughout is not even told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oedi_spark.transform.accounts import Accounts, Balance
from oedi_spark.transform.claims import RELATIVE_GAP, Figures, count_filled
from oedi_spark.transform.columns import Rule
from oedi_spark.transform.hour_sums import Hours, HourSums, Step
from oedi_spark.transform.pair_sums import PairSums
from oedi_spark.transform.pairs import find_area

_DOUBLE = np.dtype(np.float64)
_sum, _low, _high = np.add.reduce, np.minimum.reduce, np.maximum.reduce


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked of a column that varies, and into which sums it goes with which sign.

    `turned`: the same with the other sign, which generation has that is written above zero.
    """

    is_summed: bool
    is_bounded: bool
    has_high: bool
    is_generation: bool
    steps: tuple[Step, ...]
    turned: tuple[Step, ...]

    def signed_steps(self, total: float) -> tuple[Step, ...]:
        """The steps of a column whose year is `total`."""
        return self.turned if self.is_generation and total > 0 else self.steps


class FactFinder:
    """Finds the figures of one building after another that have the same columns.

    Use `begin`, then `add_constant`, `add_hours` or `add_nothing` for each column, then `figures`.
    A column that nothing is told of is zero in every hour.

    Args:
        accounts: What the columns have to do with each other.
        limits: By column the least and the most that an hour may be without being `beyond`.
    """

    def __init__(self, accounts: Accounts, limits: Sequence[tuple[float, float]]) -> None:
        self._accounts, self._limits = accounts, limits
        count = len(accounts.balances)
        self._sums = HourSums(count + PairSums.SUMS)
        self._pairs = PairSums(accounts, self._sums)
        places = range(len(accounts.columns))
        steps: list[tuple[Step, ...]] = [() for _ in places]
        for at, balance in enumerate(accounts.balances):
            for term in balance.terms:
                steps[term] += ((at, 1),)
            steps[balance.total] += ((at, -1),)
        for place, target in self._pairs.steps:
            steps[place] += ((target, 1),)
        # What is part of a balance is no larger than its total, so only its least value is asked.
        terms = {term for balance in accounts.balances for term in balance.terms}
        self._plans = [
            _Plan(
                is_summed=column.rule != Rule.KEEP,
                is_bounded=at in accounts.bounded,
                has_high=at not in terms,
                is_generation=at in accounts.generation,
                steps=steps[at],
                turned=tuple((target, -sign) for target, sign in steps[at]),
            )
            for at, column in enumerate(accounts.columns)
        ]

    def begin(self, hour_count: int) -> None:
        """A building of so many hours follows."""
        count = len(self._plans)
        self._hour_count = hour_count
        self._totals, self._lows, self._highs = (
            [0.0] * count,
            [math.nan] * count,
            [math.nan] * count,
        )
        self._intervals: dict[int, float] = {}
        self._hours: dict[int, Hours] = {}
        self._constants: dict[int, float] = {}
        self._absent: list[int] = []
        self._is_within = True
        self._sums.begin(hour_count)

    def add_constant(self, at: int, value: float) -> None:
        """A column whose every hour is `value`: four times its interval, where it is summed."""
        self._totals[at] = total = value * self._hour_count
        self._constants[at] = value
        self._bound(at, value, value)
        for target, sign in self._plans[at].signed_steps(total):
            self._sums.offsets[target] += sign * value

    def add_nothing(self, at: int) -> None:
        """A column without any value."""
        self._absent.append(at)
        self._totals[at] = math.nan

    def add_hours(
        self, at: int, hours: Hours, intervals: NDArray[np.floating[Any]], total: float
    ) -> None:
        """A column that varies. `total` is the sum of its hours: NaN when one lacks a value.

        `hours` must stay as they are until the building's figures are known.
        """
        plan = self._plans[at]
        self._totals[at] = total
        self._hours[at] = hours
        if plan.is_summed:
            self._intervals[at] = float(_sum(intervals, dtype=_DOUBLE))
        if plan.is_bounded:
            if math.isnan(total):
                self._bound(at, float(np.fmin.reduce(hours)), float(np.fmax.reduce(hours)))
            else:
                high = float(_high(hours)) if plan.has_high else math.nan
                self._bound(at, float(_low(hours)), high)
        self._sums.add(hours, plan.signed_steps(total))

    def _bound(self, at: int, low: float, high: float) -> None:
        self._lows[at], self._highs[at] = low, high
        least, most = self._limits[at]
        if low < least or high > most:
            self._is_within = False

    def figures(self, hours_missing: int, slacks_kwh: Sequence[float]) -> Figures:
        """What the building's hours amount to.

        Args:
            hours_missing: Hours that lack a value.
            slacks_kwh: For each balance the gap that is allowed for each of its columns: a gap
                within that is not looked at closely, and then too large by what the total allows.
        """
        balances = self._accounts.balances
        widest = [self._sums.widest(at) for at in range(len(balances))]
        area_ft2 = find_area(self._accounts.pairs, self._totals)
        return Figures(
            hour_count=self._hour_count,
            totals=self._totals,
            interval_totals=self._intervals,
            lows=self._lows,
            highs=self._highs,
            gaps=[
                gap if gap <= slack else self._gap(at, balance, gap, slack)
                for at, (balance, gap, slack) in enumerate(
                    zip(balances, widest, slacks_kwh, strict=True)
                )
            ],
            area_ft2=area_ft2,
            pair_gap_kwh=self._pairs.gap_kwh(area_ft2, self._hours, self._constants, widest),
            hours_missing=hours_missing,
            absent=frozenset(self._absent),
            is_within=self._is_within,
        )

    def _gap(self, at: int, balance: Balance, widest_kwh: float, slack_kwh: float) -> float:
        """The largest |terms - total| - 2e-6 x |total|."""
        if widest_kwh <= slack_kwh * count_filled(balance, self._totals):
            return widest_kwh
        total = self._hours.get(balance.total, self._constants.get(balance.total, 0.0))
        gaps = self._sums.absolute(at) - RELATIVE_GAP * np.abs(total)
        return float(np.fmax.reduce(gaps))
