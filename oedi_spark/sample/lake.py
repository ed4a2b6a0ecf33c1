"""Write a sample lake: building files and metadata under the keys of the OEDI bucket.

The same request gives the same bytes. A file is written under another name first and then
takes its place, so whoever reads meanwhile sees the old file or the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from oedi_spark.errors import ConfigError
from oedi_spark.sample.files import LakeWriter, build_table, encode_parquet
from oedi_spark.sample.metadata import Extent, build_metadata
from oedi_spark.sample.metadata_rows import (
    BuildingRecord,
    MetadataLayout,
    is_annual_only,
    resolve_metadata_layout,
)
from oedi_spark.sample.metadata_traps import (
    BUILDING_TRAPS,
    MetadataSite,
    PlantedTrap,
    assign_metadata_traps,
    build_companions,
    plant_building_traps,
    spoil_metadata,
    spoil_metadata_bytes,
)
from oedi_spark.sample.places import load_places
from oedi_spark.sample.shapes import (
    IDS_PER_STATE,
    Setting,
    Traits,
    apply_upgrade,
    build_energies,
    build_profile,
    build_setting,
    building_ids,
    is_applicable,
)
from oedi_spark.sample.strays import write_strays
from oedi_spark.sample.traps import (
    FOLDER_TRAPS,
    METADATA_TRAPS,
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
_VISITOR_SHARE = 0.5
_Written = tuple[BuildingRecord, int | None]


@dataclass(frozen=True)
class SampleRequest:
    """What to write. `buildings` counts per release and state; every upgrade holds the same.

    From ComStock 2024 release 2 on, the first building of a state also lies, the same series,
    in the state named after it, where it is one more; it has weight in both (domain sheet §0.4).
    A release without series (ResStock 2024.1) gets metadata only. `metadata`: `usual` for the
    trees that a run needs, `all` for every one that the release has.
    """

    releases: tuple[ReleaseFolder, ...] = DEFAULT_RELEASES
    states: tuple[str, ...] = ("CO",)
    upgrades: tuple[int, ...] = (0,)
    buildings: int = 8
    seed: int = 2018
    traps: tuple[Trap, ...] = ()
    metadata: Extent = "usual"


@dataclass(frozen=True)
class SampleReport:
    """What was written below `root`.

    `trapped` names the trap of each key. A trap of the whole lake stands under the
    time-series folder of every release, one of a building under the key of its series, be it
    there or not; several at one key are joined by commas. `md5s`: as `LakeWriter` has them.
    """

    root: Path
    data_files: int
    metadata_files: int
    size_bytes: int
    trapped: Mapping[str, str]
    md5s: Mapping[str, str | None]


@dataclass(frozen=True)
class _Plan:
    request: SampleRequest
    style: LakeStyle
    traps: Mapping[BuildingKey, Trap]
    metadata_traps: Mapping[str, PlantedTrap]


def write_sample_lake(out: Path, request: SampleRequest) -> SampleReport:
    """Write the files of a request below `out`, which stands for the bucket.

    An existing lake is overwritten file by file; files that the request does not name stay.

    Raises:
        ConfigError: The request names what does not exist, or more traps than there are
            buildings or metadata files for; then nothing was written.
    """
    _require_valid(request)
    sites = _metadata_sites(request) if METADATA_TRAPS.intersection(request.traps) else []
    plan = _Plan(
        request,
        build_style(request.traps),
        assign_traps(request.traps, _trap_sites(request)),
        assign_metadata_traps(request.traps, sites),
    )
    lake = LakeWriter(out)
    trapped = [(_key(one), trap) for one, trap in plan.traps.items()]
    data_sizes: list[int] = []
    metadata_sizes: dict[str, int] = {}
    for folder in dict.fromkeys(request.releases):
        records: list[BuildingRecord] = []
        for state in dict.fromkeys(request.states):
            setting = build_setting(request.seed, folder, load_places()[state])
            for record, size in _write_buildings(lake, plan, setting):
                records.append(record)
                data_sizes += [] if size is None else [size]
        records, planted = _plant_buildings(request, folder, records)
        trapped += planted
        metadata_sizes |= _write_metadata(lake, plan, folder, records, trapped)
    strays = _write_strays(lake, request)
    trapped += [(key, trap) for key, (trap, _) in strays.items()]
    return SampleReport(
        root=out,
        data_files=len(data_sizes),
        metadata_files=len(metadata_sizes),
        size_bytes=sum(data_sizes)
        + sum(metadata_sizes.values())
        + sum(one for _, one in strays.values()),
        trapped=_join(_whole_lake_keys(request), trapped),
        md5s=MappingProxyType(lake.md5s),
    )


def _join(whole_lake: Mapping[str, str], trapped: Iterable[tuple[str, Trap]]) -> Mapping[str, str]:
    joined = dict(whole_lake)
    for key, trap in trapped:
        joined[key] = f"{joined[key]},{trap.value}" if key in joined else trap.value
    return MappingProxyType(joined)


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
    faults += _find_site_faults(request)
    named = {"release": request.releases, "state": request.states, "upgrade": request.upgrades}
    faults += [f"{name}: none given" for name, values in named.items() if not values]
    if faults:
        raise ConfigError("sample", faults)


def _find_site_faults(request: SampleRequest) -> list[str]:
    """Traps that the releases or the number of buildings leave no place for."""
    asked = frozenset(request.traps)
    faults = []
    of_series = sorted((asked - METADATA_TRAPS) | (asked & BUILDING_TRAPS))
    if of_series and all(map(is_annual_only, request.releases)):
        faults.append(f"traps: {', '.join(of_series)}: no release of this sample has series")
    if Trap.SERIES_WITHOUT_METADATA in asked and request.buildings < 2:
        faults.append(f"traps: {Trap.SERIES_WITHOUT_METADATA} needs 2; ask for more buildings")
    return faults


def _with_series(request: SampleRequest) -> tuple[ReleaseFolder, ...]:
    """The releases that have series, each once."""
    return tuple(one for one in dict.fromkeys(request.releases) if not is_annual_only(one))


def _visitors(request: SampleRequest, folder: ReleaseFolder) -> dict[int, tuple[str, str]]:
    """Buildings that count in two states: home and the other, by bldg_id."""
    if resolve_metadata_layout(folder) is not MetadataLayout.BY_TRACT:
        return {}
    neighbours = pairwise(dict.fromkeys(request.states))
    return {_ids(request, folder, home)[0]: (home, other) for home, other in neighbours}


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
        for folder in _with_series(request)
        for state in dict.fromkeys(request.states)
    ]


def _metadata_sites(request: SampleRequest) -> list[MetadataSite]:
    """The metadata files that a trap may hit: lowest upgrade and first state first.

    Which files there are depends on the ids alone, so blank buildings tell before any is drawn.
    """
    blank = Traits(building_type="", sqft=0.0, vintage="", heating_fuel="", weight=1.0)
    states = list(dict.fromkeys(request.states))
    sites = []
    for folder in dict.fromkeys(request.releases):
        cells = [(bldg_id, one, one) for one in states for bldg_id in _ids(request, folder, one)]
        cells += [(one, other, home) for one, (home, other) in _visitors(request, folder).items()]
        drafts = [
            BuildingRecord(bldg_id, state, upgrade, True, blank, {}, simulated_in)
            for bldg_id, state, simulated_in in cells
            for upgrade in sorted(set(request.upgrades))
        ]
        drafts, _ = _plant_buildings(request, folder, drafts)
        files = list(build_metadata(folder, request.seed, drafts, request.metadata))
        files.sort(key=lambda one: (one.upgrade, states.index(one.state) if one.state else -1))
        base = f"{BASE_PARTITION}/{folder.year}/{folder.name}"
        sites += [
            MetadataSite(folder.release, f"{base}/{one.key}", one.state, one.upgrade)
            for one in files
        ]
    return sites


def _whole_lake_keys(request: SampleRequest) -> dict[str, str]:
    asked = [trap.value for trap in Trap if trap in WHOLE_LAKE_TRAPS & set(request.traps)]
    if not asked:
        return {}
    return {
        timeseries_prefix(BASE_PARTITION, folder, DATA_PARTITION): ",".join(asked)
        for folder in _with_series(request)
    }


def _plant_buildings(
    request: SampleRequest, folder: ReleaseFolder, records: list[BuildingRecord]
) -> tuple[list[BuildingRecord], list[tuple[str, Trap]]]:
    """Plant the traps of buildings, in the first release that has series; key and trap."""
    if not BUILDING_TRAPS.intersection(request.traps) or folder != _with_series(request)[0]:
        return records, []
    state, upgrade = request.states[0], min(request.upgrades)
    records, hit = plant_building_traps(request.traps, records, state=state, upgrade=upgrade)
    keys = {one: _key(BuildingKey(folder, state, upgrade, one)) for one in hit}
    return records, [(keys[bldg_id], trap) for bldg_id, trap in hit.items()]


def _write_metadata(
    lake: LakeWriter,
    plan: _Plan,
    folder: ReleaseFolder,
    records: Sequence[BuildingRecord],
    trapped: list[tuple[str, Trap]],
) -> dict[str, int]:
    """Write the metadata of a release; returns sizes by key and adds to `trapped`."""
    sizes = {}
    for file in build_metadata(folder, plan.request.seed, records, plan.request.metadata):
        key = f"{BASE_PARTITION}/{folder.year}/{folder.name}/{file.key}"
        planted = plan.metadata_traps.get(key)
        if planted is None:
            sizes[key] = lake.write(key, encode_parquet(file.table))
            continue
        content = encode_parquet(spoil_metadata(planted, file))
        content = spoil_metadata_bytes(planted.trap, content)
        companions = build_companions(planted.trap, key, content)
        trapped += [(one, planted.trap) for one in companions or (key,)]
        for name, written in {key: content, **companions}.items():
            sizes[name] = lake.write(name, written)
    return sizes


def _write_buildings(lake: LakeWriter, plan: _Plan, setting: Setting) -> Iterator[_Written]:
    """Write the buildings of one state, several at a time; results keep their order."""
    ids = _ids(plan.request, setting.folder, setting.place.state)
    with ThreadPoolExecutor(max_workers=_WRITERS) as pool:
        for written in pool.map(partial(_write_building, lake, plan, setting), ids, count()):
            yield from written


def _write_building(
    lake: LakeWriter, plan: _Plan, setting: Setting, bldg_id: int, position: int
) -> list[_Written]:
    """Write one building under every upgrade, in each of its states.

    The size is None where a trap left no file, or the release has no series. The records hold
    what was drawn, so a trap of the series never shows in the metadata.
    """
    written: list[_Written] = []
    request, home = plan.request, setting.place.state
    states = [home, *_visitors(request, setting.folder).get(bldg_id, ())[1:]]
    baseline = build_profile(setting, bldg_id, position)
    for upgrade in sorted(set(request.upgrades)):
        profile = apply_upgrade(setting, baseline, upgrade)
        energies = build_energies(profile, setting.family)
        record = BuildingRecord(
            bldg_id=bldg_id,
            state=home,
            upgrade=upgrade,
            applicable=is_applicable(position, upgrade),
            traits=profile.traits,
            annual_kwh={one: float(load.sum()) for one, load in energies.items()},
            simulated_in=home,
        )
        table = None
        if not is_annual_only(setting.folder):
            table = apply_style(build_table(setting, profile, energies), plan.style)
        for state in states:
            building = BuildingKey(setting.folder, state, upgrade, bldg_id)
            size = None if table is None else _write_series(lake, plan, building, table)
            written.append((record if state == home else _visit(record, state), size))
    return written


def _visit(record: BuildingRecord, state: str) -> BuildingRecord:
    """The same building where it stands for another state's stock, with a weight of its own."""
    traits = replace(record.traits, weight=record.traits.weight * _VISITOR_SHARE)
    return replace(record, state=state, traits=traits)


def _write_series(
    lake: LakeWriter, plan: _Plan, building: BuildingKey, table: pa.Table
) -> int | None:
    """Write one building file with the trap it may have; returns the size, None for no file."""
    trap = plan.traps.get(building)
    rows = ROW_GROUP_ROWS if trap is Trap.MULTI_ROW_GROUPS else None
    content = spoil_bytes(trap, encode_parquet(spoil_table(trap, table), row_group_rows=rows))
    if content is None:
        lake.remove(_key(building))
        return None
    return lake.write(_key(building), content)


def _write_strays(lake: LakeWriter, request: SampleRequest) -> dict[str, tuple[Trap, int]]:
    """Put files that are no buildings of the folder into the first one: trap and size, by key."""
    if not FOLDER_TRAPS.intersection(request.traps):
        return {}
    upgrade = min(request.upgrades)
    prefix = partition_prefix(
        BASE_PARTITION,
        _with_series(request)[0],
        DATA_PARTITION,
        state=request.states[0],
        upgrade=upgrade,
    )
    return write_strays(lake, prefix, upgrade=upgrade, traps=request.traps)
