"""Market regimes, trend by volatility: what the market was like when a bar began, and what was earned in each.

A bar's regime is decided by the bars before it and by nothing later, so a strategy could have known it when the bar
opened. Returns are whole units of 10^-7 and their sums are integers: the same bars give the same regimes everywhere.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_DAY, Bars, IntColumn, timeframe_ns
from engine.figures import money
from engine.figures.trades import Trade
from engine.settings import ZERO

CodeColumn: TypeAlias = NDArray[np.int8]
Trend = Literal["unknown", "down", "sideways", "up"]
Volatility = Literal["unknown", "low", "normal", "high"]

UNKNOWN, BELOW, BETWEEN, ABOVE = -2, -1, 0, 1
TRENDS: tuple[Trend, ...] = ("unknown", "down", "sideways", "up")
VOLATILITIES: tuple[Volatility, ...] = ("unknown", "low", "normal", "high")
WINDOW_BARS_MIN, WINDOW_BARS_MAX = 20, 1_440
PAST_WINDOWS_MIN = 5

_RETURN_UNITS = 1e7
# Beyond e^±4 in one bar squares are held back, so that sums over any run stay within 64 bits.
_RETURN_MAX = 4e7
_LOW_BITS = 24
_CELLS = len(TRENDS) * len(VOLATILITIES)


class RegimeSeries(msgspec.Struct, frozen=True):
    """The regime of each bar, as int8: -2 unknown; -1 down or low, 0 sideways or normal, 1 up or high.

    `window_bars` is how many bars back it looks.
    """

    trend: CodeColumn
    volatility: CodeColumn
    window_bars: int


class RegimeRow(msgspec.Struct, frozen=True):
    """One symbol in one regime. Definitions are in `engine/figures/diagnostics.py`."""

    symbol: str
    trend: Trend
    volatility: Volatility
    bars: int
    share_of_bars: float
    span_ns: int
    in_market_ns: int
    time_in_market: float | None
    trades: int
    wins: int
    losses: int
    net_pnl: Decimal
    expectancy: Decimal | None
    profit_factor: float | None
    pnl_share: float | None


class TradedSymbol(msgspec.Struct, frozen=True):
    """What a symbol's regimes are set against.

    `entered` is the bar in which each of `trades` was opened; `open_since_ns` are the entry times of positions still
    open at the end.
    """

    bars: Bars
    trades: Sequence[Trade]
    entered: IntColumn
    open_since_ns: Sequence[int] = ()


def window_bars_of(timeframe: str) -> int:
    """How many bars a regime looks back where nothing else is said: those of a day, at least 20 and at most 1,440."""
    return min(max(NS_PER_DAY // timeframe_ns(timeframe), WINDOW_BARS_MIN), WINDOW_BARS_MAX)


def regimes_of(bars: Bars, window_bars: int = 0) -> RegimeSeries:
    """The regime of each bar; `window_bars` 0: `window_bars_of` the timeframe.

    With r the log returns of the closes, over the N bars before bar i: trend is up where Σr > 0 and (Σr)² > Σr²,
    which is a move beyond one standard deviation of a random walk with these returns; down likewise; else sideways.
    Volatility is Σr² against the same sum of the windows of N bars that follow each other from the first bar and had
    ended before bar i: low below a third of them, high above a third of them; unknown until there are five.
    """
    length = window_bars or window_bars_of(bars.timeframe)
    count = len(bars)
    trend = np.full(count, UNKNOWN, dtype=np.int8)
    volatility = np.full(count, UNKNOWN, dtype=np.int8)
    first = length + 1  # the first bar with a whole window of returns before it
    if count <= first:
        return RegimeSeries(trend, volatility, length)
    logs = np.log(bars.close[1:] / bars.close[:-1])
    logs *= _RETURN_UNITS
    returns = np.rint(np.clip(logs, -_RETURN_MAX, _RETURN_MAX, out=logs), out=logs).astype(np.int64)
    moved = _sums(returns, length)[:-1]
    varied = _sums(returns * returns, length)[:-1]
    is_beyond = moved.astype(np.float64) ** 2 > varied
    trend[first:] = np.where(is_beyond, np.sign(moved), BETWEEN)
    lows, highs = _thirds(varied[::length].tolist())
    windows = (np.arange(first, count) - 1) // length
    known = windows >= PAST_WINDOWS_MIN
    levels = np.where(varied < lows[windows], BELOW, np.where(varied > highs[windows], ABOVE, BETWEEN))
    volatility[first:][known] = levels[known]
    return RegimeSeries(trend, volatility, length)


def _sums(values: IntColumn, length: int) -> IntColumn:
    """The sum of each run of `length` values: one for each run that is whole."""
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    sums: IntColumn = total[length:] - total[:-length]
    return sums


def _thirds(windows: list[int]) -> tuple[IntColumn, IntColumn]:
    """For each count of windows known: below which sum a third of them lies, above which another third."""
    lows = np.zeros(len(windows) + 1, dtype=np.int64)
    highs = np.zeros(len(windows) + 1, dtype=np.int64)
    known: list[int] = []
    for count, window in enumerate(windows, start=1):
        insort(known, window)
        third = count // 3
        lows[count], highs[count] = known[third], known[count - 1 - third]
    return lows, highs


def regime_table(
    regimes: Sequence[RegimeSeries], symbols: Sequence[TradedSymbol], cash_decimals: int
) -> list[RegimeRow]:
    """One row for each symbol and each regime that had a bar, in the order of symbols, trends and volatilities.

    A trade belongs to the regime of the bar in which it was opened. Bars, spans, trades, wins, losses and pnl sum to
    the totals of all symbols, to the last unit.
    """
    total = money.exact_sum(trade.pnl for each in symbols for trade in each.trades)
    rows: list[RegimeRow] = []
    for series, each in zip(regimes, symbols, strict=True):
        if len(each.bars):
            rows.extend(_rows(series, each, total, cash_decimals))
    return rows


def _rows(series: RegimeSeries, symbol: TradedSymbol, total: Decimal, cash_decimals: int) -> list[RegimeRow]:
    cells = (series.trend.astype(np.int64) - UNKNOWN) * len(VOLATILITIES) + (series.volatility - UNKNOWN)
    bars_in = np.bincount(cells, minlength=_CELLS)
    edges = np.append(symbol.bars.ts_ns, symbol.bars.ts_ns[-1] + timeframe_ns(symbol.bars.timeframe))
    spans_ns = _sums_by(cells, np.diff(edges))
    held_ns = _sums_by(cells, _held_ns(edges, symbol))
    cell_of_trade = cells[np.clip(symbol.entered, 0, len(cells) - 1)].tolist()
    pnl_in: list[list[Decimal]] = [[] for _ in range(_CELLS)]
    for trade, cell in zip(symbol.trades, cell_of_trade, strict=True):
        pnl_in[cell].append(trade.pnl)
    rows = []
    for cell in np.flatnonzero(bars_in).tolist():
        span_ns, in_market_ns = spans_ns[cell], held_ns[cell]
        pnl = pnl_in[cell]
        won, lost = [amount for amount in pnl if amount > ZERO], [amount for amount in pnl if amount < ZERO]
        net, loss = money.exact_sum(pnl), -money.exact_sum(lost)
        rows.append(
            RegimeRow(
                symbol=symbol.bars.symbol,
                trend=TRENDS[cell // len(VOLATILITIES)],
                volatility=VOLATILITIES[cell % len(VOLATILITIES)],
                bars=int(bars_in[cell]),
                share_of_bars=int(bars_in[cell]) / len(cells),
                span_ns=span_ns,
                in_market_ns=in_market_ns,
                time_in_market=in_market_ns / span_ns if span_ns else None,
                trades=len(pnl),
                wins=len(won),
                losses=len(lost),
                net_pnl=net,
                expectancy=money.mean(net, len(pnl), cash_decimals) if pnl else None,
                profit_factor=money.ratio(money.exact_sum(won), loss),
                pnl_share=money.ratio(net, total),
            )
        )
    return rows


def _sums_by(cells: IntColumn, times_ns: IntColumn) -> list[int]:
    """The exact sum of the times (at least 0) in each cell: floats add them in halves that they hold exactly."""
    high, low = times_ns >> _LOW_BITS, times_ns & ((1 << _LOW_BITS) - 1)
    sums = [np.bincount(cells, weights=half, minlength=_CELLS).tolist() for half in (high, low)]
    return [(int(above) << _LOW_BITS) + int(below) for above, below in zip(*sums, strict=True)]


def _held_ns(edges: IntColumn, symbol: TradedSymbol) -> IntColumn:
    """For each bar, how much of its time (until the next bar) any position was open."""
    last_ns = int(edges[-1])
    begins = [trade.entry_ts_ns for trade in symbol.trades] + list(symbol.open_since_ns)
    ends = [trade.exit_ts_ns for trade in symbol.trades] + [last_ns] * len(symbol.open_since_ns)
    if not begins:
        return np.zeros(len(edges) - 1, dtype=np.int64)
    begins_ns, ends_ns = (np.clip(np.array(times, dtype=np.int64), edges[0], last_ns) for times in (begins, ends))
    order = np.argsort(begins_ns, kind="stable")
    begins_ns = begins_ns[order]
    reached_ns = np.maximum.accumulate(ends_ns[order])
    # Where a position begins before what went before has ended, it adds only what reaches further.
    begins_ns[1:] = np.maximum(begins_ns[1:], reached_ns[:-1])
    lengths_ns = np.maximum(reached_ns - begins_ns, 0)
    before_ns = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths_ns)))
    latest = np.searchsorted(begins_ns, edges, side="right") - 1  # the interval that began last at each edge
    inside_ns = np.minimum(edges - begins_ns[np.maximum(latest, 0)], lengths_ns[np.maximum(latest, 0)])
    held_by = np.where(latest >= 0, before_ns[np.maximum(latest, 0)] + inside_ns, 0)
    held: IntColumn = np.diff(held_by)
    return held
