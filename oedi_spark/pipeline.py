"""Join the stages in their order, on the driver; `transform/batch.py` does in the tasks.

config → indexer → reader → rollup → quality → writer → tracker
"""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition, RunOrigin
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import (
    EXIT_COMPLETE,
    EXIT_DISCREPANCIES,
    OediSparkError,
    PublishError,
    QualityGateError,
)
from oedi_spark.harvest_step import gather_harvest
from oedi_spark.hours_step import roll_up_hours
from oedi_spark.lake.claim import Lake, claim_lake, tidy_dead_runs
from oedi_spark.lake.journal import journal_folder
from oedi_spark.lake.meanwhile import note_tables, require_unpublished
from oedi_spark.lake.publication import publish, publish_sources
from oedi_spark.lake.summaries import keep_summary
from oedi_spark.ledger import enter_run
from oedi_spark.log import get_logger
from oedi_spark.metadata_step import land_copies, take_metadata
from oedi_spark.places import catalog_location, output_access, output_uri
from oedi_spark.plan import Plan
from oedi_spark.quarantine_step import set_aside
from oedi_spark.resume import Work, find_work, remember, work_of_plan
from oedi_spark.survey import peek_columns, source_location, survey
from oedi_spark.tasks import wait_for_spark
from oedi_spark.tracking.progress import beat_file
from oedi_spark.tracking.summary import RunSummary, write_summary
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.transform.batch import TaskSettings
from oedi_spark.transform.partition_claims import judge_partition, say_blocking
from oedi_spark.transform.quality import judge_partitions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = get_logger(__name__)

__all__ = ["catalog_location", "new_run_id", "output_access", "output_uri", "plan", "run"]


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
    redo: Redo = Redo(),  # noqa: B008 - frozen, so that all runs may share it
    origin: RunOrigin = RunOrigin(),  # noqa: B008 - as above
) -> RunSummary:
    """Run the main job: list, roll up, judge, publish, and account for every file.

    Whatever happens, the summary is written beside the log. A fault that this package knows
    is in the summary's `error` and `exit_code`; any other is raised after it is written.

    Args:
        config: The run.
        spark: The session, which may still be starting while the source is listed.
        ready_plan: A plan made earlier, all of which is done; what has changed since is found
            when it is fetched. Without one, what an earlier run published is left as it is, and
            when that is everything, Spark is not waited for.
        redo: What is done again all the same.
        origin: Who started it; a workflow finds the summary by its own run's id.
    """
    tracker = RunTracker(new_run_id(), config.settings.rule_book)
    error: BaseException | None = None
    try:
        _run(config, tracker, spark, ready_plan, redo)
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
    config: RunConfig,
    tracker: RunTracker,
    spark: Future[SparkSession],
    ready_plan: Plan | None,
    redo: Redo,
) -> None:
    """The seven stages, in their order; `run` wraps them with the tracker's summary."""
    with tracker.stage("config"):
        location, catalog_place = source_location(config), catalog_location(config)
        rules = config.settings.rule_book.as_json()
    with tracker.stage("indexer"):
        noted = note_tables(catalog_place)
        if ready_plan:
            work = work_of_plan(config, ready_plan, rules)
        else:
            work = find_work(config, location, catalog_place, redo, rules)
        tracker.record_plan(work.plan)
        tracker.record_skipped(work.skipped, work.recalled)
        peeked = peek_columns(work.plan, location)
    if work.is_idle:
        tidy_dead_runs(catalog_place, tracker.run_id, tracker.claimed)
        return
    known = [column for columns in peeked.values() for column in columns.values()]
    described = work.plan.metadata.columns() if work.plan.metadata.index.files else None
    with claim_lake(catalog_place, tracker.run_id, tracker.claimed, known, described) as lake:
        require_unpublished((lake.hourly, lake.metadata), noted, tracker.claimed)
        settings = _task_settings(config, tracker.run_id, lake)
        with tracker.stage("reader", "rollup"):
            session = wait_for_spark(spark)
            take_metadata(config, tracker, work.plan, lake, session)
            with beat_file(str(session.sparkContext.master), Path(config.settings.log_dir)) as path:
                settings = replace(settings, beat_path=path)
                roll_up_hours(config, tracker, work, settings, lake, peeked, session)
        with tracker.stage("quality"):
            withheld, broken = _judge(config, tracker)
        with tracker.stage("writer"):
            _publish(config, tracker, work, lake)
    if withheld:
        raise QualityGateError(withheld, config.settings.max_failed_fraction, broken)


