"""Publish staged files: one snapshot that replaces exactly the run's partitions.

Stage 6 of 7: quality → WRITER → tracker.

In   the staged files of the partitions that passed the gate.
Out  one Iceberg snapshot: what those partitions held is out, what was staged is in.

Until the catalog takes the new metadata file nothing has changed for any reader, and from then
on everything has. A conflict with another run means: reload, and replace the same partitions of
what is there now. PyIceberg reports one as a failed commit or, from a retry of its own, as a
failed validation (files were added meanwhile, in whatever partition).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa
from pyiceberg.conversions import to_bytes
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import PrimitiveType

from oedi_spark.contracts import Partition, Publication, StagedFile
from oedi_spark.errors import CommitUnknownError, PublishError
from oedi_spark.lake.catalog import commit_attempts, commit_uuid, field_ids, table_name
from oedi_spark.lake.faults import is_refusal, say_fault
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.partitions import coarse_filter, partition_of
from oedi_spark.lake.staging import stage_table

RUN_ID_PROPERTY = "oedi-spark.run-id"
"""In the summary of every snapshot that a run commits."""


def replace_partitions(
    table: Table, partitions: Collection[Partition], staged: Sequence[StagedFile], *, run_id: str
) -> Publication:
    """Commit staged files in place of whatever the partitions hold, in one snapshot.

    A staged file outside `partitions` would be added beside old rows and doubled by the next
    run, so it is refused. One that the partitions hold already stays as it is.

    Raises:
        PublishError: The commit did not happen; the table is as before.
        CommitUnknownError: The catalog failed, and may have committed all the same.
    """
    strays = {file.partition for file in staged} - set(partitions)
    if strays:
        raise PublishError(
            table_name(table), f"staged outside the run: {', '.join(map(str, sorted(strays)))}"
        )
    name = table_name(table)
    try:
        for attempt in commit_attempts(CommitFailedException, ValidationException):
            with attempt:
                table = _commit_once(table.refresh(), partitions, staged, run_id)
    except (CommitFailedException, ValidationException) as error:
        raise PublishError(name, f"other runs kept changing it ({error})") from error
    except Exception as error:
        if is_refusal(error):
            raise PublishError(name, f"the catalog refused ({say_fault(error)})") from error
        raise CommitUnknownError(name, say_fault(error)) from error
    return Publication(
        table=name,
        snapshot_id=_snapshot_of_run(table, run_id),
        partitions=tuple(sorted(partitions)),
        file_count=len(staged),
        row_count=sum(file.row_count for file in staged),
        size_bytes=sum(file.size_bytes for file in staged),
    )


def _commit_once(
    table: Table, partitions: Collection[Partition], staged: Sequence[StagedFile], run_id: str
) -> Table:
    old = list_data_files(table, partitions)
    held, due = {file.file_path for file in old}, {file.path for file in staged}
    if staged and held == due:
        return table  # taken up from a run that died after this commit
    old = [file for file in old if file.file_path not in due]
    staged = [file for file in staged if file.path not in held]
    schema = table.schema()
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties={RUN_ID_PROPERTY: run_id}).overwrite(
        commit_uuid=commit_uuid(run_id)
    )
    with update:
        for data_file in old:
            update.delete_data_file(data_file)
        for file in staged:
            update.append_data_file(_data_file(file, table, schema))
    return transaction.commit_transaction()


def _snapshot_of_run(table: Table, run_id: str) -> int:
    """The newest snapshot that this run made; another run may have committed since.

    The current one, when there was nothing to change.
    """
    for snapshot in reversed(table.snapshots()):
        summary = snapshot.summary
        if summary is not None and summary.additional_properties.get(RUN_ID_PROPERTY) == run_id:
            return snapshot.snapshot_id
    current = table.current_snapshot()
    return current.snapshot_id if current else -1


def list_data_files(table: Table, partitions: Collection[Partition]) -> list[DataFile]:
    """The files that the current snapshot holds for these partitions."""
    if not partitions:
        return []
    found = (task.file for task in table.scan(row_filter=coarse_filter(partitions)).plan_files())
    return [file for file in found if partition_of(file) in partitions]


def stage_rows(table: Table, partition: Partition, rows: pa.Table, *, run_id: str) -> StagedFile:
    """Stage a small table of one partition from the driver, as the tasks stage hours.

    An optional column of the table that the rows lack is null to readers.

    Raises:
        PublishError: The rows lack a required column.
    """
    uri = f"{table.location()}/data/{partition}/{run_id}.parquet"
    have = set(rows.column_names)
    lacking = [x.name for x in table.schema().fields if x.required and x.name not in have]
    if lacking:
        raise PublishError(table_name(table), f"the rows lack {', '.join(lacking)}")
    typed = schema_to_pyarrow(table.schema(), include_field_ids=False)
    wanted = pa.schema([field for field in typed if field.name in have])
    typed_rows = rows.select(wanted.names).cast(wanted)
    ids = field_ids(table)
    return stage_table(uri, partition, typed_rows, ids, access=access_of(table))


def _data_file(file: StagedFile, table: Table, schema: Schema) -> DataFile:
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.path,
        file_format=FileFormat.PARQUET,
        partition=Record(file.partition.release, file.partition.state, file.partition.upgrade),
        record_count=file.row_count,
        file_size_in_bytes=file.size_bytes,
        column_sizes={each.field_id: each.compressed_bytes for each in file.columns},
        value_counts={each.field_id: each.value_count for each in file.columns},
        null_value_counts={each.field_id: each.null_count for each in file.columns},
        nan_value_counts={},
        lower_bounds=_bounds(schema, {c.field_id: c.lower for c in file.columns}),
        upper_bounds=_bounds(schema, {c.field_id: c.upper for c in file.columns}),
        split_offsets=list(file.split_offsets),
        sort_order_id=table.metadata.default_sort_order_id,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
    )


def _bounds(schema: Schema, values: dict[int, int | float | str | None]) -> dict[int, bytes]:
    bounds = {}
    for field_id, value in values.items():
        kind = schema.find_type(field_id)
        if value is not None and isinstance(kind, PrimitiveType):
            bounds[field_id] = to_bytes(kind, value)
    return bounds
