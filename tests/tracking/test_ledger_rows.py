"""What a run lacked, row by row, and what several runs say of one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from oedi_spark.config import RunConfig
from oedi_spark.contracts import (
    Column,
    FileIndex,
    FileOutcome,
    Partition,
    PartitionListing,
    Reason,
    ReleaseFacts,
    RunOrigin,
    SourceFile,
    Transition,
    Verdict,
)
from oedi_spark.contracts_metadata import (
    Gap,
    LandedFile,
    MetadataFile,
    MetadataIndex,
    MetadataListing,
    MetadataOutcome,
    MetadataPattern,
)
from oedi_spark.coverage import Coverage, MetadataFindings
from oedi_spark.plan import PartitionPlan, Plan
from oedi_spark.tracking.discrepancies import Discrepancy, find_discrepancies
from oedi_spark.tracking.ledger import (
    SparkFacts,
    config_fingerprint,
    discrepancy_rows,
    estimate_cost_usd,
    naive_utc,
    newest_of_each,
    run_row,
    still_open,
)
from oedi_spark.tracking.tracker import RunTracker
from tests.conftest import COMSTOCK

R = "2024_comstock_amy2018_release_1"
CO, GA = Partition(R, "CO", 0), Partition(R, "GA", 0)
FACTS = ReleaseFacts(R, None, None)
FETCHED = Transition.LISTED | Transition.FETCHED
STAGED = FETCHED | Transition.TRANSFORMED
DONE = STAGED | Transition.UPLOADED

Found = tuple[str | None, str, str, str, str]


def source(ordinal: int) -> SourceFile:
    return SourceFile(ordinal, f"k/{ordinal}-0.parquet", ordinal, 10, f"etag-{ordinal}", "2026")


def line(partition: Partition, count: int, **more: object) -> PartitionPlan:
    plain: dict[str, object] = {"missing_buildings": (), "surplus": {}, "is_registered": True}
    return PartitionPlan(partition, "k", count, 10 * count, **(plain | more))  # type: ignore[arg-type] # a test's keywords


def tracker(
    count: int, *lines: PartitionPlan, metadata: MetadataFindings | None = None
) -> RunTracker:
    """A run over `count` files of CO and a partition line each; all of them published."""
    files = tuple(source(at) for at in range(count))
    listing = PartitionListing(CO, FACTS, "k", files, ())
    run = RunTracker("run-1")
    run.record_plan(
        Plan(FileIndex((listing,)), lines or (line(CO, count),), metadata or MetadataFindings())
    )
    run.transitions = dict.fromkeys(range(count), int(DONE))
    return run


def found(run: RunTracker) -> list[Found]:
    assert bool(find_discrepancies(run)) == run.has_discrepancies()
    return [(x.state, x.key, x.stage, x.reason, x.detail) for x in find_discrepancies(run)]


def test_complete_run_has_no_discrepancies() -> None:
    assert found(tracker(3)) == []


def test_run_that_never_knew_what_to_read_has_none() -> None:
    assert find_discrepancies(RunTracker("run-1")) == []


def test_file_that_failed_has_a_row_with_the_stage_it_did_not_pass() -> None:
    run = tracker(4)
    for ordinal, done, reason in (
        (1, Transition.LISTED, Reason.NOT_FOUND),
        (2, FETCHED, Reason.WRONG_ROW_COUNT),
        (3, STAGED, Reason.NOT_FINITE),
    ):
        run.transitions[ordinal] = int(done)
        run.outcomes[ordinal] = FileOutcome(ordinal, reason, "why: so")

    assert found(run) == [
        ("CO", "k/1-0.parquet", "reader", "not_found", "why: so"),
        ("CO", "k/2-0.parquet", "rollup", "wrong_row_count", "why: so"),
        ("CO", "k/3-0.parquet", "writer", "not_finite", "why: so"),
    ]
    assert [each.etag for each in find_discrepancies(run)] == ["etag-1", "etag-2", "etag-3"]


def test_file_that_is_published_and_odd_is_no_discrepancy() -> None:
    run = tracker(2)
    run.outcomes[1] = FileOutcome(1, None, "3 hours without a value")

    assert found(run) == []


def test_files_that_share_a_fate_are_counted_in_one_row_of_their_partition() -> None:
    run = tracker(5)
    run.transitions = {0: 1, 1: int(FETCHED), 2: int(STAGED), 3: int(STAGED), 4: int(STAGED)}

    assert found(run) == [
        (
            *("CO", str(CO), "writer", "not_committed"),
            "3 file(s): staged, but the commit did not happen",
        ),
        (
            *("CO", str(CO), "reader", "not_reached"),
            "2 file(s): the run ended before they were read",
        ),
    ]


def test_withheld_partition_has_a_row_beside_those_of_its_files() -> None:
    run = tracker(3)
    run.transitions = {0: int(STAGED), 1: int(STAGED), 2: int(FETCHED)}
    run.outcomes[2] = FileOutcome(2, Reason.EMPTY, "no bytes")
    run.verdicts = (Verdict(CO, 3, 1, is_published=False), Verdict(GA, 4, 0, is_published=True))

    assert found(run) == [
        ("CO", "k/2-0.parquet", "rollup", "empty", "no bytes"),
        (
            *("CO", str(CO), "quality", "partition_withheld"),
            "1 of 3 file(s) failed, so none is published",
        ),
    ]


def test_withheld_partition_of_which_no_file_failed_says_what_it_broke() -> None:
    run = tracker(2)
    run.transitions = {0: int(STAGED), 1: int(STAGED)}
    broken = ("median_intensity_is_of_its_sort: 4.1 times that of its sort",)
    run.verdicts = (Verdict(CO, 2, 0, is_published=False, broken=broken),)

    assert [row[-1] for row in found(run)] == [
        f"0 of 2 file(s) failed; {broken[0]}, so none is published"
    ]


def test_gaps_are_one_row_each_with_the_first_twenty_buildings() -> None:
    coverage = Coverage(1, 30, tuple(range(100, 125)), (7,), Gap.METADATA_NOT_FOUND, True)
    run = tracker(
        1,
        line(CO, 1, coverage=coverage, missing_buildings=(5, 6)),
        line(GA, 0, coverage=Coverage(gap=Gap.METADATA_NOT_FOUND)),
    )

    first_twenty = ", ".join(str(each) for each in range(100, 120))
    assert found(run) == [
        ("CO", str(CO), "indexer", "metadata_not_found", "1 metadata file(s) found"),
        ("CO", str(CO), "indexer", "missing_buildings", "2 building(s): 5, 6"),
        ("CO", str(CO), "indexer", "no_metadata", "1 building(s): 7"),
        ("CO", str(CO), "indexer", "no_series", f"25 building(s): {first_twenty} and 5 more"),
        (
            *("GA", str(GA), "indexer", "no_files"),
            "asked for, and its folder holds no building file",
        ),
    ]


def test_partition_of_a_release_without_series_lacks_none() -> None:
    coverage = Coverage(1, 3)
    assert found(tracker(1, line(GA, 0, coverage=coverage, expects_series=False))) == []


def test_column_that_is_left_out_is_one_row_whatever_types_it_had() -> None:
    run = tracker(3)
    run.columns[CO] = {
        Column("out_x", "out.x", "", "omit", False, "double"): 2,
        Column("out_x", "out.x", "", "omit", False, "int64"): 1,
        Column("out_y_kwh", "out.y", "kwh", "sum", True, "double"): 3,
    }

    assert found(run) == [
        (
            *("CO", "out.x", "reader", "column_omitted"),
            "3 building(s) have it; no rule and no unit says how to roll it up",
        )
    ]


def metadata_file(ordinal: int, state: str | None) -> MetadataFile:
    pattern = MetadataPattern.STATE_FIRST
    return MetadataFile(ordinal, f"m/{ordinal}", pattern, 0, state, None, 9, f"tag-{ordinal}", "")


def test_metadata_files_are_told_apart_by_how_far_they_came() -> None:
    files = tuple(metadata_file(at, "CO") for at in range(6))
    national = MetadataListing(R, 0, None, None, True, (metadata_file(6, None),))
    listing = MetadataListing(R, 0, "CO", None, True, files)
    index = MetadataIndex(
        (listing, national), counties_not_found=((CO, "G0800010"), (CO, "G0800050"))
    )
    run = tracker(1, metadata=MetadataFindings(index))
    read = Transition.LISTED | Transition.FETCHED
    for ordinal, done, reason in (
        (0, DONE, None),
        (1, Transition.LISTED, Reason.ACCESS_DENIED),
        (2, read, Reason.NOT_PARQUET),
        (3, read | Transition.TRANSFORMED, Reason.LANDING_FAILED),
        (4, DONE, Reason.WEIGHT_NULL),
        (5, read | Transition.TRANSFORMED, None),
    ):
        run.metadata.outcomes[ordinal] = MetadataOutcome(ordinal, done, reason, "d")
    for ordinal in (0, 4):
        run.metadata.landed[ordinal] = LandedFile(ordinal, "uri", "md5", 9)
    run.metadata.emptied = {GA}

    folder = f"metadata/release={R}/state"
    assert found(run) == [
        (
            *(None, f"{folder}=national/upgrade=0", "reader", "not_reached"),
            "1 metadata file(s): the run ended before they were read",
        ),
        ("CO", "G0800010", "indexer", "county_not_found", "no metadata file is of this county"),
        ("CO", "G0800050", "indexer", "county_not_found", "no metadata file is of this county"),
        ("CO", "m/1", "reader", "access_denied", "d"),
        ("CO", "m/2", "rollup", "not_parquet", "d"),
        ("CO", "m/3", "writer", "landing_failed", "d"),
        ("CO", "m/4", "quality", "weight_null", "d"),
        (
            *("CO", f"{folder}=CO/upgrade=0", "writer", "not_committed"),
            "1 metadata file(s): copied, but their partition was not published",
        ),
        (
            *("GA", str(GA), "writer", "metadata_removed"),
            "metadata of an earlier run was removed, this run has none",
        ),
    ]


def test_discrepancy_rows_carry_the_first_sighting_over_and_never_a_later_one() -> None:
    now = datetime(2026, 5, 1, 10)
    known = Discrepancy(R, "CO", 0, "a", "reader", "empty", "d", "tag")
    fresh = Discrepancy(R, None, 0, "b", "reader", "empty", "d")
    ahead = Discrepancy(R, "CO", 0, "c", "reader", "empty", "d")
    first_seen = {
        known.identity: datetime(2026, 4, 1),
        ahead.identity: datetime(2026, 6, 1),  # by a machine whose clock is ahead
    }

    rows = discrepancy_rows(
        [known, fresh, ahead], run_id="run-9", seen_at_utc=now, first_seen_utc=first_seen
    )

    assert [row["first_seen_utc"] for row in rows] == [datetime(2026, 4, 1), now, now]
    assert [row["last_seen_utc"] for row in rows] == [now, now, now]
    assert rows[0] == {
        "run_id": "run-9",
        "release": R,
        "state": "CO",
        "upgrade": 0,
        "key": "a",
        "stage": "reader",
        "reason": "empty",
        "detail": "d",
        "etag": "tag",
        "first_seen_utc": datetime(2026, 4, 1),
        "last_seen_utc": now,
    }


def config_of(**more: object) -> RunConfig:
    document: dict[str, object] = {
        "src_bucket": "oedi-data-lake",
        "output_dir": "./out",
        "job_specific": [COMSTOCK | {"state": ["CO", "GA"], "upgrades": "0,2-3"}],
    }
    return RunConfig.model_validate(document | more)


def test_fingerprint_is_the_same_for_what_gives_the_same_tables() -> None:
    plain = config_fingerprint(config_of())
    same_jobs = [COMSTOCK | {"state": "GA,CO", "upgrades": ["3", "0", "2", "2"]}]

    assert len(plain) == 64
    assert config_fingerprint(config_of(job_specific=same_jobs)) == plain
    assert config_fingerprint(config_of(output_dir="./elsewhere")) == plain
    assert config_fingerprint(config_of(source={"read_timeout_s": 5})) == plain
    quiet = {"settings": {"logging_level": "ERROR", "usd_per_core_hour": 0.5}}
    assert config_fingerprint(config_of(**quiet)) == plain


@pytest.mark.parametrize(
    "more",
    [
        {"src_bucket": "another-bucket"},
        {"base_partition": "elsewhere"},
        {"data_partition_in_release": "timeseries/by_state"},
        {"source": {"endpoint_url": "http://127.0.0.1:9"}},
        {"job_specific": [COMSTOCK | {"state": "CO", "upgrades": "0,2-3"}]},
        {"job_specific": [COMSTOCK | {"state": "*", "upgrades": "0,2-3"}]},
        {"job_specific": [COMSTOCK | {"state": ["CO", "GA"], "upgrades": "*"}]},
        {
            "job_specific": [
                COMSTOCK
                | {"state": ["CO", "GA"], "upgrades": "0,2-3", "relative_metadata_prefix_type": "2"}
            ]
        },
        {"settings": {"engine": "window"}},
        {"settings": {"strict_columns": True}},
        {"settings": {"max_failed_fraction": 0.5}},
    ],
)
def test_fingerprint_differs_for_what_decides_the_tables(more: dict[str, object]) -> None:
    assert config_fingerprint(config_of(**more)) != config_fingerprint(config_of())


def test_cost_is_cores_times_hours_times_price_or_nothing() -> None:
    assert estimate_cost_usd(20, 1800.0, 0.11) == pytest.approx(1.10)
    assert estimate_cost_usd(20, 1800.0, 0.0) == 0.0
    assert estimate_cost_usd(20, 1800.0, None) is None
    assert estimate_cost_usd(None, 1800.0, 0.11) is None


def test_moment_of_another_zone_is_told_in_utc_without_a_zone() -> None:
    moment = datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=-6)))
    assert naive_utc(moment) == datetime(2026, 7, 1, 7, 30)


def test_run_row_of_a_run_that_failed_early_holds_what_is_known() -> None:
    run = RunTracker("run-1")
    run.started_at_utc = datetime(2026, 7, 1, 7, 30, tzinfo=UTC)
    summary = run.summarise(outcome="not published", exit_code=3, error="no files")

    row = run_row(
        run,
        summary,
        config_of(),
        spark=SparkFacts(),
        origin=RunOrigin("jr_1", "oedi-dev", "wr_1"),
        discrepancy_count=0,
    )

    assert row["started_at_utc"] == datetime(2026, 7, 1, 7, 30)
    assert (row["exit_code"], row["error"], row["partition_count"]) == (3, "no files", 0)
    assert (row["spark_version"], row["core_count"], row["cost_estimate_usd"]) == (None,) * 3
    assert (row["job_run_id"], row["workflow_run_id"]) == ("jr_1", "wr_1")
    assert row["hourly_snapshot_id"] is None


def row_of(
    run_id: str, key: str, day: int, state: str | None = "CO", upgrade: int = 0
) -> dict[str, object]:
    seen = datetime(2026, 5, day)
    return {
        "run_id": run_id,
        "release": R,
        "state": state,
        "upgrade": upgrade,
        "key": key,
        "reason": "empty",
        "last_seen_utc": seen,
    }


def run_of(
    run_id: str, day: int, *, states: object, upgrades: str = "0", partitions: int = 1
) -> dict[str, object]:
    config = config_of(job_specific=[COMSTOCK | {"state": states, "upgrades": upgrades}])
    return {
        "run_id": run_id,
        "outcome": "published",
        "started_at_utc": datetime(2026, 5, day),
        "partition_count": partitions,
        "config_json": config.model_dump_json(by_alias=True),
    }


def keys(rows: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(row["run_id"], row["key"]) for row in rows]


def test_newest_of_each_keeps_one_row_per_thing() -> None:
    rows = [row_of("run-2", "a", 2), row_of("run-1", "a", 1), row_of("run-1", "b", 1, None)]

    assert keys(newest_of_each(rows)) == [("run-1", "b"), ("run-2", "a")]


def test_still_open_is_what_the_latest_run_of_each_partition_found() -> None:
    runs = [
        run_of("run-1", 1, states="*", upgrades="*"),
        run_of("run-2", 2, states="CO"),  # CO is whole now
        run_of("run-3", 3, states=["GA"], upgrades="0-1"),
        run_of("run-4", 4, states="*", upgrades="*", partitions=0),  # could not list
    ]
    rows = [
        row_of("run-1", "co", 1),
        row_of("run-1", "co-1", 1, upgrade=1),
        row_of("run-1", "ga", 1, "GA"),
        row_of("run-3", "ga", 3, "GA"),
        row_of("run-1", "az", 1, "AZ"),
    ]

    assert keys(still_open(runs, rows)) == [("run-1", "az"), ("run-1", "co-1"), ("run-3", "ga")]


def test_still_open_of_a_national_file_ends_with_a_run_of_any_state() -> None:
    runs = [run_of("run-1", 1, states="*"), run_of("run-2", 2, states="VT")]
    rows = [row_of("run-1", "national", 1, None)]

    assert keys(still_open(runs[:1], rows)) == [("run-1", "national")]
    assert still_open(runs, rows) == []


def test_still_open_without_the_run_that_found_it_is_empty() -> None:
    """The row of the run itself was not written, or is of another release."""
    assert still_open([], [row_of("run-1", "a", 1)]) == []
