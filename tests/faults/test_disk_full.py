"""A disk that is full, or that takes no file of that size, at any moment of a run.

The disk is a small file system in memory, where this process may mount one; the limit of a file's
size works everywhere, and fails in the middle of a staged file.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oedi_spark.config import load_config
from tests.faults.campaign import NONE
from tests.faults.scenes import Scene, write_lakes
from tests.test_killed import SUBMIT_LIMIT_S, submit

SHARES = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97)
"""Of the bytes that a run adds."""

ROOMY_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An output folder, and two versions of a lake to load into it."""
    root = tmp_path_factory.mktemp("scene")
    scene = Scene(root / "0", write_lakes(root / "lakes"))
    yield scene
    scene.forge.close()


@pytest.fixture
def small_disk(scene: Scene) -> Iterator[Path]:
    """The output folder on a file system of its own; put back afterwards."""
    scene.reset("first")
    scene.out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(scene.out)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        scene.out.rmdir()
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.decode().strip()}")
    yield scene.out
    subprocess.run(["umount", "--lazy", str(scene.out)], check=True)


def resize(disk: Path, size_bytes: int) -> None:
    options = f"remount,size={size_bytes}"
    subprocess.run(["mount", "-o", options, str(disk)], check=True)


def used_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def summary(scene: Scene) -> dict[str, object]:
    folder = Path(load_config(scene.configs["new"]).settings.log_dir)
    told: dict[str, object] = json.loads((folder / "summary.json").read_text())["run"]
    return told


def clear(disk: Path) -> None:
    for path in sorted(disk.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def fill(scene: Scene, disk: Path, mode: str) -> int:
    """Bring the disk to where a run begins; returns the bytes on it."""
    resize(disk, ROOMY_BYTES)
    clear(disk)
    if mode == "replace":
        assert scene.forge.run(scene.configs["old"]) == 0
    return used_bytes(disk)


@pytest.mark.parametrize("mode", ["first", "replace"])
def test_full_disk_leaves_whole_tables_and_with_room_the_next_run_finishes(
    scene: Scene, small_disk: Path, mode: str
) -> None:
    began = fill(scene, small_disk, mode)
    assert scene.forge.run(scene.configs["new"]) == 0
    needed = used_bytes(small_disk) - began
    failed = 0
    for share in SHARES:
        began = fill(scene, small_disk, mode)
        resize(small_disk, began + int(needed * share))

        exit_code = scene.forge.run(scene.configs["new"])

        if exit_code != 0:
            failed += 1
            assert exit_code == 5, share
            said = str(summary(scene)["error"])
            assert "oedi." in said or "the catalog did not open" in said
            scene.require_state(mode, None)
        resize(small_disk, ROOMY_BYTES)
        assert scene.forge.run(scene.configs["new"]) == 0
        scene.require_done()
    assert failed >= len(SHARES) - 2


@pytest.mark.parametrize("mode", ["first", "replace"])
def test_file_that_grows_too_large_leaves_whole_tables_and_the_next_run_finishes(
    scene: Scene, mode: str
) -> None:
    scene.reset(mode)

    exit_code = scene.forge.run(scene.configs["new"], max_file_bytes=150_000)

    assert exit_code == 5
    assert "File too large" in str(summary(scene)["error"])
    scene.require_state(mode, NONE)
    assert scene.forge.run(scene.configs["new"]) == 0
    scene.require_done()


def test_full_disk_under_spark_leaves_whole_tables_and_with_room_the_next_run_finishes(
    scene: Scene, small_disk: Path
) -> None:
    began = fill(scene, small_disk, "replace")
    resize(small_disk, began + 700_000)

    # A task that cannot write is Spark's to tell (README, exit codes).
    assert submit(scene.configs["new"]).wait(SUBMIT_LIMIT_S) == 7

    assert "No space left on device" in str(summary(scene)["error"])
    scene.require_state("replace", NONE)
    resize(small_disk, ROOMY_BYTES)
    assert scene.forge.run(scene.configs["new"]) == 0
    scene.require_done()
