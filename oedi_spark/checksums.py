"""What proves a file's bytes: an MD5, which a listing gives as the ETag, or a manifest has."""

from __future__ import annotations

import re

_MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(etag: str | None) -> bool:
    """Whether an ETag is the MD5 of the content.

    It is only of an object that was uploaded in one part: one with a dash in it (multipart, or
    time and size of a local file), or of another length, proves nothing. That of an object
    which a KMS key encrypts looks like one and is none; only its answer says so.
    """
    return etag is not None and _MD5.fullmatch(etag) is not None
