"""Two versions of a lake, and an output folder in which runs over them are disturbed."""

from __future__ import annotations

import operator
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from oedi_spark.config import load_config
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.places import catalog_location
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, RESSTOCK
from tests.faults.campaign import ALL, COMMITS, POINTS, Forge
from tests.test_killed import files_of

KILLED = -9
JOBS = [
    COMSTOCK | {"state": ["CO", "GA"], "upgrades": "0"},
    RESSTOCK | {"state": "CO", "upgrades": "0"},
]
HOUR_KEYS = ("release", "state", "upgrade", "bldg_id", "hour_start")
LEDGER = ("runs", "discrepancies")
OF_ONE_RUN = ("run_id", "staged_by")
RUN_ID_LENGTH = len("20180101T000000Z-01234567")


@dataclass(frozen=True)
class Lakes:
    """An older and a newer version of the same source: files of two of three partitions differ."""

    old: Path
    new: Path


def write_lakes(root: Path) -> Lakes:
    """Few columns, so that a run takes a second; enough for balances and published sums."""
    old = root / "old"
    offices = ReleaseFolder("2024", "comstock_amy2018_release_1")
    homes = ReleaseFolder("2022", "resstock_amy2018_release_1")
    write_sample_lake(old, SampleRequest((offices,), ("CO", "GA"), buildings=4))
    write_sample_lake(old, SampleRequest((homes,), ("CO",), buildings=4))
    for path in old.glob("**/timeseries_individual_buildings/**/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        kept = [n for n in table.column_names if "." not in n or n.startswith("out.electricity")]
        pq.write_table(table.select([n for n in kept if "intensity" not in n]), path)
    new = old.with_name("new")
    shutil.copytree(old, new)
    for path in new.glob("**/comstock*/timeseries_individual_buildings/**/state=CO/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        columns = [pc.multiply(c, 1.0001) if pa.types.is_floating(c.type) else c for c in table]
        table = pa.table(columns, schema=table.schema)
        empty = [n for n in table.column_names if "." in n and pc.max(table[n]).as_py() == 0]
        pq.write_table(table.drop_columns(empty[:1]), path)
    (path,) = new.glob("**/resstock*/metadata*/**/*.parquet")
    table = pq.read_table(path, partitioning=None)
    (at,) = [at for at, name in enumerate(table.column_names) if name == "weight"]
    pq.write_table(table.set_column(at, "weight", pc.add(table["weight"], 1.0)), path)
    return Lakes(old, new)


class Scene:
    """One output folder with its configs, which is put back to where it was before each kill."""

    def __init__(self, root: Path, lakes: Lakes) -> None:
        root.mkdir()
        self.out, self.kept = root / "out", root / "kept"
        self.forge = Forge(root / "forge.log")
        self.chance_kills = 0
        self.configs = {
            name: self._write_config(root / f"{name}.yaml", lake)
            for name, lake in (("old", lakes.old), ("new", lakes.new))
        }
        assert self.forge.run(self.configs["old"]) == 0
        self.old = self.read()
        shutil.copytree(self.out, self.kept)
        began_s = time.monotonic()
        assert self.forge.run(self.configs["new"]) == 0
        self.took_s = time.monotonic() - began_s
        self.new = self.read()
        assert not any(_equal(self.old[name], self.new[name]) for name in COMMITS)

    def _write_config(self, path: Path, lake: Path) -> Path:
        document = {
            "src_bucket": str(lake),
            "output_dir": str(self.out),
            "job_specific": JOBS,
            "settings": {
                "log_dir": str(path.with_suffix("")),
                "row_group_buildings": 1,
                "target_file_bytes": 2**20,
            },
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def reset(self, mode: str) -> None:
        """The tables of the old lake, or none at all."""
        shutil.rmtree(self.out)
        if mode == "replace":
            shutil.copytree(self.kept, self.out)

    def read(self) -> dict[str, pa.Table | None]:
        """Every table, in an order that does not depend on the run; None: empty or not there."""
        place = catalog_location(load_config(self.configs["new"]))
        if not (self.out / "catalog.db").exists():
            return dict.fromkeys(COMMITS)
        catalog = open_catalog(place, create=False)
        return {name: self._read_table(catalog, place.database, name) for name in COMMITS}

    def _read_table(self, catalog: Catalog, database: str, name: str) -> pa.Table | None:
        try:
            rows = catalog.load_table((database, name)).scan().to_arrow()
        except NoSuchTableError:
            return None
        rows = rows.drop_columns([each for each in OF_ONE_RUN if each in rows.column_names])
        rows = rows.select(sorted(rows.column_names)).combine_chunks()
        return (
            rows.sort_by([(each, "ascending") for each in rows.column_names])
            if rows.num_rows
            else None
        )

    def require_state(self, mode: str, committed: int | None) -> None:
        """The first `committed` tables are new, the others as before; None: some number of them."""
        before = self.old if mode == "replace" else dict.fromkeys(COMMITS)
        found = self.read()
        is_new = [_equal(found[name], self.new[name]) for name in COMMITS]
        is_old = [_equal(found[name], before[name]) for name in COMMITS]
        assert all(map(operator.or_, is_new, is_old)), f"torn: new {is_new}, old {is_old}"
        # What the old lake has the same is both.
        if committed is None:
            assert any(all(is_new[:at]) and all(is_old[at:]) for at in range(ALL + 1)), is_new
        else:
            assert all(is_new[:committed]), f"new are {is_new}, not the first {committed}"
            assert all(is_old[committed:]), f"old are {is_old}, not from {committed}"

    def require_done(self) -> None:
        """As a run that nobody disturbed, and nothing beside it; and the next run has no work."""
        found = self.read()
        assert [n for n in COMMITS if not _equal(found[n], self.new[n])] == []
        self._require_memory()
        self.require_tidy()

    def _require_memory(self) -> None:
        """The runs whose ids the hourly files bear are those that `sources` names."""
        place = catalog_location(load_config(self.configs["new"]))
        catalog = open_catalog(place, create=False)
        sources = catalog.load_table((place.database, "sources")).scan().to_arrow().to_pylist()
        named = {
            f"release={row['release']}/state={row['state']}/upgrade={row['upgrade']}/{run}"
            for row in sources
            for run in row["staged_by"].split(",")
        }
        for task in catalog.load_table((place.database, "hourly")).scan().plan_files():
            partition, name = task.file.file_path.split("/hourly/data/")[1].rsplit("/", 1)
            assert f"{partition}/{name[:RUN_ID_LENGTH]}" in named

    def require_tidy(self) -> None:
        """All that lies in the output folder is named by a snapshot, or is a copy of metadata."""
        config = load_config(self.configs["new"])
        named = {str(self.out / "catalog.db")}
        for table in (*COMMITS, *LEDGER):
            named |= files_of(config, table)[1]
        copies = dict(self._new_metadata())
        for path in (self.out / "metadata").rglob("*.parquet"):
            release = path.relative_to(self.out / "metadata").parts[0].removeprefix("release=")
            assert path.read_bytes() == copies.pop((release, path.name)).read_bytes()
            named.add(str(path))
        assert copies == {}
        lying = {str(path) for path in self.out.rglob("*") if path.is_file()}
        assert lying - named == set(), sorted(lying - named)[:6]

    def _new_metadata(self) -> Iterator[tuple[tuple[str, str], Path]]:
        """The metadata files of the new lake, by release and name."""
        root = Path(load_config(self.configs["new"]).src_root)
        for path in root.rglob("metadata_and_annual_results/**/*.parquet"):
            year, release = path.relative_to(root).parts[2:4]
            yield (f"{year}_{release}", path.name), path

    def play(self, point: str, mode: str) -> None:
        """Die at a point, look, and run again."""
        self.reset(mode)
        assert self.forge.run(self.configs["new"], point=point) == KILLED, "it was not killed"
        self.require_state(mode, POINTS[point].committed)
        self._age_unfinished_leases()
        assert self.forge.run(self.configs["new"]) == 0
        self.require_done()

    def _age_unfinished_leases(self) -> None:
        """Of these nobody knows who writes them, so they go when they are old."""
        for path in self.out.glob("**/_leases/*.unfinished"):
            os.utime(path, (0, 0))

    def play_twice(self, point: str, mode: str) -> None:
        """Die with finished batches; die again in the run that takes them up; and run again."""
        self.reset(mode)
        first = "after-hourly" if point == "adopted" else "third-entry"
        assert self.forge.run(self.configs["new"], point=first) == KILLED
        self.require_state(mode, POINTS[first].committed)
        assert self.forge.run(self.configs["new"], point=point) == KILLED, "it was not killed"
        self.require_state(mode, max(POINTS[point].committed, POINTS[first].committed))
        assert self.forge.run(self.configs["new"]) == 0
        self.require_done()

    def play_by_chance(self, share: float, mode: str) -> None:
        """Die some time into a run, in the middle of whatever it is doing."""
        self.reset(mode)
        ended = self.forge.run(self.configs["new"], kill_after_s=share * self.took_s)
        self.chance_kills += ended == KILLED
        self.require_state(mode, None)
        assert self.forge.run(self.configs["new"]) == 0
        self.require_done()


def _equal(one: pa.Table | None, other: pa.Table | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(one.equals(other))
