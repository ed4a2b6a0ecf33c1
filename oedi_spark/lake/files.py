"""Files of the warehouse, by URI: local folders and S3.

A local URI here is `file://` and the path as it is, with nothing percent-encoded: PyIceberg does
not decode, pyarrow would, and a folder called `my lake` must be one folder for both.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow.fs as pafs

_LOCAL = "file://"


def open_uri(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI, and the path within it."""
    if uri.startswith(_LOCAL):
        return pafs.LocalFileSystem(), uri.removeprefix(_LOCAL)
    filesystem, path = pafs.FileSystem.from_uri(uri)
    return filesystem, path


def create_parent(filesystem: pafs.FileSystem, path: str) -> None:
    """Make the folder of a file, where folders are things; object stores have none."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)


def list_uris(folder_uri: str) -> tuple[str, ...]:
    """The files directly in a folder, as URIs; none when it is not there."""
    filesystem, folder = open_uri(folder_uri)
    found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    return tuple(
        f"{folder_uri}/{info.base_name}" for info in found if info.type == pafs.FileType.File
    )


def delete_uris(uris: Iterable[str]) -> None:
    """Delete files; one that is gone already is no fault."""
    for uri in uris:
        filesystem, path = open_uri(uri)
        try:
            filesystem.delete_file(path)
        except FileNotFoundError:
            continue
