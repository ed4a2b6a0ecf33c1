"""Set a run's rejected building files aside, once its tables are committed.

A piece of `pipeline.run`, on the driver. Nothing here takes the place of the run's own outcome.
"""

from __future__ import annotations

from collections.abc import Iterator

from oedi_spark.config import RunConfig
from oedi_spark.contracts import PartitionListing, Reason, SourceFile, Transition
from oedi_spark.contracts_resume import TRANSIENT
from oedi_spark.errors import FileFault, OediSparkError
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.quarantine import Quarantine, Rejected
from oedi_spark.log import get_logger
from oedi_spark.places import catalog_location, output_access, output_uri
from oedi_spark.source.storage import open_storage
from oedi_spark.survey import source_location
from oedi_spark.tracking.tracker import RunTracker  # noqa: TID251 - the driver's, as metadata_step

_UNREAD = frozenset({Reason.ACCESS_DENIED, Reason.CHECKSUM_MISMATCH, Reason.SIZE_MISMATCH})
"""Reasons for which a file is told of although its bytes, as listed, cannot be had."""

_log = get_logger(__name__)


def open_quarantine(config: RunConfig) -> Quarantine:
    """The quarantine of a run's output folder.

    Raises:
        QuarantineError: The config puts the tables into it, or it into the tables.
    """
    place = catalog_location(config)
    return Quarantine(output_uri(config), place.warehouse_uri, output_access(config))


def set_aside(config: RunConfig, tracker: RunTracker) -> None:
    """Copy what a blocking rule or damage has rejected, and forget what is published now.

    A fault is logged, and the next run tries again.
    """
    try:
        quarantine, storage = open_quarantine(config), open_storage(source_location(config))
    except OediSparkError as error:
        _log.warning("nothing is set aside", error=str(error))
        return

    def read(file: SourceFile) -> bytes:
        data = storage.read_file(file.key, etag=file.etag)
        if len(data) != file.size_bytes:
            detail = f"{file.size_bytes} bytes listed, {len(data)} read"
            raise FileFault(Reason.SIZE_MISMATCH, detail)
        return data

    for listing in tracker.plan.index.listings if tracker.plan else ():
        try:
            done = quarantine.settle(
                listing.partition,
                list(_rejected(listing, tracker)),
                [file.key for file in listing.files if _is_published(file, tracker)],
                run_id=tracker.run_id,
                read=read,
            )
        except Exception as error:  # noqa: BLE001 - any fault of a store; the run is published
            _log.warning("not set aside", partition=str(listing.partition), error=say_fault(error))
            continue
        counts = {name: count for name, count in vars(done).items() if count}
        if counts:
            _log.info("rejected files set aside", partition=str(listing.partition), **counts)


def _rejected(listing: PartitionListing, tracker: RunTracker) -> Iterator[Rejected]:
    for file in listing.files:
        outcome = tracker.outcomes.get(file.ordinal)
        if outcome is None or outcome.reason is None:
            continue
        is_unread = outcome.reason in _UNREAD
        if is_unread or outcome.reason not in TRANSIENT:
            reason = outcome.reason.value
            yield Rejected(file, reason, outcome.detail, has_bytes=not is_unread)


def _is_published(file: SourceFile, tracker: RunTracker) -> bool:
    return bool(tracker.transitions.get(file.ordinal, 0) & Transition.UPLOADED)
