"""Markets that are the same up to a moment: cut there, or with other bars after it.

Columns are copies, so that nothing of the true ones can be reached through them. Other bars are bars that could be:
on the tick, high and low around open and close, no value that is not a number. What lies before the bars of a market
(`lookback`) is common to all of its worlds: a run copies it for what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, FloatColumn, IntColumn, timeframe_ns
from engine.instruments import Instrument
from engine.market import Market, shown_bars

Poison = Literal["mirrored", "high", "low", "shuffled"]
POISONS: tuple[Poison, ...] = get_args(Poison)
_FIELDS = ("open", "high", "low", "close", "volume")


def closes_of(bars: Bars) -> IntColumn:
    """When each bar is over, UTC ns."""
    return bars.ts_ns + timeframe_ns(bars.timeframe)


def copied(markets: Sequence[Market]) -> list[Market]:
    """The same markets in columns of their own."""
    return [_replaced(market, {name: getattr(market.bars, name).copy() for name in _FIELDS}) for market in markets]


def cut(markets: Sequence[Market], moment_ns: int) -> list[Market]:
    """The markets without the bars that are not over at a moment."""
    found = []
    for market in markets:
        stop = int(np.searchsorted(closes_of(market.bars), moment_ns, side="right"))
        columns = {name: getattr(market.bars, name)[:stop].copy() for name in ("ts_ns", *_FIELDS)}
        found.append(_replaced(market, columns))
    return found


def poisoned(markets: Sequence[Market], moment_ns: int, poison: Poison, seed: int) -> list[Market]:
    """The markets with other bars in place of those that are not over at a moment.

    mirrored: every rise becomes a fall of the same share; high, low: far above and below all that was; shuffled: the
    true bars in another order. The same seed gives the same bars.
    """
    found = []
    for market in markets:
        stop = int(np.searchsorted(closes_of(market.bars), moment_ns, side="right"))
        found.append(_replaced(market, _other_columns(market, stop, poison, seed)))
    return found


def other_bars(bars: Bars, instrument: Instrument | None, seed: int) -> Bars:
    """Other bars throughout, as a file of them; without an instrument prices are rounded to 8 decimals."""
    columns = {name: getattr(bars, name).copy() for name in _FIELDS}
    generator = np.random.default_rng(seed)
    _mirror(columns, 0, float(bars.open[0]) if len(bars) else 1.0)
    columns["volume"] = columns["volume"][generator.permutation(len(bars))]
    _settle(columns, 0, float(instrument.tick_size) if instrument is not None else 1e-8)
    return msgspec.structs.replace(bars, **columns)


def _other_columns(market: Market, stop: int, poison: Poison, seed: int) -> dict[str, FloatColumn]:
    bars = market.bars
    columns = {name: getattr(bars, name).copy() for name in _FIELDS}
    left = len(bars) - stop
    if not left:
        return columns
    generator = np.random.default_rng((seed, stop))
    order = generator.permutation(left)
    columns["volume"][stop:] = columns["volume"][stop:][order]
    last = float(bars.close[stop - 1]) if stop else float(bars.open[0])
    match poison:
        case "mirrored":
            _mirror(columns, stop, last)
        case "high" | "low":
            seen = shown_bars(market)
            level = 1.5 * float(seen.high.max()) if poison == "high" else 0.5 * float(seen.low.min())
            factor = level * (1.0 + 0.2 * generator.random(left)) / columns["close"][stop:]
            for name in _FIELDS[:4]:
                columns[name][stop:] *= factor
        case "shuffled":
            for name in _FIELDS[:4]:
                columns[name][stop:] = columns[name][stop:][order]
    _settle(columns, stop, float(market.instrument.tick_size))
    return columns


def _mirror(columns: dict[str, FloatColumn], stop: int, around: float) -> None:
    high = columns["high"][stop:].copy()
    columns["high"][stop:] = around * around / columns["low"][stop:]
    columns["low"][stop:] = around * around / high
    for name in ("open", "close"):
        columns[name][stop:] = around * around / columns[name][stop:]


def _settle(columns: dict[str, FloatColumn], stop: int, tick: float) -> None:
    """Onto the tick, and high and low around open and close."""
    inverse = 1.0 / tick
    whole = round(inverse)
    divides = whole >= 1 and abs(inverse - whole) < 1e-9 * whole

    def rounded(values: FloatColumn) -> NDArray[np.float64]:
        ticks = np.maximum(1.0, np.rint(values / tick))
        return ticks / whole if divides else ticks * tick

    prices = {name: rounded(columns[name][stop:]) for name in _FIELDS[:4]}
    columns["open"][stop:], columns["close"][stop:] = prices["open"], prices["close"]
    columns["high"][stop:] = np.maximum.reduce([prices["high"], prices["open"], prices["close"]])
    columns["low"][stop:] = np.minimum.reduce([prices["low"], prices["open"], prices["close"]])


def _replaced(market: Market, columns: dict[str, NDArray[np.float64]]) -> Market:
    return msgspec.structs.replace(market, bars=msgspec.structs.replace(market.bars, **columns))
