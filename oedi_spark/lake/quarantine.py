"""Set rejected building files aside, to be looked at: the bytes as they were, and why.

    {output_dir}/quarantine/release=…/state=…/upgrade=…/{name of the source}
                                                       /{name of the source}.reason.json

Bounded in number and bytes; what is left out is in the summary all the same. Names come from the
source, and are data: one that could lead elsewhere is refused. No folder here is a link, none is
the crawled `metadata/`, and none lies in the warehouse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from oedi_spark.contracts import Partition, SourceFile
from oedi_spark.errors import FileFault, PublishError
from oedi_spark.lake.files import (
    AMBIENT,
    S3Access,
    delete_uris,
    is_on_s3,
    list_below,
    read_whole,
    remove_empty,
    write_whole,
)

FOLDER = "quarantine"
MAX_FILES = 100
"""Of one partition, those of earlier runs counted."""
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_PARTITION_BYTES = 512 * 1024 * 1024
"""Of what one run copies of one partition."""

_PARALLEL = 4
_REASON = ".reason.json"
_PARTITION = re.compile(
    r"release=(?P<release>(?!\.{1,2}/)[A-Za-z0-9._-]{1,200})/state=(?P<state>[A-Za-z]{2,20})"
    r"/upgrade=(?P<upgrade>[0-9]{1,9})"
)
_PLAIN = re.compile(r"(?!\.)[^/\\]{1,200}")
_TEXTS = ("run", "key", "etag", "reason", "detail", "seen_at_utc", "not_copied")


class QuarantineError(PublishError):
    """Files could not be set aside. What was published is not touched by it."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(where, cause)
        self.args = (f"{where}: {cause}. The tables are complete without it.",)


@dataclass(frozen=True)
class Rejected:
    """A building file that is not in the table. `has_bytes`: it may be had, damaged as it is."""

    file: SourceFile
    reason: str
    detail: str
    has_bytes: bool = True


@dataclass(frozen=True)
class Entry:
    """One file that was set aside, as its `.reason.json` says. `copied_bytes` is None without one.

    `partition` and `name` are where it lies; all else is what was written there.
    """

    partition: str
    name: str
    run: str
    key: str
    etag: str | None
    reason: str
    detail: str
    seen_at_utc: str
    copied_bytes: int | None
    not_copied: str | None


@dataclass(frozen=True)
class SetAside:
    """What became of the rejected files of one partition."""

    copied: int = 0
    told: int = 0
    """Reason alone."""
    kept: int = 0
    """Lay there already."""
    left_out: int = 0
    removed: int = 0
    """Published since."""


