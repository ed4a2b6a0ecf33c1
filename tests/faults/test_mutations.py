"""Hundreds of random corruptions of good files: each is detected, or changes no number that counts.

Where S3 lists an MD5, or `MD5SUMS` names one, every changed byte is found before a file is opened.
Where neither does, the file has to give itself away; what cannot is measured at the end.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import require_checksum
from oedi_spark.transform.claims import POSSIBLE
from tests.faults.mutations import (
    VALUE_CHANGES,
    Fate,
    Subject,
    change_key,
    change_statistic,
    change_value,
    find_regions,
    flip_bit,
    pick_bit,
    spoil,
    varying,
)

SEED = 1957
OFFICE = ReleaseFolder("2024", "comstock_amy2018_release_1")
HOME = ReleaseFolder("2022", "resstock_amy2018_release_1")
BOTH = [OFFICE, HOME]
ALL_SORTS = ReleaseFolder("2022", "resstock_amy2018_release_1.1")
KINDS = {
    **dict.fromkeys(("anywhere", "footer", "stamps", "ids", "paired", "others", "statistic"), 12),
    **dict.fromkeys(("timestamp", "bldg_id"), 3),
    **dict.fromkeys(("kwh", "kwh_per_ft2", "co2e_kg", "c", "kbtu"), 4),
}
"""How many corruptions of each kind a manifest is tried with: regions, keys, units of values."""

Subjects = dict[ReleaseFolder, Subject]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    """An office, whose measures are energies and intensities alone, and a home with all sorts."""
    return {folder: _make_subject(tmp_path_factory, folder) for folder in BOTH}


@pytest.fixture(scope="module")
def all_sorts(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A home with energies, intensities, emissions, temperatures and loads."""
    return _make_subject(tmp_path_factory, ALL_SORTS)


def _make_subject(factory: pytest.TempPathFactory, folder: ReleaseFolder) -> Subject:
    root = factory.mktemp(folder.release)
    write_sample_lake(root / "lake", SampleRequest((folder,), ("CO",), buildings=2))
    path = min(root.glob("**/timeseries_individual_buildings/**/*.parquet"))
    return Subject(path, folder.release, root / "work")


@pytest.fixture
def fates(
    request: pytest.FixtureRequest, record_testsuite_property: Record
) -> Iterator[Counter[Fate]]:
    """Filled by a test; the shares are left in the report of the tests, if there is one."""
    counts: Counter[Fate] = Counter()
    yield counts
    for fate, count in counts.items():
        record_testsuite_property(f"{request.node.name}: {fate.value}", count)


def test_checksum_of_the_listing_finds_every_flipped_bit(subjects: Subjects) -> None:
    chance = random.Random(SEED)
    for subject in subjects.values():
        etag = hashlib.md5(subject.content, usedforsecurity=False).hexdigest()
        require_checksum(subject.content, etag)
        for _ in range(10):
            bit = pick_bit([range(len(subject.content))], chance)
            with pytest.raises(FileFault) as caught:
                require_checksum(flip_bit(subject.content, bit), etag)
            assert caught.value.reason is Reason.CHECKSUM_MISMATCH


def test_manifest_leaves_no_corruption_of_any_kind_that_is_not_detected_or_without_effect(
    all_sorts: Subject, fates: Counter[Fate]
) -> None:
    """Of emissions, temperatures and loads, too, which no rule could have told."""
    chance = random.Random(SEED)
    assert all_sorts.judge(all_sorts.content, has_manifest=True).fate is Fate.HARMLESS
    for kind, count in KINDS.items():
        for _ in range(count):
            content = spoil(all_sorts, kind, chance)
            verdict = all_sorts.judge(content, has_manifest=True)
            fates[verdict.fate] += 1
            if verdict.fate is Fate.HARMLESS:  # a nought times two: no byte differs
                assert content == all_sorts.content, kind
                continue
            assert verdict.fate is Fate.DETECTED, f"{kind}: {verdict.why}"
            assert verdict.why.startswith("checksum_mismatch: "), f"{kind}: {verdict.why}"
            assert all_sorts.last is None, f"{kind}: hours are staged"
    assert fates[Fate.DETECTED] >= 100


@pytest.mark.parametrize(
    ("folder", "region"),
    [(OFFICE, "anywhere"), *product(BOTH, ("footer", "stamps", "ids", "paired"))],
)
def test_flipped_bit_is_detected_or_harmless_or_within_what_the_gate_allows(
    subjects: Subjects, folder: ReleaseFolder, region: str, fates: Counter[Fate]
) -> None:
    """Of names, types, offsets, stamps and ids not one is let through; of energies only digits."""
    subject, chance = subjects[folder], random.Random(f"{SEED}{region}")
    regions = find_regions(subject)[region]
    for _ in range(25):
        bit = pick_bit(regions, chance)
        verdict = subject.judge(flip_bit(subject.content, bit))
        fates[verdict.fate] += 1
        assert verdict.fate is not Fate.UNNOTICED, f"bit {bit}: {verdict.why}"
        assert verdict.fate is not Fate.WITHIN or region in ("paired", "anywhere"), (
            f"bit {bit}: {verdict.why}"
        )


