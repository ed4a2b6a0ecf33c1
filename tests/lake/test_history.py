"""What every snapshot changed, and whose it is, told from the manifests that it wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table
from typer.testing import CliRunner

from oedi_spark.cli import app
from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.errors import ConfigError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog
from oedi_spark.lake.history import CellChange, Change, HistoryError, read_history
from oedi_spark.lake.restore import _placed
from oedi_spark.lake.rollback import roll_back
from oedi_spark.lake.rollback_plan import RollbackError, plan_rollback
from oedi_spark.lake.writer import list_data_files, replace_partitions

RELEASE = "2024_comstock_amy2018_release_1"
CO, GA = Partition(RELEASE, "CO", 0), Partition(RELEASE, "GA", 0)
FIRST, SECOND = "20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb"
THIRD, MERGER = "20260103T000000Z-cccccccc", "20260104T000000Z-dddddddd"

Stage = Callable[[Table, Partition, float, str], StagedFile]


def publish(table: Table, stage: Stage, run_id: str, *partitions: Partition) -> None:
    """Four rows in each partition."""
    staged = [stage(table, each, 1.5, run_id) for each in partitions]
    replace_partitions(table, partitions, staged, run_id=run_id)


def told(change: Change) -> tuple[object, ...]:
    partitions = [each.state for each in change.partitions]
    return change.run_id, partitions, change.added_rows, change.removed_rows


@pytest.fixture
def config_path(place: CatalogLocation, tmp_path: Path) -> Path:
    """A config of the tables of this test."""
    path = tmp_path / "run.yaml"
    path.write_text(
        json.dumps(
            {
                "src_bucket": str(tmp_path),
                "output_dir": str(tmp_path / "out"),
                "job_specific": [
                    {
                        "release_year": "2024",
                        "release_name": "comstock_amy2018_release_1",
                        "state": "CO",
                        "upgrades": "0",
                    }
                ],
                "catalog": {
                    "uri": place.uri,
                    "database": place.database,
                    "warehouse_dir": place.warehouse_uri.removeprefix("file://"),
                },
                "settings": {"log_dir": str(tmp_path / "logs")},
            }
        )
    )
    return path


def test_snapshots_come_newest_first_with_runs_partitions_and_rows(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO, GA)
    publish(hourly, stage, SECOND, GA)
    replace_partitions(hourly, [CO], [], run_id=THIRD)

    found = read_history(place)

    assert [told(each) for each in found] == [
        (THIRD, ["CO"], 0, 4),
        (SECOND, ["GA"], 4, 4),
        (FIRST, ["CO", "GA"], 8, 0),
    ]
    assert [each.sequence_number for each in found] == [3, 2, 1]
    assert {each.table for each in found} == {"hourly"}
    assert all(each.is_current for each in found)
    assert found[0].committed_at_ms >= found[1].committed_at_ms >= found[2].committed_at_ms


def test_rollback_is_told_with_the_run_that_it_undid(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO, GA)
    publish(hourly, stage, SECOND, GA)
    roll_back(place, SECOND, rollback_id=THIRD)

    newest = read_history(place)[0]

    assert told(newest) == (THIRD, ["GA"], 4, 4)
    assert newest.rolled_back == SECOND


def test_snapshot_of_another_program_has_no_run(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO, GA)
    hourly.refresh().delete("state = 'GA'")

    newest = read_history(place)[0]

    assert told(newest) == (None, ["GA"], 0, 4)
    with pytest.raises(RollbackError, match="another program's snapshot"):
        plan_rollback(place, FIRST)


def test_run_name_with_control_characters_is_told_in_one_line(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, "evil\x1b[2J\n", CO)

    assert [each.run_id for each in read_history(place)] == ["evil\\x1b[2J\\n"]


def test_snapshot_that_readers_do_not_see_any_more_is_marked(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO)
    publish(hourly, stage, SECOND, CO)
    table = hourly.refresh()
    table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()

    found = read_history(place)

    assert {each.run_id: each.is_current for each in found} == {FIRST: True, SECOND: False}
    with pytest.raises(RollbackError, match="no table's current state came through"):
        plan_rollback(place, SECOND)


def merge(table: Table, partition: Partition, name: str) -> None:
    """Put a copy in place of a partition's file, in a snapshot of the run that merges."""
    table = table.refresh()
    (old,) = list_data_files(table, [partition])
    uri = f"{old.file_path.rsplit('/', 1)[0]}/{name}"
    shutil.copy(old.file_path.removeprefix("file://"), uri.removeprefix("file://"))
    transaction = table.transaction()
    with transaction.update_snapshot().overwrite() as update:
        update.delete_data_file(old)
        update.append_data_file(_placed(table, old, file_path=uri))
    transaction.commit_transaction()


