"""Every trap of the metadata: on which key it lies, and that it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.errors import ConfigError
from oedi_spark.sample.lake import (
    BASE_PARTITION,
    DEFAULT_RELEASES,
    SampleReport,
    SampleRequest,
    write_sample_lake,
)
from oedi_spark.sample.metadata_traps import (
    BUILDING_TRAPS,
    MetadataSite,
    assign_metadata_traps,
    respell_upgrade,
)
from oedi_spark.sample.traps import METADATA_TRAPS, Trap
from oedi_spark.source.layout import ReleaseFolder

COMSTOCK, RESSTOCK = DEFAULT_RELEASES
TRACTS = ReleaseFolder("2024", "comstock_amy2018_release_2")
NATIONAL = ReleaseFolder("2021", "resstock_amy2018_release_1")
ANNUAL_ONLY = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
RESULTS = "metadata_and_annual_results"
COMSTOCK_ROOT = f"{BASE_PARTITION}/2024/comstock_amy2018_release_1"
CO_KEY = f"{COMSTOCK_ROOT}/{RESULTS}/by_state/state=CO/parquet/CO_baseline_{RESULTS}.parquet"
SERIES = f"{COMSTOCK_ROOT}/timeseries_individual_buildings/by_state/upgrade=0/state=CO"
TABLE_TRAPS = {
    Trap.METADATA_MISSING_WEIGHT,
    Trap.METADATA_NULL_WEIGHT,
    Trap.METADATA_NEGATIVE_WEIGHT,
    Trap.METADATA_DUPLICATE_ROWS,
    Trap.METADATA_WRONG_STATE,
    Trap.METADATA_WRONG_UPGRADE,
    Trap.METADATA_BLDG_ID_IN_INDEX,
    Trap.METADATA_NONE_LITERALS,
    Trap.METADATA_ALL_NULL_COLUMN,
}


def write(root: Path, *traps: Trap, folder: ReleaseFolder = COMSTOCK) -> SampleReport:
    return write_sample_lake(root, SampleRequest(releases=(folder,), buildings=2, traps=traps))


def read(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Two buildings' metadata without a trap."""
    root = tmp_path_factory.mktemp("sound")
    write(root)
    return read(root / CO_KEY)


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> dict[Trap, pa.Table]:
    """The same with one trap each: one lake of one release per trap."""
    found = {}
    for trap in sorted(TABLE_TRAPS):
        root = tmp_path_factory.mktemp(trap.value)
        assert dict(write(root, trap).trapped) == {CO_KEY: trap.value}
        found[trap] = read(root / CO_KEY)
    return found


def test_the_traps_of_metadata_are_these() -> None:
    assert sorted(METADATA_TRAPS) == [
        "metadata_all_null_column",
        "metadata_bldg_id_in_index",
        "metadata_duplicate_rows",
        "metadata_missing_weight",
        "metadata_mixed_types",
        "metadata_negative_weight",
        "metadata_none_literals",
        "metadata_null_weight",
        "metadata_stray_file",
        "metadata_truncated",
        "metadata_two_spellings",
        "metadata_unreadable",
        "metadata_without_series",
        "metadata_wrong_state",
        "metadata_wrong_upgrade",
        "series_without_metadata",
    ]


def test_weight_is_missing_null_or_negative(sound: pa.Table, trapped: dict[Trap, pa.Table]) -> None:
    first, second = sound["weight"].to_pylist()

    missing = trapped[Trap.METADATA_MISSING_WEIGHT]
    assert missing.equals(sound.drop_columns(["weight"]))
    null, negative = trapped[Trap.METADATA_NULL_WEIGHT], trapped[Trap.METADATA_NEGATIVE_WEIGHT]
    assert null["weight"].to_pylist() == [None, second]
    assert negative["weight"].to_pylist() == [-first, second]
    assert first > 0
    for one in (null, negative):
        assert one.drop_columns(["weight"]).equals(missing)
        assert one.schema.field("weight").type == pa.float64()


