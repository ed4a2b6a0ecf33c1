"""Every metadata key of domain sheet §1.2, read and written; and names that only look like one."""

from __future__ import annotations

from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.contracts_metadata import MetadataPattern
from oedi_spark.source import metadata_keys
from oedi_spark.source.metadata_keys import (
    MetadataKey,
    folder_below,
    metadata_key,
    parse_below,
    parse_metadata_key,
    parse_upgrade_word,
    patterns_of_version,
    tree_of,
    upgrade_words,
)

RESULTS = "metadata_and_annual_results"
AGGREGATES = "metadata_and_annual_results_aggregates"
PATTERN = MetadataPattern

PUBLISHED = {
    # 2021
    "metadata/metadata.parquet": MetadataKey(PATTERN.NATIONAL_SINGLE, "metadata"),
    "metadata/metadata.tsv": MetadataKey(PATTERN.NATIONAL_SINGLE, "metadata", extension="tsv"),
    # 2022, 2023, ComStock 2024.1, ResStock 2024.2
    "metadata/baseline.parquet": MetadataKey(PATTERN.NATIONAL_MACHINE, "baseline"),
    "metadata/upgrade01.parquet": MetadataKey(PATTERN.NATIONAL_MACHINE, "upgrade01"),
    f"{RESULTS}/by_state/state=CO/parquet/CO_baseline_metadata_and_annual_results.parquet": (
        MetadataKey(PATTERN.STATE_FIRST, "baseline", state="CO")
    ),
    f"{RESULTS}/by_state/state=CO/csv/CO_upgrade05_metadata_and_annual_results.csv": (
        MetadataKey(PATTERN.STATE_FIRST, "upgrade05", state="CO", extension="csv")
    ),
    f"{RESULTS}/national/parquet/baseline_metadata_and_annual_results.parquet": (
        MetadataKey(PATTERN.NATIONAL_STATE_FIRST, "baseline")
    ),
    f"{RESULTS}/national/csv/upgrade05_metadata_and_annual_results.csv": (
        MetadataKey(PATTERN.NATIONAL_STATE_FIRST, "upgrade05", extension="csv")
    ),
    # ResStock 2024.1
    "metadata/upgrade260.parquet": MetadataKey(PATTERN.NATIONAL_MACHINE, "upgrade260"),
    # ComStock 2024 R2
    f"{RESULTS}/by_state_and_county/full/parquet/state=CO/county=G0800590"
    "/CO_G0800590_baseline.parquet": (
        MetadataKey(PATTERN.COUNTY_FULL, "baseline", state="CO", county="G0800590", detail="full")
    ),
    f"{RESULTS}/by_state_and_county/full/parquet/state=CO/county=G0800590"
    "/CO_G0800590_upgrade29.parquet": (
        MetadataKey(PATTERN.COUNTY_FULL, "upgrade29", state="CO", county="G0800590", detail="full")
    ),
    f"{RESULTS}/by_state_and_county/basic/csv/state=CO/county=G0800590"
    "/CO_G0800590_baseline.csv.gz": MetadataKey(
        PATTERN.COUNTY_FULL,
        "baseline",
        state="CO",
        county="G0800590",
        detail="basic",
        extension="csv.gz",
    ),
    f"{RESULTS}/by_state_and_county/basic/parquet/state=CO/county=G0800590"
    "/CO_G0800590_baseline_basic.parquet": MetadataKey(
        PATTERN.COUNTY_FULL,
        "baseline",
        state="CO",
        county="G0800590",
        detail="basic",
        repeats_basic=True,
    ),
    f"{AGGREGATES}/by_state_and_county/full/parquet/state=CO/county=G0801110"
    "/CO_G0801110_baseline_agg.parquet": (
        MetadataKey(PATTERN.AGG_COUNTY, "baseline", state="CO", county="G0801110", detail="full")
    ),
    f"{AGGREGATES}/by_state_and_county/basic/parquet/state=CO/county=G0801110"
    "/CO_G0801110_baseline_agg_basic.parquet": (
        MetadataKey(PATTERN.AGG_COUNTY, "baseline", state="CO", county="G0801110", detail="basic")
    ),
    f"{AGGREGATES}/by_state/full/csv/state=DC/DC_upgrade07_agg.csv.gz": MetadataKey(
        PATTERN.AGG_STATE, "upgrade07", state="DC", detail="full", extension="csv.gz"
    ),
    f"{AGGREGATES}/national/full/parquet/baseline_agg.parquet": (
        MetadataKey(PATTERN.AGG_NATIONAL, "baseline", detail="full")
    ),
    # ComStock 2025
    f"{RESULTS}/by_state_and_county/full/parquet/state=CO/county=G0800590"
    "/CO_G0800590_upgrade0.parquet": (
        MetadataKey(PATTERN.COUNTY_FULL, "upgrade0", state="CO", county="G0800590", detail="full")
    ),
    f"{AGGREGATES}/by_state_and_puma/full/parquet/state=DC/puma=G11000101"
    "/DC_G11000101_upgrade0_agg.parquet": (
        MetadataKey(PATTERN.AGG_PUMA, "upgrade0", state="DC", puma="G11000101", detail="full")
    ),
    # ResStock 2025
    f"{RESULTS}/by_state/full/parquet/state=CO/CO_upgrade0.parquet": (
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", state="CO", detail="full")
    ),
    f"{RESULTS}/by_state/full/csv/state=CO/CO_upgrade9.csv.gz": MetadataKey(
        PATTERN.STATE_FULL, "upgrade9", state="CO", detail="full", extension="csv.gz"
    ),
    f"{RESULTS}/national/full/parquet/upgrade0.parquet": (
        MetadataKey(PATTERN.NATIONAL_FULL, "upgrade0", detail="full")
    ),
}


