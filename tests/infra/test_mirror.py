"""How these tests find the provider, and that no call of terraform can hang."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.infra import terraform
from tests.infra.terraform import VERSION, Terraform, find_mirror, prepare


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a mirror, whose searched place is a folder of this test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "shared"))
    monkeypatch.setattr(terraform, "_SEARCHED", (str(tmp_path / "searched"),))
    find_mirror.cache_clear()
    monkeypatch.setattr(terraform, "find_mirror", find_mirror.__wrapped__)
    return tmp_path


def add_mirror(folder: Path, version: str = VERSION) -> Path:
    """An unpacked mirror that holds nothing but the folder's name."""
    (folder / "providers.example" / "hashicorp" / "aws" / version).mkdir(parents=True)
    return folder


def test_find_mirror_without_one_finds_none(machine: Path) -> None:
    assert terraform.find_mirror() is None


def test_find_mirror_finds_what_the_cli_configuration_names(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = add_mirror(machine / "named")
    text = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
    (machine / "cli.tfrc").write_text(text, "utf-8")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(machine / "cli.tfrc"))
    assert terraform.find_mirror() == mirror


def test_find_mirror_passes_over_a_cli_configuration_that_is_not_there(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(machine / "gone.tfrc"))
    mirror = add_mirror(machine / "shared" / "terraform" / "plugins")
    assert terraform.find_mirror() == mirror


def test_find_mirror_searches_three_levels_and_no_deeper(machine: Path) -> None:
    add_mirror(machine / "searched" / "a" / "b" / "c" / "d")
    assert terraform.find_mirror() is None
    mirror = add_mirror(machine / "searched" / "a" / "b" / "x")
    assert terraform.find_mirror() == mirror


def test_find_mirror_passes_over_another_version(machine: Path) -> None:
    add_mirror(machine / "searched" / "old", "5.99.0")
    assert terraform.find_mirror() is None


def test_prepare_without_a_mirror_keeps_what_it_fetches(machine: Path) -> None:
    found = prepare("terraform", machine)
    assert found.environment["TF_PLUGIN_CACHE_DIR"] == str(machine / "providers")
    assert (machine / "terraform.rc").read_text("utf-8") == ""


def test_prepare_hands_on_no_credentials(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    monkeypatch.setenv("TF_VAR_account_id", "210987654321")
    found = prepare("terraform", machine).environment
    assert "AWS_PROFILE" not in found
    assert "TF_VAR_account_id" not in found


def test_run_that_hangs_is_ended(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    begun = time.monotonic()
    with pytest.raises(AssertionError, match=r"terraform 60 took longer than 0\.2 s"):
        Terraform(sleep, {}).run(tmp_path, "60", limit_s=0.2)
    assert time.monotonic() - begun < 10
