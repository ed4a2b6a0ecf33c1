"""`aws queries` and `aws views`: listed, asked of another state, run within limits, and priced.

moto keeps the saved queries and starts them; it executes none, so that how one went is a script
of `GetQueryExecution`'s answers, and its rows are queued with moto or written down here.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from oedi_spark.deployment.choices import choose
from oedi_spark.deployment.queries import SavedQuery
from oedi_spark.deployment.views import find_views
from tests.aws.answers import execution, results
from tests.aws.conftest import Deployed
from tests.aws.server import WAIT_LIMIT_S, AwsServer, Fault
from tests.conftest import PROJECT

QUERIES = ("queries", "--workgroup", "oedi-dev")
RUN = ("queries", "run", "peak_day", "--workgroup", "oedi-dev")
PEAK_DAY = """\
-- The day with the highest load
-- Scans: one partition of hourly
SELECT day, 'CO' AS kept, kwh
FROM hourly AS h
WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
  AND h.state = 'CO' -- choose state
  AND h.upgrade = 0 -- choose upgrade
"""
SAVED = {
    "peak_day": ("The day with the highest load", PEAK_DAY),
    "last_runs": ("What the last runs did", "SELECT run_id FROM runs"),
    "view_monthly": ("By month", "-- By month\nCREATE OR REPLACE VIEW monthly AS SELECT 1 AS x"),
    "view_yearly": ("By year", "CREATE OR REPLACE VIEW yearly AS SELECT x FROM monthly"),
}


@pytest.fixture(scope="module")
def saved(running: AwsServer) -> None:
    """The saved queries, made once."""
    athena = running.client("athena")
    for name, (description, text) in SAVED.items():
        athena.create_named_query(
            Name=name,
            Description=description,
            Database="oedi_dev",
            QueryString=text,
            WorkGroup="oedi-dev",
        )


@pytest.fixture
def asked(deployed: Deployed, saved: None) -> Deployed:
    """The deployment with its queries, whose next one has a known id and finds nothing."""
    deployed.server.say("StartQueryExecution", {"QueryExecutionId": "q-1"})
    deployed.server.say("GetQueryExecution", execution("SUCCEEDED"))
    deployed.server.say("GetQueryResults", results(("day",)))
    return deployed


def test_the_saved_queries_are_listed_by_name_with_what_they_say(asked: Deployed) -> None:
    ended = asked.run(*QUERIES)

    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["query", "what", "it", "says"],
        ["last_runs", "What", "the", "last", "runs", "did"],
        ["peak_day", "The", "day", "with", "the", "highest", "load"],
        ["view_monthly", "By", "month"],
        ["view_yearly", "By", "year"],
        ["4", "saved", "queries", "in", "workgroup", "oedi-dev"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("queries", "--workflow", "oedi-dev"),
        ("queries", "--workflow", "oedi-dev", "run", "last_runs"),
        ("queries", "run", "last_runs", "--workflow", "oedi-dev"),
        ("views", "create", "--workflow", "oedi-dev"),
    ],
)
def test_the_workgroup_is_known_from_the_workflow(
    asked: Deployed, arguments: tuple[str, ...]
) -> None:
    ended = asked.run(*arguments)

    assert ended.code == 0, ended.err
    assert asked.server.requests("ListNamedQueries")[0]["WorkGroup"] == "oedi-dev"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("queries",), 2, "give it, or --workflow"),
        (("queries", "--workgroup", "a b"), 2, "is no name of a workgroup"),
        (("queries", "run", "peak_hour", "--workgroup", "oedi-dev"), 2, "'peak_hour' is no query"),
        (("queries", "--workflow", "oedi-prod"), 8, "workflow oedi-prod cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    asked: Deployed, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = asked.run(*arguments)

    assert ended.code == code
    assert said in ended.err
    assert asked.server.requests("StartQueryExecution") == []


@pytest.mark.parametrize(
    ("variable", "arguments", "region"),
    [
        ("us-gov-west-1", (), "us-gov-west-1"),
        ("us-gov-west-1", ("--region", "us-east-2"), "us-east-2"),
    ],
)
def test_the_region_of_the_command_beats_aws_region_which_beats_boto3s_own(
    asked: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    arguments: tuple[str, ...],
    region: str,
) -> None:
    monkeypatch.setenv("AWS_REGION", variable)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    asked.server.say("ListNamedQueries", {"NamedQueryIds": ["1"]})
    named = {"Name": "peak_day", "Database": "oedi_dev", "QueryString": "SELECT 1"}
    asked.server.say("GetNamedQuery", {"NamedQuery": named})

    ended = asked.run(*RUN, *arguments)

    assert f"/athena/home?region={region}#/query-editor/history/q-1" in ended.err


def test_a_query_that_is_not_there_is_refused_with_those_that_are(asked: Deployed) -> None:
    ended = asked.run("queries", "run", "peak_hour", "--workgroup", "oedi-dev")

    assert "it has: last_runs, peak_day, view_monthly, view_yearly" in ended.err


def test_a_query_is_run_as_it_is_saved_in_its_database_and_workgroup(asked: Deployed) -> None:
    assert asked.run(*RUN).code == 0

    (started,) = asked.server.requests("StartQueryExecution")
    assert started["QueryString"] == PEAK_DAY
    assert started["QueryExecutionContext"] == {"Database": "oedi_dev"}
    assert started["WorkGroup"] == "oedi-dev"
    assert "ResultConfiguration" not in started


def test_only_the_literals_that_are_marked_are_replaced(asked: Deployed) -> None:
    chosen = ("--release", "2022_resstock_amy2018_release_1", "--state", "VT", "--upgrade", "12")

    assert asked.run(*RUN, *chosen).code == 0

    (started,) = asked.server.requests("StartQueryExecution")
    assert started["QueryString"] == (
        "-- The day with the highest load\n"
        "-- Scans: one partition of hourly\n"
        "SELECT day, 'CO' AS kept, kwh\n"
        "FROM hourly AS h\n"
        "WHERE h.release = '2022_resstock_amy2018_release_1' -- choose release\n"
        "  AND h.state = 'VT' -- choose state\n"
        "  AND h.upgrade = 12 -- choose upgrade\n"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--state", "CO' OR '1'='1"),
        ("--state", "co"),
        ("--state", "CO\n"),
        ("--upgrade", "0 OR 1=1"),
        ("--upgrade", "01"),
        ("--upgrade", "-1"),
        ("--release", "2024'; DROP TABLE hourly --"),
        ("--county", "G08"),
    ],
)
def test_a_value_that_is_more_than_a_value_is_refused_and_nothing_runs(
    asked: Deployed, option: str, value: str
) -> None:
    ended = asked.run(*RUN, option, value)

    assert ended.code == 2
    assert f"{option} {value!r} is none; write it like" in ended.err
    assert asked.server.requests("StartQueryExecution") == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peak_day", "--county changes nothing in it; it asks for --release, --state, --upgrade"),
        ("last_runs", "--county changes nothing in it; it asks for nothing: leave it out"),
    ],
)
def test_a_choice_that_the_query_does_not_offer_is_refused(
    asked: Deployed, name: str, said: str
) -> None:
    ended = asked.run("queries", "run", name, "--workgroup", "oedi-dev", "--county", "G0800310")

    assert ended.code == 2
    assert said in ended.err
    assert asked.server.requests("StartQueryExecution") == []


def test_rows_are_shown_with_what_they_cost(asked: Deployed) -> None:
    asked.server.say(
        "GetQueryExecution",
        execution("QUEUED"),
        Fault("ThrottlingException", "Rate exceeded"),
        execution("RUNNING"),
        execution("SUCCEEDED", scanned=250_000_000_000),
    )
    asked.server.say(
        "GetQueryResults",
        results(("day", "kwh"), ("day", "kwh"), ("2018-01-17", "12.5"), ("a\x1b[2J", None)),
    )

    ended = asked.run(*RUN)

    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["day", "kwh"],
        ["2018-01-17", "12.5"],
        ["a\\x1b[2J"],
    ]
    assert ended.err.splitlines() == [
        "2 rows",
        "scanned 250,000,000,000 bytes in 2.3 s: $1.250000 at $5 per TB and 10 MB at least",
        (
            "query  https://us-west-2.console.aws.amazon.com/athena/home?region=us-west-2"
            "#/query-editor/history/q-1"
        ),
    ]


@pytest.mark.parametrize(
    ("scanned", "arguments", "cost"),
    [
        (1, (), "$0.000050 at $5 per TB"),
        (10_000_001, (), "$0.000050 at $5 per TB"),
        (2_000_000_000_000, ("--usd-per-tb", "6.25"), "$12.500000 at $6.25 per TB"),
    ],
)
def test_a_query_costs_by_what_it_scanned_and_at_least_10_mb(
    asked: Deployed, scanned: int, arguments: tuple[str, ...], cost: str
) -> None:
    asked.server.say("GetQueryExecution", execution("SUCCEEDED", scanned=scanned))

    assert cost in asked.run(*RUN, *arguments).err


def test_a_definition_is_free(asked: Deployed) -> None:
    ended = asked.run("queries", "run", "view_monthly", "--workgroup", "oedi-dev")

    assert ended.code == 0
    assert "scanned 0 bytes in 2.3 s: free, as definitions are" in ended.err


def test_only_so_many_rows_are_shown_as_were_asked_for(asked: Deployed) -> None:
    rows = [(f"day {number}",) for number in range(4)]
    asked.server.say("GetQueryResults", results(("day",), ("day",), *rows))

    ended = asked.run(*RUN, "--limit", "2")

    assert [line.strip() for line in ended.out.splitlines()] == ["day", "day 0", "day 1"]
    assert ended.err.splitlines()[0] == "the first 2 rows; there are more"


def test_all_rows_of_all_pages_go_into_a_file(asked: Deployed, tmp_path: Path) -> None:
    asked.server.say(
        "GetQueryResults",
        results(("day", "kwh"), ("day", "kwh"), ("a,b", None), token="more"),
        results(("day", "kwh"), ("day", "kwh"), ('say "c"', "")),
    )
    path = tmp_path / "peak.csv"

    ended = asked.run(*RUN, "--output", str(path), "--limit", "0")

    assert ended.code == 0
    assert path.read_bytes() == b'day,kwh\r\n"a,b",\r\nday,kwh\r\n"say ""c""",\r\n'
    assert ended.err.splitlines()[0] == f"3 rows, all in {path}; the first 0 are shown"
    assert [each.get("NextToken") for each in asked.server.requests("GetQueryResults")] == [
        None,
        "more",
    ]
    assert [each.name for each in tmp_path.iterdir() if "unfinished" in each.name] == []


