"""What of a folder belongs to a table, what its snapshots name, and how a file is removed for good.

Whatever maintenance deletes goes through `delete_owned`, which takes nothing that lies outside
the table's own folder and follows no link.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.fs as pafs
from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from oedi_spark.contracts_maintenance import MaintenanceError, SizedFile
from oedi_spark.lake.catalog import CatalogLocation, table_name
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import S3Access, delete_uris, open_uri

TABLES = ("hourly", "metadata", "building_weights", "columns", "sources", "runs", "discrepancies")
"""Every table that this package makes."""

_PARALLEL = 8
"""Small requests at once: on S3 each is a wait."""
_LOCAL = "file://"
_SCHEME = re.compile(r"(?P<scheme>[a-z0-9]+):/*")


def open_owned(catalog: Catalog, place: CatalogLocation, names: Collection[str]) -> list[Table]:
    """Those of the named tables that are there.

    Raises:
        MaintenanceError: One of them lies elsewhere than the config says. Nothing is touched
            then, in no table.
    """
    found = []
    for name in names:
        identifier = (place.database, name)
        if catalog.table_exists(identifier):
            table = catalog.load_table(identifier)
            _require_place(table, place.table_uri(name))
            found.append(table)
    return found


def _require_place(table: Table, wanted: str) -> None:
    """Refuse a table that lies elsewhere, or whose metadata does: it is not ours to clear."""
    places = {table.location().rstrip("/"), table.metadata_location.rsplit("/metadata/", 1)[0]}
    strays = sorted(each for each in places if canonical(each) != canonical(wanted))
    if strays:
        raise MaintenanceError(
            table_name(table),
            f"it lies at {strays[0]}, and by this config it would be at {wanted}: use the config "
            "of the run that made it, or leave it out with --table",
        )


def canonical(uri: str) -> str:
    """A URI as this package spells it: engines write `file:/a`, `s3a://b` for the same place."""
    match = _SCHEME.match(uri)
    if match is None:
        return f"{_LOCAL}{uri}"
    scheme, rest = match["scheme"], uri[match.end() :]
    if scheme == "file":
        return f"{_LOCAL}/{rest}"
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}://{rest}"


def named_files(table: Table, snapshots: Iterable[Snapshot]) -> dict[str, int | None]:
    """Every file that readers of these snapshots need: data, manifests, manifest lists.

    A file that a snapshot names only as deleted is not among them. Sizes are None where Iceberg
    does not keep them.
    """
    found: dict[str, int | None] = {}
    manifests: dict[str, ManifestFile] = {}
    kept = [each for each in snapshots if each.manifest_list]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for snapshot, listed in zip(
            kept, pool.map(lambda each: _manifests(each, table.io), kept), strict=True
        ):
            found[canonical(snapshot.manifest_list)] = None
            manifests |= {each.manifest_path: each for each in listed}
        for manifest, files in zip(
            manifests.values(),
            pool.map(lambda each: _data_files(each, table.io), manifests.values()),
            strict=True,
        ):
            found[canonical(manifest.manifest_path)] = manifest.manifest_length
            found |= files
    return found


def _manifests(snapshot: Snapshot, io: FileIO) -> Sequence[ManifestFile]:
    return snapshot.manifests(io)


def _data_files(manifest: ManifestFile, io: FileIO) -> dict[str, int | None]:
    entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
    return {
        canonical(entry.data_file.file_path): entry.data_file.file_size_in_bytes
        for entry in entries
    }


def named_besides(table: Table) -> set[str]:
    """What the current metadata names itself: its own files, and statistics."""
    metadata = table.metadata
    found = {canonical(table.metadata_location)}
    found |= {canonical(each.metadata_file) for each in metadata.metadata_log}
    found |= {canonical(each.statistics_path) for each in metadata.statistics}
    return found | {canonical(each.statistics_path) for each in metadata.partition_statistics}


def short_name(table: Table) -> str:
    """The table's name without its database."""
    return str(table.name()[-1])


def outside(table: Table, uris: Iterable[str]) -> list[str]:
    """Those that do not lie below the table's folder."""
    root = f"{canonical(table.location().rstrip('/'))}/"
    return sorted(uri for uri in uris if not uri.startswith(root))


def measure(uris: Mapping[str, int | None], access: S3Access) -> tuple[SizedFile, ...]:
    """The files with their sizes; where one is not known, the store is asked. Sorted."""

    def ask(uri: str) -> SizedFile:
        size_bytes = uris[uri]
        if size_bytes is None:
            filesystem, path = open_uri(uri, access)
            info = filesystem.get_file_info(path)
            size_bytes = info.size if info.type == pafs.FileType.File else None
        return SizedFile(uri, size_bytes)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return tuple(pool.map(ask, sorted(uris)))


def delete_owned(table: Table, uris: Collection[str]) -> None:
    """Delete files of a table; one that is gone already is no fault.

    Raises:
        MaintenanceError: One lies outside the table's folder, by its name or through a link.
            None is deleted then.
    """
    delete_below(f"{canonical(table.location().rstrip('/'))}", uris, access_of(table))


def delete_below(folder_uri: str, uris: Collection[str], access: S3Access) -> None:
    """As `delete_owned`, of any folder of ours."""
    for uri in uris:
        if not _is_below(uri, folder_uri):
            raise MaintenanceError(folder_uri, f"{uri} does not lie in it and is not removed")
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda uri: delete_uris([uri], access), sorted(uris)))


def _is_below(uri: str, folder_uri: str) -> bool:
    if not uri.startswith(f"{folder_uri}/") or ".." in uri.split("/"):
        return False
    if not uri.startswith(_LOCAL):
        return True
    folder = Path(folder_uri.removeprefix(_LOCAL)).resolve()
    return Path(uri.removeprefix(_LOCAL)).parent.resolve().is_relative_to(folder)
