"""Files of the warehouse, by URI: local folders and S3.

A local URI here is `file://` and the path as it is, with nothing percent-encoded: PyIceberg does
not decode, pyarrow would, and a folder called `my lake` must be one folder for both. The key in
an S3 URI is taken as it is for the same reason.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs

from oedi_spark.lake.object_store import open_object_store
from oedi_spark.lake.s3_access import AMBIENT, S3Access, read_object, write_object

__all__ = [
    "AMBIENT",
    "S3Access",
    "StoredFile",
    "create_parent",
    "delete_uris",
    "is_on_s3",
    "list_below",
    "list_uris",
    "open_uri",
    "read_whole",
    "remove_empty",
    "write_whole",
]

_LOCAL = "file://"
_S3 = "s3://"


@dataclass(frozen=True)
class StoredFile:
    """A file at any depth below a folder. `is_hidden`: its name begins with a dot."""

    uri: str
    modified_at_s: float

    @property
    def is_hidden(self) -> bool:
        """Whether readers and crawlers pass it by."""
        return self.uri.rsplit("/", 1)[1].startswith(".")


def is_on_s3(uri: str) -> bool:
    """Whether a URI names something on S3."""
    return uri.startswith(_S3)


def open_uri(uri: str, access: S3Access = AMBIENT) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI, and the path within it. `access` says how S3 is reached."""
    if uri.startswith(_LOCAL):
        return pafs.LocalFileSystem(), uri.removeprefix(_LOCAL)
    if is_on_s3(uri):
        return open_object_store(access), uri.removeprefix(_S3)
    filesystem, path = pafs.FileSystem.from_uri(uri)
    return filesystem, path


def read_whole(uri: str, access: S3Access = AMBIENT) -> bytes:
    """A small file: all of one version of it.

    Raises:
        FileNotFoundError: It is not there.
        OSError: It cannot be read.
    """
    filesystem, path = open_uri(uri, access)
    if is_on_s3(uri):
        return read_object(path, access)
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content


def write_whole(uri: str, data: bytes, access: S3Access = AMBIENT) -> None:
    """Write a small file that appears whole, in place of one of that name.

    Raises:
        OSError: It cannot be written; one that was there is as before.
    """
    filesystem, path = open_uri(uri, access)
    if is_on_s3(uri):
        write_object(path, data, access)
        return
    create_parent(filesystem, path)
    unfinished = f"{path}.{secrets.token_hex(4)}.unfinished"
    try:
        with filesystem.open_output_stream(unfinished) as stream:
            stream.write(data)
        filesystem.move(unfinished, path)
    except OSError:
        with suppress(OSError):
            filesystem.delete_file(unfinished)
        raise


def create_parent(filesystem: pafs.FileSystem, path: str) -> None:
    """Make the folder of a file, where folders are things; object stores have none."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)


def list_uris(folder_uri: str, access: S3Access = AMBIENT) -> tuple[str, ...]:
    """The files directly in a folder, as URIs; none when it is not there."""
    filesystem, folder = open_uri(folder_uri, access)
    found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    return tuple(
        f"{folder_uri}/{info.base_name}" for info in found if info.type == pafs.FileType.File
    )


def list_below(
    folder_uri: str, access: S3Access = AMBIENT, *, within_uri: str
) -> tuple[StoredFile, ...]:
    """The files at any depth below a folder; none when it is not there.

    A link counts as a file and is not followed.

    Raises:
        OSError: A link leads the folder itself out of `within_uri`; or it cannot be listed.
    """
    filesystem, folder = open_uri(folder_uri, access)
    if isinstance(filesystem, pafs.LocalFileSystem):
        within = Path(within_uri.removeprefix(_LOCAL))
        if not Path(folder).resolve().is_relative_to(within.resolve()):
            raise OSError(f"{folder} lies outside {within}, through a link")
        return tuple(_walk(folder_uri, folder))
    found = filesystem.get_file_info(
        pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    )
    return tuple(
        StoredFile(folder_uri + info.path.removeprefix(folder), info.mtime.timestamp())
        for info in found
        if info.type == pafs.FileType.File
    )


def sizes_below(folder_uri: str, access: S3Access = AMBIENT) -> dict[str, int]:
    """The sizes in bytes of the files at any depth below a folder, by URI; of no folder none.

    Raises:
        OSError: It cannot be listed.
    """
    filesystem, folder = open_uri(folder_uri, access)
    selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
    return {
        folder_uri + info.path.removeprefix(folder): info.size
        for info in filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
    }


def _walk(folder_uri: str, folder: str) -> Iterator[StoredFile]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for at, folders, names in os.walk(folder, onerror=fail):
        links = [name for name in folders if (Path(at) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(at) / name
            with suppress(FileNotFoundError):
                below = path.relative_to(folder).as_posix()
                yield StoredFile(f"{folder_uri}/{below}", path.lstat().st_mtime)


def delete_uris(uris: Iterable[str], access: S3Access = AMBIENT) -> None:
    """Delete files; one that is gone already is no fault."""
    for uri in uris:
        filesystem, path = open_uri(uri, access)
        with suppress(FileNotFoundError):
            if isinstance(filesystem, pafs.LocalFileSystem):
                Path(path).unlink()
            else:
                filesystem.delete_file(path)


def remove_empty(folder_uri: str) -> None:
    """Remove the empty folders below a local folder; one that fills up meanwhile stays."""
    if folder_uri.startswith(_LOCAL):
        folder = folder_uri.removeprefix(_LOCAL)
        for at, _, _ in os.walk(folder, topdown=False):
            if at != folder:
                with suppress(OSError):
                    Path(at).rmdir()
