"""Statistics of a measure over buildings that can be merged: a count, a sum, and a histogram.

The bins of the histogram are logarithmic, 2 % wide, and mirrored for negative values, so that a
median taken from it is within 1 % of the true one, and no more than some 5,000 bins can fill up
whatever the number of buildings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oedi_spark.contracts import ColumnStatistics, MeasureStatistics, StagedFile

_WIDTH = math.log(1.02)
_SMALLEST = 1e-9
_LARGEST = 1e30
_BINS = 2**14
"""More than there are: 4,535 on either side of zero."""

Years = Sequence[float] | NDArray[np.float64]


def describe_measures(
    years: Mapping[str, Years], staged: Sequence[StagedFile], field_ids: Mapping[str, int]
) -> dict[str, MeasureStatistics]:
    """Statistics of each measure: years as they were found, hours as the staged files say.

    Args:
        years: By measure, each building's year; NaN (an hour is missing) is left out.
        staged: The files that hold those buildings.
        field_ids: Iceberg's, by measure.
    """
    told: dict[int, list[ColumnStatistics]] = {}
    for each in (each for file in staged for each in file.columns):
        told.setdefault(each.field_id, []).append(each)
    found: dict[str, MeasureStatistics] = {}
    counted = _count_all([np.asarray(values) for values in years.values()])
    for name, statistics in zip(years, counted, strict=True):
        hours = told.get(field_ids[name], ())
        lowers = [float(each.lower) for each in hours if each.lower is not None]
        uppers = [float(each.upper) for each in hours if each.upper is not None]
        found[name] = replace(
            statistics,
            hour_count=sum(each.value_count for each in hours),
            null_count=sum(each.null_count for each in hours),
            lower=min(lowers, default=None),
            upper=max(uppers, default=None),
        )
    return found


def _count_all(measures: Sequence[NDArray[np.float64]]) -> Iterator[MeasureStatistics]:
    """Statistics of each measure's years, the bins of all counted at once."""
    if not measures:
        return
    known = [years[~np.isnan(years)] for years in measures]
    owners = np.repeat(np.arange(len(known)), [len(years) for years in known])
    places = _places(np.concatenate([np.empty(0), *known]))
    keys, counts = np.unique(owners * _BINS + places + _BINS // 2, return_counts=True)
    ends = np.searchsorted(keys, _BINS * np.arange(1, len(known)))
    histograms = zip(np.split(keys, ends), np.split(counts, ends), strict=True)
    for at, (years, (mine, times)) in enumerate(zip(known, histograms, strict=True)):
        bins = mine - (at * _BINS + _BINS // 2)
        yield MeasureStatistics(
            building_count=len(years),
            annual_total=float(years.sum()),
            histogram=dict(zip(bins.tolist(), times.tolist(), strict=True)),
        )


def _places(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value: 0 for what is nearly zero, else its sign times 1, 2, 3 and on."""
    sizes = np.clip(np.abs(values), _SMALLEST, _LARGEST)
    steps = 1 + np.floor(np.log(sizes / _SMALLEST) / _WIDTH)
    places = np.where(np.abs(values) < _SMALLEST, 0, np.sign(values) * steps)
    return places.astype(np.int64)


def find_median(histogram: Mapping[int, int]) -> float | None:
    """The median of what was counted, within 1 %; None of nothing."""
    count = sum(histogram.values())
    if not count:
        return None
    low, high = (_find_rank(histogram, rank) for rank in ((count - 1) // 2, count // 2))
    return (_value(low) + _value(high)) / 2


def _find_rank(histogram: Mapping[int, int], rank: int) -> int:
    """The bin that holds the value of that rank, from 0."""
    seen = 0
    for place in sorted(histogram):
        seen += histogram[place]
        if seen > rank:
            return place
    raise ValueError(f"rank {rank} of {seen}")


def _value(place: int) -> float:
    """The middle of a bin, as factors go."""
    if place == 0:
        return 0.0
    return math.copysign(_SMALLEST * math.exp((abs(place) - 0.5) * _WIDTH), place)
