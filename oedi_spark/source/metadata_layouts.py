"""Which layouts a release's metadata may have, and the folders that each of them lies in.

Nothing here touches a file system: `metadata_index.py` looks into what this module names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oedi_spark.contracts_metadata import MetadataPattern
from oedi_spark.errors import ConfigError
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_keys import (
    DETAILS,
    MetadataKey,
    folder_below,
    parse_below,
    patterns_of_version,
    tree_of,
)
from oedi_spark.source.releases import find_release
from oedi_spark.source.states import state_of_gisjoin

EVERY_COUNTY = "*"

_NATIONAL_PATTERNS = frozenset(
    {
        MetadataPattern.NATIONAL_SINGLE,
        MetadataPattern.NATIONAL_MACHINE,
        MetadataPattern.NATIONAL_STATE_FIRST,
        MetadataPattern.NATIONAL_FULL,
        MetadataPattern.AGG_NATIONAL,
    }
)
_COUNTY_PATTERNS = frozenset({MetadataPattern.COUNTY_FULL, MetadataPattern.AGG_COUNTY})

_TRIED_PATTERNS = (
    MetadataPattern.STATE_FIRST,
    MetadataPattern.STATE_FULL,
    MetadataPattern.AGG_STATE,
    MetadataPattern.NATIONAL_STATE_FIRST,
    MetadataPattern.NATIONAL_FULL,
    MetadataPattern.AGG_NATIONAL,
    MetadataPattern.NATIONAL_MACHINE,
    MetadataPattern.NATIONAL_SINGLE,
    MetadataPattern.COUNTY_FULL,
)
"""For a release that nobody registered: a state's own files first, a thousand counties last."""


@dataclass(frozen=True)
class MetadataSelection:
    """What one job of the config asks for. None means: every one that exists.

    `root_dir` takes the place of the tree: a folder below the release, or a prefix that begins
    with the base or with the release. `version` is 1, 2 or 3. `counties` are GISJOINs;
    `("*",)` is every county that exists.
    """

    folder: ReleaseFolder
    states: tuple[str, ...] | None
    upgrades: tuple[int, ...] | None
    root_dir: str | None = None
    version: int | None = None
    counties: tuple[str, ...] = ()

    @property
    def named_counties(self) -> tuple[str, ...] | None:
        """The counties by name; None when all are meant."""
        if not self.counties or EVERY_COUNTY in self.counties:
            return None
        return tuple(sorted(set(self.counties)))

    def counties_in(self, state: str) -> list[str]:
        """The named counties of one state: the list of a job is that of all its states."""
        return [each for each in self.named_counties or () if state_of_gisjoin(each) == state]


@dataclass(frozen=True)
class Layout:
    """Patterns that are searched together, below one tree root. All national, or none."""

    root: str
    patterns: tuple[MetadataPattern, ...]

    @property
    def is_national(self) -> bool:
        """Whether its files hold every state, so that it has no state folders."""
        return self.patterns[0] in _NATIONAL_PATTERNS

    @property
    def has_counties(self) -> bool:
        """Whether each of its files is of one county, in a folder of its own."""
        return self.patterns[0] in _COUNTY_PATTERNS

    def folders(self, state: str | None) -> list[str]:
        """The folders of a state's files, `full` first; of None, those above the state folders.

        Of a national layout: the folders of its files.
        """
        below = dict.fromkeys(
            folder_below(pattern, state=state, detail=detail)
            for pattern in self.patterns
            for detail in DETAILS
        )
        return [f"{self.root}/{folder}" if folder else self.root for folder in below]

    def parse(self, key: str) -> MetadataKey | None:
        """What a listed key says; None when it is none of these patterns."""
        if not key.startswith(f"{self.root}/"):
            return None
        return parse_below(self.patterns, key[len(self.root) + 1 :])


def choose_layouts(selection: MetadataSelection, base: str) -> tuple[str, tuple[Layout, ...]]:
    """How the layout is known, and those to look for: the first that has any file is the one.

    `configured`: the version says it, in both orders of folders. `registered`: the release's
    own. `tried`: of a release that is not registered, all known ones in turn.

    Raises:
        ConfigError: `root_dir` lies in another release.
    """
    groups: Iterable[tuple[MetadataPattern, ...]]
    release = find_release(selection.folder)
    how = "tried" if release is None else "registered"
    if selection.version is not None:
        how = "configured"
        groups = (patterns_of_version(selection.version, with_counties=bool(selection.counties)),)
    elif selection.counties:
        groups = ((MetadataPattern.COUNTY_FULL,), (MetadataPattern.AGG_COUNTY,))
    elif release is not None:
        groups = ((pattern,) for pattern in release.patterns)
    else:
        groups = ((pattern,) for pattern in _TRIED_PATTERNS)
    return how, tuple(Layout(_root(selection, base, group[0]), group) for group in groups)


def _root(selection: MetadataSelection, base: str, pattern: MetadataPattern) -> str:
    """The tree root, without a trailing slash; that of a group is that of its first pattern."""
    release = _join(base, selection.folder.year, selection.folder.name)
    configured = (selection.root_dir or "").strip("/")
    if not configured:
        return _join(release, tree_of(pattern))
    if f"{configured}/".startswith(f"{selection.folder.year}/{selection.folder.name}/"):
        return _join(base, configured)
    if not base or not f"{configured}/".startswith(f"{base}/"):
        return _join(release, configured)
    if not f"{configured}/".startswith(f"{release}/"):
        fault = f"{configured} is not in {release}, the release of its job"
        raise ConfigError("metadata_root_dir", [fault])
    return configured


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)
