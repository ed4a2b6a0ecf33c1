"""Published annual results by building: what the series of a partition are reconciled with.

In   the metadata rows of a partition, file by file, as they come in.
Out  one row per building in a small parquet file that waits beside the tables: its type, floor
     area and weight, and for each measure the published year and what was rounded off it.

A result is published per building (`out.*`), or multiplied by the weight of its row and in TBtu
(`calc.weighted.*`). Rows by tract repeat a building; what they say of it must be one thing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import MetadataColumn
from oedi_spark.lake.files import AMBIENT, S3Access, write_whole
from oedi_spark.transform.columns import Rule, canonical_name, describe_column
from oedi_spark.transform.metadata import MetadataRows

KWH_PER_KBTU = 0.2930710701722222
KWH_PER: Mapping[str, float] = MappingProxyType(
    {
        "kwh": 1.0,
        "gj": 1 / 0.0036,
        "kbtu": KWH_PER_KBTU,
        "mbtu": 1e3 * KWH_PER_KBTU,
        "mmbtu": 1e3 * KWH_PER_KBTU,
        "tbtu": 1e9 * KWH_PER_KBTU,
        "therm": 1e2 * KWH_PER_KBTU,
    }
)
"""NREL's MBtu is a million Btu (domain sheet §4)."""

GROUP = "enduse_group_"
"""Before a result that several end uses share: `enduse_group_electricity_hvac_…`."""

ROUNDING = "__rounding"
"""After the name of a measure: what may have been rounded off it."""

_ENERGY = re.compile(
    r"(?P<kind>out|calc\.weighted)\.(?P<body>.+\.energy_consumption)(?:\.{1,2}[a-z]+)?"
)
_OTHER = re.compile(r"out\.(emissions|total|load|hot_water)\..+")
_OTHER_UNITS = frozenset({"co2e_kg", "kbtu", "gal"})
_BUILDING_TYPES = (
    "in_comstock_building_type",
    "in_geometry_building_type_recs",
    "in_comstock_building_type_group",
)
KEYS = ("bldg_id", "building_type", "floor_area_ft2", "weight")
_MOST_DECIMALS = 12
_FEWEST_DIGITS = 0.005
"""Of a value: half a unit of its third digit, the coarsest that results are printed with."""

_SAME = 1e-6
"""Of a value: rows of one building may differ so much, their weights being rounded."""

_BUILDINGS_PER_GROUP = 2_000
_MERGE_ROWS = 50_000

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class _Result:
    """A metadata column that holds a measure's year, and what makes kWh of it."""

    measure: str
    column: str
    factor: float
    is_weighted: bool


def find_measures(columns: Collection[MetadataColumn]) -> tuple[str, ...]:
    """The measures, by their names in the waiting file, of which some columns hold the year."""
    return tuple(each.measure for each in _find_results(tuple(columns)))


@lru_cache(maxsize=16)
def _find_results(columns: tuple[MetadataColumn, ...]) -> tuple[_Result, ...]:
    """At most one column per measure: a result per building sooner than a weighted one."""
    found: dict[str, _Result] = {}
    for column in columns:
        result = _describe_result(column)
        if result is None:
            continue
        known = found.get(result.measure)
        if known is None or _rank(result) < _rank(known):
            found[result.measure] = result
    return tuple(found.values())


def _rank(result: _Result) -> tuple[bool, bool]:
    return result.is_weighted, result.factor != 1.0


def _describe_result(column: MetadataColumn) -> _Result | None:
    source = column.source_name.lower()
    match = _ENERGY.fullmatch(source)
    if match and column.kind == "double" and column.unit in KWH_PER:
        is_weighted = match["kind"] != "out"
        is_group = match["body"].startswith("enduse_group.")
        stem = match["body"] if is_group else f"out.{match['body']}"
        return _Result(canonical_name(stem, "kwh"), column.name, KWH_PER[column.unit], is_weighted)
    if not match and column.unit in _OTHER_UNITS and _OTHER.fullmatch(source):
        series = describe_column(source)
        if series.known and series.rule == Rule.SUM and series.name == column.name:
            return _Result(column.name, column.name, 1.0, is_weighted=False)
    return None


