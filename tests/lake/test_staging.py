"""Staged tables: what readers of the file and readers of the manifest find in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType

from oedi_spark.contracts import ColumnStatistics, Partition, StagedFile
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, field_ids, open_catalog, open_table
from oedi_spark.lake.metadata_schemas import (
    FILTER_COLUMNS,
    building_weights_definition,
    metadata_definition,
)
from oedi_spark.lake.staging import stage_table
from oedi_spark.lake.writer import replace_partitions, stage_rows

GA = Partition("2024_comstock_amy2018_release_1", "GA", 0)
COLUMNS = [
    MetadataColumn("applicability", "applicability", "flag", ColumnKind.BOOLEAN, "bool"),
    MetadataColumn("completed_status", "completed_status", "text", ColumnKind.STRING, "string"),
    MetadataColumn("in_floors", "in.floors", "count", ColumnKind.LONG, "int64"),
    MetadataColumn("in_puma", "in.puma", "text", ColumnKind.STRING, "null"),
    MetadataColumn("in_vintage", "in.vintage", "text", ColumnKind.STRING, "string"),
    MetadataColumn("out_total_kwh", "out.total", "kwh", ColumnKind.DOUBLE, "double"),
]
KEYS = ("release", "state", "upgrade")


@pytest.fixture
def metadata(place: CatalogLocation) -> Table:
    """The metadata table, empty, with a column of each kind."""
    return open_table(open_catalog(place), place, metadata_definition(COLUMNS))


def _rows(**changes: Any) -> pa.Table:  # noqa: ANN401 - any array
    """Three rows; `completed_status` is not among their columns, and `in_puma` has no value."""
    columns = {
        "release": [GA.release] * 3,
        "state": ["GA"] * 3,
        "upgrade": pa.array([0] * 3, pa.int32()),
        "bldg_id": [3, 1, 2],
        "grain": ["building"] * 3,
        "county_gisjoin": ["G1300010", "G1300030", None],
        "weight": [8.5, 0.25, 1.0],
        "applicability": [True, None, False],
        "in_floors": pa.array([7, None, 9], pa.int64()),
        "in_puma": pa.array([None] * 3, pa.string()),
        "in_vintage": ["1970s", "None", "Zürich"],
        "out_total_kwh": [1.5, None, -2.5],
    }
    return pa.table(columns | changes)


def _stage(table: Table, rows: pa.Table, **options: Any) -> StagedFile:  # noqa: ANN401 - as given
    uri = f"{table.location()}/data/{GA}/run-1-m0.parquet"
    return stage_table(uri, GA, rows, field_ids(table), **options)


def _local(staged: StagedFile) -> str:
    return staged.path.removeprefix("file://")


def _by_name(table: Table, staged: StagedFile) -> dict[str, ColumnStatistics]:
    names = {field_id: name for name, field_id in field_ids(table).items()}
    return {names[each.field_id]: each for each in staged.columns}


def test_stage_table_says_what_lies_in_the_file(metadata: Table) -> None:
    staged = _stage(metadata, _rows())

    assert (staged.partition, staged.row_count, staged.ordinals) == (GA, 3, ())
    assert staged.size_bytes == Path(_local(staged)).stat().st_size
    assert staged.split_offsets == (4,)
    found = {
        name: (each.value_count, each.null_count, each.lower, each.upper)
        for name, each in _by_name(metadata, staged).items()
    }
    assert found == {
        "release": (3, 0, GA.release, GA.release),
        "state": (3, 0, "GA", "GA"),
        "upgrade": (3, 0, 0, 0),
        "bldg_id": (3, 0, 1, 3),
        "grain": (3, 0, "building", "building"),
        "county_gisjoin": (3, 1, "G1300010", "G1300030"),
        "weight": (3, 0, 0.25, 8.5),
        "applicability": (3, 1, False, True),
        "in_floors": (3, 1, 7, 9),
        "in_puma": (3, 3, None, None),
        "in_vintage": (3, 0, "1970s", "Zürich"),
        "out_total_kwh": (3, 1, -2.5, 1.5),
    }


def test_stage_table_has_field_ids_and_only_encodings_that_iceberg_reads(metadata: Table) -> None:
    ids = field_ids(metadata)

    staged = _stage(metadata, _rows())

    with pq.ParquetFile(_local(staged)) as file:
        schema, footer = file.schema_arrow, file.metadata.row_group(0)
    assert {each.name: int(each.metadata[b"PARQUET:field_id"]) for each in schema} == {
        name: ids[name] for name in _rows().column_names
    }
    for at, name in enumerate(schema.names):
        column = footer.column(at)
        is_text = pa.types.is_string(schema.field(name).type)
        # RLE is that of the levels, which tell nulls: pages of version 1 have values in no other.
        assert set(column.encodings) == {"PLAIN", "RLE"} | (
            {"RLE_DICTIONARY"} if is_text else set()
        )
        assert column.has_dictionary_page == is_text
        assert column.compression == "ZSTD"


def test_statistics_only_where_asked_for(metadata: Table) -> None:
    staged = _stage(metadata, _rows(), statistics_for=FILTER_COLUMNS)
    replace_partitions(metadata, [GA], [staged], run_id="run-1")

    wanted = {
        "bldg_id",
        "grain",
        "county_gisjoin",
        "weight",
        "applicability",
        "in_puma",
        "in_vintage",
    }
    assert set(_by_name(metadata, staged)) == wanted
    ids = field_ids(metadata.refresh())
    (task,) = metadata.scan().plan_files()
    assert set(task.file.value_counts) == {ids[name] for name in wanted}
    bounds = {}
    for name in wanted - {"in_puma"}:
        kind = metadata.schema().find_type(name)
        assert isinstance(kind, PrimitiveType)
        bounds[name] = from_bytes(kind, task.file.lower_bounds[ids[name]])
    assert bounds == {
        "bldg_id": 1,
        "grain": "building",
        "county_gisjoin": "G1300010",
        "weight": 0.25,
        "applicability": False,
        "in_vintage": "1970s",
    }
    assert ids["in_puma"] not in task.file.lower_bounds
    with pq.ParquetFile(_local(staged)) as file:
        footer, names = file.metadata.row_group(0), file.schema_arrow.names
    assert {n for at, n in enumerate(names) if footer.column(at).is_stats_set} == wanted


def test_statistics_of_several_row_groups_are_those_of_all(metadata: Table) -> None:
    nan = float("nan")
    rows = _rows(out_total_kwh=[nan, 1.5, None], in_floors=pa.array([None, 5, 4], pa.int64()))

    staged = _stage(metadata, rows, row_group_rows=1)

    assert len(staged.split_offsets) == 3
    found = _by_name(metadata, staged)
    assert (found["bldg_id"].lower, found["bldg_id"].upper) == (1, 3)
    assert (found["in_floors"].lower, found["in_floors"].upper) == (4, 5)
    assert found["in_floors"].null_count == 1
    # A group of NaN alone has no bounds, and then the file has none.
    assert (found["out_total_kwh"].lower, found["out_total_kwh"].upper) == (None, None)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("applicability = true", [3]),
        ("applicability is null", [1]),
        ("in_puma is null", [1, 2, 3]),
        ("in_puma = 'x'", []),
        ("completed_status is null", [1, 2, 3]),
        ("in_vintage = 'None'", [1]),
        ("out_total_kwh < 0", [2]),
        ("weight >= 1", [2, 3]),
        ("bldg_id > 3", []),
    ],
)
def test_pyiceberg_filters_by_every_kind_of_column(
    metadata: Table, condition: str, ids: list[int]
) -> None:
    staged = _stage(metadata, _rows(), statistics_for=FILTER_COLUMNS)
    replace_partitions(metadata, [GA], [staged], run_id="run-1")

    found = metadata.refresh().scan(row_filter=condition).to_arrow()

    assert sorted(found["bldg_id"].to_pylist()) == ids


def test_duckdb_reads_what_was_staged(metadata: Table) -> None:
    staged = _stage(metadata, _rows(), statistics_for=FILTER_COLUMNS)

    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT bldg_id, county_gisjoin, applicability, in_floors, in_puma, in_vintage, "
            f"out_total_kwh FROM read_parquet('{_local(staged)}', hive_partitioning=false)"
        ).fetchall()

    assert rows == [
        (3, "G1300010", True, 7, None, "1970s", 1.5),
        (1, "G1300030", None, None, None, "None", None),
        (2, None, False, 9, None, "Zürich", -2.5),
    ]


def test_dictionary_encoded_text_reads_back_as_text(metadata: Table) -> None:
    rows = _rows(in_vintage=pa.array(["1970s", None, "1970s"]).dictionary_encode())
    staged = _stage(metadata, rows)
    replace_partitions(metadata, [GA], [staged], run_id="run-1")

    found = metadata.refresh().scan().to_arrow()

    with pq.ParquetFile(_local(staged)) as file:
        at = file.schema_arrow.names.index("in_vintage")
        assert file.metadata.row_group(0).column(at).has_dictionary_page
    assert found["in_vintage"].to_pylist() == ["1970s", None, "1970s"]
    assert _by_name(metadata, staged)["in_vintage"].upper == "1970s"


def test_stage_table_without_rows_is_an_empty_file(metadata: Table) -> None:
    staged = _stage(metadata, _rows().slice(0, 0))
    replace_partitions(metadata, [GA], [staged], run_id="run-1")

    assert staged.row_count == 0
    assert metadata.refresh().scan().to_arrow().num_rows == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_sqft": [1.0] * 3, "a": [1] * 3}, "no field ids for a, in_sqft"),
        ({"in_puma": pa.nulls(3)}, "columns without a type: in_puma"),
        ({"state": ["GA", "AL", "GA"]}, "rows of state 'AL' are not of release="),
        ({"upgrade": pa.array([0, 1, None], pa.int32())}, "rows of upgrade 1 are not of"),
        ({"release": ["GA", None, "x"]}, "rows of release 'GA' are not of"),
    ],
)
def test_stage_table_refuses_rows_that_no_reader_would_find_right(
    metadata: Table, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _stage(metadata, _rows(**changes))

    assert not list(Path(metadata.location().removeprefix("file://")).rglob("*.parquet"))


def test_weights_are_staged_and_replaced(place: CatalogLocation) -> None:
    table = open_table(open_catalog(place), place, building_weights_definition())

    for run, weight in (("run-1", 1.0), ("run-2", 2.5)):
        rows = pa.table(
            {
                "release": [GA.release],
                "state": ["GA"],
                "upgrade": pa.array([0], pa.int32()),
                "geography_kind": ["county"],
                "geography": ["G1300010"],
                "bldg_id": [98542],
                "weight": [weight],
                "floor_area_ft2": [7500.0],
            }
        )
        replace_partitions(table, [GA], [stage_rows(table, GA, rows, run_id=run)], run_id=run)

    found = table.refresh().scan().to_arrow().select(["bldg_id", "weight", "vintage"])
    assert found.to_pylist() == [{"bldg_id": 98542, "weight": 2.5, "vintage": None}]


def test_stage_rows_without_a_required_column_is_a_publish_error(hourly: Table) -> None:
    rows = pa.table({"release": [GA.release], "state": ["GA"], "bldg_id": [1]})

    with pytest.raises(PublishError, match="the rows lack upgrade, hour_start"):
        stage_rows(hourly, GA, rows, run_id="run-1")


def test_stage_rows_keeps_stamps_as_they_are(hourly: Table) -> None:
    first = datetime(2018, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    rows = pa.table(
        {
            "release": [GA.release],
            "state": ["GA"],
            "upgrade": [0],
            "bldg_id": [1],
            "hour_start": pa.array([first], pa.timestamp("us")),
            "total_kwh": [1.5],
        }
    )
    staged = stage_rows(hourly, GA, rows, run_id="run-1")
    replace_partitions(hourly, [GA], [staged], run_id="run-1")

    assert hourly.refresh().scan().to_arrow()["hour_start"].to_pylist() == [first]
