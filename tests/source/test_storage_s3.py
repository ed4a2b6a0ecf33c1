"""The bucket itself: against moto's S3, and against a server that misbehaves on purpose."""

from __future__ import annotations

import hashlib
import io
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault, SourceListingError
from oedi_spark.source.storage import ListedFile, S3Storage, SourceLocation
from oedi_spark.source.storage_s3 import RangedFile

BUCKET = "oedi-data-lake"
S3Client = Any
"""boto3 makes its clients at run time; they have no type."""
HELLO_MD5 = "5d41402abc4b2a76b9719d911017c592"

Answer = Callable[[BaseHTTPRequestHandler], None]


class StubServer:
    """Answers the n-th request with the n-th answer, and every later one with the last."""

    def __init__(self, *answers: Answer) -> None:
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stub.paths.append(self.path)
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


@pytest.fixture(autouse=True, scope="module")
def _one_loader() -> Iterator[None]:
    """Every client of this module reads botocore's service models from one loader, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


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


def test_list_tree_gives_every_file_below_and_no_folder(
    s3: S3Client, s3_location: SourceLocation
) -> None:
    for key in ("p/a/1", "p/a/b/2", "p/a/b/3", "p/4", "p/", "p/empty/", "p2/5"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    listed = list(S3Storage(s3_location).list_tree("p"))

    assert [each.key for each in listed] == ["p/4", "p/a/1", "p/a/b/2", "p/a/b/3"]
    assert {each.size_bytes for each in listed} == {1}


def _page(*keys: str, following: str | None = None) -> bytes:
    token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size>"
        "<LastModified>2025-11-01T00:00:00.000Z</LastModified></Contents>"
        for key in keys
    )
    more = "true" if following else "false"
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{more}</IsTruncated>{token}{contents}</ListBucketResult>"
    ).encode()


FIRST, LAST = _page("p/1", "p/2", following="tok"), _page("p/3")
BAD_PAGES = {
    "told to slow down": SLOW_DOWN,
    "body breaks off": _answer(200, LAST[:150], promised=len(LAST)),
    "half an XML": _answer(200, LAST[:150]),
    "no XML": _answer(200, b"\x00\xffhello"),
    "empty": _answer(200, b""),
    "another document": _answer(200, b"<Error><Code>InternalError</Code></Error>"),
    "a size that is none": _answer(200, LAST.replace(b"<Size>1", b"<Size>one")),
    "more to come, from nowhere": _answer(200, LAST.replace(b">false<", b">true<")),
}


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("bad", BAD_PAGES.values(), ids=BAD_PAGES.keys())
def test_a_page_that_cannot_be_read_is_asked_for_again(bad: Answer) -> None:
    with _stub(_answer(200, FIRST), bad, bad, _answer(200, LAST)) as server:
        listed = list(S3Storage(_location(server)).list_tree("p"))

    assert [each.key for each in listed] == ["p/1", "p/2", "p/3"]
    tokens = ["continuation-token=tok" in path for path in server.paths]
    assert tokens == [False, True, True, True]


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("bad", ["told to slow down", "body breaks off", "half an XML", "empty"])
def test_a_page_that_can_never_be_read_is_an_error(bad: str) -> None:
    with (
        _stub(_answer(200, FIRST), BAD_PAGES[bad]) as server,
        pytest.raises(SourceListingError) as caught,
    ):
        list(S3Storage(_location(server)).list_files("p"))

    assert caught.value.prefix == f"s3://{BUCKET}/p/"
    assert 4 <= len(server.paths) <= 10


@pytest.mark.usefixtures("_no_waiting")
def test_a_page_that_botocore_cannot_parse_is_asked_for_again(
    s3: S3Client, s3_location: SourceLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer versions of botocore take half an XML for a fault of the server, and ask again."""
    s3.put_object(Bucket=BUCKET, Key="p/1", Body=b"x")
    storage = S3Storage(s3_location)
    faults = [ResponseParserError("unable to parse")]
    ask = storage._client.list_objects_v2

    def parse(**wanted: object) -> object:
        if faults:
            raise faults.pop()
        return ask(**wanted)

    monkeypatch.setattr(storage._client, "list_objects_v2", parse)

    assert [each.key for each in storage.list_tree("p")] == ["p/1"]


