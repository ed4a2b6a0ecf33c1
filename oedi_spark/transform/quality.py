"""Judge the hours of a building as they pass, and a partition before it is published.

Stage 5 of 7: rollup → QUALITY → writer.

The hours are looked at where they are, in memory, never by a second read. What is wrong with
one building is a reason code; how much may be wrong with a partition is the gate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import (
    Column,
    MeasureStatistics,
    Partition,
    Reason,
    RuleFinding,
    StagedFile,
    Verdict,
)
from oedi_spark.errors import FileFault
from oedi_spark.source.errata import find_errata
from oedi_spark.transform.accounts import open_accounts
from oedi_spark.transform.claims import BuildingJudge, Evidence, settle_breaches
from oedi_spark.transform.columns import Rule
from oedi_spark.transform.facts import FactFinder
from oedi_spark.transform.published_results import PublishedResults
from oedi_spark.transform.reconcile import Reconciler
from oedi_spark.transform.rules import RuleBook
from oedi_spark.transform.statistics import describe_measures


def count_missing_hours(
    hours: NDArray[np.float64],
    intervals: NDArray[np.floating[Any]],
    *,
    source_name: str,
    total: float | None = None,
) -> int:
    """How many hours have no value (NaN). One sum tells whether there is anything to count.

    The intervals are looked at only then: of +∞ and -∞ in one hour nothing is left but NaN.
    `total` is that sum, if it is known.

    Raises:
        FileFault: `not_finite`, when a value is infinite.
    """
    if total is None:
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(hours.sum())
    if math.isfinite(total):
        return 0
    if np.isinf(hours).any() or np.isinf(intervals).any():
        raise FileFault(Reason.NOT_FINITE, f"{source_name} holds an infinite value, or sums to one")
    return int(np.isnan(hours).sum())


@dataclass
class _Kind:
    """Buildings with the same columns: how they are judged, and how many were."""

    columns: list[Column]
    finder: FactFinder
    judge: BuildingJudge
    slacks_kwh: tuple[float, ...]
    published: Mapping[int, tuple[tuple[str, ...], Evidence]]
    """Of each building of which results are published: the rules asked of it, and its evidence."""
    unpublished: tuple[tuple[str, ...], Evidence]
    count: int = 0
    passed: list[tuple[int, Sequence[float]]] = field(default_factory=list)
    """Of each building that passed its hours and the sum of each column."""

    def years(self) -> dict[str, NDArray[np.float64]]:
        """Of each measure the buildings' years: sums, or means where hours are averaged."""
        years = np.array([totals for _, totals in self.passed])
        years = years.reshape(len(self.passed), len(self.columns))
        averaged = [at for at, column in enumerate(self.columns) if column.rule != Rule.SUM]
        years[:, averaged] /= np.array([count for count, _ in self.passed]).reshape(-1, 1)
        return {column.name: years[:, at] for at, column in enumerate(self.columns)}


class BuildingGate:
    """Judges the buildings of one batch as their hours pass, and counts what they amount to."""

    def __init__(
        self, book: RuleBook, partition: Partition, published: PublishedResults | None = None
    ) -> None:
        self._book, self._partition = book.of(partition.release), partition
        self._published = published
        self._errata = find_errata(partition)
        self._reconciled: Counter[tuple[str, ...]] = Counter()
        self._kinds: list[_Kind] = []
        self.findings: list[RuleFinding] = []

    def begin(self, columns: list[Column], hour_count: int) -> FactFinder:
        """What takes the hours of the next building, column after column."""
        kind = next((each for each in self._kinds if each.columns == columns), None)
        if kind is None:
            kind = self._add_kind(columns)
        elif kind is not self._kinds[0]:
            self._kinds.remove(kind)
            self._kinds.insert(0, kind)
        kind.finder.begin(hour_count)
        return kind.finder

    def _add_kind(self, columns: list[Column]) -> _Kind:
        accounts = open_accounts(columns)
        judge = BuildingJudge(accounts, self._book, self._partition.release)
        measures = self._published.measures if self._published else ()
        reconciler = Reconciler(columns, measures, self._book, self._errata)
        if self._published:
            reconciler.expect(self._published)
        kind = _Kind(
            columns=columns,
            finder=FactFinder(accounts, judge.limits),
            judge=judge,
            slacks_kwh=tuple(self._book.threshold(each.rule) for each in accounts.balances),
            published={
                bldg_id: (reconciler.asked(building), reconciler.evidence(building))
                for bldg_id, building in (
                    self._published.buildings if self._published else {}
                ).items()
            },
            unpublished=(reconciler.asked(None), reconciler.evidence(None)),
        )
        self._kinds.insert(0, kind)
        return kind

    def judge(self, ordinal: int, bldg_id: int, hours_missing: int) -> None:
        """Hold the building that has just passed against the rules.

        Raises:
            FileFault: A rule that blocks does not hold; the reason is its name.
        """
        kind = self._kinds[0]
        kind.count += 1
        figures = kind.finder.figures(hours_missing, kind.slacks_kwh)
        asked, evidence = kind.published.get(bldg_id, kind.unpublished)
        self._reconciled[asked] += 1
        self.findings += settle_breaches(kind.judge, figures, self._book, ordinal, evidence)
        kind.passed.append((figures.hour_count, figures.totals))

    def judged(self) -> dict[str, int]:
        """Of how many buildings each rule was asked."""
        counts: Counter[str] = Counter()
        for asked, count in self._reconciled.items():
            counts.update(dict.fromkeys(asked, count))
        for kind in self._kinds:
            counts.update(dict.fromkeys(kind.judge.asked, kind.count))
        return dict(counts)

    def statistics(
        self, staged: Sequence[StagedFile], field_ids: Mapping[str, int]
    ) -> dict[str, MeasureStatistics]:
        """What the buildings that passed amount to, by measure; `staged` holds them."""
        parts: dict[str, list[NDArray[np.float64]]] = {}
        for kind in self._kinds:
            for name, values in kind.years().items():
                parts.setdefault(name, []).append(values)
        years = {name: np.concatenate(values) for name, values in parts.items()}
        return describe_measures(years, staged, field_ids)


def judge_partitions(
    listed: Mapping[Partition, int],
    failed: Mapping[Partition, int],
    *,
    unstaged: Collection[Partition],
    max_failed_fraction: float,
    broken: Mapping[Partition, tuple[str, ...]] | None = None,
) -> tuple[Verdict, ...]:
    """One verdict per partition that had files, in order.

    Held back: more than `max_failed_fraction` of its files failed, nothing of it was staged, or
    a rule of it that blocks does not hold (`broken`, in words). A partition that listed no files
    at all gets no verdict: there is nothing to replace it with, and an empty listing must never
    empty a table.
    """
    return tuple(
        Verdict(
            partition=partition,
            listed=count,
            failed=failed.get(partition, 0),
            is_published=partition not in unstaged
            and failed.get(partition, 0) / count <= max_failed_fraction
            and not (broken or {}).get(partition),
            broken=(broken or {}).get(partition, ()),
        )
        for partition, count in sorted(listed.items())
        if count
    )
