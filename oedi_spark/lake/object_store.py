"""The bucket of the output as a file system of pyarrow, through boto3.

pyarrow's own S3 file system cannot ask for encryption (it drops the header), makes three requests
of each small file and leaves an empty object for each folder whose last file it deletes. Here
reads and listings are those of the source, with their bounds; a file is written by one PUT, or in
parts, and is there whole once it is closed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs

from oedi_spark.lake.s3_access import (
    S3Access,
    as_os_error,
    client,
    split_path,
    storage,
    write_object,
)
from oedi_spark.source.storage_contract import ListedFile
from oedi_spark.source.storage_s3_requests import attempt

PART_BYTES = 8 * 1024 * 1024
"""A file that is larger goes up in parts of this size, each with a time limit of its own."""


@cache
def open_object_store(access: S3Access) -> pafs.PyFileSystem:
    """The file system; a path is `bucket/key`. One, and one client, per process."""
    return pafs.PyFileSystem(_ObjectStore(access))


class _ObjectStore(pafs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """What pyarrow asks of a file system. Folders are not things here: none is made or removed."""

    def __init__(self, access: S3Access) -> None:
        self._access = access

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ObjectStore) and other._access == self._access

    def __hash__(self) -> int:
        return hash(self._access)

    def get_type_name(self) -> str:
        """What pyarrow calls it."""
        return "oedi-s3"

    def normalize_path(self, path: str) -> str:
        """As it is: a key may hold anything."""
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """A file, or nothing: what lies below a path is not looked for."""
        return [self._look(path) for path in paths]

    def _look(self, path: str) -> pafs.FileInfo:
        bucket, key = split_path(path)
        if not key:
            return pafs.FileInfo(path, pafs.FileType.Directory)
        ask = client(self._access)
        try:
            with as_os_error(path, self._access):
                found = attempt(
                    self._access.bucket(bucket),
                    lambda _: ask.head_object(Bucket=bucket, Key=key),
                )
        except FileNotFoundError:
            return pafs.FileInfo(path, pafs.FileType.NotFound)
        return pafs.FileInfo(
            path, pafs.FileType.File, mtime=found["LastModified"], size=found["ContentLength"]
        )

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """The files below a folder; not recursive, its folders too."""
        bucket, prefix = split_path(selector.base_dir.rstrip("/"))
        store = storage(self._access, bucket)
        with as_os_error(selector.base_dir, self._access):
            listed = store.list_tree(prefix) if selector.recursive else store.list_files(prefix)
            found = [_info(bucket, each) for each in listed if each.key != f"{prefix}/"]
        if not found and not selector.allow_not_found:
            raise FileNotFoundError(f"s3://{selector.base_dir}: nothing lies there")
        return found

    def create_dir(self, path: str, recursive: bool) -> None:
        """Nothing: a key needs no folder."""

    def delete_file(self, path: str) -> None:
        """Delete an object; one that is gone already is no fault."""
        bucket, key = split_path(path)
        ask = client(self._access)
        with as_os_error(path, self._access):
            attempt(
                self._access.bucket(bucket), lambda _: ask.delete_object(Bucket=bucket, Key=key)
            )

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """As `open_input_file`."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """One version of an object, of which only what is read is fetched."""
        bucket, key = split_path(path)
        with as_os_error(path, self._access):
            opened = storage(self._access, bucket).open_file(key, etag=None)
        return pa.PythonFile(_Reader(opened, path, self._access), mode="r")

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:  # noqa: ARG002 - pyarrow's
        """A new object, or a new version of one, that appears when it is closed."""
        return pa.PythonFile(_Upload(path, self._access), mode="w")

    def open_append_stream(self, path: str, metadata: object) -> NoReturn:
        """No object can be added to."""
        raise NotImplementedError(path)

    def copy_file(self, src: str, dest: str) -> NoReturn:
        """Nothing here is copied: it is written where it belongs."""
        raise NotImplementedError(src)

    def move(self, src: str, dest: str) -> None:
        """Copy an object within the store, up to 5 GB, and delete it where it was."""
        (source, source_key), (bucket, key) = split_path(src), split_path(dest)
        ask = client(self._access)
        with as_os_error(dest, self._access):
            attempt(
                self._access.bucket(bucket),
                lambda _: ask.copy_object(
                    Bucket=bucket,
                    Key=key,
                    CopySource={"Bucket": source, "Key": source_key},
                    **self._access.encryption,
                ),
            )
        self.delete_file(src)

    def delete_dir(self, path: str) -> NoReturn:
        """Files are deleted one by one, by who knows them."""
        raise NotImplementedError(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> NoReturn:  # noqa: ARG002 - so
        """As `delete_dir`."""
        self.delete_dir(path)

    def delete_root_dir_contents(self) -> NoReturn:
        """Never."""
        raise NotImplementedError("every bucket")


def _info(bucket: str, listed: ListedFile) -> pafs.FileInfo:
    if listed.key.endswith("/"):
        return pafs.FileInfo(f"{bucket}/{listed.key.rstrip('/')}", pafs.FileType.Directory)
    return pafs.FileInfo(
        f"{bucket}/{listed.key}",
        pafs.FileType.File,
        mtime=datetime.fromisoformat(listed.modified_at_utc),
        size=listed.size_bytes,
    )


class _Reader:
    """What `pa.PythonFile` reads from: an opened object, whose faults are a file's errors."""

    def __init__(self, opened: io.BufferedIOBase, path: str, access: S3Access) -> None:
        self._opened, self._path, self._access = opened, path, access
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """As `io.BufferedIOBase.read`."""
        with as_os_error(self._path, self._access):
            return self._opened.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As `io.IOBase.seek`."""
        return self._opened.seek(offset, whence)

    def tell(self) -> int:
        """As `io.IOBase.tell`."""
        return self._opened.tell()

    def close(self) -> None:
        """Forget it."""
        self.closed = True
        self._opened.close()


class _Upload:
    """What `pa.PythonFile` writes to. No subclass of `io.IOBase`: garbage must not be published.

    A part is sent whenever one has come together. When one cannot be, the upload is called off,
    and nothing appears.
    """

    def __init__(self, path: str, access: S3Access) -> None:
        self._path, self._access = path, access
        self._client = client(access)
        self._bucket, self._key = split_path(path)
        self._buffer = bytearray()
        self._parts: list[dict[str, object]] = []
        self._upload_id: str | None = None
        self._size_bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Take bytes; send them when there are enough."""
        self._buffer += data
        self._size_bytes += len(data)
        while len(self._buffer) >= PART_BYTES:
            self._send_part(PART_BYTES)
        return len(data)

    def flush(self) -> None:
        """Nothing: a part that is too small may not be sent."""

    def tell(self) -> int:
        """Bytes so far."""
        return self._size_bytes

    def close(self) -> None:
        """Let it appear."""
        if self.closed:
            return
        self.closed = True
        if self._upload_id is None:
            write_object(self._path, bytes(self._buffer), self._access)
            return
        if self._buffer:
            self._send_part(len(self._buffer))
        with self._called_off_on_failure():
            self._complete(self._upload_id)

    def _send_part(self, size_bytes: int) -> None:
        data = bytes(self._buffer[:size_bytes])
        with self._called_off_on_failure():
            if self._upload_id is None:
                begun = self._ask("create_multipart_upload", **self._access.encryption)
                self._upload_id = begun["UploadId"]
            number = len(self._parts) + 1
            sent = self._ask("upload_part", UploadId=self._upload_id, PartNumber=number, Body=data)
        checksums = {name: sent[name] for name in sent if name.startswith("Checksum")}
        checksums.pop("ChecksumType", None)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], **checksums})
        del self._buffer[:size_bytes]

    def _complete(self, upload_id: str) -> None:
        try:
            self._ask(
                "complete_multipart_upload",
                UploadId=upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        except FileNotFoundError:
            # An answer that was lost: asked again, S3 knows the upload no more, but the object.
            if self._ask("head_object")["ContentLength"] != self._size_bytes:
                raise

    def _ask(self, operation: str, **wanted: object) -> dict[str, Any]:
        work = getattr(self._client, operation)
        with as_os_error(self._path, self._access):
            answer: dict[str, Any] = attempt(
                self._access.bucket(self._bucket),
                lambda _: work(Bucket=self._bucket, Key=self._key, **wanted),
            )
        return answer

    @contextmanager
    def _called_off_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.closed = True
            if self._upload_id is not None:
                with suppress(OSError):
                    self._ask("abort_multipart_upload", UploadId=self._upload_id)
            raise
