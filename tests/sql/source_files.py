"""What the source files of a lake say, worked out without the package that loads them.

The clock is the source's: a stamp names the end of its quarter-hour, so a quarter-hour belongs to
the hour that holds the moment 15 minutes before its stamp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

LAKE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
ELECTRICITY = "out.electricity.total.energy_consumption"
GAS = "out.natural_gas.total.energy_consumption"
SITE = "out.site_energy.total.energy_consumption"

Hours = NDArray[np.float64]
Sums = Mapping[str, Hours]


@dataclass(frozen=True)
class Weighed:
    """A building in a place: how many real ones it stands for, and what it is."""

    weight: float
    building_type: str
    floor_area_ft2: float


def hour_starts() -> NDArray[np.datetime64]:
    """The 8,760 hours of 2018, each by its start."""
    return np.arange("2018-01-01T00", "2019-01-01T00", dtype="datetime64[h]")


@cache
def read_hours(lake: Path, release: str, state: str, upgrade: int) -> Mapping[int, Sums]:
    """The hourly sums of every column of every building of a folder; NaN where a quarter is."""
    folder = lake / LAKE / release[:4] / release[5:] / "timeseries_individual_buildings"
    folder = folder / "by_state" / f"upgrade={upgrade}" / f"state={state}"
    return {
        int(path.name.split("-")[0]): dict(_sum_file(path))
        for path in sorted(folder.glob("*.parquet"))
    }


def _sum_file(path: Path) -> Iterator[tuple[str, Hours]]:
    table = pq.read_table(path)
    stamps = table["timestamp"].to_numpy().astype("datetime64[s]")
    hours = (stamps - np.timedelta64(15 * 60, "s")).astype("datetime64[h]")
    place = (hours - np.datetime64("2018-01-01T00")).astype(int)
    for name in table.column_names:
        if name.startswith("out."):
            quarters = table[name].to_numpy()
            hours_of_year: Hours = np.zeros(8760)
            np.add.at(hours_of_year, place, quarters)
            yield name, hours_of_year


def read_weights(
    lake: Path, release: str, below: str, place: str
) -> Mapping[tuple[int, str], Weighed]:
    """Building and place (a column of the metadata) → weight, summed over all rows of all files."""
    found: dict[tuple[int, str], Weighed] = {}
    for row in _metadata_rows(lake, release, below):
        key = (row["bldg_id"], row[place])
        before = found[key].weight if key in found else 0.0
        found[key] = Weighed(
            before + row["weight"],
            row.get("in.comstock_building_type") or row["in.geometry_building_type_recs"],
            row.get("in.sqft") or row["in.sqft..ft2"],
        )
    return found


def read_applicable(lake: Path, release: str, below: str) -> set[int]:
    """The buildings that an upgrade applies to."""
    return {row["bldg_id"] for row in _metadata_rows(lake, release, below) if row["applicability"]}


def read_published(lake: Path, release: str, below: str, column: str) -> dict[int, float]:
    """An annual result of each building."""
    return {row["bldg_id"]: row[column] for row in _metadata_rows(lake, release, below)}


def _metadata_rows(lake: Path, release: str, below: str) -> Iterator[dict[str, Any]]:
    root = lake / LAKE / release[:4] / release[5:]
    paths = sorted(root.glob(below))
    assert paths, f"no file at {below}"
    for path in paths:
        yield from pq.ParquetFile(path).read().to_pylist()


def weighted_sum(
    buildings: Mapping[int, Sums],
    weights: Mapping[int, float],
    column: str,
    keep: Callable[[int], bool] = lambda _: True,
) -> Hours:
    """The sum over buildings of hours times weight; a building without the column adds nothing."""
    total = np.zeros(8760)
    for bldg_id, sums in buildings.items():
        if bldg_id in weights and keep(bldg_id) and column in sums:
            total += sums[column] * weights[bldg_id]
    return total
