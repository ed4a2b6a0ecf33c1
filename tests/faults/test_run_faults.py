"""The whole job from an S3 server that misbehaves: what passes is retried, what stays is told."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from tests.conftest import COMSTOCK, MakeConfig, ReadTable
from tests.faults.proxy import (
    Answer,
    Exchange,
    FaultProxy,
    Rule,
    Spoil,
    damage,
    damage_unproved,
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
    stall_before,
    stall_inside,
    truncate,
)
from tests.faults.server import BUCKET, Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JOB = COMSTOCK | {"state": "*", "upgrades": "0"}
ORDER = [("bldg_id", "ascending"), ("hour_start", "ascending")]


def from_s3(folder: Path, url: str, *, attempts: int, **settings: object) -> RunConfig:
    """A run over the public bucket's name, with nothing said of signing."""
    return RunConfig.model_validate(
        {
            "src_bucket": BUCKET,
            "output_dir": str(folder / "s3-out"),
            "job_specific": [JOB],
            "source": {
                "endpoint_url": url,
                "path_style": True,
                "connect_timeout_s": 2,
                "read_timeout_s": 2,
                "max_attempts": attempts,
            },
            "settings": {"log_dir": str(folder / "s3-logs"), **settings},
        }
    )


def once_each(keys: Iterable[str], spoils: Iterable[Spoil]) -> list[Rule]:
    return [Rule(key, spoil, count=1) for key, spoil in zip(keys, spoils, strict=True)]


def be_busy(exchange: Exchange) -> None:
    """Another 503, from a load balancer that writes no XML."""
    exchange.answer = Answer(503, [("Content-Type", "text/html")], b"<html>busy</html>")
    exchange.send()


@pytest.mark.timeout(180)
def test_faults_that_pass_leave_no_trace_and_nothing_is_signed(
    tmp_path: Path,
    lake: Lake,
    proxy: FaultProxy,
    spark: Future[SparkSession],
    make_config: MakeConfig,
    read_table: ReadTable,
) -> None:
    whole = make_config(lake.folder, JOB)
    assert pipeline.run(whole, spark).exit_code == 0
    passing = [slow_down, slow_down, reset_before, reset_inside, truncate, stall_before]
    passing += [stall_inside, truncate, damage, damage_unproved, skew, redirect, slow_down]
    passing += [be_busy]
    config = from_s3(tmp_path, proxy.url, attempts=5)
    found = pipeline.plan(config)
    proxy.rules += once_each(lake.series, passing)
    proxy.rules += [Rule(lake.series[0], slow_down, count=2)]
    proxy.rules += [Rule(lake.metadata[0], spoil, 1) for spoil in (reset_inside, slow_down)]
    proxy.rules += [Rule("/state=CO/", each, 1, listing=True) for each in (slow_down, truncate)]
    proxy.rules += [Rule("/by_state/", reset_before, count=1, listing=True)]

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 0
    assert summary.data_files.lost == {}
    assert [rule.spoiled for rule in proxy.rules] == [rule.count for rule in proxy.rules]
    assert len(found.index.files) == 14
    expected, hours = read_table(whole).sort_by(ORDER), read_table(config).sort_by(ORDER)
    assert hours.num_rows == 14 * 8760
    assert hours.equals(expected)
    for table in ("metadata", "building_weights"):
        keys = [(name, "ascending") for name in ("bldg_id", "geography_kind", "geography")]
        rows, others = read_table(config, table), read_table(whole, table)
        order = [key for key in keys if key[0] in rows.column_names]
        assert rows.num_rows > 0
        assert rows.sort_by(order).equals(others.sort_by(order))
    assert not [each for each in proxy.requests if "Authorization" in each.headers]


PERMANENT = {
    deny: ("access_denied", "HTTP 403, AccessDenied"),
    repeat_request: ("access_denied", "HTTP 403, unknown"),
    lose: ("not_found", "HTTP 404, NoSuchKey"),
    expire: ("access_denied", "HTTP 400, ExpiredToken: the credentials have expired"),
    skew: ("fetch_failed", "HTTP 403, RequestTimeTooSkewed: the clock of this machine is wrong"),
    redirect: (
        "fetch_failed",
        "HTTP 301, PermanentRedirect: the bucket is in region eu-west-1; set source.region",
    ),
    slow_down: ("fetch_failed", "HTTP 503, SlowDown"),
    relabel: ("changed_since_listing", "ETag "),
    damage_unproved: ("checksum_mismatch", "MD5 "),
    reset_before: ("fetch_failed", "2 attempts: ConnectionClosedError: "),
    truncate: ("fetch_failed", "2 attempts: BrokenAnswerError: "),
    stall_inside: ("fetch_failed", "2 attempts: BrokenAnswerError: "),
    stall_before: ("fetch_failed", "2 attempts: ReadTimeoutError: "),
}
"""What stays, and the reason and the beginning of the detail that the summary gives."""


@pytest.mark.timeout(180)
def test_faults_that_stay_become_reasons_and_the_others_are_published(
    tmp_path: Path,
    lake: Lake,
    proxy: FaultProxy,
    spark: Future[SparkSession],
    read_table: ReadTable,
) -> None:
    config = from_s3(tmp_path, proxy.url, attempts=2, max_failed_fraction=0.99)
    sound, broken = lake.series[6], [*lake.series[:6], *lake.series[7:]]
    assert len(PERMANENT) == len(broken)
    proxy.rules += [Rule(key, spoil) for key, spoil in zip(broken, PERMANENT, strict=True)]
    proxy.rules += [Rule(lake.metadata[0], truncate)]

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 6
    lost = summary.data_files.lost
    assert sorted(lost) == sorted(broken)
    for key, (reason, detail) in zip(broken, PERMANENT.values(), strict=True):
        assert lost[key].startswith(f"{reason}: {detail}"), (key, lost[key])
    hours = read_table(config)
    assert hours.num_rows == 8760
    (bldg_id,) = set(hours["bldg_id"].to_pylist())
    assert sound.endswith(f"/{bldg_id}-0.parquet")
    assert read_table(config, "metadata").num_rows == 0
