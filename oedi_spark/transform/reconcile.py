"""Hold a building's years against what is published of it: the same code for both engines.

In   `Figures` (sums of the hours, which the gate has held against the 15-minute intervals) and
     the building's row of published results.
Out  the rules that do not hold, each with a sentence. What is a known erratum of the release
     becomes the breach of `known_erratum` instead.

How far the two may be apart follows from how they were rounded. Found on real files (ComStock 2024
R1, ResStock 2022 R1): a published year has two decimals of GJ per column; in TBtu it has nine, and
three digits below 1e-4; fuels are 0.0669 % above it in their series, which is the Btu of the
international table beside the thermochemical one; and ResStock's quarter-hours have three decimals
of kWh, or of kBtu. Its results are taken to have two decimals of MBtu; none was at hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import Column
from oedi_spark.source.errata import Erratum
from oedi_spark.transform.claims import (
    LEAST_SCALED_KWH,
    NO_EVIDENCE,
    Breach,
    Evidence,
    Figures,
)
from oedi_spark.transform.near_years import Allowances, NearYears
from oedi_spark.transform.published import GROUP
from oedi_spark.transform.published_results import PublishedBuilding, PublishedResults
from oedi_spark.transform.published_rules import (
    FLOOR_AREA_IS_AS_PUBLISHED,
    INTENSITY_FITS_BUILDING_TYPE,
    KNOWN_ERRATUM,
    OTHER_RESULTS_AGREE_WITH_PUBLISHED,
    PUBLISHED_RULES,
    PUBLISHED_SCALE_IS_ONE,
    SUMS_AGREE_WITH_PUBLISHED,
)
from oedi_spark.transform.rule_kinds import QualityRule
from oedi_spark.transform.rules import RuleBook

ROUNDED_RESULT_KWH = 1.4654
"""Half of 0.01 MBtu; half of 0.01 GJ is 1.389. For each column that a result is the sum of."""

KBTU_STEPS_KWH = (0.29307107e-3, 0.2930710701722222e-3)
INTERVAL_STEPS_KWH = (1e-3, *KBTU_STEPS_KWH)
"""Quarter-hours that are whole multiples of one of these were rounded to three decimals."""

INTERVALS_PER_HOUR = 4
SCALES: Mapping[str, float] = MappingProxyType(
    {
        "kW and kWh per quarter-hour are mixed up": 4.0,
        "kBtu and kWh are mixed up": 3.412142,
        "kBtu were converted to kWh the wrong way": 3.412142**2,
    }
)
"""Each also the other way round."""

_OFFICE, _TRADE, _SCHOOL = (1.2, 120.0), (1.5, 200.0), (2.0, 150.0)
_HEALTH, _LODGING, _FOOD = (4.0, 200.0), (3.0, 150.0), (10.0, 600.0)
_STORAGE, _HOME = (0.3, 100.0), (0.2, 150.0)
TYPE_INTENSITY: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "SmallOffice": _OFFICE,
        "MediumOffice": _OFFICE,
        "LargeOffice": _OFFICE,
        "Office": _OFFICE,
        "RetailStandalone": _TRADE,
        "RetailStripmall": _TRADE,
        "Grocery": (5.0, 400.0),
        "Mercantile": _TRADE,
        "PrimarySchool": _SCHOOL,
        "SecondarySchool": _SCHOOL,
        "Education": _SCHOOL,
        "Hospital": _HEALTH,
        "Outpatient": _HEALTH,
        "Healthcare": _HEALTH,
        "SmallHotel": _LODGING,
        "LargeHotel": _LODGING,
        "Lodging": _LODGING,
        "FullServiceRestaurant": _FOOD,
        "QuickServiceRestaurant": _FOOD,
        "Food Service": _FOOD,
        "Warehouse": _STORAGE,
        "Warehouse and Storage": _STORAGE,
        "Single-Family Detached": _HOME,
        "Single-Family Attached": _HOME,
        "Multi-Family with 2 - 4 Units": _HOME,
        "Multi-Family with 5+ Units": _HOME,
        "Mobile Home": _HOME,
    }
)
"""kWh of site energy per ft² and year. Set by hand: wide, and round what 82 real buildings of
Georgia have (ComStock 2024 R1), which are at least 4 times off either end."""

_GROUP_USES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hvac": ("cooling", "heating", "fans", "pumps", "heat_recovery", "heat_rejection"),
        "lighting": ("interior_lighting", "exterior_lighting"),
        "interior_equipment": ("interior_equipment",),
        "refrigeration": ("refrigeration",),
        "water_systems": ("water_systems",),
    }
)
_FUELS = ("electricity", "natural_gas", "district_cooling", "district_heating", "other_fuel")
_SITE = "site_energy"
_GROUP = re.compile(
    rf"{GROUP}(?P<fuel>{'|'.join((*_FUELS, _SITE))})_(?P<group>{'|'.join(_GROUP_USES)})"
    r"_energy_consumption_kwh"
)
_SITE_ENERGY = "out_site_energy_total_energy_consumption_kwh"


_NET_KWH = "_net_energy_consumption_kwh"


@dataclass(frozen=True)
class _Term:
    """One published year (by its place) and the columns (by theirs) that add up to it."""

    measure: str
    at: int
    places: tuple[int, ...]
    is_energy: bool


@dataclass(frozen=True)
class Disagreement:
    """A year that is not as published; `rule` says in which way."""

    rule: QualityRule
    measure: str
    detail: str


class Reconciler:
    """Holds buildings that have the same columns against their published results.

    Args:
        columns: Of the files, in their order.
        measures: Those of the published results, in theirs.
        book: The rules as the run takes them.
        errata: Of the partition.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        measures: Sequence[str],
        book: RuleBook,
        errata: Sequence[Erratum] = (),
    ) -> None:
        self._book = book
        self._errata = tuple(each for each in errata if each.excuses)
        self._columns = columns
        self._terms = tuple(
            term for at, name in enumerate(measures) if (term := _find_term(columns, at, name))
        )
        self._places = np.array([p for term in self._terms for p in term.places], dtype=np.intp)
        counts = [len(term.places) for term in self._terms]
        self._starts = np.cumsum([0, *counts[:-1]], dtype=np.intp)[: len(counts)]
        self._results = np.array([term.at for term in self._terms], dtype=np.intp)
        is_energy = np.array([term.is_energy for term in self._terms], dtype=bool)
        self._shares = np.where(
            is_energy,
            book.threshold(SUMS_AGREE_WITH_PUBLISHED),
            book.threshold(OTHER_RESULTS_AGREE_WITH_PUBLISHED),
        )
        self._spare = np.where(is_energy, ROUNDED_RESULT_KWH * np.array(counts), 0.0)
        # A net figure is a small difference of large ones, and carries their errors.
        self._is_net = np.array(
            [term.measure.endswith(_NET_KWH) for term in self._terms], dtype=bool
        )
        self._site = next((at for at, c in enumerate(columns) if c.name == _SITE_ENERGY), None)
        self._asked = tuple(rule.name for rule in PUBLISHED_RULES if self._is_asked(rule))
        self._near: NearYears | None = None

    def expect(self, published: PublishedResults) -> None:
        """Make ready for the buildings of a batch, which are then judged sooner."""
        places = [term.places for term in self._terms]
        results = [term.at for term in self._terms]
        allowances = Allowances(places, results, self._shares, self._spare)
        self._near = NearYears(published, allowances)

    def _is_asked(self, rule: QualityRule) -> bool:
        if not self._book.is_on(rule) or not self._terms:
            return False
        has = {term.is_energy for term in self._terms}
        if rule is OTHER_RESULTS_AGREE_WITH_PUBLISHED:
            return False in has
        return True in has

    def asked(self, building: PublishedBuilding | None) -> tuple[str, ...]:
        """The rules that can be asked of a building; None: nothing is published of it."""
        if building is None:
            is_asked = self._errata and self._book.is_on(KNOWN_ERRATUM)
            return (KNOWN_ERRATUM.name,) if is_asked else ()
        lacking: set[str] = set()
        if building.floor_area_ft2 is None:
            lacking = {FLOOR_AREA_IS_AS_PUBLISHED.name}
        if self._range_of(building) is None or self._site is None:
            lacking.add(INTENSITY_FITS_BUILDING_TYPE.name)
        return tuple(name for name in self._asked if name not in lacking)

    def evidence(self, building: PublishedBuilding | None) -> Evidence:
        """What is known of a building beside its hours; None: nothing is published of it."""
        if building is None:
            return Evidence(excuse=self._excuse_rule) if self._errata else NO_EVIDENCE
        return Evidence(
            floor_area_ft2=building.floor_area_ft2,
            judge=lambda figures, area_ft2: self.judge(figures, building, area_ft2),
            excuse=self._excuse_rule,
        )

    def _excuse_rule(self, rule: QualityRule) -> str | None:
        erratum = self.excuse(rule)
        return None if erratum is None else erratum.id

    def judge(
        self, figures: Figures, building: PublishedBuilding, area_ft2: float
    ) -> Iterator[Breach]:
        """What does not hold, one breach for each rule.

        Args:
            figures: Of the building's hours.
            building: What is published of it.
            area_ft2: That its energies and intensities have between them; NaN if there is none.
        """
        found = [
            *self._find_other_area(building, area_ft2),
            *self._find_years(figures, building),
            *self._find_odd_intensity(figures, building),
        ]
        if not found:
            return
        known: list[str] = []
        open_: dict[str, list[str]] = {}
        for each in found:
            erratum = self.excuse(each.rule, each.measure, building.building_type)
            if erratum is not None:
                known.append(f"{erratum.id}: {each.detail}")
            else:
                open_.setdefault(each.rule.name, []).append(each.detail)
        for rule in PUBLISHED_RULES:
            details = known if rule is KNOWN_ERRATUM else open_.get(rule.name, [])
            if details and self._book.is_on(rule):
                more = f"; and {len(details) - 1} more" if len(details) > 1 else ""
                yield Breach(rule, details[0] + more)

    def excuse(
        self, rule: QualityRule, measure: str | None = None, building_type: str | None = None
    ) -> Erratum | None:
        """The erratum because of which a rule is known not to hold."""
        return next(
            (each for each in self._errata if each.covers(rule.name, measure, building_type)), None
        )

    def _find_years(self, figures: Figures, building: PublishedBuilding) -> Iterator[Disagreement]:
        is_near = self._near is not None and self._near.hold(building.bldg_id, figures.totals)
        if is_near or not self._terms:
            return
        totals = np.array(figures.totals)
        totals[list(figures.absent)] = 0.0
        parts = totals[self._places]
        sums = np.add.reduceat(parts, self._starts)
        published = building.years[self._results]
        gaps = np.abs(sums - published)
        whole = 0.0 if self._site is None else abs(float(totals[self._site]))
        scale = np.where(self._is_net, np.fmax(np.abs(published), whole), np.abs(published))
        allowed = self._shares * scale + self._spare
        allowed += building.roundings[self._results]
        # What is not published, or lacks an hour, is NaN, and no NaN is larger than anything.
        if not (gaps > allowed).any():
            return
        allowed += np.add.reduceat(self._find_steps(figures)[self._places], self._starts)
        for at in np.flatnonzero(gaps > allowed):
            term = self._terms[at]
            if not figures.absent.issuperset(term.places):
                yield self._disagree(
                    term, float(sums[at]), float(published[at]), float(allowed[at])
                )

    def _find_steps(self, figures: Figures) -> NDArray[np.float64]:
        """What rounding its quarter-hours may have taken from each column; 0 unless they were.

        Sums of rounded numbers are as round. A file counts as rounded if most of its energies do;
        then also those of its columns that rounding has left nothing of.
        """
        totals = np.nan_to_num(np.array(figures.totals))
        half_steps = np.zeros(len(totals))
        energies = [at for at, each in enumerate(self._columns) if each.unit == "kwh"]
        there = [at for at in energies if totals[at]]
        for step in INTERVAL_STEPS_KWH:
            steps = totals[there] / step
            is_round = np.abs(steps - np.rint(steps)) < 1e-3
            unset = half_steps[there] == 0
            half_steps[np.array(there, dtype=np.intp)[is_round & unset]] = step / 2
        if 2 * np.count_nonzero(half_steps) <= len(there):
            return np.zeros(len(totals))
        unseen = [at for at in energies if not half_steps[at]]
        half_steps[unseen] = INTERVAL_STEPS_KWH[0] / 2
        return half_steps * INTERVALS_PER_HOUR * figures.hour_count

    def _disagree(
        self, term: _Term, found: float, published: float, allowed: float
    ) -> Disagreement:
        name = self._name(term)
        if not term.is_energy:
            told = f"{name}: hours sum to {found:.8g}, published are {published:.8g}"
            return Disagreement(OTHER_RESULTS_AGREE_WITH_PUBLISHED, term.measure, told)
        told = (
            f"{name}: hours sum to {found:.8g} kWh, published are {published:.8g} kWh, "
            f"within {allowed:.3g}"
        )
        # Which end uses a group is made of is our reading: no other ratio of it proves a unit.
        is_group = term.measure.startswith(GROUP)
        why = None if is_group else self._find_scale(found, published)
        if why is None:
            return Disagreement(SUMS_AGREE_WITH_PUBLISHED, term.measure, told)
        ratio = f"{found / published:.4g} times"
        return Disagreement(PUBLISHED_SCALE_IS_ONE, term.measure, f"{told}, {ratio}: {why}")

    def _find_scale(self, found: float, published: float) -> str | None:
        rule = PUBLISHED_SCALE_IS_ONE
        is_small = min(abs(found), abs(published)) < LEAST_SCALED_KWH
        if is_small or not self._book.is_on(rule) or found / published <= 0:
            return None
        slack = math.log1p(self._book.threshold(rule))
        size = abs(math.log(found / published))
        return next(
            (why for why, factor in SCALES.items() if abs(size - math.log(factor)) <= slack), None
        )

    def _name(self, term: _Term) -> str:
        if term.measure.startswith(GROUP):
            return term.measure
        return self._columns[term.places[0]].source_name

    def _find_other_area(
        self, building: PublishedBuilding, area_ft2: float
    ) -> Iterator[Disagreement]:
        published = building.floor_area_ft2
        if published is None or math.isnan(area_ft2):
            return
        if abs(area_ft2 / published - 1) > self._book.threshold(FLOOR_AREA_IS_AS_PUBLISHED):
            told = (
                f"energies over intensities are {area_ft2:.6g} ft², published are {published:.6g}"
            )
            yield Disagreement(FLOOR_AREA_IS_AS_PUBLISHED, "in_sqft_ft2", told)

    def _range_of(self, building: PublishedBuilding) -> tuple[float, float] | None:
        if building.floor_area_ft2 is None or building.building_type is None:
            return None
        return TYPE_INTENSITY.get(building.building_type)

    def _find_odd_intensity(
        self, figures: Figures, building: PublishedBuilding
    ) -> Iterator[Disagreement]:
        range_ = self._range_of(building)
        if range_ is None or self._site is None or building.floor_area_ft2 is None:
            return
        found = figures.totals[self._site] / building.floor_area_ft2
        factor = self._book.threshold(INTENSITY_FITS_BUILDING_TYPE)
        if found < range_[0] / factor or found > range_[1] * factor:
            told = (
                f"site energy is {found:.4g} kWh per ft² and year, a {building.building_type} has "
                f"{range_[0]:g} to {range_[1]:g}"
            )
            yield Disagreement(INTENSITY_FITS_BUILDING_TYPE, _SITE_ENERGY, told)


def _find_term(columns: Sequence[Column], at: int, measure: str) -> _Term | None:
    """The columns that a published year is the sum of; None if a file has none of them."""
    names = _members(measure)
    places = tuple(place for place, column in enumerate(columns) if column.name in names)
    if not places:
        return None
    return _Term(measure, at, places, columns[places[0]].unit == "kwh")


def _members(measure: str) -> frozenset[str]:
    match = _GROUP.fullmatch(measure)
    if match is None:
        return frozenset({measure})
    fuels = _FUELS if match["fuel"] == _SITE else (match["fuel"],)
    return frozenset(
        f"out_{fuel}_{use}_energy_consumption_kwh"
        for fuel in fuels
        for use in _GROUP_USES[match["group"]]
    )
