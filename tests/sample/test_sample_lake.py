"""A sample lake as a whole: the same every time, adding up, and believable."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.errors import ConfigError
from oedi_spark.sample.lake import (
    BASE_PARTITION,
    DATA_PARTITION,
    DEFAULT_RELEASES,
    SampleRequest,
    write_sample_lake,
)
from oedi_spark.source.layout import ReleaseFolder

COMSTOCK, RESSTOCK = DEFAULT_RELEASES
KWH = ".energy_consumption"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    write_sample_lake(root, SampleRequest(upgrades=(0, 5), buildings=4))
    return root


def files(root: Path, folder: ReleaseFolder, *, upgrade: int = 0, state: str = "CO") -> list[Path]:
    release = root / BASE_PARTITION / folder.year / folder.name / DATA_PARTITION
    return sorted((release / f"upgrade={upgrade}" / f"state={state}").iterdir())


def all_bytes(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read(path: Path) -> pa.Table:
    """Read one file alone: `read_table` would add columns from the folders' names."""
    return pq.ParquetFile(path).read()


def values(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    series: npt.NDArray[np.float64] = table[name].to_numpy()
    return series


def test_write_sample_lake_puts_files_at_the_keys_of_the_bucket(tmp_path: Path) -> None:
    report = write_sample_lake(tmp_path, SampleRequest(buildings=1))

    base = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
    series = "timeseries_individual_buildings/by_state/upgrade=0/state=CO"
    metadata = "metadata_and_annual_results/by_state/state=CO/parquet"
    written = all_bytes(tmp_path)
    names = {key.rsplit("/", 1)[0] for key in written}
    assert names == {
        f"{base}/2024/comstock_amy2018_release_1/{series}",
        f"{base}/2024/comstock_amy2018_release_1/{metadata}",
        f"{base}/2022/resstock_amy2018_release_1/{series}",
        f"{base}/2022/resstock_amy2018_release_1/{metadata}",
    }
    assert report.root == tmp_path
    assert (report.data_files, report.metadata_files) == (2, 2)
    assert report.size_bytes == sum(len(content) for content in written.values())
    assert dict(report.trapped) == {}


def test_write_sample_lake_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    request = SampleRequest(states=("HI",), upgrades=(0, 2), buildings=2)

    write_sample_lake(tmp_path / "one", request)
    write_sample_lake(tmp_path / "two", request)
    write_sample_lake(tmp_path / "two", request)

    one, two = all_bytes(tmp_path / "one"), all_bytes(tmp_path / "two")
    assert list(one) == list(two)
    assert one == two


def test_write_sample_lake_with_another_seed_gives_other_buildings(tmp_path: Path) -> None:
    write_sample_lake(tmp_path / "one", SampleRequest(releases=(COMSTOCK,), buildings=1))
    write_sample_lake(tmp_path / "two", SampleRequest(releases=(COMSTOCK,), buildings=1, seed=1))

    (one,), (two,) = files(tmp_path / "one", COMSTOCK), files(tmp_path / "two", COMSTOCK)
    assert one.read_bytes() != two.read_bytes()


def test_write_sample_lake_with_more_buildings_keeps_the_first_ones(
    lake: Path, tmp_path: Path
) -> None:
    write_sample_lake(tmp_path, SampleRequest(buildings=2))

    for folder in DEFAULT_RELEASES:
        larger = {path.name: path.read_bytes() for path in files(lake, folder)}
        smaller = {path.name: path.read_bytes() for path in files(tmp_path, folder)}
        assert len(smaller) == 2
        assert smaller.items() < larger.items()


def test_write_sample_lake_gives_no_id_to_two_states(tmp_path: Path) -> None:
    states = ("CA", "CO", "CT")
    write_sample_lake(tmp_path, SampleRequest(releases=(COMSTOCK,), states=states, buildings=2))

    names = [path.name for state in states for path in files(tmp_path, COMSTOCK, state=state)]
    assert len(set(names)) == len(names) == 6


@pytest.mark.parametrize(("folder", "kind"), [(COMSTOCK, "ns"), (RESSTOCK, "us")])
def test_write_sample_lake_types_columns_as_the_release_does(
    lake: Path, folder: ReleaseFolder, kind: str
) -> None:
    path = files(lake, folder)[0]
    file = pq.ParquetFile(path)
    table = file.read()

    assert table.schema.field("timestamp").type == pa.timestamp(kind)
    assert table.schema.field("bldg_id").type == pa.int64()
    measures = set(table.column_names) - {"timestamp", "bldg_id"}
    assert {table.schema.field(name).type for name in measures} == {pa.float64()}
    assert table["bldg_id"].unique().to_pylist() == [int(path.name.split("-")[0])]
    assert table.num_rows == 35_040
    assert table["timestamp"].cast(pa.timestamp("us"))[0].as_py() == datetime(2018, 1, 1, 0, 15)
    assert file.metadata.num_row_groups == 1
    assert file.metadata.row_group(0).column(1).compression == "SNAPPY"
    assert all(column.null_count == 0 for column in table.columns)


@pytest.mark.parametrize("folder", DEFAULT_RELEASES)
def test_write_sample_lake_leaves_more_than_half_of_the_columns_zero(
    lake: Path, folder: ReleaseFolder
) -> None:
    for path in files(lake, folder):
        table = read(path)
        measures = [name for name in table.column_names if name.startswith("out.")]
        zero = [name for name in measures if not values(table, name).any()]
        assert len(zero) > table.num_columns / 2, path.name


@pytest.mark.parametrize("upgrade", [0, 5])
@pytest.mark.parametrize("folder", DEFAULT_RELEASES)
def test_write_sample_lake_totals_are_the_sums_of_their_end_uses(
    lake: Path, folder: ReleaseFolder, upgrade: int
) -> None:
    for path in files(lake, folder, upgrade=upgrade):
        table = read(path)
        energies = [name for name in table.column_names if name.endswith(KWH)]
        fuels = {name.split(".")[1] for name in energies} - {"site_energy"}
        site = np.zeros(table.num_rows)
        for fuel in fuels:
            parts = [
                values(table, name)
                for name in energies
                if name.split(".")[1] == fuel and name.split(".")[2] not in {"total", "net", "pv"}
            ]
            total = values(table, f"out.{fuel}.total{KWH}")
            np.testing.assert_allclose(total, np.sum(parts, axis=0), atol=1e-9)
            site += total
        np.testing.assert_allclose(values(table, f"out.site_energy.total{KWH}"), site, atol=1e-9)


@pytest.mark.parametrize("folder", DEFAULT_RELEASES)
def test_write_sample_lake_intensities_are_energies_over_one_floor_area(
    lake: Path, folder: ReleaseFolder
) -> None:
    table = read(files(lake, folder)[0])

    energies = [name for name in table.column_names if name.endswith(KWH)]
    used = [name for name in energies if values(table, name).any()]
    areas = [values(table, name).sum() / values(table, f"{name}_intensity").sum() for name in used]
    assert len(areas) > 5
    assert areas == pytest.approx([areas[0]] * len(areas))
    assert 500 < areas[0] < 600_000


def test_write_sample_lake_home_with_panels_has_negative_pv_and_net_below_total(lake: Path) -> None:
    with_panels = 0
    for path in files(lake, RESSTOCK):
        table = read(path)
        panels = values(table, f"out.electricity.pv{KWH}")
        for fuel in ("electricity", "site_energy"):
            total, net = (values(table, f"out.{fuel}.{one}{KWH}") for one in ("total", "net"))
            np.testing.assert_allclose(net, total + panels, atol=1e-9)
        assert panels.max() == 0
        with_panels += int(panels.min() < 0)
    assert with_panels == 1


def test_write_sample_lake_shows_the_seam_of_the_shift_to_eastern_time(tmp_path: Path) -> None:
    folder = ReleaseFolder("2024", "resstock_amy2018_release_2")
    write_sample_lake(tmp_path, SampleRequest(releases=(folder,), buildings=1))

    outside = values(read(files(tmp_path, folder)[0]), "out.outdoor_air_dryblub_temp.c")
    steps = np.abs(np.diff(outside))
    assert steps.argmax() == 7  # from the eighth row, 02:00 EST, to the first of the local year
    assert steps[7] > 3
    assert abs(outside[0] - outside[-1]) < 1  # the first row goes on where the last one stopped


def test_write_sample_lake_has_no_seam_in_eastern_states(tmp_path: Path) -> None:
    folder = ReleaseFolder("2024", "resstock_amy2018_release_2")
    write_sample_lake(tmp_path, SampleRequest(releases=(folder,), states=("NY",), buildings=1))

    outside = values(read(files(tmp_path, folder, state="NY")[0]), "out.outdoor_air_dryblub_temp.c")
    assert np.abs(np.diff(outside)).max() < 2
    assert abs(outside[0] - outside[-1]) > 3


def test_write_sample_lake_copies_the_baseline_where_the_upgrade_does_not_apply(
    lake: Path,
) -> None:
    for folder in DEFAULT_RELEASES:
        copies, savings = [], []
        for path in files(lake, folder):
            other = files(lake, folder, upgrade=5)[0].parent / path.name.replace("-0.", "-5.")
            baseline, upgraded = read(path), read(other)
            copies.append(baseline.equals(upgraded))
            sums = [
                values(one, f"out.site_energy.total{KWH}").sum() for one in (baseline, upgraded)
            ]
            savings.append(1 - sums[1] / sums[0])
        assert copies.count(True) == 1  # the first of each five
        assert sorted(savings)[1] > 0.01
        assert max(savings) < 0.35


def test_write_sample_lake_offices_work_on_weekdays_by_local_time(lake: Path) -> None:
    metadata = read(next(lake.rglob("2024/**/CO_baseline_meta*.parquet"))).to_pylist()
    office = next(row for row in metadata if row["in.comstock_building_type"] == "SmallOffice")
    path = files(lake, COMSTOCK)[0].with_name(f"{office['bldg_id']}-0.parquet")

    lighting = values(read(path), f"out.electricity.interior_lighting{KWH}")

    def at(day: int, eastern_hour: int) -> float:
        return float(lighting[day * 96 + eastern_hour * 4])

    night, noon = at(2, 5), at(2, 14)  # 3 January, a Wednesday, 3:00 and 12:00 in Colorado
    assert 0.2 < night / noon < 0.4
    assert at(5, 14) < 0.5 * noon  # Saturday
    assert at(2, 9) < 0.5 * noon  # 7:00 in winter is before opening
    assert at(185, 9) > 0.6 * noon  # 8:00 by the wall clock in July


def test_write_sample_lake_homes_use_about_as_much_as_real_ones(tmp_path: Path) -> None:
    write_sample_lake(tmp_path, SampleRequest(releases=(RESSTOCK,), buildings=10))

    rows = read(next(tmp_path.rglob("CO_baseline_meta*.parquet"))).to_pylist()
    detached = [
        row[f"out.electricity.total{KWH}"]
        for row in rows
        if row["in.geometry_building_type_recs"] == "Single-Family Detached"
    ]
    assert len(detached) >= 4
    assert 0.7 * 13_622 < np.mean(detached) < 1.3 * 13_622


def test_write_sample_lake_with_faults_names_them_all(tmp_path: Path) -> None:
    request = SampleRequest(
        releases=(ReleaseFolder("2021", "comstock_tmy3_release_1"), ReleaseFolder("..", "x")),
        states=("XX",),
        upgrades=(0, 1, -1),
        buildings=0,
    )

    with pytest.raises(ConfigError) as caught:
        write_sample_lake(tmp_path, request)

    assert len(caught.value.faults) == 5
    for fault in ("baseline only", "no name of a folder", "state XX", "upgrade -1", "buildings 0"):
        assert fault in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_write_sample_lake_without_states_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="state: none given"):
        write_sample_lake(tmp_path, SampleRequest(states=()))
