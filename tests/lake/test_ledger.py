"""The ledger's tables: each run's rows once, whoever else appends, whatever the catalog says."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update import AddSnapshotUpdate

from oedi_spark.contracts import Partition
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.claim import claim_lake
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.ledger import (
    LEDGER_LIMITS,
    LedgerLimits,
    discrepancies_definition,
    ledger_claim,
    open_ledger,
    read_discrepancies,
    read_runs,
    runs_definition,
)
from oedi_spark.lake.s3_access import S3Access
from oedi_spark.lake.sweep import sweep_run
from tests.conftest import PROJECT, MakeConfig
from tests.lake.conftest import TOTAL
from tests.named import files_named_by

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000)
START_LIMIT_S = 120.0
PROCESSES = 8
PATIENT = LedgerLimits(request_timeout_s=60, append_s=START_LIMIT_S)
"""For tests in which many get in each other's way on few cores."""

Row = dict[str, object]


def run_of(run_id: str) -> Row:
    """A row of `runs` with every required column; what may be null is left out."""
    texts = ("outcome", "engine", "code_version", "python_version", "config_json")
    counts = (
        *("exit_code", "partition_count", "files_listed", "files_uploaded", "files_lost"),
        *("hours_published", "metadata_rows_published", "discrepancy_count"),
        *("read_bytes", "written_bytes"),
    )
    return {
        "run_id": run_id,
        "started_at_utc": NOON,
        "finished_at_utc": NOON,
        "config_fingerprint": "f" * 64,
        "total_s": 1.5,
        **dict.fromkeys(texts, "text"),
        **dict.fromkeys(counts, 7),
    }


def discrepancy_of(run_id: str, key: str, first_seen: datetime = NOON, **more: object) -> Row:
    return {
        "run_id": run_id,
        "release": "2024_comstock",
        "state": "CO",
        "upgrade": 0,
        "key": key,
        "stage": "reader",
        "reason": "truncated",
        "detail": "two\nlines",
        "first_seen_utc": first_seen,
        "last_seen_utc": NOON,
        **more,
    }


def enter(
    place: CatalogLocation,
    run_id: str,
    keys: Sequence[str] = (),
    limits: LedgerLimits = LEDGER_LIMITS,
) -> None:
    with open_ledger(place, run_id, limits) as ledger:
        if keys:
            rows = [discrepancy_of(run_id, key) for key in keys]
            ledger.append(discrepancies_definition(), rows)
        ledger.append(runs_definition(), [run_of(run_id)])


def files_of(place: CatalogLocation, table: str = "runs") -> tuple[set[str], set[str]]:
    """(data files and manifests that lie there, those that a snapshot names)."""
    opened = open_catalog(place, create=False).load_table((place.database, table))
    root = Path(opened.location().removeprefix("file://"))
    lying = {str(p) for p in root.rglob("*") if p.is_file() and not p.name.endswith(".json")}
    named = {uri.removeprefix("file://") for uri in files_named_by(opened)}
    return lying, {path for path in named if not path.endswith(".json")}


def appends(transaction: Transaction) -> bool:
    """Whether there is a snapshot in it: one is made also to see that no column is lacking."""
    return any(isinstance(each, AddSnapshotUpdate) for each in transaction._updates)


