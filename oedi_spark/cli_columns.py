"""`oedi-spark columns`: the dictionary of what was published, and the drift of two releases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from oedi_spark.cli_options import ConfigOption, load_place
from oedi_spark.console import folded_table, plain_console
from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii

if TYPE_CHECKING:
    from oedi_spark.dictionary import TableDrift
    from oedi_spark.lake.catalog import CatalogLocation
    from oedi_spark.lake.dictionary import DictionaryRow


class DescribedTable(StrEnum):
    """The tables whose columns the dictionary describes."""

    HOURLY = "hourly"
    METADATA = "metadata"


def columns(
    config: ConfigOption,
    release: Annotated[
        str | None, typer.Option(help="Only this one: 2024_comstock_… or 2024/comstock_…")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Print what changed from --release to this one.")
    ] = None,
    table: Annotated[DescribedTable | None, typer.Option(help="Only this table.")] = None,
) -> None:
    """Print the dictionary of the published columns, or what differs between two releases."""
    if against is not None and release is None:
        fault = "is compared with what? Name the earlier release with --release"
        raise ConfigError("--against", [fault])
    place = load_place(config)
    rows = _read_release(place, release, "--release", table)
    if against is None or release is None:
        _print_summary(rows)
        return
    others = _read_release(place, against, "--against", table)
    _print_drift(_canonical(release), _canonical(against), rows, others)


def _read_release(
    place: CatalogLocation, release: str | None, option: str, table: DescribedTable | None
) -> list[DictionaryRow]:
    """The rows of one release, or of all; of one table, if one is asked for."""
    from oedi_spark.lake.dictionary import read_dictionary

    wanted = None if release is None else _canonical(release)
    rows = read_dictionary(place, wanted)
    if wanted is not None and not rows:
        known = sorted({row.release for row in read_dictionary(place, None)})
        raise ConfigError(
            option,
            [
                f"the dictionary has no release {in_ascii(wanted)}",
                f"it has: {', '.join(map(in_ascii, known)) or 'none yet'}",
            ],
        )
    return [row for row in rows if table is None or row.table_name == table]


def _canonical(release: str) -> str:
    """`2024/comstock_…` as the tables name it: `2024_comstock_…`."""
    return release.strip("/").replace("/", "_")


def _print_summary(rows: Sequence[DictionaryRow]) -> None:
    from oedi_spark.dictionary import summarise_dictionary

    printed = folded_table("table", "column", "at the source", "unit", "rule", "type", "partitions")
    found = summarise_dictionary(rows)
    for each in found:
        printed.add_row(
            each.table_name,
            in_ascii(each.column_name),
            _list(each.source_names),
            _list(each.units),
            _list(each.rules),
            _list(each.source_types),
            f"{each.partition_count:,}",
        )
    out = plain_console()
    if found:
        out.print(printed)
    releases = len({row.release for row in rows})
    out.print(f"{len(found):,} columns in {releases:,} releases")


def _print_drift(
    before: str, after: str, rows: Sequence[DictionaryRow], others: Sequence[DictionaryRow]
) -> None:
    from oedi_spark.dictionary import compare_releases

    printed = folded_table("table", "what", "column", "before", "after")
    for each in compare_releases(rows, others).tables:
        for line in _drift_lines(each):
            printed.add_row(each.table_name, *line)
    out = plain_console()
    out.print(f"from {in_ascii(before)} to {in_ascii(after)}")
    if printed.row_count:
        out.print(printed)
    out.print(f"{printed.row_count:,} differences")


def _drift_lines(drift: TableDrift) -> Iterator[tuple[str, str, str, str]]:
    """What, column, before and after; what was dropped or added has one side only."""
    for name in drift.added:
        yield "added", in_ascii(name), "", ""
    for name in drift.dropped:
        yield "dropped", in_ascii(name), "", ""
    for what, changes in (
        ("renamed", drift.renamed),
        ("retyped", drift.retyped),
        ("rule", drift.rule_changed),
    ):
        for change in changes:
            yield what, in_ascii(change.column_name), _list(change.before), _list(change.after)
    for unit in drift.unit_changed:
        yield "unit", in_ascii(unit.stem), _list(unit.before), _list(unit.after)


def _list(words: Sequence[str]) -> str:
    return ", ".join(map(in_ascii, words))
