"""The main job with metadata, end to end: landed, normalised, weighed, and held to the series."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Reason
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import FileFault
from oedi_spark.sample.lake import BASE_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import LocalStorage
from tests.conftest import COMSTOCK, RESSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GA = "2024_comstock_amy2018_release_1"
MANY = ReleaseFolder("2024", "comstock_amy2018_release_2")
MANY_JOB = {"release_year": MANY.year, "release_name": MANY.name, "state": "CO", "upgrades": "0"}
ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
BTU_PER_KWH = 3412.141633
GJ_PER_KWH = 0.0036
"""The published annual figure is one of EnergyPlus's report, in GJ with two decimals: 208.91 GJ
for the office's electricity, 58,030.56 kWh. So half a unit of 0.01 GJ, 1.4 kWh, is how far it
may be from the sum of its series."""

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def many_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six ComStock 2024 R2 buildings, each with a weight in two to four counties of Colorado."""
    root = tmp_path_factory.mktemp("many_lake")
    write_sample_lake(root, SampleRequest((MANY,), buildings=6))
    return root


def _metadata_file(lake: Path, folder: ReleaseFolder, below: str) -> Path:
    return lake / BASE_PARTITION / folder.year / folder.name / below


def _landed(config: RunConfig) -> dict[str, Path]:
    root = Path(config.output_root) / "metadata"
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}


def _of_upgrade(rows: pa.Table, upgrade: int) -> list[str]:
    """The rows of an upgrade as text, in order: NaN is like NaN there."""
    return sorted(map(str, rows.filter(pc.equal(rows["upgrade"], upgrade)).to_pylist()))


def _weights(config: RunConfig, read_table: ReadTable, kind: str) -> Rows:
    rows: Rows = read_table(config, "building_weights").to_pylist()
    return [row for row in rows if row["geography_kind"] == kind]


