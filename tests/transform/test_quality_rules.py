"""Every rule of a building: a file of which it holds, and one damaged so that it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    IntervalStamp,
    Partition,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import (
    FOLDER_TRAPS,
    METADATA_TRAPS,
    Trap,
    apply_style,
    build_style,
    spoil_bytes,
    spoil_table,
)
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import SourceLocation
from oedi_spark.transform import batch as batch_module
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.columns import Rule, describe_columns
from oedi_spark.transform.published_rules import PUBLISHED_RULES
from oedi_spark.transform.rollup import roll_up_intervals
from oedi_spark.transform.rule_kinds import Severity
from oedi_spark.transform.rules import RULE_OF, RULE_OF_REASON, RuleBook, build_rule_book

Damage = Callable[[pa.Table], pa.Table]

OFFICE = ReleaseFolder("2024", "comstock_amy2018_release_1")
HOME = ReleaseFolder("2022", "resstock_amy2018_release_1")
NEW_HOME = ReleaseFolder("2025", "resstock_amy2018_release_1")


@dataclass(frozen=True)
class Building:
    """A sound file of the sample lake."""

    release: str
    bldg_id: int
    table: pa.Table


@pytest.fixture(scope="module")
def buildings(tmp_path_factory: pytest.TempPathFactory) -> dict[ReleaseFolder, Building]:
    """One of each product; the homes' fourth has panels."""
    found = {}
    for folder in (OFFICE, HOME, NEW_HOME):
        root = tmp_path_factory.mktemp(folder.release)
        write_sample_lake(root, SampleRequest((folder,), ("CO",), buildings=4))
        path = sorted(root.glob("**/timeseries_individual_buildings/**/*.parquet"))[3]
        found[folder] = Building(
            folder.release, int(path.name.split("-")[0]), pq.read_table(path, partitioning=None)
        )
    return found


def judge(
    building: Building,
    content: bytes | pa.Table,
    out: Path,
    book: RuleBook | None = None,
    *,
    facts: ReleaseFacts | None = None,
    unlisted_bytes: int = 0,
    strict_columns: bool = False,
) -> BatchResult:
    """One file, through the task that every file goes through."""
    path = out / "lake" / f"{building.bldg_id}-0.parquet"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path, compression="snappy")
    names = building.table.column_names
    known: list[Column] = list(
        describe_columns(tuple(n for n in names if n not in ("timestamp", "bldg_id")))
    )
    extra = "out.electricity.battery_losses.energy_consumption"
    known += describe_columns((extra,))
    batch = Batch(
        number=0,
        partition=Partition(building.release, "CO", 0),
        facts=facts or ReleaseFacts(building.release, None, None),
        files=(
            SourceFile(
                0, path.name, building.bldg_id, path.stat().st_size - unlisted_bytes, None, ""
            ),
        ),
        field_ids={name: at for at, name in enumerate([*KEY_COLUMNS, *(c.name for c in known)], 1)},
    )
    settings = TaskSettings(
        location=SourceLocation(str(path.parent), is_local=True),
        data_uri=(out / "staged").as_uri(),
        run_id="r",
        row_group_buildings=2,
        read_ahead_files=1,
        strict_columns=strict_columns,
        rules=book or RuleBook(),
    )
    return run_batch(batch, settings, lambda _ordinal, _seen: None)


def broken_rules(result: BatchResult) -> list[str]:
    """The rules that a result says do not hold: of a fault the one that its reason is of."""
    names = [finding.rule for finding in result.findings]
    for outcome in result.outcomes:
        if outcome.reason is not None:
            proof = RULE_OF_REASON.get(outcome.reason)
            names.append(proof.name if proof else outcome.reason.value)
    return names


def change(name: str, work: Callable[[np.ndarray], None]) -> Damage:
    """Change the values of one column; its unit's spelling does not matter."""

    def damage(table: pa.Table) -> pa.Table:
        at = next(
            i
            for i, one in enumerate(table.column_names)
            if one == name or one.startswith(f"{name}.")
        )
        values = table.column(at).to_numpy().copy()
        work(values)
        return table.set_column(at, table.field(at), pa.array(values, table.field(at).type))

    return damage


def all_of(*damages: Damage) -> Damage:
    def damage(table: pa.Table) -> pa.Table:
        for each in damages:
            table = each(table)
        return table

    return damage


