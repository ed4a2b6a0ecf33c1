"""The saved queries of an Athena workgroup: listed, run within limits, and what they cost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oedi_spark.deployment.client import Client, explained, one_line
from oedi_spark.errors import ConfigError, DeploymentError

USD_PER_TB = 5.0
"""Athena's price in most regions of the US and Europe; some ask more."""
LEAST_BILLED_BYTES = 10_000_000
"""A query that scans less is billed as if it had."""
BYTES_PER_TB = 1e12

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
_PAUSE_GROWTH = 1.5
MOST_FAULTS_IN_A_ROW = 5

VIEW_PREFIX = "view_"
_MOST_QUERIES = 500
_MOST_PAGES = 1_000_000
_WORKGROUP = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DDL = re.compile(r"(?:\s|--[^\n]*\n)*(?:CREATE|ALTER|DROP|SHOW|DESCRIBE|MSCK)\s", re.IGNORECASE)
_OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class SavedQuery:
    """A named query of a workgroup."""

    name: str
    description: str
    database: str
    text: str

    @property
    def is_view(self) -> bool:
        """Whether it makes a view rather than rows."""
        return self.name.startswith(VIEW_PREFIX)


@dataclass(frozen=True)
class Execution:
    """A query that has run to its end."""

    id: str
    scanned_bytes: int
    took_s: float
    is_billed: bool
    """Definitions, of views and tables, are free."""

    def cost_usd(self, usd_per_tb: float) -> float:
        """What Athena asks for it: of 10 MB at least, rounded up by Athena to its next MB."""
        if not self.is_billed:
            return 0.0
        return max(LEAST_BILLED_BYTES, self.scanned_bytes) / BYTES_PER_TB * usd_per_tb


def require_workgroup_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        ConfigError: It cannot; AWS was not asked.
    """
    if not _WORKGROUP.fullmatch(name):
        fault = f"{one_line(name, 60)!r} is no name of a workgroup; write --workgroup oedi-dev"
        raise ConfigError("--workgroup", [fault])
    return name


def list_saved_queries(athena: Client, workgroup: str) -> tuple[SavedQuery, ...]:
    """Every named query of a workgroup, by name.

    Raises:
        DeploymentError: There is no such workgroup, or it cannot be asked.
    """
    with explained("athena", f"the queries of workgroup {workgroup} cannot be listed"):
        ids: list[str] = []
        token: dict[str, str] = {}
        while len(ids) < _MOST_QUERIES:
            page = athena.list_named_queries(WorkGroup=workgroup, MaxResults=50, **token)
            ids += page.get("NamedQueryIds") or []
            if not page.get("NextToken"):
                break
            token = {"NextToken": page["NextToken"]}
        found = [athena.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids]
    saved = [
        SavedQuery(
            name=str(each["Name"]),
            description=str(each.get("Description") or ""),
            database=str(each["Database"]),
            text=str(each["QueryString"]),
        )
        for each in found
    ]
    return tuple(sorted(saved, key=lambda each: each.name))


def find_query(saved: Sequence[SavedQuery], name: str, workgroup: str) -> SavedQuery:
    """The one of that name.

    Raises:
        ConfigError: There is none, or there are two; names those that are there.
    """
    found = [each for each in saved if each.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        fault = f"{len(found)} queries have the name {name!r} in workgroup {workgroup}; keep one"
        raise ConfigError("NAME", [fault])
    names = ", ".join(one_line(each.name, 80) for each in saved) or "none"
    fault = f"{one_line(name, 80)!r} is no query of workgroup {workgroup}; it has: {names}"
    raise ConfigError("NAME", [fault])


def run_query(
    athena: Client, query: SavedQuery, text: str, workgroup: str, *, limit_s: float
) -> Execution:
    """Run a query in its workgroup, and wait until it is over.

    Whatever ends the waiting, an interrupt too, ends the query: nobody pays for rows that nobody
    reads.

    Args:
        athena: A client.
        query: Names the database.
        text: What to run: the query's own text, or it with other choices.
        workgroup: Says where the result goes, and how much may be scanned.
        limit_s: Of the waiting.

    Raises:
        DeploymentError: It failed, was cut off, or took too long.
    """
    with explained("athena", f"query {query.name} did not start"):
        execution_id: str = athena.start_query_execution(
            QueryString=text,
            QueryExecutionContext={"Database": query.database},
            WorkGroup=workgroup,
        )["QueryExecutionId"]
    try:
        over = _wait(athena, query.name, execution_id, limit_s)
    except BaseException:
        _stop(athena, execution_id)
        raise
    return _judge(query.name, execution_id, over, is_ddl=bool(_DDL.match(text)))


def _wait(athena: Client, name: str, execution_id: str, limit_s: float) -> Mapping[str, Any]:
    ends_at, pause_s, faults = time.monotonic() + limit_s, FIRST_PAUSE_S, 0
    what = f"query {name} was not followed to its end"
    while True:
        try:
            with explained("athena", what):
                seen = athena.get_query_execution(QueryExecutionId=execution_id)
        except DeploymentError as error:
            faults += 1
            if not error.is_passing or faults >= MOST_FAULTS_IN_A_ROW:
                raise
        else:
            faults = 0
            execution: Mapping[str, Any] = seen["QueryExecution"]
            if execution["Status"]["State"] in _OVER:
                return execution
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            cause = f"it still runs after {limit_s:,.0f} s, the limit of --timeout-s"
            raise DeploymentError(what, cause, "It was stopped; ask for less, or wait longer")
        time.sleep(min(pause_s, left_s))
        pause_s = min(LONGEST_PAUSE_S, pause_s * _PAUSE_GROWTH)


def _stop(athena: Client, execution_id: str) -> None:
    """Ask Athena to end it. If that fails too, the workgroup's own limits are left."""
    try:
        with explained("athena", "the query was not stopped"):
            athena.stop_query_execution(QueryExecutionId=execution_id)
    except DeploymentError:
        return


