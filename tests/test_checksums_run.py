"""A run over a folder with `MD5SUMS`: what is damaged or lost is a reason, and all is counted."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark import pipeline
from oedi_spark.plan import explain_plan
from oedi_spark.sample.checksums import write_checksums
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import RESSTOCK, MakeConfig, ReadTable
from tests.test_gate_run import damage, series_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOMES = ReleaseFolder("2022", "resstock_amy2018_release_1")
CO = RESSTOCK | {"state": "CO", "upgrades": "0"}
EMISSIONS = "out.total.lrmer_midcase_15_2025start.co2e_kg"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Four homes in CO, their metadata, and the manifest of all."""
    root = tmp_path / "lake"
    write_checksums(write_sample_lake(root, SampleRequest((HOMES,), ("CO",), buildings=4)))
    return root


def test_run_loses_what_is_not_as_the_manifest_says_and_counts_what_it_has_verified(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    spoiled, lost, *kept = series_of(lake)
    damage(spoiled, EMISSIONS, 1.5)  # which no rule could tell
    lost.unlink()
    config = make_config(lake, CO, max_failed_fraction=0.5)

    summary = pipeline.run(config, spark)

    reasons = {Path(key): why for key, why in summary.data_files.missing_fetches.items()}
    assert {path.name for path in reasons} == {spoiled.name, lost.name}
    assert reasons[spoiled.relative_to(lake)].startswith("checksum_mismatch: MD5 ")
    assert reasons[lost.relative_to(lake)] == ("not_found: MD5SUMS names it, but it is not there")
    assert (summary.exit_code, summary.data_files.uploaded) == (6, 2)
    bldg_ids = set(read_table(config)["bldg_id"].to_pylist())
    assert bldg_ids == {int(path.name.split("-")[0]) for path in kept}
    told = json.loads(next((lake.parent / "logs").glob("summary.json")).read_text())
    files, metadata = told["data_files_stats"], told["metadata_files_stats"]
    assert (files["total_data_files_verified"], files["total_data_files_unverified"]) == (2, 0)
    assert metadata["total_metadata_files_verified"] == 1
    assert "  verified           3 files by checksum; 0 have none" in told["text"]


def test_plan_counts_what_has_a_checksum_and_goes_by_content_not_by_time(
    lake: Path, make_config: MakeConfig
) -> None:
    config, (first, *others) = make_config(lake, CO), series_of(lake)
    before = pipeline.plan(config)
    assert "5 files have a checksum to be held against, 0 have none" in explain_plan(before)

    for path in (first, *others):
        os.utime(path, (1, 1))
    after = pipeline.plan(config)
    assert [each.etag for each in after.index.files] == [each.etag for each in before.index.files]

    manifest = lake / "MD5SUMS"
    kept = [line for line in manifest.read_text().splitlines(True) if first.name not in line]
    manifest.write_text("".join(kept))
    found = pipeline.plan(config)
    assert "4 files have a checksum to be held against, 1 have none" in explain_plan(found)
    manifest.unlink()
    none = pipeline.plan(config)
    assert "0 files have a checksum to be held against, 5 have none" in explain_plan(none)


def test_metadata_that_is_not_as_the_manifest_says_is_told_by_the_plan(
    lake: Path, make_config: MakeConfig
) -> None:
    (metadata,) = lake.glob("**/metadata_and_annual_results/**/*.parquet")
    content = bytearray(metadata.read_bytes())
    content[len(content) // 3] ^= 1  # of some annual result; the footer and the ids are sound
    metadata.write_bytes(content)

    lines = list(explain_plan(pipeline.plan(make_config(lake, CO))))

    key = metadata.relative_to(lake)
    assert any(line.startswith(f"checksum_mismatch  {key}  MD5 ") for line in lines)
