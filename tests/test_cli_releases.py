"""`oedi-spark releases`: the registry and a bucket, as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from oedi_spark.cli_releases import releases_app
from oedi_spark.errors import ConfigError, SourceListingError
from tests.conftest import COMSTOCK

BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"

ANNUAL_ONLY = "2024/resstock_dataset_2024.1/resstock_tmy3"


def _lines(*arguments: str) -> list[str]:
    done = CliRunner().invoke(releases_app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return [" ".join(line.split()) for line in done.output.splitlines()]


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    document = {
        "src_bucket": "./lake",
        "output_dir": "./out",
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0"}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_releases_prints_the_registry() -> None:
    lines = _lines()

    assert lines[0] == "release weather hours stamp metadata pattern weight of upgrades"
    assert len(lines) == 1 + 23 + 1
    for line in (
        "2021/resstock_tmy3_release_1 tmy3 8,760 end national national_single building 0",
        "2022/resstock_amy2012_release_1.1 amy2012 8,784 end version 1 state_first building 10",
        "2024/comstock_amy2018_release_1 amy2018 8,760 end version 1 state_first building 30",
        f"{ANNUAL_ONLY} tmy3 none national national_machine building 260",
        "2025/comstock_amy2018_release_3 amy2018 8,760 end version 3 agg_state geographies 65",
        "2025/resstock_amy2018_release_1 amy2018 8,760 end version 2 state_full building 28",
        "23 releases; upgrades are counted without the baseline",
    ):
        assert line in lines


def test_show_prints_all_that_is_known_of_one_release() -> None:
    lines = _lines("show", "2024/comstock_amy2018_release_1")

    for line in (
        "interval_count 35040",
        "baseline_word baseline",
        "pads_upgrades True",
        "metadata_unit_suffix double_dot",
        "weight_model building",
        "uniform_weight not known or none",
        "patterns state_first, national_machine, national_state_first",
        "upgrade 0 Baseline",
        "upgrade 10 Air Side Economizers for AHUs",
    ):
        assert line in lines
    assert not any(line.startswith("upgrade 4 ") for line in lines)


def test_show_of_a_release_that_nobody_registered_says_where_to_look() -> None:
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(releases_app, ["show", "2031/x"], catch_exceptions=False)

    assert caught.value.faults[0] == "'2031/x' is not registered"


def test_discover_prints_what_the_registry_lacks(config_path: Path, tmp_path: Path) -> None:
    year = tmp_path / "lake" / BASE / "2026"
    for name in ("new_release/metadata/baseline.parquet", "[red]x\ny/a", "odd/metadata/x.txt"):
        (year / name).parent.mkdir(parents=True)
        (year / name).touch()
    known = tmp_path / "lake" / BASE / "2024" / "comstock_amy2018_release_1"
    (known / "timeseries_individual_buildings").mkdir(parents=True)

    lines = _lines("discover", "--config", str(config_path))

    for line in (
        "release registry trees metadata patterns",
        "2024/comstock_amy2018_release_1 registered timeseries_individual_buildings as registered",
        "2026/new_release lacks it metadata national_machine",
        "2026/odd lacks it metadata none known",
        "2025/resstock_amy2018_release_1 not in the bucket",
        r"no release 2026/[red]x\ny",
    ):
        assert line in lines
    assert lines[-1] == (
        f"3 releases under {tmp_path / 'lake'}/{BASE}: 1 registered, 2 that the registry lacks; "
        "22 registered ones are not there"
    )
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "logs").exists()


def test_discover_says_what_it_cannot_list(config_path: Path, tmp_path: Path) -> None:
    base = tmp_path / "lake" / BASE
    base.parent.mkdir(parents=True)
    base.touch()

    with pytest.raises(SourceListingError, match="Cannot list"):
        _lines("discover", "--config", str(config_path))
