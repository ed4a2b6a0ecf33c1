"""Rules of a whole partition, the rule book, and statistics that merge."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from oedi_spark.contracts import MeasureStatistics, Partition, Reason
from oedi_spark.contracts_metadata import GeographyCoverage
from oedi_spark.source.releases import load_releases
from oedi_spark.transform.partition_claims import PartitionFigures, judge_partition, say_blocking
from oedi_spark.transform.rule_kinds import Scope, Severity
from oedi_spark.transform.rules import RULE_OF, RULES, RuleBook, build_rule_book
from oedi_spark.transform.statistics import describe_measures, find_median
from tests.conftest import PROJECT

SUMS = "sums_agree_with_published"
INTENSITY = "out_site_energy_total_energy_consumption_intensity_kwh_per_ft2"


def count_years(years: np.ndarray) -> MeasureStatistics:
    """What is counted of one measure's years, without any staged hours."""
    return describe_measures({INTENSITY: years}, (), {INTENSITY: 1})[INTENSITY]


def _of_intensity(kwh_per_ft2: float, buildings: int = 30) -> dict[str, MeasureStatistics]:
    return {INTENSITY: count_years(np.full(buildings, kwh_per_ft2))}


SOUND = PartitionFigures(
    partition=Partition("2022_resstock_amy2018_release_1", "CO", 0),
    building_count=30,
    row_count=30 * 8760,
    expected_count=30,
    missing_count=0,
    described_count=30,
    unmatched_count=0,
    statistics=_of_intensity(12.0),
    geographies=(
        GeographyCoverage("county", 5, 5, 600.0, 600.0),
        GeographyCoverage("state", 1, 1, 600.0, 600.0),
    ),
)


def _broken(figures: PartitionFigures, book: RuleBook | None = None) -> list[str]:
    return [breach.rule.name for breach in judge_partition(figures, book or RuleBook())]


def test_a_sound_partition_breaks_no_rule() -> None:
    assert _broken(SOUND) == []


COUNTY = GeographyCoverage("county", 5, 5, 600.0, 600.0)
PARTITION_FIRES: tuple[tuple[str, dict[str, object]], ...] = (
    ("rows_are_as_many_as_proved", {"row_count": 0, "building_count": 0}),
    ("rows_are_as_many_as_proved", {"row_count": 30 * 8760 - 1}),
    ("rows_are_as_many_as_proved", {"row_count": 31 * 8760}),
    ("state_is_known", {"partition": Partition("2022_resstock_x", "XX", 0)}),
    ("counties_are_valid", {"geographies": (replace(COUNTY, astray_weight=0.1),)}),
    ("buildings_have_weight", {"geographies": (replace(COUNTY, weightless_count=1),)}),
    ("expected_buildings_are_present", {"expected_count": 31, "missing_count": 1}),
    ("series_and_metadata_agree", {"unmatched_count": 1}),
    ("median_intensity_is_of_its_sort", {"statistics": _of_intensity(48.0)}),
    ("median_intensity_is_of_its_sort", {"statistics": _of_intensity(3.0)}),
    (
        "release_is_without_errata",
        {"partition": Partition("2022_resstock_amy2018_release_1", "ME", 0)},
    ),
)


@pytest.mark.parametrize(("rule", "changes"), PARTITION_FIRES)
def test_a_partition_that_is_not_sound_breaks_exactly_one_rule(
    rule: str, changes: dict[str, object]
) -> None:
    assert _broken(replace(SOUND, **changes)) == [rule]  # type: ignore[arg-type]  # of many types


@pytest.mark.parametrize(
    "changes",
    [
        {"row_count": 30 * 8784},
        {"described_count": 0, "unmatched_count": 30},
        {"statistics": _of_intensity(48.0, buildings=29)},
        {"statistics": _of_intensity(35.0)},
        {"statistics": {}},
        {"geographies": ()},
    ],
)
def test_a_partition_that_is_merely_different_breaks_no_rule(changes: dict[str, object]) -> None:
    assert _broken(replace(SOUND, **changes)) == []  # type: ignore[arg-type]  # of many types


