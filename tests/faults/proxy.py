"""A proxy in front of an S3 server, which spoils answers by rule."""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

UPSTREAM_LIMIT_S = 60.0
_DROPPED = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Request:
    """One request as it came in. `key`: the object's, or the prefix that is listed."""

    method: str
    path: str
    key: str
    is_listing: bool
    headers: dict[str, str]


@dataclass
class Answer:
    """What the S3 server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Spoil = Callable[["Exchange"], None]


@dataclass
class Rule:
    """Spoils the answers to requests for keys that end with `key`; the first `count` of them.

    `listing`: those to listings of prefixes that end with it instead.
    """

    key: str
    spoil: Spoil
    count: int = 1_000_000
    listing: bool = False
    spoiled: int = 0


class Exchange:
    """One request under way: what the server answers, and how the client hears of it."""

    def __init__(
        self,
        handler: BaseHTTPRequestHandler,
        request: Request,
        ask: Callable[[], Answer],
        released: Event,
    ) -> None:
        self.handler, self.request, self.released = handler, request, released
        self._ask = ask
        self._answer: Answer | None = None

    @property
    def answer(self) -> Answer:
        """What the server answers; it is asked when this is first wanted."""
        if self._answer is None:
            self._answer = self._ask()
        return self._answer

    @answer.setter
    def answer(self, answer: Answer) -> None:
        self._answer = answer

    def send(
        self,
        status: int | None = None,
        body: bytes | None = None,
        *,
        promised: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send the answer, or another, whose body may be shorter than it says."""
        content = self.answer.body if body is None else body
        new = {name.lower() for name in headers or {}} | _DROPPED
        self.handler.send_response(self.answer.status if status is None else status)
        for name, value in self.answer.headers:
            if name.lower() not in new:
                self.handler.send_header(name, value)
        for name, value in (headers or {}).items():
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(promised or len(content)))
        self.handler.end_headers()
        if self.request.method != "HEAD":
            self.handler.wfile.write(content)
            self.handler.wfile.flush()

    def send_error(self, status: int, code: str, message: str = "", **headers: str) -> None:
        """Send an error as S3 words it."""
        self.answer = Answer(status, [("Content-Type", "application/xml")], b"")
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(body=body.encode(), headers=named)

    def reset(self) -> None:
        """Send a TCP reset."""
        self.handler.close_connection = True
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


class FaultProxy:
    """Hands requests on to an S3 server and answers back, on a free port of this machine."""

    def __init__(self, upstream_url: str) -> None:
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self._upstream = urlsplit(upstream_url)
        self._lock = Lock()
        self._released = Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with suppress(ConnectionError):
                    proxy._exchange(self)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is part of the play."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, and let go of those that are held."""
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _exchange(self, handler: BaseHTTPRequestHandler) -> None:
        request = _parse(handler)
        self.requests.append(request)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        exchange = Exchange(handler, request, lambda: self._ask(request, body), self._released)
        rule = self._rule_for(request)
        if rule is None:
            exchange.send()
            return
        rule.spoil(exchange)

    def _rule_for(self, request: Request) -> Rule | None:
        with self._lock:
            for rule in self.rules:
                is_meant = request.is_listing is rule.listing and request.key.endswith(rule.key)
                if is_meant and request.method == "GET" and rule.spoiled < rule.count:
                    rule.spoiled += 1
                    return rule
        return None

    def _ask(self, request: Request, body: bytes) -> Answer:
        host, port = self._upstream.hostname or "", self._upstream.port
        connection = http.client.HTTPConnection(host, port, timeout=UPSTREAM_LIMIT_S)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "connection"}
            connection.request(request.method, request.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()


def _parse(handler: BaseHTTPRequestHandler) -> Request:
    url = urlsplit(handler.path)
    asked = parse_qs(url.query, keep_blank_values=True)
    is_listing = "list-type" in asked
    key = asked.get("prefix", [""])[0] if is_listing else unquote(url.path).lstrip("/")
    key = key if is_listing else key.partition("/")[2]
    return Request(handler.command, handler.path, key, is_listing, dict(handler.headers))


def slow_down(exchange: Exchange) -> None:
    """503, as S3 says that it is asked too often."""
    exchange.send_error(503, "SlowDown", "Reduce your request rate.")


def deny(exchange: Exchange) -> None:
    """403."""
    exchange.send_error(403, "AccessDenied")


def lose(exchange: Exchange) -> None:
    """404: it is gone since it was listed."""
    exchange.send_error(404, "NoSuchKey")


def expire(exchange: Exchange) -> None:
    """400, as S3 says that a session's credentials are too old."""
    exchange.send_error(400, "ExpiredToken", "The provided token has expired.")


def skew(exchange: Exchange) -> None:
    """403, as S3 says that the client's clock is wrong."""
    exchange.send_error(403, "RequestTimeTooSkewed")


def redirect(exchange: Exchange) -> None:
    """301, as S3 says that the bucket is in another region."""
    exchange.send_error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")


def repeat_request(exchange: Exchange) -> None:
    """403, with everything that the client sent in every place that a client may show."""
    sent = " ".join(exchange.request.headers.values())
    exchange.send_error(403, f"Denied {sent}", sent, x_amz_request_id="echo")


def reset_before(exchange: Exchange) -> None:
    """A reset instead of an answer."""
    exchange.reset()


def reset_inside(exchange: Exchange) -> None:
    """A reset in the middle of the body."""
    body = exchange.answer.body
    exchange.send(body=body[: len(body) // 2], promised=len(body))
    exchange.reset()


def truncate(exchange: Exchange) -> None:
    """Half the body, and the connection is closed as if all was well."""
    body = exchange.answer.body
    exchange.handler.close_connection = True
    exchange.send(body=body[: len(body) // 2], promised=len(body))


def stall_before(exchange: Exchange) -> None:
    """No answer."""
    exchange.handler.close_connection = True
    exchange.released.wait(UPSTREAM_LIMIT_S)


def stall_inside(exchange: Exchange) -> None:
    """Half the body, and then nothing."""
    body = exchange.answer.body
    exchange.handler.close_connection = True
    exchange.send(body=body[: len(body) // 2], promised=len(body))
    exchange.released.wait(UPSTREAM_LIMIT_S)


def drip(exchange: Exchange) -> None:
    """A byte of the body now and then, always before the client's patience with a wait ends."""
    body = exchange.answer.body
    exchange.handler.close_connection = True
    exchange.send(body=body[:1], promised=len(body))
    for at in range(1, len(body)):
        if exchange.released.wait(0.1):
            return
        exchange.handler.wfile.write(body[at : at + 1])
        exchange.handler.wfile.flush()


def damage(exchange: Exchange) -> None:
    """A body of the right length, of which one byte is another."""
    body = bytearray(exchange.answer.body)
    body[len(body) // 2] ^= 0xFF
    exchange.send(body=bytes(body))


def damage_unproved(exchange: Exchange) -> None:
    """The same from a server that keeps no checksums beside the ETag."""
    answer = exchange.answer
    kept = [(k, v) for k, v in answer.headers if not k.lower().startswith("x-amz-checksum")]
    exchange.answer = Answer(answer.status, kept, answer.body)
    damage(exchange)


def relabel(exchange: Exchange) -> None:
    """The right body under the ETag of another version: If-Match was not heeded."""
    exchange.send(headers={"ETag": '"0123456789abcdef0123456789abcdef"'})
