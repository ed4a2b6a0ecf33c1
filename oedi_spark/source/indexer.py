"""Find the building files that a run is to read, in the bucket or in a folder.

Stage 2 of 7: config → INDEXER → reader.

In   selections: a release, its states and upgrades (None: every one that exists).
Out  one `PartitionListing` per (release, state, upgrade), files in order of bldg_id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from oedi_spark.contracts import (
    FileIndex,
    Partition,
    PartitionListing,
    SourceFile,
    Surplus,
    SurplusFile,
)
from oedi_spark.errors import NoSourceFilesError
from oedi_spark.source.layout import (
    ReleaseFolder,
    parse_building_name,
    parse_state_folder,
    parse_upgrade_folder,
    partition_prefix,
    timeseries_prefix,
    upgrade_segment,
)
from oedi_spark.source.releases import find_release, resolve_release
from oedi_spark.source.storage import ListedFile, SourceLocation, Storage, open_storage


@dataclass(frozen=True)
class Selection:
    """What one job of the config asks for. None means: every one that exists."""

    folder: ReleaseFolder
    states: tuple[str, ...] | None
    upgrades: tuple[int, ...] | None


def index_files(
    location: SourceLocation,
    selections: Sequence[Selection],
    *,
    base: str,
    data_partition: str,
    workers: int,
) -> FileIndex:
    """List every selected partition, folders in parallel, each one page by page.

    Two selections that name the same partition list it once. A release that is registered as
    one of annual results only has no series, and is not listed.

    Raises:
        SourceListingError: A folder could not be listed.
        NoSourceFilesError: Not one building file was found, of any release that has them.
    """
    selections = [each for each in selections if _has_series(each.folder)]
    if not selections:
        return FileIndex(())
    storage = open_storage(location)
    with ThreadPoolExecutor(workers) as pool:
        cells = {
            (selection.folder, state, upgrade)
            for selection in selections
            for state, upgrade in _cells(storage, selection, base, data_partition, pool)
        }
        listings = pool.map(
            lambda cell: _list_partition(storage, cell, base, data_partition), sorted(cells)
        )
        index = FileIndex(_with_ordinals(listings))
    if not index.files:
        raise NoSourceFilesError(
            root=str(location),
            prefixes=[listing.prefix for listing in index.listings]
            or [timeseries_prefix(base, each.folder, data_partition) for each in selections],
            surplus=sum(len(listing.surplus) for listing in index.listings),
        )
    return index


def _has_series(folder: ReleaseFolder) -> bool:
    release = find_release(folder)
    return release is None or release.has_series


def _cells(
    storage: Storage,
    selection: Selection,
    base: str,
    data_partition: str,
    pool: ThreadPoolExecutor,
) -> Iterable[tuple[str, int]]:
    """The (state, upgrade) pairs of a selection; folders are listed only for a `*`."""
    root = timeseries_prefix(base, selection.folder, data_partition)
    upgrades = selection.upgrades
    if upgrades is None:
        named = map(parse_upgrade_folder, storage.list_folders(root))
        upgrades = tuple(upgrade for upgrade in named if upgrade is not None)
    if selection.states is not None:
        return [(state, upgrade) for upgrade in upgrades for state in selection.states]
    folders = pool.map(lambda n: storage.list_folders(f"{root}/{upgrade_segment(n)}"), upgrades)
    return [
        (state, upgrade)
        for upgrade, names in zip(upgrades, folders, strict=True)
        for state in map(parse_state_folder, names)
        if state is not None
    ]


def _list_partition(
    storage: Storage, cell: tuple[ReleaseFolder, str, int], base: str, data_partition: str
) -> PartitionListing:
    folder, state, upgrade = cell
    prefix = partition_prefix(base, folder, data_partition, state=state, upgrade=upgrade)
    files: dict[int, SourceFile] = {}
    surplus: list[SurplusFile] = []
    for listed in sorted(storage.list_files(prefix), key=lambda each: each.key):
        bldg_id, why = _judge_name(listed, prefix, upgrade)
        if why is not None:
            surplus.append(SurplusFile(listed.key, why))
            continue
        files[bldg_id] = SourceFile(
            ordinal=-1,
            key=listed.key,
            bldg_id=bldg_id,
            size_bytes=listed.size_bytes,
            etag=listed.etag,
            modified_at_utc=listed.modified_at_utc,
        )
    return PartitionListing(
        partition=Partition(folder.release, state, upgrade),
        facts=resolve_release(folder),
        prefix=prefix,
        files=tuple(files[bldg_id] for bldg_id in sorted(files)),
        surplus=tuple(surplus),
    )


def _judge_name(listed: ListedFile, prefix: str, upgrade: int) -> tuple[int, Surplus | None]:
    named = parse_building_name(listed.key[len(prefix) + 1 :])
    if named is None:
        return -1, Surplus.NOT_A_BUILDING_FILE
    if not listed.is_inside:
        return -1, Surplus.OUTSIDE_SOURCE
    return named[0], None if named[1] == upgrade else Surplus.OTHER_UPGRADE


def _with_ordinals(listings: Iterable[PartitionListing]) -> tuple[PartitionListing, ...]:
    numbered, start = [], 0
    for listing in listings:
        files = tuple(
            replace(file, ordinal=ordinal) for ordinal, file in enumerate(listing.files, start)
        )
        start += len(files)
        numbered.append(replace(listing, files=files))
    return tuple(numbered)
