"""Weights by geography, the only thing that series are joined to, and the guard of that join.

In   all `MetadataRows` of one partition, of whatever grain.
Out  one row per geography and building: its weights in that geography, summed.

From ComStock 2024 release 2 on a building stands in many tracts, with a weight in each, and the
same id lies under several states (domain sheet §0.3, §0.4). A join that forgets one of the keys
returns plausible rows and wrong sums; here it raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oedi_spark.contracts_metadata import GeographyKind, Grain
from oedi_spark.errors import FanOutError
from oedi_spark.transform.metadata import MetadataRows
from oedi_spark.transform.metadata_columns import KEY_COLUMNS
from oedi_spark.transform.weight_groups import floor_areas, group_rows

_TRACT = "in_nhgis_tract_gisjoin"
_PUMAS = ("in_nhgis_puma_gisjoin", "in_puma")
_BUILDING_TYPES = ("in_comstock_building_type", "in_geometry_building_type_recs")
_BUILDING_TYPE_GROUP = "in_comstock_building_type_group"
_VINTAGE = "in_vintage"
_AREA = "in_sqft_ft2"
_WEIGHTED_AREA = "calc_weighted_sqft_ft2"

_STRINGS = (_TRACT, *_PUMAS, *_BUILDING_TYPES, _BUILDING_TYPE_GROUP, _VINTAGE)
_DOUBLES = (_AREA, _WEIGHTED_AREA)
WEIGHT_COLUMNS = frozenset((*KEY_COLUMNS, *_STRINGS, *_DOUBLES))
"""The columns of `metadata` that weights are made of; a caller may drop the rest."""

WEIGHTS_SCHEMA = pa.schema(
    [
        ("release", pa.string()),
        ("state", pa.string()),
        ("upgrade", pa.int32()),
        ("geography_kind", pa.string()),
        ("geography", pa.string()),
        ("bldg_id", pa.int64()),
        ("weight", pa.float64()),
        ("building_type", pa.string()),
        ("building_type_group", pa.string()),
        ("floor_area_ft2", pa.float64()),
        ("vintage", pa.string()),
    ]
)
BUILDING_KEYS = ("release", "state", "upgrade", "bldg_id")

_PUMA_GISJOIN = r"^G[0-9]{8}$"
_GRAINS = {
    GeographyKind.STATE: frozenset(Grain),
    GeographyKind.COUNTY: frozenset({Grain.BUILDING, Grain.TRACT, Grain.COUNTY}),
    # A county crosses PUMAs, so a county's row cannot say how much of it is in which.
    GeographyKind.PUMA: frozenset({Grain.BUILDING, Grain.TRACT, Grain.PUMA}),
}
"""The grains of which a kind of geography can be summed: not coarser than itself."""

_RELATIVE = 1e-9
"""How far two sums of the same weights may differ. Ours are exact; what was stored is rounded."""


def sum_weights(
    rows: Sequence[MetadataRows], *, is_whole_state: bool
) -> tuple[pa.Table, tuple[str, ...]]:
    """`building_weights` of one partition (`WEIGHTS_SCHEMA`), and what is odd about it.

    `rows`: those of all its files, each with at least `WEIGHT_COLUMNS`. State and PUMA rows
    are made only if the files are the whole state's: a PUMA crosses counties. Building type,
    floor area and vintage are null where the rows of one building and geography disagree.

    Raises:
        FanOutError: A building and geography come twice, or in grains that overlap.
    """
    if not rows:
        return WEIGHTS_SCHEMA.empty_table(), ()
    _require_distinct(rows)
    whole = _concatenate(rows)
    tables, notes = [], []
    for kind in (GeographyKind.COUNTY, GeographyKind.PUMA, GeographyKind.STATE):
        if kind is not GeographyKind.COUNTY and not is_whole_state:
            continue
        placed = _place_rows(whole, kind)
        if placed.num_rows:
            table, odd = _sum_kind(placed, kind)
            tables.append(table)
            notes += odd
        if kind is GeographyKind.COUNTY:
            notes += _note_without_county(whole, placed)
    return pa.concat_tables(tables or [WEIGHTS_SCHEMA.empty_table()]), tuple(notes)


def require_weight_kept(
    rows: Sequence[MetadataRows], weights: pa.Table, *, is_whole_state: bool
) -> None:
    """Prove that the weights are the metadata's: the same sum, each building once a geography.

    Counted again from the metadata in another way than `sum_weights` has.

    Raises:
        FanOutError: They are not.
    """
    on = ("geography_kind", "geography", "bldg_id")
    for kind in GeographyKind:
        found = weights.filter(pc.equal(weights["geography_kind"], kind.value))
        after = math.fsum(found["weight"].to_pylist())
        keys = found.group_by([*BUILDING_KEYS, "geography"]).aggregate([]).num_rows
        counted = [_count_kind(each, kind, is_whole_state=is_whole_state) for each in rows]
        before = math.fsum(weight for each in counted for weight in each)
        if keys != found.num_rows or not math.isclose(before, after, rel_tol=_RELATIVE):
            raise FanOutError(
                f"weights by {kind}",
                on=on,
                rows=(sum(map(len, counted)), found.num_rows),
                weight=(before, after),
            )


def join_weights(
    buildings: pa.Table,
    weights: pa.Table,
    *,
    kind: GeographyKind,
    on: Sequence[str] = BUILDING_KEYS,
) -> pa.Table:
    """Join series to the weights of one kind of geography.

    `buildings` has `BUILDING_KEYS` and any number of rows per building, hours for instance.
    Each comes back once per geography of its own building: that is meant to multiply rows
    where a building stands in several counties. Rows come in no particular order.

    Raises:
        FanOutError: On these keys a row would meet weights of another building, state,
            upgrade or release, or not all of its own; or a building has no weight at all.
    """
    of_kind = weights.filter(pc.equal(weights["geography_kind"], kind.value))
    _require_sole_meeting(buildings, of_kind, kind, tuple(on))
    taken = {*buildings.column_names, *BUILDING_KEYS}
    right = of_kind.select(
        [*on, *(name for name in of_kind.column_names if name not in {*taken, *on})]
    )
    left = _with_types(buildings, right, on)
    return left.join(right, keys=list(on), join_type="inner", use_threads=False)


def _require_distinct(rows: Sequence[MetadataRows]) -> None:
    """No two rows of a partition, of whichever files, are one building in one geography."""
    grains = {each.grain for each in rows}
    places = {Grain.TRACT: _TRACT, Grain.COUNTY: "county_gisjoin"}
    keys = pa.concat_tables(
        pa.table(
            {
                "bldg_id": each.rows["bldg_id"],
                "place": _place(each.rows, (places[each.grain],))
                if each.grain in places
                else _place(each.rows, _PUMAS if each.grain is Grain.PUMA else ()),
                "weight": each.rows["weight"],
            }
        )
        for each in rows
    )
    first = keys.group_by(["bldg_id", "place"]).aggregate([("weight", "max")])
    partitions = {each.partition for each in rows}
    overlaps = len(grains) > 1 and _overlap(rows)
    if first.num_rows != keys.num_rows or overlaps or len(partitions) > 1:
        raise FanOutError(
            f"metadata of {' and '.join(map(str, sorted(partitions)))} "
            f"({', '.join(sorted(grains))})",
            on=("bldg_id", "geography"),
            rows=(first.num_rows, keys.num_rows),
            weight=(
                math.fsum(first["weight_max"].to_pylist()),
                math.fsum(keys["weight"].to_pylist()),
            ),
        )


def _overlap(rows: Sequence[MetadataRows]) -> bool:
    """Whether files of several grains may count the same stock: not tracts and other counties."""
    counties: dict[Grain, set[str | None]] = {}
    for each in rows:
        found = counties.setdefault(each.grain, set())
        found.update(each.rows["county_gisjoin"].unique().to_pylist())
    if not counties.keys() <= {Grain.TRACT, Grain.COUNTY}:
        return True
    return bool(counties[Grain.TRACT] & counties[Grain.COUNTY])


def _concatenate(rows: Sequence[MetadataRows]) -> pa.Table:
    """The columns that weights are made of, those that a file lacks as nulls."""
    kinds = {name: pa.string() for name in _STRINGS} | {name: pa.float64() for name in _DOUBLES}
    parts = []
    for each in rows:
        table = each.rows
        lacking = {
            name: pa.nulls(table.num_rows, kind)
            for name, kind in kinds.items()
            if name not in table.column_names
        }
        for name, column in lacking.items():
            table = table.append_column(name, column)
        parts.append(table.select([*KEY_COLUMNS, *_STRINGS, *_DOUBLES]))
    return pa.concat_tables(parts)


def _place_rows(whole: pa.Table, kind: GeographyKind) -> pa.Table:
    """The rows that count in a kind of geography, with the column `geography`."""
    geography = {
        GeographyKind.STATE: lambda: whole["state"],
        GeographyKind.COUNTY: lambda: whole["county_gisjoin"],
        GeographyKind.PUMA: lambda: _place(whole, _PUMAS),
    }[kind]()
    grains = pa.array([grain.value for grain in _GRAINS[kind]])
    mask = pc.and_(pc.is_in(whole["grain"], grains), pc.is_valid(geography))
    return whole.append_column("geography", geography).filter(mask)


def _place(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """The first of some columns that says something; a PUMA only if it is a GISJOIN."""
    found = []
    for name in names:
        if name not in table.column_names:
            continue
        column = table[name]
        if name in _PUMAS:
            is_puma = pc.match_substring_regex(column, _PUMA_GISJOIN)
            column = pc.if_else(is_puma, column, pa.scalar(None, pa.string()))
        found.append(column)
    nothing = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return pc.coalesce(*found, nothing)


def _sum_kind(placed: pa.Table, kind: GeographyKind) -> tuple[pa.Table, list[str]]:
    groups = group_rows(placed)
    keys = groups.rows.take(pa.array(groups.starts))
    weight = groups.sums(groups.rows["weight"].to_numpy())
    building_type = pc.coalesce(*(groups.rows[name] for name in _BUILDING_TYPES))
    facts: list[pa.Array] = []
    notes: list[str] = []
    for name, values in (
        ("building_type", building_type),
        ("building_type_group", groups.rows[_BUILDING_TYPE_GROUP]),
        ("vintage", groups.rows[_VINTAGE]),
    ):
        found, disagreeing = groups.sole_values(values)
        facts.append(found)
        notes += _note_disagreeing(name, kind, disagreeing, len(keys))
    area, disagreeing = floor_areas(groups, _AREA, _WEIGHTED_AREA)
    notes += _note_disagreeing("floor_area_ft2", kind, disagreeing, len(keys))
    columns = {name: keys[name] for name in (*BUILDING_KEYS, "geography")}
    columns |= {
        "geography_kind": pa.repeat(pa.scalar(kind.value), len(keys)),
        "weight": pa.array(weight),
        "building_type": facts[0],
        "building_type_group": facts[1],
        "floor_area_ft2": area,
        "vintage": facts[2],
    }
    return pa.table([columns[name] for name in WEIGHTS_SCHEMA.names], schema=WEIGHTS_SCHEMA), notes


def _note_disagreeing(
    name: str, kind: GeographyKind, disagreeing: int, groups: int
) -> Iterator[str]:
    if disagreeing:
        yield (
            f"{name} is null for {disagreeing:,} of {groups:,} buildings by {kind}: "
            "their rows disagree"
        )


def _note_without_county(whole: pa.Table, placed: pa.Table) -> Iterator[str]:
    finer = whole.filter(
        pc.is_in(whole["grain"], pa.array([each.value for each in _GRAINS[GeographyKind.COUNTY]]))
    )
    lacking = finer.num_rows - placed.num_rows
    if lacking:
        total = math.fsum(finer["weight"].to_pylist()) - math.fsum(placed["weight"].to_pylist())
        yield f"{lacking:,} of {finer.num_rows:,} rows, weight {total:.6g}, are of no known county"


def _count_kind(each: MetadataRows, kind: GeographyKind, *, is_whole_state: bool) -> list[float]:
    """The weights of the metadata rows that count in a kind of geography."""
    if each.grain not in _GRAINS[kind]:
        return []
    if kind is GeographyKind.COUNTY:
        counts = each.rows["county_gisjoin"].is_valid()
    elif not is_whole_state:
        return []
    elif kind is GeographyKind.STATE:
        counts = each.rows["state"].is_valid()
    else:
        counts = _place(each.rows, _PUMAS).is_valid()
    weights: list[float] = each.rows["weight"].filter(counts).to_pylist()
    return weights


def _require_sole_meeting(
    buildings: pa.Table, weights: pa.Table, kind: GeographyKind, on: tuple[str, ...]
) -> None:
    """Each building meets on `on` exactly the weights that are its own."""
    what = f"series to weights by {kind}"
    total = math.fsum(weights["weight"].to_pylist())
    lacking = [name for name in BUILDING_KEYS if name not in buildings.column_names]
    carried = [name for name in ("weight", "geography") if name in buildings.column_names]
    strange = [name for name in on if name not in BUILDING_KEYS]
    per_place = weights.group_by([*BUILDING_KEYS, "geography"]).aggregate([])
    if lacking or carried or strange or per_place.num_rows != weights.num_rows:
        raise FanOutError(
            f"{what}: {_explain(lacking, carried, strange)}",
            on=on,
            rows=(buildings.num_rows, weights.num_rows),
            weight=(total, total),
        )
    left = _with_types(buildings.select(list(BUILDING_KEYS)), weights, BUILDING_KEYS)
    distinct = left.group_by(list(BUILDING_KEYS)).aggregate([([], "count_all")])
    own, met = _meet(distinct, weights, BUILDING_KEYS), _meet(distinct, weights, on)
    hours = distinct["count_all"].to_numpy()
    own_rows, met_rows = own["rows"].to_numpy(), met["rows"].to_numpy()
    own_weight, met_weight = own["weight"].to_numpy(), met["weight"].to_numpy()
    is_sole = (own_rows == met_rows) & np.isclose(own_weight, met_weight, rtol=_RELATIVE, atol=0)
    if not (is_sole & (own_rows > 0)).all():
        raise FanOutError(
            what,
            on=on,
            rows=(max(int(own_rows @ hours), buildings.num_rows), int(met_rows @ hours)),
            weight=(math.fsum(own_weight), math.fsum(met_weight)),
        )


def _explain(lacking: Sequence[str], carried: Sequence[str], strange: Sequence[str]) -> str:
    if lacking:
        return f"the series do not say their {', '.join(lacking)}"
    if carried:
        return f"the series already have {', '.join(carried)}"
    if strange:
        return f"{', '.join(strange)} is no key of a building"
    return "a building has two weights in one geography"


def _meet(distinct: pa.Table, weights: pa.Table, on: Sequence[str]) -> pa.Table:
    """For each building, in the order of `distinct`: rows and weight that it meets on `on`."""
    by_key = weights.group_by(list(on)).aggregate([([], "count_all"), ("weight", "sum")])
    by_key = by_key.rename_columns([*on, "rows", "weight"])
    keys = distinct.select(list(on)).append_column("at", pa.array(np.arange(distinct.num_rows)))
    found = keys.join(by_key, keys=list(on), join_type="left outer", use_threads=False)
    found = found.sort_by("at")
    return pa.table(
        {
            "rows": pc.fill_null(found["rows"], 0),
            "weight": pc.fill_null(found["weight"], 0.0),
        }
    )


def _with_types(table: pa.Table, other: pa.Table, names: Sequence[str]) -> pa.Table:
    """The named columns in the other table's types: `upgrade` may be 32 or 64 bits wide."""
    for name in names:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].cast(other.schema.field(name).type))
    return table
