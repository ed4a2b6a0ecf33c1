"""Metadata rows in groups of one building in one geography, and what a group says as one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_RELATIVE_AREA = 1e-6
"""How far floor areas that are quotients of published, rounded figures may differ."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """Rows in order of geography and building; where each (geography, building) begins."""

    rows: pa.Table
    starts: NDArray[np.int64]

    def sums(self, values: Floats) -> Floats:
        """Exact sums, rounded once, so that the order of the rows does not count."""
        ends = np.append(self.starts[1:], len(values))
        totals = values[self.starts].copy()
        for group in np.flatnonzero(ends - self.starts > 1):
            totals[group] = math.fsum(values[self.starts[group] : ends[group]])
        return totals

    def sole_values(self, values: pa.ChunkedArray) -> tuple[pa.Array, int]:
        """What all rows of a group agree on, else null; how many groups disagree."""
        coded = values.combine_chunks().dictionary_encode()
        codes = coded.indices.cast(pa.int64())
        none = len(coded.dictionary)
        lowest = np.minimum.reduceat(pc.fill_null(codes, none).to_numpy(), self.starts)
        highest = np.maximum.reduceat(pc.fill_null(codes, -1).to_numpy(), self.starts)
        agreed = lowest == highest
        found = coded.dictionary.take(pa.array(lowest, mask=~agreed))
        return found, int((~agreed & (highest >= 0)).sum())


def group_rows(placed: pa.Table) -> Groups:
    """Rows with a column `geography`, grouped by it and `bldg_id`, in this order."""
    order = [(name, "ascending") for name in ("geography", "bldg_id")]
    rows = placed.take(pc.sort_indices(placed, sort_keys=order)).combine_chunks()
    ids = rows["bldg_id"].to_numpy()
    codes = rows["geography"].combine_chunks().dictionary_encode().indices.to_numpy()
    begins = np.append(True, (ids[1:] != ids[:-1]) | (codes[1:] != codes[:-1]))
    return Groups(rows, np.flatnonzero(begins))


def floor_areas(groups: Groups, stated: str, weighted: str) -> tuple[pa.Array, int]:
    """Floor area of one building in ft2, else the weighted area (sqft × weight) by its weight.

    Null where the rows of a group disagree; the second value counts those groups.
    """
    found, disagreeing = groups.sole_values(groups.rows[stated])
    has_stated = np.maximum.reduceat(groups.rows[stated].is_valid().to_numpy(), groups.starts)
    total = groups.rows[weighted].to_numpy()
    weight = groups.rows["weight"].to_numpy()
    usable = np.isfinite(total) & (weight > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(usable, total / weight, np.nan)
        derived = groups.sums(np.where(usable, total, 0.0)) / groups.sums(
            np.where(usable, weight, 0.0)
        )
    spread = np.fmax.reduceat(each, groups.starts) - np.fmin.reduceat(each, groups.starts)
    is_sole = spread <= _RELATIVE_AREA * np.abs(derived)
    odd = ~has_stated & ~is_sole & np.isfinite(derived)
    fallback = pa.array(derived, mask=has_stated | ~is_sole | ~np.isfinite(derived))
    return pc.coalesce(found, fallback), disagreeing + int(odd.sum())
