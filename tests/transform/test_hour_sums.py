"""Sums of hours, pairs and near years give what adding everything up by hand gives."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from oedi_spark.transform.accounts import open_accounts
from oedi_spark.transform.columns import describe_columns
from oedi_spark.transform.facts import FactFinder
from oedi_spark.transform.hour_sums import HourSums, find_widest
from oedi_spark.transform.near_years import Allowances, NearYears
from oedi_spark.transform.published import ROUNDING
from oedi_spark.transform.published_results import PublishedResults

USES = ("heating", "cooling", "fans")
NAMES = tuple(
    f"out.{fuel}.{use}.energy_consumption{kind}"
    for fuel, uses in (("electricity", (*USES, "total")), ("site_energy", ("total",)))
    for use in uses
    for kind in ("", "_intensity")
)
HOURS = 8760
AREA_FT2 = 2500.0


@pytest.mark.parametrize("signs", [(1, 1, -1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_sum_of_rows_with_signs_is_what_numpy_adds(signs: tuple[int, ...]) -> None:
    rows = np.random.default_rng(1).normal(size=(3, HOURS))
    sums = HourSums(2)
    for _ in range(2):  # the second building finds nothing of the first
        sums.begin(HOURS)
        for row, sign in zip(rows, signs, strict=True):
            sums.add(row, [(1, sign)])
        sums.offsets[1] += 0.75
        expected = np.abs(np.array(signs) @ rows + 0.75)

        assert sums.row(0) is None
        assert sums.widest(0) == 0
        assert sums.widest(1) == pytest.approx(expected.max(), rel=1e-12)
        np.testing.assert_allclose(sums.absolute(1), expected, rtol=1e-9, atol=1e-12)


def test_widest_of_next_to_nothing_is_never_less_than_it_is() -> None:
    hours = np.zeros(HOURS)
    assert find_widest(hours, 0.0) == 0
    hours[17], hours[5000] = 3e-9, -4e-9
    assert 4e-9 <= find_widest(hours, 0.0) <= 5.000001e-9
    assert find_widest(hours, -2.0) == pytest.approx(2.0 + 4e-9)
    hours[17], hours[5000] = 3.0, -4.0
    assert find_widest(hours, 0.0) == 4.0
    assert find_widest(hours, -2.0) == 6.0
    hours[3] = math.nan
    assert math.isnan(find_widest(hours, 0.0))


def make_hours(damage: str = "") -> dict[str, np.ndarray]:
    """A building whose end uses add up to its totals, and whose intensities are of one area."""
    generator = np.random.default_rng(7)
    found = {f"electricity.{use}": generator.uniform(0.1, 3, HOURS) for use in USES}
    total = np.sum([found[f"electricity.{use}"] for use in USES], axis=0)
    found |= {"electricity.total": total, "site_energy.total": total.copy()}
    hours = {}
    for name in NAMES:
        _, fuel, use, kind = name.split(".")
        is_energy = kind == "energy_consumption"
        hours[name] = found[f"{fuel}.{use}"] / (1 if is_energy else AREA_FT2)
    if damage:
        hours[damage] = hours[damage].copy()
        hours[damage][4321] += 5.0 / (AREA_FT2 if damage.endswith("intensity") else 1)
    return hours


@pytest.mark.parametrize("damaged", ["", *NAMES])
def test_gaps_of_balances_and_pairs_are_those_of_every_hour_by_hand(damaged: str) -> None:
    columns = describe_columns(NAMES)
    hours = make_hours(damaged)
    accounts = open_accounts(columns)
    finder = FactFinder(accounts, [(-math.inf, math.inf)] * len(columns))
    finder.begin(HOURS)
    for at, column in enumerate(columns):
        values = hours[column.source_name]
        finder.add_hours(at, values, np.repeat(values / 4, 4), float(values.sum()))

    figures = finder.figures(0, [1e-9] * len(accounts.balances))

    assert figures.area_ft2 == pytest.approx(AREA_FT2, rel=1e-6)
    assert len(accounts.pairs) == 5
    energies = np.sum([hours[n] for n in NAMES if n.endswith("consumption")], axis=0)
    densities = np.sum([hours[n] for n in NAMES if n.endswith("intensity")], axis=0)
    apart = np.abs(energies - densities * figures.area_ft2) - 2e-6 * np.abs(energies)
    expected = max(float(apart.max()), 0.0)
    assert figures.pair_gap_kwh == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (figures.pair_gap_kwh > 1e-6) == bool(damaged)
    for balance, gap in zip(accounts.balances, figures.gaps, strict=True):
        total = hours[columns[balance.total].source_name]
        parts = np.sum([hours[columns[at].source_name] for at in balance.terms], axis=0)
        by_hand = float((np.abs(parts - total) - 2e-6 * np.abs(total)).max())
        assert gap == pytest.approx(max(by_hand, 0.0), rel=1e-3, abs=1e-6)


def test_near_years_lets_through_what_is_allowed_and_nothing_else() -> None:
    years = [100.0, math.nan]
    rows = pa.table(
        {
            "bldg_id": [7],
            "building_type": pa.array([None], pa.string()),
            "floor_area_ft2": [1000.0],
            "a": [years[0]],
            f"a{ROUNDING}": [0.5],
            "b": [years[1]],
            f"b{ROUNDING}": [0.0],
        }
    )
    shares, spare = np.array([0.01, 0.01]), np.array([0.25, 0.0])
    near = NearYears(
        PublishedResults(rows, ["a", "b"]), Allowances([(0, 1), (2,)], [0, 1], shares, spare)
    )

    # 1 % of 100, half a unit of rounding and a quarter beside: 1.75 kWh either way.
    assert near.hold(7, [60.0, 41.7, 5.0])
    assert near.hold(7, [58.0, 40.3, -5.0])
    assert not near.hold(7, [60.0, 41.8, 5.0])
    assert not near.hold(7, [58.0, 40.2, 5.0])
    assert not near.hold(7, [60.0, math.nan, 5.0])
    assert not near.hold(8, [60.0, 40.0, 5.0])
    assert not near.hold(None, [60.0, 40.0, 5.0])
