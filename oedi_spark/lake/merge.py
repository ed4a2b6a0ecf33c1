"""Merge sorted streams of rows into one, and prove that none was lost, doubled or changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_Key = tuple[tuple[bool, object], ...]

_SEED = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)
_NULL = np.uint64(0xA5A5A5A5A5A5A5A5)


def merge_sorted(streams: Sequence[Iterator[pa.Table]], keys: Sequence[str]) -> Iterator[pa.Table]:
    """One sorted stream of several; of each only one table is in memory at a time.

    Args:
        streams: Each sorted by the keys, nulls last, over all its tables; all of one schema.
        keys: The columns. Without any, the streams follow one another.
    """
    if not keys:
        yield from chain.from_iterable(streams)
        return
    waiting = [(next(stream, None), stream) for stream in streams]
    while opened := [(rows, stream) for rows, stream in waiting if rows is not None]:
        if len(opened) == 1:
            yield opened[0][0]
            yield from opened[0][1]
            return
        # No stream has anything more to say about rows up to here.
        until = min(_key(rows, rows.num_rows - 1, keys) for rows, _ in opened)
        ready, waiting = [], []
        for rows, stream in opened:
            count = _count_up_to(rows, until, keys)
            ready.append(rows.slice(0, count))
            rest = rows.slice(count) if count < rows.num_rows else next(stream, None)
            waiting.append((rest, stream))
        yield _sorted(pa.concat_tables([each for each in ready if each.num_rows]), keys)


def is_sorted(rows: pa.Table, keys: Sequence[str]) -> bool:
    """Whether rows lie in the order of the keys, nulls last."""
    order = _order(rows, keys).to_numpy()
    return bool(np.array_equal(order, np.arange(len(order))))


def sort_rows(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The rows in the order of the keys, nulls last; equal ones as they came."""
    return rows.take(_order(rows, keys))


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    return rows if is_sorted(rows.select(keys), keys) else sort_rows(rows, keys)


def _order(rows: pa.Table, keys: Sequence[str]) -> pa.Array:
    return pc.sort_indices(
        rows, sort_keys=[(key, "ascending") for key in keys], null_placement="at_end"
    )


def _key(rows: pa.Table, at: int, keys: Sequence[str]) -> _Key:
    values = (rows[key][at].as_py() for key in keys)
    return tuple((value is None, value) for value in values)


def _count_up_to(rows: pa.Table, until: _Key, keys: Sequence[str]) -> int:
    """How many leading rows are not beyond a key."""
    low, high = 0, rows.num_rows
    while low < high:
        middle = (low + high) // 2
        if _key(rows, middle, keys) <= until:
            low = middle + 1
        else:
            high = middle
    return low


class RowDigest:
    """The rows that passed by, in whatever order: two of equal rows are equal.

    It adds up a hash of each row, over the bits of all its values and nulls.
    """

    def __init__(self) -> None:
        self.row_count = 0
        self._sum = np.uint64(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowDigest) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # it changes

    def add(self, rows: pa.Table) -> pa.Table:
        """Take note of rows; returns them. All must come with the same columns in one order."""
        hashed = np.full(rows.num_rows, _SEED)
        for column in rows.columns:
            hashed = (hashed ^ _mix(_bits(column))) * _ODD
            hashed ^= hashed >> _SHIFT
        self.row_count += rows.num_rows
        self._sum = np.add.reduce(hashed, initial=self._sum)
        return rows


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = (bits ^ (bits >> _SHIFT)) * _ODD
    return mixed ^ (mixed >> _SHIFT)


def _bits(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A number for each value: its bits, or a hash of what is no number."""
    kind = column.type
    if pa.types.is_floating(kind):
        bits = _as_numpy(column.cast(pa.float64()), 0.0).view(np.uint64).copy()
    elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        bits = _as_numpy(column.cast(pa.int64()), 0).view(np.uint64).copy()
    elif pa.types.is_boolean(kind):
        bits = _as_numpy(column.cast(pa.uint8()), 0).astype(np.uint64)
    else:
        bits = _hashed(column)
    if column.null_count:
        bits[column.is_null().to_numpy()] = _NULL
    return bits


def _as_numpy(column: pa.ChunkedArray, stand_in: float) -> NDArray[np.generic]:
    filled = column.fill_null(stand_in) if column.null_count else column
    values: NDArray[np.generic] = filled.to_numpy()
    return values


def _hashed(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Of text and the like: each distinct value is hashed once."""
    encoded = column.combine_chunks().dictionary_encode()
    hashes = np.array([_hash(value) for value in encoded.dictionary.to_pylist()], dtype=np.uint64)
    places = encoded.indices.fill_null(0).to_numpy()
    if not len(hashes):
        return np.zeros(len(places), dtype=np.uint64)
    found: NDArray[np.uint64] = hashes[places]
    return found


def _hash(value: object) -> int:
    text = f"{type(value).__name__}:{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
