"""boto3 and pyarrow's S3 file system beside each other, on whole building files.

    python -m bench.s3_read --lake build/sample_lake --files 48

Both read the same objects from one server on this machine, in the same call, as a task does: so
many threads, each file whole, what is read counted. Rounds alternate, and what is told is the
middle of them. A server on the loopback has no latency, so it is the client's own cost that shows.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pyarrow.fs as pafs

from oedi_spark.source.storage import S3Storage
from oedi_spark.source.storage_contract import SourceLocation

BUCKET, REGION = "bench-lake", "us-east-1"
START_LIMIT_S = 60.0
Read = Callable[[str], int]


def by_boto3(url: str) -> Read:
    """As the job reads: one conditional GET with a limit, and the MD5 compared."""
    location = SourceLocation(
        BUCKET, is_local=False, endpoint_url=url, region=REGION, path_style=True
    )
    storage = S3Storage(location)
    etags = {each.key: each.etag for each in storage.list_files("")}
    return lambda key: len(storage.read_file(key, etag=etags[key]))


def by_plain_boto3(url: str) -> Read:
    """The client alone, with none of the limits around it."""
    client = boto3.session.Session().client("s3", endpoint_url=url, region_name=REGION)
    return lambda key: len(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def by_pyarrow(url: str) -> Read:
    """The file system of pyarrow: a HEAD for the size, then the range from the first byte."""
    filesystem = pafs.S3FileSystem(
        endpoint_override=url, region=REGION, connect_timeout=10, request_timeout=60
    )

    def read(key: str) -> int:
        with filesystem.open_input_file(f"{BUCKET}/{key}") as opened:
            return len(opened.read())

    return read


def measure(read: Read, keys: Sequence[str], threads: int) -> tuple[float, float, int]:
    """(seconds, seconds of CPU of this process, bytes) for all keys."""
    started, cpu_before = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        read_bytes = sum(pool.map(read, keys))
    return time.perf_counter() - started, time.process_time() - cpu_before, read_bytes


def compare(url: str, keys: Sequence[str], threads: int, rounds: int) -> dict[str, object]:
    """The middle round of each, and how many times as long as boto3 alone each takes."""
    readers = {
        "job_s": by_boto3(url),
        "boto3_s": by_plain_boto3(url),
        "pyarrow_s": by_pyarrow(url),
    }
    took: dict[str, list[float]] = {name: [] for name in readers}
    cpu: dict[str, list[float]] = {name: [] for name in readers}
    sizes = set()
    for read in readers.values():  # a first read each: connections, credentials
        measure(read, keys[:threads], threads)
    for _ in range(rounds):
        for name, read in readers.items():
            seconds, cpu_s, read_bytes = measure(read, keys, threads)
            took[name].append(seconds)
            cpu[name].append(cpu_s)
            sizes.add(read_bytes)
    if len(sizes) != 1:
        raise SystemExit(f"they read different bytes: {sorted(sizes)}")
    middle = {name: statistics.median(each) for name, each in took.items()}
    return {
        "files": len(keys),
        "mib": round(sizes.pop() / 2**20, 1),
        "threads": threads,
        **{name: round(seconds, 3) for name, seconds in middle.items()},
        "pyarrow_to_boto3": round(middle["pyarrow_s"] / middle["boto3_s"], 2),
        "job_to_pyarrow": round(middle["job_s"] / middle["pyarrow_s"], 2),
        "cpu_ms_per_file": {
            name.removesuffix("_s"): round(1000 * statistics.median(each) / len(keys), 2)
            for name, each in cpu.items()
        },
    }


def serve(lake: Path, count: int) -> tuple[subprocess.Popen[bytes], str, list[str]]:
    """A server with as many building files in its bucket, under keys of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    url = f"http://127.0.0.1:{port}"
    client = boto3.session.Session().client("s3", endpoint_url=url, region_name=REGION)
    client.create_bucket(Bucket=BUCKET)
    pattern = "**/timeseries_individual_buildings/**/*.parquet"
    files = sorted(path for path in lake.glob(pattern) if path.is_file())
    keys = [f"{at:05d}.parquet" for at in range(count)]
    for at, key in enumerate(keys):
        client.put_object(Bucket=BUCKET, Key=key, Body=files[at % len(files)].read_bytes())
    return process, url, keys


def main() -> None:
    """Parse, serve, compare, print a line of JSON for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--files", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 4])
    asked = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    with tempfile.TemporaryDirectory() as nowhere:  # no profile of this machine
        os.environ |= {"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}
        process, url, keys = serve(asked.lake, asked.files)
        try:
            for threads in asked.threads:
                print(json.dumps(compare(url, keys, threads, asked.rounds)), flush=True)
        finally:
            process.kill()
            process.wait(10)


if __name__ == "__main__":
    main()
