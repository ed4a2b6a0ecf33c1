"""`oedi-spark columns` over a small dictionary that the lake's own functions wrote."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from oedi_spark.cli_columns import columns
from oedi_spark.config import load_config
from oedi_spark.contracts import Partition
from oedi_spark.errors import ConfigError, PublishError
from oedi_spark.lake.catalog import open_catalog, open_table
from oedi_spark.lake.schemas import columns_definition
from oedi_spark.lake.writer import replace_partitions, stage_rows
from oedi_spark.pipeline import catalog_location
from tests.conftest import COMSTOCK

RUN_ID = "20260101T000000-columns"
OLD, NEW = "2024_comstock_amy2018_release_1", "2025_comstock_amy2018_release_3"
ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
HOSTILE = "out.[red]evil[/red]\n.kwh"

# table, column, source name, unit, rule, type
Line = tuple[str, str, str, str, str, str]
BEFORE: tuple[Line, ...] = (
    ("hourly", ELECTRICITY, "out.electricity.total.energy_consumption", "kwh", "sum", "double"),
    ("hourly", "out_wood_total_kwh", "out.wood.total", "kwh", "sum", "double"),
    ("hourly", "out_site_energy_mbtu", "out.site_energy.mbtu", "mbtu", "sum", "double"),
    ("metadata", "in_sqft_ft2", "in.sqft", "ft2", "keep", "int64"),
)
AFTER: tuple[Line, ...] = (
    (
        "hourly", ELECTRICITY, "out.electricity.total.energy_consumption..kwh",
        "kwh", "sum", "double",
    ),
    ("hourly", "out_site_energy_kwh", "out.site_energy..kwh", "kwh", "sum", "double"),
    ("hourly", "out_evil_kwh", HOSTILE, "kwh", "sum", "double"),
    ("metadata", "in_sqft_ft2", "in.sqft..ft2", "ft2", "keep", "double"),
)  # fmt: skip


def write_config(folder: Path) -> Path:
    path = folder / "run.yaml"
    document = {
        "src_bucket": "./lake",
        "output_dir": str(folder / "out"),
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0"}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def rows_of(partition: Partition, lines: tuple[Line, ...]) -> pa.Table:
    names = ("table_name", "column_name", "source_name", "unit", "rule", "source_type")
    key = {"release": partition.release, "state": partition.state, "upgrade": partition.upgrade}
    counts = {"is_known": 1, "building_count": 8}
    return pa.Table.from_pylist(
        [key | counts | dict(zip(names, line, strict=True)) for line in lines]
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose lake has a dictionary of two releases: two states of one, one of the other."""
    path = write_config(tmp_path)
    place = catalog_location(load_config(path))
    table = open_table(open_catalog(place), place, columns_definition())
    cells = {
        Partition(OLD, "CO", 0): BEFORE,
        Partition(OLD, "WY", 0): BEFORE[:1],
        Partition(NEW, "CO", 0): AFTER,
    }
    staged = [
        stage_rows(table, partition, rows_of(partition, lines), run_id=RUN_ID)
        for partition, lines in cells.items()
    ]
    replace_partitions(table, list(cells), staged, run_id=RUN_ID)
    return path


def invoke(config: Path, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(columns)
    return CliRunner().invoke(app, ["--config", str(config), *arguments])


def printed(config: Path, *arguments: str) -> list[str]:
    """The lines of the output, blanks made one."""
    result = invoke(config, *arguments)
    assert result.exception is None
    assert result.exit_code == 0
    return [" ".join(line.split()) for line in result.output.splitlines()]


def faults(config: Path, *arguments: str) -> ConfigError:
    error = invoke(config, *arguments).exception
    assert isinstance(error, ConfigError)
    return error


@pytest.mark.parametrize("release", [OLD, "2024/comstock_amy2018_release_1"])
def test_columns_prints_every_column_of_a_release(config: Path, release: str) -> None:
    assert printed(config, "--release", release) == [
        "table column at the source unit rule type partitions",
        f"hourly {ELECTRICITY} out.electricity.total.energy_consumption kwh sum double 2",
        "hourly out_site_energy_mbtu out.site_energy.mbtu mbtu sum double 1",
        "hourly out_wood_total_kwh out.wood.total kwh sum double 1",
        "metadata in_sqft_ft2 in.sqft ft2 keep int64 1",
        "4 columns in 1 releases",
    ]


def test_columns_without_a_release_sums_up_all_of_them(config: Path) -> None:
    lines = printed(config, "--table", "metadata")

    assert lines == [
        "table column at the source unit rule type partitions",
        "metadata in_sqft_ft2 in.sqft, in.sqft..ft2 ft2 keep double, int64 2",
        "1 columns in 2 releases",
    ]


def test_columns_against_another_release_prints_the_drift(config: Path) -> None:
    lines = printed(config, "--release", OLD, "--against", "2025/comstock_amy2018_release_3")

    total = "out.electricity.total.energy_consumption"
    assert lines == [
        f"from {OLD} to {NEW}",
        "table what column before after",
        "hourly added out_evil_kwh",
        "hourly dropped out_wood_total_kwh",
        f"hourly renamed {ELECTRICITY} {total} {total}..kwh",
        "hourly unit out_site_energy mbtu kwh",
        "metadata renamed in_sqft_ft2 in.sqft in.sqft..ft2",
        "metadata retyped in_sqft_ft2 int64 double",
        "6 differences",
    ]


def test_columns_of_one_table_leaves_the_other_out_of_the_drift(config: Path) -> None:
    lines = printed(config, "--release", OLD, "--against", NEW, "--table", "metadata")

    assert [line.split()[0] for line in lines] == ["from", "table", "metadata", "metadata", "2"]


def test_columns_against_itself_has_no_difference(config: Path) -> None:
    assert printed(config, "--release", OLD, "--against", OLD) == [
        f"from {OLD} to {OLD}",
        "0 differences",
    ]


def test_columns_shows_a_hostile_name_as_it_is_spelt(config: Path) -> None:
    lines = printed(config, "--release", NEW)

    assert r"hourly out_evil_kwh out.[red]evil[/red]\n.kwh kwh sum double 1" in lines


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--release", ("--release", "2023/comstock_amy2018_release_1")),
        ("--against", ("--release", OLD, "--against", "2023_comstock_amy2018_release_1")),
    ],
)
def test_an_unknown_release_is_a_fault_that_lists_the_known(
    config: Path, option: str, arguments: tuple[str, ...]
) -> None:
    error = faults(config, *arguments)

    assert error.source == option
    assert error.faults == (
        "the dictionary has no release 2023_comstock_amy2018_release_1",
        f"it has: {OLD}, {NEW}",
    )


def test_against_without_a_release_is_a_fault(config: Path) -> None:
    error = faults(config, "--against", NEW)

    assert error.source == "--against"
    assert "--release" in str(error)


def test_another_table_is_a_misuse(config: Path) -> None:
    assert invoke(config, "--table", "weights").exit_code == 2


def test_columns_without_a_lake_says_so_and_writes_nothing(tmp_path: Path) -> None:
    error = invoke(write_config(tmp_path)).exception

    assert isinstance(error, PublishError)
    assert "there is no dictionary yet" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]
