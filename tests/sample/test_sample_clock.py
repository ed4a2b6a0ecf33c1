"""The time axis of the sample: wall clocks, the shift to EST and its seam."""

from __future__ import annotations

import numpy as np
import pytest

from oedi_spark.sample.clock import build_clock, build_stamps, shift_to_eastern
from oedi_spark.sample.places import load_places
from oedi_spark.sample.schemas import SeriesYear, resolve_series_year
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.releases import load_releases


def test_shift_to_eastern_moves_two_hours_and_wraps_the_end_to_the_beginning() -> None:
    local = np.arange(12, dtype=np.float64)

    assert shift_to_eastern(local, 2).tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3]


def test_shift_to_eastern_leaves_eastern_states_alone() -> None:
    assert shift_to_eastern(np.array([1.0, 2.0]), 0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("state", "hours_west"),
    [("NY", 0), ("AR", 1), ("CO", 2), ("CA", 3), ("AK", 4), ("HI", 5), ("DC", 0)],
)
def test_load_places_knows_how_far_west_a_state_is(state: str, hours_west: int) -> None:
    assert load_places()[state].hours_west == hours_west


def test_load_places_has_the_states_and_dc_each_with_its_own_fips_and_counties() -> None:
    places = load_places()

    assert len(places) == 51
    assert len({place.fips for place in places.values()}) == 51
    for place in places.values():
        assert all(county.startswith(f"G{place.fips:02d}0") for county in place.counties)
        assert all(len(county) == 8 for county in place.counties)


@pytest.mark.parametrize(
    ("quarter", "wall_hour"),
    [
        (69 * 96 + 7, 1.75),  # 11 March 2018, 1:45 standard
        (69 * 96 + 8, 3.0),  # 2:00 standard is 3:00 on the wall
        (307 * 96 + 3, 1.75),  # 4 November 2018, 0:45 standard is 1:45 on the wall
        (307 * 96 + 4, 1.0),  # 1:00 standard is 1:00 again
    ],
)
def test_build_clock_follows_daylight_saving_time(quarter: int, wall_hour: float) -> None:
    clock = build_clock(SeriesYear(2018, 35_040), load_places()["CO"])

    assert clock.wall_hour[quarter] == wall_hour


def test_build_clock_has_no_daylight_saving_time_in_arizona() -> None:
    clock = build_clock(SeriesYear(2018, 35_040), load_places()["AZ"])

    assert np.array_equal(clock.wall_hour, clock.hour)


def test_build_clock_begins_2018_on_a_monday() -> None:
    clock = build_clock(SeriesYear(2018, 35_040), load_places()["NY"])

    assert clock.is_weekend[::96][:8].tolist() == [False] * 5 + [True, True, False]


@pytest.mark.parametrize(
    ("release", "first", "last"),
    [
        ("2024/comstock_amy2018_release_1", "2018-01-01T00:15", "2019-01-01T00:00"),
        ("2021/comstock_tmy3_release_1", "2007-01-01T00:15", "2008-01-01T00:00"),
        ("2025/resstock_amy2012_release_1", "2012-01-01T00:15", "2013-01-01T00:00"),
        ("2025/comstock_amy2012_release_2", "2012-01-01T00:15", "2012-12-31T00:00"),
    ],
)
def test_build_stamps_names_the_end_of_each_quarter(release: str, first: str, last: str) -> None:
    stamps = build_stamps(resolve_series_year(ReleaseFolder(*release.split("/"))))

    assert stamps[0] == np.datetime64(first)
    assert stamps[-1] == np.datetime64(last)


def test_resolve_series_year_counts_the_rows_that_the_release_registry_expects() -> None:
    for folder, facts in load_releases().items():
        if facts.interval_count is None:  # no series at all
            assert folder == ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
            continue
        assert resolve_series_year(folder).interval_count == facts.interval_count, folder
