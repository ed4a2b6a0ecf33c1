"""The checksum manifest of a sample lake: what was written, and what lay there before."""

from __future__ import annotations

from oedi_spark.sample.files import LakeWriter
from oedi_spark.sample.lake import SampleReport
from oedi_spark.source.manifest import MANIFEST_NAME, format_line, parse_manifest


def write_checksums(report: SampleReport) -> int:
    """Write `MD5SUMS` into the root of a lake; returns how many files it names.

    Every file is named as it was written, damage that a trap planted included. What the request
    did not name keeps its line, so a second sample beside the first one leaves both verified.

    Raises:
        ChecksumsError: There is a manifest, and it cannot be read.
    """
    path = report.root / MANIFEST_NAME
    before = parse_manifest(path.read_bytes(), str(path)).by_key() if path.exists() else {}
    after = {key: md5 for key, md5 in (before | dict(report.md5s)).items() if md5 is not None}
    lines = b"".join(format_line(key, md5) for key, md5 in sorted(after.items()))
    LakeWriter(report.root).write(MANIFEST_NAME, lines)
    return len(after)
