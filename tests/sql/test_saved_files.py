"""What every file of sql/ must be: Athena's SQL, with a header, pruned, of columns that exist."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.lake.ledger import discrepancies_definition, runs_definition
from oedi_spark.lake.metadata_schemas import METADATA_KEYS, building_weights_definition
from oedi_spark.lake.schemas import columns_definition
from oedi_spark.sample.schemas import resolve_family
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.source.releases import load_releases
from oedi_spark.transform.columns import describe_column
from tests.sql.pruning import find_unpruned
from tests.sql.saved_sql import CHOICES, FILES, QUERIES, VIEWS, choose, parse, read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOMES_2021 = "2021_resstock"
METADATA_COLUMNS = {
    "applicability",
    "in_upgrade_name",
    "out_electricity_total_energy_consumption_kwh",
}
MEASURED = [path for path in FILES if "kB a building" in path.read_text("utf-8")]

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_query = pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
every_view = pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)


def test_the_files_of_the_readme_are_those_there_are() -> None:
    text = (FILES[0].parents[1] / "README.md").read_text("utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert named == {path.stem for path in FILES}


@every_file
def test_a_file_has_a_title_and_says_what_it_scans(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    header = lines[: next(at for at, line in enumerate(lines) if not line.startswith("--"))]
    assert re.fullmatch(r"-- [A-Z].{10,105}", header[0])
    assert header[1] == "--"
    assert all(re.match(r"-- (Product|Scans|Note): \S", line) for line in header[2:])
    assert any(line.startswith("-- Scans:") for line in header)
    assert max(map(len, lines)) <= 110
    assert re.fullmatch(r"[a-z_]+", path.stem)
    assert ";" not in "".join(line for line in lines if not line.startswith("--"))


@every_file
def test_a_header_names_the_columns_of_metadata_that_may_not_be_there(path: Path) -> None:
    # Those that a table of metadata has only if some loaded file has them.
    text = path.read_text("utf-8")
    named = {each.name for each in parse(text).find_all(exp.Column) if each.table == "m"}
    optional = named - {key[0] for key in METADATA_KEYS}
    notes = "\n".join(line for line in text.splitlines() if line.startswith("-- Note:"))
    told = notes[notes.find("fails") :] if "fails" in notes else ""
    assert {each for each in METADATA_COLUMNS if each in told} == optional
    assert ("packages 55 and 58" in notes) == ("in_upgrade_name" in optional)


@every_query
def test_a_query_is_one_select_of_athena(path: Path) -> None:
    assert isinstance(parse(path.read_text("utf-8")), exp.Select)


@every_view
def test_a_view_is_created_under_the_name_of_its_file(path: Path) -> None:
    statement = parse(path.read_text("utf-8"))
    assert isinstance(statement, exp.Create)
    assert (statement.kind, statement.args["replace"]) == ("VIEW", True)
    assert statement.this.name == path.stem
    body = path.read_text("utf-8")
    assert f"\nCREATE OR REPLACE VIEW {path.stem} AS\n" in body
    assert "-- choose" not in body


@every_query
def test_every_mark_is_one_that_can_be_chosen_and_literals_stand_once(path: Path) -> None:
    text = path.read_text("utf-8")
    found = Counter({name: len(pattern.findall(text)) for name, pattern in CHOICES.items()})
    assert set(found.values()) <= {0, 1}
    assert text.count("-- choose") == found.total()
    reads_partitions = bool(
        {table.name for table in parse(text).find_all(exp.Table)} & {"hourly", "columns"}
    )
    assert all(found[name] == reads_partitions for name in ("release", "state", "upgrade"))


def test_choosing_replaces_the_literals_and_nothing_else() -> None:
    text = read("county_hourly")
    chosen = choose(
        text, release="2025_comstock_amy2018_release_3", state="AK", upgrade=12, county="G0200130"
    )

    changed = [
        line
        for line, before in zip(chosen.splitlines(), text.splitlines(), strict=True)
        if line != before
    ]
    assert changed == [
        "WHERE h.release = '2025_comstock_amy2018_release_3' -- choose release",
        "  AND h.state = 'AK' -- choose state",
        "  AND h.upgrade = 12 -- choose upgrade",
        "  AND w.geography = 'G0200130' -- choose county",
    ]


@every_file
def test_every_table_is_pruned_by_release_state_and_upgrade(path: Path) -> None:
    assert find_unpruned(parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("damage", "unpruned"),
    [
        (("    AND w.upgrade = h.upgrade\n", ""), ["building_weights.upgrade"]),
        (
            ("    AND h.state = 'CO' -- choose state\n", ""),
            ["building_weights.state", "hourly.state"],
        ),
        (("w.release = h.release", "w.release <> h.release"), ["building_weights.release"]),
    ],
)
def test_a_scan_that_is_not_pruned_is_found(damage: tuple[str, str], unpruned: list[str]) -> None:
    text = read("average_day")
    assert damage[0] in text
    assert sorted(find_unpruned(parse(text.replace(*damage)))) == unpruned


def _releases(path: Path) -> Iterable[ReleaseFolder]:
    """The registered releases that a file is for."""
    product = re.search(r"^-- Product: (comstock|resstock)$", path.read_text("utf-8"), re.MULTILINE)
    for folder, release in load_releases().items():
        if product and not folder.name.startswith(product[1]):
            continue
        if path.stem.endswith("_resstock") and folder.release.startswith(HOMES_2021):
            continue
        if release.has_series:
            yield folder


def _schema(folder: ReleaseFolder) -> dict[str, object]:
    """Table → column → type, as far as the release is concerned; no column's type matters here."""
    measures = [
        describe_column(column.name).name
        for column in resolve_family(folder).columns
        if column.end_use
    ]
    keys = ["release", "state", "upgrade", "bldg_id", "hour_start"]
    weights, columns = building_weights_definition(), columns_definition()
    names: Mapping[str, Iterable[str]] = {
        "hourly": [*keys, *measures],
        "metadata": [*(key[0] for key in METADATA_KEYS), *METADATA_COLUMNS],
        "building_weights": [each.name for each in weights.schema.fields],
        "columns": [each.name for each in columns.schema.fields],
        "runs": [each.name for each in runs_definition().schema.fields],
        "discrepancies": [each.name for each in discrepancies_definition().schema.fields],
    }
    return {table: dict.fromkeys(columns, "double") for table, columns in names.items()}