def _task_settings(config: RunConfig, run_id: str, lake: Lake) -> TaskSettings:
    return TaskSettings(
        location=source_location(config),
        data_uri=f"{lake.hourly.location()}/data",
        run_id=run_id,
        row_group_buildings=config.settings.row_group_buildings,
        read_ahead_files=config.settings.read_ahead_files,
        strict_columns=config.settings.strict_columns,
        access=output_access(config),
        journal_uri=journal_folder(catalog_location(config).database_uri, run_id),
        rules=config.settings.rule_book,
    )


def new_run_id() -> str:
    """Sorts by time, is safe in a file name, and is of one length."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _judge(config: RunConfig, tracker: RunTracker) -> tuple[list[str], list[str]]:
    """Record a verdict per partition.

    Returns:
        What is held back, in words; and the rules and reasons because of which.
    """
    listed = {
        each.partition: len(each.files)
        for each in (tracker.plan.index.listings if tracker.plan else ())
    }
    book = config.settings.rule_book
    broken: dict[Partition, tuple[str, ...]] = {}
    for figures in tracker.partition_figures():
        breaches = list(judge_partition(figures, book))
        tracker.quality.record_breaches(figures.partition, breaches)
        broken[figures.partition] = say_blocking(breaches, book)
    tracker.verdicts = judge_partitions(
        listed,
        tracker.failed_by_partition(),
        unstaged=listed.keys() - {staged.partition for staged in tracker.staged},
        max_failed_fraction=config.settings.max_failed_fraction,
        broken=broken,
    )
    withheld, names = [], []
    for verdict in tracker.verdicts:
        if not verdict.is_published:
            reasons = tracker.reasons_of(verdict.partition)
            counts = [f"{reason}: {count:,} file(s)" for reason, count in reasons.items()]
            withheld.append("; ".join([str(verdict), *counts]))
            names += [*reasons, *(said.split(":", 1)[0] for said in verdict.broken)]
    return withheld, names


def _publish(config: RunConfig, tracker: RunTracker, work: Work, lake: Lake) -> None:
    """Commit every table; then put the copies of metadata in place; then remember all of it."""
    lake.leases.require_held(tracker.run_id)
    harvest = gather_harvest(tracker, lake.hourly)
    for publication in publish(lake, harvest, run_id=tracker.run_id):
        is_hourly = publication.is_hourly
        tracker.record_publication(publication, harvest.staged_hours if is_hourly else ())
    unsettled = land_copies(config, tracker)
    records = remember(work, tracker, harvest, unsettled)
    remembered = publish_sources(lake, records, run_id=tracker.run_id)
    if remembered is not None:
        tracker.record_publication(remembered)
    if config.settings.quarantine:
        set_aside(config, tracker)


def _summarise(tracker: RunTracker, error: BaseException | None) -> RunSummary:
    if error is not None:
        exit_code = error.exit_code if isinstance(error, OediSparkError) else 1
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            exit_code = error.code  # 143: the run was asked to end
        outcome = "partly published" if tracker.publications else "not published"
        message = str(error) or type(error).__name__
        if tracker.publications and isinstance(error, PublishError):
            committed = ", ".join(each.table for each in tracker.publications)
            message += f" Committed before that: {committed}; they wait for the rest."
        return tracker.summarise(outcome=outcome, exit_code=exit_code, error=message)
    is_idle = tracker.skipped and not tracker.publications
    outcome = "unchanged" if is_idle else "published"
    if tracker.has_discrepancies():
        return tracker.summarise(
            outcome=f"{outcome} with discrepancies", exit_code=EXIT_DISCREPANCIES, error=None
        )
    return tracker.summarise(outcome=outcome, exit_code=EXIT_COMPLETE, error=None)
