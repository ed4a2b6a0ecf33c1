"""Find and remove what lies in a table's folder and nothing names: what killed runs left.

A file goes only if all of this holds: no snapshot and no metadata names it, it is older than the
longest run could be, no living run may still commit it, and its name is one that this package or
an Iceberg writer gives. What bears another name is reported and left alone.

The order of looking matters: files, then leases, then the table. A run that commits between two
looks is either still alive at the second, or has committed before the third.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.table import Table

from oedi_spark.contracts_maintenance import MaintenanceStep, StepReport
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import StoredFile, list_below, list_uris
from oedi_spark.lake.lease import LeaseBook
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
_METADATA_FILE = re.compile(r"(?P<version>[0-9]+)-[0-9a-f-]{36}\.metadata\.json")
_WAITING = re.compile(rf"(?P<run_id>{_RUN_ID})/.+")


@dataclass(frozen=True)
class _Find:
    """What a look at a folder came to: names relative to it."""

    orphans: tuple[str, ...]
    foreign: tuple[str, ...]


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
    living = _living_runs(place)
    table = table.refresh()
    named = set(named_files(table, table.snapshots()))
    elsewhere = outside(table, named)
    if elsewhere:
        note = f"snapshots name files elsewhere ({elsewhere[0]}); orphans cannot be told"
        return StepReport(short_name(table), MaintenanceStep.ORPHANS, notes=(note,))
    named |= named_besides(table)
    found = _judge(root, (each for each in stored if canonical(each.uri) not in named), living)
    removed = measure(dict.fromkeys(found.orphans), access_of(table))
    if not is_dry_run:
        delete_owned(table, found.orphans)
        _remove_run_folders(root, found.orphans)
    return StepReport(
        short_name(table), MaintenanceStep.ORPHANS, removed=removed, foreign=found.foreign
    )


def sweep_landing(place: CatalogLocation, *, age_days: float, is_dry_run: bool) -> StepReport:
    """Remove the copies of metadata that a dead run left waiting beside the tables."""
    folder = f"{place.database_uri}/_landing"
    stored = _old(list_below(folder, place.access, within_uri=place.database_uri), age_days)
    living = _living_runs(place)
    gone, foreign = [], []
    for each in stored:
        match = _WAITING.fullmatch(each.uri.removeprefix(f"{folder}/"))
        if match is None or _is_link(each.uri):
            foreign.append(each.uri)
        elif match["run_id"] not in living:
            gone.append(each.uri)
    removed = measure(dict.fromkeys(gone), place.access)
    if not is_dry_run:
        delete_below(folder, gone, place.access)
        _remove_run_folders(folder, gone)
    return StepReport(
        "_landing", MaintenanceStep.ORPHANS, removed=removed, foreign=tuple(sorted(foreign))
    )


def sweep_old_metadata(table: Table, *, is_dry_run: bool) -> StepReport:
    """Remove metadata files that lost a race, or that the log of the current one has dropped.

    Only versions up to the current one: a later one may be a commit that is under way.
    """
    table = table.refresh()
    report = StepReport(short_name(table), MaintenanceStep.METADATA)
    folder, _, name = table.metadata_location.rpartition("/")
    current = _METADATA_FILE.fullmatch(name)
    if current is None:
        note = f"{name} is not named as this package's catalogs name metadata"
        return StepReport(report.table, report.step, notes=(note,))
    named = named_besides(table)
    stale = []
    for uri in list_uris(folder, access_of(table)):
        match = _METADATA_FILE.fullmatch(uri.rsplit("/", 1)[1])
        is_older = match is not None and int(match["version"]) <= int(current["version"])
        if is_older and canonical(uri) not in named and not _is_link(uri):
            stale.append(uri)
    removed = measure(dict.fromkeys(stale), access_of(table))
    if not is_dry_run:
        delete_owned(table, stale)
    return StepReport(report.table, report.step, removed=removed)


def _old(stored: Iterable[StoredFile], age_days: float) -> list[StoredFile]:
    before_s = time.time() - age_days * _DAY_S
    return [each for each in stored if each.modified_at_s < before_s]


def _living_runs(place: CatalogLocation) -> set[str]:
    now_s = time.time()
    leases = LeaseBook(place.database_uri, place.access).others("")
    return {each.run_id for each in leases if each.is_alive(now_s)}


def _judge(root: str, suspects: Iterable[StoredFile], living: Collection[str]) -> _Find:
    """Sort what nothing names: ours and dead, ours and alive, or not ours at all."""
    uuids = [str(commit_uuid(run_id)) for run_id in living]
    orphans, foreign = [], []
    for each in suspects:
        name = each.uri.removeprefix(f"{root}/")
        if name.startswith("metadata/") and _METADATA_FILE.fullmatch(name.split("/", 1)[1]):
            continue  # the step for metadata judges these, by their version
        if not any(pattern.fullmatch(name) for pattern in _OURS) or _is_link(each.uri):
            foreign.append(each.uri)
        elif not (
            any(part.startswith(tuple(living)) for part in name.split("/"))
            or any(uuid in name for uuid in uuids)
        ):
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
