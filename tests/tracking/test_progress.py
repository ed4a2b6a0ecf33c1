"""The file that shows a run's progress: there while it lasts, and not for ever after a kill."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

from rich.console import Console

from oedi_spark.tracking.progress import Progress, beat_file

DAY_S = 86_400


def put(folder: Path, name: str, age_days: float) -> Path:
    path = folder / name
    path.write_bytes(b"..")
    os.utime(path, (time.time() - age_days * DAY_S,) * 2)
    return path


def test_beat_file_is_gone_afterwards_and_takes_those_of_killed_runs_along_when_they_are_old(
    tmp_path: Path,
) -> None:
    old, young = put(tmp_path, ".progress-old", 2.1), put(tmp_path, ".progress-young", 1.9)
    summary = put(tmp_path, "summary.json", 400)

    with beat_file("local[2]", tmp_path) as name:
        assert name is not None
        assert set(tmp_path.iterdir()) == {young, summary, Path(name)}

    assert not old.exists()
    assert set(tmp_path.iterdir()) == {young, summary}


def test_beat_file_is_none_on_a_cluster_and_leaves_the_folder_alone(tmp_path: Path) -> None:
    old = put(tmp_path, ".progress-old", 9)

    with beat_file("yarn", tmp_path) as name:
        assert name is None

    assert old.exists()


def test_run_whose_beat_file_another_took_for_old_goes_on(tmp_path: Path) -> None:
    with beat_file("local[2]", tmp_path) as name:
        assert name is not None
        Path(name).unlink()
        Progress(4, beats=name, console=Console(file=io.StringIO())).advance(1)

    assert list(tmp_path.iterdir()) == []
