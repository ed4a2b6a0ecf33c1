"""The tables of the metadata: the same in the end, whoever loads first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import BooleanType, IntegerType, NestedField, StringType

from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import (
    CatalogLocation,
    field_ids,
    open_catalog,
    open_table,
    reserve_metadata_columns,
)
from oedi_spark.lake.metadata_schemas import (
    FILTER_COLUMNS,
    building_weights_definition,
    merge_comments,
    metadata_definition,
    metadata_fields,
)
from oedi_spark.lake.schemas import TableDefinition
from oedi_spark.lake.staging import stage_table
from oedi_spark.lake.writer import replace_partitions

R = "2024_comstock_amy2018_release_1"
AL, GA = Partition(R, "AL", 0), Partition(R, "GA", 0)
KEYS = ["release", "state", "upgrade", "bldg_id", "grain", "county_gisjoin", "weight"]


def _column(
    name: str, source_name: str, unit: str = "", kind: ColumnKind = ColumnKind.DOUBLE
) -> MetadataColumn:
    return MetadataColumn(name, source_name, unit, kind, "double")


COLUMNS = {
    AL: [
        _column("out_total_kwh", "out.total..kwh", "kwh"),
        _column("in_vintage", "in.vintage", "text", ColumnKind.STRING),
        _column("applicability", "applicability", "flag", ColumnKind.BOOLEAN),
    ],
    GA: [
        _column("out_total_kwh", "out.total.kwh", "kwh"),
        _column("in_vintage", "in.vintage", "text", ColumnKind.STRING),
        _column("in_floors", "in.floors", "count", ColumnKind.LONG),
    ],
}
VALUES: dict[Partition, dict[str, Any]] = {
    AL: {
        "applicability": pa.array([True, False]),
        "in_vintage": ["1970s", "None"],
        "out_total_kwh": [1.5, 2.5],
    },
    GA: {
        "in_floors": pa.array([2, None], pa.int64()),
        "in_vintage": pa.array([None, None], pa.string()),
        "out_total_kwh": [3.5, float("nan")],
    },
}


def _rows(partition: Partition, **values: Any) -> pa.Table:  # noqa: ANN401 - any array
    return pa.table(
        {
            "release": [partition.release] * 2,
            "state": [partition.state] * 2,
            "upgrade": pa.array([partition.upgrade] * 2, pa.int32()),
            "bldg_id": [1, 2],
            "grain": ["building"] * 2,
            "county_gisjoin": pa.array([f"G{partition.state}", None], pa.string()),
            "weight": [8.5, 0.25],
            **values,
        }
    )


def _load(place: CatalogLocation, partition: Partition) -> None:
    """What a run does for one state: open, widen, stage, commit."""
    columns = COLUMNS[partition]
    table = open_table(open_catalog(place), place, metadata_definition(columns))
    table = reserve_metadata_columns(table, columns)
    uri = f"{table.location()}/data/{partition}/run-{partition.state}-m0.parquet"
    rows = _rows(partition, **VALUES[partition])
    staged = stage_table(uri, partition, rows, field_ids(table), statistics_for=FILTER_COLUMNS)
    replace_partitions(table, [partition], [staged], run_id=f"run-{partition.state}")


def _in_order(*partitions: Partition) -> Callable[[CatalogLocation], None]:
    def load(place: CatalogLocation) -> None:
        for partition in partitions:
            _load(place, partition)

    return load


def _at_once(place: CatalogLocation) -> None:
    barrier = Barrier(2)

    def load(partition: Partition) -> None:
        barrier.wait(30)
        _load(place, partition)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load, (AL, GA)))


def _fields(table: Table) -> list[tuple[str, str, bool, str | None]]:
    return [(f.name, str(f.field_type), f.required, f.doc) for f in table.schema().fields]


@pytest.mark.parametrize("load", [_in_order(AL, GA), _in_order(GA, AL), _at_once])
def test_two_states_with_different_columns_give_one_table(
    place: CatalogLocation, load: Callable[[CatalogLocation], None]
) -> None:
    load(place)

    table = open_catalog(place).load_table(("eulp", "metadata"))
    assert [name for name, *_ in _fields(table)[:7]] == KEYS
    assert _fields(table)[7:] == [
        ("applicability", "boolean", False, "applicability [flag]"),
        ("in_floors", "long", False, "in.floors [count]"),
        ("in_vintage", "string", False, "in.vintage [text]"),
        ("out_total_kwh", "double", False, "out.total..kwh [kwh] | out.total.kwh [kwh]"),
    ]
    rows = table.scan().to_arrow().sort_by([("state", "ascending"), ("bldg_id", "ascending")])
    found = rows.drop_columns(["release", "upgrade", "grain"]).to_pydict()
    assert str(found.pop("out_total_kwh")) == "[1.5, 2.5, 3.5, nan]"
    assert found == {
        "state": ["AL", "AL", "GA", "GA"],
        "bldg_id": [1, 2, 1, 2],
        "county_gisjoin": ["GAL", None, "GGA", None],
        "weight": [8.5, 0.25, 8.5, 0.25],
        "applicability": [True, False, None, None],
        "in_floors": [None, None, 2, None],
        "in_vintage": ["1970s", "None", None, None],
    }
    kept = {k: v for k, v in table.properties.items() if "metadata.metrics" in k}
    assert kept == {
        "write.metadata.metrics.max-inferred-column-defaults": "500",
        "write.metadata.metrics.default": "none",
        **{
            f"write.metadata.metrics.column.{name}": "full"
            for name in (
                "applicability",
                "bldg_id",
                "county_gisjoin",
                "grain",
                "in_vintage",
                "weight",
            )
        },
    }


def test_the_metadata_table_is_created_as_declared(place: CatalogLocation) -> None:
    table = open_table(open_catalog(place), place, metadata_definition(COLUMNS[GA]))

    assert _fields(table)[:7] == [
        (
            "release",
            "string",
            True,
            "Release: year and name, as in 2024_comstock_amy2018_release_1",
        ),
        ("state", "string", True, "Two-letter code of the state that the weight counts in"),
        ("upgrade", "int", True, "Upgrade of that release; 0 is the baseline"),
        ("bldg_id", "long", True, "Building model; ids differ from release to release"),
        ("grain", "string", True, "What a row is: building, building-tract, building-county, …"),
        ("county_gisjoin", "string", False, "County that the weight counts in, 2010 GISJOIN"),
        ("weight", "double", True, "Real buildings or dwellings that the row stands for"),
    ]
    assert [str(field) for field in table.sort_order().fields] == [
        "6 ASC NULLS LAST",
        "4 ASC NULLS LAST",
    ]
    assert [field.name for field in table.spec().fields] == ["release", "state", "upgrade"]


def test_the_weights_table_is_created_as_declared(place: CatalogLocation) -> None:
    table = open_table(open_catalog(place), place, building_weights_definition())

    assert [(name, kind, required) for name, kind, required, _ in _fields(table)] == [
        ("release", "string", True),
        ("state", "string", True),
        ("upgrade", "int", True),
        ("geography_kind", "string", True),
        ("geography", "string", True),
        ("bldg_id", "long", True),
        ("weight", "double", True),
        ("building_type", "string", False),
        ("building_type_group", "string", False),
        ("floor_area_ft2", "double", False),
        ("vintage", "string", False),
    ]
    assert [field.source_id for field in table.sort_order().fields] == [4, 5, 6]
    assert [field.source_id for field in table.spec().fields] == [1, 2, 3]


def test_reserve_metadata_columns_twice_commits_once(place: CatalogLocation) -> None:
    table = open_table(open_catalog(place), place, metadata_definition(COLUMNS[AL]))

    before = table.metadata_location

    wider = reserve_metadata_columns(table, COLUMNS[GA])
    after = wider.metadata_location
    again = reserve_metadata_columns(wider, [*COLUMNS[GA], *COLUMNS[AL], COLUMNS[AL][0]])

    assert before != after == again.metadata_location
    assert len(wider.metadata.schemas) == 2


def test_reserve_metadata_columns_from_eight_threads_loses_none(place: CatalogLocation) -> None:
    open_table(open_catalog(place), place, metadata_definition([]))
    barrier = Barrier(8)

    def reserve(number: int) -> None:
        table = open_catalog(place).load_table(("eulp", "metadata"))
        barrier.wait(30)
        columns = [_column(f"c{number}", f"c.{number}"), _column("z", f"z.{number}")]
        reserve_metadata_columns(table, columns)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reserve, range(8)))

    table = open_catalog(place).load_table(("eulp", "metadata"))
    assert table.schema().column_names == [*KEYS, *(f"c{n}" for n in range(8)), "z"]
    assert table.schema().find_field("z").doc == " | ".join(f"z.{n} []" for n in range(8))


def _open_by_hand(place: CatalogLocation, *fields: NestedField) -> Table:
    """A table `metadata` as somebody else may have made it: release, state, upgrade, and these."""
    types = (StringType(), StringType(), IntegerType())
    keys = [
        NestedField(field_id=at, name=KEYS[at - 1], field_type=kind, required=True)
        for at, kind in enumerate(types, 1)
    ]
    definition = TableDefinition("metadata", Schema(*fields, *keys), ("state",))
    return open_table(open_catalog(place), place, definition)


def test_a_table_made_by_hand_with_another_type_is_refused(place: CatalogLocation) -> None:
    flag = NestedField(field_id=4, name="in_vintage", field_type=BooleanType())
    table = _open_by_hand(place, flag)

    with pytest.raises(PublishError) as caught:
        reserve_metadata_columns(table, COLUMNS[AL])

    cause = "its column in_vintage is boolean, and this run has it as string"
    assert cause in str(caught.value)
    assert table.refresh().schema().column_names == ["in_vintage", "release", "state", "upgrade"]


def test_a_table_made_by_hand_in_another_order_is_put_in_order(place: CatalogLocation) -> None:
    table = _open_by_hand(
        place,
        NestedField(field_id=4, name="z", field_type=StringType()),
        NestedField(field_id=5, name="in_vintage", field_type=StringType()),
    )

    table = reserve_metadata_columns(table, COLUMNS[AL])

    assert table.schema().column_names == [
        *("release", "state", "upgrade", "county_gisjoin"),
        *("applicability", "in_vintage", "out_total_kwh", "z"),
    ]


def test_one_name_of_two_kinds_is_a_publish_error() -> None:
    both = [_column("a", "a"), _column("a", "A", kind=ColumnKind.STRING)]

    with pytest.raises(PublishError, match="column a would be double and string"):
        metadata_fields(both)


def test_a_column_named_as_a_key_is_no_second_column() -> None:
    columns = [_column("b", "b"), _column("weight", "weight"), _column("a", "a")]

    assert metadata_definition(columns).schema.column_names == [*KEYS, "a", "b"]


def test_thirteen_hundred_columns_are_created_and_evolved(place: CatalogLocation) -> None:
    names = [f"out_{number:04d}" for number in range(1400)]
    even, odd = ([_column(name, name, "kwh") for name in names[at:1300:2]] for at in (0, 1))
    open_table(open_catalog(place), place, metadata_definition(even))

    table = open_table(open_catalog(place), place, metadata_definition(odd))
    table = reserve_metadata_columns(table, [_column(name, name) for name in names])

    assert table.schema().column_names == [*KEYS, *names]
    assert table.schema().find_field("out_0007").doc == "out_0007 [] | out_0007 [kwh]"
    assert len(set(field_ids(table).values())) == 1407


SPELLINGS = st.lists(
    st.builds(
        lambda name, unit: _column("a", name, unit),
        st.one_of(st.text(max_size=12), st.text("ab |[]", min_size=60, max_size=130)),
        st.sampled_from(["kwh", "", "a|b]"]),
    ),
    max_size=12,
)


def _comment(columns: Sequence[MetadataColumn]) -> str:
    fields = metadata_fields(columns)
    return (fields[0].doc or "") if fields else ""


@given(st.lists(SPELLINGS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_comment_does_not_depend_on_order_or_grouping(
    runs: list[list[MetadataColumn]],
    random: Any,  # noqa: ANN401 - hypothesis' own Random
) -> None:
    whole = _comment([column for run in runs for column in run])
    random.shuffle(runs)
    merged = ""
    for run in runs:
        random.shuffle(run)
        merged = merge_comments(merged, _comment(run))

    assert merged == whole
    assert len(merged.encode("ascii")) <= 255
    assert merge_comments(merged, whole) == whole


def test_a_comment_is_cut_at_255_characters() -> None:
    columns = [_column("a", letter * 100, "kwh") for letter in "cab"]

    comment = _comment(columns)

    assert comment == f"{'a' * 100} [kwh] | {'b' * 100} [kwh] | {'c' * 37}"
    assert len(comment) == 255


def test_a_comment_is_never_cut_within_a_separator() -> None:
    for length in (246, 247, 248, 249):
        whole = f"{'a' * length} [kwh]"
        assert _comment([_column("a", whole[:-6], "kwh"), _column("a", "b", "kwh")]) == whole


def test_a_spelling_cannot_pass_for_two() -> None:
    assert _comment([_column("a", "x [kwh] | y é\n", "k]")]) == "x_?kwh?_?_y_?_ [k?]"
