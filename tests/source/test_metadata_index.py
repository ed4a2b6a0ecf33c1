"""Which metadata files a run is to land, from a folder: every version, order and spelling."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from oedi_spark.contracts import Partition, Surplus, SurplusFile
from oedi_spark.contracts_metadata import (
    LayoutMatch,
    MetadataFile,
    MetadataIndex,
    MetadataPattern,
    WeightModel,
)
from oedi_spark.errors import ConfigError, MetadataAmbiguousError, SourceListingError
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_index import MetadataSelection, index_metadata
from oedi_spark.source.storage import SourceLocation

COM24 = ReleaseFolder("2024", "comstock_amy2018_release_1")
COM25 = ReleaseFolder("2025", "comstock_amy2018_release_3")
RES21 = ReleaseFolder("2021", "resstock_tmy3_release_1")
RES24 = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
RES25 = ReleaseFolder("2025", "resstock_amy2018_release_1")
FUTURE = ReleaseFolder("2031", "comstock_amy2030_release_1")
C24 = "base/2024/comstock_amy2018_release_1/metadata_and_annual_results"
C25 = "base/2025/comstock_amy2018_release_3/metadata_and_annual_results"
R25 = "base/2025/resstock_amy2018_release_1/metadata_and_annual_results"
NEW = "base/2031/comstock_amy2030_release_1"


def _write(root: Path, *keys: str) -> SourceLocation:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return SourceLocation(str(root), is_local=True)


def _index(location: SourceLocation, *selections: MetadataSelection) -> MetadataIndex:
    return index_metadata(location, selections, base="base", workers=4)


def _select(
    folder: ReleaseFolder,
    states: Iterable[str] | None = ("CO",),
    upgrades: Iterable[int] | None = None,
    **more: object,
) -> MetadataSelection:
    return MetadataSelection(
        folder,
        None if states is None else tuple(states),
        None if upgrades is None else tuple(upgrades),
        **more,  # type: ignore[arg-type] # a test's keywords are those of the class
    )


def _cells(index: MetadataIndex) -> list[tuple[str | None, int, list[str]]]:
    """State, upgrade and file names of every listing."""
    return [
        (each.state, each.upgrade, [file.key.rsplit("/", 1)[1] for file in each.files])
        for each in index.listings
    ]


def _old(state: str, word: str, tree: str = C24) -> str:
    name = f"{state}_{word}_metadata_and_annual_results.parquet"
    return f"{tree}/by_state/state={state}/parquet/{name}"


def _new(state: str, word: str, detail: str = "full", tree: str = R25, suffix: str = "") -> str:
    return f"{tree}/by_state/{detail}/parquet/state={state}/{state}_{word}{suffix}.parquet"


def _county(county: str, word: str, detail: str = "full", tree: str = C25, suffix: str = "") -> str:
    state = {"G08": "CO", "G48": "TX"}[county[:3]]
    return (
        f"{tree}/by_state_and_county/{detail}/parquet/state={state}/county={county}/"
        f"{state}_{county}_{word}{suffix}.parquet"
    )


def test_a_registered_release_needs_no_version(tmp_path: Path) -> None:
    keys = [_old("CO", "baseline"), _old("CO", "upgrade05"), _old("GA", "baseline")]
    location = _write(tmp_path, *keys, keys[0].replace("parquet", "csv"))
    os.utime(tmp_path / keys[0], (1_546_300_800, 1_546_300_800))

    index = _index(location, _select(COM24, ["CO", "AK"], [0, 5]))

    assert _cells(index) == [
        ("CO", 0, ["CO_baseline_metadata_and_annual_results.parquet"]),
        ("CO", 5, ["CO_upgrade05_metadata_and_annual_results.parquet"]),
    ]
    baseline = index.files[0]
    assert baseline == MetadataFile(
        ordinal=0,
        key=keys[0],
        pattern=MetadataPattern.STATE_FIRST,
        upgrade=0,
        state="CO",
        county=None,
        size_bytes=len(keys[0]),
        etag=f"{1_546_300_800 * 10**9:x}-{len(keys[0]):x}",
        modified_at_utc="2019-01-01T00:00:00Z",
    )
    assert index.listings[0].weight_model is WeightModel.BUILDING
    assert index.listings[0].release == "2024_comstock_amy2018_release_1"
    assert all(each.is_whole_state for each in index.listings)
    assert index.matches == (
        LayoutMatch(
            "2024_comstock_amy2018_release_1",
            "registered",
            (MetadataPattern.STATE_FIRST,),
            (f"{C24}/by_state/state=CO/parquet", f"{C24}/by_state/state=AK/parquet"),
        ),
    )
    assert index.surplus == ()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("key", [_old("CO", "baseline", R25), _new("CO", "upgrade0")])
def test_versions_1_and_2_find_either_order_of_folders(
    tmp_path: Path, version: int, key: str
) -> None:
    index = _index(_write(tmp_path, key), _select(RES25, version=version))

    assert [file.key for file in index.files] == [key]
    (match,) = index.matches
    assert match.how == "configured"
    assert match.patterns == (index.files[0].pattern,)
    assert set(match.prefixes) == {
        f"{R25}/by_state/state=CO/parquet",
        f"{R25}/by_state/full/parquet/state=CO",
        f"{R25}/by_state/basic/parquet/state=CO",
    }


def test_version_2_with_counties_finds_each_county(tmp_path: Path) -> None:
    keys = [_county(c, "upgrade0") for c in ("G0800590", "G0800010", "G0800030")]
    location = _write(tmp_path, *keys, _county("G0800010", "upgrade7"))

    index = _index(
        location, _select(COM25, version=2, counties=("G0800590", "G0800010", "G0800010"))
    )

    assert _cells(index) == [
        ("CO", 0, ["CO_G0800010_upgrade0.parquet", "CO_G0800590_upgrade0.parquet"]),
        ("CO", 7, ["CO_G0800010_upgrade7.parquet"]),
    ]
    assert [file.county for file in index.files] == ["G0800010", "G0800590", "G0800010"]
    assert [file.ordinal for file in index.files] == [0, 1, 2]
    assert not any(each.is_whole_state for each in index.listings)
    assert index.listings[0].weight_model is WeightModel.GEOGRAPHIES
    release = "2025_comstock_amy2018_release_3"
    assert index.counties_not_found == ((Partition(release, "CO", 7), "G0800590"),)


def test_counties_without_a_version_are_those_of_the_tree_by_county(tmp_path: Path) -> None:
    aggregate = _county("G0800590", "upgrade0", tree=f"{C25}_aggregates", suffix="_agg")
    location = _write(tmp_path, aggregate)
    selection = _select(COM25, counties=("G0800590",))

    assert [file.key for file in _index(location, selection).files] == [aggregate]
    fine = _county("G0800590", "upgrade0")
    _write(tmp_path, fine)
    assert [file.key for file in _index(location, selection).files] == [fine]


def test_version_3_is_the_aggregates_tree(tmp_path: Path) -> None:
    tree = f"{C25}_aggregates"
    key = _new("CO", "upgrade3", tree=tree, suffix="_agg")
    stranger = _new("CO", "upgrade3", tree=tree)

    for selection in (_select(COM25, version=3), _select(COM25)):
        index = _index(_write(tmp_path, key, stranger), selection)
        assert [(f.key, f.pattern) for f in index.files] == [(key, MetadataPattern.AGG_STATE)]
        assert index.surplus == (SurplusFile(stranger, Surplus.NOT_A_METADATA_FILE),)


def test_basic_files_are_taken_only_where_there_is_no_full_one(tmp_path: Path) -> None:
    location = _write(
        tmp_path,
        _new("CO", "upgrade0"),
        _new("CO", "upgrade0", "basic"),
        _new("CO", "baseline", "basic"),
        _new("CO", "upgrade1", "basic"),
        _new("GA", "upgrade0", "basic", suffix="_basic"),
    )

    index = _index(location, _select(RES25, None))

    assert [file.key for file in index.files] == [
        _new("CO", "upgrade0"),
        _new("CO", "upgrade1", "basic"),
        _new("GA", "upgrade0", "basic", suffix="_basic"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (_new("CO", "baseline"), _new("CO", "upgrade0"), "state=CO/upgrade=0"),
        (_new("CO", "upgrade05"), _new("CO", "upgrade5"), "state=CO/upgrade=5"),
        (_new("CO", "upgrade5"), _old("CO", "upgrade05", R25), "state=CO/upgrade=5"),
        (
            _new("CO", "upgrade5", "basic"),
            _new("CO", "upgrade5", "basic", suffix="_basic"),
            "state=CO/upgrade=5",
        ),
    ],
)
def test_two_files_of_the_same_rows_are_an_error_that_names_both(
    tmp_path: Path, first: str, second: str, what: str
) -> None:
    with pytest.raises(MetadataAmbiguousError) as caught:
        _index(_write(tmp_path, first, second), _select(RES25, version=2))

    assert sorted(caught.value.keys) == sorted([first, second])
    assert caught.value.what == f"release=2025_resstock_amy2018_release_1/{what}"


def test_two_files_of_one_county_are_an_error_also_in_a_tree(tmp_path: Path) -> None:
    keys = [_county("G0800590", "baseline"), _county("G0800590", "upgrade00")]

    with pytest.raises(MetadataAmbiguousError, match="county=G0800590/upgrade=0") as caught:
        _index(_write(tmp_path, *keys), _select(COM25, version=2, counties=("*",)))

    assert list(caught.value.keys) == keys


@pytest.mark.parametrize("word", ["baseline", "upgrade0", "upgrade00"])
def test_any_spelling_of_an_upgrade_is_found(tmp_path: Path, word: str) -> None:
    location = _write(tmp_path, _old("CO", word), _old("CO", "upgrade5"), _old("CO", "upgrade10"))

    index = _index(location, _select(COM24, upgrades=[0, 5]))

    assert [(each.upgrade, len(each.files)) for each in index.listings] == [(0, 1), (5, 1)]


def test_every_state_and_upgrade_that_the_tree_has(tmp_path: Path) -> None:
    location = _write(
        tmp_path,
        _old("WY", "upgrade10"),
        _old("WY", "upgrade02"),
        _old("AK", "baseline"),
        f"{C24}/by_state/state=co/parquet/co_baseline_metadata_and_annual_results.parquet",
    )

    index = _index(location, _select(COM24, None, version=1))

    assert [(state, upgrade) for state, upgrade, _ in _cells(index)] == [
        ("AK", 0),
        ("WY", 2),
        ("WY", 10),
    ]
    assert set(index.matches[0].prefixes) == {
        f"{C24}/by_state",
        f"{C24}/by_state/full/parquet",
        f"{C24}/by_state/basic/parquet",
    }


def test_a_county_is_missed_in_its_own_state_only(tmp_path: Path) -> None:
    location = _write(
        tmp_path,
        *(_county("G0800590", f"upgrade{n}") for n in (0, 1)),
        _county("G4804530", "upgrade0"),
        _county("G0800010", "upgrade0", "basic"),
        _county("G0800590", "upgrade0").replace("CO", "TX"),
    )
    counties = ("G0800590", "G4804530", "G0800010", "G0899990", "G1300010", "G9900010")

    index = _index(location, _select(COM25, ["TX", "CO"], [0, 1], version=2, counties=counties))

    release = "2025_comstock_amy2018_release_3"
    assert [(file.county, file.upgrade) for file in index.files] == [
        ("G0800010", 0),
        ("G0800590", 0),
        ("G0800590", 1),
        ("G4804530", 0),
    ]
    assert set(index.counties_not_found) == {
        (Partition(release, "CO", 0), "G0899990"),
        (Partition(release, "CO", 1), "G0899990"),
        (Partition(release, "CO", 1), "G0800010"),
        (Partition(release, "TX", 1), "G4804530"),
        (Partition(release, "TX", 0), "G1300010"),
        (Partition(release, "TX", 0), "G9900010"),
    }


def test_a_county_that_does_not_exist_is_told_even_if_nothing_else_is_there(
    tmp_path: Path,
) -> None:
    index = _index(
        _write(tmp_path), _select(COM25, None, version=2, counties=("G0899990", "G9900010"))
    )

    assert index.files == ()
    release = "2025_comstock_amy2018_release_3"
    assert index.counties_not_found == (
        (Partition(release, "*", 0), "G9900010"),
        (Partition(release, "CO", 0), "G0899990"),
    )


def test_every_county_is_the_whole_state(tmp_path: Path) -> None:
    keys = [_county(f"G08{n:03d}10", "upgrade0") for n in range(64)]
    location = _write(tmp_path, *keys, _county("G4804530", "upgrade0"))

    index = _index(location, _select(COM25, version=2, counties=("*",)))

    assert [file.key for file in index.files] == keys
    assert [each.is_whole_state for each in index.listings] == [True]
    assert index.counties_not_found == ()


def test_jobs_of_one_release_are_put_together(tmp_path: Path) -> None:
    keys = [_county(c, "upgrade0") for c in ("G0800010", "G0800030", "G0800590")]
    location = _write(tmp_path, *keys)
    first = _select(COM25, version=2, counties=("G0800590", "G0800010"))
    second = _select(COM25, version=2, counties=("G0800590", "G0800030"))

    index = _index(location, first, second, first)

    assert [file.key for file in index.files] == keys
    assert [each.is_whole_state for each in index.listings] == [False]
    assert len(index.matches) == 1
    whole = _select(COM25, version=2, counties=("*",))
    for jobs in ((first, whole), (whole, first)):
        assert [each.is_whole_state for each in _index(location, *jobs).listings] == [True]


def test_jobs_that_take_one_county_from_two_roots_are_an_error(tmp_path: Path) -> None:
    other = "base/2025/comstock_amy2018_release_3/elsewhere"
    keys = [_county("G0800590", "upgrade0"), _county("G0800590", "upgrade0", tree=other)]
    first = _select(COM25, version=2, counties=("*",))
    second = _select(COM25, version=2, counties=("*",), root_dir="elsewhere")

    with pytest.raises(MetadataAmbiguousError) as caught:
        _index(_write(tmp_path, *keys), first, second)

    assert sorted(caught.value.keys) == sorted(keys)


def test_jobs_that_take_the_same_rows_from_two_trees_are_an_error(tmp_path: Path) -> None:
    by_county = _county("G0800590", "upgrade0")
    by_state = _new("CO", "upgrade0", tree=f"{C25}_aggregates", suffix="_agg")
    location = _write(tmp_path, by_county, by_state)
    fine, coarse = _select(COM25, version=2, counties=("*",)), _select(COM25, version=3)

    for jobs in ((fine, coarse), (coarse, fine)):
        with pytest.raises(MetadataAmbiguousError) as caught:
            _index(location, *jobs)
        assert set(caught.value.keys) == {by_county, by_state}


def test_listings_are_in_order_and_their_files_numbered_through(tmp_path: Path) -> None:
    location = _write(
        tmp_path,
        _new("CO", "upgrade0"),
        _new("AK", "upgrade0"),
        _new("AK", "upgrade10"),
        _new("AK", "upgrade9"),
        _old("CO", "baseline"),
    )

    index = _index(location, _select(RES25, ["CO", "AK"]), _select(COM24))

    assert [(each.release[:6], each.state, each.upgrade) for each in index.listings] == [
        ("2024_c", "CO", 0),
        ("2025_r", "AK", 0),
        ("2025_r", "AK", 9),
        ("2025_r", "AK", 10),
        ("2025_r", "CO", 0),
    ]
    assert [file.ordinal for file in index.files] == [0, 1, 2, 3, 4]


def test_national_files_are_of_no_state(tmp_path: Path) -> None:
    single = "base/2021/resstock_tmy3_release_1/metadata/metadata.parquet"
    machine = "base/2024/resstock_dataset_2024.1/resstock_tmy3/metadata"
    location = _write(
        tmp_path,
        single,
        single.replace(".parquet", ".tsv"),
        single.replace("metadata.parquet", "notes.txt"),
        f"{machine}/baseline.parquet",
        f"{machine}/upgrade01.parquet",
        f"{machine}/upgrade260.parquet",
    )

    index = _index(location, _select(RES21, ["CO", "AL"]), _select(RES24, None, [0, 260, 4]))

    assert _cells(index) == [
        (None, 0, ["metadata.parquet"]),
        (None, 0, ["baseline.parquet"]),
        (None, 260, ["upgrade260.parquet"]),
    ]
    assert index.listings[0].landing_folder.endswith("/state=national/upgrade=0")
    assert index.listings[0].is_whole_state
    assert [each.key.rsplit("/", 1)[1] for each in index.surplus] == ["notes.txt"]


TRIED = {
    MetadataPattern.STATE_FIRST: _old("CO", "baseline", f"{NEW}/metadata_and_annual_results"),
    MetadataPattern.STATE_FULL: _new("CO", "baseline", tree=f"{NEW}/metadata_and_annual_results"),
    MetadataPattern.AGG_STATE: _new(
        "CO", "upgrade0", tree=f"{NEW}/metadata_and_annual_results_aggregates", suffix="_agg"
    ),
    MetadataPattern.NATIONAL_STATE_FIRST: (
        f"{NEW}/metadata_and_annual_results/national/parquet/"
        "baseline_metadata_and_annual_results.parquet"
    ),
    MetadataPattern.NATIONAL_FULL: (
        f"{NEW}/metadata_and_annual_results/national/full/parquet/upgrade0.parquet"
    ),
    MetadataPattern.AGG_NATIONAL: (
        f"{NEW}/metadata_and_annual_results_aggregates/national/full/parquet/baseline_agg.parquet"
    ),
    MetadataPattern.NATIONAL_MACHINE: f"{NEW}/metadata/baseline.parquet",
    MetadataPattern.NATIONAL_SINGLE: f"{NEW}/metadata/metadata.parquet",
    MetadataPattern.COUNTY_FULL: _county(
        "G0800590", "upgrade0", tree=f"{NEW}/metadata_and_annual_results"
    ),
}


@pytest.mark.parametrize("states", [None, ("CO",)])
def test_an_unregistered_release_is_tried_in_order(
    tmp_path: Path, states: tuple[str, ...] | None
) -> None:
    location = _write(tmp_path, *TRIED.values())

    for pattern, key in TRIED.items():
        index = _index(location, _select(FUTURE, states))
        assert [(file.pattern, file.key) for file in index.files] == [(pattern, key)]
        assert (index.matches[0].how, index.matches[0].patterns) == ("tried", (pattern,))
        assert index.listings[0].weight_model is None
        (tmp_path / key).unlink()

    index = _index(location, _select(FUTURE, states))
    assert index.listings == ()
    assert index.matches[0].patterns == tuple(TRIED)
    assert f"{NEW}/metadata" in index.matches[0].prefixes


def test_an_unregistered_release_wants_a_file_of_the_selection(tmp_path: Path) -> None:
    location = _write(
        tmp_path,
        TRIED[MetadataPattern.STATE_FIRST],
        TRIED[MetadataPattern.NATIONAL_MACHINE],
        f"{NEW}/metadata/upgrade04.parquet",
        f"{NEW}/metadata/notes.parquet",
        f"{NEW}/metadata_and_annual_results/by_state/state=CO/parquet/left.parquet",
    )

    found = _index(location, _select(FUTURE, upgrades=[4]))
    nothing = _index(location, _select(FUTURE, upgrades=[9]))

    assert [file.key for file in found.files] == [f"{NEW}/metadata/upgrade04.parquet"]
    assert nothing.files == ()
    assert [each.key for each in found.surplus] == [f"{NEW}/metadata/notes.parquet"]
    assert [each.key for each in nothing.surplus] == [
        f"{NEW}/metadata/notes.parquet",
        f"{NEW}/metadata_and_annual_results/by_state/state=CO/parquet/left.parquet",
    ]


@pytest.mark.parametrize(
    "root_dir",
    [
        "elsewhere/meta",
        "/elsewhere/meta/",
        "base/2025/comstock_amy2018_release_3/elsewhere/meta",
        "base/2025/comstock_amy2018_release_3/elsewhere/meta/",
    ],
)
def test_a_configured_root_takes_the_place_of_the_tree(tmp_path: Path, root_dir: str) -> None:
    root = "base/2025/comstock_amy2018_release_3/elsewhere/meta"
    by_county = _county("G0800590", "upgrade0", tree=root, suffix="_agg")
    by_state = _new("CO", "upgrade0", tree=root)
    location = _write(tmp_path, by_county, by_state, _county("G0800590", "upgrade0"))

    counties = _select(COM25, root_dir=root_dir, version=2, counties=("G0800590",))
    states = _select(COM25, root_dir=root_dir, version=2)

    (file,) = _index(location, counties).files
    assert (file.key, file.pattern) == (by_county, MetadataPattern.AGG_COUNTY)
    assert [file.key for file in _index(location, states).files] == [by_state]


@pytest.mark.parametrize(
    "root_dir",
    [
        "base/2025/comstock_amy2018_release_2/metadata_and_annual_results",
        "base/2025/comstock_amy2018_release_33/metadata_and_annual_results",
        "base",
    ],
)
def test_a_root_in_another_release_is_refused(tmp_path: Path, root_dir: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _index(_write(tmp_path), _select(COM25, root_dir=root_dir, version=2))

    assert root_dir in str(caught.value)
    assert "base/2025/comstock_amy2018_release_3," in str(caught.value)


def test_what_is_no_metadata_file_is_surplus_and_other_upgrades_are_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"secret")
    lake = tmp_path / "lake"
    folder = f"{R25}/by_state/full/parquet/state=CO"
    location = _write(
        lake,
        _new("CO", "upgrade0"),
        _new("CO", "upgrade1"),
        f"{folder}/AK_upgrade0.parquet",
        f"{folder}/CO_upgrade0.parquet.crc",
        f"{folder}/deeper/CO_upgrade0.parquet",
    )
    (lake / folder / "CO_upgrade2.parquet").symlink_to(outside)

    index = _index(location, _select(RES25, upgrades=[0, 2]))

    assert [file.key for file in index.files] == [_new("CO", "upgrade0")]
    assert index.surplus == (
        SurplusFile(f"{folder}/AK_upgrade0.parquet", Surplus.NOT_A_METADATA_FILE),
        SurplusFile(f"{folder}/CO_upgrade0.parquet.crc", Surplus.NOT_A_METADATA_FILE),
        SurplusFile(f"{folder}/CO_upgrade2.parquet", Surplus.OUTSIDE_SOURCE),
        SurplusFile(f"{folder}/deeper/", Surplus.NOT_A_METADATA_FILE),
    )


def test_a_tree_of_counties_reports_what_is_no_metadata_file(tmp_path: Path) -> None:
    stranger = _county("G0800590", "upgrade0").replace("G0800590_", "G0800010_")
    location = _write(tmp_path, _county("G0800590", "upgrade0"), stranger)

    index = _index(location, _select(COM25, version=2, counties=("*",)))

    assert len(index.files) == 1
    assert index.surplus == (SurplusFile(stranger, Surplus.NOT_A_METADATA_FILE),)


def test_nothing_found_is_no_error_but_a_folder_that_is_none_is(tmp_path: Path) -> None:
    index = _index(_write(tmp_path), _select(COM24))

    assert index.listings == ()
    assert index.matches[0].prefixes == (
        f"{C24}/by_state/state=CO/parquet",
        "base/2024/comstock_amy2018_release_1/metadata",
        f"{C24}/national/parquet",
    )
    _write(tmp_path, f"{C24}/by_state/state=CO/parquet")
    with pytest.raises(SourceListingError, match="NotADirectoryError"):
        _index(SourceLocation(str(tmp_path), is_local=True), _select(COM24))


@pytest.mark.real_lake
def test_the_real_georgia_file_is_found(real_lake: Path) -> None:
    base = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
    location = SourceLocation(str(real_lake), is_local=True)

    index = index_metadata(location, [_select(COM24, None)], base=base, workers=2)

    assert _cells(index) == [("GA", 0, ["GA_baseline_metadata_and_annual_results.parquet"])]


def test_a_county_that_one_upgrade_lacks_is_told_and_that_upgrade_is_not_the_whole_state(
    tmp_path: Path,
) -> None:
    both = [_county(county, "upgrade0") for county in ("G0800590", "G0800010")]
    location = _write(tmp_path, *both, _county("G0800590", "upgrade1"))

    for upgrades in (None, [1]):
        index = _index(location, _select(COM25, upgrades=upgrades, version=2, counties=("*",)))

        release = "2025_comstock_amy2018_release_3"
        assert index.counties_not_found == ((Partition(release, "CO", 1), "G0800010"),)
        whole = {each.upgrade: each.is_whole_state for each in index.listings}
        assert whole == ({0: True, 1: False} if upgrades is None else {1: False})


@pytest.mark.parametrize(
    "root_dir",
    ["2025/resstock_amy2018_release_1/mine", "base/2025/resstock_amy2018_release_1/mine", "mine"],
)
def test_root_dir_may_begin_with_the_release_or_above_it(tmp_path: Path, root_dir: str) -> None:
    key = _new("CO", "upgrade0", tree="base/2025/resstock_amy2018_release_1/mine")

    index = _index(_write(tmp_path, key), _select(RES25, root_dir=root_dir))

    assert [file.key for file in index.files] == [key]


def test_root_dir_may_hold_another_of_the_layouts_of_its_release(tmp_path: Path) -> None:
    key = "base/2024/comstock_amy2018_release_1/metadata/baseline.parquet"

    index = _index(_write(tmp_path, key), _select(COM24, root_dir="metadata"))

    assert [(file.key, file.pattern) for file in index.files] == [
        (key, MetadataPattern.NATIONAL_MACHINE)
    ]
