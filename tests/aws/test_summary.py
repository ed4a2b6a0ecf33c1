"""A summary on S3, told as the run told it; and where a run in a workflow leaves it."""

from __future__ import annotations

import json
from pathlib import Path

from oedi_spark.contracts import RunOrigin
from oedi_spark.deployment.summary import summary_text
from oedi_spark.lake.summaries import keep_summary
from oedi_spark.tracking.summary import RunSummary
from tests.aws.answers import summary_of


def test_the_json_is_told_as_the_run_told_it() -> None:
    error = "2 partition(s) not published\n  release/CO/0: 3 of 4"
    summary = summary_of(outcome="not published", exit_code=4, error=error)

    assert summary_text(json.loads(json.dumps(summary.as_json()))) == summary.as_text()


def test_a_run_without_faults_is_told_as_the_run_told_it() -> None:
    summary = RunSummary(
        **{**vars(summary_of(outcome="published", exit_code=0)), "partitions": ()},
    )

    assert summary_text(json.loads(json.dumps(summary.as_json()))) == summary.as_text()


def test_a_summary_of_another_version_is_told_by_its_outcome_alone() -> None:
    run = {"run_id": "r\x1b[2J", "outcome": "published", "exit_code": 0, "error": "one\ntwo"}

    assert summary_text({"run": run, "time_stat": {"total": 1}}).splitlines() == [
        "run r\\x1b[2J: published (exit 0)",
        "  one\\ntwo",
        "  the rest is of another version: see the JSON",
    ]


def test_a_run_in_a_workflow_leaves_its_summary_under_the_workflows_run_too(
    tmp_path: Path,
) -> None:
    origin = RunOrigin("jr_17", "oedi-dev", "wr_4f1e")

    uri = keep_summary({"a": 1}, "run-1", f"file://{tmp_path}", origin=origin)

    assert uri == f"file://{tmp_path}/summaries/summary-run-1.json"
    assert {path.name: path.read_text() for path in (tmp_path / "summaries").iterdir()} == {
        "summary-run-1.json": '{\n  "a": 1\n}\n',
        "summary.json": '{\n  "a": 1\n}\n',
        "workflow-wr_4f1e.json": '{\n  "a": 1\n}\n',
    }


def test_a_run_of_its_own_leaves_none_for_a_workflow(tmp_path: Path) -> None:
    keep_summary({}, "run-1", f"file://{tmp_path}", origin=RunOrigin("jr_17"))

    assert sorted(path.name for path in (tmp_path / "summaries").iterdir()) == [
        "summary-run-1.json",
        "summary.json",
    ]


def test_an_id_that_leads_out_of_the_folder_names_no_file(tmp_path: Path) -> None:
    origin = RunOrigin(workflow_name="oedi-dev", workflow_run_id="/../../escaped")

    assert keep_summary({}, "run-1", f"file://{tmp_path}/out", origin=origin) is None
    assert [path.name for path in tmp_path.rglob("*escaped*")] == []
