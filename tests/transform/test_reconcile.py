"""Series against published results: how far they may be apart, and every rule that tells it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    Partition,
    Reason,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.contracts_metadata import MetadataFile, MetadataPattern, WeightModel
from oedi_spark.errors import FileFault
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.source.errata import Erratum
from oedi_spark.source.storage import SourceLocation
from oedi_spark.transform.accounts import open_accounts
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.claims import BuildingJudge, Figures, settle_breaches
from oedi_spark.transform.columns import describe_columns
from oedi_spark.transform.metadata import read_metadata
from oedi_spark.transform.published import PublishedCollector, write_published
from oedi_spark.transform.published_results import PublishedBuilding
from oedi_spark.transform.published_rules import PUBLISHED_RULES
from oedi_spark.transform.reconcile import TYPE_INTENSITY, Reconciler
from oedi_spark.transform.rules import RuleBook, build_rule_book

PARTITION = Partition("2024_comstock_amy2018_release_1", "GA", 0)
NAMES = (
    "out.electricity.cooling.energy_consumption",
    "out.electricity.fans.energy_consumption",
    "out.electricity.total.energy_consumption",
    "out.natural_gas.total.energy_consumption",
    "out.site_energy.total.energy_consumption",
    "out.emissions.natural_gas..co2e_kg",
)
COOLING, FANS, ELECTRICITY, GAS, SITE, EMISSIONS = (each.name for each in describe_columns(NAMES))
HVAC = "enduse_group_electricity_hvac_energy_consumption_kwh"
SITE_HVAC = "enduse_group_site_energy_hvac_energy_consumption_kwh"
MEASURES = (ELECTRICITY, GAS, SITE, EMISSIONS, HVAC)

# The office of Georgia, 98542: sums of its real series, and what is published of it.
SUMS = (17116.070664, 8613.133244, 58029.240467, 19849.354368, 77878.594835, 3595.123)
PUBLISHED = (58030.540, 19836.104, 77866.677, 3600.0, 25730.568)
OFFICE = PublishedBuilding("SmallOffice", 7500.0, np.array(PUBLISHED), np.full(5, 0.0168))


def figures_of(
    totals: Sequence[float] = SUMS, *, absent: Sequence[int] = (), **changes: object
) -> Figures:
    found = Figures(
        hour_count=8760,
        totals=[math.nan if at in absent else total for at, total in enumerate(totals)],
        interval_totals=dict(enumerate(totals)),
        lows=[0.0] * len(totals),
        highs=[10.0] * len(totals),
        gaps=[],
        area_ft2=math.nan,
        absent=frozenset(absent),
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # of many types


def sums_with(**changed: float) -> list[float]:
    """The office's sums, some of them others; by the last word but one of their names."""
    places = {"cooling": 0, "fans": 1, "electricity": 2, "gas": 3, "site": 4, "emissions": 5}
    totals = list(SUMS)
    for name, value in changed.items():
        totals[places[name]] = value
    return totals


def judge(
    figures: Figures,
    building: PublishedBuilding = OFFICE,
    *,
    area_ft2: float = 7500.0,
    book: RuleBook | None = None,
    errata: Sequence[Erratum] = (),
    measures: Sequence[str] = MEASURES,
) -> dict[str, str]:
    columns: Sequence[Column] = describe_columns(NAMES)
    reconciler = Reconciler(columns, measures, book or RuleBook(), errata)
    return {each.rule.name: each.detail for each in reconciler.judge(figures, building, area_ft2)}


HVAC_OFF = replace(OFFICE, years=np.array([*PUBLISHED[:4], np.nan]))
"""The same without the end uses, which a change of one of them would not leave alone."""


def test_the_real_figures_of_an_office_agree_although_rounded_and_in_another_btu() -> None:
    """1.3 kWh (0.01 GJ) of electricity; 13.25 kWh of gas: 0.0668 %, the thermochemical Btu."""
    totals = sums_with(cooling=17117.0, fans=8612.8)

    assert judge(figures_of(totals)) == {}


