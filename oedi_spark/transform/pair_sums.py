"""Hold all energies of a building against all their intensities, hour by hour.

The energies need not be added by themselves. What the end uses of a fuel sum to is its total and
what their balance is out by: n times the one and n times the other stand for n times all end uses,
and fuels stand in site energy likewise. Of a file whose columns balance this leaves a multiple of
site energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from oedi_spark.transform.accounts import Accounts
from oedi_spark.transform.claims import RELATIVE_GAP
from oedi_spark.transform.hour_sums import HOURS_PER_YEAR, Hours, HourSums, find_widest

_SURE_KWH = 1e-6
"""A smaller gap is not looked at closely."""

_Part = tuple[Hours, int]


class PairSums:
    """The energies and the intensities of one building after another, beside its balances.

    `steps`: columns that go into sums of this one's own, which are the last `SUMS` of all: energies
    that are part of no balance, and intensities.
    """

    SUMS = 2

    def __init__(self, accounts: Accounts, sums: HourSums) -> None:
        self._sums = sums
        self._rest = len(accounts.balances)
        self._intensities = self._rest + 1
        counts = [0] * len(accounts.columns)
        for energy, _ in accounts.pairs:
            counts[energy] = 1
        self._balances: list[tuple[int, int]] = []
        for at, balance in enumerate(accounts.balances):
            times = min(counts[term] for term in balance.terms)
            # Of columns that are summed anyway: a missing hour of another one would hide theirs.
            if times and counts[balance.total]:
                self._balances.append((at, times))
                counts[balance.total] += times
                for term in balance.terms:
                    counts[term] -= times
        self._multiples = [(at, count) for at, count in enumerate(counts) if count > 1]
        self.steps = [
            *((at, self._rest) for at, count in enumerate(counts) if count == 1),
            *((intensity, self._intensities) for _, intensity in accounts.pairs),
        ]
        self._spare = np.empty(HOURS_PER_YEAR)

    def gap_kwh(
        self,
        area_ft2: float,
        hours: Mapping[int, Hours],
        constants: Mapping[int, float],
        widest_kwh: Sequence[float],
    ) -> float:
        """The largest |energies - intensities x area| - 2e-6 x |energies| of an hour.

        Args:
            area_ft2: NaN if none is known: then so is the gap.
            hours: The columns that vary.
            constants: Those that do not, but zero.
            widest_kwh: What each balance is out by at most.
        """
        if math.isnan(area_ft2) or self._sums.row(self._intensities) is None:
            return math.nan
        gaps = self._sums.own(self._intensities)
        parts = [(hours[at], times) for at, times in self._multiples if at in hours]
        parts += self._rows([(self._rest, 1)])
        energy_kwh = self._sums.offsets[self._rest]
        energy_kwh += sum(times * constants.get(at, 0.0) for at, times in self._multiples)
        expected_kwh = area_ft2 * self._sums.offsets[self._intensities]
        scale = parts[0][1] if parts else 1
        gaps *= area_ft2 / scale
        self._subtract(gaps, parts, scale)
        # Balances that are out by next to nothing need not be taken in hour by hour.
        unseen_kwh = sum(times * widest_kwh[at] for at, times in self._balances)
        if unseen_kwh <= _SURE_KWH:
            gap = scale * find_widest(gaps, (expected_kwh - energy_kwh) / scale) + unseen_kwh
            if gap <= _SURE_KWH:
                return gap
        more = self._rows(self._balances)
        self._subtract(gaps, more, scale)
        energy_kwh += sum(times * self._sums.offsets[at] for at, times in self._balances)
        gap = scale * find_widest(gaps, (expected_kwh - energy_kwh) / scale)
        if gap <= _SURE_KWH:
            return gap
        gaps *= scale
        gaps += expected_kwh - energy_kwh
        return self._take_off_share(gaps, [*parts, *more], energy_kwh)

    def _rows(self, sums: Iterable[tuple[int, int]]) -> list[_Part]:
        return [
            (row, times * self._sums.sign(at))
            for at, times in sums
            if (row := self._sums.row(at)) is not None
        ]

    def _subtract(self, gaps: Hours, parts: Iterable[_Part], scale: int) -> None:
        spare = self._spare[: len(gaps)]
        for row, times in parts:
            gaps -= row if times == scale else np.multiply(row, times / scale, out=spare)

    def _take_off_share(self, gaps: Hours, parts: Iterable[_Part], energy_kwh: float) -> float:
        """The widest of the gaps, each less the share that its hour's energy allows."""
        energies = np.full(len(gaps), energy_kwh)
        for row, times in parts:
            energies += row * times
        return float(np.fmax.reduce(np.abs(gaps) - RELATIVE_GAP * np.abs(energies)))
