"""`aws run-workflow`: proved before it starts, started once, and the default left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws.conftest import BUCKET, DEFAULT_CONFIG, Deployed
from tests.aws.server import Fault

START = ("run-workflow", "--workflow", "oedi-dev")
RUN_CONFIG = """\
src_bucket: oedi-aws-sample
output_dir: s3://oedi-dev-123456789012-us-west-2/etl_output
job_specific:
  - {release_year: "2024", release_name: comstock_amy2018_release_1, state: VT, upgrades: "1"}
catalog:
  type: glue
  database: oedi_dev
  warehouse_dir: s3://oedi-dev-123456789012-us-west-2/warehouse
"""
RUN_CONFIG_NAME = "8ab74676757b33ed"
"""The first 16 digits that `sha256sum` gives for it."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "vermont.yaml"
    path.write_text(RUN_CONFIG)
    return path


def test_run_workflow_without_a_config_starts_the_deployed_default(deployed: Deployed) -> None:
    ended = deployed.run(*START)

    assert (ended.code, ended.err) == (0, "")
    assert deployed.started() == [{}]
    assert deployed.keys("scripts/") == ["scripts/conf/default.yaml"]
    run_id = ended.out.split()[1]
    page = "https://us-west-2.console.aws.amazon.com"
    assert ended.out.splitlines() == [
        f"run  {run_id}",
        (
            f"workflow  {page}/glue/home?region=us-west-2"
            f"#/v2/etl-configuration/workflows/run/oedi-dev?runId={run_id}"
        ),
        f"job  {page}/gluestudio/home?region=us-west-2#/editor/job/oedi-dev-etl/runs",
        (
            f"logs  {page}/cloudwatch/home?region=us-west-2#logsV2:log-groups/log-group/"
            "$252Faws-glue$252Foedi-dev$252Fetl$252Ferror"
        ),
        f"athena  {page}/athena/home?region=us-west-2#/workgroups/details/oedi-dev",
        (
            f"look at it with: aws glue get-workflow-run --name oedi-dev --run-id {run_id} "
            "--region us-west-2"
        ),
    ]


def test_a_config_is_uploaded_by_its_content_and_passed_by_its_place(
    deployed: Deployed, config: Path
) -> None:
    ended = deployed.run(*START, "--config", str(config), "--state", "VT", "--upgrades", "0-1")

    uri = f"s3://{BUCKET}/scripts/runs/{RUN_CONFIG_NAME}.yaml"
    assert ended.code == 0
    assert ended.out.splitlines()[0] == f"config  {uri}"
    assert deployed.started() == [{"config": uri, "state": "VT", "upgrades": "0-1"}]
    assert deployed.read(f"scripts/runs/{RUN_CONFIG_NAME}.yaml") == RUN_CONFIG
    assert deployed.read("scripts/conf/default.yaml") == DEFAULT_CONFIG
    kept = deployed.server.client("glue").get_workflow(Name="oedi-dev")["Workflow"]
    assert kept["DefaultRunProperties"]["default_config"].endswith("/conf/default.yaml")
    assert "config" not in kept["DefaultRunProperties"]


def test_the_same_config_again_is_the_same_object(deployed: Deployed, config: Path) -> None:
    for _ in range(2):
        assert deployed.run(*START, "--config", str(config)).code == 0

    assert deployed.keys("scripts/runs/") == [f"scripts/runs/{RUN_CONFIG_NAME}.yaml"]
    first, second = deployed.started()
    assert first == second


def test_an_object_of_that_name_with_other_content_is_not_overwritten_and_nothing_starts(
    deployed: Deployed, config: Path
) -> None:
    deployed.put(f"scripts/runs/{RUN_CONFIG_NAME}.yaml", "somebody else's")

    ended = deployed.run(*START, "--config", str(config))

    assert ended.code == 8
    assert "has other content" in ended.err
    assert deployed.read(f"scripts/runs/{RUN_CONFIG_NAME}.yaml") == "somebody else's"
    assert deployed.started() == []


