"""A config that lies on S3: `--config s3://bucket/run.yaml`, read whole and once.

The endpoint, the region and the credentials are those of the environment (a role, a profile,
`AWS_ENDPOINT_URL_S3`): the file that could name others is the one that is about to be read.
"""

from __future__ import annotations

import re
import time
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from oedi_spark.errors import ConfigError

SIZE_LIMIT_BYTES = 1024 * 1024
"""A config of every release, state and upgrade has a hundredth of it."""
CONNECT_LIMIT_S = 10
READ_LIMIT_S = 20
BODY_LIMIT_S = 60
ATTEMPTS = 4

_PIECE_BYTES = 16 * 1024
_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f]{1,1024})")


def is_remote(source: str) -> bool:
    """Whether a config is named by its place on S3 rather than by a path."""
    return source.startswith(("s3:", "s3a:", "s3n:"))


class _BrokenBodyError(Exception):
    """The answer began well and then broke off."""


def read_remote_config(source: str) -> bytes:
    """The bytes of a config on S3.

    Raises:
        ConfigError: It is not there, must not be read, is no config by its size, or could not
            be fetched within the limits of this module.
    """
    match = _URI.fullmatch(source)
    if match is None or match[2].endswith("/"):
        raise ConfigError(source, ["is no place of a file; write s3://bucket/folder/run.yaml"])
    try:
        import boto3  # noqa: PLC0415 - an extra: who reads files does without it
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(source, [f"S3 needs the extra `aws` ({error})"]) from error
    limits = Config(
        connect_timeout=CONNECT_LIMIT_S,
        read_timeout=READ_LIMIT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    attempts = Retrying(
        retry=retry_if_exception_type(_BrokenBodyError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        client = boto3.session.Session().client("s3", config=limits)
        return attempts(_read_once, client, source, bucket=match[1], key=match[2])
    except ClientError as error:
        raise ConfigError(source, [_explain_answer(error)]) from error
    except (BotoCoreError, _BrokenBodyError, ValueError) as error:
        raise ConfigError(source, [_explain_failure(error)]) from error


def _read_once(client: Any, source: str, *, bucket: str, key: str) -> bytes:  # noqa: ANN401 - boto3 has no types
    """One GET; what fails before the body, botocore has tried again already."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    answer = client.get_object(Bucket=bucket, Key=key)
    content, give_up_at = b"", time.monotonic() + BODY_LIMIT_S
    try:
        for piece in answer["Body"].iter_chunks(_PIECE_BYTES):
            content += piece
            if len(content) > SIZE_LIMIT_BYTES:
                fault = f"holds more than {SIZE_LIMIT_BYTES:,} bytes, which no config does"
                raise ConfigError(source, [fault])
            if time.monotonic() > give_up_at:
                raise ConfigError(source, [f"took more than {BODY_LIMIT_S} s; try again"])
    except (BotoCoreError, OSError) as error:
        raise _BrokenBodyError(type(error).__name__) from error
    return bytes(content)


def _explain_answer(error: Any) -> str:  # noqa: ANN401 - botocore has no types
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = str(error.response.get("Error", {}).get("Code", "unknown"))[:60]
    if status == 403:
        what = "access denied (HTTP 403)"
        return f"{what}; allow s3:GetObject on it, and s3:ListBucket, or a wrong key says so too"
    if status == 404:
        missing = "bucket" if code == "NoSuchBucket" else "object"
        return f"there is no such {missing} (HTTP 404); check its name and the region"
    return f"S3 answered HTTP {status}, {code}"


def _explain_failure(error: Exception) -> str:
    """By the kind of the error alone: its text may hold an endpoint, a profile, a header."""
    kind = str(error) if isinstance(error, _BrokenBodyError) else type(error).__name__
    way_out = "check the credentials, AWS_REGION, AWS_ENDPOINT_URL_S3 and the network"
    return f"could not be read: {kind}, after at most {ATTEMPTS} attempts; {way_out}"
