"""The body of a metadata task, without Spark: pieces, portions, columns that come late."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from oedi_spark import pipeline
from oedi_spark.config import RunConfig
from oedi_spark.contracts import StagedFile, Transition
from oedi_spark.contracts_metadata import MetadataBatch, MetadataResult
from oedi_spark.lake.catalog import field_ids
from oedi_spark.lake.claim import claim_lake
from oedi_spark.lake.files import open_uri
from oedi_spark.lake.landing import show_file
from oedi_spark.plan import build_metadata_batches
from oedi_spark.sample.lake import SampleRequest, write_sample_lake
from oedi_spark.source.layout import ReleaseFolder
from oedi_spark.survey import source_location
from oedi_spark.transform.metadata import MetadataRows
from oedi_spark.transform.metadata_batch import MetadataSettings, run_metadata_batch
from oedi_spark.transform.weights import sum_weights
from tests.conftest import MakeConfig

MANY = ReleaseFolder("2025", "comstock_amy2018_release_3")
BY_COUNTY = {
    "release_year": MANY.year,
    "release_name": MANY.name,
    "state": "CO",
    "upgrades": "0",
    "relative_metadata_prefix_type": "2",
    "counties": ["*"],
}
Prepared = tuple[RunConfig, MetadataBatch, MetadataSettings]


@pytest.fixture
def prepared(tmp_path: Path, make_config: MakeConfig) -> Prepared:
    """One state's county files of five buildings, and tables to stage them for."""
    write_sample_lake(tmp_path / "lake", SampleRequest((MANY,), buildings=5))
    config = make_config(tmp_path / "lake", BY_COUNTY)
    found = pipeline.plan(config)
    place = pipeline.catalog_location(config)
    with claim_lake(place, "run-0", [], [], found.metadata.columns()) as lake:
        assert lake.metadata is not None
        assert lake.weights is not None
        (batch,) = build_metadata_batches(found)
        settings = MetadataSettings(
            location=source_location(config),
            landing_root_uri=pipeline.output_uri(config),
            waiting_uri=f"{pipeline.output_uri(config)}/waiting",
            metadata_uri=lake.metadata.location(),
            weights_uri=lake.weights.location(),
            metadata_field_ids=field_ids(lake.metadata),
            weight_field_ids=field_ids(lake.weights),
            run_id="run-0",
        )
    return config, batch, settings


def _rows(files: tuple[StagedFile, ...]) -> pa.Table:
    tables = []
    for file in files:
        filesystem, path = open_uri(file.path)
        tables.append(pq.read_table(path, filesystem=filesystem, partitioning=None))
    return pa.concat_tables(tables, promote_options="default")


def _weight(result: MetadataResult) -> float:
    weight: float = pc.sum(_rows(result.parts[0].metadata)["weight"]).as_py()
    return weight


def test_rows_are_staged_piece_by_piece_and_none_is_lost(prepared: Prepared) -> None:
    _, batch, settings = prepared
    assert len(batch.listing.files) > 2

    whole = run_metadata_batch(batch, settings)
    pieces = run_metadata_batch(batch, replace(settings, stage_bytes=1))

    (part,), (cut,) = whole.parts, pieces.parts
    assert (len(part.metadata), len(cut.metadata)) == (1, len(batch.listing.files))
    assert sum(file.row_count for file in cut.metadata) == part.metadata[0].row_count
    by = [("county_gisjoin", "ascending"), ("bldg_id", "ascending"), ("weight", "ascending")]
    assert _rows(cut.metadata).sort_by(by).equals(_rows(part.metadata).sort_by(by))
    assert part.weights is not None
    assert cut.weights is not None
    assert _rows((cut.weights,)).equals(_rows((part.weights,)))