@pytest.mark.parametrize(("relative", "key"), PUBLISHED.items())
def test_a_published_key_reads_as_its_fields_and_is_written_from_them(
    relative: str, key: MetadataKey
) -> None:
    assert parse_metadata_key(relative) == key
    assert metadata_key(key) == relative


def test_every_pattern_has_a_published_key() -> None:
    assert {key.pattern for key in PUBLISHED.values()} == set(MetadataPattern)


STATE_PATTERNS = {
    *(PATTERN.STATE_FIRST, PATTERN.STATE_FULL, PATTERN.COUNTY_FULL),
    *(PATTERN.AGG_STATE, PATTERN.AGG_COUNTY, PATTERN.AGG_PUMA),
}
WITHOUT_DETAIL = {
    *(PATTERN.NATIONAL_SINGLE, PATTERN.NATIONAL_MACHINE),
    *(PATTERN.STATE_FIRST, PATTERN.NATIONAL_STATE_FIRST),
}
TABLES = {PATTERN.NATIONAL_SINGLE, PATTERN.NATIONAL_MACHINE}
TABLE_EXTENSIONS = ("parquet", "tsv", "csv", "csv.gz")
RESULTS_EXTENSIONS = ("parquet", "csv", "csv.gz")
SPELLINGS = st.one_of(
    st.just("baseline"),
    st.integers(0, 9999).map(lambda upgrade: f"upgrade{upgrade}"),
    st.integers(0, 9).map(lambda upgrade: f"upgrade0{upgrade}"),
)


def _digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


@st.composite
def _keys(draw: st.DrawFn) -> MetadataKey:
    pattern = draw(st.sampled_from(MetadataPattern))
    detail = None if pattern in WITHOUT_DETAIL else draw(st.sampled_from(["full", "basic"]))
    may_repeat = detail == "basic" and not pattern.startswith("agg")
    single = pattern is PATTERN.NATIONAL_SINGLE
    has_county = pattern in (PATTERN.COUNTY_FULL, PATTERN.AGG_COUNTY)
    return MetadataKey(
        pattern=pattern,
        upgrade_word="metadata" if single else draw(SPELLINGS),
        state=draw(st.text(ascii_uppercase, min_size=2, max_size=2))
        if pattern in STATE_PATTERNS
        else None,
        county="G" + draw(_digits(7)) if has_county else None,
        puma="G" + draw(_digits(8)) if pattern is PATTERN.AGG_PUMA else None,
        detail=detail,
        extension=draw(
            st.sampled_from(TABLE_EXTENSIONS if pattern in TABLES else RESULTS_EXTENSIONS)
        ),
        repeats_basic=draw(st.booleans()) if may_repeat else False,
    )