@pytest.mark.real_lake
def test_real_metadata_lands_byte_for_byte_and_agrees_with_the_real_series(
    real_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(
        real_lake,
        COMSTOCK | {"state": "GA", "upgrades": "0,19", "relative_metadata_prefix_type": "1"},
    )

    summary = pipeline.run(config, spark)

    name = "GA_baseline_metadata_and_annual_results.parquet"
    (source,) = real_lake.rglob(name)
    (landed,) = _landed(config).items()
    assert landed[0] == f"release={GA}/state=GA/upgrade=0/{name}"
    assert (
        hashlib.md5(landed[1].read_bytes()).hexdigest()
        == hashlib.md5(source.read_bytes()).hexdigest()
    )
    rows = read_table(config, "metadata")
    assert rows.num_rows == 82
    assert set(rows["grain"].to_pylist()) == {"building"}
    (office,) = rows.filter(pc.equal(rows["bldg_id"], 98542)).to_pylist()
    assert office["county_gisjoin"] == office["in_nhgis_tract_gisjoin"][:8]
    tbtu = office["calc_weighted_electricity_total_energy_consumption_tbtu"]
    assert (tbtu, office["weight"]) == (0.001727833, 8.72605822)
    annual_kwh = pc.sum(read_table(config)[ELECTRICITY]).as_py()
    published_kwh = tbtu / office["weight"] * 1e12 / BTU_PER_KWH
    assert annual_kwh == pytest.approx(58_029.24, abs=0.005)
    assert published_kwh == pytest.approx(208.91 / GJ_PER_KWH, abs=0.02)
    assert abs(published_kwh - annual_kwh) <= 0.005 / GJ_PER_KWH + 0.02
    lines = {line.partition: line for line in summary.partitions}
    baseline = lines[f"release={GA}/state=GA/upgrade=0"].coverage
    assert (baseline.file_count, len(baseline.without_series)) == (1, 82)
    assert lines[f"release={GA}/state=GA/upgrade=19"].coverage.gap == "metadata_not_found"
    assert summary.exit_code == 6


def test_wildcard_counties_give_tract_rows_and_weights_that_sum_to_the_states(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    job = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(many_lake, job)

    summary = pipeline.run(config, spark)

    tree = _metadata_file(many_lake, MANY, "metadata_and_annual_results/by_state_and_county/full")
    sources = sorted(tree.rglob("*.parquet"))
    published = pa.concat_tables(
        [pq.read_table(path) for path in sources], promote_options="default"
    )
    rows = read_table(config, "metadata")
    assert (summary.exit_code, summary.metadata.files.uploaded) == (0, len(sources))
    assert (rows.num_rows, set(rows["grain"].to_pylist())) == (
        published.num_rows,
        {"building-tract"},
    )
    expected: dict[tuple[int, str], float] = {}
    for row in published.to_pylist():
        key = (row["bldg_id"], row["in.nhgis_county_gisjoin"])
        expected[key] = expected.get(key, 0.0) + row["weight"]
    counties = {
        (row["bldg_id"], row["geography"]): row["weight"]
        for row in _weights(config, read_table, "county")
    }
    assert counties == pytest.approx(expected)
    of_state = {row["bldg_id"]: row["weight"] for row in _weights(config, read_table, "state")}
    (aggregate,) = _metadata_file(
        many_lake, MANY, "metadata_and_annual_results_aggregates/by_state/full"
    ).rglob("*.parquet")
    by_state = pq.read_table(aggregate).to_pylist()
    assert of_state == pytest.approx({row["bldg_id"]: row["weight"] for row in by_state})
    assert len(_landed(config)) == len(sources)
    assert all("/county=G08" in name for name in _landed(config))


def test_named_counties_read_only_their_buildings_and_tell_of_one_that_is_not_there(
    many_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    tree = _metadata_file(many_lake, MANY, "metadata_and_annual_results/by_state_and_county/full")
    source = min(tree.rglob("*.parquet"), key=lambda path: pq.read_table(path).num_rows)
    county = source.parent.name.removeprefix("county=")
    named = sorted(set(pq.read_table(source)["bldg_id"].to_pylist()))
    job = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": [county, "G0899990"]}
    config = make_config(many_lake, job)

    summary = pipeline.run(config, spark)

    assert sorted(set(read_table(config)["bldg_id"].to_pylist())) == named
    assert {row["geography"] for row in _weights(config, read_table, "county")} == {county}
    assert _weights(config, read_table, "state") == []
    assert summary.exit_code == 6
    assert summary.metadata.counties_not_found == (
        f"release={MANY.release}/state=CO/upgrade=0 county=G0899990: county_not_found",
    )


def test_version_3_is_one_row_per_building_of_the_state(
    many_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(many_lake, MANY_JOB | {"relative_metadata_prefix_type": "3"})

    summary = pipeline.run(config, spark)

    rows = read_table(config, "metadata")
    assert (summary.exit_code, rows.num_rows) == (0, 6)
    assert set(rows["grain"].to_pylist()) == {"building-state"}
    assert rows["county_gisjoin"].null_count == 6
    assert len(_weights(config, read_table, "state")) == 6


EVERY_LAYOUT = [
    ("2021", "comstock_amy2018_release_1", "national_single"),
    ("2022", "resstock_tmy3_release_1.1", "state_first"),
    ("2023", "comstock_amy2018_release_2", "state_first"),
    ("2024", "resstock_amy2018_release_2", "state_first"),
    ("2024", "comstock_amy2018_release_2", "agg_state"),
    ("2025", "comstock_amy2018_release_3", "agg_state"),
    ("2025", "resstock_amy2018_release_1", "state_full"),
    ("2026", "resstock_amy2024_release_1", "state_full"),
]
"""Year, name, and the layout that the sample writes; the last release is in no registry."""


@pytest.mark.parametrize(("year", "name", "pattern"), EVERY_LAYOUT)
def test_a_release_resolves_by_itself(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    year: str,
    name: str,
    pattern: str,
) -> None:
    folder = ReleaseFolder(year, name)
    write_sample_lake(tmp_path / "lake", SampleRequest((folder,), buildings=2))
    job = {"release_year": year, "release_name": name, "state": "CO", "upgrades": "0"}
    config = make_config(tmp_path / "lake", job)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0, summary.as_text()
    how = "tried" if year == "2026" else "registered"
    assert summary.metadata.layouts == {folder.release: f"{pattern} ({how})"}
    assert read_table(config, "metadata").num_rows == 2
    assert len(_weights(config, read_table, "state")) == 2


def test_states_loaded_in_either_order_or_at_once_give_the_same_tables(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest(states=("CO", "GA"), buildings=2))
    folder = ReleaseFolder("2024", "comstock_amy2018_release_1")
    name = "metadata_and_annual_results/by_state/state=GA/parquet"
    (georgia,) = _metadata_file(lake, folder, name).glob("*.parquet")
    rows = pq.read_table(georgia)
    rows = rows.append_column("out.only.in_georgia", pa.array([1, 2]))
    rows = rows.set_column(
        rows.column_names.index("in.vintage"), "in.vintage", pa.array([1970, 1980])
    )
    pq.write_table(rows, georgia)

    def tables(name: str, *order: list[str], at_once: bool = False) -> tuple[pa.Table, pa.Table]:
        configs = [
            make_config(lake, COMSTOCK | {"state": states, "upgrades": "0"}).model_copy(
                update={"output_dir": str(tmp_path / name)}
            )
            for states in order
        ]
        with ThreadPoolExecutor(2 if at_once else 1) as pool:
            codes = list(pool.map(lambda each: pipeline.run(each, spark).exit_code, configs))
        assert codes == [0] * len(order)
        by = [("state", "ascending"), ("bldg_id", "ascending")]
        return (
            read_table(configs[0], "metadata").sort_by(by),
            read_table(configs[0], "building_weights").sort_by(
                [*by, ("geography", "ascending"), ("geography_kind", "ascending")]
            ),
        )

    forth = tables("forth", ["CO"], ["GA"])
    back = tables("back", ["GA"], ["CO"])
    together = tables("together", ["CO", "GA"])
    at_once = tables("at_once", ["CO"], ["GA"], at_once=True)

    metadata = forth[0]
    assert metadata["out_only_in_georgia"].to_pylist() == [None, None, 1.0, 2.0]
    assert metadata["in_vintage"].to_pylist()[2:] == ["1970", "1980"]
    for other in (back, together, at_once):
        assert other[0].schema.equals(metadata.schema)
        assert other[0].equals(metadata)
        assert other[1].equals(forth[1])


def test_a_rerun_lands_nothing_twice_and_removes_what_it_takes_the_place_of(
    many_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    counties = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    pipeline.run(make_config(many_lake, counties), spark)
    config = make_config(many_lake, MANY_JOB | {"relative_metadata_prefix_type": "3"})

    pipeline.run(config, spark)
    before = {name: path.stat().st_mtime_ns for name, path in _landed(config).items()}
    pipeline.run(config, spark, redo=Redo(force=True))

    release = "release=2024_comstock_amy2018_release_2"
    assert list(before) == [f"{release}/state=CO/upgrade=0/CO_baseline_agg.parquet"]
    assert {name: path.stat().st_mtime_ns for name, path in _landed(config).items()} == before
    assert read_table(config, "metadata").num_rows == 6


def test_a_gap_on_either_side_is_named_in_the_summary_and_in_the_plan(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest(releases=(MANY,), buildings=4))
    series = sorted(
        _metadata_file(lake, MANY, "timeseries_individual_buildings").rglob("*-0.parquet")
    )
    (aggregate,) = _metadata_file(
        lake, MANY, "metadata_and_annual_results_aggregates/by_state/full"
    ).rglob("*.parquet")
    ids = sorted(int(path.name.split("-")[0]) for path in series)
    rows = pq.read_table(aggregate)
    pq.write_table(rows.filter(pc.not_equal(rows["bldg_id"], ids[0])), aggregate)
    next(path for path in series if path.name == f"{ids[3]}-0.parquet").unlink()
    config = make_config(lake, MANY_JOB)

    plan = pipeline.plan(config)
    summary = pipeline.run(config, spark)

    (planned,), (summed,) = plan.partitions, summary.partitions
    for coverage in (planned.coverage, summed.coverage):
        assert coverage.without_series == (ids[3],)
        assert coverage.without_metadata == (ids[0],)
    told = json.loads((Path(config.settings.log_dir) / "summary.json").read_text())
    (written,) = told["partitions"]
    assert (written["no_series"], written["no_metadata"]) == ([ids[3]], [ids[0]])
    kept = pq.read_table(aggregate).to_pylist()
    weight = {each["bldg_id"]: each["weight"] for each in kept}
    (geographies,) = told["metadata"]["geographies"].values()
    state = geographies["state"]
    assert (state["count"], state["covered_count"]) == (1, 1)
    assert state["weight"] == pytest.approx(sum(weight.values()), rel=1e-12)
    assert state["covered_weight"] == pytest.approx(weight[ids[1]] + weight[ids[2]], rel=1e-12)
    assert summary.exit_code == 6


def test_a_county_file_with_bad_weights_costs_its_county_and_the_states_total_alone(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(many_lake, lake)
    counties = _metadata_file(lake, MANY, "metadata_and_annual_results/by_state_and_county/full")
    files = sorted(counties.rglob("*.parquet"))
    negative = pq.read_table(files[1])
    at = negative.column_names.index("weight")
    pq.write_table(negative.set_column(at, "weight", pc.negate(negative["weight"])), files[1])
    job = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(lake, job)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    assert read_table(config).num_rows == 6 * 8760
    stats = summary.metadata.files
    assert stats.listed == stats.uploaded == len(files) == len(_landed(config))
    (rejected,) = summary.metadata.rejected.items()
    assert rejected[0].endswith(files[1].name)
    assert rejected[1].startswith("weight_negative")
    found = {row["geography"] for row in _weights(config, read_table, "county")}
    assert found == {path.parent.name[7:] for path in files} - {files[1].parent.name[7:]}
    assert _weights(config, read_table, "state") == []


def test_a_county_file_that_is_no_parquet_is_told_and_nothing_of_the_state_is_replaced(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(many_lake, lake)
    write_sample_lake(lake, SampleRequest(buildings=1))
    counties = _metadata_file(lake, MANY, "metadata_and_annual_results/by_state_and_county/full")
    files = sorted(counties.rglob("*.parquet"))
    job = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(lake, job, COMSTOCK | {"state": "CO", "upgrades": "0"})
    assert pipeline.run(config, spark).exit_code == 0
    weights = _weights(config, read_table, "county")
    copies = _landed(config).keys()
    files[0].write_bytes(b"PAR1 no parquet at all")

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    assert read_table(config).num_rows == 6 * 8760 + 8760
    assert _weights(config, read_table, "county") == weights
    assert summary.metadata.withheld == (f"release={MANY.release}/state=CO/upgrade=0",)
    (unreadable,) = summary.metadata.files.missing_transforms.items()
    assert unreadable[0].endswith(files[0].name)
    lines = {line.partition: line.coverage.gap for line in summary.partitions}
    assert lines[f"release={MANY.release}/state=CO/upgrade=0"] == "metadata_incomplete"
    assert _landed(config).keys() == copies


def test_a_withheld_partition_publishes_neither_its_hours_nor_its_metadata(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(many_lake, lake)
    series = sorted(
        _metadata_file(lake, MANY, "timeseries_individual_buildings").rglob("*.parquet")
    )
    series[0].write_bytes(b"")
    config = make_config(lake, MANY_JOB)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 4
    assert read_table(config, "metadata").num_rows == 0
    assert read_table(config, "building_weights").num_rows == 0
    assert len(summary.metadata.withheld) == 1


def test_a_configured_version_whose_files_are_not_there_is_said_and_not_replaced(
    many_lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    config = make_config(many_lake, MANY_JOB | {"relative_metadata_prefix_type": "1"})

    summary = pipeline.run(config, spark)

    (line,) = summary.partitions
    assert (line.coverage.gap, summary.exit_code) == ("metadata_not_found", 6)
    assert read_table(config).num_rows == 6 * 8760
    assert _landed(config) == {}


def test_metadata_that_is_gone_leaves_no_weights_of_an_earlier_run_beside_new_hours(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest(buildings=2))
    config = make_config(lake, RESSTOCK | {"state": "CO", "upgrades": "0"})
    assert pipeline.run(config, spark).exit_code == 0
    folder = ReleaseFolder("2022", "resstock_amy2018_release_1")
    shutil.rmtree(_metadata_file(lake, folder, "metadata_and_annual_results"))

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    (note,) = summary.metadata.notes
    assert note.startswith(f"release={folder.release}/state=CO/upgrade=0: ")
    assert note.endswith("metadata of an earlier run removed, this one has none")
    assert read_table(config).num_rows == 2 * 8760
    for table in ("metadata", "building_weights"):
        assert read_table(config, table).num_rows == 0
    assert set(read_table(config, "columns")["table_name"].to_pylist()) == {"hourly"}
    assert pipeline.run(config, spark).exit_code == 0


def test_rejected_metadata_takes_the_weights_of_an_earlier_run_with_it(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(many_lake, lake)
    config = make_config(lake, MANY_JOB)
    assert pipeline.run(config, spark).exit_code == 0
    (aggregate,) = _metadata_file(
        lake, MANY, "metadata_and_annual_results_aggregates/by_state/full"
    ).rglob("*.parquet")
    pq.write_table(pq.read_table(aggregate).drop_columns("weight"), aggregate)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    assert list(summary.metadata.rejected.values()) == ["missing_weight: no column named weight"]
    assert read_table(config).num_rows == 6 * 8760
    assert read_table(config, "building_weights").num_rows == 0


def test_metadata_of_a_partition_whose_series_are_gone_is_not_put_beside_its_old_hours(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    """One of its two buildings is gone from the metadata too: its weight stays with its hours."""
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((MANY,), upgrades=(0, 1), buildings=2))
    config = make_config(lake, MANY_JOB | {"upgrades": "0-1"})
    first = pipeline.run(config, spark)
    assert first.exit_code == 0
    tables = ("hourly", "metadata", "building_weights", "columns", "sources")
    before = {name: _of_upgrade(read_table(config, name), 1) for name in tables}
    copies = {name: path.read_bytes() for name, path in _landed(config).items()}
    shutil.rmtree(_metadata_file(lake, MANY, "timeseries_individual_buildings/by_state/upgrade=1"))
    (newer,) = _metadata_file(
        lake, MANY, "metadata_and_annual_results_aggregates/by_state/full"
    ).rglob("*upgrade01_agg.parquet")
    pq.write_table(pq.ParquetFile(newer).read().slice(1), newer)

    second = pipeline.run(config, spark)

    assert second.exit_code == 6
    assert second.metadata.withheld == (f"release={MANY.release}/state=CO/upgrade=1",)
    assert {name: _of_upgrade(read_table(config, name), 1) for name in tables} == before
    assert {name: path.read_bytes() for name, path in _landed(config).items()} == copies
    assert pipeline.run(config, spark).exit_code == 6  # not taken for unchanged, and not lost
    assert all(first.run_id in row for row in _of_upgrade(read_table(config, "sources"), 1))


def test_a_withheld_partition_keeps_its_landed_copies_too(
    many_lake: Path, tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(many_lake, lake)
    config = make_config(lake, MANY_JOB)
    assert pipeline.run(config, spark).exit_code == 0
    before = {name: path.read_bytes() for name, path in _landed(config).items()}
    tree = _metadata_file(lake, MANY, "metadata_and_annual_results_aggregates/by_state/full")
    (aggregate,) = tree.rglob("*.parquet")
    aggregate.rename(aggregate.with_name("CO_upgrade00_agg.parquet"))
    series = sorted(
        _metadata_file(lake, MANY, "timeseries_individual_buildings").rglob("*.parquet")
    )
    series[0].write_bytes(b"")

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 4
    assert {name: path.read_bytes() for name, path in _landed(config).items()} == before
    (why,) = summary.metadata.files.missing_uploads.values()
    assert why.startswith("not_committed")
    assert not list(Path(config.output_root).rglob("_landing/*/*"))


def test_a_county_file_that_cannot_be_looked_into_leaves_published_hours_alone(
    many_lake: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that fails for a moment while the run is planned must not cost a building."""
    job = MANY_JOB | {"relative_metadata_prefix_type": "2", "counties": ["*"]}
    config = make_config(many_lake, job)
    assert pipeline.run(config, spark).exit_code == 0
    open_file = LocalStorage.open_file
    fails = iter([True])

    def flaky(storage: LocalStorage, key: str, *, etag: str | None) -> BufferedIOBase:
        if "by_state_and_county" in key and next(fails, False):
            raise FileFault(Reason.FETCH_FAILED, "HTTP 503, SlowDown")
        return open_file(storage, key, etag=etag)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "open_file", flaky)
        summary = pipeline.run(config, spark, redo=Redo(force=True))

    assert summary.exit_code == 3
    assert read_table(config).num_rows == 6 * 8760
    assert len(_weights(config, read_table, "state")) == 6


def test_tables_in_a_warehouse_of_their_own_leave_only_copies_in_the_output(
    many_lake: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    made = make_config(many_lake, MANY_JOB)
    catalog = made.catalog.model_dump() | {"warehouse_dir": str(tmp_path / "tables")}
    config = RunConfig.model_validate(made.model_dump(by_alias=True) | {"catalog": catalog})

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0
    assert read_table(config, "hourly").num_rows == summary.published_rows > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"catalog.db", "metadata"}
    named = {path.name for path in (tmp_path / "tables" / "oedi").iterdir()}
    assert named >= {"hourly", "metadata", "building_weights", "columns"}
