"""The bucket itself: against moto's S3, and against a server that misbehaves on purpose."""

from __future__ import annotations

import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault, SourceListingError
from oedi_spark.source.storage import ListedFile, S3Storage, SourceLocation

BUCKET = "oedi-data-lake"
S3Client = Any
"""boto3 makes its clients at run time; they have no type."""
HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"

Answer = Callable[[BaseHTTPRequestHandler], None]


class StubServer:
    """Answers the n-th request with the n-th answer, and every later one with the last."""

    def __init__(self, *answers: Answer) -> None:
        self.headers: list[dict[str, str]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stub.headers.append({key.lower(): value for key, value in self.headers.items()})
                answers[min(len(stub.headers), len(answers)) - 1](self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is part of the play."""

        self._server: socketserver.TCPServer = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def _stub(*answers: Answer) -> Iterator[StubServer]:
    server = StubServer(*answers)
    try:
        yield server
    finally:
        server.stop()


def _answer(status: int, body: bytes = b"", *, promised: int | None = None) -> Answer:
    """An answer whose body may be shorter than it says."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if promised is None else promised))
        if promised is not None:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        handler.wfile.write(body)

    return answer


HELLO = _answer(200, b"hello")
BROKEN = _answer(200, b"hel", promised=5)
SLOW_DOWN = _answer(503, b"<Error><Code>SlowDown</Code></Error>")
DENIED = _answer(403, b"<Error><Code>AccessDenied</Code></Error>")


def _location(server: StubServer, *, max_attempts: int = 3) -> SourceLocation:
    return SourceLocation(
        root=BUCKET,
        is_local=False,
        anonymous=True,
        endpoint_url=server.url,
        region="us-west-2",
        path_style=True,
        connect_timeout_s=2,
        read_timeout_s=0.3,
        max_attempts=max_attempts,
    )


def _fault(storage: S3Storage, key: str = "1-0.parquet", etag: str | None = None) -> FileFault:
    with pytest.raises(FileFault) as caught:
        storage.read_file(key, etag=etag)
    return caught.value


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between attempts takes no time; what the server does still does."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _no_delay)
    monkeypatch.setattr("tenacity.wait.wait_random_exponential.__call__", _no_delay)


def _no_delay(*_: object) -> float:
    return 0.0


def test_list_files_pages_through_and_gives_every_key_once(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    for number in range(7):
        s3.put_object(Bucket=BUCKET, Key=f"p/{number}-0.parquet", Body=b"x" * number)
    s3.put_object(Bucket=BUCKET, Key="p/deeper/8-0.parquet", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="p2/9-0.parquet", Body=b"")

    listed = list(S3Storage(s3_location).list_files("p"))

    assert sorted((each.key, each.size_bytes) for each in listed) == [
        ("p/0-0.parquet", 0),
        ("p/1-0.parquet", 1),
        ("p/2-0.parquet", 2),
        ("p/3-0.parquet", 3),
        ("p/4-0.parquet", 4),
        ("p/5-0.parquet", 5),
        ("p/6-0.parquet", 6),
        ("p/deeper/", 0),
    ]


def test_list_files_keeps_the_etag_without_quotes(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    s3.put_object(Bucket=BUCKET, Key="p/1-0.parquet", Body=b"hello")

    (listed,) = S3Storage(s3_location).list_files("p")

    assert listed == ListedFile(
        "p/1-0.parquet", 5, HELLO_MD5, listed.modified_at_utc, is_inside=True
    )
    age_s = time.time() - time.mktime(time.strptime(listed.modified_at_utc, "%Y-%m-%dT%H:%M:%SZ"))
    assert abs(age_s + time.timezone) < 120


def test_list_folders_gives_the_names_of_all_pages(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    for state in ("AK", "CO", "DC", "GA", "TX"):
        s3.put_object(Bucket=BUCKET, Key=f"p/state={state}/1-0.parquet", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="p/notes.txt", Body=b"")

    found = S3Storage(s3_location).list_folders("p")

    assert found == ["state=AK", "state=CO", "state=DC", "state=GA", "state=TX"]


def test_listing_what_is_not_there_is_empty(s3: S3Client, s3_location: SourceLocation) -> None:
    storage = S3Storage(s3_location)

    assert list(storage.list_files("nowhere")) == []
    assert storage.list_folders("nowhere") == []


def test_listing_a_missing_bucket_is_an_error(s3_location: SourceLocation) -> None:
    storage = S3Storage(replace(s3_location, root="no-such-bucket"))

    with pytest.raises(SourceListingError, match="NoSuchBucket") as caught:
        list(storage.list_files("p"))

    assert caught.value.prefix == "s3://no-such-bucket/p/"


def test_read_file_gives_the_version_that_was_listed(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    s3.put_object(Bucket=BUCKET, Key="p/1-0.parquet", Body=b"hello")
    storage = S3Storage(s3_location)

    assert storage.read_file("p/1-0.parquet", etag=HELLO_MD5) == b"hello"
    assert storage.read_file("p/1-0.parquet", etag=None) == b"hello"


def test_read_file_that_changed_says_so(s3: S3Client, s3_location: SourceLocation) -> None:
    s3.put_object(Bucket=BUCKET, Key="p/1-0.parquet", Body=b"hello")
    s3.put_object(Bucket=BUCKET, Key="p/1-0.parquet", Body=b"world")

    fault = _fault(S3Storage(s3_location), "p/1-0.parquet", HELLO_MD5)

    assert fault.reason is Reason.CHANGED_SINCE_LISTING
    assert fault.detail == "HTTP 412, PreconditionFailed"


def test_read_file_that_is_gone_is_not_found(s3: S3Client, s3_location: SourceLocation) -> None:
    fault = _fault(S3Storage(s3_location), "p/1-0.parquet", HELLO_MD5)

    assert fault.reason is Reason.NOT_FOUND
    assert fault.detail == "HTTP 404, NoSuchKey"


def test_read_file_anonymously_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    with _stub(HELLO) as server:
        S3Storage(_location(server)).read_file("1-0.parquet", etag=HELLO_MD5)
        signed = replace(_location(server), anonymous=False)
        S3Storage(signed).read_file("1-0.parquet", etag=None)

    anonymous, named = server.headers
    assert "authorization" not in anonymous
    assert not [name for name in anonymous if "token" in name or "credential" in name]
    assert anonymous["if-match"] == f'"{HELLO_MD5}"'
    assert "AKIAEXAMPLE" in named["authorization"]


def test_read_file_denied_says_so_at_once() -> None:
    with _stub(DENIED) as server:
        fault = _fault(S3Storage(_location(server)))

    assert fault.reason is Reason.ACCESS_DENIED
    assert fault.detail == "HTTP 403, AccessDenied"
    assert len(server.headers) == 1


def test_list_files_denied_is_an_error() -> None:
    with _stub(DENIED) as server, pytest.raises(SourceListingError, match="AccessDenied"):
        list(S3Storage(_location(server)).list_files("p"))


@pytest.mark.usefixtures("_no_waiting")
def test_read_file_asks_again_when_told_to_slow_down() -> None:
    with _stub(SLOW_DOWN, SLOW_DOWN, HELLO) as server:
        assert S3Storage(_location(server)).read_file("1-0.parquet", etag=None) == b"hello"

    assert len(server.headers) == 3


@pytest.mark.usefixtures("_no_waiting")
def test_read_file_gives_up_when_it_is_always_told_to_slow_down() -> None:
    with _stub(SLOW_DOWN) as server:
        fault = _fault(S3Storage(_location(server)))

    assert fault.reason is Reason.FETCH_FAILED
    assert fault.detail == "HTTP 503, SlowDown"
    assert len(server.headers) == 3


@pytest.mark.usefixtures("_no_waiting")
def test_read_file_whose_body_breaks_off_is_read_again() -> None:
    with _stub(BROKEN, BROKEN, HELLO) as server:
        assert S3Storage(_location(server)).read_file("1-0.parquet", etag=None) == b"hello"

    assert len(server.headers) == 3


@pytest.mark.usefixtures("_no_waiting")
def test_read_file_whose_body_always_breaks_off_has_failed() -> None:
    with _stub(BROKEN) as server:
        fault = _fault(S3Storage(_location(server)))

    assert fault.reason is Reason.FETCH_FAILED
    assert fault.detail.startswith("3 attempts: ")
    assert len(server.headers) == 3


@pytest.mark.usefixtures("_no_waiting")
def test_read_file_that_ends_early_without_a_word_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Older versions of urllib3 do not notice a short body; botocore counts it."""
    from botocore.exceptions import IncompleteReadError
    from botocore.response import StreamingBody

    bodies = iter([b"hel"])
    whole_read = StreamingBody.read

    def read(self: StreamingBody, amt: int | None = None) -> bytes:
        for short in bodies:
            raise IncompleteReadError(actual_bytes=len(short), expected_bytes=5)
        content: bytes = whole_read(self, amt)
        return content

    monkeypatch.setattr(StreamingBody, "read", read)
    with _stub(HELLO) as server:
        assert S3Storage(_location(server)).read_file("1-0.parquet", etag=None) == b"hello"


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("sends_headers", [False, True])
def test_read_file_from_a_server_that_stalls_takes_attempts_times_timeout(
    sends_headers: bool,
) -> None:
    released = Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        if sends_headers:
            _answer(200, b"hel", promised=5)(handler)
            handler.wfile.flush()
        released.wait(20)

    with _stub(stall) as server:
        started = time.monotonic()
        fault = _fault(S3Storage(_location(server, max_attempts=3)))
        took_s = time.monotonic() - started
        released.set()

    assert fault.reason is Reason.FETCH_FAILED
    assert len(server.headers) == 3
    assert 0.9 <= took_s < 3


def test_read_file_from_a_closed_port_has_failed() -> None:
    with _stub(HELLO) as server:
        location = _location(server, max_attempts=1)

    fault = _fault(S3Storage(location))

    assert fault.reason is Reason.FETCH_FAILED
    assert "EndpointConnectionError" in fault.detail


def test_listing_error_from_a_server_is_one_plain_line() -> None:
    hostile = _answer(403, b"<Error><Code>No&#10;\x1b[2J</Code></Error>")

    with _stub(hostile) as server, pytest.raises(SourceListingError) as caught:
        list(S3Storage(_location(server)).list_files("p"))

    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
