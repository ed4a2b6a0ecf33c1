"""An S3 that is not far away: moto's server, and a client to fill it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from oedi_spark.source.storage import SourceLocation

BUCKET = "oedi-data-lake"
S3Client = Any
"""boto3 makes its clients at run time; they have no type."""


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The address of an S3 of our own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client of an empty bucket; the code under test finds the same credentials."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.session.Session().client("s3", endpoint_url=moto_url, region_name="us-west-2")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


@pytest.fixture
def s3_location(s3: S3Client, moto_url: str) -> SourceLocation:
    """That bucket, as the code under test is told of it; two keys a page."""
    return SourceLocation(
        root=BUCKET,
        is_local=False,
        endpoint_url=moto_url,
        region="us-west-2",
        path_style=True,
        listing_page_size=2,
        max_attempts=2,
    )
