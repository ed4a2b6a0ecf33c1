"""Known errata as data: well-formed, of the releases that they name, and no others."""

from __future__ import annotations

import re

import pytest

from oedi_spark.contracts import Partition
from oedi_spark.source.errata import Erratum, find_errata, load_errata
from oedi_spark.source.releases import load_releases
from oedi_spark.source.states import STATE_NAMES
from oedi_spark.transform.partition_claims import PartitionFigures, judge_partition
from oedi_spark.transform.reconcile import TYPE_INTENSITY
from oedi_spark.transform.rules import RULE_OF, RuleBook

WATER = "out_electricity_water_systems_energy_consumption_kwh"
SUMS = "sums_agree_with_published"


def ids_of(release: str, state: str, upgrade: int = 0) -> list[str]:
    return [each.id for each in find_errata(Partition(release, state, upgrade))]


def only(erratum_id: str) -> Erratum:
    (found,) = (each for each in load_errata() if each.id == erratum_id)
    return found


def test_every_erratum_names_things_that_exist() -> None:
    releases = [folder.release for folder in load_releases()]
    assert len({each.id for each in load_errata()}) == len(load_errata()) == 19
    for each in load_errata():
        for pattern in each.releases:
            assert any(pattern.fullmatch(release) for release in releases), each.id
        assert (each.states or set()) <= STATE_NAMES.keys()
        assert (each.building_types or set()) <= TYPE_INTENSITY.keys()
        assert each.excuses <= RULE_OF.keys()
        assert not any(RULE_OF[name].is_fixed for name in each.excuses)
        assert re.fullmatch(r"[a-z0-9_]+", each.id)
        assert each.what.endswith(".")
        assert each.source


@pytest.mark.parametrize(
    ("release", "state", "upgrade", "ids"),
    [
        ("2025_comstock_amy2018_release_3", "CA", 0, ["comstock_2025_3_california_water"]),
        ("2025_comstock_amy2018_release_3", "CO", 0, []),
        ("2025_comstock_amy2018_release_2", "CO", 55, ["comstock_2025_2_packages_swapped"]),
        ("2025_comstock_amy2018_release_2", "CO", 54, []),
        ("2025_comstock_amy2012_release_2", "HI", 0, ["comstock_2025_2_hawaii_weather"]),
        ("2024_comstock_amy2018_release_1", "GA", 0, []),
        (
            "2024_comstock_amy2018_release_1",
            "CA",
            0,
            ["comstock_california_plug_loads", "comstock_california_warehouses"],
        ),
        ("2022_resstock_amy2018_release_1", "AL", 0, []),
        ("2022_resstock_amy2018_release_1", "ME", 0, ["resstock_maine_walls"]),
        (
            "2021_comstock_amy2018_release_1",
            "CO",
            0,
            [
                "comstock_2021_site_energy_in_mbtu",
                "comstock_2021_units_of_the_dictionary",
                "comstock_gas_low",
            ],
        ),
    ],
)
def test_find_errata_gives_those_of_release_state_and_upgrade(
    release: str, state: str, upgrade: int, ids: list[str]
) -> None:
    assert ids_of(release, state, upgrade) == ids


def test_errata_of_files_that_are_not_read_are_listed_and_concern_no_partition() -> None:
    assert only("comstock_2021_blank_end_uses").concerns == "aggregates"
    assert "comstock_2021_blank_end_uses" not in ids_of("2021_comstock_amy2018_release_1", "CO")


def test_an_erratum_covers_its_rules_and_measures_alone() -> None:
    water = only("comstock_2025_3_california_water")

    assert water.covers(SUMS, WATER, None)
    assert water.covers(
        SUMS, "enduse_group_site_energy_water_systems_energy_consumption_kwh", "Hospital"
    )
    assert not water.covers(SUMS, "out_electricity_total_energy_consumption_kwh", None)
    assert not water.covers(SUMS, None, None)
    assert not water.covers("energy_is_not_negative", WATER, None)


def test_an_erratum_of_every_measure_covers_a_rule_of_none() -> None:
    hawaii = only("comstock_2025_2_hawaii_weather")

    assert hawaii.covers("values_are_plausible", None, None)
    assert not hawaii.covers(SUMS, None, None)


def breaches(release: str, state: str) -> dict[str, str]:
    figures = PartitionFigures(
        partition=Partition(release, state, 0),
        building_count=2,
        row_count=2 * 8760,
        expected_count=2,
        missing_count=0,
        described_count=2,
        unmatched_count=0,
    )
    return {each.rule.name: each.detail for each in judge_partition(figures, RuleBook())}


def test_a_partition_with_errata_breaks_release_is_without_errata_in_words() -> None:
    assert breaches("2022_resstock_amy2018_release_1", "ME") == {
        "release_is_without_errata": "resstock_maine_walls: Wall types are wrong in Maine."
    }
    assert breaches("2022_resstock_amy2018_release_1", "AL") == {}
