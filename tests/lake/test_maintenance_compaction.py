"""Compaction: fewer files, the same rows bit for bit, and nobody's work lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import FileScanTask, Table, Transaction
from pyiceberg.types import LongType, StringType

from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_maintenance import MaintenanceError
from oedi_spark.errors import CommitUnknownError
from oedi_spark.lake import compaction, files, rewrite
from oedi_spark.lake.catalog import (
    CatalogLocation,
    field_ids,
    open_catalog,
    open_table,
    reserve_columns,
)
from oedi_spark.lake.compaction import CompactionRule, compact
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.merge import RowDigest, merge_sorted
from oedi_spark.lake.metadata_schemas import building_weights_definition
from oedi_spark.lake.schemas import TableDefinition, number_fields
from oedi_spark.lake.staging import stage_table
from oedi_spark.lake.sweep import sweep_run
from oedi_spark.lake.writer import replace_partitions, stage_rows

R = "2024_comstock_amy2018_release_1"
CO, GA = Partition(R, "CO", 0), Partition(R, "GA", 0)
RUN = "20260101T000000Z-0000000a"
MAINTAIN = "20260108T000000Z-0000000b-maintain"
MIB = 1024 * 1024
RULE = CompactionRule(
    small_file_bytes=MIB, min_files=3, target_file_bytes=4 * MIB, row_group_rows={}
)
COOLING = Column("cooling_kwh", "cooling", "kwh", "sum", known=True)

Rows = list[tuple[int, int, float | None]]
"""Building, hour of 2018, kWh."""


def publish(table: Table, partition: Partition, files: list[Rows], run_id: str = RUN) -> None:
    """Put these files, one list of rows each, in place of whatever the partition holds."""
    staged = []
    for at, rows in enumerate(files):
        first = datetime(2018, 1, 1)
        columns = pa.table(
            {
                "release": [partition.release] * len(rows),
                "state": [partition.state] * len(rows),
                "upgrade": pa.array([partition.upgrade] * len(rows), pa.int32()),
                "bldg_id": [row[0] for row in rows],
                "hour_start": pa.array(
                    [first + timedelta(hours=row[1]) for row in rows], pa.timestamp("us")
                ),
                "total_kwh": pa.array([row[2] for row in rows], pa.float64()),
            }
        )
        uri = f"{table.location()}/data/{partition}/{run_id}-{at:05d}-0123456789ab.parquet"
        staged.append(stage_table(uri, partition, columns, field_ids(table), row_group_rows=2))
    replace_partitions(table, [partition], staged, run_id=run_id)


def paths(table: Table) -> list[str]:
    """Data files of the current snapshot, as local paths."""
    tasks = table.refresh().scan().plan_files()
    return sorted(task.file.file_path.removeprefix("file://") for task in tasks)


def stored(table: Table) -> set[str]:
    """Every file below the table's folder."""
    root = Path(table.location().removeprefix("file://"))
    return {str(path) for path in root.rglob("*") if path.is_file()}


def read_file(path: str) -> pa.Table:
    """One file, without what its folders say."""
    return pq.read_table(path, partitioning=None)


def by_duckdb(table: Table) -> list[str]:
    """All rows as another reader sees them, in print, so that NaN equals NaN."""
    found = duckdb.connect().read_parquet(paths(table), hive_partitioning=False, union_by_name=True)
    return sorted(map(repr, found.fetchall()))


@pytest.fixture
def leases(place: CatalogLocation) -> LeaseBook:
    return LeaseBook(place.database_uri)


def run_compaction(table: Table, leases: LeaseBook, **changes: object) -> list[int]:
    """How many files went into each new one."""
    rule = CompactionRule(**{**vars(RULE), **changes})
    report = compact(table, leases, run_id=MAINTAIN, rule=rule, is_dry_run=False)
    return [len(each.inputs) for each in report.rewrites]


NAN, ODD = float("nan"), 0.1 + 0.2
SIX: list[Rows] = [
    [(1, 0, 1.5), (1, 1, None), (4, 0, ODD)],
    [(2, 0, -0.0), (2, 1, 5e-324)],
    [(3, 0, NAN), (3, 1, 1e300)],
    [(5, 0, 2.5)],
    [(1, 2, 3.5), (7, 0, 4.5)],
    [(6, 0, 0.0)],
]


