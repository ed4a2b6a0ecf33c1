"""Hold a whole partition against the rules, on the driver, before anything of it is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from oedi_spark.contracts import MeasureStatistics, Partition
from oedi_spark.contracts_metadata import GeographyCoverage
from oedi_spark.source.errata import find_errata
from oedi_spark.source.states import fips_of
from oedi_spark.transform import rules
from oedi_spark.transform.claims import MEDIAN_INTENSITY, Breach, find_product
from oedi_spark.transform.rule_kinds import Scope, Severity
from oedi_spark.transform.rules import RuleBook
from oedi_spark.transform.statistics import find_median

HOURS_PER_YEAR = (8760, 8784)
LEAST_BUILDINGS = 30
"""Of fewer, the one in the middle says little."""

_SITE_INTENSITY = "out_site_energy_total_energy_consumption_intensity_kwh_per_ft2"


@dataclass(frozen=True)
class PartitionFigures:
    """What is known of a partition when all its files are in.

    `expected_count`: buildings that any upgrade has. `missing_count`: those of them that this one
    has not. `described_count`: buildings of its metadata; 0 if there is none.
    `unmatched_count`: those in the series alone, or in the metadata alone. `geographies`: of its
    metadata, by kind.
    """

    partition: Partition
    building_count: int
    row_count: int
    expected_count: int
    missing_count: int
    described_count: int
    unmatched_count: int
    statistics: Mapping[str, MeasureStatistics] = field(default_factory=dict)
    geographies: tuple[GeographyCoverage, ...] = ()


def judge_partition(figures: PartitionFigures, book: RuleBook) -> Iterator[Breach]:
    """What does not hold of a partition, one breach for each rule.

    `enough_files_pass` is not among it: `quality.judge_partitions` counts the files.
    """
    book = book.of(figures.partition.release)
    for rule in rules.RULES:
        find = _FINDERS.get(rule.name)
        if rule.scope is Scope.PARTITION and find and book.is_on(rule):
            detail = find(figures, book.threshold(rule))
            if detail is not None:
                yield Breach(rule, detail)


def say_blocking(breaches: list[Breach], book: RuleBook) -> tuple[str, ...]:
    """The breaches that hold a partition back, in words."""
    return tuple(
        f"{breach.rule.name}: {breach.detail}"
        for breach in breaches
        if book.severity(breach.rule) is Severity.BLOCK
    )


def _find_lost_rows(figures: PartitionFigures, _threshold: float) -> str | None:
    buildings, rows = figures.building_count, figures.row_count
    if not rows:
        return "not one row was staged"
    spare = rows - buildings * min(HOURS_PER_YEAR)
    if spare % 24 or not 0 <= spare <= 24 * buildings:
        return f"{rows:,} rows of {buildings:,} buildings are no whole years"
    return None


def _find_unknown_state(figures: PartitionFigures, _threshold: float) -> str | None:
    state = figures.partition.state
    return None if fips_of(state) else f"{state!r} is no state"


def _find_astray(figures: PartitionFigures, threshold: float) -> str | None:
    weight = max((each.weight for each in figures.geographies), default=0.0)
    told = [
        f"weight {each.astray_weight:.6g} of {weight:.6g} is of no {each.kind} of "
        f"{figures.partition.state}"
        for each in figures.geographies
        if each.astray_weight > threshold * weight
    ]
    return "; ".join(told) or None


def _find_weightless(figures: PartitionFigures, threshold: float) -> str | None:
    count = max((each.weightless_count for each in figures.geographies), default=0)
    if count > threshold * figures.described_count:
        return f"{count:,} of {figures.described_count:,} buildings have a weight of zero"
    return None


def _find_missing(figures: PartitionFigures, threshold: float) -> str | None:
    if figures.missing_count > threshold * figures.expected_count:
        return f"{figures.missing_count:,} of {figures.expected_count:,} buildings have no file"
    return None


def _find_unmatched(figures: PartitionFigures, threshold: float) -> str | None:
    if figures.described_count and figures.unmatched_count > threshold * figures.described_count:
        return (
            f"{figures.unmatched_count:,} buildings are in the series or in the metadata alone, "
            f"which has {figures.described_count:,}"
        )
    return None


def _find_odd_median(figures: PartitionFigures, threshold: float) -> str | None:
    product = find_product(figures.partition.release)
    found = figures.statistics.get(_SITE_INTENSITY)
    if product is None or found is None or found.building_count < LEAST_BUILDINGS:
        return None
    median, usual = find_median(found.histogram) or 0.0, MEDIAN_INTENSITY[product]
    if usual / threshold <= median <= usual * threshold:
        return None
    return f"the median building takes {median:.4g} kWh per ft² and year, {product} some {usual:g}"


def _find_errata(figures: PartitionFigures, _threshold: float) -> str | None:
    told = [f"{each.id}: {each.what}" for each in find_errata(figures.partition)]
    return " ".join(told) or None


_FINDERS: Mapping[str, Callable[[PartitionFigures, float], str | None]] = {
    rules.ROWS_ARE_AS_MANY_AS_PROVED.name: _find_lost_rows,
    rules.STATE_IS_KNOWN.name: _find_unknown_state,
    rules.COUNTIES_ARE_VALID.name: _find_astray,
    rules.BUILDINGS_HAVE_WEIGHT.name: _find_weightless,
    rules.EXPECTED_BUILDINGS_ARE_PRESENT.name: _find_missing,
    rules.SERIES_AND_METADATA_AGREE.name: _find_unmatched,
    rules.MEDIAN_INTENSITY_IS_OF_ITS_SORT.name: _find_odd_median,
    rules.RELEASE_IS_WITHOUT_ERRATA.name: _find_errata,
}
