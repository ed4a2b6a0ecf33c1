"""Run by the Python of a new environment: every module imports, and its data is there.

    python -I package/check_imports.py requirements/glue-image.txt

Whatever the environment and the image both have must have the image's version.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from importlib import resources
from importlib.metadata import distributions
from pathlib import Path

DATA_FILES = (
    "log4j2.properties",
    "py.typed",
    "sample/places.yaml",
    "sample/schemas.yaml",
    "source/releases.yaml",
    "source/upgrades.yaml",
)


def main(image: Path) -> int:
    """Check this environment; say what was checked."""
    if sys.version_info[:2] != (3, 11):
        raise SystemExit(f"Glue 5.1 runs Python 3.11, this is {sys.version.split()[0]}")
    same = require_image_versions(image.read_text("utf-8"))
    names = import_all_modules()
    folder = resources.files("oedi_spark")
    for name in DATA_FILES:
        if not folder.joinpath(name).read_bytes() and name != "py.typed":
            raise SystemExit(f"{name} is empty")
    releases = importlib.import_module("oedi_spark.source.releases").load_releases()
    version = ask_version()
    sys.stdout.write(
        f"oedi-spark {version}: {len(names)} modules import, {len(releases)} releases load, "
        f"{same} packages in the image's versions\n"
    )
    return 0


def require_image_versions(image: str) -> int:
    """Compare what is installed with the image; how many packages were the same."""
    wanted = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", image, re.MULTILINE))
    found = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in distributions()}
    other = [
        f"{name} is {found[name]}, the image has {version}"
        for name, version in wanted.items()
        if name in found and found[name] != version
    ]
    if other:
        raise SystemExit("; ".join(other))
    return len(wanted.keys() & found.keys())


def import_all_modules() -> list[str]:
    """Import every module of the installed package, none of a checkout's."""
    package = importlib.import_module("oedi_spark")
    if not str(package.__file__).startswith(sys.prefix + os.sep):
        raise SystemExit(f"oedi_spark comes from {package.__file__}, not from this environment")
    found = pkgutil.walk_packages(package.__path__, "oedi_spark.")
    names = [each.name for each in found]
    for name in names:
        importlib.import_module(name)
    return names


def ask_version() -> str:
    """What the console script answers."""
    script = Path(sys.prefix) / "bin" / "oedi-spark"
    done = subprocess.run(
        [str(script), "version"], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
