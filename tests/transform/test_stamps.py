"""The year of the stamps: the release's own, and as long as that year is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oedi_spark.contracts import IntervalStamp, Reason, ReleaseFacts
from oedi_spark.errors import FileFault
from oedi_spark.transform.stamps import prove_hours

QUARTER_NS = 900 * 1_000_000_000


def year_of_stamps(year: int, rows: int) -> NDArray[np.int64]:
    first = np.datetime64(f"{year}-01-01T00:15:00", "ns").astype(np.int64)
    return np.int64(first) + QUARTER_NS * np.arange(rows, dtype=np.int64)


def refusal(stamps_ns: NDArray[np.int64], facts: ReleaseFacts) -> Reason:
    with pytest.raises(FileFault) as fault:
        prove_hours(stamps_ns, facts)
    return fault.value.reason


def test_prove_hours_refuses_stamps_of_another_year_than_the_release() -> None:
    facts = ReleaseFacts("2024_comstock_amy2018_release_1", IntervalStamp.END, 35_040, 2018)

    assert refusal(year_of_stamps(2017, 35_040), facts) is Reason.WRONG_YEAR
    assert len(prove_hours(year_of_stamps(2018, 35_040), facts)) == 8_760


def test_prove_hours_takes_the_year_of_a_typical_year_as_it_is() -> None:
    facts = ReleaseFacts("2022_resstock_tmy3_release_1", IntervalStamp.END, 35_040, None)

    hours = prove_hours(year_of_stamps(2007, 35_040), facts)

    assert np.datetime64(int(hours[0]), "us") == np.datetime64("2007-01-01T00:00:00")


@pytest.mark.parametrize(("year", "is_refused"), [(2018, True), (2012, False), (1900, True)])
def test_prove_hours_gives_366_days_to_leap_years_only(year: int, is_refused: bool) -> None:
    facts = ReleaseFacts("2031_resstock_x", None, None)

    if is_refused:
        assert refusal(year_of_stamps(year, 35_136), facts) is Reason.WRONG_ROW_COUNT
    else:
        assert len(prove_hours(year_of_stamps(year, 35_136), facts)) == 8_784


def test_prove_hours_takes_365_days_of_a_leap_year() -> None:
    facts = ReleaseFacts("2025_comstock_amy2012_release_2", IntervalStamp.END, 35_040, 2012)

    hours = prove_hours(year_of_stamps(2012, 35_040), facts)

    assert np.datetime64(int(hours[-1]), "us") == np.datetime64("2012-12-30T23:00:00")
