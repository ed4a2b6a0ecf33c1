"""What a run may publish of what it staged: hours that passed, and metadata that goes with them.

A piece of `pipeline.run`. Hours are joined to weights, so the two are only ever replaced together:
weights of this run beside hours of another one would count buildings that are not there.
"""

from __future__ import annotations

from collections.abc import Collection

from pyiceberg.table import Table

from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.contracts_metadata import Gap
from oedi_spark.lake.partitions import coarse_filter, partition_of
from oedi_spark.lake.publication import Harvest
from oedi_spark.log import get_logger
from oedi_spark.tracking.tracker import RunTracker  # noqa: TID251 - the driver's, as metadata_step

NOT_READ = "a metadata file of its counties cannot be read, so none of its buildings was"
HOURS_STAY = "the table has hours of an earlier run, and this run has none to take their place"

_log = get_logger(__name__)


def gather_harvest(tracker: RunTracker, hourly: Table) -> Harvest:
    """What may be published: hours that passed, and the metadata of these.

    Metadata without hours (a release of annual results alone, a folder of series that is empty)
    is published where the table has no hours of the partition either. It is held back where
    it has, and where nobody knows which buildings are wanted; the tracker is told why.

    Args:
        tracker: The run, its partitions judged.
        hourly: The table of hours, the run's partitions leased.
    """
    passed = {verdict.partition for verdict in tracker.verdicts if verdict.is_published}
    judged = {verdict.partition for verdict in tracker.verdicts}
    held = _held_back(tracker, hourly, judged)
    tracker.metadata.record_held(held)
    for partition, why in held.items():
        _log.warning("metadata held back", partition=str(partition), why=why)
    hours: dict[Partition, list[StagedFile]] = {partition: [] for partition in sorted(passed)}
    for file in tracker.staged:
        if file.partition in passed:
            hours[file.partition].append(file)
    return Harvest(
        hours={partition: tuple(files) for partition, files in hours.items()},
        columns={partition: tracker.columns[partition] for partition in passed},
        metadata={
            partition: part
            for partition, part in tracker.metadata.parts.items()
            if partition in passed or partition not in judged | held.keys()
        },
    )


def _held_back(
    tracker: RunTracker, hourly: Table, judged: Collection[Partition]
) -> dict[Partition, str]:
    """Why the metadata of partitions without building files is not published, in their order."""
    alone = tracker.metadata.findings.listing_of.keys() - set(judged)
    if not alone:
        return {}
    unread = {
        line.partition
        for line in (tracker.plan.partitions if tracker.plan else ())
        if line.coverage.gap is Gap.METADATA_INCOMPLETE
    }
    tasks = hourly.refresh().scan(row_filter=coarse_filter(alone)).plan_files()
    filled = {partition_of(task.file) for task in tasks}
    return {
        partition: NOT_READ if partition in unread else HOURS_STAY
        for partition in sorted(alone)
        if partition in unread or partition in filled
    }
