"""A job that a workflow started asks Glue what its run is to do, and never guesses.

Started, asked and summed up for real on moto: only the cluster between is missing.
"""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from oedi_spark import cli
from oedi_spark.contracts import RunOrigin
from oedi_spark.errors import ConfigError
from oedi_spark.job_arguments import parse_job_arguments
from oedi_spark.run_properties import origin_of, with_run_properties
from tests.aws.answers import FAILED, view
from tests.aws.conftest import BUCKET, DEFAULT_CONFIG, Deployed
from tests.aws.server import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DEFAULTS = ["--config", f"s3://{BUCKET}/scripts/conf/default.yaml", "--state", "CO"]


def arguments(run_id: str, *more: str) -> list[str]:
    """What Glue passes to the job of a workflow."""
    named = ["--JOB_RUN_ID", "jr_17", "--WORKFLOW_NAME", "oedi-dev", "--WORKFLOW_RUN_ID", run_id]
    return [*named, *DEFAULTS, *more]


def start(deployed: Deployed, **properties: str) -> str:
    """A run of the workflow, as moto starts it: with the default properties beside these."""
    glue = deployed.server.client("glue")
    run_id: str = glue.start_workflow_run(Name="oedi-dev", RunProperties=properties)["RunId"]
    return run_id


def test_what_the_run_was_started_with_beats_the_jobs_own_arguments(deployed: Deployed) -> None:
    run_id = start(deployed, config="s3://other/run.yaml", upgrades="0-1", team="roads")

    parsed = with_run_properties(parse_job_arguments(arguments(run_id, "--upgrades", "7")))

    assert parsed.as_command() == (
        "--config=s3://other/run.yaml",
        "--state=CO",
        "--upgrades=0-1",
    )
    assert origin_of(parsed.run) == RunOrigin("jr_17", "oedi-dev", run_id)


def test_a_run_that_asks_for_nothing_does_what_the_job_is_deployed_with(
    deployed: Deployed,
) -> None:
    run_id = start(deployed, state="")

    parsed = with_run_properties(parse_job_arguments(arguments(run_id)))

    assert parsed.as_command() == (
        f"--config=s3://{BUCKET}/scripts/conf/default.yaml",
        "--state=CO",
    )


def test_a_job_of_no_workflow_asks_nobody(deployed: Deployed) -> None:
    parsed = parse_job_arguments(["--JOB_RUN_ID", "jr_17", *DEFAULTS])

    assert with_run_properties(parsed) == parsed
    assert deployed.server.asked == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("EntityNotFoundException", "Entity not found"), "EntityNotFoundException"),
        (Fault("AccessDeniedException", "no"), "Allow glue:GetWorkflowRunProperties"),
        (Fault("InternalServiceException", status=500), "busy or out of order (HTTP 500"),
    ],
)
def test_properties_that_cannot_be_read_end_the_run_before_it_begins(
    deployed: Deployed, fault: Fault, said: str
) -> None:
    deployed.server.say("GetWorkflowRunProperties", fault)

    with pytest.raises(ConfigError) as refused:
        with_run_properties(parse_job_arguments(arguments("wr_4")))

    assert refused.value.source == "the properties of run wr_4 of workflow oedi-dev"
    assert said in str(refused.value)
    assert "The run has not begun; start the workflow again" in str(refused.value)


def test_a_glue_that_is_busy_for_a_moment_is_asked_again(deployed: Deployed) -> None:
    busy = Fault("ThrottlingException", "Rate exceeded")
    deployed.server.say("GetWorkflowRunProperties", busy, {"RunProperties": {"state": "VT"}})

    parsed = with_run_properties(parse_job_arguments(arguments("wr_4")))

    assert parsed.ours["--state"] == "VT"


def test_the_job_ends_with_2_when_it_cannot_learn_what_to_do(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job(arguments("wr_4"), never) == 2

    assert "of workflow oedi-dev has 1 fault(s)" in capsys.readouterr().err
    assert deployed.keys("etl_output/") == []


def test_a_value_that_is_none_is_refused_as_on_a_command_line(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job(arguments(start(deployed, state="Colorado")), never) == 2
    assert "state override" in capsys.readouterr().err


def test_from_the_command_to_the_job_and_back_the_run_is_one(
    deployed: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing lies in the source, so the job ends with 3 and needs no Spark for it."""
    config = DEFAULT_CONFIG.replace("state: CO", "state: VT")
    deployed.put("mine/run.yaml", config)
    begun = deployed.run(
        "run-workflow", "--workflow", "oedi-dev", "--config", f"s3://{BUCKET}/mine/run.yaml"
    )
    run_id = begun.out.splitlines()[1].removeprefix("run  ")
    never: Future[SparkSession] = Future()
    never.set_exception(RuntimeError("no Spark is needed to find that there is nothing to read"))

    assert cli.run_job(arguments(run_id), never) == 3

    assert f'"workflow_run_id": "{run_id}"' in capsys.readouterr().err
    left = json.loads(deployed.read(f"etl_output/summaries/workflow-{run_id}.json"))
    assert left["run"]["exit_code"] == 3
    assert len(deployed.keys("etl_output/summaries/")) == 3
    deployed.server.say("StartWorkflowRun", {"RunId": run_id})
    deployed.server.say("GetWorkflowRun", view("COMPLETED", FAILED))
    ended = deployed.run("run-workflow", "--workflow", "oedi-dev", "--wait")
    assert ended.code == 3
    assert f"run {left['run']['run_id']}: not published (exit 3)" in ended.out
