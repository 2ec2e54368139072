"""Bars of before the first live one: from the venue, or from stored files, as documents of the tape."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from adapters.bar_files import path_of, read_bars
from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.tape import TapeInstrument
from adapters.tape.documents import BarWords, History
from adapters.venue_rest.kline_rows import KlineBar
from adapters.venue_rest.klines import klines
from engine.bars import timeframe_ns

_NUMBERS = ("open", "high", "low", "close")


class Wanted(msgspec.Struct, frozen=True):
    """Bars that strategies want: of which instrument and length, how many, and those after which (ns) only."""

    index: int
    instrument: TapeInstrument
    timeframe: str
    count: int
    after_ns: int


async def venue_history(gate: RestGate, venue: Venue, rest: str, wanted: Wanted, venue_ns: int) -> History:
    """The last closed bars as the venue has them, rounded to ticks and lots; raises as `klines` does."""
    found = await klines(
        gate, venue, wanted.instrument.symbol, wanted.timeframe, wanted.count, rest=rest, now_ns=venue_ns
    )
    rows = [bar for bar in found.bars if bar.open_ns > wanted.after_ns]
    partial = found.partial if found.partial is not None and found.partial.open_ns > wanted.after_ns else None
    return History(
        wanted.index, wanted.timeframe, tuple(_words(wanted.instrument, rows)),
        next(iter(_words(wanted.instrument, [partial])), None) if partial is not None else None,
        f"{venue.exchange} {found.interval}",
    )  # fmt: skip


def stored_history(home: Path, wanted: Wanted, now_ns: int) -> History:
    """The last closed bars of the stored file of the symbol; raises InputMissingError where there is none."""
    path = path_of(home, wanted.instrument.symbol, wanted.timeframe)
    bars = read_bars(path, wanted.instrument.symbol, wanted.timeframe)
    closed = int((bars.ts_ns + timeframe_ns(wanted.timeframe) <= now_ns).sum())
    first = max(0, closed - wanted.count)
    rows = [
        KlineBar(
            int(bars.ts_ns[place]), *(Decimal(str(getattr(bars, name)[place])) for name in (*_NUMBERS, "volume"))
        )
        for place in range(first, closed)
        if bars.ts_ns[place] > wanted.after_ns
    ]  # fmt: skip
    return History(wanted.index, wanted.timeframe, tuple(_words(wanted.instrument, rows)), None, path.name)


def _words(instrument: TapeInstrument, bars: Iterable[KlineBar]) -> Iterable[BarWords]:
    tick, lot = instrument.tick_size, instrument.lot_size
    for bar in bars:
        numbers: Any = (round(getattr(bar, name) / tick) for name in _NUMBERS)
        yield (bar.open_ns, *numbers, round(bar.volume / lot))
