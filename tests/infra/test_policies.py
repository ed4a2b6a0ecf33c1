"""What the roles of the jobs may do: all that a recorded run does, and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.infra.iam import Policy, Request, as_list, is_allowed, statements
from tests.infra.policies import (  # noqa: F401 - two are fixtures
    BUCKET,
    GLUE,
    LOGS,
    Asked,
    Deployed,
    read_policies,
    record_runs,
)

IN_GLUE = {"cloudwatch:namespace": "Glue"}


def refused(policies: list[Policy], requests: Iterable[Request]) -> list[str]:
    """What the policies do not allow, to be read."""
    wanted = sorted(requests, key=lambda each: (each.action, each.resource))
    return [
        f"{each.action} {each.resource} {dict(each.context) or ''}"
        for each in wanted
        if not is_allowed(policies, each)
    ]


def test_role_of_the_job_allows_all_that_two_runs_ask_for(deployed: Deployed, asked: Asked) -> None:
    assert {request.action for request in asked.runs} == {
        "glue:CreateTable",
        "glue:GetDatabase",
        "glue:GetTable",
        "glue:GetWorkflowRunProperties",
        "glue:UpdateTable",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }
    tables = {each.resource for each in asked.runs if each.action == "glue:UpdateTable"}
    assert f"{GLUE}:table/oedi_dev/hourly" in tables
    assert refused(deployed.roles["oedi-dev-etl"], asked.runs) == []


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("s3:GetObject", f"{BUCKET}/scripts/code/0123/etl.py", {}),
        ("s3:GetObject", f"{BUCKET}/scripts/runs/0123456789abcdef.yaml", {}),
        ("s3:AbortMultipartUpload", f"{BUCKET}/warehouse/oedi_dev/hourly/data/a.parquet", {}),
        ("logs:CreateLogStream", f"{LOGS}:/aws-glue/oedi-dev/etl/error:log-stream:jr_1", {}),
        ("logs:PutLogEvents", f"{LOGS}:/aws-glue/oedi-dev/etl/error:log-stream:jr_1", {}),
        ("logs:PutLogEvents", f"{LOGS}:/aws-glue/oedi-dev/etl/output:log-stream:jr_1", {}),
        ("cloudwatch:PutMetricData", "*", IN_GLUE),
    ],
)
def test_role_of_the_job_allows_what_glue_does_with_it(
    deployed: Deployed, action: str, resource: str, context: dict[str, str]
) -> None:
    assert is_allowed(deployed.roles["oedi-dev-etl"], Request(action, resource, context))


BEYOND = [
    ("s3:PutObject", f"{BUCKET}/scripts/code/0123/etl.py", {}),
    ("s3:DeleteObject", f"{BUCKET}/scripts/conf/default.yaml", {}),
    ("s3:PutObject", f"{BUCKET}/query-results/a.csv", {}),
    ("s3:GetObject", f"{BUCKET}/query-results/a.csv", {}),
    ("s3:DeleteObject", f"{BUCKET}/query-results/a.csv", {}),
    ("s3:PutObject", f"{BUCKET}/warehouse-2/a", {}),
    ("s3:PutObject", f"{BUCKET}-2/warehouse/a", {}),
    ("s3:GetObject", "arn:aws:s3:::somebody-elses/warehouse/a", {}),
    ("s3:ListBucket", BUCKET, {"s3:prefix": ""}),
    ("s3:ListBucket", BUCKET, {}),
    ("s3:ListBucket", BUCKET, {"s3:prefix": "query-results/"}),
    ("s3:ListBucket", "arn:aws:s3:::somebody-elses", {"s3:prefix": "warehouse/"}),
    ("s3:ListAllMyBuckets", "*", {}),
    ("s3:DeleteBucket", BUCKET, {}),
    ("s3:DeleteObjectVersion", f"{BUCKET}/warehouse/oedi_dev/hourly/data/a.parquet", {}),
    ("s3:PutBucketPolicy", BUCKET, {}),
    ("s3:PutLifecycleConfiguration", BUCKET, {}),
    ("glue:DeleteTable", f"{GLUE}:table/oedi_dev/hourly", {}),
    ("glue:UpdateTable", f"{GLUE}:table/oedi_prod/hourly", {}),
    ("glue:GetTable", f"{GLUE}:table/oedi_dev2/hourly", {}),
    ("glue:GetTable", "arn:aws:glue:us-east-1:210987654321:table/oedi_dev/hourly", {}),
    ("glue:CreateDatabase", f"{GLUE}:database/oedi_dev", {}),
    ("glue:DeleteDatabase", f"{GLUE}:database/oedi_dev", {}),
    ("glue:StartJobRun", f"{GLUE}:job/oedi-dev-etl", {}),
    ("glue:UpdateJob", f"{GLUE}:job/oedi-dev-etl", {}),
    ("glue:GetWorkflowRunProperties", f"{GLUE}:workflow/oedi-prod", {}),
    ("glue:PutWorkflowRunProperties", f"{GLUE}:workflow/oedi-dev", {}),
    ("logs:PutLogEvents", f"{LOGS}:/aws-glue/oedi-prod/etl/error:log-stream:jr_1", {}),
    ("logs:DeleteLogGroup", f"{LOGS}:/aws-glue/oedi-dev/etl/error", {}),
    ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "oedi-spark/oedi-dev"}),
    ("cloudwatch:PutMetricData", "*", {}),
    ("iam:PassRole", "arn:aws:iam::123456789012:role/oedi-dev-etl", {}),
    ("iam:CreateUser", "arn:aws:iam::123456789012:user/x", {}),
    ("sts:AssumeRole", "arn:aws:iam::123456789012:role/oedi-dev-maintain", {}),
    ("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/1", {}),
    ("sns:Publish", "arn:aws:sns:us-east-1:123456789012:oedi-dev-alarms", {}),
    ("athena:StartQueryExecution", "arn:aws:athena:us-east-1:123456789012:workgroup/oedi-dev", {}),
]
"""What no role of a job may do, however near to its work it is."""


@pytest.mark.parametrize(("action", "resource", "context"), BEYOND)
@pytest.mark.parametrize("role", ["oedi-dev-etl", "oedi-dev-maintain", "oedi-dev-crawler"])
def test_no_role_reaches_beyond_its_work(
    deployed: Deployed, role: str, action: str, resource: str, context: dict[str, str]
) -> None:
    assert not is_allowed(deployed.roles[role], Request(action, resource, context))


BESIDE = {
    "s3:AbortMultipartUpload",  # of files above 8 MiB, which the recorded runs do not write
    "cloudwatch:PutMetricData",  # Glue's own, with the role
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
}
"""What a role has beside the requests that were recorded, and what for."""


def test_role_of_the_job_has_no_right_that_nothing_uses(deployed: Deployed, asked: Asked) -> None:
    granted = {action for each in deployed.roles["oedi-dev-etl"] for action in allowed(each)}
    assert granted == {request.action for request in asked.runs} | BESIDE


def allowed(policy: Policy) -> set[str]:
    """The actions of a policy's allowing statements."""
    return {
        action
        for statement in statements(policy)
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }


def test_role_of_upkeep_allows_all_that_a_pass_asks_for(deployed: Deployed, asked: Asked) -> None:
    assert {request.action for request in asked.upkeep} >= {
        "glue:GetTable",
        "glue:UpdateTable",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }
    assert refused(deployed.roles["oedi-dev-maintain"], asked.upkeep) == []


def test_role_of_upkeep_has_no_right_that_nothing_uses(deployed: Deployed, asked: Asked) -> None:
    used = {request.action for request in asked.upkeep}
    granted = {action for each in deployed.roles["oedi-dev-maintain"] for action in allowed(each)}
    assert granted - BESIDE == used - BESIDE
