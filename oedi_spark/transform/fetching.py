"""Fetch files a few ahead of the one that is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from oedi_spark.contracts import Reason, SourceFile
from oedi_spark.errors import FileFault
from oedi_spark.source.storage import Storage

MAX_FILE_BYTES = 256 * 1024 * 1024

_File = TypeVar("_File")


def fetch_ahead(
    files: Sequence[_File], fetch: Callable[[_File], bytes], *, ahead: int
) -> Iterator[tuple[_File, Future[bytes]]]:
    """Each file with its bytes on the way, a bounded number of them at a time."""
    waiting: deque[tuple[_File, Future[bytes]]] = deque()
    with ThreadPoolExecutor(ahead, thread_name_prefix="fetch") as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(fetch, file)))
                if len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def fetch_building(storage: Storage, file: SourceFile) -> bytes:
    """Read and verify one file; in a thread, where neither the wait nor the hash holds the GIL.

    Raises:
        FileFault: It is absurdly large, of another size than listed, or cannot be read.
    """
    if file.size_bytes > MAX_FILE_BYTES:
        raise FileFault(
            Reason.TOO_LARGE, f"{file.size_bytes:,} bytes; a building file has 2 to 20 million"
        )
    data = storage.read_file(file.key, etag=file.etag)
    if len(data) != file.size_bytes:
        raise FileFault(Reason.SIZE_MISMATCH, f"{file.size_bytes} bytes listed, {len(data)} read")
    return data
