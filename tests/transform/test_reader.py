"""One building file: whose it is and when it was, or the one reason why it is not read."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from oedi_spark.contracts import IntervalStamp, Reason, ReleaseFacts, SourceFile
from oedi_spark.errors import FileFault
from oedi_spark.transform.reader import Profile, ProfileReader, read_columns
from oedi_spark.transform.stamps import prove_hours

ROWS = 35_040
TOTAL = "out.electricity.total.energy_consumption"
TOTAL_KWH = "out_electricity_total_energy_consumption_kwh"
END = ReleaseFacts("2024_comstock_amy2018_release_1", IntervalStamp.END, ROWS)
BEGINNING = ReleaseFacts("beginning", IntervalStamp.BEGINNING, ROWS)
UNREGISTERED = ReleaseFacts("2031_comstock_x", None, None)
FILE = SourceFile(3, "p/7-0.parquet", 7, 1, None, "")
HOURS_2018 = np.arange(
    np.datetime64("2018-01-01T00", "h"), np.datetime64("2019-01-01T00", "h")
).astype("datetime64[us]")
ENDING = "2018-01-01T00:15"


def _stamps(first: str = ENDING, *, rows: int = ROWS, unit: str = "us") -> pa.Array:
    """Regular quarter-hours."""
    start = np.datetime64(first, "m")
    stamps = start + np.arange(rows) * np.timedelta64(15, "m")
    return pa.array(stamps.astype(f"datetime64[{unit}]"), pa.timestamp(unit))


def _table(stamps: pa.Array | None = None, **columns: object) -> pa.Table:
    """A sound file of building 7 with one measure, or with these columns besides."""
    stamps = _stamps() if stamps is None else stamps
    rows = len(stamps)
    named: dict[str, object] = {"timestamp": stamps, TOTAL: pa.array(np.arange(rows) / 4)}
    named |= columns
    named.setdefault("bldg_id", pa.array(np.full(rows, 7)))
    return pa.table({name: values for name, values in named.items() if values is not None})


def _encode(table: pa.Table, **options: Any) -> bytes:  # noqa: ANN401 - pyarrow's own options
    sink = io.BytesIO()
    pq.write_table(table, sink, **({"compression": "snappy"} | options))
    return sink.getvalue()


def _read(data: bytes, facts: ReleaseFacts = END) -> Profile:
    return ProfileReader(facts).read_profile(data, FILE)


def _reason(data: bytes, facts: ReleaseFacts = END) -> Reason:
    with pytest.raises(FileFault) as caught:
        _read(data, facts)
    assert caught.value.detail
    return caught.value.reason


def _replaced(values: NDArray[Any], at: int, value: object) -> NDArray[Any]:
    changed = values.copy()
    changed[at] = value
    return changed


@pytest.mark.parametrize(
    ("first", "facts"),
    [
        ("2018-01-01T00:15", END),
        ("2018-01-01T00:15", UNREGISTERED),
        ("2018-01-01T00:00", BEGINNING),
        ("2018-01-01T00:00", UNREGISTERED),
    ],
)
def test_read_profile_puts_energy_from_seven_to_eight_into_hour_seven(
    first: str, facts: ReleaseFacts
) -> None:
    # 5 March, 07:00 to 08:00 EST: named 07:15 to 08:00 by the end, 07:00 to 07:45 by the
    # beginning. Either way these are intervals 28 to 31 of the day that is the 64th.
    stamps = _stamps(first)
    seven = np.datetime64("2018-03-05T07:00") + (np.datetime64(first) - np.datetime64("2018-01-01"))
    named = [str(seven + np.timedelta64(15 * at, "m")) for at in range(4)]
    texts = stamps.to_numpy().astype("datetime64[m]").astype(str)
    energy = np.zeros(ROWS)
    energy[np.isin(texts, named)] = [1.0, 2.0, 4.0, 8.0]

    profile = _read(_encode(_table(stamps, **{TOTAL: pa.array(energy)})), facts)

    (measure,) = profile.measures
    assert measure.intervals is not None
    hourly = measure.intervals.reshape(-1, 4).sum(axis=1)
    assert hourly[63 * 24 + 7] == 15.0
    assert hourly.sum() == 15.0
    hour = profile.hour_start_us[63 * 24 + 7].astype("datetime64[us]")
    assert str(hour) == "2018-03-05T07:00:00.000000"
    assert np.array_equal(profile.hour_start_us, HOURS_2018.astype(np.int64))


def test_read_profile_of_a_leap_year_has_8784_hours() -> None:
    facts = ReleaseFacts("2022_resstock_amy2012_release_1", IntervalStamp.END, 35_136)
    data = _encode(_table(_stamps("2012-01-01T00:15", rows=35_136)))

    for each in (facts, UNREGISTERED):
        hours = _read(data, each).hour_start_us.astype("datetime64[us]")
        assert len(hours) == 8_784
        assert str(hours[-1]) == "2012-12-31T23:00:00.000000"


DELTA = {"timestamp": "DELTA_BINARY_PACKED"}


def _as_int64(unit: str) -> pa.Array:
    return _stamps(unit=unit).cast(pa.int64())


@pytest.mark.parametrize(
    ("stamps", "options"),
    [
        (_stamps(unit="ns"), {"version": "2.6"}),
        (_stamps(unit="us"), {}),
        (_stamps(unit="ms"), {}),
        (_stamps(unit="s"), {}),
        (_as_int64("ns"), {}),
        (_as_int64("us").cast(pa.timestamp("us", tz="UTC")), {}),
        (_as_int64("ns").cast(pa.timestamp("ns", tz="UTC")), {"store_schema": False}),
        (_stamps(unit="ns"), {"use_deprecated_int96_timestamps": True}),
        (_stamps(unit="us"), {"use_dictionary": False}),
        (
            _stamps(unit="us"),
            {"use_dictionary": False, "column_encoding": DELTA},
        ),
        (_stamps(unit="us"), {"data_page_version": "2.0", "compression": "zstd"}),
        (_stamps(unit="us"), {"compression": "none"}),
        (_stamps(unit="us"), {"row_group_size": 7_001}),
        (_stamps(unit="us"), {"write_statistics": False}),
    ],
)
def test_read_profile_reads_the_same_hours_from_every_kind_of_stamp(
    stamps: pa.Array, options: Mapping[str, object]
) -> None:
    profile = _read(_encode(_table(stamps), **options))

    assert np.array_equal(profile.hour_start_us, HOURS_2018.astype(np.int64))
    (measure,) = profile.measures
    assert measure.column.name == TOTAL_KWH
    assert measure.intervals is not None
    assert measure.intervals.tolist() == [row / 4 for row in range(ROWS)]


def _garbage_between_magics() -> bytes:
    return b"PAR1" + bytes(range(256)) + b"PAR1"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<?xml version='1.0'?><Error/>", Reason.NOT_PARQUET),
        (b"PAR", Reason.NOT_PARQUET),
        (b"PAR1", Reason.TRUNCATED),
        (b"PAR1PAR1", Reason.TRUNCATED),
        (_encode(_table())[:-1], Reason.TRUNCATED),
        (_encode(_table())[:5_000], Reason.TRUNCATED),
        (_garbage_between_magics(), Reason.UNREADABLE),
        (_encode(_table())[:5_000] + b"\x10\0\0\0PAR1", Reason.UNREADABLE),
        (_encode(_table().slice(0, 0)), Reason.NO_ROWS),
    ],
)
def test_read_profile_tells_apart_what_is_no_parquet(data: bytes, reason: Reason) -> None:
    assert _reason(data) is reason


def _twice(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(name, table[name])


IDS = np.full(ROWS, 7)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (_table().drop_columns(["timestamp"]), Reason.MISSING_TIMESTAMP),
        (_twice(_table(), "timestamp"), Reason.MISSING_TIMESTAMP),
        (_table().rename_columns(["Timestamp", TOTAL, "bldg_id"]), Reason.MISSING_TIMESTAMP),
        (_table().drop_columns(["bldg_id"]), Reason.MISSING_BLDG_ID),
        (_twice(_table(), "bldg_id"), Reason.MISSING_BLDG_ID),
        (_table(bldg_id=pa.array(IDS + 1)), Reason.BLDG_ID_CONTRADICTS_NAME),
        (_table(bldg_id=pa.array(_replaced(IDS, 20_000, 8))), Reason.BLDG_ID_CONTRADICTS_NAME),
        (
            _table(bldg_id=pa.array(_replaced(IDS, 20_000, 8), pa.int32())),
            Reason.BLDG_ID_CONTRADICTS_NAME,
        ),
        (
            _table(bldg_id=pa.array(IDS, mask=np.arange(ROWS) == 5)),
            Reason.BLDG_ID_CONTRADICTS_NAME,
        ),
        (_table(bldg_id=pa.nulls(ROWS, pa.int64())), Reason.BLDG_ID_CONTRADICTS_NAME),
        (_table(bldg_id=pa.array(IDS.astype(str))), Reason.BLDG_ID_CONTRADICTS_NAME),
        (_table(bldg_id=pa.array(IDS.astype(float))), Reason.BLDG_ID_CONTRADICTS_NAME),
        (_table(**{TOTAL: pa.array(IDS.astype(str))}), Reason.NOT_NUMERIC),
        (_table(**{TOTAL: pa.array(IDS.astype(bool))}), Reason.NOT_NUMERIC),
        (_table(**{TOTAL: pa.array([[1.0]] * ROWS)}), Reason.NOT_NUMERIC),
        (_table(**{TOTAL: pa.array([{"a": 1.0}] * ROWS)}), Reason.NOT_NUMERIC),
        (_table(**{TOTAL: _stamps()}), Reason.NOT_NUMERIC),
        (_table(**{f"{TOTAL}..kwh": pa.array(IDS)}), Reason.COLUMN_COLLISION),
        (_twice(_table(), TOTAL), Reason.COLUMN_COLLISION),
    ],
)
def test_read_profile_refuses_a_file_that_is_not_what_it_should_be(
    table: pa.Table, reason: Reason
) -> None:
    assert _reason(_encode(table)) is reason


def test_read_profile_takes_an_id_of_another_integer_type() -> None:
    for kind in (pa.int32(), pa.uint64(), pa.int16()):
        assert _read(_encode(_table(bldg_id=pa.array(IDS, kind)))).bldg_id == 7


MICROS = _stamps().cast(pa.int64()).to_numpy()
QUARTER_US = 900_000_000


def _from_us(micros: NDArray[np.int64]) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us"))


def _swapped(micros: NDArray[np.int64], at: int) -> NDArray[np.int64]:
    order = np.arange(len(micros))
    order[[at, at + 1]] = [at + 1, at]
    return np.asarray(micros[order])


@pytest.mark.parametrize(
    ("stamps", "reason"),
    [
        (_from_us(_swapped(MICROS, 5_000)), Reason.STAMPS_UNSORTED),
        (_from_us(MICROS[::-1]), Reason.STAMPS_UNSORTED),
        (_from_us(_replaced(MICROS, 5_000, MICROS[4_999])), Reason.STAMPS_DUPLICATED),
        (_from_us(_replaced(MICROS, -1, MICROS[-2])), Reason.STAMPS_DUPLICATED),
        (_from_us(_replaced(MICROS, 17_520, MICROS[17_520] + 1)), Reason.STAMPS_IRREGULAR),
        (_from_us(_replaced(MICROS, 0, MICROS[0] - 1)), Reason.STAMPS_IRREGULAR),
        (_from_us(_replaced(MICROS, -1, MICROS[-1] + QUARTER_US)), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS + 60_000_000), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS + 1), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS + 500_000), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS + QUARTER_US), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS + 86_400_000_000), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS - 2 * QUARTER_US), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS[0] + (MICROS - MICROS[0]) // 3), Reason.STAMPS_IRREGULAR),
        (pa.array(MICROS, pa.timestamp("us"), mask=IDS * 0 == 1), None),
        (
            pa.array(MICROS, pa.timestamp("us"), mask=np.arange(ROWS) == 9),
            Reason.STAMPS_IRREGULAR,
        ),
        (_from_us(MICROS).cast(pa.int64()), Reason.STAMPS_IRREGULAR),
        (_from_us(MICROS).cast(pa.string()), Reason.STAMPS_NOT_TIME),
        (pa.array(MICROS.astype(float)), Reason.STAMPS_NOT_TIME),
        (pa.array((MICROS // 10**6).astype(np.int32)), Reason.STAMPS_NOT_TIME),
        (pa.nulls(ROWS, pa.timestamp("us")), Reason.STAMPS_IRREGULAR),
        (_stamps("2018-01-01T00:00"), Reason.STAMP_CONTRADICTS_RELEASE),
        (_stamps(rows=ROWS - 1), Reason.WRONG_ROW_COUNT),
        (_stamps(rows=ROWS - 96), Reason.WRONG_ROW_COUNT),
        (_stamps(rows=1), Reason.WRONG_ROW_COUNT),
        (_stamps("2012-01-01T00:15", rows=35_136), Reason.WRONG_ROW_COUNT),
    ],
)
def test_read_profile_refuses_stamps_that_are_no_year_of_quarters(
    stamps: pa.Array, reason: Reason | None
) -> None:
    data = _encode(_table(stamps))

    if reason is None:
        assert len(_read(data).hour_start_us) == 8_760
    else:
        assert _reason(data) is reason


def test_read_profile_says_where_the_stamps_go_wrong() -> None:
    stamps = _from_us(_replaced(MICROS, 17_520, MICROS[17_520] + 300_000_000))

    with pytest.raises(FileFault) as caught:
        _read(_encode(_table(stamps)))

    assert caught.value.detail == "row 17520: 2018-07-02T12:00:00 then 2018-07-02T12:20:00"


def test_prove_hours_refuses_ending_stamps_of_a_release_that_names_the_beginning() -> None:
    with pytest.raises(FileFault) as caught:
        prove_hours(MICROS * 1_000, BEGINNING)

    assert caught.value.reason is Reason.STAMP_CONTRADICTS_RELEASE
    assert "beginning" in caught.value.detail


def test_prove_hours_refuses_a_row_count_that_no_year_has() -> None:
    with pytest.raises(FileFault) as caught:
        prove_hours(MICROS[:-4] * 1_000, UNREGISTERED)

    assert caught.value.detail == "35,036 rows, not 35,040 or 35,136"


@pytest.mark.parametrize("at", [0, 1, 17_520, ROWS - 1])
def test_read_profile_proves_the_stamps_of_the_second_file_too(at: int) -> None:
    reader = ProfileReader(END)
    reader.read_profile(_encode(_table()), FILE)
    moved = _from_us(_replaced(MICROS, at, MICROS[at] + 1))

    with pytest.raises(FileFault) as caught:
        reader.read_profile(_encode(_table(moved)), FILE)

    assert caught.value.reason is Reason.STAMPS_IRREGULAR


def test_read_profile_takes_equal_stamps_in_another_unit() -> None:
    reader = ProfileReader(END)
    for unit, compression in (("us", "snappy"), ("ns", "zstd"), ("ms", "none"), ("s", "snappy")):
        data = _encode(_table(_stamps(unit=unit)), compression=compression)
        for _ in range(2):
            hours = reader.read_profile(data, FILE).hour_start_us
            assert np.array_equal(hours, HOURS_2018.astype(np.int64))


def test_read_profile_does_not_take_equal_bytes_in_another_unit() -> None:
    reader = ProfileReader(END)
    plain = {"use_dictionary": False, "compression": "none"}
    reader.read_profile(_encode(_table(), **plain), FILE)
    for kind in (pa.timestamp("ms"), pa.timestamp("ns"), pa.int64()):
        data = _encode(_table(pa.array(MICROS, pa.int64()).cast(kind)), **plain)

        with pytest.raises(FileFault) as caught:
            reader.read_profile(data, FILE)

        assert caught.value.reason.startswith("stamp")


def test_read_profile_keeps_nothing_of_a_file_for_one_with_other_columns() -> None:
    reader = ProfileReader(END)
    heating = "out.natural_gas.heating.energy_consumption"
    reader.read_profile(_encode(_table()), FILE)

    profile = reader.read_profile(
        _encode(_table().rename_columns(["timestamp", heating, "bldg_id"])), FILE
    )

    assert [m.column.source_name for m in profile.measures] == [heating]


def test_read_columns_names_what_would_be_published() -> None:
    table = _table(**{"novel.thing": pa.array(IDS), "in.sqft": pa.array(IDS)})

    assert [column.name for column in read_columns(_encode(table))] == [TOTAL_KWH, "in_sqft_ft2"]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, half of the time in the last kilobytes, where the footer is."""
    spoiled = bytearray(data)
    low = 4 if rng.random() < 0.5 else max(4, len(data) - 3_000)
    for _ in range(int(rng.integers(1, 4))):
        spoiled[int(rng.integers(low, len(data) - 4))] ^= int(rng.integers(1, 256))
    return bytes(spoiled)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece from the middle is missing, the end is there."""
    start = int(rng.integers(4, len(data) - 8))
    return data[:start] + data[start + int(rng.integers(1, 64)) :]


@pytest.mark.parametrize("spoil", [_flip, _cut, _cut_out])
def test_read_profile_of_a_corrupt_file_is_a_fault_or_has_proved_stamps(
    spoil: Callable[[bytes, np.random.Generator], bytes],
) -> None:
    rng = np.random.default_rng(2018)
    values = pa.array(np.tile([0.0, 1.0, 2.0, 3.0], ROWS // 4))
    sound = _encode(_table(**{TOTAL: values, "out.x.y.energy_consumption": pa.array(IDS * 0.0)}))
    reader, faults = ProfileReader(END), 0
    for _ in range(80):
        try:
            profile = reader.read_profile(spoil(sound, rng), FILE)
        except FileFault:
            faults += 1
        else:
            assert np.array_equal(profile.hour_start_us, HOURS_2018.astype(np.int64))
            assert profile.bldg_id == 7
            assert {len(m.intervals) for m in profile.measures if m.intervals is not None} <= {ROWS}
    assert faults > 20
    again = reader.read_profile(sound, FILE)
    assert np.array_equal(again.hour_start_us, HOURS_2018.astype(np.int64))


def test_read_profile_survives_any_byte_of_the_footer_being_wrong() -> None:
    """A footer that contradicts itself once ended the whole process instead of the file."""
    sound = _encode(_table(**{TOTAL: pa.array(IDS * 0.0)}))
    footer_bytes = int.from_bytes(sound[-8:-4], "little")
    reader, faults = ProfileReader(END), 0
    for at in range(len(sound) - 8 - footer_bytes, len(sound) - 8):
        spoiled = sound[:at] + bytes([sound[at] ^ 0x02]) + sound[at + 1 :]
        try:
            profile = reader.read_profile(spoiled, FILE)
        except FileFault:
            faults += 1
        else:
            assert np.array_equal(profile.hour_start_us, HOURS_2018.astype(np.int64))
    assert faults > 100
