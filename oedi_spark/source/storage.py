"""One file interface over S3 (signed, anonymous, custom endpoint) and local folders.

Both list page by page and read a whole object at once: a building file is 2 to 20 MB, and one
GET is cheaper than the four or five that a reader of columns makes.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from os import O_NONBLOCK, O_RDONLY, DirEntry, fdopen, fstat, scandir, stat_result
from os import open as open_descriptor
from pathlib import Path
from stat import S_ISREG
from typing import Any, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from oedi_spark.contracts import Reason
from oedi_spark.errors import ConfigError, FileFault, SourceListingError

_MD5_ETAG = re.compile(r"[0-9a-f]{32}")


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

    def __str__(self) -> str:
        return self.root if self.is_local else f"s3://{self.root}"


@dataclass(frozen=True)
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

    def list_folders(self, prefix: str) -> list[str]:
        """The names of the folders directly in a folder; empty if it is not there."""

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """The whole content of the version that was listed, its checksum compared.

        Raises `FileFault` with the reason when it cannot be had.
        """


@cache
def open_storage(location: SourceLocation) -> Storage:
    """The storage of a location; one client per process."""
    return LocalStorage(location) if location.is_local else S3Storage(location)


def require_checksum(data: bytes, etag: str | None) -> None:
    """Raise `FileFault` if the ETag is an MD5 and the bytes have another.

    An ETag is the content's MD5 only for an object that was uploaded in one part: one with a
    dash in it (multipart), or of another length, proves nothing and is not compared.
    """
    if etag is not None and _MD5_ETAG.fullmatch(etag):
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if digest != etag:
            raise FileFault(Reason.CHECKSUM_MISMATCH, f"ETag {etag}, MD5 of the bytes {digest}")


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
            raise SourceListingError(prefix=str(self._root / prefix), cause=_say(error)) from error

    def _look(self, entry: DirEntry[str], prefix: str, *, is_ours: bool) -> ListedFile | None:
        """One entry of a folder; None if it is gone since the folder was read."""
        inside = is_ours and (not entry.is_symlink() or self._holds(Path(entry.path)))
        try:
            stat = entry.stat(follow_symlinks=inside)
        except FileNotFoundError:
            return None
        is_plain = not inside or entry.is_file()
        return ListedFile(
            key=f"{prefix}/{entry.name}" + ("" if is_plain else "/"),
            size_bytes=stat.st_size,
            etag=_local_etag(stat),
            modified_at_utc=_iso_utc(datetime.fromtimestamp(stat.st_mtime, UTC)),
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
            raise SourceListingError(prefix=str(self._root / prefix), cause=_say(error)) from error

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`; the ETag is the time and size that the listing saw."""
        path = self._path(key)
        try:
            if not self._holds(path):
                raise FileFault(Reason.ACCESS_DENIED, "a link leads out of the source folder")
            # Without waiting: a pipe in the place of a file would never answer.
            with fdopen(open_descriptor(path, O_RDONLY | O_NONBLOCK), "rb") as file:
                if not S_ISREG(fstat(file.fileno()).st_mode):
                    raise FileFault(Reason.FETCH_FAILED, "not a file any more")
                data = file.read()
                found = _local_etag(fstat(file.fileno()))
            if etag is not None and found != etag:
                raise FileFault(Reason.CHANGED_SINCE_LISTING, f"{etag} listed, {found} read")
            return data
        except FileNotFoundError as error:
            raise FileFault(Reason.NOT_FOUND, "listed, but gone when it was fetched") from error
        except PermissionError as error:
            raise FileFault(Reason.ACCESS_DENIED, _say(error)) from error
        except OSError as error:
            raise FileFault(Reason.FETCH_FAILED, _say(error)) from error

    def _holds(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError):  # a link that leads to itself
            return False

    def _path(self, key: str) -> Path:
        if ".." in key.split("/"):
            raise SourceListingError(prefix=key, cause="a key may not hold `..`")
        return self._root / key


