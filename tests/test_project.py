"""The project's own promises: one vocabulary, small modules, pins without a host."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oedi_spark
from oedi_spark import errors
from oedi_spark.tracking.tracker import STAGES
from tests.conftest import PROJECT

FLOW = "config → indexer → reader → rollup → quality → writer → tracker"
MODULES = sorted((PROJECT / "oedi_spark").rglob("*.py"))


def test_the_stages_are_the_same_seven_words_everywhere() -> None:
    assert " → ".join(STAGES) == FLOW
    assert FLOW in (oedi_spark.__doc__ or "")
    assert FLOW in (PROJECT / "README.md").read_text("utf-8")
    pipeline = (PROJECT / "oedi_spark" / "pipeline.py").read_text("utf-8")
    assert FLOW in pipeline
    assert re.findall(r'"(\w+)"', " ".join(re.findall(r"tracker\.stage\((.+?)\)", pipeline))) == [
        "tracker",
        *STAGES[:-1],
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_stays_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))
    assert path.stem not in {"utils", "common", "helpers"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_function_stays_small(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    long = {
        node.name: lines
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        if (lines := _body_lines(node)) > 40
    }
    assert long == {}


def _body_lines(node: ast.FunctionDef) -> int:
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


def test_no_stage_imports_another() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "oedi_spark"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def test_importing_the_package_starts_nothing() -> None:
    program = (
        "import sys, threading, oedi_spark.pipeline, oedi_spark.cli, oedi_spark.transform.batch;"
        "from pyspark import SparkContext;"
        "assert SparkContext._active_spark_context is None;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("name", ["build", "run", "dev"])
def test_requirements_are_hashed_and_name_no_index_and_no_host(name: str) -> None:
    text = (PROJECT / "requirements" / f"{name}.txt").read_text("utf-8")
    pins = re.findall(r"^[a-z0-9._\[\]-]+==\S+", text, re.MULTILINE)
    assert len(pins) >= 2
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.search(r"https?:|--index|--extra-index|--find-links|--trusted-host|file:", text)


def test_exit_codes_are_distinct_and_documented() -> None:
    classes: list[type[errors.OediSparkError]] = [
        errors.ConfigError,
        errors.SourceError,
        errors.QualityGateError,
        errors.PublishError,
        errors.SessionError,
        errors.DeploymentError,
    ]
    codes = [errors.EXIT_COMPLETE, *(c.exit_code for c in classes), errors.EXIT_DISCREPANCIES]
    assert codes == [0, 2, 3, 4, 5, 7, 8, 6]
    readme = (PROJECT / "README.md").read_text("utf-8")
    for code in codes:
        assert re.search(rf"^\| {code} \|", readme, re.MULTILINE)
