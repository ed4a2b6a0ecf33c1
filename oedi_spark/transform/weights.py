"""Weights by geography, the only thing that series are joined to (`weight_join.py`).

In   all `MetadataRows` of one partition, of whatever grain.
Out  one row per geography and building: its weights in that geography, summed.

From ComStock 2024 release 2 on a building stands in many tracts, with a weight in each (domain
sheet §0.3); a release before has one weight per building.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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

RELATIVE = 1e-9
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
        counted = [rows_of_kind(each, kind, is_whole_state=is_whole_state) for each in rows]
        before = math.fsum(weight for each in counted for weight in each["weight"].to_pylist())
        if keys != found.num_rows or not math.isclose(before, after, rel_tol=RELATIVE):
            raise FanOutError(
                f"weights by {kind}",
                on=on,
                rows=(sum(each.num_rows for each in counted), found.num_rows),
                weight=(before, after),
            )


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


def find_countyless(rows: Sequence[MetadataRows]) -> float:
    """The weight of the rows that could be of a county and name none."""
    finer = (each.rows for each in rows if each.grain in _GRAINS[GeographyKind.COUNTY])
    lacking = (each.filter(pc.is_null(each["county_gisjoin"])) for each in finer)
    return math.fsum(weight for each in lacking for weight in each["weight"].to_pylist())


def rows_of_kind(each: MetadataRows, kind: GeographyKind, *, is_whole_state: bool) -> pa.Table:
    """The metadata rows that count in a kind of geography: bldg_id, place, weight."""
    rows = each.rows
    place = {
        GeographyKind.STATE: lambda: rows["state"],
        GeographyKind.COUNTY: lambda: rows["county_gisjoin"],
        GeographyKind.PUMA: lambda: _place(rows, _PUMAS),
    }[kind]()
    table = pa.table({"bldg_id": rows["bldg_id"], "place": place, "weight": rows["weight"]})
    is_counted = kind is GeographyKind.COUNTY or is_whole_state
    if each.grain not in _GRAINS[kind] or not is_counted:
        return table.slice(0, 0)
    return table.filter(pc.is_valid(table["place"]))
