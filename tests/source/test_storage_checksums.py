"""A folder with `MD5SUMS` in its root: every byte is held against it, and so is every file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oedi_spark.contracts import Reason
from oedi_spark.errors import ChecksumsError, FileFault
from oedi_spark.source.storage import ListedFile, LocalStorage, SourceLocation

HELLO = "5d41402abc4b2a76b9719d911017c592"
WORLD = "7d793037a0760186574b0282f2f435e7"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two files that are as the manifest says, and one that it does not name."""
    root = tmp_path / "root"
    for name, content in (("a/1", b"hello"), ("a/deep/2", b"world"), ("a/3", b"unknown")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "MD5SUMS").write_text(f"{HELLO}  a/1\n{WORLD}  a/deep/2\n")
    return root


def _storage(root: Path, *, has_manifest: bool = True) -> LocalStorage:
    return LocalStorage(SourceLocation(str(root), is_local=True, has_manifest=has_manifest))


def _listed(root: Path, prefix: str) -> dict[str, ListedFile]:
    return {each.key: each for each in _storage(root).list_files(prefix)}


def _faults(root: Path, key: str, etag: str | None) -> list[tuple[Reason, str]]:
    """Of reading it whole, and of opening it to read a part."""
    faults = []
    for read in (_storage(root).read_file, _storage(root).open_file):
        with pytest.raises(FileFault) as caught:
            read(key, etag=etag)
        faults.append((caught.value.reason, caught.value.detail))
    return faults


def test_named_files_have_their_md5_as_etag_whenever_they_were_written(root: Path) -> None:
    os.utime(root / "a/1", (1, 1))

    listed = _listed(root, "a")

    assert listed["a/1"] == ListedFile("a/1", 5, HELLO, "1970-01-01T00:00:01Z")
    assert (listed["a/3"].etag or "").endswith("-7")
    tree = {each.key: each.etag for each in _storage(root).list_tree("a")}
    assert (tree["a/1"], tree["a/deep/2"]) == (HELLO, WORLD)
    assert _storage(root).read_file("a/1", etag=HELLO) == b"hello"
    with _storage(root).open_file("a/deep/2", etag=WORLD) as file:
        assert file.read(3) == b"wor"
        assert file.read() == b"ld"


@pytest.mark.parametrize("content", [b"hellp", b"hell", b"hello!", b""])
def test_a_file_that_is_not_as_the_manifest_says_is_not_read(root: Path, content: bytes) -> None:
    (root / "a/1").write_bytes(content)

    faults = _faults(root, "a/1", _listed(root, "a")["a/1"].etag)

    assert [reason for reason, _ in faults] == [Reason.CHECKSUM_MISMATCH] * 2
    assert faults[0][1].startswith(f"MD5 {HELLO} listed, ")


def test_a_file_that_is_only_named_is_listed_and_not_found(root: Path) -> None:
    (root / "a/1").unlink()
    os.utime(root / "MD5SUMS", (1, 1))

    listed = _listed(root, "a")

    assert listed["a/1"] == ListedFile("a/1", 0, HELLO, "1970-01-01T00:00:01Z")
    said = (Reason.NOT_FOUND, "MD5SUMS names it, but it is not there")
    assert _faults(root, "a/1", HELLO) == [said, said]


def test_a_folder_where_a_file_is_named_does_not_hide_that_it_is_lost(root: Path) -> None:
    (root / "a/1").unlink()
    (root / "a/1").mkdir()

    assert set(_listed(root, "a")) == {"a/1", "a/1/", "a/3", "a/deep/"}


def test_folders_that_are_only_named_are_listed_with_what_should_be_in_them(root: Path) -> None:
    with (root / "MD5SUMS").open("a") as manifest:
        manifest.write(f"{HELLO}  a/gone/x/4\n{HELLO}  lost/5\n")

    assert _storage(root).list_folders("") == ["a", "lost"]
    assert _storage(root).list_folders("a") == ["deep", "gone"]
    assert _storage(root).list_folders("a/gone") == ["x"]
    assert _storage(root).list_folders("nowhere") == []
    assert set(_listed(root, "a/gone/x")) == {"a/gone/x/4"}
    tree = sorted(each.key for each in _storage(root).list_tree("a"))
    assert tree == ["a/1", "a/3", "a/deep/2", "a/gone/x/4"]
    assert [each.key for each in _storage(root).list_tree("lost")] == ["lost/5"]


