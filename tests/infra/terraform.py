"""Terraform as these tests run it: found, given a mirror of its provider, bounded in time."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

VERSION = "5.100.0"
_PROVIDER = Path("hashicorp") / "aws"
"""Below the host that it comes from, which a mirror has as its topmost folder."""
_SEARCHED = ("/opt", "/usr/local", "/usr/share", "/srv", "/var/lib")
_DEPTH = 3
_MOST_FOLDERS = 20_000

ACCOUNT_ID = "123456789012"
"""Whose credentials everybody has, as moto answers."""
REGION = "us-east-1"
CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {
        "AWS_ACCESS_KEY_ID": "AKIAINFRATEST",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-infra-tests",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Whose machine it is must not matter.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)

MODULES = (
    "warehouse",
    "etl_job",
    "workflow",
    "query",
    "monitoring",
    "maintenance",
    "platform",
)
ENVIRONMENTS = ("dev", "prod")


@dataclass(frozen=True)
class Ended:
    """What one call of terraform said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams, with the frames and breaks of an error message taken out."""
        return re.sub(r"[\s│╷╵]+", " ", self.out + self.err)


@dataclass(frozen=True)
class Terraform:
    """The program, and an environment in which nothing of the user's own is read."""

    program: str
    environment: Mapping[str, str] = field(repr=False)

    def run(self, root: Path, *arguments: str, limit_s: float = 90.0) -> Ended:
        """Run it in a folder, with providers and all ended when the time is up.

        Raises:
            AssertionError: It took longer than `limit_s`.
        """
        with subprocess.Popen(
            [self.program, *arguments],
            cwd=root,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate(timeout=10)
                told = f"terraform {arguments[0]} took longer than {limit_s} s"
                raise AssertionError(f"{told}:\n{out}\n{err}") from None
        return Ended(process.returncode, out, err)

    def must(self, root: Path, *arguments: str, limit_s: float = 90.0) -> str:
        """What it printed, when it ended well.

        Raises:
            AssertionError: It did not, or took too long.
        """
        ended = self.run(root, *arguments, limit_s=limit_s)
        assert ended.code == 0, f"terraform {' '.join(arguments)}:\n{ended.out}\n{ended.err}"
        return ended.out

    def outputs(self, root: Path) -> dict[str, Any]:
        """The values of a root's outputs."""
        told = json.loads(self.must(root, "output", "-json"))
        return {name: output["value"] for name, output in told.items()}


@dataclass(frozen=True)
class Applied:
    """An environment that was applied against a server of this machine."""

    url: str
    """Of S3, Glue and all else; every name and password is right there."""
    outputs: Mapping[str, Any]
    """Those of the module `platform`."""
    account_id: str
    region: str
    root: Path = field(repr=False)
    """The folder of the environment, with its state."""

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 clients have no type
        """A client for the test itself, whatever the environment says."""
        import boto3

        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id="looker",
            aws_secret_access_key="looker",
        )

    def read(self, uri: str) -> bytes:
        """An object on the server's S3."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3 = self.client("s3")
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.close()
        return body


def find_program() -> str | None:
    """Terraform on the PATH."""
    return shutil.which("terraform")


def prepare(program: str, folder: Path) -> Terraform:
    """Terraform with a configuration of its own, in a folder.

    With a mirror on the machine its providers come from there and nothing is fetched; otherwise
    they come over the network, once, into a cache in the folder.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TF_"))}
    own = {
        "TF_CLI_CONFIG_FILE": str(folder / "terraform.rc"),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",  # it would ask its maker whether it is new
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    mirror = find_mirror()
    config = "" if mirror is None else _installation(mirror)
    if mirror is None or not _is_unpacked(mirror):
        cache = folder / "providers"
        cache.mkdir()
        own["TF_PLUGIN_CACHE_DIR"] = str(cache)
        # There is no lock file, and the cache is this session's own.
        own["TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"] = "1"
    (folder / "terraform.rc").write_text(config, "utf-8")
    return Terraform(program, kept | own | dict(CREDENTIALS))


def _installation(mirror: Path) -> str:
    block = f"filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}"
    return f"provider_installation {{\n  {block}\n}}\n"


def _is_unpacked(mirror: Path) -> bool:
    return any((host / _PROVIDER / VERSION).is_dir() for host in _folders(mirror))


@functools.cache
def find_mirror() -> Path | None:
    """A folder on this machine that holds the provider in the version that the modules name."""
    for folder in (*_configured(), *_implied(), *_searched()):
        if _holds_provider(folder):
            return folder
    return None


def _holds_provider(folder: Path) -> bool:
    found = (each for host in _folders(folder) for each in _entries(host / _PROVIDER))
    return any(VERSION in each.name for each in found)


def _configured() -> Iterator[Path]:
    """What the user's CLI configuration and environment name; the file may not be there."""
    files = [os.environ.get("TF_CLI_CONFIG_FILE"), os.environ.get("TERRAFORM_CONFIG")]
    for name in (*files, str(Path.home() / ".terraformrc")):
        if name and (file := Path(name)).is_file():
            text = file.read_text("utf-8", "replace")
            yield from map(
                Path, re.findall(r'(?m)^\s*(?:path|plugin_cache_dir)\s*=\s*"(.+)"', text)
            )
    for name, value in os.environ.items():
        if name.startswith("TF_") and value.startswith("/"):
            yield Path(value)


def _implied() -> Iterator[Path]:
    """Where terraform itself looks without being told."""
    yield Path.home() / ".terraform.d" / "plugins"
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for folder in (home, *shared.split(":")):
        yield Path(folder) / "terraform" / "plugins"


def _searched() -> Iterator[Path]:
    """Folders below the usual places, a few levels deep and so many at most."""
    level = [Path(folder) for folder in _SEARCHED]
    seen = 0
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            yield folder
            below += _folders(folder)
        seen += len(below)
        if seen > _MOST_FOLDERS:
            return
        level = below


def _folders(folder: Path) -> list[Path]:
    return [Path(each.path) for each in _entries(folder) if each.is_dir(follow_symlinks=False)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
