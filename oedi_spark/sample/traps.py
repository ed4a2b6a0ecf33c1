"""Known traps of the OEDI files, to be planted on purpose, each on one file or everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oedi_spark.errors import ConfigError
from oedi_spark.sample.clock import ROWS_PER_DAY
from oedi_spark.source.layout import BuildingKey


class Trap(StrEnum):
    """What can be wrong, or merely different. One file each, unless it says the whole lake."""

    TRUNCATED_FILE = "truncated_file"
    """The last third of the bytes is missing, and with it the footer."""
    MISSING_FILE = "missing_file"
    """The metadata have the building, the series is not there."""
    NOT_PARQUET = "not_parquet"
    """An error page of the object store, saved under the file's name."""
    EMPTY_FILE = "empty_file"
    """No bytes at all."""
    ZERO_ROWS = "zero_rows"
    """Sound parquet with every column and no row."""
    MISSING_TIMESTAMP = "missing_timestamp"
    """No column `timestamp`."""
    MISSING_BLDG_ID = "missing_bldg_id"
    """No column `bldg_id`."""
    CONTRADICTING_BLDG_ID = "contradicting_bldg_id"
    """`bldg_id` is one more than the name of the file says."""
    IRREGULAR_STAMPS = "irregular_stamps"
    """One stamp in the middle lies five minutes late; the number of rows is right."""
    DUPLICATE_STAMPS = "duplicate_stamps"
    """One stamp repeats the one before it; the number of rows is right."""
    UNSORTED_STAMPS = "unsorted_stamps"
    """Two neighbouring rows have changed places."""
    WRONG_ROW_COUNT = "wrong_row_count"
    """The last day is missing."""
    STRING_COLUMN = "string_column"
    """`out.electricity.total` holds its numbers as text."""
    NAN_VALUES = "nan_values"
    """Three NaN in a column of zeros: its statistics say min = max = 0."""
    NULL_VALUES = "null_values"
    """Three nulls in `out.electricity.total`."""
    FLOAT32 = "float32"
    """Whole lake: every measure in single precision."""
    MISSING_COLUMNS = "missing_columns"
    """The columns of one fuel that the building does not use are left out."""
    EXTRA_COLUMN = "extra_column"
    """One more end use than the other files have; never the first file of its folder."""
    NULL_TYPE_COLUMN = "null_type_column"
    """A column of zeros is all null, and typed null (int32 in parquet)."""
    INTERVAL_BEGINNING = "interval_beginning"
    """Whole lake: stamps name the beginning, 1 January 00:00 to 31 December 23:45."""
    DOUBLE_DOT_UNITS = "double_dot_units"
    """Whole lake: measures end in `..kwh`, `..kwh_per_ft2` and so on."""
    SINGLE_DOT_UNITS = "single_dot_units"
    """Whole lake: measures end in `.kwh`, `.kwh_per_ft2` and so on."""
    INT64_NANOS = "int64_nanos"
    """Whole lake: `timestamp` is a plain int64 of nanoseconds since 1970."""
    UTC_STAMPS = "utc_stamps"
    """`timestamp` is marked as UTC, though it is EST as everywhere."""
    MULTI_ROW_GROUPS = "multi_row_groups"
    """Several row groups, whose borders cut hours in two."""
    STRAY_FILES = "stray_files"
    """Beside the first folder's buildings: `_SUCCESS`, a note, a `.tmp`, another upgrade's file."""
    HOSTILE_NAME = "hostile_name"
    """A name with quotes and a line break, where the file system allows it."""
    METADATA_UNREADABLE = "metadata_unreadable"
    """A sound footer, and zeros where the pages were."""
    METADATA_TRUNCATED = "metadata_truncated"
    """The last third of the bytes is missing, and with it the footer."""
    METADATA_MISSING_WEIGHT = "metadata_missing_weight"
    """No column `weight`."""
    METADATA_NULL_WEIGHT = "metadata_null_weight"
    """The first row has no weight."""
    METADATA_NEGATIVE_WEIGHT = "metadata_negative_weight"
    """The first row's weight is below zero."""
    METADATA_DUPLICATE_ROWS = "metadata_duplicate_rows"
    """The first row comes again at the end."""
    METADATA_WRONG_STATE = "metadata_wrong_state"
    """A state's file whose rows are of another state, geographies included."""
    METADATA_WRONG_UPGRADE = "metadata_wrong_upgrade"
    """`upgrade` is one more than the name of the file says."""
    METADATA_BLDG_ID_IN_INDEX = "metadata_bldg_id_in_index"
    """`bldg_id` is the pandas index, so the column is called `__index_level_0__`."""
    METADATA_NONE_LITERALS = "metadata_none_literals"
    """The first row's `in.heating_fuel` is the text "None", which is a value."""
    METADATA_MIXED_TYPES = "metadata_mixed_types"
    """`in.airtightness` is int64 in one state, double in the next, and typed null in a third."""
    METADATA_ALL_NULL_COLUMN = "metadata_all_null_column"
    """`in.vintage` is all null, and typed null (int32 in parquet)."""
    METADATA_WITHOUT_SERIES = "metadata_without_series"
    """A building of the metadata that was never simulated: no series has its id."""
    SERIES_WITHOUT_METADATA = "series_without_metadata"
    """A building whose series is there, and no metadata file of its state names it."""
    METADATA_TWO_SPELLINGS = "metadata_two_spellings"
    """The same file twice, as `baseline` and as `upgrade0` (or `upgrade05` and `upgrade5`)."""
    METADATA_STRAY_FILE = "metadata_stray_file"
    """Beside a metadata file: `_SUCCESS`, a note, and a `.tmp`."""


