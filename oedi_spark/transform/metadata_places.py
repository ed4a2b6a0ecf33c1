"""Where the weight of a metadata row counts: state, county, PUMA, tract; and the row's grain.

`in.as_simulated_*` is never asked: it is where the model was simulated, and from ComStock 2024
release 2 on that can be another state than the one whose stock the row stands for (domain sheet
§5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import Grain, MetadataFile, MetadataPattern, WeightModel
from oedi_spark.errors import FileFault
from oedi_spark.source.states import STATE_NAMES, STATE_OF_FIPS
from oedi_spark.transform.metadata_values import read_labels

TRACT = "in.nhgis_tract_gisjoin"
COUNTY_COLUMNS = ("in.nhgis_county_gisjoin", "in.county")
PUMA_COLUMNS = ("in.nhgis_puma_gisjoin", "in.puma")
_STATE_CODES = (
    "in.state",
    "in.state_abbreviation",
    "in.nhgis_state_gisjoin",
    "in.state_name",
    "state",
)
_PLACE_NAMES = (*COUNTY_COLUMNS, TRACT, *PUMA_COLUMNS, "in.county_name", "in.resstock_county_id")
STATE_COLUMNS = (*_STATE_CODES, *_PLACE_NAMES)
"""Columns that tell a row's state, the plainest first."""
PLACE_COLUMNS = frozenset(STATE_COLUMNS)

_STATE_OF_NAME = {name.lower(): state for state, name in STATE_NAMES.items()}
_POSTAL = re.compile(r"(?!NA)[A-Z]{2}")
_GISJOIN = re.compile(r"G(?P<fips>[0-9]{2})[0-9]*")
_COUNTY = re.compile(r"G[0-9]{7}")
_PUMA = re.compile(r"G[0-9]{8}")
_TRACT = re.compile(r"(?P<county>G[0-9]{7})[0-9]{4,6}")
_PREFIXED = re.compile(r"(?P<state>[A-Z]{2}), .+")
_COUNTY_FIPS = re.compile(r"(?P<state>[0-9]{2})(?P<county>[0-9]{3})")
_FILLERS = frozenset({"", "NOT APPLICABLE", "NA", "N/A", "NAN", "NONE", "NULL", "UNKNOWN"})
_CODED = ("in.state", "in.state_abbreviation", COUNTY_COLUMNS[0], TRACT)
"""Columns that hold nothing but codes: a word in one that is no code is worth a note."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Where each row of a file counts; null where the file does not say.

    `contradictory`: rows of which two columns name different states. `notes`: labels that are
    no place, and rows whose tract lies in another county than the one they name.
    """

    state: pa.Array
    contradictory: Mask
    county: pa.Array
    puma: pa.Array
    tract: pa.Array
    has_tract_column: bool
    notes: tuple[str, ...] = ()


def tell_places(
    columns: Mapping[str, pa.ChunkedArray], file: MetadataFile, ids: NDArray[np.int64]
) -> Places:
    """Read the geography of every row out of the file's place columns.

    A row that says nothing is taken from the file's key: its state, and in a county file its
    county.

    Raises:
        FileFault: `state_contradicts_name` or `county_contradicts_name`.
    """
    labels = {
        name: read for name, each in columns.items() if (read := read_labels(each)) is not None
    }
    said = {
        name: _translate(labels[name], _state_of_code if name in _STATE_CODES else _state_of_place)
        for name in STATE_COLUMNS
        if name in labels
    }
    nothing = pa.nulls(len(ids), pa.string())
    state = pc.coalesce(*said.values(), nothing)
    if file.state is not None:
        _require_state(said, file.state, ids)
        state = pc.fill_null(state, file.state)
    contradictory = np.zeros(len(ids), dtype=bool)
    for each in said.values():
        contradictory |= _differs(each, state)
    tract = _translate(labels[TRACT], _tract) if TRACT in labels else nothing
    counties = [_translate(labels[name], _county) for name in COUNTY_COLUMNS if name in labels]
    pumas = [_translate(labels[name], _puma) for name in PUMA_COLUMNS if name in labels]
    county_of_tract = _translate(tract, _county_of_tract)
    county = pc.coalesce(*counties, county_of_tract, nothing)
    misplaced = _differs(county_of_tract, county)
    notes = [_note_odd(name, labels[name], ids) for name in _CODED if name in labels]
    if misplaced.any():
        notes.append(f"the tract is not in the county of {describe_rows(misplaced, ids)}")
    return Places(
        state=state,
        contradictory=contradictory,
        county=_require_county(county, file, ids),
        puma=pc.coalesce(*pumas, nothing),
        tract=tract,
        has_tract_column=TRACT in columns,
        notes=tuple(filter(None, notes)),
    )


def tell_states(
    columns: Mapping[str, pa.ChunkedArray], file: MetadataFile, ids: NDArray[np.int64]
) -> pa.Array:
    """The state of each row; null where it cannot be told."""
    places = tell_places(columns, file, ids)
    return pc.if_else(pa.array(~places.contradictory), places.state, pa.scalar(None, pa.string()))