@pytest.mark.parametrize(
    ("totals", "is_told"),
    [
        (sums_with(electricity=58030.54 + 59.4), False),  # 0.1 % and 1.4654 kWh and 0.0168
        (sums_with(electricity=58030.54 + 59.6), True),
        (sums_with(electricity=58030.54 - 59.6), True),
        (sums_with(gas=19836.104 + 21.2), False),
        (sums_with(gas=19836.104 + 21.4), True),
        (sums_with(gas=0.0), True),
        (sums_with(gas=-19849.0), True),
    ],
)
def test_a_year_beyond_its_rounding_breaks_sums_agree_with_published(
    totals: list[float], is_told: bool
) -> None:
    found = judge(figures_of(totals), HVAC_OFF)

    assert list(found) == (["sums_agree_with_published"] if is_told else [])


def test_a_disagreement_names_the_column_both_sums_and_how_many_more() -> None:
    found = judge(figures_of(sums_with(electricity=60000.123, gas=21000.0)), HVAC_OFF)

    assert found == {
        "sums_agree_with_published": (
            "out.electricity.total.energy_consumption: hours sum to 60000.123 kWh, published are "
            "58030.54 kWh, within 59.5; and 1 more"
        )
    }


@pytest.mark.parametrize("factor", [4.0, 0.25, 3.412142, 1 / 3.412142, 11.642713, 1 / 11.642713])
def test_a_year_in_another_unit_breaks_published_scale_is_one(factor: float) -> None:
    found = judge(figures_of(sums_with(electricity=58030.54 * factor)), HVAC_OFF)

    assert list(found) == ["published_scale_is_one"]
    assert f"{factor:.4g} times: " in found["published_scale_is_one"]


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.5, 8.0, 0.5])
def test_a_year_of_any_other_ratio_is_no_matter_of_scale(factor: float) -> None:
    found = judge(figures_of(sums_with(electricity=58030.54 * factor)), HVAC_OFF)

    assert list(found) == ["sums_agree_with_published"]


def test_a_small_year_is_not_asked_for_its_scale() -> None:
    little = replace(OFFICE, years=np.array([58030.54, 20.0, *PUBLISHED[2:4], np.nan]))

    found = judge(figures_of(sums_with(gas=80.0)), little)

    assert list(found) == ["sums_agree_with_published"]


def test_end_uses_that_are_published_together_are_added_up() -> None:
    """Cooling and fans: 25,729.2 kWh of 25,730.6 published."""
    assert judge(figures_of(), measures=MEASURES) == {}

    found = judge(figures_of(sums_with(cooling=16116.07)))

    assert list(found) == ["sums_agree_with_published"]
    assert found["sums_agree_with_published"].startswith(f"{HVAC}: hours sum to 24729.2")


@pytest.mark.parametrize("factor", [4.0, 3.412142, 0.25])
def test_a_group_of_end_uses_is_of_no_scale(factor: float) -> None:
    """Which end uses make a group is no publisher's word: another ratio of it proves no unit."""
    years = np.array([25730.568 * factor])
    building = replace(OFFICE, years=years, roundings=np.zeros(1))

    assert list(judge(figures_of(), building, measures=(HVAC,))) == ["sums_agree_with_published"]


def test_end_uses_of_every_fuel_add_up_to_those_of_site_energy() -> None:
    years = np.array([25730.568])
    building = replace(OFFICE, years=years, roundings=np.zeros(1))

    assert judge(figures_of(), building, measures=(SITE_HVAC,)) == {}
    assert judge(figures_of(sums_with(fans=0.0)), building, measures=(SITE_HVAC,)) != {}


def test_an_end_use_that_the_file_has_no_values_of_counts_as_none_in_a_group() -> None:
    years = np.array([17116.07])
    building = replace(OFFICE, years=years, roundings=np.zeros(1))

    assert judge(figures_of(absent=[1]), building, measures=(HVAC,)) == {}
    more = replace(building, years=np.array([25730.568]))
    assert judge(figures_of(absent=[1]), more, measures=(HVAC,)) != {}
    assert judge(figures_of(absent=[0, 1]), more, measures=(HVAC,)) == {}


@pytest.mark.parametrize(("kwh", "is_told"), [(26.4, False), (26.6, True), (13.4, True)])
def test_what_the_published_figure_does_not_show_is_allowed(kwh: float, is_told: bool) -> None:
    """20 kWh give or take 5: with 0.1 % and 1.4654 kWh that is 6.4854."""
    building = replace(OFFICE, years=np.array([20.0]), roundings=np.array([5.0]))

    assert bool(judge(figures_of(sums_with(gas=kwh)), building, measures=(GAS,))) is is_told


