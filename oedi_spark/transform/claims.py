"""Hold a building's figures against the rules: the same code for both engines.

In   `Figures`: what an engine found while the hours passed (sums, extremes, gaps of balances).
Out  the rules that do not hold, in the order of `rules.RULES`, each with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from oedi_spark.contracts import Reason, RuleFinding
from oedi_spark.errors import FileFault
from oedi_spark.transform import rules
from oedi_spark.transform.accounts import Accounts, Balance
from oedi_spark.transform.columns import Rule
from oedi_spark.transform.pairs import find_odd_pairs
from oedi_spark.transform.published_rules import KNOWN_ERRATUM
from oedi_spark.transform.rule_kinds import QualityRule, Severity
from oedi_spark.transform.rules import RuleBook

RELATIVE_GAP = 2e-6
"""Of an hour's total: what seven digits, or single precision, may lose on the way."""

LEAST_GAP_KWH = 1e-6
"""An hour's energy and intensity may always differ by so little."""

LEAST_SCALED_KWH = 100.0
"""A smaller year is not asked for its scale: what was rounded off it is too large a part."""

_MANY = 1e7
POSSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "kwh": (-1e6, 1e6),
        "kwh_per_ft2": (-100.0, 100.0),
        "kbtu": (-_MANY, _MANY),
        "therm": (-1e5, 1e5),
        "mbtu": (-1e4, 1e4),
        "gal": (-1.0, 1e6),
        "co2e_kg": (-1e6, 1e6),
        "usd": (-1e6, 1e6),
        "hour": (-0.01, 100.0),
        "hr": (-0.01, 100.0),
        "kw": (-1e6, 1e6),
        "w": (-1e9, 1e9),
        "watt": (-1e9, 1e9),
        "watt_per_m2": (-1e4, 1e4),
        "meter_per_second": (-150.0, 150.0),
        "cfm": (-_MANY, _MANY),
        "c": (-100.0, 200.0),
        "f": (-150.0, 400.0),
        "percent": (-100.0, 1000.0),
        "percentage": (-100.0, 1000.0),
        "kgwater_per_kgdryair": (-0.01, 1.0),
        "ft2": (0.0, 1e8),
        "fraction": (-10.0, 100.0),
    }
)
"""What an hour of a unit can hold at all; beyond it the number is damaged, not unusual."""

PLAUSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "kwh_per_ft2": (-1.0, 1.0),
        "hour": (0.0, 1.0),
        "hr": (0.0, 1.0),
        "meter_per_second": (0.0, 75.0),
        "c": (-60.0, 90.0),
        "f": (-76.0, 194.0),
        "percent": (0.0, 100.0),
        "percentage": (0.0, 100.0),
        "kgwater_per_kgdryair": (0.0, 0.05),
        "fraction": (0.0, 1.0),
    }
)
"""What an hour of a unit usually holds."""

PLAUSIBLE_KWH: Mapping[str, float] = MappingProxyType({"resstock": 200.0, "comstock": 30_000.0})
"""The most that a building of a product usually takes in an hour."""

PLAUSIBLE_INTENSITY: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"resstock": (0.2, 200.0), "comstock": (0.3, 600.0)}
)
"""kWh of site energy per ft² and year: a vacant home; a restaurant of quick service."""

