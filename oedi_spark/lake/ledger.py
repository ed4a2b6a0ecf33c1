"""The ledger's tables: `runs` and `discrepancies`. Rows are only ever appended.

Beside the writer, which replaces partitions: these tables have none. What a run appends lies in
one file per table that bears an id made from the run's, and a lease of its own says that the run
is at it, so that a run that dies over it leaves nothing that the next one would not sweep.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.io.pyarrow import schema_to_pyarrow, write_file
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, WriteTask
from pyiceberg.types import (
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
)
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import (
    COMMIT_ATTEMPTS,
    CatalogLocation,
    catalog_exists,
    commit_uuid,
    open_catalog,
    open_table,
)
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.ledger_entry import Entry
from oedi_spark.lake.schemas import TableDefinition, number_fields
from oedi_spark.lake.sweep import sweep_metadata
from oedi_spark.lake.writer import RUN_ID_PROPERTY

RUNS, DISCREPANCIES = "runs", "discrepancies"

Identity = tuple[str | None, str | None, int | None, str, str]
"""Release, state, upgrade, key and reason."""

PUBLISHED = ("hourly", "metadata", "building_weights", "columns", "sources")
"""The tables whose snapshots a run names."""

_IDENTITY = ("release", "state", "upgrade", "key", "reason")


@dataclass(frozen=True)
class LedgerLimits:
    """How long an entry waits: less than the run did, which is over and is to end.

    Of a catalog or a bucket that never answers, three openings of two attempts each are over
    within 40 s. What a REST catalog may take has no limit here: `oedi_spark.ledger` has one
    for all of it.
    """

    connect_timeout_s: float = 4.0
    request_timeout_s: float = 6.0
    max_attempts: int = 2
    append_s: float = 25.0
    """After this no further attempt is made; one that is under way ends by the others."""

    def shorten(self, place: CatalogLocation) -> CatalogLocation:
        """The place, reached with these limits where they are the shorter ones."""
        access = place.access
        return replace(
            place,
            access=replace(
                access,
                connect_timeout_s=min(access.connect_timeout_s, self.connect_timeout_s),
                request_timeout_s=min(access.request_timeout_s, self.request_timeout_s),
                max_attempts=min(access.max_attempts, self.max_attempts),
            ),
        )


LEDGER_LIMITS = LedgerLimits()


def runs_definition() -> TableDefinition:
    """One row per run, also of one that failed."""
    stages = ("config", "indexer", "reader", "rollup", "quality", "writer", "tracker")
    fields: list[tuple[str, IcebergType, bool, str]] = [
        ("run_id", StringType(), True, "The run; its snapshots bear it as oedi-spark.run-id"),
        ("started_at_utc", TimestampType(), True, "When it began, UTC"),
        ("finished_at_utc", TimestampType(), True, "When it was summed up, UTC"),
        ("outcome", StringType(), True, "published, with discrepancies, partly or not published"),
        ("exit_code", IntegerType(), True, "What the process ended with"),
        ("error", StringType(), False, "Why it failed; null if it did not"),
        ("engine", StringType(), True, "arrow or window"),
        ("code_version", StringType(), True, "Of oedi-spark"),
        ("python_version", StringType(), True, "Of the driver"),
        ("spark_version", StringType(), False, "Null if Spark did not start"),
        ("config_json", StringType(), True, "The whole config, overrides included"),
        ("config_fingerprint", StringType(), True, "SHA-256 of what decides the result"),
        ("partition_count", IntegerType(), True, "Partitions of its plan"),
        ("files_listed", LongType(), True, "Building files"),
        ("files_uploaded", LongType(), True, "Of these, published"),
        ("files_lost", LongType(), True, "Of these, not published"),
        ("hours_published", LongType(), True, "Rows of hourly"),
        ("metadata_rows_published", LongType(), True, "Rows of metadata"),
        ("discrepancy_count", IntegerType(), True, "Its rows in discrepancies"),
        ("read_bytes", LongType(), True, "Read from the source"),
        ("written_bytes", LongType(), True, "Hours written"),
        ("total_s", DoubleType(), True, "Wall seconds"),
        *(
            (f"{stage}_s", DoubleType(), False, f"Seconds of the stage {stage}, all tasks together")
            for stage in stages
        ),
        *(
            (f"{table}_snapshot_id", LongType(), False, f"The snapshot of {table} that it made")
            for table in PUBLISHED
        ),
        ("core_count", IntegerType(), False, "Tasks at once when it ended; null without Spark"),
        ("cost_estimate_usd", DoubleType(), False, "Cores, hours, settings.usd_per_core_hour"),
        ("job_run_id", StringType(), False, "The job run of AWS Glue"),
        ("workflow_run_id", StringType(), False, "The workflow run of AWS Glue"),
        ("files_unchanged", LongType(), False, "Building files left as an earlier run had them"),
        ("quality_score", DoubleType(), False, "Share of the claims that hold, by weight"),
    ]
    return TableDefinition(RUNS, number_fields(fields), ("started_at_utc",), partition_columns=())


def discrepancies_definition() -> TableDefinition:
    """One row per run and thing that is not in the tables as it was asked for."""
    fields: list[tuple[str, IcebergType, bool, str]] = [
        ("run_id", StringType(), True, "The run, as in runs"),
        ("release", StringType(), False, "Release, as in hourly"),
        ("state", StringType(), False, "State, as in hourly; null for a file of every state"),
        ("upgrade", IntegerType(), False, "Upgrade, as in hourly"),
        ("key", StringType(), True, "File, partition, column at the source, or county"),
        ("stage", StringType(), True, "The stage that it did not get through"),
        ("reason", StringType(), True, "Reason code"),
        ("detail", StringType(), True, "For a person"),
        ("etag", StringType(), False, "Version of the file; null for what is no file"),
        ("first_seen_utc", TimestampType(), True, "By the first run that saw it, UTC"),
        ("last_seen_utc", TimestampType(), True, "By this run, UTC"),
    ]
    order = ("release", "state", "upgrade", "key")
    return TableDefinition(DISCREPANCIES, number_fields(fields), order, partition_columns=())


def ledger_claim(run_id: str) -> str:
    """What the files and the lease of a run's entry are called.

    It does not begin with the run's id: whoever sweeps what the run staged before must not
    take the entry along, which comes after.
    """
    return f"ledger-{run_id}"


class Ledger:
    """The ledger as one run writes into it; made by `open_ledger`."""

    def __init__(
        self,
        catalog: Catalog,
        place: CatalogLocation,
        run_id: str,
        leases: LeaseBook,
        limits: LedgerLimits,
    ) -> None:
        self._catalog, self._place, self._run_id = catalog, place, run_id
        self._leases, self._limits = leases, limits
        self.is_tidy = True
        """Whether a later run has nothing to look for."""

    def append(self, definition: TableDefinition, rows: Sequence[dict[str, object]]) -> None:
        """Append a run's rows: all of them once, however often it is tried or called.

        After a commit whose outcome nobody knows the table is asked for the run's own mark. What
        attempts wrote in vain is removed.

        Raises:
            PublishError: The table lies elsewhere, or has a column of another type; or the
                entry was taken for dead, and what it had written is swept.
            Exception: What the last attempt failed with.
        """
        table: Table | None = None
        written: list[DataFile] = []
        with self._entry(definition) as entry:
            for attempt in _append_attempts(self._limits.append_s):
                with attempt, entry.attempt():
                    table = self._open(definition) if table is None else table.refresh()
                    if _is_recorded(table, self._run_id):
                        continue
                    written = written or self._write(table, rows)
                    self._leases.require_held(ledger_claim(self._run_id), definition.name)
                    self._commit(table, written, entry.manifests)

    @contextmanager
    def _entry(self, definition: TableDefinition) -> Iterator[Entry]:
        entry = Entry(self._catalog, self._place, definition.name, ledger_claim(self._run_id))
        try:
            with entry.tidied():
                yield entry
        finally:
            self.is_tidy &= entry.is_tidy

    def ensure(self, definition: TableDefinition) -> None:
        """Make the table if it is not there, so that a query over it finds no rows, not no table.

        Raises:
            PublishError: It lies elsewhere, or has a column of another type.
        """
        if not self._exists(definition):
            with self._entry(definition) as entry, entry.attempt():
                self._make(definition)

    def _exists(self, definition: TableDefinition) -> bool:
        return self._catalog.table_exists((self._place.database, definition.name))

    def _open(self, definition: TableDefinition) -> Table:
        if not self._exists(definition):
            return self._make(definition)
        return open_table(self._catalog, self._place, definition)

    def _make(self, definition: TableDefinition) -> Table:
        """A table that is not there, without what a run had begun that died making it."""
        table = open_table(self._catalog, self._place, definition)
        with suppress(OSError):  # maintenance looks again
            sweep_metadata(table)
        return table

    def first_seen(self, releases: Collection[str]) -> dict[Identity, datetime]:
        """When each thing of these releases was seen first, by any run."""
        identifier = (self._place.database, DISCREPANCIES)
        if not releases or not self._catalog.table_exists(identifier):
            return {}
        scan = self._catalog.load_table(identifier).scan(
            row_filter=In(term="release", literals=set(releases)),
            selected_fields=(*_IDENTITY, "first_seen_utc"),
        )
        grouped = scan.to_arrow().group_by(list(_IDENTITY)).aggregate([("first_seen_utc", "min")])
        return {
            (row["release"], row["state"], row["upgrade"], row["key"], row["reason"]): row[
                "first_seen_utc_min"
            ]
            for row in grouped.to_pylist()
        }

    def _write(self, table: Table, rows: Sequence[dict[str, object]]) -> list[DataFile]:
        """One data file with the rows, in the table's types and order."""
        typed = schema_to_pyarrow(table.schema(), include_field_ids=False)
        batches = pa.Table.from_pylist(list(rows), schema=typed).combine_chunks().to_batches()
        task = WriteTask(commit_uuid(ledger_claim(self._run_id)), 0, table.schema(), batches)
        return list(write_file(table.io, table.metadata, iter([task])))

    def _commit(self, table: Table, written: Sequence[DataFile], manifests: uuid.UUID) -> None:
        """One snapshot, whose manifests are called so."""
        transaction = table.transaction()
        update = transaction.update_snapshot(
            snapshot_properties={RUN_ID_PROPERTY: self._run_id}
        ).fast_append()
        update.commit_uuid = manifests
        with update:
            for file in written:
                update.append_data_file(file)
        transaction.commit_transaction()