def test_an_old_config_json_keeps_its_ending(deployed: Deployed, tmp_path: Path) -> None:
    old = tmp_path / "config.json"
    old.write_text(
        '{"etl_config": {"src_bucket": "oedi-aws-sample", "output_dir": '
        f'"s3://{BUCKET}/etl_output", "job_specific": [{{"release_name": '
        '"comstock_amy2018_release_1", "release_year": "2024", "state": "CO", '
        '"upgrades": ["0"]}], "catalog": {"type": "glue", "database": "oedi_dev", '
        f'"warehouse_dir": "s3://{BUCKET}/warehouse"}}}}}}'
    )

    ended = deployed.run(*START, "--config", str(old))

    assert ended.code == 0
    assert [key[-5:] for key in deployed.keys("scripts/runs/")] == [".json"]


def test_a_config_on_s3_is_copied_to_where_the_job_may_read(deployed: Deployed) -> None:
    deployed.put("elsewhere/vermont.yaml", RUN_CONFIG)

    ended = deployed.run(*START, "--config", f"s3://{BUCKET}/elsewhere/vermont.yaml")

    assert ended.code == 0
    key = f"scripts/runs/{RUN_CONFIG_NAME}.yaml"
    assert deployed.started() == [{"config": f"s3://{BUCKET}/{key}"}]
    assert deployed.read(key) == RUN_CONFIG


def test_a_config_that_was_uploaded_before_is_passed_as_it_is(deployed: Deployed) -> None:
    uri = f"s3://{BUCKET}/scripts/runs/earlier.yaml"
    deployed.put("scripts/runs/earlier.yaml", RUN_CONFIG)

    assert deployed.run(*START, "--config", uri).code == 0

    assert deployed.started() == [{"config": uri}]
    assert deployed.keys("scripts/runs/") == ["scripts/runs/earlier.yaml"]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (RUN_CONFIG.replace("upgrades", "upgrade"), (), "upgrade"),
        (RUN_CONFIG.replace("s3://oedi-dev-123456789012-us-west-2/etl_output", "./out"), (), "s3"),
        (RUN_CONFIG, ("--state", "Vermont"), "state"),
        (RUN_CONFIG, ("--upgrades", "one"), "upgrades"),
        (
            (
                "src_bucket: ./lake\noutput_dir: ./out\njob_specific:\n  - {release_year: 2024, "
                "release_name: comstock_amy2018_release_1, state: CO, upgrades: 0}\n"
            ),
            (),
            "src_bucket: is a folder of a machine, which a job on AWS does not have",
        ),
        ("", (), "run.yaml"),
    ],
)
def test_a_faulty_config_is_refused_before_anything_is_uploaded_or_started(
    deployed: Deployed, tmp_path: Path, text: str, arguments: tuple[str, ...], said: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)

    ended = deployed.run(*START, "--config", str(config), *arguments)

    assert ended.code == 2
    assert said in ended.err
    assert deployed.started() == []
    assert deployed.keys("scripts/runs/") == []


def test_a_faulty_state_is_refused_for_the_deployed_default_too(deployed: Deployed) -> None:
    ended = deployed.run(*START, "--state", "Colorado")

    assert ended.code == 2
    assert "state override" in ended.err
    assert deployed.started() == []


def test_a_config_that_is_not_there_is_refused(deployed: Deployed) -> None:
    ended = deployed.run(*START, "--config", "no.yaml")

    assert ended.code == 2
    assert "no.yaml" in ended.err
    assert deployed.started() == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("oedi_dev", "roads", "catalog.database: is roads; the deployment's is oedi_dev"),
        ("us-west-2/etl_output", "us-west-2/mine", "output_dir: is s3://oedi-dev-123456789012-us"),
        (
            "  warehouse_dir: s3://oedi-dev-123456789012-us-west-2/warehouse\n",
            "",
            "the deployment's is s3://oedi-dev-123456789012-us-west-2/warehouse, so write that",
        ),
    ],
)
def test_a_config_that_would_publish_elsewhere_than_the_deployment_is_refused(
    deployed: Deployed, config: Path, old: str, new: str, said: str
) -> None:
    config.write_text(RUN_CONFIG.replace(old, new))

    ended = deployed.run(*START, "--config", str(config))

    assert ended.code == 2
    assert said in ended.err
    assert deployed.started() == []
    assert deployed.keys("scripts/runs/") == []


