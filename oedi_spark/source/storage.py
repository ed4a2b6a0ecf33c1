"""One file interface over S3 (signed, anonymous, custom endpoint) and local folders.

Both list page by page and read a whole object at once: a building file is 2 to 20 MB, and one
GET is cheaper than the four or five that a reader of columns makes. Of a metadata file (to
60 MB) a footer and one column can be read alone, with `open_file`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from os import O_NONBLOCK, O_RDONLY, DirEntry, fstat, scandir, stat_result
from os import close as close_descriptor
from os import open as open_descriptor
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import TYPE_CHECKING

from oedi_spark.checksums import is_md5
from oedi_spark.contracts import Reason
from oedi_spark.errors import ChecksumsError, FileFault, SourceListingError
from oedi_spark.source.manifest import MANIFEST_NAME, Manifest, parse_manifest
from oedi_spark.source.storage_contract import (
    ListedFile,
    SourceLocation,
    Storage,
    iso_utc,
    require_checksum,
    require_md5,
    say,
)
from oedi_spark.source.storage_s3 import S3Storage

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "ListedFile",
    "LocalStorage",
    "S3Storage",
    "SourceLocation",
    "Storage",
    "open_storage",
    "require_checksum",
]

_GONE = "listed, but gone when it was fetched"
_NAMED = f"{MANIFEST_NAME} names it, but it is not there"


@cache
def open_storage(location: SourceLocation) -> Storage:
    """The storage of a location; one client per process."""
    return LocalStorage(location) if location.is_local else S3Storage(location)


class LocalStorage:
    """A folder that holds the bucket's keys as paths. Reads nothing outside it.

    `MD5SUMS` in the root says what the folder should hold. A file that it names has its MD5 as
    ETag; one that is not there is listed all the same, as it was where the manifest comes from,
    and is `not_found` when it is read.
    """

    def __init__(self, location: SourceLocation) -> None:
        self._root = Path(location.root).resolve()
        self._has_manifest = location.has_manifest
        self._manifest, self._manifest_version = Manifest(), ""
        self._lock = Lock()

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_files`. What a link leads to outside the root is not `is_inside`.

        Raises:
            ChecksumsError: The manifest cannot be read.
        """
        folder, manifest = self._path(prefix), self._load_manifest()
        named = dict(manifest.files_in(prefix))
        try:
            with scandir(folder) as entries:
                is_ours = self._holds(folder)
                for entry in entries:
                    listed = self._look(entry, prefix, named, is_ours=is_ours)
                    if listed is not None:
                        yield listed
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SourceListingError(prefix=str(self._root / prefix), cause=say(error)) from error
        for name, md5 in named.items():
            yield ListedFile(_join(prefix, name), 0, md5, manifest.modified_at_utc)

    def list_tree(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_tree`. A link within the root is followed, but not to where it is."""
        yield from self._walk(prefix, frozenset())

    def _walk(self, prefix: str, above: frozenset[Path]) -> Iterator[ListedFile]:
        here = above | {self._path(prefix).resolve()}
        absent = set(self._load_manifest().folders_in(prefix))
        for listed in self.list_files(prefix):
            below = listed.key.rstrip("/")
            path = self._path(below)
            is_folder = listed.key.endswith("/") and path.is_dir()
            if is_folder or not listed.is_inside:
                absent.discard(path.name)
            if not is_folder:
                yield listed
            elif path.resolve() not in here:
                yield from self._walk(below, here)
        for name in sorted(absent):
            yield from self._walk(_join(prefix, name), here)

    def _look(
        self, entry: DirEntry[str], prefix: str, named: dict[str, str], *, is_ours: bool
    ) -> ListedFile | None:
        """One entry of a folder, taken out of `named`; None if it is gone since that was read."""
        inside = is_ours and (not entry.is_symlink() or self._holds(Path(entry.path)))
        try:
            stat = entry.stat(follow_symlinks=inside)
        except FileNotFoundError:
            return None
        is_plain = not inside or entry.is_file()
        md5 = named.pop(entry.name, None) if is_plain else None
        return ListedFile(
            key=_join(prefix, entry.name) + ("" if is_plain else "/"),
            size_bytes=stat.st_size,
            etag=md5 or _local_etag(stat),
            modified_at_utc=_modified_at(stat),
            is_inside=inside,
        )

    def list_folders(self, prefix: str) -> list[str]:
        """As `Storage.list_folders`; with those below which the manifest names a file."""
        folder, named = self._path(prefix), self._load_manifest().folders_in(prefix)
        try:
            with scandir(folder) as entries:
                return sorted({entry.name for entry in entries if entry.is_dir()} | named)
        except FileNotFoundError:
            return sorted(named)
        except OSError as error:
            raise SourceListingError(prefix=str(self._root / prefix), cause=say(error)) from error

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`; an ETag that is no MD5 is the time and size that were listed."""
        with self._open(key, etag) as file:
            data = file.read()
        require_checksum(data, etag)
        return data

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """As `Storage.open_file`; the version is compared after every read."""
        file = self._open(key, etag)
        if is_md5(etag):
            try:
                require_md5(hashlib.file_digest(file, _md5).hexdigest(), etag)
                file.seek(0)
            except (FileFault, OSError):
                file.close()
                raise
        return file

    def _open(self, key: str, etag: str | None) -> io.BufferedReader:
        path = self._path(key)
        if not self._holds(path):
            raise FileFault(Reason.ACCESS_DENIED, "a link leads out of the source folder")
        with _faults(etag):
            # Without waiting: a pipe in the place of a file would never answer.
            descriptor = open_descriptor(path, O_RDONLY | O_NONBLOCK)
            try:
                version = _require_version(descriptor, None if is_md5(etag) else etag)
            except (FileFault, OSError):
                close_descriptor(descriptor)
                raise
        return io.BufferedReader(_LocalFile(descriptor, version))

    def _load_manifest(self) -> Manifest:
        """The manifest as it is now; an empty one where there is none."""
        if not self._has_manifest:
            return self._manifest
        path = self._root / MANIFEST_NAME
        with self._lock:
            try:
                stat = path.stat()
                if (version := _local_etag(stat)) != self._manifest_version:
                    with self._open(MANIFEST_NAME, None) as file:
                        content = file.read()
                    self._manifest = parse_manifest(content, str(path), _modified_at(stat))
                    self._manifest_version = version
            except FileNotFoundError as error:
                if path.is_symlink():
                    raise ChecksumsError(str(path), None, "a link that leads nowhere") from error
                self._manifest, self._manifest_version = Manifest(), ""
            except (FileFault, OSError) as error:
                cause = error.detail if isinstance(error, FileFault) else say(error)
                raise ChecksumsError(str(path), None, cause) from error
            return self._manifest

    def _holds(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError):  # a link that leads to itself
            return False

    def _path(self, key: str) -> Path:
        if ".." in key.split("/"):
            raise SourceListingError(prefix=key, cause="a key may not hold `..`")
        return self._root / key


class _LocalFile(io.FileIO):
    """A file that stays as it was opened; every fault of a read is a `FileFault`."""

    def __init__(self, descriptor: int, version: str) -> None:
        super().__init__(descriptor)
        self._version = version

    def readinto(self, buffer: Buffer, /) -> int:
        """As `io.RawIOBase.readinto`."""
        with _faults():
            count = super().readinto(buffer) or 0
            _require_version(self.fileno(), self._version)
        return count

    def readall(self) -> bytes:
        """As `io.RawIOBase.readall`: in one go, which of a whole file is what matters."""
        with _faults():
            data = super().readall() or b""
            _require_version(self.fileno(), self._version)
        return data


def _require_version(descriptor: int, listed: str | None) -> str:
    """The version of a file; raises `FileFault` if it is no file, or not the one listed."""
    stat = fstat(descriptor)
    if not S_ISREG(stat.st_mode):
        raise FileFault(Reason.FETCH_FAILED, "not a file any more")
    found = _local_etag(stat)
    if listed is not None and found != listed:
        raise FileFault(Reason.CHANGED_SINCE_LISTING, f"{listed} listed, {found} read")
    return found


@contextmanager
def _faults(etag: str | None = None) -> Iterator[None]:
    """What the system says of a file, as the reason why it was not read."""
    try:
        yield
    except FileNotFoundError as error:
        # Only the manifest gives a local file an MD5, and it lists what may never have been there.
        raise FileFault(Reason.NOT_FOUND, _NAMED if is_md5(etag) else _GONE) from error
    except PermissionError as error:
        raise FileFault(Reason.ACCESS_DENIED, say(error)) from error
    except OSError as error:
        raise FileFault(Reason.FETCH_FAILED, say(error)) from error


def _local_etag(stat: stat_result) -> str:
    """A local file's version: when it was written and how long it is. The dash: not an MD5."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _modified_at(stat: stat_result) -> str:
    return iso_utc(datetime.fromtimestamp(stat.st_mtime, UTC))


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
