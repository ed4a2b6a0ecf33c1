"""Keys of metadata files: one template per pattern, read in both directions.

    metadata/                                 2021 to 2024, national
    metadata_and_annual_results/              from 2022 on
    metadata_and_annual_results_aggregates/   ComStock from 2024 R2 on: one row per geography

A name repeats what its folders say (`state=CO/county=G0800590/CO_G0800590_baseline.parquet`), so
the regular expression of a template refers back: a file whose name contradicts its folder has
no meaning here. All templates: domain sheet §1.2. Nothing here touches a file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from oedi_spark.contracts_metadata import MetadataPattern

METADATA_TREE = "metadata"
RESULTS_TREE = "metadata_and_annual_results"
AGGREGATES_TREE = "metadata_and_annual_results_aggregates"
TREES = (METADATA_TREE, RESULTS_TREE, AGGREGATES_TREE)
"""The folders directly in a release that hold metadata."""

DETAILS = ("full", "basic")
"""How many columns a file has; the fuller first."""

SINGLE_WORD = "metadata"
"""What the one file of a 2021 release has in the place of an upgrade word: the baseline's."""

_OLD, _FULL = "{state}_{upgrade}_metadata_and_annual_results", "{detail}/{format}/state={state}"
_TEMPLATES = MappingProxyType(
    {
        MetadataPattern.NATIONAL_SINGLE: "{single}.{table}",
        MetadataPattern.NATIONAL_MACHINE: "{upgrade}.{table}",
        MetadataPattern.STATE_FIRST: f"by_state/state={{state}}/{{format}}/{_OLD}.{{extension}}",
        MetadataPattern.NATIONAL_STATE_FIRST: (
            "national/{format}/{upgrade}_metadata_and_annual_results.{extension}"
        ),
        MetadataPattern.STATE_FULL: (
            f"by_state/{_FULL}/{{state}}_{{upgrade}}{{basic}}.{{extension}}"
        ),
        MetadataPattern.NATIONAL_FULL: "national/{detail}/{format}/{upgrade}{basic}.{extension}",
        MetadataPattern.COUNTY_FULL: (
            f"by_state_and_county/{_FULL}/county={{county}}/"
            "{state}_{county}_{upgrade}{basic}.{extension}"
        ),
        MetadataPattern.AGG_NATIONAL: "national/{detail}/{format}/{upgrade}{agg}.{extension}",
        MetadataPattern.AGG_STATE: f"by_state/{_FULL}/{{state}}_{{upgrade}}{{agg}}.{{extension}}",
        MetadataPattern.AGG_COUNTY: (
            f"by_state_and_county/{_FULL}/county={{county}}/"
            "{state}_{county}_{upgrade}{agg}.{extension}"
        ),
        MetadataPattern.AGG_PUMA: (
            f"by_state_and_puma/{_FULL}/puma={{puma}}/{{state}}_{{puma}}_{{upgrade}}{{agg}}"
            ".{extension}"
        ),
    }
)
"""Every pattern below its tree."""

_UPGRADE_WORD = r"baseline|upgrade(?:0?[0-9]|[1-9][0-9]{1,3})"
_FIELDS = MappingProxyType(
    {
        "single": f"(?P<upgrade>{SINGLE_WORD})",
        "upgrade": f"(?P<upgrade>{_UPGRADE_WORD})",
        "state": "(?P<state>[A-Z]{2})",
        "county": "(?P<county>G[0-9]{7})",
        "puma": "(?P<puma>G[0-9]{8})",
        "detail": "(?P<detail>full|(?P<is_basic>basic))",
        "format": "(?P<format>parquet|csv)",
        "extension": r"(?P<extension>(?P=format)(?:(?<=csv)\.gz)?)",
        "table": r"(?P<extension>parquet|tsv|csv|csv\.gz)",
        # The one after `basic` repeats the folder in some releases and not in others.
        "basic": "(?(is_basic)(?P<repeats_basic>_basic)?)",
        "agg": "_agg(?(is_basic)_basic)",
    }
)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WORD = re.compile(_UPGRADE_WORD)