def _local_etag(stat: stat_result) -> str:
    """A local file's version: when it was written and how long it is. The dash: not an MD5."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


class _BrokenBodyError(Exception):
    """An answer began well, and its body broke off: that, botocore does not retry."""


class S3Storage:
    """An S3 bucket, through boto3; unsigned when the location says so."""

    def __init__(self, location: SourceLocation) -> None:
        self._location = location
        self._bucket = location.root
        self._client = _s3_client(location)

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_files`; `listing_page_size` keys a request."""
        for page in self._pages(prefix):
            for folder in page.get("CommonPrefixes", ()):
                yield ListedFile(folder["Prefix"], 0, None, "")
            for item in page.get("Contents", ()):
                yield ListedFile(
                    key=item["Key"],
                    size_bytes=item["Size"],
                    etag=item.get("ETag", "").strip('"') or None,
                    modified_at_utc=_iso_utc(item["LastModified"].astimezone(UTC)),
                )

    def list_folders(self, prefix: str) -> list[str]:
        """As `Storage.list_folders`."""
        found = (
            item["Prefix"]
            for page in self._pages(prefix)
            for item in page.get("CommonPrefixes", ())
        )
        return sorted(each.rstrip("/").rsplit("/", 1)[-1] for each in found)

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`: one GET, of exactly the version that was listed.

        botocore retries what fails before the body; a body that breaks off is retried here.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        wanted = {"IfMatch": f'"{etag}"'} if etag else {}
        attempts = Retrying(
            retry=retry_if_exception_type(_BrokenBodyError),
            stop=stop_after_attempt(self._location.max_attempts),
            wait=wait_random_exponential(multiplier=0.2, max=20),
            reraise=True,
        )
        try:
            data, is_md5 = attempts(self._get, key, wanted)
        except ClientError as error:
            raise _client_fault(error) from error
        except (BotoCoreError, OSError, _BrokenBodyError) as error:
            raise FileFault(
                Reason.FETCH_FAILED, f"{self._location.max_attempts} attempts: {_say(error)}"
            ) from error
        require_checksum(data, etag if is_md5 else None)
        return bytes(data)

    def _get(self, key: str, wanted: dict[str, str]) -> tuple[bytes, bool]:
        """The content, and whether its ETag may be an MD5: not of what a key encrypts."""
        from botocore.exceptions import BotoCoreError

        answer = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)
        by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        try:
            content: bytes = answer["Body"].read()
        except (BotoCoreError, OSError) as error:
            raise _BrokenBodyError(_say(error)) from error
        return content, not (by_kms or "SSECustomerAlgorithm" in answer)

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket,
            Prefix=f"{prefix}/",
            Delimiter="/",
            PaginationConfig={"PageSize": self._location.listing_page_size},
        )
        try:
            yield from pages
        except (ClientError, BotoCoreError) as error:
            raise SourceListingError(
                prefix=f"s3://{self._bucket}/{prefix}/", cause=_say(error)
            ) from error


def _s3_client(location: SourceLocation) -> Any:  # noqa: ANN401 - boto3 clients have no type
    try:
        import boto3
    except ImportError as error:
        raise ConfigError(
            "src_bucket", [f"{location}: S3 needs the extra `aws` ({error})"]
        ) from error
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        signature_version=UNSIGNED if location.anonymous else None,
        connect_timeout=location.connect_timeout_s,
        read_timeout=location.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": location.max_attempts},
        max_pool_connections=32,
        s3={"addressing_style": "path"} if location.path_style else {},
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=location.endpoint_url, region_name=location.region, config=config
    )


def _client_fault(error: Any) -> FileFault:  # noqa: ANN401 - botocore has no types
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    reason = {
        403: Reason.ACCESS_DENIED,
        404: Reason.NOT_FOUND,
        412: Reason.CHANGED_SINCE_LISTING,
    }.get(status, Reason.FETCH_FAILED)
    code = error.response.get("Error", {}).get("Code", "unknown")
    return FileFault(reason, f"HTTP {status}, {code}")


def _iso_utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(error: BaseException) -> str:
    """An error in one line, without control characters that a server or a name put there."""
    text = urllib.parse.quote(str(error), safe=" !\"#$&'()*+,-./:;<=>?@[]_{|}~%")
    return f"{type(error).__name__}: {text[:300]}"
