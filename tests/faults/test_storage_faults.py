"""One request at a time: how long it may take, what is asked again, and what a refusal means."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from oedi_spark.contracts import Reason
from oedi_spark.errors import ConfigError, FileFault, SourceListingError
from oedi_spark.source.storage import ListedFile, S3Storage, SourceLocation
from tests.faults.proxy import (
    FaultProxy,
    Rule,
    Spoil,
    drip,
    expire,
    redirect,
    repeat_request,
    skew,
    slow_down,
    stall_before,
    stall_inside,
)
from tests.faults.server import client

BUCKET = "small"
BODY = b"hello" * 2000
ETAG = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def location(s3_url: str, proxy: FaultProxy) -> SourceLocation:
    """A bucket of one object, behind the proxy; a wait of 0.6 s is too long."""
    s3 = client(s3_url)
    s3.create_bucket(Bucket=BUCKET, ACL="public-read")
    s3.put_object(Bucket=BUCKET, Key="p/1", Body=BODY, ACL="public-read")
    s3.close()
    return SourceLocation(
        root=BUCKET,
        is_local=False,
        anonymous=True,
        endpoint_url=proxy.url,
        path_style=True,
        connect_timeout_s=0.5,
        read_timeout_s=0.6,
        max_attempts=2,
    )


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between attempts takes no time."""
    monkeypatch.setattr("tenacity.wait.wait_random_exponential.__call__", lambda *_: 0.0)


def _read(storage: S3Storage) -> bytes:
    return storage.read_file("p/1", etag=ETAG)


def _read_part(storage: S3Storage) -> bytes:
    with storage.open_file("p/1", etag=ETAG) as file:
        return file.read()


def _list(storage: S3Storage) -> list[ListedFile]:
    return list(storage.list_files("p"))


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("spoil", [stall_before, stall_inside, drip])
@pytest.mark.parametrize("ask", [_read, _read_part, _list])
def test_every_wait_has_a_limit(
    location: SourceLocation, proxy: FaultProxy, ask: Callable[..., object], spoil: Spoil
) -> None:
    storage = S3Storage(location)
    proxy.rules += [Rule("p/1", spoil), Rule("p/", spoil, listing=True)]

    started = time.monotonic()
    with pytest.raises((FileFault, SourceListingError)) as caught:
        ask(storage)

    # Twice: connect, wait for an answer, a body of 10 kB at 16 KiB/s with a wait of its own.
    assert time.monotonic() - started < 2 * (0.5 + 0.6 + 0.6 + 0.61) + 5
    assert "2 attempts: " in str(caught.value)
    assert len(proxy.requests) == 2


@pytest.mark.timeout(30)
def test_an_answer_that_was_given_up_is_hung_up_on(
    location: SourceLocation, proxy: FaultProxy
) -> None:
    proxy.rules += [Rule("p/1", drip)]

    with pytest.raises(FileFault, match="too slowly"):
        _read(S3Storage(replace(location, max_attempts=1)))

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _request_threads():
        time.sleep(0.05)
    assert _request_threads() == []


def _request_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "s3-request"]


@pytest.mark.usefixtures("_no_waiting")
def test_a_long_burst_of_slow_down_fails_no_file(
    location: SourceLocation, proxy: FaultProxy
) -> None:
    """Botocore's own retries stop for the whole process after about a hundred of them."""
    storage = S3Storage(replace(location, max_attempts=4, read_timeout_s=10))
    for _ in range(55):
        proxy.rules = [Rule("p/1", slow_down, count=3)]
        assert _read(storage) == BODY

    assert len(proxy.requests) == 220


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(
    ("spoil", "requests", "reason", "detail"),
    [
        (
            expire,
            1,
            Reason.ACCESS_DENIED,
            "HTTP 400, ExpiredToken: the credentials have expired",
        ),
        (
            skew,
            2,
            Reason.FETCH_FAILED,
            "HTTP 403, RequestTimeTooSkewed: the clock of this machine is wrong",
        ),
        (
            redirect,
            2,  # botocore follows once, to the region that was named
            Reason.FETCH_FAILED,
            "HTTP 301, PermanentRedirect: the bucket is in region eu-west-1; set source.region",
        ),
        (repeat_request, 1, Reason.ACCESS_DENIED, "HTTP 403, unknown"),
    ],
)
def test_a_refusal_says_what_to_do(
    location: SourceLocation,
    proxy: FaultProxy,
    spoil: Spoil,
    requests: int,
    reason: Reason,
    detail: str,
) -> None:
    storage = S3Storage(location)
    proxy.rules += [Rule("p/1", spoil), Rule("p/", spoil, listing=True)]

    with pytest.raises(FileFault) as caught:
        _read(storage)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)
    assert len(proxy.requests) == requests
    with pytest.raises(SourceListingError) as listing:
        _list(storage)
    assert listing.value.cause == detail


def test_keys_with_signs_are_listed_and_read_as_they_are(
    location: SourceLocation, s3_url: str
) -> None:
    keys = ["p/a b+c%20d/é ü&=?#.txt", "p/~(1)'!*;:@,$.txt", "p/%2F.txt"]
    s3 = client(s3_url)
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), ACL="public-read")
    storage = S3Storage(replace(location, listing_page_size=1, read_timeout_s=10))

    listed = [each.key for each in storage.list_tree("p")]

    assert sorted(listed) == sorted([*keys, "p/1"])
    assert [storage.read_file(key, etag=None).decode() for key in keys] == keys
    for key in keys:
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.close()


def test_reading_names_who_pays(location: SourceLocation, proxy: FaultProxy) -> None:
    storage = S3Storage(replace(location, requester_pays=True, read_timeout_s=10))

    _read(storage)
    _read_part(storage)

    assert [each.headers["x-amz-request-payer"] for each in proxy.requests] == ["requester"] * 2


def test_a_profile_that_is_not_there_is_a_fault_of_the_config(
    location: SourceLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(ConfigError, match="nobody"):
        S3Storage(replace(location, anonymous=False))


def test_without_credentials_a_signed_source_is_denied_at_once(
    location: SourceLocation, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")

    with pytest.raises(FileFault) as caught:
        _read(S3Storage(replace(location, anonymous=False)))

    assert caught.value.reason is Reason.ACCESS_DENIED
    assert caught.value.detail == "NoCredentialsError: no usable credentials"
    assert proxy.requests == []
