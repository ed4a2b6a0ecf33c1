"""What maintenance hands from its steps to its report: frozen values, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from oedi_spark.errors import PublishError


class MaintenanceStep(StrEnum):
    """What can be done to a table, in the order in which it is done."""

    COMPACTION = "compaction"
    EXPIRY = "expiry"
    ORPHANS = "orphans"
    METADATA = "metadata"


class MaintenanceError(PublishError):
    """A table is not maintained. What readers see of it did not change."""

    def __init__(self, table: str, cause: str) -> None:
        super().__init__(table, cause)
        self.args = (f"{table} was not maintained: {cause}. Its rows are as before.",)


@dataclass(frozen=True, order=True)
class SizedFile:
    """A file of a table. `size_bytes` is None where the file was gone already."""

    uri: str
    size_bytes: int | None


@dataclass(frozen=True)
class Rewrite:
    """Small files of one partition that become one. `partition` is empty where a table has none.

    In a dry run `output` is None.
    """

    partition: str
    inputs: tuple[SizedFile, ...]
    row_count: int
    output: SizedFile | None = None


@dataclass(frozen=True)
class StepReport:
    """What a step did to a table, or in a dry run would do."""

    table: str
    step: MaintenanceStep
    snapshots: tuple[int, ...] = ()
    """Ids of those that expire."""
    removed: tuple[SizedFile, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    foreign: tuple[str, ...] = ()
    """URIs that lie among the table's files and bear no name of ours: left alone."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    @property
    def removed_bytes(self) -> int:
        """Bytes of all that is removed."""
        return total_bytes(self.removed)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.snapshots or self.removed or self.rewrites or self.foreign or self.notes)


@dataclass(frozen=True)
class MaintenanceReport:
    """One pass over the tables."""

    run_id: str
    is_dry_run: bool
    tables: tuple[str, ...]
    steps: tuple[StepReport, ...]
    total_s: float


def total_bytes(files: Iterable[SizedFile]) -> int:
    """The size of several files; one that was gone already counts nothing."""
    return sum(file.size_bytes or 0 for file in files)
