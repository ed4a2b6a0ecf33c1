"""The dictionary summed up, and the drift of two releases, by hand."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.dictionary import (
    Change,
    ColumnSummary,
    Drift,
    TableDrift,
    UnitChange,
    compare_releases,
    summarise_dictionary,
)
from oedi_spark.lake.dictionary import DictionaryRow

ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
SOURCE = "out.electricity.total.energy_consumption"


def row(
    column_name: str = ELECTRICITY,
    source_name: str = SOURCE,
    *,
    unit: str = "kwh",
    rule: str = "sum",
    source_type: str | None = "double",
    table: str = "hourly",
    release: str = "a",
    state: str = "CO",
    upgrade: int = 0,
) -> DictionaryRow:
    return DictionaryRow(
        release, state, upgrade, table, column_name, source_name, unit, rule, source_type, True, 3
    )


def drift(before: list[DictionaryRow], after: list[DictionaryRow]) -> TableDrift:
    (found,) = compare_releases(before, after).tables
    return found


def test_the_same_columns_have_not_drifted() -> None:
    other_place = row(release="b", state="WY", upgrade=3)

    assert compare_releases([row()], [other_place]) == Drift((TableDrift("hourly"),))


def test_no_rows_have_no_tables() -> None:
    assert compare_releases([], []) == Drift(())


def test_columns_are_added_and_dropped() -> None:
    pumps = row("out_electricity_pumps_energy_consumption_kwh", "out.electricity.pumps.e")
    wood = row("out_wood_total_energy_consumption_kwh", "out.wood.total.e")
    coal = row("out_coal_total_energy_consumption_kwh", "out.coal.total.e")

    assert drift([row(), wood, coal], [row(), pumps]) == TableDrift(
        "hourly",
        added=("out_electricity_pumps_energy_consumption_kwh",),
        dropped=(
            "out_coal_total_energy_consumption_kwh",
            "out_wood_total_energy_consumption_kwh",
        ),
    )


def test_another_spelling_is_a_renaming() -> None:
    assert drift([row()], [row(source_name=f"{SOURCE}..kwh")]) == TableDrift(
        "hourly", renamed=(Change(ELECTRICITY, (SOURCE,), (f"{SOURCE}..kwh",)),)
    )


def test_spellings_of_one_release_are_a_set() -> None:
    before = [row(), row(source_name=f"{SOURCE}.kwh", state="WY"), row(state="UT")]
    same = [row(source_name=f"{SOURCE}.kwh"), row()]

    assert drift(before, same) == TableDrift("hourly")
    assert drift(before, [row()]).renamed == (
        Change(ELECTRICITY, (SOURCE, f"{SOURCE}.kwh"), (SOURCE,)),
    )


def test_another_type_is_a_retyping() -> None:
    before = [row(source_type="double"), row(source_type="int64", state="WY")]

    assert drift(before, [row(source_type="float")]) == TableDrift(
        "hourly", retyped=(Change(ELECTRICITY, ("double", "int64"), ("float",)),)
    )


def test_a_type_that_is_not_known_is_no_retyping() -> None:
    assert drift([row(source_type=None)], [row()]) == TableDrift("hourly")
    assert drift([row()], [row(source_type=None)]) == TableDrift("hourly")
    assert drift([row(source_type=None, state="WY"), row()], [row()]) == TableDrift("hourly")


def test_another_rule_is_told() -> None:
    assert drift([row(rule="omit")], [row(rule="sum")]) == TableDrift(
        "hourly", rule_changed=(Change(ELECTRICITY, ("omit",), ("sum",)),)
    )


def test_another_unit_is_neither_added_nor_dropped() -> None:
    before = row("out_site_energy_total_mbtu", "out.site_energy.total.mbtu", unit="mbtu")
    after = row("out_site_energy_total_kwh", "out.site_energy.total..kwh", unit="kwh")

    assert drift([before], [after]) == TableDrift(
        "hourly", unit_changed=(UnitChange("out_site_energy_total", ("mbtu",), ("kwh",)),)
    )


def test_a_unit_that_one_side_lacks_is_a_change_of_unit() -> None:
    before = row("in_cooling_setpoint", "in.cooling_setpoint", unit="", table="metadata")
    after = row("in_cooling_setpoint_f", "in.cooling_setpoint..f", unit="f", table="metadata")

    assert drift([before], [after]).unit_changed == (
        UnitChange("in_cooling_setpoint", ("",), ("f",)),
    )


def test_a_column_whose_unit_and_type_changed_is_told_twice() -> None:
    before = row("x_mbtu", "x.mbtu", unit="mbtu", source_type="float", rule="mean")
    after = row("x_kwh", "x..kwh", unit="kwh")

    assert drift([before], [after]) == TableDrift(
        "hourly",
        retyped=(Change("x_kwh", ("float",), ("double",)),),
        unit_changed=(UnitChange("x", ("mbtu",), ("kwh",)),),
        rule_changed=(Change("x_kwh", ("mean",), ("sum",)),),
    )


def test_a_unit_beside_one_that_stays_is_dropped() -> None:
    kwh, kbtu = row("x_kwh", "x..kwh"), row("x_kbtu", "x..kbtu", unit="kbtu")

    assert drift([kwh, kbtu], [kwh]) == TableDrift("hourly", dropped=("x_kbtu",))


def test_two_units_that_became_one_are_one_change() -> None:
    kbtu, therm = (row(f"x_{one}", f"x..{one}", unit=one) for one in ("kbtu", "therm"))

    assert drift([therm, kbtu], [row("x_kwh", "x..kwh")]) == TableDrift(
        "hourly", unit_changed=(UnitChange("x", ("kbtu", "therm"), ("kwh",)),)
    )


def test_a_longer_unit_is_taken_off_whole() -> None:
    before = row("x_kwh_per_ft2", "x", unit="kwh_per_ft2")
    after = row("x_kwh", "x", unit="kwh")

    assert drift([before], [after]).unit_changed == (UnitChange("x", ("kwh_per_ft2",), ("kwh",)),)


def test_a_name_that_only_looks_as_if_it_ended_in_a_unit_keeps_it() -> None:
    before = row("is_hour", "is.hour", unit="", table="metadata")
    after = row("is_kwh", "is..kwh", unit="kwh", table="metadata")

    assert drift([before], [after]) == TableDrift("metadata", ("is_kwh",), ("is_hour",))


def test_the_same_name_with_another_unit_is_a_change_of_unit() -> None:
    assert drift([row("x", "x", unit="unknown")], [row("x", "x", unit="fraction")]) == TableDrift(
        "hourly", unit_changed=(UnitChange("x", ("unknown",), ("fraction",)),)
    )


def test_tables_are_compared_each_with_itself() -> None:
    metadata = row(table="metadata")

    assert compare_releases([row()], [metadata]) == Drift(
        (
            TableDrift("hourly", dropped=(ELECTRICITY,)),
            TableDrift("metadata", added=(ELECTRICITY,)),
        )
    )


def test_summarise_dictionary_has_one_line_per_table_and_column() -> None:
    rows = [
        row("b_kwh", "b", state="WY", source_type="int64"),
        row("b_kwh", "b..kwh", state="CO"),
        row("b_kwh", "b", state="CO", source_type=None),
        row("b_kwh", "b", state="CO", upgrade=1, rule="mean"),
        row("b_kwh", "b", state="CO", upgrade=1, rule="omit"),
        row("b_kwh", "b", state="CO", upgrade=1, rule="keep"),
        row("c", "c", unit="unknown", rule="omit", table="hourly"),
        row("a", "A", unit="fraction", rule="keep", table="metadata", source_type="string"),
    ]

    assert summarise_dictionary(rows) == (
        ColumnSummary(
            "hourly",
            "b_kwh",
            ("b", "b..kwh"),
            ("kwh",),
            ("keep", "mean", "omit", "sum"),
            ("double", "int64"),
            3,
        ),
        ColumnSummary("hourly", "c", ("c",), ("unknown",), ("omit",), ("double",), 1),
        ColumnSummary("metadata", "a", ("A",), ("fraction",), ("keep",), ("string",), 1),
    )


UNITS = st.sampled_from(["kwh", "kbtu", "kwh_per_ft2", ""])
ROWS = st.lists(
    st.builds(
        lambda stem, unit, source, rule, kind, table, state: row(
            f"{stem}_{unit}" if unit else stem,
            source,
            unit=unit,
            rule=rule,
            source_type=kind,
            table=table,
            state=state,
        ),
        st.sampled_from(["x", "y", "x_kwh"]),
        UNITS,
        st.sampled_from(["x", "X", "x..kwh"]),
        st.sampled_from(["sum", "mean"]),
        st.sampled_from(["double", "int64", None]),
        st.sampled_from(["hourly", "metadata"]),
        st.sampled_from(["CO", "WY"]),
    ),
    max_size=12,
)


@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_drift_does_not_depend_on_the_order_of_rows(
    before: list[DictionaryRow], after: list[DictionaryRow], chance: random.Random
) -> None:
    mixed_before, mixed_after = before[:], after[:]
    chance.shuffle(mixed_before)
    chance.shuffle(mixed_after)

    assert compare_releases(mixed_before, mixed_after) == compare_releases(before, after)
    assert summarise_dictionary(mixed_before) == summarise_dictionary(before)


@given(ROWS, ROWS)
def test_drift_the_other_way_round_says_the_opposite(
    before: list[DictionaryRow], after: list[DictionaryRow]
) -> None:
    there, back = compare_releases(before, after).tables, compare_releases(after, before).tables

    for one, other in zip(there, back, strict=True):
        assert (one.added, one.dropped) == (other.dropped, other.added)
        swapped = [UnitChange(each.stem, each.after, each.before) for each in other.unit_changed]
        assert list(one.unit_changed) == sorted(swapped)


@given(ROWS)
def test_a_release_has_not_drifted_from_itself(rows: list[DictionaryRow]) -> None:
    for table in compare_releases(rows, rows).tables:
        assert table == TableDrift(table.table_name)
