"""Landed metadata: the source's bytes or nothing, and nothing else beside them."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from oedi_spark.contracts import Reason
from oedi_spark.contracts_metadata import (
    MetadataFile,
    MetadataListing,
    MetadataPattern,
    WeightModel,
)
from oedi_spark.errors import FileFault, PublishError
from oedi_spark.lake import landing
from oedi_spark.lake.files import read_whole
from oedi_spark.lake.landing import land_file, landing_uri, remove_superseded
from oedi_spark.lake.s3_access import S3Access, client

R = "2024_comstock_amy2018_release_1"
FOLDER = f"release={R}/state=GA/upgrade=0"
HELLO, HELLO_MD5 = b"hello", "5d41402abc4b2a76b9719d911017c592"
OTHER_MD5 = "7d793037a0760186574b0282f2f435e7"


def _file(name: str, county: str | None = None) -> MetadataFile:
    key = f"2024/comstock/metadata/{name}"
    time_utc = "2024-05-01T00:00:00Z"
    return MetadataFile(0, key, MetadataPattern.STATE_FULL, 0, "GA", county, 5, None, time_utc)


def _listing(*, release: str = R, state: str | None = "GA") -> MetadataListing:
    return MetadataListing(release, 0, state, WeightModel.BUILDING, True, ())


def _uri(path: Path) -> str:
    return f"file://{path}"


def _below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _old(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def test_landing_uri_has_release_state_upgrade_and_county() -> None:
    assert landing_uri("s3://bucket/out", _listing(), _file("GA_baseline.parquet")) == (
        "s3://bucket/out/metadata/release=2024_comstock_amy2018_release_1/state=GA/upgrade=0/"
        "GA_baseline.parquet"
    )
    assert landing_uri("file:///out", _listing(), _file("x.parquet", "G1300010")) == (
        f"file:///out/metadata/{FOLDER}/county=G1300010/x.parquet"
    )
    assert landing_uri("file:///out", _listing(state=None), _file("baseline.parquet")) == (
        f"file:///out/metadata/release={R}/state=national/upgrade=0/baseline.parquet"
    )


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a\\b", "a\nb", "a\x00b", "a\u202eb", "a\udcffb"]
)
def test_landing_uri_refuses_what_is_no_plain_name(name: str) -> None:
    for file in (_file(name), _file("x.parquet", name)):
        with pytest.raises(FileFault) as caught:
            landing_uri("file:///out", _listing(), file)
        assert caught.value.reason is Reason.LANDING_FAILED
        assert repr(name) in caught.value.detail


def test_landing_uri_refuses_a_county_that_is_a_path() -> None:
    with pytest.raises(FileFault, match="no plain file name"):
        landing_uri("file:///out", _listing(), _file("x.parquet", "../../state=AL"))


@pytest.mark.parametrize(("release", "state"), [("..", "GA"), ("a/b", "GA"), (R, "../AL")])
def test_landing_uri_refuses_a_folder_that_leads_elsewhere(release: str, state: str) -> None:
    with pytest.raises(FileFault, match="no folder of a partition"):
        landing_uri("file:///out", _listing(release=release, state=state), _file("x.parquet"))


def test_land_file_writes_the_bytes_and_says_their_md5(tmp_path: Path) -> None:
    target = tmp_path / "my lake" / "a%20b.parquet"

    landed = land_file(HELLO, _uri(target), etag=HELLO_MD5, ordinal=7)

    assert target.read_bytes() == HELLO
    assert (landed.md5, landed.size_bytes) == (HELLO_MD5, 5)
    assert (landed.ordinal, landed.uri) == (7, _uri(target))
    assert _below(tmp_path) == {"my lake/a%20b.parquet"}


@pytest.mark.parametrize("etag", [None, "", f"{HELLO_MD5}-3", "W/abc", HELLO_MD5.upper()])
def test_land_file_goes_by_the_bytes_where_the_etag_is_no_other_md5(
    tmp_path: Path, etag: str | None
) -> None:
    assert land_file(HELLO, _uri(tmp_path / "x"), etag=etag, ordinal=0).md5 == HELLO_MD5


def test_land_file_of_an_empty_file(tmp_path: Path) -> None:
    landed = land_file(b"", _uri(tmp_path / "x"), etag=None, ordinal=0)

    assert (landed.md5, landed.size_bytes) == ("d41d8cd98f00b204e9800998ecf8427e", 0)
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.parametrize("etag", [OTHER_MD5, OTHER_MD5.upper()])
def test_land_file_with_another_md5_than_listed_keeps_the_older_copy(
    tmp_path: Path, etag: str
) -> None:
    target = tmp_path / "x.parquet"
    target.write_bytes(b"older")

    with pytest.raises(FileFault) as caught:
        land_file(HELLO, _uri(target), etag=etag, ordinal=0)

    assert caught.value.reason is Reason.LANDING_FAILED
    assert caught.value.detail == (
        f"the source lists MD5 {OTHER_MD5}, the 5 bytes read have {HELLO_MD5}"
    )
    assert target.read_bytes() == b"older"
    assert _below(tmp_path) == {"x.parquet"}


def test_land_file_a_second_time_does_not_write_again(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    land_file(HELLO, _uri(target), etag=None, ordinal=0)
    before = target.stat()

    again = land_file(HELLO, _uri(target), etag=HELLO_MD5, ordinal=3)

    after = target.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (again.ordinal, again.md5) == (3, HELLO_MD5)


def test_land_file_replaces_a_copy_of_the_same_length(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    target.write_bytes(b"HELLO")

    land_file(HELLO, _uri(target), etag=None, ordinal=0)

    assert target.read_bytes() == HELLO


def test_land_file_that_reads_back_otherwise_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.parquet"
    monkeypatch.setattr(landing, "_md5_of", lambda *_: OTHER_MD5)

    with pytest.raises(FileFault) as caught:
        land_file(HELLO, _uri(target), etag=None, ordinal=0)

    assert caught.value.detail == (
        f"x.parquet was written with MD5 {HELLO_MD5} and reads back as {OTHER_MD5}"
    )
    assert _below(tmp_path) == set()


def test_land_file_where_nothing_can_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()

    for target in (tmp_path / "file" / "x", tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(FileFault) as caught:
            land_file(HELLO, _uri(target), etag=None, ordinal=0)
        assert caught.value.reason is Reason.LANDING_FAILED
        assert str(target) in caught.value.detail

    assert _below(tmp_path) == {"file"}


def _landed(root: Path, *names: str) -> dict[str, Path]:
    paths = {name: root / "metadata" / FOLDER / name for name in names}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(HELLO)
    return paths


def test_remove_superseded_leaves_what_this_run_landed(tmp_path: Path) -> None:
    root = tmp_path / "out"
    paths = _landed(root, "GA_baseline.parquet", "GA_upgrade0.parquet", "county=G1300010/x.parquet")
    elsewhere = tmp_path / "out/metadata" / FOLDER.replace("GA", "AL") / "x.parquet"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(HELLO)

    removed = remove_superseded(_uri(root), FOLDER, [_uri(paths["GA_baseline.parquet"])])

    assert removed == (
        _uri(paths["GA_upgrade0.parquet"]),
        _uri(paths["county=G1300010/x.parquet"]),
    )
    assert _below(root / "metadata") == {
        f"{FOLDER}/GA_baseline.parquet",
        f"{FOLDER.replace('GA', 'AL')}/x.parquet",
    }
    assert not paths["county=G1300010/x.parquet"].parent.exists()


def test_remove_superseded_keeps_the_copy_however_the_root_is_spelled(tmp_path: Path) -> None:
    """A slash too many, or a `..`, in the output folder must not make a stranger of the copy."""
    for root in (f"file://{tmp_path}/", f"file://{tmp_path}/x/.."):
        (tmp_path / "x").mkdir(exist_ok=True)
        uri = landing_uri(root, _listing(), _file("x.parquet"))
        land_file(HELLO, uri, etag=None, ordinal=0)

        assert remove_superseded(root, FOLDER, [uri]) == ()
        assert Path(uri.removeprefix("file://")).read_bytes() == HELLO


def test_remove_superseded_gives_a_hidden_file_an_hour(tmp_path: Path) -> None:
    paths = _landed(tmp_path, "x.parquet", ".young.unfinished", "county=G1/.old.unfinished")
    _old(paths[".young.unfinished"], 3500)
    _old(paths["county=G1/.old.unfinished"], 3700)

    removed = remove_superseded(_uri(tmp_path), FOLDER, [_uri(paths["x.parquet"])])

    assert removed == (_uri(paths["county=G1/.old.unfinished"]),)
    assert paths[".young.unfinished"].exists()


def test_remove_superseded_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert remove_superseded(_uri(tmp_path), FOLDER, []) == ()


@pytest.mark.parametrize(
    "folder",
    [
        "",
        ".",
        "..",
        f"release={R}",
        f"release={R}/state=GA",
        f"release={R}/state=GA/upgrade=0/",
        f"release={R}/state=GA/upgrade=0/..",
        f"release={R}/state=GA/upgrade=x",
        f"release={R}/state=../upgrade=0",
        "release=../state=GA/upgrade=0",
        f"../metadata/{FOLDER}",
        f"{FOLDER}\n",
    ],
)
def test_remove_superseded_refuses_any_other_folder(tmp_path: Path, folder: str) -> None:
    _landed(tmp_path, "x.parquet")
    (tmp_path / "metadata" / "y.parquet").write_bytes(HELLO)

    with pytest.raises(PublishError, match="no folder of a partition"):
        remove_superseded(_uri(tmp_path), folder, [])

    assert len(_below(tmp_path)) == 2


def test_remove_superseded_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(HELLO)
    root = tmp_path / "out"
    kept = _landed(root, "x.parquet")["x.parquet"]
    for name, target in {"county=G1": outside, "y.parquet": outside / "precious"}.items():
        (kept.parent / name).symlink_to(target)

    removed = remove_superseded(_uri(root), FOLDER, [_uri(kept)])

    assert removed == (_uri(kept.parent / "county=G1"), _uri(kept.parent / "y.parquet"))
    assert _below(outside) == {"precious"}
    assert _below(root / "metadata" / FOLDER) == {"x.parquet"}


def test_remove_superseded_of_a_folder_that_is_a_link_elsewhere_removes_nothing(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "outside"
    (outside / "upgrade=0").mkdir(parents=True)
    (outside / "upgrade=0" / "precious").write_bytes(HELLO)
    state = tmp_path / "out" / "metadata" / f"release={R}" / "state=GA"
    state.parent.mkdir(parents=True)
    state.symlink_to(outside)

    with pytest.raises(PublishError, match="lies outside"):
        remove_superseded(_uri(tmp_path / "out"), FOLDER, [])

    assert _below(outside) == {"upgrade=0/precious"}


def test_land_file_and_remove_superseded_in_an_object_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        access = S3Access(f"http://{host}:{port}", "us-east-1", path_style=True)
        client(access).create_bucket(Bucket="bucket")
        root = "s3://bucket/out"
        first = landing_uri(root, _listing(), _file("a?b%20c d.parquet"))
        second = landing_uri(root, _listing(), _file("x.parquet", "G1300010"))
        for uri in (first, second):
            landed = land_file(HELLO, uri, access, etag=HELLO_MD5, ordinal=0)
            assert landed.md5 == HELLO_MD5
        with monkeypatch.context() as patch:
            patch.setattr(landing, "_write", lambda *_: pytest.fail("written again"))
            land_file(HELLO, first, access, etag=None, ordinal=0)
        assert read_whole(first, access) == HELLO
        assert remove_superseded(root, FOLDER, [first], access) == (second,)
        assert remove_superseded(root, FOLDER, [first], access) == ()
    finally:
        server.stop()


@pytest.mark.real_lake
def test_the_real_file_lands_with_equal_md5(real_lake: Path, tmp_path: Path) -> None:
    (source,) = real_lake.rglob("GA_baseline_metadata_and_annual_results.parquet")
    data = source.read_bytes()
    file = replace(_file(""), key=source.relative_to(real_lake).as_posix())
    uri = landing_uri(_uri(tmp_path), _listing(), file)

    landed = land_file(data, uri, etag=None, ordinal=0)

    copied = tmp_path / "metadata" / FOLDER / source.name
    assert hashlib.md5(copied.read_bytes()).hexdigest() == landed.md5
    assert landed.md5 == hashlib.md5(data).hexdigest()
