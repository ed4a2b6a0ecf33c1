"""Everything of a run but what it changes: `oedi-spark validate`, `oedi-spark run --dry-run`.

To validate is to run the whole job into a folder and a catalog that nobody else knows, and to
remove both: every file is read, rolled up, judged and written as in earnest, and the tables of
the config are neither opened nor locked. A dry run only lists.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchTableError

from oedi_spark import pipeline
from oedi_spark.config import CatalogConfig, RunConfig
from oedi_spark.contracts import Partition
from oedi_spark.contracts_resume import Redo
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog
from oedi_spark.lake.files import delete_uris, list_below
from oedi_spark.lake.partitions import partition_of
from oedi_spark.places import catalog_location, output_access
from oedi_spark.resume import find_work
from oedi_spark.survey import source_location
from oedi_spark.tracking.summary import RunSummary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def validate(config: RunConfig, spark: Future[SparkSession]) -> RunSummary:
    """Run everything but the commit, and leave nothing behind.

    A process that is killed leaves the folder `_validate-…` in the output folder; nothing names
    it, and it may be deleted.

    Returns:
        The summary that the run would have had. Its outcome says that nothing was published.
    """
    with _scratch(config) as scratch:
        summary = pipeline.run(scratch, spark)
    outcome = f"validated: would be {summary.outcome}; nothing was published"
    return replace(summary, outcome=outcome, snapshot_ids={})


def report(summary: RunSummary) -> Iterator[str]:
    """What a validation found, for a person, a line each."""
    data, quality = summary.data_files, summary.quality
    yield f"{summary.outcome} (exit {summary.exit_code})"
    yield f"  {data.uploaded:,} of {data.listed:,} files pass, {summary.published_rows:,} hours"
    yield from quality.as_lines()
    for each in quality.partitions:
        score = "not judged" if each.score is None else f"{each.score:.2%} of the claims hold"
        yield f"  {each.partition}: {score}"
        yield from each.measure_lines()
    for key, why in data.lost.items():
        yield f"  fails     {key}  {why}"
    for key, why in (summary.metadata.files.lost | dict(summary.metadata.rejected)).items():
        yield f"  metadata  {key}  {why}"
    if summary.error:
        yield f"  {summary.error}"


@contextmanager
def _scratch(config: RunConfig) -> Iterator[RunConfig]:
    """The same run into a folder of its own, beside the real output, which is then removed."""
    folder = f"{config.output_root}/_validate-{secrets.token_hex(6)}"
    changes: dict[str, object] = {"type": "sql", "uri": None, "warehouse_dir": None}
    changes |= {"endpoint_url": None, "catalog_id": None}
    made = None if config.output_is_local else tempfile.mkdtemp(prefix="oedi-validate-")
    was_there = _first_missing(Path(folder)) if config.output_is_local else None
    if made is not None:
        changes["uri"] = f"sqlite:///{made}/catalog.db"
    catalog: CatalogConfig = config.catalog.model_copy(update=changes)
    settings = config.settings.model_copy(
        update={"log_dir": f"{made or folder}/logs", "quarantine": False}
    )
    scratch = config.model_copy(
        update={"output_dir": folder, "catalog": catalog, "settings": settings}
    )
    try:
        yield scratch
    finally:
        if made is not None:
            access = output_access(config)
            delete_uris(
                [each.uri for each in list_below(folder, access, within_uri=folder)], access
            )
            shutil.rmtree(made, ignore_errors=True)
        if was_there is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_made(Path(folder).parent, was_there)


def _first_missing(folder: Path) -> Path:
    """The highest of a folder and those above it that is not there yet."""
    missing = folder
    for parent in folder.parents:
        if parent.exists():
            break
        missing = parent
    return missing


def _remove_made(folder: Path, highest: Path) -> None:
    """Remove a folder and those above it, up to `highest`, as far as they are empty."""
    while folder.is_relative_to(highest) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def explain_dry_run(config: RunConfig, redo: Redo) -> Iterator[str]:
    """What a run would do to each partition, a line each; lists, and changes nothing.

    Raises:
        SourceError: As the run would.
    """
    place = catalog_location(config)
    work = find_work(
        config, source_location(config), place, redo, config.settings.rule_book.as_json()
    )
    present = _rows_by_partition(place)
    for skipped in work.skipped:
        yield f"unchanged  {skipped.partition}: as run {skipped.run_id} published it"
    for each in work.plan.partitions:
        files = f"{each.file_count:,} files, {each.size_bytes / 2**20:,.1f} MiB"
        rows = present.get(each.partition)
        if not each.file_count:
            yield f"no series  {each.partition}"
        elif rows is None:
            yield f"add        {each.partition}: {files}"
        else:
            yield f"replace    {each.partition}: {files} in the place of {rows:,} hours"
    if work.recalled:
        yield f"not read   {len(work.recalled):,} files that failed for good before"
    total = len(work.plan.index.files) - len(work.recalled)
    yield f"{total:,} files would be read; nothing was changed"


def _rows_by_partition(place: CatalogLocation) -> dict[Partition, int]:
    """How many hours the table has of each partition, as its manifests say."""
    if not catalog_exists(place):
        return {}
    try:
        table = open_catalog(place, create=False).load_table((place.database, "hourly"))
    except NoSuchTableError:
        return {}
    counts: dict[Partition, int] = {}
    for task in table.scan().plan_files():
        partition = partition_of(task.file)
        counts[partition] = counts.get(partition, 0) + task.file.record_count
    return counts
