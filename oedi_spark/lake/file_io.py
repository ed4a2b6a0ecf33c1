"""How PyIceberg reaches the files of a table: as everything else here reaches them.

Named by the catalog property `py-io-impl`; PyIceberg's own drops the wish for encryption, and
does not say which files a commit that failed has begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table
from pyiceberg.typedef import Properties

from oedi_spark.lake.object_store import open_object_store
from oedi_spark.lake.s3_access import AMBIENT, S3Access

_NAMES = {
    "s3.endpoint": "endpoint_url",
    "s3.region": "region",
    "s3.server-side-encryption": "sse",
    "s3.sse-kms-key-id": "kms_key_id",
}
_PATH_STYLE = "s3.path-style-access"
_CONNECT_LIMIT, _REQUEST_LIMIT = "s3.connect-timeout", "s3.request-timeout"
_ATTEMPTS = "oedi-spark.s3.max-attempts"

_begun: ContextVar[list[str] | None] = ContextVar("_begun", default=None)


@contextmanager
def begun_files() -> Iterator[list[str]]:
    """The URIs of the files that this thread begins to write through PyIceberg meanwhile.

    Those of metadata are among them, whose names nobody else knows; manifests are not: PyIceberg
    writes them in other threads.
    """
    found: list[str] = []
    token = _begun.set(found)
    try:
        yield found
    finally:
        _begun.reset(token)


class LakeFileIO(PyArrowFileIO):
    """PyIceberg's file access, with this package's S3."""

    def new_output(self, location: str) -> PyArrowFile:
        """A file to write; nothing is written yet."""
        if (begun := _begun.get()) is not None:
            begun.append(location)
        return super().new_output(location)

    def _initialize_s3_fs(self, netloc: str | None) -> pafs.FileSystem:  # noqa: ARG002 - its own
        return open_object_store(_read_properties(self.properties))


FILE_IO_PROPERTY = {"py-io-impl": f"{LakeFileIO.__module__}.{LakeFileIO.__qualname__}"}
"""What every catalog is told."""


def file_io_properties(access: S3Access) -> dict[str, str]:
    """What a catalog of tables on S3 is told besides, so that they are reached so."""
    named = {key: getattr(access, field) for key, field in _NAMES.items()}
    return {
        **{key: value for key, value in named.items() if value is not None},
        _PATH_STYLE: str(access.path_style).lower(),
        _CONNECT_LIMIT: str(access.connect_timeout_s),
        _REQUEST_LIMIT: str(access.request_timeout_s),
        _ATTEMPTS: str(access.max_attempts),
    }


def access_of(table: Table) -> S3Access:
    """How the files of a table are reached."""
    return _read_properties(table.io.properties)


def _read_properties(properties: Properties) -> S3Access:
    return S3Access(
        **{field: properties.get(key) for key, field in _NAMES.items()},
        path_style=properties.get(_PATH_STYLE) == "true",
        connect_timeout_s=float(properties.get(_CONNECT_LIMIT, AMBIENT.connect_timeout_s)),
        request_timeout_s=float(properties.get(_REQUEST_LIMIT, AMBIENT.request_timeout_s)),
        max_attempts=int(properties.get(_ATTEMPTS, AMBIENT.max_attempts)),
    )
