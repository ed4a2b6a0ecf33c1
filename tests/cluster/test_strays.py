"""When a job has ended, in whichever way, none of its attempts goes on writing."""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark.errors import SessionError
from oedi_spark.tasks import Work, _collect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOUCHED_AFTER_S = (0.5, 1.0, 1.5, 6.0)


def test_failed_job_returns_only_when_its_other_tasks_have_ended(
    spark: Future[SparkSession], tmp_path: Path
) -> None:
    session, folder = spark.result(), str(tmp_path)

    def task(number: int) -> int:
        if number == 0:
            deadline = time.monotonic() + 20
            while not Path(folder, "started").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise ValueError("a disk is full")
        Path(folder, "started").touch()
        started = time.monotonic()
        for after_s in TOUCHED_AFTER_S:
            time.sleep(started + after_s - time.monotonic())
            Path(folder, f"touched-{after_s}").touch()
        return number

    with pytest.raises(SessionError, match="a disk is full"):
        _collect(session, [0, 1], task, look)

    written = sorted(path.name for path in tmp_path.iterdir())
    time.sleep(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == written
    assert "touched-6.0" not in written


def look(work: Work[int]) -> None:
    wait([work], timeout=0.1)
