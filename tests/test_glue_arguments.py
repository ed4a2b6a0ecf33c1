"""What a shell or Glue passes to the script: ours taken, Glue's passed over, the rest refused."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark import cli
from oedi_spark.errors import ConfigError
from oedi_spark.job_arguments import parse_job_arguments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GLUE = [
    "--job-bookmark-option",
    "job-bookmark-disable",
    "--TempDir",
    "s3://logs/temp/",
    "--JOB_ID",
    "j_9f",
    "--JOB_RUN_ID",
    "jr_17",
    "--JOB_NAME",
    "oedi-hours",
    "--enable-metrics",
    "",
    "--enable-observability-metrics",
    "true",
    "--enable-spark-ui",
    "--conf",
    "spark.hadoop.fs.s3a.endpoint.region=us-west-2 --conf spark.sql.x=y",
    "--additional-python-modules",
    "s3://code/oedi_spark-0.1.0.gluewheels.zip",
    "--python-modules-installer-option",
    "--no-index",
    "--datalake-formats",
    "iceberg",
    "--extra-py-files",
    "s3://code/a.py,s3://code/b.py",
]
IN_A_WORKFLOW = [*GLUE, "--WORKFLOW_NAME", "nightly", "--WORKFLOW_RUN_ID", "wr_4"]


def test_a_shells_arguments_are_those_of_the_command() -> None:
    parsed = parse_job_arguments(["--config", "conf/local.yaml", "--upgrades=0,1-5"])

    assert parsed.as_command() == ("--config=conf/local.yaml", "--upgrades=0,1-5")
    assert parsed.run == {}


def test_of_glues_arguments_ours_are_taken_and_what_names_the_run_is_kept() -> None:
    parsed = parse_job_arguments(
        [*IN_A_WORKFLOW, "--config", "s3://code/run.yaml", "--state", "CO"]
    )

    assert parsed.as_command() == ("--config=s3://code/run.yaml", "--state=CO")
    assert parsed.run == {
        "job_id": "j_9f",
        "job_run_id": "jr_17",
        "job_name": "oedi-hours",
        "workflow_name": "nightly",
        "workflow_run_id": "wr_4",
    }


@pytest.mark.parametrize("spelt", ["--output-dir", "--output_dir"])
def test_output_dir_is_spelt_with_either_sign(spelt: str) -> None:
    assert parse_job_arguments([spelt, "s3://out/lake"]).as_command() == (
        "--output-dir=s3://out/lake",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--state", "", "--config", "a.yaml", "--upgrades", "  "],
        ["--state=", "--config", "a.yaml"],
        ["--config", "a.yaml", "--output-dir", "--state", "--enable-metrics", "true"],
    ],
)
def test_an_override_without_a_value_replaces_nothing(arguments: list[str]) -> None:
    assert parse_job_arguments(arguments).as_command() == ("--config=a.yaml",)


def test_every_fault_is_told_by_its_name_and_no_value_is() -> None:
    arguments = ["--sate", "CO", "--token=hush", "--config", "a", "--config", "b", "NY"]

    with pytest.raises(ConfigError) as refused:
        parse_job_arguments(arguments)

    assert refused.value.faults == (
        "--sate is not known; did you mean --state?",
        "--token is not known",
        "--config is given twice; keep one",
        "NY belongs to no argument; write --name value",
    )
    assert "hush" not in str(refused.value)


def test_output_dir_in_both_spellings_is_given_twice() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        parse_job_arguments(["--output-dir", "a", "--output_dir", "b"])


def test_an_option_that_pip_gets_from_glue_is_a_value_and_not_an_argument_of_ours() -> None:
    arguments = ["--python-modules-installer-option", "--no-index --upgrade", "--config", "a"]
    assert parse_job_arguments(arguments).as_command() == ("--config=a",)


def test_a_star_reaches_the_command_as_it_is() -> None:
    assert parse_job_arguments(["--state", "*"]).as_command() == ("--state=*",)


def test_the_job_refuses_an_unknown_argument_with_2_before_it_reads_anything(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job(["--config", str(tmp_path / "no.yaml"), "--stat", "CO"], never) == 2

    error = capsys.readouterr().err
    assert "--stat is not known; did you mean --state?" in error
    assert "no.yaml" not in error


def test_the_job_without_a_config_ends_with_2_and_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job([*GLUE, "--config", ""], never) == 2
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("half", "lacking"),
    [
        (["--WORKFLOW_NAME", "nightly"], "--WORKFLOW_RUN_ID"),
        (["--WORKFLOW_RUN_ID", "wr_4"], "--WORKFLOW_NAME"),
        (["--WORKFLOW_NAME", "nightly", "--WORKFLOW_RUN_ID", ""], "--WORKFLOW_RUN_ID"),
    ],
)
def test_half_of_what_names_a_workflows_run_is_refused(
    capsys: pytest.CaptureFixture[str], half: list[str], lacking: str
) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job([*GLUE, *half, "--config", "no.yaml"], never) == 2
    error = capsys.readouterr().err
    assert f"{lacking} is missing beside its other half" in error
    assert "no.yaml" not in error


def test_help_asks_no_workflow_for_anything(capsys: pytest.CaptureFixture[str]) -> None:
    never: Future[SparkSession] = Future()

    assert cli.run_job([*IN_A_WORKFLOW, "--help"], never) == 0
    assert "--upgrades" in capsys.readouterr().out


def test_the_job_logs_what_glue_says_of_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "src_bucket: ./lake\noutput_dir: ./out\njob_specific:\n"
        "  - {release_year: 2024, release_name: comstock_amy2018_release_1, state: CO, "
        "upgrades: 0}\n"
    )
    never: Future[SparkSession] = Future()
    never.set_exception(RuntimeError("no Spark is needed to find that there is nothing to read"))

    assert cli.run_job([*GLUE, "--config", str(config)], never) == 3

    (line,) = [each for each in capsys.readouterr().err.splitlines() if "started by Glue" in each]
    # JSON, although the config says text: the alarms read it.
    said = json.loads(line)
    assert [said[name] for name in ("job_run_id", "job_id", "job_name", "level")] == [
        "jr_17",
        "j_9f",
        "oedi-hours",
        "info",
    ]


def test_switches_of_a_run_are_on_or_off_in_words() -> None:
    """Glue passes an argument with a value; one that is empty would be on by accident."""
    on = parse_job_arguments(["--config", "c.yaml", "--force", "true", "--retry_failed", "true"])
    off = parse_job_arguments(["--config", "c.yaml", "--force", "false"])

    assert on.as_command() == ("--config=c.yaml", "--force", "--retry-failed")
    assert off.as_command() == ("--config=c.yaml",)
    for said in (["--force"], ["--force", ""], ["--force", "yes"]):
        with pytest.raises(ConfigError, match="write --force true, or --force false"):
            parse_job_arguments(["--config", "c.yaml", *said])