@dataclass(frozen=True, slots=True)
class MetadataKey:
    """What the key of one metadata file says.

    `upgrade_word` is the upgrade as the name spells it: `baseline`, `upgrade05`; `metadata` for
    `NATIONAL_SINGLE`. `state`, `county`, `puma` and `detail` (`full`, `basic`) are None where
    the pattern has none. `repeats_basic`: outside the aggregates, a basic file may or may not
    end in `_basic`; the aggregates' suffix follows from `detail`.
    """

    pattern: MetadataPattern
    upgrade_word: str
    state: str | None = None
    county: str | None = None
    puma: str | None = None
    detail: str | None = None
    extension: str = "parquet"
    repeats_basic: bool = False

    @property
    def upgrade(self) -> int:
        """The upgrade id; 0 is the baseline. Raises `ValueError` if the word is none."""
        upgrade = 0 if self.upgrade_word == SINGLE_WORD else parse_upgrade_word(self.upgrade_word)
        if upgrade is None:
            raise ValueError(f"{self.upgrade_word!r} names no upgrade")
        return upgrade

    @property
    def suffix(self) -> str:
        """What follows the upgrade in the name: `_agg`, `_agg_basic`, `_basic` or nothing."""
        if tree_of(self.pattern) == AGGREGATES_TREE:
            return "_agg_basic" if self.detail == "basic" else "_agg"
        return "_basic" if self.repeats_basic else ""


def metadata_key(key: MetadataKey) -> str:
    """The key of a file, relative to its release folder; the inverse of `parse_metadata_key`.

    Raises:
        ValueError: The fields make no key of this pattern (one is missing, is not of its form,
            or has no place in it), so the key would not mean them.
    """
    values = {
        "single": key.upgrade_word,
        "upgrade": key.upgrade_word,
        "state": key.state,
        "county": key.county,
        "puma": key.puma,
        "detail": key.detail,
        "format": key.extension.partition(".")[0],
        "extension": key.extension,
        "table": key.extension,
        "basic": key.suffix,
        "agg": key.suffix,
    }
    rest = _TEMPLATES[key.pattern].format_map(values)
    if parse_below((key.pattern,), rest) != key:
        raise ValueError(f"no metadata key: {key}")
    return f"{tree_of(key.pattern)}/{rest}"


def parse_metadata_key(relative: str) -> MetadataKey | None:
    """What a key says, or None when it is not exactly of one of the patterns.

    Args:
        relative: The key below its release folder; its first segment is the tree.
    """
    tree, _, rest = relative.partition("/")
    scope = rest.partition("/")[0] if tree != METADATA_TREE else ""
    return parse_below(_CANDIDATES.get((tree, scope), ()), rest)


def parse_below(candidates: Iterable[MetadataPattern], rest: str) -> MetadataKey | None:
    """What a key below its tree root says, read as the first of `candidates` that fits.

    A configured root may have any name, so its name proves nothing: a name with `_agg` is one of
    an aggregate pattern only, and never fits another.
    """
    for pattern in candidates:
        match = _EXPRESSIONS[pattern].fullmatch(rest)
        if match:
            said = match.groupdict()
            return MetadataKey(
                pattern=pattern,
                upgrade_word=said["upgrade"],
                state=said.get("state"),
                county=said.get("county"),
                puma=said.get("puma"),
                detail=said.get("detail"),
                extension=said["extension"],
                repeats_basic=said.get("repeats_basic") is not None,
            )
    return None


def tree_of(pattern: MetadataPattern) -> str:
    """The folder directly in the release that holds the files of a pattern."""
    if pattern in (MetadataPattern.NATIONAL_SINGLE, MetadataPattern.NATIONAL_MACHINE):
        return METADATA_TREE
    return AGGREGATES_TREE if pattern.startswith("agg_") else RESULTS_TREE


