"""The command line, in process: what it prints, where it writes, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from oedi_spark import cli
from tests.conftest import COMSTOCK, PROJECT


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["oedi-spark", *arguments])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    document = {
        "src_bucket": "./lake",
        "output_dir": "./out",
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0-1"}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_sample_then_plan_prints_partitions_missing_and_surplus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_path: Path
) -> None:
    sample = ["sample", "--out", "lake", "--buildings", "3", "--upgrade", "0", "--upgrade", "1"]
    release = ["--release", "2024/comstock_amy2018_release_1"]
    traps = ["--trap", "missing_file", "--trap", "stray_files"]
    assert run_cli(monkeypatch, *sample, *release, *traps) == 0
    capsys.readouterr()

    assert run_cli(monkeypatch, "plan", "--config", str(config_path)) == 0

    printed = capsys.readouterr().out
    partition = "release=2024_comstock_amy2018_release_1/state=CO/upgrade="
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    assert lines[f"{partition}0"][0] == "2"
    assert lines[f"{partition}1"][0] == "3"
    assert printed.count("missing  release=") == 1
    assert "not_a_building_file" in printed
    assert not (config_path.parent / "out").exists()
    assert not (config_path.parent / "logs").exists()


def test_a_faulty_config_ends_with_2_and_names_every_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_path: Path
) -> None:
    config_path.write_text(config_path.read_text() + "surprise: 1\nsettings: {engine: slow}\n")

    assert run_cli(monkeypatch, "plan", "--config", str(config_path)) == 2

    error = capsys.readouterr().err
    assert "2 fault(s)" in error
    assert "surprise" in error
    assert "settings.engine" in error


def test_an_empty_source_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_path: Path
) -> None:
    assert run_cli(monkeypatch, "plan", "--config", str(config_path)) == 3
    assert "No building files under" in capsys.readouterr().err


def test_look_without_a_table_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_path: Path
) -> None:
    assert run_cli(monkeypatch, "look", "--config", str(config_path)) == 0
    assert "There is no hourly table yet" in capsys.readouterr().out


def test_convert_prints_yaml_that_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = tmp_path / "config.json"
    old.write_text(
        """{"etl_config": { // the previous system
          "output_dir": "etl_output", "src_bucket": "oedi-data-lake",
          "data_partition_in_release": "timeseries_individual_buildings/by_state",
          "base_partition": "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock",
          "job_specific": [{"release_year": "2024", "release_name": "comstock_amy2018_release_1",
            "state": "AK", "upgrades": ["0", "1"], "relative_metadata_prefix_type": "1.0",
            "metadata_root_dir": "metadata_and_annual_results"}],
          "settings": {"listing_page_size": 100, "idle_timeout_in_minutes": 5}}}"""
    )

    assert run_cli(monkeypatch, "config", "convert", str(old)) == 0

    printed = capsys.readouterr()
    document = yaml.safe_load(printed.out)
    assert document["src_bucket"] == "oedi-data-lake"
    assert document["settings"]["listing_page_size"] == 100
    assert "idle_timeout_in_minutes" in printed.err
    (tmp_path / "new.yaml").write_text(printed.out)
    assert run_cli(monkeypatch, "config", "check", "--config", str(tmp_path / "new.yaml")) == 0


@pytest.mark.parametrize("name", ["local.yaml", "oedi-public.yaml", "glue.yaml"])
def test_every_config_in_conf_is_valid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert run_cli(monkeypatch, "config", "check", "--config", str(PROJECT / "conf" / name)) == 0


def test_an_unknown_trap_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "sample", "--out", "lake", "--trap", "quicksand") == 2
    assert "truncated_file" in capsys.readouterr().err
