"""What the quality gate costs: the same batch with it and without it, in turn, no Spark.

    python -m bench.gate --files 240 --rounds 9

Both sides stage the same files; the gate also holds every building against annual results as a
run's metadata would have left them. The figure is the median of the ratios of neighbouring runs,
in CPU time of the process: a slow moment of the machine hits both of a pair.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.lake import KINDS, PROJECT, BenchLake, find_real_lake, make_bench_lake
from bench.profile_batch import make_batch
from oedi_spark.contracts import Batch
from oedi_spark.lake.files import create_parent, open_uri
from oedi_spark.source.layout import parse_building_name
from oedi_spark.source.storage import SourceLocation
from oedi_spark.transform.batch import TaskSettings, run_batch
from oedi_spark.transform.columns import describe_columns
from oedi_spark.transform.published import KWH_PER, ROUNDING, write_published
from oedi_spark.transform.published_rules import SUMS_AGREE_WITH_PUBLISHED
from oedi_spark.transform.rules import RuleBook

MOST_SHARE = 0.05
"""Of the stage's time that the gate may take."""


_STEP_KWH = 0.01 * KWH_PER["mbtu"]
_SITE = "out_site_energy_total_energy_consumption_kwh"
_SITE_PER_FT2 = "out_site_energy_total_energy_consumption_intensity_kwh_per_ft2"
_BUILDING_TYPES = {"comstock": "Office", "resstock": "Mobile Home"}


@dataclass(frozen=True)
class GateCost:
    """CPU seconds of the same files with and without the gate, pair by pair."""

    files: int
    with_gate_s: tuple[float, ...]
    without_s: tuple[float, ...]

    @property
    def share(self) -> float:
        """What the gate adds, as a share of the stage without it: the median of the pairs."""
        return statistics.median(self._shares())

    def _shares(self) -> list[float]:
        pairs = zip(self.with_gate_s, self.without_s, strict=True)
        return [one / other - 1 for one, other in pairs]

    def __str__(self) -> str:
        per_file = 1000 / self.files
        with_ms, without_ms = (
            statistics.median(each) * per_file for each in (self.with_gate_s, self.without_s)
        )
        low, _, high = statistics.quantiles(self._shares(), n=4)
        return (
            f"gate: {self.share:.1%} of the stage, half of the pairs within {low:.1%} to "
            f"{high:.1%} ({with_ms:.2f} ms of CPU per file with it, {without_ms:.2f} ms without; "
            f"{len(self.without_s)} pairs of {self.files} files)"
        )


def measure_gate(lake: BenchLake, out: Path, rounds: int) -> GateCost:
    """Run the batch of a lake's files with and without the gate, turn and turn about."""
    batch = replace(make_batch(lake), published_uri=_publish_years(lake, out))
    location = SourceLocation(root=str(lake.root), is_local=True)
    took: dict[bool, list[float]] = {True: [], False: []}
    _run(batch, location, out, judged=True)
    for at in range(rounds):
        for judged in (True, False) if at % 2 else (False, True):
            took[judged].append(_run(batch, location, out, judged=judged))
    return GateCost(len(batch.files), tuple(took[True]), tuple(took[False]))


def _publish_years(lake: BenchLake, out: Path) -> str:
    """The years of every energy, rounded to 0.01 MBtu as the publisher does, in a waiting file."""
    rows = [_add_up(path) for path in lake.paths()]
    named = [parse_building_name(path.name) for path in lake.paths()]
    columns: dict[str, list[float | int | str | None]] = {
        "bldg_id": [each[0] if each else None for each in named],
        "building_type": [_BUILDING_TYPES[lake.kind]] * len(rows),
        "floor_area_ft2": [row[_SITE] / row[_SITE_PER_FT2] for row in rows],
        "weight": [1.0] * len(rows),
    }
    for measure in (name for name in rows[0] if name != _SITE_PER_FT2):
        columns[measure] = [round(row[measure] / _STEP_KWH) * _STEP_KWH for row in rows]
        columns[measure + ROUNDING] = [_STEP_KWH / 2] * len(rows)
    uri = (out / f"published-{lake.kind}.parquet").as_uri()
    create_parent(*open_uri(uri))
    write_published(pa.table(columns), uri)
    return uri


def _add_up(path: Path) -> dict[str, float]:
    """A building's year of each energy, and of site energy per floor area."""
    table = pq.ParquetFile(path).read()
    names = tuple(name for name in table.column_names if name.startswith("out."))
    return {
        column.name: pc.sum(table[column.source_name]).as_py()
        for column in describe_columns(names)
        if column.unit == "kwh" or column.name == _SITE_PER_FT2
    }


def _run(batch: Batch, location: SourceLocation, out: Path, *, judged: bool) -> float:
    settings = TaskSettings(
        location=location,
        data_uri=(out / "data").as_uri(),
        run_id="bench",
        row_group_buildings=12,
        read_ahead_files=4,
        strict_columns=False,
        rules=RuleBook() if judged else None,
    )
    started = time.process_time()
    result = run_batch(batch, settings, lambda _ordinal, _seen: None)
    took_s = time.process_time() - started
    shutil.rmtree(out / "data")
    if result.outcomes or result.findings:
        raise ValueError(f"the bench's files do not pass: {result.outcomes or result.findings}")
    if judged and result.judged[SUMS_AGREE_WITH_PUBLISHED.name] != len(batch.files):
        raise ValueError(f"not every file was held against its annual results: {result.judged}")
    return took_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the cost for both products; 1 if it is more than the gate may cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", type=Path, default=PROJECT / "build" / "bench")
    args = parser.parse_args(arguments)
    worst = 0.0
    for kind in KINDS:
        lake = make_bench_lake(
            args.work / f"gate-{kind}", args.files, kind, find_real_lake(), distinct=True
        )
        cost = measure_gate(lake, args.work / "gate-out", args.rounds)
        print(f"{kind:<9} {cost}")
        worst = max(worst, cost.share)
    if worst > MOST_SHARE:
        print(f"MISSED: the gate may take {MOST_SHARE:.0%}")
    return int(worst > MOST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
