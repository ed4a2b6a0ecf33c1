"""Requests to S3: the client, a limit to each wait, bounded attempts, and what a failure means.

botocore's own retries are off. They stop for all files of a process once a hundred requests have
failed, begin anew whenever a body breaks off, and have no limit for a server that sends a byte now
and then; here an attempt is one request, and has one limit from its beginning to its last byte.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from oedi_spark.contracts import Reason
from oedi_spark.errors import ConfigError, FileFault
from oedi_spark.source.storage_contract import SourceLocation, say

LEAST_BYTES_PER_S = 16 * 1024
"""A body that comes more slowly is given up, and asked for again.

Low, for a laptop whose line of 5 Mbit/s is shared by 32 fetches.
"""

LONGEST_PAUSE_S = 20.0

_Result = TypeVar("_Result")
_PLAIN_CODE = re.compile(r"[A-Za-z0-9.]{1,80}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")

_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes that may be gone at the next attempt, whatever their status."""

_REASONS = {
    403: Reason.ACCESS_DENIED,
    404: Reason.NOT_FOUND,
    412: Reason.CHANGED_SINCE_LISTING,
}
_REASONS_OF_CODES = {
    "ExpiredToken": Reason.ACCESS_DENIED,
    "ExpiredTokenException": Reason.ACCESS_DENIED,
    "InvalidToken": Reason.ACCESS_DENIED,
    "TokenRefreshRequired": Reason.ACCESS_DENIED,
    "RequestTimeTooSkewed": Reason.FETCH_FAILED,
}
_HINTS = {
    "AuthorizationHeaderMalformed": "set source.region to the bucket's",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "InvalidAccessKeyId": "the credentials are of no account",
    "InvalidObjectState": "the object is archived",
    "InvalidToken": "the session token is of other credentials",
    "PermanentRedirect": "set source.region to the bucket's",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is another one's",
    "TokenRefreshRequired": "the credentials have expired",
}


class BrokenAnswerError(Exception):
    """An answer began well, and broke off, was garbled, or did not come to an end in time."""


class Limit:
    """Until when an attempt may take. It grows once it is known how much there is to read."""

    def __init__(self, seconds: float) -> None:
        self._lock = Lock()
        self._ends_at = time.monotonic() + seconds
        self._body: Any = None
        self._is_over = False

    def read(self, body: Any, seconds: float) -> bytes:  # noqa: ANN401 - botocore has no types
        """A body to its end, from now on within `seconds`."""
        with self._lock:
            self._ends_at = time.monotonic() + seconds
            self._body = body
            if self._is_over:
                self._hang_up()
        content: bytes = body.read()
        return content

    def end_when_over(self) -> bool:
        """Whether the time is over; then what is still being read ends with the next byte."""
        with self._lock:
            self._is_over = self.left_s() <= 0
            if self._is_over:
                self._hang_up()
            return self._is_over

    def left_s(self) -> float:
        """Seconds that are left."""
        return self._ends_at - time.monotonic()

    def _hang_up(self) -> None:
        if self._body is not None:
            with suppress(AttributeError, OSError, ValueError):  # it has come to its end
                self._body.set_socket_timeout(0.001)


def within(seconds: float, work: Callable[[Limit], _Result]) -> _Result:
    """Do work in a thread of its own, and go on without it when its time is over.

    The limits of a socket are per wait: a server that sends one byte before each is over can
    hold a reader for ever.

    Raises:
        BrokenAnswerError: The time is over.
    """
    limit, outcome = Limit(seconds), Future[_Result]()

    def run() -> None:
        try:
            outcome.set_result(work(limit))
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            outcome.set_exception(error)

    # A daemon: an answer that never ends does not keep the process from ending.
    Thread(target=run, name="s3-request", daemon=True).start()
    while not outcome.done():
        wait([outcome], timeout=max(0.0, limit.left_s()))
        if not outcome.done() and limit.end_when_over():
            raise BrokenAnswerError("no end in time: the server sends too slowly")
    return outcome.result()