@contextmanager
def open_ledger(
    place: CatalogLocation, run_id: str, limits: LedgerLimits = LEDGER_LIMITS
) -> Iterator[Ledger]:
    """The ledger for one run's entry, with a lease that a later run sweeps by.

    Args:
        place: The catalog, as the run reached it.
        run_id: The run.
        limits: How long to wait for what does not answer.

    Raises:
        PublishError: The catalog does not open.
        OSError: The folder of the leases does not answer.
    """
    place, claim = limits.shorten(place), ledger_claim(run_id)
    leases = LeaseBook(place.database_uri, place.access)
    leases.renew(claim, ())
    try:
        with leases.kept_alive(claim, ()):
            ledger = Ledger(open_catalog(place), place, run_id, leases, limits)
            yield ledger
    except BaseException:
        with suppress(Exception):  # the fault that counts is the one that is under way
            leases.abandon(claim, ())
        raise
    if ledger.is_tidy:
        leases.release(claim)
    else:
        leases.abandon(claim, ())


def _append_attempts(limit_s: float) -> Retrying:
    """Others append too; a fault that is no refusal may pass, or be a commit that happened."""
    return Retrying(
        retry=retry_if_exception(
            lambda error: (
                isinstance(error, Exception)
                and not isinstance(error, PublishError)
                and not is_refusal(error)
            )
        ),
        stop=stop_after_attempt(COMMIT_ATTEMPTS) | stop_after_delay(limit_s),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )


