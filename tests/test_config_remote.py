"""A config on S3: read by every command, refused with a reason, never waited for without end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from oedi_spark import cli, config_remote
from oedi_spark.config import load_config
from oedi_spark.config_remote import read_remote_config
from oedi_spark.errors import ConfigError

CONFIG = b"""\
src_bucket: ./lake
output_dir: ./out
job_specific:
  - {release_year: 2024, release_name: comstock_amy2018_release_1, state: CO, upgrades: 0}
"""


class ConfigServer:
    """moto's S3; `forbidden` keys are answered with 403, `torn` bodies break off that often."""

    def __init__(self) -> None:
        self.forbidden: set[str] = set()
        self.torn: dict[str, int] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:  # noqa: ANN401 - WSGI
        key = environ["PATH_INFO"].rsplit("/", 1)[-1]
        if environ["REQUEST_METHOD"] == "GET" and key in self.forbidden:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code></Error>"]
        if environ["REQUEST_METHOD"] == "GET" and self.torn.get(key, 0) > 0:
            self.torn[key] -= 1
            start("200 OK", [("Content-Length", str(len(CONFIG)))])
            return [CONFIG[:40]]
        return self._moto(environ, start)

    def stop(self) -> None:
        """End the server and its thread."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[ConfigServer]:
    server = ConfigServer()
    s3 = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="runs/run.yaml", Body=CONFIG)
    s3.put_object(Bucket="code", Key="huge.yaml", Body=b"#" * (1024 * 1024 + 1))
    s3.put_object(Bucket="code", Key="old.json", Body=b'{"etl_config": {}}')
    yield server
    server.stop()


@pytest.fixture
def server(running: ConfigServer, monkeypatch: pytest.MonkeyPatch) -> ConfigServer:
    """The server, as a role and an endpoint in the environment would make it known."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return running


def test_a_config_on_s3_is_the_config_of_the_file(server: ConfigServer) -> None:
    config = load_config("s3://code/runs/run.yaml")
    assert config.job_specific[0].states == ("CO",)
    assert config.output_dir == "./out"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["config", "check"], 0, "s3://code/runs/run.yaml is valid"),
        (["run"], 3, "No building files under"),
        (["plan"], 3, "No building files under"),
        (["look"], 0, "There is no hourly table yet"),
        (["columns"], 5, "there is no dictionary yet"),
        (["releases", "discover"], 0, "0 registered, 0 that the registry lacks"),
    ],
)
def test_every_command_takes_a_config_on_s3(
    server: ConfigServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    code: int,
    said: str,
) -> None:
    arguments = [*command, "--config", "s3://code/runs/run.yaml"]
    monkeypatch.setattr("sys.argv", ["oedi-spark", *arguments])
    monkeypatch.setattr(cli, "start_in_background", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert (ended.value.code, said in printed.out + printed.err) == (code, True)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("s3://code/runs/none.yaml", "there is no such object (HTTP 404)"),
        ("s3://nobodys/run.yaml", "there is no such bucket (HTTP 404)"),
        ("s3://code/secret.yaml", "access denied (HTTP 403)"),
        ("s3://code/huge.yaml", "holds more than 1,048,576 bytes, which no config does"),
        ("s3://code", "is no place of a file"),
        ("s3://code/runs/", "is no place of a file"),
        ("s3:/code/run.yaml", "is no place of a file"),
        ("s3a://code/run.yaml", "is no place of a file"),
        ("s3://Code_/run.yaml", "is no place of a file"),
    ],
)
def test_what_is_no_config_is_refused_with_its_reason(
    server: ConfigServer, source: str, fault: str
) -> None:
    server.forbidden.add("secret.yaml")

    with pytest.raises(ConfigError) as refused:
        load_config(source)

    assert refused.value.source == source
    assert refused.value.faults[0].startswith(fault)
    assert "planted" not in str(refused.value).lower()


def test_a_faulty_config_on_s3_is_read_by_its_suffix_and_named_by_its_place(
    server: ConfigServer,
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config("s3://code/old.json")
    assert refused.value.source == "s3://code/old.json"
    assert any("job_specific" in fault for fault in refused.value.faults)


@pytest.mark.parametrize(("torn", "outcome"), [(2, "read"), (99, "broke off")])
def test_a_body_that_breaks_off_is_read_again_within_bounds(
    server: ConfigServer, torn: int, outcome: str
) -> None:
    server.torn["run.yaml"] = torn
    try:
        if outcome == "read":
            assert read_remote_config("s3://code/runs/run.yaml") == CONFIG
            assert server.torn["run.yaml"] == 0
        else:
            with pytest.raises(ConfigError, match=r"could not be read: .*at most 4 attempts"):
                read_remote_config("s3://code/runs/run.yaml")
            assert server.torn["run.yaml"] == 99 - config_remote.ATTEMPTS
    finally:
        server.torn.clear()


@pytest.mark.timeout(30)
def test_a_server_that_accepts_and_says_nothing_is_given_up(
    server: ConfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_remote, "READ_LIMIT_S", 0.2)
    monkeypatch.setattr(config_remote, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        with pytest.raises(ConfigError, match="ReadTimeoutError, after at most 2 attempts"):
            read_remote_config("s3://code/runs/run.yaml")


def test_a_body_that_trickles_is_given_up(
    server: ConfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_remote, "BODY_LIMIT_S", -1)
    with pytest.raises(ConfigError, match="took more than -1 s"):
        read_remote_config("s3://code/runs/run.yaml")


def test_without_credentials_it_says_what_to_check(
    server: ConfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(ConfigError, match=r"NoCredentialsError.*check the credentials"):
        read_remote_config("s3://code/runs/run.yaml")
