"""The release registry: what a run must know of a release before it opens a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter

from oedi_spark.config_json import parse_upgrades
from oedi_spark.contracts import IntervalStamp, ReleaseFacts
from oedi_spark.contracts_metadata import MetadataPattern, WeightModel
from oedi_spark.source.layout import ReleaseFolder

BASELINE_NAME = "Baseline"
"""Upgrade 0 of every release (domain sheet §1.4)."""


class UnitSuffix(StrEnum):
    """How a kind of file spells the unit of its energies (domain sheet §2.3)."""

    NONE = "none"
    """`out.electricity.total.energy_consumption`."""
    SINGLE_DOT = "single_dot"
    """`out.electricity.total.energy_consumption.kwh`."""
    DOUBLE_DOT = "double_dot"
    """`out.electricity.total.energy_consumption..kwh`."""


@dataclass(frozen=True)
class Release:
    """One release of the registry. None: it has none, or no source says.

    Attributes:
        folder: Where it lies below the base of the bucket.
        weather: The weather year of the models.
        has_series: Whether it has time series; one has annual results only.
        stamp: Which end of its quarter-hour a `timestamp` names; None without series.
        interval_count: 15-minute rows of every building; None without series.
        calendar_year: The year that the stamps show; None for a typical year (TMY3).
        metadata_version: 1, 2 or 3, as `relative_metadata_prefix_type` has it; None when there
            are national files alone.
        patterns: The patterns of metadata keys that it has, the one to read first.
        baseline_word: What its metadata files call upgrade 0.
        pads_upgrades: Whether its metadata files write upgrade 5 as `upgrade05`.
        series_unit_suffix: How its time series spell the unit of an energy; None without series.
        metadata_unit_suffix: How its metadata files do.
        weight_model: What its weight counts.
        uniform_weight: The weight of every building, where there is only one.
        upgrades: Every upgrade id, 0 included.
        upgrade_names: Names by upgrade id, where a source gives them; 0 always.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    folder: ReleaseFolder
    product: Literal["comstock", "resstock"]
    weather: Literal["amy2012", "amy2018", "tmy3"]
    has_series: bool
    stamp: IntervalStamp | None
    interval_count: Literal[35_040, 35_136] | None
    calendar_year: int | None
    metadata_version: Literal[1, 2, 3] | None
    patterns: tuple[MetadataPattern, ...]
    baseline_word: Literal["baseline", "upgrade0", "metadata"]
    pads_upgrades: bool
    series_unit_suffix: UnitSuffix | None
    metadata_unit_suffix: UnitSuffix | None
    weight_model: WeightModel
    uniform_weight: float | None
    upgrades: Annotated[tuple[int, ...], BeforeValidator(parse_upgrades)]
    upgrade_names: Mapping[int, str] = field(default_factory=dict, hash=False)

    @property
    def facts(self) -> ReleaseFacts:
        """What the reader must know of it."""
        return ReleaseFacts(
            release=self.folder.release,
            stamp=self.stamp,
            interval_count=self.interval_count,
            calendar_year=self.calendar_year,
        )

    @property
    def expected_hours(self) -> int | None:
        """Hours of every building: 8,760 or 8,784; None without series."""
        return None if self.interval_count is None else self.interval_count // 4


@cache
def load_releases() -> MappingProxyType[ReleaseFolder, Release]:
    """Every release of `releases.yaml`, by its folder, with the names of `upgrades.yaml`.

    Raises:
        pydantic.ValidationError: One of the two files is damaged: an attribute is missing,
            unknown, or not of its type.
    """
    entries = TypeAdapter(list[Release]).validate_python(_read("releases.yaml")["releases"])
    names = TypeAdapter(dict[str, dict[int, str]]).validate_python(_read("upgrades.yaml")["names"])
    releases = {}
    for entry in entries:
        known = names.get(f"{entry.folder.year}/{entry.folder.name}", {})
        named = replace(entry, upgrade_names={0: BASELINE_NAME, **known})
        releases[entry.folder] = named
    return MappingProxyType(releases)


def find_release(folder: ReleaseFolder) -> Release | None:
    """What the registry has of a release; None when it is not registered."""
    return load_releases().get(folder)


def resolve_release(folder: ReleaseFolder) -> ReleaseFacts:
    """The facts of a release.

    One that is not registered has no stamp and no row count: the reader then takes both from
    each file, and still proves them (first stamp 00:15 or 00:00 of 1 January, 35,040 or
    35,136 rows). So it is with one that is registered without series, should it have some.
    """
    release = find_release(folder)
    if release is None:
        return ReleaseFacts(release=folder.release, stamp=None, interval_count=None)
    return release.facts


def _read(name: str) -> dict[str, Any]:
    text = resources.files("oedi_spark.source").joinpath(name).read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document
