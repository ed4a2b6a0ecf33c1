"""Find the metadata files that a run is to land, in the bucket or in a folder.

Stage 2 of 7: config → INDEXER → reader. The other half of `indexer.py`.

In   selections: a release, its states and upgrades, a layout if the config names one.
Out  one `MetadataListing` per (release, upgrade, state), files in order of county and key.

What is not found is no error here: the `LayoutMatch` says where it was looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from threading import Lock
from typing import NamedTuple

from oedi_spark.contracts import Partition, Surplus, SurplusFile
from oedi_spark.contracts_metadata import (
    LayoutMatch,
    MetadataFile,
    MetadataIndex,
    MetadataListing,
    MetadataPattern,
)
from oedi_spark.errors import MetadataAmbiguousError
from oedi_spark.source.layout import ReleaseFolder, parse_state_folder
from oedi_spark.source.metadata_keys import MetadataKey
from oedi_spark.source.metadata_layouts import Layout, MetadataSelection, choose_layouts
from oedi_spark.source.releases import find_release
from oedi_spark.source.states import state_of_gisjoin
from oedi_spark.source.storage import ListedFile, SourceLocation, Storage, open_storage

__all__ = ["MetadataSelection", "find_metadata", "index_metadata"]

_Cell = tuple[ReleaseFolder, str | None, int]
"""A release, a state (None: national) and an upgrade: what becomes one listing."""


class _Found(NamedTuple):
    """A listed metadata file and what its key says, taken out of it once."""

    state: str | None
    county: str | None
    upgrade: int
    is_basic: bool
    pattern: MetadataPattern
    listed: ListedFile


def index_metadata(
    location: SourceLocation, selections: Sequence[MetadataSelection], *, base: str, workers: int
) -> MetadataIndex:
    """List the metadata of every selection, folders in parallel, each one page by page.

    Two selections that name the same files list them once. `full` files are taken, and `basic`
    ones only where there is no `full` one for the same state, county and upgrade.

    Raises:
        SourceListingError: A folder could not be listed.
        MetadataAmbiguousError: Two files claim to be the metadata of the same rows.
        ConfigError: A `root_dir` lies in another release than its selection.
    """
    return find_metadata(open_storage(location), selections, base=base, workers=workers)


def find_metadata(
    storage: Storage, selections: Sequence[MetadataSelection], *, base: str, workers: int
) -> MetadataIndex:
    """As `index_metadata`, in a storage that is open already."""
    wanted = list(dict.fromkeys(selections))
    with _pool(workers) as searching, _pool(workers) as listing:
        lister = _Lister(storage, listing)
        findings = list(searching.map(lambda each: _search(lister, each, base), wanted))
    return MetadataIndex(
        listings=_number(_merge(findings)),
        matches=tuple(dict.fromkeys(finding.match for finding in findings)),
        counties_not_found=tuple(
            sorted({each for finding in findings for each in finding.counties_not_found()})
        ),
        surplus=tuple(
            sorted(
                {each for finding in findings for each in finding.surplus}, key=attrgetter("key")
            )
        ),
    )


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads, which do not begin what is still to be done once something has failed."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Lister:
    """Lists each folder once, however many selections ask for it."""

    def __init__(self, storage: Storage, pool: ThreadPoolExecutor) -> None:
        self._storage = storage
        self._pool = pool
        self._lock = Lock()
        self._begun: dict[tuple[str, bool], Future[list[ListedFile]]] = {}

    def files(self, folder: str, *, is_deep: bool) -> Future[list[ListedFile]]:
        """What lies in a folder, or at any depth below it, in order of key."""
        with self._lock:
            if (folder, is_deep) not in self._begun:
                self._begun[folder, is_deep] = self._pool.submit(self._list, folder, is_deep)
            return self._begun[folder, is_deep]

    def _list(self, folder: str, is_deep: bool) -> list[ListedFile]:
        found = self._storage.list_tree(folder) if is_deep else self._storage.list_files(folder)
        return sorted(found, key=attrgetter("key"))

    def states(self, folders: Iterable[str]) -> list[str]:
        """The states that have a folder in any of these folders."""
        named = self._pool.map(self._storage.list_folders, folders)
        states = {parse_state_folder(name) for names in named for name in names}
        return sorted(state for state in states if state is not None)


@dataclass
class _Finding:
    """What one selection found, and where it looked."""

    selection: MetadataSelection
    how: str
    layouts: tuple[Layout, ...]
    prefixes: list[str] = field(default_factory=list)
    files: list[_Found] = field(default_factory=list)
    surplus: list[SurplusFile] = field(default_factory=list)
    counties: dict[str | None, set[str]] = field(default_factory=dict)
    """By state, the counties that exist: in any upgrade, whether it was selected or not."""

    @property
    def match(self) -> LayoutMatch:
        """The patterns of what was found; of nothing, all that were looked for."""
        looked_for = [pattern for layout in self.layouts for pattern in layout.patterns]
        found = {each.pattern for each in self.files}
        return LayoutMatch(
            release=self.selection.folder.release,
            how=self.how,
            patterns=tuple(each for each in looked_for if each in found or not found),
            prefixes=tuple(dict.fromkeys(self.prefixes)),
        )

    def counties_not_found(self) -> Iterator[tuple[Partition, str]]:
        """Each county that was asked for and has no file, in each upgrade of its state.

        Of every county those are meant that some upgrade has, and this one has not. A named
        one that is of none of the states is told once: for the first state and upgrade.
        """
        if not self.layouts[0].has_counties:
            return
        release, states = self.selection.folder.release, self.selection.states
        have = {(each.county, each.upgrade) for each in self.files}
        if self.selection.named_counties is None:
            for state, upgrade in sorted({(x.state or "", x.upgrade) for x in self.files}):
                for county in sorted(self.counties.get(state, ())):
                    if (county, upgrade) not in have:
                        yield Partition(release, state, upgrade), county
            return
        upgrades = self.selection.upgrades or sorted({upgrade for _, upgrade in have}) or (0,)
        for county in self.selection.named_counties:
            home = state_of_gisjoin(county)
            if home is None or not (states is None or home in states):
                yield Partition(release, states[0] if states else "*", upgrades[0]), county
                continue
            for upgrade in upgrades:
                if (county, upgrade) not in have:
                    yield Partition(release, home, upgrade), county

    def take(self, key: MetadataKey, listed: ListedFile) -> None:
        """Keep a file if its upgrade was asked for, and that its county exists in any case."""
        if key.county is not None:
            self.counties.setdefault(key.state, set()).add(key.county)
        if self.selection.upgrades is None or key.upgrade in self.selection.upgrades:
            is_basic = key.detail == "basic"
            self.files.append(
                _Found(key.state, key.county, key.upgrade, is_basic, key.pattern, listed)
            )

    def whole_cells(self) -> set[tuple[str | None, int]]:
        """The states and upgrades of which every county has a file, and nobody asked for fewer."""
        if self.layouts[0].has_counties and self.selection.named_counties is not None:
            return set()
        have: dict[tuple[str | None, int], set[str | None]] = {}
        for found in self.files:
            have.setdefault((found.state, found.upgrade), set()).add(found.county)
        return {cell for cell, those in have.items() if self.counties.get(cell[0], set()) <= those}


def _search(lister: _Lister, selection: MetadataSelection, base: str) -> _Finding:
    """Look for one layout after the other, until one has a file."""
    how, layouts = choose_layouts(selection, base)
    finding = _Finding(selection, how, layouts)
    for layout in layouts:
        strangers = finding.surplus
        finding.surplus = []
        _look(lister, layout, finding)
        if finding.files:
            return finding
        finding.surplus += strangers
    # What has the name of another layout that was looked for is no stranger.
    finding.surplus = [
        each
        for each in finding.surplus
        if each.why is Surplus.OUTSIDE_SOURCE or not any(one.parse(each.key) for one in layouts)
    ]
    return finding


def _look(lister: _Lister, layout: Layout, finding: _Finding) -> None:
    """List the folders of one layout and sort what lies there."""
    selection = finding.selection
    states: Sequence[str | None] | None = (None,) if layout.is_national else selection.states
    if states is None:
        above = layout.folders(None)
        finding.prefixes += above
        states = lister.states(above)
    else:
        finding.prefixes += [folder for state in states for folder in layout.folders(state)]
    listings = [listing for state in states for listing in _list(lister, layout, selection, state)]
    for listing in listings:
        for listed in listing.result():
            key = layout.parse(listed.key)
            if key is None:
                finding.surplus.append(SurplusFile(listed.key, Surplus.NOT_A_METADATA_FILE))
            elif key.extension != "parquet":  # the same rows as text: `metadata.tsv`
                continue
            elif not listed.is_inside:
                finding.surplus.append(SurplusFile(listed.key, Surplus.OUTSIDE_SOURCE))
            else:
                finding.take(key, listed)


def _list(
    lister: _Lister, layout: Layout, selection: MetadataSelection, state: str | None
) -> Iterator[Future[list[ListedFile]]]:
    """Begin to list one state: a state of 254 counties as one tree, named ones one by one."""
    for folder in layout.folders(state):
        if not layout.has_counties:
            yield lister.files(folder, is_deep=False)
        elif selection.named_counties is None:
            yield lister.files(folder, is_deep=True)
        else:
            for county in selection.counties_in(state or ""):
                yield lister.files(f"{folder}/county={county}", is_deep=False)


@dataclass
class _Merged:
    """The files of one cell, by county (None: of the whole state, or the nation)."""

    files: dict[str | None, _Found] = field(default_factory=dict)
    is_whole_state: bool = False


def _merge(findings: Iterable[_Finding]) -> dict[_Cell, _Merged]:
    """The cells of all selections together, in order.

    Raises:
        MetadataAmbiguousError: Two files are of the same rows.
    """
    merged: dict[_Cell, _Merged] = {}
    for finding in findings:
        folder = finding.selection.folder
        whole_cells = finding.whole_cells()
        for found in _fullest(finding):
            cell = merged.setdefault((folder, found.state, found.upgrade), _Merged())
            cell.is_whole_state |= (found.state, found.upgrade) in whole_cells
            other = cell.files.setdefault(found.county, found)
            if other.listed.key != found.listed.key:
                raise _ambiguous(folder, found, [other, found])
    for (folder, state, upgrade), cell in merged.items():
        national = merged.get((folder, None, upgrade)) if state is not None else None
        whole = national.files[None] if national else cell.files.get(None)
        if whole is not None:
            for found in cell.files.values():
                if found is not whole:
                    raise _ambiguous(folder, found, [whole, found])
    return dict(sorted(merged.items(), key=lambda item: _order(item[0])))


def _fullest(finding: _Finding) -> Iterable[_Found]:
    """One file per state, county and upgrade: `basic` only where there is no `full` one."""
    best: dict[tuple[str | None, str | None, int], _Found] = {}
    for found in sorted(finding.files, key=attrgetter("is_basic")):
        other = best.setdefault(found[:3], found)
        if other is not found and other.is_basic == found.is_basic:
            claims = [each for each in finding.files if each[:4] == found[:4]]
            raise _ambiguous(finding.selection.folder, found, claims)
    return best.values()


def _ambiguous(
    folder: ReleaseFolder, found: _Found, claims: Iterable[_Found]
) -> MetadataAmbiguousError:
    parts = [f"release={folder.release}"]
    parts += [f"state={found.state}"] if found.state else []
    parts += [f"county={found.county}"] if found.county else []
    return MetadataAmbiguousError(
        what="/".join([*parts, f"upgrade={found.upgrade}"]),
        keys=sorted({each.listed.key for each in claims}),
    )


def _order(cell: _Cell) -> tuple[ReleaseFolder, str, int]:
    folder, state, upgrade = cell
    return folder, state or "", upgrade


def _number(merged: dict[_Cell, _Merged]) -> tuple[MetadataListing, ...]:
    """The listings, their files numbered through."""
    listings = []
    start = 0
    for (folder, state, upgrade), cell in merged.items():
        release = find_release(folder)
        files = sorted(cell.files.values(), key=lambda each: each.county or "")
        listings.append(
            MetadataListing(
                release=folder.release,
                upgrade=upgrade,
                state=state,
                weight_model=release.weight_model if release else None,
                is_whole_state=cell.is_whole_state,
                files=tuple(_numbered(ordinal, each) for ordinal, each in enumerate(files, start)),
            )
        )
        start += len(files)
    return tuple(listings)


def _numbered(ordinal: int, found: _Found) -> MetadataFile:
    return MetadataFile(
        ordinal=ordinal,
        key=found.listed.key,
        pattern=found.pattern,
        upgrade=found.upgrade,
        state=found.state,
        county=found.county,
        size_bytes=found.listed.size_bytes,
        etag=found.listed.etag,
        modified_at_utc=found.listed.modified_at_utc,
    )
