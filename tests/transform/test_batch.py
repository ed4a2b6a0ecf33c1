"""One task's work without Spark: files in, one staged parquet file and descriptors out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    PartitionListing,
    Reason,
    SourceFile,
    StagedFile,
    Transition,
)
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.sample.lake import (
    BASE_PARTITION,
    DATA_PARTITION,
    DEFAULT_RELEASES,
    SampleRequest,
    write_sample_lake,
)
from oedi_spark.sample.traps import Trap
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.storage import SourceLocation
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.columns import describe_columns

COMSTOCK, RESSTOCK = DEFAULT_RELEASES
FAULTY = {
    Trap.TRUNCATED_FILE: Reason.TRUNCATED,
    Trap.EMPTY_FILE: Reason.EMPTY,
    Trap.NOT_PARQUET: Reason.NOT_PARQUET,
    Trap.ZERO_ROWS: Reason.NO_ROWS,
    Trap.CONTRADICTING_BLDG_ID: Reason.BLDG_ID_CONTRADICTS_NAME,
    Trap.DUPLICATE_STAMPS: Reason.STAMPS_DUPLICATED,
    Trap.WRONG_ROW_COUNT: Reason.WRONG_ROW_COUNT,
    Trap.STRING_COLUMN: Reason.NOT_NUMERIC,
}
HARMLESS = (
    Trap.NAN_VALUES,
    Trap.NULL_VALUES,
    Trap.MISSING_COLUMNS,
    Trap.EXTRA_COLUMN,
    Trap.NULL_TYPE_COLUMN,
    Trap.UTC_STAMPS,
    Trap.MULTI_ROW_GROUPS,
)
EXTRA = "out_electricity_battery_losses_energy_consumption_kwh"
SOUND_COUNT = 3


@dataclass(frozen=True)
class Lake:
    """A sample lake with one partition, and which trap lies where."""

    root: Path
    listing: PartitionListing
    traps: Mapping[str, Trap]

    def file(self, trap: Trap) -> SourceFile:
        """The file that a trap lies on."""
        return next(file for file in self.listing.files if self.traps.get(file.key) is trap)

    @property
    def sound(self) -> tuple[SourceFile, ...]:
        """The files without a trap."""
        return tuple(file for file in self.listing.files if file.key not in self.traps)


def _build_lake(root: Path, request: SampleRequest) -> Lake:
    report = write_sample_lake(root, request)
    index = index_files(
        SourceLocation(str(root), is_local=True),
        [Selection(request.releases[0], None, None)],
        base=BASE_PARTITION,
        data_partition=DATA_PARTITION,
        workers=2,
    )
    traps = {key: Trap(trap) for key, trap in report.trapped.items() if key.endswith(".parquet")}
    (listing,) = [each for each in index.listings if each.partition.state == request.states[-1]]
    return Lake(root, listing, traps)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """ComStock buildings: three sound ones, and one for each trap of interest."""
    traps = (*FAULTY, *HARMLESS)
    request = SampleRequest((COMSTOCK,), ("AK", "CO"), buildings=len(traps) + SOUND_COUNT)
    root = tmp_path_factory.mktemp("lake")
    # The extra column never lies in the first folder, the others fill it up.
    write_sample_lake(root, request)
    return _build_lake(root, replace(request, states=("CO",), traps=_but_extra(traps)))


def _but_extra(traps: tuple[Trap, ...]) -> tuple[Trap, ...]:
    return tuple(trap for trap in traps if trap is not Trap.EXTRA_COLUMN)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two ResStock homes of 2025: temperatures, schedules, floor area and all."""
    return _build_lake(
        tmp_path_factory.mktemp("homes"),
        SampleRequest((replace(RESSTOCK, year="2025"),), ("CO",), buildings=2),
    )


def _columns(lake: Lake, file: SourceFile) -> tuple[Column, ...]:
    names = pq.read_schema(lake.root / file.key).names
    return describe_columns(tuple(n for n in names if n not in ("timestamp", "bldg_id")))


