"""Spoil one bit or one value of a building file, roll it up as a run would, and judge the result.

A mutation is detected (a reason, a finding, or a column that is left out and told), harmless (not
one published number differs), within what the gate allows (`allowed_kwh`), or unnoticed. It is
judged as a run reads a folder: without checksums, or with a manifest of what the good file was.
"""

from __future__ import annotations

import hashlib
import random
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oedi_spark.contracts import (
    Batch,
    BatchResult,
    Column,
    Partition,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.lake.staging import KEY_COLUMNS
from oedi_spark.sample.files import encode_parquet
from oedi_spark.source.storage import SourceLocation, open_storage
from oedi_spark.transform.accounts import Accounts, open_accounts
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.columns import describe_columns

RELATIVE = 2e-6
LEAST_KWH = 1e-6
"""As docs/quality.md promises: an hour's energies and intensities may differ by so much."""

INTERVALS = 35_040
Floats = NDArray[np.float64]


class Fate(StrEnum):
    """What came of a mutation."""

    DETECTED = "detected"
    HARMLESS = "harmless"
    WITHIN = "within"
    UNNOTICED = "unnoticed"


@dataclass(frozen=True)
class Verdict:
    """The fate, and why: the reason, the rule, or what differs."""

    fate: Fate
    why: str


class Subject:
    """A good file, what it is published as, and how far hours may be off unnoticed."""

    def __init__(self, path: Path, release: str, folder: Path) -> None:
        self.release, self._folder = release, folder
        folder.mkdir()
        self.content = path.read_bytes()
        self.table = pq.read_table(path, partitioning=None)
        self.bldg_id = int(path.name.split("-")[0])
        names = tuple(n for n in self.table.column_names if n not in ("timestamp", "bldg_id"))
        self.columns = describe_columns(names)
        self.accounts: Accounts = open_accounts(self.columns)
        result = self._roll_up(self.content, ())
        assert not result.findings
        assert not result.outcomes
        hours = self._take(result)
        assert hours is not None
        self.hours: pa.Table = hours
        self._allowed_kwh, self._area_ft2 = self._find_allowed()
        self.last: pa.Table | None = None
        """What the file that was judged last would be published as."""

    @property
    def paired(self) -> frozenset[str]:
        """The source names of energies that have an intensity, and of these."""
        places = {at for pair in self.accounts.pairs for at in pair}
        return frozenset(self.columns[at].source_name for at in places)

    def _find_allowed(self) -> tuple[Floats, float]:
        energies = [self._values(self.columns[at].name) for at, _ in self.accounts.pairs]
        sizes = LEAST_KWH + RELATIVE * np.abs(np.sum(energies, axis=0))
        areas = [
            float(self._values(self.columns[one].name).sum() / total)
            for one, other in self.accounts.pairs
            if (total := self._values(self.columns[other].name).sum())
        ]
        return sizes * (1 + 1e-3), float(np.median(areas))

    def _values(self, name: str) -> Floats:
        values: Floats = self.hours[name].to_numpy()
        return values

    def last_bounds(self) -> dict[str, tuple[float, float]]:
        """The least and the largest hour of each measure that was published last."""
        hours = self.last
        if hours is None:
            return {}
        found = {each.name: pc.min_max(hours[each.name]).as_py() for each in self.columns}
        return {name: (each["min"], each["max"]) for name, each in found.items()}

    def judge(self, content: bytes, *, has_manifest: bool = False) -> Verdict:
        """What comes of a file in the place of the good one, whose MD5 a manifest may name."""
        result = self._roll_up(content, (), has_manifest=has_manifest)
        if result.deferred:
            names = {each.name for each in self.columns}
            late = [c for c in result.columns if c.name not in names and c.rule != "omit"]
            result = self._roll_up(content, late)
        hours = self.last = self._take(result)
        told = [f"{each.reason}: {each.detail}" for each in result.outcomes]
        told += [f"{each.rule}: {each.detail}" for each in result.findings]
        told += [f"left out: {each.name}" for each in result.columns if each.rule == "omit"]
        if told:
            return Verdict(Fate.DETECTED, told[0])
        return self._compare(hours)

    def _compare(self, hours: pa.Table | None) -> Verdict:
        if hours is None:
            return Verdict(Fate.UNNOTICED, "nothing is staged and nothing told")
        if hours.equals(self.hours):
            return Verdict(Fate.HARMLESS, "every number is the same")
        if hours.schema != self.hours.schema or hours.num_rows != self.hours.num_rows:
            return Verdict(Fate.UNNOTICED, "other columns or rows")
        worst = Verdict(Fate.WITHIN, "")
        intensities = {self.columns[at].name for _, at in self.accounts.pairs}
        for name in hours.column_names:
            if hours[name].equals(self.hours[name]):
                continue
            if name in KEY_COLUMNS:
                return Verdict(Fate.UNNOTICED, f"{name} differs")
            off = np.abs(hours[name].to_numpy() - self._values(name))
            scale = self._area_ft2 if name in intensities else 1.0
            told = f"{name} is off by {np.nanmax(off):.3g} in {np.count_nonzero(off)} hours"
            if not (off * scale <= self._allowed_kwh).all():
                return Verdict(Fate.UNNOTICED, told)
            worst = Verdict(Fate.WITHIN, told)
        return worst

    def _roll_up(
        self,
        content: bytes,
        late: tuple[Column, ...] | list[Column],
        *,
        has_manifest: bool = False,
    ) -> BatchResult:
        path = self._folder / f"{self.bldg_id}-0.parquet"
        path.write_bytes(content)
        location = SourceLocation(str(self._folder), is_local=True)
        etag = self._list_with_manifest(location, path.name) if has_manifest else None
        names = [*KEY_COLUMNS, *(each.name for each in (*self.columns, *late))]
        file = SourceFile(0, path.name, self.bldg_id, len(content), etag, "")
        batch = Batch(
            number=0,
            partition=Partition(self.release, "CO", 0),
            facts=ReleaseFacts(self.release, None, None),
            files=(file,),
            field_ids={name: at for at, name in enumerate(names, 1)},
        )
        settings = TaskSettings(
            location=location,
            data_uri=(self._folder / "staged").as_uri(),
            run_id="r",
            row_group_buildings=1,
            read_ahead_files=1,
            strict_columns=False,
        )
        return run_batch(batch, settings, lambda _ordinal, _seen: None)

    def _list_with_manifest(self, location: SourceLocation, name: str) -> str | None:
        """The ETag that the file has in a listing beside a manifest of the good one."""
        md5 = hashlib.md5(self.content).hexdigest()
        (self._folder / "MD5SUMS").write_text(f"{md5}  {name}\n")
        listed = {each.key: each.etag for each in open_storage(location).list_files("")}
        return listed[name]

    def _take(self, result: BatchResult) -> pa.Table | None:
        if not result.staged:
            return None
        path = Path(result.staged[0].path.removeprefix("file://"))
        hours = pq.ParquetFile(path).read()
        path.unlink()
        return hours


def flip_bit(content: bytes, bit: int) -> bytes:
    """The same bytes, but for one bit."""
    spoiled = bytearray(content)
    spoiled[bit // 8] ^= 1 << bit % 8
    return bytes(spoiled)


@cache
def find_regions(subject: Subject) -> dict[str, list[range]]:
    """The bytes of a file, by what they are: `stamps`, `ids`, `paired`, `others`, `footer`."""
    footer = int.from_bytes(subject.content[-8:-4], "little") + 8
    regions: dict[str, list[range]] = {
        "footer": [range(len(subject.content) - footer, len(subject.content))],
        "anywhere": [range(len(subject.content))],
    }
    group = pq.ParquetFile(pa.BufferReader(subject.content)).metadata.row_group(0)
    keys = {"timestamp": "stamps", "bldg_id": "ids"}
    for at in range(group.num_columns):
        chunk = group.column(at)
        name = chunk.path_in_schema
        kind = keys.get(name, "paired" if name in subject.paired else "others")
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        regions.setdefault(kind, []).append(range(start, start + chunk.total_compressed_size))
    return regions


def pick_bit(regions: list[range], chance: random.Random) -> int:
    """A bit of one of the regions, each byte as likely as any other."""
    (region,) = chance.choices(regions, weights=[len(each) for each in regions])
    return chance.choice(region) * 8 + chance.randrange(8)


Change = Callable[[Floats, random.Random], None]


def _scale(factor: float) -> Change:
    def change(values: Floats, chance: random.Random) -> None:
        values[chance.randrange(INTERVALS)] *= factor

    return change


def _put(value: float) -> Change:
    def change(values: Floats, chance: random.Random) -> None:
        values[chance.randrange(INTERVALS)] = value

    return change


def _swap_hours(values: Floats, chance: random.Random) -> None:
    one, other = (4 * each for each in chance.sample(range(INTERVALS // 4), 2))
    kept = values[one : one + 4].copy()
    values[one : one + 4] = values[other : other + 4]
    values[other : other + 4] = kept


VALUE_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "twice": _scale(2.0),
        "ten_times": _scale(10.0),
        "thousand_times": _scale(1000.0),
        "half": _scale(0.5),
        "sign": _scale(-1.0),
        "thousandth_more": _scale(1.001),
        "nan": _put(float("nan")),
        "infinite": _put(float("inf")),
        "swapped_hours": _swap_hours,
    }
)


def change_value(subject: Subject, name: str, change: Change, chance: random.Random) -> bytes:
    """The file, encoded anew with one value (or two hours) of one measure changed."""
    table = subject.table
    at = table.column_names.index(name)
    values = table.column(at).to_numpy().astype(np.float64)
    change(values, chance)
    return encode_parquet(table.set_column(at, table.field(at), pa.array(values)))


def change_key(subject: Subject, name: str, chance: random.Random) -> bytes:
    """The file, encoded anew with one stamp or one id changed."""
    table = subject.table
    at, kind = table.column_names.index(name), table.schema.field(name).type
    values = table.column(at).cast(pa.int64()).to_numpy().copy()
    values[chance.randrange(len(values))] += chance.choice((-1, 1)) * 10 ** chance.randrange(12)
    return encode_parquet(table.set_column(at, table.field(at), pa.array(values).cast(kind)))


def spoil(subject: Subject, kind: str, chance: random.Random) -> bytes:
    """One corruption: a bit of a region, a statistic, a key, or a value in a unit, by `kind`."""
    regions = find_regions(subject)
    if kind in regions:
        return flip_bit(subject.content, pick_bit(regions[kind], chance))
    if kind == "statistic":
        return change_statistic(subject, chance)
    if kind in ("timestamp", "bldg_id"):
        return change_key(subject, kind, chance)
    units = {each.source_name: each.unit for each in subject.columns}
    name = chance.choice([each for each in varying(subject) if units[each] == kind])
    return change_value(subject, name, chance.choice([*VALUE_CHANGES.values()]), chance)


@cache
def varying(subject: Subject) -> tuple[str, ...]:
    """The measures that are not one value throughout."""
    bounds = {
        each.source_name: pc.min_max(subject.table[each.source_name]) for each in subject.columns
    }
    return tuple(name for name, found in bounds.items() if found["min"] != found["max"])


def change_statistic(subject: Subject, chance: random.Random) -> bytes:
    """The file with one bound of one column changed in the footer, and nothing else."""
    group = pq.ParquetFile(pa.BufferReader(subject.content)).metadata.row_group(0)
    footer = len(subject.content) - int.from_bytes(subject.content[-8:-4], "little") - 8
    while True:
        bounds = group.column(chance.randrange(group.num_columns)).statistics
        bound = chance.choice((bounds.min_raw, bounds.max_raw))
        code = "<d" if isinstance(bound, float) else "<q"
        raw, factor = struct.pack(code, bound), chance.choice((2, -1, 1000))
        places = [m.start() for m in re.finditer(re.escape(raw), subject.content[footer:])]
        if bound and places:
            break
    at = footer + chance.choice(places)
    return subject.content[:at] + struct.pack(code, bound * factor) + subject.content[at + 8 :]
