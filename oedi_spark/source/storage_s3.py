"""The S3 half of the storage, through boto3: paged listings, whole objects, ranges of them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault, SourceListingError
from oedi_spark.source.storage_contract import (
    ListedFile,
    SourceLocation,
    iso_utc,
    require_checksum,
    say,
)
from oedi_spark.source.storage_s3_requests import (
    BrokenAnswerError,
    Limit,
    attempt,
    body_limit_s,
    describe_failure,
    s3_client,
    status_of,
)

TAIL_BYTES = 256 * 1024
"""What opening an object fetches: the whole footer of a narrow parquet file.

The footer of a metadata file of 1,300 columns is about 1.1 MB: one more request.
"""

_LEAST_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (?P<start>[0-9]+)-[0-9]+/(?P<size>[0-9]+)")


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
        self._client = s3_client(location)
        self._payer = {"RequestPayer": "requester"} if location.requester_pays else {}

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
        """As `Storage.read_file`: one GET, of exactly the version that was listed."""

        def read(limit: Limit) -> bytes:
            answer = self._get_once(wanted, etag, limit)
            require_checksum(answer.content, etag if answer.is_md5 else None)
            return answer.content

        wanted = self._wanted(key, etag)
        with self._faults():
            return attempt(self._location, read)

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """As `Storage.open_file`: ranged GETs of one version, beginning with the tail."""
        tail = self._get_range(key, etag, f"bytes=-{TAIL_BYTES}")
        if tail.start + len(tail.content) != tail.size_bytes:
            raise FileFault(Reason.FETCH_FAILED, "the end was asked for, another part answered")

        def read_range(start: int, stop: int) -> bytes:
            part = self._get_range(key, etag or tail.etag, f"bytes={start}-{stop - 1}")
            content = part.content[max(0, start - part.start) :][: stop - start]
            if part.start > start or len(content) < stop - start:
                raise FileFault(
                    Reason.FETCH_FAILED, f"{len(content)} of bytes {start} to {stop} answered"
                )
            return content

        return RangedFile(read_range, size_bytes=tail.size_bytes, tail=tail.content)

    def _get_range(self, key: str, etag: str | None, range_: str) -> _Answer:
        wanted = self._wanted(key, etag) | {"Range": range_}
        with self._faults():
            return attempt(self._location, lambda limit: self._get_once(wanted, etag, limit))

    def _wanted(self, key: str, etag: str | None) -> dict[str, str]:
        wanted = {"Bucket": self._bucket, "Key": key, **self._payer}
        return wanted | ({"IfMatch": f'"{etag}"'} if etag else {})

    def _get_once(self, wanted: dict[str, str], etag: str | None, limit: Limit) -> _Answer:
        """One object, or a range of it, of the version that was listed."""
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(**wanted)
        except ClientError as error:
            if "Range" in wanted and status_of(error) == 416:  # so is the tail of an empty object
                return _Answer(b"", start=0, size_bytes=0, etag=None, is_md5=False)
            raise
        content = self._read_body(answer, limit)
        # Who knows no ranges answers with the whole object, and says nothing of a range.
        ranged = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        if ranged is None and answer["ResponseMetadata"]["HTTPStatusCode"] == 206:
            raise BrokenAnswerError("a range that does not say which")
        found = _plain_etag(answer)
        if etag and found and found != etag:  # who does not know If-Match answers all the same
            raise FileFault(
                Reason.CHANGED_SINCE_LISTING, f"ETag {etag} listed, {found!r:.100} answered"
            )
        # What a key encrypts has an ETag that is not an MD5.
        by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        return _Answer(
            content=bytes(content),
            start=int(ranged["start"]) if ranged else 0,
            size_bytes=int(ranged["size"]) if ranged else len(content),
            etag=found,
            is_md5=not (by_kms or "SSECustomerAlgorithm" in answer),
        )

    def _read_body(self, answer: dict[str, Any], limit: Limit) -> bytes:
        from botocore.exceptions import BotoCoreError, FlexibleChecksumError

        limit_s = body_limit_s(self._location, answer.get("ContentLength") or 0)
        try:
            return limit.read(answer["Body"], limit_s)
        except FlexibleChecksumError as error:
            raise FileFault(Reason.CHECKSUM_MISMATCH, say(error)) from error
        except (BotoCoreError, OSError) as error:
            raise BrokenAnswerError(say(error)) from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the server or the way to it says of an object, as the reason why it was not read."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError, OSError, BrokenAnswerError) as error:
            raise describe_failure(error, self._location) from error

    def _pages(self, prefix: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
        """Every page of a prefix once, in order. An empty prefix is the root of the bucket.

        Not boto3's paginator: it cannot ask again for a page that it could not read, and to
        begin again would show the keys of the pages before twice.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        wanted = {
            "Bucket": self._bucket,
            "Prefix": f"{prefix}/" if prefix else "",
            "MaxKeys": self._location.listing_page_size,
            **self._payer,
        }
        wanted |= {"Delimiter": delimiter} if delimiter else {}
        place = f"s3://{self._bucket}/{wanted['Prefix']}"
        seen: set[str] = set()
        try:
            while True:
                page = attempt(self._location, lambda _: self._page(wanted))
                yield page
                if not page["IsTruncated"]:
                    return
                token = page["NextContinuationToken"]
                if token in seen:
                    raise SourceListingError(
                        prefix=place, cause=f"page {len(seen) + 1} leads to itself or one before"
                    )
                seen.add(token)
                wanted["ContinuationToken"] = token
        except (ClientError, BotoCoreError, OSError, BrokenAnswerError) as error:
            raise SourceListingError(
                prefix=place,
                cause=describe_failure(error, self._location).detail,
            ) from error

    def _page(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """One page, or `BrokenAnswerError`: it is garbled, or does not say whether it is the last.

        botocore takes an empty body for an empty page, which would lose what follows.
        """
        from botocore.parsers import ResponseParserError

        try:
            page: dict[str, Any] = self._client.list_objects_v2(**wanted)
        except (ResponseParserError, ValueError) as error:
            raise BrokenAnswerError(say(error)) from error
        if "IsTruncated" not in page or (
            page["IsTruncated"] and not page.get("NextContinuationToken")
        ):
            raise BrokenAnswerError("a page without an end")
        return page


def _plain_etag(described: dict[str, Any]) -> str | None:
    return described.get("ETag", "").removeprefix("W/").strip('"') or None


def _listed(item: dict[str, Any]) -> ListedFile:
    return ListedFile(
        key=item["Key"],
        size_bytes=item["Size"],
        etag=_plain_etag(item),
        modified_at_utc=iso_utc(item["LastModified"].astimezone(UTC)),
    )
