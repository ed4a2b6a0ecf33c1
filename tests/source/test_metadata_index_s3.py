"""Every county of a state from a bucket that does not answer every page at the first time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from oedi_spark.errors import SourceListingError
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_index import MetadataSelection, index_metadata
from oedi_spark.source.storage import SourceLocation

BUCKET = "oedi-data-lake"
S3Client = Any
"""boto3 makes its clients at run time; they have no type."""
COM25 = ReleaseFolder("2025", "comstock_amy2018_release_3")
TREE = (
    "base/2025/comstock_amy2018_release_3/metadata_and_annual_results/by_state_and_county/"
    "full/parquet/state=TX"
)
COUNTIES = [f"G48{number:04d}0" for number in range(1, 509, 2)]
KEYS = [f"{TREE}/county={county}/TX_{county}_upgrade0.parquet" for county in COUNTIES]

Body = Callable[[bytes], tuple[str, bytes, int]]
"""What becomes of a good answer: status, body, and the length that the header promises."""


def _slow_down(body: bytes) -> tuple[str, bytes, int]:
    error = b"<Error><Code>SlowDown</Code></Error>"
    return "503 Slow Down", error, len(error)


def _break_off(body: bytes) -> tuple[str, bytes, int]:
    return "200 OK", body[: len(body) // 2], len(body)


def _garble(body: bytes) -> tuple[str, bytes, int]:
    return "200 OK", body[: len(body) // 2], len(body) // 2


def _empty(body: bytes) -> tuple[str, bytes, int]:
    return "200 OK", b"", 0


class FlakyServer:
    """moto's S3, which spoils the n-th page of a listing at the first time, or always."""

    def __init__(self, spoils: dict[int, Body], *, always: bool = False) -> None:
        self.tokens: list[str] = []
        """The continuation token of each page as it was asked for."""
        self._spoils, self._always = spoils, always
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:  # noqa: ANN401 - WSGI
        asked = parse_qs(environ["QUERY_STRING"])
        is_full = "/full/" in asked["prefix"][0]
        token = asked.get("continuation-token", [""])[0]
        is_new = token not in self.tokens
        if is_full:
            self.tokens.append(token)
        page = len(set(self.tokens))
        body = b"".join(self._moto(environ, lambda *_: None))
        status, length = "200 OK", len(body)
        if is_full and page in self._spoils and (is_new or self._always):
            status, body, length = self._spoils[page](body)
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(length))]
        start_response(status, headers)
        return [body]

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _put(s3: S3Client, keys: list[str]) -> None:
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off between attempts takes no time."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _no_delay)
    monkeypatch.setattr("tenacity.wait.wait_random_exponential.__call__", _no_delay)


def _no_delay(*_: object) -> float:
    return 0.0


@pytest.fixture
def flaky() -> Iterator[Callable[..., FlakyServer]]:
    """Makes servers, and ends them."""
    servers = []

    def make(spoils: dict[int, Body], *, always: bool = False) -> FlakyServer:
        servers.append(FlakyServer(spoils, always=always))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def _every_county(location: SourceLocation) -> list[str]:
    selection = MetadataSelection(COM25, ("TX",), None, version=2, counties=("*",))
    index = index_metadata(location, [selection], base="base", workers=4)
    return [file.key for file in index.files]


@pytest.mark.usefixtures("_no_waiting")
def test_every_county_of_many_pages_comes_exactly_once_though_pages_fail(
    s3: S3Client, s3_location: SourceLocation, flaky: Callable[..., FlakyServer]
) -> None:
    _put(s3, KEYS)
    spoils = {1: _slow_down, 3: _slow_down, 5: _break_off, 6: _garble, 8: _empty, 11: _break_off}
    server = flaky(spoils)
    location = replace(s3_location, endpoint_url=server.url, listing_page_size=25)

    found = _every_county(location)

    assert len(COUNTIES) == 254
    assert found == KEYS
    asked = [server.tokens.count(token) for token in dict.fromkeys(server.tokens)]
    assert asked == [2, 1, 2, 1, 2, 2, 1, 2, 1, 1, 2]


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("spoil", [_slow_down, _break_off, _garble, _empty])
def test_a_page_that_keeps_failing_ends_the_index_in_bounded_time(
    s3: S3Client, s3_location: SourceLocation, flaky: Callable[..., FlakyServer], spoil: Body
) -> None:
    _put(s3, KEYS[:8])
    server = flaky({4: spoil}, always=True)
    location = replace(s3_location, endpoint_url=server.url)

    started = time.monotonic()
    with pytest.raises(SourceListingError) as caught:
        _every_county(location)

    assert caught.value.prefix == f"s3://{BUCKET}/{TREE}/"
    assert time.monotonic() - started < 30
    asked = [server.tokens.count(token) for token in dict.fromkeys(server.tokens)]
    assert asked == [1, 1, 1, 2]
