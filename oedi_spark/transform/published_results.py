"""Read back what is published of the buildings of a batch, in the task that rolls them up.

The other side of `published.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oedi_spark.contracts import Batch
from oedi_spark.lake.files import AMBIENT, S3Access, open_uri
from oedi_spark.transform.published import GROUP, KEYS, ROUNDING, Floats, read_floats


@dataclass(frozen=True)
class PublishedBuilding:
    """What is published of one building; the years go by `PublishedResults.measures`."""

    building_type: str | None
    floor_area_ft2: float | None
    years: Floats
    roundings: Floats
    bldg_id: int | None = None


class PublishedResults:
    """The published results of some buildings of a partition, in memory.

    `years` and `roundings`: a row per building of `bldg_ids`, a column per measure.
    """

    def __init__(self, rows: pa.Table, measures: Sequence[str]) -> None:
        self.measures = tuple(measures)
        self.bldg_ids: tuple[int, ...] = tuple(rows["bldg_id"].to_pylist())
        shape = (len(self.bldg_ids), len(self.measures))
        self.years, self.roundings = np.empty(shape), np.empty(shape)
        for at, measure in enumerate(self.measures):
            self.years[:, at] = read_floats(rows, measure)
            self.roundings[:, at] = read_floats(rows, measure + ROUNDING)

        areas_ft2 = read_floats(rows, "floor_area_ft2").tolist()
        types: list[str | None] = rows["building_type"].to_pylist()
        self.buildings = {
            bldg_id: PublishedBuilding(
                building_type=types[row],
                floor_area_ft2=None if math.isnan(areas_ft2[row]) else areas_ft2[row],
                years=self.years[row],
                roundings=self.roundings[row],
                bldg_id=bldg_id,
            )
            for row, bldg_id in enumerate(self.bldg_ids)
        }

    def of(self, bldg_id: int) -> PublishedBuilding | None:
        """What is published of a building; None if nothing is."""
        return self.buildings.get(bldg_id)


def open_published(batch: Batch, access: S3Access = AMBIENT) -> PublishedResults | None:
    """What is published of the buildings of a batch; None if nothing is of its partition.

    Raises:
        OSError: It cannot be read.
    """
    if batch.published_uri is None:
        return None
    ids = [file.bldg_id for file in batch.files]
    return read_published(batch.published_uri, ids, batch.field_ids, access)


def read_published(
    uri: str, bldg_ids: Sequence[int], measures: Collection[str], access: S3Access = AMBIENT
) -> PublishedResults:
    """The rows of some buildings: only the groups that hold any, and only columns asked for.

    Args:
        uri: The waiting file of their partition.
        bldg_ids: The buildings; one that has no row is left out.
        measures: Those of the series. Results that end uses share are read whatever it says.
        access: How S3 is reached.

    Raises:
        OSError: It cannot be read.
    """
    filesystem, path = open_uri(uri, access)
    with filesystem.open_input_file(path) as source, pq.ParquetFile(source) as file:
        there = file.schema_arrow.names[len(KEYS) :: 2]
        wanted = [name for name in there if name in measures or name.startswith(GROUP)]
        groups = [at for at in range(file.num_row_groups) if _holds_any(file, at, bldg_ids)]
        columns = [*KEYS, *wanted, *(name + ROUNDING for name in wanted)]
        rows = file.read_row_groups(groups, columns=columns)
    ids = pa.array(sorted(set(bldg_ids)), pa.int64())
    return PublishedResults(rows.filter(pc.is_in(rows["bldg_id"], ids)), wanted)


def _holds_any(file: pq.ParquetFile, group: int, bldg_ids: Sequence[int]) -> bool:
    statistics = file.metadata.row_group(group).column(0).statistics
    return any(statistics.min <= bldg_id <= statistics.max for bldg_id in bldg_ids)