WHOLE_LAKE_TRAPS = frozenset(
    {
        Trap.FLOAT32,
        Trap.INTERVAL_BEGINNING,
        Trap.DOUBLE_DOT_UNITS,
        Trap.SINGLE_DOT_UNITS,
        Trap.INT64_NANOS,
    }
)
FOLDER_TRAPS = frozenset({Trap.STRAY_FILES, Trap.HOSTILE_NAME})
METADATA_TRAPS = frozenset(trap for trap in Trap if "metadata" in trap)
"""Those that `metadata_traps.py` plants; every other trap lies among the series."""
ROW_GROUP_ROWS = 7_001
_NOT_PARQUET = b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>\n'
_UNIT = re.compile(
    r"\.{1,2}(kwh|kwh_per_ft2|kbtu|c|co2e_kg|hour|gal|cfm|percentage|watt|watt_per_m2"
    r"|meter_per_second|kgwater_per_kgdryair)$"
)
_HIT_ROWS = (0, 1_000, 20_000)


@dataclass(frozen=True)
class LakeStyle:
    """How every file of the lake is spelt and typed. `dots` None: as its release does."""

    float32: bool = False
    interval_beginning: bool = False
    int64_nanos: bool = False
    dots: str | None = None


def build_style(traps: Iterable[Trap]) -> LakeStyle:
    """The style that the whole-lake traps ask for."""
    asked = frozenset(traps)
    dots = ".." if Trap.DOUBLE_DOT_UNITS in asked else None
    return LakeStyle(
        float32=Trap.FLOAT32 in asked,
        interval_beginning=Trap.INTERVAL_BEGINNING in asked,
        int64_nanos=Trap.INT64_NANOS in asked,
        dots="." if Trap.SINGLE_DOT_UNITS in asked else dots,
    )


def find_trap_faults(traps: Iterable[Trap]) -> list[str]:
    """What cannot be planted together."""
    both = {Trap.DOUBLE_DOT_UNITS, Trap.SINGLE_DOT_UNITS}
    if both <= set(traps):
        return ["traps: double_dot_units and single_dot_units exclude each other"]
    return []


