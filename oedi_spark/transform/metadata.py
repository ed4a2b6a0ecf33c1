"""Normalise one metadata file: rows of the `metadata` table, by state.

In   the bytes of one parquet file of metadata and annual results, of any release.
Out  `MetadataRows`, one per state: the keys, then every column under its canonical name, in the
     type that its name gives it. Rows in order of bldg_id, county, tract, PUMA.

A file that contradicts its own key, or whose weights cannot be summed, is refused with a reason:
one such row would miscount every total that it is in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BufferedIOBase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oedi_spark.contracts import Partition, Reason
from oedi_spark.contracts_metadata import (
    Grain,
    MetadataColumn,
    MetadataFile,
    MetadataPeek,
    WeightModel,
)
from oedi_spark.errors import FileFault
from oedi_spark.transform.metadata_columns import (
    KEY_COLUMNS,
    UPGRADE,
    WEIGHT,
    require_distinct_names,
    text_sibling,
)
from oedi_spark.transform.metadata_places import (
    PLACE_COLUMNS,
    Places,
    describe_rows,
    tell_grain,
    tell_places,
    tell_states,
    wanted_states,
)
from oedi_spark.transform.metadata_source import MetadataSource, decoding
from oedi_spark.transform.metadata_values import fit_column, read_labels, read_numbers

MAX_KEPT_CELLS = 250_000_000
"""Cells of all wanted states: 2 GB of doubles. A caller that wants more asks in portions."""

MAX_WEIGHT = 1e9
"""More than all buildings and dwellings of the country (some 1.5e8): no row can stand for it."""

_UPGRADE_PREFIXES = ("upgrade", "up")
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class MetadataRows:
    """The rows of one file in one state.

    `rows` has `metadata_columns.KEY_COLUMNS`, then `columns`, which leaves the keys out.
    """

    partition: Partition
    grain: Grain
    rows: pa.Table
    columns: tuple[MetadataColumn, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Keys:
    """What is known of each row of a file before its results are read."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    places: Places
    grain: Grain


def peek_metadata(
    source: BufferedIOBase, file: MetadataFile, *, states: Collection[str] | None
) -> MetadataPeek:
    """Read a metadata file's footer, its ids and, of a national file, where its rows are.

    `source` can be sought in; of a by-state file, all but the footer and one column stays
    where it is. `states`: those of interest, None for all.

    Raises:
        FileFault: The file is no sound parquet, or has no column of ids.
    """
    with decoding():
        opened = MetadataSource(source)
        columns, ids = opened.columns, opened.read_ids()
        if file.state is not None:
            by_state = {file.state: ids}
        else:
            state = tell_states(opened.read_columns(PLACE_COLUMNS), file, ids)
            by_state = {
                each: ids[_is_equal(state, each)]
                for each in sorted(pc.drop_null(pc.unique(state)).to_pylist())
            }
    return MetadataPeek(
        row_count=opened.row_count,
        columns=columns,
        bldg_ids={
            state: np.unique(found)
            for state, found in by_state.items()
            if states is None or state in states
        },
    )


def read_metadata(
    data: bytes,
    file: MetadataFile,
    *,
    release: str,
    weight_model: WeightModel | None,
    states: Collection[str],
) -> tuple[MetadataRows, ...]:
    """As `read_states`, where the fault of any state is the file's.

    Raises:
        FileFault: As `read_states`, or what it returns beside the rows.
    """
    rows, faults = read_states(
        data, file, release=release, weight_model=weight_model, states=states
    )
    for fault in faults:
        raise fault
    return rows


def read_states(
    data: bytes,
    file: MetadataFile,
    *,
    release: str,
    weight_model: WeightModel | None,
    states: Collection[str],
) -> tuple[tuple[MetadataRows, ...], tuple[FileFault, ...]]:
    """Normalise a metadata file: the rows of each wanted state, and the faults of the others.

    A file of one state or county is wanted whole. Of a national one, rows whose state cannot
    be told, or of which two columns name different states, are placed nowhere and noted; and
    rows that cannot be weighed are a fault of their own state alone.

    Raises:
        FileFault: The file is no sound parquet; lacks ids or weights; or says another state,
            county or upgrade than its key. `no_rows`: a national file without a row of any
            wanted state.
    """
    with decoding():
        source = MetadataSource(data)
        columns = source.columns
        keys = _read_keys(source, file, weight_model)
        indices = {
            state: found
            for state in wanted_states(file, states)
            if len(found := _order_rows(keys, state))
        }
        notes = (*_note_unplaced(keys, file), *keys.places.notes)
        if not indices:
            raise FileFault(
                Reason.NO_ROWS,
                f"none of {source.row_count:,} rows is of {', '.join(sorted(states)) or 'a state'}"
                + "".join(f"; {note}" for note in notes),
            )
        faults = {state: _judge_rows(keys, found, state) for state, found in indices.items()}
        sound = {state: found for state, found in indices.items() if faults[state] is None}
        _require_room(sound, columns)
        arrays, held, omitted = _read_results(source, columns, list(sound.values()))
    notes += _note_omitted((*source.nested, *omitted))
    rows = tuple(
        MetadataRows(
            partition=(partition := Partition(release, state, file.upgrade)),
            grain=keys.grain,
            rows=_assemble(keys, found, partition, held, results),
            columns=held,
            notes=notes if at == 0 else (),
        )
        for at, ((state, found), results) in enumerate(zip(sound.items(), arrays, strict=True))
    )
    return rows, tuple(fault for fault in faults.values() if fault is not None)


