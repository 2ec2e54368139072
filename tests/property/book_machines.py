"""What a machine for tapes must offer to be tested, and the plain twin behind that face.

A *machine* is a factory: `machine(setup, on_event)` gives a fresh `BookMachine`. Each test of the book takes one, and
`MACHINES` names those there are; the compiled core's class stands here beside the twin's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from engine.instruments import Instrument
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
from tests.property.machines import said_by_twin, twin_of
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
            plain.settings, plain.instruments, setup.book, setup.places, setup.watchers, setup.builders, on_event
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


MACHINES: dict[str, MachineOf] = {"twin": TwinMachine}


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