def test_compact_overlapping_files_gives_the_same_rows_bit_for_bit_in_order(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    publish(hourly, GA, [[(1, 0, 9.0)]], "20260101T000000Z-0000000c")
    before, untouched = by_duckdb(hourly), [path for path in paths(hourly) if "state=GA" in path]

    assert run_compaction(hourly, leases) == [6]

    assert by_duckdb(hourly) == before
    compacted, kept = paths(hourly)
    assert [kept] == untouched
    rows = read_file(compacted).to_pydict()
    assert rows["bldg_id"] == [1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    assert [each.hour for each in rows["hour_start"]] == [0, 1, 2, 0, 1, 0, 1, 0, 0, 0, 0]
    bits = [None if x is None else np.float64(x).tobytes().hex() for x in rows["total_kwh"]]
    literals = [1.5, None, 3.5, -0.0, 5e-324, NAN, 1e300, ODD, 2.5, 0.0, 4.5]
    assert bits == [None if x is None else np.float64(x).tobytes().hex() for x in literals]


def test_compacted_file_has_field_ids_bounds_and_the_encodings_of_its_inputs(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    ids = field_ids(hourly)

    run_compaction(hourly, leases)

    [task] = hourly.refresh().scan().plan_files()
    opened = pq.ParquetFile(task.file.file_path.removeprefix("file://"))
    assert {
        field.name: int(field.metadata[b"PARQUET:field_id"]) for field in opened.schema_arrow
    } == ids
    assert (task.file.record_count, task.file.null_value_counts[ids["total_kwh"]]) == (11, 1)
    low, high = (
        bounds[ids["bldg_id"]] for bounds in (task.file.lower_bounds, task.file.upper_bounds)
    )
    assert (low, high) == ((1).to_bytes(8, "little"), (7).to_bytes(8, "little"))
    chunks = {
        opened.schema.names[at]: opened.metadata.row_group(0).column(at) for at in range(len(ids))
    }
    assert chunks["state"].has_dictionary_page
    assert not chunks["total_kwh"].has_dictionary_page
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}


def test_compact_leaves_a_partition_with_few_small_files_alone_and_settles(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    publish(hourly, GA, SIX[:2], "20260101T000000Z-0000000c")

    assert run_compaction(hourly, leases) == [6]
    assert run_compaction(hourly, leases) == []
    assert len(paths(hourly)) == 3


def test_compact_fills_files_up_to_the_target_and_groups_up_to_the_limit(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    sizes = [Path(path).stat().st_size for path in paths(hourly)]
    three = sum(sorted(sizes)[-3:])

    inputs = run_compaction(hourly, leases, target_file_bytes=three, row_group_rows={"hourly": 2})

    assert sum(inputs) == 6
    assert all(2 <= count <= 4 for count in inputs)
    for path in paths(hourly):
        opened = pq.ParquetFile(path).metadata
        groups = [opened.row_group(at).num_rows for at in range(opened.num_row_groups)]
        assert (max(groups), set(groups[:-1])) == (2, {2})


def test_compact_never_rewrites_a_file_alone(hourly: Table, leases: LeaseBook) -> None:
    publish(hourly, CO, SIX)
    before = paths(hourly)
    largest = max(Path(path).stat().st_size for path in before)

    assert run_compaction(hourly, leases, target_file_bytes=largest) == []
    assert paths(hourly) == before


def test_compact_gives_files_from_before_a_column_nulls_there(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, [[(1, 0, 1.5)], [(2, 0, 2.5)]])
    table = reserve_columns(hourly, [COOLING])
    old = table.scan().to_arrow().drop_columns(["cooling_kwh"])
    columns = table.schema().column_names
    wide = pa.table(
        {
            "release": [R],
            "state": ["CO"],
            "upgrade": pa.array([0], pa.int32()),
            "bldg_id": [3],
            "hour_start": pa.array([datetime(2018, 1, 1)], pa.timestamp("us")),
            "total_kwh": [3.5],
            "cooling_kwh": [0.5],
        }
    )
    parts = [old.slice(0, 1), old.slice(1, 1)]
    staged = [
        stage_table(f"{table.location()}/data/{CO}/{RUN}-{at}.parquet", CO, part, field_ids(table))
        for at, part in enumerate([*parts, wide.select(columns)])
    ]
    replace_partitions(table, [CO], staged, run_id="20260101T000000Z-0000000d")

    assert run_compaction(table, leases) == [3]

    rows = table.refresh().scan().to_arrow().sort_by("bldg_id").to_pydict()
    assert rows["cooling_kwh"] == [None, None, 0.5]
    assert rows["total_kwh"] == [1.5, 2.5, 3.5]


def test_compact_of_text_keys_and_nulls_merges_in_the_tables_order(
    place: CatalogLocation, leases: LeaseBook
) -> None:
    table = open_table(open_catalog(place), place, building_weights_definition())
    parts: list[list[tuple[str, str, int, float, str | None]]] = [
        [("county", "G0800010", 7, 1.25, None), ("state", "CO", 7, 2.5, "Office")],
        [("county", "G0800010", 3, 0.5, "Office"), ("puma", "G08000102", 3, 0.5, "Office")],
        [("county", "G0800030", 7, 1.25, None), ("state", "CO", 3, 1.0, "Hotel")],
    ]
    staged = []
    for at, part in enumerate(parts):
        rows = pa.Table.from_pylist(
            [
                {
                    "release": R,
                    "state": "CO",
                    "upgrade": 0,
                    **dict(
                        zip(
                            ("geography_kind", "geography", "bldg_id", "weight", "building_type"),
                            each,
                            strict=True,
                        )
                    ),
                }
                for each in part
            ]
        )
        staged.append(stage_rows(table, CO, rows, run_id=f"{RUN[:-1]}{at}"))
    replace_partitions(table, [CO], staged, run_id=RUN)

    assert run_compaction(table, leases) == [3]

    [path] = paths(table)
    rows = read_file(path)
    found = list(zip(*(rows[name].to_pylist() for name in rows.column_names[3:8]), strict=True))
    assert found == [
        ("county", "G0800010", 3, 0.5, "Office"),
        ("county", "G0800010", 7, 1.25, None),
        ("county", "G0800030", 7, 1.25, None),
        ("puma", "G08000102", 3, 0.5, "Office"),
        ("state", "CO", 3, 1.0, "Hotel"),
        ("state", "CO", 7, 2.5, "Office"),
    ]


def test_compact_of_a_table_without_partitions_sorts_what_was_not(
    place: CatalogLocation, leases: LeaseBook
) -> None:
    fields = [("run_id", StringType(), True, ""), ("at", LongType(), False, "")]
    definition = TableDefinition("runs", number_fields(fields), ("at",), partition_columns=())
    table = open_table(open_catalog(place), place, definition)
    schema = pa.schema([pa.field("run_id", pa.string(), nullable=False), ("at", pa.int64())])
    parts: list[list[tuple[str, int | None]]] = [
        [("d", 4), ("a", 1)],
        [("c", 3), ("x", None)],
        [("b", 2)],
    ]
    for rows in parts:
        table.append(pa.Table.from_pylist([dict(run_id=n, at=v) for n, v in rows], schema=schema))  # noqa: C408 - a row

    assert run_compaction(table, leases) == [3]

    [path] = paths(table)
    assert read_file(path)["run_id"].to_pylist() == ["a", "b", "c", "d", "x"]
    assert Path(path).parent == Path(table.location().removeprefix("file://")) / "data"


@pytest.mark.parametrize("is_partitioned", [True, False])
def test_compact_that_is_killed_before_its_commit_is_swept_by_the_next_run(
    place: CatalogLocation,
    hourly: Table,
    leases: LeaseBook,
    monkeypatch: pytest.MonkeyPatch,
    is_partitioned: bool,
) -> None:
    table = hourly
    if is_partitioned:
        publish(table, CO, SIX)
    else:
        schema = pa.schema([pa.field("at", pa.int64())])
        fields = number_fields([("at", LongType(), False, "")])
        definition = TableDefinition("runs", fields, ("at",), partition_columns=())
        table = open_table(open_catalog(place), place, definition)
        for at in range(3):
            table.append(pa.table({"at": [at]}, schema))
    before = stored(table)

    class Killed(BaseException):
        """Nothing is cleaned up after it."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        for name in ("_commit", "_discard"):
            patch.setattr(compaction, name, die)
        with pytest.raises(Killed):
            run_compaction(table, leases)
    assert len(stored(table) - before) == 1
    [left] = leases.others("")

    sweep_run(table, left.run_id, left.partitions)

    assert stored(table) == before


def test_compact_dry_run_names_the_files_and_changes_nothing(
    hourly: Table, leases: LeaseBook, place: CatalogLocation
) -> None:
    publish(hourly, CO, SIX)
    before, snapshot = stored(hourly), hourly.refresh().current_snapshot()

    report = compact(hourly, leases, run_id=MAINTAIN, rule=RULE, is_dry_run=True)

    [planned] = report.rewrites
    assert sorted(each.uri.removeprefix("file://") for each in planned.inputs) == paths(hourly)
    assert [each.size_bytes for each in planned.inputs] == [
        Path(each.uri.removeprefix("file://")).stat().st_size for each in planned.inputs
    ]
    assert (planned.partition, planned.row_count, planned.output) == (str(CO), 11, None)
    assert stored(hourly) == before
    assert hourly.refresh().current_snapshot() == snapshot
    assert not Path(place.database_uri.removeprefix("file://"), "_leases").exists()


def test_compact_leaves_a_partition_that_a_living_run_replaces(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    publish(hourly, GA, SIX, "20260101T000000Z-0000000c")
    leases.acquire("20260107T000000Z-0000000e", [GA])

    report = compact(hourly, leases, run_id=MAINTAIN, rule=RULE, is_dry_run=False)

    assert [each.partition for each in report.rewrites] == [str(CO)]
    assert report.notes == (f"{GA} is being replaced by run 20260107T000000Z-0000000e",)
    assert [each.run_id for each in leases.others("")] == ["20260107T000000Z-0000000e"]


def test_compact_holds_the_lease_so_that_a_run_is_told_to_wait(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    held: list[tuple[str, list[Partition]]] = []
    plain = rewrite.rewrite

    def look(*arguments: object, **wanted: object) -> object:
        held.extend((each.run_id, sorted(each.partitions)) for each in leases.others(""))
        return plain(*arguments, **wanted)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(compaction, "rewrite", look)

    run_compaction(hourly, leases)

    assert held == [(MAINTAIN, [CO])]
    assert list(leases.others("")) == []


def test_compact_of_files_that_another_engine_replaced_meanwhile_leaves_its_rows(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    publish(hourly, GA, SIX, "20260101T000000Z-0000000c")
    plain, beaten = compaction._commit_once, list[int]()

    def be_beaten(table: Table, done: object, run_id: str) -> None:
        if not beaten:
            beaten.append(1)
            publish(open_again(table), CO, [[(8, 0, 8.5)]], "20260107T000000Z-0000000e")
        plain(table, done, run_id)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(compaction, "_commit_once", be_beaten)

    report = compact(hourly, leases, run_id=MAINTAIN, rule=RULE, is_dry_run=False)

    assert [each.partition for each in report.rewrites] == [str(GA)]
    assert report.notes == (f"{CO} was changed meanwhile",)
    rows = hourly.refresh().scan(row_filter="state = 'CO'").to_arrow()
    assert rows["bldg_id"].to_pylist() == [8]
    assert not [path for path in stored(hourly) if "maintain" in path and "state=CO" in path]


def open_again(table: Table) -> Table:
    return table.catalog.load_table(table.name())


def test_compact_whose_commit_never_happens_removes_what_it_wrote(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    before = stored(hourly)

    def lose(_: Transaction) -> Table:
        raise CommitFailedException("others were faster")

    monkeypatch.setattr(Transaction, "commit_transaction", lose)
    monkeypatch.setattr("oedi_spark.lake.catalog.COMMIT_ATTEMPTS", 2)

    with pytest.raises(MaintenanceError, match=r"not maintained: others kept changing it"):
        run_compaction(hourly, leases)

    assert stored(hourly) == before
    assert list(leases.others("")) == []


def test_compact_whose_commit_is_unknown_removes_nothing_and_leaves_a_dead_lease(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    before = by_duckdb(hourly)
    plain = Transaction.commit_transaction

    def forget(transaction: Transaction) -> Table:
        plain(transaction)
        raise OSError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", forget)
        with pytest.raises(CommitUnknownError):
            run_compaction(hourly, leases)

    assert by_duckdb(hourly) == before
    assert len(paths(hourly)) == 1
    [left] = leases.others("")
    assert (left.run_id, left.is_alive(0.0)) == (MAINTAIN, False)


def test_compact_whose_output_is_not_what_was_read_publishes_nothing(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    before, rows = stored(hourly), by_duckdb(hourly)
    plain = files.read_whole

    def damage(uri: str, *access: object) -> bytes:
        if "maintain" in uri:
            table = read_file(uri.removeprefix("file://"))
            at = table.schema.get_field_index("total_kwh")
            swapped = pa.array(table["total_kwh"].to_pylist()[::-1])
            pq.write_table(
                table.set_column(at, table.schema.field(at), swapped),
                uri.removeprefix("file://"),
                store_schema=False,
            )
        return plain(uri, *access)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(rewrite, "read_whole", damage)

    with pytest.raises(MaintenanceError, match="holds 11 rows that are not the 11 read"):
        run_compaction(hourly, leases)

    assert stored(hourly) == before
    assert by_duckdb(hourly) == rows


def test_compact_of_a_file_that_was_cut_or_overwritten_leaves_its_partition_and_says_so(
    hourly: Table, leases: LeaseBook
) -> None:
    publish(hourly, CO, SIX)
    publish(hourly, GA, SIX, "20260101T000000Z-0000000c")
    cut, garbled = (
        next(path for path in paths(hourly) if f"state={s}" in path) for s in ("CO", "GA")
    )
    size = Path(cut).stat().st_size
    with Path(cut).open("r+b") as file:
        file.truncate(size - 10)
    with Path(garbled).open("r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 300)

    report = compact(hourly, leases, run_id=MAINTAIN, rule=RULE, is_dry_run=False)

    assert report.rewrites == ()
    assert f"{CO} is left: " in report.notes[0]
    assert f"has {size - 10} bytes, the table says {size}" in report.notes[0]
    assert f"{GA} is left: a file of it cannot be read as the table's" in report.notes[1]
    assert not [path for path in stored(hourly) if "maintain" in path]


def test_compact_of_rows_that_another_engine_marked_deleted_leaves_them_to_it(
    hourly: Table, leases: LeaseBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, SIX)
    tasks = list(hourly.refresh().scan().plan_files())
    tasks[0].delete_files.add(tasks[1].file)

    class Scan:
        def plan_files(self) -> list[FileScanTask]:
            return tasks

    monkeypatch.setattr(Table, "scan", lambda _: Scan())

    report = compact(hourly, leases, run_id=MAINTAIN, rule=RULE, is_dry_run=True)

    assert report.rewrites == ()
    assert report.notes == (f"{CO} has rows that another engine deleted",)


def test_merge_of_many_streams_is_the_sort_of_all_rows() -> None:
    random = np.random.default_rng(7)
    parts = []
    for _ in range(9):
        keys = np.sort(random.integers(0, 40, random.integers(1, 60)))
        parts.append(pa.table({"key": keys, "value": random.random(len(keys))}))
    streams = [iter([part.slice(at, 5) for at in range(0, part.num_rows, 5)]) for part in parts]
    whole = pa.concat_tables(parts)

    merged = pa.concat_tables(list(merge_sorted(streams, ["key"])))

    assert merged["key"].to_pylist() == sorted(whole["key"].to_pylist())
    rows = ["key", "value"]
    assert merged.sort_by([(each, "ascending") for each in rows]) == whole.sort_by(
        [(each, "ascending") for each in rows]
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"key": [1, 2, 3], "value": [0.5, 1.5, None], "text": ["a", "b", "b"]},
        {"key": [1, 2, 3], "value": [1.5, 0.5, None], "text": ["a", "b", None]},
        {"key": [1, 2, 3], "value": [0.5, 1.5, 0.0], "text": ["a", "b", None]},
        {"key": [1, 2], "value": [0.5, 1.5], "text": ["a", "b"]},
        {"key": [1, 2, 3, 3], "value": [0.5, 1.5, None, None], "text": ["a", "b", None, None]},
    ],
)
def test_digest_of_rows_tells_any_change_and_no_order(changed: dict[str, list[object]]) -> None:
    schema = pa.schema([("key", pa.int64()), ("value", pa.float64()), ("text", pa.string())])
    rows = pa.table({"key": [1, 2, 3], "value": [0.5, 1.5, None], "text": ["a", "b", None]}, schema)
    digest, shuffled, other = RowDigest(), RowDigest(), RowDigest()
    digest.add(rows)
    for at in (2, 0, 1):
        shuffled.add(rows.slice(at, 1))
    other.add(pa.table(changed, schema))

    assert digest == shuffled
    assert digest != other