def test_a_page_that_leads_to_itself_is_an_error() -> None:
    with (
        _stub(_answer(200, FIRST)) as server,
        pytest.raises(SourceListingError, match="leads to itself"),
    ):
        S3Storage(_location(server)).list_folders("p")

    assert len(server.paths) == 2


def _object(data: bytes) -> Answer:
    """An object that answers ranges, as S3 does."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(int(last) + 1, len(data)) if first else len(data)
        handler.send_response(206)
        handler.send_header("Content-Length", str(stop - start))
        handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        handler.wfile.write(data[start:stop])

    return answer


def _requested(server: StubServer) -> list[str]:
    return [each["range"] for each in server.headers]


def _wide_metadata(rows: int) -> tuple[bytes, int]:
    """A parquet file of 1,300 columns that does not shrink, and the size of its footer."""
    noise = np.random.default_rng(7)
    ids = pa.array(noise.permutation(10 * rows)[:rows])
    names = [f"out.electricity.some_end_use_{n}.energy_consumption..kwh" for n in range(1299)]
    table = pa.table({"bldg_id": ids} | {name: noise.random(rows) for name in names})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=rows // 5, use_dictionary=False)
    data = sink.getvalue().to_pybytes()
    return data, int.from_bytes(data[-8:-4], "little")


def test_open_file_reads_a_wide_footer_in_two_requests_and_one_column_in_one_each() -> None:
    data, footer_bytes = _wide_metadata(rows=500)
    assert 1_000_000 < footer_bytes < 2_000_000
    with _stub(_object(data)) as server:
        file = S3Storage(_location(server)).open_file("m.parquet", etag="v1")
        parquet = pq.ParquetFile(pa.PythonFile(file, mode="r"))
        assert parquet.metadata.num_columns == 1300
        tail_at, footer_at = len(data) - 256 * 1024, len(data) - 8 - footer_bytes
        assert _requested(server) == ["bytes=-262144", f"bytes={footer_at}-{tail_at - 1}"]

        ids = parquet.read(columns=["bldg_id"])["bldg_id"].to_pylist()

    assert ids == pq.read_table(pa.BufferReader(data), columns=["bldg_id"])["bldg_id"].to_pylist()
    assert len(server.headers) == 2 + 5
    assert {each["if-match"] for each in server.headers} == {'"v1"'}


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 256 * 1024, 256 * 1024 + 1, 1_000_000])
def test_open_file_reads_as_a_file_does(
    s3: S3Client, s3_location: SourceLocation, size: int
) -> None:
    data = np.random.default_rng(size).bytes(size)
    s3.put_object(Bucket=BUCKET, Key="m", Body=data)
    like = io.BytesIO(data)
    with S3Storage(s3_location).open_file("m", etag=hashlib.md5(data).hexdigest()) as file:
        for offset, count in ((0, 10), (size - 8, 8), (size // 2, 70_000), (7, 3), (size, 5)):
            assert file.seek(max(0, offset)) == like.seek(max(0, offset))
            assert file.read(count) == like.read(count)
            assert file.tell() == like.tell()
        assert file.seek(-min(size, 300_000), io.SEEK_END) == size - min(size, 300_000)
        assert file.read() == data[-300_000:]
        assert file.seek(0) == 0
        assert file.read() == data
        assert file.read(1) == b""


@given(
    size=st.integers(0, 900),
    tail=st.integers(1, 400),
    reads=st.lists(st.tuples(st.integers(0, 950), st.integers(-1, 950)), max_size=12),
)
def test_ranged_file_gives_any_part_whatever_was_read_before(
    size: int, tail: int, reads: list[tuple[int, int]]
) -> None:
    data = bytes(number % 251 for number in range(size))
    like = io.BytesIO(data)
    file = RangedFile(lambda a, b: data[a:b], size_bytes=size, tail=data[-tail:])

    for offset, count in reads:
        assert file.seek(offset) == like.seek(offset)
        assert file.read(count) == like.read(count)
        assert file.tell() == like.tell()


@pytest.mark.usefixtures("_no_waiting")
def test_open_file_whose_range_breaks_off_is_read_again() -> None:
    data = bytes(range(256)) * 2048
    short = _answer(206, b"hel", promised=5)
    with _stub(_object(data), short, SLOW_DOWN, _object(data)) as server:
        file = S3Storage(_location(server)).open_file("m", etag=None)
        assert file.read(8) == bytes(range(8))

    assert len(server.headers) == 4
    assert server.headers[-1]["if-match"] == '"v1"'


def _open_and_read(location: SourceLocation) -> None:
    """Through pyarrow, which hands on what a Python file raises."""
    with S3Storage(location).open_file("m", etag="v1") as file:
        pa.PythonFile(file, mode="r").read(10)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DENIED, Reason.ACCESS_DENIED),
        (_answer(404, b"<Error><Code>NoSuchKey</Code></Error>"), Reason.NOT_FOUND),
        (_answer(412), Reason.CHANGED_SINCE_LISTING),
        (SLOW_DOWN, Reason.FETCH_FAILED),
        (BROKEN, Reason.FETCH_FAILED),
        (_answer(206, b"hello"), Reason.FETCH_FAILED),
    ],
)
@pytest.mark.parametrize("is_open", [False, True])
def test_open_file_gives_the_reason_when_opening_and_when_reading(
    answer: Answer, reason: Reason, is_open: bool
) -> None:
    data = bytes(300_000)
    before = [_object(data)] if is_open else []
    with _stub(*before, answer) as server, pytest.raises(FileFault) as caught:
        _open_and_read(_location(server))

    assert caught.value.reason is reason
    assert len(server.headers) <= 4


def test_open_file_takes_the_whole_object_from_who_knows_no_ranges() -> None:
    with _stub(HELLO) as server:
        file = S3Storage(_location(server)).open_file("m", etag=None)
        file.seek(1)
        assert file.read(3) == b"ell"


@pytest.mark.parametrize("ranged", ["bytes 10-299999/300000", "bytes 0-3/300000"])
def test_open_file_does_not_take_another_part_for_the_one_asked_for(ranged: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        first, last = map(int, ranged.split(" ")[1].split("/", maxsplit=1)[0].split("-"))
        handler.send_response(206)
        handler.send_header("Content-Length", str(last - first + 1))
        handler.send_header("Content-Range", ranged)
        handler.end_headers()
        handler.wfile.write(bytes(last - first + 1))

    with _stub(_object(bytes(300_000)), answer) as server:
        file = S3Storage(_location(server)).open_file("m", etag=None)
        with pytest.raises(FileFault) as caught:
            file.read(8)

    assert caught.value.reason is Reason.FETCH_FAILED


def test_open_file_does_not_take_another_part_for_the_end() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Length", "5")
        handler.send_header("Content-Range", "bytes 0-4/900000")
        handler.end_headers()
        handler.wfile.write(b"hello")

    with _stub(answer) as server, pytest.raises(FileFault, match="another part"):
        S3Storage(_location(server)).open_file("m", etag=None)


def test_open_file_of_an_empty_object_is_an_empty_file() -> None:
    """S3 answers 416 to a request for the end of what has none."""
    with _stub(_answer(416, b"<Error><Code>InvalidRange</Code></Error>")) as server:
        file = S3Storage(_location(server)).open_file("m", etag=None)

        assert (file.read(), file.seek(0, io.SEEK_END)) == (b"", 0)
