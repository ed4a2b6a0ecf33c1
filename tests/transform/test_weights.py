"""Weights by geography: nothing counted twice, nothing lost, and no join that would."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import GeographyKind, Grain
from oedi_spark.errors import FanOutError
from oedi_spark.transform.metadata import MetadataRows
from oedi_spark.transform.weight_join import join_weights
from oedi_spark.transform.weights import (
    BUILDING_KEYS,
    WEIGHT_COLUMNS,
    WEIGHTS_SCHEMA,
    require_weight_kept,
    sum_weights,
)

RELEASE = "2025_comstock_amy2018_release_3"
COUNTY, OTHER_COUNTY = "G0200130", "G0200200"
PUMA, OTHER_PUMA = "G02000400", "G02000101"
SMALL_STATES = ["AK", "DC", "DE", "RI", "VT", "WY"]


def _rows(
    grain: Grain = Grain.TRACT,
    *,
    release: str = RELEASE,
    state: str = "AK",
    upgrade: int = 0,
    **columns: object,
) -> MetadataRows:
    """What the normaliser hands on: these columns, with the keys beside them."""
    return _with_keys(pa.table(columns), grain, release=release, state=state, upgrade=upgrade)


def _with_keys(
    table: pa.Table,
    grain: Grain = Grain.TRACT,
    *,
    release: str = RELEASE,
    state: str = "AK",
    upgrade: int = 0,
) -> MetadataRows:
    count = table.num_rows
    keys: dict[str, pa.Array] = {
        "release": pa.repeat(release, count),
        "state": pa.repeat(state, count),
        "upgrade": pa.repeat(pa.scalar(upgrade, pa.int32()), count),
        "grain": pa.repeat(grain.value, count),
        "county_gisjoin": pa.nulls(count, pa.string()),
    }
    for name, values in keys.items():
        if name not in table.column_names:
            table = table.append_column(name, values)
    return MetadataRows(Partition(release, state, upgrade), grain, table, (), ())


def _tracts() -> MetadataRows:
    """Building 1 in three tracts of two counties, building 2 in one."""
    return _rows(
        bldg_id=[1, 1, 1, 2],
        weight=[0.5, 0.25, 2.0, 4.0],
        county_gisjoin=[COUNTY, COUNTY, OTHER_COUNTY, COUNTY],
        in_nhgis_tract_gisjoin=["a", "b", "c", "a"],
        in_nhgis_puma_gisjoin=[PUMA, PUMA, OTHER_PUMA, PUMA],
        in_comstock_building_type=["Hospital", "Hospital", "Hospital", "Warehouse"],
        in_comstock_building_type_group=["Healthcare"] * 3 + ["Warehouse and Storage"],
        in_sqft_ft2=[100.0, 100.0, 100.0, 50.0],
        in_vintage=["1970s", "1970s", "1970s", None],
    )


def _summed(
    rows: Sequence[MetadataRows], *, is_whole_state: bool = True
) -> dict[tuple[str, str, int], float]:
    weights, _ = sum_weights(rows, is_whole_state=is_whole_state)
    assert weights.schema == WEIGHTS_SCHEMA
    return {
        (row["geography_kind"], row["geography"], row["bldg_id"]): row["weight"]
        for row in weights.to_pylist()
    }


def test_weights_are_summed_by_state_county_and_puma() -> None:
    assert _summed([_tracts()]) == {
        ("county", COUNTY, 1): 0.75,
        ("county", COUNTY, 2): 4.0,
        ("county", OTHER_COUNTY, 1): 2.0,
        ("puma", PUMA, 1): 0.75,
        ("puma", PUMA, 2): 4.0,
        ("puma", OTHER_PUMA, 1): 2.0,
        ("state", "AK", 1): 2.75,
        ("state", "AK", 2): 4.0,
    }


def test_a_row_carries_what_the_building_is() -> None:
    weights, notes = sum_weights([_tracts()], is_whole_state=True)

    assert notes == ()
    assert weights.to_pylist()[0] == {
        "release": RELEASE,
        "state": "AK",
        "upgrade": 0,
        "geography_kind": "county",
        "geography": COUNTY,
        "bldg_id": 1,
        "weight": 0.75,
        "building_type": "Hospital",
        "building_type_group": "Healthcare",
        "floor_area_ft2": 100.0,
        "vintage": "1970s",
    }


def test_some_counties_are_no_state_and_no_puma() -> None:
    found = _summed([_tracts()], is_whole_state=False)

    assert {kind for kind, _, _ in found} == {"county"}


@pytest.mark.parametrize(
    ("grain", "kinds"),
    [
        (Grain.BUILDING, {"state", "county", "puma"}),
        (Grain.COUNTY, {"state", "county"}),
        (Grain.PUMA, {"state", "puma"}),
        (Grain.STATE, {"state"}),
    ],
)
def test_a_grain_is_summed_to_nothing_finer_than_itself(grain: Grain, kinds: set[str]) -> None:
    rows = _rows(
        grain, bldg_id=[1], weight=[2.0], county_gisjoin=[COUNTY], in_nhgis_puma_gisjoin=[PUMA]
    )

    found = _summed([rows])

    assert {kind for kind, _, _ in found} == kinds
    assert set(found.values()) == {2.0}


def test_a_puma_that_is_no_gisjoin_is_no_geography() -> None:
    found = _summed(
        [
            _rows(
                Grain.BUILDING,
                bldg_id=[1, 2],
                weight=[1.0, 2.0],
                in_nhgis_puma_gisjoin=["AK, 00400", None],
                in_puma=[None, PUMA],
            )
        ]
    )

    assert found == {("puma", PUMA, 2): 2.0, ("state", "AK", 1): 1.0, ("state", "AK", 2): 2.0}


def test_rows_of_no_known_county_are_noted() -> None:
    rows = _rows(Grain.BUILDING, bldg_id=[1, 2], weight=[1.0, 2.5], county_gisjoin=[COUNTY, None])

    weights, notes = sum_weights([rows], is_whole_state=True)

    assert weights.num_rows == 3
    assert notes == ("1 of 2 rows, weight 2.5, are of no known county",)


def test_what_rows_of_one_building_disagree_on_is_null_and_noted() -> None:
    rows = _rows(
        bldg_id=[1, 1],
        weight=[1.0, 1.0],
        county_gisjoin=[COUNTY, OTHER_COUNTY],
        in_nhgis_tract_gisjoin=["a", "b"],
        in_geometry_building_type_recs=["Mobile Home", None],
        in_vintage=["1970s", "1980s"],
        in_sqft_ft2=[100.0, 101.0],
    )

    weights, notes = sum_weights([rows], is_whole_state=True)
    by_kind = {(row["geography_kind"], row["geography"]): row for row in weights.to_pylist()}

    assert by_kind["state", "AK"]["building_type"] == "Mobile Home"
    assert by_kind["state", "AK"]["vintage"] is None
    assert by_kind["state", "AK"]["floor_area_ft2"] is None
    assert by_kind["county", COUNTY]["vintage"] == "1970s"
    assert notes == (
        "vintage is null for 1 of 1 buildings by state: their rows disagree",
        "floor_area_ft2 is null for 1 of 1 buildings by state: their rows disagree",
    )


def test_floor_area_without_a_column_is_the_weighted_area_by_the_weight() -> None:
    rows = _rows(
        bldg_id=[1, 1, 2, 3, 3],
        weight=[0.5, 0.25, 0.0, 1.0, 1.0],
        in_nhgis_tract_gisjoin=["a", "b", "a", "a", "b"],
        calc_weighted_sqft_ft2=[3750.0, 1875.0, 0.0, 10.0, 20.0],
    )

    weights, notes = sum_weights([rows], is_whole_state=True)

    assert weights["floor_area_ft2"].to_pylist() == [7500.0, None, None]
    assert notes[-1] == "floor_area_ft2 is null for 1 of 3 buildings by state: their rows disagree"


@pytest.mark.parametrize(
    "rows",
    [
        [_tracts(), _tracts()],
        [_rows(Grain.BUILDING, bldg_id=[1, 1], weight=[1.0, 2.0])],
        [
            _rows(Grain.COUNTY, bldg_id=[1], weight=[1.0], county_gisjoin=[COUNTY]),
            _rows(Grain.COUNTY, bldg_id=[1], weight=[1.0], county_gisjoin=[COUNTY]),
        ],
        [_rows(Grain.STATE, bldg_id=[1], weight=[1.0]), _tracts()],
        [
            _rows(Grain.COUNTY, bldg_id=[9], weight=[1.0], county_gisjoin=[COUNTY]),
            _tracts(),
        ],
        [_tracts(), _rows(state="WY", bldg_id=[7], weight=[1.0], in_nhgis_tract_gisjoin=["z"])],
    ],
    ids=["file twice", "building twice", "county twice", "total", "grains overlap", "two states"],
)
def test_stock_that_would_be_counted_twice_is_stopped(rows: list[MetadataRows]) -> None:
    with pytest.raises(FanOutError):
        sum_weights(rows, is_whole_state=True)


def test_counties_by_tract_and_other_counties_as_they_are_go_together() -> None:
    other = _rows(Grain.COUNTY, bldg_id=[1], weight=[8.0], county_gisjoin=["G0200160"])

    assert _summed([_tracts(), other])["state", "AK", 1] == 10.75


def test_no_rows_are_no_weights() -> None:
    weights, notes = sum_weights([], is_whole_state=True)

    assert (weights.num_rows, weights.schema, notes) == (0, WEIGHTS_SCHEMA, ())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=12),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
)
def test_no_order_of_rows_or_files_changes_a_bit(
    weights: list[float], shuffle: random.Random, files: int
) -> None:
    rows = [
        {
            "bldg_id": at % 2,
            "weight": weight,
            "county_gisjoin": [COUNTY, OTHER_COUNTY][at % 3 == 0],
            "in_nhgis_tract_gisjoin": str(at),
            "calc_weighted_sqft_ft2": 7500 * weight,
        }
        for at, weight in enumerate(weights)
    ]
    straight, _ = sum_weights([_with_keys(pa.Table.from_pylist(rows))], is_whole_state=True)
    shuffle.shuffle(rows)
    parts = [
        _with_keys(pa.Table.from_pylist(rows[at::files])) for at in range(files) if rows[at::files]
    ]

    shuffled, _ = sum_weights(parts, is_whole_state=True)

    assert shuffled.equals(straight)
    states = straight.filter(pc.equal(straight["geography_kind"], "state"))
    assert states["weight"].to_pylist() == [math.fsum(weights[0::2]), math.fsum(weights[1::2])]


def test_require_weight_kept_passes_what_sum_weights_made() -> None:
    for is_whole in (True, False):
        weights, _ = sum_weights([_tracts()], is_whole_state=is_whole)
        require_weight_kept([_tracts()], weights, is_whole_state=is_whole)


def _replaced(weights: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = weights.schema.get_field_index(name)
    return weights.set_column(at, weights.schema.field(at), pa.array(values, weights[name].type))


@pytest.mark.parametrize("spoil", ["lose a row", "repeat a row", "change a weight", "move a key"])
def test_require_weight_kept_stops_weight_that_came_or_went(spoil: str) -> None:
    weights, _ = sum_weights([_tracts()], is_whole_state=True)
    values = weights["weight"].to_pylist()
    ids = weights["bldg_id"].to_pylist()
    spoilt = {
        "lose a row": weights.slice(1),
        "repeat a row": pa.concat_tables([weights, weights.slice(0, 1)]),
        "change a weight": _replaced(weights, "weight", [values[0] * (1 + 1e-8), *values[1:]]),
        # The sums are right, but a building stands twice in a county.
        "move a key": _replaced(weights, "bldg_id", [ids[1], *ids[1:]]),
    }[spoil]

    with pytest.raises(FanOutError) as caught:
        require_weight_kept([_tracts()], spoilt, is_whole_state=True)

    assert caught.value.on == ("geography_kind", "geography", "bldg_id")


def _weights_of_two_states() -> pa.Table:
    wyoming = _rows(
        state="WY",
        bldg_id=[1],
        weight=[16.0],
        county_gisjoin=["G5600010"],
        in_nhgis_tract_gisjoin=["w"],
    )
    upgraded = _rows(
        upgrade=1,
        bldg_id=[1],
        weight=[2.75],
        county_gisjoin=[COUNTY],
        in_nhgis_tract_gisjoin=["a"],
    )
    parts = [[_tracts()], [wyoming], [upgraded]]
    return pa.concat_tables(sum_weights(each, is_whole_state=True)[0] for each in parts)


def _hours(
    ids: list[int], *, release: str = RELEASE, state: str = "AK", upgrade: int = 0
) -> pa.Table:
    """Two hours of each building, 1 kWh and 2 kWh; `upgrade` wider than the table has it."""
    count = 2 * len(ids)
    return pa.table(
        {
            "release": pa.repeat(release, count),
            "state": pa.repeat(state, count),
            "upgrade": pa.repeat(pa.scalar(upgrade, pa.int64()), count),
            "bldg_id": np.repeat(ids, 2),
            "kwh": [1.0, 2.0] * len(ids),
        }
    )


def test_a_county_join_multiplies_hours_by_the_counties_of_the_building() -> None:
    joined = join_weights(
        _hours([1, 2]), _weights_of_two_states(), kind=GeographyKind.COUNTY
    ).sort_by([("geography", "ascending"), ("bldg_id", "ascending"), ("kwh", "ascending")])

    assert joined.select(["geography", "bldg_id", "kwh", "weight"]).to_pylist() == [
        {"geography": COUNTY, "bldg_id": 1, "kwh": 1.0, "weight": 0.75},
        {"geography": COUNTY, "bldg_id": 1, "kwh": 2.0, "weight": 0.75},
        {"geography": COUNTY, "bldg_id": 2, "kwh": 1.0, "weight": 4.0},
        {"geography": COUNTY, "bldg_id": 2, "kwh": 2.0, "weight": 4.0},
        {"geography": OTHER_COUNTY, "bldg_id": 1, "kwh": 1.0, "weight": 2.0},
        {"geography": OTHER_COUNTY, "bldg_id": 1, "kwh": 2.0, "weight": 2.0},
    ]


@pytest.mark.parametrize(
    ("on", "met", "weight"),
    [
        (("bldg_id",), 3, 21.5),  # AK and WY, and upgrade 1 of AK
        (("state", "bldg_id"), 2, 5.5),
        (("upgrade", "bldg_id"), 2, 18.75),
        (("release", "upgrade", "bldg_id"), 2, 18.75),
    ],
)
def test_a_join_that_forgets_a_key_is_stopped(on: tuple[str, ...], met: int, weight: float) -> None:
    with pytest.raises(FanOutError) as caught:
        join_weights(_hours([1]), _weights_of_two_states(), kind=GeographyKind.STATE, on=on)

    assert caught.value.on == on
    assert caught.value.rows == (2, 2 * met)
    assert caught.value.weight == (2.75, weight)


def test_a_building_without_a_weight_is_not_lost_in_silence() -> None:
    with pytest.raises(FanOutError) as caught:
        join_weights(_hours([1, 77]), _weights_of_two_states(), kind=GeographyKind.STATE)

    assert caught.value.rows == (4, 2)


@pytest.mark.parametrize(
    ("buildings", "on", "said"),
    [
        (_hours([1]).drop_columns(["state"]), ("bldg_id",), "do not say their state"),
        (_hours([1]).append_column("weight", [[1.0, 1.0]]), BUILDING_KEYS, "already have weight"),
        (_hours([1]), ("bldg_id", "vintage"), "vintage is no key of a building"),
    ],
)
def test_what_cannot_be_proved_is_not_joined(
    buildings: pa.Table, on: tuple[str, ...], said: str
) -> None:
    with pytest.raises(FanOutError, match=said):
        join_weights(buildings, _weights_of_two_states(), kind=GeographyKind.STATE, on=on)


def test_weights_that_come_twice_are_not_joined() -> None:
    weights = _weights_of_two_states()

    with pytest.raises(FanOutError, match="two weights in one geography"):
        join_weights(_hours([1]), pa.concat_tables([weights, weights]), kind=GeographyKind.STATE)


def test_a_caller_may_drop_all_but_the_weight_columns() -> None:
    rows = _tracts()
    narrow = rows.rows.select([name for name in rows.rows.column_names if name in WEIGHT_COLUMNS])

    assert _summed([MetadataRows(rows.partition, rows.grain, narrow, (), ())]) == _summed([rows])


def _real_map(real_lake: Path, name: str) -> pa.Table:
    """Building, county and state of six small states, with a weight that counting gives."""
    folder = real_lake.parent / "reference" / "buildstock-fetch" / "bldg_county_map"
    table = pq.read_table(folder / f"{name}.parquet")
    weight = (np.arange(table.num_rows) * 7919 % 1009 + 1) / 128
    return table.append_column("weight", pa.array(weight))


def _real_rows(table: pa.Table, state: str, *, release: str = RELEASE) -> MetadataRows:
    of_state = table.filter(pc.equal(table["state"], state))
    return _rows(
        Grain.COUNTY,
        state=state,
        release=release,
        bldg_id=of_state["bldg_id"],
        weight=of_state["weight"],
        county_gisjoin=of_state["county"],
    )


REAL_MAPS = [
    "comstock_2023_amy2018_2",
    "comstock_2024_amy2018_2",
    "comstock_2025_amy2018_2",
    "comstock_2025_amy2018_3",
    "resstock_2024_amy2018_2",
    "resstock_2025_amy2018_1",
]


@pytest.mark.real_lake
@pytest.mark.parametrize("name", REAL_MAPS)
def test_on_real_maps_a_sum_over_counties_is_the_sum_over_the_state(
    real_lake: Path, name: str
) -> None:
    table = _real_map(real_lake, name)
    for state in sorted(set(table["state"].to_pylist())):
        rows = _real_rows(table, state)
        weights, notes = sum_weights([rows], is_whole_state=True)
        require_weight_kept([rows], weights, is_whole_state=True)
        assert notes == ()
        ids = np.unique(rows.rows["bldg_id"].to_numpy())
        buildings = pa.table(
            {
                "release": pa.repeat(RELEASE, len(ids)),
                "state": pa.repeat(state, len(ids)),
                "upgrade": pa.repeat(0, len(ids)),
                "bldg_id": ids,
                "kwh": (ids * 31 % 977) / 64,
            }
        )
        by_county = join_weights(buildings, weights, kind=GeographyKind.COUNTY)
        by_state = join_weights(buildings, weights, kind=GeographyKind.STATE)

        # Sixty-fourths times hundred-and-twenty-eighths: every product and sum is exact.
        expected = pc.sum(
            pc.multiply(
                pa.array((rows.rows["bldg_id"].to_numpy() * 31 % 977) / 64), rows.rows["weight"]
            )
        ).as_py()
        assert by_county.num_rows == rows.rows.num_rows
        assert by_state.num_rows == len(ids)
        assert _weighted_kwh(by_county) == expected
        assert _weighted_kwh(by_state) == expected


def _weighted_kwh(joined: pa.Table) -> float:
    return math.fsum(pc.multiply(joined["kwh"], joined["weight"]).to_pylist())


@pytest.mark.real_lake
@pytest.mark.parametrize("kind", [GeographyKind.COUNTY, GeographyKind.STATE])
def test_on_real_maps_a_join_on_the_id_alone_is_stopped(
    real_lake: Path, kind: GeographyKind
) -> None:
    # The ids of these six states do not overlap within a release, but between releases they do.
    maps = {name: _real_map(real_lake, name) for name in REAL_MAPS}
    weights = pa.concat_tables(
        sum_weights([_real_rows(table, state, release=name)], is_whole_state=True)[0]
        for name, table in maps.items()
        for state in SMALL_STATES
        if state in set(table["state"].to_pylist())
    )
    name = "comstock_2025_amy2018_3"
    vermont = maps[name].filter(pc.equal(maps[name]["state"], "VT"))
    ids = sorted(set(vermont["bldg_id"].to_pylist()))
    met = 0
    for table in maps.values():
        found = table.filter(pc.is_in(table["bldg_id"], pa.array(ids)))
        places = ["bldg_id", "county"] if kind is GeographyKind.COUNTY else ["bldg_id"]
        met += found.group_by([*places, "state"]).aggregate([]).num_rows
    own = vermont.num_rows if kind is GeographyKind.COUNTY else len(ids)
    buildings = _hours(ids, state="VT", release=name)

    assert join_weights(buildings, weights, kind=kind).num_rows == 2 * own
    with pytest.raises(FanOutError) as caught:
        join_weights(buildings, weights, kind=kind, on=("bldg_id",))
    assert caught.value.rows == (2 * own, 2 * met)
    assert met > own
