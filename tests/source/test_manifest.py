"""`MD5SUMS` as the program `md5sum` writes and reads it, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from oedi_spark.errors import ChecksumsError, SourceError
from oedi_spark.source.manifest import format_line, parse_manifest

HELLO = "5d41402abc4b2a76b9719d911017c592"
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"


def _parse(text: str) -> dict[str, str]:
    return parse_manifest(text.encode(), "lake/MD5SUMS").by_key()


def test_both_marks_upper_case_comments_empty_lines_and_windows_ends_are_read() -> None:
    text = (
        f"# of 2024\n\n{HELLO}  a/1-0.parquet\r\n{HELLO.upper()} *a/b c/2-0.parquet\n"
        f"{EMPTY}  ./top\n{EMPTY}  ./top\n{HELLO}   a/ begins with a blank"
    )

    assert _parse(text) == {
        "a/1-0.parquet": HELLO,
        "a/b c/2-0.parquet": HELLO,
        "top": EMPTY,
        " a/ begins with a blank": HELLO,
    }


def test_files_and_folders_go_by_the_folder_that_they_are_in() -> None:
    found = parse_manifest(
        f"{HELLO}  top\n{HELLO}  a/b/1\n{EMPTY}  a/b/2\n{EMPTY}  a/c/d/3\n".encode(), "MD5SUMS"
    )

    assert found.files_in("") == {"top": HELLO}
    assert found.files_in("a/b") == {"1": HELLO, "2": EMPTY}
    assert found.files_in("a") == {}
    assert found.folders_in("") == {"a"}
    assert found.folders_in("a") == {"b", "c"}
    assert found.folders_in("a/c") == {"d"}
    assert found.folders_in("a/b") == set()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{HELLO} one-blank", "not 32 hex digits, two spaces and a path"),
        (f"{HELLO[1:]}  short", "not 32 hex digits"),
        (f"{HELLO}0  long", "not 32 hex digits"),
        (f"g{HELLO[1:]}  no-hex", "not 32 hex digits"),
        (f"{HELLO}-2  in-parts", "not 32 hex digits"),
        (f"MD5 (a/1) = {HELLO}", "not 32 hex digits"),
        (f"{HELLO}  ", "not 32 hex digits"),
        (f"{HELLO}  ../secret", "not the path of a file below the folder"),
        (f"{HELLO}  a/../../secret", "not the path of a file below the folder"),
        (f"{HELLO}  /etc/passwd", "not the path of a file below the folder"),
        (f"{HELLO}  /passwd", "not the path of a file below the folder"),
        (f"{HELLO}  a//b", "not the path of a file below the folder"),
        (f"{HELLO}  a/", "not the path of a file below the folder"),
        (f"{HELLO}  a/..", "not the path of a file below the folder"),
        (f"{HELLO}  a\0b", "not the path of a file below the folder"),
        (f"\\{HELLO}  a\\tb", "an escape that md5sum does not write ('\\\\t')"),
        (f"\\{HELLO}  a\\", "an escape that md5sum does not write"),
        (f"{EMPTY}  a/1", "named before, with another MD5"),
    ],
)
def test_a_faulty_line_is_an_error_of_the_source_with_its_number_and_the_way_out(
    line: str, said: str
) -> None:
    with pytest.raises(ChecksumsError) as caught:
        _parse(f"{HELLO}  a/1\n\n{line}\n{HELLO}  b/2\n")

    error = caught.value
    assert isinstance(error, SourceError)
    assert error.exit_code == 3
    assert (error.path, error.line) == ("lake/MD5SUMS", 3)
    assert said in error.cause
    assert str(error).startswith("lake/MD5SUMS, line 3: ")
    assert "write it anew (`oedi-spark checksums` prints it)" in str(error)
    assert "\0" not in str(error)


HOSTILE: list[str | bytes] = [
    "plain",
    "two words",
    "new\nline",
    "back\\slash",
    "re\rturn",
    "ü",
    "-c",
    b"\xff\xfe",
]


@pytest.mark.skipif(shutil.which("md5sum") is None, reason="no md5sum on this machine")
def test_md5sum_and_we_read_each_others_lines(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    names = [os.fsdecode(name) for name in HOSTILE]
    for name in names:
        (tmp_path / "a" / name).write_bytes(b"hello")
    wanted = {f"a/{name}": HELLO for name in names}

    paths = [os.fsencode(key) for key in wanted]
    written = subprocess.run(
        [b"md5sum", b"--", *paths], cwd=tmp_path, capture_output=True, check=True, timeout=30
    ).stdout
    lines = b"".join(format_line(key, md5) for key, md5 in wanted.items())
    checked = subprocess.run(
        ["md5sum", "--check", "--strict"], cwd=tmp_path, input=lines, check=False, timeout=30
    )

    assert parse_manifest(written, "MD5SUMS").by_key() == wanted
    assert parse_manifest(lines, "MD5SUMS").by_key() == wanted
    assert checked.returncode == 0


def test_a_hundred_thousand_lines_take_well_under_a_second() -> None:
    folder = "base/2024/release/timeseries_individual_buildings/by_state/upgrade={}/state=CO"
    content = b"".join(
        format_line(f"{folder.format(upgrade)}/{bldg_id}-{upgrade}.parquet", f"{bldg_id:032x}")
        for upgrade in range(10)
        for bldg_id in range(10_000)
    )

    took_s = []
    for _ in range(3):  # the machine may be busy: the best of three
        started = time.perf_counter()
        found = parse_manifest(content, "MD5SUMS")
        took_s.append(time.perf_counter() - started)

    assert len(found.files_in(folder.format(7))) == 10_000
    assert min(took_s) < 0.8
