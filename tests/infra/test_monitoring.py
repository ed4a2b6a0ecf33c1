"""Alarms that hear the job: its real log lines, against the patterns of the applied filters."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oedi_spark import pipeline
from oedi_spark.cli import run_job
from oedi_spark.log import configure_logs, get_logger
from oedi_spark.tracking.summary import RunSummary
from oedi_spark.tracking.tracker import RunTracker
from tests.infra.terraform import Applied

COMPARISON = re.compile(r'\(?\$\.(\w+) (=|!=|>=) (?:"([^"]*)"|(\d+))\)?')


def matches(pattern: str, line: str) -> bool:
    """Whether a filter pattern matches a log line; the part of CloudWatch's language we use.

    A text in quotes is looked for anywhere. `{ … }` compares fields of a line of JSON, joined by
    `&&` or `||`, in brackets where both stand; a field that is not there compares as false.
    """
    if pattern.startswith('"'):
        return json.loads(pattern) in line
    try:
        fields = json.loads(line)
    except ValueError:
        return False
    inner = re.fullmatch(r"\{ (.*) \}", pattern)
    assert inner, pattern
    said = COMPARISON.sub(lambda found: str(_compare(found, fields)), inner[1])
    assert re.fullmatch(r"(True|False|&&|\|\||[() ])+", said), said
    while (smaller := _reduce(said)) != said:
        said = smaller
    assert said in ("True", "False"), said
    return said == "True"


def _compare(found: re.Match[str], fields: dict[str, Any]) -> bool:
    name, operator, text, number = found.groups()
    if name not in fields:
        return False
    has = fields[name]
    if text is not None:
        assert operator == "="
        return bool(has == text)
    assert isinstance(has, int | float), f"{name} is no number: {has!r}"
    wanted = int(number)
    return {"=": has == wanted, "!=": has != wanted, ">=": has >= wanted}[operator]


def _reduce(said: str) -> str:
    """One step: a bracket around one word, or a pair without a bracket between."""
    said = re.sub(r"\((True|False)\)", r"\1", said)
    return re.sub(
        r"(True|False) (&&|\|\|) (True|False)(?! (?:&&|\|\|))",
        lambda m: str((m[1] == "True" and m[3] == "True") if m[2] == "&&" else "True" in m[0]),
        said,
        count=1,
    )


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        ('{ $.event = "a b" }', '{"event": "a b"}', True),
        ('{ $.event = "a b" }', '{"event": "a"}', False),
        ('{ $.event = "a" }', "event=a", False),
        ('{ ($.a = "x") && (($.n = 0) || ($.n = 6)) }', '{"a": "x", "n": 6}', True),
        ('{ ($.a = "x") && (($.n = 0) || ($.n = 6)) }', '{"a": "x", "n": 5}', False),
        ('{ ($.a = "x") && (($.n = 0) || ($.n = 6)) }', '{"a": "y", "n": 0}', False),
        ('{ ($.a = "x") && ($.n != 0) && ($.n != 6) }', '{"a": "x", "n": 4}', True),
        ('{ ($.a = "x") && ($.n != 0) && ($.n != 6) }', '{"a": "x", "n": 6}', False),
        ('{ ($.a = "x") && ($.n >= 0) }', '{"a": "x"}', False),
        ('"oedi-spark:"', "oedi-spark: no such config", True),
        ('"oedi-spark:"', "oedi-spark version 1", False),
    ],
)
def test_matcher_of_these_tests_reads_patterns_as_documented(
    pattern: str, line: str, expected: bool
) -> None:
    assert matches(pattern, line) is expected


@pytest.fixture(scope="session")
def filters(applied: Applied) -> dict[str, dict[str, Any]]:
    """The applied metric filters of the job's log group, by the metric that each feeds."""
    logs = applied.client("logs")
    found = logs.describe_metric_filters(logGroupName=applied.outputs["error_log_group_name"])
    logs.close()
    return {each["metricTransformations"][0]["metricName"]: each for each in found["metricFilters"]}


@pytest.fixture
def json_logs(tmp_path: Path) -> Iterator[Path]:
    """The job's own logging as on Glue, into a file."""
    file = tmp_path / "run.log"
    configure_logs(level="INFO", file=file, as_json=True)
    yield file
    package = logging.getLogger("oedi_spark")
    for handler in list(package.handlers):
        package.removeHandler(handler)
        handler.close()


def ended_with(exit_code: int) -> RunSummary:
    """A summary as the tracker makes it."""
    summary = RunTracker("20261121T060000Z-0123abcd").summarise(
        outcome="published", exit_code=exit_code, error=None
    )
    return replace(summary, total_s=93.46, published_rows=17_520)


def fed(filters: dict[str, dict[str, Any]], line: str) -> dict[str, float]:
    """The metrics that a log line feeds, with their values."""
    found = {}
    for metric, each in filters.items():
        if matches(each["filterPattern"], line):
            value = each["metricTransformations"][0]["metricValue"]
            named = value.removeprefix("$.")
            found[metric] = float(value if named == value else json.loads(line)[named])
    return found


@pytest.mark.parametrize(
    ("exit_code", "metric"),
    [(0, "runs_published"), (6, "runs_published"), (4, "runs_failed"), (1, "runs_failed")],
)
def test_end_of_a_run_feeds_its_figures(
    filters: dict[str, dict[str, Any]], json_logs: Path, exit_code: int, metric: str
) -> None:
    get_logger("oedi_spark.pipeline").info("run ended", **ended_with(exit_code).headline())

    (line,) = json_logs.read_text("utf-8").splitlines()
    assert fed(filters, line) == {
        metric: 1.0,
        "run_s": 93.5,
        "hours": 17520.0,
        "files_listed": 0.0,
        "files_uploaded": 0.0,
    }


