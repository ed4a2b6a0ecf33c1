"""Metadata beside the series: keys, words, sums and weights of each release."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.sample.lake import BASE_PARTITION, SampleReport, SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder


def write(root: Path, release: str, **wanted: tuple[int, ...] | int) -> SampleReport:
    folder = ReleaseFolder(*release.split("/"))
    buildings, upgrades = wanted.get("buildings", 1), wanted.get("upgrades", (0,))
    assert isinstance(buildings, int)
    assert isinstance(upgrades, tuple)
    request = SampleRequest(releases=(folder,), buildings=buildings, upgrades=upgrades)
    return write_sample_lake(root, request)


def read(path: Path) -> pa.Table:
    """Read one file alone: `read_table` would add columns from the folders' names."""
    return pq.ParquetFile(path).read()


def metadata_keys(root: Path, release: str) -> list[str]:
    base = root / BASE_PARTITION / release
    return sorted(
        str(path.relative_to(base))
        for path in base.rglob("*.parquet")
        if "timeseries" not in str(path)
    )


BY_STATE = "metadata_and_annual_results/by_state/state=CO/parquet"


@pytest.mark.parametrize(
    ("release", "upgrades", "keys"),
    [
        ("2021/resstock_amy2018_release_1", (0,), ["metadata/metadata.parquet"]),
        (
            "2022/resstock_amy2018_release_1",
            (0, 5),
            [
                f"{BY_STATE}/CO_baseline_metadata_and_annual_results.parquet",
                f"{BY_STATE}/CO_upgrade05_metadata_and_annual_results.parquet",
            ],
        ),
        (
            "2024/comstock_amy2018_release_1",
            (0,),
            [f"{BY_STATE}/CO_baseline_metadata_and_annual_results.parquet"],
        ),
        (
            "2025/resstock_amy2018_release_1",
            (0, 5),
            [
                f"metadata_and_annual_results/by_state/full/parquet/state=CO/CO_upgrade{one}.parquet"
                for one in (0, 5)
            ],
        ),
    ],
)
def test_write_sample_lake_puts_metadata_where_the_release_has_them(
    tmp_path: Path, release: str, upgrades: tuple[int, ...], keys: list[str]
) -> None:
    write(tmp_path, release, upgrades=upgrades)

    assert metadata_keys(tmp_path, release) == keys


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("2024/comstock_amy2018_release_2", "baseline"),
        ("2025/comstock_amy2018_release_3", "upgrade0"),
    ],
)
def test_write_sample_lake_gives_multi_county_releases_two_grains(
    tmp_path: Path, release: str, name: str
) -> None:
    write(tmp_path, release)

    keys = metadata_keys(tmp_path, release)
    counties = sorted({key.split("county=")[1].split("/")[0] for key in keys if "county=" in key})
    assert 2 <= len(counties) <= 4
    full = "full/parquet/state=CO"
    tracts, sums = "metadata_and_annual_results", "metadata_and_annual_results_aggregates"
    by_county = f"by_state_and_county/{full}"
    assert keys == sorted(
        [f"{tracts}/{by_county}/county={one}/CO_{one}_{name}.parquet" for one in counties]
        + [f"{sums}/{by_county}/county={one}/CO_{one}_{name}_agg.parquet" for one in counties]
        + [f"{sums}/by_state/{full}/CO_{name}_agg.parquet"]
    )


def test_write_sample_lake_splits_a_buildings_weight_over_its_counties(tmp_path: Path) -> None:
    write(tmp_path, "2024/comstock_amy2018_release_2", buildings=3)
    grains: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    counties: dict[int, set[str]] = defaultdict(set)
    simulated: dict[int, set[str]] = defaultdict(set)
    for path in (tmp_path / BASE_PARTITION).rglob("*.parquet"):
        if "timeseries" in str(path):
            continue
        grain = "tract" if "_agg" not in path.name else "county" if "_G" in path.name else "state"
        for row in read(path).to_pylist():
            grains[grain][row["bldg_id"]] += row["weight"]
            simulated[row["bldg_id"]].add(row["in.as_simulated_nhgis_county_gisjoin"])
            if grain == "county":
                assert row["in.nhgis_county_gisjoin"] in path.name
                counties[row["bldg_id"]].add(row["in.nhgis_county_gisjoin"])
                assert "in.nhgis_tract_gisjoin" not in row
            if grain == "state":
                assert "in.nhgis_county_gisjoin" not in row

    assert len(grains["state"]) == 3
    assert dict(grains["tract"]) == pytest.approx(dict(grains["state"]))
    assert dict(grains["county"]) == pytest.approx(dict(grains["state"]))
    assert all(2 <= len(one) <= 4 for one in counties.values())
    assert all(len(one) == 1 for one in simulated.values())


