"""The config of one run, put on S3 where the job finds it: named by its content, never replaced."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from oedi_spark.config_remote import SIZE_LIMIT_BYTES, is_remote, read_remote_config
from oedi_spark.deployment.client import ATTEMPTS, Client, explained, one_line
from oedi_spark.errors import ConfigError, DeploymentError

_FOLDER = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([A-Za-z0-9!_.*'()=/-]{1,900}?)/?")
_THERE_ALREADY = "PreconditionFailed"
_AT_THE_SAME_TIME = "ConditionalRequestConflict"


def upload_config(s3: Client, path: str, runs_uri: str) -> str:
    """Put a config that was found valid under `runs_uri`, unless it is there already.

    The name is the SHA-256 of the content, so that one config is one object however often it
    runs. How it is encrypted is the bucket's to say.

    Args:
        s3: A client of S3.
        path: The file, here or on S3, where the job might have no right to it; a `.json` stays
            one, because the job goes by the name.
        runs_uri: The folder, as the workflow names it.

    Returns:
        Its URI.

    Raises:
        ConfigError: The file cannot be read or is too large.
        DeploymentError: It cannot be put there, or something else has its name.
    """
    content = _read(path)
    folder = _FOLDER.fullmatch(runs_uri)
    if folder is None:
        what, way_out = "the folder for configs of runs", "Apply the Terraform of this version"
        raise DeploymentError(what, f"runs_uri is {one_line(runs_uri, 80)!r}", way_out)
    ending = ".json" if path.lower().endswith(".json") else ".yaml"
    bucket, key = folder[1], f"{folder[2]}/{hashlib.sha256(content).hexdigest()[:16]}{ending}"
    uri = f"s3://{bucket}/{key}"
    attempts = Retrying(
        retry=retry_if_exception(_met_another),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
    try:
        attempts(_put_new, s3, bucket, key, content)
    except DeploymentError as error:
        if error.code != _THERE_ALREADY:
            raise
        if read_remote_config(uri) != content:
            way_out = "Remove it after looking at it, and try again"
            cause = "an object of that name has other content"
            raise DeploymentError(f"{uri} was not written", cause, way_out) from error
    return uri


def _put_new(s3: Client, bucket: str, key: str, content: bytes) -> None:
    with explained("s3", f"s3://{bucket}/{key} was not written"):
        s3.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")


def _met_another(error: BaseException) -> bool:
    return isinstance(error, DeploymentError) and error.code == _AT_THE_SAME_TIME


def _read(path: str) -> bytes:
    if is_remote(path):
        return read_remote_config(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        fault = f"file: cannot be read: {error.strerror}; check the path"
        raise ConfigError(path, [fault]) from error
    if len(content) > SIZE_LIMIT_BYTES:
        fault = f"holds {len(content):,} bytes; the job reads at most {SIZE_LIMIT_BYTES:,}"
        raise ConfigError(path, [fault])
    return content
