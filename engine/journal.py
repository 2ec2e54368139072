"""The bar journal: one row a bar of one symbol, made after the run from what the core said.

The rows come in pieces, so that a journal of any length needs the memory of one piece beside the run's own columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_MS, Bars, FloatColumn, IntColumn
from engine.ctx import Context
from engine.frames import known_bars
from engine.indicators import IndicatorSpec, definition_of
from engine.order_signals import order_signals
from engine.reading import Scale
from engine.series_indicators import output_names
from engine.symbol_accounts import Moves, Timeline, account_cash, changes_of

ROWS = 65_536

Piece: TypeAlias = dict[str, NDArray[Any]]


class IndicatorColumn(msgspec.Struct, frozen=True):
    """One output of an indicator; of a higher timeframe `known[i]` of its values are over at the close of bar i."""

    name: str
    values: FloatColumn
    known: NDArray[np.int64] | None = None


class JournalInput(msgspec.Struct, frozen=True):
    """What the journal of one market is made of; `equity` is the account's, one row a step, in cash units."""

    market: int
    bars: Bars
    scale: Scale
    outputs: NDArray[np.int64]
    moves: Moves
    timeline: Timeline
    equity: IntColumn
    initial_units: int
    indicators: tuple[IndicatorColumn, ...]


def indicator_columns(
    bars: Bars, given: Mapping[IndicatorSpec, tuple[FloatColumn, ...]], contexts: Sequence[Context], first: int = 0
) -> tuple[IndicatorColumn, ...]:  # fmt: skip
    """What the config names (`given`), then what strategies have asked for on this market, each once.

    All of it is of `bars`, of which the `first` are from before the run; what is returned begins after those.
    """
    found: dict[str, IndicatorColumn] = {}
    known: dict[str, NDArray[np.int64] | None] = {"": None, bars.timeframe: None}

    def known_of(timeframe: str) -> NDArray[np.int64] | None:
        if timeframe not in known:
            known[timeframe] = known_bars(bars, timeframe)
        return known[timeframe]

    for context in contexts:
        if context.timeframe == bars.timeframe:
            known |= {frame.timeframe: frame.known for frame in context.frames}
    for spec, columns in given.items():
        for name, column in zip(output_names(str(spec), definition_of(spec.name).outputs), columns, strict=True):
            found[name] = IndicatorColumn(name, column, known_of(spec.timeframe))
    for context in contexts:
        own = known_of(context.timeframe)  # a strategy may have bars of its own, made of the run's
        for name, column in context.ind.columns():
            found.setdefault(name, IndicatorColumn(name, column, own))
        for frame in context.frames:
            seen = frame.known if own is None else np.concatenate((np.zeros(1, dtype=np.int64), frame.known))[own]
            for name, column in frame.ind.columns():
                found.setdefault(name, IndicatorColumn(name, column, seen))
    return tuple(_begun_at(column, first) if first else column for column in found.values())


def _begun_at(column: IndicatorColumn, first: int) -> IndicatorColumn:
    """The same without the first bars; of a higher timeframe what those made up stays to be pointed at."""
    if column.known is None:
        return IndicatorColumn(column.name, column.values[first:])
    return IndicatorColumn(column.name, column.values, column.known[first:])


def journal_pieces(given: JournalInput, rows: int = ROWS) -> Iterator[Piece]:
    """Columns of up to `rows` bars at a time, in order; indicators are NaN where they have no value yet.

    timestamp: int64, UTC ms of the bar's open; entry_signal, exit_signal, in_position: bool; the others float64, sizes
    in units and money in money. What a row says holds at the bar's close, before what was ordered there.
    """
    bars, timeline, market = given.bars, given.timeline, given.market
    steps = timeline.bar_steps[market]
    changes = changes_of(given.moves, market)
    cash_steps, cash = account_cash(given.moves)
    cash = np.concatenate((np.full(1, given.initial_units, dtype=np.int64), cash))
    signals = [_bars_at(steps, found) for found in order_signals(given.outputs, market, timeline)]
    peaks = _Peaks(given.equity, given.initial_units)
    unit = 10.0**given.scale.cash_decimals
    padded = [
        np.concatenate((np.full(1, np.nan), column.values)) for column in given.indicators if column.known is not None
    ]
    for start in range(0, len(bars), rows):
        stop = min(start + rows, len(bars))
        own = steps[start:stop]
        lots = changes.at(changes.lots, own)
        entered, left = (_flags(found, start, stop) for found in signals)
        higher = iter(padded)
        yield {
            "timestamp": bars.ts_ns[start:stop] // NS_PER_MS,
            "price": bars.close[start:stop],
            "entry_signal": entered,
            "exit_signal": left,
            "in_position": changes.at(changes.open, own) > 0,
            "position_size": sizes(lots, given.scale),
            "capital": cash[np.searchsorted(cash_steps, own, side="right")] / unit,
            "drawdown": peaks.drawdowns(own),
            **{
                column.name: column.values[start:stop] if column.known is None
                else next(higher)[column.known[start:stop]]
                for column in given.indicators
            },
        }  # fmt: skip


def sizes(lots: IntColumn, scale: Scale) -> FloatColumn:
    """Lots as units, each the double nearest to the exact size where a unit is a whole number of lots."""
    per_unit = 1 / scale.instrument.lot_size
    is_whole = per_unit == per_unit.to_integral_value()
    exact = lots.astype(np.float64)
    found: FloatColumn = exact / float(per_unit) if is_whole else exact * scale.lot
    return found


class _Peaks:
    """Drawdowns of the account, asked for in order of time."""

    def __init__(self, equity: IntColumn, initial_units: int) -> None:
        self._equity = equity
        self._peak = initial_units
        self._done = 0  # steps that the peak holds

    def drawdowns(self, steps: IntColumn) -> FloatColumn:
        """The fraction below the peak so far at the ends of steps, ascending, none before those of the last call."""
        stop = int(steps[-1]) + 1
        equity = self._equity[self._done : stop]
        peak = np.maximum(np.maximum.accumulate(equity), self._peak)
        places = steps - self._done
        found: FloatColumn = (peak[places] - equity[places]) / peak[places]
        self._done, self._peak = stop, int(peak[-1])
        return found


def _bars_at(steps: IntColumn, found: IntColumn) -> IntColumn:
    """The bars at or after steps of the run: a strategy may order on one market at another one's bar."""
    bars = np.searchsorted(steps, found, side="left")
    return bars[bars < len(steps)]


def _flags(bars: IntColumn, start: int, stop: int) -> NDArray[np.bool_]:
    flags = np.zeros(stop - start, dtype=np.bool_)
    first, last = np.searchsorted(bars, (start, stop))
    flags[bars[first:last] - start] = True
    return flags
