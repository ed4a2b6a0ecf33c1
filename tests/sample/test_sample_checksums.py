"""The manifest of a sample lake names every file as it was written, damage included."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from oedi_spark.errors import ChecksumsError
from oedi_spark.sample.checksums import write_checksums
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.sample.traps import Trap
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.manifest import parse_manifest

OFFICES = ReleaseFolder("2024", "comstock_amy2018_release_1")
TRAPS = (Trap.MISSING_FILE, Trap.TRUNCATED_FILE, Trap.STRAY_FILES, Trap.HOSTILE_NAME)


def _named(root: Path) -> dict[str, str]:
    return parse_manifest((root / "MD5SUMS").read_bytes(), "MD5SUMS").by_key()


def _lying(root: Path) -> dict[str, str]:
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    del files["MD5SUMS"]
    return {key: hashlib.md5(path.read_bytes()).hexdigest() for key, path in files.items()}


def test_write_checksums_names_what_was_planted_and_keeps_the_lines_of_other_samples(
    tmp_path: Path,
) -> None:
    sound = write_sample_lake(tmp_path, SampleRequest((OFFICES,), ("CO",), buildings=3))
    assert write_checksums(sound) == 4
    trapped = SampleRequest((OFFICES,), ("CO",), buildings=3, traps=TRAPS)
    write_checksums(write_sample_lake(tmp_path, trapped))
    write_checksums(write_sample_lake(tmp_path, SampleRequest((OFFICES,), ("AK",), buildings=1)))

    named = _named(tmp_path)

    assert named == _lying(tmp_path)
    assert sum("state=CO/" in key and key.endswith("-0.parquet") for key in named) >= 2
    assert sum("state=AK/" in key and key.endswith("-0.parquet") for key in named) == 1


def test_write_checksums_writes_over_no_manifest_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "MD5SUMS").write_text("a list of my own\n")
    report = write_sample_lake(tmp_path, SampleRequest((OFFICES,), ("CO",), buildings=1))

    with pytest.raises(ChecksumsError):
        write_checksums(report)

    assert (tmp_path / "MD5SUMS").read_text() == "a list of my own\n"
