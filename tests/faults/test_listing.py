"""What a listing asks of the server: one request per thousand keys, and one per folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from bench.listing_server import BASE, TREE, ListingServer
from oedi_spark.contracts import PartitionListing
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import S3Storage, SourceLocation

FOLDER = ReleaseFolder("2022", "resstock_amy2018_release_1")
ROOT = f"{BASE}/2022/resstock_amy2018_release_1/{TREE}"
COUNTS = {(0, "AK"): 999, (0, "CA"): 1001, (1, "AK"): 1000}


@pytest.fixture
def server() -> Iterator[ListingServer]:
    server = ListingServer(
        [
            f"{ROOT}/upgrade={upgrade}/state={state}/{bldg_id}-{upgrade}.parquet"
            for (upgrade, state), count in COUNTS.items()
            for bldg_id in range(count)
        ]
    )
    yield server
    server.stop()


def location(server: ListingServer, *, requester_pays: bool = False) -> SourceLocation:
    return SourceLocation(
        root="bucket",
        is_local=False,
        anonymous=True,
        endpoint_url=server.url,
        path_style=True,
        requester_pays=requester_pays,
    )


def list_all(server: ListingServer, **selected: tuple[str, ...] | None) -> list[PartitionListing]:
    selection = Selection(FOLDER, selected.get("states"), None)
    where = location(server)
    found = index_files(where, [selection], base=BASE, data_partition=TREE, workers=4)
    return list(found.listings)


def test_three_thousand_keys_are_listed_in_four_pages_and_three_looks_at_folders(
    server: ListingServer,
) -> None:
    listings = list_all(server)

    assert [len(each.files) for each in listings] == [999, 1000, 1001]
    assert [each.files[-1].bldg_id for each in listings] == [998, 999, 1000]
    assert Counter(server.prefixes) == {
        f"{ROOT}/": 1,
        f"{ROOT}/upgrade=0/": 1,
        f"{ROOT}/upgrade=1/": 1,
        f"{ROOT}/upgrade=0/state=AK/": 1,
        f"{ROOT}/upgrade=0/state=CA/": 2,
        f"{ROOT}/upgrade=1/state=AK/": 1,
    }


def test_states_that_are_named_are_not_looked_for(server: ListingServer) -> None:
    listings = list_all(server, states=("AK",))

    assert [len(each.files) for each in listings] == [999, 1000]
    assert len(server.prefixes) == 1 + 2


def test_who_pays_says_so_in_every_request_and_nobody_else_does(server: ListingServer) -> None:
    list(S3Storage(location(server)).list_tree(ROOT))
    free = len(server.headers)
    list(S3Storage(location(server, requester_pays=True)).list_tree(ROOT))
    S3Storage(location(server, requester_pays=True)).list_folders(ROOT)

    paid = [each.get("x-amz-request-payer") for each in server.headers]
    assert paid == [None] * free + ["requester"] * 4
    assert free == 3


def test_what_lies_at_the_root_of_a_bucket_is_found_with_an_empty_prefix() -> None:
    server = ListingServer(["2022/a/1", "2024/b/2", "readme.txt"])
    try:
        storage = S3Storage(location(server))
        assert storage.list_folders("") == ["2022", "2024"]
        assert [each.key for each in storage.list_files("")] == ["2022/", "2024/", "readme.txt"]
        assert [each.key for each in storage.list_tree("")] == [
            "2022/a/1",
            "2024/b/2",
            "readme.txt",
        ]
    finally:
        server.stop()
    assert set(server.prefixes) == {""}
