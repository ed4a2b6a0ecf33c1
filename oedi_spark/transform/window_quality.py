"""The rules of a building by SQL, on the hours that Spark has staged: for the window engine.

In   the folder that Spark wrote, and the columns of each file in it.
Out  the same `Figures` that the fast engine finds on the way, judged by the same code.

One query per set of columns finds sums and extremes; a second one the gaps of the balances, when
it is known which columns have no value and which floor area energies and intensities agree on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - as everyone who writes Spark knows it

from oedi_spark.contracts import Column, FileOutcome, Partition, RuleFinding
from oedi_spark.errors import FileFault
from oedi_spark.source.errata import find_errata
from oedi_spark.transform.accounts import Accounts, open_accounts
from oedi_spark.transform.claims import (
    RELATIVE_GAP,
    BuildingJudge,
    Evidence,
    Figures,
    settle_breaches,
)
from oedi_spark.transform.columns import Rule
from oedi_spark.transform.pairs import find_area
from oedi_spark.transform.published_results import PublishedResults
from oedi_spark.transform.reconcile import Reconciler
from oedi_spark.transform.rules import RuleBook

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class StagedBuilding:
    """One building of a folder. `interval_totals`: the sum of each column's intervals, in order."""

    ordinal: int
    bldg_id: int
    columns: tuple[Column, ...]
    interval_totals: tuple[float, ...]


@dataclass(frozen=True)
class Judgement:
    """What became of one building: `outcome` when a rule that blocks does not hold."""

    outcome: FileOutcome | None
    findings: tuple[RuleFinding, ...]
    asked: tuple[str, ...]
    years: Mapping[str, float]


def judge_staged(
    hours: DataFrame,
    buildings: Sequence[StagedBuilding],
    book: RuleBook,
    partition: Partition,
    published: PublishedResults | None = None,
) -> dict[int, Judgement]:
    """Hold every building of staged hours against the rules; by ordinal."""
    book = book.of(partition.release)
    errata, measures = find_errata(partition), published.measures if published else ()
    groups: dict[tuple[Column, ...], list[StagedBuilding]] = {}
    for each in buildings:
        groups.setdefault(each.columns, []).append(each)
    judged: dict[int, Judgement] = {}
    for columns, members in groups.items():
        accounts = open_accounts(columns)
        judge = BuildingJudge(accounts, book, partition.release)
        reconciler = Reconciler(columns, measures, book, errata)
        for each, figures in _find_figures(hours, accounts, members):
            known = published.of(each.bldg_id) if published else None
            evidence, asked = reconciler.evidence(known), reconciler.asked(known)
            found = _judge(judge, figures, book, each, evidence)
            judged[each.ordinal] = replace(found, asked=(*found.asked, *asked))
    return judged


def _judge(
    judge: BuildingJudge,
    figures: Figures,
    book: RuleBook,
    building: StagedBuilding,
    evidence: Evidence,
) -> Judgement:
    try:
        findings = tuple(settle_breaches(judge, figures, book, building.ordinal, evidence))
    except FileFault as fault:
        outcome = FileOutcome(building.ordinal, fault.reason, fault.detail)
        return Judgement(outcome, (), judge.asked, {})
    years = {
        column.name: total if column.rule == Rule.SUM else total / figures.hour_count
        for column, total in zip(building.columns, figures.totals, strict=True)
    }
    return Judgement(None, findings, judge.asked, years)


