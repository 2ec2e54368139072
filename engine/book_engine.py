"""The engine on a tape: the same state machine, with books, bars of its own making, and strategies told by events."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
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
    point_to,
    prepare_tape,
)
from engine.core import NO_REQUESTS, Engine
from engine.errors import DataError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.book.core import advance_book, submit_book
from engine.kernels.book.levels import write_depth
from engine.kernels.compile import CACHE_FOLDER
from engine.settings import RunSettings

_OUTPUTS_EACH = 12
_NO_OUTPUTS = np.zeros((0, layout.OUTPUT_WORDS), dtype=np.int64)
# Places of figures read for each step, in the CORE record seen as int64 words.
_WAKE, _BAR_ROW_COUNT, _OUTPUT_BASE, _OUTPUT_COUNT = (
    layout.FIGURES.index(name) for name in ("wake", "bar_row_count", "output_base", "output_count")
)


def is_compiled() -> bool:
    """Whether the machine code of a run on a tape lies in the cache, so that a start is quick."""
    return CACHE_FOLDER is not None and any(CACHE_FOLDER.rglob("core.advance_book-*.nbc"))


def prepare() -> None:
    """Compile the core for tapes, or load it from its cache, before anything waits for it."""
    instrument = Instrument("ANY", Decimal(1), Decimal(1))
    engine = BookEngine(RunSettings(), [instrument], [TapeMarket(has_book=True)], [])
    engine.advance(np.zeros(0, dtype=layout.RECORD), 0, 0)
    engine.submit(NO_REQUESTS)
    engine.depth(0, layout.BID, 1)


class BookEngine(Engine):
    """Records of a tape in, outputs and bars out; comes back wherever a strategy in Python is to be told something."""

    def __init__(
        self, settings: RunSettings, instruments: Sequence[Instrument], markets: Sequence[TapeMarket],
        listeners: Sequence[Listener], timeframes: Sequence[tuple[int, int]] = (), latencies: Sequence[Latency] = (),
    ) -> None:  # fmt: skip
        super().__init__(settings, instruments, max(1, len(listeners)))
        self._listeners = list(listeners)
        self.drained = 0  # outputs handed out by `drain`
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
            wake = self._figures.item(_WAKE)
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

    def has_bar_rows(self) -> bool:
        """Whether `bar_rows` would give any."""
        return bool(self._bar_rows) or self._figures.item(_BAR_ROW_COUNT) > 0

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

    @property
    def output_count(self) -> int:
        """Outputs since the run's start."""
        core = self.state.core
        return int(core["output_base"][0]) + int(core["output_count"][0])

    def drain(self) -> tuple[int, NDArray[np.int64]]:
        """Outputs since the last call, with the number of the first since the run's start.

        Unlike `outputs` it keeps what strategies are still to be told of, so that a run can go on for ever.
        """
        if self._figures.item(_OUTPUT_BASE) + self._figures.item(_OUTPUT_COUNT) == self.drained:
            return self.drained, _NO_OUTPUTS
        self._flush_outputs()
        base = int(self.state.core["output_base"][0])
        first = base - sum(len(part) for part in self._outputs)
        start = self.drained
        found = []
        position = first
        for part in self._outputs:
            if position + len(part) > start:
                found.append(part[max(0, start - position) :])
            position += len(part)
        self.drained = base
        self._forget_outputs(first)
        return start, np.concatenate(found) if found else _NO_OUTPUTS

    def _forget_outputs(self, first: int) -> None:
        """Let go of the parts that no report on its way speaks of; `first` is the number of the oldest output kept."""
        core = self.state.core
        count, head = int(core["report_count"][0]), int(core["report_head"][0])
        needed = self.drained
        if count:
            places = (head + np.arange(count)) % len(self.state.reports)
            needed = min(needed, int(self.state.reports["row"][places].min()))
        while self._outputs and first + len(self._outputs[0]) <= needed:
            first += len(self._outputs.pop(0))

    def mute(self, strategy: int) -> None:
        """Tell a strategy nothing more."""
        for name in CALLBACKS:
            self.state.strategies[name][strategy] = layout.TO_NOBODY

    def know(self, strategy: int, listener: Listener) -> None:
        """Note whom to call for a strategy from the next `listen` or `restore` on."""
        self._listeners[strategy] = listener

    def listen(self, strategy: int, listener: Listener) -> None:
        """Tell a strategy (again), perhaps of other things than before; a timer of a new interval begins anew."""
        self.know(strategy, listener)
        point_to(self.state, strategy, listener)
        core, count = self.state.core, len(self.state.instruments)
        core["tells_books"] = any(each.targets[CALLBACKS.index("on_book")] for each in self._listeners)
        core["tells_prints"] = any(each.targets[CALLBACKS.index("on_print")] for each in self._listeners)
        for market in listener.markets:
            ledger = self.state.ledgers[strategy * count + market]
            if int(ledger["timer_ns"]) == listener.timer_ns:
                continue
            ledger["timer_ns"], ledger["timer_due_ns"] = listener.timer_ns, layout.NEVER
            if listener.timer_ns > 0 and core["is_clock_running"][0]:
                due_ns = (int(core["ts_ns"][0]) // listener.timer_ns + 1) * listener.timer_ns
                ledger["timer_due_ns"] = due_ns
                core["next_due_ns"] = min(int(core["next_due_ns"][0]), due_ns)

    def restore(self, snapshot: bytes) -> None:
        """Become what a snapshot says; compiled strategies stay those of this process."""
        super().restore(snapshot)
        for index, listener in enumerate(self._listeners):
            point_to(self.state, index, listener)
