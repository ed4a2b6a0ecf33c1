"""Land metadata files: byte-for-byte copies below `{output_dir}/metadata/`, read back and compared.

    metadata/release=…/state=…/upgrade=…/[county=…/]{name of the source}

A crawler reads these folders, so whatever lies there under a visible name is whole, and a file of
an earlier run that is not of this one goes: two spellings of the same rows would count double.
Copies wait beside the tables, in a folder of their run, and are moved when it has committed.

Names come from the source, and are data: one that could lead elsewhere is refused.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import LandedFile, MetadataFile, MetadataListing
from oedi_spark.errors import FileFault, PublishError
from oedi_spark.lake.files import (
    AMBIENT,
    S3Access,
    create_parent,
    delete_uris,
    list_below,
    open_uri,
    remove_empty,
)

UNFINISHED_TTL_S = 3600.0
"""A hidden file that is older was left by a run that died; a younger one may still be written."""

_FOLDER = re.compile(
    r"release=(?!\.{1,2}/)[A-Za-z0-9._-]{1,200}/state=[A-Za-z]{2,20}/upgrade=[0-9]{1,9}"
)
_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_CHUNK_BYTES = 8 * 1024 * 1024


def landing_uri(root_uri: str, listing: MetadataListing, file: MetadataFile) -> str:
    """Where the copy of a metadata file lies; its name is the one it has at the source.

    Raises:
        FileFault: `landing_failed`, when the name, county or folder is no plain name.
    """
    folder = listing.landing_folder
    if not _FOLDER.fullmatch(folder):
        raise FileFault(Reason.LANDING_FAILED, f"{folder!r} is no folder of a partition")
    name = _require_plain(file.key.rsplit("/", 1)[-1])
    county = "" if file.county is None else f"county={_require_plain(file.county)}/"
    return f"{root_uri}/metadata/{folder}/{county}{name}"


def _require_plain(name: str) -> str:
    """The name, if it names a visible file of one folder and nothing else."""
    is_plain = name.isprintable() and not re.search(r"[/\\]", name)
    if not name or not is_plain or name.startswith("."):
        raise FileFault(Reason.LANDING_FAILED, f"{name!r} is no plain file name")
    return name


def land_file(
    data: bytes,
    uri: str,
    access: S3Access = AMBIENT,
    *,
    etag: str | None,
    ordinal: int,
    waiting_uri: str | None = None,
) -> LandedFile:
    """Copy one file to its place and read it back. A copy that lies there already is left alone.

    In a local folder the copy appears whole under its name, or not at all; in an object store
    it does anyhow, once the stream is closed. A copy that came out wrong is removed.

    Args:
        data: The file as it was read from the source.
        uri: Where it goes (`landing_uri`).
        access: How S3 is reached.
        etag: The source's. Compared where it is an MD5, which is 32 hex digits; that of an
            object that was uploaded in parts is not.
        ordinal: The file's in its run.
        waiting_uri: Where to put it first; `show_file` then moves it.

    Raises:
        FileFault: `landing_failed`: it could not be written, or what was read, written and
            listed is not the same. An older copy stays where the source's bytes were wrong.
    """
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    landed = LandedFile(ordinal=ordinal, uri=uri, md5=md5, size_bytes=len(data))
    listed = (etag or "").lower()
    if _MD5_ETAG.fullmatch(listed) and listed != md5:
        detail = f"the source lists MD5 {listed}, the {len(data)} bytes read have {md5}"
        raise FileFault(Reason.LANDING_FAILED, detail)
    try:
        if not _is_there(*open_uri(uri, access), landed):
            landed = replace(landed, waiting_uri=waiting_uri)
            # Of a national file that is taken in portions, the first has written it.
            if waiting_uri is None or not _is_there(*open_uri(waiting_uri, access), landed):
                _write(*open_uri(waiting_uri or uri, access), data, landed)
    except (OSError, pa.ArrowException) as error:
        cause = f"{type(error).__name__}: {error}"
        raise FileFault(Reason.LANDING_FAILED, f"not written to {uri} ({cause})") from error
    return landed


def show_file(landed: LandedFile, access: S3Access = AMBIENT) -> LandedFile:
    """Move a waiting copy to its place, where it replaces an older one whole.

    Raises:
        FileFault: `landing_failed`: it could not be moved.
    """
    if landed.waiting_uri is None:
        return landed
    try:
        filesystem, path = open_uri(landed.uri, access)
        create_parent(filesystem, path)
        filesystem.move(open_uri(landed.waiting_uri, access)[1], path)
    except (OSError, pa.ArrowException) as error:
        cause = f"{type(error).__name__}: {error}"
        raise FileFault(Reason.LANDING_FAILED, f"not moved to {landed.uri} ({cause})") from error
    return replace(landed, waiting_uri=None)


def waiting_folder(database_uri: str, run_id: str) -> str:
    """Where the copies of a run wait, beside its tables."""
    return f"{database_uri}/_landing/{run_id}"


def sweep_waiting(database_uri: str, run_id: str, access: S3Access = AMBIENT) -> None:
    """Remove the copies of a run that were never shown. The run must be dead, or the caller."""
    folder_uri = waiting_folder(database_uri, run_id)
    waiting = list_below(folder_uri, within_uri=database_uri, access=access)
    delete_uris((each.uri for each in waiting), access)
    remove_empty(folder_uri)
    filesystem, folder = open_uri(folder_uri, access)
    if isinstance(filesystem, pafs.LocalFileSystem):
        with suppress(OSError):
            Path(folder).rmdir()


def _is_there(filesystem: pafs.FileSystem, path: str, wanted: LandedFile) -> bool:
    info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File or info.size != wanted.size_bytes:
        return False
    return _md5_of(filesystem, path) == wanted.md5


def _write(filesystem: pafs.FileSystem, path: str, data: bytes, wanted: LandedFile) -> None:
    """Write, read back, and only then show: a store without rename shows it when it is closed."""
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    folder, name = path.rsplit("/", 1)
    written = f"{folder}/.{secrets.token_hex(8)}.unfinished" if is_local else path
    is_done = False
    try:
        create_parent(filesystem, path)
        with filesystem.open_output_stream(written) as stream:
            stream.write(data)
        found = _md5_of(filesystem, written)
        if found != wanted.md5:
            detail = f"{name} was written with MD5 {wanted.md5} and reads back as {found}"
            raise FileFault(Reason.LANDING_FAILED, detail)
        if is_local:
            filesystem.move(written, path)
        is_done = True
    finally:
        if not is_done:
            with suppress(OSError, pa.ArrowException):
                filesystem.delete_file(written)


def _md5_of(filesystem: pafs.FileSystem, path: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with filesystem.open_input_stream(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def remove_superseded(
    root_uri: str, folder: str, keep: Collection[str], access: S3Access = AMBIENT
) -> tuple[str, ...]:
    """Remove what lies in a partition's landing folder besides the files of this run.

    With nothing to keep the folder is emptied. A hidden file is left alone for an hour: another
    run may be writing it. Links are removed, never followed.

    Args:
        root_uri: The output folder.
        folder: The partition's, below `metadata/` (`MetadataListing.landing_folder`).
        keep: URIs of what this run has landed (`LandedFile.uri`).
        access: How S3 is reached.

    Returns:
        The URIs removed.

    Raises:
        PublishError: It is no folder of a partition, or one that lies elsewhere through a
            link, or it could not be listed or cleared.
    """
    if not _FOLDER.fullmatch(folder):
        raise PublishError(f"metadata/{folder}", "it is no folder of a partition")
    kept = set(keep)
    folder_uri = f"{root_uri}/metadata/{folder}"
    now_s = time.time()
    try:
        gone = tuple(
            sorted(
                each.uri
                for each in list_below(folder_uri, access, within_uri=f"{root_uri}/metadata")
                if each.uri not in kept
                and not (each.is_hidden and now_s - each.modified_at_s < UNFINISHED_TTL_S)
            )
        )
        delete_uris(gone, access)
        remove_empty(folder_uri)
    except (OSError, pa.ArrowException) as error:
        cause = f"superseded copies were not removed ({type(error).__name__}: {error})"
        raise PublishError(f"metadata/{folder}", cause) from error
    return gone
