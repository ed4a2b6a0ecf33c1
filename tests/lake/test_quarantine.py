"""Rejected building files are set aside byte for byte, bounded, and never anywhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from oedi_spark import pipeline
from oedi_spark.cli import app
from oedi_spark.config import RunConfig
from oedi_spark.contracts import Partition, Reason, SourceFile
from oedi_spark.contracts_resume import Redo
from oedi_spark.errors import FileFault
from oedi_spark.lake import quarantine as quarantine_module
from oedi_spark.lake.quarantine import Quarantine, QuarantineError, Rejected, SetAside
from oedi_spark.quarantine_step import open_quarantine, set_aside
from oedi_spark.sample.traps import Trap
from oedi_spark.tracking.tracker import RunTracker
from tests.conftest import MakeConfig
from tests.test_gate_run import damage
from tests.test_pipeline import CO, plant

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PARTITION = Partition("2024_comstock_amy2018_release_1", "CO", 0)
RUN, LATER = "20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb"
BYTES = b"not a parquet file"

Read = Callable[[SourceFile], bytes]


def source_file(name: str = "100-0.parquet", **changes: object) -> SourceFile:
    file = SourceFile(0, f"a/b/{name}", 100, len(BYTES), "etag-1", "2026-01-01T00:00:00Z")
    return replace(file, **changes)  # type: ignore[arg-type] # fields of a test's choice


def rejected(name: str = "100-0.parquet", **changes: object) -> Rejected:
    return Rejected(source_file(name, **changes), "not_parquet", "no footer")


def read_bytes(file: SourceFile) -> bytes:
    return BYTES


def refuse_to_read(file: SourceFile) -> bytes:
    raise AssertionError(f"{file.key} was read")


@pytest.fixture
def place(tmp_path: Path) -> Quarantine:
    return Quarantine(f"file://{tmp_path}/out", f"file://{tmp_path}/out/warehouse")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out" / "quarantine" / str(PARTITION)


def settle(
    place: Quarantine,
    *files: Rejected,
    published: tuple[str, ...] = (),
    read: Read = read_bytes,
    run_id: str = RUN,
) -> SetAside:
    return place.settle(PARTITION, files, published, run_id=run_id, read=read)


def test_rejected_file_is_copied_with_its_reason_beside_it(place: Quarantine, folder: Path) -> None:
    assert settle(place, rejected()) == SetAside(copied=1)

    assert sorted(path.name for path in folder.iterdir()) == [
        "100-0.parquet",
        "100-0.parquet.reason.json",
    ]
    assert (folder / "100-0.parquet").read_bytes() == BYTES
    told = json.loads((folder / "100-0.parquet.reason.json").read_text())
    assert told.pop("seen_at_utc").endswith("Z")
    assert told == {
        "run": RUN,
        "key": "a/b/100-0.parquet",
        "etag": "etag-1",
        "reason": "not_parquet",
        "detail": "no footer",
        "copied_bytes": 18,
        "not_copied": None,
    }


def test_file_without_readable_bytes_has_its_reason_alone(place: Quarantine, folder: Path) -> None:
    def deny(file: SourceFile) -> bytes:
        raise FileFault(Reason.ACCESS_DENIED, "HTTP 403")

    hidden = Rejected(source_file("1-0.parquet"), "access_denied", "HTTP 403", has_bytes=False)

    assert settle(place, hidden, read=refuse_to_read) == SetAside(told=1)
    assert settle(place, rejected("2-0.parquet"), read=deny) == SetAside(told=1)

    assert sorted(path.name for path in folder.iterdir()) == [
        "1-0.parquet.reason.json",
        "2-0.parquet.reason.json",
    ]
    first, second = place.entries()
    assert (first.not_copied, first.copied_bytes) == ("it cannot be read", None)
    assert second.not_copied == "access_denied: HTTP 403"


def test_same_file_rejected_again_is_not_read_again(place: Quarantine) -> None:
    settle(place, rejected())

    again = settle(place, rejected(), read=refuse_to_read, run_id=LATER)

    assert again == SetAside(kept=1)
    assert [each.run for each in place.entries()] == [RUN]


def test_new_version_of_a_rejected_file_takes_the_place_of_the_old(
    place: Quarantine, folder: Path
) -> None:
    settle(place, rejected())

    settle(place, rejected(etag="etag-2"), read=lambda _: b"another", run_id=LATER)

    assert (folder / "100-0.parquet").read_bytes() == b"another"
    assert [(each.run, each.etag) for each in place.entries()] == [(LATER, "etag-2")]


def test_file_that_is_published_now_is_taken_away(place: Quarantine, folder: Path) -> None:
    settle(place, rejected("1-0.parquet"), rejected("2-0.parquet"))

    done = settle(place, rejected("2-0.parquet"), published=("a/b/1-0.parquet",), run_id=LATER)

    assert done == SetAside(kept=1, removed=1)
    assert [each.name for each in place.entries()] == ["2-0.parquet"]
    assert settle(place, published=("a/b/2-0.parquet",)) == SetAside(removed=1)
    assert not folder.exists()


def test_hundred_files_of_a_partition_are_taken_and_no_more(
    place: Quarantine, folder: Path
) -> None:
    files = [rejected(f"{number}-0.parquet") for number in range(103)]

    assert settle(place, *files) == SetAside(copied=100, left_out=3)

    assert len(list(folder.iterdir())) == 200
    assert settle(place, *files) == SetAside(kept=100, left_out=3)
    done = settle(place, *files[1:], published=("a/b/0-0.parquet",))
    assert done == SetAside(copied=1, kept=99, left_out=2, removed=1)


def test_bytes_beyond_the_bounds_are_not_copied(
    place: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_module, "MAX_FILE_BYTES", 20)
    monkeypatch.setattr(quarantine_module, "MAX_PARTITION_BYTES", 40)
    files = [rejected(f"{number}-0.parquet") for number in range(3)]

    done = settle(place, rejected("9-0.parquet", size_bytes=21), *files)

    assert done == SetAside(copied=2, told=2)
    why = {each.name: each.not_copied for each in place.entries()}
    assert why == {
        "0-0.parquet": None,
        "1-0.parquet": None,
        "2-0.parquet": "the copies of its partition have 40 bytes by now",
        "9-0.parquet": "21 bytes are more than 20",
    }


@pytest.mark.parametrize(
    "name", ["..", ".hidden", "a\nb.parquet", "a\\b", "x.reason.json", "", "n" * 201]
)
def test_name_that_is_no_plain_file_name_is_left_out(
    place: Quarantine, tmp_path: Path, name: str
) -> None:
    assert settle(place, rejected(name), read=refuse_to_read) == SetAside(left_out=1)
    assert not (tmp_path / "out").exists()


def test_partition_that_is_no_folder_is_refused(place: Quarantine, tmp_path: Path) -> None:
    for release in ("..", "../../metadata", "a/b", ""):
        partition = Partition(release, "CO", 0)
        with pytest.raises(QuarantineError, match="is no folder of a partition"):
            place.settle(partition, [rejected()], (), run_id=RUN, read=refuse_to_read)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("link", ["quarantine", f"quarantine/release={PARTITION.release}"])
def test_link_into_the_crawled_metadata_is_not_followed(
    place: Quarantine, tmp_path: Path, link: str
) -> None:
    crawled = tmp_path / "out" / "metadata"
    crawled.mkdir(parents=True)
    (tmp_path / "out" / link).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / link).symlink_to(crawled)

    with pytest.raises(QuarantineError, match="a link is on the way"):
        settle(place, rejected(), read=refuse_to_read)

    assert list(crawled.iterdir()) == []


def test_copy_that_is_a_link_is_replaced_and_not_written_through(
    place: Quarantine, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    folder.mkdir(parents=True)
    (folder / "100-0.parquet").symlink_to(target)
    (folder / "100-0.parquet.reason.json").symlink_to(target)

    assert settle(place, rejected()) == SetAside(copied=1)

    assert target.read_bytes() == b"precious"
    assert not (folder / "100-0.parquet").is_symlink()


@pytest.mark.parametrize("warehouse", ["out/quarantine", "out", "out/quarantine/warehouse"])
def test_quarantine_in_or_around_the_warehouse_is_refused(tmp_path: Path, warehouse: str) -> None:
    with pytest.raises(QuarantineError, match="warehouse"):
        Quarantine(f"file://{tmp_path}/out", f"file://{tmp_path}/{warehouse}")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run": 1}', "[" * 5000, "\x00"])
def test_reason_that_makes_no_sense_is_no_entry(place: Quarantine, folder: Path, text: str) -> None:
    settle(place, rejected("1-0.parquet"))
    (folder / "2-0.parquet.reason.json").write_text(text)

    assert [each.name for each in place.entries()] == ["1-0.parquet"]


def quarantined(config: RunConfig) -> dict[str, str]:
    """Names and reasons, as `oedi-spark quarantine list` tells them."""
    path = Path(config.settings.log_dir).parent / "run.yaml"
    path.write_text(config.model_dump_json(by_alias=True))
    command = ["quarantine", "list", "--config", str(path), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    text = CliRunner().invoke(app, command[:-1]).output
    assert text.endswith(f"{len(found)} file(s) set aside\n")
    assert all(each["name"] in text for each in found)
    return {each["name"]: each["reason"] for each in found}


def test_run_sets_damaged_files_and_broken_rules_aside_until_they_are_published(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    lake = tmp_path / "lake"
    keys = plant(lake, (Trap.TRUNCATED_FILE, Trap.EMPTY_FILE), buildings=5)
    names = {trap: key.rsplit("/", 1)[1] for trap, key in keys.items()}
    series = sorted(lake.glob("**/timeseries_individual_buildings/**/*.parquet"))
    loud = next(path for path in series if path.name not in names.values())
    damage(loud, "out.electricity.interior_equipment.energy_consumption", 4.0)
    keys["loud"] = str(loud.relative_to(lake))
    config = make_config(lake, CO, quarantine=True, max_failed_fraction=0.9)

    first = pipeline.run(config, spark)

    assert first.exit_code == 6
    assert quarantined(config) == {
        names[Trap.TRUNCATED_FILE]: "truncated",
        names[Trap.EMPTY_FILE]: "empty",
        loud.name: "energy_is_no_power",
    }
    folder = Path(config.output_dir) / "quarantine" / str(PARTITION)
    for key in keys.values():
        assert (folder / key.rsplit("/", 1)[1]).read_bytes() == (lake / key).read_bytes()
    good = tmp_path / "good"
    plant(good, (), buildings=5)
    shutil.copy(good / keys[Trap.TRUNCATED_FILE], lake / keys[Trap.TRUNCATED_FILE])

    pipeline.run(config, spark)

    assert quarantined(config) == {
        names[Trap.EMPTY_FILE]: "empty",
        loud.name: "energy_is_no_power",
    }


def test_partition_that_is_withheld_has_its_files_set_aside_too(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    keys = plant(tmp_path / "lake", [Trap.NOT_PARQUET], buildings=2)
    config = make_config(tmp_path / "lake", CO, quarantine=True)

    summary = pipeline.run(config, spark)

    assert summary.exit_code == 4
    assert quarantined(config) == {keys[Trap.NOT_PARQUET].rsplit("/", 1)[1]: "not_parquet"}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.ACCESS_DENIED, {"access_denied": "it cannot be read"}),
        (Reason.FETCH_FAILED, {}),
        (Reason.NOT_COMMITTED, {}),
    ],
)
def test_file_that_may_not_be_read_is_told_and_one_that_may_come_yet_is_not(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    monkeypatch: pytest.MonkeyPatch,
    reason: Reason,
    told: dict[str, str],
) -> None:
    plant(tmp_path / "lake", [Trap.NOT_PARQUET], buildings=2)
    config = make_config(tmp_path / "lake", CO, quarantine=True, max_failed_fraction=0.9)

    def rename(config: RunConfig, tracker: RunTracker) -> None:
        (outcome,) = tracker.outcomes.values()
        tracker.outcomes[outcome.ordinal] = replace(outcome, reason=reason)
        set_aside(config, tracker)

    monkeypatch.setattr(pipeline, "set_aside", rename)

    pipeline.run(config, spark)

    assert {each.reason: each.not_copied for each in open_quarantine(config).entries()} == told


def test_without_the_setting_nothing_is_set_aside(
    tmp_path: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    plant(tmp_path / "lake", [Trap.NOT_PARQUET], buildings=2)
    config = make_config(tmp_path / "lake", CO, max_failed_fraction=0.9)

    pipeline.run(config, spark)

    assert not (Path(config.output_dir) / "quarantine").exists()
    assert quarantined(config) == {}


def test_quarantine_that_cannot_be_written_changes_no_outcome(
    tmp_path: Path,
    make_config: MakeConfig,
    spark: Future[SparkSession],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plant(tmp_path / "lake", [Trap.NOT_PARQUET], buildings=2)
    config = make_config(tmp_path / "lake", CO, quarantine=True, max_failed_fraction=0.9)
    Path(config.output_dir).mkdir()
    (Path(config.output_dir) / "quarantine").symlink_to(tmp_path)

    summary = pipeline.run(config, spark, redo=Redo(force=True))

    assert (summary.exit_code, summary.error) == (6, None)
    assert "a link is on the way" in caplog.text
    assert not list(tmp_path.glob("release=*"))