def _is_recorded(table: Table, run_id: str) -> bool:
    return any(
        each.summary is not None
        and each.summary.additional_properties.get(RUN_ID_PROPERTY) == run_id
        for each in reversed(table.snapshots())
    )


def read_runs(place: CatalogLocation) -> list[dict[str, object]]:
    """Every run, the newest first. Times are naive UTC.

    Raises:
        PublishError: There is no catalog or no ledger yet, or it cannot be read.
    """
    rows = _read(place, RUNS, AlwaysTrue())
    return sorted(rows, key=lambda row: (row["started_at_utc"], row["run_id"]), reverse=True)


def read_discrepancies(
    place: CatalogLocation, *, run_id: str | None = None, reason: str | None = None
) -> list[dict[str, object]]:
    """The rows of one run or of all, of one reason or of all, in no order.

    Of a ledger in which no run had a discrepancy yet there are none.

    Raises:
        PublishError: There is no catalog or no ledger yet, or it cannot be read.
    """
    wanted: BooleanExpression = AlwaysTrue()
    for column, value in (("run_id", run_id), ("reason", reason)):
        if value is not None:
            wanted &= In(term=column, literals={value})
    return _read(place, DISCREPANCIES, wanted)


def _read(place: CatalogLocation, name: str, wanted: BooleanExpression) -> list[dict[str, object]]:
    full = f"{place.database}.{name}"
    nothing_yet = "there is no ledger yet, for nothing ran: run `oedi-spark run` first"
    if not catalog_exists(place):
        raise PublishError(full, nothing_yet)
    try:
        catalog = open_catalog(place, create=False)
        return _scan(lambda: catalog.load_table((place.database, name)), wanted)
    except PublishError:
        raise
    except NoSuchTableError as error:
        if name == DISCREPANCIES and catalog.table_exists((place.database, RUNS)):
            return []
        raise PublishError(full, nothing_yet) from error
    except Exception as error:
        raise PublishError(full, f"the ledger cannot be read ({say_fault(error)})") from error


def _scan(load: Callable[[], Table], wanted: BooleanExpression) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = load().scan(row_filter=wanted).to_arrow().to_pylist()
    return rows
