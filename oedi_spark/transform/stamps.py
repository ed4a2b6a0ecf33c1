"""Prove that stamps are a year's quarter-hours, and say which hours those are.

Part of stage 3 of 7: indexer → READER → rollup.
"""

from __future__ import annotations

import calendar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oedi_spark.contracts import IntervalStamp, Reason, ReleaseFacts
from oedi_spark.errors import FileFault

INTERVAL_S = 900
INTERVAL_COUNTS = (35_040, 35_136)
"""Rows of a year of 365 and of 366 days."""

_US_PER_HOUR = 3_600_000_000


def stamps_ns(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Stamps as nanoseconds on their own clock: NANOS, MICROS, MILLIS, INT96 or int64 ns.

    A zone flag is read as the clock it shows: publishers mark EST stamps as UTC.
    """
    if column.null_count:
        raise FileFault(Reason.STAMPS_IRREGULAR, f"{column.null_count} rows without a stamp")
    kind = column.type
    if not pa.types.is_timestamp(kind) and not pa.types.is_int64(kind):
        raise FileFault(Reason.STAMPS_NOT_TIME, f"timestamp is {kind}")
    per_unit = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
    counts: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    factor = per_unit[kind.unit] if pa.types.is_timestamp(kind) else 1
    if len(counts) and max(abs(int(counts.min())), abs(int(counts.max()))) > 2**62 // factor:
        raise FileFault(Reason.STAMPS_NOT_TIME, "stamps too far from 1970 to be told apart")
    return counts * np.int64(factor)


def prove_hours(stamps_ns: NDArray[np.int64], facts: ReleaseFacts) -> NDArray[np.int64]:
    """The start of each hour, from stamps that are proved to be a year's regular quarter-hours.

    The first stamp says which end of its interval it names: 00:15 of 1 January the end, 00:00
    the beginning. Anything else is no year, and a stamp that contradicts what the release
    declares is refused, because a wrong guess moves one interval in four into the
    neighbouring hour and no total shows it.

    Args:
        stamps_ns: Nanoseconds since 1970 on the EST clock, in file order.
        facts: What the release declares; None there means “as the file says”.

    Returns:
        Microseconds since 1970, one per hour.

    Raises:
        FileFault: `stamps_…`, `wrong_row_count`, `wrong_year` or `stamp_contradicts_release`.
    """
    _require_regular(stamps_ns)
    wanted = (facts.interval_count,) if facts.interval_count else INTERVAL_COUNTS
    if len(stamps_ns) not in wanted:
        expected = " or ".join(f"{count:,}" for count in wanted)
        raise FileFault(Reason.WRONG_ROW_COUNT, f"{len(stamps_ns):,} rows, not {expected}")
    first = np.datetime64(int(stamps_ns[0]), "ns")
    into_year = first - first.astype("datetime64[Y]").astype("datetime64[ns]")
    stamp = {
        np.timedelta64(INTERVAL_S, "s"): IntervalStamp.END,
        np.timedelta64(0, "s"): IntervalStamp.BEGINNING,
    }.get(into_year.astype("timedelta64[s]"))
    if stamp is None or int(stamps_ns[0]) % 1_000_000_000:
        raise FileFault(
            Reason.STAMPS_IRREGULAR, f"the first stamp is {first}, not 1 January 00:15 or 00:00"
        )
    if facts.stamp is not None and stamp is not facts.stamp:
        raise FileFault(
            Reason.STAMP_CONTRADICTS_RELEASE,
            f"the first stamp is {first}: interval {stamp}; {facts.release} declares {facts.stamp}",
        )
    _require_year(first, len(stamps_ns), facts)
    start_us = int(stamps_ns[0]) // 1000
    if stamp is IntervalStamp.END:
        start_us -= INTERVAL_S * 1_000_000
    return start_us + _US_PER_HOUR * np.arange(len(stamps_ns) // 4, dtype=np.int64)


def _require_year(first: np.datetime64, interval_count: int, facts: ReleaseFacts) -> None:
    """The stamps are of the year that the release declares, and a leap year only where one is."""
    year = int(first.astype("datetime64[Y]").astype(np.int64)) + 1970
    if facts.calendar_year not in (None, year):
        raise FileFault(
            Reason.WRONG_YEAR, f"stamps of {year}; {facts.release} is of {facts.calendar_year}"
        )
    if interval_count == max(INTERVAL_COUNTS) and not calendar.isleap(year):
        raise FileFault(Reason.WRONG_ROW_COUNT, f"{interval_count:,} rows, but {year} has 365 days")


def _require_regular(stamps_ns: NDArray[np.int64]) -> None:
    steps = np.diff(stamps_ns)
    if (steps == INTERVAL_S * 1_000_000_000).all():
        return
    at = int(np.flatnonzero(steps != INTERVAL_S * 1_000_000_000)[0])
    around = f"row {at + 1}: " + " then ".join(
        str(np.datetime64(int(each), "ns").astype("datetime64[s]"))
        for each in stamps_ns[at : at + 2]
    )
    if (steps == 0).any():
        raise FileFault(Reason.STAMPS_DUPLICATED, around)
    if (steps < 0).any():
        raise FileFault(Reason.STAMPS_UNSORTED, around)
    raise FileFault(Reason.STAMPS_IRREGULAR, around)