@pytest.mark.parametrize(
    "figures",
    [
        figures_of(sums_with(electricity=math.nan)),  # an hour lacks a value
        figures_of(sums_with(electricity=1.0), absent=[2]),  # no hour has one
    ],
)
def test_a_year_that_is_not_whole_is_not_held_against_anything(figures: Figures) -> None:
    assert judge(figures, HVAC_OFF) == {}


def test_a_result_that_is_not_published_is_not_held_against_anything() -> None:
    nothing = replace(OFFICE, years=np.full(5, np.nan), roundings=np.full(5, np.nan))

    assert judge(figures_of(sums_with(electricity=1.0, gas=2.0)), nothing) == {}


def test_quarter_hours_with_three_decimals_may_lose_half_of_the_third_each() -> None:
    """A fan of 0.0025 kWh is 0.002 in each: 70 kWh a year where 87.6 are published."""
    rounded = sums_with(cooling=4305.274, fans=70.08, electricity=5468.044, gas=0, site=5468.044)
    years = np.array([87.6])
    building = replace(OFFICE, years=years, roundings=np.zeros(1), floor_area_ft2=None)
    fan = (FANS,)

    assert judge(figures_of(rounded), building, measures=fan) == {}
    unrounded = [each + 0.0001234 for each in rounded]
    assert list(judge(figures_of(unrounded), building, measures=fan)) == [
        "sums_agree_with_published"
    ]
    # One of 0.0004 kWh is 0 in each: 14 kWh a year of which nothing is left.
    gone = [*rounded[:1], 0.0, *rounded[2:]]
    small = replace(building, years=np.array([14.0]))
    assert judge(figures_of(gone), small, measures=fan) == {}
    assert list(judge(figures_of([each * 1.00001 for each in gone]), small, measures=fan)) == [
        "sums_agree_with_published"
    ]
    # 17.52 kWh, 0.1 % and 1.4654 kWh: no more than that.
    lost = replace(building, years=np.array([89.3]))
    assert list(judge(figures_of(rounded), lost, measures=fan)) == ["sums_agree_with_published"]


def test_other_results_that_differ_break_a_rule_of_their_own() -> None:
    assert judge(figures_of(sums_with(emissions=3565.0)), HVAC_OFF) == {}

    found = judge(figures_of(sums_with(emissions=3560.0)), HVAC_OFF)

    assert found == {
        "other_results_agree_with_published": (
            "out.emissions.natural_gas..co2e_kg: hours sum to 3560, published are 3600"
        )
    }


@pytest.mark.parametrize(("area_ft2", "is_told"), [(7507.0, False), (7508.0, True), (30000, True)])
def test_another_floor_area_breaks_floor_area_is_as_published(
    area_ft2: float, is_told: bool
) -> None:
    found = judge(figures_of(), area_ft2=area_ft2)

    assert list(found) == (["floor_area_is_as_published"] if is_told else [])


def test_a_floor_area_that_nobody_knows_is_not_compared() -> None:
    assert judge(figures_of(), area_ft2=math.nan) == {}
    assert judge(figures_of(), replace(OFFICE, floor_area_ft2=None), area_ft2=30000.0) == {}


@pytest.mark.parametrize(
    ("building_type", "is_told"),
    [
        ("SmallOffice", False),  # 10.4 kWh per ft² and year
        ("FullServiceRestaurant", False),
        ("Rhubarb", False),
        (None, False),
    ],
)
def test_an_intensity_within_the_range_of_the_type_breaks_nothing(
    building_type: str | None, is_told: bool
) -> None:
    assert bool(judge(figures_of(), replace(OFFICE, building_type=building_type))) is is_told


def test_an_intensity_beyond_the_range_of_the_type_breaks_its_rule() -> None:
    """77,879 kWh on 100,000 ft² are too little for a restaurant, and 779 on 100 for an office."""
    big = replace(OFFICE, floor_area_ft2=100_000.0, building_type="QuickServiceRestaurant")
    small = replace(OFFICE, floor_area_ft2=100.0)

    assert judge(figures_of(), big, area_ft2=1e5) == {
        "intensity_fits_building_type": (
            "site energy is 0.7788 kWh per ft² and year, a QuickServiceRestaurant has 10 to 600"
        )
    }
    assert list(judge(figures_of(), small, area_ft2=100)) == ["intensity_fits_building_type"]
    eased = build_rule_book({"intensity_fits_building_type": {"threshold": 20.0}})
    assert judge(figures_of(), big, area_ft2=1e5, book=eased) == {}


