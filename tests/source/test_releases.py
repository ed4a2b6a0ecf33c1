"""What is known of a release before a file of it is opened."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from oedi_spark.contracts import IntervalStamp, ReleaseFacts
from oedi_spark.contracts_metadata import MetadataPattern, WeightModel
from oedi_spark.source import releases as module
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_keys import patterns_of_version
from oedi_spark.source.releases import (
    Release,
    UnitSuffix,
    find_release,
    load_releases,
    resolve_release,
)

# Domain sheet §1: hours, metadata version, first pattern, baseline word, upgrades besides the
# baseline, the one weight.
SHEET = {
    "2021/comstock_amy2018_release_1": (8760, None, "national_single", "metadata", 0, None),
    "2021/comstock_tmy3_release_1": (8760, None, "national_single", "metadata", 0, None),
    "2021/resstock_amy2018_release_1": (8760, None, "national_single", "metadata", 0, 242.1310),
    "2021/resstock_tmy3_release_1": (8760, None, "national_single", "metadata", 0, 242.1310),
    "2022/resstock_amy2018_release_1": (8760, 1, "state_first", "baseline", 10, None),
    "2022/resstock_amy2018_release_1.1": (8760, 1, "state_first", "baseline", 10, None),
    "2022/resstock_amy2012_release_1": (8784, 1, "state_first", "baseline", 10, None),
    "2022/resstock_amy2012_release_1.1": (8784, 1, "state_first", "baseline", 10, None),
    "2022/resstock_tmy3_release_1": (8760, 1, "state_first", "baseline", 10, None),
    "2022/resstock_tmy3_release_1.1": (8760, 1, "state_first", "baseline", 10, None),
    "2023/comstock_amy2018_release_1": (8760, 1, "state_first", "baseline", 9, None),
    "2023/comstock_amy2018_release_2": (8760, 1, "state_first", "baseline", 17, None),
    "2024/comstock_amy2018_release_1": (8760, 1, "state_first", "baseline", 30, None),
    "2024/comstock_amy2018_release_2": (8760, 3, "agg_state", "baseline", 39, None),
    "2024/resstock_dataset_2024.1/resstock_tmy3": (
        *(None, None, "national_machine", "baseline", 260, 63.0753),
    ),
    "2024/resstock_amy2018_release_2": (8760, 1, "state_first", "baseline", 16, 252.3016),
    "2024/resstock_tmy3_release_2": (8760, 1, "state_first", "baseline", 16, 252.3016),
    "2025/comstock_amy2018_release_1": (8760, 3, "agg_state", "upgrade0", 57, None),
    "2025/comstock_amy2018_release_2": (8760, 3, "agg_state", "upgrade0", 61, None),
    "2025/comstock_amy2018_release_3": (8760, 3, "agg_state", "upgrade0", 65, None),
    "2025/comstock_amy2012_release_2": (8760, 3, "agg_state", "upgrade0", 61, None),
    "2025/resstock_amy2018_release_1": (8760, 2, "state_full", "upgrade0", 28, 253.9037),
    "2025/resstock_amy2012_release_1": (8784, 2, "state_full", "upgrade0", 28, 253.9037),
}


def _folder(path: str) -> ReleaseFolder:
    year, _, name = path.partition("/")
    return ReleaseFolder(year, name)


def _release(path: str) -> Release:
    found = find_release(_folder(path))
    assert found is not None
    return found


def test_load_releases_has_every_release_of_the_sheet_and_no_other() -> None:
    registered = load_releases()

    assert set(registered) == {_folder(path) for path in SHEET}
    assert len(registered) == 23
    assert len({release.facts.release for release in registered.values()}) == 23
    assert all(folder == release.folder for folder, release in registered.items())


@pytest.mark.parametrize("path", SHEET)
def test_a_release_is_as_the_sheet_has_it(path: str) -> None:
    hours, version, pattern, baseline_word, upgrade_count, weight = SHEET[path]
    release = _release(path)

    assert release.expected_hours == hours
    assert release.metadata_version == version
    assert release.patterns[0] == pattern
    assert release.baseline_word == baseline_word
    assert len(release.upgrades) - 1 == upgrade_count
    assert release.uniform_weight == weight


@pytest.mark.parametrize("path", SHEET)
def test_a_release_does_not_contradict_itself(path: str) -> None:
    release = _release(path)
    product, *rest = release.folder.name.split("/")[-1].split("_")

    assert (release.product, release.weather) == (product, rest[0])
    assert release.calendar_year == {"amy2012": 2012, "amy2018": 2018, "tmy3": None}[rest[0]]
    assert release.stamp == (IntervalStamp.END if release.has_series else None)
    assert (release.series_unit_suffix is not None) == release.has_series
    assert release.upgrades[0] == 0
    assert list(release.upgrades) == sorted(set(release.upgrades))
    assert set(release.upgrade_names) <= set(release.upgrades)
    assert release.upgrade_names[0] == "Baseline"
    assert len(set(release.patterns)) == len(release.patterns)
    if release.metadata_version is None:
        assert all(pattern.startswith("national") for pattern in release.patterns)
    else:
        version = release.metadata_version
        assert patterns_of_version(version, with_counties=False)[0] == release.patterns[0]


def test_one_release_has_no_series() -> None:
    without = [each.folder.name for each in load_releases().values() if not each.has_series]

    assert without == ["resstock_dataset_2024.1/resstock_tmy3"]


def test_names_are_padded_up_to_2024_only() -> None:
    padding = {(each.folder.year, each.pads_upgrades) for each in load_releases().values()}

    assert padding == {("2021", False), ("2022", True), ("2023", True), ("2024", True)} | {
        ("2025", False)
    }


def test_buildings_stand_in_many_places_from_comstock_2024_r2_on() -> None:
    many = WeightModel.GEOGRAPHIES

    assert {each.folder for each in load_releases().values() if each.weight_model is many} == {
        ReleaseFolder("2024", "comstock_amy2018_release_2"),
        ReleaseFolder("2025", "comstock_amy2018_release_1"),
        ReleaseFolder("2025", "comstock_amy2018_release_2"),
        ReleaseFolder("2025", "comstock_amy2018_release_3"),
        ReleaseFolder("2025", "comstock_amy2012_release_2"),
    }


@pytest.mark.parametrize(
    ("path", "patterns"),
    [
        ("2021/comstock_tmy3_release_1", {"national_single"}),
        (
            "2023/comstock_amy2018_release_2",
            {"state_first", "national_machine", "national_state_first"},
        ),
        (
            "2025/comstock_amy2018_release_3",
            {"agg_state", "county_full", "agg_county", "agg_puma", "agg_national"},
        ),
        ("2025/resstock_amy2012_release_1", {"state_full", "national_full"}),
    ],
)
def test_a_release_names_every_pattern_that_it_has(path: str, patterns: set[str]) -> None:
    assert set(_release(path).patterns) == {MetadataPattern(pattern) for pattern in patterns}


@pytest.mark.parametrize(
    ("path", "series", "metadata"),
    [
        ("2021/resstock_tmy3_release_1", "none", "none"),
        ("2023/comstock_amy2018_release_1", "none", "none"),
        ("2024/comstock_amy2018_release_1", "none", "double_dot"),
        ("2024/comstock_amy2018_release_2", "none", "double_dot"),
        ("2024/resstock_amy2018_release_2", "none", "single_dot"),
        ("2024/resstock_dataset_2024.1/resstock_tmy3", None, None),
        ("2025/comstock_amy2018_release_3", "none", "double_dot"),
        ("2025/resstock_amy2018_release_1", "double_dot", "double_dot"),
    ],
)
def test_unit_suffixes_are_those_of_the_matrix(
    path: str, series: str | None, metadata: str | None
) -> None:
    release = _release(path)

    assert release.series_unit_suffix == (series and UnitSuffix(series))
    assert release.metadata_unit_suffix == (metadata and UnitSuffix(metadata))


@pytest.mark.parametrize(
    ("path", "upgrade", "name"),
    [
        ("2023/comstock_amy2018_release_1", 6, "Wall Insulation"),
        ("2023/comstock_amy2018_release_2", 11, "Wall Insulation"),
        ("2024/comstock_amy2018_release_1", 23, "Wall Insulation"),
        ("2024/comstock_amy2018_release_2", 29, "Wall Insulation"),
        ("2025/comstock_amy2018_release_1", 42, "Wall Insulation"),
        ("2025/comstock_amy2018_release_2", 44, "Wall Insulation"),
        ("2025/comstock_amy2018_release_3", 48, "Wall Insulation"),
        ("2024/resstock_tmy3_release_2", 5, "Geothermal heat pump"),
        ("2024/resstock_amy2018_release_2", 16, "Envelope Only - Light Touch Envelope"),
    ],
)
def test_upgrade_names_are_of_their_own_release(path: str, upgrade: int, name: str) -> None:
    assert _release(path).upgrade_names[upgrade] == name


@pytest.mark.parametrize(
    ("path", "unnamed"),
    [
        ("2023/comstock_amy2018_release_1", set()),
        ("2023/comstock_amy2018_release_2", {2, 6}),
        ("2024/comstock_amy2018_release_1", set()),
        ("2025/comstock_amy2018_release_2", {55, 58}),
        ("2025/comstock_amy2018_release_3", {19, 21, 49, 52, 56, 57}),
        ("2025/comstock_amy2012_release_2", set(range(1, 62))),
        ("2025/resstock_amy2018_release_1", set(range(1, 29))),
    ],
)
def test_an_upgrade_that_no_source_names_for_certain_has_no_name(
    path: str, unnamed: set[int]
) -> None:
    release = _release(path)

    assert set(release.upgrades) - set(release.upgrade_names) == unnamed


@pytest.mark.real_lake
def test_upgrade_names_are_those_of_the_crosswalks(real_lake: Path) -> None:
    folder = real_lake.parent / "reference" / "comstock_docs"
    compared = 0
    for crosswalk in sorted(folder.glob("measure_name_crosswalk_*.csv")):
        with crosswalk.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for column in [name for name in rows[0] if name.endswith("_upgrade_id")]:
            year, _, name = column.removesuffix("_upgrade_id").partition("_")
            ours = _release(f"{year}/{name}").upgrade_names
            for row in rows:
                if row[column] and int(row[column]) in ours:
                    said = row[column.replace("_upgrade_id", "_upgrade_name")].strip()
                    assert ours[int(row[column])] == said
                    compared += 1
    assert compared > 500


@pytest.mark.real_lake
def test_upgrades_are_those_of_another_list_but_for_one(real_lake: Path) -> None:
    listed = json.loads(
        (real_lake.parent / "reference/buildstock-fetch/buildstock_releases.json").read_text()
    )
    ours = {}
    for folder, release in load_releases().items():
        number = folder.name.rsplit("_", 1)[-1] if "/" not in folder.name else "1"
        key = f"{release.product[:3]}_{folder.year}_{release.weather}_{number}"
        ours[key] = set(release.upgrades)
    theirs = {key: set(map(int, each["upgrade_ids"])) for key, each in listed.items()}

    assert theirs.pop("com_2024_amy2018_1") - ours.pop("com_2024_amy2018_1") == {30}
    assert ours == theirs


def test_resolve_release_knows_a_registered_release() -> None:
    facts = resolve_release(ReleaseFolder("2024", "comstock_amy2018_release_1"))

    assert facts == ReleaseFacts("2024_comstock_amy2018_release_1", IntervalStamp.END, 35_040, 2018)


@pytest.mark.parametrize(
    ("year", "name", "interval_count"),
    [
        ("2022", "resstock_amy2012_release_1", 35_136),
        ("2022", "resstock_amy2012_release_1.1", 35_136),
        ("2025", "resstock_amy2012_release_1", 35_136),
        ("2025", "comstock_amy2012_release_2", 35_040),
        ("2022", "resstock_tmy3_release_1", 35_040),
    ],
)
def test_resolve_release_knows_the_leap_year_of_resstock(
    year: str, name: str, interval_count: int
) -> None:
    assert resolve_release(ReleaseFolder(year, name)).interval_count == interval_count


@pytest.mark.parametrize(
    ("year", "name"),
    [
        ("2031", "comstock_amy2030_release_1"),
        ("2025", "comstock_amy2018_release_9"),
        ("2023", "resstock_amy2018_release_1"),
    ],
)
def test_resolve_release_says_nothing_of_an_unregistered_one(year: str, name: str) -> None:
    facts = resolve_release(ReleaseFolder(year, name))

    assert facts == ReleaseFacts(f"{year}_{name}", stamp=None, interval_count=None)
    assert find_release(ReleaseFolder(year, name)) is None


def test_resolve_release_without_series_leaves_them_to_the_files() -> None:
    folder = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")

    assert resolve_release(folder) == ReleaseFacts(
        "2024_resstock_dataset_2024.1_resstock_tmy3", stamp=None, interval_count=None
    )


def test_a_release_can_be_hashed_and_sent() -> None:
    release = _release("2024/comstock_amy2018_release_2")
    again = pickle.loads(pickle.dumps(release))

    assert again == release
    assert hash(again) == hash(release)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stamp: end", "stamp: middle", "stamp"),
        ("interval_count: 35040", "interval_count: 35041", "interval_count"),
        ("patterns: [national_single]", "patterns: [county_first]", "patterns"),
        ("    product: comstock", "    product: comstok", "product"),
        ("    product: comstock", "    produkt: comstock", "produkt"),
        ("    product: comstock", "    product: comstock\n    colour: green", "colour"),
        ('upgrades: "0-10"', 'upgrades: "10-0"', "upgrades"),
        ("weight_model: building", "weight_model: house", "weight_model"),
        ("    has_series: true\n", "", "has_series"),
    ],
)
def test_a_damaged_registry_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, said: str
) -> None:
    source = Path(module.__file__).parent
    text = (source / "releases.yaml").read_text("utf-8")
    assert old in text
    (tmp_path / "releases.yaml").write_text(text.replace(old, new), "utf-8")
    (tmp_path / "upgrades.yaml").write_text("names: {}\n")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)

    with pytest.raises(ValidationError, match=said):
        load_releases.__wrapped__()
