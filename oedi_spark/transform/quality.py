"""Judge the hours of a building as they pass, and a partition before it is published.

Stage 5 of 7: rollup → QUALITY → writer.

The hours are looked at where they are, in memory, never by a second read. What is wrong with
one building is a reason code; how much may be wrong with a partition is the gate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import Partition, Reason, Verdict
from oedi_spark.errors import FileFault


def count_missing_hours(
    hours: NDArray[np.float64], intervals: NDArray[np.floating[Any]], *, source_name: str
) -> int:
    """How many hours have no value (NaN). One sum tells whether there is anything to count.

    The intervals are looked at only then: of +∞ and -∞ in one hour nothing is left but NaN.

    Raises:
        FileFault: `not_finite`, when a value is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(hours.sum()):
            return 0
    if np.isinf(hours).any() or np.isinf(intervals).any():
        raise FileFault(Reason.NOT_FINITE, f"{source_name} holds an infinite value, or sums to one")
    return int(np.isnan(hours).sum())


def judge_partitions(
    listed: Mapping[Partition, int],
    failed: Mapping[Partition, int],
    *,
    unstaged: Collection[Partition],
    max_failed_fraction: float,
) -> tuple[Verdict, ...]:
    """One verdict per partition that had files, in order.

    Held back: more than `max_failed_fraction` of its files failed, or nothing of it was
    staged. A partition that listed no files at all gets no verdict: there is nothing to
    replace it with, and an empty listing must never empty a table.
    """
    return tuple(
        Verdict(
            partition=partition,
            listed=count,
            failed=failed.get(partition, 0),
            is_published=partition not in unstaged
            and failed.get(partition, 0) / count <= max_failed_fraction,
        )
        for partition, count in sorted(listed.items())
        if count
    )
