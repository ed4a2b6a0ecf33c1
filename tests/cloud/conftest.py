"""S3 and Glue as a process of their own, filled with a small lake; credentials for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.cloud.cloud import CREDENTIALS, SOURCE_BUCKET, STATES, Cloud
from tests.servers import AWS_SERVER, serving

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUILDINGS = 2


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The server with its Glue corrected, once it answers, and the lake in its bucket."""
    lake = tmp_path_factory.mktemp("lake")
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(lake, SampleRequest((release,), states=STATES, buildings=BUILDINGS))
    log = tmp_path_factory.mktemp("cloud") / "server.log"
    with serving(AWS_SERVER, log) as url:
        cloud = Cloud(url, lake, log)
        _upload(cloud)
        yield cloud


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
    return cloud.make_bucket()


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
