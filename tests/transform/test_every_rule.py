"""Every rule of the gate has a case that breaks it and one that does not, and is in both tables."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.contracts import Partition, Verdict
from oedi_spark.contracts_metadata import MetadataFile, MetadataPattern, WeightModel
from oedi_spark.errors import FileFault
from oedi_spark.sample.traps import FOLDER_TRAPS, METADATA_TRAPS, Trap
from oedi_spark.transform.metadata import read_metadata
from oedi_spark.transform.quality import judge_partitions
from oedi_spark.transform.rules import RULE_OF_REASON, RULES
from tests import test_gate_run as gate_run
from tests import test_metadata_traps as metadata_traps
from tests.conftest import PROJECT
from tests.transform.test_quality_partition import PARTITION_FIRES
from tests.transform.test_quality_rules import FIRES, PROOFS, TRIPS
from tests.transform.test_reconcile import PUBLISHED_FIRES

METADATA_FIRES: dict[str, dict[str, list[object]]] = {
    "weights_are_positive": {"weight": [2.0, -1.0]},
    "places_match_names": {"in.nhgis_county_gisjoin": ["G0800010", "G0400010"]},
    "metadata_rows_are_distinct": {"bldg_id": [7, 7]},
}
"""What of a sound state file's two rows is put in the place of what they say."""


def read_rows(**changed: list[object]) -> int:
    """How many rows a state file of Colorado has."""
    columns: dict[str, list[object]] = {
        "bldg_id": [7, 8],
        "weight": [2.0, 3.0],
        "in.nhgis_county_gisjoin": ["G0800010", "G0800030"],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns | changed), sink)
    (rows,) = read_metadata(
        sink.getvalue().to_pybytes(),
        MetadataFile(0, "CO.parquet", MetadataPattern.STATE_FIRST, 0, "CO", None, 0, None, ""),
        release="2024_comstock_amy2018_release_1",
        weight_model=WeightModel.BUILDING,
        states=["CO"],
    )
    return len(rows.rows)


@pytest.mark.parametrize("rule", METADATA_FIRES)
def test_a_rule_of_the_metadata_refuses_a_damaged_file_and_not_the_sound_one(rule: str) -> None:
    with pytest.raises(FileFault) as fault:
        read_rows(**METADATA_FIRES[rule])

    assert RULE_OF_REASON[fault.value.reason].name == rule
    assert read_rows() == 2


VERDICT_FIRES = {"enough_files_pass": ({"failed": 2}, {"failed": 1})}
"""Of 100 files, of which 1 % may fail."""


@pytest.mark.parametrize("rule", VERDICT_FIRES)
def test_a_rule_of_the_verdict_holds_a_partition_back_and_not_a_sound_one(rule: str) -> None:
    partition = Partition("2024_comstock_amy2018_release_1", "CO", 0)

    def verdict(failed: int) -> tuple[Verdict, ...]:
        return judge_partitions(
            {partition: 100}, {partition: failed}, unstaged=(), max_failed_fraction=0.01
        )

    bad, good = (verdict(**case) for case in VERDICT_FIRES[rule])
    assert [each.is_published for each in (*bad, *good)] == [False, True]


def test_every_rule_is_in_a_table_whose_test_breaks_it_and_sees_it_hold() -> None:
    """Each name of a table is a test of its own, of the damage and of what is sound beside it."""
    tables = [
        {*PROOFS, *METADATA_FIRES},
        {*FIRES, "hours_sum_to_intervals"},  # test_hours_that_lose_an_interval_break_their_rule
        set(PUBLISHED_FIRES),
        {*VERDICT_FIRES, *(rule for rule, _ in PARTITION_FIRES)},
    ]

    assert sorted(name for table in tables for name in table) == sorted(r.name for r in RULES)


def test_every_trap_of_the_sample_lake_is_in_a_table_with_what_it_trips() -> None:
    """Of files; of metadata in whole runs; and of what is told by the listing, not by a rule."""
    listing = FOLDER_TRAPS | {Trap.METADATA_TWO_SPELLINGS, Trap.METADATA_STRAY_FILE}
    odd = metadata_traps.ODD | {Trap.METADATA_MIXED_TYPES}

    assert set(TRIPS) | set(gate_run.TRIPS) | odd | listing == set(Trap)
    assert METADATA_TRAPS - listing - odd <= set(gate_run.TRIPS)
    assert set(TRIPS).isdisjoint(gate_run.TRIPS)


def test_docs_have_every_rule_with_its_severities_in_a_table() -> None:
    """`| rule | default | …` of rules with a severity; proofs are listed with their reasons."""
    text = (PROJECT / "docs" / "quality.md").read_text("utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    told = {name.strip().strip("`"): default.strip() for name, default in rows}

    for rule in RULES:
        if rule.reasons:
            assert told[rule.name] == ", ".join(f"`{reason}`" for reason in rule.reasons)
        elif rule.is_fixed:
            assert told[rule.name] == "block, always"
        elif rule.verified_on is not None:
            assert told[rule.name] == "block; elsewhere warn"
        else:
            assert told[rule.name] == rule.severity
