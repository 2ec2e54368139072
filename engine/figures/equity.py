"""The equity curve of a run, one row a bar, and the series drawn from it: peak, drawdown, daily equity.

Sums and peaks run on the integers, so they are exact and the same on every machine.
"""

from __future__ import annotations

import msgspec
import numpy as np

from engine.bars import NS_PER_DAY, FloatColumn, IntColumn


class EquityCurve(msgspec.Struct, frozen=True):
    """Columns of equal length, one row a bar; money in cash units of 10^-`cash_decimals`.

    `ts_ns` is the UTC time of the bar's close, ascending. `equity` floats with open positions. `exposure` is
    the gross notional held and `margin` what of the equity it binds, both at least 0. `start_ns` is when the
    starting balance stood: the open of the first bar.
    """

    start_ns: int
    ts_ns: IntColumn
    equity: IntColumn
    exposure: IntColumn
    margin: IntColumn
    cash_decimals: int = 8

    def __post_init__(self) -> None:
        rows = len(self.ts_ns)
        assert rows == len(self.equity) == len(self.exposure) == len(self.margin), "columns differ in length"
        assert rows == 0 or self.start_ns <= self.ts_ns[0], "the first bar closes before the start"

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def span_ns(self) -> int:
        """Time from the start to the last bar's close; 0 without bars."""
        return int(self.ts_ns[-1]) - self.start_ns if len(self) else 0


def equity_from_start(curve: EquityCurve, initial_units: int) -> IntColumn:
    """Equity in cash units with the starting balance before the first bar: rows + 1 values."""
    values = np.empty(len(curve) + 1, dtype=np.int64)
    values[0] = initial_units
    values[1:] = curve.equity
    return values


def running_peak(values: IntColumn) -> IntColumn:
    """Return the greatest value so far, at each value."""
    peak: IntColumn = np.maximum.accumulate(values)
    return peak


def drawdown_fractions(values: IntColumn, peak: IntColumn) -> FloatColumn:
    """(peak - value) ÷ peak at each value: 0 at a peak, 0.25 a quarter below it. Peaks are above 0."""
    fractions: FloatColumn = (peak - values) / peak
    return fractions


def drawdown_series(curve: EquityCurve, initial_units: int) -> FloatColumn:
    """Return the drawdown at each bar as a fraction of the peak so far; the starting balance is a peak."""
    values = equity_from_start(curve, initial_units)
    return drawdown_fractions(values, running_peak(values))[1:]


def daily_equity(curve: EquityCurve, values: IntColumn) -> list[int]:
    """Equity at the end of each UTC day, the starting balance first: days + 1 cash amounts in units.

    A bar that closes at midnight belongs to the day that ends there. Days without a bar carry the last value.
    The first and the last day may be parts of a day. `values` includes the starting balance.
    """
    if len(curve) == 0:
        return [int(values[0])]
    first_day = curve.start_ns // NS_PER_DAY
    last_day = (int(curve.ts_ns[-1]) - 1) // NS_PER_DAY
    day_ends_ns = np.arange(first_day + 1, last_day + 2, dtype=np.int64) * NS_PER_DAY
    rows_by_then = np.searchsorted(curve.ts_ns, day_ends_ns, side="right")
    daily: list[int] = values[rows_by_then].tolist()
    return [int(values[0]), *daily]