def folder_below(
    pattern: MetadataPattern, *, state: str | None = None, detail: str | None = None
) -> str:
    """The folder of a pattern's parquet files, below the tree root, without slashes at its ends.

    As deep as the arguments say: without `state`, the folder that the state folders lie in;
    `by_state` alone when the pattern has a `detail` and none is given. The county and PUMA
    folders lie in what is returned. Empty where the files lie in the tree root itself. An
    argument that the pattern has no place for changes nothing.

    Raises:
        ValueError: `state` or `detail` is not of its form.
    """
    given = {"format": "parquet"}
    for name, value in (("state", state), ("detail", detail)):
        if value is not None:
            if not re.fullmatch(_FIELDS[name], value):
                raise ValueError(f"{value!r} is no {name}")
            given[name] = value
    segments = []
    for segment in _TEMPLATES[pattern].split("/")[:-1]:
        if not set(_PLACEHOLDER.findall(segment)) <= given.keys():
            break
        segments.append(segment.format_map(given))
    return "/".join(segments)


def upgrade_words(upgrade: int) -> tuple[str, ...]:
    """Every spelling of an upgrade that a release has used, the older first.

    0: `baseline`, `upgrade0`, `upgrade00`; 5: `upgrade05`, `upgrade5`; 10: `upgrade10`.
    """
    if upgrade == 0:
        return ("baseline", "upgrade0", "upgrade00")
    return tuple(dict.fromkeys((f"upgrade{upgrade:02d}", f"upgrade{upgrade}")))


def parse_upgrade_word(word: str) -> int | None:
    """5 of `upgrade05` and `upgrade5`, 0 of `baseline`; None for any other word."""
    if not _WORD.fullmatch(word):
        return None
    return 0 if word == "baseline" else int(word.removeprefix("upgrade"))


def patterns_of_version(version: int, *, with_counties: bool) -> tuple[MetadataPattern, ...]:
    """The patterns of a metadata version as users configure it, the one it names first.

    Both orders of folders belong to versions 1 and 2, since a release has only one of them.
    With counties, a root that is an aggregates tree has the other name in the same folders.

    Raises:
        ValueError: `version` is not 1, 2 or 3.
    """
    if version == 1:
        return (MetadataPattern.STATE_FIRST, MetadataPattern.STATE_FULL)
    if version == 2:
        return (
            (MetadataPattern.COUNTY_FULL, MetadataPattern.AGG_COUNTY)
            if with_counties
            else (MetadataPattern.STATE_FULL, MetadataPattern.STATE_FIRST)
        )
    if version == 3:
        return (MetadataPattern.AGG_STATE,)
    raise ValueError(f"there is no metadata version {version}")


def _expression(template: str) -> re.Pattern[str]:
    """A template as a regular expression: a field that comes again must be the same again."""
    seen: set[str] = set()
    written = []
    for index, piece in enumerate(_PLACEHOLDER.split(template)):
        if index % 2 == 0:
            written.append(re.escape(piece))
        elif piece in seen:
            written.append(f"(?P={piece})")
        else:
            seen.add(piece)
            written.append(_FIELDS[piece])
    return re.compile("".join(written))


def _candidates() -> dict[tuple[str, str], tuple[MetadataPattern, ...]]:
    """The patterns that a key may have, by its tree and the folder below: one or two."""
    found: dict[tuple[str, str], tuple[MetadataPattern, ...]] = {}
    for pattern, template in _TEMPLATES.items():
        scope, slash, _ = template.partition("/")
        place = (tree_of(pattern), scope if slash else "")
        found[place] = (*found.get(place, ()), pattern)
    return found


_EXPRESSIONS = MappingProxyType(
    {pattern: _expression(template) for pattern, template in _TEMPLATES.items()}
)
_CANDIDATES = MappingProxyType(_candidates())
