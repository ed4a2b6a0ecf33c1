"""Servers of the tests: processes of their own on a free port, waited for and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import PROJECT

START_LIMIT_S = 60.0

AWS_SERVER = ("-m", "tests.cloud.glue_server")
"""All of AWS that moto has, with a Glue that refuses stale versions."""
S3_SERVER = ("-m", "moto.server", "-H", "127.0.0.1", "-p")
"""moto's own server."""


@contextmanager
def serving(arguments: Sequence[str], log: Path) -> Iterator[str]:
    """The URL of a Python program that serves on the port it is given last, once it answers.

    What it says goes to `log`. It is killed at the end: what it holds is gone.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments, str(port)],
            cwd=PROJECT,
            env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
            stdout=out,
            stderr=out,
        )
        try:
            _wait_for(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the server did not start: {process.poll()}")