def test_duplicate_rows_are_equal(sound: pa.Table, trapped: dict[Trap, pa.Table]) -> None:
    one, two, three = trapped[Trap.METADATA_DUPLICATE_ROWS].to_pylist()

    assert [one, two] == sound.to_pylist()
    assert three == one


def test_rows_are_of_another_state(sound: pa.Table, trapped: dict[Trap, pa.Table]) -> None:
    table = trapped[Trap.METADATA_WRONG_STATE]

    assert table["in.state"].to_pylist() == ["CT", "CT"]
    for name in ("county", "puma", "tract"):
        column = f"in.nhgis_{name}_gisjoin"
        assert [one[:3] for one in sound[column].to_pylist()] == ["G08", "G08"]
        assert [one[:3] for one in table[column].to_pylist()] == ["G09", "G09"]
        assert [one[3:] for one in table[column].to_pylist()] == [
            one[3:] for one in sound[column].to_pylist()
        ]
    assert table["bldg_id"].equals(sound["bldg_id"])


def test_rows_are_of_another_upgrade(trapped: dict[Trap, pa.Table]) -> None:
    assert trapped[Trap.METADATA_WRONG_UPGRADE]["upgrade"].to_pylist() == [1, 1]


def test_bldg_id_is_the_pandas_index(sound: pa.Table, trapped: dict[Trap, pa.Table]) -> None:
    table = trapped[Trap.METADATA_BLDG_ID_IN_INDEX]

    assert "bldg_id" not in table.column_names
    assert table.column_names[-1] == "__index_level_0__"
    assert table["__index_level_0__"].to_pylist() == sound["bldg_id"].to_pylist()
    said = json.loads(table.schema.metadata[b"pandas"])
    assert said["index_columns"] == ["__index_level_0__"]
    assert said["columns"][-1]["name"] == "bldg_id"
    assert [one["field_name"] for one in said["columns"]] == table.column_names


def test_none_is_a_text(sound: pa.Table, trapped: dict[Trap, pa.Table]) -> None:
    fuels = trapped[Trap.METADATA_NONE_LITERALS]["in.heating_fuel"].to_pylist()

    assert fuels == ["None", sound["in.heating_fuel"][1].as_py()]


def test_a_column_is_all_null_and_typed_null(trapped: dict[Trap, pa.Table]) -> None:
    table = trapped[Trap.METADATA_ALL_NULL_COLUMN]

    assert table.schema.field("in.vintage").type == pa.null()
    assert table["in.vintage"].to_pylist() == [None, None]


def test_truncated_metadata_has_a_head_and_no_footer(tmp_path: Path) -> None:
    report = write(tmp_path, Trap.METADATA_TRUNCATED)

    assert dict(report.trapped) == {CO_KEY: "metadata_truncated"}
    content = (tmp_path / CO_KEY).read_bytes()
    assert (content[:4], content[-4:] == b"PAR1") == (b"PAR1", False)
    with pytest.raises(pa.ArrowInvalid):
        pq.ParquetFile(tmp_path / CO_KEY)


def test_unreadable_metadata_has_a_sound_footer_and_no_pages(
    tmp_path: Path, sound: pa.Table
) -> None:
    report = write(tmp_path, Trap.METADATA_UNREADABLE)

    assert dict(report.trapped) == {CO_KEY: "metadata_unreadable"}
    file = pq.ParquetFile(tmp_path / CO_KEY)
    assert (file.metadata.num_rows, file.schema_arrow) == (2, sound.schema)
    with pytest.raises(OSError, match="page header"):
        file.read()


def test_mixed_types_are_int_double_and_null_in_three_states(tmp_path: Path) -> None:
    states = ("WY", "DE", "RI", "CO")
    request = SampleRequest((COMSTOCK,), states, (0, 3), 1, traps=(Trap.METADATA_MIXED_TYPES,))
    report = write_sample_lake(tmp_path, request)

    assert set(report.trapped.values()) == {"metadata_mixed_types"}
    found = {}
    for key in report.trapped:
        assert "_baseline_" in key
        table = read(tmp_path / key)
        column = table["in.airtightness"]
        found[table["in.state"][0].as_py()] = (column.type, column.to_pylist())
    assert found == {
        "WY": (pa.int64(), [3]),
        "DE": (pa.float64(), [2.5]),
        "RI": (pa.null(), [None]),
    }


