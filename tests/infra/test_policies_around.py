"""What upkeep and crawlers may do, and who may take a role, enter the bucket, tell the topic."""

from __future__ import annotations

import pytest

from tests.infra.iam import Request, applies, as_list, is_allowed, statements
from tests.infra.policies import (  # noqa: F401 - one is a fixture
    BUCKET,
    GLUE,
    LOGS,
    Deployed,
    read_policies,
)
from tests.infra.terraform import Applied


def test_upkeep_writes_tables_and_nothing_else(deployed: Deployed) -> None:
    policies = deployed.roles["oedi-dev-maintain"]
    table = f"{GLUE}:table/oedi_dev/hourly"
    file = f"{BUCKET}/warehouse/oedi_dev/hourly/data/a.parquet"
    assert is_allowed(policies, Request("glue:UpdateTable", table))
    assert is_allowed(policies, Request("s3:DeleteObject", file))
    assert not is_allowed(policies, Request("glue:CreateTable", table))
    copy = f"{BUCKET}/etl_output/metadata/release=r/state=CO/upgrade=0/a.parquet"
    assert not is_allowed(policies, Request("s3:DeleteObject", copy))


CRAWLED = f"{BUCKET}/etl_output/metadata/release=r/state=CO/upgrade=0/a.parquet"
LANDED = f"{GLUE}:table/oedi_dev/landed_metadata"


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("s3:GetBucketLocation", BUCKET, {}),
        ("s3:ListBucket", BUCKET, {"s3:prefix": "etl_output/metadata/"}),
        ("s3:GetObject", CRAWLED, {}),
        *(
            (f"glue:{action}", resource, {})
            for action in ("GetDatabase", "GetTable", "GetTables", "CreateTable", "UpdateTable")
            for resource in (f"{GLUE}:catalog", f"{GLUE}:database/oedi_dev", LANDED)
        ),
        *(
            (f"glue:{action}", LANDED, {})
            for action in ("BatchCreatePartition", "BatchUpdatePartition", "CreatePartition")
        ),
        *(
            (f"glue:{action}", LANDED, {})
            for action in ("BatchGetPartition", "GetPartition", "GetPartitions", "UpdatePartition")
        ),
        ("logs:CreateLogGroup", f"{LOGS}:/aws-glue/crawlers", {}),
        ("logs:CreateLogGroup", f"{LOGS}:/aws-glue/crawlers:log-stream:", {}),
        ("logs:CreateLogStream", f"{LOGS}:/aws-glue/crawlers:log-stream:oedi-dev-landed", {}),
        ("logs:PutLogEvents", f"{LOGS}:/aws-glue/crawlers:log-stream:oedi-dev-landed", {}),
    ],
)
def test_crawler_may_read_the_copies_and_write_their_tables(
    deployed: Deployed, action: str, resource: str, context: dict[str, str]
) -> None:
    assert is_allowed(deployed.roles["oedi-dev-crawler"], Request(action, resource, context))


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("glue:UpdateTable", f"{GLUE}:table/oedi_dev/metadata", {}),
        ("glue:CreateTable", f"{GLUE}:table/oedi_dev/hourly", {}),
        ("glue:DeleteTable", LANDED, {}),
        ("glue:BatchDeletePartition", LANDED, {}),
        ("glue:CreateTable", f"{GLUE}:table/oedi_prod/landed_metadata", {}),
        ("s3:PutObject", CRAWLED, {}),
        ("s3:DeleteObject", CRAWLED, {}),
        ("s3:GetObject", f"{BUCKET}/etl_output/summaries/summary.json", {}),
        ("s3:GetObject", f"{BUCKET}/warehouse/oedi_dev/hourly/data/a.parquet", {}),
        ("s3:ListBucket", BUCKET, {"s3:prefix": "warehouse/"}),
        ("s3:ListBucket", BUCKET, {"s3:prefix": "etl_output/"}),
        ("logs:PutLogEvents", f"{LOGS}:/aws-glue/crawlers:log-stream:another", {}),
    ],
)
def test_crawler_leaves_the_tables_and_the_copies_alone(
    deployed: Deployed, action: str, resource: str, context: dict[str, str]
) -> None:
    assert not is_allowed(deployed.roles["oedi-dev-crawler"], Request(action, resource, context))


# --- who may take a role, enter the bucket, tell the topic ---


def test_roles_are_inline_and_for_glue_of_this_account_alone(deployed: Deployed) -> None:
    assert sorted(deployed.roles) == ["oedi-dev-crawler", "oedi-dev-etl", "oedi-dev-maintain"]
    assert deployed.attached == []
    for role, trust in deployed.trusts.items():
        (statement,) = statements(trust)
        assert statement["Principal"] == {"Service": "glue.amazonaws.com"} or statement[
            "Principal"
        ] == {"Service": ["glue.amazonaws.com"]}, role
        for account_id, expected in (("123456789012", True), ("210987654321", False)):
            request = Request("sts:AssumeRole", role, {"aws:sourceaccount": account_id})
            assert is_allowed([trust], request) is expected
        assert not is_allowed([trust], Request("sts:AssumeRole", role))


@pytest.mark.parametrize(
    ("secure", "version", "expected"),
    [("false", None, True), ("true", "1.1", True), ("true", "1.2", False), ("true", "1.3", False)],
)
def test_bucket_denies_whoever_does_not_speak_modern_tls(
    deployed: Deployed, secure: str, version: str | None, expected: bool
) -> None:
    context = {"aws:securetransport": secure} | ({"s3:tlsversion": version} if version else {})
    for action, resource in (("s3:GetObject", f"{BUCKET}/warehouse/a"), ("s3:ListBucket", BUCKET)):
        request = Request(action, resource, context)
        denying = [each for each in statements(deployed.bucket) if applies(each, request)]
        assert bool(denying) is expected
        for statement in denying:
            assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")


def test_topic_hears_alarms_and_rules_of_this_account_alone(
    deployed: Deployed, applied: Applied
) -> None:
    topic = applied.outputs["topic_arn"]
    (statement,) = statements(deployed.topic)
    assert sorted(as_list(statement["Principal"]["Service"])) == [
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    ]
    assert list(statement["Principal"]) == ["Service"]
    ours, theirs = (
        {"aws:sourceaccount": account_id} for account_id in ("123456789012", "210987654321")
    )
    assert is_allowed([deployed.topic], Request("sns:Publish", topic, ours))
    assert not is_allowed([deployed.topic], Request("sns:Publish", topic, theirs))
    assert not is_allowed([deployed.topic], Request("sns:Publish", topic))
    assert not is_allowed([deployed.topic], Request("sns:Subscribe", topic, ours))


def test_no_allowance_has_a_wildcard_action_or_every_resource(deployed: Deployed) -> None:
    everything = []
    for role, policies in deployed.roles.items():
        for statement in (each for policy in policies for each in statements(policy)):
            assert "NotAction" not in statement
            assert "NotResource" not in statement
            assert not any("*" in action for action in as_list(statement["Action"]))
            if "*" in as_list(statement["Resource"]):
                everything.append((role, as_list(statement["Action"]), statement["Condition"]))
    in_glue = {"StringEquals": {"cloudwatch:namespace": "Glue"}}
    jobs = ("oedi-dev-etl", "oedi-dev-maintain")
    assert sorted(everything) == [(job, ["cloudwatch:PutMetricData"], in_glue) for job in jobs]
