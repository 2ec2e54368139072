"""The engine on a tape: the same state machine, with books, bars of its own making, and strategies told by events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.book_state import (
    CALLBACKS,
    Latency,
    Listener,
    TapeMarket,
    constant_latency,
    grow_book,
    grow_reports,
    prepare_tape,
)
from engine.core import Engine
from engine.errors import DataError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.book.core import advance_book, submit_book
from engine.kernels.book.levels import write_depth
from engine.settings import RunSettings

_OUTPUTS_EACH = 12


class BookEngine(Engine):
    """Records of a tape in, outputs and bars out; comes back wherever a strategy in Python is to be told something."""

    def __init__(
        self, settings: RunSettings, instruments: Sequence[Instrument], markets: Sequence[TapeMarket],
        listeners: Sequence[Listener], timeframes: Sequence[tuple[int, int]] = (), latencies: Sequence[Latency] = (),
    ) -> None:  # fmt: skip
        super().__init__(settings, instruments, max(1, len(listeners)))
        self._listeners = tuple(listeners)
        prepare_tape(self.state, markets, listeners, timeframes, latencies or constant_latency(settings.book))
        self._bar_rows: list[NDArray[Any]] = []

    def advance(
        self, events: NDArray[Any], start: int, stop: int, requests: NDArray[Any] | None = None
    ) -> tuple[int, int]:
        """Consume records [start, stop); returns the next index and the wake: DONE, or EVENT where one is to be told.

        After EVENT the figures event, event_strategy, event_instrument, event_word say what and whom; call again to
        go on. Raises DataError on a record that makes no sense, CapacityError where a price would overflow.
        """
        assert requests is None or not len(requests), "strategies on a tape ask when they are told"
        position = start
        while True:
            position = advance_book(self.state.core, events, position, stop)
            wake = int(self.state.core["wake"][0])
            if wake in (layout.WAKE_DONE, layout.WAKE_EVENT):
                return position, wake
            self._relieve(wake, events, position)

    def _relieve(self, wake: int, events: NDArray[Any], position: int) -> None:
        needed = int(self.state.core["room_needed"][0])
        match wake:
            case layout.WAKE_BOOK_FULL:
                grow_book(self.state, needed)
            case layout.WAKE_REPORTS_FULL:
                grow_reports(self.state, needed)
            case layout.WAKE_BARS_FULL:
                self._flush_bar_rows()
            case layout.WAKE_BAD_RECORD:
                raise DataError(
                    f"record {int(self.state.core['seq'][0]) + 1} of the tape makes no sense: {events[position]}",
                    remedy="What wrote the tape has a defect. Leave the record out: tapewright tape cut",
                )
            case _:
                super()._relieve(wake, events, position)

    def _flush_bar_rows(self) -> None:
        core = self.state.core
        count = int(core["bar_row_count"][0])
        if count:
            self._bar_rows.append(self.state.bar_rows[:count].copy())
            core["bar_row_count"] = 0

    def bar_rows(self) -> NDArray[Any]:
        """All bars closed since the last call, in the order in which they closed: BAR_ROW records."""
        self._flush_bar_rows()
        parts, self._bar_rows = self._bar_rows, []
        return np.concatenate(parts) if parts else np.zeros(0, dtype=layout.BAR_ROW)

    def submit(self, requests: NDArray[Any]) -> int:
        """Carry out requests now; returns the id of the first new order."""
        core, ledgers = self.state.core, len(self.state.ledgers)
        live = int(core["live_orders"][0]) + len(requests) + ledgers
        if live >= len(self.state.orders):
            self.state.grow_orders(2 * live)
        needed = _OUTPUTS_EACH * (live + ledgers) + 64
        if core["output_count"][0] + needed > len(self.state.outputs):
            self._make_output_room(needed)
        if core["report_count"][0] + needed > len(self.state.reports):
            grow_reports(self.state, needed)
        first = int(core["order_count"][0]) + 1
        submit_book(self.state.core, requests)
        if core["defect"][0]:
            self._raise_defect()
        return first

    def depth(self, market: int, side: int, levels: int) -> NDArray[np.int64]:
        """The best levels of a side (BID or ASK), best first: (n, 2) price in ticks, size in lots."""
        count = min(levels, int(self.state.books["level_count"][market]))
        rows = np.zeros((count, 2), dtype=np.int64)
        return rows[: write_depth(self.state.core, market, side, rows)]

    def output_rows(self, first: int, count: int) -> NDArray[np.int64]:
        """Outputs by their number since the run's start, (≤ count, 16), as far as they have not been handed out."""
        core = self.state.core
        pending, base = int(core["output_count"][0]), int(core["output_base"][0])
        if first >= base:
            return self.state.outputs[first - base : min(pending, first - base + count)]
        parts = [*self._outputs, self.state.outputs[:pending]]
        start = base - sum(len(part) for part in self._outputs)
        found = []
        for part in parts:
            low, high = max(first - start, 0), min(first + count - start, len(part))
            if low < high:
                found.append(part[low:high])
            start += len(part)
        return np.concatenate(found) if found else np.zeros((0, layout.OUTPUT_WORDS), dtype=np.int64)

    def restore(self, snapshot: bytes) -> None:
        """Become what a snapshot says; compiled strategies stay those of this process."""
        super().restore(snapshot)
        for index, listener in enumerate(self._listeners):
            self.state.strategies["state"][index] = listener.state_address
            for name, target in zip(CALLBACKS, listener.targets, strict=True):
                self.state.strategies[name][index] = target
