"""Runs that are killed at every stage border and at random moments, each followed by another.

After the kill every table is whole: the old one or the new one. After the next run all of them
are those of a run that nobody disturbed, and nothing lies in storage that no snapshot names.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Queue

import pytest

from tests.faults.campaign import (
    AGAIN_POINTS,
    BORDERS,
    COMMIT_POINTS,
    ENDING_POINTS,
    WRITE_POINTS,
    Point,
)
from tests.faults.scenes import KILLED, Scene, write_lakes
from tests.test_killed import SUBMIT_LIMIT_S, kill, submit

SEED = 20_18
RANDOM_KILLS = 16
SPARK_KILLS = 3
SCENES = 2


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """As many as are played at once."""
    root = tmp_path_factory.mktemp("scenes")
    lakes = write_lakes(root / "lakes")
    made = [Scene(root / str(at), lakes) for at in range(SCENES)]
    yield made
    for scene in made:
        scene.forge.close()


def play_all(scenes: list[Scene], plays: Sequence[tuple[str, Callable[[Scene], None]]]) -> None:
    """Every play on whichever scene is free; all of them, and then what went wrong in which."""
    free: Queue[Scene] = Queue()
    for scene in scenes:
        free.put(scene)

    def work(play: Callable[[Scene], None]) -> str:
        scene = free.get()
        try:
            play(scene)
        except Exception as error:  # noqa: BLE001 - told with the name of the play
            return f"{type(error).__name__}: {error}"
        finally:
            free.put(scene)
        return ""

    with ThreadPoolExecutor(len(scenes)) as pool:
        told = list(pool.map(work, [play for _, play in plays]))
    faults = [f"{name}: {said}" for (name, _), said in zip(plays, told, strict=True) if said]
    assert faults == []


def both_modes(points: Sequence[Point]) -> list[tuple[Point, str]]:
    """Each point in one mode, turn and turn about; where it has only one, in that."""
    modes = ("first", "replace")
    return [
        (point, modes[at % 2] if modes[at % 2] in point.modes else point.modes[0])
        for at, point in enumerate(points)
    ]


@pytest.mark.parametrize(
    "points", [BORDERS, COMMIT_POINTS, WRITE_POINTS, ENDING_POINTS],
    ids=["borders", "commits", "writes", "endings"],
)  # fmt: skip
def test_run_killed_at_a_point_leaves_whole_tables_and_the_next_run_finishes(
    scenes: list[Scene], points: tuple[Point, ...]
) -> None:
    plays = [
        (f"{point.name} ({mode})", partial(Scene.play, point=point.name, mode=mode))
        for point, mode in both_modes(points)
    ]
    play_all(scenes, plays)


def test_run_that_takes_up_what_a_killed_one_left_may_be_killed_too(scenes: list[Scene]) -> None:
    plays = [
        (f"{point.name} ({mode})", partial(Scene.play_twice, point=point.name, mode=mode))
        for point, mode in both_modes(AGAIN_POINTS)
    ]
    play_all(scenes, plays)


def test_run_killed_at_random_moments_leaves_whole_tables_and_the_next_run_finishes(
    scenes: list[Scene],
) -> None:
    chance = random.Random(SEED)
    moments = [(at + chance.random()) / RANDOM_KILLS for at in range(RANDOM_KILLS)]
    plays = [
        (f"{share:.3f} ({mode})", partial(Scene.play_by_chance, share=share, mode=mode))
        for at, share in enumerate(moments)
        for mode in (("first", "replace")[at % 2],)
    ]
    play_all(scenes, plays)
    # The last few moments may come after the end of a run that was quicker than the first.
    assert sum(scene.chance_kills for scene in scenes) >= RANDOM_KILLS * 3 // 4


def test_spark_submit_killed_at_random_moments_leaves_whole_tables_and_the_next_run_finishes(
    scenes: list[Scene],
) -> None:
    """The real job with its JVM and its Python workers, when it has written so many files."""
    chance, scene = random.Random(SEED), scenes[0]
    for at in range(SPARK_KILLS):
        mode = ("replace", "first")[at % 2]
        scene.reset(mode)
        known, wanted = set(scene.out.rglob("*")), chance.randrange(1, 20)
        process, seen = submit(scene.configs["new"]), set[Path]()
        deadline = time.monotonic() + SUBMIT_LIMIT_S
        while len(seen) < wanted and process.poll() is None and time.monotonic() < deadline:
            seen |= {path for path in scene.out.rglob("*") if path.is_file()} - known
            time.sleep(0.002)
        kill(process)
        assert process.returncode == KILLED, f"it ended before it had written {wanted} files"

        scene.require_state(mode, None)
        assert scene.forge.run(scene.configs["new"]) == 0
        scene.require_done()


def test_campaign_kills_at_least_fifty_runs() -> None:
    points = (*BORDERS, *COMMIT_POINTS, *WRITE_POINTS, *ENDING_POINTS, *AGAIN_POINTS)
    assert len({point.name for point in points}) == len(points) - 1  # after-hourly comes twice
    assert len(points) + len(AGAIN_POINTS) + RANDOM_KILLS + SPARK_KILLS >= 50  # 94 by now
