"""Rows of the past that a loopback exchange's REST gives as they are stored: bars, mark prices, settled funding.

A folder that is laid out as a home's `data/` is read; so an exchange on this machine can give out real history.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from adapters.bar_catalog import stored_paths
from adapters.bar_files import FIELDS, name_of, read_bars
from adapters.funding_files import read_mark, read_stored
from adapters.instrument_files import read_instrument
from adapters.loopback.candles import INTERVALS_MS
from adapters.loopback.market import ListedMarket
from engine.bars import NS_PER_MS, Bars, FloatColumn, IntColumn
from engine.errors import InputMissingError
from engine.precision import infer_unit

Columns = tuple[IntColumn, list[FloatColumn]]
_MARK_TIMEFRAME = "8h"
_QUOTES = ("USDT", "USDC", "BUSD", "BTC")
_NOISE_ULPS = 2


class History:
    """Rows by symbol and timeframe; rows of a kind that was not given are nobody's."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, str], Columns] = {}
        self._marks: dict[tuple[str, str], Columns] = {}
        self._funding: dict[str, Columns] = {}
        self.instruments: dict[str, ListedMarket] = {}

    @property
    def symbols(self) -> set[str]:
        """All that something is known of."""
        return {symbol for symbol, _ in (*self._bars, *self._marks)} | set(self._funding)

    def add_bars(self, bars: Bars) -> None:
        """Give out bars."""
        self._bars[bars.symbol, bars.timeframe] = (bars.ts_ns, [getattr(bars, field) for field in FIELDS])

    def add_instrument(self, symbol: str, tick_size: Decimal, lot_size: Decimal) -> None:
        """List an instrument."""
        quote = next((name for name in _QUOTES if symbol.endswith(name)), "")
        self.instruments[symbol] = ListedMarket(
            symbol, symbol.removesuffix(quote), quote, tick_size, lot_size, _places(tick_size), _places(lot_size)
        )

    def add_marks(self, symbol: str, ts_ns: IntColumn, opens: FloatColumn, timeframe: str = _MARK_TIMEFRAME) -> None:
        """Give out mark prices, as candles whose four prices are the same."""
        self._marks[symbol, timeframe] = (ts_ns, [opens, opens, opens, opens, np.zeros(len(opens))])

    def add_funding(self, symbol: str, ts_ns: IntColumn, rates: FloatColumn) -> None:
        """Give out settlements."""
        self._funding[symbol] = (ts_ns, [rates])

    def klines(
        self, symbol: str, interval: str, limit: int, start_ms: int | None, end_ms: int | None, *, is_mark: bool
    ) -> list[list[object]] | None:
        """Rows as REST gives them, the last `limit` or the first from a start on; None where there are none to give."""
        columns = (self._marks if is_mark else self._bars).get((symbol, interval))
        if columns is None:
            return None
        length_ms = INTERVALS_MS[interval]
        return [
            [open_ms, *values, open_ms + length_ms - 1, "0", 1, "0", "0", "0"]
            for open_ms, values in _chosen(columns, limit, start_ms, end_ms)
        ]

    def funding(
        self, symbol: str, limit: int, start_ms: int | None, end_ms: int | None
    ) -> list[dict[str, object]] | None:  # fmt: skip
        """The same of settlements."""
        columns = self._funding.get(symbol)
        if columns is None:
            return None
        return [
            {"symbol": symbol, "fundingTime": time_ms, "fundingRate": values[0], "markPrice": ""}
            for time_ms, values in _chosen(columns, limit, start_ms, end_ms)
        ]


def read_history(home: Path) -> History:
    """Everything that is stored under a home's `data/`; raises InputMissingError where nothing is."""
    history = History()
    for path in stored_paths(home):
        named = name_of(path)
        assert named is not None, "the catalogue lists named files"
        if named[1] in INTERVALS_MS:
            bars = read_bars(path, *named)
            history.add_bars(bars)
            kept = read_instrument(home, bars.symbol)
            if kept is not None:
                history.add_instrument(bars.symbol, kept.tick_size, kept.lot_size)
            elif bars.symbol not in history.instruments:
                tick = infer_unit(bars.open, bars.high, bars.low, bars.close, noise_ulps=_NOISE_ULPS)
                history.add_instrument(bars.symbol, tick, infer_unit(bars.volume, noise_ulps=_NOISE_ULPS))
    for path in sorted((home / "data" / "funding").glob("*.parquet")):
        series = read_stored(path, path.stem, "funding")
        history.add_funding(path.stem, series.ts_ns, series.values)
    for path in sorted((home / "data" / "mark").glob("*.parquet")):
        history.add_marks(path.stem, *read_mark(path))
    if not history.symbols:
        raise InputMissingError(
            f"Nothing is stored under {home / 'data'}", remedy="Give the folder that holds data/, as --home does."
        )
    return history


def _chosen(
    columns: Columns, limit: int, start_ms: int | None, end_ms: int | None
) -> list[tuple[int, list[str]]]:  # fmt: skip
    """Times in ms and values as text, of the rows that a query means."""
    ts_ns, values = columns
    first = 0 if start_ms is None else int(np.searchsorted(ts_ns, start_ms * NS_PER_MS))
    stop = len(ts_ns) if end_ms is None else int(np.searchsorted(ts_ns, end_ms * NS_PER_MS, side="right"))
    if start_ms is None:
        first = max(first, stop - limit)
    stop = min(stop, first + limit)
    texts = zip(*([_text(value) for value in column[first:stop]] for column in values), strict=True)
    times = (ts_ns[first:stop] // NS_PER_MS).tolist()
    return [(time_ms, list(row)) for time_ms, row in zip(times, texts, strict=True)]


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a step is finite"
    return max(0, -exponent)


def _text(value: float) -> str:
    """A number as a venue writes it: the shortest text that is it, without an exponent."""
    return str(np.format_float_positional(value, trim="-"))
