"""What a run on a tape reads, and the bars that a pass over all of it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, timeframe_ns
from engine.book_engine import BookEngine
from engine.book_state import Latency, TapeMarket
from engine.instruments import Instrument
from engine.kernels import layout
from engine.settings import RunSettings

Batches = Callable[[], Iterable[NDArray[Any]]]


class TapeInput(msgspec.Struct, frozen=True):
    """What a run on a tape reads: instruments, what it holds of each; at each call all its records from the start."""

    instruments: tuple[Instrument, ...]
    markets: tuple[TapeMarket, ...]
    batches: Batches
    latencies: tuple[Latency, ...] = ()
    records: int = 0


def bars_of_tape(tape: TapeInput, settings: RunSettings, timeframes: Sequence[tuple[int, str]]) -> list[Bars]:
    """Bars built from the tape's prints, one Bars for each (instrument, timeframe): exactly those the engine builds."""
    pairs = [(market, timeframe_ns(timeframe)) for market, timeframe in timeframes]
    engine = BookEngine(settings, tape.instruments, tape.markets, (), pairs, tape.latencies)
    parts = []
    for records in tape.batches():
        engine.advance(records, 0, len(records))
        parts.append(engine.bar_rows())
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=layout.BAR_ROW)
    numbers = [(int(row["instrument"]), int(row["timeframe_ns"])) for row in engine.state.builders]
    return [
        _bars(
            rows[rows["builder"] == numbers.index((market, timeframe_ns(timeframe)))],
            tape.instruments[market],
            timeframe,
        )
        for market, timeframe in timeframes
    ]


def _bars(rows: NDArray[Any], instrument: Instrument, timeframe: str) -> Bars:
    def prices(name: str) -> NDArray[np.float64]:
        found, places = np.unique(rows[name], return_inverse=True)
        exact = np.array([float(int(ticks) * instrument.tick_size) for ticks in found], dtype=np.float64)
        return exact[places]

    volumes, places = np.unique(rows["volume"], return_inverse=True)
    exact = np.array([float(int(lots) * instrument.lot_size) for lots in volumes], dtype=np.float64)
    return Bars(
        instrument.symbol, timeframe, np.ascontiguousarray(rows["start_ns"]), prices("open"), prices("high"),
        prices("low"), prices("close"), exact[places],
    )  # fmt: skip
