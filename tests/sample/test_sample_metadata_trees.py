"""Every tree of metadata that a release has, and buildings that count in two states."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.sample.lake import BASE_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.sample.metadata import Extent, build_metadata
from oedi_spark.sample.metadata_rows import BuildingRecord
from oedi_spark.sample.shapes import Traits
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_keys import parse_metadata_key
from oedi_spark.source.releases import load_releases

RESULTS = "metadata_and_annual_results"
AGGREGATES = "metadata_and_annual_results_aggregates"
ANNUAL_ONLY = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
TRACTS = ReleaseFolder("2025", "comstock_amy2018_release_3")


def write(
    root: Path, release: str, extent: Extent = "all", *states: str, upgrades: tuple[int, ...] = (0,)
) -> None:
    folder = ReleaseFolder(*release.split("/", 1))
    request = SampleRequest(
        (folder,), states or ("DE",), upgrades=upgrades, buildings=1, metadata=extent
    )
    write_sample_lake(root, request)


def read(path: Path) -> pa.Table:
    """Read one file alone: `read_table` would add columns from the folders' names."""
    return pq.ParquetFile(path).read()


def tables(root: Path, release: str) -> dict[str, pa.Table]:
    """Every metadata file of a release, by its key below the release's folder."""
    base = root / BASE_PARTITION / release
    return {
        str(path.relative_to(base)): read(path)
        for path in sorted(base.rglob("*.parquet"))
        if "timeseries" not in str(path)
    }


@pytest.mark.parametrize(
    "release",
    [
        "2022/resstock_tmy3_release_1",
        "2023/comstock_amy2018_release_1",
        "2024/comstock_amy2018_release_1",
        "2024/resstock_amy2018_release_2",
    ],
)
def test_all_adds_both_national_trees_until_2024(tmp_path: Path, release: str) -> None:
    write(tmp_path, release, "all", "DE", "RI", upgrades=(0, 5))

    found = tables(tmp_path, release)

    assert set(found) == {
        "metadata/baseline.parquet",
        "metadata/upgrade05.parquet",
        f"{RESULTS}/national/parquet/baseline_metadata_and_annual_results.parquet",
        f"{RESULTS}/national/parquet/upgrade05_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=DE/parquet/DE_baseline_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=DE/parquet/DE_upgrade05_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=RI/parquet/RI_baseline_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=RI/parquet/RI_upgrade05_metadata_and_annual_results.parquet",
    }
    machine = found["metadata/upgrade05.parquet"]
    assert machine["in.state"].to_pylist() == ["DE", "RI"]
    assert machine["upgrade"].to_pylist() == [5, 5]
    national = found[f"{RESULTS}/national/parquet/upgrade05_metadata_and_annual_results.parquet"]
    assert national.equals(machine)


def test_all_adds_nothing_to_2021(tmp_path: Path) -> None:
    write(tmp_path, "2021/resstock_tmy3_release_1")

    assert list(tables(tmp_path, "2021/resstock_tmy3_release_1")) == ["metadata/metadata.parquet"]


def test_all_gives_resstock_2025_a_national_tree_and_basic_files(tmp_path: Path) -> None:
    write(tmp_path, "2025/resstock_amy2018_release_1", "all", "DE", upgrades=(0, 12))

    found = tables(tmp_path, "2025/resstock_amy2018_release_1")

    assert set(found) == {
        f"{RESULTS}/{tree}/upgrade{upgrade}.parquet".replace("XX/", "state=DE/DE_")
        for tree in (
            "by_state/full/parquet/XX", "by_state/basic/parquet/XX",
            "national/full/parquet", "national/basic/parquet",
        )
        for upgrade in (0, 12)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("2024/comstock_amy2018_release_2", "baseline"),
        ("2025/comstock_amy2018_release_3", "upgrade0"),
        ("2025/comstock_amy2012_release_2", "upgrade0"),
    ],
)
def test_all_gives_multi_county_releases_every_grain_full_and_basic(
    tmp_path: Path, release: str, name: str
) -> None:
    write(tmp_path, release, "all", "DC")  # one county, so one PUMA

    found = tables(tmp_path, release)

    county, puma = "state=DC/county=G1100010/DC_G1100010", "state=DC/puma=G11000101/DC_G11000101"
    assert set(found) == {
        f"{RESULTS}/by_state_and_county/full/parquet/{county}_{name}.parquet",
        f"{RESULTS}/by_state_and_county/basic/parquet/{county}_{name}.parquet",
        f"{AGGREGATES}/by_state_and_county/full/parquet/{county}_{name}_agg.parquet",
        f"{AGGREGATES}/by_state_and_county/basic/parquet/{county}_{name}_agg_basic.parquet",
        f"{AGGREGATES}/by_state_and_puma/full/parquet/{puma}_{name}_agg.parquet",
        f"{AGGREGATES}/by_state_and_puma/basic/parquet/{puma}_{name}_agg_basic.parquet",
        f"{AGGREGATES}/by_state/full/parquet/state=DC/DC_{name}_agg.parquet",
        f"{AGGREGATES}/by_state/basic/parquet/state=DC/DC_{name}_agg_basic.parquet",
        f"{AGGREGATES}/national/full/parquet/{name}_agg.parquet",
        f"{AGGREGATES}/national/basic/parquet/{name}_agg_basic.parquet",
    }