MEDIAN_INTENSITY: Mapping[str, float] = MappingProxyType({"resstock": 12.0, "comstock": 18.0})
"""kWh of site energy per ft² and year of the building in the middle."""


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold, and what was found instead."""

    rule: QualityRule
    detail: str


@dataclass(frozen=True)
class Evidence:
    """What is known of a building beside its hours.

    `floor_area_ft2`: as published. `judge`: what of its years is not as published, given the floor
    area that its energies and intensities have between them. `excuse`: the erratum of the release
    because of which a rule is known not to hold.
    """

    floor_area_ft2: float | None = None
    judge: Callable[[Figures, float], Iterable[Breach]] = lambda _figures, _area_ft2: ()
    excuse: Callable[[QualityRule], str | None] = lambda _rule: None


NO_EVIDENCE = Evidence()


@dataclass
class Figures:
    """What one building's hours amount to, by the place of the column.

    NaN: not known, or not asked. `totals` are the sums of the hours, `interval_totals` those of
    the intervals. `gaps` of a balance: the largest of |terms - total| - 2e-6 x |total| over the
    hours, in kWh; NaN where no hour has all of them.
    `area_ft2`: that energies and intensities have between them, once it is known.
    `pair_gap_kwh`: the same as `gaps`, of all energies against all intensities times that area.
    """

    hour_count: int
    totals: Sequence[float]
    interval_totals: Mapping[int, float]
    lows: Sequence[float]
    highs: Sequence[float]
    gaps: Sequence[float]
    area_ft2: float
    pair_gap_kwh: float = math.nan
    hours_missing: int = 0
    absent: frozenset[int] = field(default_factory=frozenset)
    """Columns that have no value at all."""
    is_within: bool = False
    """It is known that no value lies beyond `BuildingJudge.limits`."""


def find_product(release: str) -> str | None:
    """`resstock` or `comstock`, if the release's name says so."""
    return next((product for product in MEDIAN_INTENSITY if product in release), None)


def count_filled(balance: Balance, totals: Sequence[float]) -> int:
    """How many columns of a balance may have been rounded: its total, and what is not zero."""
    return 1 + sum(1 for at in balance.terms if totals[at] != 0)


