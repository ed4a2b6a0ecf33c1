"""Find out what a run would read, before it reads: list both trees, and look into a few files.

The driver's part of stage 2, config → INDEXER → reader. `oedi-spark plan` prints what comes out,
`pipeline.run` executes it. Of a metadata file only the footer and the ids are fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from oedi_spark.config import JobConfig, RunConfig
from oedi_spark.contracts import Column, FileIndex, Partition, PartitionListing, Reason
from oedi_spark.contracts_metadata import MetadataFile, MetadataIndex, MetadataPeek
from oedi_spark.coverage import MetadataFindings, assign_listings, keep_named_buildings
from oedi_spark.errors import FileFault, NoSourceFilesError, SourceListingError
from oedi_spark.plan import Expectations, Plan, build_plan
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.metadata_index import MetadataSelection, index_metadata
from oedi_spark.source.releases import find_release
from oedi_spark.source.storage import SourceLocation, Storage, open_storage
from oedi_spark.transform.fetching import MAX_FILE_BYTES
from oedi_spark.transform.metadata import peek_metadata
from oedi_spark.transform.reader import read_columns

_PEEKED_PARTITIONS = 32
"""Of how many partitions per release one file is looked at before columns are reserved."""


def source_location(config: RunConfig) -> SourceLocation:
    """Where the config says the bucket is."""
    source = config.source
    return SourceLocation(
        root=config.src_root,
        is_local=config.src_is_local,
        anonymous=source.anonymous,
        endpoint_url=source.endpoint_url,
        region=source.region,
        path_style=source.path_style,
        connect_timeout_s=source.connect_timeout_s,
        read_timeout_s=source.read_timeout_s,
        max_attempts=source.max_attempts,
        listing_page_size=config.settings.listing_page_size,
        requester_pays=source.requester_pays,
    )


Look: TypeAlias = MetadataPeek | FileFault


@dataclass(frozen=True)
class SourceListing:
    """What lies at the source, by the listing alone; of a few metadata files also a look inside.

    `looks` goes by key. It has the national files of a job for every state, for only they say
    which states there are.
    """

    index: FileIndex
    metadata: MetadataIndex
    looks: Mapping[str, Look]
    listing_of: Mapping[Partition, int]
    """The place in `metadata` of what describes a partition; of a national file that was not
    looked into: for every state that was asked for."""

    @property
    def partitions(self) -> frozenset[Partition]:
        """Every partition that the run may replace."""
        return frozenset({each.partition for each in self.index.listings} | self.listing_of.keys())


def survey(config: RunConfig, location: SourceLocation) -> Plan:
    """What a run would read, series and metadata, and what of one lacks the other.

    A job that names counties reads only the buildings that the metadata of these names.

    Raises:
        SourceError: Nothing to read, a folder could not be listed, or two files claim to be
            the same metadata.
    """
    return look_into(config, location, list_source(config, location))


def list_source(config: RunConfig, location: SourceLocation) -> SourceListing:
    """List both trees; of a national file of every state, look which states it has.

    Raises:
        SourceError: As `survey`.
    """
    index = index_files(
        location,
        [Selection(job.folder, job.states, job.upgrades) for job in config.job_specific],
        base=config.base_partition,
        data_partition=config.data_partition_in_release,
        workers=config.settings.listing_workers,
    )
    metadata = index_metadata(
        location,
        [
            MetadataSelection(
                folder=job.folder,
                states=job.states,
                upgrades=job.upgrades,
                root_dir=job.metadata_root_dir,
                version=job.relative_metadata_prefix_type,
                counties=job.counties,
            )
            for job in config.job_specific
        ],
        base=config.base_partition,
        workers=config.settings.listing_workers,
    )
    states_of = _states_of_national(config, metadata)
    of_all_states = [
        file
        for listing in metadata.listings
        for file in listing.files
        if file.state is None and states_of[listing.release, listing.upgrade] is None
    ]
    looks = _look_into_files(config, location, of_all_states, {})
    peeks = _peeks(metadata, looks)
    return SourceListing(index, metadata, looks, assign_listings(metadata, peeks, states_of))


def look_into(
    config: RunConfig,
    location: SourceLocation,
    listed: SourceListing,
    *,
    skipped: Collection[Partition] = (),
) -> Plan:
    """Lay out what was listed: look into the metadata, without that of partitions left alone.

    Raises:
        SourceError: As `survey`.
    """
    metadata = _find_metadata(config, location, listed, skipped)
    index = listed.index.without(skipped)
    cells = {each.partition for each in index.listings} | metadata.listing_of.keys()
    by_county = {
        cell for cell in cells if (jobs := jobs_of(config, cell)) and all(x.counties for x in jobs)
    }
    expectations = _expectations(config, frozenset(by_county), skipped)
    index = keep_named_buildings(index, metadata, by_county)
    # Upgrades are held against each other, so those that are skipped count as well; but of counties
    # the listing alone does not say which buildings are wanted.
    compared = index
    if skipped:
        unclear = {cell for cell in skipped if all(x.counties for x in jobs_of(config, cell))}
        compared = keep_named_buildings(listed.index.without(unclear), metadata, by_county)
    missing = compared.missing_buildings()
    plan = build_plan(index, metadata, expectations, missing)
    if not skipped:
        _require_anything(plan, location, expectations)
    return plan


def _require_anything(plan: Plan, location: SourceLocation, expectations: Expectations) -> None:
    """A run that would read no hour, of releases that have any, has nothing to do."""
    has_series = any(x.partition.release not in expectations.annual_only for x in plan.partitions)
    if plan.index.files or (plan.metadata.index.files and not has_series):
        return
    prefixes = [prefix for match in plan.metadata.index.matches for prefix in match.prefixes]
    raise NoSourceFilesError(
        root=str(location),
        prefixes=[each.prefix for each in plan.index.listings if each.prefix] + prefixes,
        surplus=sum(len(each.surplus) for each in plan.index.listings),
    )


def jobs_of(config: RunConfig, partition: Partition) -> list[JobConfig]:
    """The jobs that asked for a partition: one, unless two overlap."""
    return [
        job
        for job in config.job_specific
        if job.folder.release == partition.release
        and (job.states is None or partition.state in job.states)
        and (job.upgrades is None or partition.upgrade in job.upgrades)
    ]


def _expectations(
    config: RunConfig, by_county: frozenset[Partition], skipped: Collection[Partition]
) -> Expectations:
    """Metadata is required where the config says anything of it, and where there is nothing else.

    Series are expected of every release but a few, which are registered as such.
    """
    known = {job.folder: find_release(job.folder) for job in config.job_specific}
    annual_only = {
        folder.release for folder, release in known.items() if release and not release.has_series
    }
    asked = {
        job.folder.release
        for job in config.job_specific
        if job.metadata_root_dir or job.relative_metadata_prefix_type or job.counties
    }
    return Expectations(
        metadata_required=frozenset(asked | annual_only),
        annual_only=frozenset(annual_only),
        named=frozenset(
            Partition(job.folder.release, state, upgrade)
            for job in config.job_specific
            if job.folder.release in annual_only
            for state in job.states or ()
            for upgrade in job.upgrades or ()
        ).difference(skipped),
        by_county=by_county,
    )


def _find_metadata(
    config: RunConfig,
    location: SourceLocation,
    listed: SourceListing,
    skipped: Collection[Partition],
) -> MetadataFindings:
    """Look into each metadata file that is not of skipped partitions alone: columns, buildings.

    A file that cannot be looked into now may be read by its task, which then has the last word.
    """
    index = listed.metadata
    if skipped:
        described = {at for each, at in listed.listing_of.items() if each in skipped}
        needed = {at for each, at in listed.listing_of.items() if each not in skipped}
        places = enumerate(index.listings)
        index = index.keep([x for at, x in places if at in needed or at not in described])
    states_of = _states_of_national(config, index)
    looks = _look_into_files(config, location, index.files, listed.looks)
    faults: dict[int, tuple[Reason, str]] = {}
    for file in index.files:
        if isinstance(look := looks[file.key], FileFault):
            _require_told(file, look, states_of)
            faults[file.ordinal] = (look.reason, look.detail)
    peeks = _peeks(index, looks)
    listing_of = assign_listings(index, peeks, states_of)
    kept = {each: at for each, at in listing_of.items() if each not in skipped}
    return MetadataFindings(index, peeks, faults, kept)


def _look_into_files(
    config: RunConfig,
    location: SourceLocation,
    files: Sequence[MetadataFile],
    known: Mapping[str, Look],
) -> dict[str, Look]:
    """A look into each file, by key, besides those that are known."""
    storage = open_storage(location)
    due = [file for file in files if file.key not in known]
    with ThreadPoolExecutor(config.settings.listing_workers) as pool:
        looks = list(pool.map(lambda file: _look_into(storage, file), due))
    return dict(known) | {file.key: look for file, look in zip(due, looks, strict=True)}


def _peeks(index: MetadataIndex, looks: Mapping[str, Look]) -> dict[int, MetadataPeek]:
    return {
        file.ordinal: look
        for file in index.files
        if isinstance(look := looks.get(file.key), MetadataPeek)
    }


def _require_told(
    file: MetadataFile,
    fault: FileFault,
    states_of: Mapping[tuple[str, int], Iterable[str] | None],
) -> None:
    """A national file of every state that does not answer: which states there are is unknown."""
    asked = [states for (_, upgrade), states in states_of.items() if upgrade == file.upgrade]
    if file.state is None and fault.reason is Reason.FETCH_FAILED and None in asked:
        raise SourceListingError(prefix=file.key, cause=fault.detail)


def _states_of_national(
    config: RunConfig, found: MetadataIndex
) -> dict[tuple[str, int], Iterable[str] | None]:
    """Which states of a national file the jobs want, by release and upgrade; None: all."""
    wanted: dict[tuple[str, int], Iterable[str] | None] = {}
    for listing in found.listings:
        asked = [
            job.states
            for job in config.job_specific
            if job.folder.release == listing.release
            and (job.upgrades is None or listing.upgrade in job.upgrades)
        ]
        named = [states for states in asked if states is not None]
        is_all = len(named) < len(asked)
        wanted[listing.release, listing.upgrade] = (
            None if is_all else {state for states in named for state in states}
        )
    return wanted


def _look_into(storage: Storage, file: MetadataFile) -> MetadataPeek | FileFault:
    """What the footer and the ids of a metadata file say, or why they do not."""
    try:
        with storage.open_file(file.key, etag=file.etag) as opened:
            return peek_metadata(opened, file, states=None)
    except FileFault as fault:
        return fault


def peek_columns(found: Plan, location: SourceLocation) -> dict[str, dict[str, Column]]:
    """The measures of each release, by canonical name, from one file of each of a few partitions.

    Not more than a start: a file that has a column besides these is put off by its task, and
    read again once the table has that column. An unreadable file here is left to its task.
    """
    chosen: list[PartitionListing] = []
    for release in found.facts:
        listings = [x for x in found.index.listings if x.partition.release == release and x.files]
        chosen += listings[:: max(1, -(-len(listings) // _PEEKED_PARTITIONS))]
    columns: dict[str, dict[str, Column]] = {release: {} for release in found.facts}
    with ThreadPoolExecutor(8) as pool:
        looks = pool.map(lambda listing: _peek(listing, open_storage(location)), chosen)
        for listing, look in zip(chosen, looks, strict=True):
            columns[listing.partition.release].update({column.name: column for column in look})
    return columns


def _peek(listing: PartitionListing, storage: Storage) -> tuple[Column, ...]:
    """The measures of the first of a partition's middle, first and last file that can be read."""
    count = len(listing.files)
    for at in dict.fromkeys((count // 2, 0, count - 1)):
        file = listing.files[at]
        if file.size_bytes > MAX_FILE_BYTES:
            continue
        try:
            return read_columns(storage.read_file(file.key, etag=file.etag))
        except FileFault:
            continue
    return ()
