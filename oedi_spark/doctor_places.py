"""What `oedi-spark doctor` asks of the places of a run: source, output, catalog, leases.

They are reached as a run reaches them, with fewer attempts and shorter waits.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Lock

import pyarrow.fs as pafs
from pyiceberg.exceptions import NoSuchNamespaceError

from oedi_spark.config import JobConfig, RunConfig
from oedi_spark.contracts_doctor import Check, Finding, Status
from oedi_spark.errors import ConfigError, PublishError, SourceError
from oedi_spark.lake.catalog import CatalogLocation, catalog_exists, open_catalog
from oedi_spark.lake.files import AMBIENT, S3Access, create_parent, open_uri
from oedi_spark.lake.lease import Lease, LeaseBook
from oedi_spark.places import catalog_location, output_access, output_uri
from oedi_spark.source.layout import timeseries_prefix
from oedi_spark.source.releases import find_release
from oedi_spark.source.storage import Storage, open_storage
from oedi_spark.source.storage_contract import say
from oedi_spark.survey import source_location

_CONNECT_LIMIT_S, _READ_LIMIT_S = 5.0, 10.0
_PAGE_SIZE = 100
_MAKING_FOLDERS = Lock()
"""Two checks may make and remove the same folder; one that waits for a server holds up none."""

_CREDENTIALS = (
    "give this process a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


def place_checks(config: RunConfig) -> tuple[Check, ...]:
    """The checks of the source, the output, the catalog and what other runs left there."""
    source, publish, log = SourceError.exit_code, PublishError.exit_code, ConfigError.exit_code
    reach = "check src_bucket, base_partition, source.endpoint_url and the rights to list"
    is_for_source = not config.src_is_local and not config.source.anonymous
    log_uri = f"file://{Path(config.settings.log_dir).absolute()}"
    return (
        Check(
            "credentials",
            source if is_for_source else publish,
            lambda: check_credentials(credential_uses(config)),
            _CREDENTIALS,
        ),
        Check("source", source, lambda: check_source(config), reach),
        Check("releases", source, lambda: check_releases(config), reach),
        *_publishing_checks(config),
        Check(
            "log folder",
            log,
            lambda: check_writable(log_uri),
            "set settings.log_dir to a folder that can be written",
        ),
    )


def _publishing_checks(config: RunConfig) -> tuple[Check, ...]:
    """The checks of what a run writes to, each with what to do about it."""
    access, rights = _impatient(output_access(config)), "the rights to write, read and delete there"
    looks = {
        "output": (
            lambda: check_writable(output_uri(config), access),
            f"check output_dir and {rights}",
        ),
        "warehouse": (
            lambda: check_writable(catalog_location(config).warehouse_uri, access),
            f"check catalog.warehouse_dir and {rights}",
        ),
        "catalog": (
            lambda: check_catalog(config),
            "check catalog in the config and the rights to it",
        ),
        "leases": (
            lambda: check_leases(config),
            "check output_dir, catalog.warehouse_dir and the rights to list them",
        ),
    }
    return tuple(
        Check(name, PublishError.exit_code, look, advice) for name, (look, advice) in looks.items()
    )


def credential_uses(config: RunConfig) -> tuple[str, ...]:
    """What of a run sends signed requests."""
    uses = {
        "the source": not config.src_is_local and not config.source.anonymous,
        "the output": not config.output_is_local,
        "the Glue catalog": config.catalog.type == "glue",
    }
    return tuple(use for use, is_signed in uses.items() if is_signed)


def check_credentials(uses: tuple[str, ...]) -> Finding:
    """Whether AWS credentials are found, and by which provider; never what they are."""
    if not uses:
        return Finding(Status.OK, "none needed: nothing here sends a signed request")
    wanted_for = f"for {', '.join(uses)}"
    try:
        session = import_module("botocore.session").Session()
    except ImportError:
        return Finding(Status.FAIL, f"no boto3 to find any {wanted_for}", "install the extra `aws`")
    found = session.get_credentials()
    if found is None:
        return Finding(Status.FAIL, f"none found {wanted_for}", _CREDENTIALS)
    frozen = found.get_frozen_credentials()
    if not (frozen.access_key and frozen.secret_key):
        return Finding(Status.FAIL, f"empty ones from {found.method} {wanted_for}", _CREDENTIALS)
    kind = "temporary" if frozen.token else "lasting"
    return Finding(Status.OK, f"{kind} ones from {found.method}, {wanted_for}")


def check_source(config: RunConfig) -> Finding:
    """The first page of the folder above the years."""
    location = source_location(config)
    base = config.base_partition or config.job_specific[0].release_year
    where = f"{location}/{base}"
    if config.src_is_local and not Path(location.root).is_dir():
        return Finding(Status.FAIL, f"{location.root} is no folder", "set src_bucket to one")
    if not _holds_anything(_storage(config), base):
        advice = "check src_bucket and base_partition"
        return Finding(Status.FAIL, f"nothing below {where}", advice)
    how = "" if config.src_is_local else ", unsigned" if location.anonymous else ", signed"
    return Finding(Status.OK, f"{where} can be listed{how}")


def check_releases(config: RunConfig) -> Finding:
    """The folder of every release that the config names, and of its series."""
    storage = _storage(config)
    faults = [
        fault for job in config.job_specific for fault in _release_faults(config, job, storage)
    ]
    if faults:
        advice = "compare release_year and release_name with `oedi-spark releases discover`"
        return Finding(Status.FAIL, "; ".join(faults), advice)
    names = [f"{job.release_year}/{job.release_name}" for job in config.job_specific]
    fact = f"found {', '.join(names)}"
    strange = [
        name
        for name, job in zip(names, config.job_specific, strict=True)
        if find_release(job.folder) is None
    ]
    if strange:
        advice = f"the registry lacks {', '.join(strange)}: its files say what its stamps mean"
        return Finding(Status.WARN, fact, advice)
    return Finding(Status.OK, fact)


def _release_faults(config: RunConfig, job: JobConfig, storage: Storage) -> Iterator[str]:
    folder = timeseries_prefix(config.base_partition, job.folder, "")
    if not _holds_anything(storage, folder):
        yield f"nothing below {folder}"
        return
    known = find_release(job.folder)
    series = config.data_partition_in_release
    if (known is None or known.has_series) and not _holds_anything(storage, f"{folder}/{series}"):
        yield f"no {series} below {folder}"


def _holds_anything(storage: Storage, prefix: str) -> bool:
    return next(iter(storage.list_files(prefix)), None) is not None


def _storage(config: RunConfig) -> Storage:
    """The source as a run opens it, but for how long it is waited for."""
    location = source_location(config)
    return open_storage(
        replace(
            location,
            max_attempts=1,
            connect_timeout_s=min(location.connect_timeout_s, _CONNECT_LIMIT_S),
            read_timeout_s=min(location.read_timeout_s, _READ_LIMIT_S),
            listing_page_size=_PAGE_SIZE,
        )
    )


def _impatient(access: S3Access) -> S3Access:
    return replace(
        access,
        max_attempts=1,
        connect_timeout_s=min(access.connect_timeout_s, _CONNECT_LIMIT_S),
        request_timeout_s=min(access.request_timeout_s, _READ_LIMIT_S),
    )


def _tables(config: RunConfig) -> CatalogLocation:
    """The catalog as a run opens it, but for how long it is waited for."""
    place = catalog_location(config)
    return replace(place, access=_impatient(place.access))


def check_writable(folder_uri: str, access: S3Access = AMBIENT) -> Finding:
    """Write a small file, read it back and delete it; folders made for it are gone again too."""
    uri = f"{folder_uri}/_doctor-{secrets.token_hex(8)}"
    filesystem, path = open_uri(uri, access)
    with _MAKING_FOLDERS if isinstance(filesystem, pafs.LocalFileSystem) else nullcontext():
        return _probe(filesystem, path, folder_uri)


def _probe(filesystem: pafs.FileSystem, path: str, folder_uri: str) -> Finding:
    content = secrets.token_bytes(64)
    made = _absent_folders(filesystem, path)
    try:
        create_parent(filesystem, path)
        with filesystem.open_output_stream(path) as out:
            out.write(content)
        with filesystem.open_input_stream(path) as stream:
            same = stream.read() == content
    except OSError as error:
        advice = "create the folder or bucket, and give this user the right to write there"
        return Finding(Status.FAIL, f"{folder_uri} cannot be written ({say(error)})", advice)
    finally:
        undeleted = _delete(filesystem, path, made)
    if not same:
        return Finding(Status.FAIL, f"{path} was read back otherwise than it was written")
    if undeleted is not None:
        advice = "give the right to delete: what a failed run leaves is removed by the next"
        return Finding(Status.WARN, f"{path} cannot be deleted ({undeleted})", advice)
    return Finding(Status.OK, f"{folder_uri} can be written, read and cleared")


def _absent_folders(filesystem: pafs.FileSystem, path: str) -> list[Path]:
    """The folders above a local file that are not there yet, the deepest first."""
    if not isinstance(filesystem, pafs.LocalFileSystem):
        return []
    return [each for each in Path(path).parents if not each.exists()]


def _delete(filesystem: pafs.FileSystem, path: str, folders: list[Path]) -> str | None:
    """Take the probe away, and folders unless someone else has put something there; why not."""
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        return say(error)
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
    return None


def check_catalog(config: RunConfig) -> Finding:
    """The catalog answers, and has the database and its tables, or will be given them."""
    place = _tables(config)
    what = f"the {place.kind} catalog"
    if not catalog_exists(place):
        return Finding(Status.OK, f"{what} is not there yet; the first run makes it")
    catalog = open_catalog(place, create=False)
    try:
        found = sorted(identifier[-1] for identifier in catalog.list_tables(place.database))
    except NoSuchNamespaceError:
        fact = f"{what} answers; the first run makes the database {place.database}"
        return Finding(Status.OK, fact)
    tables = ", ".join(found) or "no tables yet"
    return Finding(Status.OK, f"{what} answers; {place.database} has {tables}")


def check_leases(config: RunConfig) -> Finding:
    """Other runs that hold what this one would replace, and what dead ones may have left."""
    place = _tables(config)
    book = LeaseBook(place.database_uri, place.access)
    leases = tuple(book.others(""))
    alive = [lease for lease in leases if lease.is_alive(time.time())]
    if in_the_way := [lease for lease in alive if _is_in_the_way(config, lease)]:
        fact = "; ".join(f"run {each.run_id} holds {_some_partition(each)}" for each in in_the_way)
        return Finding(Status.FAIL, fact, f"wait until it ends ({in_the_way[0].uri})")
    if len(leases) > len(alive):
        fact = f"{len(leases) - len(alive)} run(s) died and may have left files"
        return Finding(Status.WARN, fact, "nothing: the next run removes them")
    others = f"{len(alive)} run(s) of other partitions" if alive else "no other run"
    return Finding(Status.OK, others)


def _is_in_the_way(config: RunConfig, lease: Lease) -> bool:
    return any(
        partition.release == job.folder.release
        and (job.states is None or partition.state in job.states)
        and (job.upgrades is None or partition.upgrade in job.upgrades)
        for job in config.job_specific
        for partition in lease.partitions
    )


def _some_partition(lease: Lease) -> str:
    more = len(lease.partitions) - 1
    return f"{min(lease.partitions)}" + (f" and {more} more" if more else "")
