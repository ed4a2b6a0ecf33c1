"""The content of a column in its kind, or as text beside it; nothing lost, nothing invented."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.contracts_metadata import ColumnKind
from oedi_spark.transform.metadata_values import fit_column, read_labels

DOUBLE, STRING, BOOLEAN = ColumnKind.DOUBLE, ColumnKind.STRING, ColumnKind.BOOLEAN
NAN = float("nan")


def _column(values: list[object], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """The values in two chunks, as two row groups give them."""
    half = len(values) // 2
    whole = pa.array(values, kind)
    return pa.chunked_array([whole[:half], whole[half:]], whole.type)


def _fit(column: pa.ChunkedArray, kind: ColumnKind) -> tuple[list[object], list[object] | None]:
    fitted = fit_column(column, kind)
    assert fitted is not None
    types = {DOUBLE: pa.float64(), STRING: pa.string(), BOOLEAN: pa.bool_()}
    assert fitted.values.type == types[kind]
    if fitted.text is None:
        return fitted.values.to_pylist(), None
    assert fitted.text.type == pa.string()
    return fitted.values.to_pylist(), fitted.text.to_pylist()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, None], pa.int64(), [1.0, 2.0, None]),
        ([1, 200], pa.uint8(), [1.0, 200.0]),
        ([0.5, 0.25], pa.float32(), [0.5, 0.25]),
        ([0.5, 0.25], pa.float16(), [0.5, 0.25]),
        ([NAN, 1.5], pa.float64(), [None, 1.5]),
        ([Decimal("1.50"), None], pa.decimal128(5, 2), [1.5, None]),
        ([True, False, None], pa.bool_(), [1.0, 0.0, None]),
        (["1", "-2.5e3", None], pa.string(), [1.0, -2500.0, None]),
        (["7", "8"], pa.large_string(), [7.0, 8.0]),
        ([None, None], pa.null(), [None, None]),
        ([None, None], pa.string(), [None, None]),
        ([2**53, -(2**53)], pa.int64(), [9007199254740992.0, -9007199254740992.0]),
    ],
)
def test_numbers_become_doubles(
    values: list[object], kind: pa.DataType, expected: list[object]
) -> None:
    assert _fit(_column(values, kind), DOUBLE) == (expected, None)


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        (["1", "n/a", None], pa.string(), ["1", "n/a", None]),
        (["1", ""], pa.string(), ["1", ""]),
        (["inf", "1"], pa.string(), ["inf", "1"]),
        (["nan", "1"], pa.string(), ["nan", "1"]),
        (["1e999", "1"], pa.string(), ["1e999", "1"]),
        ([2**53 + 1, 1], pa.int64(), ["9007199254740993", "1"]),
        ([0, 1], pa.date32(), ["1970-01-01", "1970-01-02"]),
    ],
)
def test_what_is_no_double_goes_to_the_text_whole(
    values: list[object], kind: pa.DataType, text: list[object]
) -> None:
    assert _fit(_column(values, kind), DOUBLE) == ([None] * len(values), text)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([3, None], pa.int64(), ["3", None]),
        ([3.0, None], pa.float64(), ["3", None]),
        ([3.0, NAN], pa.float64(), ["3", None]),
        ([Decimal("3.00"), Decimal("3.50")], pa.decimal128(5, 2), ["3", "3.5"]),
        ([Decimal("300"), Decimal("0")], pa.decimal128(5, 0), ["300", "0"]),
        ([0.1, -0.0, 1e18], pa.float64(), ["0.1", "0", "1000000000000000000"]),
        ([0.1, 2.5], pa.float32(), ["0.1", "2.5"]),
        ([True, False, None], pa.bool_(), ["true", "false", None]),
        (["None", "10+", None], pa.string(), ["None", "10+", None]),
        ([b"abc", None], pa.binary(), ["abc", None]),
        ([None, None], pa.null(), [None, None]),
    ],
)
def test_a_label_is_spelled_the_same_whatever_its_type(
    values: list[object], kind: pa.DataType, expected: list[object]
) -> None:
    assert _fit(_column(values, kind), STRING) == (expected, None)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, None], pa.bool_(), ([True, None], None)),
        ([1, 0], pa.int64(), ([True, False], None)),
        ([1.0, 0.0], pa.float64(), ([True, False], None)),
        (["True", "FALSE", None], pa.string(), ([True, False, None], None)),
        ([None, None], pa.null(), ([None, None], None)),
        ([2, 0], pa.int64(), ([None, None], ["2", "0"])),
    ],
)
def test_booleans_of_all_types(
    values: list[object], kind: pa.DataType, expected: tuple[list[object], list[object] | None]
) -> None:
    assert _fit(_column(values, kind), BOOLEAN) == expected


def test_dictionaries_are_decoded() -> None:
    words = pa.chunked_array([pa.array(["b", None, "a", "b"]).dictionary_encode()])
    numbers = pa.chunked_array([pa.array([5, 6, 5]).dictionary_encode()])

    assert _fit(words, STRING) == (["b", None, "a", "b"], None)
    assert _fit(numbers, STRING) == (["5", "6", "5"], None)
    assert _fit(numbers, DOUBLE) == ([5.0, 6.0, 5.0], None)


@pytest.mark.parametrize("kind", [DOUBLE, STRING, BOOLEAN])
def test_lists_structs_and_bytes_are_no_column(kind: ColumnKind) -> None:
    not_utf8 = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff")]
    )
    for values in (pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"\xff"]), not_utf8):
        assert fit_column(pa.chunked_array([values]), kind) is None


@given(st.lists(st.integers(-(2**53), 2**53) | st.none(), min_size=1))
def test_an_integer_file_and_a_double_file_give_the_same_labels(values: list[int | None]) -> None:
    integers = read_labels(_column(list(values), pa.int64()))
    doubles = read_labels(_column([None if v is None else float(v) for v in values], pa.float64()))

    assert integers is not None
    assert doubles is not None
    assert integers.to_pylist() == doubles.to_pylist()
    assert integers.to_pylist() == [None if v is None else str(v) for v in values]


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_a_label_of_a_double_reads_back_as_that_double(values: list[float]) -> None:
    labels = read_labels(_column(list(values), pa.float64()))

    assert labels is not None
    assert [float(label) for label in labels.to_pylist()] == values
