"""The S3 half of the storage, through boto3: paged listings, whole objects, ranges of them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from oedi_spark.contracts import Reason
from oedi_spark.errors import ConfigError, FileFault, SourceListingError
from oedi_spark.source.storage_contract import (
    ListedFile,
    SourceLocation,
    iso_utc,
    require_checksum,
    say,
)

TAIL_BYTES = 256 * 1024
"""What opening an object fetches: the whole footer of a narrow parquet file.

The footer of a metadata file of 1,300 columns is about 1.1 MB: one more request.
"""

_LEAST_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (?P<start>[0-9]+)-[0-9]+/(?P<size>[0-9]+)")


class _BrokenBodyError(Exception):
    """An answer began well, and its body broke off: that, botocore does not retry."""


@dataclass(frozen=True)
class _Answer:
    """What a GET answered: `content` begins at byte `start` of `size_bytes`."""

    content: bytes
    start: int
    size_bytes: int
    etag: str | None
    is_md5: bool


class RangedFile(io.BufferedIOBase):
    """An object as a file that can be sought in, and of which only what is read is fetched.

    The tail is kept, and so is what is read that touches it: of a parquet file, its footer.
    """

    def __init__(
        self, read_range: Callable[[int, int], bytes], *, size_bytes: int, tail: bytes
    ) -> None:
        self._read_range = read_range
        self._size = size_bytes
        self._tail = tail[-size_bytes:] if size_bytes else b""
        self._window, self._window_start = b"", 0
        self._position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As `io.BufferedIOBase.read`: all that was asked for, unless the file ends."""
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        data = self._bytes(start, stop)
        self._position = max(self._position, stop)
        return data

    def _bytes(self, start: int, stop: int) -> bytes:
        tail_start = self._size - len(self._tail)
        if stop > tail_start:
            if start < tail_start:
                self._tail = self._read_range(start, tail_start) + self._tail
                tail_start = start
            return self._tail[start - tail_start : stop - tail_start]
        window_stop = self._window_start + len(self._window)
        if stop > start and not self._window_start <= start <= stop <= window_stop:
            # A little more than asked for: who reads small pieces reads on.
            window_stop = min(max(stop, start + _LEAST_BYTES), tail_start)
            self._window = self._read_range(start, window_stop)
            self._window_start = start
        return self._window[start - self._window_start : stop - self._window_start]

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} is before the first")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As `io.IOBase.tell`."""
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True