ERRATUM = Erratum(
    id="gas_is_wrong",
    releases=(),
    concerns="results",
    what="Gas is wrong.",
    source="here",
    building_types=frozenset({"SmallOffice"}),
    measures=(re.compile("out_natural_gas_.*"),),
    excuses=frozenset({"sums_agree_with_published"}),
)


def test_a_disagreement_that_is_known_is_told_as_a_known_erratum() -> None:
    found = judge(figures_of(sums_with(gas=21000.0)), HVAC_OFF, errata=[ERRATUM])

    assert list(found) == ["known_erratum"]
    assert found["known_erratum"].startswith(
        "gas_is_wrong: out.natural_gas.total.energy_consumption: hours sum to 21000 kWh"
    )


@pytest.mark.parametrize(
    ("totals", "building_type", "rules_broken"),
    [
        (
            sums_with(gas=21000.0, electricity=60000.0),
            "SmallOffice",
            ["sums_agree_with_published", "known_erratum"],
        ),
        (sums_with(gas=21000.0), "Hospital", ["sums_agree_with_published"]),
        (sums_with(gas=21000.0), None, ["sums_agree_with_published"]),
        (sums_with(gas=19836.104 * 4), "SmallOffice", ["published_scale_is_one"]),
        (SUMS, "SmallOffice", []),
    ],
)
def test_an_erratum_excuses_nothing_beyond_its_scope(
    totals: list[float], building_type: str | None, rules_broken: list[str]
) -> None:
    building = replace(HVAC_OFF, building_type=building_type)

    assert list(judge(figures_of(totals), building, errata=[ERRATUM])) == rules_broken


PUBLISHED_FIRES: dict[str, tuple[list[float], PublishedBuilding, float, tuple[Erratum, ...]]] = {
    "floor_area_is_as_published": (list(SUMS), HVAC_OFF, 7508.0, ()),
    "published_scale_is_one": (sums_with(electricity=4 * 58030.54), HVAC_OFF, 7500.0, ()),
    "sums_agree_with_published": (sums_with(electricity=58090.2), HVAC_OFF, 7500.0, ()),
    "other_results_agree_with_published": (sums_with(emissions=3560.0), HVAC_OFF, 7500.0, ()),
    "intensity_fits_building_type": (
        list(SUMS),
        replace(HVAC_OFF, floor_area_ft2=100.0),
        100.0,
        (),
    ),
    "known_erratum": (sums_with(gas=21000.0), HVAC_OFF, 7500.0, (ERRATUM,)),
}


@pytest.mark.parametrize("rule", PUBLISHED_FIRES)
def test_a_rule_of_published_results_fires_alone_and_not_of_the_real_office(rule: str) -> None:
    totals, building, area_ft2, errata = PUBLISHED_FIRES[rule]
    reconciler = Reconciler(describe_columns(NAMES), MEASURES, RuleBook(), errata)

    assert list(judge(figures_of(totals), building, area_ft2=area_ft2, errata=errata)) == [rule]
    assert judge(figures_of(), OFFICE, errata=errata) == {}
    assert rule in reconciler.asked(OFFICE)


@pytest.mark.parametrize("rule", [rule.name for rule in PUBLISHED_RULES])
def test_a_rule_that_is_off_is_neither_asked_nor_told(rule: str) -> None:
    book = build_rule_book({rule: {"severity": "off"}})
    wrong = figures_of(sums_with(electricity=58030.54 * 4, gas=30000.0, emissions=1.0))
    building = replace(HVAC_OFF, floor_area_ft2=1.0)

    found = judge(wrong, building, area_ft2=2.0, book=book, errata=[ERRATUM])

    assert rule not in found
    every = judge(wrong, building, area_ft2=2.0, errata=[ERRATUM])
    assert set(every) - {rule} <= set(found) | {rule}
    reconciler = Reconciler(describe_columns(NAMES), MEASURES, book)
    assert rule not in reconciler.asked(OFFICE)
    assert set(Reconciler(describe_columns(NAMES), MEASURES, RuleBook()).asked(OFFICE)) == {
        each.name for each in PUBLISHED_RULES
    }


