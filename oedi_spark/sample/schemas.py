"""Which columns a building file of a release has, and which year its stamps lie in.

The lists are data (`schemas.yaml`); here they become values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

import yaml

from oedi_spark.errors import ConfigError
from oedi_spark.source.layout import ReleaseFolder

StampUnit = Literal["ns", "us"]
EndUse = tuple[str, str]
"""Fuel and end use: `("electricity", "cooling")`."""


class ColumnKind(StrEnum):
    """What the generator puts into a column."""

    TIMESTAMP = "timestamp"
    BLDG_ID = "bldg_id"
    SQFT = "sqft"
    ENERGY = "energy"
    INTENSITY = "intensity"
    OTHER = "other"


@dataclass(frozen=True)
class SampleColumn:
    """One column of a file. `end_use` is set for energies and intensities only."""

    name: str
    kind: ColumnKind
    end_use: EndUse | None = None


@dataclass(frozen=True)
class Family:
    """Releases whose files have the same columns.

    `aliases` says what this family calls the end uses that the generator names as later
    releases do (`hot_water` was `water_systems`).
    """

    name: str
    stamp_unit: StampUnit
    columns: tuple[SampleColumn, ...]
    aliases: Mapping[str, str]

    @property
    def end_uses(self) -> tuple[EndUse, ...]:
        """Fuel and end use of every energy column, totals included, in file order."""
        return tuple(
            column.end_use
            for column in self.columns
            if column.kind is ColumnKind.ENERGY and column.end_use
        )


@dataclass(frozen=True)
class SeriesYear:
    """The calendar year that the stamps of a release carry, and how many rows it has."""

    year: int
    interval_count: int


def resolve_family(folder: ReleaseFolder) -> Family:
    """The columns of a release; one that is not known gets its product's newest family.

    Raises:
        ConfigError: The folder is neither ComStock nor ResStock.
    """
    path = f"{folder.year}/{folder.name}"
    for pattern, family in _load_document()[0]:
        if fnmatchcase(path, pattern):
            return load_families()[family]
    raise ConfigError("sample", [f"release {path}: its name begins with no known product"])


def resolve_series_year(folder: ReleaseFolder) -> SeriesYear:
    """Year and row count of a release's series.

    AMY2012 is a leap year: ResStock has 8,784 hours of it, ComStock only 8,760, which end
    with 30 December. Files of typical years (TMY3) carry 2007.
    """
    if "amy2012" in folder.name:
        return SeriesYear(2012, 35_136 if folder.name.startswith("resstock") else 35_040)
    return SeriesYear(2007 if "tmy3" in folder.name else 2018, 35_040)


@cache
def load_families() -> Mapping[str, Family]:
    """Every family of `schemas.yaml`, by name."""
    families = _load_document()[1]
    return MappingProxyType({name: _build_family(name, entry) for name, entry in families.items()})


@cache
def _load_document() -> tuple[Sequence[tuple[str, str]], Mapping[str, Any]]:
    text = resources.files("oedi_spark.sample").joinpath("schemas.yaml").read_text("utf-8")
    document = yaml.safe_load(text)
    patterns = [(entry["pattern"], entry["family"]) for entry in document["releases"]]
    return patterns, document["families"]


def _build_family(name: str, entry: Mapping[str, Any]) -> Family:
    return Family(
        name=name,
        stamp_unit=entry["stamp_unit"],
        columns=tuple(_expand_sections(entry)),
        aliases=MappingProxyType(entry.get("aliases", {})),
    )


def _expand_sections(entry: Mapping[str, Any]) -> Iterator[SampleColumn]:
    suffixes = entry.get("suffixes", {"energy": "", "intensity": ""})
    end_uses = [
        (fuel, end_use)
        for run in entry["energies"]
        for fuel, listed in run.items()
        for end_use in listed.split()
    ]
    energies = [_energy_column(one, suffixes["energy"]) for one in end_uses]
    intensities = [_intensity_column(one, suffixes["intensity"]) for one in end_uses]
    for section in entry["sections"]:
        if section == "energies":
            yield from energies
        elif section == "intensities":
            yield from intensities
        elif section == "pairs":
            yield from (one for pair in zip(energies, intensities, strict=True) for one in pair)
        elif section in entry:
            yield from (SampleColumn(word, ColumnKind.OTHER) for word in entry[section].split())
        else:
            yield SampleColumn(section, _kind_of_named(section))


def _energy_column(end_use: EndUse, suffix: str) -> SampleColumn:
    name = f"out.{'.'.join(end_use)}.energy_consumption{suffix}"
    return SampleColumn(name, ColumnKind.ENERGY, end_use)


def _intensity_column(end_use: EndUse, suffix: str) -> SampleColumn:
    name = f"out.{'.'.join(end_use)}.energy_consumption_intensity{suffix}"
    return SampleColumn(name, ColumnKind.INTENSITY, end_use)


def _kind_of_named(name: str) -> ColumnKind:
    return ColumnKind.SQFT if name.startswith("in.sqft") else ColumnKind(name)
