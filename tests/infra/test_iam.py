"""The evaluator that the tests of our policies stand on, by cases that IAM documents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.iam import Request, is_allowed

KEY = "arn:aws:s3:::lake/out/a.parquet"
BUCKET = "arn:aws:s3:::lake"


def policy(**statement: Any) -> dict[str, Any]:  # noqa: ANN401 - a policy's JSON
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}


READ = policy(Action="s3:GetObject", Resource=f"{BUCKET}/out/*")
LIST = policy(
    Action=["s3:ListBucket"],
    Resource=[BUCKET],
    Condition={"StringLike": {"s3:prefix": ["out", "out/*"]}},
)
NO_PLAIN_HTTP = policy(
    Effect="Deny",
    Principal="*",
    Action="s3:*",
    Resource="*",
    Condition={"Bool": {"aws:SecureTransport": "false"}},
)


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", KEY, True),
        ("S3:getobject", KEY, True),  # actions have no case
        ("s3:GetObject", "arn:aws:s3:::lake/out/", True),  # * is also nothing
        ("s3:GetObject", "arn:aws:s3:::lake/OUT/a", False),  # resources have
        ("s3:GetObject", "arn:aws:s3:::lake/output/a", False),
        ("s3:GetObject", "arn:aws:s3:::lake-2/out/a", False),
        ("s3:GetObjectVersion", KEY, False),
        ("s3:PutObject", KEY, False),
    ],
)
def test_action_and_resource_must_both_be_named(action: str, resource: str, expected: bool) -> None:
    assert is_allowed([READ], Request(action, resource)) is expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("out", True), ("out/", True), ("out/x/y", True), ("outer", False), ("", False)],
)
def test_condition_compares_the_context(prefix: str, expected: bool) -> None:
    request = Request("s3:ListBucket", BUCKET, {"s3:prefix": prefix})
    assert is_allowed([LIST], request) is expected


def test_condition_on_what_the_request_lacks_does_not_hold() -> None:
    assert not is_allowed([LIST], Request("s3:ListBucket", BUCKET))


def test_denial_beats_an_allowance_and_allows_nothing_itself() -> None:
    plain = Request("s3:GetObject", KEY, {"aws:securetransport": "false"})
    over_tls = Request("s3:GetObject", KEY, {"aws:securetransport": "true"})
    assert not is_allowed([READ, NO_PLAIN_HTTP], plain)
    assert is_allowed([READ, NO_PLAIN_HTTP], over_tls)
    assert not is_allowed([NO_PLAIN_HTTP], over_tls)


@pytest.mark.parametrize(
    ("operator", "wanted", "has", "expected"),
    [
        ("StringEquals", "Glue", "Glue", True),
        ("StringEquals", "Gl*", "Glue", False),
        ("StringEqualsIfExists", "Glue", None, True),
        ("StringEqualsIfExists", "Glue", "Other", False),
        ("StringNotEquals", "Glue", "Glue", False),
        ("StringNotEquals", "Glue", None, True),
        ("StringNotLike", "Gl*", "Glue", False),
        ("ForAnyValue:StringLike", ["a*", "G?ue"], "Glue", True),
        ("ArnLike", "arn:aws:events:*", "arn:aws:events:x", True),
        ("Bool", True, "true", True),
        ("NumericLessThan", "1.2", "1.1", True),
        ("NumericLessThan", "1.2", "1.2", False),
    ],
)
def test_operators_compare_as_documented(
    operator: str, wanted: object, has: str | None, expected: bool
) -> None:
    allowed = policy(Action="x:*", Resource="*", Condition={operator: {"A:Key": wanted}})
    context = {} if has is None else {"a:key": has}
    assert is_allowed([allowed], Request("x:Do", "r", context)) is expected


def test_all_but_is_everything_else() -> None:
    rest = policy(NotAction=["iam:*", "s3:Delete*"], NotResource=f"{BUCKET}/scripts/*")
    assert is_allowed([rest], Request("s3:PutObject", KEY))
    assert not is_allowed([rest], Request("s3:DeleteObject", KEY))
    assert not is_allowed([rest], Request("s3:PutObject", f"{BUCKET}/scripts/etl.py"))


@pytest.mark.parametrize(
    "unknown",
    [
        policy(Action="s3:*", Resource="*", Condition={"IpAddress": {"aws:SourceIp": "::1"}}),
        policy(Action="s3:*", Resource=f"{BUCKET}/${{aws:username}}/*"),
        policy(Action="s3:*", Resource="*", NotPrincipal="*"),
    ],
)
def test_what_it_does_not_know_is_no_yes(unknown: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        is_allowed([unknown], Request("s3:GetObject", KEY))
