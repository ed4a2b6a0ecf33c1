"""Metadata without hours is published where it cannot come to lie beside hours of another run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pyiceberg.table import Table

from oedi_spark.contracts import (
    FileIndex,
    Partition,
    PartitionListing,
    ReleaseFacts,
    SourceFile,
    StagedFile,
    Verdict,
)
from oedi_spark.contracts_metadata import (
    Gap,
    MetadataIndex,
    MetadataListing,
    MetadataPart,
    MetadataResult,
)
from oedi_spark.coverage import Coverage, MetadataFindings
from oedi_spark.harvest_step import gather_harvest
from oedi_spark.lake.writer import replace_partitions
from oedi_spark.plan import PartitionPlan, Plan
from oedi_spark.tracking.discrepancies import find_discrepancies
from oedi_spark.tracking.tracker import RunTracker

RELEASE = "2024_comstock_amy2018_release_1"
CO, GA = Partition(RELEASE, "CO", 0), Partition(RELEASE, "GA", 0)
RUN = "20260101T000000Z-aaaaaaaa"

Stage = Callable[[Table, Partition, float, str], StagedFile]


def part(partition: Partition) -> MetadataPart:
    return MetadataPart(partition, (), None, (), np.array([1, 2], dtype=np.int64))


def line(partition: Partition, files: int, *, gap: Gap | None, has_series: bool) -> PartitionPlan:
    coverage = Coverage(1, 2, gap=gap, is_required=gap is not None)
    return PartitionPlan(
        partition, "", files, 10 * files, (), {}, True, coverage, expects_series=has_series
    )


def run_of(*, gap: Gap | None = None, has_series: bool = True, co_files: int = 0) -> RunTracker:
    """CO and GA with metadata each that was read; GA has a building file, CO may have."""
    run = RunTracker("run")
    files = [SourceFile(at, f"{at}-0.parquet", at, 10, "e", "2026") for at in range(co_files + 1)]
    facts = ReleaseFacts(RELEASE, None, None)
    listings = tuple(
        PartitionListing(partition, facts, "", tuple(found), ())
        for partition, found in ((CO, files[:co_files]), (GA, files[co_files:]))
    )
    index = MetadataIndex(
        tuple(MetadataListing(RELEASE, 0, each.state, None, True, ()) for each in (CO, GA))
    )
    lines = (
        line(CO, co_files, gap=gap, has_series=has_series),
        line(GA, 1, gap=None, has_series=True),
    )
    findings = MetadataFindings(index, listing_of={CO: 0, GA: 1})
    run.record_plan(Plan(FileIndex(listings), lines, findings))
    run.metadata.record_results([MetadataResult(0, (part(CO), part(GA)), (), (), 0)])
    run.columns = {CO: {}, GA: {}}
    run.verdicts = (Verdict(GA, 1, 0, is_published=True),)
    return run


@pytest.mark.parametrize("has_series", [True, False])
def test_metadata_alone_is_published_where_there_are_no_hours(
    hourly: Table, stage: Stage, has_series: bool
) -> None:
    replace_partitions(hourly, [GA], [stage(hourly, GA, 1.5, RUN)], run_id=RUN)
    run = run_of(has_series=has_series)

    harvest = gather_harvest(run, hourly)

    assert harvest.metadata.keys() == {CO, GA}
    assert harvest.hours.keys() == {GA}
    assert run.metadata.held == {}


@pytest.mark.parametrize("has_series", [True, False])
def test_metadata_alone_is_held_back_where_hours_of_another_run_are(
    hourly: Table, stage: Stage, has_series: bool
) -> None:
    """Also of a release that is said to have no series: the hours are there all the same."""
    replace_partitions(hourly, [CO], [stage(hourly, CO, 1.5, RUN)], run_id=RUN)
    run = run_of(has_series=has_series)

    harvest = gather_harvest(run, hourly)

    assert harvest.metadata.keys() == {GA}
    assert CO not in harvest.partitions
    why = "the table has hours of an earlier run, and this run has none to take their place"
    assert run.metadata.held == {CO: why}
    assert run.metadata.has_discrepancies()
    rows = [(x.state, x.stage, x.reason, x.detail) for x in find_discrepancies(run)]
    assert ("CO", "quality", "partition_withheld", f"metadata is not published: {why}") in rows
    told = run.metadata.summarise([])
    assert told.withheld == (f"release={RELEASE}/state=CO/upgrade=0",)
    assert told.notes == (f"release={RELEASE}/state=CO/upgrade=0: metadata held back: {why}",)


def test_metadata_of_which_a_county_cannot_be_read_is_held_back_from_an_empty_table(
    hourly: Table,
) -> None:
    run = run_of(gap=Gap.METADATA_INCOMPLETE)

    harvest = gather_harvest(run, hourly)

    assert harvest.metadata.keys() == {GA}
    assert run.metadata.held == {
        CO: "a metadata file of its counties cannot be read, so none of its buildings was"
    }


@pytest.mark.parametrize("is_published", [True, False])
def test_metadata_of_partitions_with_building_files_goes_with_their_hours(
    hourly: Table, stage: Stage, is_published: bool
) -> None:
    replace_partitions(hourly, [CO], [stage(hourly, CO, 1.5, RUN)], run_id=RUN)
    run = run_of(co_files=2)
    run.verdicts = (Verdict(CO, 2, 0, is_published=is_published), *run.verdicts)

    harvest = gather_harvest(run, hourly)

    assert (CO in harvest.metadata, CO in harvest.hours) == (is_published, is_published)
    assert run.metadata.held == {}