def _find_figures(
    hours: DataFrame, accounts: Accounts, buildings: Sequence[StagedBuilding]
) -> Iterator[tuple[StagedBuilding, Figures]]:
    spark = hours.sparkSession
    by_id = {each.bldg_id: each for each in buildings}
    mine = hours.join(F.broadcast(_ids(spark, by_id)), "bldg_id")
    found = {
        row["bldg_id"]: _read_sums(row.asDict(), accounts, by_id[row["bldg_id"]])
        for row in mine.groupBy("bldg_id").agg(*_sums(accounts)).collect()
    }
    known = [
        (
            bldg_id,
            sorted(figures.absent),
            [at for at in sorted(accounts.generation) if figures.totals[at] > 0],
            _or_none(figures.area_ft2),
        )
        for bldg_id, figures in found.items()
    ]
    facts = spark.createDataFrame(
        known, "bldg_id long, absent array<int>, given array<int>, area_ft2 double"
    )
    gaps = hours.join(F.broadcast(facts), "bldg_id").groupBy("bldg_id").agg(*_gaps(accounts))
    for row in gaps.collect():
        figures = found[row["bldg_id"]]
        figures.gaps = [_or_nan(row[f"gap_{at}"]) for at in range(len(accounts.balances))]
        figures.pair_gap_kwh = _or_nan(row["pair_gap"])
        figures.hours_missing = row["hours_missing"]
        yield by_id[row["bldg_id"]], figures


def _ids(spark: SparkSession, ids: Mapping[int, StagedBuilding]) -> DataFrame:
    return spark.createDataFrame([(each,) for each in ids], "bldg_id long")


def _sums(accounts: Accounts) -> Iterator[Expression]:
    yield F.count(F.lit(1)).alias("hour_count")
    for at, column in enumerate(accounts.columns):
        value = F.col(column.name)
        yield F.count(value).alias(f"count_{at}")
        yield F.sum(value).alias(f"sum_{at}")
        yield F.min(value).alias(f"low_{at}")
        yield F.max(value).alias(f"high_{at}")


def _read_sums(
    row: Mapping[str, float | int | None], accounts: Accounts, building: StagedBuilding
) -> Figures:
    places = range(len(accounts.columns))
    hour_count = int(row["hour_count"] or 0)
    totals = [
        _or_nan(row[f"sum_{at}"]) if row[f"count_{at}"] == hour_count else math.nan for at in places
    ]
    return Figures(
        hour_count=hour_count,
        totals=totals,
        interval_totals=dict(enumerate(building.interval_totals)),
        lows=[_or_nan(row[f"low_{at}"]) for at in places],
        highs=[_or_nan(row[f"high_{at}"]) for at in places],
        gaps=(),
        area_ft2=find_area(accounts.pairs, totals),
        absent=frozenset(at for at in places if not row[f"count_{at}"]),
    )


def _gaps(accounts: Accounts) -> Iterator[Expression]:
    """Of each balance the largest gap, of the pairs too, and the hours that lack a value."""

    def value(at: int) -> Expression:
        """An hour's value: zero of a column without any, null of one that lacks it."""
        zero = F.when(F.array_contains("absent", at), F.lit(0.0))
        return F.coalesce(F.col(accounts.columns[at].name), zero)

    def signed(at: int) -> Expression:
        """An hour's value as a balance takes it: generation below zero, however it is written."""
        if at not in accounts.generation:
            return value(at)
        return F.when(F.array_contains("given", at), -value(at)).otherwise(value(at))

    def add(places: Sequence[int]) -> Expression:
        return reduce(lambda left, right: left + right, map(signed, places), F.lit(0.0))

    for at, balance in enumerate(accounts.balances):
        total = value(balance.total)
        yield _largest(add(balance.terms) - total, total).alias(f"gap_{at}")
    energies = add([energy for energy, _ in accounts.pairs])
    expected = add([intensity for _, intensity in accounts.pairs]) * F.col("area_ft2")
    yield _largest(energies - expected, energies).alias("pair_gap")
    lacks = [
        F.col(column.name).isNull() & ~F.array_contains("absent", at)
        for at, column in enumerate(accounts.columns)
    ]
    missing = reduce(or_, lacks, F.lit(False))
    yield F.sum(missing.cast("int")).alias("hours_missing")


def _largest(gap: Expression, total: Expression) -> Expression:
    return F.max(F.abs(gap) - RELATIVE_GAP * F.abs(total))


def _or_nan(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
