"""The previous system's `config.json`: its keys, the short lists, and YAML that reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oedi_spark.config import RunConfig, load_config, load_config_with_notes
from oedi_spark.config_json import (
    format_upgrades,
    load_config_json,
    parse_states,
    parse_upgrades,
    read_document,
    to_yaml,
)
from oedi_spark.errors import ConfigError

BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
OLD = """\
{
  "monorepoRoot": ".",
  // deploys the stack
  "deploymentConfig": [{"appName": "Analytics", "regions": ["us-west-2"],}],
  /* what to
     read */
  "etl_config": {
    "glue_job_timeout": 14400,
    "output_dir": "etl_output", // inside the bucket
    "src_bucket": "oedi-data-lake",
    "data_partition_in_release": "timeseries_individual_buildings/by_state",
    "base_partition": "oedi-data-lake/nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock",
    "job_specific": [
      {
        "metadata_location": "nrel-pds-building-stock/x/2024/y/metadata_and_annual_results",
        "release_name": "comstock_amy2018_release_1",
        "release_year": "2024",
        "state": "CA",
        "upgrades": ["0", "1"],
      },
      {
        "counties": ["*"],
        "metadata_root_dir": "oedi-data-lake/nrel-pds-building-stock/x/metadata",
        "relative_metadata_prefix_type": "2.0",
        "release_name": "comstock_amy2018_release_2",
        "release_year": "2024",
        "state": "TX",
        "upgrades": ["0"],
      },
    ],
    "settings": {
      "log_dir": "logs",
      "log_filename": "etl.log",
      "logging_level": "info",
      "idle_timeout_in_minutes": 5,
      "listing_page_size": 500,
      "max_listing_queue_size": 1000,
    },
  },
}
"""  # noqa: E501 (as users wrote it)
NOTES = (
    "monorepoRoot was dropped: this repository has one root",
    "deploymentConfig was dropped: Terraform describes the deployment",
    "etl_config.glue_job_timeout was dropped: Terraform sets the timeout of the Glue job",
    "etl_config.settings.idle_timeout_in_minutes was dropped: no worker waits idle any more",
    (
        "etl_config.settings.max_listing_queue_size was dropped: the listing is held whole, "
        "there is no queue"
    ),
    (
        "etl_config.job_specific[0].metadata_location became metadata_root_dir, with "
        "relative_metadata_prefix_type 1"
    ),
    (
        "output_dir 'etl_output' was a prefix in the bucket of the deployment, and is a local "
        "folder now: write s3://<bucket>/etl_output to publish to S3"
    ),
)
CONVERTED = """\
src_bucket: oedi-data-lake
base_partition: nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock
data_partition_in_release: timeseries_individual_buildings/by_state
output_dir: etl_output
job_specific:
- release_year: '2024'
  release_name: comstock_amy2018_release_1
  state:
  - CA
  upgrades: 0-1
  metadata_root_dir: nrel-pds-building-stock/x/2024/y/metadata_and_annual_results
  relative_metadata_prefix_type: 1
- release_year: '2024'
  release_name: comstock_amy2018_release_2
  state:
  - TX
  upgrades: '0'
  metadata_root_dir: nrel-pds-building-stock/x/metadata
  relative_metadata_prefix_type: 2
  counties:
  - '*'
source:
  anonymous: true
settings:
  listing_page_size: 500
