"""Published annual results by building: units, weights, rounding, and the file they wait in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oedi_spark.contracts import Batch, Partition, ReleaseFacts, SourceFile
from oedi_spark.contracts_metadata import Grain, MetadataFile, MetadataPattern, WeightModel
from oedi_spark.transform.metadata import MetadataRows, read_metadata
from oedi_spark.transform.metadata_columns import SOURCE_KEYS, describe_metadata_column
from oedi_spark.transform.published import (
    ROUNDING,
    PublishedCollector,
    find_measures,
    find_rounding,
    published_uri,
    write_published,
)
from oedi_spark.transform.published_results import open_published, read_published

PARTITION = Partition("2024_comstock_amy2018_release_1", "GA", 0)
ELECTRICITY = "out_electricity_total_energy_consumption_kwh"
GAS = "out_natural_gas_total_energy_consumption_kwh"
PLAIN = "out.electricity.total.energy_consumption"
WEIGHTED = "calc.weighted.electricity.total.energy_consumption..tbtu"

OFFICE_TBTU, OFFICE_WEIGHT = 0.001727833, 8.72605822
"""Real: electricity and weight of building 98542, ComStock 2024 R1."""


def rows_of(**source: Sequence[object]) -> MetadataRows:
    """Metadata rows as `read_metadata` would give them; a dot in a name is written `_DOT_`."""
    columns, arrays = [], {}
    for written, values in source.items():
        name = written.replace("_DOT_", ".")
        column = describe_metadata_column(name)
        arrays[column.name] = pa.array(values)
        if name not in SOURCE_KEYS:
            columns.append(column)
    return MetadataRows(PARTITION, Grain.BUILDING, pa.table(arrays), tuple(columns), ())


def tracts_of(**source: Sequence[object]) -> MetadataRows:
    return replace(rows_of(**source), grain=Grain.TRACT)


def row_by_building(*rows: MetadataRows) -> dict[int, dict[str, Any]]:
    collector = PublishedCollector(PARTITION)
    for each in rows:
        collector.add(each)
    table, notes = collector.finish()
    assert table is not None
    assert notes == ()
    assert table["bldg_id"].to_pylist() == sorted(table["bldg_id"].to_pylist())
    return {row["bldg_id"]: row for row in table.to_pylist()}


def is_nothing(value: float | None) -> bool:
    return value is not None and np.isnan(value)


def dotted(name: str) -> str:
    return name.replace(".", "_DOT_")


@pytest.mark.parametrize(
    ("source", "value", "kwh"),
    [
        ("out.electricity.total.energy_consumption", 58029.24, 58029.24),
        ("out.electricity.total.energy_consumption.kwh", 58029.24, 58029.24),
        ("out.electricity.total.energy_consumption..kwh", 58029.24, 58029.24),
        ("out.electricity.total.energy_consumption..kbtu", 1000.0, 293.0710701722),
        ("out.electricity.total.energy_consumption..mbtu", 10.0, 2930.710701722),
        ("out.electricity.total.energy_consumption..therm", 10.0, 293.0710701722),
        ("out.electricity.total.energy_consumption..gj", 0.36, 100.0),
    ],
)
def test_a_result_per_building_is_published_in_kwh_whatever_its_unit(
    source: str, value: float, kwh: float
) -> None:
    found = row_by_building(rows_of(bldg_id=[7], weight=[2.0], **{dotted(source): [value]}))

    assert found[7][ELECTRICITY] == pytest.approx(kwh, rel=1e-12)


def test_a_weighted_result_is_divided_by_the_weight_and_keeps_what_was_rounded() -> None:
    found = row_by_building(
        rows_of(bldg_id=[98542], weight=[OFFICE_WEIGHT], **{dotted(WEIGHTED): [OFFICE_TBTU]})
    )

    # 208.91 GJ, as EnergyPlus reports it. Half of 1e-9 TBtu is 0.1465 kWh, of 8.7 buildings.
    assert found[98542][ELECTRICITY] == pytest.approx(208.91 / 0.0036, abs=0.02)
    assert found[98542][ELECTRICITY + ROUNDING] == pytest.approx(0.016793, abs=1e-6)
    assert found[98542]["weight"] == OFFICE_WEIGHT


def test_a_result_per_building_goes_before_a_weighted_one() -> None:
    found = row_by_building(
        rows_of(
            bldg_id=[7],
            weight=[2.0],
            **{dotted(WEIGHTED): [0.5], dotted(PLAIN): [100.25]},
        )
    )

    assert found[7][ELECTRICITY] == 100.25


@pytest.mark.parametrize(
    ("values", "halves"),
    [
        ([0.001727833, 0.000590611], [5e-10, 5e-10]),
        ([6.49e-05, 0.001727833], [5e-8, 5e-10]),
        ([208.91, 12.5, 7.0], [0.005, 0.05, 0.035]),  # 7 may be 7.00: half of its third digit
        ([0.0, 0.125], [0.0005, 0.0005]),
        ([58029.24046715645, 1 / 3], [5e-12, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([float("nan"), 1.25], [0.0, 0.005]),
    ],
)
def test_find_rounding_sees_the_last_decimal_of_each_value(
    values: list[float], halves: list[float]
) -> None:
    found = find_rounding(np.array(values))

    assert found.tolist() == pytest.approx(halves, rel=1e-9)


def test_tract_rows_that_repeat_a_building_are_one_row_of_it() -> None:
    found = row_by_building(
        tracts_of(
            bldg_id=[9, 7, 7],
            weight=[1.0, 0.25, 0.5],
            in_DOT_sqft_DOT__DOT_ft2=[500.0, 7500.0, 7500.0],
            in_DOT_comstock_building_type=["Hospital", "SmallOffice", "SmallOffice"],
            **{dotted(PLAIN): [1.5, 58029.24, 58029.24]},
        )
    )

    assert {key: value for key, value in found[7].items() if key != ELECTRICITY + ROUNDING} == {
        "bldg_id": 7,
        "building_type": "SmallOffice",
        "floor_area_ft2": 7500.0,
        "weight": 0.75,
        ELECTRICITY: 58029.24,
    }
    assert found[9]["building_type"] == "Hospital"


def test_weighted_tract_rows_of_two_files_agree_within_their_rounding() -> None:
    """1,000 kWh in tracts of weight 0.5 and 0.125: 1.706e-6 and 0.427e-6 TBtu, nine decimals."""
    first = tracts_of(bldg_id=[7], weight=[0.5], **{dotted(WEIGHTED): [0.000001706]})
    second = tracts_of(bldg_id=[7], weight=[0.125], **{dotted(WEIGHTED): [0.000000427]})

    found = row_by_building(first, second)

    # Half of 1e-9 TBtu is 0.29 kWh of the first and 1.17 kWh of the second: 999.7 to 1000.2.
    value, rounding = found[7][ELECTRICITY], found[7][ELECTRICITY + ROUNDING]
    assert value is not None
    assert rounding is not None
    assert abs(value - 1000.0) <= rounding + 0.01
    assert 0 < rounding < 0.3
    assert found[7]["weight"] == 0.625


def test_rows_of_one_building_that_disagree_publish_nothing_and_are_told() -> None:
    collector = PublishedCollector(PARTITION)
    for value in (100.5, 101.5):
        collector.add(
            tracts_of(
                bldg_id=[7, 8],
                weight=[0.5, 1.0],
                **{dotted(PLAIN): [value, 100.5]},
            )
        )

    table, notes = collector.finish()

    assert table is not None
    assert table[ELECTRICITY].to_numpy().tolist() == pytest.approx([np.nan, 100.5], nan_ok=True)
    (note,) = notes
    assert note.startswith(f"1 buildings have rows that disagree on {ELECTRICITY}, such as 7; ")


def test_a_file_that_lacks_a_column_leaves_its_buildings_without_that_result() -> None:
    gas = "out.natural_gas.total.energy_consumption"
    found = row_by_building(
        rows_of(bldg_id=[7], weight=[1.0], **{dotted(PLAIN): [1.5]}),
        rows_of(bldg_id=[8], weight=[1.0], **{dotted(PLAIN): [2.5], dotted(gas): [3.5]}),
    )

    assert is_nothing(found[7][GAS])
    assert (found[8][ELECTRICITY], found[8][GAS]) == (2.5, 3.5)


def test_an_inapplicable_upgrade_without_results_publishes_none_and_a_zero_stays_zero() -> None:
    found = row_by_building(
        rows_of(
            bldg_id=[6, 7, 8],
            weight=[1.0, 1.0, 1.0],
            applicability=[False, True, False],
            **{dotted(PLAIN): [0.0, 0.0, 9.25]},
        )
    )

    assert is_nothing(found[6][ELECTRICITY])
    assert (found[7][ELECTRICITY], found[8][ELECTRICITY]) == (0.0, 9.25)


def test_a_null_and_a_row_without_weight_publish_nothing() -> None:
    found = row_by_building(
        rows_of(bldg_id=[6, 7], weight=[2.0, 0.0], **{dotted(WEIGHTED): [None, 0.001]})
    )

    assert is_nothing(found[6][ELECTRICITY])
    assert is_nothing(found[7][ELECTRICITY])


def test_metadata_without_results_has_nothing_to_wait_for() -> None:
    collector = PublishedCollector(PARTITION)
    collector.add(rows_of(bldg_id=[7], weight=[1.0], in_DOT_vintage=["1970s"]))

    assert collector.finish() == (None, ())


def test_find_measures_leaves_out_what_has_no_series_of_its_unit() -> None:
    names = [
        "out.electricity.total.energy_consumption_intensity..kwh_per_ft2",
        "out.electricity.total.energy_savings..kwh",
        "out.utility_bills.electricity_bill_mean..usd",
        "out.qoi.maximum_daily_peak_jan..kw",
        "calc.weighted.emissions.natural_gas..co2e_mmt",
        "calc.percent_savings.site_energy.total.energy_consumption..percent",
        "in.sqft..ft2",
        "out.load.heating.energy_delivered..kbtu",
        "out.emissions.natural_gas..co2e_kg",
        "calc.weighted.enduse_group.electricity.hvac.energy_consumption..tbtu",
    ]

    assert find_measures([describe_metadata_column(name) for name in names]) == (
        "out_load_heating_energy_delivered_kbtu",
        "out_emissions_natural_gas_co2e_kg",
        "enduse_group_electricity_hvac_energy_consumption_kwh",
    )


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """5,000 buildings, 10 to 50,000, with a year of their own id in kWh and of half that in gas."""
    ids = np.arange(10, 50_010, 10)
    collector = PublishedCollector(PARTITION)
    collector.add(
        rows_of(
            bldg_id=ids.tolist(),
            weight=[1.0] * len(ids),
            **{
                dotted(PLAIN): (ids * 1.0).tolist(),
                dotted("out.natural_gas.total.energy_consumption"): (ids * 0.5).tolist(),
            },
        )
    )
    table, _ = collector.finish()
    uri = published_uri((tmp_path / "_landing" / "run-1").as_uri(), PARTITION)
    write_published(table, uri)
    return uri


def test_read_published_gives_the_buildings_and_measures_asked_for(waiting: str) -> None:
    found = read_published(waiting, [50_000, 20, 21], [ELECTRICITY, "out_rhubarb_kwh"])

    assert found.measures == (ELECTRICITY,)
    first, last = found.of(20), found.of(50_000)
    assert first is not None
    assert last is not None
    assert (first.years.tolist(), last.years.tolist()) == ([20.0], [50_000.0])
    assert first.floor_area_ft2 is None
    assert found.of(21) is None
    assert found.of(30) is None


def test_read_published_reads_no_other_rows_than_the_groups_it_needs(waiting: str) -> None:
    path = Path(waiting.removeprefix("file://"))
    second = pq.read_metadata(path).row_group(1).column(0)
    end = second.dictionary_page_offset or second.data_page_offset
    data = bytearray(path.read_bytes())
    data[4:end] = bytes(end - 4)
    path.write_bytes(data)

    found = read_published(waiting, [50_000], [ELECTRICITY])

    last = found.of(50_000)
    assert last is not None
    assert last.years.tolist() == [50_000.0]
    with pytest.raises(OSError, match=r".+"):
        read_published(waiting, [10], [ELECTRICITY])


def test_open_published_is_of_the_batch_and_none_without_a_file(waiting: str) -> None:
    batch = Batch(
        number=0,
        partition=PARTITION,
        facts=ReleaseFacts(PARTITION.release, None, None),
        files=(SourceFile(0, "30-0.parquet", 30, 1, None, ""),),
        field_ids={GAS: 7},
        published_uri=waiting,
    )

    found = open_published(batch)

    assert found is not None
    assert found.measures == (GAS,)
    building = found.of(30)
    assert building is not None
    assert building.years.tolist() == [15.0]
    assert open_published(Batch(0, PARTITION, batch.facts, (), {})) is None


@pytest.mark.real_lake
def test_every_real_weighted_result_is_a_whole_hundredth_of_a_gj_within_its_rounding(
    real_lake: Path,
) -> None:
    """82 buildings of Georgia: what is published of electricity is EnergyPlus's figure again."""
    (path,) = real_lake.rglob("GA_baseline_metadata_and_annual_results.parquet")
    file = MetadataFile(0, str(path), MetadataPattern.STATE_FIRST, 0, "GA", None, 0, None, "")
    (rows,) = read_metadata(
        path.read_bytes(),
        file,
        release=PARTITION.release,
        weight_model=WeightModel.BUILDING,
        states=["GA"],
    )

    found = row_by_building(rows)

    assert len(found) == 82
    assert len(find_measures(rows.columns)) == 26
    off_gj = []
    for row in found.values():
        value, rounding = row[ELECTRICITY], row[ELECTRICITY + ROUNDING]
        assert value is not None
        assert rounding is not None
        gj = value * 0.0036
        off_gj.append(abs(gj - round(gj, 2)) - rounding * 0.0036)
    assert max(off_gj) <= 1e-6
    office = found[98542]
    assert office["building_type"] == "Office"
    assert office["floor_area_ft2"] == pytest.approx(7500.0, rel=1e-9)
    assert office[GAS] == pytest.approx(71.41 / 0.0036, abs=0.02)
