"""What `oedi-spark doctor` says of a machine and of places, good and bad, and that it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import typer
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from oedi_spark import doctor_machine, doctor_places, pipeline
from oedi_spark.cli_doctor import doctor
from oedi_spark.config import RunConfig, SourceConfig
from oedi_spark.contracts import Partition
from oedi_spark.contracts_doctor import Check, CheckResult, Finding, Status
from oedi_spark.doctor import examine, exit_code_of, run_checks
from oedi_spark.lake.lease import LeaseBook
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from tests.conftest import COMSTOCK, MakeConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUCKET = "oedi-sample"
CO = COMSTOCK | {"state": "CO", "upgrades": "0"}
CO_PARTITION = Partition("2024_comstock_amy2018_release_1", "CO", 0)
SECRET, KEY_ID = "planted+secret/of/40/characters/0123456789", "AKIAPLANTEDKEYID0000"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    write_sample_lake(
        root, SampleRequest((ReleaseFolder("2024", "comstock_amy2018_release_1"),), buildings=1)
    )
    return root


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not one place where boto3 could find any; the instance's own is not asked."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture
def credentials(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def s3_config(url: str, tmp_path: Path, *, anonymous: bool = False) -> RunConfig:
    return RunConfig.model_validate(
        {
            "src_bucket": BUCKET,
            "output_dir": str(tmp_path / "out"),
            "job_specific": [CO],
            "source": {"endpoint_url": url, "path_style": True, "anonymous": anonymous},
            "settings": {"log_dir": str(tmp_path / "logs")},
        }
    )


def statuses(results: tuple[CheckResult, ...]) -> dict[str, str]:
    return {each.name: each.finding.status.value for each in results}


# The frame


def found(status: Status) -> Finding:
    return Finding(status, "a fact")


def test_a_check_that_raises_or_hangs_is_a_fail_and_holds_up_no_other() -> None:
    hangs = threading.Event()

    def hang() -> Finding:
        hangs.wait(30)
        return found(Status.OK)

    def fail() -> Finding:
        raise PermissionError("not\nyours")

    checks = (
        Check("hangs", 5, hang, "look at the server"),
        Check("raises", 3, fail, "ask for rights"),
        Check("good", 7, lambda: found(Status.OK), "nothing"),
    )
    started = time.monotonic()
    results = run_checks(checks, limit_s=0.5)
    took_s = time.monotonic() - started
    hangs.set()

    assert took_s < 10
    assert [(each.name, each.finding) for each in results] == [
        ("hangs", Finding(Status.FAIL, "no answer within 0.5 s", "look at the server")),
        ("raises", Finding(Status.FAIL, "PermissionError: not%0Ayours", "ask for rights")),
        ("good", Finding(Status.OK, "a fact")),
    ]
    assert exit_code_of(results) == 5


def test_exit_code_is_that_of_the_first_fail_and_0_for_warnings() -> None:
    results = [CheckResult("a", 7, found(Status.WARN)), CheckResult("b", 3, found(Status.OK))]

    assert exit_code_of(results) == 0
    assert exit_code_of([*results, CheckResult("c", 3, found(Status.FAIL))]) == 3


# The machine


@pytest.mark.parametrize(
    ("version", "status"), [((3, 11, 9), "ok"), ((3, 10, 1), "fail"), ((3, 12, 0), "fail")]
)
def test_check_python_wants_3_11(version: tuple[int, int, int], status: str) -> None:
    assert doctor_machine.check_python(version).status == status


@pytest.mark.parametrize(
    ("version", "status"), [("3.5.6", "ok"), ("3.50.0", "fail"), ("4.0.1", "fail"), (None, "fail")]
)
def test_check_pyspark_wants_3_5(version: str | None, status: str) -> None:
    assert doctor_machine.check_pyspark(version).status == status


def test_check_java_runs_the_java_that_spark_gets() -> None:
    finding = doctor_machine.check_java()

    assert finding.status == "ok"
    assert finding.fact.startswith("Java 17.")


def test_check_java_warns_of_a_java_home_that_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))

    finding = doctor_machine.check_java()

    assert finding.status == "warn"
    assert str(tmp_path / "gone") in finding.fact


@pytest.mark.parametrize(
    ("program", "fact"),
    [
        ("#!/bin/sh\nexit 1\n", "does not start (CalledProcessError)"),
        ("no program\n", "does not start (OSError)"),
        ("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n", "is Java 21.0.1"),
        ("#!/bin/sh\necho hello >&2\n", "is no Java"),
    ],
)
def test_check_java_fails_on_a_java_home_that_only_looks_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, fact: str
) -> None:
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(program)
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))

    finding = doctor_machine.check_java()

    assert finding.status == "fail"
    assert fact in finding.fact


def test_check_java_fails_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "find_java_home", lambda: None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")

    finding = doctor_machine.check_java()

    assert (finding.status, finding.fact) == ("fail", "no Java 17 found; JAVA_HOME is /nowhere")


def libraries(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    installed = {"pyarrow": "22.0.0", "numpy": "2.3.4", "boto3": "1.40.61", "pyiceberg": "0.12.0"}
    monkeypatch.setattr(doctor_machine, "find_version", (installed | versions).get)


@pytest.mark.parametrize(
    ("versions", "status", "advice"),
    [
        ({}, "ok", ""),
        ({"pyarrow": "22.0.1"}, "ok", ""),
        ({"pyarrow": "17.0.0"}, "warn", "pyarrow 22.0.0"),
        ({"boto3": None}, "fail", "boto3"),
        ({"pyiceberg": None}, "fail", "pyiceberg"),
        ({"pyiceberg": "0.11.1"}, "fail", "pyiceberg 0.12"),
    ],
)
def test_check_libraries_compares_with_glue(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None], status: str, advice: str
) -> None:
    libraries(monkeypatch, **versions)

    finding = doctor_machine.check_libraries(needs_aws=True)

    assert finding.status == status
    assert advice in finding.advice


def test_check_libraries_needs_no_boto3_without_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries(monkeypatch, boto3=None)

    assert doctor_machine.check_libraries(needs_aws=False).status == "ok"


def test_find_version_of_what_is_installed_and_what_is_not() -> None:
    assert doctor_machine.find_version("pyspark") == "3.5.6"
    assert doctor_machine.find_version("no_such_package_at_all") is None


@pytest.mark.parametrize(
    ("jar", "status"),
    [
        (None, "ok"),
        ("iceberg-spark-runtime-3.5_2.12-1.10.0.jar", "ok"),
        ("iceberg-spark-runtime-3.4_2.12-1.10.0.jar", "warn"),
        ("iceberg-spark-runtime-3.5_2.13-1.10.0.jar", "warn"),
    ],
)
def test_check_jars_wants_the_runtime_of_this_spark_or_none(
    tmp_path: Path, jar: str | None, status: str
) -> None:
    if jar:
        (tmp_path / jar).touch()

    assert doctor_machine.check_jars([tmp_path, tmp_path / "gone"]).status == status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("MemTotal: 64 kB\nMemAvailable:   67108864 kB\n", "ok"),
        ("MemAvailable: 1048576 kB\n", "warn"),
        ("MemAvailable: 262144 kB\n", "fail"),
        ("", "warn"),
    ],
)
def test_check_memory_wants_room_for_a_task_per_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: str
) -> None:
    (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)

    assert doctor_machine.check_memory(tmp_path / "meminfo").status == status
    assert doctor_machine.check_memory(tmp_path / "gone").status == "warn"


@pytest.mark.parametrize(("free_mib", "status"), [(10_000, "ok"), (2_000, "warn"), (100, "fail")])
def test_check_disk_names_the_fullest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, status: str
) -> None:
    def usage(folder: Path) -> Any:  # noqa: ANN401 - the type is private to shutil
        free = free_mib if folder == tmp_path / "small" else 1_000_000
        return type("Usage", (), {"free": free * 2**20})()

    (tmp_path / "small").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", usage)

    finding = doctor_machine.check_disk([tmp_path, tmp_path / "small" / "not" / "yet"])

    assert finding.status == status
    assert finding.fact.endswith(str(tmp_path / "small" / "not" / "yet"))


@pytest.mark.parametrize(
    ("limits", "status", "wait"),
    [
        ({}, "ok", "430 s"),  # 5 · (10 + 60) + 4 · 20
        ({"read_timeout_s": 300}, "warn", "1,630 s"),  # 5 · 310 + 80
        ({"read_timeout_s": 1, "max_attempts": 1}, "warn", "11 s"),
    ],
)
def test_check_time_limits_adds_up_every_attempt(
    limits: dict[str, object], status: str, wait: str
) -> None:
    finding = doctor_machine.check_time_limits(SourceConfig.model_validate(limits))

    assert finding.status == status
    assert f"at most {wait}," in finding.fact


# The places


def test_check_credentials_are_not_looked_for_where_nothing_is_signed(
    tmp_path: Path, no_credentials: None
) -> None:
    uses = doctor_places.credential_uses(s3_config("http://127.0.0.1:1", tmp_path, anonymous=True))

    assert uses == ()
    assert doctor_places.check_credentials(uses).status == "ok"


def test_check_credentials_fails_without_any(tmp_path: Path, no_credentials: None) -> None:
    uses = doctor_places.credential_uses(s3_config("http://127.0.0.1:1", tmp_path))
    finding = doctor_places.check_credentials(uses)

    assert (finding.status, finding.fact) == ("fail", "none found for the source")


def test_check_credentials_says_who_provides_them_and_not_what_they_are(credentials: None) -> None:
    finding = doctor_places.check_credentials(("the source",))

    assert (finding.status, finding.fact) == ("ok", "lasting ones from env, for the source")


def test_source_and_releases_of_a_folder(lake: Path, make_config: MakeConfig) -> None:
    config = make_config(lake, CO)

    assert doctor_places.check_source(config).status == "ok"
    assert doctor_places.check_releases(config).status == "ok"


def test_source_that_is_no_folder_or_empty_fails(tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "empty").mkdir()

    for folder, fact in (("gone", "is no folder"), ("empty", "nothing below")):
        finding = doctor_places.check_source(make_config(tmp_path / folder))
        assert finding.status == "fail"
        assert fact in finding.fact


def test_release_that_is_not_there_fails_and_one_that_is_unknown_warns(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    base = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
    strange = {"release_year": "2031", "release_name": "strange_1", "state": "*", "upgrades": "*"}
    release = tmp_path / base / "2031" / "strange_1"
    release.mkdir(parents=True)
    (release / "readme.txt").touch()
    config = make_config(tmp_path, strange)

    no_series = doctor_places.check_releases(config)
    (release / "timeseries_individual_buildings" / "by_state" / "upgrade=0").mkdir(parents=True)
    unknown = doctor_places.check_releases(config)
    absent = doctor_places.check_releases(make_config(tmp_path, strange, CO))

    series = "timeseries_individual_buildings/by_state"
    assert no_series.status == "fail"
    assert no_series.fact == f"no {series} below {base}/2031/strange_1"
    assert unknown.status == "warn"
    assert absent.status == "fail"
    assert absent.fact == f"nothing below {base}/2024/comstock_amy2018_release_1"


def test_check_writable_leaves_nothing_not_even_the_folders_it_made(tmp_path: Path) -> None:
    finding = doctor_places.check_writable(f"file://{tmp_path}/a/b")

    assert finding.status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_check_writable_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    assert doctor_places.check_writable(f"file://{tmp_path}/a").status == "ok"
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_check_writable_fails_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")

    finding = doctor_places.check_writable(f"file://{tmp_path}/a/b")

    assert finding.status == "fail"
    assert "cannot be written" in finding.fact
    assert (tmp_path / "a").read_text() == "a file"


def test_catalog_and_leases_before_and_after_a_run(
    lake: Path, make_config: MakeConfig, spark: Future[SparkSession]
) -> None:
    config = make_config(lake, CO)

    before = doctor_places.check_catalog(config)
    assert doctor_places.check_leases(config).status == "ok"
    assert not Path(config.output_dir).exists()
    pipeline.run(config, spark)
    after = doctor_places.check_catalog(config)

    assert (before.status, after.status) == ("ok", "ok")
    assert before.fact == "the sql catalog is not there yet; the first run makes it"
    assert after.fact == (
        "the sql catalog answers; oedi has building_weights, columns, discrepancies, hourly, "
        "metadata, runs, sources"
    )
    assert doctor_places.check_leases(config).fact == "no other run"


def test_catalog_that_is_no_database_fails(tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config(tmp_path, CO)
    Path(config.output_dir).mkdir()
    (Path(config.output_dir) / "catalog.db").write_text("not a database, but long enough" * 9)

    results = {each.name: each for each in examine(config)}

    assert results["catalog"].finding.status == "fail"
    assert results["catalog"].exit_code == 5
    assert "DatabaseError" in results["catalog"].finding.fact
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(Path(config.output_dir) / "catalog.db").execute("select 1 from x")


def test_lease_of_a_living_run_is_in_the_way_and_of_a_dead_one_is_not(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    place = pipeline.catalog_location(make_config(tmp_path, CO))
    book = LeaseBook(f"{place.warehouse_uri}/{place.database}")
    book.renew("20260101T000000Z-aaaaaaaa", [CO_PARTITION])

    mine = doctor_places.check_leases(make_config(tmp_path, CO))
    every = doctor_places.check_leases(make_config(tmp_path, CO | {"state": "*", "upgrades": "*"}))
    other = doctor_places.check_leases(make_config(tmp_path, CO | {"state": "NY"}))
    book.abandon("20260101T000000Z-aaaaaaaa", [CO_PARTITION])
    dead = doctor_places.check_leases(make_config(tmp_path, CO))

    assert [each.status for each in (mine, every, other, dead)] == ["fail", "fail", "ok", "warn"]
    assert mine.fact == f"run 20260101T000000Z-aaaaaaaa holds {CO_PARTITION}"
    assert mine.advice.startswith("wait until it ends (file://")


# S3


@pytest.fixture
def bucket(lake: Path, moto_url: str, credentials: None) -> Iterator[None]:
    client = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    for path in lake.rglob("*.parquet"):
        client.upload_file(str(path), BUCKET, str(path.relative_to(lake)))
    yield
    client.close()


def test_every_check_is_well_on_a_good_bucket_and_none_tells_a_secret(
    moto_url: str, tmp_path: Path, bucket: None
) -> None:
    results = examine(s3_config(moto_url, tmp_path))

    places = {name: said for name, said in statuses(results).items() if name not in MACHINE}
    assert places == dict.fromkeys(PLACES, "ok")
    assert exit_code_of(results) == 0
    told = repr(results)
    assert SECRET not in told
    assert KEY_ID not in told
    assert list(tmp_path.iterdir()) == []


PLACES = (
    "credentials",
    "source",
    "releases",
    "output",
    "warehouse",
    "catalog",
    "leases",
    "log folder",
)
MACHINE = ("python", "java", "pyspark", "libraries", "jars", "memory", "disk", "time limits")


def glue_config(url: str, tmp_path: Path, output: str) -> RunConfig:
    document = s3_config(url, tmp_path).model_dump(by_alias=True) | {
        "output_dir": output,
        "catalog": {
            "type": "glue",
            "region": "us-east-1",
            "endpoint_url": url,
            "s3_endpoint_url": url,
            "s3_path_style": True,
        },
    }
    return RunConfig.model_validate(document)


def test_output_on_s3_and_the_glue_catalog_are_asked_and_left_as_they_were(
    moto_url: str, tmp_path: Path, bucket: None
) -> None:
    client = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1")
    before = client.list_objects_v2(Bucket=BUCKET)["KeyCount"]

    results = examine(glue_config(moto_url, tmp_path, f"s3://{BUCKET}/published"))

    facts = {each.name: each.finding.fact for each in results}
    assert {name: statuses(results)[name] for name in PLACES} == dict.fromkeys(PLACES, "ok"), facts
    assert facts["credentials"].endswith("for the source, the output, the Glue catalog")
    assert facts["catalog"] == "the glue catalog answers; the first run makes the database oedi"
    assert client.list_objects_v2(Bucket=BUCKET)["KeyCount"] == before
    client.close()


def test_output_bucket_that_is_not_there_ends_with_5(
    moto_url: str, tmp_path: Path, bucket: None
) -> None:
    results = examine(glue_config(moto_url, tmp_path, "s3://no-such-bucket-of-ours/published"))

    assert statuses(results)["output"] == "fail"
    assert exit_code_of(results) == 5
    assert SECRET not in repr(results)


def test_endpoint_that_nobody_listens_at_fails_in_time(tmp_path: Path, credentials: None) -> None:
    with socket.socket() as held:  # bound and not listening: refused, and nobody else gets it
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        results = examine(s3_config(url, tmp_path))

    by_name = {each.name: each for each in results}
    for name in ("source", "releases"):
        assert by_name[name].finding.status == "fail"
        assert "SourceListingError: Cannot list s3://oedi-sample" in by_name[name].finding.fact
    assert exit_code_of(results) == 3


def test_endpoint_that_never_answers_is_given_up(tmp_path: Path, credentials: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        results = examine(s3_config(url, tmp_path), limit_s=4)

    by_name = {each.name: each.finding for each in results}
    assert by_name["source"] == Finding(
        Status.FAIL,
        "no answer within 4 s",
        "check src_bucket, base_partition, source.endpoint_url and the rights to list",
    )
    assert by_name["log folder"].status == "ok"


# The command


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(doctor)
    return app


def write_config(folder: Path, lake: Path, **more: object) -> str:
    document = {
        "src_bucket": str(lake),
        "output_dir": str(folder / "out"),
        "job_specific": [CO],
        "settings": {"log_dir": str(folder / "logs")},
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(document | more))  # JSON is YAML
    return str(path)


def test_command_prints_a_line_per_check_and_ends_with_0(
    tmp_path: Path, lake: Path, app: typer.Typer
) -> None:
    done = CliRunner().invoke(app, ["--config", write_config(tmp_path, lake)])

    assert done.exit_code == 0, done.output
    for name in (*MACHINE, *PLACES):
        assert f" {name} " in done.output
    assert "Nothing stands in the way of a run." in done.output


def test_command_says_what_to_do_and_ends_with_the_runs_code(
    tmp_path: Path, app: typer.Typer
) -> None:
    done = CliRunner().invoke(app, ["--config", write_config(tmp_path, tmp_path / "gone")])

    assert done.exit_code == 3
    assert "→ set src_bucket to one" in done.output
    assert "A run would fail: see `fail` above." in done.output


def test_command_on_a_log_folder_that_cannot_be_ends_with_2(
    tmp_path: Path, lake: Path, app: typer.Typer
) -> None:
    (tmp_path / "logs").write_text("a file")

    done = CliRunner().invoke(app, ["--config", write_config(tmp_path, lake)])

    assert done.exit_code == 2, done.output
