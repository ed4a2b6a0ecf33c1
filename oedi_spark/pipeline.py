"""Join the stages in their order; the only module, with `transform/batch.py`, that may.

config → indexer → reader → rollup → quality → writer → tracker
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from py4j.protocol import Py4JError

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Batch, BatchResult, Column, Partition, PartitionListing
from oedi_spark.errors import (
    EXIT_COMPLETE,
    EXIT_DISCREPANCIES,
    FileFault,
    OediSparkError,
    QualityGateError,
    SessionError,
)
from oedi_spark.lake.catalog import CatalogLocation, field_ids, reserve_columns
from oedi_spark.lake.claim import Lake, claim_lake
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.lake.writer import replace_partitions, stage_rows
from oedi_spark.log import get_logger
from oedi_spark.plan import BatchSizing, Plan, build_batches, build_plan
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.storage import SourceLocation, Storage, open_storage
from oedi_spark.tracking.progress import Progress, beat_file
from oedi_spark.tracking.summary import RunSummary, write_summary
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.tracking.transitions import TransitionsParam
from oedi_spark.transform.batch import MAX_FILE_BYTES, TaskSettings, run_batch
from oedi_spark.transform.quality import judge_partitions
from oedi_spark.transform.reader import read_columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = get_logger(__name__)

SPARK_START_LIMIT_S = 1200.0
"""A cluster may be busy; after this the run ends."""

_MAX_WAVES = 3
"""Every file's columns are known after the first wave; the second is the last that can be due."""

_PEEKED_PARTITIONS = 32
"""Of how many partitions per release one file is looked at before columns are reserved."""


def plan(config: RunConfig) -> Plan:
    """What a run would read. Lists the source; writes nothing.

    Raises:
        SourceError: Nothing to read, or a folder could not be listed.
    """
    index = index_files(
        source_location(config),
        [Selection(job.folder, job.states, job.upgrades) for job in config.job_specific],
        base=config.base_partition,
        data_partition=config.data_partition_in_release,
        workers=config.settings.listing_workers,
    )
    return build_plan(index)