def _written_out(key: MetadataKey) -> str:
    """The key, put together once more without a template."""
    folder = key.extension.split(".")[0]
    aggregate = key.pattern.startswith("agg")
    suffix = "_agg" if aggregate else ""
    if key.detail == "basic" and (aggregate or key.repeats_basic):
        suffix += "_basic"
    if key.pattern in (PATTERN.STATE_FIRST, PATTERN.NATIONAL_STATE_FIRST):
        suffix = "_metadata_and_annual_results"
    place = [each for each in (key.state, key.county, key.puma) if each]
    name = "_".join([*place, key.upgrade_word]) + suffix + "." + key.extension
    if key.pattern in TABLES:
        return f"metadata/{name}"
    scope = "by_state" if key.state else "national"
    scope += "_and_county" if key.county else "_and_puma" if key.puma else ""
    state = [f"state={key.state}"] if key.state else []
    path = [AGGREGATES if aggregate else RESULTS, scope]
    path += [*state, folder] if key.detail is None else [key.detail, folder, *state]
    path += [f"county={key.county}"] if key.county else [f"puma={key.puma}"] if key.puma else []
    return "/".join([*path, name])


@given(_keys())
def test_fields_become_a_key_that_reads_as_the_same_fields(key: MetadataKey) -> None:
    relative = metadata_key(key)

    assert relative == _written_out(key)
    assert parse_metadata_key(relative) == key


@given(_keys())
def test_a_key_becomes_fields_that_write_the_same_key(key: MetadataKey) -> None:
    relative = _written_out(key)
    parsed = parse_metadata_key(relative)

    assert parsed is not None
    assert metadata_key(parsed) == relative


@given(_keys(), st.data())
def test_a_key_with_one_character_changed_is_never_read_as_the_same(
    key: MetadataKey, data: st.DataObject
) -> None:
    relative = _written_out(key)
    place = data.draw(st.integers(0, len(relative) - 1))
    put = data.draw(st.sampled_from("aZ09_-=./ \n%"))
    changed = relative[:place] + put + relative[place + 1 :]
    parsed = parse_metadata_key(changed)

    assert changed == relative or parsed != key
    assert parsed is None or metadata_key(parsed) == changed


@given(_keys())
def test_below_its_tree_a_key_fits_its_own_pattern_and_no_other_of_the_same_root(
    key: MetadataKey,
) -> None:
    rest = _written_out(key).partition("/")[2]
    others = [each for each in MetadataPattern if each is not key.pattern]

    assert parse_below((key.pattern,), rest) == key
    assert parse_below(others, rest) is None
    assert parse_below([], rest) is None


COUNTY = f"{RESULTS}/by_state_and_county/full/parquet/state=CO/county=G0800590"
SHORT = "state=CO/county=G080059"
PUMA = "state=DC/puma=G11000101"


