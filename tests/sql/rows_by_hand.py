"""Tables of a few rows written out by hand, for DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from tests.sql.saved_sql import Rows

PLACE: dict[str, Any] = {"release": "2024_comstock_amy2018_release_1", "state": "CO"}
ENERGIES = ("electricity", "natural_gas", "site_energy")
Values = tuple[float | None, float | None, float | None]
Hour = tuple[int, int, str, Values]


def register_hours(connection: duckdb.DuckDBPyConnection, hours: list[Hour]) -> None:
    """`hourly` of (upgrade, building, start, (electricity, gas, site))."""
    rows: Rows = [
        PLACE
        | {"upgrade": upgrade, "bldg_id": bldg_id, "hour_start": datetime.fromisoformat(start)}
        | {
            f"out_{energy}_total_energy_consumption_kwh": value
            for energy, value in zip(ENERGIES, values, strict=True)
        }
        for upgrade, bldg_id, start, values in hours
    ]
    schema = pa.schema(
        [
            ("release", pa.string()),
            ("state", pa.string()),
            ("upgrade", pa.int32()),
            ("bldg_id", pa.int64()),
            ("hour_start", pa.timestamp("us")),
            *((f"out_{each}_total_energy_consumption_kwh", pa.float64()) for each in ENERGIES),
        ]
    )
    connection.register("hourly", pa.Table.from_pylist(rows, schema=schema))


def register_days(
    connection: duckdb.DuckDBPyConnection, days: Mapping[str, tuple[list[float | None], ...]]
) -> None:
    """`hourly` of days, each with the 24 values of each building; all weigh the same."""
    hours: list[Hour] = [
        (0, bldg_id, f"{day}T{hour:02d}:00", (value, None, value))
        for day, buildings in days.items()
        for bldg_id, values in enumerate(buildings, 1)
        for hour, value in enumerate(values)
    ]
    register_hours(connection, hours)
    register_weights(
        connection,
        [(0, "state", "CO", each, 1.0, None) for each in sorted({hour[1] for hour in hours})],
    )


def register_weights(
    connection: duckdb.DuckDBPyConnection,
    weights: list[tuple[int, str, str, int, float, float | None]],
) -> None:
    """`building_weights` of (upgrade, kind, geography, building, weight, floor area)."""
    rows: Rows = [
        PLACE
        | {
            "upgrade": upgrade,
            "geography_kind": kind,
            "geography": geography,
            "bldg_id": bldg_id,
            "weight": weight,
            "building_type": "SmallOffice",
            "building_type_group": "Office",
            "floor_area_ft2": area,
        }
        for upgrade, kind, geography, bldg_id, weight, area in weights
    ]
    connection.register("building_weights", pa.Table.from_pylist(rows))


def register_upgrade(connection: duckdb.DuckDBPyConnection, tracts: list[tuple[int, bool]]) -> None:
    """`metadata` of upgrade 1, rows of (building, whether it applies); each building weighs 2."""
    rows = [
        PLACE | {"upgrade": 1, "bldg_id": bldg_id, "applicability": applies}
        for bldg_id, applies in tracts
    ]
    connection.register("metadata", pa.Table.from_pylist(rows))
    register_weights(
        connection, [(1, "state", "CO", each, 2.0, None) for each in sorted(dict(tracts))]
    )