def test_weight_without_a_county_is_told_by_kind_and_may_be_eased() -> None:
    astray = (
        replace(COUNTY, weight=590.0, covered_weight=590.0, astray_weight=10.0),
        GeographyCoverage("puma", 3, 3, 600.0, 600.0, astray_weight=1.5),
        GeographyCoverage("state", 1, 1, 600.0, 600.0),
    )
    figures = replace(SOUND, geographies=astray)
    eased = build_rule_book({"counties_are_valid": {"threshold": 0.02}})

    (breach,) = judge_partition(figures, RuleBook())

    assert breach.detail == (
        "weight 10 of 600 is of no county of CO; weight 1.5 of 600 is of no puma of CO"
    )
    assert _broken(figures, eased) == []


def test_a_rule_that_a_config_raises_blocks_and_a_threshold_moves() -> None:
    figures = replace(SOUND, expected_count=40, missing_count=10)
    raised = build_rule_book({"expected_buildings_are_present": {"severity": "block"}})
    eased = build_rule_book({"expected_buildings_are_present": {"threshold": 0.25}})

    breaches = list(judge_partition(figures, raised))

    assert say_blocking(breaches, raised) == (
        "expected_buildings_are_present: 10 of 40 buildings have no file",
    )
    assert say_blocking(breaches, RuleBook()) == ()
    assert _broken(figures, eased) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"energy_is_not_negativ": {}}, "did you mean energy_is_not_negative?"),
        ({"rhubarb": {}}, "'rhubarb' is no rule; known are file_is_as_listed, "),
        ({"energy_is_no_power": {"severity": "maybe"}}, "'maybe' is none of block, warn, off"),
        ({"file_is_sound": {"severity": "warn"}}, "always block, for without it the hours"),
        ({"file_is_sound": {"threshold": 1}}, "the rule has none"),
        ({"energy_is_no_power": {"threshold": True}}, "True is no number"),
        ({"energy_is_no_power": {"threshold": -1}}, "-1 is not between 0 and infinity"),
        ({"energy_is_no_power": {"threshold": float("nan")}}, "nan is not between"),
        ({"energy_is_no_power": {"sverity": "off"}}, "known are severity, elsewhere, threshold"),
        ({"energy_is_no_power": {"elsewhere": "warn"}}, "asks the same of every release"),
        ({SUMS: {"elsewhere": "maybe"}}, "elsewhere: 'maybe' is none of block, warn, off"),
        ({SUMS: {"severity": ["block"]}}, "severity: ['block'] is none of block, warn, off"),
    ],
)
def test_build_rule_book_refuses_what_it_does_not_know(
    changes: dict[str, dict[str, object]], fault: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        build_rule_book(changes)


def test_build_rule_book_changes_what_is_named_and_nothing_else() -> None:
    book = build_rule_book({"energy_is_no_power": {"severity": "warn"}})

    rule = RULE_OF["energy_is_no_power"]
    assert (book.severity(rule), book.threshold(rule)) == (Severity.WARN, 0.02)
    changed = {name for name, told in book.as_json().items() if told != RuleBook().as_json()[name]}
    assert changed == {"energy_is_no_power"}


SEEN, UNSEEN = "2024_comstock_amy2018_release_1", "2025_comstock_amy2018_release_3"


@pytest.mark.parametrize(
    ("given", "seen", "unseen"),
    [
        ({}, "block", "warn"),
        ({"threshold": 0.5}, "block", "warn"),
        ({"severity": "block"}, "block", "block"),
        ({"severity": "warn"}, "warn", "warn"),
        ({"severity": "off"}, "off", "off"),
        ({"elsewhere": "block"}, "block", "block"),
        ({"elsewhere": "off"}, "block", "off"),
        ({"severity": "block", "elsewhere": "warn"}, "block", "warn"),
    ],
)
def test_a_rule_blocks_where_it_is_verified_unless_a_config_says_otherwise(
    given: dict[str, object], seen: str, unseen: str
) -> None:
    book, rule = build_rule_book({SUMS: given}), RULE_OF[SUMS]

    assert book.of(SEEN).severity(rule) == seen
    assert book.of(UNSEEN).severity(rule) == book.of("2031_farms").severity(rule) == unseen
    assert book.of(UNSEEN).is_on(rule) is (unseen != "off")
    assert book.of(UNSEEN).is_eased(rule) is (seen == "block" and unseen != "block")
    assert not book.of(SEEN).is_eased(rule)


def test_which_rules_are_verified_and_on_which_releases() -> None:
    """Of real files: three homes of ResStock 2022 R1, an office of ComStock 2024 R1."""
    homes, offices = "2022_resstock_amy2018_release_1", "2024_comstock_amy2018_release_1"

    assert {rule.name: set(rule.verified_on) for rule in RULES if rule.verified_on is not None} == {
        "energy_is_not_negative": {homes, offices},
        "end_uses_sum_to_fuel_totals": {homes, offices},
        "fuel_totals_sum_to_site_energy": {homes, offices},
        "net_is_total_and_generation": set(),
        "energy_is_intensity_times_area": {homes, offices},
        "sums_agree_with_published": {offices},
    }
    assert {homes, offices} <= {folder.release for folder in load_releases()}


def test_a_release_on_which_a_rule_is_verified_is_part_of_what_a_run_was_judged_by() -> None:
    told = RuleBook().as_json()[SUMS]
    strict = build_rule_book({SUMS: {"severity": "block"}}).as_json()[SUMS]

    assert told == {
        "severity": "block",
        "elsewhere": "warn",
        "verified_on": [SEEN],
        "threshold": 0.001,
    }
    assert strict == {"severity": "block", "threshold": 0.001}


def test_the_listed_rules_are_the_defaults() -> None:
    listed = yaml.safe_load((PROJECT / "conf" / "quality.yaml").read_text("utf-8"))["rules"]

    assert list(listed) == [rule.name for rule in RULES]
    for rule in RULES:
        told = {"severity": rule.severity.value}
        if rule.verified_on is not None:
            told["elsewhere"] = "warn"
        if rule.threshold is not None:
            told["threshold"] = rule.threshold  # type: ignore[assignment]  # numbers beside text
        assert listed[rule.name] == told
    assert build_rule_book(listed).as_json() == RuleBook().as_json()


def test_docs_name_every_rule_and_every_reason() -> None:
    quality = Path(PROJECT / "docs" / "quality.md").read_text("utf-8")
    tables = Path(PROJECT / "docs" / "tables.md").read_text("utf-8")

    assert [rule.name for rule in RULES if f"`{rule.name}`" not in quality] == []
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in tables + quality] == []