def test_basic_files_hold_the_same_rows_and_fewer_columns(tmp_path: Path) -> None:
    write(tmp_path, "2024/comstock_amy2018_release_2", "all", "CO")

    found = tables(tmp_path, "2024/comstock_amy2018_release_2")

    pairs = 0
    for key, full in found.items():
        if "/full/" not in key:
            continue
        agg = key.replace("/full/", "/basic/").replace("_agg.", "_agg_basic.")
        basic = found[agg]
        kept = set(basic.column_names)
        assert {"bldg_id", "weight", "in.state", "in.sqft..ft2"} < kept
        assert "out.electricity.total.energy_consumption..kwh" in kept
        assert "out.electricity.fans.energy_consumption..kwh" in set(full.column_names) - kept
        assert not [one for one in kept if one.startswith(("calc.", "in.as_simulated_"))]
        assert basic.equals(full.select(basic.column_names))
        pairs += 1
    assert pairs >= 2 * 2 + 3  # at least two counties, in two grains; a PUMA, state, national


GEOGRAPHY = {"in.nhgis_county_gisjoin", "in.nhgis_puma_gisjoin", "in.nhgis_tract_gisjoin"}


def test_every_grain_has_its_own_geography_and_the_same_weight(tmp_path: Path) -> None:
    release = "2024/comstock_amy2018_release_2"
    write(tmp_path, release, "all", "CO", "WY")
    shapes: dict[str, set[frozenset[str]]] = defaultdict(set)
    weights: dict[str, dict[tuple[int, str], float]] = defaultdict(lambda: defaultdict(float))

    for key, table in tables(tmp_path, release).items():
        grain = "/".join(key.split("/")[:2])
        shapes[grain].add(frozenset(GEOGRAPHY.intersection(table.column_names)))
        if "/basic/" in key:
            continue
        for row in table.to_pylist():
            weights[grain][row["bldg_id"], row["in.state"]] += row["weight"]
            for name in ("county", "puma"):
                if f"/{name}=" in key and f"in.nhgis_{name}_gisjoin" in row:
                    assert f"/{name}={row[f'in.nhgis_{name}_gisjoin']}/" in key

    assert shapes == {
        f"{RESULTS}/by_state_and_county": {frozenset(GEOGRAPHY)},
        f"{AGGREGATES}/by_state_and_county": {frozenset({"in.nhgis_county_gisjoin"})},
        f"{AGGREGATES}/by_state_and_puma": {frozenset({"in.nhgis_puma_gisjoin"})},
        f"{AGGREGATES}/by_state": {frozenset()},
        f"{AGGREGATES}/national": {frozenset()},
    }
    expected = dict(weights.pop(f"{RESULTS}/by_state_and_county"))
    assert len(expected) == 3  # one of each state, and one that counts in both
    for found in weights.values():
        assert dict(found) == pytest.approx(expected)


def test_pumas_are_of_the_published_form_and_of_their_state(tmp_path: Path) -> None:
    write(tmp_path, "2024/resstock_amy2018_release_2", "usual", "CO", "RI")

    (one, two) = tables(tmp_path, "2024/resstock_amy2018_release_2").values()

    assert re.fullmatch(r"G08000\d{3}", one["in.puma"][0].as_py())
    assert re.fullmatch(r"G44000\d{3}", two["in.puma"][0].as_py())


