"""Whether the landed copies of metadata lie where a config puts them.

The tables do not know: copies may be removed by hand, and a config may name another `output_dir`
while its tables stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import NOT_LANDED, MetadataIndex, MetadataListing
from oedi_spark.contracts_resume import PartitionMemory, SourceKind
from oedi_spark.errors import FileFault
from oedi_spark.lake.faults import say_fault
from oedi_spark.lake.files import S3Access, sizes_below
from oedi_spark.lake.landing import landing_uri
from oedi_spark.log import get_logger
from oedi_spark.places import output_access, output_uri

_log = get_logger(__name__)


def find_unlanded(
    config: RunConfig, metadata: MetadataIndex, recorded: Mapping[Partition, PartitionMemory]
) -> frozenset[Partition]:
    """The partitions of which a copy is not there, or has another size than its source.

    Lists each folder of copies once, several at a time; no copy is opened. One that cannot be
    listed counts as empty, so that the partition is done again.

    Args:
        config: Whose `output_dir` counts.
        metadata: What was listed of these partitions; their fingerprints say that it is the same
            as was recorded.
        recorded: Partitions with what is remembered of them.
    """
    root_uri, access = output_uri(config), output_access(config)
    described = {each: metadata.listings_of(each) for each in recorded}
    listings = {each.landing_folder: each for found in described.values() for each in found}
    with ThreadPoolExecutor(config.settings.listing_workers) as pool:
        sizes = dict(
            zip(
                listings,
                pool.map(lambda folder: _sizes(root_uri, folder, access), listings),
                strict=True,
            )
        )
    return frozenset(
        partition
        for partition, known in recorded.items()
        for listing in described[partition]
        for wanted in [dict(_wanted(root_uri, listing, known))]
        if not wanted.items() <= sizes[listing.landing_folder].items()
    )


def _wanted(
    root_uri: str, listing: MetadataListing, known: PartitionMemory
) -> Iterator[tuple[str, int]]:
    """Where the copies are to be, and how large: as large as the files that they are copies of."""
    lost = (row for row in known.lost if row.kind is SourceKind.METADATA)
    damaged = {row.key for row in lost if row.reason in NOT_LANDED}
    for file in listing.files:
        if file.key not in damaged:
            try:
                yield landing_uri(root_uri, listing, file), file.size_bytes
            except FileFault:
                yield file.key, file.size_bytes  # no name for a copy, so there is none


def _sizes(root_uri: str, folder: str, access: S3Access) -> dict[str, int]:
    """The sizes of the files at any depth below a folder of copies, by URI."""
    folder_uri = f"{root_uri}/metadata/{folder}"
    try:
        return sizes_below(folder_uri, access)
    except (OSError, pa.ArrowException) as error:
        _log.warning("copies of metadata not listed", folder=folder_uri, error=say_fault(error))
        return {}