def assign_traps(
    traps: Iterable[Trap], folders: Sequence[Sequence[BuildingKey]]
) -> Mapping[BuildingKey, Trap]:
    """Give every single-file trap a building of its own.

    Args:
        traps: What was asked for; whole-lake, folder and metadata traps are passed over.
        folders: The buildings that may be hit, folder by folder, in order of `bldg_id`.

    Raises:
        ConfigError: There are more traps than buildings.
    """
    asked = set(traps) - WHOLE_LAKE_TRAPS - FOLDER_TRAPS - METADATA_TRAPS
    free = [building for folder in folders for building in folder]
    first = {folder[0] for folder in folders if folder}
    assigned: dict[BuildingKey, Trap] = {}
    ordered = sorted(
        asked, key=lambda trap: (trap is not Trap.EXTRA_COLUMN, list(Trap).index(trap))
    )
    for trap in ordered:
        fitting = [one for one in free if trap is not Trap.EXTRA_COLUMN or one not in first]
        if not fitting:
            fault = f"traps: {len(asked)} need a building each, too few for {trap} in this sample"
            raise ConfigError("sample", [f"{fault}; ask for more buildings"])
        assigned[fitting[0]] = trap
        free.remove(fitting[0])
    return MappingProxyType(assigned)


def apply_style(table: pa.Table, style: LakeStyle) -> pa.Table:
    """Spell and type a sound file as the whole-lake traps want it."""
    if style.interval_beginning:
        quarter = pa.scalar(timedelta(minutes=15), pa.duration(table["timestamp"].type.unit))
        table = replace_column(table, "timestamp", pc.subtract(table["timestamp"], quarter))
    if style.int64_nanos:
        nanos = table["timestamp"].cast(pa.timestamp("ns")).cast(pa.int64())
        table = replace_column(table, "timestamp", nanos)
    if style.float32:
        fields = [
            field.with_type(pa.float32()) if field.type == pa.float64() else field
            for field in table.schema
        ]
        table = table.cast(pa.schema(fields))
    if style.dots is not None:
        table = table.rename_columns([respell(name, style.dots) for name in table.column_names])
    return table


def respell(name: str, dots: str) -> str:
    """Write a column's unit after `dots`; energies get the unit they may lack."""
    bare = _UNIT.sub(lambda unit: dots + unit[1], name)
    if bare.endswith("energy_consumption"):
        return f"{bare}{dots}kwh"
    return f"{bare}{dots}kwh_per_ft2" if bare.endswith("energy_consumption_intensity") else bare


def spoil_table(trap: Trap | None, table: pa.Table) -> pa.Table:
    """The table with a trap of rows or columns in it; any other trap leaves it as it is."""
    spoil = _TABLE_TRAPS.get(trap) if trap else None
    return spoil(table) if spoil else table


