"""What figures by other packages' definitions are made of, and the sums that several of them need."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np

from engine.bars import FloatColumn, IntColumn
from engine.figures.trades import Trade

LikeFigures: TypeAlias = dict[str, float | int | None]


class LikeReport(msgspec.Struct, frozen=True):
    """One package's figures of a run: the version whose definitions they are, and what they are made of."""

    version: str
    made_of: str
    figures: LikeFigures


class LikeInput(msgspec.Struct, frozen=True):
    """A run as floats; money in the account's currency.

    `equity`, `open_ns` (the bar's open, UTC) and `closes` have a value for each bar, at least one. `daily`: equity at
    the end of each UTC day, the starting balance first. `trades` in the order they closed, `entry_bars` and `exit_bars`
    their rows of `equity`.
    """

    initial: float
    equity: FloatColumn
    daily: FloatColumn
    open_ns: IntColumn
    closes: FloatColumn | None
    trades: tuple[Trade, ...]
    entry_bars: IntColumn
    exit_bars: IntColumn

    @property
    def pnl(self) -> FloatColumn:
        """Net profit of each trade."""
        return np.array([float(trade.pnl) for trade in self.trades], dtype=np.float64)

    @property
    def returns(self) -> FloatColumn:
        """Net profit of each trade as a fraction of its entry notional."""
        return np.array([trade.pnl_percent / 100 for trade in self.trades], dtype=np.float64)


def mean(values: FloatColumn) -> float:
    """Mean; not-a-number of nothing."""
    return float(values.sum() / len(values)) if len(values) else float("nan")


def deviation(values: FloatColumn) -> float:
    """Standard deviation with ddof 1; not-a-number of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def over(above: float, below: float) -> float:
    """A quotient as arrays divide: by zero it is infinite, or not a number."""
    return float(np.float64(above) / np.float64(below))