@pytest.mark.parametrize(
    ("name", "is_merge"),
    [
        (f"{MERGER}-c00000-1234.parquet", True),
        (f"{MERGER}-maintain-c00000-1234.parquet", True),
        (f"{MERGER}-00000-1234.parquet", False),
        (f"{MERGER}-r00000.parquet", False),
    ],
)
def test_merged_files_are_told_from_replaced_ones_by_their_name(
    place: CatalogLocation, hourly: Table, stage: Stage, name: str, is_merge: bool
) -> None:
    publish(hourly, stage, FIRST, CO)
    merge(hourly, CO, name)

    assert read_history(place)[0].cells == (CellChange(CO, 4, 4, is_merge),)


def test_file_named_as_a_merged_one_with_other_rows_is_none(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO)
    publish(hourly, stage, f"{MERGER}-c00000-1234", CO, GA)

    cells = {each.partition: each.is_merge for each in read_history(place)[0].cells}

    assert cells == {CO: True, GA: False}


def test_table_without_partitions_is_told_too(place: CatalogLocation) -> None:
    rows = pa.table({"run_id": [FIRST, SECOND]})
    table = open_catalog(place).create_table((place.database, "runs"), rows.schema)
    table.append(rows)

    (found,) = read_history(place)

    assert (found.table, found.partitions, found.added_rows) == ("runs", (), 2)


def test_history_of_one_table_names_no_other(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO)
    rows = pa.table({"run_id": [FIRST]})
    open_catalog(place).create_table((place.database, "runs"), rows.schema).append(rows)

    assert {each.table for each in read_history(place)} == {"hourly", "runs"}
    assert {each.table for each in read_history(place, ["runs"])} == {"runs"}


def test_history_before_anything_was_published_says_so(place: CatalogLocation) -> None:
    with pytest.raises(HistoryError, match="nothing was published yet"):
        read_history(place)
    open_catalog(place)
    with pytest.raises(HistoryError, match="nothing was published yet"):
        read_history(place)
    with pytest.raises(RollbackError, match="published"):
        plan_rollback(place, FIRST)


def test_manifest_that_is_gone_is_an_error_that_names_the_table(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO)
    table = hourly.refresh()
    snapshot = table.current_snapshot()
    assert snapshot is not None
    for manifest in snapshot.manifests(table.io):
        Path(manifest.manifest_path.removeprefix("file://")).unlink()

    with pytest.raises(HistoryError, match=r"eulp\.hourly") as caught:
        read_history(place)

    assert caught.value.exit_code == 5


def test_partition_whose_name_is_no_folder_is_not_restored(
    place: CatalogLocation, hourly: Table, stage: Stage
) -> None:
    publish(hourly, stage, FIRST, CO)
    rows = hourly.scan().to_arrow()
    names = pa.array(["../../../elsewhere"] * 4, rows.schema.field("release").type)
    hourly.refresh().append(
        rows.set_column(0, rows.schema.field("release"), names),
        snapshot_properties={"oedi-spark.run-id": SECOND},
    )

    with pytest.raises(RollbackError, match="is no folder of a partition"):
        plan_rollback(place, SECOND)


def test_history_prints_a_table_and_json(
    place: CatalogLocation, hourly: Table, stage: Stage, config_path: Path
) -> None:
    publish(hourly, stage, FIRST, CO, GA)
    publish(hourly, stage, SECOND, GA)
    command = ["history", "--config", str(config_path), "--table", "hourly"]

    text = CliRunner().invoke(app, command)
    as_json = CliRunner().invoke(app, [*command, "--json"])

    assert text.exit_code == 0, text.output
    assert text.output.index(SECOND) < text.output.index(FIRST)
    assert text.output.endswith("2 snapshots\n")
    newest, oldest = json.loads(as_json.output)
    assert newest["committed_at_utc"].endswith("Z")
    assert (newest["run_id"], oldest["run_id"]) == (SECOND, FIRST)
    assert newest["partitions"] == [str(GA)]
    assert (newest["added_rows"], newest["removed_rows"]) == (4, 4)
    assert (newest["rolled_back"], newest["is_current"]) == (None, True)


def test_table_that_is_none_of_ours_is_refused_with_a_near_name(config_path: Path) -> None:
    command = ["history", "--config", str(config_path), "--table", "hourley"]

    result = CliRunner().invoke(app, command)

    assert isinstance(result.exception, ConfigError)
    assert "hourley is no table; did you mean hourly?" in str(result.exception)
