"""The public bucket without any AWS setting: nothing is signed, nothing is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oedi_spark.config import RunConfig
from oedi_spark.errors import FileFault
from oedi_spark.source.storage import S3Storage, SourceLocation
from oedi_spark.survey import source_location
from tests.conftest import COMSTOCK
from tests.faults.proxy import FaultProxy
from tests.faults.server import Lake


@pytest.fixture
def metadata_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    """What a machine in the cloud asks for credentials; here nobody is behind it."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    service = FaultProxy("http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    yield service
    service.stop()


def _location(proxy: FaultProxy) -> SourceLocation:
    config = RunConfig.model_validate(
        {
            "src_bucket": "oedi-data-lake",
            "output_dir": "out",
            "job_specific": [COMSTOCK | {"state": "*", "upgrades": "*"}],
            "source": {"endpoint_url": proxy.url, "path_style": True},
        }
    )
    return source_location(config)


def test_public_bucket_is_read_unsigned_and_no_credentials_are_looked_for(
    lake: Lake,
    proxy: FaultProxy,
    metadata_service: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for: list[str] = []

    def load(resolver: object) -> None:
        looked_for.append(type(resolver).__name__)

    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", load)
    storage = S3Storage(_location(proxy))
    key = lake.series[0]

    (listed,) = [each for each in storage.list_tree(key.rsplit("/", 1)[0]) if each.key == key]
    assert storage.read_file(key, etag=listed.etag) == (lake.folder / key).read_bytes()
    with storage.open_file(key, etag=listed.etag) as file:
        assert file.read(4) == b"PAR1"

    sent = [{name.lower() for name in each.headers} for each in proxy.requests]
    assert len(sent) >= 3
    assert not [names for names in sent if {"authorization", "x-amz-security-token"} & names]
    assert looked_for == []
    assert metadata_service.requests == []


def test_a_signed_source_does_look_for_credentials_and_for_the_machine_s(
    lake: Lake, proxy: FaultProxy, metadata_service: FaultProxy
) -> None:
    """That the test above would notice."""
    location = replace(_location(proxy), anonymous=False, max_attempts=1)

    with pytest.raises(FileFault):
        S3Storage(location).read_file(lake.series[0], etag=None)

    asked = [each.path for each in metadata_service.requests]
    assert "/latest/meta-data/iam/security-credentials/" in asked
