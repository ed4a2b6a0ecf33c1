"""How much of the stock that the metadata stands for has a series, by kind of geography.

A county in which no building has a series is missing from every sum by county, and nothing else
in the tables says that it was ever asked for. Nor does anything say it of rows whose county is
none, or is one of another state.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oedi_spark.contracts_metadata import GeographyCoverage, GeographyKind
from oedi_spark.source.states import fips_of


def cover_geographies(
    weights: pa.Table, series: NDArray[np.int64], countyless_weight: float = 0.0
) -> tuple[GeographyCoverage, ...]:
    """One entry per kind of geography, in order of kind.

    Args:
        weights: `building_weights` of one partition: a row per kind, geography and building.
        series: Buildings of the partition whose series is listed.
        countyless_weight: Of the rows that could be of a county and name none.
    """
    has_series = pc.is_in(weights["bldg_id"], value_set=pa.array(series, pa.int64()))
    kinds = set(pc.unique(weights["geography_kind"]).to_pylist())
    if countyless_weight:
        kinds.add(GeographyKind.COUNTY.value)
    found = []
    for kind in sorted(kinds):
        is_kind = pc.equal(weights["geography_kind"], kind)
        of_kind = weights.filter(is_kind)
        covered = weights.filter(pc.and_(is_kind, has_series))
        weightless = of_kind.filter(pc.equal(of_kind["weight"], 0.0))
        is_county = kind == GeographyKind.COUNTY
        found.append(
            GeographyCoverage(
                kind=kind,
                count=len(pc.unique(of_kind["geography"])),
                covered_count=len(pc.unique(covered["geography"])),
                weight=_weight(of_kind),
                covered_weight=_weight(covered),
                astray_weight=_weight_elsewhere(of_kind) + is_county * countyless_weight,
                weightless_count=len(pc.unique(weightless["bldg_id"])),
            )
        )
    return tuple(found)


def _weight(rows: pa.Table) -> float:
    return float(pc.sum(rows["weight"]).as_py() or 0.0)


def _weight_elsewhere(of_kind: pa.Table) -> float:
    """Of rows in a geography that is not of their state: a GISJOIN begins with its FIPS code."""
    homes = {
        state: (state, f"G{fips_of(state)}") for state in pc.unique(of_kind["state"]).to_pylist()
    }
    pairs = of_kind.group_by(["state", "geography"]).aggregate([("weight", "sum")]).to_pylist()
    return math.fsum(
        each["weight_sum"]
        for each in pairs
        if not each["geography"].startswith(homes[each["state"]])
    )
