"""What every test shares: the real files where they are, a clean environment, one Spark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyiceberg.exceptions import NoSuchTableError

from oedi_spark.config import RunConfig
from oedi_spark.lake.catalog import open_catalog
from oedi_spark.pipeline import catalog_location
from oedi_spark.session import build_session, submit_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROJECT = Path(__file__).resolve().parents[1]
REAL_LAKE = Path(os.environ.get("OEDI_REAL_LAKE") or PROJECT.parent / "shared" / "data" / "lake")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests share a process when there are several: the makers of `make test`'s groups.

    Those with the one Spark, those with the one applied infrastructure, and else those of a file.
    """
    with_spark = {item.path for item in items if "spark" in getattr(item, "fixturenames", ())}
    for item in items:
        is_infra = item.path.is_relative_to(PROJECT / "tests" / "infra")
        shared = "spark" if item.path in with_spark else str(item.path)
        item.add_marker(pytest.mark.xdist_group("infra" if is_infra else shared))


@pytest.fixture(scope="session")
def real_lake() -> Path:
    """The bucket root of the real files; a skip says why, and where they must be, a failure."""
    if not REAL_LAKE.is_dir():
        message = f"no real OEDI files at {REAL_LAKE}; set OEDI_REAL_LAKE to a folder of them"
        if os.environ.get("OEDI_REQUIRE_REAL_LAKE"):
            pytest.fail(message)
        pytest.skip(message)
    return REAL_LAKE


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's AWS or PyIceberg settings, and none writes into the checkout."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "PYICEBERG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def spark() -> Iterator[Future[SparkSession]]:
    """One local Spark for all tests, as the pipeline takes it: already started."""
    os.environ |= submit_environment()
    os.environ["PYTHONPATH"] = str(PROJECT)
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--master local[2] pyspark-shell")
    started: Future[SparkSession] = Future()
    session = build_session()
    started.set_result(session)
    yield started
    session.stop()


COMSTOCK = {"release_year": "2024", "release_name": "comstock_amy2018_release_1"}
RESSTOCK = {"release_year": "2022", "release_name": "resstock_amy2018_release_1"}

MakeConfig = Callable[..., RunConfig]
ReadTable = Callable[..., pa.Table]


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """A run over a bucket root, into this test's folder; keywords replace settings."""

    def make(lake: Path, *jobs: dict[str, object], **settings: object) -> RunConfig:
        return RunConfig.model_validate(
            {
                "src_bucket": str(lake),
                "output_dir": str(tmp_path / "out"),
                "job_specific": list(jobs) or [COMSTOCK | {"state": "CO", "upgrades": "0"}],
                "settings": {"log_dir": str(tmp_path / "logs"), **settings},
            }
        )

    return make


@pytest.fixture
def read_table() -> ReadTable:
    """The current rows of one of a run's tables; no rows at all when there is no table."""

    def read(config: RunConfig, table: str = "hourly") -> pa.Table:
        place = catalog_location(config)
        try:
            found = open_catalog(place).load_table((place.database, table))
        except NoSuchTableError:
            return pa.table({})
        return found.scan().to_arrow()

    return read
