"""Who is replacing which partitions right now.

Two runs that replace the same partition at once would each sweep or replace what the other is
staging. So a run leaves a lease, a small JSON file beside the tables, for as long as it lives;
another run that wants one of its partitions is refused, and one that finds the lease of a run
that has died takes note of what that run may have left lying about.

A run on this machine is alive while its process is; one elsewhere, or one that cannot be told,
while its lease was renewed within `LEASE_TTL_S`. A lease is data from outside: what it names
becomes a path only if it could have been written here.

Who ends the lease of a run that may wake up leaves a mark beside it, `{run}.ended`. A renewal that
is under way may write the lease once more, but never takes the mark away.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread

import pyarrow.fs as pafs

from oedi_spark.contracts import Partition
from oedi_spark.errors import PartitionBusyError, PublishError
from oedi_spark.lake.files import (
    AMBIENT,
    S3Access,
    delete_uris,
    open_uri,
    read_whole,
    write_whole,
)
from oedi_spark.log import get_logger

LEASE_TTL_S = 900.0
RENEW_EVERY_S = 60.0
MARK_TTL_S = 7 * 86400.0
"""Longer than a renewal can be under way, even on a laptop that sleeps over a weekend."""

_ENDED = "0:ended"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,60}")
_PROCESS = re.compile(r"(?P<pid>[0-9]{1,10}):(?P<started>[0-9a-z]{1,20})")
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._=-]{1,200}")

_log = get_logger(__name__)


@dataclass(frozen=True)
class Lease:
    """One run's claim. `machine` is empty where the run cannot be told to be alive or not."""

    run_id: str
    machine: str
    process: str
    partitions: frozenset[Partition]
    uri: str
    renewed_at_s: float

    def is_alive(self, now_s: float) -> bool:
        """Whether the run that left it still goes on."""
        if self.process == _ENDED:
            return False
        if self.machine and self.machine == _this_machine():
            return self.process == _process_identity(int(self.process.split(":")[0]))
        return abs(now_s - self.renewed_at_s) < LEASE_TTL_S

    @property
    def may_wake_up(self) -> bool:
        """Whether the run, once it counts as dead, may only be out of reach or asleep."""
        is_here = bool(self.machine) and self.machine == _this_machine()
        return self.process != _ENDED and not is_here


