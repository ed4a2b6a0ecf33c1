"""`oedi-spark history`, `rollback` and `quarantine list`: what was published, and taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from oedi_spark.cli_options import ConfigOption, load_place, load_quietly, require_known
from oedi_spark.console import folded_table, plain_console
from oedi_spark.escaping import in_ascii

if TYPE_CHECKING:
    from oedi_spark.lake.history import Change
    from oedi_spark.lake.rollback_plan import RollbackPlan, TablePlan

JsonOption = Annotated[bool, typer.Option("--json", help="A JSON list, for scripts.")]
TableOption = Annotated[list[str] | None, typer.Option(help="Only this table; repeatable.")]

_SHOWN = 3

quarantine_app = typer.Typer(help="Building files that were set aside.", no_args_is_help=True)


def history(config: ConfigOption, table: TableOption = None, as_json: JsonOption = False) -> None:
    """Print every kept snapshot with the run that made it, the newest first."""
    from oedi_spark.lake.history import TABLES, read_history

    names = require_known("--table", table or (), TABLES, "is no table")
    found = read_history(load_place(config), names or TABLES)
    if as_json:
        typer.echo(json.dumps([_change_json(each) for each in found], indent=2))
        return
    headers = ("table", "snapshot", "committed (UTC)", "operation", "run", "changed")
    printed = folded_table(*headers, "rows added", "rows removed")
    for each in found:
        run = in_ascii(each.run_id or "another program")
        if each.rolled_back:
            run += f", rolled back {in_ascii(each.rolled_back)}"
        printed.add_row(
            each.table,
            str(each.snapshot_id),
            f"{_moment(each):%Y-%m-%d %H:%M:%S}",
            in_ascii(each.operation) + ("" if each.is_current else ", not in use"),
            run,
            _some([str(partition) for partition in each.partitions]),
            f"{each.added_rows:,}",
            f"{each.removed_rows:,}",
        )
    out = plain_console()
    if found:
        out.print(printed)
    out.print(f"{len(found):,} snapshots")


def rollback(
    config: ConfigOption,
    run: Annotated[str, typer.Option("--run", help="The run to undo, as `history` names it.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
) -> None:
    """Return the tables to before one run; what other runs published stays."""
    if dry_run:
        from oedi_spark.lake.rollback_plan import plan_rollback

        plan = plan_rollback(load_place(config), run)
    else:
        from oedi_spark.pipeline import new_run_id  # a second of imports
        from oedi_spark.rollback_run import take_back

        plan = take_back(load_quietly(config)[0], run, rollback_id=new_run_id())
    for line in explain(plan, is_dry_run=dry_run):
        typer.echo(line)


def explain(plan: RollbackPlan, *, is_dry_run: bool) -> Iterator[str]:
    """What a rollback did, or would do, line by line."""
    run = in_ascii(plan.run_id)
    if not plan.tables:
        yield f"Run {run} is rolled back already: nothing to do."
        return
    word = "would be returned" if is_dry_run else "returned"
    for name in plan.done:
        yield f"{name}: rolled back already"
    for each in plan.tables:
        state = f"before snapshot {each.snapshot_id}"
        yield f"{each.name}: {len(each.cells):,} partition(s) {word} to {state}"
        yield from _cell_lines(each)
    if plan.stale_copies:
        shown = _some(sorted(str(each) for each in plan.stale_copies))
        yield f"The landed copies of metadata stay as the run left them: {shown}"
        yield "The next run does these partitions again, and puts the copies right."
    if is_dry_run:
        yield "Nothing was changed."


def _cell_lines(each: TablePlan) -> Iterator[str]:
    for cell in each.cells:
        size_bytes = sum(file.file_size_in_bytes for file in cell.back)
        yield (
            f"  {in_ascii(str(cell.partition))}: {cell.now_rows:,} rows become "
            f"{cell.before_rows:,}, {len(cell.out):,} file(s) out, {len(cell.back):,} copied "
            f"({size_bytes:,} bytes)"
        )


@quarantine_app.command("list")
def list_quarantine(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Print the building files that were set aside, and why."""
    from oedi_spark.quarantine_step import open_quarantine

    found = open_quarantine(load_quietly(config)[0]).entries()
    if as_json:
        typer.echo(json.dumps([vars(each) for each in found], indent=2))
        return
    printed = folded_table("partition", "file", "reason", "detail", "run", "seen (UTC)", "bytes")
    for each in found:
        texts = (each.name, each.reason, each.detail, each.run, each.seen_at_utc)
        size = "none" if each.copied_bytes is None else f"{each.copied_bytes:,}"
        printed.add_row(in_ascii(each.partition), *map(in_ascii, texts), size)
    out = plain_console()
    if found:
        out.print(printed)
    out.print(f"{len(found):,} file(s) set aside")


def _change_json(each: Change) -> dict[str, object]:
    return {
        "table": each.table,
        "snapshot_id": each.snapshot_id,
        "sequence_number": each.sequence_number,
        "committed_at_utc": f"{_moment(each):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "operation": each.operation,
        "run_id": each.run_id,
        "rolled_back": each.rolled_back,
        "partitions": [str(partition) for partition in each.partitions],
        "added_rows": each.added_rows,
        "removed_rows": each.removed_rows,
        "is_current": each.is_current,
    }


def _moment(each: Change) -> datetime:
    return datetime.fromtimestamp(each.committed_at_ms / 1000, UTC)


def _some(words: Sequence[str]) -> str:
    shown = [in_ascii(word) for word in words[:_SHOWN]]
    more = f" and {len(words) - _SHOWN:,} more" if len(words) > _SHOWN else ""
    return ", ".join(shown) + more
