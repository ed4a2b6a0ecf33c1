"""Which columns of a building must add up to which, told by their names.

Fuel totals are made of end uses, site energy of fuel totals, net of total and generation; and
each energy has an intensity beside it, which is that energy per floor area. Releases differ in
the columns that they have, never in this.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from oedi_spark.contracts import Column
from oedi_spark.transform.rule_kinds import QualityRule
from oedi_spark.transform.rules import (
    END_USES_SUM_TO_FUEL_TOTALS,
    FUEL_TOTALS_SUM_TO_SITE_ENERGY,
    NET_IS_TOTAL_AND_GENERATION,
)

SITE = "site_energy"
_TOTAL, _NET, _PANELS = "total", "net", "pv"
_NO_END_USES = frozenset({_TOTAL, _NET, _PANELS, "purchased"})
_STORAGE = frozenset({"battery", "generator"})
_SIGNED_USES = frozenset({_NET, _PANELS, "purchased"}) | _STORAGE
_ENERGY = re.compile(
    r"out\.(?P<fuel>\w+)\.(?P<use>\w+)\.energy_consumption(?P<intensity>_intensity)?(?:\.{1,2}\w+)?"
)


@dataclass(frozen=True)
class Balance:
    """Columns (by their place) that must add up to another one in every hour."""

    rule: QualityRule
    name: str
    terms: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Accounts:
    """What a file's columns have to do with each other; places are those of `columns`.

    `pairs`: each energy with its intensity. `unsigned`: energies that cannot be negative.
    `bounded`: columns whose values are held against a range; an intensity that has its energy
    is not, the two are held against each other. `area`: the floor area in ft², if it is there.
    `generation`: what panels give, which some releases write below zero and others above: the
    sign of its year says which, and a balance always takes it off.
    """

    columns: tuple[Column, ...]
    balances: tuple[Balance, ...]
    pairs: tuple[tuple[int, int], ...]
    unsigned: frozenset[int]
    bounded: frozenset[int]
    site_energy: int | None
    area: int | None
    generation: frozenset[int] = frozenset()

    def signed(self, at: int, total: float) -> float:
        """A year as a balance takes it: nothing of NaN, generation below zero."""
        if math.isnan(total):
            return 0.0
        return -abs(total) if at in self.generation else total


def open_accounts(columns: Sequence[Column]) -> Accounts:
    """Read the accounts off the names of a file's measures, in the file's order."""
    energies: dict[tuple[str, str], int] = {}
    intensities: dict[tuple[str, str], int] = {}
    area = None
    for at, column in enumerate(columns):
        match = _ENERGY.fullmatch(column.source_name.lower())
        if column.name == "in_sqft_ft2":
            area = at
        elif match and match["intensity"] and column.unit == "kwh_per_ft2":
            intensities[match["fuel"], match["use"]] = at
        elif match and not match["intensity"] and column.unit == "kwh":
            energies[match["fuel"], match["use"]] = at
    # Of signed energies large ones cancel in a sum, and their rounding does not.
    pairs = tuple(
        (at, intensities[use])
        for use, at in energies.items()
        if use in intensities and use[1] not in _SIGNED_USES
    )
    paired = set(intensities.values())
    return Accounts(
        columns=tuple(columns),
        balances=tuple(_balances(MappingProxyType(energies))),
        pairs=pairs,
        unsigned=frozenset(at for (_, use), at in energies.items() if use not in _SIGNED_USES),
        bounded=frozenset(range(len(columns))) - paired,
        site_energy=energies.get((SITE, _TOTAL)),
        area=area,
        generation=frozenset(at for (_, use), at in energies.items() if use == _PANELS),
    )


def _balances(energies: Mapping[tuple[str, str], int]) -> Iterator[Balance]:
    fuels = list(dict.fromkeys(fuel for fuel, _ in energies if fuel != SITE))
    for fuel in fuels:
        terms = tuple(
            at for (one, use), at in energies.items() if one == fuel and use not in _NO_END_USES
        )
        total = energies.get((fuel, _TOTAL))
        if terms and total is not None:
            yield Balance(END_USES_SUM_TO_FUEL_TOTALS, fuel, terms, total)
    site = energies.get((SITE, _TOTAL))
    totals = tuple(energies[fuel, _TOTAL] for fuel in fuels if (fuel, _TOTAL) in energies)
    if site is not None and totals and len(totals) == len(fuels):
        yield Balance(FUEL_TOTALS_SUM_TO_SITE_ENERGY, SITE, totals, site)
    if any(use in _STORAGE for _, use in energies):
        return  # what net is made of then is not known
    panels = energies.get(("electricity", _PANELS))
    for fuel in ("electricity", SITE):
        total, net = energies.get((fuel, _TOTAL)), energies.get((fuel, _NET))
        if total is not None and net is not None:
            terms = (total,) if panels is None else (total, panels)
            yield Balance(NET_IS_TOTAL_AND_GENERATION, f"{fuel} net", terms, net)
