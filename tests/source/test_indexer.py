"""Which building files a run is to read, from a folder and from S3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oedi_spark.contracts import (
    FileIndex,
    IntervalStamp,
    Partition,
    ReleaseFacts,
    Surplus,
    SurplusFile,
)
from oedi_spark.errors import NoSourceFilesError, SourceListingError
from oedi_spark.source.indexer import Selection, index_files
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.storage import SourceLocation

BUCKET = "oedi-data-lake"
S3Client = Any
"""boto3 makes its clients at run time; they have no type."""
DATA = "by_state"
COMSTOCK = ReleaseFolder("2024", "comstock_amy2018_release_1")
FUTURE = ReleaseFolder("2031", "comstock_amy2030_release_1")
C, F = "2024_comstock_amy2018_release_1", "2031_comstock_amy2030_release_1"
TREE = "base/2024/comstock_amy2018_release_1/by_state"
KEYS = (
    f"{TREE}/upgrade=0/state=CO/9-0.parquet",
    f"{TREE}/upgrade=0/state=CO/10-0.parquet",
    f"{TREE}/upgrade=0/state=CO/100-0.parquet",
    f"{TREE}/upgrade=0/state=AK/7-0.parquet",
    f"{TREE}/upgrade=10/state=CO/9-10.parquet",
    f"{TREE}/upgrade=10/state=CO/100-10.parquet",
    f"{TREE}/upgrade=10/state=co/1-10.parquet",
    f"{TREE}/upgrade=2/state=CO/9-2.parquet",
    f"{TREE}/upgrade=02/state=CO/9-2.parquet",
    f"{TREE}/upgrade=all/state=CO/9-2.parquet",
    f"{TREE}/upgrade=0/national.csv",
    "base/2031/comstock_amy2030_release_1/by_state/upgrade=0/state=CO/5-0.parquet",
)


def _write(root: Path, keys: Sequence[str] = KEYS) -> SourceLocation:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return SourceLocation(str(root), is_local=True)


def _index(location: SourceLocation, *selections: Selection) -> FileIndex:
    return index_files(location, selections, base="base", data_partition=DATA, workers=4)


def _names(index: FileIndex) -> list[tuple[str, list[str]]]:
    return [
        (str(each.partition), [file.key.rsplit("/", 1)[1] for file in each.files])
        for each in index.listings
    ]


def test_index_files_with_stars_finds_every_state_and_upgrade(tmp_path: Path) -> None:
    index = _index(_write(tmp_path), Selection(COMSTOCK, states=None, upgrades=None))

    assert _names(index) == [
        (f"release={C}/state=AK/upgrade=0", ["7-0.parquet"]),
        (f"release={C}/state=CO/upgrade=0", ["9-0.parquet", "10-0.parquet", "100-0.parquet"]),
        (f"release={C}/state=CO/upgrade=2", ["9-2.parquet"]),
        (f"release={C}/state=CO/upgrade=10", ["9-10.parquet", "100-10.parquet"]),
    ]


def test_index_files_numbers_the_files_through_in_order_of_bldg_id(tmp_path: Path) -> None:
    index = _index(_write(tmp_path), Selection(COMSTOCK, states=None, upgrades=None))

    assert [(file.ordinal, file.bldg_id) for file in index.files] == [
        (0, 7),
        (1, 9),
        (2, 10),
        (3, 100),
        (4, 9),
        (5, 9),
        (6, 100),
    ]
    assert [file.size_bytes for file in index.files] == [len(file.key) for file in index.files]


@pytest.mark.parametrize(
    ("states", "upgrades", "expected"),
    [
        (("CO",), (0,), [("CO", 0)]),
        (("CO",), None, [("CO", 0), ("CO", 2), ("CO", 10)]),
        (None, (0,), [("AK", 0), ("CO", 0)]),
        (None, (10,), [("CO", 10)]),
        (("AK", "CO"), (0, 2), [("AK", 0), ("AK", 2), ("CO", 0), ("CO", 2)]),
    ],
)
def test_index_files_lists_what_was_asked_for(
    tmp_path: Path,
    states: tuple[str, ...] | None,
    upgrades: tuple[int, ...] | None,
    expected: list[tuple[str, int]],
) -> None:
    index = _index(_write(tmp_path), Selection(COMSTOCK, states, upgrades))

    assert [(each.partition.state, each.partition.upgrade) for each in index.listings] == expected


def test_index_files_lists_a_named_partition_that_is_not_there_as_empty(tmp_path: Path) -> None:
    index = _index(_write(tmp_path), Selection(COMSTOCK, ("AK",), (0, 2)))

    assert [len(each.files) for each in index.listings] == [1, 0]
    assert index.listings[1].prefix == f"{TREE}/upgrade=2/state=AK"


def test_index_files_lists_an_overlap_of_selections_once(tmp_path: Path) -> None:
    index = _index(
        _write(tmp_path),
        Selection(COMSTOCK, ("CO",), None),
        Selection(COMSTOCK, None, (0,)),
        Selection(COMSTOCK, ("CO",), (0,)),
    )

    assert [str(each.partition) for each in index.listings] == [
        f"release={C}/state=AK/upgrade=0",
        f"release={C}/state=CO/upgrade=0",
        f"release={C}/state=CO/upgrade=2",
        f"release={C}/state=CO/upgrade=10",
    ]
    assert [file.ordinal for file in index.files] == [0, 1, 2, 3, 4, 5, 6]


def test_index_files_knows_the_facts_of_each_release(tmp_path: Path) -> None:
    index = _index(
        _write(tmp_path), Selection(FUTURE, ("CO",), (0,)), Selection(COMSTOCK, ("CO",), (0,))
    )

    assert [each.facts for each in index.listings] == [
        ReleaseFacts(C, IntervalStamp.END, 35_040, 2018),
        ReleaseFacts(F, None, None),
    ]


def test_index_files_says_why_a_file_is_not_read(tmp_path: Path) -> None:
    folder = f"{TREE}/upgrade=0/state=CO"
    strays = ["_SUCCESS", "12-1.parquet", "013-0.parquet", "14-0.parquet.tmp", "15'-0.parquet"]
    location = _write(tmp_path / "root", [*KEYS, *(f"{folder}/{stray}" for stray in strays)])
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(b"secret")
    (tmp_path / "root" / folder / "16-0.parquet").symlink_to(secret)

    (listing,) = _index(location, Selection(COMSTOCK, ("CO",), (0,))).listings

    assert [file.bldg_id for file in listing.files] == [9, 10, 100]
    assert listing.surplus == (
        SurplusFile(f"{folder}/013-0.parquet", Surplus.NOT_A_BUILDING_FILE),
        SurplusFile(f"{folder}/12-1.parquet", Surplus.OTHER_UPGRADE),
        SurplusFile(f"{folder}/14-0.parquet.tmp", Surplus.NOT_A_BUILDING_FILE),
        SurplusFile(f"{folder}/15'-0.parquet", Surplus.NOT_A_BUILDING_FILE),
        SurplusFile(f"{folder}/16-0.parquet", Surplus.OUTSIDE_SOURCE),
        SurplusFile(f"{folder}/_SUCCESS", Surplus.NOT_A_BUILDING_FILE),
    )


def test_index_files_of_a_linked_state_folder_reads_none_of_it(tmp_path: Path) -> None:
    location = _write(tmp_path / "root")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1-0.parquet").write_bytes(b"secret")
    (tmp_path / "root" / TREE / "upgrade=0/state=TX").symlink_to(outside)

    index = _index(location, Selection(COMSTOCK, None, (0,)))

    (linked,) = [each for each in index.listings if each.partition.state == "TX"]
    assert linked.files == ()
    assert [surplus.why for surplus in linked.surplus] == [Surplus.OUTSIDE_SOURCE]


def test_missing_buildings_are_those_another_upgrade_has(tmp_path: Path) -> None:
    index = _index(_write(tmp_path), Selection(COMSTOCK, None, None), Selection(FUTURE, None, None))

    assert index.missing_buildings() == {
        Partition(C, "CO", 2): (10, 100),
        Partition(C, "CO", 10): (10,),
    }


def test_index_files_without_a_building_file_says_what_was_listed(tmp_path: Path) -> None:
    location = _write(tmp_path, [f"{TREE}/upgrade=0/state=CO/{name}" for name in ("a", "b")])

    with pytest.raises(NoSourceFilesError) as caught:
        _index(location, Selection(COMSTOCK, ("AK", "CO"), (0,)))

    assert caught.value.root == str(tmp_path)
    assert caught.value.prefixes == (
        f"{TREE}/upgrade=0/state=AK",
        f"{TREE}/upgrade=0/state=CO",
    )
    assert caught.value.surplus == 2
    assert "2 folder(s) listed" in str(caught.value)
    assert "oedi-spark releases discover" in str(caught.value)


def test_index_files_without_a_folder_names_the_release(tmp_path: Path) -> None:
    location = _write(tmp_path)

    with pytest.raises(NoSourceFilesError) as caught:
        _index(location, Selection(ReleaseFolder("2025", "comstock_x"), None, None))

    assert caught.value.prefixes == ("base/2025/comstock_x/by_state",)


def test_index_files_that_cannot_list_raises(tmp_path: Path) -> None:
    location = _write(tmp_path, [*KEYS, f"{TREE}/upgrade=3/state=CO"])

    with pytest.raises(SourceListingError) as caught:
        _index(location, Selection(COMSTOCK, ("CO",), (0, 3)))

    assert caught.value.prefix == str(tmp_path / TREE / "upgrade=3/state=CO")


def test_index_files_is_the_same_from_s3(
    tmp_path: Path, s3: S3Client, s3_location: SourceLocation
) -> None:
    selection = Selection(COMSTOCK, None, None)
    stray = f"{TREE}/upgrade=0/state=CO/12-1.parquet"
    for key in (*KEYS, stray):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())

    from_s3 = _index(s3_location, selection)
    from_folder = _index(_write(tmp_path, [*KEYS, stray]), selection)

    assert all("-" in (file.etag or "") for file in from_folder.files)
    assert len({file.etag for file in from_s3.files}) == 7
    assert _timeless(from_s3) == _timeless(from_folder)
    assert len(from_s3.files) == 7


def _timeless(index: FileIndex) -> list[object]:
    return [
        replace(
            listing,
            files=tuple(replace(f, etag=None, modified_at_utc="") for f in listing.files),
        )
        for listing in index.listings
    ]
