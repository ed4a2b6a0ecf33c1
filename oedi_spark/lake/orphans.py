"""Find and remove what lies in a table's folder and nothing names: what killed runs left.

A file goes only if all of this holds: no snapshot and no metadata names it, it is older than the
longest run could be, no living run may still commit it, and its name is one that this package or
an Iceberg writer gives. What bears another name is reported and left alone.

A living run may commit what bears its id, and whatever lies in the partitions that it claims: it
takes up what a killed run has finished there.

The order of looking matters: files, then leases, then the table. A run that commits between two
looks is either still alive at the second, or has committed before the third.

A run that counts as dead may only have been out of reach, and wake up. So before a file that
bears its name goes, it is told so for good and its lease goes: that stops it from publishing. Then
leases and table are looked at once more, for what it did just before, and for a run that came to
take up its work.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pyiceberg.table import Table

from oedi_spark.contracts_maintenance import MaintenanceStep, StepReport
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import StoredFile, list_below
from oedi_spark.lake.lease import Lease, LeaseBook
from oedi_spark.lake.owned import (
    canonical,
    delete_below,
    delete_owned,
    measure,
    named_besides,
    named_files,
    outside,
    short_name,
)
from oedi_spark.lake.sweep import METADATA_FILE, stale_metadata
from oedi_spark.log import get_logger

_log = get_logger(__name__)

_DAY_S = 86_400.0
_RUN_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}(-maintain)?"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CELLS = r"data/([^/=]+=[^/]+/)*"
_OURS = (
    re.compile(rf"{_CELLS}{_RUN_ID}(-[^/]*)?\.parquet"),
    re.compile(rf"{_CELLS}{_RUN_ID}-window-[0-9a-f]+/.+"),  # Spark names what is in it
    re.compile(rf"{_CELLS}[0-9]{{5}}-[0-9]+-{_UUID}(-[0-9]+)?\.parquet"),
    re.compile(rf"metadata/{_UUID}-m[0-9]+\.avro"),
    re.compile(rf"metadata/snap-[0-9]+-[0-9]+-{_UUID}\.avro"),
)
_BESIDE = {
    "_landing": re.compile(rf"{_RUN_ID}/.+"),
    "_staged": re.compile(rf"{_RUN_ID}/[0-9a-f]{{16}}\.json(\.[0-9a-f]{{8}}\.unfinished)?"),
}
"""Folders beside the tables, and what our files in them are called."""


@dataclass(frozen=True)
class _Find:
    """What a look at a folder came to: names relative to it."""

    orphans: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Kept:
    """What stays: files that may be of these runs, and all below these folders of a table."""

    run_ids: frozenset[str]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, owners: Iterable[Lease], claimants: Iterable[Lease]) -> _Kept:
        """The files of the owners, and the partitions of the claimants."""
        cells = {cell for each in claimants for cell in each.partitions}
        return cls(
            frozenset(each.run_id for each in owners),
            tuple(f"data/{cell}/" for cell in sorted(cells)),
        )


def sweep_orphans(
    table: Table, place: CatalogLocation, *, age_days: float, is_dry_run: bool
) -> StepReport:
    """Remove the data files, manifests and manifest lists of a table that no snapshot names.

    Args:
        table: A table of ours (`owned.open_owned`).
        place: Where its database's leases lie.
        age_days: What is younger stays, whatever it is.
        is_dry_run: Only say what would go.
    """
    root = canonical(table.location().rstrip("/"))
    stored = _old(list_below(root, access_of(table), within_uri=place.database_uri), age_days)
    found = _stop_dead_runs(
        place, root, lambda kept: _judge_table(table, root, stored, kept), is_dry_run=is_dry_run
    )
    removed = measure(dict.fromkeys(found.orphans), access_of(table))
    if not is_dry_run:
        delete_owned(table, found.orphans)
        _remove_run_folders(root, found.orphans)
    return StepReport(
        short_name(table),
        MaintenanceStep.ORPHANS,
        removed=removed,
        foreign=found.foreign,
        notes=found.notes,
    )


def sweep_beside(
    place: CatalogLocation, name: str, *, age_days: float, is_dry_run: bool
) -> StepReport:
    """Remove what dead runs left beside the tables.

    Args:
        place: Where the tables lie.
        name: `_landing`, copies of metadata that wait; or `_staged`, entries of finished batches.
        age_days: What is younger stays, whatever it is.
        is_dry_run: Only say what would go.
    """
    folder = f"{place.database_uri}/{name}"
    stored = _old(list_below(folder, place.access, within_uri=place.database_uri), age_days)
    found = _stop_dead_runs(
        place,
        folder,
        lambda kept: _judge(folder, stored, kept, (_BESIDE[name],)),
        is_dry_run=is_dry_run,
    )
    removed = measure(dict.fromkeys(found.orphans), place.access)
    if not is_dry_run:
        delete_below(folder, found.orphans, place.access)
        _remove_run_folders(folder, found.orphans)
    return StepReport(
        name,
        MaintenanceStep.ORPHANS,
        removed=removed,
        foreign=found.foreign,
        notes=found.notes,
    )


def sweep_leases(place: CatalogLocation, *, is_dry_run: bool) -> StepReport:
    """Remove half-written leases and the marks of runs that were ended long ago; no lease."""
    gone = LeaseBook(place.database_uri, place.access).outdated()
    removed = measure(dict.fromkeys(gone), place.access)
    if not is_dry_run:
        delete_below(f"{place.database_uri}/_leases", gone, place.access)
    return StepReport("_leases", MaintenanceStep.ORPHANS, removed=removed)


def sweep_old_metadata(table: Table, *, is_dry_run: bool) -> StepReport:
    """Remove metadata files that lost a race, or that the log of the current one has dropped."""
    table = table.refresh()
    report = StepReport(short_name(table), MaintenanceStep.METADATA)
    name = table.metadata_location.rsplit("/", 1)[1]
    if METADATA_FILE.fullmatch(name) is None:
        note = f"{name} is not named as this package's catalogs name metadata"
        return StepReport(report.table, report.step, notes=(note,))
    stale = [uri for uri in stale_metadata(table) if not _is_link(uri)]
    removed = measure(dict.fromkeys(stale), access_of(table))
    if not is_dry_run:
        delete_owned(table, stale)
    return StepReport(report.table, report.step, removed=removed)


def _old(stored: Iterable[StoredFile], age_days: float) -> list[StoredFile]:
    before_s = time.time() - age_days * _DAY_S
    return [each for each in stored if each.modified_at_s < before_s]


def _stop_dead_runs(
    place: CatalogLocation,
    root: str,
    judge: Callable[[_Kept], _Find],
    *,
    is_dry_run: bool,
) -> _Find:
    """What may go, after every run that it may be of has lost its lease.

    Args:
        place: Where the leases lie.
        root: The folder that is swept.
        judge: Looks at the folder; leaves what it is told to keep.
        is_dry_run: Only say which leases would be released.
    """
    book, now_s = LeaseBook(place.database_uri, place.access), time.time()
    leases = list(book.others(""))
    living = [each for each in leases if each.is_alive(now_s)]
    found = judge(_Kept.of(living, living))
    sleepers = {each.run_id: each for each in leases if each not in living}
    marks, dead = _marks(sleepers), set[str]()
    for uri in found.orphans:
        dead |= _owners(uri.removeprefix(f"{root}/"), marks)
    if dead and not is_dry_run:
        for run_id in sorted(dead):
            book.end(sleepers[run_id])
            book.release(run_id)
            _log.warning("lease of a dead run released", run=run_id)
        leases = list(book.others(""))
        # One that comes back was renewed in the same instant: its run may be about to commit.
        found = judge(_Kept.of(leases, [each for each in leases if each.is_alive(time.time())]))
    so = "would be" if is_dry_run else "was"
    notes = (f"run {each} counts as dead; its lease {so} released first" for each in sorted(dead))
    return replace(found, notes=(*found.notes, *notes))


def _marks(run_ids: Iterable[str]) -> dict[str, str]:
    """Runs, and what each one's manifests are called."""
    return {run_id: str(commit_uuid(run_id)) for run_id in run_ids}