def test_two_spellings_are_the_same_file_twice(tmp_path: Path) -> None:
    report = write(tmp_path, Trap.METADATA_TWO_SPELLINGS)

    other = CO_KEY.replace("CO_baseline_", "CO_upgrade0_")
    assert dict(report.trapped) == {other: "metadata_two_spellings"}
    assert (tmp_path / other).read_bytes() == (tmp_path / CO_KEY).read_bytes()
    assert report.metadata_files == 2


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("metadata/baseline.parquet", "metadata/upgrade0.parquet"),
        ("metadata/upgrade0.parquet", "metadata/baseline.parquet"),
        ("metadata/upgrade05.parquet", "metadata/upgrade5.parquet"),
        ("county=G0100010/AL_G0100010_upgrade7_agg.parquet",
         "county=G0100010/AL_G0100010_upgrade07_agg.parquet"),
        ("upgrade=0/AL_upgrade11.parquet", None),
        ("metadata/metadata.parquet", None),
    ],
)  # fmt: skip
def test_respell_upgrade_gives_the_other_word(key: str, other: str | None) -> None:
    assert respell_upgrade(key) == other


def test_stray_files_lie_beside_the_metadata(tmp_path: Path) -> None:
    report = write(tmp_path, Trap.METADATA_STRAY_FILE)

    folder = CO_KEY.rpartition("/")[0]
    strays = [f"{folder}/_SUCCESS", f"{folder}/notes.txt", f"{CO_KEY}.tmp"]
    assert dict(report.trapped) == dict.fromkeys(strays, "metadata_stray_file")
    assert all((tmp_path / one).is_file() for one in strays)
    assert read(tmp_path / CO_KEY).num_rows == 2


def test_a_building_of_the_metadata_has_no_series(tmp_path: Path, sound: pa.Table) -> None:
    report = write(tmp_path, Trap.METADATA_WITHOUT_SERIES)

    real = sound["bldg_id"].to_pylist()
    (key,) = report.trapped
    ghost = max(real) + 1
    assert key == f"{SERIES}/{ghost}-0.parquet"
    assert report.trapped[key] == "metadata_without_series"
    assert not (tmp_path / key).exists()
    assert read(tmp_path / CO_KEY)["bldg_id"].to_pylist() == [*real, ghost]


@pytest.mark.parametrize("folder", [COMSTOCK, TRACTS, NATIONAL])
def test_a_series_is_in_no_metadata_file_of_its_state(
    tmp_path: Path, folder: ReleaseFolder
) -> None:
    traps = (Trap.SERIES_WITHOUT_METADATA,)
    request = SampleRequest((folder,), buildings=3, metadata="all", traps=traps)
    report = write_sample_lake(tmp_path, request)

    ((key, name),) = report.trapped.items()
    assert name == "series_without_metadata"
    assert (tmp_path / key).is_file()
    lost = int(Path(key).name.split("-")[0])
    named: set[int] = set()
    for path in tmp_path.rglob("*.parquet"):
        if "timeseries" not in str(path):
            named.update(read(path)["bldg_id"].to_pylist())
    assert len(named) == 2
    assert lost not in named


def test_metadata_traps_leave_the_series_alone(tmp_path: Path) -> None:
    write(tmp_path / "sound")
    write(tmp_path / "trapped", Trap.METADATA_NULL_WEIGHT)

    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name / SERIES).iterdir()}
        for name in ("sound", "trapped")
    )
    assert len(one) == 2
    assert one == two


