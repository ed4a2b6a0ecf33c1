"""`load_config`: what a run may say, what is refused, and that every fault is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oedi_spark.config import (
    CatalogConfig,
    JobConfig,
    RunConfig,
    Settings,
    SourceConfig,
    load_config,
    load_config_with_notes,
)
from oedi_spark.errors import ConfigError
from oedi_spark.source.layout import ReleaseFolder

BASE = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
MINIMAL = """\
src_bucket: oedi-data-lake
output_dir: build/etl_output
job_specific:
  - release_year: 2024
    release_name: comstock_amy2018_release_1
    state: NO
    upgrades: 0
"""
JOB: dict[str, object] = {
    "release_year": "2024",
    "release_name": "comstock_amy2018_release_1",
    "state": "CO",
    "upgrades": "0",
}


def load_text(
    folder: Path, text: str | bytes, overrides: Mapping[str, object] | None = None
) -> RunConfig:
    path = folder / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path, overrides)


def faults_of(
    folder: Path, text: str | bytes, overrides: Mapping[str, object] | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, overrides)
    return caught.value.faults


def build_run(**changes: object) -> RunConfig:
    run = {"src_bucket": "oedi-data-lake", "output_dir": "out", "job_specific": [JOB]}
    return RunConfig.model_validate(run | changes)


def fault_of_job(**changes: object) -> str:
    with pytest.raises(ValidationError) as caught:
        JobConfig.model_validate(JOB | changes)
    return caught.value.errors()[0]["msg"].removeprefix("Value error, ")


def test_load_config_minimal_yaml_has_the_documented_defaults(tmp_path: Path) -> None:
    assert load_text(tmp_path, MINIMAL).model_dump() == {
        "src_bucket": "oedi-data-lake",
        "base_partition": BASE,
        "data_partition_in_release": "timeseries_individual_buildings/by_state",
        "output_dir": "build/etl_output",
        "job_specific": (
            {
                "release_year": "2024",
                "release_name": "comstock_amy2018_release_1",
                "states": ["NO"],
                "upgrades": "0",
                "metadata_root_dir": None,
                "relative_metadata_prefix_type": None,
                "counties": (),
            },
        ),
        "source": {
            "anonymous": True,
            "endpoint_url": None,
            "region": "us-west-2",
            "path_style": False,
            "requester_pays": False,
            "connect_timeout_s": 10.0,
            "read_timeout_s": 60.0,
            "max_attempts": 5,
        },
        "catalog": {
            "type": "sql",
            "name": "oedi",
            "database": "oedi",
            "uri": None,
            "warehouse_dir": None,
            "region": None,
            "endpoint_url": None,
            "catalog_id": None,
            "s3_endpoint_url": None,
            "s3_path_style": False,
            "sse": "none",
            "kms_key_id": None,
        },
        "settings": {
            "log_dir": "logs",
            "log_filename": "etl.log",
            "logging_level": "INFO",
            "log_format": "text",
            "listing_page_size": 1000,
            "listing_workers": 8,
            "max_failed_fraction": 0.01,
            "strict_columns": False,
            "target_file_bytes": 134217728,
            "row_group_buildings": 12,
            "read_ahead_files": 4,
            "engine": "arrow",
            "usd_per_core_hour": None,
            "quality_rules": None,
            "quarantine": False,
        },
        "maintenance": {
            "snapshot_retention_days": 5.0,
            "snapshots_to_keep": 3,
            "orphan_age_days": 3.0,
            "small_file_bytes": 32 * 1024 * 1024,
            "compaction_min_files": 5,
        },
    }


def test_load_config_local_example_reads_the_sample_lake() -> None:
    run = load_config(Path(__file__).parents[1] / "conf" / "local.yaml")

    assert run.src_root == str(Path.cwd() / "build/sample_lake")
    assert run.output_root == str(Path.cwd() / "build/etl_output")
    assert [(job.folder.release, job.states, job.upgrades) for job in run.job_specific] == [
        ("2024_comstock_amy2018_release_1", ("CO",), (0, 1)),
        ("2022_resstock_amy2018_release_1", ("CO",), (0,)),
    ]
    assert run.settings.log_dir == "build/logs"


def test_load_config_public_example_reads_one_small_state_unsigned() -> None:
    run = load_config(Path(__file__).parents[1] / "conf" / "oedi-public.yaml")

    assert (run.src_is_local, run.src_root, run.output_is_local) == (False, "oedi-data-lake", True)
    assert (run.source.anonymous, run.source.region) == (True, "us-west-2")
    assert [(job.states, job.upgrades) for job in run.job_specific] == [(("AK",), (0,))]


def test_load_config_many_faults_names_each_with_its_path(tmp_path: Path) -> None:
    text = """\
