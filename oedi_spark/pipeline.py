"""Join the stages in their order, on the driver; `transform/batch.py` does in the tasks.

config → indexer → reader → rollup → quality → writer → tracker
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Column, Partition, PartitionListing, RunOrigin, StagedFile
from oedi_spark.contracts_metadata import MetadataListing
from oedi_spark.errors import (
    EXIT_COMPLETE,
    EXIT_DISCREPANCIES,
    FanOutError,
    FileFault,
    OediSparkError,
    PublishError,
    QualityGateError,
)
from oedi_spark.lake.catalog import (
    CatalogLocation,
    field_ids,
    reserve_columns,
    reserve_metadata_columns,
)
from oedi_spark.lake.claim import Lake, claim_lake
from oedi_spark.lake.files import S3Access
from oedi_spark.lake.landing import (
    landing_uri,
    remove_superseded,
    show_file,
    waiting_folder,
)
from oedi_spark.lake.publication import Harvest, publish
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.lake.summaries import keep_summary
from oedi_spark.ledger import enter_run
from oedi_spark.log import get_logger
from oedi_spark.plan import BatchSizing, Plan, build_batches, build_metadata_batches
from oedi_spark.survey import peek_columns, source_location, survey
from oedi_spark.tasks import run_batches, run_metadata_batches, wait_for_spark
from oedi_spark.tracking.progress import Progress, beat_file
from oedi_spark.tracking.summary import RunSummary, write_summary
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.transform.batch import TaskSettings
from oedi_spark.transform.metadata_batch import MetadataSettings
from oedi_spark.transform.quality import judge_partitions
from oedi_spark.transform.window import run_window_batches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = get_logger(__name__)

_ENGINES = {"arrow": run_batches, "window": run_window_batches}

_MAX_WAVES = 3
"""Every file's columns are known after the first wave; the second is the last that can be due."""


def plan(config: RunConfig) -> Plan:
    """What a run would read. Lists the source; writes nothing.

    Raises:
        SourceError: Nothing to read, or a folder could not be listed.
    """
    return survey(config, source_location(config))


def run(
    config: RunConfig,
    spark: Future[SparkSession],
    *,
    ready_plan: Plan | None = None,
    origin: RunOrigin = RunOrigin(),  # noqa: B008 - frozen, so that all runs may share it
) -> RunSummary:
    """Run the main job: list, roll up, judge, publish, and account for every file.

    Whatever happens, the summary is written beside the log. A fault that this package knows
    is in the summary's `error` and `exit_code`; any other is raised after it is written.

    Args:
        config: The run.
        spark: The session, which may still be starting while the source is listed.
        ready_plan: A plan made earlier; what has changed since is found when it is fetched.
        origin: Who started it; a workflow finds the summary by its own run's id.
    """
    tracker = RunTracker(new_run_id())
    error: BaseException | None = None
    try:
        _run(config, tracker, spark, ready_plan)
    except OediSparkError as known:
        error = known
    except BaseException as unknown:
        error = unknown
        raise
    finally:
        with tracker.stage("tracker"):
            summary = _summarise(tracker, error)
        for key, why in summary.data_files.lost.items():
            _log.warning("file lost", key=key, why=why)
        path = write_summary(summary, Path(config.settings.log_dir))
        if not config.output_is_local:
            access, root = output_access(config), config.output_root
            keep_summary(summary.as_json(), summary.run_id, root, access, origin=origin)
        if summary.error:
            _log.error("run failed", error=summary.error, exit_code=summary.exit_code)
        _log.info("run ended", summary=str(path) if path else None, **summary.headline())
        enter_run(config, catalog_location(config), tracker, summary, spark, origin=origin)
    return summary


def _run(
    config: RunConfig, tracker: RunTracker, spark: Future[SparkSession], ready_plan: Plan | None
) -> None:
    """The seven stages, in their order; `run` wraps them with the tracker's summary."""
    with tracker.stage("config"):
        location, catalog_place = source_location(config), catalog_location(config)
    with tracker.stage("indexer"):
        found = ready_plan or plan(config)
        tracker.record_plan(found)
        peeked = peek_columns(found, location)
    known = [column for columns in peeked.values() for column in columns.values()]
    described = found.metadata.columns() if found.metadata.index.files else None
    with claim_lake(catalog_place, tracker.run_id, tracker.partitions, known, described) as lake:
        settings = TaskSettings(
            location=location,
            data_uri=f"{lake.hourly.location()}/data",
            run_id=tracker.run_id,
            row_group_buildings=config.settings.row_group_buildings,
            read_ahead_files=config.settings.read_ahead_files,
            strict_columns=config.settings.strict_columns,
            access=output_access(config),
        )
        with tracker.stage("reader", "rollup"):
            session = wait_for_spark(spark)
            _take_metadata(config, tracker, found, lake, session)
            with beat_file(str(session.sparkContext.master), Path(config.settings.log_dir)) as path:
                settings = replace(settings, beat_path=path)
                _roll_up(config, tracker, found, settings, lake, peeked, session)
        with tracker.stage("quality"):
            withheld = _judge(config, tracker)
        with tracker.stage("writer"):
            _publish(config, tracker, lake)
    if withheld:
        raise QualityGateError(withheld, config.settings.max_failed_fraction)


def output_uri(config: RunConfig) -> str:
    """`output_dir` as a URI, without a trailing slash."""
    return _as_uri(config, config.output_root)


def _as_uri(config: RunConfig, folder: str) -> str:
    return f"file://{folder}" if config.output_is_local else folder


def output_access(config: RunConfig) -> S3Access:
    """How the config says S3 is reached for output."""
    catalog = config.catalog
    return S3Access(
        endpoint_url=catalog.s3_endpoint_url,
        region=catalog.region,
        path_style=catalog.s3_path_style,
        sse=None if catalog.sse == "none" else catalog.sse,
        kms_key_id=catalog.kms_key_id,
    )