def test_what_cannot_be_asked_is_not_counted() -> None:
    energies = Reconciler(describe_columns(NAMES[:5]), MEASURES, RuleBook())
    unknown = replace(OFFICE, floor_area_ft2=None, building_type=None)

    assert "other_results_agree_with_published" not in energies.asked(OFFICE)
    assert energies.asked(unknown) == (
        "published_scale_is_one",
        "sums_agree_with_published",
        "known_erratum",
    )
    assert energies.asked(None) == ()
    assert Reconciler(describe_columns(NAMES), (), RuleBook()).asked(OFFICE) == ()
    excused = Reconciler(describe_columns(NAMES), (), RuleBook(), [ERRATUM])
    assert excused.asked(None) == ("known_erratum",)


def test_an_erratum_excuses_a_blocking_rule_of_the_hours_too() -> None:
    columns = describe_columns(NAMES)
    gate = BuildingJudge(open_accounts(columns), RuleBook(), PARTITION.release)
    figures = figures_of(lows=[-5.0, *[0.0] * 5], gaps=[0.0] * len(gate.accounts.balances))
    known = replace(
        ERRATUM, measures=None, building_types=None, excuses=frozenset({"energy_is_not_negative"})
    )
    excused = Reconciler(columns, (), RuleBook(), [known]).evidence(None)

    findings = settle_breaches(gate, figures, RuleBook(), 3, excused)

    assert [(each.ordinal, each.rule) for each in findings] == [(3, "known_erratum")]
    assert findings[0].detail.startswith("gas_is_wrong: energy_is_not_negative: out.electricity.")
    with pytest.raises(FileFault, match="energy_is_not_negative"):
        settle_breaches(gate, figures, RuleBook(), 3)
    strict = build_rule_book({"known_erratum": {"severity": "block"}})
    with pytest.raises(FileFault) as fault:
        settle_breaches(gate, figures, strict, 3, excused)
    assert fault.value.reason is Reason.KNOWN_ERRATUM


# The real office, through the task that every file goes through.

Damage = dict[str, float]


@pytest.fixture
def office(real_lake: Path, tmp_path: Path) -> Batch:
    """The baseline of 98542 (upgrade 19 is a copy of it), and its published results waiting."""
    (path,) = real_lake.rglob("GA_baseline_metadata_and_annual_results.parquet")
    (rows,) = read_metadata(
        path.read_bytes(),
        MetadataFile(0, str(path), MetadataPattern.STATE_FIRST, 0, "GA", None, 0, None, ""),
        release=PARTITION.release,
        weight_model=WeightModel.BUILDING,
        states=["GA"],
    )
    collector = PublishedCollector(PARTITION)
    collector.add(rows)
    uri = (tmp_path / "published.parquet").as_uri()
    write_published(collector.finish()[0], uri)
    (source,) = real_lake.rglob("98542-19.parquet")
    copy = tmp_path / "lake" / "98542-0.parquet"
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    names = [name for name in pq.read_schema(copy).names if name.startswith("out.")]
    fields = [*KEY_COLUMNS, *(each.name for each in describe_columns(tuple(names)))]
    return Batch(
        number=0,
        partition=PARTITION,
        facts=ReleaseFacts(PARTITION.release, None, None),
        files=(SourceFile(0, copy.name, 98542, copy.stat().st_size, None, ""),),
        field_ids={name: at for at, name in enumerate(fields, 1)},
        published_uri=uri,
    )


def run(batch: Batch, folder: Path, scales: dict[str, float], book: RuleBook) -> BatchResult:
    """The office with some of its columns multiplied."""
    path = folder / "lake" / batch.files[0].key
    table = pq.ParquetFile(path).read()
    for name, factor in scales.items():
        for at, column in enumerate(table.column_names):
            if column.startswith(name):
                scaled = pc.multiply(table[column], pa.scalar(factor))
                table = table.set_column(at, column, scaled)
    pq.write_table(table, path)
    file = replace(batch.files[0], size_bytes=path.stat().st_size)
    settings = TaskSettings(
        location=SourceLocation(str(path.parent), is_local=True),
        data_uri=(folder / "staged").as_uri(),
        run_id="r",
        row_group_buildings=2,
        read_ahead_files=1,
        strict_columns=False,
        rules=book,
    )
    return run_batch(replace(batch, files=(file,)), settings, lambda _ordinal, _seen: None)