def _batch(lake: Lake, *files: SourceFile) -> Batch:
    sound = next(file for file in lake.listing.files if file.key not in lake.traps)
    schema = hourly_definition(_columns(lake, sound)).schema
    return Batch(
        number=5,
        partition=lake.listing.partition,
        facts=lake.listing.facts,
        files=tuple(sorted(files, key=lambda file: file.bldg_id)),
        field_ids={field.name: field.field_id for field in schema.fields},
    )


class Run:
    """A batch that was run, with its marks and its rows."""

    def __init__(self, lake: Lake, out: Path, batch: Batch, **settings: object) -> None:
        self.marks: dict[int, Transition] = defaultdict(lambda: Transition(0))
        defaults: dict[str, Any] = {
            "location": SourceLocation(str(lake.root), is_local=True),
            "data_uri": f"file://{out}/data",
            "run_id": "run-1",
            "row_group_buildings": 2,
            "read_ahead_files": 2,
            "strict_columns": False,
        }
        self.batch = batch
        self.result: BatchResult = run_batch(
            batch, TaskSettings(**(defaults | settings)), self._mark
        )

    def _mark(self, ordinal: int, transition: Transition) -> None:
        self.marks[ordinal] |= transition

    @property
    def staged(self) -> StagedFile:
        """The one file that it staged."""
        (staged,) = self.result.staged
        return staged

    @property
    def path(self) -> str:
        """Where that file lies."""
        return self.staged.path.removeprefix("file://")

    def table(self) -> pa.Table:
        """The rows it staged."""
        return pq.ParquetFile(self.path).read()

    def reasons(self) -> dict[int, Reason | None]:
        """Why files failed, by ordinal; None for one that is there with gaps."""
        return {outcome.ordinal: outcome.reason for outcome in self.result.outcomes}


