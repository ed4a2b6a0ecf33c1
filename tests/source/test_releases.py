"""What is known of a release before a file of it is opened."""

from __future__ import annotations

import pytest

from oedi_spark.contracts import IntervalStamp, ReleaseFacts
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.releases import load_releases, resolve_release


def test_resolve_release_knows_a_registered_release() -> None:
    facts = resolve_release(ReleaseFolder("2024", "comstock_amy2018_release_1"))

    assert facts == ReleaseFacts("2024_comstock_amy2018_release_1", IntervalStamp.END, 35_040, 2018)


@pytest.mark.parametrize(
    ("year", "name", "interval_count"),
    [
        ("2022", "resstock_amy2012_release_1", 35_136),
        ("2022", "resstock_amy2012_release_1.1", 35_136),
        ("2025", "resstock_amy2012_release_1", 35_136),
        ("2025", "comstock_amy2012_release_2", 35_040),
        ("2022", "resstock_tmy3_release_1", 35_040),
    ],
)
def test_resolve_release_knows_the_leap_year_of_resstock(
    year: str, name: str, interval_count: int
) -> None:
    assert resolve_release(ReleaseFolder(year, name)).interval_count == interval_count


@pytest.mark.parametrize(
    ("year", "name"),
    [
        ("2031", "comstock_amy2030_release_1"),
        ("2025", "comstock_amy2018_release_9"),
        ("2023", "resstock_amy2018_release_1"),
    ],
)
def test_resolve_release_says_nothing_of_an_unregistered_one(year: str, name: str) -> None:
    facts = resolve_release(ReleaseFolder(year, name))

    assert facts == ReleaseFacts(f"{year}_{name}", stamp=None, interval_count=None)


def test_load_releases_has_one_entry_per_table_value() -> None:
    registered = load_releases()

    assert len(registered) == 22
    assert len({facts.release for facts in registered.values()}) == 22
    assert {facts.stamp for facts in registered.values()} == {IntervalStamp.END}
