"""Time what becomes of the keys of a listing: no bucket, no disk, one process.

    python -m bench.metadata_keys --keys 100000

The keys are those of ComStock 2025 R3 by state and county, 254 counties to a state and 66
upgrades to a county, as many as asked for, listed as whole states (`counties: ["*"]`).
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oedi_spark.contracts_metadata import MetadataIndex
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.metadata_index import MetadataSelection, find_metadata
from oedi_spark.source.states import STATE_OF_FIPS
from oedi_spark.source.storage import ListedFile

PROMISED_KEYS = 100_000
PROMISED_S = 2.0

_BASE = "base"
_FOLDER = ReleaseFolder("2025", "comstock_amy2018_release_3")
_COUNTIES, _UPGRADES = 254, 66


@dataclass(frozen=True)
class MemoryStorage:
    """A bucket that is a list of names for each folder; there is nothing in them to read."""

    trees: dict[str, list[ListedFile]]

    def list_tree(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_tree`."""
        return iter(self.trees.get(prefix, ()))

    def list_files(self, prefix: str) -> Iterator[ListedFile]:
        """As `Storage.list_files`."""
        return iter(self.trees.get(prefix, ()))

    def list_folders(self, prefix: str) -> list[str]:
        """As `Storage.list_folders`."""
        found = (tree.removeprefix(f"{prefix}/") for tree in self.trees if tree.startswith(prefix))
        return sorted(found)

    def read_file(self, key: str, *, etag: str | None) -> bytes:
        """As `Storage.read_file`: never asked for."""
        raise NotImplementedError(key)

    def open_file(self, key: str, *, etag: str | None) -> io.BufferedIOBase:
        """As `Storage.open_file`: never asked for."""
        raise NotImplementedError(key)


def make_storage(key_count: int) -> MemoryStorage:
    """A bucket of so many county files."""
    root = f"{_BASE}/{_FOLDER.year}/{_FOLDER.name}/metadata_and_annual_results"
    trees: dict[str, list[ListedFile]] = {}
    left = key_count
    for fips, state in STATE_OF_FIPS.items():
        tree = f"{root}/by_state_and_county/full/parquet/state={state}"
        files = trees.setdefault(tree, [])
        for county in (f"G{fips}0{2 * number + 1:03d}0" for number in range(_COUNTIES)):
            for upgrade in range(min(left, _UPGRADES)):
                name = f"{state}_{county}_upgrade{upgrade}.parquet"
                key = f"{tree}/county={county}/{name}"
                files.append(ListedFile(key, 1_000_000, "0" * 32, "2025-11-01T00:00:00Z"))
            left -= min(left, _UPGRADES)
    return MemoryStorage(trees)


def resolve(storage: MemoryStorage, workers: int = 8) -> tuple[MetadataIndex, float]:
    """The index of the whole bucket, and the seconds that it took."""
    selection = MetadataSelection(_FOLDER, None, None, version=2, counties=("*",))
    started = time.perf_counter()
    index = find_metadata(storage, [selection], base=_BASE, workers=workers)
    return index, time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Resolve the keys and print the seconds; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.metadata_keys")
    parser.add_argument("--keys", type=int, default=PROMISED_KEYS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cprofile", action="store_true", help="show where the time goes")
    args = parser.parse_args(arguments)
    storage = make_storage(args.keys)
    took_s = []
    for _ in range(args.repeat):
        index, seconds = resolve(storage)
        found = len(index.files)
        if found != args.keys:
            print(f"bench: {found:,} of {args.keys:,} keys resolved", file=sys.stderr)
            return 2
        took_s.append(seconds)
    if args.cprofile:
        _profile(storage)
    median_s = sorted(took_s)[len(took_s) // 2]
    print(f"{args.keys:,} keys, {len(index.listings):,} listings: {median_s:.2f} s (median)")
    return 1 if args.keys >= PROMISED_KEYS and median_s >= PROMISED_S else 0


def _profile(storage: MemoryStorage) -> None:
    """Print where the main thread's time goes; with one worker, most of it is there."""
    profile, text = cProfile.Profile(), io.StringIO()
    profile.runcall(resolve, storage, 1)
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(20)
    print(text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
