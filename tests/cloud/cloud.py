"""What the servers of these tests are called, and clients of the tests' own to look behind."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from oedi_spark.config import RunConfig
from oedi_spark.lake.s3_access import S3Access
from tests.cloud.glue_server import REFUSED

SOURCE_BUCKET = "oedi-sample"
REGION = "us-east-1"
CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {
        "AWS_ACCESS_KEY_ID": "AKIACLOUDTEST",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-cloud-tests",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
)
STATES = ("AZ", "CO", "GA", "ID", "MD", "NH", "OR", "VT")


@dataclass(frozen=True)
class Cloud:
    """The server, and what lies in its bucket as a folder."""

    url: str
    lake: Path
    log: Path

    @property
    def access(self) -> S3Access:
        """Its S3, as the product reaches it."""
        return S3Access(endpoint_url=self.url, region=REGION, path_style=True)

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 clients have no type
        """A client for the test itself, whatever the environment says."""
        import boto3

        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="looker",
            aws_secret_access_key="looker",
        )

    def keys(self, bucket: str) -> set[str]:
        """Every key of a bucket."""
        client = self.client("s3")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        found = {item["Key"] for page in pages for item in page.get("Contents", ())}
        client.close()
        return found

    def make_bucket(self) -> str:
        """An empty bucket with a name of its own."""
        name = f"out-{secrets.token_hex(6)}"
        client = self.client("s3")
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def refusals(self) -> int:
        """How often its Glue has refused a stale version."""
        return self.log.read_text("utf-8", "replace").count(REFUSED)

    def config(
        self, bucket: str, logs: Path, *, state: object = "CO", **catalog: object
    ) -> RunConfig:
        """A run from its S3 into a bucket of it, and its Glue; keywords add to `catalog`."""
        return RunConfig.model_validate(
            {
                "src_bucket": SOURCE_BUCKET,
                "output_dir": f"s3://{bucket}/out",
                "job_specific": [
                    {
                        "release_year": "2024",
                        "release_name": "comstock_amy2018_release_1",
                        "state": state,
                        "upgrades": "0",
                    }
                ],
                "source": {"endpoint_url": self.url, "path_style": True, "region": REGION},
                "catalog": {
                    "type": "glue",
                    "database": bucket.replace("-", "_"),
                    "region": REGION,
                    "endpoint_url": self.url,
                    "s3_endpoint_url": self.url,
                    "s3_path_style": True,
                    **catalog,
                },
                "settings": {"log_dir": str(logs), "row_group_buildings": 2},
            }
        )
