"""A Spark standalone cluster of processes: a master and workers of the pip-installed Spark.

Everything is on the loopback, on ports that the system gives out; logs, work and scratch are in
one folder. Every wait is bounded, and only processes that were started here are ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import pyspark

from oedi_spark.session import find_java_home, submit_environment
from tests.conftest import PROJECT

START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
JOB_LIMIT_S = 90.0
CORES_PER_WORKER = 2

_SPARK_HOME = Path(pyspark.__file__).parent
_QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"

_Found = TypeVar("_Found")


def wait_until(look: Callable[[], _Found | None], what: str, limit_s: float) -> _Found:
    """What `look` finds, asked again and again; AssertionError when the time is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {limit_s:g} s")


class StandaloneCluster:
    """A master and its workers; `url` is what spark-submit takes for --master."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.workers: list[psutil.Process] = []
        self.url = self._start_master()

    def _start_master(self) -> str:
        self._launch("master", "127.0.0.1", "org.apache.spark.deploy.master.Master")
        return self._said("master", r"Starting Spark master at (spark://\S+)")

    def fill_up(self, count: int) -> None:
        """Bring the workers to `count` living ones."""
        self.workers = [worker for worker in self.workers if worker.is_running()]
        names = []
        while len(self.workers) < count:
            name = f"worker-{len(self._started)}"
            host = f"127.0.0.{1 + len(self._started)}"  # no spare attempts on the same host
            place = ("--work-dir", str(self._folder / name))
            size = ("--cores", str(CORES_PER_WORKER), "--memory", "1g")
            main_class = "org.apache.spark.deploy.worker.Worker"
            process = self._launch(name, host, main_class, *place, *size, self.url)
            self.workers.append(psutil.Process(process.pid))
            names.append(name)
        for name in names:
            self._said(name, r"(Successfully registered with master)")

    def _launch(
        self, name: str, host: str, main_class: str, *arguments: str
    ) -> subprocess.Popen[bytes]:
        """Start a Spark process in an environment that knows nothing of this checkout."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(self._folder),
            "JAVA_HOME": find_java_home() or "",
            "SPARK_HOME": str(_SPARK_HOME),
            "SPARK_LOCAL_IP": host,
            "SPARK_LOCAL_DIRS": str(self._folder / "scratch"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": _QUICK_JAVA,
        }
        command = [str(_SPARK_HOME / "bin" / "spark-class"), main_class, "--host", host]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--port", "0", "--webui-port", "0", *arguments],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def application_count(self) -> int:
        """How many applications the master has been asked for."""
        return (self._folder / "master.log").read_text().count(": Registered app ")

    def _said(self, name: str, pattern: str) -> str:
        """What a process wrote into its log that shows it is ready."""
        log = self._folder / f"{name}.log"

        def look() -> str | None:
            match = re.search(pattern, log.read_text("utf-8", "replace"))
            return match[1] if match else None

        return wait_until(look, f"{name} started", START_LIMIT_S)

    def stop(self) -> None:
        """End what was started, with what each process has started itself."""
        for process in self._started:
            with suppress(psutil.NoSuchProcess):
                if process.poll() is None:
                    kill_tree(psutil.Process(process.pid))
            process.wait(STOP_LIMIT_S)


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL for a process and all below it, as when a machine is lost."""
    family = [process, *process.children(recursive=True)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGSTOP)  # or a daemon would start others meanwhile
    family += [each for each in process.children(recursive=True) if each not in family]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(family, STOP_LIMIT_S)


@contextmanager
def submitted(
    cluster: StandaloneCluster, config: Path, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The main job on a cluster, started as a user does; keywords are Spark's, `_` for a dot.

    It has to end well by itself, in time, and never outlives this.
    """
    command = [
        str(Path(sys.executable).with_name("spark-submit")),
        *("--master", cluster.url),
        *("--conf", "spark.executor.memory=512m"),
        *("--conf", f"spark.executor.extraJavaOptions={_QUICK_JAVA}"),
    ]
    for name, value in settings.items():
        command += ["--conf", f"spark.{name.replace('_', '.')}={value}"]
    log_path = config.with_suffix(".log")
    with log_path.open("wb") as log:
        job = subprocess.Popen(
            [*command, str(PROJECT / "spark_jobs" / "etl.py"), "--config", str(config)],
            env=os.environ | submit_environment() | {"PYTHONPATH": str(PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield job
        assert job.wait(JOB_LIMIT_S) == 0, log_path.read_text("utf-8", "replace")[-3000:]
    finally:
        if job.poll() is None:
            kill_tree(psutil.Process(job.pid))
        job.wait(STOP_LIMIT_S)


def stop_a_writing_task(
    cluster: StandaloneCluster, folder: Path
) -> tuple[psutil.Process, psutil.Process]:
    """Halt a task that has a file open below `folder`; returns (its worker, its Python).

    It is looked at again once it is halted, so it is in the middle of its work for certain.
    """

    def look() -> tuple[psutil.Process, psutil.Process] | None:
        for worker in cluster.workers:
            for process in worker.children(recursive=True):
                with suppress(psutil.Error):
                    if "python" in process.name() and _writes(process, folder):
                        process.suspend()
                        if _writes(process, folder):
                            return worker, process
                        process.resume()
        return None

    return wait_until(look, "a task that writes", JOB_LIMIT_S)


def _writes(process: psutil.Process, folder: Path) -> bool:
    return any(Path(file.path).is_relative_to(folder) for file in process.open_files())