def _require_room(indices: dict[str, Indices], columns: Sequence[MetadataColumn]) -> None:
    kept = sum(map(len, indices.values()))
    if kept * len(columns) > MAX_KEPT_CELLS:
        raise FileFault(
            Reason.TOO_LARGE, f"{kept:,} wanted rows × {len(columns):,} columns at once"
        )


def _read_keys(
    source: MetadataSource, file: MetadataFile, weight_model: WeightModel | None
) -> _Keys:
    ids = source.read_ids()
    weights = _read_weights(source)
    _require_upgrade(source, file.upgrade, ids)
    places = tell_places(source.read_columns(PLACE_COLUMNS), file, ids)
    return _Keys(ids, weights, places, tell_grain(file, weight_model, places, ids))


def _read_weights(source: MetadataSource) -> NDArray[np.float64]:
    """The weight of each row, NaN where there is none."""
    found = source.read_columns([WEIGHT])
    if WEIGHT not in found:
        raise FileFault(Reason.MISSING_WEIGHT, f"no column named {WEIGHT}")
    is_flag = pa.types.is_boolean(found[WEIGHT].type)
    numbers = None if is_flag else read_numbers(found[WEIGHT])
    if numbers is None:
        raise FileFault(
            Reason.MISSING_WEIGHT, f"{WEIGHT} is {found[WEIGHT].type}, and not all of it numbers"
        )
    weights: NDArray[np.float64] = numbers.to_numpy()
    return weights


def _require_upgrade(source: MetadataSource, upgrade: int, ids: NDArray[np.int64]) -> None:
    column = source.read_columns([UPGRADE]).get(UPGRADE)
    if column is None:
        return
    labels = read_labels(column)
    if labels is None:
        raise FileFault(
            Reason.UPGRADE_CONTRADICTS_NAME, f"{UPGRADE} is {column.type}, not a number"
        )
    others = [text for text in labels.unique().to_pylist() if not _is_upgrade(text, upgrade)]
    if others:
        mask = pc.is_in(labels, pa.array(others, pa.string())).to_numpy()
        raise FileFault(
            Reason.UPGRADE_CONTRADICTS_NAME,
            f"{UPGRADE} is {min(others)[:50]!r}, by the file name {upgrade}: "
            + describe_rows(mask, ids),
        )


def _is_upgrade(text: str | None, upgrade: int) -> bool:
    """Whether a label can be this upgrade: 5, 05, 5.0, upgrade05; baseline is 0. Null may be."""
    if text is None:
        return True
    plain = text.strip().lower()
    if plain == "baseline":
        return upgrade == 0
    for prefix in _UPGRADE_PREFIXES:
        plain = plain.removeprefix(prefix)
    try:
        return float(plain) == upgrade
    except ValueError:
        return False


def _order_rows(keys: _Keys, state: str) -> Indices:
    """The rows of a state, ordered so that a shuffled file gives the same table."""
    places = keys.places
    wanted = _is_equal(places.state, state) & ~places.contradictory
    at = np.flatnonzero(wanted)
    order = pa.table(
        {
            "bldg_id": keys.ids[at],
            "county": places.county.take(at),
            "tract": places.tract.take(at),
            "puma": places.puma.take(at),
        }
    )
    by = [(name, "ascending") for name in order.column_names]
    indices: Indices = at[pc.sort_indices(order, sort_keys=by).to_numpy()]
    return indices


