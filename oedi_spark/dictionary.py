"""What the dictionary says: every column once, and what changed between two releases.

A column is the same column when its canonical name is the same; how the sources spell and type
it may differ from release to release, and from state to state within one. So spellings, types
and rules are sets here. Pure functions over rows that `lake/dictionary.py` reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from oedi_spark.lake.dictionary import DictionaryRow

_Columns = Mapping[str, Sequence[DictionaryRow]]


@dataclass(frozen=True, order=True)
class ColumnSummary:
    """One column of one table, over every row it has. All tuples are sorted.

    `partition_count`: partitions that have it. Unknown source types are left out.
    """

    table_name: str
    column_name: str
    source_names: tuple[str, ...]
    units: tuple[str, ...]
    rules: tuple[str, ...]
    source_types: tuple[str, ...]
    partition_count: int


@dataclass(frozen=True, order=True)
class Change:
    """One column, and what it was and is. Both tuples are sorted, and they differ.

    Of a column whose name changed with its unit, `column_name` is the name after.
    """

    column_name: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, order=True)
class UnitChange:
    """One measure in another unit: `stem` is its name without the unit; the others are units.

    Values of the two releases must not be added up as they are.
    """

    stem: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class TableDrift:
    """What changed in one table. Everything is in order of column name."""

    table_name: str
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[Change, ...] = ()
    retyped: tuple[Change, ...] = ()
    unit_changed: tuple[UnitChange, ...] = ()
    rule_changed: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Drift:
    """What changed from one release to another: one entry per table that either has."""

    tables: tuple[TableDrift, ...]


def summarise_dictionary(rows: Iterable[DictionaryRow]) -> tuple[ColumnSummary, ...]:
    """One line per table and column, in that order."""
    groups: dict[tuple[str, str], list[DictionaryRow]] = defaultdict(list)
    for row in rows:
        groups[row.table_name, row.column_name].append(row)
    return tuple(
        ColumnSummary(
            table_name=table_name,
            column_name=column_name,
            source_names=_source_names(group),
            units=_units(group),
            rules=_rules(group),
            source_types=_source_types(group),
            partition_count=len({(row.release, row.state, row.upgrade) for row in group}),
        )
        for (table_name, column_name), group in sorted(groups.items(), key=lambda item: item[0])
    )


def compare_releases(rows_a: Iterable[DictionaryRow], rows_b: Iterable[DictionaryRow]) -> Drift:
    """What changed from release A to release B.

    Canonical names end in the unit, so a measure that changed its unit changed its name: it is
    a change of unit, neither added nor dropped. Types that the dictionary does not know
    (rows of older runs) are no change. Only what was loaded can be compared: a column that the
    loaded states of B lack counts as dropped.

    Args:
        rows_a: The dictionary's rows of one release.
        rows_b: Those of the other.
    """
    tables_a, tables_b = _by_table(rows_a), _by_table(rows_b)
    return Drift(
        tuple(
            _compare_table(name, tables_a.get(name, {}), tables_b.get(name, {}))
            for name in sorted(tables_a.keys() | tables_b.keys())
        )
    )


def _by_table(rows: Iterable[DictionaryRow]) -> dict[str, dict[str, list[DictionaryRow]]]:
    tables: dict[str, dict[str, list[DictionaryRow]]] = {}
    for row in rows:
        columns = tables.setdefault(row.table_name, {})
        columns.setdefault(row.column_name, []).append(row)
    return tables


def _compare_table(table_name: str, columns_a: _Columns, columns_b: _Columns) -> TableDrift:
    gone, new = columns_a.keys() - columns_b.keys(), columns_b.keys() - columns_a.keys()
    gone_stems, new_stems = _by_stem(columns_a, gone), _by_stem(columns_b, new)
    moved = gone_stems.keys() & new_stems.keys()
    same = [(name, name) for name in columns_a.keys() & columns_b.keys()]
    pairs = same + [
        (gone_stems[stem][0], new_stems[stem][0])
        for stem in moved
        if len(gone_stems[stem]) == len(new_stems[stem]) == 1
    ]
    return TableDrift(
        table_name=table_name,
        added=tuple(sorted(new - {name for stem in moved for name in new_stems[stem]})),
        dropped=tuple(sorted(gone - {name for stem in moved for name in gone_stems[stem]})),
        renamed=_changes(same, columns_a, columns_b, _source_names),
        retyped=_changes(pairs, columns_a, columns_b, _source_types),
        unit_changed=_unit_changes(
            [(stem, gone_stems[stem], new_stems[stem]) for stem in moved]
            + [(name, [name], [name]) for name, _ in same],
            columns_a,
            columns_b,
        ),
        rule_changed=_changes(pairs, columns_a, columns_b, _rules),
    )


def _changes(
    pairs: Iterable[tuple[str, str]],
    columns_a: _Columns,
    columns_b: _Columns,
    read: Callable[[Iterable[DictionaryRow]], tuple[str, ...]],
) -> tuple[Change, ...]:
    found = [Change(b, read(columns_a[a]), read(columns_b[b])) for a, b in pairs]
    return tuple(
        sorted(one for one in found if one.before and one.after != one.before and one.after)
    )


def _unit_changes(
    measures: Iterable[tuple[str, Sequence[str], Sequence[str]]],
    columns_a: _Columns,
    columns_b: _Columns,
) -> tuple[UnitChange, ...]:
    found = [
        UnitChange(
            stem,
            _units(row for name in names_a for row in columns_a[name]),
            _units(row for name in names_b for row in columns_b[name]),
        )
        for stem, names_a, names_b in measures
    ]
    return tuple(sorted(one for one in found if one.before != one.after))


def _by_stem(columns: _Columns, names: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        stems[_stem(columns[name])].append(name)
    return stems


def _stem(rows: Sequence[DictionaryRow]) -> str:
    """The column's name without its unit; a name without one is its own stem."""
    name = rows[0].column_name
    endings = {f"_{row.unit}" for row in rows if row.unit}
    return name.removesuffix(max((one for one in endings if name.endswith(one)), default=""))


def _source_names(rows: Iterable[DictionaryRow]) -> tuple[str, ...]:
    return tuple(sorted({row.source_name for row in rows}))


def _source_types(rows: Iterable[DictionaryRow]) -> tuple[str, ...]:
    return tuple(sorted({row.source_type for row in rows if row.source_type is not None}))


def _units(rows: Iterable[DictionaryRow]) -> tuple[str, ...]:
    return tuple(sorted({row.unit for row in rows}))


def _rules(rows: Iterable[DictionaryRow]) -> tuple[str, ...]:
    return tuple(sorted({row.rule for row in rows}))
