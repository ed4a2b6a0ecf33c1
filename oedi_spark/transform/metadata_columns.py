"""Canonical names, units and kinds of the columns of metadata and annual results.

All three follow from the name alone. Data would give another type for each state: a column
that is empty in one is null there, integers in the next and doubles in a third (domain sheet
§6), so the table would depend on which of them was loaded first.

Names are spelled as in `hourly` (`columns.py`). The units are more: metadata has bills,
capacities, peaks and totals that are already weighted (`calc.weighted.*`, in TBtu).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.errors import FileFault
from oedi_spark.transform.columns import UNIT_RULES, canonical_name

BLDG_ID = "bldg_id"
UPGRADE = "upgrade"
WEIGHT = "weight"
SOURCE_KEYS = frozenset({BLDG_ID, UPGRADE, WEIGHT})
"""Source columns that become keys of the table under their own name."""

KEY_COLUMNS = ("release", "state", UPGRADE, BLDG_ID, "grain", "county_gisjoin", WEIGHT)
"""The table's own columns, filled for every row. Any other source column whose canonical name
is one of these (a plain `state`, say) is prefixed with `source_`: it is what the file says, not
what we know."""

TEXT_SUFFIX = "_text"
"""Of the sibling that takes what does not fit a double or a boolean."""

METADATA_UNITS = frozenset(UNIT_RULES) | {
    "billion_usd", "btu", "co2e_mmt", "days", "degrees", "delta_c", "delta_f", "gj", "gw",
    "hours", "kbtu_hr", "kbtu_per_ft2", "kbtu_per_h", "kbtu_per_hr", "kbtuh", "kw_per_ft2",
    "m3", "mmbtu", "tbtu", "usd_per_ft2", "w_per_ft2",
}  # fmt: skip
"""Units that count after a single dot. After two dots a unit is whatever stands there."""

_DOUBLE_DOT = re.compile(r"(?P<stem>.+)\.\.(?P<unit>[^.]+)")
_SINGLE_DOT = re.compile(
    r"(?P<stem>.+?)(?:\.|__)(?P<unit>" + "|".join(sorted(METADATA_UNITS)) + ")"
)

_IMPLIED_UNITS = tuple(
    (re.compile(pattern), unit)
    for pattern, unit in (
        (r"out\..+\.energy_(consumption|savings)_intensity", "kwh_per_ft2"),
        (r"out\..+\.energy_(consumption|savings)", "kwh"),
        (r"in\.sqft", "ft2"),
        (r"calc\.weighted\.sqft", "ft2"),
    )
)
"""Units of names without one (domain sheet §0.5, §0.6). `calc.weighted.*` is not among them:
its energies are TBtu, so a kWh there would be wrong by eleven orders of magnitude."""

_BOOLEANS = frozenset({"applicability"})
_NUMBERS = re.compile(
    r"(out|calc)\..+|weight.*"
    r"|in\.(sqft|airtightness|aspect_ratio|number_of_stories|rotation)"
    r"|in\.tstat_(clg|htg)_(sp|delta)_f"
    r"|in\.ejscreen_census_tract_percentile_.+"
)
"""Stems that are numbers without a unit too. The inputs are those that ComStock's
`comstock_column_definitions.csv` gives as float; every other input is the label of an option."""

_LABELS = frozenset({"calc.segment"})
"""Names that their prefix would make a number, and that are a label all the same (seen in the
real ComStock 2024 R1)."""


def describe_metadata_column(source_name: str, source_type: str = "") -> MetadataColumn:
    """The canonical name, unit (empty: none is known) and kind of one source column.

    >>> describe_metadata_column("out.electricity.cooling.energy_consumption").name
    'out_electricity_cooling_energy_consumption_kwh'
    """
    stem, unit = _split_unit(source_name.lower())
    name = canonical_name(stem, unit)
    if name in KEY_COLUMNS and source_name not in SOURCE_KEYS:
        name = f"source_{name}"
    return MetadataColumn(name, source_name, unit, _kind(stem, unit, name), source_type)


@lru_cache(maxsize=256)
def describe_metadata_columns(sources: tuple[tuple[str, str], ...]) -> tuple[MetadataColumn, ...]:
    """`describe_metadata_column` of each (name, type), in the file's order.

    The same schema gives the same object: a run looks into thousands of files of one schema.

    Raises:
        FileFault: `column_collision`, when two source columns would get one name.
    """
    described = tuple(describe_metadata_column(*source) for source in sources)
    require_distinct_names(described)
    return described


def text_sibling(column: MetadataColumn) -> MetadataColumn:
    """The string column beside a double or boolean one, for content that is neither."""
    return MetadataColumn(
        column.name + TEXT_SUFFIX, column.source_name, "", ColumnKind.STRING, column.source_type
    )


def require_distinct_names(columns: Iterable[MetadataColumn]) -> None:
    """Refuse two source columns of one canonical name: each would be half of the truth.

    Raises:
        FileFault: `column_collision`.
    """
    taken: dict[str, str] = {}
    for column in columns:
        if column.name in taken:
            raise FileFault(
                Reason.COLUMN_COLLISION,
                f"{taken[column.name][:200]!r} and {column.source_name[:200]!r} "
                f"both become {column.name}",
            )
        taken[column.name] = column.source_name


def _split_unit(source_name: str) -> tuple[str, str]:
    written = _DOUBLE_DOT.fullmatch(source_name) or _SINGLE_DOT.fullmatch(source_name)
    unit = canonical_name(written["unit"], None) if written else ""
    if written and unit != "unnamed":
        return written["stem"], unit
    for pattern, implied in _IMPLIED_UNITS:
        if pattern.fullmatch(source_name):
            return source_name, implied
    return source_name, ""


def _kind(stem: str, unit: str, name: str) -> ColumnKind:
    if name == BLDG_ID:
        return ColumnKind.LONG
    if stem in _BOOLEANS:
        return ColumnKind.BOOLEAN
    # A name that ends like a sibling has a sibling's kind, so that the two can never disagree.
    if stem in _LABELS or name.endswith(TEXT_SUFFIX):
        return ColumnKind.STRING
    return ColumnKind.DOUBLE if unit or _NUMBERS.fullmatch(stem) else ColumnKind.STRING
