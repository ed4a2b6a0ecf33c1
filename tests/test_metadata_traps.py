"""Every fault that metadata is known to have, planted, and told by the run that meets it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline, plan
from oedi_spark.contracts import Reason
from oedi_spark.errors import MetadataAmbiguousError
from oedi_spark.sample.lake import BASE_PARTITION, SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMSTOCK_FOLDER = ReleaseFolder("2024", "comstock_amy2018_release_1")
BOTH_STATES = COMSTOCK | {"state": ["CO", "GA"], "upgrades": "0"}

REASONS = {
    Trap.METADATA_UNREADABLE: Reason.UNREADABLE,
    Trap.METADATA_TRUNCATED: Reason.TRUNCATED,
    Trap.METADATA_MISSING_WEIGHT: Reason.MISSING_WEIGHT,
    Trap.METADATA_NULL_WEIGHT: Reason.WEIGHT_NULL,
    Trap.METADATA_NEGATIVE_WEIGHT: Reason.WEIGHT_NEGATIVE,
    Trap.METADATA_DUPLICATE_ROWS: Reason.ROWS_DUPLICATED,
    Trap.METADATA_WRONG_STATE: Reason.STATE_CONTRADICTS_NAME,
    Trap.METADATA_WRONG_UPGRADE: Reason.UPGRADE_CONTRADICTS_NAME,
}
ODD = frozenset(
    {Trap.METADATA_BLDG_ID_IN_INDEX, Trap.METADATA_NONE_LITERALS, Trap.METADATA_ALL_NULL_COLUMN}
)
NOT_LANDED = {Trap.METADATA_UNREADABLE, Trap.METADATA_TRUNCATED}


def _plant(root: Path, *traps: Trap, states: tuple[str, ...] = ("CO", "GA")) -> dict[str, str]:
    request = SampleRequest((COMSTOCK_FOLDER,), states=states, buildings=2, traps=traps)
    return {name: key for key, name in write_sample_lake(root, request).trapped.items()}


@pytest.mark.parametrize(("trap", "reason"), REASONS.items())
def test_a_faulty_metadata_file_has_its_reason_and_costs_no_hour(
    trap: Trap,
    reason: Reason,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    key = _plant(tmp_path / "lake", trap)[trap]
    config = make_config(tmp_path / "lake", BOTH_STATES)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    assert read_table(config).num_rows == 2 * 2 * 8760
    metadata = summary.metadata
    told = metadata.files.missing_transforms if trap in NOT_LANDED else metadata.rejected
    assert list(told) == [key]
    assert told[key].startswith(f"{reason}: ")
    landed = Path(config.output_root) / "metadata"
    assert any(landed.rglob(key.rsplit("/", 1)[1])) == (trap not in NOT_LANDED)
    assert set(read_table(config, "metadata")["state"].to_pylist()) == {"GA"}
    assert set(read_table(config, "building_weights")["state"].to_pylist()) == {"GA"}


@pytest.mark.parametrize("trap", sorted(ODD))
def test_an_odd_metadata_file_is_taken_as_it_is(
    trap: Trap,
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    _plant(tmp_path / "lake", trap)
    config = make_config(tmp_path / "lake", BOTH_STATES)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0, summary.as_text()
    rows = read_table(config, "metadata")
    assert rows.num_rows == 4
    if trap is Trap.METADATA_NONE_LITERALS:
        found = [name for name in rows.column_names if "None" in rows[name].to_pylist()]
        assert len(found) == 1
        assert found[0].startswith("in_")


def test_types_that_differ_by_state_become_one_column(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    _plant(tmp_path / "lake", Trap.METADATA_MIXED_TYPES, states=("AK", "CO", "GA"))
    config = make_config(tmp_path / "lake", COMSTOCK | {"state": "*", "upgrades": "0"})

    assert pipeline.run(config, spark).exit_code == 0

    rows = read_table(config, "metadata")
    found = {
        (state, value)
        for state, value in zip(
            rows["state"].to_pylist(), rows["in_airtightness"].to_pylist(), strict=True
        )
    }
    assert found == {("AK", 3.0), ("CO", 2.5), ("GA", None)}


def test_two_spellings_of_one_upgrade_end_the_run_and_are_both_named(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    added = _plant(tmp_path / "lake", Trap.METADATA_TWO_SPELLINGS)[Trap.METADATA_TWO_SPELLINGS]
    config = make_config(tmp_path / "lake", BOTH_STATES)

    with pytest.raises(MetadataAmbiguousError) as caught:
        pipeline.plan(config)
    summary = pipeline.run(config, spark)

    assert added in caught.value.keys
    assert len(caught.value.keys) == 2
    assert (summary.exit_code, read_table(config).num_rows) == (3, 0)


def test_a_stray_file_among_the_metadata_is_named_and_not_read(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    key = _plant(tmp_path / "lake", Trap.METADATA_STRAY_FILE)[Trap.METADATA_STRAY_FILE]

    summary = pipeline.run(make_config(tmp_path / "lake", BOTH_STATES), spark)

    folder = key.rsplit("/", 1)[0]
    assert dict(summary.metadata.surplus) == dict.fromkeys(
        [key, f"{folder}/_SUCCESS", f"{folder}/notes.txt"], "not_a_metadata_file"
    )
    assert summary.exit_code == 0


def test_text_among_numbers_goes_to_a_sibling_that_no_footer_announced(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    _plant(tmp_path / "lake")
    (georgia,) = (tmp_path / "lake").rglob("GA_baseline_metadata_and_annual_results.parquet")
    rows = pq.read_table(georgia)
    rows = rows.append_column("out.odd.thing..kwh", pa.array(["7", "None"]))
    pq.write_table(rows, georgia)
    config = make_config(tmp_path / "lake", BOTH_STATES)

    assert pipeline.run(config, spark).exit_code == 0

    metadata = read_table(config, "metadata")
    metadata = metadata.filter(pc.equal(metadata["state"], "GA"))
    assert metadata["out_odd_thing_kwh"].to_pylist() == [None, None]
    assert sorted(metadata["out_odd_thing_kwh_text"].to_pylist()) == ["7", "None"]
    assert read_table(config, "metadata").num_rows == 4


def test_a_release_of_annual_results_only_is_published_without_hours(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    folder = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
    write_sample_lake(
        tmp_path / "lake",
        SampleRequest((folder,), states=("CO", "GA"), upgrades=(0, 7), buildings=3),
    )
    job = {"release_year": folder.year, "release_name": folder.name}
    config = make_config(tmp_path / "lake", job | {"state": "*", "upgrades": "*"})

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0, summary.as_text()
    metadata = read_table(config, "metadata")
    assert metadata.num_rows == 2 * 2 * 3
    assert set(metadata["upgrade"].to_pylist()) == {0, 7}
    assert set(metadata["weight"].to_pylist()) == {63.0753}
    assert read_table(config).num_rows == 0


def test_a_national_file_is_taken_in_portions_with_every_row_once(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "_MAX_METADATA_ROWS", 4)
    folder = ReleaseFolder("2021", "comstock_amy2018_release_1")
    states = ("AK", "CO", "GA")
    write_sample_lake(tmp_path / "lake", SampleRequest((folder,), states=states, buildings=3))
    job = {"release_year": folder.year, "release_name": folder.name, "upgrades": "0"}
    config = make_config(tmp_path / "lake", job | {"state": ["AK", "CO"]})

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0, summary.as_text()
    assert (summary.metadata.files.listed, summary.metadata.files.uploaded) == (1, 1)
    counted = read_table(config, "metadata").group_by("state").aggregate([("bldg_id", "count")])
    assert {row["state"]: row["bldg_id_count"] for row in counted.to_pylist()} == {"AK": 3, "CO": 3}
    landed = list((Path(config.output_root) / "metadata").rglob("*.parquet"))
    (source,) = (tmp_path / "lake" / BASE_PARTITION).rglob("metadata.parquet")
    assert [path.read_bytes() for path in landed] == [source.read_bytes()]
    assert "state=national" in str(landed[0])


def test_a_join_that_would_miscount_ends_the_run_before_any_hour_is_paid_for(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    """The same building and tract in two county files: each is sound, together they double."""
    folder = ReleaseFolder("2024", "comstock_amy2018_release_2")
    write_sample_lake(tmp_path / "lake", SampleRequest((folder,), buildings=3))
    tree = tmp_path / "lake" / BASE_PARTITION / folder.year / folder.name
    tree /= "metadata_and_annual_results/by_state_and_county/full"
    first, second = sorted(tree.rglob("*.parquet"))[:2]
    county = pa.array([first.parent.name[7:]])
    rows = pq.read_table(first)
    at = rows.column_names.index("in.nhgis_county_gisjoin")
    wrong = rows.slice(0, 1).set_column(at, rows.field(at), pa.array([second.parent.name[7:]]))
    pq.write_table(pa.concat_tables([pq.read_table(second), wrong]), second)
    assert county[0].as_py() != second.parent.name[7:]
    job = {"release_year": folder.year, "release_name": folder.name, "state": "CO"}
    config = make_config(
        tmp_path / "lake",
        job | {"upgrades": "0", "relative_metadata_prefix_type": "2", "counties": ["*"]},
    )

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 4
    assert "joined on bldg_id, geography" in (summary.error or "")
    assert summary.data_files.uploaded == 0
    for table in ("hourly", "metadata", "building_weights"):
        assert read_table(config, table).num_rows == 0
    database = Path(config.output_root) / "warehouse" / "oedi"
    staged = {path.relative_to(database).parts[0] for path in database.rglob("data/**/*.parquet")}
    assert staged == {"runs", "discrepancies"}


@pytest.mark.parametrize(
    ("asked", "partitions"),
    [
        ({"state": ["CO"], "upgrades": "0,7"}, {"state=CO/upgrade=7"}),
        ({"state": ["CO", "TX"], "upgrades": "0"}, {"state=TX/upgrade=0"}),
    ],
)
def test_annual_results_that_were_asked_for_and_are_not_there_are_told(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    asked: dict[str, object],
    partitions: set[str],
) -> None:
    folder = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
    write_sample_lake(tmp_path / "lake", SampleRequest((folder,), buildings=2))
    job = {"release_year": folder.year, "release_name": folder.name}
    config = make_config(tmp_path / "lake", job | asked)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    gaps = {line.partition for line in summary.partitions if line.coverage.gap}
    assert gaps == {f"release={folder.release}/{each}" for each in partitions}


def test_a_run_that_would_read_nothing_ends_with_3(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    many = ReleaseFolder("2024", "comstock_amy2018_release_2")
    annual = ReleaseFolder("2024", "resstock_dataset_2024.1/resstock_tmy3")
    write_sample_lake(tmp_path / "lake", SampleRequest((many, annual), buildings=2))
    nowhere = {"state": "CO", "upgrades": "0", "relative_metadata_prefix_type": "2"}

    for folder, more in ((many, {"counties": ["G0899990"]}), (annual, {"counties": ["*"]})):
        job = {"release_year": folder.year, "release_name": folder.name}
        config = make_config(tmp_path / "lake", job | nowhere | more)
        assert pipeline.run(config, spark).exit_code == 3


def test_a_state_of_a_national_file_does_not_pay_for_another_states_fault(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    folder = ReleaseFolder("2021", "comstock_amy2018_release_1")
    write_sample_lake(tmp_path / "lake", SampleRequest((folder,), states=("AK", "CO"), buildings=2))
    (path,) = (tmp_path / "lake" / BASE_PARTITION).rglob("metadata.parquet")
    rows = pq.read_table(path)
    weights = [
        None if state == "AK" else weight
        for state, weight in zip(
            rows["in.state"].to_pylist(), rows["weight"].to_pylist(), strict=True
        )
    ]
    at = rows.column_names.index("weight")
    pq.write_table(rows.set_column(at, "weight", pa.array(weights, pa.float64())), path)
    job = {"release_year": folder.year, "release_name": folder.name, "upgrades": "0"}
    config = make_config(tmp_path / "lake", job | {"state": "*"})

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    (why,) = summary.metadata.rejected.values()
    assert why.startswith("weight_null: AK: 2 of 2 rows, such as building ")
    assert set(read_table(config, "metadata")["state"].to_pylist()) == {"CO"}
    assert read_table(config).num_rows == 2 * 2 * 8760
