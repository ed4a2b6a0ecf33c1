"""Planted credentials: sent to the server and nowhere else, however a run ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from oedi_spark.config import RunConfig, load_config
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.pipeline import catalog_location
from oedi_spark.session import submit_environment
from tests.conftest import PROJECT
from tests.faults.proxy import (
    FaultProxy,
    Rule,
    damage,
    deny,
    expire,
    lose,
    redirect,
    relabel,
    repeat_request,
    reset_before,
    reset_inside,
    skew,
    slow_down,
    stall_inside,
    truncate,
)
from tests.faults.server import Lake
from tests.faults.test_run_faults import from_s3

KEY_ID = "AKIAPLANTEDKEYID0001"
SECRET = "planted0secret0planted0secret0planted0000"
TOKEN = "planted0token0planted0token0planted0token"
PLANTED = (KEY_ID, SECRET, TOKEN)
SUBMIT_LIMIT_S = 150


def environment(folder: Path, *, by_profile: bool) -> dict[str, str]:
    """The credentials, as variables or as a profile; nothing else of AWS."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    given |= submit_environment() | {"PYTHONPATH": str(PROJECT)}
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    if not by_profile:
        return given | {n.upper(): v for n, v in zip(names, PLANTED, strict=True)}
    profile = folder / "credentials"
    lines = [f"{n} = {v}" for n, v in zip(names, PLANTED, strict=True)]
    profile.write_text("\n".join(["[planted]", *lines, ""]))
    return given | {"AWS_SHARED_CREDENTIALS_FILE": str(profile), "AWS_PROFILE": "planted"}


def submit(folder: Path, url: str, *, by_profile: bool) -> tuple[RunConfig, int, str]:
    """The job as a user starts it, with signed requests and the most talkative log."""
    config = from_s3(folder, url, attempts=2, max_failed_fraction=0.99, logging_level="DEBUG")
    document = config.model_dump(mode="json", by_alias=True)
    document["source"]["anonymous"] = False
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    command = Path(sys.executable).with_name("spark-submit")
    done = subprocess.run(
        [str(command), str(PROJECT / "spark_jobs" / "etl.py"), "--config", str(path)],
        env=environment(folder, by_profile=by_profile),
        capture_output=True,
        text=True,
        timeout=SUBMIT_LIMIT_S,
        check=False,
    )
    return load_config(path), done.returncode, done.stdout + done.stderr


def require_unseen(folder: Path, printed: str) -> int:
    """Look for what was planted in all that was printed and written; how many files that was."""
    leaks = [(name, "printed") for name in PLANTED if name in printed]
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "credentials"]
    for path in files:
        content = path.read_bytes()
        leaks += [(name, str(path)) for name in PLANTED if name.encode() in content]
    assert leaks == []
    return len(files)


def require_signed(proxy: FaultProxy) -> None:
    """Every request used what was planted, so that there was something to leak."""
    assert proxy.requests
    for each in proxy.requests:
        assert KEY_ID in each.headers["Authorization"]
        assert each.headers["X-Amz-Security-Token"] == TOKEN


@pytest.mark.timeout(200)
def test_no_credential_is_seen_when_every_fault_happens(
    tmp_path: Path, lake: Lake, proxy: FaultProxy
) -> None:
    spoils = [deny, repeat_request, lose, expire, skew, redirect, slow_down, relabel, damage]
    spoils += [reset_before, reset_inside, truncate, stall_inside]
    broken = [*lake.series[:6], *lake.series[7:]]
    proxy.rules += [Rule(key, spoil) for key, spoil in zip(broken, spoils, strict=True)]
    proxy.rules += [Rule(lake.metadata[0], repeat_request)]

    config, exit_code, printed = submit(tmp_path, proxy.url, by_profile=False)

    assert exit_code == 6, printed
    require_signed(proxy)
    summary = json.loads((tmp_path / "s3-logs" / "summary.json").read_text())
    assert summary["data_files_stats"]["total_data_files_listed"] == 14
    place = catalog_location(config)
    tables = open_catalog(place).list_tables(place.database)
    properties = [str(open_catalog(place).load_table(each).properties) for each in tables]
    assert len(properties) >= 2
    assert require_unseen(tmp_path, printed + "".join(properties)) > 8


@pytest.mark.timeout(200)
def test_no_credential_is_seen_when_the_listing_is_refused_with_all_that_was_sent(
    tmp_path: Path, lake: Lake, proxy: FaultProxy
) -> None:
    proxy.rules += [Rule("/", repeat_request, listing=True)]

    _, exit_code, printed = submit(tmp_path, proxy.url, by_profile=True)

    assert exit_code == 3, printed
    assert "HTTP 403, unknown" in printed
    require_signed(proxy)
    assert require_unseen(tmp_path, printed) >= 2


@pytest.mark.timeout(200)
def test_no_credential_is_seen_when_all_goes_well(
    tmp_path: Path, lake: Lake, proxy: FaultProxy
) -> None:
    config, exit_code, printed = submit(tmp_path, proxy.url, by_profile=True)

    assert exit_code == 0, printed
    require_signed(proxy)
    assert config.source.anonymous is False
    assert require_unseen(tmp_path, printed) > 8
