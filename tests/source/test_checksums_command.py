"""`oedi-spark checksums`: a bucket's ETags, or a folder's bytes, as an `MD5SUMS` that holds."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from oedi_spark.cli_checksums import checksums
from oedi_spark.contracts import Reason
from oedi_spark.errors import FileFault
from oedi_spark.source.storage import LocalStorage, SourceLocation
from tests.conftest import COMSTOCK
from tests.source.conftest import BUCKET, S3Client

BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
RELEASE = f"{BASE}/2024/comstock_amy2018_release_1"
SERIES = f"{RELEASE}/timeseries_individual_buildings/by_state/upgrade=0/state=CO"
METADATA = (
    f"{RELEASE}/metadata_and_annual_results/by_state/state=CO/parquet/"
    "CO_baseline_metadata_and_annual_results.parquet"
)
HELLO = "5d41402abc4b2a76b9719d911017c592"
WORLD = "7d793037a0760186574b0282f2f435e7"
LINES = f"{HELLO}  {METADATA}\n{WORLD}  {SERIES}/2-0.parquet\n"
MIB_5 = 5 * 2**20


def _write_config(folder: Path, **source: object) -> str:
    document = {
        "output_dir": "./out",
        "job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0"}],
        **source,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    return str(folder / "run.yaml")


def _print_checksums(config: str) -> Result:
    app = typer.Typer()
    app.command()(checksums)
    return CliRunner().invoke(app, ["--config", config], catch_exceptions=False)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A metadata file and a building, one file of no building, and a manifest that is none."""
    for key, content in ((METADATA, b"hello"), (f"{SERIES}/2-0.parquet", b"world")):
        path = tmp_path / "lake" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (tmp_path / "lake" / SERIES / "notes.txt").write_text("not read")
    (tmp_path / "lake/MD5SUMS").write_text("not a line\n")
    return tmp_path / "lake"


def test_of_a_folder_the_files_are_read_as_they_are_whatever_its_manifest_says(
    lake: Path, tmp_path: Path
) -> None:
    done = _print_checksums(_write_config(tmp_path, src_bucket=str(lake)))

    assert (done.exit_code, done.stdout, done.stderr) == (0, LINES, "")


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_printed(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(storage: LocalStorage, key: str, *, etag: str | None) -> io.BufferedIOBase:
        if key.endswith("2-0.parquet"):
            raise FileFault(Reason.ACCESS_DENIED, "closed\n")
        return opened(storage, key, etag=etag)

    opened = LocalStorage.open_file
    monkeypatch.setattr(LocalStorage, "open_file", refuse)

    done = _print_checksums(_write_config(tmp_path, src_bucket=str(lake)))

    assert (done.exit_code, done.stdout) == (6, f"{HELLO}  {METADATA}\n")
    assert done.stderr == f"left out  access_denied  {SERIES}/2-0.parquet  closed\\n\n"


def test_of_a_bucket_the_etags_that_are_md5s_verify_a_copy(
    s3: S3Client, moto_url: str, tmp_path: Path
) -> None:
    s3.put_object(Bucket=BUCKET, Key=METADATA, Body=b"hello")
    s3.put_object(Bucket=BUCKET, Key=f"{SERIES}/2-0.parquet", Body=b"world")
    s3.put_object(Bucket=BUCKET, Key=f"{SERIES}/notes.txt", Body=b"not read")
    _upload_in_parts(s3, f"{SERIES}/3-0.parquet")
    source = {"anonymous": False, "endpoint_url": moto_url, "path_style": True}

    done = _print_checksums(_write_config(tmp_path, src_bucket=BUCKET, source=source))

    assert (done.exit_code, done.stdout) == (0, LINES)
    assert done.stderr == "left out  1 file(s) whose ETag is no MD5: uploaded in parts\n"
    (tmp_path / "copy" / SERIES).mkdir(parents=True)
    (tmp_path / "copy/MD5SUMS").write_text(done.stdout)
    (tmp_path / "copy" / SERIES / "2-0.parquet").write_bytes(b"worle")
    copy = LocalStorage(SourceLocation(str(tmp_path / "copy"), is_local=True))
    (listed,) = copy.list_files(SERIES)
    with pytest.raises(FileFault) as caught:
        copy.read_file(listed.key, etag=listed.etag)
    assert caught.value.reason is Reason.CHECKSUM_MISMATCH


def _upload_in_parts(s3: S3Client, key: str) -> None:
    parts = (b"a" * MIB_5, b"b")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    place = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    etags = [
        s3.upload_part(**place, PartNumber=at, Body=one)["ETag"] for at, one in enumerate(parts, 1)
    ]
    listed = [{"PartNumber": at, "ETag": etag} for at, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})
    digests = b"".join(hashlib.md5(one).digest() for one in parts)
    wanted = f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert s3.head_object(Bucket=BUCKET, Key=key)["ETag"] == wanted
