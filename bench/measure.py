"""Run a command in a fresh process and watch the memory of everything it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_S = 0.05
_SAMPLES_PER_TREE = 5
"""Finding the processes costs fifty times what reading their memory does."""

_LEAST_AVAILABLE_BYTES = 512 * 1024 * 1024
_END_WAIT_S = 10.0


class BenchError(Exception):
    """A candidate did not do its work, so there is nothing to compare."""


@dataclass(frozen=True)
class Command:
    """What to run. `log` takes everything it prints."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    time_limit_s: float


@dataclass(frozen=True)
class Usage:
    """What a command took: wall seconds, and the largest process of each sort."""

    seconds: float
    python_mib: float
    jvm_mib: float
    other_cores: float
    """Cores that other programs used meanwhile: near 0 on a quiet machine."""


@dataclass
class _Peaks:
    """The highest resident memory seen of any one process, and the last CPU time of each."""

    python: int = 0
    jvm: int = 0
    cpu_s: dict[int, float] = field(default_factory=dict)

    def sample(self, processes: Sequence[psutil.Process]) -> None:
        for process in processes:
            try:
                resident = process.memory_info().rss
                name = process.name()
                spent = process.cpu_times()
            except psutil.Error:
                continue
            self.cpu_s[process.pid] = spent.user + spent.system
            if name.startswith("python"):
                self.python = max(self.python, resident)
            elif name == "java":
                self.jvm = max(self.jvm, resident)


def run_measured(command: Command) -> Usage:
    """Run a command to its end, sampling the whole tree below it every 50 ms.

    Raises:
        BenchError: It failed, ran out of time, or left the machine no memory.
    """
    peaks = _Peaks()
    with command.log.open("wb") as log:
        started, busy_s = time.perf_counter(), _busy_s()
        child = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            why = _watch(child, peaks, started + command.time_limit_s)
            seconds = time.perf_counter() - started
            busy_s = _busy_s() - busy_s
        finally:
            end_tree(child)
    if why is None and child.returncode:
        why = f"ended with exit code {child.returncode}"
    if why is not None:
        last = command.log.read_text("utf-8", errors="replace").strip().splitlines()[-8:]
        raise BenchError("\n  ".join([why, *last]))
    others_s = max(0.0, busy_s - sum(peaks.cpu_s.values()))
    return Usage(seconds, peaks.python / 2**20, peaks.jvm / 2**20, others_s / seconds)


def _watch(child: subprocess.Popen[bytes], peaks: _Peaks, deadline: float) -> str | None:
    """Sample until the child ends; why it has to be ended, if it does not end by itself."""
    root = psutil.Process(child.pid)
    tree: list[psutil.Process] = [root]
    count = 0
    while True:
        try:
            child.wait(SAMPLE_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None
        if count % _SAMPLES_PER_TREE == 0:
            tree = _tree(root)
        count += 1
        peaks.sample(tree)
        if time.perf_counter() > deadline:
            return "ran out of time"
        if psutil.virtual_memory().available < _LEAST_AVAILABLE_BYTES:
            return "ran out of memory"


def _busy_s() -> float:
    """CPU seconds that all programs have used, and that a hypervisor has kept from this machine."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def end_tree(child: subprocess.Popen[bytes]) -> None:
    """End a child and whatever it started, should any of it still run."""
    if child.poll() is not None:
        return
    tree = _tree(psutil.Process(child.pid))
    for process in reversed(tree):
        try:
            process.kill()
        except psutil.Error:
            continue
    child.wait(_END_WAIT_S)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return [root]
