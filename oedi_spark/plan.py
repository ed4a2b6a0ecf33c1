"""What a run would read, per partition, and how it is cut into batches.

The plan is data: `oedi-spark plan` prints it, `pipeline.run` executes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oedi_spark.checksums import is_md5
from oedi_spark.contracts import (
    Batch,
    FileIndex,
    Partition,
    PartitionListing,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.contracts_metadata import Gap, MetadataBatch
from oedi_spark.coverage import Coverage, MetadataFindings, compare_buildings, correct_coverage
from oedi_spark.escaping import in_ascii

OUTPUT_SHARES = {"comstock": 0.15, "resstock": 0.3}
"""Bytes of staged hours per byte of building file, by product. Measured on real buildings:
ComStock 2024 R1 0.04 (the same few buildings over and over) to 0.19, ResStock 2022 R1 0.3."""

_MAX_SPLITS_PER_SLOT = 4

_MAX_METADATA_ROWS = 600_000
"""Of a national file at once: 300 columns of them are 1.4 GB. Each portion fetches it anew."""


@dataclass(frozen=True)
class PartitionPlan:
    """One line of `oedi-spark plan`."""

    partition: Partition
    prefix: str
    file_count: int
    size_bytes: int
    missing_buildings: tuple[int, ...]
    surplus: Mapping[str, str]
    is_registered: bool
    coverage: Coverage = field(default_factory=Coverage)
    expects_series: bool = True
    """False for a release that has annual results only."""

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for was at least listed."""
        has_series = bool(self.file_count) and not self.missing_buildings
        return (has_series or not self.expects_series) and self.coverage.is_whole


@dataclass(frozen=True)
class Plan:
    """What a run would read."""

    index: FileIndex
    partitions: tuple[PartitionPlan, ...]
    metadata: MetadataFindings = field(default_factory=MetadataFindings)

    def corrected(self, read: Mapping[Partition, NDArray[np.int64]]) -> Plan:
        """The plan with the buildings that tasks read in the metadata of these partitions."""
        series = {
            each.partition: [file.bldg_id for file in each.files]
            for each in self.index.listings
            if each.partition in read
        }
        lines = [
            replace(
                line,
                coverage=correct_coverage(
                    line.coverage,
                    series.get(line.partition, ()),
                    read[line.partition],
                    expects_series=line.expects_series,
                ),
            )
            if line.partition in read
            else line
            for line in self.partitions
        ]
        return replace(self, partitions=tuple(lines))

    @property
    def facts(self) -> dict[str, ReleaseFacts]:
        """What is known of each release of the run."""
        return {each.partition.release: each.facts for each in self.index.listings}


@dataclass(frozen=True)
class BatchSizing:
    """What decides how many files a task gets. `slots`: tasks that run at the same time."""

    target_file_bytes: int
    row_group_buildings: int
    slots: int


@dataclass(frozen=True)
class Expectations:
    """What a run's config and the registry say of its releases, for the plan to hold them to.

    `metadata_required`: releases whose metadata the config asks for; elsewhere it is taken
    if it is there. `annual_only`: releases without any series. `named`: partitions that a job
    names one by one, of such releases. `by_county`: partitions whose jobs name counties.
    """

    metadata_required: frozenset[str] = frozenset()
    annual_only: frozenset[str] = frozenset()
    named: frozenset[Partition] = frozenset()
    by_county: frozenset[Partition] = frozenset()


def build_plan(
    index: FileIndex,
    metadata: MetadataFindings | None = None,
    expectations: Expectations | None = None,
    missing: Mapping[Partition, tuple[int, ...]] | None = None,
) -> Plan:
    """Lay an index out per partition, and hold its series against its metadata.

    `missing` is what an index with more partitions says (`FileIndex.missing_buildings`).
    """
    metadata, expectations = metadata or MetadataFindings(), expectations or Expectations()
    missing = index.missing_buildings() if missing is None else missing
    listings = {each.partition: each for each in index.listings}
    lines = []
    for partition in sorted({*listings, *metadata.listing_of, *expectations.named}):
        listing = listings.get(partition)
        files = listing.files if listing else ()
        expects_series = partition.release not in expectations.annual_only
        lines.append(
            PartitionPlan(
                partition=partition,
                prefix=listing.prefix if listing else "",
                file_count=len(files),
                size_bytes=listing.size_bytes if listing else 0,
                missing_buildings=missing.get(partition, ()),
                surplus={x.key: x.why.value for x in listing.surplus} if listing else {},
                is_registered=listing is None or listing.facts.stamp is not None,
                coverage=compare_buildings(
                    metadata,
                    partition,
                    [file.bldg_id for file in files],
                    is_required=partition.release in expectations.metadata_required,
                    expects_series=expects_series,
                    is_by_county=partition in expectations.by_county,
                ),
                expects_series=expects_series,
            )
        )
    return Plan(index=index, partitions=tuple(lines), metadata=metadata)


