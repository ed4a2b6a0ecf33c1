"""Tables that several runs create and widen at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.update.schema import UpdateSchema

from oedi_spark.contracts import Column
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import (
    CatalogLocation,
    commit_uuid,
    field_ids,
    open_catalog,
    open_table,
    reserve_columns,
    table_name,
)
from oedi_spark.lake.schemas import columns_definition, hourly_definition

T = TypeVar("T")
KEYS = {"release": 1, "state": 2, "upgrade": 3, "bldg_id": 4, "hour_start": 5}


def _column(name: str) -> Column:
    return Column(name, f"out.{name}", "kwh", "sum", known=True)


def _at_once(count: int, action: Callable[[int], T]) -> list[T]:
    """Run an action in several threads that start together."""
    barrier = Barrier(count)

    def wait_and_act(number: int) -> T:
        barrier.wait(30)
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_act, range(count)))


def test_open_table_creates_the_hourly_table_as_declared(hourly: Table) -> None:
    schema = hourly.schema()

    assert {field.name: field.field_id for field in schema.fields} == {**KEYS, "total_kwh": 6}
    assert [str(field.field_type) for field in schema.fields] == [
        "string",
        "string",
        "int",
        "long",
        "timestamp",
        "double",
    ]
    assert [field.required for field in schema.fields] == [True] * 5 + [False]
    assert schema.find_field("total_kwh").doc == "total [kwh], sum over the hour"
    assert [str(field.transform) for field in hourly.spec().fields] == ["identity"] * 3
    assert [field.source_id for field in hourly.spec().fields] == [1, 2, 3]
    assert [field.source_id for field in hourly.sort_order().fields] == [4, 5]
    assert hourly.metadata.format_version == 2
    assert hourly.current_snapshot() is None
    assert table_name(hourly) == "eulp.hourly"


def test_open_table_lies_below_the_warehouse(hourly: Table, tmp_path: Path) -> None:
    assert hourly.location() == f"file://{tmp_path}/warehouse/eulp/hourly"


def test_open_table_a_second_time_finds_the_same_table(
    hourly: Table, place: CatalogLocation
) -> None:
    again = open_table(open_catalog(place), place, hourly_definition([_column("total_kwh")]))

    assert again.metadata.table_uuid == hourly.metadata.table_uuid
    assert again.metadata_location == hourly.metadata_location


def test_open_table_adds_the_optional_columns_that_it_lacks(
    hourly: Table, place: CatalogLocation
) -> None:
    again = open_table(open_catalog(place), place, hourly_definition([_column("other_kwh")]))

    assert again.metadata.table_uuid == hourly.metadata.table_uuid
    assert field_ids(again) == {**KEYS, "total_kwh": 6, "other_kwh": 7}


def test_open_table_with_a_column_of_another_type_is_a_publish_error(
    hourly: Table, place: CatalogLocation
) -> None:
    with pytest.raises(PublishError) as caught:
        reserve_columns(hourly, [_column("upgrade")])

    assert "its column upgrade is int, and this run has it as double" in str(caught.value)
    assert caught.value.table == "eulp.hourly"


def test_open_catalog_and_table_from_two_threads_make_one_table(place: CatalogLocation) -> None:
    def create(_: int) -> str:
        table = open_table(open_catalog(place), place, columns_definition())
        return str(table.metadata.table_uuid)

    made = _at_once(2, create)

    table = open_catalog(place).load_table(("eulp", "columns"))
    assert made == [str(table.metadata.table_uuid)] * 2
    assert len(table.schema().fields) == 11


def test_open_catalog_that_cannot_be_reached_is_a_publish_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    place = CatalogLocation(
        "sql", "oedi", "eulp", f"file://{tmp_path}", "postgresql://nobody@127.0.0.1:1/none"
    )

    with pytest.raises(PublishError) as caught:
        open_catalog(place)

    assert caught.value.table == "eulp in the sql catalog"
    assert "did not open" in str(caught.value)


def test_reserve_columns_adds_what_is_absent_and_keeps_every_id(hourly: Table) -> None:
    wider = reserve_columns(hourly, [_column("b_kwh"), _column("a_kwh"), _column("total_kwh")])

    assert field_ids(wider) == {**KEYS, "total_kwh": 6, "a_kwh": 7, "b_kwh": 8}
    assert wider.schema().find_field("a_kwh").doc == "out.a_kwh [kwh], sum over the hour"
    assert not wider.schema().find_field("a_kwh").required
    again = reserve_columns(wider, [_column("b_kwh")])
    assert again.metadata_location == wider.metadata_location
    assert field_ids(again, ["b_kwh", "bldg_id", "nowhere"]) == {"bldg_id": 4, "b_kwh": 8}


def test_reserve_columns_from_eight_threads_loses_none(
    hourly: Table, place: CatalogLocation
) -> None:
    def reserve(number: int) -> dict[str, int]:
        table = open_catalog(place).load_table(("eulp", "hourly"))
        columns = [_column(f"c{number}_kwh"), _column(f"shared{number // 2}_kwh")]
        return field_ids(reserve_columns(table, columns), [column.name for column in columns])

    promised = _at_once(8, reserve)

    found = field_ids(hourly.refresh())
    wanted = {f"c{n}_kwh" for n in range(8)} | {f"shared{n}_kwh" for n in range(4)}
    assert set(found) == {*KEYS, "total_kwh", *wanted}
    assert sorted(found.values()) == list(range(1, 19))
    for ids in promised:
        assert len(ids) == 2
        assert ids.items() <= found.items()


def test_reserve_columns_that_always_loses_is_a_publish_error(
    hourly: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def lose(_: UpdateSchema) -> None:
        attempts.append(1)
        raise CommitFailedException("beaten")

    monkeypatch.setattr(UpdateSchema, "commit", lose)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)

    with pytest.raises(PublishError, match="beaten"):
        reserve_columns(hourly, [_column("a_kwh")])

    assert len(attempts) == 16


def test_commit_uuid_is_of_the_run() -> None:
    assert commit_uuid("run-1") == commit_uuid("run-1")
    assert commit_uuid("run-1") != commit_uuid("run-2")
