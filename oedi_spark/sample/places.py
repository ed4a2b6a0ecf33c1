"""Where sampled buildings stand: states, their clocks and a few of their counties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml


@dataclass(frozen=True)
class Place:
    """One state. `hours_west` counts from Eastern Standard Time, the time of every series."""

    state: str
    fips: int
    hours_west: int
    latitude: int
    counties: tuple[str, ...]
    daylight_saving: bool = True


@cache
def load_places() -> Mapping[str, Place]:
    """The 50 states and DC, by two-letter code."""
    text = resources.files("oedi_spark.sample").joinpath("places.yaml").read_text("utf-8")
    places = {}
    for state, entry in yaml.safe_load(text).items():
        counties = tuple(entry.pop("counties"))
        places[state] = Place(state=state, counties=counties, **entry)
    return MappingProxyType(places)
