"""Who is replacing which partitions: the living are respected, the dead are found."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Thread

import pytest

from oedi_spark.contracts import Partition
from oedi_spark.errors import PartitionBusyError, PublishError
from oedi_spark.lake import lease as lease_module
from oedi_spark.lake.lease import LeaseBook

R = "2024_comstock_amy2018_release_1"
AK, CO, TX = (Partition(R, state, 0) for state in ("AK", "CO", "TX"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the leases lie; not there yet."""
    return tmp_path / "eulp" / "_leases"


def _book(folder: Path) -> LeaseBook:
    return LeaseBook(f"file://{folder.parent}")


def _leave(folder: Path, run_id: str, /, **changes: object) -> Path:
    """A lease on CO as another process left it: of this process, unless told otherwise."""
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rsplit(")", 1)[1].split()[19]
    document: dict[str, object] = {
        "run_id": run_id,
        "machine": _machine(),
        "process": f"{os.getpid()}:{started}",
        "renewed_at_s": time.time(),
        "partitions": [[R, "CO", 0]],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run_id}.json"
    path.write_text(json.dumps(document | changes))
    return path


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115


def _dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    return ended.pid


def test_acquire_leaves_a_lease_and_release_takes_it_away(folder: Path) -> None:
    book = _book(folder)

    assert book.acquire("run-1", [CO, AK]) == ()

    document = json.loads((folder / "run-1.json").read_text())
    assert document["partitions"] == [[R, "AK", 0], [R, "CO", 0]]
    assert document["machine"] == _machine()
    assert document["process"].startswith(f"{os.getpid()}:")
    book.release("run-1")
    book.release("run-1")
    assert list(folder.iterdir()) == []


def test_acquire_is_refused_while_a_living_run_has_one_of_them(folder: Path) -> None:
    _leave(folder, "run-1")

    with pytest.raises(PartitionBusyError) as caught:
        _book(folder).acquire("run-2", [TX, CO])

    assert caught.value.partition == f"release={R}/state=CO/upgrade=0"
    assert (caught.value.run_id, caught.value.exit_code) == ("run-1", 5)
    assert caught.value.lease == f"file://{folder}/run-1.json"
    assert [path.name for path in folder.iterdir()] == ["run-1.json"]


def test_acquire_of_other_partitions_goes_beside_a_living_run(folder: Path) -> None:
    _leave(folder, "run-1")

    assert _book(folder).acquire("run-2", [AK, TX]) == ()

    assert sorted(path.name for path in folder.iterdir()) == ["run-1.json", "run-2.json"]


def test_acquire_finds_a_run_whose_process_is_gone(folder: Path) -> None:
    _leave(folder, "run-1", process=f"{_dead_pid()}:12345")

    (dead,) = _book(folder).acquire("run-2", [CO])

    assert (dead.run_id, dead.partitions) == ("run-1", frozenset({CO}))
    assert (folder / "run-1.json").exists()


def test_acquire_is_not_deceived_by_a_process_number_given_out_again(folder: Path) -> None:
    _leave(folder, "run-1", process=f"{os.getpid()}:1")

    (dead,) = _book(folder).acquire("run-2", [CO])

    assert dead.run_id == "run-1"