@pytest.mark.real_lake
def test_the_real_office_agrees_with_every_published_result(office: Batch, tmp_path: Path) -> None:
    result = run(office, tmp_path, {}, RuleBook())

    assert (result.outcomes, result.findings) == ((), ())
    asked = {name: count for name, count in result.judged.items() if "published" in name}
    assert asked == {
        "floor_area_is_as_published": 1,
        "published_scale_is_one": 1,
        "sums_agree_with_published": 1,
    }
    assert "intensity_fits_building_type" in result.judged


@pytest.mark.real_lake
def test_the_real_office_does_not_agree_at_a_tenth_of_the_tolerance(
    office: Batch, tmp_path: Path
) -> None:
    """Gas is 0.0668 % above what is published: the tolerance is no wider than it has to be."""
    tight = build_rule_book({"sums_agree_with_published": {"threshold": 0.0001}})

    (outcome,) = run(office, tmp_path, {}, tight).outcomes

    assert outcome.reason is Reason.SUMS_AGREE_WITH_PUBLISHED
    assert "out.natural_gas.total.energy_consumption: hours sum to 19849.354" in outcome.detail


@pytest.mark.real_lake
@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (4.0, Reason.PUBLISHED_SCALE_IS_ONE),
        (0.25, Reason.PUBLISHED_SCALE_IS_ONE),
        (0.2930710701722222, Reason.PUBLISHED_SCALE_IS_ONE),
        (1.01, Reason.SUMS_AGREE_WITH_PUBLISHED),
    ],
)
def test_the_real_office_with_every_energy_and_intensity_scaled_is_seen_by_nothing_else(
    office: Batch, tmp_path: Path, factor: float, reason: Reason
) -> None:
    (outcome,) = run(office, tmp_path, {"out.": factor}, RuleBook()).outcomes
    unpublished = run(replace(office, published_uri=None), tmp_path, {}, RuleBook())

    assert outcome.reason is reason
    assert (unpublished.outcomes, len(unpublished.staged)) == ((), 1)


@pytest.mark.real_lake
@pytest.mark.parametrize(("fuel", "count"), [("electricity", 82), ("natural_gas", 39)])
def test_real_results_are_whole_hundredths_of_a_gj_with_the_btu_of_the_table(
    real_lake: Path, fuel: str, count: int
) -> None:
    """What the tolerance rests on; of the thermochemical Btu hardly one is, by chance."""
    (path,) = real_lake.rglob("GA_baseline_metadata_and_annual_results.parquet")
    rows = pq.ParquetFile(path).read().to_pylist()
    whole = {1055.05585262: 0, 1054.350264488: 0}
    told = 0
    for row in rows:
        tbtu = row[f"calc.weighted.{fuel}.total.energy_consumption..tbtu"]
        digits = 0.5e-9 if tbtu >= 1e-4 else 10 ** (math.floor(math.log10(tbtu or 1.0)) - 2) / 2
        per_hundredth = {joules: joules * 1e5 / row["weight"] for joules in whole}
        slack = digits * max(per_hundredth.values()) * 1.01
        if tbtu and slack < 0.2:
            told += 1
            for joules, factor in per_hundredth.items():
                hundredths = tbtu * factor
                whole[joules] += abs(hundredths - round(hundredths)) <= slack

    international, thermochemical = whole.values()
    assert (told, international) == (count, count)
    assert thermochemical < count / 5


@pytest.mark.real_lake
def test_real_buildings_are_well_within_the_range_of_their_type(real_lake: Path) -> None:
    """All 82 of Georgia, at least 4 times off either end."""
    (path,) = real_lake.rglob("GA_baseline_metadata_and_annual_results.parquet")
    rows = pq.ParquetFile(path).read().to_pylist()

    for row in rows:
        kwh = row["calc.weighted.site_energy.total.energy_consumption..tbtu"] * 1e12 / 3412.141633
        low, high = TYPE_INTENSITY[row["in.comstock_building_type_group"]]
        assert 4 * low <= kwh / row["calc.weighted.sqft"] <= high / 4
