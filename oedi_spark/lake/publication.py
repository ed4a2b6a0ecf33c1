"""Commit what a run staged, table by table, and the dictionary of all of it.

The driver's half of stage 6 beside `writer.py`. Weights go first, then the hours that are
joined to them, then the dictionary: new hours never lack the weights of their run. Between the two
commits old hours lie beside new weights; a run that dies there leaves that to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition, Publication, StagedFile
from oedi_spark.contracts_metadata import MetadataPart
from oedi_spark.contracts_resume import PartitionRecord
from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import table_name
from oedi_spark.lake.claim import Lake
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import sizes_below
from oedi_spark.lake.partitions import partition_of
from oedi_spark.lake.sources import sources_rows
from oedi_spark.lake.writer import (
    list_data_files,
    replace_partitions,
    stage_rows,
)

_WRITERS = 8
"""Small files that are written at once: on S3 each is a wait."""

_SHOWN = 3

HOURLY, METADATA = "hourly", "metadata"


@dataclass(frozen=True)
class Harvest:
    """What a run may publish: only partitions that passed the gate are in it."""

    hours: Mapping[Partition, tuple[StagedFile, ...]]
    columns: Mapping[Partition, Mapping[Column, int]]
    """The measures of each partition of `hours`, with how many buildings have them."""
    metadata: Mapping[Partition, MetadataPart]

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Every partition that something is published of."""
        return tuple(sorted(self.hours.keys() | self.metadata.keys()))

    @property
    def staged_hours(self) -> tuple[StagedFile, ...]:
        """Every file of hours."""
        return tuple(file for files in self.hours.values() for file in files)


def publish(lake: Lake, harvest: Harvest, *, run_id: str) -> Iterator[Publication]:
    """Commit each table, one snapshot each, and tell of each as soon as it is there.

    A partition whose hours are replaced and that has no metadata in this run loses what it had
    of an earlier one: hours joined to the weights of another run would miscount.

    Raises:
        PublishError: A commit did not happen; what was told of before did. Or a file that a killed
            run had staged is gone by now, or the lease is: another run took this one for dead.
        CommitUnknownError: The catalog failed, and may have committed all the same.
    """
    if not harvest.partitions:
        return
    _require_adopted(lake.hourly, harvest.staged_hours, run_id)
    dictionary = _stage_dictionary(lake.columns, harvest, run_id)

    def commit(
        table: Table, partitions: Iterable[Partition], staged: Sequence[StagedFile]
    ) -> Publication:
        # Once more each time: who slept since the last look may have been swept meanwhile.
        lake.leases.require_held(run_id, str(table.name()[-1]))
        return replace_partitions(table, tuple(partitions), staged, run_id=run_id)

    parts = harvest.metadata
    for table, staged in (
        (lake.weights, [part.weights for part in parts.values() if part.weights is not None]),
        (lake.metadata, [file for part in parts.values() for file in part.metadata]),
    ):
        if table is None:
            continue
        replaced = parts.keys() | _outdated(table, harvest)
        if replaced:
            yield commit(table, replaced, staged)
    if harvest.hours:
        _require_adopted(lake.hourly, harvest.staged_hours, run_id)  # the others took their time
        yield commit(lake.hourly, harvest.hours, harvest.staged_hours)
    yield commit(lake.columns, harvest.partitions, dictionary)


def publish_sources(
    lake: Lake, records: Mapping[Partition, PartitionRecord], *, run_id: str
) -> Publication | None:
    """Commit what each partition was made of: last, when all else of it is in its place.

    Raises:
        PublishError: The commit did not happen; the next run does these partitions again.
        CommitUnknownError: The catalog failed, and may have committed all the same.
    """
    if not records:
        return None

    def stage(partition: Partition) -> StagedFile:
        rows = sources_rows(partition, records[partition], run_id)
        return stage_rows(lake.sources, partition, rows, run_id=run_id)

    with ThreadPoolExecutor(_WRITERS) as pool:
        staged = list(pool.map(stage, sorted(records)))
    lake.leases.require_held(run_id, "sources")
    return replace_partitions(lake.sources, tuple(records), staged, run_id=run_id)


def _require_adopted(table: Table, staged: Iterable[StagedFile], run_id: str) -> None:
    """Look once more for what another run had staged: it was looked at hours ago.

    One listing per partition that has some of it. Whoever removed a file did so against the rules:
    a program without leases, or by hand.

    Raises:
        PublishError: A file is gone, or of another size.
    """
    adopted: dict[str, list[StagedFile]] = {}
    for file in staged:
        folder = f"{table.location()}/data/{file.partition}"
        if not file.path.startswith(f"{folder}/{run_id}"):
            adopted.setdefault(folder, []).append(file)
    try:
        with ThreadPoolExecutor(_WRITERS) as pool:
            found = list(pool.map(lambda folder: sizes_below(folder, access_of(table)), adopted))
    except OSError as error:
        cause = f"what a killed run had staged does not answer ({say_fault(error)})"
        raise PublishError(table_name(table), cause) from error
    sizes_bytes = {uri: size for each in found for uri, size in each.items()}
    vanished = sorted(
        file.path
        for files in adopted.values()
        for file in files
        if sizes_bytes.get(file.path) != file.size_bytes
    )
    if vanished:
        shown = ", ".join(vanished[:_SHOWN]) + (", …" if len(vanished) > _SHOWN else "")
        raise PublishError(
            table_name(table),
            f"{len(vanished)} file(s) that it took up from a killed run are gone or of another "
            f"size ({shown}); the next run does their work again",
        )


def _outdated(table: Table, harvest: Harvest) -> set[Partition]:
    """The partitions of which only hours are new, and of which the table has rows."""
    without = harvest.hours.keys() - harvest.metadata.keys()
    return {partition_of(file) for file in list_data_files(table.refresh(), without)}


def _stage_dictionary(table: Table, harvest: Harvest, run_id: str) -> list[StagedFile]:
    """The dictionary of each partition: what this run publishes of it is all that is there."""
    names = table.schema().column_names

    def stage(partition: Partition) -> StagedFile | None:
        rows = [
            *_hourly_rows(partition, harvest.columns.get(partition, {})),
            *_metadata_rows(partition, harvest.metadata.get(partition)),
        ]
        if not rows:
            return None
        whole = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
        return stage_rows(table, partition, whole, run_id=run_id)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return [file for file in pool.map(stage, harvest.partitions) if file is not None]


def _hourly_rows(partition: Partition, counts: Mapping[Column, int]) -> Iterable[dict[str, object]]:
    for column, count in sorted(counts.items(), key=lambda item: item[0].name):
        if count:
            yield {
                **_row(partition, HOURLY, column.name, column.source_name, column.unit),
                "rule": column.rule,
                "is_known": int(column.known),
                "source_type": column.source_type or None,
                "building_count": count,
            }


def _metadata_rows(partition: Partition, part: MetadataPart | None) -> Iterable[dict[str, object]]:
    for column in sorted(part.columns, key=lambda each: each.name) if part else ():
        yield {
            **_row(partition, METADATA, column.name, column.source_name, column.unit),
            "rule": "keep",
            "is_known": 1,
            "source_type": column.source_type,
            "building_count": len(part.bldg_ids) if part else 0,
        }


def _row(
    partition: Partition, table_name: str, name: str, source_name: str, unit: str
) -> dict[str, object]:
    return {
        "release": partition.release,
        "state": partition.state,
        "upgrade": partition.upgrade,
        "table_name": table_name,
        "column_name": name,
        "source_name": source_name,
        "unit": unit,
    }