class LeaseBook:
    """The leases beside one database's tables."""

    def __init__(self, database_uri: str, access: S3Access = AMBIENT) -> None:
        self._uri = f"{database_uri}/_leases"
        self._access = access
        self._filesystem, self._folder = open_uri(self._uri, access)
        self._renewing = Lock()

    def acquire(self, run_id: str, partitions: Collection[Partition]) -> tuple[Lease, ...]:
        """Claim partitions for a run; returns the leases of dead runs, which still lie there.

        The claim is written first and then compared, so of two runs that claim at once at
        least one sees the other and gives way; it may be both.

        Raises:
            PartitionBusyError: A living run claims one of them.
            OSError: The folder does not answer, so nobody knows who is at what.
        """
        delete_uris(self.outdated(), self._access)
        self.renew(run_id, partitions)
        dead = []
        for other in self._others_or_release(run_id):
            if not other.is_alive(time.time()):
                dead.append(other)
                continue
            shared = other.partitions & set(partitions)
            if shared:
                self.release(run_id)
                raise PartitionBusyError("hourly", str(min(shared)), other.run_id, other.uri)
        return tuple(dead)

    def _others_or_release(self, run_id: str) -> tuple[Lease, ...]:
        """Every other lease; a run that cannot read them gives way at once."""
        try:
            return tuple(self.others(run_id))
        except OSError:
            with suppress(OSError):  # the fault that counts is the one that is under way
                self.release(run_id)
            raise

    def renew(self, run_id: str, partitions: Collection[Partition]) -> None:
        """Say that the run still lives and claims all these."""
        self._write(run_id, partitions, _process_identity(os.getpid()))

    @contextmanager
    def kept_alive(self, run_id: str, partitions: Collection[Partition]) -> Iterator[None]:
        """Renew a lease once a minute, in a thread, whatever the run is doing meanwhile.

        One that is gone is not made anew: who took this run for dead has swept what it staged.
        """
        ended = Event()

        def work() -> None:
            while not ended.wait(RENEW_EVERY_S):
                try:
                    with self._renewing:
                        if not self.is_held(run_id):
                            _log.warning("lease gone", run=run_id)
                            return
                        self.renew(run_id, partitions)
                except OSError as error:
                    _log.warning("lease not renewed", run=run_id, error=str(error))

        thread = Thread(target=work, name="renew-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def require_held(self, run_id: str, table: str = "hourly") -> None:
        """Raise `PublishError` if the lease is gone or ended: another took this run for dead.

        Whoever does that leaves a mark, or takes the lease away, before it removes anything.
        """
        if not self.is_held(run_id):
            raise PublishError(
                table, "its lease is gone, another run took this one for dead and swept it"
            )

    def abandon(self, run_id: str, partitions: Collection[Partition]) -> None:
        """Say that the run has failed; a task may still be writing, so the next run sweeps."""
        with self._renewing:  # a renewal that comes after sees it
            self._write(run_id, partitions, _ENDED)

    def end(self, dead: Lease) -> None:
        """Say that a run counts as dead; should it wake up, it can publish no more."""
        if dead.may_wake_up:
            write_whole(f"{self._uri}/{dead.run_id}.ended", b"ended\n", self._access)
        self.narrow(dead, dead.partitions)

    def narrow(self, dead: Lease, partitions: Collection[Partition]) -> None:
        """Say that a dead run left something in these partitions alone; as old as it was."""
        self._write(dead.run_id, partitions, _ENDED, renewed_at_s=dead.renewed_at_s)

    def release(self, run_id: str) -> None:
        """Take a lease away; nothing happens if it is gone. A mark stays until it is old."""
        delete_uris([self._lease_uri(run_id)], self._access)

    def _lease_uri(self, run_id: str) -> str:
        return f"{self._uri}/{run_id}.json"

    def outdated(self) -> tuple[str, ...]:
        """What runs left that died while they wrote, and marks that have served, by URI."""
        limits_s = {"unfinished": LEASE_TTL_S, "ended": MARK_TTL_S}  # a younger one is in use
        now_s = time.time()
        return tuple(
            f"{self._uri}/{info.base_name}"
            for info in self._listed()
            if info.extension in limits_s
            and info.mtime is not None
            and now_s - info.mtime.timestamp() > limits_s[info.extension]
        )

    def is_held(self, run_id: str) -> bool:
        """Whether the run has its lease, and nobody has ended it.

        The folder is listed: asked for a key that is not there, S3 may say "forbidden".
        """
        found = {info.base_name: info for info in self._listed()}
        info = found.get(f"{run_id}.json")
        if info is None or f"{run_id}.ended" in found:
            return False
        lease = self._read(info)
        return lease is not None and lease.process != _ENDED

    def _listed(self) -> list[pafs.FileInfo]:
        selector = pafs.FileSelector(self._folder, allow_not_found=True)
        return list(self._filesystem.get_file_info(selector))

    def _write(
        self,
        run_id: str,
        partitions: Collection[Partition],
        process: str,
        *,
        renewed_at_s: float | None = None,
    ) -> None:
        document = {
            "run_id": run_id,
            "machine": _this_machine(),
            "process": process,
            "renewed_at_s": time.time() if renewed_at_s is None else renewed_at_s,
            "partitions": [[p.release, p.state, p.upgrade] for p in sorted(partitions)],
        }
        write_whole(self._lease_uri(run_id), json.dumps(document).encode(), self._access)

    def others(self, run_id: str) -> Iterator[Lease]:
        """Every lease but the run's own, of living and of dead runs.

        Raises:
            OSError: A lease lies there and cannot be read: whose it is and what it claims is not
                known then.
        """
        found = self._listed()
        marked = {info.base_name for info in found if info.extension == "ended"}
        for info in found:
            if info.extension != "json" or info.base_name == f"{run_id}.json":
                continue
            lease = self._read(info)
            if lease is not None:
                is_ended = f"{lease.run_id}.ended" in marked
                yield replace(lease, process=_ENDED) if is_ended else lease

    def _read(self, info: pafs.FileInfo) -> Lease | None:
        """One lease; None if it was released meanwhile, or has no name that a run could have.

        One that makes no sense counts as a living run's that claims nothing, until it is old.
        """
        run_id = info.base_name.removesuffix(".json")
        if not _RUN_ID.fullmatch(run_id):
            return None
        uri = f"{self._uri}/{info.base_name}"
        try:
            data = read_whole(uri, self._access)
        except FileNotFoundError:
            return None
        except OSError:
            if any(each.base_name == info.base_name for each in self._listed()):
                raise
            return None  # S3 may say "forbidden" of what is gone
        try:
            return _understand(run_id, uri, json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            written_at_s = info.mtime.timestamp() if info.mtime else time.time()
            return Lease(run_id, "", "0:unknown", frozenset(), uri, written_at_s)


def _understand(run_id: str, uri: str, document: dict[str, object]) -> Lease:
    """A lease from its JSON; ValueError for anything that no run would have written."""
    process, cells = document["process"], document["partitions"]
    if document["run_id"] != run_id or not _PROCESS.fullmatch(str(process)):
        raise ValueError("not a lease")
    if not isinstance(cells, list):
        raise TypeError("not a lease")
    return Lease(
        run_id=run_id,
        machine=str(document["machine"]),
        process=str(process),
        partitions=frozenset(map(_partition, cells)),
        uri=uri,
        renewed_at_s=float(str(document["renewed_at_s"])),
    )


def _partition(cell: list[object]) -> Partition:
    release, state, upgrade = cell
    if not (_NAME.fullmatch(str(release)) and re.fullmatch(r"[A-Z]{2}", str(state))):
        raise ValueError("not a partition")
    return Partition(str(release), str(state), int(str(upgrade)))


def _this_machine() -> str:
    """The boot and the process namespace that a process number is meant in; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{socket.gethostname()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process_identity(pid: int) -> str:
    """`pid:start time`, so that a number given out again is not taken for the old process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1]
    except OSError:
        return f"{pid}:gone" if pid != os.getpid() else f"{pid}:0"
    fields = after_name.split()
    return f"{pid}:{fields[19]}" if fields[0] != "Z" else f"{pid}:gone"
