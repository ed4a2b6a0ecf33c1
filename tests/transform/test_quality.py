"""Missing and infinite hours, and the gate before a partition is published."""

from __future__ import annotations

import numpy as np
import pytest

from oedi_spark.contracts import Partition, Reason, Verdict
from oedi_spark.errors import FileFault
from oedi_spark.transform.quality import count_missing_hours, judge_partitions

AK, CO = Partition("2024_r", "AK", 0), Partition("2024_r", "CO", 0)
NAN, INF = float("nan"), float("inf")


def test_count_missing_hours_sees_infinities_that_cancel_to_nan() -> None:
    intervals = np.array([np.inf, -np.inf, 1.0, 1.0])

    with pytest.raises(FileFault) as fault:
        count_missing_hours(np.array([NAN]), intervals, source_name="out.a")

    assert fault.value.reason is Reason.NOT_FINITE


@pytest.mark.parametrize(
    ("hours", "missing"),
    [
        ([1.0, 2.0, 3.0], 0),
        ([NAN, 2.0, NAN], 2),
        ([NAN, NAN, NAN], 3),
        ([1.7e308, 1.7e308, 1.0], 0),
        ([1.7e308, 1.7e308, NAN], 1),
        ([-0.0, 0.0, 5e-324], 0),
    ],
)
def test_count_missing_hours_counts_nan_and_nothing_else(hours: list[float], missing: int) -> None:
    assert count_missing_hours(np.array(hours), np.array(hours), source_name="out.a") == missing


@pytest.mark.parametrize(
    "hours", [[INF, 1.0], [-INF, 1.0], [INF, -INF], [NAN, INF], [INF, NAN, -INF]]
)
def test_count_missing_hours_refuses_infinite_values(hours: list[float]) -> None:
    with pytest.raises(FileFault) as caught:
        count_missing_hours(np.array(hours), np.array(hours), source_name="out.electricity.total")

    assert caught.value.reason is Reason.NOT_FINITE
    assert "out.electricity.total" in caught.value.detail


@pytest.mark.parametrize(
    ("listed", "failed", "fraction", "is_published"),
    [
        (100, 0, 0.01, True),
        (100, 1, 0.01, True),
        (100, 2, 0.01, False),
        (99, 1, 0.01, False),
        (1, 1, 0.01, False),
        (1, 0, 0.0, True),
        (1_000_000, 1, 0.0, False),
        (4, 4, 1.0, True),
        (10, 1, 0.1, True),
        (1_000, 7, 0.007, True),
        (300, 3, 0.01, True),
        (700, 7, 0.01, True),
        (100, 29, 0.29, True),
        (100, 30, 0.29, False),
    ],
)
def test_judge_partitions_holds_back_more_failures_than_allowed(
    listed: int, failed: int, fraction: float, is_published: bool
) -> None:
    verdicts = judge_partitions(
        {CO: listed}, {CO: failed}, unstaged=(), max_failed_fraction=fraction
    )

    assert verdicts == (Verdict(CO, listed, failed, is_published),)


def test_judge_partitions_holds_back_what_has_nothing_staged() -> None:
    verdicts = judge_partitions({CO: 5, AK: 3}, {}, unstaged={CO}, max_failed_fraction=1.0)

    assert verdicts == (Verdict(AK, 3, 0, True), Verdict(CO, 5, 0, False))


def test_judge_partitions_gives_an_empty_listing_no_verdict() -> None:
    verdicts = judge_partitions({CO: 0, AK: 1}, {}, unstaged=(), max_failed_fraction=0.5)

    assert [verdict.partition for verdict in verdicts] == [AK]


def test_verdict_says_its_numbers() -> None:
    assert str(Verdict(CO, 100, 2, False)) == (
        "release=2024_r/state=CO/upgrade=0: 2 of 100 files failed"
    )
