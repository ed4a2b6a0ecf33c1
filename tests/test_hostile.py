"""Names and values from outside reach no other path, no log line of their own, no expression."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline
from oedi_spark.config import load_config
from oedi_spark.errors import ConfigError
from oedi_spark.log import configure_logs, get_logger
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}


def snapshot_of(folder: Path) -> dict[str, int]:
    """Every file below a folder with the time it was last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_run_reads_and_writes_only_in_the_configured_folders(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((FOLDER,), buildings=2))
    (folder,) = lake.glob("**/by_state/upgrade=0/state=CO")
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "900001-0.parquet"
    secret.write_bytes(next(folder.glob("*.parquet")).read_bytes())
    (folder / "900001-0.parquet").symlink_to(secret)
    for name in ("1'; DROP TABLE hourly;--0.parquet", "2\n3-0.parquet", '..\\4-0.parquet"'):
        (folder / name).write_bytes(b"x")
    before = snapshot_of(lake) | snapshot_of(outside)

    summary = pipeline.run(make_config(lake, CO), spark)

    assert summary.exit_code == 0
    assert read_table(make_config(lake, CO)).num_rows == 2 * 8760
    assert sorted(summary.surplus.values()) == ["not_a_building_file"] * 3 + ["outside_source"]
    assert snapshot_of(lake) | snapshot_of(outside) == before
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "outside", "out", "logs"}
    assert all("\n3-0" not in line for line in summary.as_text().splitlines())


@pytest.mark.parametrize(
    ("hostile", "published", "omitted"),
    [
        (
            'out."; DROP TABLE x;--../../etc.energy_consumption',
            {"out_drop_table_x_etc_energy_consumption_kwh"},
            (),
        ),
        ("out.\nDROP.energy_consumption", set(), ("out.\nDROP.energy_consumption",)),
    ],
)
def test_run_with_a_hostile_column_name_keeps_it_out_of_names(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    hostile: str,
    published: set[str],
    omitted: tuple[str, ...],
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((FOLDER,), buildings=1))
    (path,) = lake.glob("**/by_state/**/*-0.parquet")
    table = pq.ParquetFile(path).read()
    values = pa.array([1.0] * table.num_rows)
    pq.write_table(table.append_column(hostile, values), path, version="2.6")

    summary = pipeline.run(make_config(lake, CO), spark)

    assert summary.exit_code == (6 if omitted else 0)
    assert summary.columns_omitted == omitted
    assert "\nDROP" not in summary.as_text()
    hours = read_table(make_config(lake, CO))
    assert {name for name in hours.column_names if "drop" in name} == published
    assert all(hours[name][0].as_py() == 4.0 for name in published)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state", "../.."),
        ("state", "CO' OR '1'='1"),
        ("release_name", "../../etc"),
        ("release_name", "comstock\nx"),
        ("release_year", "20/4"),
        ("upgrades", "0; DROP TABLE hourly"),
    ],
)
def test_load_config_refuses_values_that_would_change_a_path(
    tmp_path: Path, key: str, value: str
) -> None:
    job = {**CO, key: value}
    path = tmp_path / "run.yaml"
    path.write_text(
        json.dumps({"src_bucket": "./lake", "output_dir": "./out", "job_specific": [job]})
    )

    with pytest.raises(ConfigError) as refused:
        load_config(path)

    assert any(key in fault for fault in refused.value.faults)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_event_stays_one_line_whatever_a_value_holds(tmp_path: Path, as_json: bool) -> None:
    file = tmp_path / "logs" / "etl.log"
    configure_logs(level="INFO", file=file, as_json=as_json)

    get_logger("oedi_spark.test").info("surplus", key="a\nlevel='error' event='forged'\r\x1b[2J")

    (line,) = file.read_text().splitlines()
    assert "surplus" in line
    assert "\x1b" not in line
