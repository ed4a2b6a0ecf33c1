"""The main job from an S3 bucket: listed page by page, one key forbidden, one gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUCKET = "oedi-sample"


class ForbiddingServer:
    """moto's S3, which answers 403 for the keys in `forbidden`, whoever asks."""

    def __init__(self) -> None:
        self.forbidden: set[str] = set()
        self.signed: list[bool] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:  # noqa: ANN401 - WSGI
        if environ["REQUEST_METHOD"] == "GET":
            self.signed.append("HTTP_AUTHORIZATION" in environ)
            if environ["PATH_INFO"].rsplit("/", 1)[-1] in self.forbidden:
                start_response("403 Forbidden", [("Content-Type", "application/xml")])
                return [b"<Error><Code>AccessDenied</Code></Error>"]
        return self._moto(environ, start_response)

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[ForbiddingServer]:
    server = ForbiddingServer()
    yield server
    server.stop()


def test_run_from_s3_gives_the_hours_of_the_folder_and_a_reason_for_what_it_may_not_read(
    tmp_path: Path,
    server: ForbiddingServer,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    lake = tmp_path / "lake"
    folder = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(lake, SampleRequest((folder,), buildings=5))
    upload(server.url, lake)
    config = RunConfig.model_validate(
        {
            "src_bucket": BUCKET,
            "output_dir": str(tmp_path / "out"),
            "job_specific": [COMSTOCK | {"state": "*", "upgrades": "*"}],
            "source": {"endpoint_url": server.url, "path_style": True, "anonymous": True},
            "settings": {
                "log_dir": str(tmp_path / "logs"),
                "listing_page_size": 2,
                "max_failed_fraction": 0.5,
            },
        }
    )
    found = pipeline.plan(config)
    forbidden, gone = found.index.files[0], found.index.files[4]
    server.forbidden.add(Path(forbidden.key).name)
    client(server.url).delete_object(Bucket=BUCKET, Key=gone.key)
    server.signed.clear()

    summary = pipeline.run(config, spark, ready_plan=found)

    reasons = {key: why.split(":")[0] for key, why in summary.data_files.missing_fetches.items()}
    assert summary.exit_code == 6
    assert reasons == {forbidden.key: "access_denied", gone.key: "not_found"}
    assert len(found.index.files) == 5
    assert all(file.etag is not None for file in found.index.files)
    assert not any(server.signed)
    hours = read_table(config)
    assert hours.num_rows == 3 * 8760
    assert set(hours["bldg_id"].to_pylist()) == {f.bldg_id for f in found.index.files[1:4]}


def upload(url: str, lake: Path) -> None:
    s3 = client(url)
    s3.create_bucket(Bucket=BUCKET)
    for path in lake.rglob("*.parquet"):
        key = str(path.relative_to(lake))
        s3.upload_file(str(path), BUCKET, key, ExtraArgs={"ACL": "public-read"})


def client(url: str) -> Any:  # noqa: ANN401 - boto3 clients have no type
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