"""


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config_json(text)
    assert caught.value.source == "config.json"
    return caught.value.faults


def test_load_config_json_old_file_becomes_our_keys_and_notes() -> None:
    config, notes = load_config_json(OLD)

    assert tuple(notes) == NOTES
    assert config == {
        "output_dir": "etl_output",
        "src_bucket": "oedi-data-lake",
        "data_partition_in_release": "timeseries_individual_buildings/by_state",
        "base_partition": f"oedi-data-lake/{BASE}",
        "job_specific": [
            {
                "release_name": "comstock_amy2018_release_1",
                "release_year": "2024",
                "state": "CA",
                "upgrades": ["0", "1"],
                "metadata_root_dir": "nrel-pds-building-stock/x/2024/y/metadata_and_annual_results",
                "relative_metadata_prefix_type": 1,
            },
            {
                "counties": ["*"],
                "metadata_root_dir": "oedi-data-lake/nrel-pds-building-stock/x/metadata",
                "relative_metadata_prefix_type": "2.0",
                "release_name": "comstock_amy2018_release_2",
                "release_year": "2024",
                "state": "TX",
                "upgrades": ["0"],
            },
        ],
        "settings": {
            "log_dir": "logs",
            "log_filename": "etl.log",
            "logging_level": "info",
            "listing_page_size": 500,
        },
    }


def test_load_config_old_json_converted_to_yaml_is_the_same_run(tmp_path: Path) -> None:
    run, notes = load_config_with_notes(save(tmp_path / "config.json", OLD))

    assert notes == NOTES
    assert to_yaml(run) == CONVERTED
    assert load_config(save(tmp_path / "run.yaml", to_yaml(run))) == run


def test_load_config_yaml_with_an_etl_config_is_read_as_the_old_format(tmp_path: Path) -> None:
    config, _ = load_config_json(OLD)

    run, notes = load_config_with_notes(
        save(tmp_path / "old.yaml", to_yaml({"monorepoRoot": ".", "etl_config": config}))
    )

    assert run == load_config(save(tmp_path / "config.JSON", OLD))
    assert notes[0] == "monorepoRoot was dropped: this repository has one root"


def test_load_config_old_json_with_unknown_key_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "config.json", OLD.replace('"log_dir"', '"logdir"'))

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    assert caught.value.faults == ("settings.logdir: unknown key; did you mean log_dir?",)


def test_load_config_json_output_on_s3_is_registered_in_glue() -> None:
    config, notes = load_config_json('{"etl_config": {"output_dir": "s3://b-1/x"}}')

    assert config == {"output_dir": "s3://b-1/x", "catalog": {"type": "glue"}}
    assert notes == ["catalog.type became glue, because output_dir is on S3"]


def test_load_config_json_catalog_that_is_named_is_kept() -> None:
    config, notes = load_config_json(
        '{"etl_config": {"output_dir": "s3://b-1/x", "catalog": {"type": "rest"}}}'
    )

    assert (config["catalog"], notes) == ({"type": "rest"}, [])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('{"a":\n 1 2}', ('json: line 2 Unexpected "2" at column 4',)),
        ("[1]", ("json: must be an object with the key etl_config",)),
        ('{"a": 1}', ("etl_config: is required, and must be an object",)),
        ('{"etl_config": []}', ("etl_config: is required, and must be an object",)),
        ('{"a": 1, "a": 2}', ('json: Duplicate key "a" found in object',)),
        ("[" * 3000, ("json: is nested too deeply",)),
    ],
)
def test_load_config_json_other_text_is_refused(text: str, faults: tuple[str, ...]) -> None:
    assert faults_of(text) == faults


def test_load_config_json_metadata_named_twice_is_refused_for_each_job() -> None:
    job = '{"metadata_location": "a", "metadata_root_dir": "b"}'

    assert faults_of(f'{{"etl_config": {{"job_specific": [{job}, 3, {job}]}}}}') == (
        (
            "etl_config.job_specific[0]: metadata_location 'a' contradicts metadata_root_dir 'b'; "
            "keep metadata_root_dir"
        ),
        (
            "etl_config.job_specific[2]: metadata_location 'a' contradicts metadata_root_dir 'b'; "
            "keep metadata_root_dir"
        ),
    )


def test_load_config_json_keeps_a_metadata_version_that_is_named() -> None:
    config, _ = load_config_json(
        '{"etl_config": {"job_specific": [{"metadata_location": "a",'
        ' "relative_metadata_prefix_type": "2"}]}}'
    )

    assert config == {
        "job_specific": [{"relative_metadata_prefix_type": "2", "metadata_root_dir": "a"}]
    }


def test_read_document_scalars_are_read_by_the_rules_of_yaml_1_2(tmp_path: Path) -> None:
    text = "a: [NO, yes, on, true, False, 010, 1:30, 2024-01-01, 1e3, -7, 1.5, ~, null, '', =, <<]"

    document, notes, faults = read_document(save(tmp_path / "x.yaml", text))

    assert document == {
        "a": [
            *("NO", "yes", "on", True, False, "010", "1:30", "2024-01-01", "1e3"),
            *(-7, 1.5, None, None, "", "=", "<<"),
        ]
    }
    assert (notes, faults) == ([], [])


def test_to_yaml_explicit_signed_access_to_the_public_bucket_is_kept(tmp_path: Path) -> None:
    run = RunConfig.model_validate(
        {
            "src_bucket": "oedi-data-lake",
            "output_dir": "out",
            "job_specific": [
                {"release_year": 2024, "release_name": "x", "state": "*", "upgrades": "*"}
            ],
            "source": {"anonymous": False},
        }
    )

    assert load_config(save(tmp_path / "run.yaml", to_yaml(run))) == run


@pytest.mark.parametrize(
    ("written", "states"),
    [
        ("CO", ("CO",)),
        ("CO, GA", ("CO", "GA")),
        (["GA", "CO", "GA"], ("GA", "CO")),
        ("*", None),
        (["*"], None),
    ],
)
def test_parse_states_each_notation_is_read(
    written: object, states: tuple[str, ...] | None
) -> None:
    assert parse_states(written) == states


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("co", "'co' is no state; write CO"),
        (["ga", "CO", "tx"], "['ga', 'tx'] is no state; write GA, TX"),
        (["*", "CO"], "'*' is no state; write two capitals such as CO, or \"*\" alone"),
        ("CO\n", "'CO\\n' is no state; write two capitals such as CO, or \"*\" alone"),
        (False, "False is no state; write it in quotes"),
        ([], 'names no state; write "*" for every state'),
        (None, 'names no state; write "*" for every state'),
    ],
)
def test_parse_states_other_text_is_refused(written: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"write") as caught:
        parse_states(written)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("written", "upgrades"),
    [
        (0, (0,)),
        ([1, 0], (1, 0)),
        ("0,2-4", (0, 2, 3, 4)),
        (["0", "2-4", "3", 9999], (0, 2, 3, 4, 9999)),
        ("5-5", (5,)),
        ("*", None),
        (["*"], None),
    ],
)
def test_parse_upgrades_each_notation_is_read(
    written: object, upgrades: tuple[int, ...] | None
) -> None:
    assert parse_upgrades(written) == upgrades


@pytest.mark.parametrize(
    "written",
    ["", "0,", "-1", -1, "10000", "01", "1-", "0-10000", "5-1", "1-2-3", "٣", "1\n", "* ,1", True],
)
def test_parse_upgrades_other_text_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"is no upgrade|falls"):
        parse_upgrades(written)


@given(st.lists(st.integers(0, 9999), min_size=1, unique=True).map(tuple))
def test_format_upgrades_any_upgrades_are_parsed_back_in_order(upgrades: tuple[int, ...]) -> None:
    assert parse_upgrades(format_upgrades(upgrades)) == upgrades


@given(st.integers(0, 9999), st.integers(0, 300))
def test_parse_upgrades_any_range_holds_both_ends(first: int, length: int) -> None:
    last = min(first + length, 9999)

    assert parse_upgrades(f"{first}-{last}") == tuple(range(first, last + 1))


@given(st.text(alphabet="0123456789-, *x\n", max_size=12))
def test_parse_upgrades_any_text_is_refused_or_within_bounds(text: str) -> None:
    try:
        upgrades = parse_upgrades(text)
    except ValueError:
        return

    if upgrades is None:
        assert text.strip(" ") == "*"
    else:
        assert upgrades
        assert all(0 <= upgrade <= 9999 for upgrade in upgrades)


JOBS = st.fixed_dictionaries(
    {
        "release_year": st.sampled_from(["2021", "2024"]),
        "release_name": st.from_regex(r"[A-Za-z0-9_=-]{1,8}(/[A-Za-z0-9_]{1,8})?", fullmatch=True),
        "state": st.just("*") | st.lists(st.sampled_from(["NO", "ON", "CO"]), min_size=1),
        "upgrades": st.just("*") | st.lists(st.integers(0, 9999), min_size=1),
    },
    optional={
        "counties": st.just(["*"]) | st.lists(st.from_regex(r"G[0-9]{7}", fullmatch=True)),
        "relative_metadata_prefix_type": st.sampled_from(["1", 2, None]),
        "metadata_root_dir": st.from_regex(r"[a-z0-9_=-]{1,9}(/[a-z0-9_]{1,9})?", fullmatch=True),
    },
).filter(
    # Version 1 has no files by county, so a config that has both is refused.
    lambda job: not job.get("counties") or job.get("relative_metadata_prefix_type") != "1"
)
RUNS = st.fixed_dictionaries(
    {
        "src_bucket": st.sampled_from(["oedi-data-lake", "123", "./lake", "/1", "1e3/2", "lake/"]),
        "output_dir": st.sampled_from(["out", "123", "NO", "1.5", ".", "null", "a b", "-", "=1"]),
        "job_specific": st.lists(JOBS, min_size=1, max_size=2),
    },
    optional={
        "base_partition": st.sampled_from(["", "a/b", "123", "oedi-data-lake/x"]),
        "source": st.fixed_dictionaries(
            {},
            optional={
                "anonymous": st.booleans(),
                "endpoint_url": st.sampled_from([None, "http://localhost:9000"]),
                "connect_timeout_s": st.floats(0.001, 3600),
            },
        ),
        "catalog": st.sampled_from([{}, {"uri": "sqlite:///c.db"}, {"name": "no"}]),
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "max_failed_fraction": st.floats(0, 1),
                "strict_columns": st.booleans(),
                "log_filename": st.sampled_from(["etl.log", "1.5", "true"]),
            },
        ),
    },
)


@given(document=RUNS)
def test_to_yaml_any_run_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]
) -> None:
    run = RunConfig.model_validate(document)
    path = save(tmp_path_factory.getbasetemp() / "round-trip.yaml", to_yaml(run))

    assert load_config(path) == run