def test_every_file_lands_and_is_told_with_its_md5(prepared: Prepared) -> None:
    config, batch, settings = prepared

    result = run_metadata_batch(batch, settings)

    bypassed = Transition.LISTED | Transition.FETCHED | Transition.TRANSFORMED
    assert [each.transitions for each in result.outcomes] == [bypassed] * len(batch.listing.files)
    for file, landed in zip(batch.listing.files, result.landed, strict=True):
        source = (Path(config.src_root) / file.key).read_bytes()
        waiting = Path((landed.waiting_uri or "").removeprefix("file://"))
        place = Path(landed.uri.removeprefix("file://"))
        assert waiting.read_bytes() == source
        assert landed.md5 == hashlib.md5(source).hexdigest()
        assert not place.exists()
        assert show_file(landed).waiting_uri is None
        assert place.read_bytes() == source
        assert not waiting.exists()


def test_a_column_without_a_field_id_comes_back_late_and_nothing_is_staged(
    prepared: Prepared,
) -> None:
    _, batch, settings = prepared
    ids = settings.metadata_field_ids
    fewer = {name: at for name, at in ids.items() if name != "in_vintage"}

    result = run_metadata_batch(batch, replace(settings, metadata_field_ids=fewer))

    assert {column.name for column in result.late} == {"in_vintage"}
    assert result.parts == ()
    assert len(result.landed) == len(batch.listing.files)


def test_a_series_that_would_meet_another_weight_comes_back_as_a_fan_out(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that stand twice: as if `sum_weights` had failed to sum."""
    _, batch, settings = prepared

    def doubled(
        rows: Sequence[MetadataRows], *, is_whole_state: bool
    ) -> tuple[pa.Table, tuple[str, ...]]:
        weights, notes = sum_weights(rows, is_whole_state=is_whole_state)
        return pa.concat_tables([weights, weights]), notes

    monkeypatch.setattr("oedi_spark.transform.metadata_batch.sum_weights", doubled)

    result = run_metadata_batch(batch, settings)

    assert result.parts == ()
    assert result.fan_out is not None
    assert result.fan_out.what.startswith(f"release={MANY.release}/state=CO/upgrade=0: weights by")
    assert result.fan_out.weight[1] == pytest.approx(2 * result.fan_out.weight[0])


def test_a_series_that_would_lose_weight_in_the_join_comes_back_as_a_fan_out(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of which one building's county is gone, and nobody counted them before."""
    _, batch, settings = prepared

    def shortened(
        rows: Sequence[MetadataRows], *, is_whole_state: bool
    ) -> tuple[pa.Table, tuple[str, ...]]:
        weights, notes = sum_weights(rows, is_whole_state=is_whole_state)
        return weights.slice(1), notes

    body = "oedi_spark.transform.metadata_batch"
    monkeypatch.setattr(f"{body}.sum_weights", shortened)
    monkeypatch.setattr(f"{body}.require_weight_kept", lambda *_, **__: None)

    result = run_metadata_batch(batch, settings)

    assert result.parts == ()
    assert result.fan_out is not None
    assert "series to weights by county" in result.fan_out.what
    assert result.fan_out.rows[1] == result.fan_out.rows[0] - 1


def test_county_weights_sum_to_what_the_rows_say(prepared: Prepared) -> None:
    _, batch, settings = prepared

    result = run_metadata_batch(batch, settings)

    assert result.parts[0].weights is not None
    weights = _rows((result.parts[0].weights,))
    for kind in ("state", "county"):
        of_kind = weights.filter(pc.equal(weights["geography_kind"], kind))
        assert pc.sum(of_kind["weight"]).as_py() == pytest.approx(_weight(result), rel=1e-12)


def test_digest_of_published_results_says_what_could_be_read_of_them(prepared: Prepared) -> None:
    """The same for the same files; another when one of them could not be read just then."""
    config, batch, settings = prepared
    first, again = (run_metadata_batch(batch, settings).parts[0] for _ in range(2))
    path = Path(config.src_root) / batch.listing.files[0].key
    path.write_bytes(b"PAR1 for a moment")

    (less,) = run_metadata_batch(batch, settings).parts

    assert first.published_digest is not None
    assert first.published_digest == again.published_digest
    assert less.published_digest not in (None, first.published_digest)
