"""A small deployment: its workflow, its bucket, its workgroup, as the Terraform would make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from oedi_spark import cli
from oedi_spark.deployment import queries, workflow
from tests.aws.server import REGION, SECRET, AwsServer

BUCKET = "oedi-dev-123456789012-us-west-2"
WORKFLOW = "oedi-dev"
PROPERTIES: Mapping[str, str] = {
    "default_config": f"s3://{BUCKET}/scripts/conf/default.yaml",
    "runs_uri": f"s3://{BUCKET}/scripts/runs",
    "workgroup": "oedi-dev",
    "database": "oedi_dev",
    "etl_job": "oedi-dev-etl",
    "output_uri": f"s3://{BUCKET}/etl_output",
    "warehouse_uri": f"s3://{BUCKET}/warehouse",
    "log_group_prefix": "/aws-glue/oedi-dev/etl",
}
DEFAULT_CONFIG = f"""\
src_bucket: oedi-aws-sample
output_dir: s3://{BUCKET}/etl_output
job_specific:
  - {{release_year: "2024", release_name: comstock_amy2018_release_1, state: CO, upgrades: "0"}}
source: {{region: {REGION}}}
catalog:
  {{type: glue, database: oedi_dev, region: {REGION}, warehouse_dir: "s3://{BUCKET}/warehouse"}}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Deployed:
    """The deployment on its server, and the commands that are tried on it."""

    def __init__(self, server: AwsServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.server, self._capsys = server, capsys

    def run(self, *arguments: str) -> Ended:
        """`oedi-spark aws …`, as the console script runs it."""
        code = cli._guarded(lambda: cli._invoke(["aws", *arguments]))
        said = self._capsys.readouterr()
        assert SECRET not in said.out + said.err
        return Ended(code, said.out, said.err)

    def put(self, key: str, content: str) -> None:
        """An object of its bucket."""
        s3 = self.server.client("s3")
        s3.put_object(Bucket=BUCKET, Key=key, Body=content.encode())

    def read(self, key: str) -> str:
        """An object of its bucket."""
        s3 = self.server.client("s3")
        text: str = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        return text

    def keys(self, prefix: str) -> list[str]:
        """The keys of its bucket."""
        s3 = self.server.client("s3")
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
        return [item["Key"] for item in found]

    def started(self) -> list[dict[str, str]]:
        """The properties of every run that was asked for."""
        return [
            each.get("RunProperties") or {} for each in self.server.requests("StartWorkflowRun")
        ]


@pytest.fixture(scope="session")
def running() -> Iterator[AwsServer]:
    """The server, filled once."""
    server = AwsServer()
    s3, glue, athena = (server.client(each) for each in ("s3", "glue", "athena"))
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.create_bucket(
        Bucket="oedi-aws-sample", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    glue.create_workflow(Name=WORKFLOW, DefaultRunProperties=dict(PROPERTIES))
    glue.create_workflow(Name="elsewhere", DefaultRunProperties={"team": "roads"})
    athena.create_work_group(Name="oedi-dev", Configuration={})
    yield server
    server.stop()


@pytest.fixture
def deployed(
    running: AwsServer,
    _own_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Deployed]:
    """The deployment as an environment makes it known, empty of runs; nothing waits long."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("COLUMNS", "400")  # so that no sentence is broken
    monkeypatch.delenv("OEDI_SPARK_WORKFLOW", raising=False)
    for module in (workflow, queries):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.02)
    running.forget()
    s3 = running.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for item in page.get("Contents", ()):
            s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    found = Deployed(running, capsys)
    found.put("scripts/conf/default.yaml", DEFAULT_CONFIG)
    running.asked.clear()
    yield found
    running.forget()
