"""Whether every table that a query reads is pruned to partitions that a literal names.

Athena prunes a table by a literal on its own column, or on one that a join says is equal; a
literal passes through a subquery's columns, and through its GROUP BY where it groups by them. So
columns that must be equal are gathered into classes, and a class is fixed if a literal is in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

Place = tuple[int, str, str]
"""A column as a SELECT sees it: the SELECT, the alias, the column."""

PARTITION = ("release", "state", "upgrade")
PARTITIONED = frozenset({"hourly", "metadata", "building_weights", "columns"})


class Equalities:
    """Classes of columns that must be equal."""

    def __init__(self) -> None:
        self._parents: dict[Place, Place] = {}
        self._fixed: set[Place] = set()

    def find(self, place: Place) -> Place:
        """The class of a column."""
        while (parent := self._parents.get(place, place)) != place:
            place = parent
        return place

    def join(self, one: Place, other: Place) -> None:
        """Say that two columns are equal."""
        self._parents[self.find(one)] = self.find(other)

    def fix(self, place: Place) -> None:
        """Say that a column equals a literal."""
        self._fixed.add(place)

    def is_fixed(self, place: Place) -> bool:
        """Whether a literal is in the column's class."""
        return self.find(place) in {self.find(each) for each in self._fixed}


def find_unpruned(statement: exp.Expr) -> list[str]:
    """The partition columns that no literal reaches: `table.column`.

    Of a view, the columns that it hands on are taken for fixed: its reader says what they are.
    """
    equalities = Equalities()
    subqueries = {each.alias: each.this for each in statement.find_all(exp.CTE)}
    body = statement.expression if isinstance(statement, exp.Create) else statement
    if isinstance(statement, exp.Create):
        for name in PARTITION:
            equalities.fix((id(body), "", name))
    for select in statement.find_all(exp.Select):
        _read_select(select, subqueries, equalities)
    return [
        f"{table.name}.{name}"
        for select in statement.find_all(exp.Select)
        for table in _tables(select)
        if table.name in PARTITIONED and table.name not in subqueries
        for name in PARTITION
        if not equalities.is_fixed((id(select), table.alias_or_name, name))
    ]


def _tables(select: exp.Select) -> Iterator[exp.Table]:
    """The tables of the SELECT itself, not of those inside it."""
    for table in select.find_all(exp.Table):
        if table.find_ancestor(exp.Select) is select:
            yield table


def _read_select(
    select: exp.Select, subqueries: dict[str, exp.Select], equalities: Equalities
) -> None:
    for condition in _conditions(select):
        sides = [_place(select, side) for side in (condition.left, condition.right)]
        if sides[0] and sides[1]:
            equalities.join(sides[0], sides[1])
        elif sides[0] and isinstance(condition.right, exp.Literal):
            equalities.fix(sides[0])
    grouped = select.args.get("group")
    keys = {column.sql() for column in grouped.expressions} if grouped else None
    for column in select.selects:
        source = column.unalias()
        place = _place(select, source)
        if place and (keys is None or source.sql() in keys):
            equalities.join((id(select), "", column.alias_or_name), place)
    for table in _tables(select):
        if table.name in subqueries:
            inner = id(subqueries[table.name])
            for name in PARTITION:
                equalities.join((id(select), table.alias_or_name, name), (inner, "", name))


def _conditions(select: exp.Select) -> Iterator[exp.EQ]:
    """The equalities that must all hold: of WHERE and of the joins, outer ones included."""
    parts = [join.args.get("on") for join in select.args.get("joins") or []]
    where = select.args.get("where")
    for part in [*parts, where.this if where else None]:
        if part is not None:
            for each in part.flatten() if isinstance(part, exp.And) else [part]:
                if isinstance(each, exp.EQ):
                    yield each


def _place(select: exp.Select, column: exp.Expr) -> Place | None:
    if isinstance(column, exp.Column) and column.table:
        return id(select), column.table, column.name
    return None