@pytest.mark.parametrize(
    "relative",
    [
        f"{COUNTY}/AK_G0800590_baseline.parquet",
        f"{COUNTY}/CO_G0800591_baseline.parquet",
        f"{COUNTY}/co_g0800590_baseline.parquet",
        f"{COUNTY}/CO_G0800590_baseline_agg.parquet",
        f"{COUNTY}/CO_G0800590_baseline_basic.parquet",
        f"{COUNTY}/CO_G0800590_baseline.csv",
        f"{COUNTY}/CO_G0800590_baseline.parquet.gz",
        f"{COUNTY}/CO_G0800590_baseline.parquet\n",
        f"{COUNTY}/../CO_G0800590_baseline.parquet",
        f"{COUNTY}/CO_G0800590_Baseline.parquet",
        f"{COUNTY}/CO_G0800590_upgrade.parquet",
        f"{COUNTY}/CO_G0800590_upgrade005.parquet",
        f"{COUNTY}/CO_G0800590_upgrade-5.parquet",
        f"{COUNTY}/CO_G0800590_up05.parquet",
        f"{COUNTY}/CO_G0800590_upgrade٥.parquet",
        f"/{COUNTY}/CO_G0800590_baseline.parquet",
        f"2025/{COUNTY}/CO_G0800590_baseline.parquet",
        f"{RESULTS}/by_state/state=co/parquet/co_baseline_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=CO/parquet/AK_baseline_metadata_and_annual_results.parquet",
        f"{RESULTS}/by_state/state=CO/parquet/CO_baseline.parquet",
        f"{RESULTS}/by_state/state=CO/parquet/CO_baseline_metadata_and_annual_results.csv",
        f"{RESULTS}/by_state/full/parquet/state=CO/CO_metadata.parquet",
        f"{RESULTS}/by_state/medium/parquet/state=CO/CO_upgrade0.parquet",
        f"{RESULTS}/by_state/full/csv/state=CO/CO_upgrade0.parquet",
        f"{RESULTS}/national/full/parquet/upgrade0_agg.parquet",
        f"{RESULTS}/by_state_and_puma/full/parquet/{PUMA}/DC_G11000101_upgrade0.parquet",
        f"{AGGREGATES}/by_state/full/parquet/state=CO/CO_upgrade0.parquet",
        f"{AGGREGATES}/by_state/full/parquet/state=CO/CO_upgrade0_agg_basic.parquet",
        f"{AGGREGATES}/by_state/basic/parquet/state=CO/CO_upgrade0_agg.parquet",
        f"{AGGREGATES}/by_state_and_puma/full/parquet/{PUMA}/DC_G1100010_upgrade0_agg.parquet",
        "metadata/metadata.parquet/metadata.parquet",
        "metadata/metadata_and_annual_results.parquet",
        "metadata/CO_baseline.parquet",
        "metadata/upgrade01_metadata.parquet",
        "metadata/baseline.json",
        "metadata/baseline_parquet",
        f"{RESULTS}/by_state_and_county/full/parquet/{SHORT}/CO_G080059_baseline.parquet",
        "metadata",
        "metadata/",
        "",
        "timeseries_individual_buildings/by_state/upgrade=0/state=CO/1-0.parquet",
    ],
)
def test_a_name_that_is_not_exactly_a_key_means_nothing(relative: str) -> None:
    assert parse_metadata_key(relative) is None


@pytest.mark.parametrize(
    "key",
    [
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", detail="full"),
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", state="CO"),
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", state="../..", detail="full"),
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", state="CO", detail="other"),
        MetadataKey(PATTERN.STATE_FULL, "upgrade0", state="CO", detail="full", repeats_basic=True),
        MetadataKey(PATTERN.AGG_STATE, "upgrade0", state="CO", detail="basic", repeats_basic=True),
        MetadataKey(PATTERN.STATE_FIRST, "upgrade0", state="CO", extension="tsv"),
        MetadataKey(PATTERN.STATE_FIRST, "upgrade005", state="CO"),
        MetadataKey(PATTERN.NATIONAL_SINGLE, "upgrade01"),
        MetadataKey(PATTERN.NATIONAL_MACHINE, "metadata"),
        MetadataKey(PATTERN.NATIONAL_MACHINE, "baseline", state="CO"),
    ],
)
def test_fields_that_make_no_key_of_the_pattern_are_refused(key: MetadataKey) -> None:
    with pytest.raises(ValueError, match="no metadata key"):
        metadata_key(key)


@pytest.mark.parametrize(
    ("word", "upgrade"),
    [
        *(("baseline", 0), ("upgrade0", 0), ("upgrade00", 0), ("upgrade5", 5), ("upgrade05", 5)),
        *(("upgrade10", 10), ("upgrade260", 260), ("upgrade9999", 9999)),
        *(("upgrade000", None), ("upgrade010", None), ("upgrade10000", None), ("upgrade", None)),
        *(("Baseline", None), ("metadata", None), ("upgrade=5", None), ("5", None), ("", None)),
        *(("upgrade5\n", None), ("upgrade٥", None), ("upgrade 5", None)),
    ],
)
def test_parse_upgrade_word(word: str, upgrade: int | None) -> None:
    assert parse_upgrade_word(word) == upgrade


@pytest.mark.parametrize(
    ("upgrade", "words"),
    [
        (0, ("baseline", "upgrade0", "upgrade00")),
        (5, ("upgrade05", "upgrade5")),
        (10, ("upgrade10",)),
        (260, ("upgrade260",)),
    ],
)
def test_upgrade_words(upgrade: int, words: tuple[str, ...]) -> None:
    assert upgrade_words(upgrade) == words


