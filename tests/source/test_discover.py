"""What a bucket holds beside the registry: new releases, missing ones, folders that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from oedi_spark.contracts_metadata import MetadataPattern
from oedi_spark.source.discover import FoundRelease, discover_releases
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import SourceLocation, open_storage
from tests.source.conftest import BUCKET, S3Client

BASE = "nrel/eulp"
SERIES = "timeseries_individual_buildings"
RESULTS = "metadata_and_annual_results"
AGGREGATES = "metadata_and_annual_results_aggregates"

REGISTERED = [
    f"2024/comstock_amy2018_release_1/{SERIES}/by_state/upgrade=0/state=CO/1-0.parquet",
    "2024/comstock_amy2018_release_1/metadata/baseline.parquet",
    "2024/comstock_amy2018_release_1/weather/amy2018/G0800010_2018.csv",
    "2024/resstock_dataset_2024.1/resstock_tmy3/metadata/baseline.parquet",
]
PLACES = "full/parquet/state=CO/county=G0800590"
PUMA = "basic/csv/state=DC/puma=G11000101"
NEW = {
    # Laid out as 2022 to 2024 R1, in both formats.
    ReleaseFolder("2026", "comstock_amy2018_release_1"): (
        [
            "metadata/baseline.parquet",
            f"{RESULTS}/by_state/state=CO/csv/CO_baseline_metadata_and_annual_results.csv",
            f"{RESULTS}/by_state/state=CO/parquet/CO_baseline_metadata_and_annual_results.parquet",
            f"{RESULTS}/national/parquet/upgrade05_metadata_and_annual_results.parquet",
        ],
        ("metadata", RESULTS),
        (
            MetadataPattern.NATIONAL_MACHINE,
            MetadataPattern.NATIONAL_STATE_FIRST,
            MetadataPattern.STATE_FIRST,
        ),
    ),
    # Laid out as ComStock 2025, one level deeper, `basic` alone among the PUMAs.
    ReleaseFolder("2026", "resstock_dataset_2026.1/resstock_amy2018"): (
        [
            f"{RESULTS}/by_state_and_county/{PLACES}/CO_G0800590_upgrade0.parquet",
            f"{AGGREGATES}/by_state/full/parquet/state=CO/CO_upgrade0_agg.parquet",
            f"{AGGREGATES}/by_state_and_county/{PLACES}/CO_G0800590_upgrade0_agg.parquet",
            f"{AGGREGATES}/by_state_and_puma/{PUMA}/DC_G11000101_upgrade0_agg_basic.csv.gz",
            f"{AGGREGATES}/national/full/parquet/upgrade0_agg.parquet",
            f"{SERIES}/by_state/upgrade=0/state=CO/1-0.parquet",
        ],
        (RESULTS, AGGREGATES, SERIES),
        (
            MetadataPattern.COUNTY_FULL,
            MetadataPattern.AGG_NATIONAL,
            MetadataPattern.AGG_STATE,
            MetadataPattern.AGG_COUNTY,
            MetadataPattern.AGG_PUMA,
        ),
    ),
    # Metadata of a layout that nobody knows yet, and series.
    ReleaseFolder("2027", "comstock_amy2018_release_1"): (
        [
            "metadata/Baseline.parquet",
            f"{RESULTS}/by_zone/full/parquet/zone=2A/2A_upgrade0.parquet",
            f"{RESULTS}/by_state/full/parquet/state=CO/AK_upgrade0.parquet",
            f"{SERIES}/by_state/upgrade=0/state=CO/1-0.parquet",
        ],
        ("metadata", RESULTS, SERIES),
        (),
    ),
}
OTHERS = [
    "2026/documents/manual.pdf",
    "2026/campus/study/metadata_of_buildings/baseline.parquet",
    "README.md",
    "drafts/comstock_amy2018_release_1/metadata/baseline.parquet",
    "20255/comstock_amy2018_release_1/metadata/baseline.parquet",
]


def _keys() -> list[str]:
    new = [f"{f.year}/{f.name}/{key}" for f, (keys, _, _) in NEW.items() for key in keys]
    return [f"{BASE}/{key}" for key in (*REGISTERED, *new, *OTHERS)]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A bucket of empty files; a name says all that is asked of it."""
    root = tmp_path / "lake"
    for key in _keys():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).touch()
    return root


def _location(lake: Path) -> SourceLocation:
    return SourceLocation(root=str(lake), is_local=True)


EXPECTED = (
    FoundRelease(ReleaseFolder("2024", "comstock_amy2018_release_1"), True, ("metadata", SERIES)),
    FoundRelease(
        ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3"), True, ("metadata",)
    ),
    *(FoundRelease(folder, False, trees, patterns) for folder, (_, trees, patterns) in NEW.items()),
)


def test_discover_releases_tells_registered_new_and_absent_ones_apart(lake: Path) -> None:
    discovery = discover_releases(open_storage(_location(lake)), BASE)

    assert discovery.found == EXPECTED
    assert discovery.registered == EXPECTED[:2]
    assert discovery.unregistered == EXPECTED[2:]
    assert discovery.others == ("2026/campus", "2026/documents")
    assert len(discovery.absent) == 21
    assert ReleaseFolder("2025", "comstock_amy2018_release_3") in discovery.absent
    assert ReleaseFolder("2024", "comstock_amy2018_release_1") not in discovery.absent


def test_discover_releases_finds_the_same_in_s3_over_many_pages(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    for key in _keys():
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")

    discovery = discover_releases(open_storage(s3_location), BASE)

    assert discovery.found == EXPECTED
    assert discovery.others == ("2026/campus", "2026/documents")
    assert len(discovery.absent) == 21


def test_discover_releases_of_another_folder_finds_nothing(lake: Path) -> None:
    discovery = discover_releases(open_storage(_location(lake)), "nrel/elup")

    assert discovery.found == ()
    assert len(discovery.absent) == 23


def test_discover_releases_works_without_a_base(lake: Path) -> None:
    discovery = discover_releases(open_storage(_location(lake / BASE)), "")

    assert discovery.found == EXPECTED


@pytest.mark.parametrize("name", ["a\nb", "[bold]x", "x y", "ü", "-" * 121])
def test_a_name_that_is_no_safe_folder_is_never_looked_into(lake: Path, name: str) -> None:
    (lake / BASE / "2024" / name / "metadata").mkdir(parents=True)
    (lake / BASE / "2024" / "campus" / name / "metadata").mkdir(parents=True)

    discovery = discover_releases(open_storage(_location(lake)), BASE)

    assert discovery.found == EXPECTED
    assert set(discovery.others) == {
        *("2024/campus", f"2024/{name}", "2026/campus", "2026/documents")
    }


def test_a_file_with_the_name_of_a_tree_makes_no_release(lake: Path) -> None:
    (lake / BASE / "2024" / "stray").mkdir()
    (lake / BASE / "2024" / "stray" / "metadata").touch()

    discovery = discover_releases(open_storage(_location(lake)), BASE)

    assert "2024/stray" in discovery.others


@pytest.mark.real_lake
def test_discover_releases_knows_the_real_ones(real_lake: Path) -> None:
    base = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"

    discovery = discover_releases(open_storage(_location(real_lake)), base)

    assert {each.folder: each.trees for each in discovery.registered} == {
        ReleaseFolder("2022", "resstock_amy2018_release_1"): (SERIES,),
        ReleaseFolder("2024", "comstock_amy2018_release_1"): (RESULTS, SERIES),
    }
    assert discovery.unregistered == ()