@every_file
def test_every_column_exists_in_every_release_that_the_file_is_for(path: Path) -> None:
    folders = list(_releases(path))
    assert len(folders) > 5
    # Releases of one family have the same columns.
    for folder in {resolve_family(each).name: each for each in folders}.values():
        statement = parse(path.read_text("utf-8"))
        body = statement.expression if isinstance(statement, exp.Create) else statement
        qualify(body, schema=_schema(folder), dialect="athena", quote_identifiers=False)


def test_a_column_that_a_release_lacks_is_found() -> None:
    folder = ReleaseFolder("2021", "resstock_amy2018_release_1")
    with pytest.raises(OptimizeError, match="cooling_fans_pumps"):
        qualify(
            parse(read("load_by_type_and_end_use_resstock")),
            schema=_schema(folder),
            dialect="athena",
            quote_identifiers=False,
        )


@pytest.fixture(scope="module")
def real_sizes(
    real_lake: Path, tmp_path_factory: pytest.TempPathFactory, spark: Future[SparkSession]
) -> dict[str, dict[str, float]]:
    """Product → column → kB of a real building of `hourly` as the job writes it, compressed."""
    out = tmp_path_factory.mktemp("real_sizes")
    jobs = {
        "ComStock": ("2024", "comstock_amy2018_release_1", "GA", "19"),
        "ResStock": ("2022", "resstock_amy2018_release_1", "AL", "0"),
    }
    sizes = {}
    for product, (year, name, state, upgrades) in jobs.items():
        job = {"release_year": year, "release_name": name, "state": state, "upgrades": upgrades}
        config = RunConfig.model_validate(
            {
                "src_bucket": str(real_lake),
                "output_dir": str(out / product),
                "job_specific": [job],
                "settings": {"log_dir": str(out / "logs")},
            }
        )
        pipeline.run(config, spark)
        (file,) = (out / product).glob("warehouse/*/hourly/data/**/*.parquet")
        sizes[product] = _column_sizes(file)
    return sizes


def _column_sizes(file: Path) -> dict[str, float]:
    metadata = pq.ParquetFile(file).metadata
    buildings = metadata.num_rows / 8760
    sizes: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(at)
            sizes[chunk.path_in_schema] += chunk.total_compressed_size
    return {name: size / buildings / 1000 for name, size in sizes.items()}


@pytest.mark.real_lake
@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_size_that_a_header_tells_is_that_of_the_real_buildings(
    path: Path, real_sizes: dict[str, dict[str, float]]
) -> None:
    text = path.read_text("utf-8")
    measures = {
        column.name
        for column in parse(text).find_all(exp.Column)
        if column.name.startswith("out_") and column.table in {"h", "b"}
    }
    (line,) = [line for line in text.splitlines() if "kB a building" in line]
    told = {
        product: int(size)
        for size, product in re.findall(r"(\d+)(?: kB [a-z ]+)? in (\w+Stock)", line)
    }
    assert told
    assert re.search(rf"-- Scans: {len(measures)} measures?:", line)
    for product, size in told.items():
        assert sum(real_sizes[product][name] for name in measures) == pytest.approx(size, rel=0.02)


def test_what_reads_hours_tells_its_size() -> None:
    reading = {
        path.stem
        for path in FILES
        if any(
            table.name == "hourly" for table in parse(path.read_text("utf-8")).find_all(exp.Table)
        )
    }
    assert reading == {path.stem for path in MEASURED}
