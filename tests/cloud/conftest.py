"""S3 and Glue as a process of their own, filled with a small lake; credentials for everybody."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.cloud.cloud import CREDENTIALS, SOURCE_BUCKET, STATES, Cloud
from tests.conftest import PROJECT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START_LIMIT_S = 60.0
BUILDINGS = 2


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The server with its Glue corrected, once it answers, and the lake in its bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("cloud") / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cloud.glue_server", str(port)],
            cwd=PROJECT,
            env=dict(os.environ) | {"PYTHONPATH": str(PROJECT)},
            stdout=out,
            stderr=out,
        )
        try:
            lake = tmp_path_factory.mktemp("lake")
            release = ReleaseFolder("2024", "comstock_amy2018_release_1")
            write_sample_lake(lake, SampleRequest((release,), states=STATES, buildings=BUILDINGS))
            _wait_for(process, port)
            cloud = Cloud(f"http://127.0.0.1:{port}", lake, log)
            _upload(cloud)
            yield cloud
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
    pytest.fail(f"moto's server did not start: {process.poll()}")


def _upload(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=SOURCE_BUCKET)

    def put(path: Path) -> None:
        key = str(path.relative_to(cloud.lake))
        s3.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, cloud.lake.rglob("*.parquet")))
    s3.close()


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    """An empty bucket of this test's own."""
    name = f"out-{secrets.token_hex(6)}"
    client = cloud.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture(autouse=True)
def _credentials(_own_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a role or a profile is elsewhere: nothing in the product hands any on."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cloud_spark(spark: Future[SparkSession]) -> Iterator[Future[SparkSession]]:
    """The shared Spark, whose Python workers find credentials as those of a cluster would."""
    environment = spark.result().sparkContext.environment
    environment.update(CREDENTIALS)
    yield spark
    for name in CREDENTIALS:
        del environment[name]
