"""Finished work of a run that was killed, taken up by the next run of the same plan.

A run that finds the lease of a dead one spares the staged files that its journal entries name. A
batch with the same fingerprint as an entry is then not worked on: the entry is its result, if the
file still lies there, whole. All else of the dead run is swept as ever.

Who may touch what: only a run that holds a partition's lease takes up or removes the entries and
files of that partition. Those of other partitions are left to whoever claims them, and removed
when nobody did for `LEFTOVER_TTL_S`. An entry is data from outside: it is believed only where it
fits the batch, and a path in it only below what the dead run staged.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from oedi_spark.contracts import Batch, BatchResult, Column, Partition
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.files import (
    AMBIENT,
    S3Access,
    delete_uris,
    list_below,
    open_uri,
    read_whole,
    remove_empty,
)
from oedi_spark.lake.journal import journal_folder, renumber
from oedi_spark.lake.lease import Lease
from oedi_spark.log import get_logger

LEFTOVER_TTL_S = 2 * 86400.0
"""Entries of partitions that nobody claimed so long go. They are taken up for half of that, so
that no run takes up what another is about to remove."""

_READERS = 8
_NAME = re.compile(r"[0-9a-f]{16}\.json")
_FILE = re.compile(r"-[A-Za-z0-9-]{1,100}(?:/part-[A-Za-z0-9._-]{1,200})?\.parquet")
_STARTED = re.compile(r"([0-9]{8}T[0-9]{6}Z)-.*")

_log = get_logger(__name__)


@dataclass(frozen=True)
class Entry:
    """What one batch of a dead run left. Ordinals in `result` are places in its batch."""

    uri: str
    run_id: str
    fingerprint: str
    result: BatchResult

    @property
    def partition(self) -> Partition:
        """Of what was staged."""
        return self.result.staged[0].partition

    @property
    def files(self) -> frozenset[str]:
        """The URIs of what was staged."""
        return frozenset(file.path for file in self.result.staged)


@dataclass
class Leftovers:
    """What dead runs left that this run may take up, or must leave to others.

    `leases`: those of the dead runs that have any. `entries`: of the partitions that this run
    claims, by fingerprint. `foreign`: of other partitions. `unread`: dead runs whose entries could
    not be read; nobody knows what of them is still wanted, so nothing of them is removed.
    """

    claimed: frozenset[Partition]
    access: S3Access = AMBIENT
    leases: tuple[Lease, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    foreign: tuple[Entry, ...] = ()
    unread: frozenset[str] = frozenset()

    def spared(self, run_id: str) -> frozenset[str]:
        """The staged files of a dead run that are not swept yet."""
        kept = (*self.entries.values(), *self.foreign)
        return frozenset(uri for each in kept if each.run_id == run_id for uri in each.files)

    def adopt(
        self, batches: Sequence[Batch], hourly: Table
    ) -> tuple[list[BatchResult], list[Batch]]:
        """(the results of batches that a dead run has finished, the batches that are due)."""
        matched = [batch for batch in batches if batch.fingerprint in self.entries]
        if not matched:
            return [], list(batches)
        allowed = _takeable(hourly, [self.entries[batch.fingerprint] for batch in matched])
        with ThreadPoolExecutor(_READERS) as pool:
            looks = pool.map(
                lambda batch: self._take(batch, self.entries[batch.fingerprint], hourly, allowed),
                matched,
            )
            taken = {
                batch.number: result
                for batch, result in zip(matched, looks, strict=True)
                if result is not None
            }
        _log.info("took up what a killed run staged", batches=len(taken), of=len(batches))
        return list(taken.values()), [batch for batch in batches if batch.number not in taken]

    def _take(
        self, batch: Batch, entry: Entry, hourly: Table, allowed: Collection[str]
    ) -> BatchResult | None:
        """An entry as the result of a batch; None where anything of it is not as it should be."""
        result = entry.result
        folder = f"{hourly.location()}/data/{batch.partition}/{entry.run_id}"
        for staged in result.staged:
            fits = staged.partition == batch.partition and staged.path in allowed
            below = staged.path.removeprefix(folder) if staged.path.startswith(folder) else ""
            if not (fits and _FILE.fullmatch(below)):
                return None
            try:
                filesystem, path = open_uri(staged.path, self.access)
                if filesystem.get_file_info(path).size != staged.size_bytes:
                    return None
                if pq.read_metadata(path, filesystem=filesystem).num_rows != staged.row_count:
                    return None
            except (OSError, pa.ArrowException):
                return None
        try:
            fresh = renumber(result, {at: f.ordinal for at, f in enumerate(batch.files)})
        except KeyError:
            return None
        return replace(fresh, batch_number=batch.number, read_bytes=0, seconds={})


def gather(
    database_uri: str,
    dead: Collection[Lease],
    claimed: Collection[Partition],
    access: S3Access = AMBIENT,
) -> Leftovers:
    """The entries that dead runs left, sorted by whose they are to take up."""
    now_s = time.time()
    mine: dict[str, Entry] = {}
    foreign: list[Entry] = []
    leases, unread = [], set()
    for lease in dead:
        age_s = now_s - lease.renewed_at_s
        if age_s >= LEFTOVER_TTL_S:
            continue  # all of it goes, whatever its entries say
        try:
            entries = read_entries(database_uri, lease.run_id, access)
        except OSError as error:
            _log.warning("journal of a dead run not read", run=lease.run_id, error=say_fault(error))
            unread.add(lease.run_id)
            continue
        for entry in entries:
            if entry.partition not in lease.partitions:
                continue
            if entry.partition not in claimed:
                foreign.append(entry)
            elif age_s < LEFTOVER_TTL_S / 2:
                mine[entry.fingerprint] = entry
        kept = (*mine.values(), *foreign)
        leases += [lease] if any(entry.run_id == lease.run_id for entry in kept) else []
    return Leftovers(
        frozenset(claimed), access, tuple(leases), mine, tuple(foreign), frozenset(unread)
    )


def read_entries(database_uri: str, run_id: str, access: S3Access = AMBIENT) -> tuple[Entry, ...]:
    """What a run left; entries that make no sense, or are gone by now, are passed over.

    Raises:
        OSError: One lies there and cannot be read, or the folder cannot be listed.
    """
    uris = [uri for uri in _list(database_uri, run_id, access) if _NAME.fullmatch(_base(uri))]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda uri: _read(uri, run_id, access), uris)
        return tuple(entry for entry in found if entry is not None)


def drop_entries(
    database_uri: str, run_id: str, access: S3Access = AMBIENT, *, keep: Collection[str] = ()
) -> None:
    """Remove what a run left, besides the URIs to keep."""
    gone = [uri for uri in _list(database_uri, run_id, access) if uri not in keep]
    delete_uris(gone, access)
    if not keep:
        remove_empty(f"{database_uri}/_staged")


def _list(database_uri: str, run_id: str, access: S3Access) -> list[str]:
    folder = journal_folder(database_uri, run_id)
    return [each.uri for each in list_below(folder, access, within_uri=database_uri)]


def _base(uri: str) -> str:
    return uri.rsplit("/", 1)[1]


@cache
def _readers() -> tuple[TypeAdapter[BatchResult], TypeAdapter[list[tuple[Column, int]]]]:
    return TypeAdapter(BatchResult), TypeAdapter(list[tuple[Column, int]])


def _read(uri: str, run_id: str, access: S3Access) -> Entry | None:
    results, counts = _readers()
    try:
        document = json.loads(read_whole(uri, access))
        fingerprint, told = document["fingerprint"], dict(document["result"])
        columns = dict(counts.validate_json(json.dumps(told.pop("columns"))))
        result = results.validate_json(json.dumps(told | {"columns": {}}))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("no journal entry", uri=uri, error=type(error).__name__)
        return None
    is_one = len({file.partition for file in result.staged}) == 1
    if not is_one or _base(uri) != f"{fingerprint}.json":
        return None
    return Entry(uri, run_id, fingerprint, replace(result, columns=columns))


def _takeable(hourly: Table, entries: Collection[Entry]) -> frozenset[str]:
    """Those of their files that the current snapshot names, or none at all.

    A file that was replaced since must not come back: what expires old snapshots may delete it.
    """
    hourly = hourly.refresh()
    uris = {uri for entry in entries for uri in entry.files}
    since_ms = min(_started_ms(entry.run_id) for entry in entries)
    current = hourly.current_snapshot()
    live = _named(hourly, [current], uris, only_live=True) if current else set()
    later = [each for each in hourly.snapshots() if each.timestamp_ms >= since_ms]
    return frozenset(uris - (_named(hourly, later, uris - live, only_live=False)))


def _named(
    table: Table, snapshots: Iterable[Snapshot], uris: Collection[str], *, only_live: bool
) -> set[str]:
    """Those files that a manifest of the snapshots names; as live ones, or at all."""
    read: set[str] = set()
    found: set[str] = set()
    for snapshot in snapshots:
        for manifest in snapshot.manifests(table.io):
            if uris and manifest.manifest_path not in read:
                read.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=only_live)
                found |= {entry.data_file.file_path for entry in entries} & set(uris)
    return found


def _started_ms(run_id: str) -> float:
    """When a run began, by its id, a minute earlier for the clocks; 0 if that does not say."""
    match = _STARTED.fullmatch(run_id)
    if match is None:
        return 0.0
    try:
        began = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # digits that are no date
        return 0.0
    return (began.timestamp() - 60) * 1000