def _judge(name: str, execution_id: str, over: Mapping[str, Any], *, is_ddl: bool) -> Execution:
    statistics = over.get("Statistics") or {}
    done = Execution(
        id=execution_id,
        scanned_bytes=int(statistics.get("DataScannedInBytes") or 0),
        took_s=int(statistics.get("TotalExecutionTimeInMillis") or 0) / 1000,
        is_billed=not is_ddl and over.get("StatementType") != "DDL",
    )
    status = over["Status"]
    state, reason = status["State"], one_line(status.get("StateChangeReason") or "no reason given")
    if state == "SUCCEEDED":
        return done
    if "bytes scanned limit" in reason.lower():
        cause = f"cut off after {done.scanned_bytes:,} bytes, the most that the workgroup allows"
        way_out = "Choose one state and one upgrade, or raise scan_limit_bytes in Terraform"
        raise DeploymentError(f"query {name}", cause, way_out, code="CUT_OFF")
    way_out = f"Its text and error are in the console as query {execution_id}"
    raise DeploymentError(f"query {name} {state.lower()}", reason.rstrip("."), way_out, code=state)


@dataclass(frozen=True)
class Rows:
    """What a query found: the names of its columns, and its rows, fetched as they are asked for."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[str | None, ...]]


def read_rows(athena: Client, execution: Execution) -> Rows:
    """The rows of a query, a thousand at a time. A null is None.

    Raises:
        DeploymentError: They cannot be read; also while they are iterated over.
    """
    first = _page(athena, execution.id, None)
    described = first["ResultSet"].get("ResultSetMetadata") or {}
    labels = tuple(
        str(each.get("Label") or each.get("Name")) for each in described.get("ColumnInfo") or ()
    )
    return Rows(labels, _iterate(lambda token: _page(athena, execution.id, token), first, labels))


def _page(athena: Client, execution_id: str, token: str | None) -> Any:  # noqa: ANN401 - boto3 has no types
    with explained("athena", f"the rows of query {execution_id} cannot be read"):
        more = {"NextToken": token} if token else {}
        return athena.get_query_results(QueryExecutionId=execution_id, MaxResults=1000, **more)


def _iterate(
    fetch: Callable[[str], Any],
    first: Any,  # noqa: ANN401 - boto3 has no types
    labels: tuple[str, ...],
) -> Iterator[tuple[str | None, ...]]:
    page, is_first_row = first, True
    for _ in range(_MOST_PAGES):
        for row in page["ResultSet"].get("Rows") or ():
            values = tuple(cell.get("VarCharValue") for cell in row.get("Data") or ())
            if not (is_first_row and values == labels):  # Athena repeats the labels as a row
                yield values
            is_first_row = False
        token = page.get("NextToken")
        if not token:
            return
        page = fetch(token)
