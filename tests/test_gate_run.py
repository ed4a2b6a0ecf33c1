"""The quality gate in whole runs: what it refuses, what it says, and what a validation leaves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from oedi_spark import pipeline, validation
from oedi_spark.cli import app
from oedi_spark.config import RunConfig, load_config
from oedi_spark.contracts import FileOutcome, Reason
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import ConfigError, QualityGateError
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.tracking.quality_summary import QualitySummary
from oedi_spark.tracking.tracker import RunTracker
from tests.conftest import COMSTOCK, RESSTOCK, MakeConfig, ReadTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOMES = ReleaseFolder("2022", "resstock_amy2018_release_1")
CO = RESSTOCK | {"state": "CO", "upgrades": "0"}
PLUGS = "out.electricity.plug_loads.energy_consumption"

MakeLake = Callable[..., Path]


@pytest.fixture
def make_lake(tmp_path: Path) -> MakeLake:
    def make(*traps: Trap, buildings: int = 4) -> Path:
        root = tmp_path / "lake"
        write_sample_lake(root, SampleRequest((HOMES,), ("CO",), buildings=buildings, traps=traps))
        return root

    return make


def series_of(lake: Path) -> list[Path]:
    return sorted(lake.glob("**/timeseries_individual_buildings/**/*.parquet"))


def damage(path: Path, name: str, factor: float) -> None:
    table = pq.read_table(path, partitioning=None)
    scaled = pc.multiply(table[name], factor)
    pq.write_table(table.set_column(table.column_names.index(name), name, scaled), path)


def broken(quality: QualitySummary) -> dict[str, int]:
    return {name: count.broken for name, count in quality.rules.items() if count.broken}


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.real_lake
def test_run_on_real_files_breaks_no_rule(
    real_lake: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    config = make_config(
        real_lake,
        COMSTOCK | {"state": "GA", "upgrades": "10,11,19"},
        RESSTOCK | {"state": "AL", "upgrades": "0"},
    )

    quality = pipeline.run(config, spark).quality

    assert broken(quality) == {}
    assert quality.score == 1.0
    asked = {name: count.asked for name, count in quality.rules.items()}
    assert asked["end_uses_sum_to_fuel_totals"] == asked["energy_is_intensity_times_area"] == 6
    assert asked["net_is_total_and_generation"] == 3
    homes = next(each for each in quality.partitions if "resstock" in each.partition)
    electricity = homes.statistics["out_electricity_total_energy_consumption_kwh"]
    # 5,468.0, 11,223.9 and 23,238.7 kWh: the figures that the homes are known by.
    assert electricity.annual_total == pytest.approx(39930.7, abs=0.1)
    assert electricity.upper == pytest.approx(27.51, abs=0.005)


def test_run_loses_a_building_that_breaks_a_blocking_rule_and_no_other(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    lake = make_lake()
    spoiled = series_of(lake)[1]
    damage(spoiled, PLUGS, 4.0)
    config = make_config(lake, CO, max_failed_fraction=0.5)

    summary = pipeline.run(config, spark)

    ((key, why),) = summary.data_files.missing_transforms.items()
    assert key.endswith(spoiled.name)
    assert why.startswith("energy_is_no_power: out.electricity.plug_loads.energy_consumption is 4 ")
    assert (summary.exit_code, summary.data_files.uploaded) == (6, 3)
    assert broken(summary.quality) == {"energy_is_no_power": 1}
    assert summary.quality.score is not None
    assert 0.9 < summary.quality.score < 1
    bldg_ids = set(read_table(config)["bldg_id"].to_pylist())
    assert bldg_ids == {int(path.name.split("-")[0]) for path in series_of(lake)} - {
        int(spoiled.name.split("-")[0])
    }


def test_run_publishes_what_only_breaks_a_warning_and_says_so(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    lake = make_lake()
    spoiled = series_of(lake)[1]
    damage(spoiled, PLUGS, 4.0)
    config = make_config(
        lake,
        CO,
        quality_rules={
            "energy_is_no_power": {"severity": "warn"},
            "end_uses_sum_to_fuel_totals": {"severity": "off"},
            "energy_is_intensity_times_area": {"severity": "off"},
            "published_scale_is_one": {"severity": "off"},
            "sums_agree_with_published": {"severity": "off"},
        },
    )

    summary = pipeline.run(config, spark)

    assert (summary.exit_code, summary.data_files.uploaded) == (0, 4)
    ((key, findings),) = summary.quality.findings.items()
    assert key.endswith(spoiled.name)
    assert [each.split(":")[0] for each in findings] == ["energy_is_no_power"]
    assert "warned" in summary.as_text()
    told = summary.as_json()["quality"]
    assert isinstance(told, dict)
    assert told["rules"]["energy_is_no_power"] == {"severity": "warn", "asked": 4, "broken": 1}


def test_run_withholds_a_partition_that_breaks_a_blocking_rule(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession], read_table: ReadTable
) -> None:
    rules = {"series_and_metadata_agree": {"severity": "block"}}
    config = make_config(make_lake(Trap.MISSING_FILE), CO, quality_rules=rules)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 4
    assert summary.error is not None
    assert "1 partition(s) not published (series_and_metadata_agree): " in summary.error
    assert "series_and_metadata_agree: 1 buildings are in the series or" in summary.error
    assert broken(summary.quality) == {"series_and_metadata_agree": 1}
    assert read_table(config).num_rows == 0


def test_files_that_hold_a_partition_back_are_told_with_the_rules_that_they_broke(
    make_lake: MakeLake, make_config: MakeConfig
) -> None:
    config, run = make_config(make_lake(), CO), RunTracker("run")
    run.record_plan(pipeline.plan(config))
    for ordinal, reason in enumerate(
        (Reason.TRUNCATED, Reason.ENERGY_IS_NO_POWER, Reason.ENERGY_IS_NO_POWER)
    ):
        run.outcomes[ordinal] = FileOutcome(ordinal, reason, "why")

    withheld, names = pipeline._judge(config, run)
    error = QualityGateError(withheld, 0.25, names)

    partition = "release=2022_resstock_amy2018_release_1/state=CO/upgrade=0"
    assert names[:2] == ["energy_is_no_power", "truncated"]
    first, second, *_ = str(error).splitlines()
    assert first.startswith("1 partition(s) not published (energy_is_no_power, truncated")
    assert first.endswith(
        "): more than 0.25 of the files failed, nothing could be staged, or a rule of the whole "
        "partition is broken:"
    )
    assert second.startswith(f"  {partition}: 3 of 4 files failed; ")
    assert second.endswith("energy_is_no_power: 2 file(s); truncated: 1 file(s)")
    assert "settings.quality_rules" in str(error)


TRIPS = {
    Trap.MISSING_FILE: {"series_and_metadata_agree": 1},
    Trap.METADATA_WITHOUT_SERIES: {"series_and_metadata_agree": 1},
    Trap.SERIES_WITHOUT_METADATA: {"series_and_metadata_agree": 1},
    Trap.METADATA_NULL_WEIGHT: {"weights_are_positive": 1},
    Trap.METADATA_NEGATIVE_WEIGHT: {"weights_are_positive": 1},
    Trap.METADATA_MISSING_WEIGHT: {"weights_are_positive": 1},
    Trap.METADATA_DUPLICATE_ROWS: {"metadata_rows_are_distinct": 1},
    Trap.METADATA_WRONG_STATE: {"places_match_names": 1},
    Trap.METADATA_WRONG_UPGRADE: {"places_match_names": 1},
    Trap.METADATA_TRUNCATED: {"file_is_sound": 1},
    Trap.METADATA_UNREADABLE: {"file_is_sound": 1},
}


@pytest.mark.parametrize(("trap", "rules"), TRIPS.items())
def test_a_trap_of_the_metadata_trips_the_rule_meant_for_it(
    make_lake: MakeLake,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    trap: Trap,
    rules: dict[str, int],
) -> None:
    summary = pipeline.run(make_config(make_lake(trap, buildings=2), CO), spark)

    assert broken(summary.quality) == rules


def test_both_engines_judge_alike(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    lake = make_lake(Trap.NULL_VALUES, Trap.NULL_TYPE_COLUMN, buildings=5)
    damage(series_of(lake)[3], PLUGS, 4.0)
    damage(series_of(lake)[4], "out.electricity.total.energy_consumption_intensity", 1.1)
    found = {}
    for engine in ("arrow", "window"):
        config = make_config(lake, CO, max_failed_fraction=0.5, engine=engine)
        config = config.model_copy(update={"output_dir": str(tmp_path / engine)})
        found[engine] = pipeline.run(config, spark)

    arrow, window = found["arrow"], found["window"]
    assert broken(arrow.quality) == {
        "energy_is_no_power": 1,
        "energy_is_intensity_times_area": 1,
        "values_are_complete": 1,
    }
    assert window.quality.rules == arrow.quality.rules
    assert window.quality.findings == arrow.quality.findings
    assert window.data_files.missing_transforms.keys() == arrow.data_files.missing_transforms.keys()
    assert window.published_rows == arrow.published_rows == 3 * 8760
    (ours,), (theirs,) = window.quality.partitions, arrow.quality.partitions
    assert ours.statistics.keys() == theirs.statistics.keys()
    for name, each in theirs.statistics.items():
        one = ours.statistics[name]
        assert one.annual_total == pytest.approx(each.annual_total, rel=1e-9), name
        assert (one.building_count, one.null_count) == (each.building_count, each.null_count), name
        assert one.lower == pytest.approx(each.lower, rel=1e-12), name
        assert one.upper == pytest.approx(each.upper, rel=1e-12), name


def test_validate_says_what_a_run_would_do_and_leaves_nothing_behind(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    lake = make_lake()
    damage(series_of(lake)[1], PLUGS, 4.0)
    config = make_config(lake, CO)
    before = everything_below(tmp_path)

    summary = validation.validate(config, spark)

    assert everything_below(tmp_path) == before
    assert summary.exit_code == 4
    assert summary.outcome == "validated: would be not published; nothing was published"
    assert summary.snapshot_ids == {}
    text = "\n".join(validation.report(summary))
    assert "energy_is_no_power: 1 of 4 buildings" in text
    assert "energy_is_no_power: out.electricity.plug_loads" in text


def test_validate_touches_no_table_that_is_there(
    make_lake: MakeLake,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    read_table: ReadTable,
    tmp_path: Path,
) -> None:
    config = make_config(make_lake(), CO)
    assert pipeline.run(config, spark).exit_code == 0
    rows, before = read_table(config), everything_below(tmp_path)

    summary = validation.validate(config, spark)

    assert (summary.exit_code, summary.data_files.uploaded) == (0, 4)
    assert everything_below(tmp_path) == before
    assert read_table(config).equals(rows)
    assert "electricity_total: 4 buildings" in "\n".join(validation.report(summary))


def test_validate_that_fails_leaves_nothing_behind_either(
    make_lake: MakeLake, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(make_lake(), CO)
    broken_session: Future[SparkSession] = Future()
    broken_session.set_exception(RuntimeError("no Java"))
    before = everything_below(tmp_path)

    summary = validation.validate(config, broken_session)

    assert summary.exit_code == 7
    assert everything_below(tmp_path) == before


def test_dry_run_names_what_is_added_replaced_and_left(
    make_lake: MakeLake, make_config: MakeConfig, spark: Future[SparkSession], tmp_path: Path
) -> None:
    lake = make_lake()
    config = make_config(lake, CO)
    partition = "release=2022_resstock_amy2018_release_1/state=CO/upgrade=0"
    before = everything_below(tmp_path)

    first = list(validation.explain_dry_run(config, Redo()))
    assert everything_below(tmp_path) == before
    pipeline.run(config, spark)
    left = list(validation.explain_dry_run(config, Redo()))
    forced = list(validation.explain_dry_run(config, Redo(force=True)))

    assert first[0].startswith(f"add        {partition}: 4 files, ")
    assert left[0].startswith(f"unchanged  {partition}: as run ")
    assert left[-1] == "0 files would be read; nothing was changed"
    assert forced[0].startswith(f"replace    {partition}: 4 files, ")
    assert forced[0].endswith(" in the place of 35,040 hours")


def test_a_dry_run_of_the_command_starts_no_spark(make_lake: MakeLake, tmp_path: Path) -> None:
    path = write_config(tmp_path, make_lake(), "null")

    done = CliRunner().invoke(app, ["run", "--dry-run", "--config", str(path)])

    assert done.exit_code == 0
    assert "4 files would be read; nothing was changed" in done.stdout
    assert not (tmp_path / "logs").exists()


def write_config(tmp_path: Path, lake: Path, rules: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"src_bucket: {lake}/\noutput_dir: {tmp_path}/out\n"
        "job_specific: [{release_year: '2022', release_name: resstock_amy2018_release_1,"
        " state: CO, upgrades: '0'}]\n"
        f"settings: {{log_dir: {tmp_path}/logs, quality_rules: {rules}}}\n",
        "utf-8",
    )
    return path


def test_a_config_takes_its_rules_from_a_file(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: {energy_is_no_power: {severity: warn, threshold: 0.03}}", "utf-8")

    config: RunConfig = load_config(write_config(tmp_path, tmp_path, str(rules)))

    told = config.settings.rule_book.as_json()["energy_is_no_power"]
    assert told == {"severity": "warn", "threshold": 0.03}


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ("nowhere.yaml", "nowhere.yaml"),
        ("{energy_is_no_powr: {severity: off}}", "did you mean energy_is_no_power?"),
        ("{energy_is_no_power: off}", "write severity, threshold, or both below it"),
        ("{energy_is_no_power: {severity: no}}", "none of block, warn, off"),
        ("7", "is no mapping from rules"),
    ],
)
def test_a_config_with_faulty_rules_is_refused(tmp_path: Path, rules: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(tmp_path, tmp_path, rules))

    assert fault in str(caught.value)
    assert "settings.quality_rules" in str(caught.value)
