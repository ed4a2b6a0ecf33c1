"""Keep the tables fit: compaction, snapshot expiry, orphans, old metadata, one table at a time.

Joins the steps and reports; what each one does, and what it leaves alone, stands in its module.
Every step can be stopped at any moment and run again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

from pyiceberg.table import Table

from oedi_spark.config import RunConfig
from oedi_spark.contracts_maintenance import (
    MaintenanceError,
    MaintenanceReport,
    MaintenanceStep,
    SizedFile,
    StepReport,
    total_bytes,
)
from oedi_spark.errors import OediSparkError
from oedi_spark.escaping import in_ascii
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog
from oedi_spark.lake.compaction import CompactionRule, compact
from oedi_spark.lake.expiry import expire_snapshots
from oedi_spark.lake.faults import is_storage_fault, say_fault
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.orphans import (
    sweep_beside,
    sweep_leases,
    sweep_old_metadata,
    sweep_orphans,
)
from oedi_spark.lake.owned import TABLES, open_owned
from oedi_spark.log import get_logger
from oedi_spark.pipeline import new_run_id
from oedi_spark.places import catalog_location

_HOURS_PER_YEAR = 8760
_OF_A_CATALOG = ("pyiceberg.", "sqlalchemy.", "requests.")
"""Modules whose errors say that a catalog failed, and not this program."""

_log = get_logger(__name__)


def maintain(
    config: RunConfig,
    *,
    tables: Collection[str] = (),
    steps: Collection[MaintenanceStep] = tuple(MaintenanceStep),
    is_dry_run: bool = False,
) -> MaintenanceReport:
    """Maintain the tables of a config; one that is not there is skipped.

    Safe beside runs, and to be killed: at any moment each table has the same rows as before.

    Args:
        config: Says where the tables lie, and by `maintenance` what is kept.
        tables: Names out of `owned.TABLES`; none means all of them, and what dead runs left
            beside them.
        steps: What to do, in the order of `MaintenanceStep`.
        is_dry_run: Change nothing, and name what would be changed.

    Raises:
        PublishError: A table lies elsewhere than the config says, and then nothing is touched;
            or a store or a catalog failed. What earlier steps did stays, and is in the log.
    """
    run_id, started_s = f"{new_run_id()}-maintain", time.monotonic()
    place = catalog_location(config)
    done: list[StepReport] = []
    names: tuple[str, ...] = ()
    outcome = "failed"
    try:
        with _faults_named(place):
            found = _open(place, tables)
            names = tuple(str(table.name()[-1]) for table in found)
            work = _work(config, place, found, run_id, steps, is_dry_run)
            if MaintenanceStep.ORPHANS in steps and not tables:
                work = chain(work, _sweep_beside(config, place, is_dry_run))
            for step in work:
                _log.info("maintenance step", **_headline(step))
                done.append(step)
        outcome = "complete"
    finally:
        report = MaintenanceReport(
            run_id, is_dry_run, names, tuple(done), time.monotonic() - started_s
        )
        _log.info("maintenance ended", outcome=outcome, **_totals(report))
    return report


def _open(place: CatalogLocation, tables: Collection[str]) -> list[Table]:
    if not catalog_exists(place):
        return []
    wanted = [name for name in TABLES if not tables or name in tables]
    return open_owned(open_catalog(place, create=False), place, wanted)


def _work(
    config: RunConfig,
    place: CatalogLocation,
    tables: Sequence[Table],
    run_id: str,
    steps: Collection[MaintenanceStep],
    is_dry_run: bool,
) -> Iterator[StepReport]:
    keep, settings = config.maintenance, config.settings
    rule = CompactionRule(
        # What was compacted must not be small again.
        small_file_bytes=min(keep.small_file_bytes, settings.target_file_bytes // 2),
        min_files=keep.compaction_min_files,
        target_file_bytes=settings.target_file_bytes,
        row_group_rows={"hourly": settings.row_group_buildings * _HOURS_PER_YEAR},
    )
    leases = LeaseBook(place.database_uri, place.access)
    for table in tables:
        if MaintenanceStep.COMPACTION in steps:
            yield compact(table, leases, run_id=run_id, rule=rule, is_dry_run=is_dry_run)
        if MaintenanceStep.EXPIRY in steps:
            yield expire_snapshots(
                table,
                retention_days=keep.snapshot_retention_days,
                keep=keep.snapshots_to_keep,
                is_dry_run=is_dry_run,
            )
        if MaintenanceStep.ORPHANS in steps:
            yield sweep_orphans(table, place, age_days=keep.orphan_age_days, is_dry_run=is_dry_run)
        if MaintenanceStep.METADATA in steps:
            yield sweep_old_metadata(table, is_dry_run=is_dry_run)


def _sweep_beside(
    config: RunConfig, place: CatalogLocation, is_dry_run: bool
) -> Iterator[StepReport]:
    age_days = config.maintenance.orphan_age_days
    for name in ("_landing", "_staged"):
        yield sweep_beside(place, name, age_days=age_days, is_dry_run=is_dry_run)
    yield sweep_leases(place, is_dry_run=is_dry_run)


@contextmanager
def _faults_named(place: CatalogLocation) -> Iterator[None]:
    """Turn what a store or a catalog throws into an error of this package."""
    try:
        yield
    except OediSparkError:
        raise
    except Exception as error:
        if is_storage_fault(error) or type(error).__module__.startswith(_OF_A_CATALOG):
            raise MaintenanceError(place.database, say_fault(error)) from error
        raise


def as_text(report: MaintenanceReport) -> str:
    """The report for a person. A dry run names every file; else only what needs a look is named."""
    lines = [f"maintenance {report.run_id}" + (": dry run" if report.is_dry_run else "")]
    if not report.tables:
        lines.append("  there is no table yet")
    for each in report.steps:
        if not each.is_idle:
            lines.append(f"{each.table}, {each.step}")
            lines += (f"  {line}" for line in _describe(each, report.is_dry_run))
    if report.tables and all(each.is_idle for each in report.steps):
        lines.append(f"  nothing to do for {', '.join(report.tables)}")
    return "\n".join(in_ascii(line) for line in lines)


def _describe(report: StepReport, is_dry_run: bool) -> Iterator[str]:
    for each in report.rewrites:
        where = f" of {each.partition}" if each.partition else ""
        become = "would become" if is_dry_run else "became"
        size = _mib(total_bytes(each.inputs))
        output = "" if each.output is None else f", {_mib(each.output.size_bytes or 0)}"
        yield (
            f"{len(each.inputs):,} files{where}, {size}, {each.row_count:,} rows {become} 1{output}"
        )
        yield from _named(each.inputs, is_dry_run)
    if report.snapshots:
        gone = "would expire" if is_dry_run else "expired"
        yield f"snapshots that {gone}: {len(report.snapshots):,}"
        if is_dry_run:
            yield from (f"  snapshot {each}" for each in report.snapshots)
    if report.removed:
        gone = "would be removed" if is_dry_run else "were removed"
        yield f"files that {gone}: {len(report.removed):,}, {_mib(report.removed_bytes)}"
        yield from _named(report.removed, is_dry_run)
    for uri in report.foreign:
        yield f"not ours, left alone: {uri}"
    yield from report.notes


def _named(files: Sequence[SizedFile], is_dry_run: bool) -> Iterator[str]:
    if is_dry_run:
        yield from (f"  {each.uri} {each.size_bytes or 0:,}" for each in files)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"


def as_json(report: MaintenanceReport) -> str:
    """The report for a program: everything, in dry runs and others."""
    return json.dumps(dataclasses.asdict(report), indent=2)


def _headline(report: StepReport) -> dict[str, object]:
    return {
        "table": report.table,
        "step": str(report.step),
        "rewritten": sum(len(each.inputs) for each in report.rewrites),
        "written": len(report.rewrites),
        "snapshots": len(report.snapshots),
        "removed": len(report.removed),
        "removed_bytes": report.removed_bytes,
        "foreign": len(report.foreign),
        "notes": list(report.notes),
    }


def _totals(report: MaintenanceReport) -> dict[str, object]:
    counts = [_headline(each) for each in report.steps]
    summed = ("rewritten", "written", "snapshots", "removed", "removed_bytes", "foreign")
    return {
        "run": report.run_id,
        "dry_run": report.is_dry_run,
        "tables": list(report.tables),
        **{key: sum(int(str(each[key])) for each in counts) for key in summed},
        "total_s": round(report.total_s, 1),
    }
