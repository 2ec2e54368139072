"""What a machine for tapes must offer to be tested, and the plain twin behind that face.

A *machine* is a factory: `machine(setup, on_event)` gives a fresh `BookMachine`. Each test of the book takes one, and
`MACHINES` names those there are; the compiled core's class stands here beside the twin's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from engine.book_engine import BookEngine
from engine.book_state import Latency, Listener, TapeMarket
from engine.errors import DataError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.settings import RunSettings
from tests.property.book_twin import (
    VALID,
    BadRecordError,
    BookSettings,
    BookTwin,
    OnEvent,
    Place,
    Watcher,
)
from tests.property.machines import record_rows, request_rows, said_by_twin, twin_of
from tests.property.test_core_against_twin import in_words
from tests.property.twin import LIMIT, WORKING, Record, Request


@dataclass(frozen=True)
class BookSetup:
    """All that a machine is built from. `settings` counts where bars and tapes agree; `builders`: (instrument, ns)."""

    settings: RunSettings
    book: BookSettings
    instruments: tuple[Instrument, ...]
    places: tuple[Place, ...]
    watchers: tuple[Watcher, ...]
    builders: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class BookSaid:
    """Everything that a machine has said, and what it holds that anybody could see."""

    outputs: list[tuple[int, ...]]
    samples: list[tuple[int, ...]]  # ts, equity, exposure, margin
    bars: list[tuple[int, ...]]  # builder, start, open, high, low, close, volume, prints, account.ts at its closing
    events: list[tuple[int, ...]]  # seq, account.ts, kind, strategy, instrument, known lots, known cost
    books: list[tuple[Any, ...]]  # state; where VALID also bids and asks (best first), update id
    ledgers: list[tuple[int, int]]  # known lots and cost, in index order
    orders: dict[int, tuple[int, ...]]  # not yet known to be finished: known state, known filled, state, filled, ahead
    hash: int
    figures: dict[str, int]
    is_stopped: bool  # by a record that makes no sense


class BookMachine(Protocol):
    """What a test does with a machine."""

    @property
    def seq(self) -> int:
        """Records consumed so far; asked for inside `on_event` too."""

    def advance(self, records: Sequence[Record], start: int, stop: int) -> None:
        """Consume records[start:stop]; once stopped by a bad record, nothing.

        `on_event(kind, strategy, instrument)` is called for each dispatched event, at once; the requests that it gives
        act before the next strategy is called.
        """

    def submit(self, requests: Iterable[Request]) -> None:
        """Act on requests now, between two records."""

    def said(self) -> BookSaid:
        """Everything said so far."""


MachineOf = Callable[[BookSetup, OnEvent], BookMachine]


class TwinMachine:
    """The plain twin."""

    def __init__(self, setup: BookSetup, on_event: OnEvent) -> None:
        plain = twin_of(setup.settings, setup.instruments, len(setup.watchers))
        self.twin = BookTwin(
            plain.settings,
            plain.instruments,
            setup.book,
            setup.places,
            setup.watchers,
            tuple(sorted(setup.builders, key=lambda pair: pair[0])),
            on_event,
        )
        self.is_stopped = False

    # Methods do what the protocol says.
    @property
    def seq(self) -> int:  # noqa: D102
        return self.twin.seq

    def advance(self, records: Sequence[Record], start: int, stop: int) -> None:  # noqa: D102
        if not self.is_stopped:
            try:
                self.twin.advance(records, start, stop)
            except BadRecordError:
                self.is_stopped = True

    def submit(self, requests: Iterable[Request]) -> None:  # noqa: D102
        self.twin.submit(requests)

    def said(self) -> BookSaid:  # noqa: D102
        twin = self.twin
        plain = said_by_twin(twin)
        orders = {}
        for order, way in zip(twin.orders, twin.ways, strict=True):
            if way.known_state in WORKING:
                ahead = way.ahead if way.rests and order.acts_as == LIMIT else 0
                orders[order.id] = (way.known_state, way.known_filled, order.state, order.filled_lots, ahead)
        figures = {name: value for name, value in plain.figures.items() if name != "ambiguous_bars"}
        return BookSaid(
            outputs=plain.outputs,
            samples=plain.samples,
            bars=list(twin.bars),
            events=list(twin.events),
            books=[self._book(k) for k in range(len(twin.books))],
            ledgers=list(twin.known),
            orders=orders,
            hash=plain.hash,
            figures=figures,
            is_stopped=self.is_stopped,
        )

    def _book(self, k: int) -> tuple[Any, ...]:
        book = self.twin.books[k]
        if book.state != VALID:
            return (book.state,)
        return (VALID, sorted(book.bids.items(), reverse=True), sorted(book.asks.items()), book.update_id)


class CoreMachine:
    """The compiled core."""

    def __init__(self, setup: BookSetup, on_event: OnEvent) -> None:
        book = setup.book
        rows = book.latencies or ((0, book.entry_latency_ns, book.response_latency_ns),)
        self.engine = BookEngine(
            setup.settings, setup.instruments, [TapeMarket(place.has_book, place.offset_ns) for place in setup.places],
            [self._listener(watcher) for watcher in setup.watchers], setup.builders, [Latency(*row) for row in rows],
        )  # fmt: skip
        core = self.engine.state.core
        for name in ("lateness_ns", "sample_ns", "queue_model", "queue_power", "stop_trigger"):
            core[name] = getattr(book, name)
        core["uses_feed_latency"], core["is_strict"] = int(book.uses_feed_latency), int(book.is_strict)
        count = len(setup.instruments)
        for index, watcher in enumerate(setup.watchers):
            for market, timer_ns in enumerate(watcher.timer_ns):
                self.engine.state.ledgers["timer_ns"][index * count + market] = timer_ns
                self.engine.state.ledgers["timer_due_ns"][index * count + market] = layout.NEVER
        self.on_event = on_event
        self.events: list[tuple[int, ...]] = []
        self.outputs: list[np.ndarray[Any, Any]] = []
        self.samples: list[np.ndarray[Any, Any]] = []
        self.bars: list[np.ndarray[Any, Any]] = []
        self.is_stopped = False

    @staticmethod
    def _listener(watcher: Watcher) -> Listener:
        targets = tuple(int(event in watcher.callbacks) for event in range(1, 8))
        return Listener(tuple(sorted(watcher.watches)), watcher.timeframe_ns, 0, targets)

    @property
    def seq(self) -> int:
        """Records consumed so far."""
        return int(self.engine.state.core["seq"][0])

    # Methods do what the protocol says.
    def advance(self, records: Sequence[Record], start: int, stop: int) -> None:  # noqa: D102
        events, position = record_rows(records), start
        while not self.is_stopped:
            try:
                position, wake = self.engine.advance(events, position, stop)
            except DataError:
                self.is_stopped = True
                return
            if wake != layout.WAKE_EVENT:
                return
            self._tell()

    def _tell(self) -> None:
        state = self.engine.state
        seq, ts_ns, event, strategy, instrument = (
            int(state.core[name][0]) for name in ("seq", "ts_ns", "event", "event_strategy", "event_instrument")
        )
        ledger = state.ledgers[strategy * len(state.instruments) + instrument]
        known = int(ledger["known_lots"]), int(ledger["known_cost"])
        self.events.append((seq, ts_ns, event, strategy, instrument, *known))
        requests = list(self.on_event(event, strategy, instrument))
        if requests:
            self.engine.submit(request_rows(requests))

    def submit(self, requests: Iterable[Request]) -> None:  # noqa: D102
        self.engine.submit(request_rows(requests))

    def said(self) -> BookSaid:  # noqa: D102
        state = self.engine.state
        names = ("cash", "realised", "fees", "funding", "seq", "step", "ts_ns", "halt", "order_count", "trade_count",
                 "open_ledgers")  # fmt: skip
        figures = {name: int(state.core[name][0]) for name in names}
        orders, live = {}, 0
        for row in state.orders[state.orders["id"] != 0]:
            is_working = row["state"] < layout.FILLED
            live += int(is_working)
            if row["known_state"] < layout.FILLED:
                ahead = int(row["ahead"]) if row["is_queued"] and is_working else 0
                words = (row["known_state"], row["known_filled_lots"], row["state"], row["filled_lots"], ahead)
                orders[int(row["id"])] = tuple(map(int, words))
        figures["live_orders"] = live
        return BookSaid(
            outputs=[tuple(row) for row in self.engine.outputs().tolist()],
            samples=[tuple(row) for row in self.engine.samples().tolist()],
            bars=[tuple(row) for row in self.engine.bar_rows().tolist()],
            events=self.events,
            books=[self._book(index) for index in range(len(state.books))],
            ledgers=[(int(row["known_lots"]), int(row["known_cost"])) for row in state.ledgers],
            orders=dict(sorted(orders.items())),
            hash=self.engine.hash,
            figures=figures,
            is_stopped=self.is_stopped,
        )

    def _book(self, index: int) -> tuple[Any, ...]:
        row = self.engine.state.books[index]
        if row["state"] != layout.BOOK_VALID:
            return (int(row["state"]),)
        bids, asks = (self.engine.depth(index, side, 1 << 30).tolist() for side in (layout.BID, layout.ASK))
        return (layout.BOOK_VALID, [tuple(row) for row in bids], [tuple(row) for row in asks], int(row["update_id"]))


MACHINES: dict[str, MachineOf] = {"twin": TwinMachine, "core": CoreMachine}


def difference(said: BookSaid, expected: BookSaid) -> str:
    """What differs first, in words; empty where nothing does."""
    for described in fields(BookSaid):
        mine, theirs = getattr(said, described.name), getattr(expected, described.name)
        if mine == theirs:
            continue
        if isinstance(mine, list):
            words = in_words if described.name == "outputs" else repr
            for index, (one, other) in enumerate(itertools.zip_longest(mine, theirs)):
                if one != other:
                    return f"{described.name} {index}\n  said     {words(one)}\n  expected {words(other)}"
        return f"{described.name}\n  said     {mine}\n  expected {theirs}"
    return ""