def test_acquire_takes_a_zombie_for_dead(folder: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    stat = Path(f"/proc/{ended.pid}/stat")
    until = time.monotonic() + 30
    while stat.read_text().rsplit(")", 1)[1].split()[0] != "Z" and time.monotonic() < until:
        time.sleep(0.01)
    started = stat.read_text().rsplit(")", 1)[1].split()[19]
    _leave(folder, "run-1", process=f"{ended.pid}:{started}")

    dead = _book(folder).acquire("run-2", [CO])
    ended.wait(30)

    assert [lease.run_id for lease in dead] == ["run-1"]


@pytest.mark.parametrize(("age_s", "is_dead"), [(0, False), (600, False), (1_000, True)])
def test_acquire_judges_a_run_elsewhere_by_the_age_of_its_lease(
    folder: Path, age_s: float, is_dead: bool
) -> None:
    _leave(folder, "run-1", machine="elsewhere", process="1:1", renewed_at_s=time.time() - age_s)

    if is_dead:
        assert [lease.run_id for lease in _book(folder).acquire("run-2", [CO])] == ["run-1"]
    else:
        with pytest.raises(PartitionBusyError):
            _book(folder).acquire("run-2", [CO])


@pytest.mark.parametrize("text", ["", '{"run_id": "run-1", "ho', "[]", "null", '{"run_id": 1}'])
def test_acquire_takes_half_a_lease_for_a_living_run_until_it_is_old(
    folder: Path, text: str
) -> None:
    path = _leave(folder, "run-1")
    path.write_text(text)
    book = _book(folder)

    assert book.acquire("run-2", [CO]) == ()

    os.utime(path, (time.time() - 1_000, time.time() - 1_000))
    assert [lease.run_id for lease in book.acquire("run-2", [CO])] == ["run-1"]


def test_acquire_passes_over_files_that_are_no_lease(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("no lease")

    assert _book(folder).acquire("run-1", [CO]) == ()


def test_acquire_by_several_at_once_is_granted_to_one_at_most(folder: Path) -> None:
    barrier = Barrier(6)

    def claim(number: int) -> bool:
        book = _book(folder)
        barrier.wait(30)
        try:
            book.acquire(f"run-{number}", [CO])
        except PartitionBusyError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        granted = list(pool.map(claim, range(6)))

    assert sum(granted) <= 1
    assert len(list(folder.iterdir())) == sum(granted)


def test_kept_alive_renews_a_lease_while_the_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oedi_spark.lake.lease.RENEW_EVERY_S", 0.02)
    book = _book(folder)
    book.acquire("run-1", [CO])
    begun_s = json.loads((folder / "run-1.json").read_text())["renewed_at_s"]

    with book.kept_alive("run-1", [CO]):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            document = json.loads((folder / "run-1.json").read_text())
            if document["renewed_at_s"] > begun_s:
                break

    assert document["renewed_at_s"] > begun_s
    assert document["partitions"] == [[R, "CO", 0]]
    assert [path.name for path in folder.iterdir()] == ["run-1.json"]


def test_require_held_refuses_a_run_that_was_taken_for_dead(folder: Path) -> None:
    book = _book(folder)
    book.acquire("run-1", [CO])
    book.require_held("run-1")

    _book(folder).release("run-1")

    with pytest.raises(PublishError, match="its lease is gone"):
        book.require_held("run-1")


def test_acquire_takes_an_abandoned_lease_for_dead_though_its_process_lives(folder: Path) -> None:
    book = _book(folder)
    book.acquire("run-1", [CO])

    book.abandon("run-1", [CO])

    assert [lease.run_id for lease in book.acquire("run-2", [CO])] == ["run-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"process": "abc"},
        {"process": 5},
        {"process": "1" * 5000},
        {"run_id": "../../run"},
        {"partitions": [["../..", "CO", 0]]},
        {"partitions": [[R, "C/", 0]]},
        {"partitions": "CO"},
        {"machine": "elsewhere", "renewed_at_s": "soon"},
    ],
)
def test_acquire_takes_nothing_from_a_lease_that_no_run_would_have_written(
    folder: Path, changes: dict[str, object]
) -> None:
    path = _leave(folder, "run-1", **changes)
    os.utime(path, (time.time() - 1_000, time.time() - 1_000))

    (dead,) = _book(folder).acquire("run-2", [CO])

    assert (dead.run_id, dead.partitions) == ("run-1", frozenset())


def test_acquire_does_not_wait_for_a_clock_that_is_far_ahead(folder: Path) -> None:
    _leave(folder, "run-1", machine="elsewhere", process="1:1", renewed_at_s=1e300)

    assert [lease.run_id for lease in _book(folder).acquire("run-2", [CO])] == ["run-1"]


def test_a_run_that_was_taken_for_dead_may_publish_no_more_when_it_wakes_up(folder: Path) -> None:
    _leave(folder, "sleeper", machine="elsewhere", renewed_at_s=time.time() - 1200)
    book = _book(folder)
    book.require_held("sleeper")
    (dead,) = book.acquire("other", [CO])

    book.end(dead)

    with pytest.raises(PublishError, match="took this one for dead"):
        book.require_held("sleeper")
    (seen,) = book.others("other")
    assert (seen.partitions, seen.is_alive(time.time())) == (frozenset([CO]), False)


def test_renewal_under_way_does_not_bring_a_run_back_that_was_ended(folder: Path) -> None:
    """It has seen its lease, another ends and sweeps it, and then it writes the lease once more."""
    _leave(folder, "sleeper", machine="elsewhere", renewed_at_s=time.time() - 1200)
    sleeper, book = _book(folder), _book(folder)
    assert sleeper.is_held("sleeper")
    (dead,) = book.acquire("other", [CO])
    book.end(dead)
    book.release("sleeper")

    sleeper.renew("sleeper", [CO])

    with pytest.raises(PublishError, match="took this one for dead"):
        sleeper.require_held("sleeper")
    (seen,) = book.others("other")
    assert (seen.run_id, seen.is_alive(time.time())) == ("sleeper", False)
    assert [each.run_id for each in book.acquire("third", [AK])] == ["sleeper"]


@pytest.mark.parametrize(
    "changes", [{"process": f"{os.getpid()}:1"}, {"process": "0:ended", "machine": "elsewhere"}]
)
def test_run_that_cannot_wake_up_gets_no_mark(folder: Path, changes: dict[str, object]) -> None:
    """Its process is gone from this machine, or it has said itself that it failed."""
    _leave(folder, "run-1", **changes)
    book = _book(folder)

    (dead,) = book.acquire("run-2", [CO])
    book.end(dead)
    book.release("run-1")

    assert [path.name for path in folder.iterdir()] == ["run-2.json"]


@pytest.mark.parametrize(("age_days", "is_left"), [(6.9, True), (7.1, False)])
def test_acquire_removes_marks_that_are_old(folder: Path, age_days: float, is_left: bool) -> None:
    _leave(folder, "run-1", machine="elsewhere", renewed_at_s=0.0)
    book = _book(folder)
    (dead,) = book.acquire("run-2", [CO])
    book.end(dead)
    book.release("run-1")
    at_s = time.time() - age_days * 86_400
    os.utime(folder / "run-1.ended", (at_s, at_s))

    book.acquire("run-3", [AK])

    assert (folder / "run-1.ended").exists() == is_left


def test_abandon_is_not_undone_by_a_renewal_under_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_EVERY_S", 0.01)
    book, plain, abandoning = _book(folder), LeaseBook.is_held, list[Thread]()
    book.acquire("run-1", [CO])

    def abandon_meanwhile(of: LeaseBook, run_id: str) -> bool:
        found = plain(of, run_id)
        if not abandoning:
            abandoning.append(Thread(target=of.abandon, args=(run_id, [CO])))
            abandoning[0].start()
            abandoning[0].join(0.1)
        return found

    monkeypatch.setattr(LeaseBook, "is_held", abandon_meanwhile)
    with book.kept_alive("run-1", [CO]):
        until = time.monotonic() + 30
        while not abandoning and time.monotonic() < until:
            time.sleep(0.001)
    abandoning[0].join(30)

    assert json.loads((folder / "run-1.json").read_text())["process"] == "0:ended"


def refuse(monkeypatch: pytest.MonkeyPatch, error: OSError, *, is_gone: bool = False) -> None:
    """Let every lease be listed and not be read; or be gone by the time that it is asked for."""

    def fail(uri: str, *_: object) -> bytes:
        if is_gone:
            Path(uri.removeprefix("file://")).unlink()
        raise error

    monkeypatch.setattr(lease_module, "read_whole", fail)


@pytest.mark.parametrize("age_s", [0, 10_000])
def test_lease_that_cannot_be_read_is_no_dead_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, age_s: float
) -> None:
    """Nobody knows what it claims, so nobody may claim anything."""
    path = _leave(folder, "run-1")
    os.utime(path, (time.time() - age_s,) * 2)
    refuse(monkeypatch, OSError("503 Slow Down"))
    book = _book(folder)

    with pytest.raises(OSError, match="503 Slow Down"):
        book.acquire("run-2", [CO])
    with pytest.raises(OSError, match="503 Slow Down"):
        book.require_held("run-1")


def test_lease_that_is_released_while_it_is_read_is_none_even_if_that_is_forbidden(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 says so of what is gone, to whom may list only below a prefix."""
    _leave(folder, "run-1")
    refuse(monkeypatch, PermissionError("403 Forbidden"), is_gone=True)

    assert _book(folder).acquire("run-2", [CO]) == ()
