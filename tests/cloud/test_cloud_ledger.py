"""The ledger on S3 and in a Glue that refuses stale versions: many runs at once, lost answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from pyiceberg.catalog import Catalog

from oedi_spark.lake import ledger as lake_ledger
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.ledger import open_ledger, read_discrepancies, read_runs, runs_definition
from tests.cloud.cloud import Cloud
from tests.lake.test_ledger import PATIENT, enter, run_of
from tests.named import files_named_by

RUNS = 8


@pytest.fixture
def place(cloud: Cloud, bucket: str) -> CatalogLocation:
    """A database of this test's own in the server's Glue; what is written is to be encrypted."""
    return CatalogLocation(
        kind="glue",
        name="oedi",
        database=bucket.replace("-", "_"),
        warehouse_uri=f"s3://{bucket}/out/warehouse",
        access=replace(cloud.access, sse="AES256"),
        glue_endpoint_url=cloud.url,
    )


def named_files(place: CatalogLocation, *tables: str) -> set[str]:
    """What the tables name: metadata files, manifests, rows."""
    named: set[str] = set()
    for name in tables:
        table = open_catalog(place, create=False).load_table((place.database, name))
        named |= files_named_by(table)
    return named


def assert_nothing_else_lies_there(
    cloud: Cloud, place: CatalogLocation, bucket: str, *tables: str
) -> None:
    """Every object is one that a table names, and encrypted as it was asked for."""
    keys = cloud.keys(bucket)
    assert {f"s3://{bucket}/{key}" for key in keys} == named_files(place, *tables)
    s3 = cloud.client("s3")
    asked = {s3.head_object(Bucket=bucket, Key=k).get("ServerSideEncryption") for k in keys}
    s3.close()
    assert asked == {"AES256"}


def test_eight_runs_at_once_lose_no_row_and_double_none(
    cloud: Cloud, place: CatalogLocation, bucket: str
) -> None:
    enter(place, "run-first", ["a"])
    barrier, refused_before = Barrier(RUNS), cloud.refusals()

    def work(at: int) -> None:
        barrier.wait(30)
        enter(place, f"run-{at}", ["a", "b"], PATIENT)

    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(work, range(RUNS)))

    ids = ["run-first", *(f"run-{at}" for at in range(RUNS))]
    assert sorted(str(row["run_id"]) for row in read_runs(place)) == sorted(ids)
    keys = sorted((str(row["run_id"]), row["key"]) for row in read_discrepancies(place))
    assert keys == sorted([("run-first", "a"), *((x, y) for x in ids[1:] for y in ("a", "b"))])
    assert cloud.refusals() > refused_before  # they did get in each other's way
    assert_nothing_else_lies_there(cloud, place, bucket, "runs", "discrepancies")


@pytest.mark.parametrize("happened", [True, False])
def test_update_whose_answer_is_lost_gives_one_row_whether_it_happened_or_not(
    cloud: Cloud,
    place: CatalogLocation,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    happened: bool,
) -> None:
    enter(place, "run-0")
    opened, calls = open_catalog(place), []
    client: Any = opened
    ask: Callable[..., Any] = client.glue.update_table

    def lose_first_answer(**wanted: object) -> object:
        calls.append(wanted)
        if len(calls) > 1:
            return ask(**wanted)
        if happened:
            ask(**wanted)
        raise ReadTimeoutError(endpoint_url=cloud.url)

    def hand_out(_: CatalogLocation) -> Catalog:
        return opened

    with monkeypatch.context() as patch:
        patch.setattr(client.glue, "update_table", lose_first_answer)
        patch.setattr(lake_ledger, "open_catalog", hand_out)
        with open_ledger(place, "run-1") as entry:
            entry.append(runs_definition(), [run_of("run-1")])

    assert len(calls) == (1 if happened else 2)
    assert [row["run_id"] for row in read_runs(place)] == ["run-1", "run-0"]
    assert_nothing_else_lies_there(cloud, place, bucket, "runs")
