"""Each finished batch leaves an entry beside the tables, so that it outlives its run.

`_staged/{run}/{fingerprint}.json` says what the task handed back. `leftovers.py` reads it when the
run was killed. Ordinals in it are places in the batch: those of a run mean nothing to another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar

from oedi_spark.contracts import Batch, BatchResult
from oedi_spark.contracts_resume import TRANSIENT
from oedi_spark.lake.files import AMBIENT, S3Access, write_whole

_T = TypeVar("_T")


def journal_folder(database_uri: str, run_id: str) -> str:
    """Where a run's batches leave their entries."""
    return f"{database_uri}/_staged/{run_id}"


def leave_entry(
    folder_uri: str, batch: Batch, result: BatchResult, access: S3Access = AMBIENT
) -> None:
    """Say what a finished batch staged; in its task, so that no driver need live to tell it.

    Not of a batch without a fingerprint, and not of one that staged nothing, or of which a file
    may do better at the next attempt. An entry that cannot be written is no fault of the batch.
    """
    is_final = all(outcome.reason not in TRANSIENT for outcome in result.outcomes)
    if not (batch.fingerprint and result.staged and is_final):
        return
    with suppress(OSError):
        uri = f"{folder_uri}/{batch.fingerprint}.json"
        write_whole(uri, encode_entry(batch, result), access)


def encode_entry(batch: Batch, result: BatchResult) -> bytes:
    """The entry of a batch, as JSON. A map with columns for keys becomes a list of pairs."""
    places = {file.ordinal: place for place, file in enumerate(batch.files)}
    document = asdict(replace(renumber(result, places), columns={}))
    document["columns"] = [[asdict(column), count] for column, count in result.columns.items()]
    return json.dumps({"fingerprint": batch.fingerprint, "result": document}).encode()


def renumber(value: _T, to: Mapping[int, int]) -> _T:
    """A result with other ordinals, wherever it has any.

    Raises:
        KeyError: One of its ordinals has no other.
    """
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed: dict[str, Any] = {}
    for each in fields(value):
        found = getattr(value, each.name)
        if each.name == "ordinal":
            changed[each.name] = to[found]
        elif each.name in ("ordinals", "deferred"):
            changed[each.name] = tuple(to[ordinal] for ordinal in found)
        elif isinstance(found, tuple) and found and is_dataclass(found[0]):
            changed[each.name] = tuple(renumber(item, to) for item in found)
    return replace(value, **changed) if changed else value
