"""Remove what a run staged and never committed.

Three layers, from the usual to the rare: a run that fails removes its own files; a run that
finds the lease of a dead one removes that one's; each removes only files that bear the run's
id, in the partitions it had claimed, and that no snapshot names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress

import pyarrow.fs as pafs
from pyiceberg.table import Table

from oedi_spark.contracts import Partition
from oedi_spark.lake.catalog import commit_uuid

_METADATA_FILE = re.compile(r"(?P<version>[0-9]+)-[0-9a-f-]{36}\.metadata\.json")


def sweep_run(table: Table, run_id: str, partitions: Collection[Partition]) -> tuple[str, ...]:
    """Remove a run's uncommitted data files and manifests; returns the paths removed.

    The run must be dead, or be the caller: its files are told by their names.
    """
    data = [
        info
        for partition in sorted(partitions)
        for info in _files(f"{table.location()}/data/{partition}")
        if info.base_name.startswith((f"{run_id}-", f"{run_id}."))
    ]
    uuid = str(commit_uuid(run_id))
    manifests = [info for info in _files(_metadata_uri(table)) if uuid in info.base_name]
    orphans = _unreferenced(table.refresh(), {info.path for info in (*data, *manifests)})
    _delete(table, orphans)
    return tuple(sorted(orphans))


def sweep_metadata(table: Table) -> tuple[str, ...]:
    """Remove metadata files that lost their race, or whose run died before the catalog took them.

    Only versions up to the current one: a later one may be a commit that is under way.
    """
    current = _METADATA_FILE.fullmatch(table.metadata_location.rsplit("/", 1)[1])
    if current is None:
        return ()
    kept = {entry.metadata_file.rsplit("/", 1)[1] for entry in table.metadata.metadata_log}
    kept.add(table.metadata_location.rsplit("/", 1)[1])
    orphans = []
    for info in _files(_metadata_uri(table)):
        match = _METADATA_FILE.fullmatch(info.base_name)
        if (
            match is not None
            and info.base_name not in kept
            and int(match["version"]) <= int(current["version"])
        ):
            orphans.append(info.path)
    _delete(table, orphans)
    return tuple(orphans)


def _metadata_uri(table: Table) -> str:
    return table.metadata_location.rsplit("/", 1)[0]


def _files(folder_uri: str) -> list[pafs.FileInfo]:
    filesystem, folder = pafs.FileSystem.from_uri(folder_uri)
    found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    return [info for info in found if info.type == pafs.FileType.File]


def _unreferenced(table: Table, suspects: set[str]) -> set[str]:
    """Those paths that no snapshot names, as data file, manifest or manifest list.

    The newest snapshot is asked first and the search ends when nothing is left to clear, so
    after a run that committed it reads one snapshot, not the table's history.
    """
    read: set[str] = set()
    for snapshot in reversed(table.snapshots()):
        if not suspects:
            break
        suspects = suspects - {_path(snapshot.manifest_list)}
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            suspects = suspects - {_path(manifest.manifest_path)}
            suspects -= {_path(entry.data_file.file_path) for entry in entries}
    return suspects


def _path(uri: str) -> str:
    return str(pafs.FileSystem.from_uri(uri)[1])


def _delete(table: Table, paths: Iterable[str]) -> None:
    filesystem, _ = pafs.FileSystem.from_uri(table.location())
    for path in paths:
        with suppress(FileNotFoundError):
            filesystem.delete_file(path)
