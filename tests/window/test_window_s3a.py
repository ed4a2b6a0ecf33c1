"""The window engine where Spark itself reads and writes S3: Hadoop's S3A against a server."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import boto3
import duckdb
import pytest
import yaml
from moto.server import ThreadedMotoServer

from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.session import submit_environment
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, PROJECT

SOURCE, OUTPUT = "oedi-window-source", "oedi-window-lake"
JARS = ("hadoop-aws-", "aws-java-sdk-", "httpclient-4", "httpcore-4", "joda-time-", "wildfly-")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def s3a_jars() -> str:
    """The jars of S3A, which only tests bring along; a skip says where they would be."""
    package = find_spec("bodo_iceberg_connector")
    folders = package.submodule_search_locations if package else None
    jars = [
        str(path)
        for folder in folders or ()
        for path in sorted(Path(folder, "jars", "libs").glob("*.jar"))
        if path.name.startswith(JARS)
    ]
    if not jars:
        pytest.skip("no jars of S3A: requirements/jars.txt brings them")
    return ",".join(jars)


def test_the_window_engine_reads_and_stages_through_s3a(tmp_path: Path) -> None:
    jars = s3a_jars()
    lake = tmp_path / "lake"
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(lake, SampleRequest((release,), buildings=2))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for bucket in (SOURCE, OUTPUT):
            client.create_bucket(Bucket=bucket)
        for path in lake.rglob("*.parquet"):
            key = str(path.relative_to(lake))
            client.put_object(Bucket=SOURCE, Key=key, Body=path.read_bytes())

        done = _run(tmp_path, url, jars)

        assert done.returncode == 0, done.stdout + done.stderr
        listed = client.list_objects_v2(Bucket=OUTPUT, Prefix="lake/warehouse/oedi/hourly/data/")
        (key,) = [item["Key"] for item in listed["Contents"]]
        assert "-window-" in key
        staged = tmp_path / "staged.parquet"
        client.download_file(OUTPUT, key, str(staged))
        client.close()
    finally:
        server.stop()
    query = f"SELECT count(*), count(DISTINCT bldg_id) FROM '{staged}'"
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [(2 * 8760, 2)]


def _run(folder: Path, url: str, jars: str) -> subprocess.CompletedProcess[str]:
    """The main job as users start it, in a process of its own: jars are of its start."""
    config = {
        "src_bucket": f"s3://{SOURCE}",
        "output_dir": f"s3://{OUTPUT}/lake",
        "source": {"endpoint_url": url, "region": "us-east-1", "path_style": True},
        "catalog": {
            "uri": f"sqlite:///{folder}/catalog.db",
            "region": "us-east-1",
            "s3_endpoint_url": url,
            "s3_path_style": True,
        },
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0"}],
        "settings": {"log_dir": str(folder / "logs"), "engine": "window"},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(config), "utf-8")
    submit = str(Path(sys.executable).with_name("spark-submit"))
    arguments = ["--master", "local[2]", "--jars", jars, "spark_jobs/etl.py"]
    return subprocess.run(
        [submit, *arguments, "--config", str(folder / "job.yaml")],
        cwd=PROJECT,
        env=os.environ
        | submit_environment()
        | CREDENTIALS
        | {"PYTHONPATH": str(PROJECT), "PYSPARK_DRIVER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
