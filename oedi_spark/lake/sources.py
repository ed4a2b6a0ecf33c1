"""The table `sources`: what each partition was made of, and whether that still holds.

A partition is written when all of it is in its place, tables and landed copies, so a run that
dies before has told nothing. Nothing here is believed that the tables themselves do not bear
out: data files that bear another run's name, or have other row counts, are another state of the
partition (rolled back, or changed by hand), which nobody has compared with the source.

Maintenance merges files of any state. The name of what it makes says of which record it was a part
of the state, and only where that state was borne out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, NotNull
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType

from oedi_spark.contracts import Partition
from oedi_spark.contracts_resume import PartitionMemory, PartitionRecord, SourceKind, SourceRow
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog
from oedi_spark.lake.partitions import coarse_filter, partition_of
from oedi_spark.lake.schemas import sources_definition

_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"
_RUN = re.compile(
    rf"(?P<run>{_ID})(?P<merged>(?:-maintain)?-c[0-9]{{5}}-(?:of-(?P<recorded>{_ID})-)?)?"
)
"""How the name of a data file begins. Files that maintenance has merged bear its own id, and that
of the run whose record they bear out."""

_COUNTED = {"hourly": "hourly_rows", "metadata": "metadata_rows", "building_weights": "weight_rows"}


def sources_rows(partition: Partition, record: PartitionRecord, run_id: str) -> pa.Table:
    """The rows of one partition, in the types of the table."""
    count = len(record.rows)
    schema = schema_to_pyarrow(sources_definition().schema, include_field_ids=False)
    alike: dict[str, object] = {
        "release": partition.release,
        "state": partition.state,
        "upgrade": partition.upgrade,
        "run_id": run_id,
        "staged_by": ",".join(sorted(record.staged_by)),
        "fingerprint": record.fingerprint.whole,
        "settings": record.fingerprint.settings,
        "file_count": record.file_count,
        "hourly_rows": record.hourly_rows,
        "metadata_rows": record.metadata_rows,
        "weight_rows": record.weight_rows,
    }
    columns = {name: [value] * count for name, value in alike.items()}
    for name in ("bldg_id", "key", "size_bytes", "etag", "reason", "detail"):
        columns[name] = [getattr(row, name) for row in record.rows]
    columns["kind"] = [row.kind.value for row in record.rows]
    columns["modified_at_utc"] = [_naive_utc(row.modified_at_utc) for row in record.rows]
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema})


def _naive_utc(text: str | None) -> datetime | None:
    if text is None:
        return None
    stamp = datetime.fromisoformat(text)
    return stamp.astimezone(UTC).replace(tzinfo=None) if stamp.tzinfo else stamp


def runs_of(uris: Iterable[str], partition: Partition) -> tuple[str, ...]:
    """The runs whose ids these data files bear: the partition's folder, then the id."""
    found = set()
    for uri in uris:
        match = _RUN.match(uri.rsplit(f"/data/{partition}/", 1)[-1])
        found.add(match["run"] if match else "")
    return tuple(sorted(found))


def merged_name(maintenance_id: str, number: int, recorded: str | None, unique: object) -> str:
    """What a file is called that maintenance makes of several; `recorded` as in `recorded_runs`."""
    of = f"of-{recorded}-" if recorded else ""
    return f"{maintenance_id}-c{number:05d}-{of}{unique}"


def recorded_runs(table: Table, partitions: Collection[Partition]) -> dict[Partition, str]:
    """The run whose record a partition of this table bears out; none where it bears out none."""
    try:
        sources = table.catalog.load_table((*table.name()[:-1], "sources"))
    except NoSuchTableError:
        return {}
    held = _files_of(table, partitions)
    return {
        partition: found.texts["run_id"]
        for partition, found in _records(sources, partitions).items()
        if found.bears_out(str(table.name()[-1]), held.get(partition, ()))
        and re.fullmatch(_ID, found.texts["run_id"])  # it becomes part of a name
    }


def find_unrecorded(
    sources: Table,
    records: Mapping[Partition, Sequence[DataFile]],
    states: Mapping[str, Mapping[Partition, Sequence[DataFile]]],
) -> frozenset[Partition]:
    """Those of the partitions with records of which an earlier state was not what is recorded.

    Args:
        sources: The table.
        records: Its files of each partition at that time.
        states: The files that the other tables had then, by name; a table whose files are the
            same now need not be in it.
    """
    found = set()
    for partition, files in records.items():
        known = _constants(sources, files[0]) if len(files) == 1 else None
        for name, held in states.items():
            then = [_Held(file, partition, has_deletes=False) for file in held.get(partition, ())]
            if partition in held and not (known and known.bears_out(name, then)):
                found.add(partition)
    return frozenset(found)