def test_every_trap_takes_the_first_file_that_is_left(tmp_path: Path) -> None:
    request = SampleRequest(
        releases=(NATIONAL, ANNUAL_ONLY, COMSTOCK),
        states=("WY", "DE"),
        buildings=1,
        traps=(
            Trap.METADATA_MISSING_WEIGHT,
            Trap.METADATA_NULL_WEIGHT,
            Trap.METADATA_WRONG_STATE,
            Trap.METADATA_WRONG_UPGRADE,
        ),
    )
    report = write_sample_lake(tmp_path, request)

    root = f"{BASE_PARTITION}/2024"
    by_state = f"{root}/comstock_amy2018_release_1/{RESULTS}/by_state"
    assert dict(report.trapped) == {
        f"{BASE_PARTITION}/2021/resstock_amy2018_release_1/metadata/metadata.parquet": (
            "metadata_missing_weight"
        ),
        f"{root}/resstock_dataset_2024.1/resstock_tmy3/metadata/baseline.parquet": (
            "metadata_null_weight"
        ),
        f"{by_state}/state=WY/parquet/WY_baseline_{RESULTS}.parquet": "metadata_wrong_state",
        f"{by_state}/state=DE/parquet/DE_baseline_{RESULTS}.parquet": "metadata_wrong_upgrade",
    }


def test_a_trap_hits_the_lowest_upgrade_and_the_first_state(tmp_path: Path) -> None:
    request = SampleRequest((TRACTS,), ("WY", "CO"), (7, 3), 1, traps=(Trap.METADATA_NULL_WEIGHT,))
    report = write_sample_lake(tmp_path, request)

    (key,) = report.trapped
    assert f"/{RESULTS}/by_state_and_county/full/parquet/state=WY/county=G5600" in key
    assert key.endswith("_upgrade03.parquet")
    assert read(tmp_path / key)["weight"][0].as_py() is None


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (
            SampleRequest((COMSTOCK,), traps=(Trap.METADATA_NULL_WEIGHT, Trap.METADATA_TRUNCATED)),
            "ask for more states",
        ),
        (
            SampleRequest((COMSTOCK,), ("CO", "WY"), traps=(Trap.METADATA_MIXED_TYPES,)),
            "metadata_mixed_types",
        ),
        (SampleRequest((NATIONAL,), traps=(Trap.METADATA_WRONG_STATE,)), "metadata_wrong_state"),
        (
            SampleRequest((COMSTOCK,), buildings=1, traps=(Trap.SERIES_WITHOUT_METADATA,)),
            "ask for more buildings",
        ),
        (
            SampleRequest((ANNUAL_ONLY,), traps=(Trap.METADATA_WITHOUT_SERIES, Trap.STRAY_FILES)),
            "metadata_without_series, stray_files: no release of this sample has series",
        ),
    ],
)
def test_traps_that_find_no_place_are_a_fault_before_anything_is_written(
    tmp_path: Path, request_: SampleRequest, word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        write_sample_lake(tmp_path, request_)

    assert list(tmp_path.iterdir()) == []


def test_series_traps_pass_over_a_release_without_series(tmp_path: Path) -> None:
    request = SampleRequest(
        (ANNUAL_ONLY, COMSTOCK),
        buildings=2,
        traps=(Trap.EMPTY_FILE, Trap.STRAY_FILES, Trap.FLOAT32, Trap.METADATA_WITHOUT_SERIES),
    )
    report = write_sample_lake(tmp_path, request)

    assert {key for key in report.trapped if not key.startswith(COMSTOCK_ROOT)} == set()
    traps = {name for names in report.trapped.values() for name in names.split(",")}
    assert traps == {"empty_file", "stray_files", "float32", "metadata_without_series"}


def test_assign_metadata_traps_keeps_files_for_the_choosiest_trap() -> None:
    sites = [
        MetadataSite("r", "a/baseline.parquet", "CO", 0),
        MetadataSite("r", "b/upgrade11.parquet", "CO", 11),
    ]

    assigned = assign_metadata_traps(
        (Trap.METADATA_UNREADABLE, Trap.METADATA_TWO_SPELLINGS, *BUILDING_TRAPS), sites
    )

    assert {key: planted.trap for key, planted in assigned.items()} == {
        "a/baseline.parquet": Trap.METADATA_TWO_SPELLINGS,
        "b/upgrade11.parquet": Trap.METADATA_UNREADABLE,
    }