class S3Storage:
    """An S3 bucket, through boto3; unsigned when the location says so."""

    def __init__(self, location: SourceLocation) -> None:
        self._location = location
        self._bucket = location.root
        self._client = _s3_client(location)

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_files`; `listing_page_size` keys a request."""
        for page in self._pages(prefix, "/"):
            for folder in page.get("CommonPrefixes", ()):
                yield ListedFile(folder["Prefix"], 0, None, "")
            for item in page.get("Contents", ()):
                yield _listed(item)

    def list_folders(self, prefix: str) -> list[str]:
        """As `Storage.list_folders`."""
        found = (
            item["Prefix"]
            for page in self._pages(prefix, "/")
            for item in page.get("CommonPrefixes", ())
        )
        return sorted(each.rstrip("/").rsplit("/", 1)[-1] for each in found)

    def list_tree(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_tree`: by keys alone, so a thousand folders cost no more requests."""
        for page in self._pages(prefix):
            for item in page.get("Contents", ()):
                # A key that ends with a slash is how a console draws an empty folder.
                if not item["Key"].endswith("/"):
                    yield _listed(item)

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`: one GET, of exactly the version that was listed.

        botocore retries what fails before the body; a body that breaks off is retried here.
        """
        with self._faults():
            answer = self._get(key, etag)
        require_checksum(answer.content, etag if answer.is_md5 else None)
        return answer.content

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """As `Storage.open_file`: ranged GETs of one version, beginning with the tail."""
        with self._faults():
            tail = self._get(key, etag, range_=f"bytes=-{TAIL_BYTES}")
        if tail.start + len(tail.content) != tail.size_bytes:
            raise FileFault(Reason.FETCH_FAILED, "the end was asked for, another part answered")

        def read_range(start: int, stop: int) -> bytes:
            with self._faults():
                part = self._get(key, etag or tail.etag, range_=f"bytes={start}-{stop - 1}")
            content = part.content[max(0, start - part.start) :][: stop - start]
            if part.start > start or len(content) < stop - start:
                raise FileFault(
                    Reason.FETCH_FAILED, f"{len(content)} of bytes {start} to {stop} answered"
                )
            return content

        return RangedFile(read_range, size_bytes=tail.size_bytes, tail=tail.content)

    def _get(self, key: str, etag: str | None, range_: str | None = None) -> _Answer:
        """One object, or a range of it, of the version that was listed."""
        wanted = {"Bucket": self._bucket, "Key": key}
        wanted |= {"IfMatch": f'"{etag}"'} if etag else {}
        wanted |= {"Range": range_} if range_ else {}
        return _attempts(self._location)(self._get_once, wanted)

    def _get_once(self, wanted: dict[str, str]) -> _Answer:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(**wanted)
        except ClientError as error:
            if "Range" in wanted and _status(error) == 416:  # so is the tail of an empty object
                return _Answer(b"", start=0, size_bytes=0, etag=None, is_md5=False)
            raise
        try:
            content: bytes = answer["Body"].read()
        except (BotoCoreError, OSError) as error:
            raise _BrokenBodyError(say(error)) from error
        # Who knows no ranges answers with the whole object, and says nothing of a range.
        ranged = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        if ranged is None and answer["ResponseMetadata"]["HTTPStatusCode"] == 206:
            raise _BrokenBodyError("a range that does not say which")
        # What a key encrypts has an ETag that is not an MD5.
        by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        return _Answer(
            content=bytes(content),
            start=int(ranged["start"]) if ranged else 0,
            size_bytes=int(ranged["size"]) if ranged else len(content),
            etag=answer.get("ETag", "").strip('"') or None,
            is_md5=not (by_kms or "SSECustomerAlgorithm" in answer),
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the server or the way to it says of an object, as the reason why it was not read."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise _client_fault(error) from error
        except (BotoCoreError, OSError, _BrokenBodyError) as error:
            raise FileFault(
                Reason.FETCH_FAILED, f"{self._location.max_attempts} attempts: {say(error)}"
            ) from error

    def _pages(self, prefix: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
        """Every page of a prefix once, in order.

        Not boto3's paginator: it cannot ask again for a page that it could not read, and to
        begin again would show the keys of the pages before twice.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        wanted = {
            "Bucket": self._bucket,
            "Prefix": f"{prefix}/",
            "MaxKeys": self._location.listing_page_size,
        }
        wanted |= {"Delimiter": delimiter} if delimiter else {}
        token: str | None = None
        try:
            while True:
                page = _attempts(self._location)(self._page, wanted)
                yield page
                if not page["IsTruncated"]:
                    return
                if page["NextContinuationToken"] == token:
                    raise _BrokenBodyError(f"page {token} leads to itself")
                token = page["NextContinuationToken"]
                wanted["ContinuationToken"] = token
        except (ClientError, BotoCoreError, _BrokenBodyError) as error:
            raise SourceListingError(
                prefix=f"s3://{self._bucket}/{prefix}/", cause=say(error)
            ) from error

    def _page(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """One page, or `_BrokenBodyError` if it is garbled, or does not say whether it is the last.

        botocore takes an empty body for an empty page, which would lose what follows.
        """
        from botocore.parsers import ResponseParserError

        try:
            page: dict[str, Any] = self._client.list_objects_v2(**wanted)
        except (ResponseParserError, ValueError) as error:
            raise _BrokenBodyError(say(error)) from error
        if "IsTruncated" not in page or (
            page["IsTruncated"] and not page.get("NextContinuationToken")
        ):
            raise _BrokenBodyError("a page without an end")
        return page


def _listed(item: dict[str, Any]) -> ListedFile:
    return ListedFile(
        key=item["Key"],
        size_bytes=item["Size"],
        etag=item.get("ETag", "").strip('"') or None,
        modified_at_utc=iso_utc(item["LastModified"].astimezone(UTC)),
    )


def _attempts(location: SourceLocation) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(_BrokenBodyError),
        stop=stop_after_attempt(location.max_attempts),
        wait=wait_random_exponential(multiplier=0.2, max=20),
        reraise=True,
    )


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


def _status(error: Any) -> int | None:  # noqa: ANN401 - botocore has no types
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _client_fault(error: Any) -> FileFault:  # noqa: ANN401 - botocore has no types
    status = _status(error)
    reason = {
        403: Reason.ACCESS_DENIED,
        404: Reason.NOT_FOUND,
        412: Reason.CHANGED_SINCE_LISTING,
    }.get(status or 0, Reason.FETCH_FAILED)
    code = error.response.get("Error", {}).get("Code", "unknown")
    return FileFault(reason, f"HTTP {status}, {code}")
