"""The MD5 of each listed file: in a bucket its ETag, in a folder what its bytes have now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from oedi_spark.checksums import is_md5
from oedi_spark.contracts import SourceFile
from oedi_spark.contracts_metadata import MetadataFile
from oedi_spark.errors import FileFault
from oedi_spark.source.storage import SourceLocation, Storage, open_storage


def find_md5s(
    location: SourceLocation, files: Iterable[SourceFile | MetadataFile], *, workers: int
) -> Iterator[tuple[str, str | FileFault | None]]:
    """Each key with its MD5, in order; None of an object whose ETag is none.

    A local file is read, piece by piece, `workers` of them at a time; one that cannot be has its
    fault in the place of the MD5. Of a bucket nothing is read.
    """
    ordered = sorted(files, key=lambda each: each.key)
    if not location.is_local:
        yield from ((each.key, each.etag if is_md5(each.etag) else None) for each in ordered)
        return
    with ThreadPoolExecutor(workers) as pool:
        digests = pool.map(partial(_digest, open_storage(location)), ordered)
        yield from zip((each.key for each in ordered), digests, strict=True)


def _digest(storage: Storage, file: SourceFile | MetadataFile) -> str | FileFault:
    try:
        with storage.open_file(file.key, etag=file.etag) as opened:
            return hashlib.file_digest(opened, "md5").hexdigest()
    except FileFault as fault:
        return fault