def test_column_whose_name_is_flipped_in_the_footer_is_refused_or_as_before(
    subjects: Subjects, fates: Counter[Fate]
) -> None:
    """A footer tells each name three times; two of them count, and must be the same."""
    subject, name = subjects[OFFICE], b"out.natural_gas.total.energy_consumption"
    start, at = find_regions(subject)["footer"][0].start, 0
    while (at := subject.content.find(name, max(start, at + 1))) >= 0:
        verdict = subject.judge(flip_bit(subject.content, 8 * (at + 7)))
        fates[verdict.fate] += 1
        assert verdict.fate in (Fate.DETECTED, Fate.HARMLESS), verdict.why
    assert fates[Fate.DETECTED] >= 2


@pytest.mark.parametrize("folder", BOTH, ids=["office", "home"])
@pytest.mark.parametrize("kind", VALUE_CHANGES)
def test_changed_value_of_an_energy_or_intensity_is_detected_or_within_what_the_gate_allows(
    subjects: Subjects, folder: ReleaseFolder, kind: str, fates: Counter[Fate]
) -> None:
    subject, chance = subjects[folder], random.Random(f"{SEED}{kind}")
    names = sorted(subject.paired.intersection(varying(subject)))
    for _ in range(6):
        name = chance.choice(names)
        verdict = subject.judge(change_value(subject, name, VALUE_CHANGES[kind], chance))
        fates[verdict.fate] += 1
        assert verdict.fate is not Fate.UNNOTICED, f"{name}: {verdict.why}"
        if kind in ("nan", "infinite"):
            assert verdict.fate is Fate.DETECTED, f"{name}: {verdict.why}"


@pytest.mark.parametrize("folder", BOTH, ids=["office", "home"])
@pytest.mark.parametrize("name", ["timestamp", "bldg_id"])
def test_changed_stamp_or_id_is_detected(
    subjects: Subjects, folder: ReleaseFolder, name: str
) -> None:
    subject, chance = subjects[folder], random.Random(f"{SEED}{name}")
    for _ in range(10):
        verdict = subject.judge(change_key(subject, name, chance))
        assert verdict.fate is Fate.DETECTED, verdict.why


@pytest.mark.parametrize("folder", BOTH, ids=["office", "home"])
def test_changed_statistic_of_the_footer_is_detected_or_harmless(
    subjects: Subjects, folder: ReleaseFolder
) -> None:
    subject, chance = subjects[folder], random.Random(SEED)
    for _ in range(20):
        verdict = subject.judge(change_statistic(subject, chance))
        assert verdict.fate in (Fate.DETECTED, Fate.HARMLESS), verdict.why


@pytest.mark.parametrize("kind", VALUE_CHANGES)
def test_changed_value_of_a_measure_that_nothing_depends_on_is_detected_if_it_is_no_number(
    subjects: Subjects, kind: str, fates: Counter[Fate]
) -> None:
    """All that is promised of emissions, temperatures, loads; the share found is recorded."""
    subject, chance = subjects[HOME], random.Random(f"{SEED}{kind}")
    names = sorted(set(varying(subject)) - subject.paired)
    assert names
    for _ in range(6):
        name = chance.choice(names)
        verdict = subject.judge(change_value(subject, name, VALUE_CHANGES[kind], chance))
        fates[verdict.fate] += 1
        if kind in ("nan", "infinite"):
            assert verdict.fate is Fate.DETECTED, f"{name}: {verdict.why}"


def test_flipped_bit_of_a_measure_that_nothing_depends_on_never_becomes_impossible(
    subjects: Subjects, fates: Counter[Fate]
) -> None:
    """It may go unnoticed: then the hours still lie within what their unit can hold."""
    subject, chance = subjects[HOME], random.Random(SEED)
    regions = find_regions(subject)["others"]
    units = {each.name: each.unit for each in subject.columns}
    for _ in range(40):
        verdict = subject.judge(flip_bit(subject.content, pick_bit(regions, chance)))
        fates[verdict.fate] += 1
        for name, (low, high) in subject.last_bounds().items():
            least, most = POSSIBLE.get(units[name], (low, high))
            assert verdict.fate is Fate.DETECTED or least <= low <= high <= most, name