class Quarantine:
    """The quarantine of one output folder."""

    def __init__(self, root_uri: str, warehouse_uri: str, access: S3Access = AMBIENT) -> None:
        self._root_uri, self._access = root_uri, access
        self._uri = f"{root_uri}/{FOLDER}"
        places = (f"{self._uri}/", f"{warehouse_uri}/")
        if places[0].startswith(places[1]) or places[1].startswith(places[0]):
            raise QuarantineError(self._uri, f"it lies in the warehouse {warehouse_uri}, or around")

    def settle(
        self,
        partition: Partition,
        rejected: Sequence[Rejected],
        published: Collection[str],
        *,
        run_id: str,
        read: Callable[[SourceFile], bytes],
    ) -> SetAside:
        """Set the rejected files of a partition aside, and forget those that are published now.

        Args:
            partition: Theirs.
            rejected: In the order in which they are taken while there is room.
            published: Keys of the partition's files that are in the table now.
            run_id: The run that says so.
            read: The bytes of a file as it was listed; raises `FileFault` where it cannot.

        Raises:
            QuarantineError: A folder is a link, or one could not be read or written.
        """
        folder_uri = self._folder(partition)
        try:
            there = {entry.name: entry for entry in self._entries(folder_uri)}
            removed = self._remove(folder_uri, there, {_base(key) for key in published})
            fresh, kept = [], 0
            for each in rejected:
                if _is_same(there.get(_base(each.file.key)), each):
                    kept += 1
                else:
                    fresh.append(each)
            known = [each for each in fresh if _base(each.file.key) in there]
            new = [each for each in fresh if _base(each.file.key) not in there]
            room = max(0, MAX_FILES - len(there) + removed)
            taken = [each for each in (*known, *new[:room]) if _is_plain(each)]
            copied = self._write(folder_uri, taken, run_id, read)
        except OSError as error:
            raise QuarantineError(folder_uri, f"{type(error).__name__}: {error}") from error
        return SetAside(copied, len(taken) - copied, kept, len(fresh) - len(taken), removed)

    def entries(self) -> tuple[Entry, ...]:
        """Everything that is set aside, by partition and name.

        Raises:
            QuarantineError: It could not be read.
        """
        try:
            return tuple(self._entries(self._uri))
        except OSError as error:
            raise QuarantineError(self._uri, f"{type(error).__name__}: {error}") from error

    def _folder(self, partition: Partition) -> str:
        if not _PARTITION.fullmatch(str(partition)):
            raise QuarantineError(self._uri, f"{str(partition)!r} is no folder of a partition")
        return f"{self._uri}/{partition}"

    def _entries(self, folder_uri: str) -> Iterator[Entry]:
        self._refuse_links(folder_uri)
        found = list_below(folder_uri, self._access, within_uri=self._root_uri)
        uris = sorted(each.uri for each in found if each.uri.endswith(_REASON))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for entry in pool.map(self._read, uris):
                if entry is not None:
                    yield entry

    def _refuse_links(self, folder_uri: str) -> None:
        """A link on the way could lead below the crawled folder, or to the tables."""
        if is_on_s3(folder_uri):
            return
        root = Path(self._root_uri.removeprefix("file://"))
        folder = Path(folder_uri.removeprefix("file://"))
        if folder.resolve() != root.resolve() / folder.relative_to(root):
            raise QuarantineError(folder_uri, "a link is on the way to it")

    def _read(self, uri: str) -> Entry | None:
        """One entry; None where it is not as it was written here."""
        below = uri.removeprefix(f"{self._uri}/").removesuffix(_REASON)
        partition, _, name = below.rpartition("/")
        if not _PARTITION.fullmatch(partition):
            return None
        try:
            if not is_on_s3(uri) and Path(uri.removeprefix("file://")).is_symlink():
                return None
            return _understand(partition, name, json.loads(read_whole(uri, self._access)))
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _remove(
        self, folder_uri: str, there: Mapping[str, Entry], published: Collection[str]
    ) -> int:
        """Take away what was set aside of files that are in the table now."""
        gone = sorted(there.keys() & set(published))
        for name in gone:
            # The reason goes last: what is stopped before is taken away by the next run.
            delete_uris([f"{folder_uri}/{name}", f"{folder_uri}/{name}{_REASON}"], self._access)
        if gone:
            remove_empty(f"{self._uri}")
        return len(gone)

    def _write(
        self,
        folder_uri: str,
        taken: Sequence[Rejected],
        run_id: str,
        read: Callable[[SourceFile], bytes],
    ) -> int:
        """Write a few at a time; returns of how many the bytes are there."""
        room, jobs = MAX_PARTITION_BYTES, []
        for each in taken:
            size_bytes = each.file.size_bytes
            why = None
            if not each.has_bytes:
                why = "it cannot be read"
            elif size_bytes > MAX_FILE_BYTES:
                why = f"{size_bytes:,} bytes are more than {MAX_FILE_BYTES:,}"
            elif size_bytes > room:
                why = f"the copies of its partition have {MAX_PARTITION_BYTES:,} bytes by now"
            room -= size_bytes if why is None else 0
            jobs.append((each, why))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            done = pool.map(lambda job: self._put(folder_uri, job[0], job[1], run_id, read), jobs)
            return sum(1 for is_copied in done if is_copied)

    def _put(
        self,
        folder_uri: str,
        each: Rejected,
        not_copied: str | None,
        run_id: str,
        read: Callable[[SourceFile], bytes],
    ) -> bool:
        uri = f"{folder_uri}/{_base(each.file.key)}"
        data = None
        if not_copied is None:
            try:
                data = read(each.file)
            except FileFault as fault:
                not_copied = str(fault)
        if data is None:
            delete_uris([uri], self._access)
        else:
            write_whole(uri, data, self._access)
        document = {
            "run": run_id,
            "key": each.file.key,
            "etag": each.file.etag,
            "reason": each.reason,
            "detail": each.detail,
            "seen_at_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "copied_bytes": None if data is None else len(data),
            "not_copied": not_copied,
        }
        write_whole(f"{uri}{_REASON}", json.dumps(document, indent=2).encode(), self._access)
        return data is not None


def _base(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def _is_plain(each: Rejected) -> bool:
    name = _base(each.file.key)
    is_name = bool(_PLAIN.fullmatch(name)) and name.isprintable()
    return is_name and not name.endswith(_REASON)


def _is_same(there: Entry | None, each: Rejected) -> bool:
    """Whether the same version of the file lies there for the same reason."""
    if there is None or (there.key, there.reason) != (each.file.key, each.reason):
        return False
    return there.etag is not None and there.etag == each.file.etag


def _understand(partition: str, name: str, document: Mapping[str, object]) -> Entry:
    texts = {key: document[key] for key in _TEXTS}
    for key, value in texts.items():
        if not (isinstance(value, str) or (value is None and key in ("etag", "not_copied"))):
            raise TypeError("not an entry")
    copied = document["copied_bytes"]
    if copied is not None and not isinstance(copied, int):
        raise TypeError("not an entry")
    optional = {
        key: None if (v := texts[key]) is None else str(v) for key in ("etag", "not_copied")
    }
    return Entry(
        partition,
        name,
        run=str(texts["run"]),
        key=str(texts["key"]),
        etag=optional["etag"],
        reason=str(texts["reason"]),
        detail=str(texts["detail"]),
        seen_at_utc=str(texts["seen_at_utc"]),
        copied_bytes=copied,
        not_copied=optional["not_copied"],
    )