def leases(place: CatalogLocation) -> list[str]:
    folder = Path(place.database_uri.removeprefix("file://")) / "_leases"
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("definition", "names"),
    [
        (
            runs_definition(),
            (
                "run_id string, started_at_utc timestamp, finished_at_utc timestamp, "
                "outcome string, exit_code int, error string, engine string, code_version string, "
                "python_version string, spark_version string, config_json string, "
                "config_fingerprint string, partition_count int, files_listed long, "
                "files_uploaded long, files_lost long, hours_published long, "
                "metadata_rows_published long, discrepancy_count int, read_bytes long, "
                "written_bytes long, total_s double, config_s double, indexer_s double, "
                "reader_s double, rollup_s double, quality_s double, writer_s double, "
                "tracker_s double, hourly_snapshot_id long, metadata_snapshot_id long, "
                "building_weights_snapshot_id long, columns_snapshot_id long, "
                "sources_snapshot_id long, core_count int, cost_estimate_usd double, "
                "job_run_id string, workflow_run_id string, files_unchanged long, "
                "quality_score double"
            ),
        ),
        (
            discrepancies_definition(),
            (
                "run_id string, release string, state string, upgrade int, key string, "
                "stage string, reason string, detail string, etag string, "
                "first_seen_utc timestamp, last_seen_utc timestamp"
            ),
        ),
    ],
)
def test_ledger_table_has_the_columns_that_queries_rely_on(definition: object, names: str) -> None:
    fields = definition.schema.fields  # type: ignore[attr-defined] # a TableDefinition
    assert ", ".join(f"{field.name} {field.field_type}" for field in fields) == names
    assert definition.partition_spec.is_unpartitioned()  # type: ignore[attr-defined] # as above


def test_append_keeps_values_and_nulls_and_marks_its_snapshot(place: CatalogLocation) -> None:
    enter(place, "run-1", ["a/1-0.parquet", "b"])

    (run,) = read_runs(place)
    found = read_discrepancies(place)
    assert (run["run_id"], run["started_at_utc"], run["read_bytes"]) == ("run-1", NOON, 7)
    assert (run["error"], run["hourly_snapshot_id"], run["core_count"]) == (None, None, None)
    assert [(row["key"], row["etag"], row["detail"]) for row in found] == [
        ("a/1-0.parquet", None, "two\nlines"),
        ("b", None, "two\nlines"),
    ]
    table = open_catalog(place).load_table((place.database, "runs"))
    (snapshot,) = table.snapshots()
    assert snapshot.summary is not None
    assert snapshot.summary.operation.value == "append"
    assert snapshot.summary.additional_properties["oedi-spark.run-id"] == "run-1"
    assert leases(place) == []


def test_append_of_a_second_run_keeps_the_first(place: CatalogLocation) -> None:
    enter(place, "run-1")
    enter(place, "run-2")

    assert [row["run_id"] for row in read_runs(place)] == ["run-2", "run-1"]


def test_append_called_again_for_the_same_run_adds_nothing(place: CatalogLocation) -> None:
    enter(place, "run-1", ["a"])
    enter(place, "run-1", ["a"])

    assert len(read_runs(place)) == len(read_discrepancies(place)) == 1
    lying, named = files_of(place)
    assert lying == named


