"""AWS on a loopback port: moto's, save for the answers that a test has written itself.

moto neither advances the run of a workflow nor executes a query, so that what Glue and Athena say
while they work is a script: answers in a row, the last of which stays.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

REGION = "us-west-2"
SECRET = "planted-secret-access-key"
WAIT_LIMIT_S = 60.0


@dataclass(frozen=True)
class Fault:
    """An answer that is an error. `drops`: the connection ends without a word."""

    code: str = ""
    message: str = ""
    status: int = 400
    drops: bool = False


Answer = dict[str, Any] | Fault


class AwsServer:
    """Its address, what it was asked, and what it shall say."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._script: dict[str, list[Answer]] = {}
        self._clients: dict[str, Any] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def say(self, operation: str, *answers: Answer) -> None:
        """From now on the answers to `GetWorkflowRun` and the like; none: moto's again.

        S3's are `PutObject`, and else by method and path: `GET /bucket/key`.
        """
        self._script[operation] = list(answers)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """What was asked of one operation."""
        return [body for asked, body in self.asked if asked == operation]

    def wait_for(self, operation: str, count: int = 1) -> None:
        """Until it was asked so often."""
        ends_at = time.monotonic() + WAIT_LIMIT_S
        while len(self.requests(operation)) < count:
            assert time.monotonic() < ends_at, f"{operation} was not asked {count} times"
            time.sleep(0.02)

    def forget(self) -> None:
        """Script and requests; moto keeps what it has."""
        self._script.clear()
        self.asked.clear()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 clients have no type
        """A client for the tests themselves, whatever the environment says; kept, and closed."""
        import boto3

        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="looker",
                aws_secret_access_key="looker",
            )
        return self._clients[service]

    def stop(self) -> None:
        """End the clients, the server and its thread."""
        for client in self._clients.values():
            client.close()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if not operation:
            is_put = environ["REQUEST_METHOD"] == "PUT"
            operation = (
                "PutObject" if is_put else f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            )
        if operation in self._script or environ.get("HTTP_X_AMZ_TARGET"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            is_json = body.startswith(b"{") and operation != "PutObject"
            self.asked.append((operation, json.loads(body) if is_json else {}))
            script = self._script.get(operation)
            if script:
                return _tell(script.pop(0) if len(script) > 1 else script[0], environ, start)
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer


def _tell(answer: Answer, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    head = [("Content-Type", "application/x-amz-json-1.1")]
    if not isinstance(answer, Fault):
        start("200 OK", head)
        return [json.dumps(answer).encode()]
    if answer.drops:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError
    start(f"{answer.status} Fault", head)
    return [json.dumps({"__type": answer.code, "message": answer.message}).encode()]