def tell_grain(
    file: MetadataFile,
    weight_model: WeightModel | None,
    places: Places,
    ids: NDArray[np.int64],
) -> Grain:
    """What one row of a file is.

    It is the whole file's: which states are wanted of a national one does not change it. Only
    where neither the release nor the key says, the ids do: a building that comes twice in one
    state cannot be the row.
    """
    if weight_model is WeightModel.BUILDING:
        return Grain.BUILDING
    by_pattern = {
        MetadataPattern.COUNTY_FULL: Grain.TRACT if places.has_tract_column else Grain.COUNTY,
        MetadataPattern.AGG_COUNTY: Grain.COUNTY,
        MetadataPattern.AGG_PUMA: Grain.PUMA,
        MetadataPattern.AGG_STATE: Grain.STATE,
        MetadataPattern.AGG_NATIONAL: Grain.STATE,
    }
    if file.pattern in by_pattern:
        return by_pattern[file.pattern]
    if weight_model is None and _is_unique(places.state, ids):
        return Grain.BUILDING
    if places.has_tract_column:
        return Grain.TRACT
    return Grain.BUILDING if weight_model is None else Grain.STATE


def describe_rows(mask: Mask, ids: NDArray[np.int64]) -> str:
    """How many rows a mask selects, and the first of them by building."""
    return f"{int(mask.sum()):,} of {len(mask):,} rows, such as building {ids[mask].min()}"


def _note_odd(name: str, labels: pa.Array, ids: NDArray[np.int64]) -> str:
    """What a column of codes holds that is neither a code nor a word for nothing."""
    if name == TRACT:
        meaning: Callable[[str], str | None] = _tract
    else:
        meaning = _county if name in COUNTY_COLUMNS else _state_of_code
    read = _translate(labels, lambda text: text if _plain(text) in _FILLERS else meaning(text))
    odd = pc.and_(pc.is_valid(labels), pc.is_null(read))
    mask = pa.chunked_array([odd]).to_numpy() if isinstance(odd, pa.Array) else odd.to_numpy()
    if not mask.any():
        return ""
    example = labels.filter(odd)[0].as_py()
    return f"{name} {example[:40]!r} is no code, in {describe_rows(mask, ids)}"


def _require_state(said: Mapping[str, pa.Array], state: str, ids: NDArray[np.int64]) -> None:
    for name, each in said.items():
        others = _differs(each, pa.scalar(state))
        if others.any():
            example = each.filter(pa.array(others & (ids == ids[others].min())))[0].as_py()
            raise FileFault(
                Reason.STATE_CONTRADICTS_NAME,
                f"{name} says {example}, the folder {state}: {describe_rows(others, ids)}",
            )


def _require_county(county: pa.Array, file: MetadataFile, ids: NDArray[np.int64]) -> pa.Array:
    if file.county is None:
        return county
    expected = file.county.upper()
    others = _differs(county, pa.scalar(expected))
    if others.any():
        example = county.filter(pa.array(others & (ids == ids[others].min())))[0].as_py()
        raise FileFault(
            Reason.COUNTY_CONTRADICTS_NAME,
            f"rows say {example}, the file name {expected}: {describe_rows(others, ids)}",
        )
    return pc.fill_null(county, expected)


def _differs(left: pa.Array, right: pa.Array | pa.Scalar) -> Mask:
    """Where both are there and not equal."""
    found: Mask = pc.fill_null(pc.not_equal(left, right), fill_value=False).to_numpy(
        zero_copy_only=False
    )
    return found


def _is_unique(state: pa.Array, ids: NDArray[np.int64]) -> bool:
    pairs = pa.table({"state": state, "bldg_id": ids}).filter(pc.is_valid(state))
    return bool(pairs.group_by(["state", "bldg_id"]).aggregate([]).num_rows == pairs.num_rows)


def _translate(
    labels: pa.ChunkedArray | pa.Array, meaning: Callable[[str], str | None]
) -> pa.Array:
    """Look each distinct label up once."""
    whole = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    coded = whole.dictionary_encode()
    words = [None if word is None else meaning(word) for word in coded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(coded.indices)


def _state_of_code(text: str) -> str | None:
    """A postal code in either case, also of no state of ours: GA is not the place for ZZ."""
    plain = _plain(text)
    if _POSTAL.fullmatch(plain):
        return plain
    if match := _GISJOIN.fullmatch(plain):
        return STATE_OF_FIPS.get(match["fips"])
    if plain.isascii() and plain.isdigit():
        return STATE_OF_FIPS.get(plain.zfill(2))
    return _STATE_OF_NAME.get(plain.lower())


def _state_of_place(text: str) -> str | None:
    """`CO` of `G0800590`, `08059` and `CO, Jefferson County`; not of a county called Washington."""
    plain = _plain(text)
    if match := _GISJOIN.fullmatch(plain) or _GISJOIN.fullmatch(_county(plain) or ""):
        return STATE_OF_FIPS.get(match["fips"])
    match = _PREFIXED.fullmatch(plain)
    return match["state"] if match and match["state"] in STATE_NAMES else None


def _county(text: str) -> str | None:
    """A county's GISJOIN, also of its FIPS code: `G0800590` is `08059` (domain sheet §5)."""
    plain = _plain(text)
    if _COUNTY.fullmatch(plain):
        return plain
    match = _COUNTY_FIPS.fullmatch(plain.zfill(5)) if len(plain) >= 4 else None
    if match is None or match["state"] not in STATE_OF_FIPS:
        return None
    return f"G{match['state']}0{match['county']}0"


def _puma(text: str) -> str | None:
    plain = _plain(text)
    return plain if _PUMA.fullmatch(plain) else None


def _tract(text: str) -> str | None:
    plain = _plain(text)
    return plain if _TRACT.fullmatch(plain) else None


def _plain(text: str) -> str:
    return text.strip().upper()


def _county_of_tract(text: str) -> str | None:
    match = _TRACT.fullmatch(text)
    return match["county"] if match else None


def wanted_states(file: MetadataFile, states: Collection[str]) -> tuple[str, ...]:
    """The states to be made of a file: its own, or of a national one those asked for."""
    return (file.state,) if file.state is not None else tuple(sorted(set(states)))