def _owners(name: str, marks: Mapping[str, str]) -> set[str]:
    """The runs that a file may be of, by its name below the folder."""
    parts = name.split("/")
    return {
        run_id
        for run_id, uuid in marks.items()
        if uuid in name or any(part.startswith(run_id) for part in parts)
    }


def _judge_table(table: Table, root: str, stored: Iterable[StoredFile], kept: _Kept) -> _Find:
    """Read the table anew, and sort what it does not name."""
    table = table.refresh()
    named = set(named_files(table, table.snapshots()))
    elsewhere = outside(table, named)
    if elsewhere:
        note = f"snapshots name files elsewhere ({elsewhere[0]}); orphans cannot be told"
        return _Find(notes=(note,))
    named |= named_besides(table)
    suspects = (each for each in stored if canonical(each.uri) not in named)
    return _judge(root, suspects, kept, _OURS)


def _judge(
    root: str, suspects: Iterable[StoredFile], kept: _Kept, ours: Iterable[re.Pattern[str]]
) -> _Find:
    """Sort what nothing names: ours and dead, ours and kept, or not ours at all."""
    orphans, foreign, marks = [], [], _marks(kept.run_ids)
    for each in suspects:
        name = each.uri.removeprefix(f"{root}/")
        if name.startswith("metadata/") and METADATA_FILE.fullmatch(name.split("/", 1)[1]):
            continue  # the step for metadata judges these, by their version
        if not any(pattern.fullmatch(name) for pattern in ours) or _is_link(each.uri):
            foreign.append(each.uri)
        elif not (name.startswith(kept.folders) or _owners(name, marks)):
            orphans.append(each.uri)
    return _Find(tuple(sorted(orphans)), tuple(sorted(foreign)))


def _is_link(uri: str) -> bool:
    """Whether it is a link in a local folder: nobody here makes one."""
    return uri.startswith("file://") and Path(uri.removeprefix("file://")).is_symlink()


def _remove_run_folders(root: str, removed: Collection[str]) -> None:
    """Remove the local folders of single runs that are empty now; no other folder."""
    if not root.startswith("file://"):
        return
    bottom_up = sorted(
        {folder for uri in removed for folder in _run_folders(root, uri)},
        key=lambda folder: -len(folder.parts),
    )
    for folder in bottom_up:
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _run_folders(root: str, uri: str) -> list[Path]:
    """The folders that a file lies in, from that of its run on."""
    at, folders, is_of_run = Path(root.removeprefix("file://")), [], False
    for part in uri.removeprefix(f"{root}/").split("/")[:-1]:
        at /= part
        is_of_run = is_of_run or re.match(_RUN_ID, part) is not None
        if is_of_run:
            folders.append(at)
    return folders
