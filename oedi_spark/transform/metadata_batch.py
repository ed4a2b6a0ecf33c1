"""The body of one metadata task: fetch → land → normalise → weigh → staged parquet.

What `batch.py` is for series, this is for metadata. It runs in a Python worker of Spark, knows
no Spark, and hands back descriptors, never rows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oedi_spark.contracts import Partition, Reason, StagedFile, Transition
from oedi_spark.contracts_metadata import (
    FanOut,
    GeographyKind,
    LandedFile,
    MetadataBatch,
    MetadataColumn,
    MetadataFile,
    MetadataOutcome,
    MetadataPart,
    MetadataResult,
)
from oedi_spark.errors import FanOutError, FileFault
from oedi_spark.lake.landing import land_file, landing_uri
from oedi_spark.lake.metadata_schemas import FILTER_COLUMNS
from oedi_spark.lake.staging import stage_table
from oedi_spark.source.storage import SourceLocation, open_storage
from oedi_spark.transform.metadata import MetadataRows, read_metadata
from oedi_spark.transform.weights import (
    WEIGHT_COLUMNS,
    join_weights,
    require_weight_kept,
    sum_weights,
)

_UNREADABLE = frozenset(
    {Reason.EMPTY, Reason.NOT_PARQUET, Reason.TRUNCATED, Reason.UNREADABLE, Reason.TOO_LARGE}
)
"""Not landed: one such file breaks every query of whoever crawls the copies."""


@dataclass(frozen=True)
class MetadataSettings:
    """What every metadata task of a run needs to know, the same for all."""

    location: SourceLocation
    landing_root_uri: str
    metadata_uri: str
    weights_uri: str
    run_id: str
    stage_bytes: int = 256 * 1024 * 1024
    """Rows of a partition are staged whenever so many have come together: the tract rows of one
    large state, 1,300 columns wide, are several GB."""


def run_metadata_batch(batch: MetadataBatch, settings: MetadataSettings) -> MetadataResult:
    """Land the files of one listing, and stage their rows and weights by partition.

    A file that cannot be used is an outcome with a reason; the others go on without it, and
    then no sum is taken for a state of which a part is not there. A join that would change rows
    or weight comes back as `fan_out`. Columns without a field id (content that does not fit its
    column goes to a sibling) come back as `late`, and nothing is staged: land, and try again.
    """
    body = _MetadataBody(batch, settings)
    for file in batch.listing.files:
        body.take(file)
    return body.finish()


class _MetadataBody:
    """The state of one running batch."""

    def __init__(self, batch: MetadataBatch, settings: MetadataSettings) -> None:
        self._batch, self._settings = batch, settings
        self._storage = open_storage(settings.location)
        self._outcomes: list[MetadataOutcome] = []
        self._landed: list[LandedFile] = []
        self._partitions: dict[Partition, _PartitionBody] = {}
        self._read_bytes = 0
        self._started = time.perf_counter()

    def take(self, file: MetadataFile) -> None:
        """Fetch one file, land it, and keep its rows; a fault becomes its outcome."""
        done = Transition.LISTED
        try:
            data = self._storage.read_file(file.key, etag=file.etag)
            done |= Transition.FETCHED
            self._read_bytes += len(data)
            rows, fault = self._normalise(data, file)
            done |= Transition.TRANSFORMED
            uri = landing_uri(self._settings.landing_root_uri, self._batch.listing, file)
            # The ETag was compared when the file was fetched, by who knows whether it is an MD5.
            self._landed.append(land_file(data, uri, etag=None, ordinal=file.ordinal))
            done |= Transition.UPLOADED
            if fault is not None:
                raise fault
            for each in rows:
                self._partition(each.partition).keep(each)
        except FileFault as fault:
            self._outcomes.append(MetadataOutcome(file.ordinal, done, fault.reason, fault.detail))
            return
        self._outcomes.append(MetadataOutcome(file.ordinal, done))

    def _normalise(
        self, data: bytes, file: MetadataFile
    ) -> tuple[tuple[MetadataRows, ...], FileFault | None]:
        """The rows, or why there are none although the file can be read, and so be landed."""
        try:
            return read_metadata(
                data,
                file,
                release=self._batch.listing.release,
                weight_model=self._batch.listing.weight_model,
                states=self._batch.states,
            ), None
        except FileFault as fault:
            if fault.reason in _UNREADABLE:
                raise
            return (), fault

    def _partition(self, partition: Partition) -> _PartitionBody:
        if partition not in self._partitions:
            self._partitions[partition] = _PartitionBody(partition, self._batch, self._settings)
        return self._partitions[partition]

    def finish(self) -> MetadataResult:
        """Stage what is left, and the weights."""
        is_whole = self._batch.listing.is_whole_state and all(
            outcome.reason is None for outcome in self._outcomes
        )
        late = {column: None for each in self._partitions.values() for column in each.late}
        parts: tuple[MetadataPart, ...] = ()
        fan_out = None
        try:
            if not late:
                parts = tuple(
                    self._partitions[each].finish(is_whole_state=is_whole)
                    for each in sorted(self._partitions)
                )
        except FanOutError as error:
            fan_out = FanOut(error.what, error.on, error.rows, error.weight)
        return MetadataResult(
            batch_number=self._batch.number,
            parts=parts,
            outcomes=tuple(self._outcomes),
            landed=tuple(self._landed),
            read_bytes=self._read_bytes,
            notes=tuple(dict.fromkeys(self._notes())),
            late=tuple(late),
            fan_out=fan_out,
            seconds={"reader": time.perf_counter() - self._started},
        )

    def _notes(self) -> Iterator[str]:
        for partition in sorted(self._partitions):
            for note in self._partitions[partition].notes:
                yield f"{partition}: {note}"


class _PartitionBody:
    """The rows of one partition as they come in, staged piece by piece."""

    def __init__(
        self, partition: Partition, batch: MetadataBatch, settings: MetadataSettings
    ) -> None:
        self._partition, self._batch, self._settings = partition, batch, settings
        self.notes: list[str] = []
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._staged: list[StagedFile] = []
        self._narrow: list[MetadataRows] = []
        self._columns: dict[MetadataColumn, None] = {}
        self.late: list[MetadataColumn] = []

    def keep(self, rows: MetadataRows) -> None:
        """Take the rows of one file."""
        ids = self._batch.metadata_field_ids
        self.late += [column for column in rows.columns if column.name not in ids]
        if self.late:
            self._waiting.clear()
            return
        self.notes += rows.notes
        self._columns.update(dict.fromkeys(rows.columns))
        narrow = [name for name in rows.rows.column_names if name in WEIGHT_COLUMNS]
        self._narrow.append(replace(rows, rows=rows.rows.select(narrow)))
        self._waiting.append(rows.rows)
        self._waiting_bytes += rows.rows.nbytes
        if self._waiting_bytes >= self._settings.stage_bytes:
            self._stage_waiting()

    def finish(self, *, is_whole_state: bool) -> MetadataPart:
        """Stage what waits, and the weights of all of it, proved to lose and double nothing.

        Raises:
            FanOutError: They would.
        """
        self._stage_waiting()
        weights, notes = sum_weights(self._narrow, is_whole_state=is_whole_state)
        self.notes += notes
        require_weight_kept(self._narrow, weights, is_whole_state=is_whole_state)
        self._require_sound_join(weights)
        ids = pa.concat_tables([rows.rows.select(["bldg_id"]) for rows in self._narrow])
        staged = None
        if weights.num_rows:
            staged = self._stage(self._settings.weights_uri, weights, self._batch.weight_field_ids)
        return MetadataPart(
            partition=self._partition,
            metadata=tuple(self._staged),
            weights=staged,
            columns=tuple(self._columns),
            bldg_ids=np.unique(ids["bldg_id"].to_numpy()),
        )

    def _require_sound_join(self, weights: pa.Table) -> None:
        """Join the run's series to each kind of weights, as a query will."""
        series = self._batch.series.get(self._partition.state, np.empty(0, np.int64))
        for kind in GeographyKind:
            of_kind = weights.filter(pc.equal(weights["geography_kind"], kind.value))
            known = np.intersect1d(series, of_kind["bldg_id"].to_numpy())
            if not len(known):
                continue
            buildings = pa.table(
                {
                    "release": pa.repeat(self._partition.release, len(known)),
                    "state": pa.repeat(self._partition.state, len(known)),
                    "upgrade": pa.array(np.full(len(known), self._partition.upgrade, np.int32)),
                    "bldg_id": known,
                }
            )
            join_weights(buildings, weights, kind=kind)

    def _stage_waiting(self) -> None:
        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting, promote_options="default")
        rows = rows.sort_by([("county_gisjoin", "ascending"), ("bldg_id", "ascending")])
        ids = self._batch.metadata_field_ids
        self._staged.append(self._stage(self._settings.metadata_uri, rows, ids, FILTER_COLUMNS))
        self._waiting, self._waiting_bytes = [], 0

    def _stage(
        self,
        table_uri: str,
        rows: pa.Table,
        field_ids: Mapping[str, int],
        statistics_for: frozenset[str] | None = None,
    ) -> StagedFile:
        name = f"{self._settings.run_id}-m{self._batch.number:05d}-{uuid.uuid4().hex[:12]}.parquet"
        uri = f"{table_uri}/data/{self._partition}/{name}"
        return stage_table(uri, self._partition, rows, field_ids, statistics_for=statistics_for)
