"""Commits to Glue that others beat us to, whose answer is lost, or that Glue has no time for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition, StagedFile
from oedi_spark.errors import CommitUnknownError
from oedi_spark.lake import glue
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table, reserve_columns
from oedi_spark.lake.file_io import access_of
from oedi_spark.lake.files import list_uris
from oedi_spark.lake.schemas import hourly_definition
from oedi_spark.lake.sweep import sweep_run
from oedi_spark.lake.writer import replace_partitions
from tests.cloud.cloud import Cloud
from tests.lake.conftest import TOTAL, stage  # noqa: F401 - a fixture

RELEASE = "2024_comstock_amy2018_release_1"
CO, GA = Partition(RELEASE, "CO", 0), Partition(RELEASE, "GA", 0)
Stage = Callable[..., StagedFile]


@pytest.fixture
def place(cloud: Cloud, bucket: str) -> CatalogLocation:
    """A database of this test's own in the server's Glue; nothing is there yet."""
    return CatalogLocation(
        kind="glue",
        name="oedi",
        database=bucket.replace("-", "_"),
        warehouse_uri=f"s3://{bucket}/out/warehouse",
        access=cloud.access,
        glue_endpoint_url=cloud.url,
    )


@pytest.fixture
def hourly(place: CatalogLocation) -> Table:
    """The hourly table, empty, with one measure."""
    return open_table(open_catalog(place), place, hourly_definition([TOTAL]))


def reopen(place: CatalogLocation) -> Table:
    return open_catalog(place, create=False).load_table((place.database, "hourly"))


def values(place: CatalogLocation) -> dict[str, list[float]]:
    """What a new reader finds, by state."""
    rows = reopen(place).scan().to_arrow().to_pylist()
    return {
        state: sorted(row["total_kwh"] for row in rows if row["state"] == state)
        for state in sorted({row["state"] for row in rows})
    }


def around_update(table: Table, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]) -> None:
    """Let `work(ask, wanted)` stand in for the table's next UpdateTable; later ones are plain."""
    client: Any = table.catalog
    ask, calls = client.glue.update_table, []

    def update(**wanted: object) -> object:
        calls.append(wanted)
        return work(ask, wanted) if len(calls) == 1 else ask(**wanted)

    monkeypatch.setattr(client.glue, "update_table", update)


def test_commit_from_an_old_version_is_refused_and_made_again(
    cloud: Cloud,
    place: CatalogLocation,
    hourly: Table,
    stage: Stage,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = stage(hourly, CO, 1.5, "run-co")
    other = reopen(place)

    def be_beaten(ask: Callable[..., Any], wanted: dict[str, Any]) -> object:
        replace_partitions(other, [GA], [stage(other, GA, 2.5, "run-ga")], run_id="run-ga")
        return ask(**wanted)

    around_update(hourly, monkeypatch, be_beaten)
    refused_before = cloud.refusals()

    publication = replace_partitions(hourly, [CO], [staged], run_id="run-co")

    assert cloud.refusals() == refused_before + 1
    assert values(place) == {"CO": [1.5] * 4, "GA": [2.5] * 4}
    assert reopen(place).current_snapshot().snapshot_id == publication.snapshot_id  # type: ignore[union-attr] # it has one


def test_column_that_another_run_adds_at_the_same_time_is_there_once(
    place: CatalogLocation, hourly: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    cooling = Column("cooling_kwh", "cooling", "kwh", "sum", known=True)
    heating = Column("heating_kwh", "heating", "kwh", "sum", known=True)
    other = reopen(place)

    def be_beaten(ask: Callable[..., Any], wanted: dict[str, Any]) -> object:
        reserve_columns(other, [cooling, heating])
        return ask(**wanted)

    around_update(hourly, monkeypatch, be_beaten)

    reserved = reserve_columns(hourly, [heating])

    names = [field.name for field in reserved.schema().fields]
    assert sorted(names[5:]) == ["cooling_kwh", "heating_kwh", "total_kwh"]


def test_commit_whose_answer_is_lost_is_unknown_and_nothing_of_it_is_removed(
    cloud: Cloud,
    place: CatalogLocation,
    hourly: Table,
    stage: Stage,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = stage(hourly, CO, 1.5, "run-co")

    def lose_the_answer(ask: Callable[..., Any], wanted: dict[str, Any]) -> object:
        ask(**wanted)
        raise ReadTimeoutError(endpoint_url=cloud.url)

    around_update(hourly, monkeypatch, lose_the_answer)

    with pytest.raises(CommitUnknownError, match="ReadTimeoutError"):
        replace_partitions(hourly, [CO], [staged], run_id="run-co")

    assert values(place) == {"CO": [1.5] * 4}
    assert sweep_run(reopen(place), "run-co", [CO]) == ()


def test_update_is_sent_once_even_when_its_answer_does_not_come(
    cloud: Cloud,
    place: CatalogLocation,
    hourly: Table,
    stage: Stage,  # noqa: F811 - a fixture
) -> None:
    """Sent again by botocore it would be refused, and the refusal read as a lost race."""
    staged = stage(hourly, CO, 1.5, "run-co")
    client: Any = hourly.catalog
    sender = client.glue.update_table.__closure__[0].cell_contents.__self__
    sent: list[int] = []

    def lose_first_answer(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore has no types
        sent.append(1)
        if len(sent) == 1:
            session = URLLib3Session()
            assert session.send(request).status_code == 200
            session.close()
            raise ReadTimeoutError(endpoint_url=cloud.url)

    sender.meta.events.register("before-send.glue.UpdateTable", lose_first_answer)
    refused_before = cloud.refusals()

    with pytest.raises(CommitUnknownError):
        replace_partitions(hourly, [CO], [staged], run_id="run-co")

    assert (len(sent), cloud.refusals()) == (1, refused_before)
    assert values(place) == {"CO": [1.5] * 4}


def test_glue_that_is_busy_is_asked_again_and_keeps_no_manifest_of_the_first_try(
    place: CatalogLocation,
    hourly: Table,
    stage: Stage,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from botocore.exceptions import ClientError

    def be_busy(**_: object) -> object:
        busy = {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}
        raise ClientError(busy, "UpdateTable")

    busy = glue._telling_busy(be_busy)
    around_update(hourly, monkeypatch, lambda _ask, wanted: busy(**wanted))

    replace_partitions(hourly, [CO], [stage(hourly, CO, 1.5, "run-co")], run_id="run-co")

    table = reopen(place)
    assert values(place) == {"CO": [1.5] * 4}
    (snapshot,) = table.snapshots()
    named = {snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(table.io))}
    lying = list_uris(f"{table.location()}/metadata", access_of(table))
    assert {uri for uri in lying if uri.endswith(".avro")} == named
