"""The applied job, as Glue would start it: its own script, its own arguments, in a workflow's run.

Terraform's outputs are not asked where things are: the job says it, as it does to Glue.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.session import submit_environment
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import PROJECT
from tests.infra.conftest import SOURCE_BUCKET
from tests.infra.terraform import CREDENTIALS, Applied

DATABASE = "oedi_dev"
BUCKET = "oedi-dev-123456789012-us-east-1"
RELEASE = "2024_comstock_amy2018_release_1"
COMMAND_LIMIT_S, JOB_LIMIT_S = 60, 200


@dataclass(frozen=True)
class Ran:
    """A run of the applied workflow: what started it said, and how the job ended."""

    started: str
    workflow_run_id: str
    code: int
    said: str


@pytest.fixture(scope="module", name="ran")
def run_applied_job(applied: Applied, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Start the workflow for upgrade 0 alone; then do what Glue does with its first job."""
    folder = tmp_path_factory.mktemp("applied_job")
    _fill_source(applied, folder / "lake")
    own = os.environ | submit_environment() | dict(CREDENTIALS)
    own |= {"AWS_REGION": applied.region, "AWS_ENDPOINT_URL": applied.url}
    own["PYTHONPATH"] = str(PROJECT)
    oedi_spark = Path(sys.executable).with_name("oedi-spark")
    start = ["aws", "run-workflow", "--workflow", "oedi-dev", "--upgrades", "0"]
    started = subprocess.run(
        [oedi_spark, *start],
        check=False,
        env=own,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
    )
    assert started.returncode == 0, started.stderr

    glue = applied.client("glue")
    (run,) = glue.get_workflow_runs(Name="oedi-dev")["Runs"]
    job = _job_of_the_start_trigger(glue)
    glue.close()
    script = folder / "etl.py"
    script.write_bytes(applied.read(job["Command"]["ScriptLocation"]))
    arguments = [text for pair in job["DefaultArguments"].items() for text in pair]
    arguments += ["--JOB_NAME", job["Name"], "--JOB_RUN_ID", "jr_1"]
    arguments += ["--WORKFLOW_NAME", "oedi-dev", "--WORKFLOW_RUN_ID", run["WorkflowRunId"]]
    ended = subprocess.run(
        [Path(sys.executable).with_name("spark-submit"), script, *arguments],
        check=False,
        env=own,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=JOB_LIMIT_S,
    )
    return Ran(started.stdout, run["WorkflowRunId"], ended.returncode, ended.stdout + ended.stderr)


def _fill_source(applied: Applied, lake: Path) -> None:
    """The public bucket, in small: two buildings of Colorado with the upgrades of the default."""
    release = ReleaseFolder("2024", "comstock_amy2018_release_1")
    request = SampleRequest((release,), states=("CO",), upgrades=(0, 1), buildings=2)
    write_sample_lake(lake, request)
    s3 = applied.client("s3")
    s3.create_bucket(Bucket=SOURCE_BUCKET)
    for path in lake.rglob("*.parquet"):
        s3.put_object(Bucket=SOURCE_BUCKET, Key=str(path.relative_to(lake)), Body=path.read_bytes())
    s3.close()


def _job_of_the_start_trigger(glue: Any) -> dict[str, Any]:  # noqa: ANN401 - boto3 has no types
    trigger = glue.get_trigger(Name="oedi-dev-start")["Trigger"]
    assert trigger["WorkflowName"] == "oedi-dev"
    (action,) = trigger["Actions"]
    assert not action.get("Arguments")  # they would beat what the run was asked for
    found: dict[str, Any] = glue.get_job(JobName=action["JobName"])["Job"]
    return found


def test_applied_job_with_its_own_arguments_publishes_into_the_applied_database(
    applied: Applied, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran.code == 0, ran.said
    glue = applied.client("glue")
    tables = {each["Name"]: each for each in glue.get_tables(DatabaseName=DATABASE)["TableList"]}
    glue.close()
    assert set(tables) >= {"hourly", "metadata", "building_weights", "columns", "runs"}
    for name, table in tables.items():
        uri = f"s3://{BUCKET}/warehouse/{DATABASE}/{name}"
        assert table["StorageDescriptor"]["Location"] == uri
        assert table["Parameters"]["metadata_location"].startswith(f"{uri}/metadata/")

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    default = yaml.safe_load(applied.read(applied.outputs["default_config_uri"]))
    place = pipeline.catalog_location(RunConfig.model_validate(default))
    hours = open_catalog(place).load_table((DATABASE, "hourly")).scan().to_arrow()
    assert hours.num_rows == 2 * 8760
    assert set(hours["release"].to_pylist()) == {RELEASE}


def test_what_the_run_was_asked_for_beats_the_deployed_default_and_leaves_it_as_it_was(
    applied: Applied, ran: Ran
) -> None:
    default = yaml.safe_load(applied.read(applied.outputs["default_config_uri"]))
    assert default["job_specific"][0]["upgrades"] == "0-1"
    summary = json.loads(applied.read(_summary_uri(ran)))
    partitions = [each["partition"] for each in summary["partitions"]]
    assert partitions == [f"release={RELEASE}/state=CO/upgrade=0"]


def test_summary_of_a_workflows_run_lies_where_the_command_line_looks(
    applied: Applied, ran: Ran
) -> None:
    summary = json.loads(applied.read(_summary_uri(ran)))
    assert summary["data_files_stats"]["total_data_files_listed"] == 2
    assert summary["data_files_stats"]["total_data_files_uploaded"] == 2
    assert summary["run"]["exit_code"] == 0
    assert ran.workflow_run_id in ran.started


def test_copies_lie_where_the_crawler_looks_and_tables_where_it_does_not(
    applied: Applied, ran: Ran
) -> None:
    glue = applied.client("glue")
    (target,) = glue.get_crawler(Name="oedi-dev-landed")["Crawler"]["Targets"]["S3Targets"]
    glue.close()
    bucket, _, prefix = target["Path"].removeprefix("s3://").partition("/")
    assert (bucket, prefix) == (BUCKET, "etl_output/metadata/")
    s3 = applied.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    s3.close()
    landed = [key for key in keys if key.startswith(prefix)]
    folder = f"{prefix}release={RELEASE}/state=CO/upgrade=0"
    assert landed == [f"{folder}/CO_baseline_metadata_and_annual_results.parquet"]
    assert {key.split("/")[0] for key in keys} == {"etl_output", "scripts", "warehouse"}


def _summary_uri(ran: Ran) -> str:
    return f"s3://{BUCKET}/etl_output/summaries/workflow-{ran.workflow_run_id}.json"
