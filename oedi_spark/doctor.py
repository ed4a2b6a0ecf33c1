"""Look for what would stop a run, before it is started: `oedi-spark doctor`.

Every check runs in a thread of its own and has a limit, so one that hangs holds up none of the
others; one that raises is a fail of that check. Nothing is left behind, and nothing is printed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Thread

from oedi_spark.config import RunConfig
from oedi_spark.contracts_doctor import Check, CheckResult, Finding, Status
from oedi_spark.doctor_machine import machine_checks
from oedi_spark.doctor_places import place_checks
from oedi_spark.errors import EXIT_COMPLETE
from oedi_spark.source.storage_contract import say

CHECK_LIMIT_S = 30.0
"""All checks run at once, so this is also the limit of all of them together."""


def examine(config: RunConfig, *, limit_s: float = CHECK_LIMIT_S) -> tuple[CheckResult, ...]:
    """What every check found, in the order in which a run would meet it."""
    return run_checks((*machine_checks(config), *place_checks(config)), limit_s=limit_s)


def exit_code_of(results: Sequence[CheckResult]) -> int:
    """What a run would most likely end with: the code of the first check that failed."""
    failed = (each.exit_code for each in results if each.finding.status is Status.FAIL)
    return next(failed, EXIT_COMPLETE)


def run_checks(checks: Sequence[Check], *, limit_s: float) -> tuple[CheckResult, ...]:
    """Run checks beside each other; those that have not answered in time have failed."""
    found: dict[str, Finding] = {}

    def work(check: Check) -> None:
        try:
            found[check.name] = check.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the check found
            found[check.name] = Finding(Status.FAIL, say(error), check.advice)

    threads = [Thread(target=work, args=(check,), daemon=True) for check in checks]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {limit_s:g} s"
    return tuple(
        CheckResult(
            check.name,
            check.exit_code,
            found.get(check.name) or Finding(Status.FAIL, late, check.advice),
        )
        for check in checks
    )
