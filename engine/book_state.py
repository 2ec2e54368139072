"""What a run on a tape has beside the tables of every run: books, bar builders, who listens, how far the venue is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.kernels import layout
from engine.kernels.book.levels import settle_far
from engine.settings import BookExecution
from engine.state import State

_FAR_LEAST = 4096
_WINDOW_LEAST = 4096
_WINDOW_MOST = 32768
_REPORTS_LEAST = 1 << 12
_BAR_ROWS_LEAST = 1 << 12
_ASKED_LEAST = 1 << 12
CALLBACKS = ("on_book", "on_print", "on_bar", "on_timer", "on_order", "on_funding", "on_gap")


class TapeMarket(msgspec.Struct, frozen=True):
    """What a tape holds of one instrument: whether there is a book, and what its host's clock lacks to the venue's."""

    has_book: bool
    clock_offset_ns: int = 0


class Listener(msgspec.Struct, frozen=True):
    """A strategy as the core knows it: where it listens, its bars' length, its timer, and who is to be called.

    `targets`: for each of `CALLBACKS` 0 (nobody), 1 (whoever drives the core) or the address of a compiled
    function; `state_address`: what a compiled strategy keeps, `state_bytes` for each instrument.
    """

    markets: tuple[int, ...]
    timeframe_ns: int
    timer_ns: int = 0
    targets: tuple[int, ...] = (0,) * len(CALLBACKS)
    state_address: int = 0
    state_bytes: int = 0


class Latency(msgspec.Struct, frozen=True):
    """From a host's time on: how long an order takes to the venue, and its answer back; ns."""

    ts_ns: int
    entry_ns: int
    response_ns: int


def constant_latency(book: BookExecution) -> tuple[Latency, ...]:
    """The settings' latency as the one row of a series."""
    unit = layout.MICRO
    return (Latency(0, round(book.order_latency_ms * unit), round(book.response_latency_ms * unit)),)


def _listen(state: State, listeners: Sequence[Listener]) -> None:
    count = len(state.instruments)
    state.core["tells_books"] = any(listener.targets[CALLBACKS.index("on_book")] for listener in listeners)
    state.core["tells_prints"] = any(listener.targets[CALLBACKS.index("on_print")] for listener in listeners)
    for index, listener in enumerate(listeners):
        point_to(state, index, listener)
        for market in listener.markets:
            ledger = state.ledgers[index * count + market]
            ledger["is_watching"], ledger["timer_ns"] = 1, listener.timer_ns
            ledger["timer_due_ns"] = layout.NEVER


def point_to(state: State, index: int, listener: Listener) -> None:
    """Note whom the core calls for a strategy, and where its state lies."""
    row = state.strategies[index]
    row["timeframe_ns"] = listener.timeframe_ns
    row["state"], row["state_bytes"] = listener.state_address, listener.state_bytes
    for name, target in zip(CALLBACKS, listener.targets, strict=True):
        row[name] = target


