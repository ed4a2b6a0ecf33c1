"""One file interface over S3 (signed, anonymous, custom endpoint) and local folders.

Both list page by page and read a whole object at once: a building file is 2 to 20 MB, and one
GET is cheaper than the four or five that a reader of columns makes. Of a metadata file (to
60 MB) a footer and one column can be read alone, with `open_file`.
"""

from __future__ import annotations

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
from typing import TYPE_CHECKING

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault, SourceListingError
from oedi_spark.source.storage_contract import (
    ListedFile,
    SourceLocation,
    Storage,
    iso_utc,
    require_checksum,
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


@cache
def open_storage(location: SourceLocation) -> Storage:
    """The storage of a location; one client per process."""
    return LocalStorage(location) if location.is_local else S3Storage(location)


class LocalStorage:
    """A folder that holds the bucket's keys as paths. Reads nothing outside it."""

    def __init__(self, location: SourceLocation) -> None:
        self._root = Path(location.root).resolve()

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_files`. What a link leads to outside the root is not `is_inside`."""
        folder = self._path(prefix)
        try:
            with scandir(folder) as entries:
                is_ours = self._holds(folder)
                for entry in entries:
                    listed = self._look(entry, prefix, is_ours=is_ours)
                    if listed is not None:
                        yield listed
        except FileNotFoundError:
            return
        except OSError as error:
            raise SourceListingError(prefix=str(self._root / prefix), cause=say(error)) from error

    def list_tree(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_tree`. A link within the root is followed, but not to where it is."""
        yield from self._walk(prefix, frozenset())

    def _walk(self, prefix: str, above: frozenset[Path]) -> Iterator[ListedFile]:
        here = above | {self._path(prefix).resolve()}
        for listed in self.list_files(prefix):
            path = self._path(listed.key.rstrip("/"))
            if not listed.key.endswith("/") or not path.is_dir():
                yield listed
            elif path.resolve() not in here:
                yield from self._walk(listed.key.rstrip("/"), here)

    def _look(self, entry: DirEntry[str], prefix: str, *, is_ours: bool) -> ListedFile | None:
        """One entry of a folder; None if it is gone since the folder was read."""
        inside = is_ours and (not entry.is_symlink() or self._holds(Path(entry.path)))
        try:
            stat = entry.stat(follow_symlinks=inside)
        except FileNotFoundError:
            return None
        is_plain = not inside or entry.is_file()
        return ListedFile(
            key=(f"{prefix}/" if prefix else "") + entry.name + ("" if is_plain else "/"),
            size_bytes=stat.st_size,
            etag=_local_etag(stat),
            modified_at_utc=iso_utc(datetime.fromtimestamp(stat.st_mtime, UTC)),
            is_inside=inside,
        )

    def list_folders(self, prefix: str) -> list[str]:
        """As `Storage.list_folders`."""
        try:
            with scandir(self._path(prefix)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SourceListingError(prefix=str(self._root / prefix), cause=say(error)) from error

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`; the ETag is the time and size that the listing saw."""
        with self.open_file(key, etag=etag) as file:
            return file.read()

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """As `Storage.open_file`; the ETag is compared after every read."""
        path = self._path(key)
        if not self._holds(path):
            raise FileFault(Reason.ACCESS_DENIED, "a link leads out of the source folder")
        with _faults():
            # Without waiting: a pipe in the place of a file would never answer.
            descriptor = open_descriptor(path, O_RDONLY | O_NONBLOCK)
            try:
                _require_version(descriptor, etag)
            except (FileFault, OSError):
                close_descriptor(descriptor)
                raise
        return io.BufferedReader(_LocalFile(descriptor, etag))

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
    """A file of the version that was listed; every fault of a read is a `FileFault`."""

    def __init__(self, descriptor: int, etag: str | None) -> None:
        super().__init__(descriptor)
        self._etag = etag

    def readinto(self, buffer: Buffer, /) -> int:
        """As `io.RawIOBase.readinto`."""
        with _faults():
            count = super().readinto(buffer) or 0
            _require_version(self.fileno(), self._etag)
        return count

    def readall(self) -> bytes:
        """As `io.RawIOBase.readall`: in one go, which of a whole file is what matters."""
        with _faults():
            data = super().readall() or b""
            _require_version(self.fileno(), self._etag)
        return data


def _require_version(descriptor: int, etag: str | None) -> None:
    """Raise `FileFault` if it is no file, or not the one that was listed."""
    stat = fstat(descriptor)
    if not S_ISREG(stat.st_mode):
        raise FileFault(Reason.FETCH_FAILED, "not a file any more")
    found = _local_etag(stat)
    if etag is not None and found != etag:
        raise FileFault(Reason.CHANGED_SINCE_LISTING, f"{etag} listed, {found} read")


@contextmanager
def _faults() -> Iterator[None]:
    """What the system says of a file, as the reason why it was not read."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileFault(Reason.NOT_FOUND, "listed, but gone when it was fetched") from error
    except PermissionError as error:
        raise FileFault(Reason.ACCESS_DENIED, say(error)) from error
    except OSError as error:
        raise FileFault(Reason.FETCH_FAILED, say(error)) from error


def _local_etag(stat: stat_result) -> str:
    """A local file's version: when it was written and how long it is. The dash: not an MD5."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
