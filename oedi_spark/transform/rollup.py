"""Roll quarter-hours up to hours.

Stage 4 of 7: reader → ROLLUP → quality.

In   one column of a building: 4n regular intervals, as numpy values or as one constant.
Out  n hours, double, written into a row of the caller's block.

The intervals are proved to be a regular grid before they come here, so an hour is four strided
slices added, and no value is hashed or sorted. They are added in pairs, (a + b) + (c + d): four
equal values then give exactly four times the value, which is what the constant path writes.
The last addition, of zero, turns -0.0 into 0.0: statistics name a zero either way, and equal
hours shall be equal bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oedi_spark.transform.columns import Rule

Floats = NDArray[np.floating[Any]]


def roll_up_intervals(intervals: Floats, rule: Rule, hours: NDArray[np.float64]) -> None:
    """Fill `hours` (n) from `intervals` (4n, float32 or float64, NaN where missing).

    A missing interval makes its hour missing (NaN): three quarters of an hour are not an
    hour, and a sum that left one out would look like any other.
    """
    values = intervals.reshape(-1, 4)
    if rule is Rule.KEEP:
        hours[:] = values[:, 0]
        hours += 0.0
        return
    first, second, third, fourth = values.T
    np.add(first, second, out=hours, dtype=np.float64)
    hours += np.add(third, fourth, dtype=np.float64)
    hours += 0.0
    if rule is Rule.MEAN:
        hours *= 0.25


def roll_up_constant(value: float, rule: Rule, hours: NDArray[np.float64]) -> None:
    """Fill `hours` from a column that holds one value throughout."""
    hours[:] = (4.0 * value if rule is Rule.SUM else value) + 0.0
