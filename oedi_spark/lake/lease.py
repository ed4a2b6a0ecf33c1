"""Who is replacing which partitions right now.

Two runs that replace the same partition at once would each sweep or replace what the other is
staging. So a run leaves a lease, a small JSON file beside the tables, for as long as it lives;
another run that wants one of its partitions is refused, and one that finds the lease of a run
that has died takes note of what that run may have left lying about.

A run on this machine is alive while its process is; one elsewhere while its lease was renewed
within `LEASE_TTL_S`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs

from oedi_spark.contracts import Partition
from oedi_spark.errors import PartitionBusyError
from oedi_spark.lake.staging import create_parent

LEASE_TTL_S = 900.0
RENEW_EVERY_S = 60.0

_ENDED = "0:ended"


@dataclass(frozen=True)
class Lease:
    """One run's claim."""

    run_id: str
    host: str
    process: str
    partitions: frozenset[Partition]
    uri: str
    renewed_at_s: float

    def is_alive(self, now_s: float) -> bool:
        """Whether the run that left it still goes on."""
        if self.process == _ENDED:
            return False
        if self.host == socket.gethostname():
            return self.process == _process_identity(int(self.process.split(":")[0]))
        return now_s - self.renewed_at_s < LEASE_TTL_S


class LeaseBook:
    """The leases beside one database's tables."""

    def __init__(self, database_uri: str) -> None:
        self._uri = f"{database_uri}/_leases"
        self._filesystem, self._folder = pafs.FileSystem.from_uri(self._uri)
        self._renewed_at_s = 0.0

    def acquire(self, run_id: str, partitions: Collection[Partition]) -> tuple[Lease, ...]:
        """Claim partitions for a run; returns the leases of dead runs, which still lie there.

        The claim is written first and then compared, so of two runs that claim at once at
        least one sees the other and gives way; it may be both.

        Raises:
            PartitionBusyError: A living run claims one of them.
        """
        self._write(run_id, partitions, _process_identity(os.getpid()))
        dead = []
        for other in self._others(run_id):
            if not other.is_alive(time.time()):
                dead.append(other)
                continue
            shared = other.partitions & set(partitions)
            if shared:
                self.release(run_id)
                raise PartitionBusyError("hourly", str(min(shared)), other.run_id, other.uri)
        return tuple(dead)

    def renew(self, run_id: str, partitions: Collection[Partition]) -> None:
        """Say that the run still lives and claims all these; cheap, writes once a minute."""
        if time.time() - self._renewed_at_s > RENEW_EVERY_S:
            self._write(run_id, partitions, _process_identity(os.getpid()))

    def abandon(self, run_id: str, partitions: Collection[Partition]) -> None:
        """Say that the run has failed; a task may still be writing, so the next run sweeps."""
        self._write(run_id, partitions, _ENDED)

    def release(self, run_id: str) -> None:
        """Take a lease away; nothing happens if it is gone."""
        try:
            self._filesystem.delete_file(self._path(run_id))
        except FileNotFoundError:
            return

    def _path(self, run_id: str) -> str:
        return f"{self._folder}/{run_id}.json"

    def _write(self, run_id: str, partitions: Collection[Partition], process: str) -> None:
        self._renewed_at_s = time.time()
        document = {
            "run_id": run_id,
            "host": socket.gethostname(),
            "process": process,
            "renewed_at_s": self._renewed_at_s,
            "partitions": [[p.release, p.state, p.upgrade] for p in sorted(partitions)],
        }
        path = self._path(run_id)
        create_parent(self._filesystem, path)
        unfinished = f"{path}.unfinished"
        with self._filesystem.open_output_stream(unfinished) as stream:
            stream.write(json.dumps(document).encode())
        self._filesystem.move(unfinished, path)

    def _others(self, run_id: str) -> Iterator[Lease]:
        selector = pafs.FileSelector(self._folder, allow_not_found=True)
        for info in self._filesystem.get_file_info(selector):
            if info.extension != "json" or info.base_name == f"{run_id}.json":
                continue
            lease = self._read(info)
            if lease is not None:
                yield lease

    def _read(self, info: pafs.FileInfo) -> Lease | None:
        """One lease; None if it was released meanwhile. Half a lease is a living run's."""
        try:
            with self._filesystem.open_input_stream(info.path) as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        written_at_s = info.mtime.timestamp() if info.mtime else time.time()
        try:
            document = json.loads(text)
            return Lease(
                run_id=document["run_id"],
                host=document["host"],
                process=document["process"],
                partitions=frozenset(Partition(*cell) for cell in document["partitions"]),
                uri=f"{self._uri}/{info.base_name}",
                renewed_at_s=document["renewed_at_s"],
            )
        except (ValueError, KeyError, TypeError):
            return Lease(
                run_id=info.base_name.removesuffix(".json"),
                host="",
                process="0:0",
                partitions=frozenset(),
                uri=f"{self._uri}/{info.base_name}",
                renewed_at_s=written_at_s,
            )


def _process_identity(pid: int) -> str:
    """`pid:start time`, so that a number given out again is not taken for the old process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1]
    except OSError:
        return f"{pid}:gone" if pid != os.getpid() else f"{pid}:0"
    fields = after_name.split()
    return f"{pid}:{fields[19]}" if fields[0] != "Z" else f"{pid}:gone"