def test_the_workflow_is_known_from_the_environment(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OEDI_SPARK_WORKFLOW", "oedi-dev")

    assert deployed.run("run-workflow").code == 0
    assert deployed.started() == [{}]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "OEDI_SPARK_WORKFLOW"),
        (("--workflow", "a/../b"), 2, "is no name of a workflow"),
        (("--workflow", "oedi-dev", "--region", "the west"), 2, "--region us-west-2"),
        (("--workflow", "oedi-prod"), 8, "workflow oedi-prod cannot be read: EntityNotFound"),
        (("--workflow", "elsewhere"), 8, "lack default_config, runs_uri, workgroup, database"),
    ],
)
def test_a_workflow_that_is_none_of_ours_is_refused_with_a_sentence(
    deployed: Deployed, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = deployed.run("run-workflow", *arguments)

    assert ended.code == code
    assert said in ended.err
    assert deployed.started() == []


def test_a_workflow_with_as_many_runs_as_it_may_have_says_so(deployed: Deployed) -> None:
    deployed.server.say("StartWorkflowRun", Fault("ConcurrentRunsExceededException", "Too many"))

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "it has as many runs at a time as it may. Wait until one ends" in ended.err
    assert len(deployed.started()) == 1


def test_a_start_that_glue_was_too_busy_for_is_asked_again(deployed: Deployed) -> None:
    busy = Fault("ThrottlingException", "Rate exceeded")
    deployed.server.say("StartWorkflowRun", busy, {"RunId": "wr_17"})

    ended = deployed.run(*START)

    assert ended.code == 0
    assert ended.out.startswith("run  wr_17\n")
    assert len(deployed.started()) == 2


@pytest.mark.parametrize(
    "fault", [Fault(drops=True), Fault("InternalServiceException", status=500)]
)
def test_a_start_whose_answer_is_lost_is_not_asked_again(deployed: Deployed, fault: Fault) -> None:
    deployed.server.say("StartWorkflowRun", fault)

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "nobody knows whether workflow oedi-dev has started" in ended.err
    assert "aws glue get-workflow-runs --name oedi-dev" in ended.err
    assert len(deployed.started()) == 1


def test_a_right_that_is_lacking_is_named(deployed: Deployed) -> None:
    denied = Fault("AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized")
    deployed.server.say("StartWorkflowRun", denied)

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "Allow glue:StartWorkflowRun to these credentials" in ended.err


def test_a_config_that_may_not_be_uploaded_starts_nothing(
    deployed: Deployed, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.server.say("PutObject", Fault("AccessDenied", status=403))

    ended = deployed.run(*START, "--config", str(config))

    assert ended.code == 8
    assert "Allow s3:PutObject" in ended.err
    assert deployed.started() == []


def test_credentials_that_aws_refuses_are_a_sentence_without_what_was_signed(
    deployed: Deployed,
) -> None:
    deployed.server.say("GetWorkflow", Fault("ExpiredTokenException", "of token planted-token"))

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "AWS refuses the credentials (ExpiredTokenException). Sign in" in ended.err
    assert "planted-token" not in ended.err


def test_no_credentials_at_all_are_a_sentence(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "there are no credentials (NoCredentialsError). Sign in (`aws sso login`)" in ended.err


def test_no_region_at_all_is_a_sentence(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "no region is known. Give --region, or set AWS_REGION" in ended.err


def test_a_profile_that_is_not_there_is_a_sentence(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "there are no credentials (ProfileNotFound)" in ended.err


def test_aws_that_does_not_answer_is_given_up_with_a_sentence(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discard: nobody listens

    ended = deployed.run(*START)

    assert ended.code == 8
    assert "AWS did not answer (EndpointConnectionError, after at most 4 attempts)" in ended.err