def run(
    config: RunConfig, spark: Future[SparkSession], *, ready_plan: Plan | None = None
) -> RunSummary:
    """Run the main job: list, roll up, judge, publish, and account for every file.

    Whatever happens, the summary is written beside the log. A fault that this package knows
    is in the summary's `error` and `exit_code`; any other is raised after it is written.

    Args:
        config: The run.
        spark: The session, which may still be starting while the source is listed.
        ready_plan: A plan made earlier; what has changed since is found when it is fetched.
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
        _log.info("run ended", summary=str(path) if path else None, **summary.headline())
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
    with claim_lake(catalog_place, tracker.run_id, tracker.partitions, known) as lake:
        settings = TaskSettings(
            location=location,
            data_uri=f"{lake.hourly.location()}/data",
            run_id=tracker.run_id,
            row_group_buildings=config.settings.row_group_buildings,
            read_ahead_files=config.settings.read_ahead_files,
            strict_columns=config.settings.strict_columns,
        )
        with tracker.stage("reader", "rollup"):
            session = _started(spark)
            with beat_file(str(session.sparkContext.master), Path(config.settings.log_dir)) as path:
                settings = replace(settings, beat_path=path)
                _roll_up(config, tracker, found, settings, lake, peeked, session)
        with tracker.stage("quality"):
            withheld = _judge(config, tracker)
        with tracker.stage("writer"):
            _publish(tracker, lake)
    if withheld:
        raise QualityGateError(withheld, config.settings.max_failed_fraction)


def _started(spark: Future[SparkSession]) -> SparkSession:
    """The session, once it is there."""
    try:
        return spark.result(SPARK_START_LIMIT_S)
    except Exception as error:
        raise SessionError("Spark did not start", f"{type(error).__name__}: {error}") from error


def source_location(config: RunConfig) -> SourceLocation:
    """Where the config says the bucket is."""
    source = config.source
    return SourceLocation(
        root=config.src_root,
        is_local=config.src_is_local,
        anonymous=source.anonymous,
        endpoint_url=source.endpoint_url,
        region=source.region,
        path_style=source.path_style,
        connect_timeout_s=source.connect_timeout_s,
        read_timeout_s=source.read_timeout_s,
        max_attempts=source.max_attempts,
        listing_page_size=config.settings.listing_page_size,
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
        warehouse_uri=f"file://{root}/warehouse" if config.output_is_local else f"{root}/warehouse",
        uri=uri,
    )


def new_run_id() -> str:
    """Sorts by time, is safe in a file name, and is of one length."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def peek_columns(found: Plan, location: SourceLocation) -> dict[str, dict[str, Column]]:
    """The measures of each release, by canonical name, from one file of each of a few partitions.

    Not more than a start: a file that has a column besides these is put off by its task, and
    read again once the table has that column. An unreadable file here is left to its task.
    """
    chosen: list[PartitionListing] = []
    for release in found.facts:
        listings = [x for x in found.index.listings if x.partition.release == release and x.files]
        chosen += listings[:: max(1, -(-len(listings) // _PEEKED_PARTITIONS))]
    columns: dict[str, dict[str, Column]] = {release: {} for release in found.facts}
    with ThreadPoolExecutor(8) as pool:
        looks = pool.map(lambda listing: _peek(listing, open_storage(location)), chosen)
        for listing, look in zip(chosen, looks, strict=True):
            columns[listing.partition.release].update({column.name: column for column in look})
    return columns


def _peek(listing: PartitionListing, storage: Storage) -> tuple[Column, ...]:
    """The measures of the first of a partition's middle, first and last file that can be read."""
    count = len(listing.files)
    for at in dict.fromkeys((count // 2, 0, count - 1)):
        file = listing.files[at]
        if file.size_bytes > MAX_FILE_BYTES:
            continue
        try:
            return read_columns(storage.read_file(file.key, etag=file.etag))
        except FileFault:
            continue
    return ()


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
        results = run_batches(spark, batches, settings, tracker, progress)
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


def run_batches(
    spark: SparkSession,
    batches: Sequence[Batch],
    settings: TaskSettings,
    tracker: RunTracker,
    progress: Progress,
) -> list[BatchResult]:
    """One Spark task per batch; waits and shows progress meanwhile.

    Raises:
        SessionError: A task failed for a reason that has nothing to do with the data.
    """
    context = spark.sparkContext
    transitions = context.accumulator({}, TransitionsParam())

    def task(batch: Batch) -> BatchResult:
        return run_batch(
            batch, settings, lambda ordinal, seen: transitions.add({ordinal: int(seen)})
        )

    rows = context.parallelize(batches, max(1, len(batches))).map(task)
    try:
        with tracker.timed_batches(), ThreadPoolExecutor(1) as pool, progress.shown():
            work = pool.submit(rows.collect)
            try:
                while not work.done():
                    progress.wait(work)
                    progress.advance(len(transitions.value))
            except BaseException:
                context.cancelAllJobs()
                raise
            return work.result()
    except Py4JError as error:
        raise SessionError("a task failed", _task_failure(error)) from error
    finally:
        tracker.record_transitions(dict(transitions.value))


def _task_failure(error: Py4JError) -> str:
    """The line of a failed job's message that names the fault in the task."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception)\b.*: ", line)]
    return (named or lines)[0][:500]


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


def _publish(tracker: RunTracker, lake: Lake) -> None:
    """Commit the hours of every partition that passed, and then the dictionary of them."""
    published = [verdict.partition for verdict in tracker.verdicts if verdict.is_published]
    if not published:
        return
    run_id = tracker.run_id
    staged = [file for file in tracker.staged if file.partition in set(published)]
    rows = [
        stage_rows(lake.columns, partition, rows, run_id=run_id)
        for partition in published
        if (rows := _dictionary(partition, tracker.columns[partition])).num_rows
    ]
    lake.leases.require_held(run_id)
    hours = replace_partitions(lake.hourly, published, staged, run_id=run_id)
    tracker.record_publication(hours, staged)
    tracker.record_publication(replace_partitions(lake.columns, published, rows, run_id=run_id))


def _dictionary(partition: Partition, counts: Mapping[Column, int]) -> pa.Table:
    """The rows of `columns` for one partition, one per measure and spelling."""
    return pa.Table.from_pylist(
        [
            {
                "release": partition.release,
                "state": partition.state,
                "upgrade": partition.upgrade,
                "column_name": column.name,
                "source_name": column.source_name,
                "unit": column.unit,
                "rule": column.rule,
                "is_known": int(column.known),
                "building_count": count,
            }
            for column, count in sorted(counts.items(), key=lambda item: item[0].name)
            if count
        ]
    )


def _summarise(tracker: RunTracker, error: BaseException | None) -> RunSummary:
    if error is not None:
        exit_code = error.exit_code if isinstance(error, OediSparkError) else 1
        outcome = "partly published" if tracker.publications else "not published"
        message = str(error) or type(error).__name__
        return tracker.summarise(outcome=outcome, exit_code=exit_code, error=message)
    if tracker.has_discrepancies():
        return tracker.summarise(
            outcome="published with discrepancies", exit_code=EXIT_DISCREPANCIES, error=None
        )
    return tracker.summarise(outcome="published", exit_code=EXIT_COMPLETE, error=None)
