"""Build `dist/`: our wheel, and a zip of wheels with what the Glue 5.1 image lacks.

The same sources and pins give the same bytes: the order, the stamps and the rights of what is
packed are fixed, and `SOURCE_DATE_EPOCH` replaces the stamp. Wheels are compressed already, so
the zip only stores them, and no version of zlib shows in it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
EPOCH_S = 315_532_800
"""1980-01-01 UTC, the first moment that a zip can name."""
PIP_LIMIT_S = 600
GLUE_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
"""Which binary wheels the image takes (AL2023, glibc 2.34), as AWS lists them."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


class PackageError(Exception):
    """The package cannot be built, or would not work on Glue."""


def main() -> int:
    """Write `dist/`, and print what is in it."""
    out = PROJECT / "dist"
    out.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheels = Path(folder)
            ours = build_wheel(PROJECT, wheels)
            download_wheels(PROJECT / "requirements" / "glue.txt", wheels)
            pins = read_pins(PROJECT / "requirements" / "glue.txt")
            packed = out / f"{'-'.join(ours.name.split('-')[:2])}.gluewheels.zip"
            write_zip(packed, sorted(wheels.glob("*.whl")), list_requirements(ours, pins))
            shutil.copyfile(ours, out / ours.name)
    except PackageError as error:
        sys.stderr.write(f"make package: {error}\n")
        return 1
    for path in (out / ours.name, packed):
        sys.stdout.write(f"{path.relative_to(PROJECT)}  {path.stat().st_size:,} bytes\n")
    return 0


def build_wheel(project: Path, target: Path) -> Path:
    """Build our wheel from a copy of the sources alone, so that nothing else gets into it."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources"
        sources.mkdir()
        for name in ("pyproject.toml", "README.md"):
            shutil.copyfile(project / name, sources / name)
        shutil.copytree(project / "oedi_spark", sources / "oedi_spark", ignore=_IGNORED)
        for path in sources.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        # What `setup` installed builds it; no index is asked.
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir")
        run_pip("wheel", *options, "--wheel-dir", str(target), str(sources))
    (wheel,) = target.glob("oedi_spark-*.whl")
    return wheel


def download_wheels(requirements: Path, target: Path) -> None:
    """Fetch every pin as a wheel that the Glue image takes, each proved by its hash."""
    platforms = [part for each in GLUE_PLATFORMS for part in ("--platform", each)]
    run_pip(
        *("download", "--require-hashes", "--no-deps", "--only-binary=:all:"),
        *("--python-version", "3.11", "--implementation", "cp"),
        *("--abi", "cp311", "--abi", "abi3", "--abi", "none", *platforms),
        *("--requirement", str(requirements), "--dest", str(target)),
    )


def read_pins(requirements: Path) -> dict[str, str]:
    """Name → version of a requirement file, without its hashes."""
    return dict(_PIN.findall(requirements.read_text("utf-8")))


def list_requirements(ours: Path, pins: Mapping[str, str]) -> str:
    """What Glue shall install from the zip: our wheel, and each pin by its version."""
    name, version = ours.name.split("-")[:2]
    lines = [f"{each}=={pinned}\n" for each, pinned in {name: version, **pins}.items()]
    return "".join(sorted(lines))


def write_zip(target: Path, wheels: Sequence[Path], requirements: str) -> None:
    """Write the zip as AWS lays it out: `wheels/`, with its requirements.txt beside them.

    Raises:
        PackageError: A wheel is not in the requirements, or one of those has no wheel.
    """
    required = {_same_name(line.split("==")[0]) for line in requirements.splitlines()}
    present = {_same_name(wheel.name.split("-")[0]) for wheel in wheels}
    if required != present:
        odd = ", ".join(sorted(required ^ present))
        raise PackageError(f"requirements and wheels differ: {odd}; run make pins")
    content = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels}
    content["wheels/requirements.txt"] = requirements.encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, date_time=time.gmtime(_stamp_s())[:6])
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            packed.writestr(entry, content[name])


def run_pip(*arguments: str, python: Path | None = None) -> None:
    """Run this environment's pip, for another one if asked; within a time, and quietly.

    Raises:
        PackageError: It failed; with the end of what it said.
    """
    # `--python` makes one pip serve an environment that has none.
    other = ("--python", str(python)) if python else ()
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *other, *arguments]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(_stamp_s()), "PYTHONHASHSEED": "0"}
    if "--no-index" in arguments:  # nor may a user's settings name a folder of wheels
        environment = {key: environment[key] for key in environment if key[:4] != "PIP_"}
        environment["PIP_CONFIG_FILE"] = os.devnull
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            umask=0o022,
            timeout=PIP_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"pip {arguments[0]} took more than {PIP_LIMIT_S} s") from error
    if done.returncode != 0:
        raise PackageError(f"pip {arguments[0]} failed: {done.stderr.strip()[-2000:]}")


def _same_name(name: str) -> str:
    """A distribution's name in the one spelling that pip compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _stamp_s() -> int:
    """When everything was packed: `SOURCE_DATE_EPOCH`, but never before a zip can say it."""
    return max(EPOCH_S, int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH_S))


if __name__ == "__main__":
    sys.exit(main())
