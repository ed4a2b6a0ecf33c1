"""An S3 server that only lists, from memory: what answers at once leaves the client to be measured.

python -m bench.listing_server --keys 100000 --delay-ms 100
"""

from __future__ import annotations

import argparse
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, urlsplit

BASE = "base"
TREE = "timeseries_individual_buildings/by_state"
_LARGEST_PERCENT = 57
"""Of the buildings of ResStock, those of the largest state would be 57,000 of 100,000 files."""


def make_keys(total: int, *, release: str, states: Sequence[str]) -> list[str]:
    """Keys of one release and upgrade: 57 in a hundred in the first state, the others alike."""
    first = total * _LARGEST_PERCENT // 100
    keys = []
    for at, state in enumerate(states):
        share = first if at == 0 else (total - first) // (len(states) - 1)
        folder = f"{BASE}/{release}/{TREE}/upgrade=0/state={state}"
        keys += [f"{folder}/{100_000 + at + n * len(states)}-0.parquet" for n in range(share)]
    return sorted(keys)


class ListingServer:
    """Answers ListObjectsV2 over sorted keys, and keeps the prefix of each request."""

    def __init__(self, keys: Sequence[str], *, delay_s: float = 0.0, port: int = 0) -> None:
        self.keys = sorted(keys)
        self.prefixes: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
                asked = {name: values[0] for name, values in query.items()}
                server.queries.append(asked)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.prefixes.append(asked["prefix"])
                time.sleep(delay_s)
                body = server.page(asked).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.daemon = True
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def page(self, asked: dict[str, str]) -> str:
        """One page of a listing, as S3 writes it; a token is the key that comes next."""
        prefix, delimiter = asked["prefix"], asked.get("delimiter", "")
        limit, entries, following = int(asked.get("max-keys", "1000")), 0, None
        parts: list[str] = []
        for key, is_folder in self._entries(
            asked.get("continuation-token", prefix), prefix, delimiter
        ):
            if entries == limit:
                following = key
                break
            entries += 1
            name = quote(key, safe="/")
            parts.append(
                f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
                if is_folder
                else f"<Contents><Key>{name}</Key>"
                f"<LastModified>2025-11-01T{hash(key) % 24:02}:{hash(key) % 60:02}:00.000Z"
                f"</LastModified>"
                f"<ETag>&quot;{hash(key) & (2**128 - 1):032x}&quot;</ETag><Size>5242880</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<EncodingType>url</EncodingType><KeyCount>{entries}</KeyCount>"
            f"<IsTruncated>{'true' if following else 'false'}</IsTruncated>{token}"
            f"{''.join(parts)}</ListBucketResult>"
        )

    def _entries(self, start: str, prefix: str, delimiter: str) -> Iterator[tuple[str, bool]]:
        """Keys and folders from `start` on, in order."""
        at = bisect_left(self.keys, max(start, prefix))
        while at < len(self.keys) and self.keys[at].startswith(prefix):
            key = self.keys[at]
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                yield key, False
                at += 1
                continue
            folder = key[: cut + 1]
            yield folder, True
            at = bisect_left(self.keys, folder[:-1] + chr(ord(folder[-1]) + 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends; the first line printed is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--states", default="CA,AZ,NV,OR,WA")
    parser.add_argument("--release", required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    asked = parser.parse_args(arguments)
    keys = make_keys(asked.keys, release=asked.release, states=asked.states.split(","))
    server = ListingServer(keys, delay_s=asked.delay_ms / 1000)
    print(server.url, flush=True)
    sys.stdin.read()
    print(len(server.prefixes), flush=True)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