def _judge_rows(keys: _Keys, found: Indices, state: str) -> FileFault | None:
    """Whether every row has a weight that can be summed, and no row comes twice."""
    weights, ids = keys.weights[found], keys.ids[found]
    for reason, wrong in (
        (Reason.WEIGHT_NULL, np.isnan(weights)),
        (Reason.WEIGHT_NEGATIVE, weights < 0),
        (Reason.WEIGHT_OUT_OF_RANGE, weights > MAX_WEIGHT),
    ):
        if wrong.any():
            example = weights[wrong][np.argmin(ids[wrong])]
            which = "" if np.isnan(example) else f"weight {example:g} in "
            return FileFault(reason, f"{state}: {which}{describe_rows(wrong, ids)}")
    pairs = pa.table({"bldg_id": ids, "geography": _geographies(keys).take(found)})
    groups = pairs.group_by(["bldg_id", "geography"]).aggregate([([], "count_all")])
    repeated = groups.filter(pc.greater(groups["count_all"], 1)).sort_by("bldg_id")
    if not repeated.num_rows:
        return None
    first = repeated.slice(0, 1).to_pylist()[0]
    where = f" in {first['geography']}" if first["geography"] else ""
    return FileFault(
        Reason.ROWS_DUPLICATED,
        f"{state}: {repeated.num_rows:,} of {groups.num_rows:,} {keys.grain} come more than "
        f"once, such as building {first['bldg_id']}{where} ({first['count_all']} rows)",
    )


def _geographies(keys: _Keys) -> pa.Array:
    """What tells the rows of one building in one state apart, at this grain."""
    places = keys.places
    return {
        Grain.TRACT: places.tract,
        Grain.COUNTY: places.county,
        Grain.PUMA: places.puma,
    }.get(keys.grain, pa.nulls(len(keys.ids), pa.string()))


def _read_results(
    source: MetadataSource, columns: Sequence[MetadataColumn], indices: Sequence[Indices]
) -> tuple[list[list[pa.ChunkedArray]], tuple[MetadataColumn, ...], tuple[str, ...]]:
    """Results per state, the columns that they are, and the source columns that are none.

    A column is fitted whole before rows are taken: which states are wanted must not decide
    whether a column is text.
    """
    arrays: list[list[pa.ChunkedArray]] = [[] for _ in indices]
    held: list[MetadataColumn] = []
    omitted: list[str] = []
    is_whole = [_is_every_row(found, source.row_count) for found in indices]
    for column, content in source.iter_columns(columns):
        fitted = fit_column(content, column.kind)
        if fitted is None:
            omitted.append(column.source_name)
            continue
        parts = [(column, fitted.values)]
        if fitted.text is not None:
            parts.append((text_sibling(column), fitted.text))
        for described, values in parts:
            held.append(described)
            for found, whole, into in zip(indices, is_whole, arrays, strict=True):
                into.append(values if whole else values.take(pa.array(found)))
    require_distinct_names(held)
    return arrays, tuple(held), tuple(omitted)


def _assemble(
    keys: _Keys,
    found: Indices,
    partition: Partition,
    columns: Sequence[MetadataColumn],
    results: Sequence[pa.ChunkedArray],
) -> pa.Table:
    """The keys in front of the results. A county only where the weight is a county's."""
    rows = len(found)
    is_finer = keys.grain not in (Grain.PUMA, Grain.STATE)
    county = keys.places.county.take(pa.array(found)) if is_finer else pa.nulls(rows, pa.string())
    front = (
        pa.repeat(pa.scalar(partition.release), rows),
        pa.repeat(pa.scalar(partition.state), rows),
        pa.repeat(pa.scalar(partition.upgrade, pa.int32()), rows),
        pa.array(keys.ids[found]),
        pa.repeat(pa.scalar(keys.grain.value), rows),
        county,
        pa.array(keys.weights[found]),
    )
    names = [*KEY_COLUMNS, *(column.name for column in columns)]
    return pa.table([*front, *results], names=names)


def _note_unplaced(keys: _Keys, file: MetadataFile) -> tuple[str, ...]:
    """Rows of a national file that are of no state."""
    if file.state is not None:
        return ()
    unknown = pc.is_null(keys.places.state).to_numpy(zero_copy_only=False)
    odd = {"no state can": unknown, "two states can": keys.places.contradictory}
    return tuple(
        f"{what} be told of {describe_rows(mask, keys.ids)}"
        for what, mask in odd.items()
        if mask.any()
    )


def _note_omitted(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    shown = ", ".join(f"{name[:100]!r}" for name in sorted(names)[:5])
    return (f"{len(names)} column(s) hold no numbers and no text, and are left out: {shown}",)


def _is_equal(labels: pa.Array, label: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.fill_null(pc.equal(labels, label), fill_value=False).to_numpy(
        zero_copy_only=False
    )
    return found


def _is_every_row(found: Indices, row_count: int) -> bool:
    return len(found) == row_count and bool((found == np.arange(row_count)).all())
