"""The body of one metadata task: fetch → land → normalise → weigh → staged parquet.

What `batch.py` is for series, this is for metadata. It runs in a Python worker of Spark, knows
no Spark, and hands back descriptors, never rows.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from oedi_spark.contracts import Partition, StagedFile, Transition
from oedi_spark.contracts_metadata import (
    NOT_LANDED,
    FanOut,
    LandedFile,
    MetadataBatch,
    MetadataColumn,
    MetadataFile,
    MetadataOutcome,
    MetadataPart,
    MetadataResult,
)
from oedi_spark.errors import FanOutError, FileFault
from oedi_spark.lake.files import AMBIENT, S3Access
from oedi_spark.lake.landing import land_file, landing_uri
from oedi_spark.lake.metadata_schemas import FILTER_COLUMNS
from oedi_spark.lake.staging import stage_table
from oedi_spark.source.storage import SourceLocation, open_storage
from oedi_spark.transform.fetching import fetch_ahead
from oedi_spark.transform.geography import cover_geographies
from oedi_spark.transform.metadata import MetadataRows, read_states
from oedi_spark.transform.published import PublishedCollector, published_uri, write_published
from oedi_spark.transform.weight_join import require_sound_join
from oedi_spark.transform.weights import (
    WEIGHT_COLUMNS,
    find_countyless,
    require_weight_kept,
    sum_weights,
)


@dataclass(frozen=True)
class MetadataSettings:
    """What every metadata task of a run needs to know, the same for all."""

    location: SourceLocation
    landing_root_uri: str
    waiting_uri: str
    """Where copies wait until the tables are committed."""
    metadata_uri: str
    weights_uri: str
    metadata_field_ids: Mapping[str, int]
    weight_field_ids: Mapping[str, int]
    run_id: str
    read_ahead_files: int = 4
    stage_bytes: int = 256 * 1024 * 1024
    """Rows of a partition are staged whenever so many have come together: the tract rows of one
    large state, 1,300 columns wide, are several GB."""
    access: S3Access = AMBIENT
    """How S3 is reached, when the copies and the rows go there."""


def run_metadata_batch(batch: MetadataBatch, settings: MetadataSettings) -> MetadataResult:
    """Land the files of one listing, and stage their rows and weights by partition.

    A file that cannot be used is an outcome with a reason; the others go on without it, and
    then no sum is taken for a state of which a part is not there. A join that would change rows
    or weight comes back as `fan_out`. Columns without a field id (content that does not fit its
    column goes to a sibling) come back as `late`, and nothing is staged: land, and try again.
    """
    body = _MetadataBody(batch, settings)
    storage = open_storage(settings.location)

    def fetch(file: MetadataFile) -> bytes:
        return storage.read_file(file.key, etag=file.etag)

    ahead = settings.read_ahead_files
    for file, fetched in fetch_ahead(batch.listing.files, fetch, ahead=ahead):
        body.take(file, fetched)
    return body.finish()


class _MetadataBody:
    """The state of one running batch."""

    def __init__(self, batch: MetadataBatch, settings: MetadataSettings) -> None:
        self._batch, self._settings = batch, settings
        self._outcomes: list[MetadataOutcome] = []
        self._landed: list[LandedFile] = []
        self._partitions: dict[Partition, _PartitionBody] = {}
        self._read_bytes = 0
        self._started = time.perf_counter()

    def take(self, file: MetadataFile, fetched: Future[bytes]) -> None:
        """Copy one file and keep its rows; a fault becomes its outcome."""
        done = Transition.LISTED
        try:
            data = fetched.result()
            done |= Transition.FETCHED
            self._read_bytes += len(data)
            rows, faults = self._normalise(data, file)
            done |= Transition.TRANSFORMED
            self._landed.append(self._copy(data, file))
            for each in rows:
                self._partition(each.partition).keep(each)
            if faults:
                details = "; ".join(dict.fromkeys(each.detail for each in faults))
                raise FileFault(faults[0].reason, details)
        except FileFault as fault:
            self._outcomes.append(MetadataOutcome(file.ordinal, done, fault.reason, fault.detail))
            return
        self._outcomes.append(MetadataOutcome(file.ordinal, done))

    def _copy(self, data: bytes, file: MetadataFile) -> LandedFile:
        """A copy that waits for the commit, unless the same bytes have landed before."""
        settings = self._settings
        uri = landing_uri(settings.landing_root_uri, self._batch.listing, file)
        below = uri.removeprefix(settings.landing_root_uri)
        # The ETag was compared when the file was fetched, by who knows whether it is an MD5.
        return land_file(
            data,
            uri,
            settings.access,
            etag=None,
            ordinal=file.ordinal,
            waiting_uri=settings.waiting_uri + below,
        )

    def _normalise(
        self, data: bytes, file: MetadataFile
    ) -> tuple[tuple[MetadataRows, ...], tuple[FileFault, ...]]:
        """The rows, and why there are not more although the file can be read, and so be landed."""
        try:
            return read_states(
                data,
                file,
                release=self._batch.listing.release,
                weight_model=self._batch.listing.weight_model,
                states=self._batch.states,
            )
        except FileFault as fault:
            if fault.reason in NOT_LANDED:
                raise
            return (), (fault,)

    def _partition(self, partition: Partition) -> _PartitionBody:
        if partition not in self._partitions:
            self._partitions[partition] = _PartitionBody(partition, self._batch, self._settings)
        return self._partitions[partition]

    def finish(self) -> MetadataResult:
        """Stage what is left, and the weights."""
        listing = self._batch.listing
        is_sound = all(outcome.reason is None for outcome in self._outcomes)
        # A national file is all that a state has; a state whose rows are faulty has no part.
        is_whole = listing.is_whole_state and (listing.state is None or is_sound)
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
            what = f"{listing.landing_folder}: {error.what}"
            fan_out = FanOut(what, error.on, error.rows, error.weight)
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
        self._published = PublishedCollector(partition)
        self.late: list[MetadataColumn] = []

    def keep(self, rows: MetadataRows) -> None:
        """Take the rows of one file."""
        ids = self._settings.metadata_field_ids
        self.late += [column for column in rows.columns if column.name not in ids]
        if self.late:
            self._waiting.clear()
            return
        self.notes += rows.notes
        self._columns.update(dict.fromkeys(rows.columns))
        narrow = [name for name in rows.rows.column_names if name in WEIGHT_COLUMNS]
        self._narrow.append(replace(rows, rows=rows.rows.select(narrow)))
        self._published.add(rows)
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
        series = self._batch.series.get(self._partition.state, np.empty(0, np.int64))
        require_sound_join(series, self._narrow, weights, is_whole_state=is_whole_state)
        ids = pa.concat_tables([rows.rows.select(["bldg_id"]) for rows in self._narrow])
        staged = None
        if weights.num_rows:
            staged = self._stage(
                self._settings.weights_uri, weights, self._settings.weight_field_ids
            )
        published, digest = self._leave_published()
        return MetadataPart(
            partition=self._partition,
            metadata=tuple(self._staged),
            weights=staged,
            columns=tuple(self._columns),
            bldg_ids=np.unique(ids["bldg_id"].to_numpy()),
            published_uri=published,
            published_digest=digest,
            geographies=cover_geographies(weights, series, find_countyless(self._narrow)),
        )

    def _leave_published(self) -> tuple[str | None, str | None]:
        """Write the annual results by building where the tasks of the series find them.

        Returns:
            Where, and a digest of them; None and None if there are none.
        """
        table, notes = self._published.finish()
        self.notes += notes
        if table is None:
            return None, None
        uri = published_uri(self._settings.waiting_uri, self._partition)
        write_published(table, uri, self._settings.access)
        return uri, _digest(table)

    def _stage_waiting(self) -> None:
        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting, promote_options="default")
        rows = rows.sort_by([("county_gisjoin", "ascending"), ("bldg_id", "ascending")])
        ids = self._settings.metadata_field_ids
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
        return stage_table(
            uri,
            self._partition,
            rows,
            field_ids,
            statistics_for=statistics_for,
            access=self._settings.access,
        )


def _digest(rows: pa.Table) -> str:
    """Sixteen hex digits of everything that rows say."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:16]
