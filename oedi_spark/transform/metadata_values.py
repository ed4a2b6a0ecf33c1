"""The content of a metadata column in the kind that its name has given it, or beside it.

Nothing is refused and nothing is invented: what a double cannot hold goes, the whole column of
the file, to a string column beside it. That depends on the file only, not on what else has been
loaded, nor on which of its rows are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oedi_spark.contracts_metadata import ColumnKind

ARROW_TYPES = {
    ColumnKind.DOUBLE: pa.float64(),
    ColumnKind.STRING: pa.string(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.LONG: pa.int64(),
}

_BOOLEAN_WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Fitted:
    """A column in its kind. `text` has the content instead when it does not fit."""

    values: pa.ChunkedArray
    text: pa.ChunkedArray | None = None


def fit_column(column: pa.ChunkedArray, kind: ColumnKind) -> Fitted | None:
    """A column's content as its kind; None for what is neither number, time nor text.

    NaN is null: pandas, which wrote the files, has no other null for numbers.
    """
    plain = _plain(column)
    if plain is None:
        return None
    if kind is ColumnKind.STRING:
        found = read_labels(plain)
        return None if found is None else Fitted(found)
    fitted = read_numbers(plain) if kind is ColumnKind.DOUBLE else _booleans(plain)
    if fitted is not None:
        return Fitted(fitted)
    text = read_labels(plain)
    if text is None:
        return None
    return Fitted(pa.chunked_array([pa.nulls(len(plain), ARROW_TYPES[kind])]), text)


def read_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Doubles, or None when one value is no number, or would change by becoming one.

    Integers beyond 2**53 would change. Infinity and NaN as text are words, not numbers; NaN in
    a column of floats is null.
    """
    column = _plain(column)
    if column is None:
        return None
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    elif not (_is_number(kind) or _is_text(kind) or pa.types.is_null(kind)):
        return None
    try:
        doubles = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    if _is_text(kind) and not pc.all(pc.is_finite(doubles), min_count=0).as_py():
        return None
    return _without_nan(doubles)


def read_labels(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Strings, the same whatever type a file has chosen: 3, 3.0 and "3" are all `3`.

    None for bytes that are no text, and for types that have no text.
    """
    column = _plain(column)
    if column is None:
        return None
    if pa.types.is_floating(column.type):
        return _spell(_without_nan(column), _spell_float)
    if pa.types.is_decimal(column.type):
        return _spell(column, _spell_decimal)
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Out of its dictionary or extension, and proved to be what its type says; None if not."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind):
        return None
    if _is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            # Parquet does not check that a string is UTF-8; whoever reads it next might.
            column.validate(full=True)
        except pa.ArrowInvalid:
            return None
    return column


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    is_nan = pc.is_nan(column)
    if not pc.any(is_nan).as_py():
        return column
    return pc.if_else(is_nan, pa.scalar(None, column.type), column)


def _booleans(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pa.types.is_boolean(column.type):
        return column
    labels = read_labels(column)
    if labels is None:
        return None
    words = labels.combine_chunks().dictionary_encode()
    meanings = [_BOOLEAN_WORDS.get(word.lower()) for word in words.dictionary.to_pylist()]
    if None in meanings:
        return None
    return pa.chunked_array([pa.array(meanings, pa.bool_()).take(words.indices)])


def _spell(column: pa.ChunkedArray, spell: Callable[[Any], str]) -> pa.ChunkedArray:
    """Spell each distinct value once."""
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary
    listed = values.to_numpy() if pa.types.is_floating(values.type) else values.to_pylist()
    words = pa.array([spell(value) for value in listed], pa.string())
    return pa.chunked_array([words.take(coded.indices)])


def _spell_float(value: np.floating[Any]) -> str:
    """Integers without a point; else the shortest text that reads back as the same float."""
    number = float(value)
    if math.isfinite(number) and number.is_integer() and abs(number) < 2**63:
        return str(int(number))
    return str(value)


def _spell_decimal(value: Decimal) -> str:
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
