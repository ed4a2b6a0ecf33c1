"""The output bucket as a file system: what is written, how it is asked for, what is left behind."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from oedi_spark.lake import object_store
from oedi_spark.lake.files import (
    delete_uris,
    list_below,
    list_uris,
    open_uri,
    read_whole,
    write_whole,
)
from oedi_spark.lake.s3_access import S3Access
from tests.cloud.cloud import REGION, Cloud

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes for a part that is not the last."""


def test_small_file_is_one_put_and_reads_back(cloud: Cloud, bucket: str) -> None:
    uri = f"s3://{bucket}/a?b%20c d#e/f=1.json"
    write_whole(uri, b"one", cloud.access)
    write_whole(uri, b"two", cloud.access)

    assert read_whole(uri, cloud.access) == b"two"
    assert cloud.keys(bucket) == {"a?b%20c d#e/f=1.json"}
    found = cloud.client("s3").head_object(Bucket=bucket, Key="a?b%20c d#e/f=1.json")
    assert found["ETag"] == f'"{hashlib.md5(b"two").hexdigest()}"'  # of one part: no dash


@pytest.mark.parametrize(
    ("access", "asked"),
    [
        ({"sse": None}, (None, None)),
        ({"sse": "AES256"}, ("AES256", None)),
        ({"sse": "aws:kms", "kms_key_id": "alias/lake"}, ("aws:kms", "alias/lake")),
    ],
)
@pytest.mark.parametrize("size_bytes", [3, PART_BYTES + 3])
def test_every_write_asks_for_the_encryption_of_the_config(
    cloud: Cloud,
    bucket: str,
    access: dict[str, str | None],
    asked: tuple[str | None, str | None],
    size_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_store, "PART_BYTES", PART_BYTES)  # the larger one goes up in parts
    reached = S3Access(endpoint_url=cloud.url, region=REGION, path_style=True, **access)  # type: ignore[arg-type] # pairs of a dict
    filesystem, path = open_uri(f"s3://{bucket}/x", reached)
    with filesystem.open_output_stream(path) as stream:
        stream.write(b"1" * size_bytes)

    found = cloud.client("s3").head_object(Bucket=bucket, Key="x")
    assert found["ContentLength"] == size_bytes
    assert (found.get("ServerSideEncryption"), found.get("SSEKMSKeyId")) == asked


def test_file_in_parts_is_there_whole_or_not_at_all(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PART_BYTES
    monkeypatch.setattr(object_store, "PART_BYTES", part)
    data = bytes(range(256)) * (2 * part // 256) + b"end"
    filesystem, path = open_uri(f"s3://{bucket}/large", cloud.access)
    with filesystem.open_output_stream(path) as stream:
        for start in range(0, len(data), 1_000_003):
            stream.write(data[start : start + 1_000_003])
        assert cloud.keys(bucket) == set()

    assert filesystem.get_file_info(path).size == 2 * part + 3
    with filesystem.open_input_file(path) as opened:
        opened.seek(part - 1)
        assert opened.read(3) == b"\xff\x00\x01"
        assert opened.size() == 2 * part + 3
    with filesystem.open_input_stream(path) as opened:
        assert hashlib.md5(opened.read()).digest() == hashlib.md5(data).digest()


def test_upload_that_fails_leaves_no_object_and_no_part(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PART_BYTES
    monkeypatch.setattr(object_store, "PART_BYTES", part)
    impatient = replace(cloud.access, max_attempts=1)
    filesystem, path = open_uri(f"s3://{bucket}/large", impatient)
    stream = filesystem.open_output_stream(path)
    stream.write(b"1" * part)
    s3 = cloud.client("s3")
    (upload,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    s3.abort_multipart_upload(Bucket=bucket, Key="large", UploadId=upload["UploadId"])

    with pytest.raises(OSError, match="HTTP 500"):
        stream.write(b"2" * part)
    stream.close()

    assert cloud.keys(bucket) == set()
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_parquet_goes_there_and_back(cloud: Cloud, bucket: str) -> None:
    table = pa.table({"name": ["a", None], "value": [0.1, float("inf")]})
    filesystem, path = open_uri(f"s3://{bucket}/data/x.parquet", cloud.access)

    pq.write_table(table, path, filesystem=filesystem)

    assert pq.read_table(path, filesystem=filesystem).equals(table)


def test_listings_show_files_and_deleting_leaves_nothing(cloud: Cloud, bucket: str) -> None:
    root = f"s3://{bucket}/t"
    uris = [f"{root}/a.json", f"{root}/b/c.json", f"{root}/b/.d"]
    for uri in uris:
        write_whole(uri, b"", cloud.access)
    cloud.client("s3").put_object(Bucket=bucket, Key="t/b/", Body=b"")  # as a console draws it

    assert list_uris(root, cloud.access) == (uris[0],)
    below = list_below(root, cloud.access, within_uri=root)
    assert {each.uri for each in below} == set(uris)
    assert [each.uri for each in below if each.is_hidden] == [uris[2]]
    assert list_uris(f"{root}/none", cloud.access) == ()
    assert read_whole(uris[0], cloud.access) == b""

    delete_uris([*uris, *uris], cloud.access)
    assert cloud.keys(bucket) == {"t/b/"}


def test_faults_are_those_of_a_file_system(cloud: Cloud, bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match="NoSuchKey"):
        read_whole(f"s3://{bucket}/none", cloud.access)
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        write_whole("s3://no-such-bucket/x", b"", cloud.access)
    filesystem, path = open_uri(f"s3://{bucket}/none", cloud.access)
    assert filesystem.get_file_info(path).type == pafs.FileType.NotFound
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_file(path)
    with pytest.raises(FileNotFoundError):
        filesystem.get_file_info(pafs.FileSelector(path))


def test_writes_are_never_unsigned(
    cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    unknown = S3Access(
        endpoint_url=cloud.url, region=REGION, path_style=True, connect_timeout_s=4.0
    )

    with pytest.raises(PermissionError, match="no usable credentials"):
        write_whole(f"s3://{bucket}/x", b"", unknown)
    assert cloud.keys(bucket) == set()


def test_server_that_is_gone_is_given_up_within_its_limits() -> None:
    gone = S3Access(
        endpoint_url="http://127.0.0.1:9", region=REGION, path_style=True, max_attempts=2
    )
    with pytest.raises(OSError, match="2 attempts"):
        write_whole("s3://bucket/x", b"", gone)
