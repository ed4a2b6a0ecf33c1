"""What a table names, told apart from what merely lies in its folder; not by the package's code."""

from __future__ import annotations

from pyiceberg.table import Table


def files_named_by(table: Table) -> set[str]:
    """URIs of its metadata files, manifest lists, manifests and rows, of every snapshot."""
    named = {table.metadata_location, *(each.metadata_file for each in table.metadata.metadata_log)}
    for snapshot in table.snapshots():
        named.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            named.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            named |= {entry.data_file.file_path for entry in entries}
    return named
