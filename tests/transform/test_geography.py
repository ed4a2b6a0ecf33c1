"""How much of the stock has a series, on five rows worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from oedi_spark.contracts_metadata import GeographyCoverage
from oedi_spark.transform.geography import cover_geographies
from oedi_spark.transform.weights import WEIGHTS_SCHEMA

EAST, WEST = "G0800010", "G0800030"
ROWS = [
    ("county", EAST, 1, 2.0),
    ("county", EAST, 2, 4.0),
    ("county", WEST, 2, 8.0),
    ("state", "CO", 1, 2.0),
    ("state", "CO", 2, 12.0),
]


def weights(rows: list[tuple[str, str, int, float]]) -> pa.Table:
    names = ("geography_kind", "geography", "bldg_id", "weight")
    return pa.Table.from_pylist(
        [{"state": "CO", **dict(zip(names, row, strict=True))} for row in rows],
        schema=WEIGHTS_SCHEMA,
    )


def test_county_without_a_series_is_not_covered_and_its_weight_is_not() -> None:
    found = cover_geographies(weights(ROWS), np.array([1, 99]))

    assert found == (
        GeographyCoverage("county", 2, 1, 14.0, 2.0),
        GeographyCoverage("state", 1, 1, 14.0, 2.0),
    )
    assert [round(each.share, 4) for each in found] == [0.1429, 0.1429]


def test_all_buildings_with_a_series_cover_everything() -> None:
    found = cover_geographies(weights(ROWS), np.array([1, 2]))

    assert [(each.count, each.covered_count, each.share) for each in found] == [
        (2, 2, 1.0),
        (1, 1, 1.0),
    ]


def test_no_series_at_all_covers_nothing_and_no_weights_are_no_entry() -> None:
    none = np.empty(0, dtype=np.int64)

    assert [each.covered_count for each in cover_geographies(weights(ROWS), none)] == [0, 0]
    assert cover_geographies(weights([]), none) == ()


def test_weight_in_a_county_or_puma_of_another_state_is_astray() -> None:
    """G0400010 is in Arizona, G9900010 in no state; CO is 08."""
    rows = [
        *ROWS,
        ("county", "G0400010", 3, 16.0),
        ("county", "G9900010", 3, 32.0),
        ("puma", "G08000101", 3, 64.0),
        ("puma", "G04000101", 3, 128.0),
    ]

    found = cover_geographies(weights(rows), np.array([1, 2, 3]))

    assert {each.kind: each.astray_weight for each in found} == {
        "county": 48.0,
        "puma": 128.0,
        "state": 0.0,
    }


def test_weight_of_rows_without_a_county_is_astray_even_if_no_row_has_one() -> None:
    some = cover_geographies(weights(ROWS), np.array([1, 2]), countyless_weight=5.0)
    (county, state) = cover_geographies(weights(ROWS[3:]), np.array([1]), countyless_weight=14.0)

    assert [(each.kind, each.astray_weight) for each in some] == [("county", 5.0), ("state", 0.0)]
    assert county == GeographyCoverage("county", 0, 0, 0.0, 0.0, astray_weight=14.0)
    assert (state.kind, state.astray_weight) == ("state", 0.0)


def test_a_building_that_weighs_nothing_somewhere_is_counted_once() -> None:
    rows = [("county", EAST, 1, 0.0), ("county", WEST, 1, 0.0), ("county", WEST, 2, 1.0)]

    (county,) = cover_geographies(weights(rows), np.array([1, 2]))

    assert (county.weightless_count, county.astray_weight) == (1, 0.0)