def _builders(timeframes: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """One row for each (instrument, timeframe), by instrument, in the order given."""
    pairs = sorted(dict.fromkeys(timeframes), key=lambda pair: pair[0])
    rows = np.zeros(len(pairs), dtype=layout.BUILDER)
    for row, (instrument, timeframe_ns) in zip(rows, pairs, strict=True):
        row["instrument"], row["timeframe_ns"], row["start_ns"] = instrument, timeframe_ns, layout.NEVER
    return rows


def prepare_tape(
    state: State, markets: Sequence[TapeMarket], listeners: Sequence[Listener],
    timeframes: Sequence[tuple[int, int]], latencies: Sequence[Latency],
) -> None:  # fmt: skip
    """Make a fresh state ready for a tape. `timeframes`: (instrument, ns) of every bar to be built."""
    core = state.core
    core["is_book"] = 1
    state.books = np.zeros(len(markets), dtype=layout.BOOK)
    state.fars = np.zeros(_FAR_LEAST * len(markets), dtype=layout.FAR)
    state.cells = np.zeros(2 * _WINDOW_LEAST * len(markets), dtype=layout.CELL)
    state.firsts = np.zeros(2 * _WINDOW_LEAST * len(markets), dtype=layout.PLACE)
    state.books["window"] = _WINDOW_LEAST
    state.books["cell_offset"] = np.arange(len(markets)) * 2 * _WINDOW_LEAST
    state.books["far_size"] = _FAR_LEAST
    state.books["far_offset"] = np.arange(len(markets)) * _FAR_LEAST
    for index, market in enumerate(markets):
        state.books["state"][index] = layout.BOOK_INVALID_STATE if market.has_book else layout.BOOK_NONE
        state.instruments["has_book"][index] = int(market.has_book)
        state.instruments["offset_ns"][index] = market.clock_offset_ns
    state.books["base"] = 1
    state.builders = _builders(timeframes)
    owners = state.builders["instrument"]
    for index in range(len(markets)):
        own = np.nonzero(owners == index)[0]
        state.instruments["first_builder"][index] = own[0] if len(own) else 0
        state.instruments["builder_count"][index] = len(own)
    state.reports = _ring(_REPORTS_LEAST)
    state.bar_rows = np.zeros(_BAR_ROWS_LEAST, dtype=layout.BAR_ROW)
    state.asked = np.zeros(_ASKED_LEAST, dtype=layout.REQUEST)
    state.latencies = np.array([(row.ts_ns, row.entry_ns, row.response_ns) for row in latencies], dtype=layout.LATENCY)
    _listen(state, listeners)
    state.bind()


def grow_book(state: State, index: int) -> None:
    """Give one book's table of far levels twice the room, and a book of many levels twice the window."""
    book = state.books[index]
    start, size = int(book["far_offset"]), int(book["far_size"])
    state.fars = np.concatenate((state.fars[: start + size], np.zeros(size, layout.FAR), state.fars[start + size :]))
    book["far_size"] = 2 * size
    state.books["far_offset"][index + 1 :] += size
    if book["window"] < _WINDOW_MOST:
        _widen(state, index)
    state.bind()
    settle_far(state.core, index)


def _widen(state: State, index: int) -> None:
    """Twice the window around the same middle: every level that it then reaches comes in from the far table."""
    book = state.books[index]
    start, window, base = int(book["cell_offset"]), int(book["window"]), int(book["base"])
    wide, wide_base = 2 * window, max(1, base - window // 2)
    cells, firsts = np.zeros(2 * wide, dtype=layout.CELL), np.zeros(2 * wide, dtype=layout.PLACE)
    fars = state.fars[int(book["far_offset"]) :][: int(book["far_size"])]
    far_prices = fars["key"] >> 1
    is_near = (fars["key"] != 0) & (far_prices >= wide_base) & (far_prices < wide_base + wide)
    prices = np.arange(max(base, wide_base), min(base + window, wide_base + wide))
    for side, count in ((layout.BID, "window_bids"), (layout.ASK, "window_asks")):
        old, new = start + side * window + (prices & (window - 1)), side * wide + (prices & (wide - 1))
        cells["lots"][new], firsts["slot"][new] = state.cells["lots"][old], state.firsts["slot"][old]
        coming = is_near & (fars["key"] & 1 == side)
        new = side * wide + (far_prices[coming] & (wide - 1))
        cells["lots"][new], firsts["slot"][new] = fars["lots"][coming], fars["first"][coming]
        book[count] += np.count_nonzero(fars["lots"][coming])
    fars[is_near] = np.zeros(1, dtype=layout.FAR)
    book["far_used"] -= np.count_nonzero(is_near)
    book["base"], book["window"] = wide_base, wide
    state.cells = np.concatenate((state.cells[:start], cells, state.cells[start + 2 * window :]))
    state.firsts = np.concatenate((state.firsts[:start], firsts, state.firsts[start + 2 * window :]))
    state.books["cell_offset"][index + 1 :] += 2 * (wide - window)


def _ring(capacity: int) -> NDArray[Any]:
    """Room for reports, written to at once: a ring whose pages come to be bit by bit looks like a leak for an hour."""
    ring = np.empty(capacity, dtype=layout.REPORT)
    ring.view(np.int64).fill(0)
    return ring


def grow_reports(state: State, needed: int) -> None:
    """Make room for at least `needed` reports on their way."""
    core = state.core
    head, count = int(core["report_head"][0]), int(core["report_count"][0])
    capacity = len(state.reports)
    while capacity < count + needed:
        capacity *= 2
    larger = _ring(capacity)
    larger[:count] = np.roll(state.reports, -head)[:count]
    state.reports = larger
    core["report_head"] = 0
    state.bind()
