"""moto's server, writing each request into its log: what a run does, as IAM would be asked for it.

`python -m tests.infra.recorder PORT`. All processes of a run are heard, Spark's workers too.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.infra.iam import Request

_MARK = "asked for: "


class Recorder:
    """A WSGI application that tells of a request and hands it on."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Write the request down; its body, if that says what is asked for."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        body = b""
        if target or "delete" in query:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
        asked = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"].encode("latin-1").decode("utf-8"),
            "query": query,
            "target": target,
            "copied": unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")),
            "body": body.decode("utf-8"),
        }
        # One write, so that the lines of two threads do not mix.
        sys.stdout.write(f"{_MARK}{json.dumps(asked)}\n")
        sys.stdout.flush()
        return self._app(environ, start_response)


def recorded(log: str, account_id: str, region: str) -> set[Request]:
    """What IAM is asked for by all that a piece of a server's log tells of."""
    told = [json.loads(line.split(_MARK, 1)[1]) for line in log.splitlines() if _MARK in line]
    return {
        request
        for asked in told
        for request in (
            _of_service(asked, account_id, region) if asked["target"] else _of_s3(asked)
        )
    }


def _of_s3(asked: dict[str, Any]) -> Iterator[Request]:
    """S3 is spoken to by paths: /bucket/key."""
    method, query = asked["method"], asked["query"]
    bucket, _, key = asked["path"].lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if not key:
        if method == "POST" and "delete" in query:
            for each in re.findall(r"<Key>(.*?)</Key>", asked["body"]):
                yield Request("s3:DeleteObject", f"{arn}/{each}")
        elif method == "GET" and "list-type" in query:
            yield Request("s3:ListBucket", arn, {"s3:prefix": query.get("prefix", "")})
        else:
            raise NotImplementedError(f"{method} {asked['path']} {query}")
        return
    if method in ("GET", "HEAD"):
        yield Request("s3:GetObject", f"{arn}/{key}")
        # S3 asks for it with the key as prefix when the key is not there: 404 if so, else 403.
        yield Request("s3:ListBucket", arn, {"s3:prefix": key})
    elif method == "DELETE":
        action = "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
        yield Request(action, f"{arn}/{key}")
    elif method in ("PUT", "POST"):
        yield Request("s3:PutObject", f"{arn}/{key}")
        if asked["copied"]:
            yield Request("s3:GetObject", f"arn:aws:s3:::{asked['copied'].lstrip('/')}")
    else:
        raise NotImplementedError(f"{method} {asked['path']}")


def _of_service(asked: dict[str, Any], account_id: str, region: str) -> Iterator[Request]:
    """Glue is told what to do in a header, and to what in a body of JSON."""
    service, _, operation = asked["target"].partition(".")
    if service != "AWSGlue":
        raise NotImplementedError(asked["target"])
    body = json.loads(asked["body"])
    ask = partial(Request, f"glue:{operation}")
    arn = f"arn:aws:glue:{region}:{account_id}"
    if operation == "GetWorkflowRunProperties":
        yield ask(f"{arn}:workflow/{body['Name']}")
        return
    # Whoever wants a table must have the right to its database and to the catalog as well.
    yield ask(f"{arn}:catalog")
    if operation in ("GetDatabase", "CreateDatabase"):
        name = body["Name"] if "Name" in body else body["DatabaseInput"]["Name"]
        yield ask(f"{arn}:database/{name}")
        return
    if "DatabaseName" not in body:
        raise NotImplementedError(f"{operation} {body}")
    yield ask(f"{arn}:database/{body['DatabaseName']}")
    table = body["Name"] if "Name" in body else body.get("TableInput", {}).get("Name", "any")
    yield ask(f"{arn}:table/{body['DatabaseName']}/{table}")


def main(port: str) -> None:
    """Serve on a port of the loopback."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import run_simple

    # As moto's own main does, which takes no application.
    app = Recorder(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(port), app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(sys.argv[1])
