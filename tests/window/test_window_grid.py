"""Which stamps lie on a grid that is no regular quarter-hours, and where on it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oedi_spark.contracts import IntervalStamp, Reason, ReleaseFacts
from oedi_spark.errors import FileFault
from oedi_spark.transform.window_grid import find_grid

ANY = ReleaseFacts("2031_release", stamp=None, interval_count=None)
END_2018 = ReleaseFacts("2018_release", IntervalStamp.END, 35_040, 2018)
NEW_YEAR_2018_NS = 1_514_764_800 * 1_000_000_000
MINUTE_NS = 60 * 1_000_000_000


def stamps(step_min: int, *, first_min: int | None = None, days: int = 365) -> NDArray[np.int64]:
    """A year of stamps, the first so many minutes into 2018; named at the end by default."""
    first = step_min if first_min is None else first_min
    counts = np.arange(days * 24 * 60 // step_min, dtype=np.int64)
    return NEW_YEAR_2018_NS + (first + counts * step_min) * MINUTE_NS


@pytest.mark.parametrize(("step_min", "rows"), [(5, 105_120), (30, 17_520)])
def test_find_grid_knows_steps_of_5_and_30_minutes_named_at_either_end(
    step_min: int, rows: int
) -> None:
    at_end, at_beginning = stamps(step_min), stamps(step_min, first_min=0)
    assert len(at_end) == rows

    for found, shift_s in (
        (find_grid(at_end, END_2018), step_min * 60),
        (find_grid(at_beginning, ANY), 0),
    ):
        assert found is not None
        assert (found.step_s, found.shift_s, found.hour_count) == (step_min * 60, shift_s, 8760)
        assert found.hour_start_us[0] == NEW_YEAR_2018_NS // 1000
        assert found.incomplete_hours().tolist() == []


def test_find_grid_tells_hours_with_gaps_from_hours_that_are_gone() -> None:
    # Rows 5 is 01:15 to 01:30; rows 8 to 11 are the hour from 02:00.
    gappy = np.delete(stamps(15), [5, 8, 9, 10, 11])

    found = find_grid(gappy, END_2018)

    assert found is not None
    assert found.incomplete_hours().tolist() == [1, 2]
    assert found.empty_hours().tolist() == [2]
    assert found.hour_count == 8760


@pytest.mark.parametrize(
    "odd",
    [
        np.concatenate([stamps(15)[:17_520], stamps(30)[8_760:]]),
        stamps(60),
        stamps(10),
        np.delete(stamps(15), np.arange(1, 35_000, 3)),
        np.delete(stamps(15), 0),
        np.concatenate([stamps(15)[:100], stamps(15)[99:]]),
        stamps(15)[::-1],
        stamps(15)[:1],
        stamps(15)[:0],
        stamps(30) + 5 * MINUTE_NS,
    ],
    ids=[
        "mixed",
        "hours",
        "10_min",
        "one_in_three",
        "no_first",
        "twice",
        "backwards",
        "1",
        "0",
        "off_the_hour",
    ],
)
def test_find_grid_is_certain_or_says_nothing(odd: NDArray[np.int64]) -> None:
    assert find_grid(odd, ANY) is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (stamps(30, days=364), Reason.WRONG_ROW_COUNT),
        (stamps(30, days=366), Reason.WRONG_ROW_COUNT),
        (stamps(30, first_min=0), Reason.STAMP_CONTRADICTS_RELEASE),
        (stamps(30) + 365 * 24 * 60 * MINUTE_NS, Reason.WRONG_YEAR),
    ],
    ids=["too_few", "too_many", "beginning", "2019"],
)
def test_find_grid_holds_a_grid_to_the_release(values: NDArray[np.int64], reason: Reason) -> None:
    with pytest.raises(FileFault) as caught:
        find_grid(values, END_2018)

    assert caught.value.reason is reason