def add_at(row: int, by: float) -> Callable[[np.ndarray], None]:
    def work(values: np.ndarray) -> None:
        values[row] += by

    return work


def put_at(row: int, value: float) -> Callable[[np.ndarray], None]:
    def work(values: np.ndarray) -> None:
        values[row] = value

    return work


def times(factor: float) -> Callable[[np.ndarray], None]:
    def work(values: np.ndarray) -> None:
        values *= factor

    return work


def with_intensity(name: str, row: int, by_kwh: float) -> Damage:
    """Add to an energy, and to its intensity what that is per floor area."""

    def damage(table: pa.Table) -> pa.Table:
        energy, intensity = f"{name}.energy_consumption", f"{name}.energy_consumption_intensity"
        site = "out.site_energy.total.energy_consumption"
        area = pc.sum(table[site]).as_py() / pc.sum(table[f"{site}_intensity"]).as_py()
        changed = change(energy, add_at(row, by_kwh))(table)
        return change(intensity, add_at(row, by_kwh / area))(changed)

    return damage


def scale_everything(factor: float) -> Damage:
    def damage(table: pa.Table) -> pa.Table:
        columns = [
            pc.multiply(each, factor) if pa.types.is_floating(each.type) else each
            for each in table.columns
        ]
        return pa.table(columns, schema=table.schema)

    return damage


ELECTRICITY = "out.electricity.total"
TEMPERATURE = "out.indoor_temperature.conditioned_space"
FIRES: dict[str, tuple[ReleaseFolder, Damage]] = {
    "values_are_possible": (NEW_HOME, change(TEMPERATURE, put_at(7_000, 4e5))),
    "energy_is_not_negative": (
        OFFICE,
        change("out.electricity.fans.energy_consumption", put_at(900, -500.0)),
    ),
    "energy_is_no_power": (HOME, change(f"{ELECTRICITY}.energy_consumption", times(4.0))),
    "end_uses_sum_to_fuel_totals": (
        OFFICE,
        with_intensity("out.electricity.interior_equipment", 20_000, 0.5),
    ),
    "fuel_totals_sum_to_site_energy": (
        OFFICE,
        with_intensity("out.site_energy.total", 35_039, -0.5),
    ),
    "net_is_total_and_generation": (HOME, with_intensity("out.electricity.net", 0, 0.5)),
    "energy_is_intensity_times_area": (
        OFFICE,
        change("out.electricity.interior_lighting.energy_consumption_intensity", times(1.00001)),
    ),
    "values_are_plausible": (NEW_HOME, change(TEMPERATURE, put_at(7_000, 400.0))),
    "intensity_is_plausible": (OFFICE, scale_everything(1e-4)),
    "values_are_complete": (
        NEW_HOME,
        lambda table: table.set_column(
            table.column_names.index(f"{TEMPERATURE}..c"),
            f"{TEMPERATURE}..c",
            pc.if_else(
                pc.equal(pa.array(np.arange(table.num_rows)), 12),
                None,
                table[f"{TEMPERATURE}..c"].combine_chunks(),
            ),
        ),
    ),
}


BESIDE: dict[str, tuple[str, ...]] = {
    "values_are_possible": ("values_are_plausible",),
    "energy_is_no_power": (
        "end_uses_sum_to_fuel_totals",
        "fuel_totals_sum_to_site_energy",
        "net_is_total_and_generation",
        "energy_is_intensity_times_area",
    ),
    "energy_is_not_negative": ("end_uses_sum_to_fuel_totals", "energy_is_intensity_times_area"),
}
"""What the damage breaks as well, once its rule does not block: a value beyond every range is
beyond the usual one; 4 times is no ratio of 1."""


@pytest.mark.parametrize("folder", [OFFICE, HOME, NEW_HOME], ids=str)
def test_a_sound_building_passes_every_rule(
    buildings: dict[ReleaseFolder, Building], folder: ReleaseFolder, tmp_path: Path
) -> None:
    result = judge(buildings[folder], buildings[folder].table, tmp_path)

    assert broken_rules(result) == []
    assert len(result.staged) == 1
    expected = {*FIRES, "hours_sum_to_intervals"}
    published = {rule.name for rule in PUBLISHED_RULES}
    assert set(result.judged) - published == (
        expected if folder is not OFFICE else expected - {"net_is_total_and_generation"}
    )


