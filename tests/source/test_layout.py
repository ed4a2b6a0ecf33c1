"""Keys both ways: what a building file is called, and what is no building file at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.source.layout import (
    BuildingKey,
    ReleaseFolder,
    building_key,
    is_safe_path,
    parse_building_key,
    parse_building_name,
    parse_state_folder,
    parse_upgrade_folder,
    partition_prefix,
    timeseries_prefix,
)

BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
DATA = "timeseries_individual_buildings/by_state"
COMSTOCK = ReleaseFolder("2024", "comstock_amy2018_release_1")
ROOT = f"{BASE}/2024/comstock_amy2018_release_1/{DATA}"

BUILDINGS = st.builds(
    BuildingKey,
    folder=st.just(COMSTOCK),
    state=st.from_regex(r"[A-Z]{2}", fullmatch=True),
    upgrade=st.integers(0, 9_999),
    bldg_id=st.integers(0, 10**18 - 1),
)


def test_building_key_is_the_published_one() -> None:
    key = building_key(BASE, DATA, BuildingKey(COMSTOCK, "GA", 19, 98542))

    assert key == f"{ROOT}/upgrade=19/state=GA/98542-19.parquet"


def test_parse_building_key_reads_the_published_one() -> None:
    found = parse_building_key(
        f"{ROOT}/upgrade=19/state=GA/98542-19.parquet",
        base=BASE,
        folder=COMSTOCK,
        data_partition=DATA,
    )

    assert found == BuildingKey(COMSTOCK, "GA", 19, 98542)


@given(building=BUILDINGS)
def test_parse_building_key_undoes_building_key(building: BuildingKey) -> None:
    key = building_key(BASE, DATA, building)

    assert parse_building_key(key, base=BASE, folder=COMSTOCK, data_partition=DATA) == building


@given(building=BUILDINGS, other=BUILDINGS)
def test_building_key_differs_where_buildings_differ(
    building: BuildingKey, other: BuildingKey
) -> None:
    same_key = building_key(BASE, DATA, building) == building_key(BASE, DATA, other)

    assert same_key == (building == other)


@given(name=st.text(st.sampled_from("0123456789-.parquet１²\n\0/ "), max_size=24))
def test_parse_building_name_takes_only_what_it_would_write(name: str) -> None:
    parsed = parse_building_name(name)

    assert parsed is None or name == f"{parsed[0]}-{parsed[1]}.parquet"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("100025-2.parquet", (100025, 2)),
        ("0-0.parquet", (0, 0)),
        ("999999999999999999-9999.parquet", (999999999999999999, 9999)),
    ],
)
def test_parse_building_name_reads_id_and_upgrade(name: str, expected: tuple[int, int]) -> None:
    assert parse_building_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".parquet",
        "12-0",
        "12-0.parquet.tmp",
        "12-0.PARQUET",
        ".12-0.parquet.partial",
        "../12-0.parquet",
        "a/12-0.parquet",
        "12-0.parquet/",
        "12-0.parquet\n",
        "\n12-0.parquet",
        "12-0.parquet\0",
        "12\0-0.parquet",
        "12'-0.parquet",
        '12"-0.parquet',
        "１２-0.parquet",
        "12-０.parquet",
        "1²-0.parquet",
        "012-0.parquet",
        "12-00.parquet",
        "12-01.parquet",
        "-12-0.parquet",
        "+12-0.parquet",
        " 12-0.parquet",
        "12-0 .parquet",
        "12-0-0.parquet",
        "1_2-0.parquet",
        "1e2-0.parquet",
        "0x12-0.parquet",
        "1000000000000000000-0.parquet",
        "12-10000.parquet",
        "12.parquet",
        "_SUCCESS",
    ],
)
def test_parse_building_name_refuses_any_other_name(name: str) -> None:
    assert parse_building_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "state=co",
        "state=Co",
        "state=C",
        "state=COL",
        "state=08",
        "state=CO\n",
        "state=CO/",
        "state=ＣＯ",
        "State=CO",
        "CO",
        "upgrade=0/state=CO",
    ],
)
def test_parse_state_folder_refuses_any_other_name(name: str) -> None:
    assert parse_state_folder("state=AK") == "AK"
    assert parse_state_folder(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "upgrade=00",
        "upgrade=03",
        "upgrade=",
        "upgrade=-1",
        "upgrade=10000",
        "upgrade=３",
        "upgrade=3\n",
        "upgrade=3/state=CO",
        "Upgrade=3",
        "3",
    ],
)
def test_parse_upgrade_folder_refuses_any_other_name(name: str) -> None:
    assert parse_upgrade_folder("upgrade=3") == 3
    assert parse_upgrade_folder("upgrade=0") == 0
    assert parse_upgrade_folder(name) is None


@pytest.mark.parametrize(
    "key",
    [
        "upgrade=0/state=co/12-0.parquet",
        "upgrade=00/state=CO/12-0.parquet",
        "upgrade=0/state=CO/12-1.parquet",
        "upgrade=0/state=CO/../12-0.parquet",
        "upgrade=0/12-0.parquet",
        "upgrade=0//12-0.parquet",
        "state=CO/upgrade=0/12-0.parquet",
        "upgrade=0/state=CO/county=G0800590/12-0.parquet",
    ],
)
def test_parse_building_key_refuses_other_trees(key: str) -> None:
    found = parse_building_key(f"{ROOT}/{key}", base=BASE, folder=COMSTOCK, data_partition=DATA)

    assert found is None


def test_parse_building_key_refuses_a_key_of_another_release() -> None:
    other = f"{BASE}/2024/comstock_amy2018_release_10/{DATA}/upgrade=0/state=CO/12-0.parquet"

    found = parse_building_key(other, base=BASE, folder=COMSTOCK, data_partition=DATA)

    assert found is None


def test_prefixes_have_no_slash_at_either_end() -> None:
    assert timeseries_prefix(BASE, COMSTOCK, DATA) == ROOT
    assert timeseries_prefix("", COMSTOCK, "") == "2024/comstock_amy2018_release_1"
    assert (
        partition_prefix(BASE, COMSTOCK, DATA, state="AK", upgrade=7)
        == f"{ROOT}/upgrade=7/state=AK"
    )


@pytest.mark.parametrize(
    ("year", "name", "release"),
    [
        ("2024", "comstock_amy2018_release_1", "2024_comstock_amy2018_release_1"),
        ("2022", "resstock_amy2018_release_1.1", "2022_resstock_amy2018_release_1.1"),
        (
            "2024",
            "resstock_dataset_2024.1/resstock_tmy3",
            "2024_resstock_dataset_2024.1_resstock_tmy3",
        ),
    ],
)
def test_release_is_year_and_name_without_a_slash(year: str, name: str, release: str) -> None:
    assert ReleaseFolder(year, name).release == release


@pytest.mark.parametrize("path", ["a", "a/b.c/d-e_f=1", "2024/comstock_amy2018_release_1", "..."])
def test_is_safe_path_takes_plain_folder_names(path: str) -> None:
    assert is_safe_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a b",
        "a'b",
        'a"b',
        "a\nb",
        "a\n",
        "a\0",
        "é",
        "a" * 121,
    ],
)
def test_is_safe_path_refuses_what_could_lead_elsewhere(path: str) -> None:
    assert not is_safe_path(path)
