"""Fingerprints change with whatever changes a result, and with nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from oedi_spark.config import JobConfig, Settings
from oedi_spark.contracts import (
    Batch,
    IntervalStamp,
    Partition,
    PartitionListing,
    ReleaseFacts,
    SourceFile,
)
from oedi_spark.contracts_metadata import (
    MetadataFile,
    MetadataListing,
    MetadataPattern,
    WeightModel,
)
from oedi_spark.fingerprints import (
    RESULT_SETTINGS,
    fingerprint_batch,
    fingerprint_partition,
    fingerprint_settings,
)
from oedi_spark.plan import BatchSizing, build_batches
from oedi_spark.result_tables import digest_constants, digest_tables, judging_modules, say_errata
from oedi_spark.source.errata import Erratum
from oedi_spark.transform import claims, columns, metadata_columns, rules
from oedi_spark.transform.rule_kinds import Severity
from tests.conftest import PROJECT

R = "2024_comstock_amy2018_release_1"
GA = Partition(R, "GA", 0)
FACTS = ReleaseFacts(R, IntervalStamp.END, 35_040, 2018)
ONE = SourceFile(0, "GA/1-0.parquet", 1, 100, "aa", "2024-01-01T00:00:00Z")
TWO = SourceFile(1, "GA/2-0.parquet", 2, 200, "bb", "2024-01-01T00:00:00Z")
LISTING = PartitionListing(GA, FACTS, "GA", (ONE, TWO), ())
TABLE = MetadataFile(
    0, "GA.parquet", MetadataPattern.STATE_FULL, 0, "GA", None, 9, "cc", "2024-01-01T00:00:00Z"
)
METADATA = MetadataListing(R, 0, "GA", WeightModel.BUILDING, True, (TABLE,))

WITHOUT_EFFECT = {
    "listing_page_size",
    "listing_workers",
    "log_dir",
    "log_filename",
    "log_format",
    "logging_level",
    "read_ahead_files",
    "row_group_buildings",
    "target_file_bytes",
    "usd_per_core_hour",
    "quarantine",
}
AS_A_RULE_BOOK = {"quality_rules"}


def test_every_setting_either_counts_or_has_no_effect_on_results() -> None:
    """Whoever adds a setting decides; a new one that changes results goes into the fingerprint."""
    known = set(Settings.model_fields)
    assert known == {*RESULT_SETTINGS, *WITHOUT_EFFECT, *AS_A_RULE_BOOK}


def whole(listing: PartitionListing, *metadata: MetadataListing, settings: str = "s") -> str:
    return fingerprint_partition(listing, metadata, settings).whole


@pytest.mark.parametrize(
    "change",
    [
        lambda file: replace(file, key="GA/3-0.parquet"),
        lambda file: replace(file, size_bytes=101),
        lambda file: replace(file, etag="ab"),
    ],
)
def test_partition_of_another_file_has_another_fingerprint(
    change: Callable[[SourceFile], SourceFile],
) -> None:
    other = replace(LISTING, files=(change(ONE), TWO))

    assert whole(other, METADATA) != whole(LISTING, METADATA)


def test_partition_without_etags_goes_by_the_time() -> None:
    plain = replace(ONE, etag=None)
    later = replace(plain, modified_at_utc="2024-01-01T00:00:01Z")

    assert whole(replace(LISTING, files=(plain,))) != whole(replace(LISTING, files=(later,)))
    by_etag = replace(ONE, modified_at_utc="2030-01-01T00:00:00Z")
    assert whole(replace(LISTING, files=(by_etag,))) == whole(replace(LISTING, files=(ONE,)))


def test_partition_has_another_fingerprint_with_other_metadata_settings_or_facts() -> None:
    base = whole(LISTING, METADATA)
    newer = replace(METADATA, files=(replace(TABLE, etag="cd"),))
    summer = replace(LISTING, facts=replace(FACTS, stamp=IntervalStamp.BEGINNING))

    others = [
        whole(LISTING),
        whole(LISTING, newer),
        whole(LISTING, METADATA, settings="t"),
        whole(summer, METADATA),
        whole(replace(LISTING, files=(ONE,)), METADATA),
    ]
    assert len({base, *others}) == 6


def test_partition_has_the_same_fingerprint_in_another_order_and_under_other_ordinals() -> None:
    turned = (replace(TWO, ordinal=7), replace(ONE, ordinal=9))

    assert whole(replace(LISTING, files=turned)) == whole(LISTING)


JOB = {"release_year": "2024", "release_name": "c", "state": "GA", "upgrades": "0"}


def test_settings_that_change_results_count_and_others_do_not() -> None:
    job = JobConfig.model_validate(JOB)
    base = fingerprint_settings(Settings(), [job])
    same = [
        fingerprint_settings(Settings(read_ahead_files=9, target_file_bytes=2**21), [job]),
        fingerprint_settings(Settings(), [JobConfig.model_validate(JOB | {"state": "*"})]),
    ]
    counties = JobConfig.model_validate(
        JOB | {"counties": ["G1300010"], "relative_metadata_prefix_type": "2"}
    )
    others = [
        fingerprint_settings(Settings(strict_columns=True), [job]),
        fingerprint_settings(Settings(max_failed_fraction=0.5), [job]),
        fingerprint_settings(Settings(engine="window"), [job]),
        fingerprint_settings(Settings(), [job], {"rule": "off"}),
        fingerprint_settings(Settings(), [counties]),
        fingerprint_settings(Settings(), [job], errata=say_errata([ERRATUM])),
        fingerprint_settings(Settings(), [job], tables="0123456789abcdef"),
    ]
    assert set(same) == {base}
    assert len({base, *others}) == 8


ERRATUM = Erratum(
    id="water",
    releases=(re.compile(R),),
    concerns="series",
    what="No water is heated.",
    source="somebody",
    states=frozenset({"GA", "CO"}),
    excuses=frozenset({"sums_agree_with_published"}),
)


def test_errata_count_with_their_scope_and_what_they_excuse_and_not_with_their_words() -> None:
    base = say_errata([ERRATUM])

    worded = replace(ERRATUM, what="Water is not heated.", source="somebody else")
    ordered = replace(ERRATUM, states=frozenset({"CO", "GA"}))
    assert say_errata([worded]) == say_errata([ordered]) == base
    for other in (
        replace(ERRATUM, excuses=frozenset()),
        replace(ERRATUM, states=None),
        replace(ERRATUM, releases=(re.compile(".*"),)),
        replace(ERRATUM, measures=(re.compile("out_.*"),)),
        replace(ERRATUM, building_types=frozenset({"Warehouse"})),
    ):
        assert say_errata([other]) != base


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (claims, "POSSIBLE", dict(claims.POSSIBLE) | {"kwh": (-1e6, 2e6)}),
        (claims, "PLAUSIBLE", dict(claims.PLAUSIBLE) | {"c": (-60.0, 91.0)}),
        (claims, "RELATIVE_GAP", 3e-6),
        (columns, "UNIT_RULES", columns.UNIT_RULES | {"kwh": columns.Rule.MEAN}),
        (columns, "_FAMILIES", columns._FAMILIES[1:]),
        (metadata_columns, "_LABELS", frozenset({"calc.segment", "calc.other"})),
        (rules, "REAL_FILES", frozenset({R})),
    ],
)
def test_a_table_or_number_that_decides_a_result_changes_the_digest(
    module: ModuleType, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest_constants(judging_modules())

    monkeypatch.setattr(module, name, value)

    assert digest_constants(judging_modules()) != before


def test_a_rules_severity_changes_the_digest_and_its_sentence_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest_constants(judging_modules())

    monkeypatch.setattr(rules, "STATE_IS_KNOWN", replace(rules.STATE_IS_KNOWN, sentence="Other."))
    assert digest_constants(judging_modules()) == before
    blocking = replace(rules.STATE_IS_KNOWN, severity=Severity.BLOCK)
    monkeypatch.setattr(rules, "STATE_IS_KNOWN", blocking)
    assert digest_constants(judging_modules()) != before


def test_the_digest_is_the_same_in_each_process() -> None:
    """Sets of texts have another order in each: then every partition would be redone each time."""
    program = "from oedi_spark.result_tables import digest_tables; print(digest_tables())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ) | {"PYTHONHASHSEED": "7"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.strip() == digest_tables()


def of_batch(
    batch: Batch, context: str = "c", buildings: int = 12, judged_by: str | None = "j"
) -> str:
    return fingerprint_batch(
        batch, context, {"row_group_buildings": buildings}, judged_by=judged_by
    )


def test_batch_counts_its_files_field_ids_context_and_layout_and_not_its_number() -> None:
    batch = Batch(0, GA, FACTS, (ONE, TWO), {"a": 1})
    base = of_batch(batch)

    moved = replace(batch, number=5, files=(replace(ONE, ordinal=3), replace(TWO, ordinal=4)))
    assert of_batch(moved) == base
    others = [
        of_batch(replace(batch, files=(ONE,))),
        of_batch(replace(batch, field_ids={"a": 2})),
        of_batch(batch, context="d"),
        of_batch(batch, buildings=2),
        of_batch(batch, judged_by="k"),
        of_batch(batch, judged_by=None),
    ]
    assert len({base, *others}) == 7


@pytest.mark.parametrize("slots", [1, 2, 7, 64])
def test_batches_of_one_state_have_each_file_once(slots: int) -> None:
    """So several workers of one state never do each other's work."""
    files = tuple(
        SourceFile(at, f"GA/{at}-0.parquet", at, 5_000_000, "e", "2024-01-01T00:00:00Z")
        for at in range(997)
    )
    sizing = BatchSizing(target_file_bytes=2**24, row_group_buildings=3, slots=slots)

    batches = build_batches((replace(LISTING, files=files),), {R: {"a": 1}}, sizing)

    assert len(batches) > 1
    assert sorted(file.ordinal for batch in batches for file in batch.files) == list(range(997))
