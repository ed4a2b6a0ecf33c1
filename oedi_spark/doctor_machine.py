"""What `oedi-spark doctor` asks of this machine: Python, Java, libraries, room, limits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from oedi_spark.config import RunConfig, SourceConfig
from oedi_spark.contracts_doctor import Check, Finding, Status
from oedi_spark.errors import ConfigError, SessionError
from oedi_spark.session import find_java_home

GLUE_VERSIONS = {"pyarrow": "22.0.0", "numpy": "2.3.4", "boto3": "1.40.61"}
"""What AWS Glue 5.1 ships of the libraries that we use."""

PYICEBERG = "0.12"
SPARK = "3.5"

_JAVA_LIMIT_S = 20.0
_GIB = 2**30
_LEAST_DISK_BYTES, _ENOUGH_DISK_BYTES = _GIB // 4, 5 * _GIB
_LEAST_MEMORY_BYTES = _GIB // 2
_JVM_BYTES, _TASK_BYTES = _GIB, _GIB // 4
_LONG_WAIT_S, _SHORT_READ_S = 900.0, 5.0
_BACK_OFF_S = 20.0
_ICEBERG_JAR = re.compile(r"iceberg-spark-runtime-(?P<spark>[0-9.]+)_(?P<scala>[0-9.]+)-.+\.jar")


def machine_checks(config: RunConfig) -> tuple[Check, ...]:
    """The checks of this machine."""
    spark = SessionError.exit_code
    install = "run `make setup`, or install this package with its extras `local` and `aws`"
    return (
        Check("python", spark, lambda: check_python(sys.version_info[:3]), install),
        Check("java", spark, check_java, "set JAVA_HOME to a Java 17"),
        Check("pyspark", spark, lambda: check_pyspark(find_version("pyspark")), install),
        Check("libraries", spark, lambda: check_libraries(needs_aws=needs_aws(config)), install),
        Check("jars", spark, lambda: check_jars(jar_folders()), "see docs/running.md"),
        Check("memory", spark, check_memory, "free some memory, or use a larger machine"),
        Check("disk", spark, lambda: check_disk(scratch_folders(config)), "free some disk"),
        Check(
            "time limits",
            ConfigError.exit_code,
            lambda: check_time_limits(config.source),
            "see docs/config.md",
        ),
    )


def needs_aws(config: RunConfig) -> bool:
    """Whether a run of this config talks to S3 or Glue at all."""
    return not (config.src_is_local and config.output_is_local) or config.catalog.type == "glue"


def find_version(name: str) -> str | None:
    """The version of an installed package; of one without a record (EMR's Spark), its own word."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if find_spec(name) is None:
            return None
        return str(getattr(import_module(name), "__version__", "unknown"))


def check_python(version: tuple[int, ...]) -> Finding:
    """Python 3.11, as Glue 5.1 and the wheels have it."""
    text = ".".join(map(str, version))
    if version[:2] == (3, 11):
        return Finding(Status.OK, f"Python {text}, {sys.executable}")
    return Finding(
        Status.FAIL, f"Python {text}, {sys.executable}", "use Python 3.11, as AWS Glue 5.1 does"
    )


def check_java() -> Finding:
    """A Java 17 that starts; which one it is, and whether it is the one that JAVA_HOME names."""
    configured, home = os.environ.get("JAVA_HOME"), find_java_home()
    if home is None:
        named = f"; JAVA_HOME is {configured}" if configured else ""
        advice = "install a Java 17 and set JAVA_HOME to it, or install the extra `local`"
        return Finding(Status.FAIL, f"no Java 17 found{named}", advice)
    program = Path(home) / "bin" / "java"
    try:
        done = subprocess.run(
            [str(program), "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_JAVA_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        advice = "set JAVA_HOME to a Java 17 that starts"
        return Finding(Status.FAIL, f"{program} does not start ({type(error).__name__})", advice)
    match = re.search(r'version "(\d+)([^"]*)"', done.stderr)
    if match is None or match[1] != "17":
        seen = f"Java {match[1]}{match[2]}" if match else "no Java"
        return Finding(Status.FAIL, f"{program} is {seen}", "set JAVA_HOME to a Java 17")
    fact = f"Java 17{match[2]}, {home}"
    if configured and Path(configured) != Path(home):
        advice = "set JAVA_HOME to a Java 17, or unset it"
        return Finding(Status.WARN, f"{fact}; not the JAVA_HOME {configured}", advice)
    return Finding(Status.OK, fact)


def check_pyspark(version: str | None) -> Finding:
    """PySpark of the line that Glue 5.1 has."""
    if version is None:
        return Finding(Status.FAIL, "PySpark is not installed", "install the extra `local`")
    if version.startswith(f"{SPARK}."):
        return Finding(Status.OK, f"PySpark {version}")
    return Finding(Status.FAIL, f"PySpark {version}", f"install PySpark {SPARK}.x")


def check_libraries(*, needs_aws: bool) -> Finding:
    """The libraries that decide how files are read and written, beside those of Glue 5.1."""
    versions = {name: find_version(name) for name in (*GLUE_VERSIONS, "pyiceberg")}
    fact = ", ".join(f"{name} {version or 'absent'}" for name, version in versions.items())
    required = [name for name in versions if name != "boto3" or needs_aws]
    if absent := [name for name in required if versions[name] is None]:
        extra = "the extra `aws`" if absent == ["boto3"] else "this package's requirements"
        return Finding(Status.FAIL, fact, f"install {extra}: {', '.join(absent)} is not there")
    if not str(versions["pyiceberg"]).startswith(f"{PYICEBERG}."):
        return Finding(Status.FAIL, fact, f"install pyiceberg {PYICEBERG}")
    other = [
        f"{name} {shipped}"
        for name, shipped in GLUE_VERSIONS.items()
        if versions[name] and _line(str(versions[name])) != _line(shipped)
    ]
    if other:
        advice = f"Glue 5.1 ships {', '.join(other)}: what works here may work otherwise there"
        return Finding(Status.WARN, fact, advice)
    return Finding(Status.OK, f"{fact}; of the versions that Glue 5.1 ships")


def _line(version: str) -> list[str]:
    return version.split(".")[:2]


def jar_folders() -> tuple[Path, ...]:
    """Where Spark finds jars without being told."""
    spec = find_spec("pyspark")
    installed = Path(spec.origin).parent if spec and spec.origin else None
    homes = [os.environ.get("SPARK_HOME"), installed]
    return tuple(dict.fromkeys(Path(home) / "jars" for home in homes if home))


def check_jars(folders: Iterable[Path]) -> Finding:
    """Iceberg's runtime for Spark: the job needs none, only who reads the tables by Spark."""
    found = [
        (path, match)
        for folder in folders
        for path in sorted(folder.glob("iceberg-spark-runtime-*.jar"))
        if (match := _ICEBERG_JAR.fullmatch(path.name))
    ]
    if not found:
        advice = "to read the tables by Spark, give it iceberg-spark-runtime-3.5_2.12 (--jars)"
        return Finding(Status.OK, "no Iceberg runtime in Spark; the job needs none", advice)
    fits = [path for path, m in found if (m["spark"], m["scala"]) == (SPARK, "2.12")]
    if fits:
        return Finding(Status.OK, f"{fits[0]}, to read the tables by Spark")
    path = found[0][0]
    return Finding(Status.WARN, f"{path} is not for Spark 3.5 and Scala 2.12", "take it away")


def check_memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Enough for the JVM and a task per core."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text("ascii"), re.MULTILINE)
    except OSError:
        match = None
    if match is None:
        advice = "a run needs 1 GiB and 0.25 GiB per core"
        return Finding(Status.WARN, "the machine does not say what memory is free", advice)
    free, cores = int(match[1]) * 1024, os.cpu_count() or 1
    wanted = _JVM_BYTES + _TASK_BYTES * cores
    fact = f"{free / _GIB:.1f} GiB free, {cores} cores"
    if free >= wanted:
        return Finding(Status.OK, fact)
    advice = f"a run here may take {wanted / _GIB:.1f} GiB; run fewer tasks (--master local[2])"
    return Finding(Status.FAIL if free < _LEAST_MEMORY_BYTES else Status.WARN, fact, advice)


def scratch_folders(config: RunConfig) -> tuple[Path, ...]:
    """The local folders that a run writes to."""
    scratch = os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).split(",")
    output = [config.output_root] if config.output_is_local else []
    return tuple(Path(each) for each in (*output, config.settings.log_dir, *scratch))


def check_disk(folders: Iterable[Path]) -> Finding:
    """Room where tables, logs and Spark's scratch files go."""
    free = {folder: shutil.disk_usage(_nearest(folder)).free for folder in folders}
    fullest = min(free, key=lambda folder: free[folder])
    fact = f"{free[fullest] / _GIB:.1f} GiB free for {fullest}"
    if free[fullest] >= _ENOUGH_DISK_BYTES:
        return Finding(Status.OK, fact)
    advice = "make room, or choose another output_dir, settings.log_dir or SPARK_LOCAL_DIRS"
    is_full = free[fullest] < _LEAST_DISK_BYTES
    return Finding(Status.FAIL if is_full else Status.WARN, fact, advice)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.is_dir())


def check_time_limits(source: SourceConfig) -> Finding:
    """How long a server that stalls can hold up one request, with every attempt."""
    attempts = source.max_attempts
    wait_s = attempts * (source.connect_timeout_s + source.read_timeout_s)
    wait_s += (attempts - 1) * _BACK_OFF_S
    fact = f"a stalled request ends after at most {wait_s:,.0f} s, {attempts} attempts"
    if wait_s > _LONG_WAIT_S:
        advice = "lower source.read_timeout_s or source.max_attempts; a task waits that long"
        return Finding(Status.WARN, fact, advice)
    if source.read_timeout_s < _SHORT_READ_S:
        advice = "raise source.read_timeout_s: a slow answer is taken for a fault"
        return Finding(Status.WARN, f"{fact}, {source.read_timeout_s:g} s each", advice)
    return Finding(Status.OK, fact)