def test_a_linked_folder_outside_is_shown_itself_even_if_files_in_it_are_named(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/6").write_bytes(b"hello")
    (root / "a/link").symlink_to(tmp_path / "outside", target_is_directory=True)
    (root / "MD5SUMS").write_text(f"{HELLO}  a/link/6\n")

    tree = {each.key: each.is_inside for each in _storage(root).list_tree("a")}

    assert tree == {"a/1": True, "a/3": True, "a/deep/2": True, "a/link": False}
    assert not _listed(root, "a/link")["a/link/6"].is_inside
    assert _faults(root, "a/link/6", HELLO)[0][0] is Reason.ACCESS_DENIED


def test_a_file_that_changes_while_it_is_open_is_told_beside_the_checksum(root: Path) -> None:
    with _storage(root).open_file("a/1", etag=HELLO) as file:
        (root / "a/1").write_bytes(b"other content")
        with pytest.raises(FileFault) as caught:
            file.read()

    assert caught.value.reason is Reason.CHANGED_SINCE_LISTING


def test_a_file_that_is_not_named_is_still_told_when_it_changes_after_the_listing(
    root: Path,
) -> None:
    etag = _listed(root, "a")["a/3"].etag
    (root / "a/3").write_bytes(b"something else")

    reasons = [reason for reason, _ in _faults(root, "a/3", etag)]

    assert reasons == [Reason.CHANGED_SINCE_LISTING] * 2


def test_the_manifest_counts_as_it_is_at_each_listing(root: Path) -> None:
    storage = _storage(root)
    first = {each.key: each.etag for each in storage.list_files("a")}
    (root / "MD5SUMS").write_text(f"{WORLD}  a/1\n{HELLO}  a/deep/2\n{HELLO}  a/3\n")
    second = {each.key: each.etag for each in storage.list_files("a")}
    (root / "MD5SUMS").unlink()
    third = {each.key: each.etag for each in storage.list_files("a")}

    assert first["a/1"] == HELLO
    assert (second["a/1"], second["a/3"]) == (WORLD, HELLO)
    assert (third["a/1"] or "").endswith("-5")
    asked_not_to = {
        each.key: each.etag for each in _storage(root, has_manifest=False).list_files("a")
    }
    assert asked_not_to == third


def test_a_faulty_manifest_ends_every_listing_and_none_is_read_without_it(root: Path) -> None:
    (root / "MD5SUMS").write_text(f"{HELLO}  a/1\nno line\n")
    storage = _storage(root)

    for listing in (storage.list_files, storage.list_tree, storage.list_folders):
        with pytest.raises(ChecksumsError) as caught:
            list(listing("a"))
        assert (caught.value.path, caught.value.line) == (str(root / "MD5SUMS"), 2)
    assert len(list(_storage(root, has_manifest=False).list_files("a"))) == 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "not a file any more"),
        ("folder", "not a file any more"),
        ("outside", "a link leads out of the source folder"),
        ("nowhere", "a link that leads nowhere"),
        ("itself", "symbolic link"),
    ],
)
def test_a_manifest_that_is_there_and_cannot_be_read_is_never_taken_for_none(
    root: Path, tmp_path: Path, kind: str, said: str
) -> None:
    path = root / "MD5SUMS"
    path.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"outside": tmp_path / "elsewhere", "nowhere": root / "gone", "itself": path}
        path.symlink_to(targets[kind])

    with pytest.raises(ChecksumsError) as caught:
        _listed(root, "a")

    assert caught.value.line is None
    assert said in caught.value.cause


def test_opening_and_refusing_leaves_no_descriptor_open(root: Path) -> None:
    opened = len(list(Path("/proc/self/fd").iterdir()))

    _faults(root, "a/1", WORLD)
    _faults(root, "a/9", WORLD)

    assert len(list(Path("/proc/self/fd").iterdir())) == opened
