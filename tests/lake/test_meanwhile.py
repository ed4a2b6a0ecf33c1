"""What others publish between the listing of a run and its lease keeps the run from publishing."""

from __future__ import annotations

import pytest
from pyiceberg.table import Table

from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation
from oedi_spark.lake.compaction import compact
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.lake.meanwhile import note_tables, require_unpublished
from tests.lake.test_maintenance_compaction import CO, GA, publish
from tests.lake.test_sources import FIRST, MERGED, NEW, OLD, RULE, SECOND


def test_partition_that_was_published_meanwhile_is_named_with_its_run(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, run_id=FIRST)
    noted = note_tables(place)
    require_unpublished([hourly.refresh(), None], noted, {CO, GA})
    publish(hourly, CO, NEW, run_id=SECOND)

    require_unpublished([hourly.refresh()], noted, {GA})
    with pytest.raises(PublishError, match=rf"run {SECOND} published release=.*/state=CO/.* while"):
        require_unpublished([hourly.refresh()], noted, {CO, GA})


def test_first_publication_counts_where_there_was_no_table(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, run_id=FIRST)

    with pytest.raises(PublishError, match=f"run {FIRST} published"):
        require_unpublished([hourly.refresh()], {}, {CO})


def test_merged_files_are_the_same_rows_and_do_not_count(
    hourly: Table, place: CatalogLocation
) -> None:
    publish(hourly, CO, OLD, run_id=FIRST)
    noted = note_tables(place)
    leases = LeaseBook(place.database_uri, place.access)
    report = compact(hourly, leases, run_id=MERGED[0], rule=RULE, is_dry_run=False)
    assert report.rewrites

    require_unpublished([hourly.refresh()], noted, {CO})


def test_catalog_that_does_not_answer_before_the_listing_is_no_hindrance(
    hourly: Table, place: CatalogLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hourly, CO, OLD, run_id=FIRST)

    def fail(*_: object) -> None:
        raise ConnectionError("no route to the catalog")

    monkeypatch.setattr("oedi_spark.lake.meanwhile.load_tables", fail)

    assert note_tables(place) is None
    require_unpublished([hourly.refresh()], None, {CO})
