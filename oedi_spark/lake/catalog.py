"""The catalog that names our tables: SQLite on a laptop; Glue and REST in the cloud.

Everything goes through PyIceberg, so the job needs no Iceberg jar. Creating a table and adding
columns happen before anything is staged: field ids must exist to be written into files. Both
are add-only and change no row that a reader sees.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
from pyiceberg.table import Table, Transaction
from pyiceberg.types import DoubleType, NestedField
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from oedi_spark.contracts import Column
from oedi_spark.contracts_metadata import MetadataColumn
from oedi_spark.errors import PublishError
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.file_io import FILE_IO_PROPERTY, file_io_properties
from oedi_spark.lake.files import AMBIENT, S3Access, is_on_s3
from oedi_spark.lake.metadata_schemas import merge_comments, metadata_definition
from oedi_spark.lake.schemas import TABLE_PROPERTIES, TableDefinition, describe

COMMIT_ATTEMPTS = 16
"""Of eight runs that commit at once the last needs five or six."""


@dataclass(frozen=True)
class CatalogLocation:
    """Which catalog, and where its tables lie. `warehouse_uri` has no trailing slash."""

    kind: str
    name: str
    database: str
    warehouse_uri: str
    uri: str | None = None
    access: S3Access = AMBIENT
    """How S3 is reached, where the tables lie there; Glue shares its region and its limits."""
    glue_endpoint_url: str | None = None
    catalog_id: str | None = None

    @property
    def database_uri(self) -> str:
        """The folder of its tables, and of what lies beside them."""
        return f"{self.warehouse_uri}/{self.database}"

    def table_uri(self, table: str) -> str:
        """The folder of one table."""
        return f"{self.database_uri}/{table}"


def open_catalog(location: CatalogLocation, *, create: bool = True) -> Catalog:
    """Open the catalog, and create its database when it is not there.

    Without `create` nothing is written, and a SQLite file that is not there is an error.

    Raises:
        PublishError: The catalog cannot be reached.
    """
    if not create and not catalog_exists(location):
        raise PublishError(location.database, f"there is no catalog at {location.uri} yet")
    try:
        if create and (file := _sqlite_file(location)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        for attempt in _opening_attempts():
            with attempt:
                catalog = _load(location)
                if create and not catalog.namespace_exists(location.database):
                    catalog.create_namespace_if_not_exists(location.database)
    except Exception as error:
        raise PublishError(
            f"{location.database} in the {location.kind} catalog",
            f"the catalog did not open ({say_fault(error)})",
        ) from error
    return catalog


def _load(location: CatalogLocation) -> Catalog:
    properties = {"warehouse": location.warehouse_uri, **FILE_IO_PROPERTY}
    if is_on_s3(location.warehouse_uri):
        properties |= file_io_properties(location.access)
    if location.kind == "glue":
        from pyiceberg.catalog.glue import GlueCatalog  # noqa: PLC0415 - needs the extra `aws`

        from oedi_spark.lake.glue import glue_client  # noqa: PLC0415 - as above

        client = glue_client(location.access, location.glue_endpoint_url, location.catalog_id)
        return GlueCatalog(location.name, client=client, **properties)
    if location.uri is not None:
        properties["uri"] = location.uri
    return load_catalog(location.name, type=location.kind, **properties)


def spark_catalog_settings(location: CatalogLocation) -> dict[str, str]:
    """What a Spark with Iceberg's jars is told, to read the tables by `name.database.table`.

    None for SQLite, which no Spark reads.
    """
    if location.kind == "sql":
        return {}
    access = location.access
    own = {
        "type": location.kind,
        "warehouse": location.warehouse_uri,
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "uri": location.uri,
        "glue.endpoint": location.glue_endpoint_url,
        "glue.id": location.catalog_id,
        "client.region": access.region,
        "s3.endpoint": access.endpoint_url,
        "s3.path-style-access": "true" if access.path_style else None,
        "s3.sse.type": {"AES256": "s3", "aws:kms": "kms"}.get(access.sse or ""),
        "s3.sse.key": access.kms_key_id,
    }
    prefix = f"spark.sql.catalog.{location.name}"
    return {
        "spark.sql.extensions": (
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        ),
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        **{f"{prefix}.{key}": value for key, value in own.items() if value is not None},
    }


def catalog_exists(location: CatalogLocation) -> bool:
    """Whether there may be tables: false only for a SQLite file that is not there."""
    file = _sqlite_file(location)
    return file is None or file.exists()


def _sqlite_file(location: CatalogLocation) -> Path | None:
    prefix = "sqlite:///"
    if location.uri is None or not location.uri.startswith(prefix):
        return None
    return Path(location.uri.removeprefix(prefix))


def open_table(catalog: Catalog, location: CatalogLocation, definition: TableDefinition) -> Table:
    """The table, created empty when it is not there yet. Safe for several runs at once.

    A table that is there, perhaps made by an earlier version, gains the optional columns that
    it lacks.

    Raises:
        PublishError: It lies elsewhere than the config says; a column is there with another
            type; or the table kept changing under us.
    """
    identifier = (location.database, definition.name)
    if not catalog.table_exists(identifier):
        try:
            return catalog.create_table(
                identifier,
                schema=definition.schema,
                location=location.table_uri(definition.name),
                partition_spec=definition.partition_spec,
                sort_order=definition.sort_order,
                properties={**TABLE_PROPERTIES, **definition.properties},
            )
        except TableAlreadyExistsError:
            pass
    return _widen(
        _require_place(catalog.load_table(identifier), location, definition.name),
        definition.optional_fields,
        leading=definition.leading,
        properties=definition.properties,
    )


def _require_place(table: Table, location: CatalogLocation, name: str) -> Table:
    """Refuse a table of another `output_dir`: leases and copies of this run would lie elsewhere."""
    found, wanted = table.location().rstrip("/"), location.table_uri(name)
    if found != wanted:
        raise PublishError(
            table_name(table),
            f"it lies at {found}, and by this config it would be at {wanted}: use the output_dir "
            "and catalog.warehouse_dir of the run that made it, or another catalog.database",
        )
    return table


def reserve_columns(table: Table, columns: Iterable[Column]) -> Table:
    """Give every measure a column, and so a field id, in the table; returns it reloaded.

    A column that another run adds at the same time is found there on the next attempt.

    Raises:
        PublishError: A column is there with another type, or the table kept changing under us.
    """
    wanted = {column.name: describe(column) for column in columns}
    return _widen(
        table,
        [
            NestedField(field_id=at, name=name, field_type=DoubleType(), doc=wanted[name])
            for at, name in enumerate(sorted(wanted))
        ],
    )


def reserve_metadata_columns(table: Table, columns: Iterable[MetadataColumn]) -> Table:
    """Give every column of the metadata a place in the table `metadata`; returns it reloaded.

    Whoever comes first, the table looks the same in the end: name, type, place and comment of a
    column do not depend on the order. Only field ids do, which no reader sees.

    Raises:
        PublishError: A column is there with another type, or the table kept changing under us.
    """
    definition = metadata_definition(columns)
    return _widen(
        table,
        definition.optional_fields,
        leading=definition.leading,
        properties=definition.properties,
    )


def _widen(
    table: Table,
    wanted: Sequence[NestedField],
    *,
    leading: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
) -> Table:
    """Add the columns and properties that are absent, in one commit; none if nothing is."""
    try:
        for attempt in commit_attempts(CommitFailedException):
            with attempt:
                table = table.refresh()
                _require_same_types(table, wanted)
                absent = {
                    name: value
                    for name, value in (properties or {}).items()
                    if name not in table.properties
                }
                with table.transaction() as transaction:
                    _add_fields(transaction, table, wanted, leading)
                    if absent:
                        transaction.set_properties(absent)
    except CommitFailedException as error:
        raise PublishError(table_name(table), f"no column could be added ({error})") from error
    return table.refresh()


def _require_same_types(table: Table, wanted: Sequence[NestedField]) -> None:
    present = {field.name: field.field_type for field in table.schema().fields}
    for field in wanted:
        there = present.get(field.name, field.field_type)
        if there != field.field_type:
            cause = f"its column {field.name} is {there}, and this run has it as {field.field_type}"
            raise PublishError(table_name(table), cause)


def _add_fields(
    transaction: Transaction, table: Table, wanted: Sequence[NestedField], leading: Sequence[str]
) -> None:
    present = {field.name: field for field in table.schema().fields}
    added = [field for field in wanted if field.name not in present]
    comments = {}
    if leading:
        for field in wanted:
            there = present.get(field.name)
            if there is None or field.name in leading:
                continue
            merged = merge_comments(there.doc or "", field.doc or "")
            if merged != there.doc:
                comments[field.name] = merged
    order = [*present, *(field.name for field in added)]
    moves = _moves(order, len(present), leading) if leading else []
    if not (added or comments or moves):
        return
    with transaction.update_schema() as update:
        for field in added:
            update.add_column(field.name, field.field_type, doc=field.doc)
        for name, comment in comments.items():
            update.update_column(name, doc=comment)
        for name, before in moves:
            update.move_after(name, before)


def _moves(
    order: Sequence[str], present_count: int, leading: Sequence[str]
) -> list[tuple[str, str]]:
    """(column, the one it goes behind) for all that must move: the new ones, if all is well.

    A table whose columns lie in another order, made by hand, is put in order whole.
    """
    first = [name for name in leading if name in set(order)]
    wanted = [*first, *sorted(set(order) - set(first))]
    present = order[:present_count]
    is_ordered = present == [name for name in wanted if name in set(present)]
    moving = set(order[present_count:]) if is_ordered else set(order)
    if order == wanted:
        return []
    return [(name, before) for before, name in pairwise(wanted) if name in moving]


def commit_attempts(*conflicts: type[Exception]) -> Retrying:
    """Attempts at a commit that others may beat us to: bounded, with growing random waits."""
    return Retrying(
        retry=retry_if_exception_type(conflicts),
        stop=stop_after_attempt(COMMIT_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=10),
        reraise=True,
    )


def _opening_attempts() -> Retrying:
    """A few: two runs that create a catalog at once get in each other's way, and not twice."""
    return Retrying(
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )


def commit_uuid(run_id: str, attempt: int = 0) -> uuid.UUID:
    """What a run's manifests are called, so that those of a killed run can be told.

    Another `attempt` has other names, below `COMMIT_ATTEMPTS`: the one before may yet happen.
    """
    which = f"/{attempt}" if attempt else ""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"oedi-spark/run/{run_id}{which}")


def field_ids(table: Table, names: Sequence[str] | None = None) -> dict[str, int]:
    """Field id by column name, of all columns or of those named, in the table's order."""
    fields = table.schema().fields
    return {f.name: f.field_id for f in fields if names is None or f.name in names}


def table_name(table: Table) -> str:
    """`database.table`, without the catalog."""
    return ".".join(table.name())