def test_rows_that_break_off_leave_the_file_that_was_there(asked: Deployed, tmp_path: Path) -> None:
    path = tmp_path / "peak.csv"
    path.write_text("before")
    asked.server.say(
        "GetQueryResults",
        results(("day",), ("day",), ("1",), token="more"),
        Fault("InvalidRequestException", "gone"),
    )

    ended = asked.run(*RUN, "--output", str(path))

    assert ended.code == 8
    assert "the rows of query q-1 cannot be read: InvalidRequestException: gone" in ended.err
    assert "scanned 0 bytes" in ended.err
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir() if "unfinished" in each.name] == []


def test_a_file_that_cannot_be_written_is_told_with_the_cost(
    asked: Deployed, tmp_path: Path
) -> None:
    ended = asked.run(*RUN, "--output", str(tmp_path / "none" / "peak.csv"))

    assert ended.code == 2
    assert "cannot be written: No such file or directory; the query was run" in ended.err
    assert "$0.000050" in ended.err


def test_a_query_that_fails_ends_with_8_and_athenas_reason(asked: Deployed) -> None:
    reason = "TABLE_NOT_FOUND: line 4:6: Table 'hourly' does not exist"
    asked.server.say("GetQueryExecution", execution("FAILED", reason=reason))

    ended = asked.run(*RUN)

    assert ended.code == 8
    assert f"query peak_day failed: {reason}. Its text and error are in the console" in ended.err
    assert asked.server.requests("GetQueryResults") == []


