"""List a bucket of many keys, and tell requests, seconds and memory.

    python -m bench.listing --keys 100000 --delay-ms 100

The server is a process of its own that answers from memory, each page `--delay-ms` late: S3 takes
about a tenth of a second. The client is a fresh process that does what the driver does before it
reads: `index_files` over every state of one release.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import oedi_spark.survey  # noqa: F401 - `plan` imports it, and its imports count
from bench.listing_server import BASE, TREE
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import SourceLocation

PROMISED_MIB = 200e6 / 2**20
FOLDER = ReleaseFolder("2022", "resstock_amy2018_release_1")
_CLIENT_LIMIT_S = 600


def list_once(url: str, workers: int) -> dict[str, float]:
    """List everything, in this process, and say what it took."""
    location = SourceLocation("bucket", False, True, endpoint_url=url, path_style=True)
    before_mib = _peak_mib()
    started, cpu = time.perf_counter(), time.process_time()
    selection = Selection(FOLDER, None, None)
    index = index_files(location, [selection], base=BASE, data_partition=TREE, workers=workers)
    return {
        "files": len(index.files),
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "imports_mib": round(before_mib),
        "peak_mib": round(_peak_mib()),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(keys: int, delay_ms: float, workers: int) -> dict[str, float]:
    """Start a server, list it from a fresh process, and count what it was asked."""
    release = f"{FOLDER.year}/{FOLDER.name}"
    serve = [sys.executable, "-m", "bench.listing_server", "--keys", str(keys)]
    serve += ["--release", release, "--delay-ms", str(delay_ms)]
    with subprocess.Popen(
        serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdout is None or server.stdin is None:
            raise RuntimeError("no pipes")
        url = server.stdout.readline().strip()
        client = [sys.executable, "-m", "bench.listing", "--url", url, "--workers", str(workers)]
        done = subprocess.run(
            client, capture_output=True, text=True, timeout=_CLIENT_LIMIT_S, check=False
        )
        server.stdin.close()
        requests = int(server.stdout.readline())
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rsplit("\n", 1)[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"requests": requests}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or with `--url` be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.url:
        print(json.dumps(list_once(asked.url, asked.workers)))
        return 0
    found = measure(asked.keys, asked.delay_ms, asked.workers)
    print(json.dumps(found))
    return int(found["peak_mib"] > PROMISED_MIB)


if __name__ == "__main__":
    sys.exit(main())