def test_lines_of_a_whole_run_feed_failure_and_nothing_of_success(
    filters: dict[str, dict[str, Any]], json_logs: Path, tmp_path: Path
) -> None:
    """A run over nothing, by the real pipeline: what it logs is what the alarms read."""
    from oedi_spark.config import RunConfig

    (tmp_path / "lake").mkdir()
    job = {"release_year": "2024", "release_name": "comstock_amy2018_release_1"}
    config = RunConfig.model_validate(
        {
            "src_bucket": str(tmp_path / "lake"),
            "output_dir": str(tmp_path / "out"),
            "job_specific": [job | {"state": "CO", "upgrades": "0"}],
            "settings": {"log_dir": str(tmp_path / "logs")},
        }
    )

    assert pipeline.run(config, Future()).exit_code == 3

    told: dict[str, float] = {}
    for line in json_logs.read_text("utf-8").splitlines():
        told |= fed(filters, line)
    assert told["runs_failed"] == 1.0
    assert "runs_published" not in told
    assert told["errors_logged"] == 1.0  # `run failed`, with what it failed by


def test_lost_file_is_counted(filters: dict[str, dict[str, Any]], json_logs: Path) -> None:
    # As pipeline.run says it; tests/test_pipeline.py has runs with lost files.
    get_logger("oedi_spark.pipeline").warning("file lost", key="a.parquet", why="empty: 0 bytes")

    (line,) = json_logs.read_text("utf-8").splitlines()
    assert fed(filters, line) == {"files_lost": 1.0}
    source = Path(pipeline.__file__).read_text("utf-8")
    assert '_log.warning("file lost", ' in source


def test_error_of_any_module_is_counted(
    filters: dict[str, dict[str, Any]], json_logs: Path
) -> None:
    get_logger("oedi_spark.anything").error("no disk left")
    get_logger("oedi_spark.anything").warning("no disk left soon")

    error, warning = json_logs.read_text("utf-8").splitlines()
    assert fed(filters, error) == {"errors_logged": 1.0}
    assert fed(filters, warning) == {}


def test_refused_config_is_counted(
    filters: dict[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_job(["--config", "/nowhere/at/all.yaml"], Future()) == 2

    counted = [fed(filters, line) for line in capfd.readouterr().err.splitlines()]
    assert [each for each in counted if each] == [{"refusals": 1.0}]


def test_every_alarm_tells_the_topic_and_reads_a_figure_that_is_fed(
    applied: Applied, filters: dict[str, dict[str, Any]]
) -> None:
    cloudwatch = applied.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="oedi-dev-")["MetricAlarms"]
    cloudwatch.close()
    assert sorted(each["AlarmName"] for each in alarms) == [
        "oedi-dev-errors",
        "oedi-dev-failed-runs",
        "oedi-dev-lost-files",
        "oedi-dev-refusals",
        "oedi-dev-slow-run",
        "oedi-dev-undelivered",
    ]
    for alarm in alarms:
        assert alarm["AlarmActions"] == [applied.outputs["topic_arn"]]
        assert alarm["TreatMissingData"] == "notBreaching"
        if alarm["Namespace"] == "oedi-spark/oedi-dev":
            transformation = filters[alarm["MetricName"]]["metricTransformations"][0]
            assert transformation["metricNamespace"] == alarm["Namespace"]
            assert "defaultValue" not in transformation
        else:
            assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Events", "FailedInvocations")


def test_end_of_a_glue_run_becomes_a_sentence(applied: Applied) -> None:
    """EventBridge puts the event's fields into the template; so does this, by hand."""
    events = applied.client("events")
    rule = events.describe_rule(Name="oedi-dev-run-failed")
    (target,) = events.list_targets_by_rule(Rule="oedi-dev-run-failed")["Targets"]
    events.close()
    assert json.loads(rule["EventPattern"])["detail"] == {
        "jobName": ["oedi-dev-etl", "oedi-dev-maintain"],
        "state": ["FAILED", "TIMEOUT", "STOPPED"],
    }
    assert (rule["State"], target["Arn"]) == ("ENABLED", applied.outputs["topic_arn"])
    transformer = target["InputTransformer"]
    event: dict[str, Any] = {  # as AWS documents it for Glue
        "time": "2026-11-21T06:00:00Z",
        "detail": {
            "jobName": "oedi-dev-etl",
            "state": "FAILED",
            "jobRunId": "jr_1",
            "message": "SystemExit: 6",
        },
    }
    sentence = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = event
        for step in path.removeprefix("$.").split("."):
            value = value[step]
        sentence = sentence.replace(f"<{name}>", value)
    assert json.loads(sentence).startswith(
        "Glue job oedi-dev-etl, run jr_1, ended as FAILED at 2026-11-21T06:00:00Z: SystemExit: 6."
    )


def test_dashboard_shows_figures_that_are_fed(
    applied: Applied, filters: dict[str, dict[str, Any]]
) -> None:
    cloudwatch = applied.client("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName="oedi-dev")["DashboardBody"])
    cloudwatch.close()
    metrics = [
        metric
        for widget in body["widgets"]
        for metric in widget["properties"].get("metrics", ())
        if metric[0] == "oedi-spark/oedi-dev"
    ]
    assert {metric[1] for metric in metrics} == {
        "runs_published",
        "runs_failed",
        "run_s",
        "files_listed",
        "files_uploaded",
        "files_lost",
        "hours",
    }
    assert {metric[1] for metric in metrics} <= filters.keys()
