"""Keys of the OEDI bucket: pure functions from what a file is to where it lies, and back.

    {base}/{year}/{release_name}/timeseries_individual_buildings/by_state/
        upgrade={N}/state={XX}/{bldg_id}-{N}.parquet

The same in every release since 2021 (domain sheet §1.1): upgrades unpadded, states as
two-letter codes. Nothing here touches a file system, and a name that is not exactly of this
form has no meaning here: names from outside become paths only after they have been parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BUILDING_FILE = re.compile(
    r"(?P<bldg_id>0|[1-9][0-9]{0,17})-(?P<upgrade>0|[1-9][0-9]{0,3})\.parquet"
)
_STATE_FOLDER = re.compile(r"state=(?P<state>[A-Z]{2})")
_UPGRADE_FOLDER = re.compile(r"upgrade=(?P<upgrade>0|[1-9][0-9]{0,3})")

SAFE_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._=-]{1,120}")
"""One folder name of a configured path: no separators, no `..`, no blanks, no quotes."""


def is_safe_path(path: str) -> bool:
    """Whether `path` is one or more safe folder names, joined by `/`."""
    return bool(path) and all(SAFE_SEGMENT.fullmatch(segment) for segment in path.split("/"))


@dataclass(frozen=True, order=True)
class ReleaseFolder:
    """A release as its folder names it: `2024` and `comstock_amy2018_release_1`."""

    year: str
    name: str

    @property
    def release(self) -> str:
        """The release as our tables name it.

        The year belongs to it (`resstock_amy2018_release_1` exists for 2021, 2022 and 2025)
        and a slash does not, because the value becomes a folder name.
        """
        return f"{self.year}_{self.name}".replace("/", "_")


@dataclass(frozen=True, order=True)
class BuildingKey:
    """What the key of one building file says."""

    folder: ReleaseFolder
    state: str
    upgrade: int
    bldg_id: int


def timeseries_prefix(base: str, folder: ReleaseFolder, data_partition: str) -> str:
    """The folder above `upgrade=…`, without a trailing slash."""
    return "/".join(part for part in (base, folder.year, folder.name, data_partition) if part)


def upgrade_segment(upgrade: int) -> str:
    """The folder name of an upgrade in the time-series tree: never padded."""
    return f"upgrade={upgrade}"


def partition_prefix(
    base: str, folder: ReleaseFolder, data_partition: str, *, state: str, upgrade: int
) -> str:
    """The folder that holds the building files of one state and upgrade."""
    root = timeseries_prefix(base, folder, data_partition)
    return f"{root}/{upgrade_segment(upgrade)}/state={state}"


def building_key(base: str, data_partition: str, building: BuildingKey) -> str:
    """The key of one building file; the inverse of `parse_building_key`."""
    prefix = partition_prefix(
        base, building.folder, data_partition, state=building.state, upgrade=building.upgrade
    )
    return f"{prefix}/{building.bldg_id}-{building.upgrade}.parquet"


def parse_building_name(name: str) -> tuple[int, int] | None:
    """(bldg_id, upgrade) of a file name such as `100025-2.parquet`; None for any other name."""
    match = _BUILDING_FILE.fullmatch(name)
    return (int(match["bldg_id"]), int(match["upgrade"])) if match else None


def parse_state_folder(name: str) -> str | None:
    """`AK` of `state=AK`; None for any other name."""
    match = _STATE_FOLDER.fullmatch(name)
    return match["state"] if match else None


def parse_upgrade_folder(name: str) -> int | None:
    """3 of `upgrade=3`; None for any other name, a padded one included."""
    match = _UPGRADE_FOLDER.fullmatch(name)
    return int(match["upgrade"]) if match else None


def parse_building_key(
    key: str, *, base: str, folder: ReleaseFolder, data_partition: str
) -> BuildingKey | None:
    """What a key says, or None when it is not a building file of this release.

    A file whose name gives another upgrade than its folder is not a building file.
    """
    root = timeseries_prefix(base, folder, data_partition) + "/"
    if not key.startswith(root):
        return None
    segments = key[len(root) :].split("/")
    if len(segments) != 3:
        return None
    upgrade, state = parse_upgrade_folder(segments[0]), parse_state_folder(segments[1])
    named = parse_building_name(segments[2])
    if upgrade is None or state is None or named is None or named[1] != upgrade:
        return None
    return BuildingKey(folder=folder, state=state, upgrade=upgrade, bldg_id=named[0])
