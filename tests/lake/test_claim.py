"""A run's tables: opened as far as it needs them, and swept wherever a run has been."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.errors import PublishError
from oedi_spark.lake import claim
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.claim import Lake, claim_lake
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.sweep import sweep_run

R = "2024_comstock_amy2018_release_1"
AL, GA = Partition(R, "AL", 0), Partition(R, "GA", 0)
TOTAL = Column("total_kwh", "total", "kwh", "sum", known=True)
VINTAGE = MetadataColumn("in_vintage", "in.vintage", "text", ColumnKind.STRING, "string")
TABLES = ("building_weights", "columns", "hourly", "metadata", "sources")


def _names(place: CatalogLocation) -> list[str]:
    return sorted(name for _, name in open_catalog(place).list_tables(place.database))


def _leave_files(place: CatalogLocation, run_id: str, partition: Partition) -> set[str]:
    """A staged file in every table, as the tasks of a run leave them."""
    left = set()
    for table in TABLES:
        folder = Path(place.table_uri(table).removeprefix("file://")) / "data" / str(partition)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{run_id}-m00000-abc.parquet"
        path.write_bytes(b"half")
        left.add(str(path))
    return left


def _data_files(place: CatalogLocation) -> set[str]:
    root = Path(place.warehouse_uri.removeprefix("file://"))
    return {str(path) for path in root.rglob("data/**/*") if path.is_file()}


def test_claim_lake_without_metadata_opens_none_of_its_tables(place: CatalogLocation) -> None:
    with claim_lake(place, "run-1", [GA], [TOTAL]) as lake:
        assert (lake.metadata, lake.weights) == (None, None)
        assert "total_kwh" in lake.hourly.schema().column_names

    assert _names(place) == ["columns", "hourly", "sources"]


def test_claim_lake_with_metadata_opens_all(place: CatalogLocation) -> None:
    with claim_lake(place, "run-1", [GA], [TOTAL], [VINTAGE]) as lake:
        assert lake.metadata is not None
        assert lake.weights is not None
        assert lake.metadata.schema().column_names[-1] == "in_vintage"
        assert "geography" in lake.weights.schema().column_names
    with claim_lake(place, "run-2", [GA], [TOTAL], []) as lake:
        assert lake.metadata is not None
        assert lake.metadata.schema().column_names[-1] == "in_vintage"

    assert _names(place) == list(TABLES)


@pytest.mark.parametrize("metadata_columns", [None, [VINTAGE]])
def test_a_dead_run_is_swept_in_all_tables(
    place: CatalogLocation, metadata_columns: list[MetadataColumn] | None
) -> None:
    """Also by a run that takes no metadata, and so does not open its tables."""
    with claim_lake(place, "run-0", [GA], [TOTAL], [VINTAGE]):
        pass
    left = _leave_files(place, "run-1", GA)
    others = _leave_files(place, "run-2", GA)
    leases = LeaseBook(f"{place.warehouse_uri}/{place.database}")
    leases.abandon("run-1", [GA])
    assert _data_files(place) == left | others

    with claim_lake(place, "run-3", [AL], [TOTAL], metadata_columns):
        assert _data_files(place) == others


def test_a_run_taken_for_dead_can_publish_no_more_before_anything_of_it_is_swept(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claim_lake(place, "run-0", [GA], [TOTAL], [VINTAGE]):
        pass
    left = _leave_files(place, "sleeper", GA)
    leases = LeaseBook(place.database_uri)
    leases.renew("sleeper", [GA])
    path = Path(place.database_uri.removeprefix("file://"), "_leases", "sleeper.json")
    asleep = json.loads(path.read_text()) | {"machine": "elsewhere", "renewed_at_s": 1.0}
    path.write_text(json.dumps(asleep))
    seen: list[set[str]] = []

    def look_and_sweep(
        table: Table,
        run_id: str,
        partitions: Collection[Partition],
        *,
        spared: Collection[str] = (),
    ) -> tuple[str, ...]:
        if run_id == "sleeper" and not seen:
            with pytest.raises(PublishError, match="took this one for dead"):
                leases.require_held("sleeper")
            seen.append(_data_files(place))
        return sweep_run(table, run_id, partitions, spared=spared)

    monkeypatch.setattr(claim, "sweep_run", look_and_sweep)
    with claim_lake(place, "run-3", [AL], [TOTAL], None):
        assert seen == [left]
        assert _data_files(place) == set()


def test_a_run_that_fails_sweeps_what_it_staged_in_all_tables(place: CatalogLocation) -> None:
    def fail(_: Lake) -> None:
        _leave_files(place, "run-1", GA)
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        claim_lake(place, "run-1", [GA], [TOTAL], [VINTAGE]) as lake,
    ):
        fail(lake)

    assert _data_files(place) == set()


def test_metadata_files_that_lost_a_race_are_swept_in_all_tables(place: CatalogLocation) -> None:
    lost = []
    with claim_lake(place, "run-1", [GA], [TOTAL], [VINTAGE]):
        for table in TABLES:
            folder = Path(place.table_uri(table).removeprefix("file://")) / "metadata"
            lost.append(folder / "00000-00000000-0000-0000-0000-000000000000.metadata.json")
            lost[-1].write_text("{}")

    assert [path.exists() for path in lost] == [False] * len(TABLES)


@pytest.mark.parametrize("is_failing", [True, False])
def test_run_that_another_took_for_dead_sweeps_nothing_that_this_may_be_taking_up(
    place: CatalogLocation, is_failing: bool
) -> None:
    """Also not what an earlier dead run left, which it has found itself."""
    with claim_lake(place, "run-0", [GA], [TOTAL], [VINTAGE]):
        pass
    left = set[str]()

    def be_taken_for_dead() -> None:
        left.update(_leave_files(place, "run-1", GA))
        path = Path(place.database_uri.removeprefix("file://"), "_leases", "run-1.json")
        asleep = json.loads(path.read_text()) | {"machine": "elsewhere", "renewed_at_s": 1.0}
        path.write_text(json.dumps(asleep))
        other = LeaseBook(place.database_uri)
        (dead,) = other.acquire("run-2", [GA])
        other.end(dead)
        if is_failing:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt) if is_failing else nullcontext(),
        claim_lake(place, "run-1", [GA], [TOTAL], [VINTAGE]),
    ):
        be_taken_for_dead()

    assert _data_files(place) == left
    leases = LeaseBook(place.database_uri).others("")
    is_alive = {each.run_id: each.is_alive(time.time()) for each in leases}
    assert is_alive == {"run-1": False, "run-2": True}


@pytest.mark.parametrize("error", [OSError("503 Slow Down"), RuntimeError("a catalog's own")])
@pytest.mark.parametrize("name", ["gather", "_claimed_by_others", "_sweep_dead", "_settle"])
def test_fault_while_an_idle_run_tidies_up_is_only_logged(
    place: CatalogLocation, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    leases = LeaseBook(place.database_uri)
    leases.abandon("run-1", [GA])

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(claim, name, fail)

    claim.tidy_dead_runs(place, "run-2", [GA])

    assert [each.run_id for each in leases.others("")] == ["run-1"]
