"""Metadata and annual results beside the series, at the keys of each release (domain sheet §1.2).

From ComStock 2024 release 2 on, a building stands for stock in several counties, with a
weight in each: there the files are one per county, in two grains (tract and county), and the
by-state file sums the weights up.

A release has the same rows in several trees. `usual` writes those that a run needs; `all`
writes every tree of parquet files that the release has: national ones, PUMAs, and `basic`
files, which hold fewer columns than the `full` ones beside them. CSV is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from oedi_spark.sample.metadata_rows import (
    BuildingRecord,
    MetadataLayout,
    Row,
    RowGrain,
    TractWeight,
    Words,
    build_row,
    draw_tract_weights,
    resolve_words,
)
from oedi_spark.source.layout import ReleaseFolder

Extent = Literal["usual", "all"]
RESULTS = "metadata_and_annual_results"
AGGREGATES = "metadata_and_annual_results_aggregates"
_BASIC_LEAVES_OUT = re.compile(r"out\.(?!\w+\.total\.).+|calc\..+|in\.as_simulated_.+")

_Group = Sequence[tuple[BuildingRecord, tuple[TractWeight, ...]]]


@dataclass(frozen=True, eq=False)
class SampleMetadata:
    """One metadata file: its key below the release's folder, and its rows.

    `state` is None where the file holds every state.
    """

    key: str
    state: str | None
    upgrade: int
    table: pa.Table


def build_metadata(
    folder: ReleaseFolder, seed: int, records: Sequence[BuildingRecord], extent: Extent = "usual"
) -> Iterator[SampleMetadata]:
    """The metadata files of one release; those of the usual trees come first."""
    words = resolve_words(folder)
    by_state: dict[tuple[str, int], list[tuple[BuildingRecord, tuple[TractWeight, ...]]]]
    by_state = defaultdict(list)
    for record in sorted(records, key=lambda one: (one.state, one.upgrade, one.bldg_id)):
        weights = draw_tract_weights(folder, seed, record, words)
        by_state[record.state, record.upgrade].append((record, weights))
    if words.layout is MetadataLayout.NATIONAL:
        yield from _build_national(words, by_state, ("metadata/metadata.parquet",))
        return
    if words.layout is MetadataLayout.NATIONAL_MACHINE:
        yield from _build_national(words, by_state, ("metadata/{name}.parquet",))
        return
    build = _build_tract_trees if words.layout is MetadataLayout.BY_TRACT else _build_state_file
    for (state, upgrade), group in by_state.items():
        yield from build(words, state, upgrade, group)
    if extent == "all":
        yield from _build_further_trees(words, by_state)


def _build_further_trees(
    words: Words, by_state: Mapping[tuple[str, int], _Group]
) -> Iterator[SampleMetadata]:
    """The trees that only `all` asks for, `basic` ones included."""
    if words.layout is MetadataLayout.BY_STATE:
        keys = (
            "metadata/{name}.parquet",
            f"{RESULTS}/national/parquet/{{name}}_{RESULTS}.parquet",
        )
        yield from _build_national(words, by_state, keys)
        return
    build = _build_tract_trees if words.layout is MetadataLayout.BY_TRACT else _build_state_file
    for (state, upgrade), group in by_state.items():
        yield from map(_as_basic, build(words, state, upgrade, group))
    if words.layout is MetadataLayout.BY_STATE_FULL:
        full = list(
            _build_national(words, by_state, (f"{RESULTS}/national/full/parquet/{{name}}.parquet",))
        )
    else:
        full = [
            file
            for (state, upgrade), group in by_state.items()
            for file in _build_puma_files(words, state, upgrade, group)
        ]
        key = f"{AGGREGATES}/national/full/parquet/{{name}}_agg.parquet"
        full += _build_national(words, by_state, (key,))
    yield from full
    yield from map(_as_basic, full)


def _build_national(
    words: Words, by_state: Mapping[tuple[str, int], _Group], keys: Sequence[str]
) -> Iterator[SampleMetadata]:
    """One file per upgrade at each key: a row per building and state."""
    rows: dict[int, list[Row]] = defaultdict(list)
    is_tract = words.layout is MetadataLayout.BY_TRACT
    grain = RowGrain.STATE if is_tract else RowGrain.TRACT
    for (_, upgrade), group in by_state.items():
        rows[upgrade] += [build_row(words, *one, grain) for one in group]
    for upgrade in sorted(rows):
        table = pa.Table.from_pylist(rows[upgrade])
        for key in keys:
            name = words.upgrade_name(upgrade)
            yield SampleMetadata(key.format(name=name), None, upgrade, table)


def _build_state_file(
    words: Words, state: str, upgrade: int, group: _Group
) -> Iterator[SampleMetadata]:
    """The one file of a state and upgrade; the order of its folders changed in 2025."""
    name = words.upgrade_name(upgrade)
    key = f"{RESULTS}/by_state/state={state}/parquet/{state}_{name}_{RESULTS}.parquet"
    if words.layout is MetadataLayout.BY_STATE_FULL:
        key = f"{RESULTS}/by_state/full/parquet/state={state}/{state}_{name}.parquet"
    rows = [build_row(words, *one) for one in group]
    yield SampleMetadata(key, state, upgrade, pa.Table.from_pylist(rows))


def _build_tract_trees(
    words: Words, state: str, upgrade: int, group: _Group
) -> Iterator[SampleMetadata]:
    """One file per county in each grain, then the state's."""
    by_tract: dict[str, list[Row]] = defaultdict(list)
    for record, weights in group:
        for one in weights:
            by_tract[one.county].append(build_row(words, record, (one,)))
    by_county = _sum_up(words, group, RowGrain.COUNTY)
    name = words.upgrade_name(upgrade)
    folder = f"by_state_and_county/full/parquet/state={state}"
    for county in sorted(by_tract):
        stem = f"{folder}/county={county}/{state}_{county}_{name}"
        table = pa.Table.from_pylist(by_tract[county])
        yield SampleMetadata(f"{RESULTS}/{stem}.parquet", state, upgrade, table)
        table = pa.Table.from_pylist(by_county[county])
        yield SampleMetadata(f"{AGGREGATES}/{stem}_agg.parquet", state, upgrade, table)
    key = f"{AGGREGATES}/by_state/full/parquet/state={state}/{state}_{name}_agg.parquet"
    rows = [build_row(words, *one, RowGrain.STATE) for one in group]
    yield SampleMetadata(key, state, upgrade, pa.Table.from_pylist(rows))


