"""What a rule of the quality gate is: its scope, its severity, and what it counts in the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from oedi_spark.contracts import Reason


class Scope(StrEnum):
    """Where a rule is judged."""

    FILE = "file"
    PARTITION = "partition"


class Severity(StrEnum):
    """What becomes of a building, or a partition, of which a rule does not hold."""

    BLOCK = "block"
    WARN = "warn"
    OFF = "off"


SCORE_WEIGHTS: Mapping[Severity, float] = MappingProxyType(
    {Severity.BLOCK: 3.0, Severity.WARN: 1.0, Severity.OFF: 0.0}
)
"""What one claim counts in the score."""


@dataclass(frozen=True)
class QualityRule:
    """One claim. `is_fixed`: it blocks whatever the config says; `reasons` says which codes.

    `verified_on`: the releases on whose own files a claim was seen to hold that nothing but a
    publisher's way of accounting makes true. Of any other release its breach only warns, unless a
    config says otherwise (docs/adr/0011). None: it is asked of every release alike.
    """

    name: str
    scope: Scope
    severity: Severity
    threshold: float | None
    sentence: str
    reasons: tuple[Reason, ...] = ()
    is_fixed: bool = False
    verified_on: frozenset[str] | None = None

    @property
    def elsewhere(self) -> Severity:
        """How much it weighs of a release on which it is not verified."""
        return self.severity if self.verified_on is None else Severity.WARN

    def is_verified_on(self, release: str | None) -> bool:
        """Whether its claim was seen to hold of a release, or is asked of every one alike."""
        return release is None or self.verified_on is None or release in self.verified_on


@dataclass(frozen=True)
class Limit:
    """How a run takes one rule. `elsewhere`: of releases on which the rule is not verified."""

    severity: Severity
    elsewhere: Severity
    threshold: float | None = None
