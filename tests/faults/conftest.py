"""An S3 server as a process of its own, a proxy before it that spoils answers, and a small lake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.faults.proxy import FaultProxy
from tests.faults.server import BUCKET, Lake, client
from tests.servers import S3_SERVER, serving

BUILDINGS = 14


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Moto's server, once it answers."""
    with serving(S3_SERVER, tmp_path_factory.mktemp("moto") / "moto.log") as url:
        yield url


@pytest.fixture(scope="module")
def lake(s3_url: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A release with its metadata, in a folder and on the server, where everybody may read it."""
    folder = tmp_path_factory.mktemp("lake")
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(folder, SampleRequest((release,), buildings=BUILDINGS))
    s3 = client(s3_url)
    s3.create_bucket(Bucket=BUCKET, ACL="public-read")
    keys = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    for key in keys:
        s3.upload_file(str(folder / key), BUCKET, key, ExtraArgs={"ACL": "public-read"})
    s3.close()
    return Lake(
        s3_url,
        folder,
        series=tuple(key for key in keys if "/timeseries_individual_buildings/" in key),
        metadata=tuple(key for key in keys if "/metadata" in key),
    )


@pytest.fixture
def proxy(s3_url: str) -> Iterator[FaultProxy]:
    """A proxy that spoils nothing until it is given rules."""
    proxy = FaultProxy(s3_url)
    yield proxy
    proxy.stop()
