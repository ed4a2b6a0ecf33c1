"""Known errata of the releases, as data: what warns because it is known, and does not block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import ClassVar, Literal, TypeAlias

import yaml
from pydantic import ConfigDict, TypeAdapter

from oedi_spark.contracts import Partition

_Patterns: TypeAlias = tuple[re.Pattern[str], ...]


@dataclass(frozen=True)
class Erratum:
    """One thing that is known to be wrong. Of a scope that is None, all are meant.

    Attributes:
        id: Its name in the summary.
        releases: Patterns of the names of the releases that have it.
        concerns: Where it is; `aggregates` are files that this package does not read.
        what: The fault, in a sentence.
        source: Who says so.
        states: Postal codes.
        upgrades: Ids.
        building_types: As the metadata spells them.
        measures: Patterns of measures, by the names of the tables.
        excuses: The rules that it keeps from blocking.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    releases: _Patterns
    concerns: Literal["series", "results", "metadata", "aggregates"]
    what: str
    source: str
    states: frozenset[str] | None = None
    upgrades: frozenset[int] | None = None
    building_types: frozenset[str] | None = None
    measures: _Patterns | None = None
    excuses: frozenset[str] = frozenset()

    def is_of(self, partition: Partition) -> bool:
        """Whether a partition has it, or some of its buildings do."""
        return (
            any(each.fullmatch(partition.release) for each in self.releases)
            and (self.states is None or partition.state in self.states)
            and (self.upgrades is None or partition.upgrade in self.upgrades)
        )

    def covers(self, rule: str, measure: str | None, building_type: str | None) -> bool:
        """Whether it is why a rule does not hold of a measure (None: of any) of a building.

        One of certain building types, or of certain measures, does not cover what is of an
        unknown one.
        """
        if rule not in self.excuses:
            return False
        if self.building_types is not None and building_type not in self.building_types:
            return False
        if self.measures is None:
            return True
        return measure is not None and any(each.fullmatch(measure) for each in self.measures)


@cache
def load_errata() -> tuple[Erratum, ...]:
    """Every erratum of `errata.yaml`, in its order.

    Raises:
        pydantic.ValidationError: The file is damaged: a key is missing, unknown, or not of its
            type.
    """
    text = resources.files("oedi_spark.source").joinpath("errata.yaml").read_text("utf-8")
    return TypeAdapter(tuple[Erratum, ...]).validate_python(yaml.safe_load(text)["errata"])


def find_errata(partition: Partition) -> tuple[Erratum, ...]:
    """What is known to be wrong in the files that are read of a partition."""
    return tuple(
        each for each in load_errata() if each.concerns != "aggregates" and each.is_of(partition)
    )