@pytest.mark.parametrize(
    ("release", "sqft", "suffix", "kind", "county"),
    [
        (
            "2023/comstock_amy2018_release_2", "in.sqft", "",
            "in.comstock_building_type", "in.nhgis_county_gisjoin",
        ),
        (
            "2024/comstock_amy2018_release_1", "in.sqft", "..kwh",
            "in.comstock_building_type", "in.nhgis_county_gisjoin",
        ),
        (
            "2024/resstock_amy2018_release_2", "in.sqft", ".kwh",
            "in.geometry_building_type_recs", "in.county",
        ),
        (
            "2025/resstock_amy2018_release_1", "in.sqft..ft2", "..kwh",
            "in.geometry_building_type_recs", "in.county",
        ),
    ],
)  # fmt: skip
def test_write_sample_lake_metadata_hold_the_sums_of_the_series(
    tmp_path: Path, release: str, sqft: str, suffix: str, kind: str, county: str
) -> None:
    write(tmp_path, release)
    (path,) = tmp_path.rglob("metadata*/**/CO_*.parquet")
    (series,) = tmp_path.rglob("*-0.parquet")

    (row,) = read(path).to_pylist()
    table = read(series)

    assert {sqft, kind, county, "in.vintage", "in.heating_fuel", "in.state"} <= set(row)
    assert (row["upgrade"], row["applicability"]) == (0, True)
    assert (row["in.upgrade_name"], row["completed_status"]) == ("Baseline", "Success")
    assert f"{row['bldg_id']}-0.parquet" == series.name
    ending = ".energy_consumption..kwh" if release.startswith("2025") else ".energy_consumption"
    energies = [name for name in table.column_names if name.endswith(ending)]
    assert len(energies) > 20
    for name in energies:
        annual = row[name.removesuffix("..kwh") + suffix]
        assert annual == pytest.approx(table[name].to_numpy().sum(), rel=1e-9, abs=1e-9)


def test_write_sample_lake_metadata_weigh_energy_in_tbtu(tmp_path: Path) -> None:
    write(tmp_path, "2024/comstock_amy2018_release_1")
    (path,) = tmp_path.rglob("CO_baseline_metadata_and_annual_results.parquet")

    (row,) = read(path).to_pylist()

    kwh, weight = row["out.electricity.total.energy_consumption..kwh"], row["weight"]
    weighted = row["calc.weighted.electricity.total.energy_consumption..tbtu"]
    assert weighted == pytest.approx(kwh * weight * 3412.1416 / 1e12, rel=1e-6)
    assert row["calc.weighted.sqft"] == row["in.sqft"] * weight


@pytest.mark.real_lake
def test_published_metadata_weigh_energy_in_tbtu_as_the_sample_does(real_lake: Path) -> None:
    base = real_lake / BASE_PARTITION / "2024/comstock_amy2018_release_1"
    (path,) = base.rglob("GA_baseline_metadata_and_annual_results.parquet")
    row = next(one for one in read(path).to_pylist() if one["bldg_id"] == 98542)
    (series,) = base.rglob("98542-19.parquet")

    name = "out.electricity.total.energy_consumption"
    kwh = pq.ParquetFile(series).read(columns=[name])[name].to_numpy().sum()
    weighted = row["calc.weighted.electricity.total.energy_consumption..tbtu"]
    assert kwh * row["weight"] * 3412.1416 / 1e12 == pytest.approx(weighted, abs=1e-6)


def test_write_sample_lake_marks_the_buildings_that_an_upgrade_does_not_change(
    tmp_path: Path,
) -> None:
    write(tmp_path, "2024/comstock_amy2018_release_1", buildings=5, upgrades=(3,))
    (path,) = tmp_path.rglob("CO_upgrade03_metadata_and_annual_results.parquet")

    rows = read(path).to_pylist()

    assert sorted(row["applicability"] for row in rows) == [False, True, True, True, True]
    assert {row["in.upgrade_name"] for row in rows} == {"Upgrade 3"}