src_bucket: oedi-data-lake
base_partition: /etc
outputdir: out
job_specific:
  - release_year: 24
    release_name: ../x
    state: co
    upgrades: 5-1
    counties: [G1]
    states: CO
source: {max_attempts: true, endpoint_url: "http://me:secret@host", conect_timeout_s: 3}
settings: {strict_columns: yes, engine: polars, log_filename: a/b, max_failed_fraction: nan}
"""

    assert faults_of(tmp_path, text) == (
        (
            "base_partition: '/etc' is no safe path; write folder names of A-Z a-z 0-9 . _ = - "
            "joined by /, no leading / and no .."
        ),
        "output_dir: is required",
        "job_specific[0].release_year: String should match pattern '^[0-9]{4}$', got 24",
        (
            "job_specific[0].release_name: '../x' is no release; write its folder, such as "
            "resstock_dataset_2024.1/resstock_tmy3"
        ),
        "job_specific[0].state: 'co' is no state; write CO",
        "job_specific[0].upgrades: '5-1' falls; write \"1-5\"",
        "job_specific[0].counties: 'G1' is no county; write G0800590, or \"*\" alone",
        "job_specific[0].states: unknown key; did you mean state?",
        "source.endpoint_url: must not hold a user or a password; leave them to the environment",
        "source.max_attempts: True is no number; write digits",
        "source.conect_timeout_s: unknown key; did you mean connect_timeout_s?",
        "settings.log_filename: 'a/b' is no plain file name; put the folder into settings.log_dir",
        "settings.max_failed_fraction: should be a finite number, got 'nan'",
        "settings.strict_columns: must be true or false, got 'yes'",
        "settings.engine: should be 'arrow' or 'window', got 'polars'",
        "outputdir: unknown key; did you mean output_dir?",
    )


def test_load_config_fault_in_one_job_says_nothing_else_of_the_list(tmp_path: Path) -> None:
    text = MINIMAL.replace("state: NO", "state: Colorado")

    assert faults_of(tmp_path, text) == (
        (
            "job_specific[0].state: 'Colorado' is no state; write two capitals such as CO, "
            'or "*" alone'
        ),
    )


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: [\n", ("line 2: expected the node content, but found '<stream end>'",)),
        ("", ("yaml: must be a mapping of keys, got None",)),
        ("- 1\n", ("yaml: must be a mapping of keys, got 1",)),
        ("a: 1\nb: \0\n", ("line 2: the character '\\x00' is not allowed in YAML",)),
        (b"a: 1\nb: \xff\n", ("file: line 2 is not UTF-8; save it as UTF-8",)),
        (
            "x: !!int a\n",
            ("yaml: is nested too deeply, or has a tag such as !!int that does not fit its value",),
        ),
        (
            "[" * 5000,
            ("yaml: is nested too deeply, or has a tag such as !!int that does not fit its value",),
        ),
        (
            "a: 1\nb: !!python/name:os.system x\n",
            (
                (
                    "line 2: could not determine a constructor for the tag "
                    "'tag:yaml.org,2002:python/name:os.system'"
                ),
            ),
        ),
    ],
)
def test_load_config_text_that_is_no_yaml_names_the_line(
    tmp_path: Path, text: str | bytes, faults: tuple[str, ...]
) -> None:
    assert faults_of(tmp_path, text) == faults


def test_load_config_keys_that_stand_twice_are_faults_beside_the_others(tmp_path: Path) -> None:
    text = MINIMAL + "settings: {engine: arrow, engine: arrow}\nsrc_bucket: other\nfoo: 1\n"

    faults = faults_of(tmp_path, text)

    assert faults[:2] == (
        "line 9: the key 'src_bucket' stands in line 1 already; keep one",
        "line 8: the key 'engine' stands in line 8 already; keep one",
    )
    assert [fault.split(";")[0] for fault in faults[2:]] == ["foo: unknown key"]


def test_load_config_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.yaml")

    assert caught.value.faults == (
        "file: cannot be read: No such file or directory; check the path",
    )
    assert caught.value.source == str(tmp_path / "none.yaml")
    assert caught.value.exit_code == 2


def test_load_config_hostile_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config("a\0b.yaml")


def test_load_config_alias_bomb_is_refused_in_one_short_line(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))

    faults = faults_of(tmp_path, bomb + MINIMAL.replace("upgrades: 0", "upgrades: *a39"))

    assert faults[0] == (
        "job_specific[0].upgrades: [[[...], [...]], [[...], [...]]] is no upgrade; "
        "write it in quotes"
    )


def test_load_config_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert load_text(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode()).src_bucket == "oedi-data-lake"


def test_load_config_number_of_very_many_digits_is_refused_as_text(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, MINIMAL.replace("upgrades: 0", "upgrades: " + "9" * 5000))

    assert fault.startswith("job_specific[0].upgrades: '999")
    assert len(fault) < 300


@pytest.mark.parametrize(
    ("written", "release_year"), [("2024", "2024"), ('"2024"', "2024"), ("!!str 2024", "2024")]
)
def test_load_config_year_with_or_without_quotes_is_text(
    tmp_path: Path, written: str, release_year: str
) -> None:
    run = load_text(tmp_path, MINIMAL.replace("2024", written))

    assert run.job_specific[0].release_year == release_year


@pytest.mark.parametrize("written", ["010", "0o10", "1:30", "1_0", "1e1", "+1", "0x1", "01"])
def test_load_config_number_of_another_notation_stays_text_and_is_refused(
    tmp_path: Path, written: str
) -> None:
    (fault,) = faults_of(tmp_path, MINIMAL.replace("upgrades: 0", f"upgrades: {written}"))

    assert fault == (
        f"job_specific[0].upgrades: '{written}' is no upgrade; write numbers from 0 to 9999 "
        'without padding, ranges such as "0-5", or "*" alone'
    )


@pytest.mark.parametrize("written", ["true", "2024-01-01", "~", "[]", "{}", "1.5", "[[CO]]"])
def test_load_config_state_that_is_no_text_is_refused(tmp_path: Path, written: str) -> None:
    (fault,) = faults_of(tmp_path, MINIMAL.replace("state: NO", f"state: {written}"))

    assert fault.startswith("job_specific[0].state: ")


def test_load_config_overrides_replace_the_values_of_every_job(tmp_path: Path) -> None:
    job = MINIMAL[MINIMAL.index("  - ") :]

    run = load_text(
        tmp_path,
        MINIMAL + job,
        {"src_bucket": "./lake", "output_dir": "o", "state": ["GA"], "upgrades": "1-2"},
    )

    assert (run.src_bucket, run.output_dir) == ("./lake", "o")
    assert [(one.states, one.upgrades) for one in run.job_specific] == [(("GA",), (1, 2))] * 2


def test_load_config_override_none_replaces_nothing(tmp_path: Path) -> None:
    run = load_text(tmp_path, MINIMAL, {"output_dir": None, "state": None})

    assert (run.output_dir, run.job_specific[0].states) == ("build/etl_output", ("NO",))


def test_load_config_faulty_overrides_are_told_once_and_by_name(tmp_path: Path) -> None:
    job = MINIMAL[MINIMAL.index("  - ") :]

    faults = faults_of(tmp_path, MINIMAL + job, {"state": "co", "output_dir": "", "bogus": 1})

    assert [fault.split(";")[0] for fault in faults] == [
        "output_dir override: '' is no safe folder",
        "state override: 'co' is no state",
        "bogus override: unknown key",
    ]


def test_load_config_with_notes_settings_without_effect_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(MINIMAL + "settings: {glue_job_timeout: 3, idle_timeout_in_minutes: 5}\n")

    run, notes = load_config_with_notes(path)

    assert run.settings == Settings()
    assert notes == (
        "settings.idle_timeout_in_minutes has no effect: no worker waits idle any more",
        "settings.glue_job_timeout has no effect: Terraform sets the timeout of the Glue job",
    )


@pytest.mark.parametrize(
    ("written", "version"), [("1", 1), ("1.0", 1), (1, 1), (2.0, 2), ("3.0", 3), (None, None)]
)
def test_job_config_metadata_version_each_notation_is_read(
    written: object, version: int | None
) -> None:
    job = JobConfig.model_validate(JOB | {"relative_metadata_prefix_type": written})

    assert job.relative_metadata_prefix_type == version


@pytest.mark.parametrize("written", ["4", 0, "1.5", True, "", "1\n", "v1"])
def test_job_config_other_metadata_version_is_refused(written: object) -> None:
    assert fault_of_job(relative_metadata_prefix_type=written).endswith(
        'is no metadata version; write "1", "2" or "3"'
    )


@pytest.mark.parametrize("version", [1, 3])
def test_job_config_counties_of_a_version_by_state_are_refused(version: int) -> None:
    message = fault_of_job(relative_metadata_prefix_type=str(version), counties=["*"])

    assert message == (
        f"version {version} has one file for each state and none for a county: "
        "remove counties or use 2; got '*'"
    )


@pytest.mark.parametrize(
    ("written", "counties"),
    [
        (["G0800590", "G0800010", "G0800590"], ("G0800590", "G0800010")),
        (["*"], ("*",)),
        ([], ()),
        (None, ()),
    ],
)
def test_job_config_counties_are_kept_in_order_once(
    written: object, counties: tuple[str, ...]
) -> None:
    job = JobConfig.model_validate(JOB | {"relative_metadata_prefix_type": 2, "counties": written})

    assert job.counties == counties


@pytest.mark.parametrize("county", ["G080059", "g0800590", "G0800590\n", "G08005900", "*"])
def test_job_config_other_county_is_refused(county: str) -> None:
    assert "is no county" in fault_of_job(counties=["G0800010", county])


def test_job_config_folder_has_year_and_name() -> None:
    job = JobConfig.model_validate(JOB | {"release_name": "resstock_dataset_2024.1/resstock_tmy3"})

    assert job.folder == ReleaseFolder(year="2024", name="resstock_dataset_2024.1/resstock_tmy3")


def test_job_config_release_name_with_two_slashes_is_refused() -> None:
    assert fault_of_job(release_name="a/b/c").startswith("'a/b/c' is no release")


@pytest.mark.parametrize("written", ["a..b", "Bucket", "ab", "a_bucket", "-abc", "s3://abc/x"])
def test_run_config_source_that_is_no_bucket_name_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="is no bucket; write its name or s3://name"):
        build_run(src_bucket=written)


def test_run_config_empty_job_list_is_refused() -> None:
    with pytest.raises(ValidationError, match="names no release; write at least one"):
        build_run(job_specific=[])


def test_run_config_and_its_sections_are_frozen() -> None:
    run = build_run()

    with pytest.raises(ValidationError, match="frozen"):
        run.settings.listing_workers = 1  # type: ignore[misc]
    assert hash(run.job_specific[0]) == hash(build_run().job_specific[0])


@pytest.mark.parametrize(
    ("written", "src_bucket", "is_local"),
    [
        ("oedi-data-lake", "oedi-data-lake", False),
        ("s3://oedi-data-lake/", "oedi-data-lake", False),
        ("./lake", "./lake", True),
        ("lake/", "./lake", True),
        (".", ".", True),
        ("build/sample lake", "build/sample lake", True),
        ("/data/Größe", "/data/Größe", True),
        ("file:///data/lake/", "/data/lake", True),
    ],
)
def test_run_config_source_is_a_bucket_or_a_local_folder(
    written: str, src_bucket: str, is_local: bool
) -> None:
    run = build_run(src_bucket=written)

    assert (run.src_bucket, run.src_is_local) == (src_bucket, is_local)
    assert run.src_root == (str(Path.cwd() / src_bucket) if is_local else src_bucket)


@pytest.mark.parametrize(
    ("written", "output_root"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("/data/out/", "/data/out"),
        ("file:///data/out", "/data/out"),
    ],
)
def test_run_config_output_root_is_absolute(written: str, output_root: str) -> None:
    run = build_run(output_dir=written, catalog={"uri": "sqlite:///catalog.db"})

    assert run.output_root == output_root
    assert run.output_is_local == output_root.startswith("/")


@pytest.mark.parametrize(
    ("src_bucket", "written", "base_partition"),
    [
        ("oedi-data-lake", f"oedi-data-lake/{BASE}", BASE),
        ("my-copy", "my-copy/eulp/", "eulp"),
        ("my-copy", f"oedi-data-lake/{BASE}", BASE),
        ("./lake", f"oedi-data-lake/{BASE}", BASE),
        ("my-copy", "other-copy/eulp", "other-copy/eulp"),
        ("my-copy", "", ""),
    ],
)
def test_run_config_base_partition_loses_a_leading_bucket(
    src_bucket: str, written: str, base_partition: str
) -> None:
    assert build_run(src_bucket=src_bucket, base_partition=written).base_partition == base_partition


@pytest.mark.parametrize(
    ("written", "metadata_root_dir"),
    [
        ("metadata_and_annual_results", "metadata_and_annual_results"),
        (f"oedi-data-lake/{BASE}/2024/x/metadata", f"{BASE}/2024/x/metadata"),
        (f"{BASE}/2024/x/metadata", f"{BASE}/2024/x/metadata"),
        ("my-copy/2024/x", "2024/x"),
        (None, None),
    ],
)
def test_run_config_metadata_root_dir_loses_a_leading_bucket(
    written: str | None, metadata_root_dir: str | None
) -> None:
    run = build_run(src_bucket="my-copy", job_specific=[JOB | {"metadata_root_dir": written}])

    assert run.job_specific[0].metadata_root_dir == metadata_root_dir


@pytest.mark.parametrize(
    ("src_bucket", "source", "anonymous"),
    [
        ("oedi-data-lake", {}, True),
        ("s3://oedi-data-lake", {"region": "us-west-2"}, True),
        ("oedi-data-lake", {"anonymous": False}, False),
        ("my-copy", {}, False),
        ("my-copy", {"anonymous": True}, True),
        ("./lake", {}, False),
        ("oedi-data-lake", SourceConfig(anonymous=False), False),
        ("oedi-data-lake", SourceConfig(max_attempts=2), True),
    ],
)
def test_run_config_anonymous_is_the_default_of_the_public_bucket_alone(
    src_bucket: str, source: object, anonymous: bool
) -> None:
    assert build_run(src_bucket=src_bucket, source=source).source.anonymous is anonymous


@pytest.mark.parametrize(
    ("output_dir", "catalog", "message"),
    [
        ("out", {"type": "glue"}, "type glue needs an output_dir on S3"),
        ("out", {"type": "rest", "uri": "https://h"}, "type rest needs an output_dir on S3"),
        ("s3://bucket/x", {}, "a SQLite file, which cannot lie on S3; use type glue"),
        ("s3://bucket/x", {"type": "rest"}, "is required by type rest"),
        ("s3://bucket/x", {"type": "rest", "uri": "ftp://h"}, "'ftp://h' is no URL"),
        ("out", {"uri": "postgresql://u:p@h/db"}, "type sql needs sqlite:///folder/file.db"),
        ("out", {"uri": "sqlite:///../x.db"}, "'../x.db' is no safe folder"),
        ("out", {"database": "Oedi"}, "String should match pattern"),
        ("out", {"name": "oedi\n"}, "String should match pattern"),
        ("out", {"type": "hive"}, "Input should be 'sql', 'glue' or 'rest'"),
        ("out", {"warehouse_dir": "s3://bucket/w"}, "are not of one kind"),
        ("s3://bucket/x", {"type": "glue", "warehouse_dir": "w"}, "are not of one kind"),
        ("out", {"warehouse_dir": "../w"}, "'../w' is no safe folder"),
        ("out", {"warehouse_dir": "out"}, "output_dir lies in warehouse_dir out;"),
        (
            "s3://bucket/w/x",
            {"type": "glue", "warehouse_dir": "s3://bucket/w"},
            "lies in warehouse_dir",
        ),
        ("out", {"warehouse_dir": "out/metadata"}, "lies among the landed copies"),
        ("out", {"warehouse_dir": "out/summaries/w"}, "lies among the landed copies"),
    ],
)
def test_run_config_catalog_that_does_not_fit_is_refused(
    output_dir: str, catalog: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        build_run(output_dir=output_dir, catalog=catalog)

    assert message in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("output_dir", "catalog"),
    [
        ("s3://bucket/x", CatalogConfig(type="glue")),
        ("s3://bucket/x", CatalogConfig(type="rest", uri="https://host:8181/catalog")),
        ("s3://bucket/x", CatalogConfig(uri="sqlite:///build/catalog.db")),
        ("out", CatalogConfig(uri="sqlite:////data/catalog.db")),
    ],
)
def test_run_config_catalog_that_fits_is_kept(output_dir: str, catalog: CatalogConfig) -> None:
    assert build_run(output_dir=output_dir, catalog=catalog).catalog == catalog


@pytest.mark.parametrize(
    ("output_dir", "catalog", "root"),
    [
        ("s3://bucket/x", {"type": "glue"}, "s3://bucket/x/warehouse"),
        (
            "s3://bucket/out",
            {"type": "glue", "warehouse_dir": "s3://bucket/tables/"},
            "s3://bucket/tables",
        ),
        ("s3://bucket/out", {"type": "glue", "warehouse_dir": "s3://bucket"}, None),
        ("/data/out", {}, "/data/out/warehouse"),
        ("/data/out", {"warehouse_dir": "/data/outer"}, "/data/outer"),
        ("/data/out", {"warehouse_dir": "/data/out/tables"}, "/data/out/tables"),
    ],
)
def test_run_config_warehouse_is_apart_from_the_output_where_it_is_named(
    output_dir: str, catalog: dict[str, object], root: str | None
) -> None:
    if root is None:
        with pytest.raises(ValidationError, match="lies in warehouse_dir"):
            build_run(output_dir=output_dir, catalog=catalog)
        return
    assert build_run(output_dir=output_dir, catalog=catalog).warehouse_root == root


@pytest.mark.parametrize(
    "settings",
    [
        {"listing_page_size": 0},
        {"listing_page_size": 1001},
        {"listing_workers": 0},
        {"listing_workers": True},
        {"max_failed_fraction": 1.01},
        {"max_failed_fraction": -0.1},
        {"max_failed_fraction": "nan"},
        {"target_file_bytes": 1048575},
        {"row_group_buildings": 1001},
        {"read_ahead_files": 65},
        {"strict_columns": "no"},
        {"logging_level": "TRACE"},
        {"log_format": "xml"},
        {"log_filename": ".."},
        {"log_filename": "a/b.log"},
        {"engine": "polars"},
        {"usd_per_core_hour": -0.01},
        {"usd_per_core_hour": "inf"},
        {"usd_per_core_hour": True},
    ],
)
def test_settings_value_out_of_bounds_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(settings)

    assert [error["loc"] for error in caught.value.errors()] == [tuple(settings)]


def test_settings_values_at_the_bounds_are_accepted() -> None:
    settings = Settings.model_validate(
        {
            "listing_page_size": "1",
            "max_failed_fraction": 1,
            "target_file_bytes": 1048576,
            "row_group_buildings": 1000,
            "read_ahead_files": 64,
            "logging_level": "debug",
        }
    )

    assert settings == Settings(
        listing_page_size=1,
        max_failed_fraction=1.0,
        target_file_bytes=1048576,
        row_group_buildings=1000,
        read_ahead_files=64,
        logging_level="DEBUG",
    )


@pytest.mark.parametrize(
    "source",
    [
        {"endpoint_url": "ftp://host"},
        {"endpoint_url": "http://host/?x=1"},
        {"endpoint_url": "http://"},
        {"region": "US"},
        {"connect_timeout_s": 0},
        {"read_timeout_s": -1},
        {"max_attempts": 0},
        {"path_style": 1},
    ],
)
def test_source_config_value_out_of_bounds_is_refused(source: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        SourceConfig.model_validate(source)

    assert [error["loc"] for error in caught.value.errors()] == [tuple(source)]


PATH_LIKE = [
    "src_bucket",
    "base_partition",
    "data_partition_in_release",
    "output_dir",
    "release_year",
    "release_name",
    "state",
    "upgrades",
    "counties",
    "metadata_root_dir",
    "log_dir",
    "log_filename",
    "database",
]
HOSTILE = st.one_of(
    st.builds(
        lambda head, bad, tail: head + bad + tail,
        st.text(alphabet="ab/.-_1", max_size=6),
        st.sampled_from(list("\0\n\r\t'\"\\`$;|&<>?*#%~:!{}[]()^\x7f\u2028\u202e")),
        st.text(alphabet="ab/.-_1", max_size=6),
    ).filter(lambda text: text != "*"),
    st.builds(
        lambda head, tail: f"{head}../{tail}", st.sampled_from(["", "a/", "/", "./"]), st.just("b")
    ),
    st.sampled_from(
        ["..", "a/..", "a//b", "s3://bucket/../x", "s3://bucket/x/../..", "file://h/x"]
    ),
)


def build_run_with(key: str, value: object) -> RunConfig:
    if key in JobConfig.model_fields or key == "state":
        return build_run(job_specific=[JOB | {key: value}])
    if key in Settings.model_fields:
        return build_run(settings={key: value})
    if key in CatalogConfig.model_fields:
        return build_run(catalog={key: value})
    return build_run(**{key: value})


@pytest.mark.parametrize("key", PATH_LIKE)
@given(hostile=HOSTILE)
def test_run_config_hostile_text_in_any_path_is_refused(key: str, hostile: str) -> None:
    with pytest.raises(ValidationError):
        build_run_with(key, hostile)


@pytest.mark.parametrize("key", ["base_partition", "data_partition_in_release", "release_name"])
@pytest.mark.parametrize("absolute", ["/", "/etc", "/etc/passwd"])
def test_run_config_absolute_path_below_the_bucket_is_refused(key: str, absolute: str) -> None:
    with pytest.raises(ValidationError):
        build_run_with(key, absolute)


@pytest.mark.parametrize("key", PATH_LIKE)
@given(text=st.text(max_size=30))
def test_run_config_any_text_that_is_accepted_has_no_parent_and_no_control(
    key: str, text: str
) -> None:
    try:
        build_run_with(key, text)
    except ValidationError:
        return

    assert ".." not in text.split("/")
    assert text.isprintable()
    assert not set(text) & set("'\"\\`$;|&<>?#%~")


@pytest.mark.parametrize(
    "maintenance",
    [
        {"snapshot_retention_days": -1},
        {"snapshots_to_keep": 0},
        {"orphan_age_days": 0.5},
        {"compaction_min_files": 1},
        {"keep": 1},
    ],
)
def test_maintenance_value_that_would_lose_files_is_refused(maintenance: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        build_run(maintenance=maintenance)

    assert [error["loc"] for error in caught.value.errors()] == [("maintenance", *maintenance)]
