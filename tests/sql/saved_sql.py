"""The saved queries and views as a test sees them: files, choices, and their text for DuckDB.

DuckDB stands in for Athena: sqlglot reads the text as Athena's SQL and writes it as DuckDB's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from tests.conftest import PROJECT

QUERIES = sorted((PROJECT / "sql" / "queries").glob("*.sql"))
VIEWS = sorted((PROJECT / "sql" / "views").glob("*.sql"))
FILES = [*QUERIES, *VIEWS]

CHOICES: Mapping[str, re.Pattern[str]] = {
    "release": re.compile(r"(\.release = )('[0-9]{4}_[a-z0-9_.]+')( -- choose release)$", re.M),
    "state": re.compile(r"(\.state = )('[A-Z]{2}')( -- choose state)$", re.M),
    "upgrade": re.compile(r"(\.upgrade = )([0-9]+)( -- choose upgrade)$", re.M),
    "county": re.compile(r"(\.geography = )('G[0-9]{7}')( -- choose county)$", re.M),
}

Rows = list[dict[str, Any]]


def read(name: str) -> str:
    """The text of a query or view, by its name."""
    (path,) = [each for each in FILES if each.stem == name]
    return path.read_text("utf-8")


def parse(text: str) -> exp.Expr:
    """The statement as Athena's SQL; whatever sqlglot does not understand is an error."""
    (statement,) = sqlglot.parse(text, read="athena")
    assert statement is not None
    odd = [*statement.find_all(exp.Command, exp.Anonymous)]
    assert odd == [], f"not understood: {odd}"
    return statement


def choose(text: str, **values: str | int) -> str:
    """Put other values on the marked lines, as the command line does."""
    for name, value in values.items():
        literal = f"'{value}'" if isinstance(value, str) else str(value)
        text, found = CHOICES[name].subn(rf"\g<1>{literal}\g<3>", text)
        assert found, f"no line to choose {name}"
    return text


def to_duckdb(text: str) -> str:
    """The statement in DuckDB's words."""
    return parse(text).transform(_rows_as_values).sql(dialect="duckdb")


def _rows_as_values(node: exp.Expr) -> exp.Expr:
    """Say VALUES for `UNNEST(ARRAY[ROW(…), …])`: columns in Athena, but one struct in DuckDB."""
    if not isinstance(node, exp.Unnest):
        return node
    (array,) = node.expressions
    rows = [
        exp.Tuple(
            expressions=[
                # sqlglot names a field after the column that it holds.
                field.expression if isinstance(field, exp.PropertyEQ) else field
                for field in row.expressions
            ]
        )
        for row in array.expressions
    ]
    values = exp.Values(expressions=rows)
    return exp.Lateral(this=exp.Subquery(this=values), alias=node.args["alias"])


def run(connection: duckdb.DuckDBPyConnection, name: str, **values: str | int) -> Rows:
    """The rows of a saved query."""
    table = connection.sql(to_duckdb(choose(read(name), **values))).to_arrow_table()
    rows: Rows = table.to_pylist()
    return rows
