"""The release registry: what a run must know of a release before it opens a file."""

from __future__ import annotations

from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from oedi_spark.contracts import IntervalStamp, ReleaseFacts
from oedi_spark.source.layout import ReleaseFolder


@cache
def load_releases() -> MappingProxyType[ReleaseFolder, ReleaseFacts]:
    """Every release of `releases.yaml`, by its folder."""
    text = resources.files("oedi_spark.source").joinpath("releases.yaml").read_text("utf-8")
    facts = {}
    for entry in yaml.safe_load(text):
        folder = ReleaseFolder(year=entry["year"], name=entry["name"])
        facts[folder] = ReleaseFacts(
            release=folder.release,
            stamp=IntervalStamp(entry["stamp"]),
            interval_count=entry["interval_count"],
            calendar_year=entry["calendar_year"],
        )
    return MappingProxyType(facts)


def resolve_release(folder: ReleaseFolder) -> ReleaseFacts:
    """The facts of a release.

    One that is not registered has no stamp and no row count: the reader then takes both from
    each file, and still proves them (first stamp 00:15 or 00:00 of 1 January, 35,040 or
    35,136 rows).
    """
    unknown = ReleaseFacts(release=folder.release, stamp=None, interval_count=None)
    return load_releases().get(folder, unknown)