def test_a_query_that_is_cut_off_says_after_how_much(asked: Deployed) -> None:
    reason = "Query cancelled! : Bytes scanned limit was exceeded"
    over = execution("CANCELLED", scanned=100_000_000_000, reason=reason)
    asked.server.say("GetQueryExecution", over)

    ended = asked.run(*RUN)

    assert ended.code == 8
    assert "cut off after 100,000,000,000 bytes, the most that the workgroup allows" in ended.err
    assert "scan_limit_bytes" in ended.err


def test_a_query_that_somebody_cancelled_says_so(asked: Deployed) -> None:
    asked.server.say("GetQueryExecution", execution("CANCELLED"))

    assert "query peak_day cancelled: no reason given." in asked.run(*RUN).err


def test_a_query_that_takes_too_long_is_stopped(asked: Deployed) -> None:
    asked.server.say("GetQueryExecution", execution("RUNNING"))
    asked.server.say("StopQueryExecution", {})

    ended = asked.run(*RUN, "--timeout-s", "1")

    assert ended.code == 8
    assert "it still runs after 1 s, the limit of --timeout-s. It was stopped" in ended.err
    assert asked.server.requests("StopQueryExecution") == [{"QueryExecutionId": "q-1"}]


def test_a_query_that_may_not_be_looked_at_is_stopped(asked: Deployed) -> None:
    asked.server.say("GetQueryExecution", Fault("AccessDeniedException", "no"))
    asked.server.say("StopQueryExecution", Fault("AccessDeniedException", "no"))

    ended = asked.run(*RUN)

    assert ended.code == 8
    assert "Allow athena:GetQueryExecution" in ended.err
    assert len(asked.server.requests("StopQueryExecution")) == 1


