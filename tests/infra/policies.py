"""The policies of the applied environment, and what a recorded run asks of them: two fixtures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import yaml

from oedi_spark.cli import run_job, run_maintenance
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.infra.conftest import SOURCE_BUCKET
from tests.infra.iam import Policy, Request
from tests.infra.recorder import recorded
from tests.infra.terraform import CREDENTIALS, Applied
from tests.servers import serving

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RECORDER = ("-m", "tests.infra.recorder")
GLUE = "arn:aws:glue:us-east-1:123456789012"
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group"
BUCKET = "arn:aws:s3:::oedi-dev-123456789012-us-east-1"


@dataclass(frozen=True)
class Deployed:
    """Every policy of an applied environment; `roles` from the name of a role."""

    roles: dict[str, list[Policy]]
    trusts: dict[str, Policy]
    attached: list[str]
    bucket: Policy
    topic: Policy


@dataclass(frozen=True)
class Asked:
    """What IAM would be asked for by two runs, and by the upkeep after them."""

    runs: frozenset[Request]
    upkeep: frozenset[Request]


@pytest.fixture(scope="session", name="deployed")
def read_policies(applied: Applied) -> Deployed:
    """The policies as IAM, S3 and SNS give them back."""
    iam, s3, sns = (applied.client(each) for each in ("iam", "s3", "sns"))
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]

    def inline(role: str) -> list[Policy]:
        found = iam.list_role_policies(RoleName=role)["PolicyNames"]
        return [
            iam.get_role_policy(RoleName=role, PolicyName=each)["PolicyDocument"] for each in found
        ]

    topic = sns.get_topic_attributes(TopicArn=applied.outputs["topic_arn"])["Attributes"]
    bucket = s3.get_bucket_policy(Bucket=applied.outputs["bucket_name"])
    found = Deployed(
        roles={role: inline(role) for role in names},
        trusts={
            role: iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] for role in names
        },
        attached=[
            policy["PolicyName"]
            for role in names
            for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        ],
        bucket=json.loads(bucket["Policy"]),
        topic=json.loads(topic["Policy"]),
    )
    for client in (iam, s3, sns):
        client.close()
    return found


@pytest.fixture(scope="session", name="asked")
def record_runs(
    applied: Applied,
    spark: Future[SparkSession],
    tmp_path_factory: pytest.TempPathFactory,
) -> Asked:
    """Two runs in a workflow, the second replacing what the first has published; then upkeep."""
    folder = tmp_path_factory.mktemp("recorded")
    log = folder / "server.log"
    uri = applied.outputs["default_config_uri"]
    run = ["--config", uri, "--state", "CO", "--upgrades", "0"]
    run += ["--JOB_NAME", applied.outputs["etl_job_name"]]
    run += ["--WORKFLOW_NAME", applied.outputs["workflow_name"]]

    def told() -> str:
        return log.read_text("utf-8")

    with serving(RECORDER, log) as url, _credentials(spark, url, applied.region):
        run_id = _prepare(url, applied, _config(applied, url, folder), folder / "lake")
        prepared = len(told())
        for _ in range(2):
            given = [*run, "--WORKFLOW_RUN_ID", run_id, "--force", "true"]
            assert run_job(given, spark) == 0
        ran = len(told())
        assert run_maintenance(["--config", uri]) == 0
        text, where = told(), (applied.account_id, applied.region)
    return Asked(
        runs=frozenset(recorded(text[prepared:ran], *where)),
        upkeep=frozenset(recorded(text[ran:], *where)),
    )


def _config(applied: Applied, url: str, folder: Path) -> dict[str, str]:
    """The deployed config by its key, for another server, with upkeep that finds work to do."""
    uri = applied.outputs["default_config_uri"]
    key = uri.removeprefix("s3://").split("/", 1)[1]
    text = applied.read(uri).decode("utf-8")
    config = yaml.safe_load(text.replace(applied.url, url))
    config["settings"]["log_dir"] = str(folder / "logs")
    config["maintenance"] = {
        "snapshot_retention_days": 0,
        "snapshots_to_keep": 1,
        "compaction_min_files": 2,
    }
    return {key: yaml.safe_dump(config)}


def _prepare(url: str, applied: Applied, objects: dict[str, str], lake: Path) -> str:
    """Make what terraform and the publisher have made; the id of a run of the workflow."""
    session = boto3.session.Session("looker", "looker", region_name=applied.region)
    s3, glue = (session.client(each, endpoint_url=url) for each in ("s3", "glue"))
    for bucket in (applied.outputs["bucket_name"], SOURCE_BUCKET):
        s3.create_bucket(Bucket=bucket)
    for key, text in objects.items():
        s3.put_object(Bucket=applied.outputs["bucket_name"], Key=key, Body=text.encode())
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(lake, SampleRequest((release,), states=("CO",), buildings=2))
    for path in lake.rglob("*.parquet"):
        s3.put_object(Bucket=SOURCE_BUCKET, Key=str(path.relative_to(lake)), Body=path.read_bytes())
    glue.create_database(DatabaseInput={"Name": applied.outputs["database_name"]})
    glue.create_workflow(Name=applied.outputs["workflow_name"])
    run_id = glue.start_workflow_run(Name=applied.outputs["workflow_name"])["RunId"]
    s3.close()
    glue.close()
    return str(run_id)


@contextmanager
def _credentials(spark: Future[SparkSession], url: str, region: str) -> Iterator[None]:
    """What Glue gives a job: the role's credentials and the region, in all of its processes."""
    own = dict(CREDENTIALS) | {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ENDPOINT_URL_GLUE": url,
    }
    workers = spark.result().sparkContext.environment
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
            patch.setitem(workers, name, value)
        yield
