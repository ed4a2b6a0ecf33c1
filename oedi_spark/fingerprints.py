"""Fingerprints: has anything changed that a partition, or a batch, was made of?

Pure functions over a listing and the part of the config that changes results. No file is read:
key, size and ETag of each file stand for its content (where a store has no ETags, the time
stands in).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from oedi_spark.config import JobConfig, Settings
from oedi_spark.contracts import Batch, PartitionListing, SourceFile
from oedi_spark.contracts_metadata import MetadataFile, MetadataListing
from oedi_spark.contracts_resume import Fingerprint

FORMAT_VERSION = 1
"""Of what is published. Raise it with any change of code after which the same files would give
other rows, other columns or other verdicts: every partition is then done again. Constants of
`oedi_spark/transform` (`result_tables.py`), errata and quality rules count by themselves."""

RESULT_SETTINGS = ("engine", "max_failed_fraction", "strict_columns")
"""The keys of `settings` that change what is published."""


def fingerprint_partition(
    listing: PartitionListing | None,
    metadata: Sequence[MetadataListing],
    settings: str,
) -> Fingerprint:
    """The fingerprint of one partition, from what was listed of it.

    Args:
        listing: Its building files; all that lie there, also where counties narrow them down.
        metadata: The listings that may describe it, national ones included.
        settings: As `fingerprint_settings` gives it.
    """
    described = [
        (each.release, each.upgrade, each.state, str(each.weight_model), each.is_whole_state)
        for each in metadata
    ]
    files = [file for each in metadata for file in each.files]
    context = _digest([settings, described], files)
    series = listing.files if listing else ()
    facts = repr(listing.facts) if listing else None
    return Fingerprint(_digest([context, facts], series), settings, context)


def fingerprint_settings(
    settings: Settings,
    jobs: Iterable[JobConfig],
    rules: object = None,
    *,
    errata: object = None,
    tables: str = "",
) -> str:
    """The part of the config that changes the results of a partition, and of the code.

    Args:
        settings: Of the run; `RESULT_SETTINGS` count.
        jobs: Those that ask for the partition; counties and the metadata's version and place
            count, not which other states or upgrades they name.
        rules: The quality rules that hold, as JSON can hold them.
        errata: What is known to be wrong in the partition, as JSON can hold it.
        tables: A digest of the constants that decide values and verdicts.
    """
    document = {
        "format": FORMAT_VERSION,
        "settings": {name: getattr(settings, name) for name in RESULT_SETTINGS},
        "rules": rules,
        "errata": errata,
        "tables": tables,
        "jobs": sorted(
            json.dumps(
                [
                    sorted(job.counties),
                    job.relative_metadata_prefix_type,
                    job.metadata_root_dir,
                ]
            )
            for job in jobs
        ),
    }
    return _digest(document, ())


def fingerprint_batch(
    batch: Batch, context: str, layout: Mapping[str, object], *, judged_by: str | None
) -> str:
    """Everything that the staged file of a batch depends on.

    Args:
        batch: Its files, field ids and the facts of its release count; its number does not.
        context: Of its partition: the settings and the metadata that was listed.
        layout: Settings that change bytes and not results, such as the size of row groups.
        judged_by: A digest of the published results that its hours are held against: what
            could be read of the metadata, which a passing fault makes less than was listed.
            None: nothing, so that they are not reconciled.
    """
    document = [
        context,
        judged_by,
        str(batch.partition),
        repr(batch.facts),
        sorted(batch.field_ids.items()),
        sorted(layout.items()),
    ]
    return _digest(document, batch.files)


def _digest(document: object, files: Iterable[SourceFile | MetadataFile]) -> str:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode())
    for file in sorted(files, key=lambda each: each.key):
        version = file.etag if file.etag is not None else f"@{file.modified_at_utc}"
        digest.update(f"\n{json.dumps(file.key)} {file.size_bytes} {version}".encode())
    return digest.hexdigest()[:16]
