"""A catalog that is gone, or that answers nothing one can rely on, in the middle of the commits.

Each run is a whole one; the catalog fails at the commit of one table. What was committed before
stays, nothing comes twice, the error says what is known, and the next run makes all of it right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitStateUnknownException
from sqlalchemy.exc import OperationalError

from oedi_spark import pipeline
from oedi_spark.config import load_config
from oedi_spark.tracking.summary import RunSummary
from tests.faults.campaign import COMMITS, NONE, stand_in_spark
from tests.faults.scenes import Scene, write_lakes

Commit = Callable[..., Any]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An output folder, and two versions of a lake to load into it."""
    root = tmp_path_factory.mktemp("scene")
    scene = Scene(root / "0", write_lakes(root / "lakes"))
    yield scene
    scene.forge.close()


def run(scene: Scene) -> RunSummary:
    return pipeline.run(load_config(scene.configs["new"]), stand_in_spark())


def at_commit_of(
    table: str, monkeypatch: pytest.MonkeyPatch, work: Callable[[Commit], Any]
) -> None:
    """Let `work(commit)` stand in for commits of a snapshot of one table."""
    real = SqlCatalog.commit_table

    def commit(self: SqlCatalog, asked: Any, requirements: Any, updates: Any) -> Any:  # noqa: ANN401 - PyIceberg's own types
        if asked.name()[-1] == table and any("snapshot" in each.action for each in updates):
            return work(lambda: real(self, asked, requirements, updates))
        return real(self, asked, requirements, updates)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)


def fail(_commit: Commit) -> None:
    raise OperationalError("UPDATE iceberg_tables", {}, Exception("server is gone"))


def commit_and_lose_the_answer(commit: Commit) -> None:
    commit()
    raise CommitStateUnknownException("504 Gateway Timeout")


def lose_the_question(_commit: Commit) -> None:
    raise CommitStateUnknownException("504 Gateway Timeout")


@pytest.mark.parametrize(
    ("work", "is_committed", "said"),
    [
        (fail, False, "server is gone"),
        (commit_and_lose_the_answer, True, "504 Gateway Timeout"),
        (lose_the_question, False, "504 Gateway Timeout"),
    ],
)
@pytest.mark.parametrize(
    ("table", "mode"), list(zip(COMMITS, ("first", "replace") * 3, strict=False))
)
def test_commit_that_fails_keeps_what_was_there_and_the_next_run_finishes(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    mode: str,
    work: Callable[[Commit], Any],
    is_committed: bool,
    said: str,
) -> None:
    scene.reset(mode)
    with monkeypatch.context() as patched:
        at_commit_of(table, patched, work)
        summary = run(scene)

    assert summary.exit_code == 5
    assert summary.error is not None
    assert f"oedi.{table}" in summary.error
    assert said in summary.error
    scene.require_state(mode, COMMITS.index(table) + is_committed)
    told = json.loads(
        (Path(load_config(scene.configs["new"]).settings.log_dir) / "summary.json").read_text()
    )
    assert told["run"]["exit_code"] == 5

    assert run(scene).exit_code == 0
    scene.require_done()


def test_catalog_that_cannot_be_opened_is_told_and_nothing_is_touched(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("server is gone"))

    scene.reset("replace")
    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "namespace_exists", refuse)
        patched.setattr(SqlCatalog, "table_exists", refuse)
        patched.setattr(SqlCatalog, "load_table", refuse)
        summary = run(scene)

    assert summary.exit_code == 5
    assert summary.error is not None
    assert "server is gone" in summary.error
    scene.require_state("replace", NONE)
    assert run(scene).exit_code == 0
    scene.require_done()
