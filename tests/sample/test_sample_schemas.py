"""The columns of the sample: how many, which, and the same as in published files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from oedi_spark.errors import ConfigError
from oedi_spark.sample.lake import BASE_PARTITION, DATA_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.sample.schemas import load_families, resolve_family
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.releases import load_releases

COMSTOCK_2024 = ReleaseFolder("2024", "comstock_amy2018_release_1")
RESSTOCK_2022 = ReleaseFolder("2022", "resstock_amy2018_release_1")


def test_load_families_has_as_many_columns_as_each_release() -> None:
    counts = {name: len(family.columns) for name, family in load_families().items()}

    assert counts == {
        "comstock_2021": 52,
        "comstock_2023_on": 56,
        "resstock_2021": 110,
        "resstock_2022": 104,
        "resstock_2022.1.1": 119,
        "resstock_2024.2": 138,
        "resstock_2025": 192,
        "resstock_2025_amy2012": 226,
    }


def test_load_families_repeats_no_column() -> None:
    for family in load_families().values():
        names = [column.name for column in family.columns]
        assert len(names) == len(set(names)), family.name
        assert {"timestamp", "bldg_id"} < set(names)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("comstock_2021", "out.other_fuel.water_systems.energy_consumption_intensity"),
        ("comstock_2023_on", "out.district_heating.cooling.energy_consumption"),
        ("resstock_2021", "out.wood.heating.energy_consumption"),
        ("resstock_2022", "out.total.lrmer_midcase_15_2025start.co2e_kg"),
        ("resstock_2022.1.1", "out.outdoor_air_dryblub_temp.c"),
        ("resstock_2024.2", "out.total.lrmer_midcase_15__electricity.co2e_kg"),
        ("resstock_2025", "out.electricity.cooling.energy_consumption_intensity..kwh_per_ft2"),
        ("resstock_2025", "in.sqft"),
        ("resstock_2025_amy2012", "component_load__heating__windows_solar__kbtu"),
        ("resstock_2025_amy2012", "in.sqft..ft2"),
    ],
)
def test_load_families_spells_columns_as_the_release_does(family: str, name: str) -> None:
    assert name in {column.name for column in load_families()[family].columns}


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("2021/comstock_tmy3_release_1", "comstock_2021"),
        ("2023/comstock_amy2018_release_2", "comstock_2023_on"),
        ("2025/comstock_amy2012_release_2", "comstock_2023_on"),
        ("2022/resstock_tmy3_release_1", "resstock_2022"),
        ("2022/resstock_tmy3_release_1.1", "resstock_2022.1.1"),
        ("2024/resstock_tmy3_release_2", "resstock_2024.2"),
        ("2025/resstock_amy2012_release_1", "resstock_2025_amy2012"),
        ("2031/resstock_amy2025_release_1", "resstock_2025"),
        ("2031/comstock_amy2025_release_1", "comstock_2023_on"),
    ],
)
def test_resolve_family_knows_releases_and_guesses_the_newest(release: str, family: str) -> None:
    assert resolve_family(ReleaseFolder(*release.split("/"))).name == family


def test_resolve_family_without_a_product_says_so() -> None:
    with pytest.raises(ConfigError, match="no known product") as caught:
        resolve_family(ReleaseFolder("2031", "transtock_release_1"))

    assert len(caught.value.faults) == 1


def test_write_sample_lake_writes_every_family_with_its_own_columns(
    tmp_path: Path,
) -> None:
    releases = tuple({resolve_family(folder).name: folder for folder in load_releases()}.values())

    report = write_sample_lake(tmp_path, SampleRequest(releases=releases, buildings=1))

    assert report.data_files == len(load_families()) == 8
    for folder in releases:
        root = tmp_path / BASE_PARTITION / folder.year / folder.name / DATA_PARTITION
        (path,) = root.glob("upgrade=0/state=CO/*-0.parquet")
        names = [column.name for column in resolve_family(folder).columns]
        assert pq.read_schema(path).names == names


@pytest.mark.real_lake
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (COMSTOCK_2024, "upgrade=19/state=GA/98542-19.parquet"),
        (RESSTOCK_2022, "upgrade=0/state=AL/100066-0.parquet"),
    ],
)
def test_write_sample_lake_has_the_schema_of_published_files(
    real_lake: Path, tmp_path: Path, folder: ReleaseFolder, name: str
) -> None:
    write_sample_lake(tmp_path, SampleRequest(releases=(folder,), buildings=1))

    root = f"{BASE_PARTITION}/{folder.year}/{folder.name}/{DATA_PARTITION}"
    published = pq.ParquetFile(real_lake / root / name)
    (path,) = (tmp_path / root).glob("upgrade=0/state=CO/*-0.parquet")
    sample = pq.ParquetFile(path)
    assert sample.schema_arrow.remove_metadata() == published.schema_arrow.remove_metadata()
    assert sample.metadata.num_rows == published.metadata.num_rows == 35_040
    assert sample.metadata.num_row_groups == published.metadata.num_row_groups == 1
    stamps = published.read(columns=["timestamp"])
    assert sample.read(columns=["timestamp"])["timestamp"].equals(stamps["timestamp"])
