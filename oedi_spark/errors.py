"""Every error this package raises on purpose, and the exit code it ends the process with.

OediSparkError
├── ConfigError              exit 2   the run was never valid
├── SourceError              exit 3   inputs are missing, or not as declared
│   ├── NoSourceFilesError
│   ├── SourceListingError
│   ├── ChecksumsError
│   └── MetadataAmbiguousError
├── QualityGateError         exit 4   the data was read but must not be published
│   └── FanOutError
├── PublishError             exit 5   the table did not change; safe to run again
│   ├── PartitionBusyError
│   └── CommitUnknownError            … or perhaps it did: the catalog did not say
├── SessionError             exit 7   Spark did not start, or its tasks could not run
└── DeploymentError          exit 8   what was deployed does not answer, or is not as expected

A run that published, but could not account for every file, raises nothing and
ends with exit 6 (`EXIT_DISCREPANCIES`). Exit 1 is left to what nobody foresaw.
A fault of one file is no error: it is data, a `Reason` in the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from oedi_spark.contracts import Reason

EXIT_COMPLETE = 0
EXIT_DISCREPANCIES = 6


class OediSparkError(Exception):
    """Base of every error raised on purpose; catch it at the edge of the program."""

    exit_code: ClassVar[int] = 1


class ConfigError(OediSparkError):
    """A run was described wrongly. Holds every fault that was found, not the first."""

    exit_code = 2

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.source, self.faults = source, tuple(faults)
        listed = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{source} has {len(self.faults)} fault(s):{listed}")


class SourceError(OediSparkError):
    """Inputs are missing, or not as declared."""

    exit_code = 3


class NoSourceFilesError(SourceError):
    """Not one building file is left to read."""

    def __init__(self, *, root: str, prefixes: Sequence[str], surplus: int) -> None:
        self.root, self.prefixes, self.surplus = root, tuple(prefixes), surplus
        shown = ", ".join(prefixes[:3]) + (" …" if len(prefixes) > 3 else "")
        super().__init__(
            f"No building files under {root}: {len(prefixes)} folder(s) listed ({shown}), "
            f"{surplus} file(s) with other names. `oedi-spark releases discover` lists what the "
            "source has; with counties, only buildings that their metadata names are read."
        )


class SourceListingError(SourceError):
    """A folder or prefix could not be listed, so what it holds is unknown."""

    def __init__(self, *, prefix: str, cause: str) -> None:
        self.prefix, self.cause = prefix, cause
        super().__init__(
            f"Cannot list {prefix}: {cause}. "
            "Check src_bucket, base_partition and the rights to list; then run again."
        )


class ChecksumsError(SourceError):
    """The checksum manifest of a local source cannot be read, so nothing could be compared."""

    def __init__(self, path: str, line: int | None, cause: str) -> None:
        self.path, self.line, self.cause = path, line, cause
        where = path if line is None else f"{path}, line {line}"
        super().__init__(
            f"{where}: {cause}. Correct it, or write it anew (`oedi-spark checksums` prints it); "
            "without the file nothing is compared, and the summary says so."
        )


class MetadataAmbiguousError(SourceError):
    """Two files claim to be the metadata of the same rows; to take one would be a guess."""

    def __init__(self, *, what: str, keys: Sequence[str]) -> None:
        self.what, self.keys = what, tuple(keys)
        super().__init__(
            f"{len(keys)} files claim to be the metadata of {what}: {', '.join(keys)}. "
            "Set metadata_root_dir or relative_metadata_prefix_type so that only one is found."
        )


class QualityGateError(OediSparkError):
    """Partitions were held back: too many of their files failed, or a rule of theirs is broken.

    `broken`: the rules and reasons because of which, each once.
    """

    exit_code = 4

    def __init__(
        self, withheld: Sequence[str], max_failed_fraction: float, broken: Sequence[str] = ()
    ) -> None:
        self.withheld, self.max_failed_fraction = tuple(withheld), max_failed_fraction
        self.broken = tuple(dict.fromkeys(broken))
        listed = "".join(f"\n  {one}" for one in self.withheld)
        super().__init__(
            f"{len(self.withheld)} partition(s) not published "
            f"({', '.join(self.broken) or 'nothing could be staged'}): more than "
            f"{max_failed_fraction:g} of the files failed, nothing could be staged, or a rule of "
            f"the whole partition is broken:{listed}\n"
            "The table keeps what it had there. The summary names every file and its reason; raise "
            "settings.max_failed_fraction, or change settings.quality_rules, only if you mean it."
        )


class FanOutError(QualityGateError):
    """A join would multiply or lose rows or weight, so every sum over it would be wrong."""

    def __init__(
        self, what: str, *, on: Sequence[str], rows: tuple[int, int], weight: tuple[float, float]
    ) -> None:
        self.what, self.on, self.rows, self.weight = what, tuple(on), rows, weight
        OediSparkError.__init__(
            self,
            f"{what}: joined on {', '.join(on)}, {rows[0]:,} rows of weight {weight[0]:.6g} become "
            f"{rows[1]:,} rows of weight {weight[1]:.6g}. "
            "Join on release, state, upgrade and bldg_id, to one kind of geography at a time.",
        )


class PublishError(OediSparkError):
    """The commit did not happen. The table did not change; it is safe to run again."""

    exit_code = 5

    def __init__(self, table: str, cause: str) -> None:
        self.table, self.cause = table, cause
        super().__init__(f"{table} was not published: {cause}. The table is as before; run again.")


class PartitionBusyError(PublishError):
    """Another run that is still alive is replacing one of this run's partitions."""

    def __init__(self, table: str, partition: str, run_id: str, lease: str) -> None:
        self.partition, self.run_id, self.lease = partition, run_id, lease
        super().__init__(
            table, f"run {run_id} is replacing {partition} (lease {lease}); wait until it ends"
        )


class CommitUnknownError(PublishError):
    """The catalog failed while it was committing, so nobody knows whether it did.

    What was staged is left where it is: if the commit did happen, the table names it.
    """

    def __init__(self, table: str, cause: str) -> None:
        super().__init__(table, cause)
        self.args = (
            (
                f"{table}: the catalog did not say whether the commit happened ({cause}). "
                "The table is either as before or complete, nothing between; run again."
            ),
        )


class SessionError(OediSparkError):
    """Spark did not start, or could not run the tasks. Nothing was published."""

    exit_code = 7

    def __init__(self, what: str, cause: str) -> None:
        self.cause = cause
        super().__init__(
            f"{what}: {cause}. The tables are as before. Check Java (`oedi-spark spark-env`), "
            "memory, disk and the cluster, and run again."
        )


class DeploymentError(OediSparkError):
    """What was deployed on AWS does not answer, or is not as expected.

    Only the `oedi-spark aws` commands end with it, never a run. `code` is AWS's own word;
    `is_passing`: the next attempt may well succeed.
    """

    exit_code = 8

    def __init__(
        self, what: str, cause: str, way_out: str, *, code: str = "", is_passing: bool = False
    ) -> None:
        self.what, self.cause, self.way_out = what, cause, way_out
        self.code, self.is_passing = code, is_passing
        super().__init__(f"{what}: {cause}. {way_out}.")


class FileFault(Exception):  # noqa: N818 - bad data is data, not an error of the program
    """One file cannot become hours. Raised and caught inside a task; never leaves it.

    It becomes the reason code and the detail of that file in the summary.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")
