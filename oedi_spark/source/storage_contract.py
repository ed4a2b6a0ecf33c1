"""What a storage is: where it lies, what it shows, what it promises. No I/O here."""

from __future__ import annotations

import hashlib
import io
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from oedi_spark.checksums import is_md5
from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault

_USER_INFO = re.compile(r"//[^/\s@\"']*@")


@dataclass(frozen=True)
class SourceLocation:
    """Where the bucket is and how it is reached; small, hashable, sent to every task.

    It holds no credentials: each process finds its own (role, profile or environment).
    """

    root: str
    is_local: bool
    anonymous: bool = False
    endpoint_url: str | None = None
    region: str | None = None
    path_style: bool = False
    connect_timeout_s: float = 10
    read_timeout_s: float = 60
    max_attempts: int = 5
    listing_page_size: int = 1000
    requester_pays: bool = False
    has_manifest: bool = True
    """Of a local folder: whether its `MD5SUMS`, if there is one, is believed."""

    def __str__(self) -> str:
        return self.root if self.is_local else f"s3://{self.root}"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One object as a listing shows it. `etag` is without quotes; None where there is none."""

    key: str
    size_bytes: int
    etag: str | None
    modified_at_utc: str
    is_inside: bool = True


class Storage(Protocol):
    """What the indexer and the reader need of a bucket."""

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """What lies directly in a folder, in no particular order; nothing if it is not there.

        What is no file (a folder, a pipe) has a key that ends with a slash.
        """

    def list_tree(self, prefix: str) -> Iterator[ListedFile]:
        """What lies at any depth below a folder, as `list_files` shows it.

        Folders are not shown. Nothing outside the root `is_inside`, and a folder that lies
        there is shown itself, not what it holds.
        """

    def list_folders(self, prefix: str) -> list[str]:
        """The names of the folders directly in a folder; empty if it is not there."""

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """The whole content of the version that was listed, its checksum compared.

        Raises `FileFault` with the reason when it cannot be had.
        """

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """The version that was listed, to read parts of: a footer, a column. Close it.

        A part has no checksum, so nothing that is read here is compared with one; a local file
        is compared whole when it is opened, where that costs no request. Opening and every read
        raise `FileFault` with the reason, as `read_file` does; through `pyarrow.PythonFile` too.
        """


def require_checksum(data: bytes, etag: str | None) -> None:
    """Raise `FileFault` if the ETag is an MD5 and the bytes have another."""
    if is_md5(etag):
        require_md5(hashlib.md5(data, usedforsecurity=False).hexdigest(), etag)


def require_md5(found: str, listed: str | None) -> None:
    """Raise `FileFault` if the MD5 of what was read is not the one that was listed."""
    if found != listed:
        raise FileFault(Reason.CHECKSUM_MISMATCH, f"MD5 {listed} listed, {found} read")


@lru_cache(maxsize=4096)
def iso_utc(moment: datetime) -> str:
    """A moment of UTC as `2019-01-01T00:00:00Z`; files of one second share the text."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def say(error: BaseException) -> str:
    """An error in one line, without control characters that a server or a name put there.

    A user and a password in a URL, of a proxy perhaps, are left out.
    """
    said = _USER_INFO.sub("//", str(error))
    text = urllib.parse.quote(said, safe=" !\"#$&'()*+,-./:;<=>?@[]_{|}~%")
    return f"{type(error).__name__}: {text[:300]}"
