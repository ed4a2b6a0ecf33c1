"""Known traps of the metadata files: which file each one hits, and what it does to it.

Each takes a file of its own, the first that fits: lowest upgrade, first state, in the order in
which they were asked for. Two of them are of buildings, not of files: they are planted before
the files are built, so that every tree of the release tells the same story.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from oedi_spark.errors import ConfigError
from oedi_spark.sample.metadata import SampleMetadata
from oedi_spark.sample.metadata_rows import BuildingRecord
from oedi_spark.sample.places import load_places
from oedi_spark.sample.traps import METADATA_TRAPS, Trap, replace_column

BUILDING_TRAPS = frozenset({Trap.METADATA_WITHOUT_SERIES, Trap.SERIES_WITHOUT_METADATA})
INDEX_COLUMN = "__index_level_0__"
MIXED_COLUMN = "in.airtightness"
_MIXED_VALUES = (pa.scalar(3, pa.int64()), pa.scalar(2.5, pa.float64()), pa.scalar(None))
_GEOGRAPHY = re.compile(r"in\.(county|puma|nhgis_\w+_gisjoin)")
_UPGRADE_WORD = re.compile(r"(?<=[/_])(baseline|upgrade(\d+))(?=[_.])")


@dataclass(frozen=True)
class MetadataSite:
    """A file that a trap may hit, by its whole key. `state` None: it holds every state."""

    release: str
    key: str
    state: str | None
    upgrade: int


@dataclass(frozen=True)
class PlantedTrap:
    """A trap on one file. `part` tells the files of `metadata_mixed_types` apart: 0, 1, 2."""

    trap: Trap
    part: int = 0


def assign_metadata_traps(
    traps: Iterable[Trap], sites: Sequence[MetadataSite]
) -> Mapping[str, PlantedTrap]:
    """Give every trap of a file the first file that it can hit, by key.

    Args:
        traps: What was asked for; traps of buildings and of series are passed over.
        sites: The files of the lake, those that should be hit first at the beginning.

    Raises:
        ConfigError: A trap finds no file left that fits.
    """
    asked = METADATA_TRAPS.intersection(traps) - BUILDING_TRAPS
    free = list(sites)
    assigned: dict[str, PlantedTrap] = {}
    # The choosiest first, so that the others do not take what it needs.
    order = (Trap.METADATA_MIXED_TYPES, Trap.METADATA_TWO_SPELLINGS, Trap.METADATA_WRONG_STATE)
    for trap in (*order, *(one for one in Trap if one not in order)):
        if trap not in asked:
            continue
        found = _choose(trap, free)
        if not found:
            fault = f"traps: no metadata file of this sample is left for {trap}"
            raise ConfigError("sample", [f"{fault}; ask for more states or upgrades"])
        for part, site in enumerate(found):
            assigned[site.key] = PlantedTrap(trap, part)
            free.remove(site)
    return MappingProxyType(assigned)


def plant_building_traps(
    traps: Iterable[Trap], records: Sequence[BuildingRecord], *, state: str, upgrade: int
) -> tuple[list[BuildingRecord], dict[int, Trap]]:
    """Add a building that has no series, and leave one out that has; in one state and upgrade.

    Args:
        traps: What was asked for; all others are passed over.
        records: What was drawn for one release, at least two buildings in that state.
        state: The state that is hit.
        upgrade: The upgrade that is hit.

    Returns:
        The records as the metadata shall have them, and the buildings with a trap.
    """
    asked = frozenset(traps)
    hit = [one for one in records if (one.state, one.upgrade) == (state, upgrade)]
    last = max(hit, key=lambda one: one.bldg_id)
    planted = list(records)
    trapped: dict[int, Trap] = {}
    if Trap.METADATA_WITHOUT_SERIES in asked:
        ghost = replace(last, bldg_id=max(one.bldg_id for one in records) + 1)
        planted.append(ghost)
        trapped[ghost.bldg_id] = Trap.METADATA_WITHOUT_SERIES
    if Trap.SERIES_WITHOUT_METADATA in asked:
        planted.remove(last)
        trapped[last.bldg_id] = Trap.SERIES_WITHOUT_METADATA
    return planted, trapped


def spoil_metadata(planted: PlantedTrap, file: SampleMetadata) -> pa.Table:
    """The rows with a trap in them; a trap of bytes or of names leaves them as they are."""
    if planted.trap is Trap.METADATA_MIXED_TYPES:
        value = _MIXED_VALUES[planted.part]
        values = pa.repeat(value, file.table.num_rows)
        return file.table.append_column(MIXED_COLUMN, values)
    if planted.trap is Trap.METADATA_WRONG_STATE and file.state is not None:
        return _of_another_state(file.table, file.state)
    spoil = _TABLE_TRAPS.get(planted.trap)
    return spoil(file.table) if spoil else file.table


def spoil_metadata_bytes(trap: Trap, content: bytes) -> bytes:
    """The bytes to be written."""
    if trap is Trap.METADATA_TRUNCATED:
        return content[: len(content) * 2 // 3]
    if trap is Trap.METADATA_UNREADABLE:
        footer_at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        return content[:4] + bytes(footer_at - 4) + content[footer_at:]
    return content


def build_companions(trap: Trap, key: str, content: bytes) -> dict[str, bytes]:
    """The files that a trap puts beside the one at `key`, by key."""
    if trap is Trap.METADATA_TWO_SPELLINGS and (other := respell_upgrade(key)):
        return {other: content}
    if trap is Trap.METADATA_STRAY_FILE:
        folder = key.rpartition("/")[0]
        names = (f"{folder}/_SUCCESS", f"{folder}/notes.txt", f"{key}.tmp")
        return dict.fromkeys(names, b"no metadata\n")
    return {}


def respell_upgrade(key: str) -> str | None:
    """The same key with the upgrade spelt otherwise; None where there is one spelling only."""
    match = _UPGRADE_WORD.search(key, key.rindex("/"))
    if match is None:
        return None
    if match[1] == "baseline":
        word = "upgrade0"
    elif int(match[2]) == 0:
        word = "baseline"
    elif int(match[2]) >= 10:
        return None
    else:
        padded, plain = f"upgrade{int(match[2]):02d}", f"upgrade{int(match[2])}"
        word = plain if match[1] == padded else padded
    return key[: match.start()] + word + key[match.end() :]


def _choose(trap: Trap, free: Sequence[MetadataSite]) -> list[MetadataSite]:
    """The first file that fits; for mixed types one in each of three states of a release."""
    if trap is Trap.METADATA_MIXED_TYPES:
        by_cell: dict[tuple[str, int], dict[str, MetadataSite]] = {}
        for site in free:
            if site.state is not None:
                cell = by_cell.setdefault((site.release, site.upgrade), {})
                cell.setdefault(site.state, site)
        complete = (list(cell.values())[:3] for cell in by_cell.values() if len(cell) >= 3)
        return next(complete, [])
    for site in free:
        if trap is Trap.METADATA_WRONG_STATE and site.state is None:
            continue
        if trap is Trap.METADATA_TWO_SPELLINGS and respell_upgrade(site.key) is None:
            continue
        return [site]
    return []


def _with_first(table: pa.Table, name: str, value: object) -> pa.Table:
    """Put `value` into the first row of a column."""
    kind = table.schema.field(name).type
    values = pa.chunked_array([pa.array([value], kind), *table[name].slice(1).chunks], kind)
    return replace_column(table, name, values)


def _of_another_state(table: pa.Table, state: str) -> pa.Table:
    """The next state of the alphabet in every row, its FIPS code in every geography."""
    places = load_places()
    codes = sorted(places)
    other = codes[(codes.index(state) + 1) % len(codes)]
    table = replace_column(table, "in.state", pa.array([other] * table.num_rows))
    for name in table.column_names:
        if _GEOGRAPHY.fullmatch(name) and "as_simulated" not in name:
            moved = pc.utf8_replace_slice(table[name], 1, 3, f"{places[other].fips:02d}")
            table = replace_column(table, name, moved)
    return table


def _with_bldg_id_in_index(table: pa.Table) -> pa.Table:
    """As pandas writes a frame whose index is called bldg_id: last, and named in the footer."""
    moved = table.drop_columns(["bldg_id"]).append_column(INDEX_COLUMN, table["bldg_id"])
    pandas = {
        "index_columns": [INDEX_COLUMN],
        "column_indexes": [],
        "columns": [
            {
                "name": "bldg_id" if field.name == INDEX_COLUMN else field.name,
                "field_name": field.name,
                "pandas_type": "unicode" if pa.types.is_string(field.type) else str(field.type),
                "numpy_type": "object" if pa.types.is_string(field.type) else str(field.type),
                "metadata": None,
            }
            for field in moved.schema
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
    }
    return moved.replace_schema_metadata({"pandas": json.dumps(pandas)})


_TABLE_TRAPS: Mapping[Trap, Callable[[pa.Table], pa.Table]] = MappingProxyType(
    {
        Trap.METADATA_MISSING_WEIGHT: lambda table: table.drop_columns(["weight"]),
        Trap.METADATA_NULL_WEIGHT: lambda table: _with_first(table, "weight", None),
        Trap.METADATA_NEGATIVE_WEIGHT: lambda table: _with_first(
            table, "weight", -table["weight"][0].as_py()
        ),
        Trap.METADATA_DUPLICATE_ROWS: lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        Trap.METADATA_WRONG_UPGRADE: lambda table: replace_column(
            table, "upgrade", pc.add(table["upgrade"], 1)
        ),
        Trap.METADATA_BLDG_ID_IN_INDEX: _with_bldg_id_in_index,
        Trap.METADATA_NONE_LITERALS: lambda table: _with_first(table, "in.heating_fuel", "None"),
        Trap.METADATA_ALL_NULL_COLUMN: lambda table: replace_column(
            table, "in.vintage", pa.nulls(table.num_rows)
        ),
    }
)
