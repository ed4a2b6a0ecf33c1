"""The rows of the ledger: what one run was, and what it lacked. Pure; `lake/ledger.py` keeps them.

Part of stage 7 of 7: writer → TRACKER.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from oedi_spark import __version__
from oedi_spark.config import RunConfig
from oedi_spark.config_json import parse_states, parse_upgrades
from oedi_spark.contracts import RunOrigin
from oedi_spark.errors import OediSparkError
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.tracking.discrepancies import Discrepancy, Identity, TrackedRun
from oedi_spark.tracking.summary import RunSummary

Row = dict[str, object]
"""One row of a ledger table, by column name. Times are naive UTC."""


@dataclass(frozen=True)
class SparkFacts:
    """What is known of the cluster when a run ends; None: Spark did not start, or has gone."""

    version: str | None = None
    core_count: int | None = None


ROLLED_BACK = "rolled back "
"""How the outcome of a rollback begins; the id of the run that it undid comes next."""


@dataclass(frozen=True)
class Rollback:
    """A rollback that changed tables. `run_id`: the run it undid. `snapshot_ids` by table."""

    rollback_id: str
    run_id: str
    started_at_utc: datetime
    finished_at_utc: datetime
    snapshot_ids: Mapping[str, int]


def run_row(
    run: TrackedRun,
    summary: RunSummary,
    config: RunConfig,
    *,
    spark: SparkFacts,
    origin: RunOrigin,
    discrepancy_count: int,
) -> Row:
    """The row of `runs`.

    Args:
        run: The tracker of the run.
        summary: What it was summed up to.
        config: The run's config, overrides included.
        spark: The cluster.
        origin: Who started it.
        discrepancy_count: Rows that it has in `discrepancies`.
    """
    data = summary.data_files
    snapshots = {name.rsplit(".", 1)[-1]: number for name, number in summary.snapshot_ids.items()}
    tables = ("hourly", "metadata", "building_weights", "columns", "sources")
    return {
        "run_id": summary.run_id,
        "started_at_utc": naive_utc(run.started_at_utc),
        "finished_at_utc": finished_at_utc(run, summary),
        "outcome": summary.outcome,
        "exit_code": summary.exit_code,
        "error": summary.error,
        "engine": config.settings.engine,
        "code_version": __version__,
        "python_version": platform.python_version(),
        "spark_version": spark.version,
        "config_json": _canonical(config.model_dump(mode="json", by_alias=True)),
        "config_fingerprint": config_fingerprint(config),
        "partition_count": len(summary.partitions) + len(summary.skipped),
        "files_listed": data.listed,
        "files_uploaded": data.uploaded,
        "files_lost": data.listed - data.uploaded - data.unchanged,
        "hours_published": summary.published_rows,
        "metadata_rows_published": summary.metadata.rows_published,
        "discrepancy_count": discrepancy_count,
        "read_bytes": summary.read_bytes,
        "written_bytes": summary.written_bytes,
        "total_s": summary.total_s,
        **{f"{stage}_s": took_s for stage, took_s in run.seconds.items()},
        **{f"{table}_snapshot_id": snapshots.get(table) for table in tables},
        "core_count": spark.core_count,
        "cost_estimate_usd": estimate_cost_usd(
            spark.core_count, summary.total_s, config.settings.usd_per_core_hour
        ),
        "job_run_id": origin.job_run_id,
        "workflow_run_id": origin.workflow_run_id,
        "files_unchanged": data.unchanged,
        "quality_score": summary.quality.score,
    }


def rollback_row(done: Rollback, config: RunConfig, error: OediSparkError | None) -> Row:
    """The row of `runs` of a rollback. It read no file and planned no partition.

    Args:
        done: What it did.
        config: Of the command.
        error: Why it stopped between two tables; None when the run is undone in all of them.
    """
    word = ROLLED_BACK if error is None else f"partly {ROLLED_BACK}"
    counts = (
        *("partition_count", "files_listed", "files_uploaded", "files_lost", "hours_published"),
        *("metadata_rows_published", "discrepancy_count", "read_bytes", "written_bytes"),
    )
    began, ended = naive_utc(done.started_at_utc), naive_utc(done.finished_at_utc)
    return {
        "run_id": done.rollback_id,
        "started_at_utc": began,
        "finished_at_utc": ended,
        "outcome": f"{word}{done.run_id}",
        "exit_code": 0 if error is None else error.exit_code,
        "error": None if error is None else str(error),
        "engine": config.settings.engine,
        "code_version": __version__,
        "python_version": platform.python_version(),
        "config_json": _canonical(config.model_dump(mode="json", by_alias=True)),
        "config_fingerprint": config_fingerprint(config),
        **dict.fromkeys(counts, 0),
        "total_s": (ended - began).total_seconds(),
        **{
            f"{name.rsplit('.', 1)[-1]}_snapshot_id": number
            for name, number in done.snapshot_ids.items()
        },
    }


def discrepancy_rows(
    found: Sequence[Discrepancy],
    *,
    run_id: str,
    seen_at_utc: datetime,
    first_seen_utc: Mapping[Identity, datetime],
) -> list[Row]:
    """The rows of `discrepancies`; what an earlier run saw keeps the time it was first seen."""
    return [
        {
            "run_id": run_id,
            "release": each.release,
            "state": each.state,
            "upgrade": each.upgrade,
            "key": each.key,
            "stage": each.stage,
            "reason": each.reason,
            "detail": each.detail,
            "etag": each.etag,
            "first_seen_utc": min(first_seen_utc.get(each.identity, seen_at_utc), seen_at_utc),
            "last_seen_utc": seen_at_utc,
        }
        for each in found
    ]


def finished_at_utc(run: TrackedRun, summary: RunSummary) -> datetime:
    """When the run was summed up, by its own clock."""
    return naive_utc(run.started_at_utc) + timedelta(seconds=summary.total_s)


def naive_utc(moment: datetime) -> datetime:
    """A moment as the tables hold it: UTC, and no zone beside it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def estimate_cost_usd(
    core_count: int | None, total_s: float, usd_per_core_hour: float | None
) -> float | None:
    """Cores × hours × price; None where the cores or the price are not known.

    The cores are those at the end, so of a cluster that grows and shrinks this is no bill.
    """
    if core_count is None or usd_per_core_hour is None:
        return None
    return core_count * total_s / 3600 * usd_per_core_hour


