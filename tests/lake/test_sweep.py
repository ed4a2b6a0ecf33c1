"""What a run left lying about goes; what is committed, or another run's, stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyiceberg.table import Table, Transaction

from oedi_spark.contracts import Partition, StagedFile
from oedi_spark.lake import sweep
from oedi_spark.lake.catalog import CatalogLocation, commit_uuid, open_catalog
from oedi_spark.lake.writer import replace_partitions

Stage = Callable[[Table, Partition, float, str], StagedFile]
R = "2024_comstock_amy2018_release_1"
AK, CO = Partition(R, "AK", 0), Partition(R, "CO", 0)


def _swept(work: Callable[..., tuple[str, ...]], *arguments: object) -> tuple[str, ...]:
    """What a sweep removed, as local paths."""
    return tuple(uri.removeprefix("file://") for uri in work(*arguments))


def _files(table: Table) -> set[str]:
    root = Path(table.location().removeprefix("file://"))
    return {str(path) for path in root.rglob("*") if path.is_file()}


def _publish(table: Table, stage: Stage, run_id: str, *partitions: Partition) -> None:
    staged = [stage(table, partition, 1.0, run_id) for partition in partitions]
    replace_partitions(table, partitions, staged, run_id=run_id)


def _path(staged: StagedFile) -> str:
    return staged.path.removeprefix("file://")


def test_sweep_run_removes_what_the_run_staged_and_did_not_commit(
    hourly: Table, stage: Stage
) -> None:
    _publish(hourly, stage, "run-0", CO)
    before = _files(hourly)
    left = {_path(stage(hourly, partition, 2.0, "run-1")) for partition in (AK, CO)}

    swept = _swept(sweep.sweep_run, hourly.refresh(), "run-1", [AK, CO])

    assert set(swept) == left
    assert _files(hourly) == before
    assert _swept(sweep.sweep_run, hourly, "run-1", [AK, CO]) == ()


def test_sweep_run_keeps_what_was_committed(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", AK, CO)
    before = _files(hourly)

    assert _swept(sweep.sweep_run, hourly.refresh(), "run-1", [AK, CO]) == ()
    assert _files(hourly) == before


def test_sweep_run_keeps_what_was_committed_after_the_table_was_loaded(
    hourly: Table, stage: Stage, place: CatalogLocation
) -> None:
    stale = open_catalog(place).load_table(("eulp", "hourly"))
    _publish(hourly, stage, "run-1", CO)
    before = _files(hourly)

    assert _swept(sweep.sweep_run, stale, "run-1", [CO]) == ()
    assert _files(hourly) == before


def test_sweep_run_keeps_what_only_an_old_snapshot_has(hourly: Table, stage: Stage) -> None:
    _publish(hourly, stage, "run-1", CO)
    old = hourly.refresh().current_snapshot()
    _publish(hourly, stage, "run-2", CO)

    assert _swept(sweep.sweep_run, hourly.refresh(), "run-1", [CO]) == ()
    assert old is not None
    assert hourly.scan(snapshot_id=old.snapshot_id).to_arrow().num_rows == 4


def test_sweep_run_leaves_other_runs_and_other_partitions_alone(
    hourly: Table, stage: Stage
) -> None:
    stay = {
        _path(stage(hourly, CO, 1.0, "run-2")),
        _path(stage(hourly, CO, 1.0, "run-10")),
        _path(stage(hourly, AK, 1.0, "run-1")),
    }
    gone = _path(stage(hourly, CO, 1.0, "run-1"))

    assert _swept(sweep.sweep_run, hourly, "run-1", [CO]) == (gone,)
    assert stay < _files(hourly)


def test_sweep_run_removes_the_manifests_of_a_commit_that_died(
    hourly: Table, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(hourly, stage, "run-0", CO)
    before = _files(hourly)

    def die(_: Transaction) -> Table:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", die)
        with pytest.raises(KeyboardInterrupt):
            _publish(hourly, stage, "run-1", CO)
    left = _files(hourly) - before

    swept = _swept(sweep.sweep_run, hourly, "run-1", [CO])

    assert set(swept) == left
    assert len([path for path in swept if str(commit_uuid("run-1")) in path]) >= 2
    assert _files(hourly) == before
    assert hourly.refresh().scan().to_arrow().num_rows == 4


def test_sweep_run_of_a_run_that_left_nothing_removes_nothing(hourly: Table) -> None:
    before = _files(hourly)

    assert _swept(sweep.sweep_run, hourly, "run-1", [CO, AK]) == ()
    assert _files(hourly) == before


def test_sweep_run_beside_another_sweep_does_not_stumble(
    hourly: Table, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Path(_path(stage(hourly, CO, 1.0, "run-1")))

    def lose_it(_: Table, suspects: set[str]) -> set[str]:
        left.unlink()
        return suspects

    monkeypatch.setattr("oedi_spark.lake.sweep._unreferenced", lose_it)

    assert _swept(sweep.sweep_run, hourly, "run-1", [CO]) == (str(left),)


def test_sweep_metadata_removes_what_lost_its_race_and_nothing_else(
    hourly: Table, stage: Stage
) -> None:
    _publish(hourly, stage, "run-1", CO)
    _publish(hourly, stage, "run-2", CO)
    before = _files(hourly)
    folder = Path(hourly.refresh().metadata_location.removeprefix("file://")).parent
    lost = folder / "00001-00000000-0000-0000-0000-000000000000.metadata.json"
    coming = folder / "00003-00000000-0000-0000-0000-000000000000.metadata.json"
    notes = folder / "notes.json"
    for path in (lost, coming, notes):
        path.write_text("{}")

    assert _swept(sweep.sweep_metadata, hourly.refresh()) == (str(lost),)

    assert _files(hourly) == before | {str(coming), str(notes)}
    assert hourly.refresh().scan().to_arrow().num_rows == 4
