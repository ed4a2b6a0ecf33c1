"""A whole run of a release that no rule was tried on, with places and weights that are odd."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from oedi_spark import pipeline
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import MakeConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLD = ReleaseFolder("2023", "comstock_amy2018_release_1")
WARNING = [
    "energy_is_not_negative",
    "end_uses_sum_to_fuel_totals",
    "fuel_totals_sum_to_site_energy",
    "energy_is_intensity_times_area",
    "sums_agree_with_published",
]


def put_first(rows: pa.Table, name: str, value: object) -> pa.Table:
    at = rows.column_names.index(name)
    values = [value, *rows[name].to_pylist()[1:]]
    return rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))


def test_run_tells_odd_places_and_weights_and_which_rules_are_not_verified(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    write_sample_lake(tmp_path / "lake", SampleRequest((OLD,), ("CO",), buildings=3))
    (path,) = (tmp_path / "lake").rglob("CO_baseline_metadata_and_annual_results.parquet")
    rows = pq.ParquetFile(path).read()
    weight = rows["weight"][0].as_py()
    places = [name for name in rows.column_names if "gisjoin" in name and "county" in name]
    places += [name for name in rows.column_names if "tract_gisjoin" in name]
    for name in places:
        rows = put_first(rows, name, "Not Applicable")
    weights = [weight, 0.0, rows["weight"][2].as_py()]
    at = rows.column_names.index("weight")
    pq.write_table(rows.set_column(at, "weight", pa.array(weights)), path)
    job = {"release_year": OLD.year, "release_name": OLD.name, "state": "CO", "upgrades": "0"}

    summary = pipeline.run(make_config(tmp_path / "lake", job), spark)

    assert (summary.exit_code, summary.data_files.uploaded) == (0, 3)
    (partition,) = summary.quality.partitions
    whole = weight + weights[2]
    assert partition.breaches == (
        f"counties_are_valid: weight {weight:.6g} of {whole:.6g} is of no county of CO",
        "buildings_have_weight: 1 of 3 buildings have a weight of zero",
        *partition.breaches[2:],
    )
    assert [each.split(":")[0] for each in partition.breaches[2:]] == ["release_is_without_errata"]
    told = summary.as_json()["quality"]
    assert isinstance(told, dict)
    assert told["unverified"] == {OLD.release: WARNING}
    assert {told["rules"][name]["severity"] for name in WARNING} == {"warn"}
    assert (
        f"note      not verified on {OLD.release}, so that they do not block:\n"
        f"            {', '.join(WARNING)}\n"
    ) in summary.as_text()
