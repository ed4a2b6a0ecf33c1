"""The bucket as a folder: listed, read, and never left."""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault, SourceListingError
from oedi_spark.source.storage import (
    ListedFile,
    LocalStorage,
    SourceLocation,
    open_storage,
    require_checksum,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a folder `a` of two files and two folders."""
    root = tmp_path / "root"
    for name in ("a/1-0.parquet", "a/2-0.parquet", "a/state=CO/x", "a/state=AK/y"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def _storage(root: Path) -> LocalStorage:
    return LocalStorage(SourceLocation(str(root), is_local=True))


def _listed(root: Path, prefix: str) -> dict[str, ListedFile]:
    return {each.key: each for each in _storage(root).list_files(prefix)}


def _fault(root: Path, key: str) -> FileFault:
    with pytest.raises(FileFault) as caught:
        _storage(root).read_file(key, etag=None)
    return caught.value


def test_list_files_gives_size_and_version_of_each_file_and_marks_folders(root: Path) -> None:
    os.utime(root / "a/1-0.parquet", (1_546_300_800, 1_546_300_800))

    listed = _listed(root, "a")

    folders = ["a/state=AK/", "a/state=CO/"]
    assert sorted(listed) == ["a/1-0.parquet", "a/2-0.parquet", *folders]
    written_ns = 1_546_300_800 * 10**9
    assert listed["a/1-0.parquet"] == ListedFile(
        "a/1-0.parquet", 13, f"{written_ns:x}-d", "2019-01-01T00:00:00Z", is_inside=True
    )


def test_list_folders_gives_names_in_order_and_no_file(root: Path) -> None:
    assert _storage(root).list_folders("a") == ["state=AK", "state=CO"]


def test_listing_a_missing_folder_is_empty(root: Path) -> None:
    assert _listed(root, "nowhere/at/all") == {}
    assert _storage(root).list_folders("nowhere/at/all") == []


def test_listing_a_file_as_a_folder_is_an_error(root: Path) -> None:
    with pytest.raises(SourceListingError) as caught:
        list(_storage(root).list_files("a/1-0.parquet"))
    assert caught.value.prefix == str(root / "a/1-0.parquet")
    with pytest.raises(SourceListingError, match="NotADirectoryError"):
        _storage(root).list_folders("a/1-0.parquet")


def test_a_closed_folder_is_an_error_and_a_closed_file_a_fault(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("oedi_spark.source.storage.scandir", refuse)
    monkeypatch.setattr("oedi_spark.source.storage.open_descriptor", refuse)

    with pytest.raises(SourceListingError, match="PermissionError"):
        list(_storage(root).list_files("a"))
    with pytest.raises(SourceListingError, match="PermissionError"):
        _storage(root).list_folders("a")
    assert _fault(root, "a/1-0.parquet").reason is Reason.ACCESS_DENIED


def test_read_file_tells_a_file_that_was_written_again_at_the_same_length(root: Path) -> None:
    path = root / "a/1-0.parquet"
    etag = _listed(root, "a")["a/1-0.parquet"].etag
    assert _storage(root).read_file("a/1-0.parquet", etag=etag) == path.read_bytes()

    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))

    with pytest.raises(FileFault) as caught:
        _storage(root).read_file("a/1-0.parquet", etag=etag)
    assert caught.value.reason is Reason.CHANGED_SINCE_LISTING


def test_read_file_does_not_wait_for_a_pipe(root: Path) -> None:
    (root / "a/1-0.parquet").unlink()
    os.mkfifo(root / "a/1-0.parquet")

    assert _fault(root, "a/1-0.parquet").reason is Reason.FETCH_FAILED
    assert "a/1-0.parquet/" in _listed(root, "a")


def test_list_files_takes_a_link_that_leads_to_itself_for_outside(root: Path) -> None:
    (root / "a/3-0.parquet").symlink_to(root / "a/3-0.parquet")

    assert not _listed(root, "a")["a/3-0.parquet"].is_inside


def test_list_files_goes_on_when_one_file_vanishes(root: Path) -> None:
    (root / "a/3-0.parquet").write_bytes(b"three")
    found = _storage(root).list_files("a")
    first = next(found).key
    remaining = sorted({f"a/{n}-0.parquet" for n in (1, 2, 3)} - {first})
    (root / remaining[0]).unlink()

    assert remaining[1] in {each.key for each in found}


def test_list_files_marks_a_link_out_of_the_root(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 1000)
    (root / "a/3-0.parquet").symlink_to(secret)
    (root / "a/4-0.parquet").symlink_to(root / "a/1-0.parquet")

    listed = _listed(root, "a")

    assert not listed["a/3-0.parquet"].is_inside
    assert listed["a/3-0.parquet"].size_bytes != 1000
    assert listed["a/4-0.parquet"].is_inside
    assert listed["a/4-0.parquet"].size_bytes == 13


def test_list_files_marks_all_files_of_a_linked_folder_outside(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "5-0.parquet").write_bytes(b"secret")
    (root / "a/state=TX").symlink_to(outside, target_is_directory=True)

    (listed,) = _listed(root, "a/state=TX").values()

    assert (listed.key, listed.is_inside) == ("a/state=TX/5-0.parquet", False)


def test_read_file_gives_the_content(root: Path) -> None:
    assert _storage(root).read_file("a/1-0.parquet", etag=None) == b"a/1-0.parquet"


def test_read_file_follows_a_link_within_the_root(root: Path) -> None:
    (root / "a/4-0.parquet").symlink_to(root / "a/1-0.parquet")

    assert _storage(root).read_file("a/4-0.parquet", etag=None) == b"a/1-0.parquet"


@pytest.mark.parametrize("key", ["a/3-0.parquet", "a/state=TX/secret"])
def test_read_file_never_follows_a_link_out_of_the_root(
    root: Path, tmp_path: Path, key: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "a/3-0.parquet").symlink_to(outside / "secret")
    (root / "a/state=TX").symlink_to(outside, target_is_directory=True)

    assert _fault(root, key).reason is Reason.ACCESS_DENIED


def test_a_linked_root_is_the_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root, target_is_directory=True)

    assert _storage(tmp_path / "link").read_file("a/1-0.parquet", etag=None) == b"a/1-0.parquet"


def test_read_file_that_vanished_is_not_found(root: Path) -> None:
    assert _fault(root, "a/9-0.parquet").reason is Reason.NOT_FOUND


def test_read_file_that_is_a_folder_has_failed(root: Path) -> None:
    assert _fault(root, "a/state=CO").reason is Reason.FETCH_FAILED


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "a/.."])
def test_a_key_may_not_lead_upwards(root: Path, key: str) -> None:
    storage = _storage(root)

    with pytest.raises(SourceListingError, match=re.escape("`..`")):
        list(storage.list_files(key))
    with pytest.raises(SourceListingError, match=re.escape("`..`")):
        storage.list_folders(key)
    with pytest.raises(SourceListingError, match=re.escape("`..`")):
        storage.read_file(key, etag=None)


def test_open_storage_gives_one_client_per_location(root: Path) -> None:
    location = SourceLocation(str(root), is_local=True)

    assert open_storage(location) is open_storage(SourceLocation(str(root), is_local=True))
    assert isinstance(open_storage(location), LocalStorage)


@pytest.mark.parametrize(
    "etag",
    [
        None,
        hashlib.md5(b"profile").hexdigest(),
        "0123456789abcdef0123456789abcdef-3",
        "0123456789ABCDEF0123456789ABCDEF",
        "short",
    ],
)
def test_require_checksum_takes_what_the_listing_promised(etag: str | None) -> None:
    require_checksum(b"profile", etag)


def test_require_checksum_refuses_another_content_of_the_same_size() -> None:
    with pytest.raises(FileFault) as caught:
        require_checksum(b"profilE", hashlib.md5(b"profile").hexdigest())

    assert caught.value.reason is Reason.CHECKSUM_MISMATCH


def test_source_location_says_where_it_is() -> None:
    assert str(SourceLocation("/data/lake", is_local=True)) == "/data/lake"
    assert str(SourceLocation("oedi-data-lake", is_local=False)) == "s3://oedi-data-lake"


def test_list_tree_gives_every_file_below_and_no_folder(root: Path) -> None:
    listed = {each.key: each for each in _storage(root).list_tree("a")}

    files = ["a/1-0.parquet", "a/2-0.parquet", "a/state=AK/y", "a/state=CO/x"]
    assert sorted(listed) == files
    assert listed["a/state=CO/x"] == _listed(root, "a/state=CO")["a/state=CO/x"]
    assert list(_storage(root).list_tree("nowhere")) == []


def test_list_tree_follows_links_within_the_root_but_never_in_a_circle(root: Path) -> None:
    (root / "a/state=TX").symlink_to(root / "a/state=CO", target_is_directory=True)
    (root / "a/state=CO/up").symlink_to(root / "a", target_is_directory=True)
    os.mkfifo(root / "a/state=CO/pipe")

    listed = {each.key for each in _storage(root).list_tree("a")}

    assert {"a/state=CO/x", "a/state=TX/x", "a/state=CO/pipe/"} <= listed
    assert len(listed) == 7


def test_list_tree_goes_into_nothing_outside_the_root(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deeper").mkdir(parents=True)
    (outside / "deeper/secret").write_bytes(b"secret")
    (root / "a/state=TX").symlink_to(outside, target_is_directory=True)

    listed = {each.key: each.is_inside for each in _storage(root).list_tree("a")}

    assert listed.pop("a/state=TX") is False
    assert all(listed.values())
    assert len(listed) == 4
    below = {each.key: each.is_inside for each in _storage(root).list_tree("a/state=TX")}
    assert below == {"a/state=TX/deeper": False}


def test_open_file_is_a_file_to_seek_in(root: Path) -> None:
    etag = _listed(root, "a")["a/1-0.parquet"].etag

    with _storage(root).open_file("a/1-0.parquet", etag=etag) as file:
        assert file.seek(-7, io.SEEK_END) == 6
        assert file.read(3) == b"par"
        assert file.seek(0) == 0
        assert file.read() == b"a/1-0.parquet"


def test_open_file_serves_one_column(root: Path) -> None:
    pq.write_table(pa.table({"bldg_id": [3, 1], "weight": [0.5, 0.25]}), root / "a/m.parquet")

    with _storage(root).open_file("a/m.parquet", etag=None) as file:
        parquet = pq.ParquetFile(pa.PythonFile(file, mode="r"))
        assert parquet.read(columns=["bldg_id"]).to_pydict() == {"bldg_id": [3, 1]}


def test_open_file_that_is_written_again_while_it_is_read_says_so(root: Path) -> None:
    path = root / "a/1-0.parquet"
    etag = _listed(root, "a")["a/1-0.parquet"].etag

    with _storage(root).open_file("a/1-0.parquet", etag=etag) as file:
        path.write_bytes(b"another file altogether")
        with pytest.raises(FileFault) as caught:
            pa.PythonFile(file, mode="r").read(10)

    assert caught.value.reason is Reason.CHANGED_SINCE_LISTING


def test_open_file_refuses_what_read_file_refuses(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "a/3-0.parquet").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "a/4-0.parquet")
    wanted = {
        ("a/3-0.parquet", None): Reason.ACCESS_DENIED,
        ("a/4-0.parquet", None): Reason.FETCH_FAILED,
        ("a/state=CO", None): Reason.FETCH_FAILED,
        ("a/9-0.parquet", None): Reason.NOT_FOUND,
        ("a/1-0.parquet", "1-1"): Reason.CHANGED_SINCE_LISTING,
    }
    found = {}
    for key, etag in wanted:
        with pytest.raises(FileFault) as caught:
            _storage(root).open_file(key, etag=etag)
        found[key, etag] = caught.value.reason

    assert found == wanted


def test_open_file_leaves_no_descriptor_open(root: Path) -> None:
    opened = len(list(Path("/proc/self/fd").iterdir()))

    for key, etag in (("a/state=CO", None), ("a/1-0.parquet", "1-1"), ("a/9-0.parquet", None)):
        with pytest.raises(FileFault):
            _storage(root).open_file(key, etag=etag)
    _storage(root).open_file("a/1-0.parquet", etag=None).close()

    assert len(list(Path("/proc/self/fd").iterdir())) == opened