def test_a_rule_that_can_block_a_building_is_a_reason() -> None:
    measured = {rule.name for rule in RULES if rule.scope is Scope.FILE and not rule.reasons}

    assert measured <= {reason.value for reason in Reason}


def test_find_median_is_within_one_percent_of_the_true_one() -> None:
    rng = np.random.default_rng(7)
    for count in (1, 2, 999, 1000):
        values = rng.lognormal(mean=9, sigma=2, size=count)
        found = find_median(count_years(values).histogram)
        assert found == pytest.approx(float(np.median(values)), rel=0.0101)


def test_find_median_of_signs_and_zeros() -> None:
    assert find_median(count_years(np.array([-8.0, 0.0, 5.0])).histogram) == 0.0
    assert find_median(count_years(np.array([-8.0, -8.0, 5.0])).histogram) == pytest.approx(
        -8.0, rel=0.01
    )
    assert find_median({}) is None


def test_merged_statistics_are_those_of_all_buildings() -> None:
    years = np.array([1.0, 10.0, 100.0, 1000.0, np.nan])
    first = replace(count_years(years[:2]), hour_count=20, null_count=1, lower=-1.0, upper=2.0)
    second = replace(count_years(years[2:]), hour_count=30, null_count=2, lower=0.0, upper=9.0)

    both = first.merged(second)

    assert both == replace(count_years(years), hour_count=50, null_count=3, lower=-1.0, upper=9.0)
    assert (both.building_count, both.annual_total) == (4, 1111.0)


def test_the_histogram_has_few_bins_however_many_buildings() -> None:
    values = np.geomspace(1e-12, 1e40, 200_000)

    assert len(count_years(np.concatenate([values, -values])).histogram) < 10_000
