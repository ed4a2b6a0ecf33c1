"""`aws run-workflow --wait`: what is shown on the way, and how the command ends.

moto starts the run; how it goes on is a script of `GetWorkflowRun`'s answers on the same port.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from oedi_spark.deployment import workflow
from oedi_spark.deployment.workflow import Node, RunView, follow_run
from oedi_spark.errors import DeploymentError
from tests.aws.answers import CRAWLED, DONE, FAILED, summary_of, view
from tests.aws.conftest import Deployed
from tests.aws.server import WAIT_LIMIT_S, Fault

START = ("run-workflow", "--workflow", "oedi-dev", "--wait")
RUN = "wr_4f1e"


@pytest.fixture
def followed(deployed: Deployed) -> Deployed:
    """The deployment, whose next run has a known id."""
    deployed.server.say("StartWorkflowRun", {"RunId": RUN})
    return deployed


def leave_summary(deployed: Deployed, exit_code: int) -> None:
    outcome = "published" if exit_code == 0 else "published with discrepancies"
    document = summary_of(outcome=outcome, exit_code=exit_code).as_json()
    deployed.put(f"etl_output/summaries/workflow-{RUN}.json", json.dumps(document))


def test_a_run_that_is_complete_ends_with_0_and_its_summary(followed: Deployed) -> None:
    leave_summary(followed, 0)
    followed.server.say(
        "GetWorkflowRun",
        view("RUNNING"),
        view("RUNNING", {"JobRunState": "STARTING"}),
        Fault("ThrottlingException", "Rate exceeded"),
        view("RUNNING", DONE, {"State": "RUNNING"}),
        view("COMPLETED", DONE, CRAWLED),
    )

    ended = followed.run(*START)

    assert ended.code == 0
    progress = ended.err.splitlines()
    assert progress[0] == "RUNNING: oedi-dev-etl WAITING; oedi-dev-landed WAITING"
    assert progress[1].startswith("RUNNING: oedi-dev-etl STARTING ")
    assert progress[-1] == "COMPLETED: oedi-dev-etl SUCCEEDED 3:12; oedi-dev-landed SUCCEEDED 1:00"
    assert len(progress) == 4
    page = "https://us-west-2.console.aws.amazon.com"
    printed = ended.out.splitlines()
    assert (
        f"job run  {page}/gluestudio/home?region=us-west-2#/job/oedi-dev-etl/run/jr_17" in printed
    )
    assert (
        f"logs  {page}/cloudwatch/home?region=us-west-2#logsV2:log-groups/log-group/"
        "$252Faws-glue$252Foedi-dev$252Fetl$252Ferror$3FlogStreamNameFilter$3Djr_17"
    ) in printed
    assert "run 20260101T000000Z-0a1b2c3d: published (exit 0)" in printed
    uri = "s3://oedi-dev-123456789012-us-west-2/etl_output/summaries"
    assert printed[-1] == f"summary  {uri}/workflow-{RUN}.json"


def test_a_run_with_discrepancies_ends_with_6_although_glue_calls_its_job_failed(
    followed: Deployed,
) -> None:
    leave_summary(followed, 6)
    followed.server.say("GetWorkflowRun", view("COMPLETED", FAILED))

    ended = followed.run(*START)

    assert ended.code == 6
    assert "published with discrepancies (exit 6)" in ended.out
    assert "not transformed: bldg-2.parquet  truncated: 12 of 900 bytes" in ended.out


@pytest.mark.parametrize("code", [256, -1, 0.9, True, 1e999, "0", None])
def test_a_summary_whose_exit_code_is_none_is_not_believed(
    followed: Deployed, code: object
) -> None:
    document = {"run": {"run_id": "r", "outcome": "published", "exit_code": code, "error": None}}
    followed.put(f"etl_output/summaries/workflow-{RUN}.json", json.dumps(document))
    followed.server.say("GetWorkflowRun", view("COMPLETED", FAILED))

    ended = followed.run(*START)

    assert ended.code == 8
    assert "is no summary of a run" in ended.err


def test_a_job_that_failed_before_its_summary_ends_with_1_and_glues_reason(
    followed: Deployed,
) -> None:
    failed = {**FAILED, "ErrorMessage": "No module named 'oedi_spark'\nat line 1"}
    followed.server.say("GetWorkflowRun", view("COMPLETED", failed))

    ended = followed.run(*START)

    assert ended.code == 1
    assert (
        "job run jr_17 is FAILED and left no summary: No module named 'oedi_spark'\\nat line 1. "
        "See its logs"
    ) in ended.err


def test_the_last_attempt_of_a_job_is_the_one_that_counts(followed: Deployed) -> None:
    answer = view("COMPLETED", {**FAILED, "ErrorMessage": "first"})
    runs = answer["Run"]["Graph"]["Nodes"][1]["JobDetails"]["JobRuns"]
    runs.insert(0, {**runs[0], "Id": "jr_18", "Attempt": 1, "ErrorMessage": "second"})
    followed.server.say("GetWorkflowRun", answer)

    assert "job run jr_18 is FAILED and left no summary: second." in followed.run(*START).err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            view("COMPLETED", DONE, CRAWLED),
            (
                "job run jr_17 succeeded and left no summary: the output_dir of its config has no "
                "summaries/workflow-wr_4f1e.json. See whether the job has an --output-dir"
            ),
        ),
        (
            view("STOPPED"),
            "job oedi-dev-etl was never started: the run is STOPPED (no reason given). Look with",
        ),
        (
            {"Run": {"Status": "ERROR", "ErrorMessage": "no capacity", "Graph": {}}},
            "job oedi-dev-etl was never started: the run is ERROR (no capacity). Look with",
        ),
    ],
)
def test_a_deployment_that_is_not_as_expected_ends_with_8_and_the_way_out(
    followed: Deployed, answer: dict[str, Any], said: str
) -> None:
    followed.server.say("GetWorkflowRun", answer)

    ended = followed.run(*START)

    assert ended.code == 8
    assert said in ended.err


def test_a_crawler_that_failed_after_a_complete_run_ends_with_8(followed: Deployed) -> None:
    leave_summary(followed, 0)
    crawl = {**CRAWLED, "State": "FAILED", "ErrorMessage": "Access denied"}
    followed.server.say("GetWorkflowRun", view("COMPLETED", DONE, crawl))

    ended = followed.run(*START)

    assert ended.code == 8
    assert "published (exit 0)" in ended.out
    assert "crawler oedi-dev-landed is FAILED (Access denied)" in ended.err


def test_a_crawler_that_failed_does_not_hide_the_exit_code_of_the_run(followed: Deployed) -> None:
    leave_summary(followed, 6)
    crawl = {**CRAWLED, "State": "FAILED"}
    followed.server.say("GetWorkflowRun", view("COMPLETED", FAILED, crawl))

    ended = followed.run(*START)

    assert ended.code == 6
    assert "beside that, crawler oedi-dev-landed is FAILED (no reason given)" in ended.err


def test_a_summary_that_is_none_ends_with_8(followed: Deployed) -> None:
    followed.put(f"etl_output/summaries/workflow-{RUN}.json", '{"run": []}')
    followed.server.say("GetWorkflowRun", view("COMPLETED", DONE))

    ended = followed.run(*START)

    assert ended.code == 8
    assert f"workflow-{RUN}.json is no summary of a run" in ended.err


def test_a_summary_that_may_not_be_read_ends_with_8_and_names_the_rights(
    followed: Deployed,
) -> None:
    key = f"/oedi-dev-123456789012-us-west-2/etl_output/summaries/workflow-{RUN}.json"
    followed.server.say(f"GET {key}", Fault("AccessDenied", status=403))
    followed.server.say("GetWorkflowRun", view("COMPLETED", DONE))

    ended = followed.run(*START)

    assert ended.code == 8
    assert "the summary was not read: s3:/" + key in ended.err
    assert "Allow s3:GetObject on summaries/ and s3:ListBucket" in ended.err


def test_waiting_ends_at_its_limit_and_says_how_to_look(followed: Deployed) -> None:
    followed.server.say("GetWorkflowRun", view("RUNNING", {"JobRunState": "RUNNING"}))

    ended = followed.run(*START, "--timeout-s", "1")

    assert ended.code == 8
    assert "it is RUNNING after 1 s, the limit of --timeout-s. It goes on" in ended.err
    assert (
        f"look at it with: aws glue get-workflow-run --name oedi-dev --run-id {RUN} "
        "--region us-west-2"
    ) in ended.err


def test_a_run_that_may_not_be_looked_at_ends_the_waiting_at_once(followed: Deployed) -> None:
    followed.server.say("GetWorkflowRun", Fault("AccessDeniedException", "no"))

    ended = followed.run(*START)

    assert ended.code == 8
    assert "Allow glue:GetWorkflowRun" in ended.err
    assert len(followed.server.requests("GetWorkflowRun")) == 1


def test_an_interrupt_ends_the_waiting_and_not_the_run(followed: Deployed) -> None:
    followed.server.say("GetWorkflowRun", view("RUNNING", {"JobRunState": "RUNNING"}))
    command = [sys.executable, "-c", "from oedi_spark.cli import main; main()", "aws", *START]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            followed.server.wait_for("GetWorkflowRun")
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=WAIT_LIMIT_S)
        finally:
            process.kill()

    assert process.returncode == 130
    assert (
        "no longer followed; the run goes on: aws glue get-workflow-run --name oedi-dev " in error
    )
    assert followed.server.requests("StopWorkflowRun") == []


def test_a_glue_that_fails_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(workflow, "LONGEST_PAUSE_S", 0.001)
    polls: list[int] = []

    def read() -> RunView:
        polls.append(1)
        raise DeploymentError("the run", "glue is busy", "Try again", is_passing=True)

    with pytest.raises(DeploymentError, match="glue is busy"):
        follow_run(read, lambda _: None, limit_s=60)
    assert len(polls) == 10


def test_the_pause_between_looks_grows_from_5_to_30_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    looks = iter([*[RunView("RUNNING", ())] * 10, RunView("COMPLETED", ())])

    follow_run(lambda: next(looks), lambda _: None, limit_s=3600)

    assert pauses[:2] == [5.0, 6.5]
    assert pauses[-1] == 30.0
    assert pauses == sorted(pauses)


def test_a_node_that_runs_has_taken_the_time_until_now() -> None:
    began, now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 3, tzinfo=UTC)

    assert Node("job", "etl", "RUNNING", started_at=began).elapsed_s(now) == 180.0
    assert Node("job", "etl", "WAITING").elapsed_s(now) is None
