"""Take a run's metadata before its hours, and show the copies once the tables are committed.

Two pieces of `pipeline.run`, on the driver.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import MetadataListing
from oedi_spark.errors import FanOutError, FileFault, PublishError
from oedi_spark.lake.catalog import field_ids, reserve_metadata_columns
from oedi_spark.lake.claim import Lake
from oedi_spark.lake.landing import landing_uri, remove_superseded, show_file, waiting_folder
from oedi_spark.log import get_logger
from oedi_spark.places import catalog_location, output_access, output_uri
from oedi_spark.plan import Plan, build_metadata_batches
from oedi_spark.survey import source_location
from oedi_spark.tasks import MAX_WAVES, run_metadata_batches
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.transform.metadata_batch import MetadataSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = get_logger(__name__)


def take_metadata(
    config: RunConfig, tracker: RunTracker, found: Plan, lake: Lake, spark: SparkSession
) -> None:
    """Land and stage the metadata: before the hours, because a join that would miscount ends all.

    Raises:
        FanOutError: Rows or weight would change when series meet their weights.
    """
    if lake.metadata is None or lake.weights is None:
        return
    settings = MetadataSettings(
        location=source_location(config),
        landing_root_uri=output_uri(config),
        waiting_uri=waiting_folder(catalog_location(config).database_uri, tracker.run_id),
        metadata_uri=lake.metadata.location(),
        weights_uri=lake.weights.location(),
        metadata_field_ids=field_ids(lake.metadata),
        weight_field_ids=field_ids(lake.weights),
        run_id=tracker.run_id,
        read_ahead_files=config.settings.read_ahead_files,
        access=output_access(config),
    )
    table, due = lake.metadata, list(build_metadata_batches(found))
    for _ in range(MAX_WAVES):
        results = run_metadata_batches(spark, due, settings)
        tracker.record_metadata([result for result in results if not result.late])
        for each in (result.fan_out for result in results if result.fan_out):
            raise FanOutError(each.what, on=each.on, rows=each.rows, weight=each.weight)
        again = {result.batch_number for result in results if result.late}
        if not again:
            return
        due = [batch for batch in due if batch.number in again]
        late = [column for result in results for column in result.late]
        _log.info("metadata columns found late", columns=sorted({each.name for each in late}))
        table = reserve_metadata_columns(table, late)
        settings = replace(settings, metadata_field_ids=field_ids(table))
    raise PublishError("metadata", f"columns kept turning up: {[each.name for each in late][:5]}")


def land_copies(config: RunConfig, tracker: RunTracker) -> frozenset[Partition]:
    """Show the copies of what is published, and remove those whose place they take.

    The tables are committed by now: what fails here is told, and the next run tries again.

    Returns:
        The partitions beside whose copies an older one still lies.
    """
    metadata, root_uri, access = tracker.metadata, output_uri(config), output_access(config)
    withheld = {verdict.partition for verdict in tracker.verdicts if not verdict.is_published}
    withheld |= metadata.held.keys()

    def land(listing: MetadataListing) -> str | None:
        for file in listing.files:
            if file.ordinal in metadata.copies:
                try:
                    metadata.record_landed(show_file(metadata.copies[file.ordinal], access))
                except FileFault as fault:
                    metadata.record_landing_fault(file.ordinal, fault)
        if any(file.ordinal in metadata.landed for file in listing.files):
            keep = [landing_uri(root_uri, listing, file) for file in listing.files]
            try:
                remove_superseded(root_uri, listing.landing_folder, keep, access)
            except PublishError as error:
                metadata.notes.append(str(error))
                return listing.landing_folder
        return None

    with ThreadPoolExecutor(config.settings.listing_workers) as pool:
        failed = set(pool.map(land, metadata.published_listings(withheld)))
    listings = metadata.findings.index.listings
    return frozenset(
        partition
        for partition, place in metadata.findings.listing_of.items()
        if listings[place].landing_folder in failed
    )
