"""Remove what a run staged and never committed.

Three layers, from the usual to the rare: a run that fails removes its own files; a run that
finds the lease of a dead one removes that one's; each removes only files that bear the run's
id, in the partitions it had claimed, and that no snapshot names. The window engine has a folder
that bears the id, in which Spark names the files and keeps what it has not finished.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.lake.catalog import COMMIT_ATTEMPTS, commit_uuid
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import delete_uris, list_below, list_uris, remove_empty

METADATA_FILE = re.compile(r"(?P<version>[0-9]+)-[0-9a-f-]{36}\.metadata\.json")


def sweep_run(
    table: Table,
    run_id: str,
    partitions: Collection[Partition],
    *,
    spared: Collection[str] = (),
) -> tuple[str, ...]:
    """Remove a run's uncommitted data files and manifests; returns the URIs removed.

    The files that are `spared` stay: this run or another may take them up.

    The run must be dead, or be the caller: its files are told by their names. The table is
    read anew first, so that nothing that was committed meanwhile is taken for an orphan.
    """
    table, access = table.refresh(), access_of(table)
    name = re.compile(re.escape(run_id) + r"[-.]")
    uuids = [str(commit_uuid(run_id, attempt)) for attempt in range(COMMIT_ATTEMPTS)]
    folders = [f"{table.location()}/data/{partition}" for partition in partitions]
    suspects = {
        stored.uri
        for folder in folders
        for stored in list_below(folder, access, within_uri=table.location())
        if name.match(stored.uri.removeprefix(f"{folder}/")) and stored.uri not in spared
    }
    metadata = list_uris(_metadata_uri(table), access)
    suspects |= {uri for uri in metadata if any(uuid in _name(uri) for uuid in uuids)}
    if table.spec().is_unpartitioned():  # the ledger's: PyIceberg names the file by the commit
        data = list_uris(f"{table.location()}/data", access)
        suspects |= {uri for uri in data if uuids[0] in _name(uri)}
    orphans = sorted(_unreferenced(table, suspects))
    delete_uris(orphans, access)
    for folder in folders:
        if any(
            uri.startswith(f"{folder}/{run_id}") and "/" in uri[len(folder) + 1 :]
            for uri in orphans
        ):
            remove_empty(folder)
    return tuple(orphans)


def sweep_metadata(table: Table) -> tuple[str, ...]:
    """Remove metadata files that lost a race, or whose run died before the catalog took them."""
    table = table.refresh()
    orphans = stale_metadata(table)
    delete_uris(orphans, access_of(table))
    return tuple(orphans)


def stale_metadata(table: Table) -> list[str]:
    """The metadata files of a table that its current one does not name, by URI.

    Only versions up to the current one: a later one may be a commit that is under way. None where
    the current one is not named as this package's catalogs name it.
    """
    current = METADATA_FILE.fullmatch(_name(table.metadata_location))
    if current is None:
        return []
    kept = {_name(entry.metadata_file) for entry in table.metadata.metadata_log}
    kept.add(_name(table.metadata_location))
    stale = []
    for uri in list_uris(_metadata_uri(table), access_of(table)):
        match = METADATA_FILE.fullmatch(_name(uri))
        is_older = match is not None and int(match["version"]) <= int(current["version"])
        if is_older and _name(uri) not in kept:
            stale.append(uri)
    return stale


def _metadata_uri(table: Table) -> str:
    return table.metadata_location.rsplit("/", 1)[0]


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[1]


def _unreferenced(table: Table, suspects: set[str]) -> set[str]:
    """Those files that no snapshot names, as data file, manifest or manifest list.

    The newest snapshot is asked first and the search ends when nothing is left to clear, so
    after a run that committed it reads one snapshot, not the table's history.
    """
    read: set[str] = set()
    for snapshot in reversed(table.snapshots()):
        if not suspects:
            break
        suspects = suspects - {snapshot.manifest_list}
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            suspects -= {manifest.manifest_path}
            if suspects:
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
                suspects -= {entry.data_file.file_path for entry in entries}
    return suspects
