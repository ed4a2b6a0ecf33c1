"""What a column holds: constants that are proved, NaN that hides, nulls, and other writers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from oedi_spark.contracts import IntervalStamp, Reason, ReleaseFacts, SourceFile
from oedi_spark.errors import FileFault
from oedi_spark.transform.reader import Measure, ProfileReader

ROWS = 35_040
NAN = float("nan")
TOTAL = "out.electricity.total.energy_consumption"
FACTS = ReleaseFacts("2024_comstock_amy2018_release_1", IntervalStamp.END, ROWS)
FILE = SourceFile(3, "p/7-0.parquet", 7, 1, None, "")
STAMPS = np.datetime64("2018-01-01T00:15", "us") + np.arange(ROWS) * np.timedelta64(15, "m")
Encode = Callable[[pa.Array, Path], bytes]


def _table(values: pa.Array) -> pa.Table:
    return pa.table({"timestamp": STAMPS, TOTAL: values, "bldg_id": np.full(ROWS, 7)})


def _encode(values: pa.Array, **options: Any) -> bytes:  # noqa: ANN401 - pyarrow's own options
    sink = io.BytesIO()
    pq.write_table(_table(values), sink, **({"compression": "snappy"} | options))
    return sink.getvalue()


def _by_pyarrow(values: pa.Array, _: Path) -> bytes:
    return _encode(values)


def _by_polars(values: pa.Array, _: Path) -> bytes:
    sink = io.BytesIO()
    frame = pl.from_arrow(_table(values))
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(sink, compression="snappy", row_group_size=ROWS)
    return sink.getvalue()


def _by_duckdb(values: pa.Array, folder: Path) -> bytes:
    path = folder / "duck.parquet"
    rows = _table(values)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        connection.execute(
            f"COPY rows TO '{path}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 100000)"
        )
    return path.read_bytes()


def _measure(data: bytes) -> Measure:
    (measure,) = ProfileReader(FACTS).read_profile(data, FILE).measures
    return measure


def _hours(measure: Measure) -> NDArray[np.float64]:
    """The sums of four, worked out here and not by the roll-up."""
    if measure.constant is not None:
        return np.full(ROWS // 4, 4 * measure.constant)
    assert measure.intervals is not None
    four = measure.intervals.astype(np.float64).reshape(-1, 4)
    return np.asarray(four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3])


def _filled(value: float, kind: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
    return np.full(ROWS, value, dtype=kind)


WRITERS = pytest.mark.parametrize("encode", [_by_pyarrow, _by_polars, _by_duckdb])


@WRITERS
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("hidden_at", [(0,), (20_000,), (ROWS - 1,), (0, 1_000, 20_000)])
def test_read_profile_finds_a_nan_in_a_column_of_one_value(
    encode: Encode, kind: type[np.floating[Any]], hidden_at: tuple[int, ...], tmp_path: Path
) -> None:
    values = _filled(0.5, kind)
    values[list(hidden_at)] = NAN

    measure = _measure(encode(pa.array(values), tmp_path))

    assert measure.constant is None
    hours = _hours(measure)
    assert np.flatnonzero(np.isnan(hours)).tolist() == sorted({at // 4 for at in hidden_at})
    assert set(hours[~np.isnan(hours)]) == {2.0}


def test_statistics_hide_a_nan() -> None:
    """The premise of the test above: what the footer says is no proof."""
    values = _filled(0.5)
    values[20_000] = NAN

    footer = pq.ParquetFile(io.BytesIO(_encode(pa.array(values)))).metadata.row_group(0).column(1)

    statistics = footer.statistics
    assert (statistics.min, statistics.max, statistics.null_count) == (0.5, 0.5, 0)
    assert footer.total_uncompressed_size < ROWS


@pytest.mark.parametrize("limit", [1, 8, 9, 64])
def test_read_profile_finds_a_nan_behind_a_dictionary_that_was_given_up(limit: int) -> None:
    values = _filled(0.5)
    values[20_000] = NAN

    data = _encode(pa.array(values), dictionary_pagesize_limit=limit, write_batch_size=128)

    assert np.flatnonzero(np.isnan(_hours(_measure(data)))).tolist() == [5_000]


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False},
        {"use_dictionary": False, "use_byte_stream_split": True},
        {"row_group_size": 7_001},
        {"data_page_version": "2.0"},
        {"write_statistics": False},
        {"data_page_size": 64, "write_batch_size": 16},
    ],
)
def test_read_profile_finds_a_nan_however_the_column_is_laid_out(options: dict[str, Any]) -> None:
    values = _filled(0.0)
    values[20_000] = NAN

    hours = _hours(_measure(_encode(pa.array(values), **options)))

    assert np.flatnonzero(np.isnan(hours)).tolist() == [5_000]


@WRITERS
@pytest.mark.parametrize("value", [0.0, 0.25, -1.5, 1e-300])
def test_read_profile_reads_a_column_of_one_value(
    encode: Encode, value: float, tmp_path: Path
) -> None:
    hours = _hours(_measure(encode(pa.array(_filled(value)), tmp_path)))

    assert hours.tolist() == [4 * value] * 8_760


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_read_profile_proves_a_constant_without_decoding_it(
    kind: type[np.floating[Any]],
) -> None:
    measure = _measure(_encode(pa.array(_filled(0.25, kind))))

    assert (measure.constant, measure.intervals) == (0.25, None)


@pytest.mark.parametrize("odd", [0.5000000000000001, -0.5, 0.0])
def test_read_profile_sees_a_single_other_value(odd: float) -> None:
    values = _filled(0.5)
    values[35_000] = odd

    measure = _measure(_encode(pa.array(values)))

    assert measure.constant is None
    assert _hours(measure)[8_750] == 0.5 + 0.5 + 0.5 + odd


def test_read_profile_of_a_column_of_nan_has_nan_everywhere() -> None:
    assert np.isnan(_hours(_measure(_encode(pa.array(_filled(NAN)))))).all()


@WRITERS
def test_read_profile_takes_a_null_for_a_missing_value(encode: Encode, tmp_path: Path) -> None:
    values = pa.array(_filled(0.5), mask=np.arange(ROWS) == 20_000)

    hours = _hours(_measure(encode(values, tmp_path)))

    assert np.flatnonzero(np.isnan(hours)).tolist() == [5_000]


@pytest.mark.parametrize(
    "values",
    [
        pa.nulls(ROWS),
        pa.nulls(ROWS, pa.float64()),
        pa.nulls(ROWS, pa.float32()),
        pa.nulls(ROWS, pa.int32()),
    ],
)
@pytest.mark.parametrize("row_group_size", [ROWS, 7_001])
def test_read_profile_of_a_column_without_any_value_has_none(
    values: pa.Array, row_group_size: int
) -> None:
    measure = _measure(_encode(values, row_group_size=row_group_size))

    assert (measure.constant, measure.intervals) == (None, None)


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.float16(), pa.decimal128(9, 2)],
)
def test_read_profile_reads_other_numbers_as_double(kind: pa.DataType) -> None:
    values = pa.array((np.arange(ROWS) % 100).astype(np.int64))
    if pa.types.is_decimal(kind):
        values = values.cast(pa.decimal128(21, 2))
    elif pa.types.is_float16(kind):
        values = pa.array((np.arange(ROWS) % 100).astype(np.float16))

    hours = _hours(_measure(_encode(values.cast(kind))))

    assert hours[:26].tolist() == [16.0 * at + 6.0 for at in range(25)] + [6.0]


def test_read_profile_reads_integers_with_nulls() -> None:
    values = pa.array(np.ones(ROWS, dtype=np.int32), mask=np.arange(ROWS) == 20_000)

    hours = _hours(_measure(_encode(values)))

    assert np.flatnonzero(np.isnan(hours)).tolist() == [5_000]
    assert set(hours[~np.isnan(hours)]) == {4.0}


def test_read_profile_refuses_integers_that_a_double_cannot_hold() -> None:
    values = pa.array(np.full(ROWS, 2**53 + 1))

    with pytest.raises(FileFault) as caught:
        _measure(_encode(values))

    assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize("row_group_size", [ROWS, 7_001, 1_001])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_read_profile_puts_row_groups_together_in_order(
    row_group_size: int, kind: type[np.floating[Any]]
) -> None:
    measure = _measure(
        _encode(pa.array(np.arange(ROWS).astype(kind)), row_group_size=row_group_size)
    )

    assert _hours(measure).tolist() == [16.0 * at + 6.0 for at in range(8_760)]


def test_read_profile_of_row_groups_of_one_value_each_is_no_constant() -> None:
    values = np.repeat([1.0, 2.0], ROWS // 2)

    measure = _measure(_encode(pa.array(values), row_group_size=ROWS // 2))

    assert _hours(measure).tolist() == [4.0] * 4_380 + [8.0] * 4_380


def test_read_profile_omits_what_it_has_no_rule_for() -> None:
    sink = io.BytesIO()
    table = _table(pa.array(_filled(1.0))).append_column("notes", pa.array(["x"] * ROWS))
    pq.write_table(table, sink)

    profile = ProfileReader(FACTS).read_profile(sink.getvalue(), FILE)

    assert [m.column.source_name for m in profile.measures] == [TOTAL]
    assert [column.source_name for column in profile.omitted] == ["notes"]