def test_a_workgroup_that_is_refused_is_a_sentence(asked: Deployed) -> None:
    refused = Fault("InvalidRequestException", "WorkGroup oedi-dev is disabled")
    asked.server.say("StartQueryExecution", refused)

    ended = asked.run(*RUN)

    assert ended.code == 8
    assert "query peak_day did not start: InvalidRequestException: WorkGroup oedi-dev" in ended.err


def test_an_interrupt_stops_the_query(asked: Deployed) -> None:
    asked.server.say("GetQueryExecution", execution("RUNNING"))
    asked.server.say("StopQueryExecution", {})
    command = [sys.executable, "-c", "from oedi_spark.cli import main; main()", "aws", *RUN]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            asked.server.wait_for("GetQueryExecution")
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=WAIT_LIMIT_S)
        finally:
            process.kill()

    assert process.returncode == 130
    assert "the query was told to stop; what it has scanned is billed" in error
    assert asked.server.requests("StopQueryExecution") == [{"QueryExecutionId": "q-1"}]


def test_a_query_is_run_by_moto_from_start_to_rows(
    deployed: Deployed, saved: None, tmp_path: Path
) -> None:
    page = results(("run_id",), ("run_id",), ("run-7",))["ResultSet"]
    info = page["ResultSetMetadata"]["ColumnInfo"]
    queued = {
        "region": "us-west-2",
        "results": [{"rows": page["Rows"], "column_info": info}],
    }
    request = urllib.request.Request(
        f"{deployed.server.url}/moto-api/static/athena/query-results",
        data=json.dumps(queued).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
    path = tmp_path / "runs.csv"

    ended = deployed.run(
        "queries", "run", "last_runs", "--workgroup", "oedi-dev", "--output", str(path)
    )

    assert ended.code == 0
    with path.open(newline="") as stream:
        assert list(csv.reader(stream)) == [["run_id"], ["run-7"]]


def test_the_views_are_made_each_by_its_saved_query(asked: Deployed) -> None:
    ended = asked.run("views", "create", "--workgroup", "oedi-dev")

    assert (ended.code, ended.out) == (0, "view_monthly: made\nview_yearly: made\n")
    assert [each["QueryString"] for each in asked.server.requests("StartQueryExecution")] == [
        SAVED["view_monthly"][1],
        SAVED["view_yearly"][1],
    ]


def test_a_view_that_needs_a_later_one_is_tried_again(asked: Deployed) -> None:
    absent = execution("FAILED", reason="VIEW_NOT_FOUND")
    done = execution("SUCCEEDED", kind="DDL")
    asked.server.say("GetQueryExecution", absent, done, done)

    ended = asked.run("views", "create", "--workgroup", "oedi-dev")

    assert (ended.code, ended.out) == (0, "view_yearly: made\nview_monthly: made\n")


def test_views_that_cannot_be_made_are_named_with_the_reason(asked: Deployed) -> None:
    absent = execution("FAILED", reason="TABLE_NOT_FOUND: hourly")
    asked.server.say("GetQueryExecution", execution("SUCCEEDED", kind="DDL"), absent)

    ended = asked.run("views", "create", "--workgroup", "oedi-dev")

    assert ended.code == 8
    assert ended.out == "view_monthly: made\nview_yearly: TABLE_NOT_FOUND: hourly\n"
    assert "1 of 2 views were not made: view_yearly. Run the workflow first" in ended.err


@pytest.mark.parametrize(
    "text", ["DROP TABLE hourly", "CREATE OR REPLACE VIEW other AS SELECT 1", ""]
)
def test_a_saved_query_that_does_not_make_the_view_it_is_called_after_stops_all(
    asked: Deployed, text: str
) -> None:
    asked.server.say("ListNamedQueries", {"NamedQueryIds": ["1"]})
    asked.server.say(
        "GetNamedQuery",
        {"NamedQuery": {"Name": "view_monthly", "Database": "oedi_dev", "QueryString": text}},
    )

    ended = asked.run("views", "create", "--workgroup", "oedi-dev")

    assert ended.code == 8
    assert "view_monthly is not CREATE OR REPLACE VIEW of the view in its name" in ended.err
    assert asked.server.requests("StartQueryExecution") == []


def test_a_workgroup_without_views_says_so(asked: Deployed) -> None:
    asked.server.say("ListNamedQueries", {"NamedQueryIds": []})

    ended = asked.run("views", "create", "--workgroup", "oedi-dev")

    assert ended.code == 8
    assert "no saved query is called view_…" in ended.err


def test_the_list_of_queries_is_read_to_its_last_page(asked: Deployed) -> None:
    named = {"Name": "one", "Description": "d", "Database": "oedi_dev", "QueryString": "SELECT 1"}
    asked.server.say(
        "ListNamedQueries",
        {"NamedQueryIds": ["1"], "NextToken": "t"},
        {"NamedQueryIds": ["2"]},
    )
    asked.server.say("GetNamedQuery", {"NamedQuery": named}, {"NamedQuery": named | {"Name": "b"}})

    assert "2 saved queries" in asked.run(*QUERIES).out
    assert [each.get("NextToken") for each in asked.server.requests("ListNamedQueries")] == [
        None,
        "t",
    ]


def test_two_queries_of_one_name_are_refused(asked: Deployed) -> None:
    named = {"Name": "peak_day", "Database": "oedi_dev", "QueryString": "SELECT 1"}
    asked.server.say("ListNamedQueries", {"NamedQueryIds": ["1", "2"]})
    asked.server.say("GetNamedQuery", {"NamedQuery": named})

    ended = asked.run(*RUN)

    assert ended.code == 2
    assert "2 queries have the name 'peak_day'" in ended.err


def test_every_marked_line_of_the_projects_own_queries_takes_a_choice() -> None:
    chosen = {"release": "x_1", "state": "WY", "upgrade": "99", "county": "G5600010"}
    marked = 0
    for path in sorted((PROJECT / "sql" / "queries").glob("*.sql")):
        text = path.read_text("utf-8")
        words = [line.split()[-1] for line in text.splitlines() if "-- choose " in line]
        asked = choose(path.stem, text, {word: chosen[word] for word in words})
        lines = [line for line in asked.splitlines() if "-- choose " in line]
        for word, line in zip(words, lines, strict=True):
            value = chosen[word] if word == "upgrade" else f"'{chosen[word]}'"
            assert line.endswith(f"= {value} -- choose {word}"), (path.name, line)
        marked += len(words)
    assert marked >= 10


def test_every_view_of_the_project_is_the_one_that_its_file_is_called_after() -> None:
    saved = [
        SavedQuery(f"view_{path.stem}", "", "oedi_dev", path.read_text("utf-8"))
        for path in sorted((PROJECT / "sql" / "views").glob("*.sql"))
    ]

    assert len(find_views(saved, "oedi-dev")) == len(saved) >= 1
