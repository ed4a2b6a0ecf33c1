"""What the bucket holds beside what the registry says: releases that are new, or gone.

A release folder is one that has a tree of building series or of metadata directly in it. One
release lies a level deeper than the others (`2024/resstock_dataset_2024.1/resstock_tmy3`), so a
folder without such a tree is looked into once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from oedi_spark.contracts_metadata import MetadataPattern
from oedi_spark.source.layout import SAFE_SEGMENT, ReleaseFolder
from oedi_spark.source.metadata_keys import TREES, parse_metadata_key
from oedi_spark.source.releases import load_releases
from oedi_spark.source.storage import Storage

SERIES_TREE = "timeseries_individual_buildings"
KNOWN_TREES = (*TREES, SERIES_TREE)
"""The folders directly in a release that this package reads from (domain sheet §1)."""

FILES_LOOKED_AT = 1000
"""Names per folder from which a pattern is told: what one request lists."""

FOLDERS_LOOKED_INTO = 100
"""Folders of one that is no release, in search of releases a level deeper."""

_YEAR = re.compile(r"[0-9]{4}")
_KINDS = (("full", "basic"), ("parquet", "csv"), ("state=",), ("county=", "puma="))
"""Folders that are alike: one of each kind is looked into, the first that is there."""
_DEEPEST = 5
"""Folders from a tree down to its files: scope, detail, format, state, county."""


@dataclass(frozen=True)
class FoundRelease:
    """A release folder of the bucket.

    `patterns`: those that some of its metadata files have; only looked for when it is not
    registered. Empty then means: metadata of no known layout, or none.
    """

    folder: ReleaseFolder
    is_registered: bool
    trees: tuple[str, ...]
    patterns: tuple[MetadataPattern, ...] = ()


@dataclass(frozen=True)
class Discovery:
    """What a bucket and the registry have, each sorted by folder.

    `absent`: registered, and not in the bucket. `others`: folders of a year that are no release,
    below the base; their names are from outside and may hold anything.
    """

    found: tuple[FoundRelease, ...]
    absent: tuple[ReleaseFolder, ...]
    others: tuple[str, ...] = ()

    @property
    def registered(self) -> tuple[FoundRelease, ...]:
        """Those that the registry has."""
        return tuple(each for each in self.found if each.is_registered)

    @property
    def unregistered(self) -> tuple[FoundRelease, ...]:
        """Those that the registry lacks."""
        return tuple(each for each in self.found if not each.is_registered)


def discover_releases(storage: Storage, base: str) -> Discovery:
    """List the years and release folders below `base` and compare them with the registry.

    Two or three dozen listings; a release that is not registered costs about twenty more.

    Args:
        storage: The bucket.
        base: The folder above the years, without a trailing slash; may be empty.

    Raises:
        SourceListingError: A folder could not be listed.
    """
    registry = load_releases()
    found, others = [], []
    for year in storage.list_folders(base):
        if not _YEAR.fullmatch(year):
            continue
        for name, trees in _release_folders(storage, _join(base, year)):
            folder = ReleaseFolder(year, name)
            if not trees:
                others.append(f"{year}/{name}")
                continue
            is_registered = folder in registry
            root = _join(base, year, name)
            patterns = () if is_registered else _find_patterns(storage, root, trees)
            found.append(FoundRelease(folder, is_registered, trees, patterns))
    there = {each.folder for each in found}
    return Discovery(
        found=tuple(sorted(found, key=lambda each: each.folder)),
        absent=tuple(sorted(registry.keys() - there)),
        others=tuple(sorted(others)),
    )


def _release_folders(storage: Storage, year: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every release folder of a year and its trees; without a tree, a folder that is none."""
    for name in storage.list_folders(year):
        if not SAFE_SEGMENT.fullmatch(name):
            yield name, ()
            continue
        inside = storage.list_folders(f"{year}/{name}")
        trees = _known_trees(inside)
        if trees:
            yield name, trees
            continue
        nested = [
            (f"{name}/{below}", _known_trees(storage.list_folders(f"{year}/{name}/{below}")))
            for below in islice(filter(SAFE_SEGMENT.fullmatch, inside), FOLDERS_LOOKED_INTO)
        ]
        releases = [(path, trees) for path, trees in nested if trees]
        yield from releases or [(name, ())]


def _known_trees(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(tree for tree in KNOWN_TREES if tree in names)


def _find_patterns(
    storage: Storage, root: str, trees: Sequence[str]
) -> tuple[MetadataPattern, ...]:
    """The patterns of a release's metadata, from one folder of each kind."""
    seen: set[MetadataPattern] = set()
    for tree in trees:
        if tree in TREES:
            seen |= _patterns_of_files(storage, root, tree)
            for scope in storage.list_folders(f"{root}/{tree}"):
                if SAFE_SEGMENT.fullmatch(scope):
                    seen |= _look_into(storage, root, f"{tree}/{scope}", _DEEPEST - 1)
    return tuple(pattern for pattern in MetadataPattern if pattern in seen)


def _look_into(storage: Storage, root: str, below: str, levels: int) -> set[MetadataPattern]:
    names = _one_of_each_kind(storage.list_folders(f"{root}/{below}")) if levels else []
    if not names:
        return _patterns_of_files(storage, root, below)
    seen: set[MetadataPattern] = set()
    for name in names:
        seen |= _look_into(storage, root, f"{below}/{name}", levels - 1)
    return seen


def _one_of_each_kind(names: Sequence[str]) -> list[str]:
    """`full` and `state=AK` of `basic`, `full`, `state=AK`, `state=AL`; nothing of unknown names.

    Of two formats or details, the one that this package would rather read.
    """
    chosen = []
    for kind in _KINDS:
        alike = (name for start in kind for name in names if name.startswith(start))
        chosen += [name for name in islice(alike, 1) if SAFE_SEGMENT.fullmatch(name)]
    return chosen


def _patterns_of_files(storage: Storage, root: str, below: str) -> set[MetadataPattern]:
    """The patterns of the files directly in a folder."""
    listed = islice(storage.list_files(f"{root}/{below}"), FILES_LOOKED_AT)
    parsed = (parse_metadata_key(file.key.removeprefix(f"{root}/")) for file in listed)
    return {key.pattern for key in parsed if key is not None}


def _join(*segments: str) -> str:
    return "/".join(segment for segment in segments if segment)
