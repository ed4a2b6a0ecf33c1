"""Every trap: on which key it lies, and that it is there."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.errors import ConfigError
from oedi_spark.sample.lake import (
    BASE_PARTITION,
    DATA_PARTITION,
    DEFAULT_RELEASES,
    SampleReport,
    SampleRequest,
    write_sample_lake,
)
from oedi_spark.sample.traps import (
    FOLDER_TRAPS,
    METADATA_TRAPS,
    WHOLE_LAKE_TRAPS,
    Trap,
    respell,
)
from oedi_spark.source.layout import (
    ReleaseFolder,
    parse_building_key,
    parse_building_name,
    timeseries_prefix,
)

COMSTOCK, RESSTOCK = DEFAULT_RELEASES
SERIES = timeseries_prefix(BASE_PARTITION, COMSTOCK, DATA_PARTITION)
SINGLE_FILE_TRAPS = tuple(
    trap for trap in Trap if trap not in WHOLE_LAKE_TRAPS | FOLDER_TRAPS | METADATA_TRAPS
)
TOTAL = "out.electricity.total.energy_consumption"


class Lakes:
    """The same buildings twice: with every trap of one file, and sound."""

    def __init__(self, root: Path) -> None:
        request = SampleRequest(releases=(COMSTOCK,), buildings=len(SINGLE_FILE_TRAPS))
        self.sound_root = root / "sound"
        self.sound_report = write_sample_lake(self.sound_root, request)
        self.root = root / "trapped"
        trapped = SampleRequest(
            releases=(COMSTOCK,), buildings=len(SINGLE_FILE_TRAPS), traps=SINGLE_FILE_TRAPS
        )
        self.report = write_sample_lake(self.root, trapped)
        self.keys = {Trap(trap): key for key, trap in self.report.trapped.items()}

    def path(self, trap: Trap) -> Path:
        """Where a trap lies."""
        return self.root / self.keys[trap]

    def trapped(self, trap: Trap) -> pa.Table:
        """The file with a trap in it."""
        return pq.ParquetFile(self.path(trap)).read()

    def sound(self, trap: Trap) -> pa.Table:
        """The same file without."""
        return pq.ParquetFile(self.sound_root / self.keys[trap]).read()


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    return Lakes(tmp_path_factory.mktemp("traps"))


def stamps(table: pa.Table) -> list[datetime]:
    values: list[datetime] = table["timestamp"].cast(pa.timestamp("us")).to_pylist()
    return values


def read_one(root: Path, folder: ReleaseFolder) -> pa.Table:
    base = root / timeseries_prefix(BASE_PARTITION, folder, DATA_PARTITION)
    (path,) = base.rglob("*-0.parquet")
    return pq.ParquetFile(path).read()


def write_one(root: Path, folder: ReleaseFolder, *traps: Trap) -> SampleReport:
    return write_sample_lake(root, SampleRequest(releases=(folder,), buildings=1, traps=traps))


def test_write_sample_lake_gives_every_trap_a_building_of_its_own(lakes: Lakes) -> None:
    assert set(lakes.keys) == set(SINGLE_FILE_TRAPS)
    assert len(lakes.report.trapped) == len(SINGLE_FILE_TRAPS) == 20
    parsed = [
        parse_building_key(key, base=BASE_PARTITION, folder=COMSTOCK, data_partition=DATA_PARTITION)
        for key in lakes.report.trapped
    ]
    assert len({building.bldg_id for building in parsed if building}) == 20
    assert lakes.report.data_files == lakes.sound_report.data_files - 1  # the missing one


def test_write_sample_lake_leaves_metadata_as_without_traps(lakes: Lakes) -> None:
    (trapped,) = lakes.root.rglob("CO_baseline_metadata_and_annual_results.parquet")
    (sound,) = lakes.sound_root.rglob("CO_baseline_metadata_and_annual_results.parquet")

    assert trapped.read_bytes() == sound.read_bytes()
    ids = set(pq.ParquetFile(trapped).read()["bldg_id"].to_pylist())
    missing = parse_building_name(lakes.path(Trap.MISSING_FILE).name)
    assert missing is not None
    assert missing[0] in ids


def test_missing_file_takes_an_older_file_away(tmp_path: Path) -> None:
    write_one(tmp_path, COMSTOCK)
    report = write_one(tmp_path, COMSTOCK, Trap.MISSING_FILE)

    assert report.data_files == 0
    assert not list(tmp_path.rglob("*-0.parquet"))


def test_truncated_file_has_a_head_and_no_footer(lakes: Lakes) -> None:
    content = lakes.path(Trap.TRUNCATED_FILE).read_bytes()

    assert content[:4] == b"PAR1"
    assert content[-4:] != b"PAR1"
    assert len(content) > 1_000


@pytest.mark.parametrize("trap", [Trap.TRUNCATED_FILE, Trap.NOT_PARQUET, Trap.EMPTY_FILE])
def test_broken_files_cannot_be_opened(lakes: Lakes, trap: Trap) -> None:
    with pytest.raises(pa.ArrowInvalid):
        lakes.trapped(trap)


def test_not_parquet_is_an_error_page_and_empty_file_has_no_bytes(lakes: Lakes) -> None:
    assert lakes.path(Trap.NOT_PARQUET).read_bytes().startswith(b"<?xml")
    assert lakes.path(Trap.EMPTY_FILE).stat().st_size == 0


def test_zero_rows_keeps_the_columns(lakes: Lakes) -> None:
    table = lakes.trapped(Trap.ZERO_ROWS)

    assert table.num_rows == 0
    assert table.schema == lakes.sound(Trap.ZERO_ROWS).schema


@pytest.mark.parametrize(
    ("trap", "column"),
    [(Trap.MISSING_TIMESTAMP, "timestamp"), (Trap.MISSING_BLDG_ID, "bldg_id")],
)
def test_missing_key_columns_are_all_that_is_missing(lakes: Lakes, trap: Trap, column: str) -> None:
    assert lakes.trapped(trap).equals(lakes.sound(trap).drop_columns([column]))


def test_contradicting_bldg_id_is_not_the_one_of_the_name(lakes: Lakes) -> None:
    (bldg_id,) = lakes.trapped(Trap.CONTRADICTING_BLDG_ID)["bldg_id"].unique().to_pylist()

    named = parse_building_name(lakes.path(Trap.CONTRADICTING_BLDG_ID).name)
    assert named is not None
    assert bldg_id == named[0] + 1


@pytest.mark.parametrize(
    ("trap", "minutes"), [(Trap.IRREGULAR_STAMPS, 5), (Trap.DUPLICATE_STAMPS, -15)]
)
def test_moved_stamps_differ_in_one_row(lakes: Lakes, trap: Trap, minutes: int) -> None:
    moved, sound = stamps(lakes.trapped(trap)), stamps(lakes.sound(trap))

    assert len(moved) == 35_040
    different = [
        row for row, pair in enumerate(zip(moved, sound, strict=True)) if len(set(pair)) > 1
    ]
    assert different == [17_520]
    assert moved[17_520] - sound[17_520] == timedelta(minutes=minutes)
    assert len(set(moved)) == (35_039 if trap is Trap.DUPLICATE_STAMPS else 35_040)


def test_unsorted_stamps_are_whole_rows_out_of_order(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.UNSORTED_STAMPS), lakes.sound(Trap.UNSORTED_STAMPS)

    assert stamps(table) != stamps(sound)
    assert table.sort_by("timestamp").equals(sound)


def test_wrong_row_count_lacks_the_last_day(lakes: Lakes) -> None:
    table = lakes.trapped(Trap.WRONG_ROW_COUNT)

    assert table.num_rows == 34_944
    assert stamps(table)[-1] == datetime(2018, 12, 31, 0, 0)


def test_string_column_holds_numbers_as_text(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.STRING_COLUMN), lakes.sound(Trap.STRING_COLUMN)

    assert table.schema.field(TOTAL).type == pa.string()
    assert [float(text) for text in table[TOTAL].to_pylist()[:5]] == pytest.approx(
        sound[TOTAL].to_pylist()[:5]
    )


def test_nan_values_hide_behind_equal_bounds(lakes: Lakes) -> None:
    table = lakes.trapped(Trap.NAN_VALUES)

    (name,) = [
        name
        for name in table.column_names
        if name.startswith("out.") and np.isnan(table[name].to_numpy()).any()
    ]
    assert int(np.isnan(table[name].to_numpy()).sum()) == 3
    metadata = pq.ParquetFile(lakes.path(Trap.NAN_VALUES)).metadata.row_group(0)
    column = metadata.column(table.column_names.index(name))
    assert column.statistics.has_min_max
    assert column.statistics.min == column.statistics.max == 0
    assert column.statistics.null_count == 0


def test_null_values_are_three_nulls_of_a_total(lakes: Lakes) -> None:
    table = lakes.trapped(Trap.NULL_VALUES)

    assert table[TOTAL].null_count == 3
    assert sum(column.null_count for column in table.columns) == 3
    assert table.schema == lakes.sound(Trap.NULL_VALUES).schema


def test_missing_columns_are_those_of_an_unused_fuel(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.MISSING_COLUMNS), lakes.sound(Trap.MISSING_COLUMNS)

    missing = set(sound.column_names) - set(table.column_names)
    (fuel,) = {name.split(".")[1] for name in missing}
    assert missing == {name for name in sound.column_names if name.startswith(f"out.{fuel}.")}
    assert not any(sound[name].to_numpy().any() for name in missing)


def test_extra_column_is_not_in_the_first_file(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.EXTRA_COLUMN), lakes.sound(Trap.EXTRA_COLUMN)

    extra = "out.electricity.battery_losses.energy_consumption"
    assert table.column_names == [*sound.column_names, extra]
    folder = lakes.path(Trap.EXTRA_COLUMN).parent
    ids = sorted(int(path.name.split("-")[0]) for path in folder.iterdir())
    assert lakes.path(Trap.EXTRA_COLUMN).name != f"{ids[0]}-0.parquet"


def test_null_type_column_is_typed_null(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.NULL_TYPE_COLUMN), lakes.sound(Trap.NULL_TYPE_COLUMN)

    (name,) = [field.name for field in table.schema if pa.types.is_null(field.type)]
    assert table[name].null_count == 35_040
    assert not sound[name].to_numpy().any()
    schema = pq.ParquetFile(lakes.path(Trap.NULL_TYPE_COLUMN)).schema
    assert schema.column(table.column_names.index(name)).physical_type == "INT32"


def test_utc_stamps_are_marked_and_not_moved(lakes: Lakes) -> None:
    table, sound = lakes.trapped(Trap.UTC_STAMPS), lakes.sound(Trap.UTC_STAMPS)

    assert table.schema.field("timestamp").type == pa.timestamp("ns", tz="UTC")
    assert table["timestamp"].cast(pa.int64()).equals(sound["timestamp"].cast(pa.int64()))


def test_multi_row_groups_hold_the_same_rows(lakes: Lakes) -> None:
    metadata = pq.ParquetFile(lakes.path(Trap.MULTI_ROW_GROUPS)).metadata

    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert rows == [7_001, 7_001, 7_001, 7_001, 7_001, 35]
    assert lakes.trapped(Trap.MULTI_ROW_GROUPS).equals(lakes.sound(Trap.MULTI_ROW_GROUPS))


def test_float32_types_every_measure_of_the_lake(tmp_path: Path) -> None:
    report = write_one(tmp_path, COMSTOCK, Trap.FLOAT32)

    table = read_one(tmp_path, COMSTOCK)
    assert {field.type for field in table.schema if field.name.startswith("out.")} == {pa.float32()}
    assert dict(report.trapped) == {SERIES: "float32"}


@pytest.mark.parametrize("folder", DEFAULT_RELEASES)
def test_interval_beginning_stamps_end_before_midnight(
    tmp_path: Path, folder: ReleaseFolder
) -> None:
    write_one(tmp_path, folder, Trap.INTERVAL_BEGINNING)

    named = stamps(read_one(tmp_path, folder))
    assert named[0] == datetime(2018, 1, 1, 0, 0)
    assert named[-1] == datetime(2018, 12, 31, 23, 45)
    assert len(named) == 35_040


@pytest.mark.parametrize(
    ("trap", "dots"), [(Trap.DOUBLE_DOT_UNITS, ".."), (Trap.SINGLE_DOT_UNITS, ".")]
)
def test_dot_units_spell_the_unit_of_every_energy(tmp_path: Path, trap: Trap, dots: str) -> None:
    write_one(tmp_path, COMSTOCK, trap)

    names = read_one(tmp_path, COMSTOCK).column_names
    assert names[1] == f"out.district_cooling.cooling.energy_consumption{dots}kwh"
    assert sum(name.endswith(f"energy_consumption{dots}kwh") for name in names) == 27
    assert sum(name.endswith(f"_intensity{dots}kwh_per_ft2") for name in names) == 27
    assert (names[0], names[-1]) == ("timestamp", "bldg_id")


@pytest.mark.parametrize(
    ("name", "dots", "expected"),
    [
        ("out.a.b.energy_consumption..kwh", ".", "out.a.b.energy_consumption.kwh"),
        ("out.load.cooling.energy_delivered.kbtu", "..", "out.load.cooling.energy_delivered..kbtu"),
        ("out.schedules.occupants", "..", "out.schedules.occupants"),
        ("bldg_id", "..", "bldg_id"),
    ],
)
def test_respell_changes_the_dots_before_units_only(name: str, dots: str, expected: str) -> None:
    assert respell(name, dots) == expected


@pytest.mark.parametrize("folder", DEFAULT_RELEASES)
def test_int64_nanos_are_plain_integers(tmp_path: Path, folder: ReleaseFolder) -> None:
    write_one(tmp_path, folder, Trap.INT64_NANOS)

    table = read_one(tmp_path, folder)
    assert table.schema.field("timestamp").type == pa.int64()
    assert table["timestamp"][0].as_py() == 1_514_765_700_000_000_000  # 2018-01-01 00:15


def test_whole_lake_traps_go_together_with_those_of_one_file(tmp_path: Path) -> None:
    whole = (Trap.FLOAT32, Trap.INT64_NANOS, Trap.DOUBLE_DOT_UNITS, Trap.INTERVAL_BEGINNING)
    single = (
        Trap.EXTRA_COLUMN,
        Trap.IRREGULAR_STAMPS,
        Trap.MISSING_COLUMNS,
        Trap.NAN_VALUES,
        Trap.STRING_COLUMN,
        Trap.UTC_STAMPS,
    )
    request = SampleRequest(releases=(RESSTOCK,), buildings=6, traps=(*whole, *single))

    report = write_sample_lake(tmp_path, request)

    assert report.trapped[timeseries_prefix(BASE_PARTITION, RESSTOCK, DATA_PARTITION)] == (
        "float32,interval_beginning,double_dot_units,int64_nanos"
    )
    keys = {trap: key for key, trap in report.trapped.items()}
    assert len(keys) == 7
    extra = pq.ParquetFile(tmp_path / keys["extra_column"]).schema_arrow.field(-1)
    assert extra.name == "out.electricity.battery_losses.energy_consumption..kwh"
    assert extra.type == pa.float32()
    utc = pq.ParquetFile(tmp_path / keys["utc_stamps"]).schema_arrow.field("timestamp")
    assert utc.type == pa.timestamp("ns", tz="UTC")
    moved = pq.ParquetFile(tmp_path / keys["irregular_stamps"]).read()["timestamp"].to_numpy()
    assert sorted(set(np.diff(moved) // 60_000_000_000)) == [10, 15, 20]


def test_stray_files_lie_beside_the_buildings(tmp_path: Path) -> None:
    report = write_one(tmp_path, COMSTOCK, Trap.STRAY_FILES)

    folder = f"{SERIES}/upgrade=0/state=CO"
    strays = {"_SUCCESS", "notes.txt", "123-0.parquet.tmp", "456-1.parquet"}
    assert dict(report.trapped) == {f"{folder}/{name}": "stray_files" for name in strays}
    assert strays < {path.name for path in (tmp_path / folder).iterdir()}
    assert report.data_files == 1


def test_hostile_name_is_no_name_of_a_building(tmp_path: Path) -> None:
    report = write_one(tmp_path, COMSTOCK, Trap.HOSTILE_NAME)

    ((key, trap),) = report.trapped.items()
    assert trap == "hostile_name"
    assert "'" in key
    assert '"' in key
    assert "\n" in key
    assert (tmp_path / key).is_file()
    assert parse_building_name(key.rsplit("/", 1)[1]) is None


def test_traps_spread_over_folders_when_one_is_too_small(tmp_path: Path) -> None:
    traps = (Trap.EMPTY_FILE, Trap.NOT_PARQUET, Trap.ZERO_ROWS)

    report = write_sample_lake(tmp_path, SampleRequest(buildings=2, traps=traps))

    assert sorted(report.trapped.values()) == ["empty_file", "not_parquet", "zero_rows"]
    assert sum("comstock" in key for key in report.trapped) == 2
    assert sum("resstock" in key for key in report.trapped) == 1


@pytest.mark.parametrize(
    ("buildings", "traps"),
    [
        (1, (Trap.EMPTY_FILE, Trap.ZERO_ROWS)),
        (1, (Trap.EXTRA_COLUMN,)),
    ],
)
def test_too_few_buildings_for_the_traps_is_a_fault(
    tmp_path: Path, buildings: int, traps: tuple[Trap, ...]
) -> None:
    request = SampleRequest(releases=(COMSTOCK,), buildings=buildings, traps=traps)

    with pytest.raises(ConfigError, match="ask for more buildings"):
        write_sample_lake(tmp_path, request)

    assert list(tmp_path.iterdir()) == []


def test_two_spellings_of_units_are_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        write_one(tmp_path, COMSTOCK, Trap.SINGLE_DOT_UNITS, Trap.DOUBLE_DOT_UNITS)