def test_append_whose_answer_is_lost_is_found_and_not_made_again(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, calls = Transaction.commit_transaction, []

    def commit_and_hang_up(transaction: Transaction) -> Table:
        is_append = appends(transaction)
        committed = commit(transaction)
        if is_append:
            calls.append(1)
            if len(calls) == 1:
                raise ConnectionError("504 Gateway Timeout")
        return committed

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", commit_and_hang_up)
        enter(place, "run-1")

    assert calls == [1]
    assert len(read_runs(place)) == 1
    lying, named = files_of(place)
    assert lying == named


def test_append_in_doubt_leaves_the_manifests_of_the_first_try_alone(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first commit may yet happen: what it names must not be written again meanwhile."""
    seen: list[set[str]] = []
    commit = Transaction.commit_transaction

    def hang_up_first(transaction: Transaction) -> Table:
        if appends(transaction):
            seen.append({Path(path).name for path in files_of(place)[0] if "-m0" in path})
            if len(seen) == 1:
                raise ConnectionError("504 Gateway Timeout")
        return commit(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", hang_up_first)
        enter(place, "run-1")

    assert [len(each) for each in seen] == [1, 2]
    assert len(read_runs(place)) == 1
    lying, named = files_of(place)
    assert lying == named


def test_append_that_loses_every_race_gives_up_within_bounds_and_leaves_nothing(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(place, "run-0")
    monkeypatch.setattr("oedi_spark.lake.ledger.COMMIT_ATTEMPTS", 3)
    commit, tries = Transaction.commit_transaction, []

    def be_beaten(transaction: Transaction) -> Table:
        if not appends(transaction):
            return commit(transaction)
        tries.append(1)
        raise CommitFailedException("another run was faster")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", be_beaten)
        with pytest.raises(CommitFailedException):
            enter(place, "run-1")

    lying, named = files_of(place)
    assert len(tries) == 3
    assert lying == named
    assert leases(place) == ["ledger-run-1.json"]
    with claim_lake(place, "run-2", [Partition("R", "CO", 0)], [TOTAL]):
        pass
    assert leases(place) == []
    assert [row["run_id"] for row in read_runs(place)] == ["run-0"]


def everything_in(place: CatalogLocation, table: str = "runs") -> tuple[set[str], set[str]]:
    """(all that lies in the table's folder, what the table names), metadata files among it."""
    root = Path(place.table_uri(table).removeprefix("file://"))
    catalog = open_catalog(place, create=False)
    is_there = catalog.table_exists((place.database, table))
    named = files_named_by(catalog.load_table((place.database, table))) if is_there else set()
    lying = {f"file://{path}" for path in root.rglob("*") if path.is_file()}
    return lying, named


FULL = OSError(errno.ENOSPC, "No space left on device")


def fill_disk(monkeypatch: pytest.MonkeyPatch, what: str, *, room: int = 0) -> list[str]:
    """Let files of that name be cut short, after the first `room` ones; the list has them all."""
    cut, plain = [], PyArrowFileIO.new_output

    def begin(io: PyArrowFileIO, location: str) -> PyArrowFile:
        if what in location.rsplit("/", 1)[1]:
            cut.append(location)
            if len(cut) > room:
                path = Path(location.removeprefix("file://"))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"half")
                raise FULL
        return plain(io, location)

    monkeypatch.setattr(PyArrowFileIO, "new_output", begin)
    return cut


@pytest.mark.parametrize("what", [".metadata.json", "-m0.avro", "snap-", "00000-0-"])
@pytest.mark.parametrize("is_new", [True, False])
def test_append_on_a_full_disk_leaves_nothing_behind(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch, what: str, is_new: bool
) -> None:
    """Whichever file does not fit: metadata, manifest, list of manifests, rows."""
    if not is_new:
        enter(place, "run-0")
    monkeypatch.setattr("oedi_spark.lake.ledger.COMMIT_ATTEMPTS", 3)

    with monkeypatch.context() as patch:
        cut = fill_disk(patch, what)
        with pytest.raises(OSError, match="No space left"):
            enter(place, "run-1")

    assert len(cut) == 3
    lying, named = everything_in(place)
    assert lying == named
    enter(place, "run-2")
    assert [row["run_id"] for row in read_runs(place)] == ["run-2", "run-0"][: 2 - is_new]


def test_append_on_a_disk_that_is_cleared_meanwhile_is_made_and_leaves_nothing(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(place, "run-0")

    def full_twice(io: PyArrowFileIO, location: str) -> PyArrowFile:
        if location.endswith(".metadata.json") and len(begun) < 2:
            begun.append(location)
            Path(location.removeprefix("file://")).write_bytes(b"half")
            raise FULL
        return plain(io, location)

    begun, plain = list[str](), PyArrowFileIO.new_output
    with monkeypatch.context() as patch:
        patch.setattr(PyArrowFileIO, "new_output", full_twice)
        enter(place, "run-1")

    lying, named = everything_in(place)
    assert lying == named
    assert leases(place) == []
    assert len(read_runs(place)) == 2


def test_append_whose_table_was_made_before_the_disk_was_full_keeps_the_table(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the metadata files that an attempt has begun, the first is the table by then."""
    monkeypatch.setattr("oedi_spark.lake.ledger.COMMIT_ATTEMPTS", 1)

    with monkeypatch.context() as patch:
        fill_disk(patch, ".metadata.json", room=1)
        with pytest.raises(OSError, match="No space left"):
            enter(place, "run-1")

    lying, named = everything_in(place)
    assert lying == named
    assert len(named) == 1
    assert read_runs(place) == []


def test_append_in_doubt_to_the_end_keeps_what_may_yet_be_named_until_the_next_run(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(place, "run-0")
    monkeypatch.setattr("oedi_spark.lake.ledger.COMMIT_ATTEMPTS", 3)
    commit = Transaction.commit_transaction

    def hang_up(transaction: Transaction) -> Table:
        if appends(transaction):
            raise ConnectionError("504 Gateway Timeout")
        return commit(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", hang_up)
        with pytest.raises(ConnectionError):
            enter(place, "run-1")

    lying, named = files_of(place)
    assert len([path for path in lying - named if path.endswith("-m0.avro")]) == 3
    with claim_lake(place, "run-2", [Partition("R", "CO", 0)], [TOTAL]):
        pass
    lying, named = files_of(place)
    assert lying == named


def test_entry_that_ends_well_beside_one_in_doubt_leaves_its_lease_to_the_next_run(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oedi_spark.lake.ledger.COMMIT_ATTEMPTS", 2)
    commit = Transaction.commit_transaction

    def hang_up(transaction: Transaction) -> Table:
        if appends(transaction) and transaction._table.name()[-1] == "discrepancies":
            raise ConnectionError("504 Gateway Timeout")
        return commit(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", hang_up)
        with open_ledger(place, "run-1") as ledger:
            with suppress(ConnectionError):
                ledger.append(discrepancies_definition(), [discrepancy_of("run-1", "a")])
            ledger.append(runs_definition(), [run_of("run-1")])

    assert leases(place) == ["ledger-run-1.json"]
    assert [row["run_id"] for row in read_runs(place)] == ["run-1"]
    with claim_lake(place, "run-2", [Partition("R", "CO", 0)], [TOTAL]):
        pass
    lying, named = files_of(place, "discrepancies")
    assert lying == named
    assert leases(place) == []


def test_sweep_of_a_run_never_takes_its_ledger_entry_along(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed is swept by others while it still writes its entry."""
    commit = Transaction.commit_transaction

    def be_swept(transaction: Transaction) -> Table:
        table = open_catalog(place).load_table((place.database, "runs"))
        assert sweep_run(table, "run-1", ()) == ()
        return commit(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", be_swept)
        enter(place, "run-1")

    assert [row["run_id"] for row in read_runs(place)] == ["run-1"]


def test_entry_killed_between_staging_and_commit_is_swept_by_the_next_run(
    place: CatalogLocation,
) -> None:
    enter(place, "run-0")
    program = (
        "import os, signal, sys\n"
        "from pyiceberg.table import Transaction\n"
        "from tests.lake.test_ledger import appends, enter, place_of\n"
        "commit = Transaction.commit_transaction\n"
        "def die(transaction):\n"
        "    if appends(transaction):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return commit(transaction)\n"
        "Transaction.commit_transaction = die\n"
        "enter(place_of(sys.argv[1]), 'run-1')\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(place.uri)], cwd=PROJECT, timeout=60, check=False
    )
    assert killed.returncode == -9
    lying, named = files_of(place)
    assert len(lying - named) == 3  # rows, manifest, list of manifests
    assert leases(place) == ["ledger-run-1.json"]

    with claim_lake(place, "run-2", [Partition("R", "CO", 0)], [TOTAL]):
        pass

    lying, named = files_of(place)
    assert lying == named
    assert leases(place) == []
    enter(place, "run-2")
    assert [row["run_id"] for row in read_runs(place)] == ["run-2", "run-0"]


def place_of(uri: str) -> CatalogLocation:
    """The place of this test's SQLite file, for a process of its own."""
    root = Path(uri.removeprefix("sqlite:///")).parents[1]
    warehouse_uri = f"file://{root / 'warehouse'}"
    return CatalogLocation("sql", "oedi", "eulp", warehouse_uri, uri=uri)


def test_eight_processes_at_once_lose_no_row_and_double_none(
    place: CatalogLocation, tmp_path: Path
) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from tests.lake.test_ledger import PATIENT, enter, place_of\n"
        "uri, name, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])\n"
        "(folder / f'ready-{name}').touch()\n"
        "while not (folder / 'go').exists():\n"
        "    time.sleep(0.005)\n"
        "for at in range(2):\n"
        "    enter(place_of(uri), f'run-{name}-{at}', ['a', 'b'], PATIENT)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(place.uri), str(at), str(tmp_path)],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
        )
        for at in range(PROCESSES)
    ]
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while len(list(tmp_path.glob("ready-*"))) < PROCESSES and time.monotonic() < deadline:
            time.sleep(0.02)
        (tmp_path / "go").touch()
        ended = [process.communicate(timeout=START_LIMIT_S)[1].decode() for process in running]
    finally:
        for process in running:
            process.kill()

    assert [process.returncode for process in running] == [0] * PROCESSES, ended
    ids = sorted(f"run-{name}-{at}" for name in range(PROCESSES) for at in range(2))
    assert sorted(str(row["run_id"]) for row in read_runs(place)) == ids
    keys = sorted((str(row["run_id"]), row["key"]) for row in read_discrepancies(place))
    assert keys == sorted((run_id, key) for run_id in ids for key in ("a", "b"))
    for table in ("runs", "discrepancies"):
        lying, named = files_of(place, table)
        assert lying == named


def test_first_seen_is_the_earliest_of_each_thing(place: CatalogLocation) -> None:
    early, late = datetime(2026, 1, 1), datetime(2026, 2, 1)
    with open_ledger(place, "run-0") as ledger:
        assert ledger.first_seen({"2024_comstock"}) == {}
    for run_id, seen in (("run-1", late), ("run-2", early)):
        with open_ledger(place, run_id) as ledger:
            rows = [
                discrepancy_of(run_id, "a", seen),
                discrepancy_of(run_id, "n", seen, state=None),
                discrepancy_of(run_id, "z", seen, release="2022_resstock"),
            ]
            ledger.append(discrepancies_definition(), rows)

    with open_ledger(place, "run-3") as ledger:
        assert ledger.first_seen({"2024_comstock"}) == {
            ("2024_comstock", "CO", 0, "a", "truncated"): early,
            ("2024_comstock", None, 0, "n", "truncated"): early,
        }
        assert ledger.first_seen(()) == {}


def test_read_discrepancies_takes_a_run_and_a_reason_as_values(place: CatalogLocation) -> None:
    enter(place, "run-1", ["a"])
    enter(place, "run-2", ["a", "b"])

    assert len(read_discrepancies(place, run_id="run-2")) == 2
    assert len(read_discrepancies(place, run_id="run-2", reason="truncated")) == 2
    assert read_discrepancies(place, reason="not_found") == []
    assert read_discrepancies(place, run_id="x' OR '1'='1") == []


def test_read_without_a_ledger_says_what_to_do(place: CatalogLocation) -> None:
    for read in (read_runs, read_discrepancies):
        with pytest.raises(PublishError, match="run `oedi-spark run` first"):
            read(place)
    assert not Path(str(place.uri).removeprefix("sqlite:///")).exists()
    open_catalog(place)
    for read in (read_runs, read_discrepancies):
        with pytest.raises(PublishError, match="run `oedi-spark run` first"):
            read(place)


def test_read_discrepancies_before_any_run_had_one_is_empty(place: CatalogLocation) -> None:
    enter(place, "run-1")

    assert read_discrepancies(place) == []


def test_catalog_that_fails_is_told_as_a_ledger_that_cannot_be_read(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(place, "run-1")

    def fail(_: Catalog, __: object) -> Table:
        raise ConnectionError("no route to the catalog")

    monkeypatch.setattr("pyiceberg.catalog.sql.SqlCatalog.load_table", fail)

    with pytest.raises(
        PublishError, match=r"the ledger cannot be read \(ConnectionError: no route"
    ):
        read_runs(place)


def test_lease_of_an_entry_claims_no_partition_and_refuses_nobody(place: CatalogLocation) -> None:
    with open_ledger(place, "run-1"):
        (lease,) = LeaseBook(place.database_uri).others("run-2")
        assert (lease.run_id, lease.partitions) == (ledger_claim("run-1"), frozenset())
        assert lease.is_alive(time.time())
        with claim_lake(place, "run-2", [Partition("R", "CO", 0)], [TOTAL]):
            pass
        assert leases(place) == ["ledger-run-1.json"]


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)  # the system takes them; nobody ever reads
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_glue_that_never_answers_ends_an_entry_within_its_limits(
    place: CatalogLocation, silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    silent = replace(
        place,
        kind="glue",
        uri=None,
        access=S3Access(region="us-east-1"),  # with the limits of a run: 5 attempts of 60 s
        glue_endpoint_url=silent_url,
    )
    limits = LedgerLimits(connect_timeout_s=1, request_timeout_s=0.2, max_attempts=2)
    started_s = time.monotonic()

    with pytest.raises(PublishError, match="the catalog did not open"):
        enter(silent, "run-1", limits=limits)

    assert time.monotonic() - started_s < 60  # a run's own limits would take five minutes


def test_limits_of_the_ledger_take_the_place_of_longer_ones_only(place: CatalogLocation) -> None:
    own = S3Access(region="eu-1", connect_timeout_s=1, request_timeout_s=60, max_attempts=5)
    limits = LedgerLimits(connect_timeout_s=4, request_timeout_s=6, max_attempts=2)

    shortened = limits.shorten(replace(place, access=own))

    assert shortened == replace(
        place,
        access=S3Access(
            region="eu-1", connect_timeout_s=1.0, request_timeout_s=6.0, max_attempts=2
        ),
    )


def test_catalog_without_limits_that_never_answers_keeps_no_run_from_its_end(
    make_config: MakeConfig, place: CatalogLocation, silent_url: str, tmp_path: Path
) -> None:
    """A REST catalog: PyIceberg waits for its answer for ever."""
    program = (
        "import sys\n"
        "from concurrent.futures import Future\n"
        "from oedi_spark.config import RunConfig\n"
        "from oedi_spark.contracts import RunOrigin\n"
        "from oedi_spark.lake.catalog import CatalogLocation\n"
        "from oedi_spark.ledger import enter_run\n"
        "from oedi_spark.tracking.tracker import RunTracker\n"
        "config, warehouse, url = sys.argv[1:]\n"
        "run = RunTracker('run-1')\n"
        "summary = run.summarise(outcome='not published', exit_code=5, error='refused')\n"
        "place = CatalogLocation('rest', 'oedi', 'eulp', warehouse, uri=url)\n"
        "config = RunConfig.model_validate_json(config)\n"
        "enter_run(config, place, run, summary, Future(), origin=RunOrigin(), limit_s=1)\n"
        "print('run ended')\n"
    )
    config = make_config(tmp_path).model_dump_json(by_alias=True)

    ended = subprocess.run(
        [sys.executable, "-c", program, config, place.warehouse_uri, silent_url],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ended.stdout.splitlines()[-1] == "run ended"
    said = ended.stdout + ended.stderr
    assert "run not entered into the ledger" in said
    assert "TimeoutError: no end within 1 s" in said
    assert leases(place) == ["ledger-run-1.json"]  # by which the next run sweeps


@pytest.mark.parametrize("table", ["runs", "discrepancies"])
def test_table_that_a_killed_run_had_begun_to_make_leaves_nothing_once_it_is_made(
    place: CatalogLocation, table: str
) -> None:
    folder = Path(place.database_uri.removeprefix("file://")) / table / "metadata"
    folder.mkdir(parents=True)
    begun = folder / "00000-0a1b2c3d-0000-4000-8000-000000000001.metadata.json"
    begun.write_text("{}")
    other = folder / "notes.json"
    other.write_text("{}")

    with open_ledger(place, "run-1") as ledger:
        ledger.ensure(discrepancies_definition())
        ledger.append(runs_definition(), [run_of("run-1")])

    assert not begun.exists()
    assert other.exists()
    opened = open_catalog(place, create=False).load_table((place.database, table))
    assert Path(opened.metadata_location.removeprefix("file://")).parent == folder