def _build_puma_files(
    words: Words, state: str, upgrade: int, group: _Group
) -> Iterator[SampleMetadata]:
    """One file per PUMA, whose rows sum the tracts in it."""
    name = words.upgrade_name(upgrade)
    folder = f"{AGGREGATES}/by_state_and_puma/full/parquet/state={state}"
    for puma, rows in sorted(_sum_up(words, group, RowGrain.PUMA).items()):
        key = f"{folder}/puma={puma}/{state}_{puma}_{name}_agg.parquet"
        yield SampleMetadata(key, state, upgrade, pa.Table.from_pylist(rows))


def _sum_up(words: Words, group: _Group, grain: RowGrain) -> dict[str, list[Row]]:
    """One row per building and geography, its weight the sum of the tracts there."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for record, weights in group:
        for place in dict.fromkeys(getattr(one, grain.value) for one in weights):
            here = tuple(one for one in weights if getattr(one, grain.value) == place)
            rows[place].append(build_row(words, record, here, grain))
    return rows


def _as_basic(full: SampleMetadata) -> SampleMetadata:
    """The file with fewer columns. The aggregates' names say `basic`, the other trees' do not."""
    key = full.key.replace("/full/", "/basic/").replace("_agg.parquet", "_agg_basic.parquet")
    dropped = [name for name in full.table.column_names if _BASIC_LEAVES_OUT.fullmatch(name)]
    return SampleMetadata(key, full.state, full.upgrade, full.table.drop_columns(dropped))
