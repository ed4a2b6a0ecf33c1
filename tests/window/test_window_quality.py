"""Claims by SQL that depend on the release, or on how panels are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from oedi_spark.contracts import Partition
from oedi_spark.transform.columns import describe_columns
from oedi_spark.transform.rules import RuleBook
from oedi_spark.transform.window_quality import StagedBuilding, judge_staged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = (
    "out.electricity.lighting.energy_consumption",
    "out.electricity.net.energy_consumption",
    "out.electricity.pv.energy_consumption",
    "out.electricity.total.energy_consumption",
)
COLUMNS = describe_columns(NAMES)
NET, END_USES = "net_is_total_and_generation", "end_uses_sum_to_fuel_totals"

# Two hours of (lighting, net, pv, total) in kWh; panels give 2 in the second.
DAY: dict[int, list[tuple[float, float, float, float]]] = {
    1: [(3.0, 3.0, 0.0, 3.0), (3.0, 1.0, -2.0, 3.0)],  # generation below zero
    2: [(3.0, 3.0, 0.0, 3.0), (3.0, 1.0, 2.0, 3.0)],  # and above
    3: [(3.0, 2.5, -0.5, 3.0), (3.0, 1.0, 2.0, 3.0)],  # one and the other
    4: [(3.0, 3.0, 0.0, 3.0), (2.0, 1.0, -2.0, 3.0)],  # an end use is missing
}
EXPECTED: dict[int, list[str]] = {1: [], 2: [], 3: [NET], 4: [END_USES]}


def buildings() -> Sequence[StagedBuilding]:
    return [
        StagedBuilding(bldg_id, bldg_id, COLUMNS, tuple(map(math.fsum, zip(*rows, strict=True))))
        for bldg_id, rows in DAY.items()
    ]


@pytest.mark.parametrize(
    ("release", "refused"),
    [("2022_resstock_amy2018_release_1", {4}), ("2025_resstock_amy2018_release_1", set())],
)
def test_generation_of_either_sign_and_rules_that_block_where_they_are_verified(
    spark: Future[SparkSession], release: str, refused: set[int]
) -> None:
    schema = ", ".join(["bldg_id long", *(f"{each.name} double" for each in COLUMNS)])
    rows = [(bldg_id, *row) for bldg_id, day in DAY.items() for row in day]
    hours = spark.result().createDataFrame(rows, schema).coalesce(1)

    judged = judge_staged(hours, buildings(), RuleBook(), Partition(release, "CO", 0))

    assert judged.keys() == DAY.keys()
    for bldg_id, judgement in judged.items():
        found = [finding.rule for finding in judgement.findings]
        if judgement.outcome:
            found.append(str(judgement.outcome.reason))
        assert (found, judgement.outcome is not None) == (EXPECTED[bldg_id], bldg_id in refused)
