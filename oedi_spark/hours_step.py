"""Roll the building files of a run up, batch by batch: the driver's side of stages 3 and 4.

A piece of `pipeline.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Batch, BatchResult, Column, PartitionListing, Reason, Transition
from oedi_spark.fingerprints import fingerprint_batch
from oedi_spark.lake.catalog import field_ids, reserve_columns
from oedi_spark.lake.claim import Lake
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.log import get_logger
from oedi_spark.plan import BatchSizing, build_batches
from oedi_spark.resume import Work
from oedi_spark.tasks import MAX_WAVES, run_batches
from oedi_spark.tracking.progress import Progress
from oedi_spark.tracking.tracker import RunTracker
from oedi_spark.transform.batch import TaskSettings
from oedi_spark.transform.window import run_window_batches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ENGINES = {"arrow": run_batches, "window": run_window_batches}

_UNFETCHED = frozenset({Reason.TOO_LARGE})
"""The only permanent reason that is known before a file is fetched."""

_log = get_logger(__name__)


@dataclass
class _HoursStep:
    """What stays the same from wave to wave."""

    config: RunConfig
    tracker: RunTracker
    work: Work
    settings: TaskSettings
    spark: SparkSession
    progress: Progress

    def cut(
        self,
        listings: tuple[PartitionListing, ...],
        known: Mapping[str, Mapping[str, Column]],
        lake: Lake,
    ) -> tuple[Batch, ...]:
        """The batches of a wave, each with its fingerprint."""
        config = self.config.settings
        ids = {
            release: field_ids(lake.hourly, [*KEY_COLUMNS, *columns])
            for release, columns in known.items()
        }
        sizing = BatchSizing(
            target_file_bytes=config.target_file_bytes,
            row_group_buildings=config.row_group_buildings,
            slots=self.spark.sparkContext.defaultParallelism,
        )
        return tuple(self._mark(batch) for batch in build_batches(listings, ids, sizing))

    def _mark(self, batch: Batch) -> Batch:
        """The batch with what its hours are held against, and a fingerprint that says so."""
        metadata, partition = self.tracker.metadata, batch.partition
        fingerprint = fingerprint_batch(
            batch,
            self.work.fingerprints[partition].context,
            {"row_group_buildings": self.config.settings.row_group_buildings},
            judged_by=metadata.published_digest(partition),
        )
        uri = metadata.published_uri(partition)
        return replace(batch, fingerprint=fingerprint, published_uri=uri)

    def _take_up(
        self, batches: Sequence[Batch], lake: Lake
    ) -> tuple[list[BatchResult], Sequence[Batch]]:
        """(results of a killed run, the batches that are due); but what is to be read again is."""
        redo = self.work.redo
        if redo.force:
            return [], batches
        adopted, due = lake.leftovers.adopt(batches, lake.hourly)
        if not redo.retry_failed:
            return adopted, due
        kept = [each for each in adopted if all(o.reason is None for o in each.outcomes)]
        numbers = {each.batch_number for each in kept}
        return kept, [batch for batch in batches if batch.number not in numbers]

    def work_off(self, batches: Sequence[Batch], lake: Lake) -> list[BatchResult]:
        """The results of a wave: taken up from a run that was killed, else worked for."""
        adopted, due = self._take_up(batches, lake)
        carried: dict[int, int] = {}
        for result in adopted:
            carried |= _transitions(result)
        self.tracker.adopted_files += len(carried)
        results: list[BatchResult] = []
        try:
            if due:
                with self.tracker.timed_batches():
                    roll_up = _ENGINES[self.config.settings.engine]
                    results = roll_up(self.spark, due, self.settings, self.progress, carried)
        finally:
            self.tracker.record_transitions(carried)
        results = [*adopted, *results]
        self.tracker.record_results(results, {batch.number: batch.partition for batch in batches})
        return results


def roll_up_hours(
    config: RunConfig,
    tracker: RunTracker,
    work: Work,
    settings: TaskSettings,
    lake: Lake,
    peeked: Mapping[str, Mapping[str, Column]],
    spark: SparkSession,
) -> None:
    """Run the batches; and those files a second time that had columns nobody had seen."""
    index = work.plan.index
    listings = _only(index.listings, {f.ordinal for f in index.files} - work.recalled.keys())
    known = {release: dict(columns) for release, columns in peeked.items()}
    due_count = len(index.files) - len(work.recalled)
    progress = Progress(due_count, beats=settings.beat_path)
    step = _HoursStep(config, tracker, work, settings, spark, progress)
    for _ in range(MAX_WAVES):
        batches = step.cut(listings, known, lake)
        results = step.work_off(batches, lake)
        late = {ordinal for result in results for ordinal in result.deferred}
        if not late:
            break
        listings = _only(listings, late)
        partition_of = {batch.number: batch.partition for batch in batches}
        fresh: list[Column] = []
        for result in results:
            release = partition_of[result.batch_number].release
            fresh += [
                c for c in result.columns if c.name not in known[release] and c.rule != "omit"
            ]
            known[release].update({c.name: c for c in result.columns if c.rule != "omit"})
        _log.info("columns found late", files=len(late), columns=sorted({c.name for c in fresh}))
        lake = replace(lake, hourly=reserve_columns(lake.hourly, fresh))


def _transitions(result: BatchResult) -> dict[int, int]:
    """What the files of an adopted batch have been through, in the run that was killed."""
    fetched = Transition.LISTED | Transition.FETCHED
    seen = {outcome.ordinal: int(fetched) for outcome in result.outcomes}
    for outcome in result.outcomes:
        if outcome.reason in _UNFETCHED:
            seen[outcome.ordinal] = int(Transition.LISTED)
    seen |= dict.fromkeys(result.deferred, int(fetched))
    done = int(fetched | Transition.TRANSFORMED)
    return seen | {at: done for staged in result.staged for at in staged.ordinals}


def _only(
    listings: tuple[PartitionListing, ...], ordinals: set[int]
) -> tuple[PartitionListing, ...]:
    kept = (
        replace(each, files=tuple(file for file in each.files if file.ordinal in ordinals))
        for each in listings
    )
    return tuple(each for each in kept if each.files)
