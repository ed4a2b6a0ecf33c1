"""How S3 is reached for output: a value that travels, and whole objects read and written by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from oedi_spark.contracts import Reason
from oedi_spark.errors import ConfigError, FileFault, SourceListingError
from oedi_spark.source.storage import S3Storage
from oedi_spark.source.storage_contract import SourceLocation
from oedi_spark.source.storage_s3_requests import (
    BrokenAnswerError,
    attempt,
    describe_failure,
    s3_client,
)

_Client = Any  # boto3 has no types


@dataclass(frozen=True)
class S3Access:
    """How S3 is reached for output; small, hashable, sent to every task. Always signed.

    It holds no credentials: each process finds its own (role, profile or environment).
    """

    endpoint_url: str | None = None
    region: str | None = None
    path_style: bool = False
    sse: str | None = None
    """`AES256`, `aws:kms`, or None, which leaves encryption to the bucket."""
    kms_key_id: str | None = None
    connect_timeout_s: float = 10.0
    request_timeout_s: float = 60.0
    max_attempts: int = 5

    def bucket(self, name: str) -> SourceLocation:
        """One bucket, as the storage of the source takes it."""
        return SourceLocation(
            root=name,
            is_local=False,
            endpoint_url=self.endpoint_url,
            region=self.region,
            path_style=self.path_style,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.request_timeout_s,
            max_attempts=self.max_attempts,
        )

    @property
    def encryption(self) -> dict[str, str]:
        """What each write asks S3 for, as boto3 takes it."""
        if self.sse is None:
            return {}
        key = {"SSEKMSKeyId": self.kms_key_id} if self.kms_key_id else {}
        return {"ServerSideEncryption": self.sse, **key}


AMBIENT = S3Access()
"""S3 as the environment says."""


def read_object(path: str, access: S3Access) -> bytes:
    """One version of an object, whole, by one request.

    Raises:
        FileNotFoundError: It is not there.
        PermissionError: It may not be read.
        OSError: It could not be read, within all attempts.
    """
    bucket, key = split_path(path)
    with as_os_error(path, access):
        return storage(access, bucket).read_file(key, etag=None)


def write_object(path: str, data: bytes, access: S3Access) -> None:
    """Put an object, whole: who reads it meanwhile reads the one before.

    Raises:
        PermissionError: It may not be written.
        OSError: It could not be written, within all attempts.
    """
    bucket, key = split_path(path)
    put, location = client(access).put_object, access.bucket(bucket)
    with as_os_error(path, access):
        attempt(
            location,
            lambda _: put(Bucket=bucket, Key=key, Body=data, **access.encryption),
        )


@cache
def client(access: S3Access) -> _Client:
    """The boto3 client that writes; one per process."""
    with as_os_error("S3", access):
        return s3_client(access.bucket("output_dir"))


@cache
def storage(access: S3Access, bucket: str) -> S3Storage:
    """What reads and lists a bucket; one per process."""
    return S3Storage(access.bucket(bucket))


def split_path(path: str) -> tuple[str, str]:
    """Bucket and key."""
    bucket, _, key = path.partition("/")
    return bucket, key


@contextmanager
def as_os_error(path: str, access: S3Access) -> Iterator[None]:
    """What S3, or the way to it, says, as the error that a file system would raise."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError as error:
        raise OSError(f"s3://{path}: S3 needs the extra `aws` ({error})") from error
    try:
        yield
        return
    except FileFault as known:
        fault, cause = known, known.__cause__ or known
    except SourceListingError as known:
        raise OSError(f"{known.prefix} cannot be listed: {_ours(known.cause)}") from known
    except (ClientError, BotoCoreError, BrokenAnswerError) as error:
        fault, cause = describe_failure(error, access.bucket(path)), error
    except ConfigError as error:
        raise OSError(str(error)) from error
    kind = {Reason.NOT_FOUND: FileNotFoundError, Reason.ACCESS_DENIED: PermissionError}
    raise kind.get(fault.reason, OSError)(f"s3://{path}: {_ours(fault.detail)}") from cause


def _ours(hint: str) -> str:
    """A hint that was written for the source, with the keys of the output."""
    hint = hint.replace("source.endpoint_url", "catalog.s3_endpoint_url")
    return hint.replace("source.region", "catalog.region")