class BuildingJudge:
    """The rules of a run, made ready for the columns of a file.

    Args:
        accounts: What the columns have to do with each other.
        book: The rules as the run takes them.
        release: Whose product decides what is plausible.
    """

    def __init__(self, accounts: Accounts, book: RuleBook, release: str) -> None:
        self.accounts, self._book = accounts, book
        self._product = find_product(release)
        self._interval_factors = [
            0.25 if column.rule == Rule.MEAN else 1.0 for column in accounts.columns
        ]
        self._possible = self._ranges(rules.VALUES_ARE_POSSIBLE, POSSIBLE)
        usual = dict(PLAUSIBLE)
        if self._product:
            usual["kwh"] = (-PLAUSIBLE_KWH[self._product], PLAUSIBLE_KWH[self._product])
        self._plausible = self._ranges(rules.VALUES_ARE_PLAUSIBLE, usual)
        balanced = {balance.rule.name for balance in accounts.balances}
        finders: dict[str, tuple[bool, _Finder]] = {
            rules.HOURS_SUM_TO_INTERVALS.name: (True, self._find_lost_intervals),
            rules.VALUES_ARE_POSSIBLE.name: (True, self._find_impossible),
            rules.ENERGY_IS_NOT_NEGATIVE.name: (bool(accounts.unsigned), self._find_negative),
            rules.ENERGY_IS_NO_POWER.name: (bool(accounts.pairs), self._find_power),
            rules.ENERGY_IS_INTENSITY_TIMES_AREA.name: (bool(accounts.pairs), self._find_odd_pair),
            rules.VALUES_ARE_PLAUSIBLE.name: (True, self._find_implausible),
            rules.INTENSITY_IS_PLAUSIBLE.name: (
                accounts.site_energy is not None and self._product is not None,
                self._find_odd_intensity,
            ),
            rules.VALUES_ARE_COMPLETE.name: (True, self._find_missing),
        }
        for rule in (
            rules.END_USES_SUM_TO_FUEL_TOTALS,
            rules.FUEL_TOTALS_SUM_TO_SITE_ENERGY,
            rules.NET_IS_TOTAL_AND_GENERATION,
        ):
            finders[rule.name] = (rule.name in balanced, partial(self._find_imbalance, rule))
        self._finders = tuple(
            (rule, book.threshold(rule), finders[rule.name][1])
            for rule in rules.RULES
            if rule.name in finders and finders[rule.name][0] and book.is_on(rule)
        )
        self.asked = tuple(rule.name for rule, _, _ in self._finders)
        """The rules that can be asked of such a file."""
        self.limits = self._find_limits()
        """By column the narrowest that any rule asks of an hour: who is within keeps them all."""
        self._odd_share = self._find_odd_share()

    def judge(self, figures: Figures, floor_area_ft2: float | None = None) -> Iterator[Breach]:
        """What does not hold, one breach for each rule.

        Args:
            figures: Of one building.
            floor_area_ft2: As published, if it is known. Energies and intensities that are all in
                kW agree with each other, and only a floor area from elsewhere shows it.
        """
        self._odd_pairs = tuple(
            find_odd_pairs(
                self.accounts.pairs,
                figures.totals,
                figures.area_ft2,
                beyond=self._odd_share,
                spare_kwh=LEAST_GAP_KWH,
            )
        )
        self._known_area_ft2 = floor_area_ft2
        if floor_area_ft2 is None and self.accounts.area is not None:
            self._known_area_ft2 = figures.lows[self.accounts.area]
        for rule, threshold, find in self._finders:
            detail = find(figures, threshold)
            if detail is not None:
                yield Breach(rule, detail)

    def _find_limits(self) -> list[tuple[float, float]]:
        limits = [(-math.inf, math.inf)] * len(self.accounts.columns)
        for at, low, high in (*self._possible, *self._plausible):
            limits[at] = max(limits[at][0], low), min(limits[at][1], high)
        for at in self.accounts.unsigned:
            least = -self._book.threshold(rules.ENERGY_IS_NOT_NEGATIVE)
            limits[at] = max(limits[at][0], least), limits[at][1]
        return limits

    def _find_odd_share(self) -> float:
        """How far from 1 the ratio of a pair must be for any rule to mind."""
        mixed = self._book.threshold(rules.ENERGY_IS_NO_POWER)
        odd = self._book.threshold(rules.ENERGY_IS_INTENSITY_TIMES_AREA)
        return min(odd, 3.0 - 4.0 * mixed, 0.75 - 0.25 * mixed)

    def _ranges(
        self, rule: QualityRule, ranges: Mapping[str, tuple[float, float]]
    ) -> tuple[tuple[int, float, float], ...]:
        factor = self._book.threshold(rule)
        return tuple(
            (at, ranges[unit][0] * factor, ranges[unit][1] * factor)
            for at in sorted(self.accounts.bounded)
            if (unit := self.accounts.columns[at].unit) in ranges
        )

    def _name(self, at: int) -> str:
        return self.accounts.columns[at].source_name

    def _find_lost_intervals(self, figures: Figures, threshold: float) -> str | None:
        for at, intervals in figures.interval_totals.items():
            hours, due = figures.totals[at], intervals * self._interval_factors[at]
            # Where a value is missing both are NaN, and never too far apart.
            if abs(hours - due) > threshold * max(abs(hours), 1.0):
                return f"{self._name(at)}: hours sum to {hours:.9g}, intervals to {due:.9g}"
        return None

    def _find_impossible(self, figures: Figures, _threshold: float) -> str | None:
        return self._find_beyond(self._possible, figures)

    def _find_implausible(self, figures: Figures, _threshold: float) -> str | None:
        return self._find_beyond(self._plausible, figures)

    def _find_beyond(
        self, ranges: tuple[tuple[int, float, float], ...], figures: Figures
    ) -> str | None:
        lows, highs = figures.lows, figures.highs
        for at, low, high in ranges if not figures.is_within else ():
            if lows[at] < low or highs[at] > high:
                found = lows[at] if lows[at] < low else highs[at]
                unit = self.accounts.columns[at].unit
                return f"{self._name(at)} is {found:.6g} {unit}, not {low:g} to {high:g}"
        return None

    def _find_negative(self, figures: Figures, threshold: float) -> str | None:
        for at in self.accounts.unsigned if not figures.is_within else ():
            if figures.lows[at] < -threshold:
                return f"{self._name(at)} is {figures.lows[at]:.6g} kWh in an hour"
        return None

    def _find_power(self, figures: Figures, threshold: float) -> str | None:
        for energy, ratio in self._odd_pairs:
            # What is rounded off a small year may make any ratio of it.
            if abs(figures.totals[energy]) < LEAST_SCALED_KWH:
                continue
            for factor in (4.0, 0.25):
                if abs(ratio / factor - 1) <= threshold:
                    return (
                        f"{self._name(energy)} is {ratio:.4g} times its intensity on "
                        f"{figures.area_ft2:.6g} ft²: kW and kWh are mixed up"
                    )
        known = self._known_area_ft2
        if known and any(abs(figures.area_ft2 / known / by - 1) <= threshold for by in (4.0, 0.25)):
            return (
                f"energies are their intensities on {figures.area_ft2:.6g} ft², and the building "
                f"has {known:.6g} ft²: kW and kWh are mixed up"
            )
        return None

    def _find_odd_pair(self, figures: Figures, threshold: float) -> str | None:
        if figures.area_ft2 <= 0:
            return (
                f"energies are their intensities on {figures.area_ft2:.6g} ft²: no building is so"
            )
        for energy, ratio in self._odd_pairs:
            if abs(ratio - 1) > threshold:
                return (
                    f"{self._name(energy)} is {ratio:.9g} times its intensity on "
                    f"{figures.area_ft2:.6g} ft²"
                )
        if figures.pair_gap_kwh > LEAST_GAP_KWH:
            return (
                f"in an hour all energies differ from their intensities on {figures.area_ft2:.6g} "
                f"ft² by {figures.pair_gap_kwh:.4g} kWh more than {RELATIVE_GAP:g} of them"
            )
        return None

    def _find_imbalance(self, rule: QualityRule, figures: Figures, threshold: float) -> str | None:
        totals = figures.totals
        for balance, gap in zip(self.accounts.balances, figures.gaps, strict=True):
            if balance.rule is not rule or gap <= threshold:
                continue
            if balance.total in figures.absent or (
                rule is rules.NET_IS_TOTAL_AND_GENERATION and totals[balance.total] == 0
            ):
                continue
            if gap > threshold * count_filled(balance, totals):
                parts = math.fsum(self.accounts.signed(at, totals[at]) for at in balance.terms)
                return (
                    f"{balance.name}: {len(balance.terms)} columns differ by {gap:.4g} kWh in an "
                    f"hour from {self._name(balance.total)}; over the year they are {parts:.8g} "
                    f"and {totals[balance.total]:.8g} kWh"
                )
        return None

    def _find_odd_intensity(self, figures: Figures, threshold: float) -> str | None:
        if self._product is None or self.accounts.site_energy is None or not figures.area_ft2:
            return None
        low, high = PLAUSIBLE_INTENSITY[self._product]
        found = figures.totals[self.accounts.site_energy] / figures.area_ft2
        if found < low / threshold or found > high * threshold:
            return f"site energy is {found:.4g} kWh per ft² and year, not {low:g} to {high:g}"
        return None

    def _find_missing(self, figures: Figures, threshold: float) -> str | None:
        if figures.hours_missing > threshold:
            return f"{figures.hours_missing} hours lack a value"
        return None


def settle_breaches(
    judge: BuildingJudge,
    figures: Figures,
    book: RuleBook,
    ordinal: int,
    evidence: Evidence = NO_EVIDENCE,
) -> list[RuleFinding]:
    """The rules that only warn and do not hold of a building; a known erratum among them.

    Raises:
        FileFault: One that blocks does not.
    """
    findings = []
    for found in _find_breaches(judge, figures, evidence):
        breach, is_blocking = found, book.severity(found.rule) is Severity.BLOCK
        if is_blocking and (erratum := evidence.excuse(found.rule)) is not None:
            breach = Breach(KNOWN_ERRATUM, f"{erratum}: {found.rule.name}: {found.detail}")
        severity = book.severity(breach.rule)
        if severity is Severity.BLOCK:
            raise FileFault(Reason(breach.rule.name), breach.detail)
        if severity is Severity.WARN:
            findings.append(RuleFinding(ordinal, breach.rule.name, breach.detail))
    return findings


def _find_breaches(judge: BuildingJudge, figures: Figures, evidence: Evidence) -> Iterator[Breach]:
    yield from judge.judge(figures, evidence.floor_area_ft2)
    yield from evidence.judge(figures, figures.area_ft2)


_Finder = Callable[[Figures, float], str | None]
