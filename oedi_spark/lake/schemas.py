"""The tables we publish: columns, partitions, sort order, properties.

`hourly`   one row per release, state, upgrade, bldg_id and hour_start; a double per measure
`columns`  one row per release, state, upgrade, table and spelling: source name, unit, rule, how
           many buildings have it
`sources`  one row per release, state, upgrade and file that the partition was made of, or was
           not; and what the partition was made with

The tables of the metadata are in `metadata_schemas`, those of the ledger in `ledger`. All are
Iceberg v2 (Athena reads no other), and but for the ledger partitioned by the identity of release,
state and upgrade, so that one run replaces exactly its own cells in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import NullOrder, SortField, SortOrder
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)

from oedi_spark.contracts import Column

PARTITION_COLUMNS = ("release", "state", "upgrade")

TABLE_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.metadata.metrics.max-inferred-column-defaults": "500",
    # The writer retries itself, under names that a sweep can tell (catalog.commit_uuid).
    "commit.retry.num-retries": "0",
}


@dataclass(frozen=True)
class TableDefinition:
    """How a table is created; afterwards it only ever gains columns.

    With `leading` the table does not depend on who came first: these columns lie first, all
    others follow by name, and a comment gathers what every run has to say. Without, a column
    lies where it was added, and its comment stays.
    """

    name: str
    schema: Schema
    sort_columns: tuple[str, ...]
    leading: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    """Besides `TABLE_PROPERTIES`."""
    partition_columns: tuple[str, ...] = PARTITION_COLUMNS
    """None for the ledger, whose runs append a few rows each."""

    @property
    def optional_fields(self) -> tuple[NestedField, ...]:
        """What can be added to a table that was made before: a required column cannot."""
        return tuple(each for each in self.schema.fields if not each.required)

    @property
    def partition_spec(self) -> PartitionSpec:
        """Identity of each partition column; unpartitioned where there is none."""
        return PartitionSpec(
            *(
                PartitionField(
                    source_id=self.schema.find_field(name).field_id,
                    field_id=1000 + place,
                    transform=IdentityTransform(),
                    name=name,
                )
                for place, name in enumerate(self.partition_columns)
            )
        )

    @property
    def sort_order(self) -> SortOrder:
        """How rows lie inside a file; nulls last, as pyarrow sorts them."""
        return SortOrder(
            *(
                SortField(
                    source_id=self.schema.find_field(name).field_id,
                    transform=IdentityTransform(),
                    null_order=NullOrder.NULLS_LAST,
                )
                for name in self.sort_columns
            )
        )


def hourly_definition(measures: Iterable[Column]) -> TableDefinition:
    """The hourly table with the measures known so far; others are added as they turn up."""
    keys: list[tuple[str, IcebergType, str]] = [
        ("release", StringType(), "Release: year and name, as in 2024_comstock_amy2018_release_1"),
        ("state", StringType(), "Two-letter code of the folder that the profile lies in"),
        ("upgrade", IntegerType(), "Upgrade of that release; 0 is the baseline"),
        ("bldg_id", LongType(), "Building model; ids differ from release to release"),
        ("hour_start", TimestampType(), "Start of the hour in EST (UTC-5, no daylight saving)"),
    ]
    fields = [
        NestedField(field_id=at, name=name, field_type=kind, required=True, doc=doc)
        for at, (name, kind, doc) in enumerate(keys, 1)
    ]
    distinct = {column.name: column for column in measures}
    fields += [
        NestedField(field_id=at, name=column.name, field_type=DoubleType(), doc=describe(column))
        for at, column in enumerate(distinct.values(), len(keys) + 1)
    ]
    return TableDefinition("hourly", Schema(*fields), ("bldg_id", "hour_start"))


def columns_definition() -> TableDefinition:
    """The dictionary: what each column of a partition is.

    The optional columns came later: rows written before have null there, and are of `hourly`.
    """
    fields: list[tuple[str, IcebergType, bool, str]] = [
        ("release", StringType(), True, "Release, as in hourly"),
        ("state", StringType(), True, "State, as in hourly"),
        ("upgrade", IntegerType(), True, "Upgrade, as in hourly"),
        ("column_name", StringType(), True, "The column's name in its table"),
        ("source_name", StringType(), True, "Its name in the source files"),
        ("unit", StringType(), True, "kwh, c, fraction, …"),
        ("rule", StringType(), True, "sum, mean or keep over the hour; omit: not published"),
        ("is_known", IntegerType(), True, "1 if the rules name it, 0 if its unit decided"),
        ("building_count", LongType(), True, "Published buildings of the partition that have it"),
        ("table_name", StringType(), False, "hourly or metadata; null is hourly"),
        ("source_type", StringType(), False, "Its parquet type in the source files"),
    ]
    return TableDefinition("columns", number_fields(fields), ("column_name",))


def sources_definition() -> TableDefinition:
    """What each partition was made of: the files, and fingerprints that are the same in every row.

    What is the same in every row stands in the bounds of the manifest, so that a run that looks
    for changes reads no data file.
    """
    fields: list[tuple[str, IcebergType, bool, str]] = [
        ("release", StringType(), True, "Release, as in hourly"),
        ("state", StringType(), True, "State, as in hourly"),
        ("upgrade", IntegerType(), True, "Upgrade, as in hourly"),
        ("kind", StringType(), True, "series, metadata, or gap: expected, and not there"),
        ("bldg_id", LongType(), False, "The building of a series, or of a gap"),
        ("key", StringType(), False, "The file's key at the source; null for a gap"),
        ("size_bytes", LongType(), False, "Its size as it was listed"),
        ("etag", StringType(), False, "Its ETag as it was listed"),
        ("modified_at_utc", TimestampType(), False, "When it was last written, UTC"),
        ("reason", StringType(), False, "Why it is not in the tables; null: it is"),
        ("detail", StringType(), False, "The reason in words"),
        ("run_id", StringType(), True, "The run that published the partition"),
        ("staged_by", StringType(), True, "Runs whose ids its data files bear, by commas"),
        ("fingerprint", StringType(), True, "Of its files and of settings, 16 hex digits"),
        ("settings", StringType(), True, "Of the settings and the code alone, 16 hex digits"),
        ("file_count", LongType(), True, "Building files that it was to be made of"),
        ("hourly_rows", LongType(), True, "Rows of the partition in hourly"),
        ("metadata_rows", LongType(), True, "Rows of the partition in metadata"),
        ("weight_rows", LongType(), True, "Rows of the partition in building_weights"),
    ]
    return TableDefinition("sources", number_fields(fields), ("kind", "bldg_id"))


def number_fields(fields: Iterable[tuple[str, IcebergType, bool, str]]) -> Schema:
    """A schema of (name, type, required, comment), with field ids from 1 on."""
    return Schema(
        *(
            NestedField(field_id=at, name=name, field_type=kind, required=required, doc=doc)
            for at, (name, kind, required, doc) in enumerate(fields, 1)
        )
    )


def describe(column: Column) -> str:
    """The comment of a measure: what it is called at the source, its unit, its rule."""
    return f"{column.source_name} [{column.unit}], {column.rule} over the hour"
