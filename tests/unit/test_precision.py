"""Doubles as whole ticks and lots."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from adapters.bar_files import read_bars
from engine.errors import CapacityError, DataError
from engine.precision import infer_decimals, infer_unit, to_units

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ((1.0, 2.0, 300.0), 0),
        ((1.0, 2.5), 1),
        ((46216.93, 46250.0), 2),
        ((0.1, 0.2, 0.30000000000000004), 10),  # a sum of floats is no venue's decimal
        ((3832.6286242,), 7),
        ((1e-8,), 8),
        ((-0.25, 0.0), 2),
        ((1e300, 1.5), 1),  # from 2**53 units on every double is the nearest to some decimal
        ((float("nan"),), 10),
        ((float("inf"),), 10),
        ((), 0),
    ],
)
def test_infer_decimals(values: tuple[float, ...], decimals: int) -> None:
    assert infer_decimals(column(*values)) == decimals


def test_infer_decimals_forgives_noise_only_where_asked() -> None:
    noisy = column(0.1, 0.30000000000000004, 1.2867745400000001)
    assert infer_decimals(noisy) == 10
    assert infer_decimals(noisy, noise_ulps=2) == 8


def test_infer_unit_is_the_finest_of_all_columns() -> None:
    assert infer_unit(column(1.5), column(2.25), column(3.0)) == Decimal("0.01")
    assert infer_unit(column(3.0)) == Decimal(1)


@pytest.mark.parametrize(
    ("values", "unit", "units"),
    [
        ((46216.93, 0.01), "0.01", (4621693, 1)),
        ((100.5, -2.0), "0.5", (201, -4)),
        ((100.25,), "0.25", (401,)),
        ((0.00001234,), "1e-8", (1234,)),
        ((15.0, 5.0), "5", (3, 1)),
        ((100.0000000001,), "0.01", (10000,)),  # within 1e-6 of a unit
        ((22351900.12345678,), "1e-8", (2235190012345678,)),
        ((2.0**60,), "1", (2**60,)),
    ],
)
def test_to_units(values: tuple[float, ...], unit: str, units: tuple[int, ...]) -> None:
    assert to_units(column(*values), Decimal(unit), "price").tolist() == list(units)


def test_to_units_names_the_first_row_that_is_no_multiple() -> None:
    with pytest.raises(DataError, match=r"close: row 2 holds 100\.005, which is no whole multiple of 0\.01"):
        to_units(column(100.0, 100.005, 100.001), Decimal("0.01"), "close")


def test_rounding_for_a_lot_coarser_than_the_data() -> None:
    values = column(0.29999, 0.3, 0.35, 0.1 + 0.2)
    assert to_units(values, Decimal("0.1"), "volume", "floor").tolist() == [2, 3, 3, 3]
    assert to_units(column(0.5, 1.5, 2.5), Decimal(1), "volume", "nearest").tolist() == [0, 2, 2]


def test_to_units_refuses_what_does_not_fit_or_is_no_number() -> None:
    with pytest.raises(CapacityError, match=r"row 2 .* more than 2\*\*62 units"):
        to_units(column(1.0, 2.0**63), Decimal(1), "volume")
    with pytest.raises(CapacityError):
        to_units(column(2.0**62 + 1024), Decimal(1), "volume")
    with pytest.raises(CapacityError):
        to_units(column(1e300), Decimal("1e-10"), "volume")
    assert to_units(column(2.0**62), Decimal(1), "volume").tolist() == [2**62]
    with pytest.raises(DataError, match="row 1 holds nan"):
        to_units(column(float("nan")), Decimal(1), "volume")
    assert to_units(column(), Decimal(1), "volume").tolist() == []


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "tick"), [("BTCUSDT", "0.01"), ("ETHUSDT", "0.01"), ("SOLUSDT", "0.01")])
def test_real_prices_survive_the_way_to_ticks_and_back(name: str, tick: str) -> None:
    path = DATA / "ohlcv" / f"binance_spot_{name}_1h_2022.parquet"
    if not path.exists():
        pytest.skip("../shared/data is not there")
    bars = read_bars(path, name, "1h")
    assert infer_unit(bars.open, bars.high, bars.low, bars.close) == Decimal(tick)
    assert (to_units(bars.close, Decimal(tick), "close") / 100 == bars.close).all()
