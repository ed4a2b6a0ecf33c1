"""Prove that the zip of wheels works where it will run: on what Glue 5.1 ships, and no more.

A new environment gets the image's versions, Spark's Python from beside it (on Glue it lies on
the path too, no package), and the zip by the command that Glue uses. Then
`package/check_imports.py` runs in it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from package.build import PROJECT, PackageError, run_pip

CHECK_LIMIT_S = 120
SPARK = ("pyspark", "py4j")


def main() -> int:
    """Check the one zip in `dist/` that was made last."""
    zips = sorted((PROJECT / "dist").glob("*.gluewheels.zip"), key=lambda p: p.stat().st_mtime)
    if not zips:
        sys.stderr.write("make package: dist/ holds no zip of wheels\n")
        return 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(check_zip(zips[-1], Path(folder)))
    except PackageError as error:
        sys.stderr.write(f"make package: {error}\n")
        return 1
    return 0


def check_zip(packed: Path, folder: Path) -> str:
    """Install the zip beside the image's versions and import it; what the check printed."""
    python = make_environment(folder / "venv")
    image = PROJECT / "requirements" / "glue-check.txt"
    run_pip(
        *("install", "--require-hashes", "--no-deps", "--only-binary=:all:"),
        *("--requirement", str(image)),
        python=python,
    )
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(folder)
    wheels = folder / "wheels"
    run_pip(
        *("install", "--no-index", "--find-links", str(wheels)),
        *("--requirement", str(wheels / "requirements.txt")),
        python=python,
    )
    return run_check(python, PROJECT / "requirements" / "glue-image.txt")


def make_environment(folder: Path) -> Path:
    """A new environment without packages, but with Spark's Python on its path.

    Returns:
        Its Python.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / "python3.11" / "site-packages"
    spark = folder / "spark-python"
    spark.mkdir()
    for name in SPARK:
        (spark / name).symlink_to(str(distribution(name).locate_file(name)))
    (site / "spark.pth").write_text(f"{spark}\n", "utf-8")
    return folder / "bin" / "python"


def run_check(python: Path, image: Path) -> str:
    """Run the import check there, isolated from this folder and from what PYTHONPATH says.

    Raises:
        PackageError: It failed; with what it said.
    """
    command = [str(python), "-I", str(PROJECT / "package" / "check_imports.py"), str(image)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"the import check took more than {CHECK_LIMIT_S} s") from error
    if done.returncode != 0:
        raise PackageError(f"the import check failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