def spoil_bytes(trap: Trap | None, content: bytes) -> bytes | None:
    """The bytes to be written; None when there is to be no file."""
    if trap is Trap.MISSING_FILE:
        return None
    if trap is Trap.TRUNCATED_FILE:
        return content[: len(content) * 2 // 3]
    if trap is Trap.EMPTY_FILE:
        return b""
    return _NOT_PARQUET if trap is Trap.NOT_PARQUET else content


def replace_column(table: pa.Table, name: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Put other values, of whatever type, in a column's place."""
    return table.set_column(table.column_names.index(name), name, values)


def _energy_names(table: pa.Table) -> list[str]:
    pattern = re.compile(r"out\.\w+\.\w+\.energy_consumption(\.{1,2}kwh)?")
    return [name for name in table.column_names if pattern.fullmatch(name)]


def _electricity_total(table: pa.Table) -> str:
    return next(name for name in _energy_names(table) if name.startswith("out.electricity.total."))


def _first_zero_column(table: pa.Table) -> str:
    return next(
        name
        for name in _energy_names(table)
        if pc.min_max(table[name]).as_py() == {"min": 0.0, "max": 0.0}
    )


def _with_hits(table: pa.Table, name: str, value: float | None) -> pa.Table:
    """Put `value` into a few rows of a column."""
    hit = np.zeros(table.num_rows, dtype=bool)
    hit[list(_HIT_ROWS)] = True
    scalar = pa.scalar(value, table.schema.field(name).type)
    return replace_column(
        table, name, pc.if_else(pa.array(hit), scalar, table[name].combine_chunks())
    )


def _move_stamp(table: pa.Table, minutes: int) -> pa.Table:
    """Move the stamp in the middle of the year."""
    field = table.schema.field("timestamp")
    counts = table["timestamp"].cast(pa.int64()).to_numpy().copy()
    quarter = int(counts[1] - counts[0])
    counts[len(counts) // 2] += quarter * minutes // 15
    return replace_column(table, "timestamp", pa.array(counts).cast(field.type))


def _swap_rows(table: pa.Table) -> pa.Table:
    order = np.arange(table.num_rows)
    order[[5_000, 5_001]] = [5_001, 5_000]
    return table.take(pa.array(order))


def _raise_bldg_id(table: pa.Table) -> pa.Table:
    return replace_column(table, "bldg_id", pc.add(table["bldg_id"], 1))


def _total_as_text(table: pa.Table) -> pa.Table:
    name = _electricity_total(table)
    return replace_column(table, name, table[name].cast(pa.string()))


def _without_unused_fuel(table: pa.Table) -> pa.Table:
    """Drop the first fuel whose total is zero all year."""
    fuel = next(
        name.split(".")[1]
        for name in _energy_names(table)
        if ".total." in name and pc.max(table[name]).as_py() == 0
    )
    return table.drop_columns([one for one in table.column_names if one.startswith(f"out.{fuel}.")])


def _with_battery(table: pa.Table) -> pa.Table:
    total = _electricity_total(table)
    extra = pa.array(np.full(table.num_rows, 0.001)).cast(table.schema.field(total).type)
    return table.append_column(total.replace(".total.", ".battery_losses."), extra)


def _with_null_type(table: pa.Table) -> pa.Table:
    return replace_column(table, _first_zero_column(table), pa.nulls(table.num_rows))


def _as_utc(table: pa.Table) -> pa.Table:
    kind = table.schema.field("timestamp").type
    unit = kind.unit if pa.types.is_timestamp(kind) else "ns"
    stamps = table["timestamp"].cast(pa.timestamp(unit)).cast(pa.int64())
    return replace_column(table, "timestamp", stamps.cast(pa.timestamp(unit, tz="UTC")))


_TABLE_TRAPS: Mapping[Trap, Callable[[pa.Table], pa.Table]] = MappingProxyType(
    {
        Trap.ZERO_ROWS: lambda table: table.slice(0, 0),
        Trap.MISSING_TIMESTAMP: lambda table: table.drop_columns(["timestamp"]),
        Trap.MISSING_BLDG_ID: lambda table: table.drop_columns(["bldg_id"]),
        Trap.CONTRADICTING_BLDG_ID: _raise_bldg_id,
        Trap.IRREGULAR_STAMPS: lambda table: _move_stamp(table, 5),
        Trap.DUPLICATE_STAMPS: lambda table: _move_stamp(table, -15),
        Trap.UNSORTED_STAMPS: _swap_rows,
        Trap.WRONG_ROW_COUNT: lambda table: table.slice(0, table.num_rows - ROWS_PER_DAY),
        Trap.STRING_COLUMN: _total_as_text,
        Trap.NAN_VALUES: lambda table: _with_hits(table, _first_zero_column(table), float("nan")),
        Trap.NULL_VALUES: lambda table: _with_hits(table, _electricity_total(table), None),
        Trap.MISSING_COLUMNS: _without_unused_fuel,
        Trap.EXTRA_COLUMN: _with_battery,
        Trap.NULL_TYPE_COLUMN: _with_null_type,
        Trap.UTC_STAMPS: _as_utc,
    }
)
