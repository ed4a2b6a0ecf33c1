"""Quarter-hours to hours: which four go together, and what becomes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oedi_spark.transform.columns import Rule
from oedi_spark.transform.rollup import roll_up_constant, roll_up_intervals

NAN = float("nan")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def _roll_up(values: list[float] | NDArray[np.floating[Any]], rule: Rule) -> list[float]:
    hours = np.full(len(values) // 4, 12345.0)
    roll_up_intervals(np.asarray(values), rule, hours)
    return hours.tolist()


def _constant(value: float, rule: Rule) -> list[float]:
    hours = np.full(3, 12345.0)
    roll_up_constant(value, rule, hours)
    return hours.tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule.SUM, [15.0, 240.0, 3840.0]),
        (Rule.MEAN, [3.75, 60.0, 960.0]),
        (Rule.KEEP, [1.0, 16.0, 256.0]),
    ],
)
def test_roll_up_intervals_takes_four_at_a_time_in_order(rule: Rule, expected: list[float]) -> None:
    powers = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0]

    assert _roll_up(powers, rule) == expected


def test_roll_up_intervals_adds_single_precision_in_double() -> None:
    # In single precision 16777216 + 1 is 16777216, and the sum would be 16777216.
    values = np.array([16_777_216.0, 1.0, 1.0, 1.0], dtype=np.float32)

    assert _roll_up(values, Rule.SUM) == [16_777_219.0]


def test_roll_up_intervals_widens_before_it_adds() -> None:
    # The single nearest to 0.1 is 13421773 / 2**27; four of them, exactly.
    values = np.full(4, 0.1, dtype=np.float32)

    assert _roll_up(values, Rule.SUM) == [4 * 13_421_773 / 2**27]
    assert _roll_up(values, Rule.SUM) != [0.4]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [Rule.SUM, Rule.MEAN])
@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_roll_up_intervals_with_a_missing_interval_has_no_hour(
    kind: type[np.floating[Any]], rule: Rule, missing: int
) -> None:
    values = np.arange(12, dtype=kind)
    values[4 + missing] = NAN

    hours = _roll_up(values, rule)

    assert [math.isnan(hour) for hour in hours] == [False, True, False]


def test_roll_up_intervals_keeps_the_first_and_no_other() -> None:
    assert _roll_up([5.0, NAN, NAN, NAN, 6.0, 7.0, 8.0, 9.0], Rule.KEEP) == [5.0, 6.0]
    assert math.isnan(_roll_up([NAN, 1.0, 1.0, 1.0], Rule.KEEP)[0])


def test_roll_up_constant_is_four_times_or_once() -> None:
    assert _constant(0.75, Rule.SUM) == [3.0, 3.0, 3.0]
    assert _constant(0.75, Rule.MEAN) == [0.75, 0.75, 0.75]
    assert _constant(0.75, Rule.KEEP) == [0.75, 0.75, 0.75]


@pytest.mark.parametrize("rule", [Rule.SUM, Rule.MEAN, Rule.KEEP])
def test_roll_up_of_negative_zero_is_zero(rule: Rule) -> None:
    by_intervals = _roll_up([-0.0, -0.0, -0.0, -0.0], rule)
    by_constant = _constant(-0.0, rule)

    assert math.copysign(1.0, by_intervals[0]) == 1.0
    assert [math.copysign(1.0, hour) for hour in by_constant] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", [Rule.SUM, Rule.MEAN, Rule.KEEP])
@given(value=FINITE)
def test_roll_up_constant_is_bit_for_bit_the_intervals_of_one_value(
    rule: Rule, value: float
) -> None:
    # An average of four equal values overflows where their sum does: no load is that large.
    if rule is Rule.MEAN and abs(value) > 4e307:
        return
    hours = np.empty(1)
    with np.errstate(over="ignore"):
        roll_up_intervals(np.full(4, value), rule, hours)

    assert _constant(value, rule)[0].hex() == float(hours[0]).hex()


@pytest.mark.parametrize("rule", [Rule.SUM, Rule.MEAN, Rule.KEEP])
@given(value=SINGLE)
def test_roll_up_constant_is_bit_for_bit_that_of_single_precision(rule: Rule, value: float) -> None:
    (by_intervals,) = _roll_up(np.full(4, value, dtype=np.float32), rule)

    assert _constant(value, rule)[0].hex() == by_intervals.hex()


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_roll_up_intervals_is_the_exact_sum_to_the_last_few_bits(values: list[float]) -> None:
    (hour,) = _roll_up(values, Rule.SUM)
    exact = math.fsum(values)

    assert abs(hour - exact) <= 4e-16 * math.fsum(map(abs, values))


def test_roll_up_intervals_writes_into_a_row_of_a_block_and_nowhere_else() -> None:
    block = np.zeros((3, 2))

    roll_up_intervals(np.ones(8), Rule.SUM, block[1])

    assert block.tolist() == [[0.0, 0.0], [4.0, 4.0], [0.0, 0.0]]
