"""What a check of `oedi-spark doctor` is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended. `warn`: a run may go well, but not as it should or not elsewhere."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What a check saw, and what to do about it; of what is well there may be nothing to do."""

    status: Status
    fact: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at. `exit_code`: what a run would end with where it fails.

    `advice` is for a check that raises or does not answer; what it can tell apart it says itself.
    """

    name: str
    exit_code: int
    look: Callable[[], Finding]
    advice: str


@dataclass(frozen=True)
class CheckResult:
    """A check that was made."""

    name: str
    exit_code: int
    finding: Finding
