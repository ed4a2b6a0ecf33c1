"""What the S3 server of these tests holds, and a client to fill it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUCKET = "oedi-data-lake"


@dataclass(frozen=True)
class Lake:
    """What the server holds: the bucket's keys, and the same as a folder."""

    url: str
    folder: Path
    series: tuple[str, ...]
    metadata: tuple[str, ...]


def client(url: str) -> Any:  # noqa: ANN401 - boto3 clients have no type
    """A client for the test itself, whatever the environment says."""
    import boto3

    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="filler",
        aws_secret_access_key="filler",
    )
