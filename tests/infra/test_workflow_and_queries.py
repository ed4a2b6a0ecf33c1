"""The applied workflow, its crawler, and the saved queries, as AWS would give them back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.infra.terraform import Applied

BUCKET = "oedi-dev-123456789012-us-east-1"


@pytest.fixture(scope="session")
def saved(applied: Applied) -> dict[str, dict[str, Any]]:
    """The saved queries of the workgroup, by name."""
    athena = applied.client("athena")
    ids = athena.list_named_queries(WorkGroup="oedi-dev")["NamedQueryIds"]
    found = [athena.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids]
    athena.close()
    return {each["Name"]: each for each in found}


# --- the workflow ---


def test_workflow_tells_the_command_line_where_everything_is(applied: Applied) -> None:
    glue = applied.client("glue")
    workflow = glue.get_workflow(Name="oedi-dev")["Workflow"]
    glue.close()
    assert workflow["DefaultRunProperties"] == {
        "default_config": f"s3://{BUCKET}/scripts/conf/default.yaml",
        "runs_uri": f"s3://{BUCKET}/scripts/runs",
        "workgroup": "oedi-dev",
        "database": "oedi_dev",
        "etl_job": "oedi-dev-etl",
        "log_group_prefix": "/aws-glue/oedi-dev/etl",
        "output_uri": f"s3://{BUCKET}/etl_output",
        "warehouse_uri": f"s3://{BUCKET}/warehouse",
    }
    assert workflow["MaxConcurrentRuns"] == 1


def test_workflow_starts_the_job_and_then_the_crawler(applied: Applied) -> None:
    glue = applied.client("glue")
    start, after = (
        glue.get_trigger(Name=name)["Trigger"] for name in ("oedi-dev-start", "oedi-dev-after-etl")
    )
    glue.close()
    assert (start["WorkflowName"], start["Type"]) == ("oedi-dev", "ON_DEMAND")
    assert [each["JobName"] for each in start["Actions"]] == ["oedi-dev-etl"]
    assert (after["WorkflowName"], after["Type"]) == ("oedi-dev", "CONDITIONAL")
    assert after["Predicate"]["Logical"] == "ANY"
    (condition,) = after["Predicate"]["Conditions"]
    assert (condition["JobName"], condition["State"]) == ("oedi-dev-etl", "SUCCEEDED")
    assert [each["CrawlerName"] for each in after["Actions"]] == ["oedi-dev-landed"]


def test_crawler_makes_one_table_of_all_landed_copies(applied: Applied) -> None:
    glue = applied.client("glue")
    crawlers = glue.get_crawlers()["Crawlers"]
    glue.close()
    (crawler,) = crawlers  # the one for Iceberg is an option
    assert (crawler["Name"], crawler["DatabaseName"]) == ("oedi-dev-landed", "oedi_dev")
    assert crawler["TablePrefix"] == "landed_"
    (target,) = crawler["Targets"]["S3Targets"]
    assert target["Path"] == f"s3://{BUCKET}/etl_output/metadata/"
    configuration = json.loads(crawler["Configuration"])
    assert configuration["Grouping"]["TableLevelConfiguration"] == 3
    assert configuration["CrawlerOutput"] == {
        "Tables": {"AddOrUpdateBehavior": "MergeNewColumns"},
        "Partitions": {"AddOrUpdateBehavior": "InheritFromTable"},
    }
    assert crawler["RecrawlPolicy"] == {"RecrawlBehavior": "CRAWL_EVERYTHING"}
    assert crawler["SchemaChangePolicy"] == {
        "UpdateBehavior": "UPDATE_IN_DATABASE",
        "DeleteBehavior": "LOG",
    }


# --- the queries ---


def test_workgroup_limits_and_encrypts_whatever_a_client_says(applied: Applied) -> None:
    athena = applied.client("athena")
    settings = athena.get_work_group(WorkGroup="oedi-dev")["WorkGroup"]["Configuration"]
    athena.close()
    assert settings["EnforceWorkGroupConfiguration"] is True
    assert settings["PublishCloudWatchMetricsEnabled"] is True
    assert settings["BytesScannedCutoffPerQuery"] == 100_000_000_000
    assert settings["EngineVersion"]["SelectedEngineVersion"] == "Athena engine version 3"
    results = settings["ResultConfiguration"]
    assert results["OutputLocation"] == f"s3://{BUCKET}/query-results/"
    assert results["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}
    assert results["ExpectedBucketOwner"] == "123456789012"


def test_every_file_is_saved_once_under_its_name(saved: dict[str, dict[str, Any]]) -> None:
    queries = {path.stem for path in (PROJECT / "sql" / "queries").glob("*.sql")}
    views = {f"view_{path.stem}" for path in (PROJECT / "sql" / "views").glob("*.sql")}
    assert queries
    assert views
    assert saved.keys() == queries | views
    assert {each["Database"] for each in saved.values()} == {"oedi_dev"}
    assert {each["WorkGroup"] for each in saved.values()} == {"oedi-dev"}


def test_description_is_the_first_line_of_the_file(saved: dict[str, dict[str, Any]]) -> None:
    for path in (PROJECT / "sql" / "queries").glob("*.sql"):
        first = path.read_text("utf-8").splitlines()[0]
        assert f"-- {saved[path.stem]['Description']}" == first


def test_deployed_choice_changes_marked_literals_and_nothing_else(
    saved: dict[str, dict[str, Any]],
) -> None:
    """The default chooses what the files choose, so that only its format could differ."""
    folders = (("queries", ""), ("views", "view_"))
    for folder, prefix in folders:
        for path in (PROJECT / "sql" / folder).glob("*.sql"):
            assert saved[f"{prefix}{path.stem}"]["QueryString"] == path.read_text("utf-8"), path


def test_every_marker_is_one_that_the_deployment_understands() -> None:
    """What Terraform would refuse, told here with the file's name and without Terraform."""
    understood = re.compile(
        r"('[A-Za-z0-9_.]+' -- choose release|'[A-Z]{2}' -- choose state"
        r"|= [0-9]+ -- choose upgrade|'G[0-9]{7}' -- choose county)$"
    )
    marked = [
        (path.name, line)
        for path in (PROJECT / "sql").rglob("*.sql")
        for line in path.read_text("utf-8").splitlines()
        if "-- choose " in line
    ]
    assert len(marked) > 10
    assert [each for each in marked if not understood.search(each[1])] == []
