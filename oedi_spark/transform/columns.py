"""Canonical names, units and the roll-up rule of every column of a series.

`out.electricity.cooling.energy_consumption`, `….kwh` and `…..kwh` are one measure, spelled
differently by release (domain sheet §2.3): here they are all
`out_electricity_cooling_energy_consumption_kwh`. Athena, Power BI and Spark stumble over dots.

Rules are from domain sheet §4, seeded by buildstock-fetch's sum/mean/first maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from oedi_spark.contracts import Column, Reason
from oedi_spark.errors import FileFault


class Rule(StrEnum):
    """What the four quarter-hours of an hour become."""

    SUM = "sum"
    """Energies, emissions, loads, volumes, intensities: an amount per interval."""
    MEAN = "mean"
    """Temperatures, set-points, schedules, rates: a state during the interval."""
    KEEP = "keep"
    """Facts of the building, such as its floor area: the value of the hour's first interval."""
    OMIT = "omit"
    """Not published: neither the name nor a unit says how to roll it up."""


TIMESTAMP = "timestamp"
BLDG_ID = "bldg_id"

UNIT_RULES = {
    "kwh": Rule.SUM,
    "kwh_per_ft2": Rule.SUM,
    "kbtu": Rule.SUM,
    "therm": Rule.SUM,
    "mbtu": Rule.SUM,
    "gal": Rule.SUM,
    "co2e_kg": Rule.SUM,
    "usd": Rule.SUM,
    "hour": Rule.SUM,
    "hr": Rule.SUM,
    "kw": Rule.MEAN,
    "w": Rule.MEAN,
    "watt": Rule.MEAN,
    "watt_per_m2": Rule.MEAN,
    "meter_per_second": Rule.MEAN,
    "cfm": Rule.MEAN,
    "c": Rule.MEAN,
    "f": Rule.MEAN,
    "percent": Rule.MEAN,
    "percentage": Rule.MEAN,
    "kgwater_per_kgdryair": Rule.MEAN,
    "ft2": Rule.KEEP,
}
"""What a unit alone implies: amounts are summed, states averaged, floor area kept."""

_UNIT_SUFFIX = re.compile(
    r"(?P<stem>.+?)(?:\.{1,2}|__)(?P<unit>" + "|".join(sorted(UNIT_RULES, key=len)[::-1]) + ")"
)

_FAMILIES: tuple[tuple[re.Pattern[str], str | None, Rule], ...] = tuple(
    (re.compile(pattern), unit, rule)
    for pattern, unit, rule in (
        (r"out\..+\.energy_(consumption|savings)_intensity", "kwh_per_ft2", Rule.SUM),
        (r"out\..+\.energy_(consumption|savings)", "kwh", Rule.SUM),
        (r"out\.(emissions|total)\..+", "co2e_kg", Rule.SUM),
        (r"out\.load\..+", "kbtu", Rule.SUM),
        (r"component_load__.+", "kbtu", Rule.SUM),
        (r"out\.hot_water\..+", "gal", Rule.SUM),
        (r"out\.unmet_hours\..+", "hour", Rule.SUM),
        (r"out\.schedules\.(cooling|heating)_setpoint", "c", Rule.MEAN),
        (r"out\.schedules\..+", None, Rule.MEAN),
        (r"out\.zone_mean_air_temp\..+", "c", Rule.MEAN),
        (r"out\.(indoor|outdoor|weather|people)[._].+", None, Rule.MEAN),
        (r"in\.sqft", "ft2", Rule.KEEP),
    )
)
"""(stem, unit where the name has none, rule); the first that fits the whole stem counts.

A name whose unit asks for another rule than its family is not of the family: what
`out.hot_water.temperature..c` is, its unit knows better. A family without a unit of its own is
dimensionless (schedules are fractions).
"""

_LONGEST_NAME = 200


def describe_column(source_name: str) -> Column:
    """The canonical name, unit and rule of one source column.

    A name of no known family is not `known`: it takes the rule of its unit, and without a
    unit it is omitted, because a guess between sum and mean is wrong by a factor of four.
    """
    stem, unit = _split_unit(source_name)
    for pattern, implied_unit, rule in _FAMILIES:
        if pattern.fullmatch(stem) and UNIT_RULES.get(unit or "", rule) is rule:
            unit = unit or implied_unit
            return Column(
                name=canonical_name(stem, unit),
                source_name=source_name,
                unit=unit or "fraction",
                rule=rule.value,
                known=True,
            )
    rule = UNIT_RULES[unit] if unit and len(source_name) <= _LONGEST_NAME else Rule.OMIT
    return Column(
        name=canonical_name(stem, unit),
        source_name=source_name[:_LONGEST_NAME],
        unit=unit or "unknown",
        rule=rule.value,
        known=False,
    )


@lru_cache(maxsize=64)
def describe_columns(source_names: tuple[str, ...]) -> tuple[Column, ...]:
    """`describe_column` of each measure of a file, in the file's order.

    Raises:
        FileFault: `column_collision`, when two source columns would get one name.
    """
    described = tuple(map(describe_column, source_names))
    _require_distinct(described)
    return described


def require_known(columns: Iterable[Column]) -> None:
    """Refuse a column that no rule names; for who has asked for it (`strict_columns`).

    Raises:
        FileFault: `unknown_column`.
    """
    unknown = [column.source_name for column in columns if not column.known]
    if unknown:
        raise FileFault(Reason.UNKNOWN_COLUMN, f"not in the rules: {', '.join(unknown[:5])}")


def _require_distinct(columns: Sequence[Column]) -> None:
    taken: dict[str, str] = {}
    for column in columns:
        if column.rule == Rule.OMIT:
            continue
        if column.name in taken:
            raise FileFault(
                Reason.COLUMN_COLLISION,
                f"{taken[column.name]!r} and {column.source_name!r} both become {column.name}",
            )
        taken[column.name] = column.source_name


def _split_unit(source_name: str) -> tuple[str, str | None]:
    match = _UNIT_SUFFIX.fullmatch(source_name.lower())
    return (match["stem"], match["unit"]) if match else (source_name.lower(), None)


def canonical_name(stem: str, unit: str | None) -> str:
    """A name without dots, capitals or anything else that an engine would want quoted.

    `unit` has to be canonical itself. A stem is cut after 200 characters.
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")[:_LONGEST_NAME] or "unnamed"
    return f"{name}_{unit}" if unit else name