def test_a_key_says_its_upgrade_whatever_its_spelling() -> None:
    assert MetadataKey(PATTERN.NATIONAL_SINGLE, "metadata").upgrade == 0
    assert MetadataKey(PATTERN.NATIONAL_MACHINE, "baseline").upgrade == 0
    assert MetadataKey(PATTERN.NATIONAL_MACHINE, "upgrade05").upgrade == 5
    with pytest.raises(ValueError, match="names no upgrade"):
        _ = MetadataKey(PATTERN.NATIONAL_MACHINE, "upgrade005").upgrade


@pytest.mark.parametrize(
    ("pattern", "detail", "folder"),
    [
        (PATTERN.NATIONAL_SINGLE, None, ""),
        (PATTERN.NATIONAL_MACHINE, "full", ""),
        (PATTERN.STATE_FIRST, None, "by_state/state=CO/parquet"),
        (PATTERN.NATIONAL_STATE_FIRST, None, "national/parquet"),
        (PATTERN.STATE_FULL, "full", "by_state/full/parquet/state=CO"),
        (PATTERN.NATIONAL_FULL, "basic", "national/basic/parquet"),
        (PATTERN.COUNTY_FULL, "full", "by_state_and_county/full/parquet/state=CO"),
        (PATTERN.AGG_NATIONAL, "full", "national/full/parquet"),
        (PATTERN.AGG_STATE, "basic", "by_state/basic/parquet/state=CO"),
        (PATTERN.AGG_COUNTY, "full", "by_state_and_county/full/parquet/state=CO"),
        (PATTERN.AGG_PUMA, "full", "by_state_and_puma/full/parquet/state=CO"),
    ],
)
def test_folder_below_of_a_state(pattern: MetadataPattern, detail: str | None, folder: str) -> None:
    assert folder_below(pattern, state="CO", detail=detail) == folder


def test_folder_below_goes_as_deep_as_it_is_told() -> None:
    assert folder_below(PATTERN.STATE_FULL, detail="full") == "by_state/full/parquet"
    assert folder_below(PATTERN.STATE_FULL, state="CO") == "by_state"
    assert folder_below(PATTERN.STATE_FIRST) == "by_state"


@pytest.mark.parametrize(("state", "detail"), [("..", "full"), ("co", "full"), ("CO", "..")])
def test_folder_below_takes_no_other_words(state: str, detail: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        folder_below(PATTERN.STATE_FULL, state=state, detail=detail)


def test_tree_of_every_pattern() -> None:
    assert {each: tree_of(each) for each in MetadataPattern} == {
        PATTERN.NATIONAL_SINGLE: "metadata",
        PATTERN.NATIONAL_MACHINE: "metadata",
        PATTERN.NATIONAL_STATE_FIRST: RESULTS,
        PATTERN.NATIONAL_FULL: RESULTS,
        PATTERN.STATE_FIRST: RESULTS,
        PATTERN.STATE_FULL: RESULTS,
        PATTERN.COUNTY_FULL: RESULTS,
        PATTERN.AGG_NATIONAL: AGGREGATES,
        PATTERN.AGG_STATE: AGGREGATES,
        PATTERN.AGG_COUNTY: AGGREGATES,
        PATTERN.AGG_PUMA: AGGREGATES,
    }
    assert metadata_keys.TREES == ("metadata", RESULTS, AGGREGATES)


@pytest.mark.parametrize(
    ("version", "with_counties", "patterns"),
    [
        (1, False, (PATTERN.STATE_FIRST, PATTERN.STATE_FULL)),
        (2, False, (PATTERN.STATE_FULL, PATTERN.STATE_FIRST)),
        (2, True, (PATTERN.COUNTY_FULL, PATTERN.AGG_COUNTY)),
        (3, False, (PATTERN.AGG_STATE,)),
    ],
)
def test_patterns_of_version(
    version: int, with_counties: bool, patterns: tuple[MetadataPattern, ...]
) -> None:
    assert patterns_of_version(version, with_counties=with_counties) == patterns


def test_patterns_of_version_knows_three() -> None:
    with pytest.raises(ValueError, match="no metadata version 4"):
        patterns_of_version(4, with_counties=False)