@pytest.mark.parametrize("rule", FIRES)
def test_a_damaged_building_breaks_exactly_the_rule_meant(
    buildings: dict[ReleaseFolder, Building], rule: str, tmp_path: Path
) -> None:
    folder, damage = FIRES[rule]

    result = judge(buildings[folder], damage(buildings[folder].table), tmp_path)

    assert broken_rules(result) == [rule]
    severity = RuleBook().of(folder.release).severity(RULE_OF[rule])
    assert bool(result.staged) is (severity is Severity.WARN)


@pytest.mark.parametrize("rule", FIRES)
def test_a_damaged_building_passes_with_its_rule_off(
    buildings: dict[ReleaseFolder, Building], rule: str, tmp_path: Path
) -> None:
    folder, damage = FIRES[rule]
    book = build_rule_book({name: {"severity": "off"} for name in (rule, *BESIDE.get(rule, ()))})

    result = judge(buildings[folder], damage(buildings[folder].table), tmp_path, book)

    assert broken_rules(result) == []
    assert rule not in result.judged


def test_hours_that_lose_an_interval_break_their_rule(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(intervals: np.ndarray, rule: Rule, hours: np.ndarray) -> None:
        roll_up_intervals(intervals, rule, hours)
        hours[4_000] -= intervals[16_000]

    monkeypatch.setattr(batch_module, "roll_up_intervals", lose)
    result = judge(buildings[OFFICE], buildings[OFFICE].table, tmp_path)

    assert broken_rules(result) == ["hours_sum_to_intervals"]


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_energies_and_intensities_all_in_kw_are_seen_by_the_floor_area_of_the_file(
    buildings: dict[ReleaseFolder, Building], factor: float, tmp_path: Path
) -> None:
    """Of energies alone: their intensities are as they were, so all say another area."""
    table = buildings[NEW_HOME].table
    names = [n for n in table.column_names if ".energy_consumption.." in n]
    table = all_of(*(change(name, times(factor)) for name in names))(table)

    assert broken_rules(judge(buildings[NEW_HOME], table, tmp_path)) == ["energy_is_no_power"]


UNSEEN = "2031_comstock_amy2018_release_1"
"""A release of which no file was ever at hand."""


@pytest.mark.parametrize("rule", [name for name in FIRES if RULE_OF[name].verified_on is not None])
def test_a_rule_of_accounts_warns_on_a_release_it_is_not_verified_on(
    buildings: dict[ReleaseFolder, Building], rule: str, tmp_path: Path
) -> None:
    folder, damage = FIRES[rule]
    damaged = damage(buildings[folder].table)
    unseen = replace(buildings[folder], release=UNSEEN)
    beside = {name: {"severity": "off"} for name in BESIDE.get(rule, ())}
    strict = build_rule_book({rule: {"severity": "block"}, **beside})

    warned = judge(unseen, damaged, tmp_path / "warned", build_rule_book(beside))
    blocked = judge(unseen, damaged, tmp_path / "blocked", strict)

    assert broken_rules(warned) == broken_rules(blocked) == [rule]
    assert (len(warned.staged), len(blocked.staged)) == (1, 0)


@pytest.mark.parametrize("rule", ["energy_is_no_power", "values_are_possible"])
def test_what_is_certainly_wrong_blocks_whatever_the_release(
    buildings: dict[ReleaseFolder, Building], rule: str, tmp_path: Path
) -> None:
    folder, damage = FIRES[rule]
    unseen = replace(buildings[folder], release=UNSEEN)

    result = judge(unseen, damage(unseen.table), tmp_path)

    assert broken_rules(result) == [rule]
    assert result.staged == ()


def with_panels(table: pa.Table, kwh: float, *, at_noon_of_a_day: float | None = None) -> pa.Table:
    """Panels that give 2 kWh in each quarter-hour from 10 to 14, written with a sign or without."""
    quarters = np.arange(table.num_rows) % 96
    given = np.where((quarters >= 40) & (quarters < 56), 2.0, 0.0)
    written = given * kwh / 2
    if at_noon_of_a_day is not None:
        written[20_000 - 20_000 % 96 + 48 : 20_000 - 20_000 % 96 + 52] = at_noon_of_a_day
    energies = {"out.electricity.pv": written}
    for fuel in ("electricity", "site_energy"):
        total = table[f"out.{fuel}.total.energy_consumption"].to_numpy()
        energies[f"out.{fuel}.net"] = total - given
    for name, values in energies.items():
        at = table.column_names.index(f"{name}.energy_consumption")
        table = table.set_column(at, table.field(at), pa.array(values))
    return table


@pytest.mark.parametrize(
    ("written", "at_noon", "rules"),
    [
        (-2.0, None, []),
        (2.0, None, []),
        (-2.0, 2.0, ["net_is_total_and_generation"]),
        (2.0, -2.0, ["net_is_total_and_generation"]),
        (1.0, None, ["net_is_total_and_generation"]),
        (-1.0, None, ["net_is_total_and_generation"]),
    ],
)
def test_generation_may_have_either_sign_and_one_of_them_all_year(
    buildings: dict[ReleaseFolder, Building],
    written: float,
    at_noon: float | None,
    rules: list[str],
    tmp_path: Path,
) -> None:
    table = with_panels(buildings[HOME].table, written, at_noon_of_a_day=at_noon)

    assert broken_rules(judge(buildings[HOME], table, tmp_path)) == rules


def test_a_small_energy_that_is_4_times_its_intensity_is_not_taken_for_kw(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path
) -> None:
    """What is rounded off 40 kWh of a year can make them any multiple."""
    table, name = buildings[OFFICE].table, "out.electricity.fans"
    year = pc.sum(table[f"{name}.energy_consumption"]).as_py()
    table = change(f"{name}.energy_consumption", times(80.0 / year))(table)
    table = change(f"{name}.energy_consumption_intensity", times(20.0 / year))(table)
    off = ("end_uses_sum_to_fuel_totals", "energy_is_intensity_times_area")
    book = build_rule_book({rule: {"severity": "off"} for rule in off})

    assert broken_rules(judge(buildings[OFFICE], table, tmp_path, book)) == []


def test_a_net_column_that_is_zero_all_year_is_not_held_against_the_total(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path
) -> None:
    """As in the real files of ResStock 2022 R1."""
    names = [n for n in buildings[HOME].table.column_names if ".net." in n]
    table = all_of(*(change(name, times(0.0)) for name in names))(buildings[HOME].table)

    assert len(names) == 4
    assert broken_rules(judge(buildings[HOME], table, tmp_path)) == []


def test_a_single_value_that_is_off_by_a_thousandth_of_a_kwh_is_found(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path
) -> None:
    damage = change(f"{ELECTRICITY}.energy_consumption", add_at(11_111, 0.001))

    result = judge(buildings[OFFICE], damage(buildings[OFFICE].table), tmp_path)

    assert broken_rules(result) == ["energy_is_intensity_times_area"]


TRIPS: dict[Trap, list[str]] = {
    Trap.TRUNCATED_FILE: ["file_is_sound"],
    Trap.NOT_PARQUET: ["file_is_sound"],
    Trap.EMPTY_FILE: ["file_is_sound"],
    Trap.ZERO_ROWS: ["year_is_whole"],
    Trap.MISSING_TIMESTAMP: ["keys_are_present"],
    Trap.MISSING_BLDG_ID: ["keys_are_present"],
    Trap.CONTRADICTING_BLDG_ID: ["id_matches_name"],
    Trap.IRREGULAR_STAMPS: ["stamps_are_regular"],
    Trap.DUPLICATE_STAMPS: ["hours_are_not_doubled"],
    Trap.UNSORTED_STAMPS: ["stamps_are_regular"],
    Trap.WRONG_ROW_COUNT: ["year_is_whole"],
    Trap.STRING_COLUMN: ["columns_are_understood"],
    Trap.NAN_VALUES: ["values_are_complete"],
    Trap.NULL_VALUES: ["values_are_complete"],
    Trap.FLOAT32: [],
    Trap.MISSING_COLUMNS: [],
    Trap.EXTRA_COLUMN: [],
    Trap.NULL_TYPE_COLUMN: [],
    Trap.INTERVAL_BEGINNING: [],
    Trap.DOUBLE_DOT_UNITS: [],
    Trap.SINGLE_DOT_UNITS: [],
    Trap.INT64_NANOS: [],
    Trap.UTC_STAMPS: [],
    Trap.MULTI_ROW_GROUPS: [],
}


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy")
    return bytes(sink.getvalue())


PROOFS: dict[str, Callable[[Building, Path], BatchResult]] = {
    "file_is_as_listed": lambda one, out: judge(one, one.table, out, unlisted_bytes=1),
    "file_is_sound": lambda one, out: judge(one, _pack(one.table)[:-1], out),
    "keys_are_present": lambda one, out: judge(one, one.table.drop_columns(["bldg_id"]), out),
    "id_matches_name": lambda one, out: judge(
        replace(one, bldg_id=one.bldg_id + 1), one.table, out
    ),
    "columns_are_understood": lambda one, out: judge(
        one, one.table.append_column("out.rhubarb", one.table[2]), out, strict_columns=True
    ),
    "stamps_are_regular": lambda one, out: judge(
        one, spoil_table(Trap.IRREGULAR_STAMPS, one.table), out
    ),
    "hours_are_not_doubled": lambda one, out: judge(
        one, spoil_table(Trap.DUPLICATE_STAMPS, one.table), out
    ),
    "first_stamp_proves_hours": lambda one, out: judge(
        one,
        one.table,
        out,
        facts=ReleaseFacts(one.release, IntervalStamp.BEGINNING, None),
    ),
    "year_is_whole": lambda one, out: judge(one, one.table.slice(0, 35_039), out),
    "values_are_finite": lambda one, out: judge(
        one, change(ELECTRICITY, put_at(5, float("inf")))(one.table), out
    ),
}


@pytest.mark.parametrize("rule", PROOFS)
def test_a_file_without_a_proof_breaks_exactly_that_rule(
    buildings: dict[ReleaseFolder, Building], rule: str, tmp_path: Path
) -> None:
    """Of the sound file, `test_a_sound_building_passes_every_rule`: none is broken."""
    result = PROOFS[rule](buildings[OFFICE], tmp_path)

    assert broken_rules(result) == [rule]
    assert result.staged == ()


def test_every_trap_of_a_file_is_in_the_table() -> None:
    """What lies among the files, and files that are not there, are for the listing to see."""
    assert set(TRIPS) == set(Trap) - METADATA_TRAPS - FOLDER_TRAPS - {
        Trap.MISSING_FILE,
        Trap.SERIES_WITHOUT_METADATA,
    }


@pytest.mark.parametrize("trap", TRIPS)
def test_a_trap_trips_exactly_the_rule_meant_for_it(
    buildings: dict[ReleaseFolder, Building], trap: Trap, tmp_path: Path
) -> None:
    table = spoil_table(trap, apply_style(buildings[OFFICE].table, build_style([trap])))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=7_001 if trap is Trap.MULTI_ROW_GROUPS else None)
    content = spoil_bytes(trap, sink.getvalue().to_pybytes())
    assert content is not None

    assert broken_rules(judge(buildings[OFFICE], content, tmp_path)) == TRIPS[trap]


def test_a_release_of_its_own_is_judged_without_a_product(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path
) -> None:
    unknown = replace(buildings[OFFICE], release="2031_farms_release_1")

    result = judge(unknown, unknown.table, tmp_path)

    assert broken_rules(result) == []
    assert "intensity_is_plausible" not in result.judged


@pytest.mark.parametrize("folder", [OFFICE, HOME], ids=["office", "home"])
def test_energies_that_are_all_zero_beside_intensities_that_are_not_are_refused(
    buildings: dict[ReleaseFolder, Building], tmp_path: Path, folder: ReleaseFolder
) -> None:
    building = buildings[folder]
    table = building.table
    for at, name in enumerate(table.column_names):
        if ".energy_consumption" in name and "intensity" not in name:
            zeros = pa.array(np.zeros(len(table)), table.schema.field(at).type)
            table = table.set_column(at, table.schema.field(at), zeros)

    result = judge(building, table, tmp_path)

    assert [outcome.reason for outcome in result.outcomes] == ["energy_is_intensity_times_area"]
    assert "on 0 ft²" in result.outcomes[0].detail
