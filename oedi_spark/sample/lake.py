"""Write a sample lake: building files and metadata under the keys of the OEDI bucket.

The same request gives the same bytes. A file is written under another name first and then
takes its place, so whoever reads meanwhile sees the old file or the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType

from oedi_spark.errors import ConfigError
from oedi_spark.sample.files import build_table, encode_parquet, write_atomically
from oedi_spark.sample.metadata import BuildingRecord, build_metadata
from oedi_spark.sample.places import load_places
from oedi_spark.sample.shapes import (
    IDS_PER_STATE,
    Setting,
    apply_upgrade,
    build_energies,
    build_profile,
    build_setting,
    building_ids,
    is_applicable,
)
from oedi_spark.sample.traps import (
    ROW_GROUP_ROWS,
    WHOLE_LAKE_TRAPS,
    LakeStyle,
    Trap,
    apply_style,
    assign_traps,
    build_style,
    find_trap_faults,
    spoil_bytes,
    spoil_table,
)
from oedi_spark.source.layout import (
    BuildingKey,
    ReleaseFolder,
    building_key,
    is_safe_path,
    partition_prefix,
    timeseries_prefix,
)

BASE_PARTITION = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
DATA_PARTITION = "timeseries_individual_buildings/by_state"
DEFAULT_RELEASES = (
    ReleaseFolder("2024", "comstock_amy2018_release_1"),
    ReleaseFolder("2022", "resstock_amy2018_release_1"),
)
_WRITERS = 4
_Written = tuple[BuildingRecord, int | None]


@dataclass(frozen=True)
class SampleRequest:
    """What to write. `buildings` counts per release and state; every upgrade holds the same."""

    releases: tuple[ReleaseFolder, ...] = DEFAULT_RELEASES
    states: tuple[str, ...] = ("CO",)
    upgrades: tuple[int, ...] = (0,)
    buildings: int = 8
    seed: int = 2018
    traps: tuple[Trap, ...] = ()


@dataclass(frozen=True)
class SampleReport:
    """What was written below `root`.

    `trapped` names the trap of each key. A trap of the whole lake stands under the
    time-series folder of every release; several of them are joined by commas.
    """

    root: Path
    data_files: int
    metadata_files: int
    size_bytes: int
    trapped: Mapping[str, str]


@dataclass(frozen=True)
class _Plan:
    request: SampleRequest
    style: LakeStyle
    traps: Mapping[BuildingKey, Trap]


def write_sample_lake(out: Path, request: SampleRequest) -> SampleReport:
    """Write the files of a request below `out`, which stands for the bucket.

    An existing lake is overwritten file by file; files that the request does not name stay.

    Raises:
        ConfigError: The request names what does not exist, or more traps than buildings.
    """
    _require_valid(request)
    plan = _Plan(
        request, build_style(request.traps), assign_traps(request.traps, _trap_sites(request))
    )
    trapped = _whole_lake_keys(request)
    data_sizes: list[int] = []
    metadata_sizes: list[int] = []
    for folder in dict.fromkeys(request.releases):
        records: list[BuildingRecord] = []
        for state in dict.fromkeys(request.states):
            setting = build_setting(request.seed, folder, load_places()[state])
            for record, size in _write_buildings(out, plan, setting):
                records.append(record)
                data_sizes += [] if size is None else [size]
        for name, table in build_metadata(folder, request.seed, records):
            key = f"{BASE_PARTITION}/{folder.year}/{folder.name}/{name}"
            metadata_sizes.append(write_atomically(out / key, encode_parquet(table)))
    trapped |= {_key(one): trap.value for one, trap in plan.traps.items()}
    strays = _write_strays(out, request)
    trapped |= {key: trap for key, (trap, _) in strays.items()}
    return SampleReport(
        root=out,
        data_files=len(data_sizes),
        metadata_files=len(metadata_sizes),
        size_bytes=sum(data_sizes) + sum(metadata_sizes) + sum(one for _, one in strays.values()),
        trapped=MappingProxyType(trapped),
    )


def _require_valid(request: SampleRequest) -> None:
    """Raise with every fault of the request."""
    faults = find_trap_faults(request.traps)
    for folder in request.releases:
        if not is_safe_path(f"{folder.year}/{folder.name}"):
            faults.append(f"release {folder.year}/{folder.name}: no name of a folder")
        elif not folder.name.startswith(("comstock_", "resstock_")):
            faults.append(f"release {folder.year}/{folder.name}: neither comstock_… nor resstock_…")
        elif folder.year <= "2021" and any(request.upgrades):
            faults.append(f"release {folder.year}/{folder.name}: has the baseline only, upgrade 0")
    faults += [f"state {one}: no such state" for one in request.states if one not in load_places()]
    faults += [
        f"upgrade {one}: not from 0 to 9999" for one in request.upgrades if not 0 <= one <= 9999
    ]
    if not 1 <= request.buildings <= IDS_PER_STATE:
        faults.append(f"buildings {request.buildings}: not from 1 to {IDS_PER_STATE:,}")
    named = {"release": request.releases, "state": request.states, "upgrade": request.upgrades}
    faults += [f"{name}: none given" for name, values in named.items() if not values]
    if faults:
        raise ConfigError("sample", faults)


def _ids(request: SampleRequest, folder: ReleaseFolder, state: str) -> tuple[int, ...]:
    return building_ids(request.seed, folder, load_places()[state], request.buildings)


def _key(building: BuildingKey) -> str:
    return building_key(BASE_PARTITION, DATA_PARTITION, building)


def _trap_sites(request: SampleRequest) -> list[list[BuildingKey]]:
    """The buildings that a trap may hit: those of the lowest upgrade, folder by folder."""
    upgrade = min(request.upgrades)
    return [
        [
            BuildingKey(folder, state, upgrade, bldg_id)
            for bldg_id in sorted(_ids(request, folder, state))
        ]
        for folder in dict.fromkeys(request.releases)
        for state in dict.fromkeys(request.states)
    ]


def _whole_lake_keys(request: SampleRequest) -> dict[str, str]:
    asked = [trap.value for trap in Trap if trap in WHOLE_LAKE_TRAPS & set(request.traps)]
    if not asked:
        return {}
    return {
        timeseries_prefix(BASE_PARTITION, folder, DATA_PARTITION): ",".join(asked)
        for folder in request.releases
    }


def _write_buildings(out: Path, plan: _Plan, setting: Setting) -> Iterator[_Written]:
    """Write the buildings of one state, several at a time; results keep their order."""
    ids = _ids(plan.request, setting.folder, setting.place.state)
    with ThreadPoolExecutor(max_workers=_WRITERS) as pool:
        for written in pool.map(partial(_write_building, out, plan, setting), ids, count()):
            yield from written


def _write_building(
    out: Path, plan: _Plan, setting: Setting, bldg_id: int, position: int
) -> list[_Written]:
    """Write one building under every upgrade. The size is None where a trap left no file.

    The records hold what was drawn, so a trap never shows in the metadata.
    """
    written: list[_Written] = []
    baseline = build_profile(setting, bldg_id, position)
    for upgrade in sorted(set(plan.request.upgrades)):
        profile = apply_upgrade(setting, baseline, upgrade)
        energies = build_energies(profile, setting.family)
        building = BuildingKey(setting.folder, setting.place.state, upgrade, bldg_id)
        trap = plan.traps.get(building)
        table = build_table(setting, profile, energies)
        table = spoil_table(trap, apply_style(table, plan.style))
        rows = ROW_GROUP_ROWS if trap is Trap.MULTI_ROW_GROUPS else None
        content = spoil_bytes(trap, encode_parquet(table, row_group_rows=rows))
        path = out / _key(building)
        if content is None:
            path.unlink(missing_ok=True)
        record = BuildingRecord(
            bldg_id=bldg_id,
            state=setting.place.state,
            upgrade=upgrade,
            applicable=is_applicable(position, upgrade),
            traits=profile.traits,
            annual_kwh={one: float(load.sum()) for one, load in energies.items()},
        )
        written.append((record, None if content is None else write_atomically(path, content)))
    return written


def _write_strays(out: Path, request: SampleRequest) -> dict[str, tuple[str, int]]:
    """Put files that are no buildings of the folder into the first one: key, trap, size."""
    upgrade = min(request.upgrades)
    prefix = partition_prefix(
        BASE_PARTITION,
        request.releases[0],
        DATA_PARTITION,
        state=request.states[0],
        upgrade=upgrade,
    )
    contents: dict[str, tuple[Trap, bytes]] = {}
    if Trap.STRAY_FILES in request.traps:
        stray_names = ("_SUCCESS", "notes.txt", "123-0.parquet.tmp", f"456-{upgrade + 1}.parquet")
        contents |= dict.fromkeys(stray_names, (Trap.STRAY_FILES, b"no building\n"))
    if Trap.HOSTILE_NAME in request.traps:
        contents[f"789'\"\n-{upgrade}.parquet"] = (Trap.HOSTILE_NAME, b"no building\n")
    written = {}
    for name, (trap, content) in contents.items():
        try:
            size = write_atomically(out / prefix / name, content)
        except OSError:
            if trap is not Trap.HOSTILE_NAME:
                raise
        else:
            written[f"{prefix}/{name}"] = (trap.value, size)
    return written
