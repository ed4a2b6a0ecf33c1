"""Our partitions, as Iceberg's files and filters name them."""

from __future__ import annotations

from collections.abc import Collection

from pyiceberg.expressions import And, In
from pyiceberg.manifest import DataFile

from oedi_spark.contracts import Partition


def partition_of(file: DataFile) -> Partition:
    """The partition that a data file is of."""
    return Partition(*(file.partition[at] for at in range(3)))


def coarse_filter(partitions: Collection[Partition]) -> And:
    """A filter that every row of the partitions passes, and a few others do.

    Any release with any state with any upgrade of them: one `OR` per partition would be as deep
    as a run is wide. Values go into it as values, never as text.
    """
    return And(
        In(term="release", literals={each.release for each in partitions}),
        In(term="state", literals={each.state for each in partitions}),
        In(term="upgrade", literals={each.upgrade for each in partitions}),
    )