def catalog_location(config: RunConfig) -> CatalogLocation:
    """Where the config says the tables are."""
    root = config.output_root
    uri = config.catalog.uri
    if config.catalog.type == "sql" and uri is None:
        uri = f"sqlite:///{root}/catalog.db"
    return CatalogLocation(
        kind=config.catalog.type,
        name=config.catalog.name,
        database=config.catalog.database,
        warehouse_uri=_as_uri(config, config.warehouse_root),
        uri=uri,
        access=output_access(config),
        glue_endpoint_url=config.catalog.endpoint_url,
        catalog_id=config.catalog.catalog_id,
    )


def new_run_id() -> str:
    """Sorts by time, is safe in a file name, and is of one length."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _take_metadata(
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
    for _ in range(_MAX_WAVES):
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


def _roll_up(
    config: RunConfig,
    tracker: RunTracker,
    found: Plan,
    settings: TaskSettings,
    lake: Lake,
    peeked: Mapping[str, Mapping[str, Column]],
    spark: SparkSession,
) -> None:
    """Run the batches; and those files a second time that had columns nobody had seen."""
    listings: tuple[PartitionListing, ...] = found.index.listings
    known = {release: dict(columns) for release, columns in peeked.items()}
    hourly = lake.hourly
    progress = Progress(len(found.index.files), beats=settings.beat_path)
    for _ in range(_MAX_WAVES):
        ids = {
            release: field_ids(hourly, [*KEY_COLUMNS, *columns])
            for release, columns in known.items()
        }
        sizing = BatchSizing(
            target_file_bytes=config.settings.target_file_bytes,
            row_group_buildings=config.settings.row_group_buildings,
            slots=spark.sparkContext.defaultParallelism,
        )
        batches = build_batches(listings, ids, sizing)
        carried: dict[int, int] = {}
        try:
            with tracker.timed_batches():
                roll_up = _ENGINES[config.settings.engine]
                results = roll_up(spark, batches, settings, progress, carried)
        finally:
            tracker.record_transitions(carried)
        partition_of = {batch.number: batch.partition for batch in batches}
        tracker.record_results(results, partition_of)
        late = {ordinal for result in results for ordinal in result.deferred}
        if not late:
            break
        listings = _only(listings, late)
        fresh: list[Column] = []
        for result in results:
            release = partition_of[result.batch_number].release
            fresh += [
                c for c in result.columns if c.name not in known[release] and c.rule != "omit"
            ]
            known[release].update({c.name: c for c in result.columns if c.rule != "omit"})
        _log.info("columns found late", files=len(late), columns=sorted({c.name for c in fresh}))
        hourly = reserve_columns(hourly, fresh)


def _only(
    listings: tuple[PartitionListing, ...], ordinals: set[int]
) -> tuple[PartitionListing, ...]:
    kept = (
        replace(each, files=tuple(file for file in each.files if file.ordinal in ordinals))
        for each in listings
    )
    return tuple(each for each in kept if each.files)


def _judge(config: RunConfig, tracker: RunTracker) -> list[str]:
    """Record a verdict per partition; returns what is held back, in words."""
    listed = {
        each.partition: len(each.files)
        for each in (tracker.plan.index.listings if tracker.plan else ())
    }
    tracker.verdicts = judge_partitions(
        listed,
        tracker.failed_by_partition(),
        unstaged=listed.keys() - {staged.partition for staged in tracker.staged},
        max_failed_fraction=config.settings.max_failed_fraction,
    )
    return [str(verdict) for verdict in tracker.verdicts if not verdict.is_published]


def _harvest(tracker: RunTracker) -> Harvest:
    """What may be published: hours that passed, and metadata unless its hours did not."""
    passed = {verdict.partition for verdict in tracker.verdicts if verdict.is_published}
    withheld = {verdict.partition for verdict in tracker.verdicts} - passed
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
            if partition not in withheld
        },
    )


def _publish(config: RunConfig, tracker: RunTracker, lake: Lake) -> None:
    """Commit every table; then remove the copies of metadata that this run's take the place of."""
    harvest = _harvest(tracker)
    lake.leases.require_held(tracker.run_id)
    for publication in publish(lake, harvest, run_id=tracker.run_id):
        is_hourly = publication.is_hourly
        tracker.record_publication(publication, harvest.staged_hours if is_hourly else ())
    _land(config, tracker)


def _land(config: RunConfig, tracker: RunTracker) -> None:
    """Show the copies of what is published, and remove those whose place they take.

    The tables are committed by now: what fails here is told, and the next run tries again.
    """
    metadata, root_uri, access = tracker.metadata, output_uri(config), output_access(config)
    withheld = {verdict.partition for verdict in tracker.verdicts if not verdict.is_published}

    def land(listing: MetadataListing) -> None:
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

    with ThreadPoolExecutor(config.settings.listing_workers) as pool:
        list(pool.map(land, metadata.published_listings(withheld)))


def _summarise(tracker: RunTracker, error: BaseException | None) -> RunSummary:
    if error is not None:
        exit_code = error.exit_code if isinstance(error, OediSparkError) else 1
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            exit_code = error.code  # 143: the run was asked to end
        outcome = "partly published" if tracker.publications else "not published"
        message = str(error) or type(error).__name__
        return tracker.summarise(outcome=outcome, exit_code=exit_code, error=message)
    if tracker.has_discrepancies():
        return tracker.summarise(
            outcome="published with discrepancies", exit_code=EXIT_DISCREPANCIES, error=None
        )
    return tracker.summarise(outcome="published", exit_code=EXIT_COMPLETE, error=None)