@pytest.fixture(scope="module")
def run(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every file of the lake in one batch."""
    return Run(lake, tmp_path_factory.mktemp("out"), _batch(lake, *lake.listing.files))


def _staged_paths(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if path.is_file()]


def test_run_batch_stages_every_sound_building_in_order(lake: Lake, run: Run) -> None:
    wrong = {lake.file(trap).bldg_id for trap in FAULTY}
    kept = [file for file in lake.listing.files if file.bldg_id not in wrong]
    table = run.table()

    expected = sorted(file.bldg_id for file in kept)
    assert len(expected) == SOUND_COUNT + 1 + len(HARMLESS) - 1
    assert table.num_rows == run.staged.row_count == 8_760 * len(expected)
    assert run.staged.building_count == len(expected)
    assert run.staged.ordinals == tuple(file.ordinal for file in kept)
    assert table["bldg_id"].to_numpy().tolist() == np.repeat(expected, 8_760).tolist()
    year = np.arange(np.datetime64("2018-01-01T00", "h"), np.datetime64("2019-01-01T00", "h"))
    hours = table["hour_start"].to_numpy()
    assert (hours == np.tile(year, len(expected))).all()
    assert set(table["release"].to_pylist()) == {"2024_comstock_amy2018_release_1"}
    assert set(table["state"].to_pylist()) == {"CO"}
    assert set(table["upgrade"].to_pylist()) == {0}


def test_run_batch_tells_why_a_faulty_file_has_no_row(lake: Lake, run: Run) -> None:
    reasons = run.reasons()

    assert {trap: reasons[lake.file(trap).ordinal] for trap in FAULTY} == FAULTY
    for trap in FAULTY:
        assert lake.file(trap).ordinal not in run.staged.ordinals
        assert Transition.TRANSFORMED not in run.marks[lake.file(trap).ordinal]


def test_run_batch_counts_hours_without_a_value(lake: Lake, run: Run) -> None:
    outcomes = {each.ordinal: each for each in run.result.outcomes}

    for trap in (Trap.NAN_VALUES, Trap.NULL_VALUES):
        outcome = outcomes.pop(lake.file(trap).ordinal)
        assert (outcome.reason, outcome.detail) == (None, "3 hours lack a value in 1 column(s)")
    assert set(outcomes) == {lake.file(trap).ordinal for trap in FAULTY}


def test_run_batch_marks_what_each_file_has_been_through(lake: Lake, run: Run) -> None:
    whole = Transition.LISTED | Transition.FETCHED | Transition.TRANSFORMED

    assert set(run.marks) == {file.ordinal for file in lake.listing.files}
    assert {run.marks[ordinal] for ordinal in run.staged.ordinals} == {whole}


def test_run_batch_counts_bytes_and_columns(lake: Lake, run: Run) -> None:
    assert run.result.read_bytes == sum(file.size_bytes for file in lake.listing.files)
    counts: Counter[str] = Counter()
    for column, count in run.result.columns.items():
        counts[column.name] += count
    assert len(counts) == 54
    assert counts["out_electricity_total_energy_consumption_kwh"] == run.staged.building_count
    assert min(counts.values()) == run.staged.building_count - 1
    assert run.result.batch_number == 5
    assert min(run.result.seconds.values()) >= 0


def _compare_with_duckdb(lake: Lake, run: Run) -> int:
    """Roll every staged building up again from its source file; returns the columns compared."""
    compared = 0
    with duckdb.connect() as connection:
        for file in run.batch.files:
            if file.ordinal not in run.staged.ordinals:
                continue
            compared += _compare_building(connection, lake, run, file)
    return compared


def _compare_building(
    connection: duckdb.DuckDBPyConnection, lake: Lake, run: Run, file: SourceFile
) -> int:
    source = lake.root / file.key
    columns = _columns(lake, file)
    rules = {
        "sum": "CASE WHEN count({0}) = 4 THEN sum({0}::DOUBLE) END",
        "mean": "CASE WHEN count({0}) = 4 THEN avg({0}::DOUBLE) END",
        "keep": "min_by({0}, timestamp)",
    }
    wanted = ", ".join(
        rules[column.rule].format(f"nullif(\"{column.source_name}\", 'NaN'::DOUBLE)")
        + f" AS {column.name}"
        for column in columns
    )
    expected = connection.execute(
        "SELECT date_trunc('hour', left(timestamp::VARCHAR, 19)::TIMESTAMP - INTERVAL 15 MINUTE) "
        f"AS hour, {wanted} FROM read_parquet('{source}') GROUP BY hour ORDER BY hour"
    ).fetchnumpy()
    found = connection.execute(
        f"SELECT * FROM read_parquet('{run.path}') WHERE bldg_id = {file.bldg_id} "
        "ORDER BY hour_start"
    ).fetchnumpy()
    assert len(found["hour_start"]) == 8_760
    assert (found["hour_start"] == expected["hour"]).all()
    for column in columns:
        theirs = np.ma.filled(expected[column.name].astype(np.float64), np.nan)
        ours = np.ma.filled(found[column.name].astype(np.float64), np.nan)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15, err_msg=column.name)
    absent = set(found) - {column.name for column in columns} - set(expected) - set(KEYS)
    assert all(np.ma.count(found[name]) == 0 for name in absent)
    return len(columns)


KEYS = ("release", "state", "upgrade", "bldg_id", "hour_start")


def test_run_batch_gives_the_hours_that_duckdb_gives(lake: Lake, run: Run) -> None:
    assert _compare_with_duckdb(lake, run) >= 54 * 9


def test_run_batch_gives_the_hours_of_homes_that_duckdb_gives(homes: Lake, tmp_path: Path) -> None:
    run = Run(homes, tmp_path, _batch(homes, *homes.listing.files))

    assert _compare_with_duckdb(homes, run) == 2 * 190


def test_run_batch_writes_field_ids_and_no_arrow_schema(run: Run) -> None:
    footer = pq.ParquetFile(run.path)

    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in footer.schema_arrow}
    assert ids == dict(run.batch.field_ids)
    assert len(ids) == 59
    assert b"ARROW:schema" not in (footer.metadata.metadata or {})
    kinds = {field.name: str(field.type) for field in footer.schema_arrow}
    assert [kinds[key] for key in KEYS] == ["string", "string", "int32", "int64", "timestamp[us]"]
    assert {kinds[name] for name in kinds if name not in KEYS} == {"double"}
    assert [field.name for field in footer.schema_arrow if not field.nullable] == list(KEYS)


def test_run_batch_uses_encodings_that_iceberg_readers_know(run: Run) -> None:
    footer = pq.ParquetFile(run.path).metadata
    encodings = {
        encoding
        for group in range(footer.num_row_groups)
        for at in range(footer.num_columns)
        for encoding in footer.row_group(group).column(at).encodings
    }

    assert encodings <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}
    assert {footer.row_group(0).column(at).compression for at in range(footer.num_columns)} == {
        "ZSTD"
    }


def test_run_batch_cuts_row_groups_between_buildings(run: Run) -> None:
    footer = pq.ParquetFile(run.path).metadata
    groups = [footer.row_group(at) for at in range(footer.num_row_groups)]

    assert [group.num_rows for group in groups] == [17_520] * 5
    starts = [
        group.column(0).dictionary_page_offset or group.column(0).data_page_offset
        for group in groups
    ]
    assert list(run.staged.split_offsets) == starts
    assert starts[0] == 4


def test_run_batch_statistics_are_those_of_the_rows(run: Run) -> None:
    names = {field_id: name for name, field_id in run.batch.field_ids.items()}
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE hours AS FROM read_parquet('{run.path}')")
        for each in run.staged.columns:
            name = names[each.field_id]
            value = f"epoch_us({name})" if name == "hour_start" else name
            row = connection.execute(
                f"SELECT count(*), count(*) - count({name}), min({value}), max({value}) FROM hours"
            ).fetchone()
            assert (each.value_count, each.null_count, each.lower, each.upper) == row, name
    assert len(run.staged.columns) == 59
    assert run.staged.size_bytes == Path(run.path).stat().st_size
    assert 0 < sum(each.compressed_bytes for each in run.staged.columns) < run.staged.size_bytes


def test_run_batch_puts_off_a_file_with_a_column_nobody_reserved(
    lake: Lake, tmp_path: Path
) -> None:
    first, second = lake.sound[:2]
    batch = _batch(lake, first, second)
    unseen = "out_electricity_fans_energy_consumption_kwh"
    fewer = {name: at for name, at in batch.field_ids.items() if name != unseen}

    result = Run(lake, tmp_path, replace(batch, field_ids=fewer)).result

    assert (result.staged, result.outcomes) == ((), ())
    assert result.deferred == (first.ordinal, second.ordinal)
    assert {column.name: count for column, count in result.columns.items()}[unseen] == 0
    assert _staged_paths(tmp_path) == []


def test_run_batch_with_a_reserved_column_that_no_file_has_leaves_it_null(
    lake: Lake, tmp_path: Path
) -> None:
    batch = _batch(lake, lake.sound[0])

    run = Run(lake, tmp_path, replace(batch, field_ids={**batch.field_ids, EXTRA: 777}))

    assert run.table()[EXTRA].null_count == 8_760
    (statistics,) = [each for each in run.staged.columns if each.field_id == 777]
    assert (statistics.null_count, statistics.lower, statistics.upper) == (8_760, None, None)


@pytest.mark.parametrize(
    "trap", [Trap.WRONG_ROW_COUNT, Trap.STRING_COLUMN, Trap.TRUNCATED_FILE, Trap.MISSING_COLUMNS]
)
def test_run_batch_gives_a_building_the_same_hours_whatever_came_before(
    lake: Lake, tmp_path: Path, trap: Trap
) -> None:
    last = lake.sound[-1]
    alone = Run(lake, tmp_path / "a", _batch(lake, last), row_group_buildings=12)
    others = [lake.sound[0], lake.file(trap), lake.file(Trap.NAN_VALUES), last]
    together = Run(lake, tmp_path / "b", _batch(lake, *others), row_group_buildings=12)

    rows = together.table()
    assert rows.filter(pa.compute.equal(rows["bldg_id"], last.bldg_id)).equals(alone.table())


def _spoil(lake: Lake, root: Path, name: str, values: np.ndarray[Any, Any]) -> Lake:
    """A copy of one sound file with other values in a column."""
    file = lake.sound[0]
    table = pq.ParquetFile(lake.root / file.key).read()
    table = table.set_column(table.column_names.index(name), name, pa.array(values))
    (root / file.key).parent.mkdir(parents=True)
    pq.write_table(table, root / file.key)
    spoiled = replace(file, etag=None, size_bytes=(root / file.key).stat().st_size)
    return Lake(root, replace(lake.listing, files=(spoiled,)), {})


@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1.7e308])
def test_run_batch_publishes_no_infinite_hour(
    lake: Lake, tmp_path: Path, is_constant: bool, value: float
) -> None:
    values = np.full(35_040, value) if is_constant else np.arange(35_040.0)
    values[-4:] = value
    spoiled = _spoil(lake, tmp_path / "in", "out.electricity.total.energy_consumption", values)

    run = Run(spoiled, tmp_path / "out", _batch(spoiled, *spoiled.listing.files))

    assert run.reasons() == {spoiled.listing.files[0].ordinal: Reason.NOT_FINITE}
    assert run.result.staged == ()
    assert _staged_paths(tmp_path / "out") == []


def test_run_batch_in_strict_refuses_unknown_columns(lake: Lake, tmp_path: Path) -> None:
    file = lake.sound[0]
    table = pq.ParquetFile(lake.root / file.key).read()
    (tmp_path / "in" / file.key).parent.mkdir(parents=True)
    pq.write_table(table.append_column("novel.thing", table["bldg_id"]), tmp_path / "in" / file.key)
    size = (tmp_path / "in" / file.key).stat().st_size
    novel = Lake(
        tmp_path / "in",
        replace(lake.listing, files=(replace(file, etag=None, size_bytes=size),)),
        {},
    )
    batch = replace(_batch(lake, file), files=novel.listing.files)

    strict = Run(novel, tmp_path / "strict", batch, strict_columns=True)
    lenient = Run(novel, tmp_path / "lenient", batch, strict_columns=False)

    assert strict.reasons() == {file.ordinal: Reason.UNKNOWN_COLUMN}
    assert "novel.thing" in strict.result.outcomes[0].detail
    assert lenient.staged.row_count == 8_760


def test_run_batch_notices_a_file_that_changed_since_it_was_listed(
    lake: Lake, tmp_path: Path
) -> None:
    first, second = lake.sound[:2]
    changed = replace(first, etag=None, size_bytes=first.size_bytes + 1)
    gone = replace(first, ordinal=900, key=f"{first.key}.gone")

    run = Run(lake, tmp_path, replace(_batch(lake, second), files=(changed, gone, second)))

    assert run.reasons() == {first.ordinal: Reason.SIZE_MISMATCH, 900: Reason.NOT_FOUND}
    assert run.staged.ordinals == (second.ordinal,)


@pytest.mark.parametrize(
    "fails", [("write_table",), ("write_table", "close"), ("close",), ("close", "close")]
)
def test_run_batch_on_a_full_disk_raises_and_leaves_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...]
) -> None:
    """Writing or closing fails, and closing what is to be discarded may fail once more."""
    left = Counter(fails)
    for name in left:
        monkeypatch.setattr(pq.ParquetWriter, name, _failing(name, left))

    with pytest.raises(OSError, match="No space left"):
        Run(lake, tmp_path, _batch(lake, *lake.sound))

    assert _staged_paths(tmp_path) == []


def _failing(name: str, left: Counter[str]) -> Callable[..., None]:
    """A method of the writer that fails as often as `left` says, and then works."""
    works = getattr(pq.ParquetWriter, name)

    def method(self: pq.ParquetWriter, *args: object, **named: object) -> None:
        if left[name]:
            left[name] -= 1
            raise OSError(28, "No space left on device")
        works(self, *args, **named)

    return method


def test_run_batch_interrupted_leaves_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (*lake.sound, lake.file(Trap.NAN_VALUES))

    def interrupt(*_: object, **__: object) -> int:
        if _staged_paths(tmp_path):
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr("oedi_spark.transform.batch.count_missing_hours", interrupt)

    with pytest.raises(KeyboardInterrupt):
        Run(lake, tmp_path, _batch(lake, *files), row_group_buildings=1)

    assert _staged_paths(tmp_path) == []
