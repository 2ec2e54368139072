"""A market as the engine is fed: bars in integers, funding, and the one ordered stream of records made of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, IntColumn, timeframe_ns
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.layout import RECORD
from engine.kernels.records import fill_bars
from engine.precision import to_units


class FundingSeries(msgspec.Struct, frozen=True):
    """Funding of one symbol: settlement times (UTC ns), rates (parts of 10^12), marks (price × 10^8; 0: unknown)."""

    ts_ns: IntColumn
    rate_e12: IntColumn
    mark_e8: IntColumn
    is_static: bool = False


class Market(msgspec.Struct, frozen=True):
    """One instrument with its bars, and its funding where there is any.

    `lookback`: bars right before these, for strategies to look back on. They are no records: nothing trades in them.
    """

    instrument: Instrument
    bars: Bars
    funding: FundingSeries | None = None
    lookback: Bars | None = None

    @property
    def first(self) -> int:
        """How many bars a strategy can see before the run's own: the index of the run's first one among them."""
        return 0 if self.lookback is None else len(self.lookback)


class EventStream(msgspec.Struct, frozen=True):
    """All records of a run in order, and where each bar's step ends.

    `step_stops[s]` is the index after the last record of step s. `bar_steps[k][i]` is the step at whose end bar i of
    market k is known.
    """

    records: NDArray[Any]
    step_stops: IntColumn
    bar_steps: tuple[IntColumn, ...]


def shown_bars(market: Market) -> Bars:
    """What strategies see of a market in the end: its lookback and its bars, joined in new columns if it has one."""
    before, bars = market.lookback, market.bars
    if before is None or not len(before):
        return bars
    names = ("ts_ns", "open", "high", "low", "close", "volume")
    columns = {name: np.concatenate((getattr(before, name), getattr(bars, name))) for name in names}
    return msgspec.structs.replace(bars, **columns)


def static_funding(bars: Bars, rate: Decimal, interval_hours: int) -> FundingSeries:
    """A fixed rate at every whole interval (UTC) inside the bars' span, with the engine's own mark."""
    step = interval_hours * 3_600 * 10**9
    if not len(bars):
        empty = np.zeros(0, dtype=np.int64)
        return FundingSeries(empty, empty, empty, is_static=True)
    first = -(-int(bars.ts_ns[0]) // step) * step
    times = np.arange(first, int(bars.ts_ns[-1]) + timeframe_ns(bars.timeframe), step, dtype=np.int64)
    rate_e12 = int((rate * layout.E12).to_integral_value())
    return FundingSeries(times, np.full(len(times), rate_e12), np.zeros(len(times), dtype=np.int64), is_static=True)


def _write_bars(records: NDArray[Any], market: Market, index: int) -> None:
    bars, instrument = market.bars, market.instrument
    opened, high, low, closed = (
        to_units(getattr(bars, name), instrument.tick_size, f"{bars.symbol} {name}")
        for name in ("open", "high", "low", "close")
    )
    volume = to_units(bars.volume, instrument.lot_size, f"{bars.symbol} volume", "floor")
    ts_ns = np.ascontiguousarray(bars.ts_ns)
    fill_bars(records, index, timeframe_ns(bars.timeframe), ts_ns, opened, high, low, closed, volume)


def _bar_records(market: Market, index: int) -> NDArray[Any]:
    records = np.empty(len(market.bars), dtype=RECORD)
    _write_bars(records, market, index)
    return records


def _funding_records(market: Market, index: int) -> NDArray[Any]:
    funding = market.funding
    if funding is None or not len(market.bars):
        return np.zeros(0, dtype=RECORD)
    bars = market.bars
    span = (funding.ts_ns >= bars.ts_ns[0]) & (funding.ts_ns < bars.ts_ns[-1] + timeframe_ns(bars.timeframe))
    records = np.zeros(int(span.sum()), dtype=RECORD)
    records["ts_exchange_ns"] = records["ts_receive_ns"] = funding.ts_ns[span]
    records["kind"] = layout.FUNDING
    records["flags"] = layout.STATIC_RATE if funding.is_static else 0
    records["instrument"] = index
    records["a"] = funding.rate_e12[span]
    # A mark price has up to 8 decimals: micro-ticks = price · 10^6 ÷ tick, in whole numbers throughout.
    numerator, denominator = (Decimal(layout.MICRO) / (market.instrument.tick_size * 10**8)).as_integer_ratio()
    marks = [(int(mark) * numerator + denominator // 2) // denominator for mark in funding.mark_e8[span]]
    records["b"] = np.array(marks, dtype=np.int64)
    return records


def _open_records(bars: NDArray[Any], funding: NDArray[Any]) -> NDArray[Any]:
    """A BAR_OPEN for each bar that has a funding time strictly inside."""
    if not len(funding):
        return bars[:0]
    holder = np.searchsorted(bars["ts_exchange_ns"], funding["ts_exchange_ns"], side="right") - 1
    held = bars[np.maximum(holder, 0)]
    times = funding["ts_exchange_ns"]
    inside = (holder >= 0) & (times > held["ts_exchange_ns"]) & (times < held["ts_receive_ns"])
    opens = bars[np.unique(holder[inside])].copy()
    opens["kind"] = layout.BAR_OPEN
    opens["ts_receive_ns"] = opens["ts_exchange_ns"]
    for field in "bcd":
        opens[field] = 0
    return opens


def _ordered(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """By receive time; at one time bars that close, then funding, then bars that open; then by instrument."""
    records = np.concatenate(parts)
    rank = np.select([records["kind"] == layout.BAR, records["kind"] == layout.FUNDING], [0, 1], 2)
    return records[np.lexsort((records["instrument"], rank, records["ts_receive_ns"]))]


def event_stream(markets: Sequence[Market]) -> EventStream:
    """Merge the markets into one ordered stream that ends with END; raises DataError where prices are off the tick."""
    if len(markets) == 1 and markets[0].funding is None:
        return _plain_stream(markets[0])
    bars = [_bar_records(market, index) for index, market in enumerate(markets)]
    funding = [_funding_records(market, index) for index, market in enumerate(markets)]
    opens = [_open_records(own_bars, own_funding) for own_bars, own_funding in zip(bars, funding, strict=True)]
    ordered = _ordered([*bars, *funding, *opens])
    records = np.zeros(len(ordered) + 1, dtype=RECORD)
    records[:-1] = ordered
    bar_places = np.nonzero(records["kind"] == layout.BAR)[0]
    times = records["ts_receive_ns"][bar_places]
    is_last = np.ones(len(bar_places), dtype=bool)
    is_last[:-1] = times[1:] != times[:-1]
    records["flags"][bar_places[is_last]] |= layout.LAST
    _write_end(records, int(times[-1]) if len(times) else 0)
    step_of_place = np.cumsum(is_last) - is_last
    owner = records["instrument"][bar_places]
    return EventStream(
        records=records,
        step_stops=(bar_places[is_last] + 1).astype(np.int64),
        bar_steps=tuple(step_of_place[owner == index].astype(np.int64) for index in range(len(markets))),
    )


def _plain_stream(market: Market) -> EventStream:
    """One market without funding: every bar is a step."""
    count = len(market.bars)
    records = np.empty(count + 1, dtype=RECORD)
    _write_bars(records[:-1], market, 0)
    records["flags"][:-1] = layout.LAST
    _write_end(records, int(records["ts_receive_ns"][-2]) if count else 0)
    steps = np.arange(count, dtype=np.int64)
    return EventStream(records=records, step_stops=steps + 1, bar_steps=(steps,))


def _write_end(records: NDArray[Any], ts_ns: int) -> None:
    records[-1:] = np.zeros(1, dtype=RECORD)
    records["kind"][-1], records["flags"][-1] = layout.END, layout.LAST
    records["ts_exchange_ns"][-1] = records["ts_receive_ns"][-1] = ts_ns
