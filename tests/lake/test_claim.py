"""A run's tables: opened as far as it needs them, and swept wherever a run has been."""

from __future__ import annotations

from pathlib import Path

import pytest

from oedi_spark.contracts import Column, Partition
from oedi_spark.contracts_metadata import ColumnKind, MetadataColumn
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.claim import Lake, claim_lake
from oedi_spark.lake.lease import LeaseBook

R = "2024_comstock_amy2018_release_1"
AL, GA = Partition(R, "AL", 0), Partition(R, "GA", 0)
TOTAL = Column("total_kwh", "total", "kwh", "sum", known=True)
VINTAGE = MetadataColumn("in_vintage", "in.vintage", "text", ColumnKind.STRING, "string")
TABLES = ("building_weights", "columns", "hourly", "metadata")


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


def test_claim_lake_without_metadata_opens_two_tables(place: CatalogLocation) -> None:
    with claim_lake(place, "run-1", [GA], [TOTAL]) as lake:
        assert (lake.metadata, lake.weights) == (None, None)
        assert "total_kwh" in lake.hourly.schema().column_names

    assert _names(place) == ["columns", "hourly"]


def test_claim_lake_with_metadata_opens_all_four(place: CatalogLocation) -> None:
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

    assert [path.exists() for path in lost] == [False] * 4
