"""The deployment as text: formatted, valid, pinned, and each module's own tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.infra.terraform import ENVIRONMENTS, MODULES, Ended, Terraform

TERRAFORM = PROJECT / "infra" / "terraform"
ROOTS = [*(TERRAFORM / "modules" / name for name in MODULES)]
ROOTS += [TERRAFORM / "environments" / name for name in ENVIRONMENTS]
FILES = sorted(file for root in ROOTS for file in root.glob("*.tf"))


def test_every_file_is_formatted(terraform: Terraform) -> None:
    ended = terraform.run(TERRAFORM, "fmt", "-check", "-recursive", "-diff")
    assert ended.code == 0, ended.out


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_is_valid_with_all_its_modules(
    terraform: Terraform, checkout: Path, name: str
) -> None:
    root = checkout / "infra" / "terraform" / "environments" / name
    terraform.must(root, "init", "-backend=false", "-no-color")
    terraform.must(root, "validate", "-no-color")


@pytest.mark.parametrize("module", MODULES)
def test_module_passes_its_own_tests(
    native_tests: Mapping[str, Future[Ended]], module: str
) -> None:
    ended = native_tests[module].result(timeout=280)
    assert ended.code == 0, ended.out + ended.err
    passed = re.search(r"Success! ([0-9]+) passed, 0 failed\.", ended.out)
    assert passed, ended.out
    assert int(passed[1]) >= 5


def test_every_module_is_tested_and_described() -> None:
    assert {path.name for path in (TERRAFORM / "modules").iterdir()} == set(MODULES)
    for module in MODULES:
        root = TERRAFORM / "modules" / module
        for name in ("main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md"):
            assert (root / name).is_file(), f"{module}/{name}"


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_root_pins_terraform_and_its_provider(root: Path) -> None:
    text = (root / "versions.tf").read_text("utf-8")
    assert 'required_version = ">= 1.11"' in text
    assert re.findall(r'\bversion = "(.+)"', text) == ["5.100.0"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_variables_and_outputs_say_what_they_are(file: Path) -> None:
    text = file.read_text("utf-8")
    for kind, name, body in re.findall(
        r'^(variable|output) "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL
    ):
        assert re.search(r'^  description = ".+"', body, re.MULTILINE), name
        if kind == "variable":
            assert re.search(r"^  type +=", body, re.MULTILINE), name
            assert not re.search(r"\bany\b", re.sub(r'".*?"', "", body)), name


def test_nothing_of_one_machine_is_kept() -> None:
    ignored = (PROJECT / ".gitignore").read_text("utf-8").splitlines()
    for name in (".terraform/", ".terraform.lock.hcl", "*.tfstate", "*.tfvars", "backend.hcl"):
        assert name in ignored
    for environment in ENVIRONMENTS:
        root = TERRAFORM / "environments" / environment
        assert (root / "backend.hcl.example").is_file()
        assert (root / "terraform.tfvars.example").is_file()