def attempt(location: SourceLocation, work: Callable[[Limit], _Result]) -> _Result:
    """Do work until it succeeds, fails for good, or has failed `max_attempts` times.

    Each attempt may take as long as the connection and the wait for an answer may; a body more.
    """
    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(location.max_attempts),
        wait=wait_random_exponential(multiplier=1, max=LONGEST_PAUSE_S),
        reraise=True,
    )
    limit_s = location.connect_timeout_s + location.read_timeout_s
    result: _Result = retrying(within, limit_s, work)
    return result


def body_limit_s(location: SourceLocation, size_bytes: int) -> float:
    """How long a body of so many bytes may take."""
    return location.read_timeout_s + size_bytes / LEAST_BYTES_PER_S


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed."""
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        CredentialRetrievalError,
        HTTPClientError,
    )

    if isinstance(error, ClientError):
        return status_of(error) in _PASSING_STATUS or _code(error) in _PASSING_CODES
    if isinstance(error, FileFault):  # damaged on the way, perhaps
        return error.reason is Reason.CHECKSUM_MISMATCH
    passing = (BrokenAnswerError, ConnectionError, CredentialRetrievalError, HTTPClientError)
    return isinstance(error, passing)


def describe_failure(error: Exception, location: SourceLocation) -> FileFault:
    """What the server, or the way to it, said of a request, as the reason of a file.

    Of what the server wrote only its code is told, and only if it is a plain word: the rest of
    an answer may repeat the request, and so its signature.
    """
    from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError

    if isinstance(error, ClientError):
        code = _code(error)
        by_status = _REASONS.get(status_of(error) or 0, Reason.FETCH_FAILED)
        hint = _region_hint(error) or _HINTS.get(code)
        return FileFault(
            _REASONS_OF_CODES.get(code, by_status),
            f"HTTP {status_of(error)}, {code}" + (f": {hint}" if hint else ""),
        )
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        # What a provider prints when it fails may hold anything.
        return FileFault(Reason.ACCESS_DENIED, f"{type(error).__name__}: no usable credentials")
    attempts = f"{location.max_attempts} attempts: " if _may_pass(error) else ""
    return FileFault(Reason.FETCH_FAILED, f"{attempts}{say(error)}")


def status_of(error: Any) -> int | None:  # noqa: ANN401 - botocore has no types
    """The HTTP status of a `ClientError`."""
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _code(error: Any) -> str:  # noqa: ANN401 - botocore has no types
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    return code if _PLAIN_CODE.fullmatch(code) else "unknown"


def _region_hint(error: Any) -> str | None:  # noqa: ANN401 - botocore has no types
    """Where a bucket is that is not where it was asked for."""
    if status_of(error) not in (301, 307):
        return None
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(headers.get("x-amz-bucket-region", ""))
    if _REGION.fullmatch(region):
        return f"the bucket is in region {region}; set source.region"
    return "the bucket is elsewhere; set source.region or source.endpoint_url"


def s3_client(location: SourceLocation) -> Any:  # noqa: ANN401 - boto3 clients have no type
    """A boto3 client; anonymous, it looks for no credentials.

    Raises:
        ConfigError: boto3 is missing, or the AWS settings of this machine are faulty.
    """
    try:
        import boto3
    except ImportError as error:
        raise ConfigError(
            "src_bucket", [f"{location}: S3 needs the extra `aws` ({error})"]
        ) from error
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session

    config = Config(
        signature_version=UNSIGNED if location.anonymous else None,
        connect_timeout=location.connect_timeout_s,
        read_timeout=location.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
        defaults_mode="legacy",  # `auto` in the environment asks the machine for its region
        max_pool_connections=32,
        s3={"addressing_style": "path"} if location.path_style else {},
    )
    try:
        session = get_session()
        parsers = session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=_parse_time)
        return boto3.session.Session(botocore_session=session).client(
            "s3", endpoint_url=location.endpoint_url, region_name=location.region, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError("source", [f"{location}: {say(error)}"]) from error


def _parse_time(written: str) -> datetime:
    """A moment as listings write it, at a fortieth of what botocore's parser takes for any form.

    That parser is more than half of what a page costs.
    """
    from botocore.utils import parse_timestamp

    try:
        moment = datetime.fromisoformat(written)
    except (TypeError, ValueError):  # headers write dates in words
        parsed: datetime = parse_timestamp(written)
        return parsed
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
