"""The server of tests/cloud, for buckets that demand TLS.

moto denies whatever a statement with conditions names, also a statement that denies and whose
conditions do not hold, and this server of one machine speaks no TLS. Statements about the
transport are left out here; those who read the policy get it whole.
`python -m tests.infra.aws_server PORT`.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from moto.glue.responses import GlueResponse
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket
from moto.server import main

from tests.cloud.glue_server import checking_versions

_TRANSPORT = {"aws:SecureTransport", "s3:TlsVersion"}


def judging_what_it_can(ask: Callable[..., Any]) -> Callable[..., Any]:
    """A bucket's answer to what its policy permits, whatever it says of the transport."""

    @functools.wraps(ask)
    def asked(bucket: Any, action: str, resource: str) -> Any:  # noqa: ANN401 - moto has no types
        if bucket.policy is None:
            return ask(bucket, action, resource)
        policy = json.loads(bucket.policy.decode())
        policy["Statement"] = [
            each for each in policy["Statement"] if not _is_about_transport(each)
        ]
        if not policy["Statement"]:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)

    return asked


def _is_about_transport(statement: Mapping[str, Any]) -> bool:
    keys = {key for tests in statement.get("Condition", {}).values() for key in tests}
    return statement["Effect"] == "Deny" and bool(keys) and keys <= _TRANSPORT


if __name__ == "__main__":
    checked = checking_versions(GlueResponse.update_table)
    setattr(GlueResponse, "update_table", checked)  # noqa: B010 - mypy refuses the assignment
    judging = judging_what_it_can(FakeBucket.get_permission)
    setattr(FakeBucket, "get_permission", judging)  # noqa: B010 - as above
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
