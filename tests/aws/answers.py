"""What Glue, Athena and a run say in these tests, in the shape that AWS documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oedi_spark.contracts_metadata import Gap
from oedi_spark.coverage import Coverage
from oedi_spark.tracking.summary import FileStats, MetadataSummary, PartitionLine, RunSummary

STARTED = 1_800_000_000.0


def view(
    status: str, job: Mapping[str, Any] | None = None, crawl: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An answer of GetWorkflowRun, with a trigger that nobody needs to hear of."""
    runs = [{"Id": "jr_17", "Attempt": 0, "StartedOn": STARTED, **job}] if job else []
    crawls = [{"StartedOn": STARTED + 200, **crawl}] if crawl else []
    nodes = [
        {"Type": "TRIGGER", "Name": "oedi-dev-start"},
        {"Type": "JOB", "Name": "oedi-dev-etl", "JobDetails": {"JobRuns": runs}},
        {"Type": "CRAWLER", "Name": "oedi-dev-landed", "CrawlerDetails": {"Crawls": crawls}},
    ]
    return {"Run": {"Name": "oedi-dev", "Status": status, "Graph": {"Nodes": nodes}}}


DONE = {"JobRunState": "SUCCEEDED", "CompletedOn": STARTED + 192}
FAILED = {"JobRunState": "FAILED", "CompletedOn": STARTED + 192, "ErrorMessage": "SystemExit: 6"}
CRAWLED = {"State": "SUCCEEDED", "CompletedOn": STARTED + 260}


def execution(
    state: str, *, scanned: int = 0, reason: str | None = None, kind: str = "DML"
) -> dict[str, Any]:
    """An answer of GetQueryExecution."""
    status = {"State": state} | ({"StateChangeReason": reason} if reason else {})
    statistics = {"DataScannedInBytes": scanned, "TotalExecutionTimeInMillis": 2340}
    return {
        "QueryExecution": {
            "QueryExecutionId": "q-1",
            "StatementType": kind,
            "Status": status,
            "Statistics": statistics,
        }
    }


def results(
    labels: tuple[str, ...], *rows: tuple[str | None, ...], token: str | None = None
) -> dict[str, Any]:
    """A page of GetQueryResults; the first one of a query repeats the labels as a row."""
    cells = [[{} if each is None else {"VarCharValue": each} for each in row] for row in rows]
    info = [{"Name": label, "Label": label, "Type": "varchar"} for label in labels]
    answer: dict[str, Any] = {
        "ResultSet": {
            "Rows": [{"Data": row} for row in cells],
            "ResultSetMetadata": {"ColumnInfo": info},
        }
    }
    return answer | ({"NextToken": token} if token else {})


LOST = {"a/bldg-2.parquet": "truncated: 12 of 900 bytes"}


def summary_of(*, outcome: str, exit_code: int, error: str | None = None) -> RunSummary:
    """A run that has one of everything a summary can tell."""
    coverage = Coverage(2, 9, without_series=(4,), without_metadata=(5, 6), gap=Gap.NO_METADATA)
    return RunSummary(
        run_id="20260101T000000Z-0a1b2c3d",
        outcome=outcome,
        exit_code=exit_code,
        error=error,
        started_at_utc="2026-01-01T00:00:00Z",
        total_s=12.25,
        stage_s={"config": 0.5, "reader": 10.125},
        batch_s=9.5,
        data_files=FileStats(4, 1, 0, {"a/bldg-1.parquet": "not_found: 404"}, LOST, {"b": "c: d"}),
        metadata=MetadataSummary(
            files=FileStats(3, 2, 0, {}, {}, {"m.parquet": "landing_failed: no"}),
            layouts={"m": "by_state"},
            rejected={"n.parquet": "weight_null: 2 rows"},
            landed={"s3://x/y": {"rows": 3}},
            counties_not_found=("CO, G0800310",),
            withheld=("release/CO/0",),
            surplus={"o.txt": "no metadata"},
            notes=("a note",),
            rows_published=17,
        ),
        surplus={"a/readme.txt": "no building"},
        partitions=(PartitionLine("release/CO/0", 4, 1, 8760, (7, 8), coverage),),
        published_rows=8760,
        read_bytes=3_000_000,
        written_bytes=1_000_000,
        files_per_second=0.5,
        snapshot_ids={"oedi_dev.hourly": 42},
        missing_values={"a/bldg-3.parquet": "2 values"},
        columns_by_unit=("out_x_kwh",),
        columns_omitted=("in_y",),
    )
