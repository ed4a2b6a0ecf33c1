"""What a run would read, per partition, and how it is cut into batches.

The plan is data: `oedi-spark plan` prints it, `pipeline.run` executes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from oedi_spark.contracts import (
    Batch,
    FileIndex,
    Partition,
    PartitionListing,
    ReleaseFacts,
    SourceFile,
)

OUTPUT_SHARES = {"comstock": 0.15, "resstock": 0.3}
"""Bytes of staged hours per byte of building file, by product. Measured on real buildings:
ComStock 2024 R1 0.04 (the same few buildings over and over) to 0.19, ResStock 2022 R1 0.3."""

_MAX_SPLITS_PER_SLOT = 4


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


@dataclass(frozen=True)
class Plan:
    """What a run would read."""

    index: FileIndex
    partitions: tuple[PartitionPlan, ...]

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


def build_plan(index: FileIndex) -> Plan:
    """Lay an index out per partition."""
    missing = index.missing_buildings()
    return Plan(
        index=index,
        partitions=tuple(
            PartitionPlan(
                partition=each.partition,
                prefix=each.prefix,
                file_count=len(each.files),
                size_bytes=each.size_bytes,
                missing_buildings=missing.get(each.partition, ()),
                surplus={surplus.key: surplus.why.value for surplus in each.surplus},
                is_registered=each.facts.stamp is not None,
            )
            for each in index.listings
        ),
    )


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