def test_resstock_2024_1_has_metadata_and_no_series(tmp_path: Path) -> None:
    request = SampleRequest(releases=(ANNUAL_ONLY,), upgrades=(0, 7, 12), buildings=2)

    report = write_sample_lake(tmp_path, request)

    release = "2024/resstock_dataset_2024.1/resstock_tmy3"
    found = tables(tmp_path, release)
    assert set(found) == {f"metadata/{n}.parquet" for n in ("baseline", "upgrade07", "upgrade12")}
    assert not list(tmp_path.rglob("timeseries*"))
    assert (report.data_files, report.metadata_files) == (0, 3)
    baseline = found["metadata/baseline.parquet"]
    assert set(baseline["weight"].to_pylist()) == {63.0753}
    assert min(baseline["out.electricity.total.energy_consumption.kwh"].to_pylist()) > 1_000


def test_some_buildings_of_multi_county_releases_count_in_two_states(tmp_path: Path) -> None:
    states = ("CO", "WY", "UT")
    request = SampleRequest(releases=(TRACTS,), states=states, upgrades=(0, 1), buildings=2)
    report = write_sample_lake(tmp_path, request)

    files = defaultdict(set)
    for path in tmp_path.rglob("*-1.parquet"):
        files[path.name].add(path.parent.name)
    shared = {name: where for name, where in files.items() if len(where) > 1}
    assert len(files) == 6
    assert sorted(map(sorted, shared.values())) == [
        ["state=CO", "state=WY"],
        ["state=UT", "state=WY"],
    ]
    assert report.data_files == 2 * (6 + 2)
    for name in shared:
        assert len({path.read_bytes() for path in tmp_path.rglob(name)}) == 1

    weights: dict[int, dict[str, float]] = defaultdict(dict)
    for key, table in tables(tmp_path, "2025/comstock_amy2018_release_3").items():
        if re.search(r"/[A-Z]{2}_upgrade1_agg", key):
            for row in table.to_pylist():
                weights[row["bldg_id"]][row["in.state"]] = row["weight"]
    ids = {int(name.split("-")[0]) for name in shared}
    assert {one for one, where in weights.items() if len(where) == 2} == ids
    home = {bldg_id: states[0] if bldg_id // 10_000 == 8 else "WY" for bldg_id in ids}
    for bldg_id in ids:
        (away,) = set(weights[bldg_id]) - {home[bldg_id]}
        assert weights[bldg_id][away] == pytest.approx(0.5 * weights[bldg_id][home[bldg_id]])


def test_a_building_of_two_states_was_simulated_in_its_own(tmp_path: Path) -> None:
    write(tmp_path, "2025/comstock_amy2018_release_3", "usual", "CO", "WY")

    simulated: dict[int, set[str]] = defaultdict(set)
    counted: dict[int, set[str]] = defaultdict(set)
    for key, table in tables(tmp_path, "2025/comstock_amy2018_release_3").items():
        if "_agg" not in key:
            for row in table.to_pylist():
                simulated[row["bldg_id"]].add(row["in.as_simulated_nhgis_county_gisjoin"])
                counted[row["bldg_id"]].add(row["in.nhgis_county_gisjoin"][:3])
    (shared,) = [one for one, fips in counted.items() if len(fips) == 2]
    assert shared // 10_000 == 8
    (county,) = simulated[shared]
    assert county.startswith("G08")


def test_one_building_per_row_releases_have_no_building_in_two_states(tmp_path: Path) -> None:
    write(tmp_path, "2024/comstock_amy2018_release_1", "usual", "CO", "WY")

    assert len(list(tmp_path.rglob("*-0.parquet"))) == 2


def test_every_key_says_what_its_file_holds_in_every_release() -> None:
    traits = Traits("SmallOffice", 1_000.0, "1970s", "NaturalGas", 2.0)
    seen = set()

    for folder in load_releases():
        upgrades = (0,) if folder.year == "2021" else (0, 5, 12)
        records = [
            BuildingRecord(20_000 + upgrade, state, upgrade, True, traits, {}, state)
            for state in ("CO", "WY")
            for upgrade in upgrades
        ]
        for file in build_metadata(folder, 1, records, "all"):
            key = parse_metadata_key(file.key)
            assert key is not None, (folder, file.key)
            assert (key.state, key.upgrade) == (file.state, file.upgrade)
            assert set(file.table["upgrade"].to_pylist()) == {key.upgrade}
            seen.add(key.pattern.value)

    assert seen == {
        "national_single", "national_machine", "national_state_first", "national_full",
        "state_first", "state_full", "county_full",
        "agg_national", "agg_state", "agg_county", "agg_puma",
    }  # fmt: skip
