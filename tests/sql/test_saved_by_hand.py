"""Queries on a few rows written out by hand: weekends of a leap year, peaks, missing values."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from tests.sql.rows_by_hand import PLACE, register_days, register_hours, register_weights
from tests.sql.saved_sql import run


def test_average_day_of_february_of_a_leap_year_has_its_29th_among_the_weekdays(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    # 29 February 2012 was a Wednesday, the 4th a Saturday, the 5th a Sunday.
    register_hours(
        by_hand,
        [
            (0, 1, "2012-02-28T07:00", (1.0, None, 1.0)),
            (0, 1, "2012-02-29T07:00", (3.0, None, 3.0)),
            (0, 1, "2012-02-04T07:00", (16.0, None, 16.0)),
            (0, 1, "2012-02-05T07:00", (64.0, None, 64.0)),
            (0, 1, "2012-02-29T08:00", (128.0, None, 128.0)),
            (0, 1, "2012-01-01T07:00", (1024.0, None, 1024.0)),
            (0, 2, "2012-02-28T07:00", (None, None, None)),
            (0, 2, "2012-02-29T07:00", (None, None, None)),
        ],
    )
    register_weights(
        by_hand,
        [
            (0, "state", "CO", 1, 2.0, 10.0),
            (0, "county", "G0800310", 1, 2.0, 10.0),
            (0, "state", "CO", 2, 4.0, 10.0),
        ],
    )

    rows = run(by_hand, "average_day")

    assert [tuple(row.values()) for row in rows] == [
        ("SmallOffice", 2, "weekday", 7, 4.0, 2, 2),
        ("SmallOffice", 2, "weekday", 8, 256.0, 1, 0),
        ("SmallOffice", 2, "weekend", 7, 80.0, 2, 0),
    ]


def test_peak_day_is_told_by_the_highest_hour_not_by_the_most_energy(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    # The second has most energy, the third the highest hour, the first the lowest peak. Alone,
    # building 2 peaks on the second: the peak that counts is that of the weighted sum.
    loads = {
        "2018-07-01": ((4.0, 4.0), (1.0, 0.0)),
        "2018-07-02": ((5.0, 5.0), (3.0, 3.0)),
        "2018-07-03": ((0.0, 9.0), (0.0, 2.0)),
    }
    register_hours(
        by_hand,
        [
            (0, bldg_id, f"{day}T{hour:02d}:00", (value, 0.0, value))
            for day, hours in loads.items()
            for bldg_id, values in enumerate(hours, 1)
            for hour in range(24)
            for value in (values[hour == 23],)
        ],
    )
    register_weights(by_hand, [(0, "state", "CO", 1, 10.0, None), (0, "state", "CO", 2, 1.0, None)])

    rows = run(by_hand, "peak_day")

    third, first = datetime(2018, 7, 3).date(), datetime(2018, 7, 1).date()
    assert [tuple(row.values()) for row in rows] == [
        *(("peak", third, hour, 0.0, False, 0) for hour in range(23)),
        ("peak", third, 23, 92.0, True, 0),
        *(("minimum peak", first, hour, 41.0, True, 0) for hour in range(23)),
        ("minimum peak", first, 23, 40.0, False, 0),
    ]


def test_peak_day_of_the_minimum_is_none_that_lacks_values_of_some_buildings(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    # Building 3 never has electricity. On the second, building 2 lacks all its hours; on the third,
    # all lack one hour; the fourth has 23 rows: each would be the minimum, yet the first is.
    nothing: list[float | None] = [None] * 24
    register_days(
        by_hand,
        {
            "2018-07-01": ([4.0] * 24, [5.0] * 24, nothing),
            "2018-07-02": ([1.0] * 24, nothing, nothing),
            "2018-07-03": ([2.0] * 23 + [None], [2.0] * 23 + [None], nothing),
            "2018-07-04": ([0.5] * 23, [0.5] * 23, nothing[1:]),
            "2018-07-05": ([16.0] * 24, [None] * 12 + [1.0] * 12, nothing),
        },
    )

    rows = run(by_hand, "peak_day")

    first, fifth = datetime(2018, 7, 1).date(), datetime(2018, 7, 5).date()
    # A day that lacks values still has the highest hour that is known.
    assert [tuple(row.values()) for row in rows] == [
        *(("peak", fifth, hour, 16.0, False, 2) for hour in range(12)),
        *(("peak", fifth, hour, 17.0, True, 1) for hour in range(12, 24)),
        *(("minimum peak", first, hour, 9.0, True, 1) for hour in range(24)),
    ]


def test_annual_totals_say_what_is_missing_and_divide_by_known_floor_area_only(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    register_hours(
        by_hand,
        [
            (0, 1, "2018-01-01T00:00", (8.0, None, 8.0)),
            (0, 1, "2018-01-01T01:00", (None, None, None)),
            (0, 2, "2018-01-01T00:00", (1.0, 2.0, 3.0)),
            (0, 3, "2018-01-01T00:00", (512.0, 512.0, 1024.0)),
        ],
    )
    # Building 3 has no metadata, so no weight: it counts in no total.
    register_weights(by_hand, [(0, "state", "CO", 1, 2.0, 4.0), (0, "state", "CO", 2, 3.0, None)])

    (row,) = run(by_hand, "annual_totals_by_type")

    assert row == {
        "building_type": "SmallOffice",
        "model_count": 2,
        "represented_count": 5.0,
        "floor_area_ft2": 8.0,
        "electricity_kwh": 19.0,
        "natural_gas_kwh": 6.0,
        "site_energy_kwh": 25.0,
        "site_energy_kwh_per_ft2": 2.0,
        "missing_hours": 1,
    }


def test_load_duration_passes_over_hours_without_a_value(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    start = datetime(2018, 1, 1)
    values = [1.0, 8.0, None, 4.0, 2.0]
    register_hours(
        by_hand,
        [
            (0, 1, (start + timedelta(hours=at)).isoformat(), (value, None, value))
            for at, value in enumerate(values)
        ],
    )
    register_weights(by_hand, [(0, "state", "CO", 1, 0.5, None)])

    rows = run(by_hand, "load_duration")

    assert [tuple(row.values())[2:] for row in rows] == [
        (4.0, 25.0, 100.0, 0),
        (2.0, 50.0, 50.0, 0),
        (1.0, 75.0, 25.0, 0),
        (0.5, 100.0, 12.5, 0),
    ]
    assert rows[0]["hour_start_est"] == start + timedelta(hours=1)


def test_load_duration_of_equal_hours_is_one_share_and_tells_who_lacks_a_value(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    register_days(by_hand, {"2018-01-01": ([6.0, 4.0, 8.0], [2.0, 0.0, None])})

    rows = run(by_hand, "load_duration")

    shares = pytest.approx([200 / 3, 200 / 3, 100.0])
    assert [row["percent_of_hours"] for row in rows] == shares
    assert [
        (row["load_rank"], row["electricity_kwh"], row["hour_start_est"].hour, row["missing_hours"])
        for row in rows
    ] == [(1, 8.0, 0, 0), (2, 8.0, 2, 1), (3, 4.0, 1, 0)]


def test_open_discrepancies_keep_every_reason_that_the_latest_run_gave(
    by_hand: duckdb.DuckDBPyConnection,
) -> None:
    # A partition may lack both series and metadata; a file of every state has no state.
    earlier, later = datetime(2018, 3, 1, 8), datetime(2018, 3, 2, 8)
    partition = "release=2024_comstock_amy2018_release_1/state=CO/upgrade=0"
    found = [
        ("first", "CO", partition, "no_series", earlier),
        ("second", "CO", partition, "no_series", later),
        ("second", "CO", partition, "no_metadata", later),
        ("first", None, "national.parquet", "truncated", earlier),
        ("second", None, "national.parquet", "not_found", later),
    ]
    names = ("run_id", "state", "key", "reason", "last_seen_utc")
    rest = {"release": PLACE["release"], "upgrade": 0, "stage": "reader", "detail": ""}
    rest |= {"first_seen_utc": earlier}
    by_hand.register(
        "discrepancies",
        pa.Table.from_pylist([rest | dict(zip(names, row, strict=True)) for row in found]),
    )
    runs = [
        {"run_id": name, "started_at_utc": at - timedelta(minutes=1), "hours_published": 8760}
        for name, at in (("first", earlier), ("second", later))
    ]
    by_hand.register("runs", pa.Table.from_pylist(runs))

    rows = run(by_hand, "open_discrepancies")

    assert [(row["key"], row["reason"], row["publishing_runs_since"]) for row in rows] == [
        ("national.parquet", "not_found", 0),
        (partition, "no_metadata", 0),
        (partition, "no_series", 0),
    ]