def config_fingerprint(config: RunConfig) -> str:
    """SHA-256 of that part of a config that decides what a run publishes.

    Source, jobs and gate are in it; names of places, waits, sizes and logs are not. The order of
    jobs, states and upgrades plays no part.
    """
    jobs = []
    for job in config.job_specific:
        told = job.model_dump(mode="json", by_alias=True)
        told["state"] = None if job.states is None else sorted(job.states)
        told["upgrades"] = None if job.upgrades is None else sorted(set(job.upgrades))
        told["counties"] = sorted(job.counties)
        jobs.append(_canonical(told))
    deciding = {
        "source": config.src_root,
        "endpoint_url": config.source.endpoint_url,
        "base_partition": config.base_partition,
        "data_partition_in_release": config.data_partition_in_release,
        "jobs": sorted(jobs),
        "engine": config.settings.engine,
        "strict_columns": config.settings.strict_columns,
        "max_failed_fraction": config.settings.max_failed_fraction,
        "quality_rules": config.settings.rule_book.as_json(),
    }
    return hashlib.sha256(_canonical(deciding).encode()).hexdigest()


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def newest_of_each(rows: Sequence[Row]) -> list[Row]:
    """Of each thing its newest row, in the order of things."""
    newest: dict[Identity, Row] = {}
    for row in sorted(rows, key=_last_seen):
        newest[_identity(row)] = row
    return sorted(newest.values(), key=_place)


def still_open(runs: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """The rows of the latest run of each partition, in the order of things.

    A run is one of a partition when its config asked for it and it knew what to read: one that
    found nothing wrong there closes what earlier runs found. Of a file that holds every state
    it is enough that the run asked for any state. One that was rolled back is none.
    """
    undone = {
        str(run["outcome"]).removeprefix(ROLLED_BACK)
        for run in runs
        if str(run["outcome"]).startswith(ROLLED_BACK)
    }
    told = [run for run in runs if _number(run["partition_count"]) and run["run_id"] not in undone]
    told.sort(key=lambda run: (str(run["started_at_utc"]), str(run["run_id"])), reverse=True)
    jobs = {str(run["run_id"]): _jobs_of(str(run["config_json"])) for run in told}
    latest: dict[tuple[object, ...], str | None] = {}
    for row in rows:
        cell = (row["release"], row["state"], row["upgrade"])
        if cell not in latest:
            covering = (run_id for run_id, asked in jobs.items() if _covers(asked, cell))
            latest[cell] = next(covering, None)
    cells = (((row["release"], row["state"], row["upgrade"]), row) for row in rows)
    return sorted((row for cell, row in cells if latest[cell] == row["run_id"]), key=_place)


_Job = tuple[str, frozenset[str] | None, frozenset[int] | None]
"""Release, states and upgrades; None: all."""


def _jobs_of(config_json: str) -> list[_Job]:
    jobs = []
    for job in json.loads(config_json)["job_specific"]:
        states, upgrades = parse_states(job["state"]), parse_upgrades(job["upgrades"])
        release = ReleaseFolder(str(job["release_year"]), str(job["release_name"])).release
        jobs.append(
            (
                release,
                None if states is None else frozenset(states),
                None if upgrades is None else frozenset(upgrades),
            )
        )
    return jobs


def _covers(jobs: Sequence[_Job], cell: tuple[object, ...]) -> bool:
    release, state, upgrade = cell
    return any(
        release == asked
        and (state is None or states is None or state in states)
        and (upgrade is None or upgrades is None or upgrade in upgrades)
        for asked, states, upgrades in jobs
    )


def _identity(row: Row) -> Identity:
    release, state, upgrade = row["release"], row["state"], row["upgrade"]
    return (
        None if release is None else str(release),
        None if state is None else str(state),
        None if upgrade is None else _number(upgrade),
        str(row["key"]),
        str(row["reason"]),
    )


def _place(row: Row) -> tuple[str, str, int, str, str]:
    release, state, upgrade, key, reason = _identity(row)
    return (release or "", state or "", -1 if upgrade is None else upgrade, key, reason)


def _last_seen(row: Row) -> str:
    return str(row["last_seen_utc"])


def _number(value: object) -> int:
    return int(str(value))
