"""The tables of the metadata.

`metadata`          one row per row of the source (a building, or a building in one tract, county,
                    PUMA or state: its grain), with every column that any release has
`building_weights`  one row per release, state, upgrade, geography and bldg_id; the only thing that
                    series are joined to

What a table looks like must not depend on which state was loaded first. So a column's type comes
from its name, columns lie in order of their names, and a comment is the sum of what every run
has to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from pyiceberg.types import (
    BooleanType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
)

from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.errors import PublishError
from oedi_spark.lake.schemas import TableDefinition, number_fields

FILTER_COLUMNS = frozenset(
    {
        "bldg_id",
        "grain",
        "county_gisjoin",
        "weight",
        "applicability",
        "completed_status",
        "in_building_type",
        "in_comstock_building_type",
        "in_comstock_building_type_group",
        "in_geometry_building_type_acs",
        "in_geometry_building_type_recs",
        "in_heating_fuel",
        "in_nhgis_puma_gisjoin",
        "in_nhgis_tract_gisjoin",
        "in_puma",
        "in_upgrade_name",
        "in_vintage",
    }
)
"""The columns of `metadata` that have statistics, because queries filter on them.

With bounds of all 1,300 columns of a ComStock release an entry of a manifest would be 100 times
as large, and every query reads all entries.
"""

METADATA_KEYS: tuple[tuple[str, IcebergType, bool, str], ...] = (
    (
        "release",
        StringType(),
        True,
        "Release: year and name, as in 2024_comstock_amy2018_release_1",
    ),
    ("state", StringType(), True, "Two-letter code of the state that the weight counts in"),
    ("upgrade", IntegerType(), True, "Upgrade of that release; 0 is the baseline"),
    ("bldg_id", LongType(), True, "Building model; ids differ from release to release"),
    ("grain", StringType(), True, "What a row is: building, building-tract, building-county, …"),
    ("county_gisjoin", StringType(), False, "County that the weight counts in, 2010 GISJOIN"),
    ("weight", DoubleType(), True, "Real buildings or dwellings that the row stands for"),
)
"""Name, type, required, comment of the columns that lie first."""

_WEIGHT_COLUMNS: tuple[tuple[str, IcebergType, bool, str], ...] = (
    ("release", StringType(), True, "Release, as in metadata"),
    ("state", StringType(), True, "State, as in metadata"),
    ("upgrade", IntegerType(), True, "Upgrade, as in metadata"),
    ("geography_kind", StringType(), True, "state, county or puma: join to one kind at a time"),
    ("geography", StringType(), True, "Two-letter code of the state, or GISJOIN"),
    ("bldg_id", LongType(), True, "Building model, as in hourly"),
    ("weight", DoubleType(), True, "Sum of the building's weights in this geography"),
    ("building_type", StringType(), False, "Building type of the model"),
    ("building_type_group", StringType(), False, "Group of building types"),
    ("floor_area_ft2", DoubleType(), False, "Floor area of one building of the model, ft2"),
    ("vintage", StringType(), False, "When it was built"),
)

_TYPES: Mapping[ColumnKind, IcebergType] = {
    ColumnKind.DOUBLE: DoubleType(),
    ColumnKind.STRING: StringType(),
    ColumnKind.BOOLEAN: BooleanType(),
    ColumnKind.LONG: LongType(),
}

_SPELLINGS = " | "
_CUT_SEPARATOR = re.compile(r"\] ?\|? ?$")
_LONGEST_COMMENT = 255
"""Glue's data catalog refuses a longer comment of a column."""


def metadata_definition(columns: Iterable[MetadataColumn]) -> TableDefinition:
    """The metadata table with the columns known so far; others are added as they turn up.

    Raises:
        PublishError: Two columns of one name are of two kinds.
    """
    fields = metadata_fields(columns)
    schema = number_fields(
        (
            *METADATA_KEYS,
            *((each.name, each.field_type, False, each.doc or "") for each in fields),
        )
    )
    return TableDefinition(
        name="metadata",
        schema=schema,
        sort_columns=("county_gisjoin", "bldg_id"),
        leading=tuple(name for name, *_ in METADATA_KEYS),
        properties=metrics_properties([each.name for each in schema.fields]),
    )


def metadata_fields(columns: Iterable[MetadataColumn]) -> tuple[NestedField, ...]:
    """One optional field per column name, by name; the keys of the table are left out.

    Raises:
        PublishError: Two columns of one name are of two kinds.
    """
    keys = {name for name, *_ in METADATA_KEYS}
    kinds: dict[str, ColumnKind] = {}
    spellings: dict[str, list[str]] = {}
    for column in columns:
        if column.name in keys:
            continue
        if kinds.setdefault(column.name, column.kind) is not column.kind:
            cause = f"column {column.name} would be {kinds[column.name]} and {column.kind}"
            raise PublishError("metadata", cause)
        spellings.setdefault(column.name, []).append(describe_source(column))
    return tuple(
        NestedField(
            field_id=at,
            name=name,
            field_type=_TYPES[kinds[name]],
            doc=merge_comments(*spellings[name]),
        )
        for at, name in enumerate(sorted(kinds), len(keys) + 1)
    )


def metrics_properties(names: Collection[str]) -> dict[str, str]:
    """Table properties by which other writers keep statistics of the same columns as we do.

    Only of columns that exist: Iceberg for Java refuses to alter a table that names another.
    """
    wanted = {
        f"write.metadata.metrics.column.{name}": "full"
        for name in sorted(FILTER_COLUMNS.intersection(names))
    }
    return {"write.metadata.metrics.default": "none"} | wanted


def building_weights_definition() -> TableDefinition:
    """The weights of every building in every geography it counts in."""
    return TableDefinition(
        name="building_weights",
        schema=number_fields(_WEIGHT_COLUMNS),
        sort_columns=("geography_kind", "geography", "bldg_id"),
    )


def describe_source(column: MetadataColumn) -> str:
    """One spelling of a column: its name at the source and its unit, in plain ASCII."""
    return f"{_plain(column.source_name)} [{_plain(column.unit)}]"


def merge_comments(*comments: str) -> str:
    """All spellings of several comments, sorted, cut at 255 characters.

    The same spellings give the same comment in whatever order and grouping they are merged,
    also where it is cut: what lies beyond the cut can only move further away. Of the spelling
    that is cut through, whatever begins like it may as well come before it, for the two differ
    only beyond the cut.
    """
    found = {part for comment in comments for part in comment.split(_SPELLINGS) if part}
    ordered = sorted(found, key=lambda part: part if part.endswith("]") else part + "\x7f")
    return _CUT_SEPARATOR.sub("]", _SPELLINGS.join(ordered)[:_LONGEST_COMMENT])


def _plain(text: str) -> str:
    """Text without spaces, in which nothing can be taken for the end of a spelling."""
    ascii_text = re.sub(r"\s", "_", text).encode("ascii", "replace").decode()
    return re.sub(r"[^!-~]|[|\[\]]", "?", ascii_text)