def recall(
    place: CatalogLocation, partitions: Collection[Partition]
) -> dict[Partition, PartitionMemory]:
    """What is recorded of partitions, and whether the tables bear it out. Reads manifests.

    Data files are read only of partitions that have lost files or gaps.
    """
    if not partitions or not catalog_exists(place):
        return {}
    catalog = open_catalog(place, create=False)
    sources = _load(catalog, place, "sources")
    if sources is None:
        return {}
    known = _records(sources, partitions)
    for name in (*_COUNTED, "columns"):
        table = _load(catalog, place, name)
        held = {} if table is None else _files_of(table, known.keys())
        for partition, found in known.items():
            if not found.bears_out(name, held.get(partition, ())):
                known[partition] = replace(found, is_intact=False)
    lost = _lost(sources, [each for each, found in known.items() if found.lost_count])
    return {
        partition: PartitionMemory(
            partition=partition,
            whole=found.texts["fingerprint"],
            settings=found.texts["settings"],
            run_id=found.texts["run_id"],
            file_count=found.counts["file_count"],
            hourly_rows=found.counts["hourly_rows"],
            is_intact=found.is_intact,
            lost=tuple(lost.get(partition, ())),
        )
        for partition, found in known.items()
    }


@dataclass(frozen=True)
class _Held:
    """One data file that a table holds of a partition. `has_deletes`: rows of it are struck out."""

    file: DataFile
    partition: Partition
    has_deletes: bool

    @property
    def name(self) -> str:
        """Its path below the partition's folder."""
        return self.file.file_path.rsplit(f"/data/{self.partition}/", 1)[-1]


@dataclass(frozen=True)
class _Constants:
    """What is the same in every row of a partition."""

    texts: Mapping[str, str]
    counts: Mapping[str, int]
    lost_count: int
    is_intact: bool = True

    def bears_out(self, table: str, held: Collection[_Held]) -> bool:
        """Whether the files that a table holds are those that were recorded."""
        ours = set(self.texts["staged_by"].split(","))
        for each in held:
            match = _RUN.match(each.name)
            if each.has_deletes or match is None:
                return False
            if match["merged"]:
                is_recorded = match["recorded"] == self.texts["run_id"]
            else:
                is_recorded = match["run"] in ours
            if not is_recorded:
                return False
        if table not in _COUNTED:
            return bool(held)
        rows = sum(each.file.record_count for each in held)
        return rows == self.counts[_COUNTED[table]]


def _load(catalog: Catalog, place: CatalogLocation, name: str) -> Table | None:
    try:
        return catalog.load_table((place.database, name))
    except NoSuchTableError:
        return None


def _records(sources: Table, partitions: Collection[Partition]) -> dict[Partition, _Constants]:
    """What is recorded of each partition, believed for the moment."""
    return {
        partition: found
        for partition, files in _files_of(sources, partitions).items()
        if len(files) == 1 and (found := _constants(sources, files[0].file)) is not None
    }


def _files_of(table: Table, partitions: Collection[Partition]) -> dict[Partition, list[_Held]]:
    found: dict[Partition, list[_Held]] = {}
    if not partitions or table.current_snapshot() is None:
        return found
    wanted = frozenset(partitions)
    for task in table.scan(row_filter=coarse_filter(wanted)).plan_files():
        partition = partition_of(task.file)
        if partition in wanted:
            held = _Held(task.file, partition, has_deletes=bool(task.delete_files))
            found.setdefault(partition, []).append(held)
    return found


def _constants(table: Table, file: DataFile) -> _Constants | None:
    """What the bounds say where both are one. None: not all is there, so nothing is known."""
    texts: dict[str, str] = {}
    counts: dict[str, int] = {}
    schema = table.schema()
    for field in schema.fields:
        lower = (file.lower_bounds or {}).get(field.field_id)
        upper = (file.upper_bounds or {}).get(field.field_id)
        if lower is None or lower != upper or not isinstance(field.field_type, PrimitiveType):
            continue
        value: object = from_bytes(field.field_type, lower)
        if isinstance(value, str):
            texts[field.name] = value
        elif isinstance(value, int):
            counts[field.name] = value
    wanted = {"run_id", "staged_by", "fingerprint", "settings"}
    if not (wanted <= texts.keys() and {"file_count", *_COUNTED.values()} <= counts.keys()):
        return None
    reason = schema.find_field("reason").field_id
    nulls = (file.null_value_counts or {}).get(reason, 0)
    return _Constants(texts, counts, lost_count=file.record_count - nulls)


def _lost(table: Table, partitions: Collection[Partition]) -> dict[Partition, list[SourceRow]]:
    found: dict[Partition, list[SourceRow]] = {}
    if not partitions:
        return found
    wanted = And(coarse_filter(partitions), NotNull(term="reason"))
    for row in table.scan(row_filter=wanted).to_arrow().to_pylist():
        stamp = row["modified_at_utc"]
        found.setdefault(Partition(row["release"], row["state"], row["upgrade"]), []).append(
            SourceRow(
                kind=SourceKind(row["kind"]),
                bldg_id=row["bldg_id"],
                key=row["key"],
                size_bytes=row["size_bytes"],
                etag=row["etag"],
                modified_at_utc=stamp.strftime("%Y-%m-%dT%H:%M:%SZ") if stamp else None,
                reason=row["reason"],
                detail=row["detail"],
            )
        )
    return found
