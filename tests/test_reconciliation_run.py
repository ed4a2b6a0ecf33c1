"""Whole runs that hold series against published results: both engines, every grain of metadata."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline
from oedi_spark.sample.lake import BASE_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.tracking.summary import RunSummary
from tests.conftest import COMSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OFFICES = ReleaseFolder("2024", "comstock_amy2018_release_1")
TRACTS = ReleaseFolder("2025", "comstock_amy2018_release_3")
SUMS = "sums_agree_with_published"
SCALE = "published_scale_is_one"

Change = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@pytest.fixture
def offices(tmp_path: Path) -> Path:
    """Four ComStock 2024 R1 buildings of Colorado with their metadata."""
    root = tmp_path / "lake"
    write_sample_lake(root, SampleRequest((OFFICES,), buildings=4))
    return root


def job(folder: ReleaseFolder, **keys: object) -> dict[str, object]:
    named = {"release_year": folder.year, "release_name": folder.name}
    return {**named, "state": "CO", "upgrades": "0", **keys}


def series_of(lake: Path) -> list[Path]:
    return sorted(lake.glob("**/timeseries_individual_buildings/**/*.parquet"))


def metadata_of(lake: Path) -> list[Path]:
    return sorted(path for path in lake.rglob("*.parquet") if "timeseries" not in str(path.parent))


def rewrite(path: Path, part: str, change: Change) -> int:
    """Change the columns whose names hold a part; returns how many."""
    table = pq.ParquetFile(path).read()
    found = [at for at, name in enumerate(table.column_names) if part in name]
    for at in found:
        table = table.set_column(at, table.column_names[at], change(table[at]))
    pq.write_table(table, path)
    return len(found)


def times(factor: float) -> Change:
    return lambda values: pc.multiply(values, factor)


def asked(summary: RunSummary) -> dict[str, int]:
    return {name: count.asked for name, count in summary.quality.rules.items()}


def broken(summary: RunSummary) -> dict[str, int]:
    rules = summary.quality.rules.items()
    return {name: count.broken for name, count in rules if count.broken}


@pytest.mark.parametrize("engine", ["arrow", "window"])
def test_run_loses_a_building_that_is_whole_in_itself_and_not_as_published(
    offices: Path,
    engine: str,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    """Every energy and intensity four times as large: only the metadata knows better."""
    spoiled = series_of(offices)[1]
    assert rewrite(spoiled, "energy_consumption", times(4.0)) == 54
    config = make_config(offices, job(OFFICES), engine=engine, max_failed_fraction=0.5)

    summary = pipeline.run(config, spark)

    ((key, why),) = summary.data_files.missing_transforms.items()
    assert key.endswith(spoiled.name)
    assert why.startswith(f"{SCALE}: out.")
    assert "4 times: kW and kWh per quarter-hour are mixed up" in why
    assert (broken(summary), summary.exit_code) == ({SCALE: 1}, 6)
    assert (asked(summary)[SUMS], asked(summary)["floor_area_is_as_published"]) == (4, 4)
    assert len(set(read_table(config)["bldg_id"].to_pylist())) == 3
    assert list(Path(config.output_root).rglob("*published*")) == []


@pytest.mark.parametrize("engine", ["arrow", "window"])
def test_run_publishes_with_the_rule_as_a_warning_and_tells_it(
    offices: Path, engine: str, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    rewrite(series_of(offices)[2], "energy_consumption", times(1.01))
    rules = {SUMS: {"severity": "warn"}}
    config = make_config(offices, job(OFFICES), engine=engine, quality_rules=rules)

    summary = pipeline.run(config, spark)

    ((key, (told,)),) = summary.quality.findings.items()
    assert key.endswith(series_of(offices)[2].name)
    assert told.startswith(f"{SUMS}: out.")
    assert (summary.exit_code, summary.data_files.uploaded) == (0, 4)


def test_run_holds_a_building_in_many_tracts_against_its_one_result(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    """County files with a row per tract: the results are repeated, the weighted ones are shares."""
    write_sample_lake(tmp_path / "lake", SampleRequest((TRACTS,), buildings=5))
    keys = {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(tmp_path / "lake", job(TRACTS, **keys))

    summary = pipeline.run(config, spark)

    assert (broken(summary), summary.exit_code) == ({}, 0)
    assert asked(summary)[SUMS] == summary.data_files.uploaded == 5


def test_run_tells_tract_rows_that_disagree_and_holds_nothing_against_them(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((TRACTS,), buildings=5))
    files = [path for path in metadata_of(lake) if "/by_state_and_county/full/" in str(path)]
    first = next(path for path in files if "_agg" not in path.name)
    assert rewrite(first, "out.electricity.total.energy_consumption", times(2.0)) == 1
    keys = {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(lake, job(TRACTS, **keys))

    summary = pipeline.run(config, spark)

    notes = [note for note in summary.metadata.notes if "disagree on" in note]
    assert len(notes) == 1
    assert "disagree on out_electricity_total_energy_consumption_kwh, such as" in notes[0]
    assert summary.data_files.uploaded == 5


@pytest.mark.parametrize(("state", "rule"), [("CA", "known_erratum"), ("CO", SUMS)])
def test_a_known_erratum_warns_where_it_is_known_and_blocks_elsewhere(
    tmp_path: Path, state: str, rule: str, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    """ComStock 2025 R3 heats no service water in California, and so it is known of it."""
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((TRACTS,), states=(state,), buildings=4))
    part = "electricity.water_systems.energy_consumption"
    for path in metadata_of(lake):
        rewrite(path, f"out.{part}", lambda values: pc.add(values, 5_000.0))
    strict = {SUMS: {"severity": "block"}}
    config = make_config(
        lake, job(TRACTS, state=state), max_failed_fraction=1.0, quality_rules=strict
    )

    summary = pipeline.run(config, spark)

    count = summary.data_files.listed
    assert {name: broken(summary).get(name, 0) for name in (rule,)} == {rule: count}
    erratum = "comstock_2025_3_california_water"
    if state == "CA":
        assert summary.data_files.uploaded == count
        told = [detail for details in summary.quality.findings.values() for detail in details]
        assert all(f"known_erratum: {erratum}: out.{part}" in detail for detail in told)
        (breach,) = summary.quality.partitions[0].breaches
        assert breach.startswith(f"release_is_without_errata: {erratum}: No building of California")
    else:
        assert summary.data_files.uploaded == 0
        assert erratum not in summary.as_text()


def test_run_without_metadata_asks_nothing_of_published_results(
    offices: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    for path in metadata_of(offices):
        path.unlink()
    rewrite(series_of(offices)[1], "energy_consumption", times(4.0))

    summary = pipeline.run(make_config(offices, job(OFFICES)), spark)

    assert SUMS not in asked(summary)
    assert summary.data_files.uploaded == 4


@pytest.mark.real_lake
@pytest.mark.parametrize("engine", ["arrow", "window"])
def test_run_on_the_real_office_agrees_with_its_real_results(
    real_lake: Path,
    engine: str,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
) -> None:
    """Upgrade 19 does not apply to 98542: its series is the baseline's, as the results are."""
    folder = Path(BASE_PARTITION) / OFFICES.year / OFFICES.name
    lake = tmp_path / "lake"
    shutil.copytree(
        real_lake / folder / "metadata_and_annual_results",
        lake / folder / "metadata_and_annual_results",
    )
    (source,) = real_lake.rglob("98542-19.parquet")
    below = "timeseries_individual_buildings/by_state/upgrade=0/state=GA/98542-0.parquet"
    copy = lake / folder / below
    copy.parent.mkdir(parents=True)
    shutil.copy(source, copy)
    config = make_config(lake, COMSTOCK | {"state": "GA", "upgrades": "0"}, engine=engine)

    summary = pipeline.run(config, spark)

    # 81 of the 82 buildings of the metadata have no series here.
    assert broken(summary) == {"series_and_metadata_agree": 1}
    assert summary.quality.findings == {}
    assert (asked(summary)[SUMS], asked(summary)[SCALE], summary.data_files.uploaded) == (1, 1, 1)
