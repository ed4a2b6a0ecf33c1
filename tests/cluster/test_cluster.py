"""The main job on a standalone cluster: a worker that dies, tasks that fail, tasks that hang."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml

from oedi_spark import pipeline
from oedi_spark.config import RunConfig, load_config
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.cluster.standalone import (
    StandaloneCluster,
    kill_tree,
    stop_a_writing_task,
    submitted,
)
from tests.conftest import COMSTOCK, ReadTable
from tests.named import files_named_by

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUILDINGS = 24
FILES = 2 * BUILDINGS
TABLES = ("hourly", "columns", "metadata", "building_weights")
OF_RUNS = ("sources", "runs", "discrepancies")
"""Tables that name the run itself, so that no two runs write the same."""
COUNTS = (
    "data_files_stats",
    "metadata_files_stats",
    "partitions",
    "metadata",
    "surplus_files",
    "missing_values_files",
    "columns_ruled_by_unit",
    "columns_omitted",
)
SPECULATION = {
    "speculation": "true",
    "speculation_interval": "100ms",
    "speculation_quantile": "0.5",
    "speculation_multiplier": "1.1",
    "speculation_minTaskRuntime": "100ms",
}


@dataclass(frozen=True)
class Reference:
    """What the local run gave: every table, and the counts of its summary."""

    tables: dict[str, pa.Table]
    counts: dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """A master; each test fills it up to two workers."""
    cluster = StandaloneCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.fill_up(2)
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One release, two upgrades, with metadata."""
    root = tmp_path_factory.mktemp("lake")
    folder = ReleaseFolder("2024", "comstock_amy2018_release_1")
    write_sample_lake(root, SampleRequest((folder,), upgrades=(0, 1), buildings=BUILDINGS))
    return root


def write_config(lake: Path, folder: Path) -> Path:
    document = {
        "src_bucket": str(lake),
        "output_dir": str(folder / "out"),
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0-1"}],
        "settings": {"log_dir": str(folder / "logs"), "row_group_buildings": 2},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def config_path(lake: Path, tmp_path: Path) -> Path:
    return write_config(lake, tmp_path)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """Where the tasks write hours."""
    return tmp_path / "out" / "warehouse" / "oedi" / "hourly" / "data"


@pytest.fixture(scope="module")
def local_config(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return load_config(write_config(lake, tmp_path_factory.mktemp("local")))


@pytest.fixture
def reference(
    local_config: RunConfig, spark: Future[SparkSession], read_table: ReadTable
) -> Reference:
    """The same run on local Spark, made once."""
    if not Path(local_config.output_dir).exists():
        assert pipeline.run(local_config, spark).exit_code == 0
    return outcome(local_config, read_table)


def outcome(config: RunConfig, read_table: ReadTable) -> Reference:
    """Every table in an order of its own, and what the summary counts."""
    tables = {}
    for name in TABLES:
        rows = read_table(config, name)
        keys = [each.name for each in rows.schema if not pa.types.is_floating(each.type)]
        tables[name] = rows.sort_by([(key, "ascending") for key in keys])
    return Reference(tables, counts_of(config))


def counts_of(config: RunConfig) -> dict[str, Any]:
    """The summary without what differs from run to run: times, sizes, ids."""
    text = (Path(config.settings.log_dir) / "summary.json").read_text()
    summary = json.loads(text.replace(config.output_dir, "OUT"))
    return {name: summary[name] for name in COUNTS} | {
        name: summary["run"][name] for name in ("outcome", "exit_code")
    }


def require_same(config_path: Path, reference: Reference, read_table: ReadTable) -> None:
    """The tables of the local run, its counts, and not one file more than the tables name."""
    config = load_config(config_path)
    found = outcome(config, read_table)
    assert found.counts == reference.counts
    assert found.tables["hourly"].num_rows == FILES * 8760
    for name in TABLES:
        assert found.tables[name].equals(reference.tables[name]), name
    assert unnamed_files(config) == set()


def unnamed_files(config: RunConfig) -> set[str]:
    """What lies in the warehouse and no table names, now or in a snapshot."""
    place = pipeline.catalog_location(config)
    catalog = open_catalog(place)
    named = set()
    for name in (*TABLES, *OF_RUNS):
        table = catalog.load_table((place.database, name))
        named |= files_named_by(table)
    root = Path(place.warehouse_uri.removeprefix("file://"))
    lying = {str(path) for path in root.rglob("*") if path.is_file()}
    return lying - {uri.removeprefix("file://") for uri in named}


def test_run_on_a_cluster_gives_what_a_local_run_gives(
    cluster: StandaloneCluster, config_path: Path, reference: Reference, read_table: ReadTable
) -> None:
    cluster.fill_up(2)
    before = cluster.application_count()

    with submitted(cluster, config_path):
        pass

    assert cluster.application_count() == before + 1
    require_same(config_path, reference, read_table)


def test_worker_killed_in_the_middle_changes_nothing(
    cluster: StandaloneCluster,
    config_path: Path,
    staged: Path,
    reference: Reference,
    read_table: ReadTable,
) -> None:
    cluster.fill_up(2)
    with submitted(cluster, config_path):
        worker, _ = stop_a_writing_task(cluster, staged)

        kill_tree(worker)

    require_same(config_path, reference, read_table)


def test_task_that_dies_once_and_one_that_hangs_count_every_file_once(
    cluster: StandaloneCluster,
    config_path: Path,
    staged: Path,
    reference: Reference,
    read_table: ReadTable,
) -> None:
    cluster.fill_up(2)
    with submitted(cluster, config_path, **SPECULATION):
        _, dying = stop_a_writing_task(cluster, staged)
        dying.kill()

        _, hanging = stop_a_writing_task(cluster, staged)

    require_same(config_path, reference, read_table)
    assert not hanging.is_running()