def explain_plan(plan: Plan) -> Iterator[str]:
    """What is odd about a plan, then its totals, a line each. Names from outside are escaped."""
    for each in plan.partitions:
        covered = each.coverage
        gaps = (
            ("missing", each.missing_buildings),
            (Gap.NO_SERIES, covered.without_series),
            (Gap.NO_METADATA, covered.without_metadata),
        )
        for word, bldg_ids in gaps:
            yield from (f"{word}  {each.partition}  bldg_id {bldg_id}" for bldg_id in bldg_ids)
        for key, why in each.surplus.items():
            yield f"surplus  {why}  {in_ascii(key)}"
    found = plan.metadata
    unknown = sorted({x.partition.release for x in plan.partitions if not x.is_registered})
    yield from (f"unregistered  {each}: stamp and year as its files say" for each in unknown)
    for match in found.index.matches:
        what = ", ".join(match.patterns) or Gap.METADATA_NOT_FOUND
        yield f"metadata  {match.release}: {what} ({match.how}), below {', '.join(match.prefixes)}"
    for partition, county in found.index.counties_not_found:
        yield f"{Gap.COUNTY_NOT_FOUND}  {partition}  {county}"
    files = found.index.files
    for at, (reason, detail) in sorted(found.faults.items()):
        yield f"{reason}  {in_ascii(files[at].key)}  {in_ascii(detail)}"
    for surplus in found.index.surplus:
        yield f"surplus  {surplus.why}  {in_ascii(surplus.key)}"
    total_mib = sum(each.size_bytes for each in plan.partitions) / 2**20
    metadata_mib = sum(file.size_bytes for file in files) / 2**20
    etags = [each.etag for each in files] + [each.etag for each in plan.index.files]
    known = sum(map(is_md5, etags))
    yield f"{known:,} files have a checksum to be held against, {len(etags) - known:,} have none"
    yield f"{len(files):,} metadata files, {metadata_mib:,.1f} MiB"
    yield f"{len(plan.index.files):,} files, {total_mib:,.1f} MiB"


def build_batches(
    listings: tuple[PartitionListing, ...],
    field_ids: Mapping[str, Mapping[str, int]],
    sizing: BatchSizing,
) -> tuple[Batch, ...]:
    """Cut each partition into batches, one staged file each, the largest first.

    A batch is as large as its output file should be. Only when that leaves slots idle are
    batches made smaller, and never below two row groups.

    Args:
        listings: The partitions to read; those without files give no batch.
        field_ids: Per release, the columns that its files may hold.
        sizing: How large, and for how many slots.
    """
    filled = [listing for listing in listings if listing.files]
    counts = _batch_counts(filled, sizing)
    cut: list[tuple[PartitionListing, tuple[SourceFile, ...]]] = []
    for listing, count in zip(filled, counts, strict=True):
        edges = [len(listing.files) * at // count for at in range(count + 1)]
        cut += [(listing, listing.files[start:end]) for start, end in pairwise(edges)]
    cut.sort(key=lambda each: -sum(file.size_bytes for file in each[1]))
    return tuple(
        Batch(
            number=number,
            partition=listing.partition,
            facts=listing.facts,
            files=files,
            field_ids=dict(field_ids[listing.partition.release]),
        )
        for number, (listing, files) in enumerate(cut)
    )


def build_metadata_batches(plan: Plan) -> tuple[MetadataBatch, ...]:
    """One batch per listing, the largest first: a state's files are weighed together.

    A national file is taken in portions of states, as many rows at once as a task has room
    for. A listing that describes no partition (nothing in it could be read) is a batch too, so
    that its files are accounted for.
    """
    found = plan.metadata
    described: dict[int, list[Partition]] = {}
    for partition, place in found.listing_of.items():
        described.setdefault(place, []).append(partition)
    series = {
        each.partition: np.array([file.bldg_id for file in each.files], dtype=np.int64)
        for each in plan.index.listings
    }
    counts = {each.partition: each.coverage.building_count for each in plan.partitions}
    listings = enumerate(found.index.listings)
    order = sorted(listings, key=lambda item: -sum(file.size_bytes for file in item[1].files))
    portions = [
        (listing, portion)
        for place, listing in order
        for portion in _portions(counts, sorted(described.get(place, ())))
    ]
    return tuple(
        MetadataBatch(
            number=number,
            listing=listing,
            states=tuple(each.state for each in portion),
            series={each.state: series[each] for each in portion if each in series},
        )
        for number, (listing, portion) in enumerate(portions)
    )


def _portions(
    counts: Mapping[Partition, int], partitions: Sequence[Partition]
) -> list[list[Partition]]:
    """Partitions of one listing, cut where their rows would be too many for one task."""
    portions: list[list[Partition]] = [[]]
    rows = 0
    for partition in partitions:
        count = counts[partition]
        if portions[-1] and rows + count > _MAX_METADATA_ROWS:
            portions.append([])
            rows = 0
        portions[-1].append(partition)
        rows += count
    return portions


def _batch_counts(listings: list[PartitionListing], sizing: BatchSizing) -> list[int]:
    counts = [
        max(1, round(each.size_bytes * _output_share(each) / sizing.target_file_bytes))
        for each in listings
    ]
    most = [max(1, len(each.files) // (2 * sizing.row_group_buildings)) for each in listings]
    counts = [min(count, cap) for count, cap in zip(counts, most, strict=True)]
    while sum(counts) % sizing.slots and sum(counts) < _MAX_SPLITS_PER_SLOT * sizing.slots:
        splittable = [at for at, count in enumerate(counts) if count < most[at]]
        if not splittable:
            break
        largest = max(splittable, key=lambda at: listings[at].size_bytes / counts[at])
        counts[largest] += 1
    return counts


def _output_share(listing: PartitionListing) -> float:
    release = listing.partition.release
    shares = [share for product, share in OUTPUT_SHARES.items() if product in release]
    return shares[0] if shares else max(OUTPUT_SHARES.values())
