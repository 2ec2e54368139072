"""What our figures are held against: `on_bar` without an engine behind it, and one bare compiled loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn
from engine.indicators import compute

BareResult = tuple[float, float, int, int, float]


class _StandInIndicators:
    """`ctx.ind` with no more than a memo."""

    def __init__(self, context: StandIn) -> None:
        self._context = context
        self._memo: dict[tuple[str, int], FloatColumn] = {}

    def ema(self, _source: FloatColumn, length: int) -> FloatColumn:
        """The average up to the current bar."""
        key = ("ema", length)
        full = self._memo.get(key)
        if full is None:
            full = self._memo[key] = compute("ema", (length,), (self._context.full,))[0]
        return full[: self._context.stop]


class StandIn:
    """The least that document A's `on_bar` runs under: arrays up to the bar, and orders that are counted."""

    def __init__(self, full: FloatColumn, params: dict[str, Any]) -> None:
        self.full = full
        self.stop = 0
        self.params = params
        self.ind = _StandInIndicators(self)
        self.buys = 0
        self.sells = 0

    @property
    def close(self) -> FloatColumn:
        """Closes up to the current bar."""
        return self.full[: self.stop]

    def buy(self, _size: float) -> None:
        """Count a buy."""
        self.buys += 1

    def sell(self, _size: float) -> None:
        """Count a sell."""
        self.sells += 1


def run_stand_in(on_bar: Callable[[Any, int], object], close: FloatColumn, params: dict[str, Any]) -> StandIn:
    """Call `on_bar` for every bar in a bare loop."""
    context = StandIn(close, params)
    for index in range(len(close)):
        context.stop = index + 1
        on_bar(context, index)
    return context


@numba.njit
def _bare_loop(opens, closes, fast_length, slow_length, cash, slip, fee, ticks, equity, drawdown, exposure):  # type: ignore[no-untyped-def]
    fast_alpha, slow_alpha = 2.0 / (fast_length + 1), 2.0 / (slow_length + 1)
    fast = fast_before = slow = slow_before = closes[0]
    size = wanted = fees = greatest = 0.0
    peak, fills, trades = cash, 0, 0
    for bar in range(len(closes)):
        if wanted != 0.0:
            at = opens[bar] * ticks
            # The slippage counts in whole ticks, rounded against the trader; a hair less, as floats are not exact.
            price = (round(at) + wanted * math.ceil(at * slip - 1e-6)) / ticks
            cost = price * fee
            cash -= wanted * price + cost
            fees += cost
            size += wanted
            fills += 1
            if size == 0.0:
                trades += 1
            wanted = 0.0
        value = cash + size * closes[bar]
        peak = max(peak, value)
        fall = (peak - value) / peak
        greatest = max(greatest, fall)
        equity[bar], drawdown[bar], exposure[bar] = value, fall, abs(size) * closes[bar]
        fast += fast_alpha * (closes[bar] - fast)
        slow += slow_alpha * (closes[bar] - slow)
        if bar >= slow_length:
            if fast > slow and fast_before <= slow_before:
                wanted = 1.0
            elif fast < slow and fast_before >= slow_before:
                wanted = -1.0
        fast_before, slow_before = fast, slow
    if size != 0.0:  # what is open at the end is closed at the last close
        at = closes[-1] * ticks
        side = -1.0 if size > 0.0 else 1.0
        price = (round(at) + side * math.ceil(at * slip - 1e-6)) / ticks
        cost = price * fee
        cash += size * price - cost
        fees += cost
        fills += 1
        trades += 1
    return cash, fees, fills, trades, greatest


class BareLoop:
    """EMA cross, fills at the next open with slippage and fee, equity, drawdown and exposure of every bar: floats."""

    def __init__(self, opens: FloatColumn, closes: FloatColumn, fast: int, slow: int, cash: float, slippage_bps: float,
                 fee_bps: float, ticks_a_unit: float) -> None:  # fmt: skip
        self._columns = (opens, closes)
        self._figures = (fast, slow, float(cash), slippage_bps / 10_000, fee_bps / 10_000, ticks_a_unit)

    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """Room for equity, drawdown and exposure."""
        return tuple(np.empty(len(self._columns[0])) for _ in range(3))

    def run(self, arrays: tuple[NDArray[np.float64], ...]) -> BareResult:
        """Final equity, fees, count of fills, count of closed trades, greatest drawdown."""
        found: BareResult = _bare_loop(*self._columns, *self._figures, *arrays)
        return found
