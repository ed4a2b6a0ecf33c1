"""Both engines over the same files: the same rows, the same reasons, the same summary."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from chispa import assert_approx_df_equality
from pyspark.sql import functions as F  # noqa: N812

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.sample.lake import BASE_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.sample.traps import FOLDER_TRAPS, METADATA_TRAPS, WHOLE_LAKE_TRAPS, Trap
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.tracking.summary import RunSummary
from tests.conftest import COMSTOCK, RESSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYS = ["release", "state", "upgrade", "bldg_id", "hour_start"]
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}
COMSTOCK_FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
FILE_TRAPS = sorted(set(Trap) - WHOLE_LAKE_TRAPS - FOLDER_TRAPS - METADATA_TRAPS)
KINDS = (
    ("2022", "resstock_amy2012_release_1"),
    ("2023", "comstock_amy2012_release_2"),
    ("2022", "resstock_tmy3_release_1"),
    ("2025", "comstock_amy2018_release_2"),
)


@dataclass(frozen=True)
class Both:
    """What the two engines made of one config."""

    config: dict[str, RunConfig]
    summary: dict[str, RunSummary]
    hours: dict[str, pa.Table]


RunBoth = Callable[..., Both]


@pytest.fixture
def run_both(
    make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable, tmp_path: Path
) -> RunBoth:
    def run(lake: Path, *jobs: dict[str, object], **settings: object) -> Both:
        both = Both({}, {}, {})
        for engine in ("arrow", "window"):
            config = make_config(lake, *jobs, **settings).model_copy(
                update={"output_dir": str(tmp_path / engine)}
            )
            config = config.model_copy(
                update={"settings": config.settings.model_copy(update={"engine": engine})}
            )
            both.config[engine] = config
            both.summary[engine] = pipeline.run(config, spark)
            both.hours[engine] = read_table(config).sort_by([(key, "ascending") for key in KEYS])
        return both

    return run


def require_same_hours(both: Both) -> None:
    """Every row and every column, values within 1e-12 of each other, nulls where nulls are."""
    arrow, window = both.hours["arrow"], both.hours["window"]
    assert window.schema == arrow.schema
    assert arrow.num_rows > 0
    assert window.select(KEYS).equals(arrow.select(KEYS))
    for name in set(arrow.column_names) - set(KEYS):
        ours, theirs = (table[name].to_numpy(zero_copy_only=False) for table in (window, arrow))
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), name
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0, err_msg=name)
        assert window[name].null_count == arrow[name].null_count, name


def require_same_summary(both: Both) -> None:
    ours, theirs = both.summary["window"], both.summary["arrow"]
    assert (ours.exit_code, ours.outcome) == (theirs.exit_code, theirs.outcome)
    assert ours.data_files == theirs.data_files
    assert ours.missing_values == theirs.missing_values
    assert ours.partitions == theirs.partitions
    assert ours.published_rows == theirs.published_rows
    assert ours.read_bytes == theirs.read_bytes
    assert ours.columns_omitted == theirs.columns_omitted


def test_both_engines_agree_on_every_trap_of_a_file(run_both: RunBoth, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    request = SampleRequest(
        (COMSTOCK_FOLDER,), buildings=len(FILE_TRAPS) + 2, traps=tuple(FILE_TRAPS)
    )
    write_sample_lake(lake, request)

    both = run_both(lake, CO, max_failed_fraction=0.9)

    assert both.summary["window"].data_files.uploaded == 9
    assert len(both.summary["window"].data_files.missing_transforms) == 12
    assert (
        list(both.summary["window"].missing_values.values())
        == ["3 hours lack a value in 1 column(s)"] * 2
    )
    require_same_summary(both)
    require_same_hours(both)


def test_both_engines_agree_on_the_columns_and_years_of_every_kind_of_release(
    run_both: RunBoth, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    folders = tuple(ReleaseFolder(*each) for each in KINDS)
    write_sample_lake(lake, SampleRequest(folders, buildings=1))
    jobs = [
        {"release_year": year, "release_name": name, "state": "CO", "upgrades": "0"}
        for year, name in KINDS
    ]

    both = run_both(lake, *jobs)

    require_same_summary(both)
    require_same_hours(both)
    per_release = both.hours["window"].group_by("release").aggregate([("bldg_id", "count")])
    assert sorted(per_release.to_pydict()["bldg_id_count"]) == [8760, 8760, 8760, 8784]


@pytest.mark.parametrize(
    ("traps", "year_name"),
    [
        ((Trap.FLOAT32, Trap.INT64_NANOS, Trap.SINGLE_DOT_UNITS), COMSTOCK_FOLDER),
        ((Trap.INTERVAL_BEGINNING,), ReleaseFolder("2031", "comstock_amy2018_release_1")),
    ],
    ids=["float32_int64_nanos", "interval_beginning"],
)
def test_both_engines_agree_on_every_trap_of_a_whole_lake(
    run_both: RunBoth, tmp_path: Path, traps: tuple[Trap, ...], year_name: ReleaseFolder
) -> None:
    lake = tmp_path / "lake"
    write_sample_lake(lake, SampleRequest((COMSTOCK_FOLDER,), buildings=2, traps=traps))
    if year_name != COMSTOCK_FOLDER:  # a release that nobody knows: stamps as the files say
        base = lake / BASE_PARTITION
        (base / year_name.year).mkdir()
        (base / "2024" / COMSTOCK_FOLDER.name).rename(base / year_name.year / year_name.name)
    job = CO | {"release_year": year_name.year, "release_name": year_name.name}

    both = run_both(lake, job)

    assert both.summary["window"].data_files.uploaded == 2
    require_same_summary(both)
    require_same_hours(both)


@pytest.mark.real_lake
def test_both_engines_agree_on_the_real_files(
    run_both: RunBoth, real_lake: Path, spark: Future[SparkSession]
) -> None:
    both = run_both(
        real_lake,
        COMSTOCK | {"state": "GA", "upgrades": "10,11,19"},
        RESSTOCK | {"state": "AL", "upgrades": "0"},
    )

    require_same_summary(both)
    require_same_hours(both)
    assert both.hours["window"].num_rows == 6 * 8760
    first_two_days = "hour_start < timestamp_ntz '2018-01-03 00:00:00'"
    ours, theirs = (
        spark.result()
        .read.option("mergeSchema", "true")
        .parquet(*_paths(both.config[engine]))
        .where(first_two_days)
        for engine in ("window", "arrow")
    )
    # Spark keeps its field ids in the schema too, and chispa compares them: the same for both.
    columns = [
        F.col(name).alias(name, metadata={"of": "hours"})
        for name in both.hours["arrow"].column_names
    ]
    assert_approx_df_equality(
        ours.select(columns),
        theirs.select(columns),
        1e-12,
        ignore_row_order=True,
        ignore_nullable=True,
    )


def _paths(config: RunConfig) -> list[str]:
    place = pipeline.catalog_location(config)
    table = open_catalog(place).load_table((place.database, "hourly"))
    return [each.file.file_path for each in table.scan().plan_files()]