@dataclass
class _Piece:
    """Buildings in order, and between which values each of their years was published.

    `lows` and `highs` have a row per measure and a column per building; NaN: not published.
    """

    measures: tuple[str, ...]
    ids: Indices
    types: NDArray[np.object_]
    areas: Floats
    weights: Floats
    lows: Floats
    highs: Floats


class PublishedCollector:
    """Gathers the published results of one partition, one metadata file after another."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._pieces: list[_Piece] = []
        self._waiting = 0

    def add(self, rows: MetadataRows) -> None:
        """Take the rows of one file; memory grows with its buildings, not with its rows."""
        results = _find_results(rows.columns)
        if not results or not rows.rows.num_rows:
            return
        self._pieces.append(_reduce_piece(_read_piece(rows.rows, results)))
        self._waiting += len(self._pieces[-1].ids)
        if self._waiting > _MERGE_ROWS:
            self._pieces = [_merge(self._pieces)]
            self._waiting = 0

    def finish(self) -> tuple[pa.Table | None, tuple[str, ...]]:
        """The rows of the waiting file, in order of bldg_id, and what is odd; None: no results."""
        if not self._pieces:
            return None, ()
        whole = _merge(self._pieces)
        self._pieces = []
        values = (whole.lows + whole.highs) / 2
        torn = whole.lows - whole.highs > _SAME * np.abs(values)
        values[torn] = np.nan
        halves = np.maximum((whole.highs - whole.lows) / 2, 0.0)
        columns: dict[str, pa.Array] = {
            "bldg_id": pa.array(whole.ids),
            "building_type": pa.array(whole.types, pa.string(), from_pandas=True),
            "floor_area_ft2": pa.array(whole.areas),
            "weight": pa.array(whole.weights),
        }
        for at, measure in enumerate(whole.measures):
            columns[measure] = pa.array(values[at])
            columns[measure + ROUNDING] = pa.array(halves[at])
        return pa.table(columns), tuple(_note_torn(whole, torn))


def _note_torn(whole: _Piece, torn: NDArray[np.bool_]) -> list[str]:
    return [
        f"{int(mask.sum()):,} buildings have rows that disagree on {measure}, such as "
        f"{int(whole.ids[mask][0])}; their series are not held against it"
        for measure, mask in zip(whole.measures, torn, strict=True)
        if mask.any()
    ]


def _read_piece(rows: pa.Table, results: Sequence[_Result]) -> _Piece:
    """The rows of a file as they are: a building may come many times."""
    weights = read_floats(rows, "weight")
    lows = np.empty((len(results), len(weights)))
    highs = np.empty_like(lows)
    says_something = np.zeros(len(weights), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for at, result in enumerate(results):
            values = read_floats(rows, result.column)
            says_something |= (values != 0) & np.isfinite(values)
            halves = find_rounding(values) * result.factor
            values = values * result.factor
            if result.is_weighted:
                values, halves = values / weights, halves / weights
            values[~np.isfinite(values)] = np.nan
            np.subtract(values, halves, out=lows[at])
            np.add(values, halves, out=highs[at])
        areas = _read_areas(rows, weights)
    if "applicability" in rows.column_names:
        # An upgrade that does not apply may have zeros in place of the baseline's results.
        applies = rows["applicability"].fill_null(True).to_numpy()
        silent = ~applies.astype(bool) & ~says_something
        lows[:, silent] = highs[:, silent] = np.nan
    return _Piece(
        measures=tuple(result.measure for result in results),
        ids=rows["bldg_id"].to_numpy(),
        types=_read_types(rows),
        areas=areas,
        weights=weights,
        lows=lows,
        highs=highs,
    )


def _read_areas(rows: pa.Table, weights: Floats) -> Floats:
    areas = np.full(len(weights), np.nan)
    if "calc_weighted_sqft_ft2" in rows.column_names:
        areas = read_floats(rows, "calc_weighted_sqft_ft2") / weights
    if "in_sqft_ft2" in rows.column_names:
        plain = read_floats(rows, "in_sqft_ft2")
        areas = np.where(np.isnan(plain), areas, plain)
    areas[~(areas > 0) | np.isinf(areas)] = np.nan
    return areas


def _read_types(rows: pa.Table) -> NDArray[np.object_]:
    name = next((name for name in _BUILDING_TYPES if name in rows.column_names), None)
    if name is None:
        return np.full(rows.num_rows, None, dtype=object)
    return np.array(rows[name].to_pylist(), dtype=object)


def read_floats(rows: pa.Table, name: str) -> Floats:
    """A column of numbers, NaN where there is none."""
    values: Floats = rows[name].to_numpy().astype(np.float64)
    return values


def find_rounding(values: Floats) -> Floats:
    """Half a unit of the last decimal that each value shows; 0 of one with all its digits.

    A value that ends in zeros shows fewer decimals than it was given with: so at most half a
    unit of its third digit. Of zero the finest of the others counts.
    """
    halves = np.zeros(len(values))
    due = np.flatnonzero((values != 0) & np.isfinite(values))
    due = due[np.round(values[due], _MOST_DECIMALS) == values[due]]
    for decimals in range(_MOST_DECIMALS + 1):
        if not len(due):
            break
        is_shown = np.round(values[due], decimals) == values[due]
        halves[due[is_shown]] = 0.5 * 10.0**-decimals
        due = due[~is_shown]
    np.minimum(halves, _FEWEST_DIGITS * np.abs(values), out=halves, where=np.isfinite(values))
    shown = halves[halves > 0]
    if len(shown):
        halves[values == 0] = shown.min()
    return halves


def _reduce_piece(piece: _Piece) -> _Piece:
    """One column per building: the values that all of its rows allow, and the weights' sum."""
    order = np.argsort(piece.ids, kind="stable")
    ids = piece.ids[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    if len(starts) == len(ids) and (order[1:] > order[:-1]).all():
        return piece
    first = order[starts]
    return _Piece(
        measures=piece.measures,
        ids=ids[starts],
        types=piece.types[first],
        areas=piece.areas[first],
        weights=np.add.reduceat(piece.weights[order], starts),
        lows=np.fmax.reduceat(piece.lows[:, order], starts, axis=1),
        highs=np.fmin.reduceat(piece.highs[:, order], starts, axis=1),
    )


def _merge(pieces: Sequence[_Piece]) -> _Piece:
    """The pieces of several files, some of which may have measures that others lack."""
    if len(pieces) == 1:
        return pieces[0]
    measures = tuple(dict.fromkeys(name for piece in pieces for name in piece.measures))
    count = sum(len(piece.ids) for piece in pieces)
    lows, highs = (np.full((len(measures), count), np.nan) for _ in range(2))
    start = 0
    for piece in pieces:
        places = [measures.index(name) for name in piece.measures]
        end = start + len(piece.ids)
        lows[places, start:end] = piece.lows
        highs[places, start:end] = piece.highs
        start = end
    return _reduce_piece(
        _Piece(
            measures=measures,
            ids=np.concatenate([piece.ids for piece in pieces]),
            types=np.concatenate([piece.types for piece in pieces]),
            areas=np.concatenate([piece.areas for piece in pieces]),
            weights=np.concatenate([piece.weights for piece in pieces]),
            lows=lows,
            highs=highs,
        )
    )


def published_uri(waiting_uri: str, partition: Partition) -> str:
    """Where the published results of a partition wait, in the folder of their run."""
    return f"{waiting_uri}/published/{partition}.parquet"


def write_published(table: pa.Table, uri: str, access: S3Access = AMBIENT) -> None:
    """Write the waiting file, whole or not at all, in groups that a batch reads a few of.

    Raises:
        OSError: It cannot be written.
    """
    sink = pa.BufferOutputStream()
    # Every batch reads all columns of it: LZ4 without dictionaries takes a quarter of the time.
    pq.write_table(
        table,
        sink,
        row_group_size=_BUILDINGS_PER_GROUP,
        compression="lz4",
        use_dictionary=["building_type"],
        write_statistics=["bldg_id"],
        store_schema=False,
    )
    write_whole(uri, sink.getvalue().to_pybytes(), access)
