"""The core on a tape a second time, in plain Python, as docs/book.md states it.

It stands on the twin for bars: values, ledgers, trades, guards, liquidation, requests and the hash are written there.
Books are dicts from price to size, everything that waits is a list, and whatever has an order is sorted when it is
asked for. It shares no code with `engine/`. Where the page leaves a choice, the one made here is marked `# reading:`.
"""

# Methods bear the names of docs/book.md; that page is their docstring.
# ruff: noqa: D102

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.property.twin import (
    ACTIVE,
    ALLOWED,
    BAR,
    BAR_OPEN,
    CANCELED,
    E12,
    END,
    EXPIRED,
    FILLED,
    FOK,
    FUNDING,
    GTD,
    IOC,
    LAST,
    LIMIT,
    MAKER,
    MARKET,
    MODEL_SPREAD,
    NEW,
    OUT_FUNDING,
    PARTIAL,
    POST_ONLY,
    R_END,
    R_EXPIRED,
    R_HALTED,
    R_INVALID,
    R_MARGIN,
    R_NO_PRICE,
    R_NONE,
    R_POST_ONLY,
    R_REDUCE_ONLY,
    R_REQUESTED,
    REDUCE_ONLY,
    REJECTED,
    STATIC,
    STOP,
    STOP_LIMIT,
    SYSTEM,
    TAKER,
    Ledger,
    Order,
    Record,
    Request,
    Twin,
    TwinInstrument,
    TwinSettings,
    muldiv,
    opposite,
)  # fmt: skip

HOUR_NS = 3_600 * 10**9
MICRO = 10**6

# Input records beyond those of bars.
LEVEL, PRINT, QUOTE, MARK, GAP, CLOCK, COMMAND, INTEREST, FORCED, DOCUMENT = 5, 6, 7, 8, 9, 10, 11, 12, 13, 32
SNAPSHOT, SELL, SIDE_UNKNOWN = 2, 4, 8
ALL_INSTRUMENTS = 0xFFFF
DOWNTIME = 4
KINDS = (BAR, BAR_OPEN, FUNDING, END, LEVEL, PRINT, QUOTE, MARK, GAP, CLOCK, COMMAND, INTEREST, FORCED, DOCUMENT)
MOVES_VENUE = (LEVEL, PRINT, QUOTE, MARK, FUNDING)

# States of a book.
NO_BOOK, VALID, BROKEN = 0, 1, 2

R_BOOK_INVALID, R_NO_LIQUIDITY = 18, 19
OUT_BOOK = 6
MODEL_DEPTH, MODEL_QUEUE, MODEL_THROUGH = 5, 6, 7
ASSUMED, BOUNDED, OBSERVED = 0, 1, 2

TRADES_ONLY, POWER, LOG = 0, 1, 2
BY_LAST, BY_MARK, BY_BOOK = 0, 1, 2

# Events.
ON_BOOK, ON_PRINT, ON_BAR, ON_TIMER, ON_ORDER, ON_FUNDING, ON_GAP = 1, 2, 3, 4, 5, 6, 7
EVENTS = frozenset(range(1, 8))
NEEDS_BOOK = (ON_BOOK, ON_PRINT, ON_BAR, ON_TIMER)

OnEvent = Callable[[int, int, int], Iterable[Request]]


class BadRecordError(Exception):
    """A record that makes no sense: the run stops before it."""


# ── What goes in ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class BookSettings:
    """What a run on a tape needs beyond the settings of a run on bars. Times in ns."""

    entry_latency_ns: int = 0
    response_latency_ns: int = 0
    latencies: tuple[tuple[int, int, int], ...] = ()  # (ts_ns, entry_ns, response_ns), instead of the constants
    lateness_ns: int = 0
    uses_feed_latency: bool = True
    sample_ns: int = 10**18
    queue_model: int = TRADES_ONLY
    queue_power: int = 1
    stop_trigger: int = BY_LAST
    is_strict: bool = False


@dataclass(frozen=True)
class Place:
    """Where an instrument's records come from: what the host's clock lacks to the venue's, and whether with a book."""

    offset_ns: int = 0
    has_book: bool = True


@dataclass(frozen=True)
class Watcher:
    """What one strategy is called for; `timer_ns` has an interval for each instrument, 0 for none."""

    watches: frozenset[int] = frozenset({0})
    callbacks: frozenset[int] = EVENTS
    timeframe_ns: int = 0
    timer_ns: tuple[int, ...] = ()


# ── What is kept ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Book:
    """One instrument's book, and all else that is known of its market on a tape."""

    state: int
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    update_id: int = 0
    fresh: bool = False
    book_ns: int = 0
    last: int = 0  # price of the last print
    mark_seen: bool = False
    print_seen: bool = False
    quote: tuple[int, int, int, int] | None = None  # bid, its size, ask, its size
    next_hour_ns: int | None = None
    boundary_ns: int = 0

    @property
    def best_bid(self) -> int | None:
        return max(self.bids, default=None)

    @property
    def best_ask(self) -> int | None:
        return min(self.asks, default=None)

    def top(self) -> tuple[int, int, int, int]:
        """Bid, its size, ask, its size; zeros for what is missing."""
        bid, ask = self.best_bid or 0, self.best_ask or 0
        return bid, self.bids.get(bid, 0), ask, self.asks.get(ask, 0)


@dataclass
class Message:
    """A book message of which the last record has not come yet."""

    instrument: int
    update_id: int
    is_snapshot: bool
    is_applied: bool
    breaks_chain: bool

    def goes_on_with(self, record: Record) -> bool:
        return (
            record.kind == LEVEL
            and record.instrument == self.instrument
            and record.c == self.update_id
            and bool(record.flags & SNAPSHOT) == self.is_snapshot
        )


@dataclass
class Way:
    """Where an order is on its way to the venue and back, and in the queue there."""

    arrives_ns: int | None = None  # venue time; None: it has arrived, or does not travel
    send_number: int = 0
    cancel: tuple[int, int] | None = None  # venue time and send number of its cancel
    waits: bool = False  # for a book that can be walked
    rests: bool = False
    ahead: int = 0
    printed: int = 0
    known_state: int = NEW
    known_filled: int = 0


@dataclass(frozen=True)
class Report:
    """What a strategy will know of an order when it is due, and by how much a fill of it changed lots and cost."""

    due_ns: int
    order: Order
    state: int
    filled_lots: int
    lots: int = 0
    cost: int = 0


@dataclass
class Builder:
    """The bar being made of one instrument's prints."""

    instrument: int
    timeframe_ns: int
    start_ns: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    prints: int = 0


# ── The machine ─────────────────────────────────────────────────────────────────────────────────────────────


class BookTwin(Twin):
    """Consumes the records of a tape, calls back, keeps outputs, samples, bars, events and the hash."""

    def __init__(
        self,
        settings: TwinSettings,
        instruments: Sequence[TwinInstrument],
        book_settings: BookSettings,
        places: Sequence[Place],
        watchers: Sequence[Watcher],
        builders: Sequence[tuple[int, int]] = (),
        on_event: OnEvent = lambda _kind, _strategy, _instrument: (),
    ) -> None:
        super().__init__(settings, instruments, len(watchers))
        self.book_settings = book_settings
        self.places = list(places)
        self.watchers = list(watchers)
        self.on_event = on_event
        self.books = [Book(BROKEN if place.has_book else NO_BOOK) for place in places]
        self.boundary_lots = [0] * len(self.ledgers)
        self.known = [(0, 0)] * len(self.ledgers)  # lots and cost, as strategies know them
        self.ways: list[Way] = []  # by order id, from 1
        self.resting: list[Order] = []  # in order of coming to rest
        self.reports: list[Report] = []
        self.last_report_ns = -(2**62)
        self.last_arrival_ns = -(2**62)
        self.sent = 0
        self.builders = [Builder(k, timeframe) for k, timeframe in builders]
        self.bars: list[tuple[int, ...]] = []
        self.events: list[tuple[int, ...]] = []
        self.message: Message | None = None
        self.sample_due: int | None = None
        self.timers: dict[int, int] = {}  # by ledger index: when it is due
        self.started = False
        self.receive_ns = 0  # of the record being consumed
        self.report_floor_ns = 0
        self.shown: tuple[int, int] = (ASSUMED, 0)  # confidence of the fill being booked, and what was ahead of it

    # ── Feeding ─────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, records: Sequence[Any], start: int = 0, stop: int | None = None) -> None:
        """Consume records[start:stop]; BadRecordError stops before the record that makes no sense."""
        for row in records[start:stop]:
            self.consume(row if isinstance(row, Record) else Record.of_row(row))

    def venue_time(self, record: Record) -> int:
        if self.book_settings.uses_feed_latency and record.ts_exchange_ns > 0:
            return record.ts_exchange_ns
        return record.ts_receive_ns + self.places[record.instrument].offset_ns

    def makes_sense(self, record: Record) -> bool:
        """Whether the run can go on with it."""
        if record.kind not in KINDS:
            return False
        if record.kind in (DOCUMENT, CLOCK, COMMAND, END):
            return True
        if record.kind == GAP:
            return record.instrument == ALL_INSTRUMENTS or record.instrument < len(self.instruments)
        if record.instrument >= len(self.instruments):
            return False
        match record.kind:
            case 5:  # LEVEL
                return record.a >= 0 and record.b >= 0
            case 6:  # PRINT
                return record.a > 0 and record.b > 0
            case 7:  # QUOTE
                return min(record.a, record.b, record.c, record.d) >= 0
            case 8:  # MARK. reading: one that rounds to a price of 0 makes no sense either
                return whole_ticks(record.a) > 0
            case 3:  # FUNDING
                return record.b >= 0
        return True

    def consume(self, record: Record) -> None:
        if not self.makes_sense(record):
            raise BadRecordError(record)
        if not self.started:
            self._schedule(record.ts_receive_ns - 1)
            self.started = True
        self.receive_ns = self.report_floor_ns = record.ts_receive_ns
        if self.message is not None and self.message.goes_on_with(record):
            self.seq += 1
            self._take_record(record)
            return
        if self.message is not None:
            if self.message.is_applied:
                self._break_book(self.message.instrument)
            self.message = None
        if record.kind == GAP and record.a == DOWNTIME:
            self._schedule(record.ts_receive_ns)
            for builder in self.builders:
                builder.start_ns = 0
        else:
            self._clock_phase(record.ts_receive_ns)
        if record.kind in MOVES_VENUE:
            self._come_to(record)
        self.seq += 1
        self._take_record(record)

    def _schedule(self, after_ns: int) -> None:
        """Set sample and timers to the first multiple of their distance after a time."""

        def first(distance: int) -> int:
            return (after_ns // distance + 1) * distance

        if self.book_settings.sample_ns:
            self.sample_due = first(self.book_settings.sample_ns)
        for index, ledger in enumerate(self.ledgers):
            if self._timer_of(ledger):
                self.timers[index] = first(self._timer_of(ledger))

    def _timer_of(self, ledger: Ledger) -> int:
        intervals = self.watchers[ledger.strategy].timer_ns
        return intervals[ledger.instrument] if ledger.instrument < len(intervals) else 0

    def _come_to(self, record: Record) -> None:
        """Step 3: hour boundary, venue phase, bars that the time of a print closes."""
        k = record.instrument
        book, venue_ns = self.books[k], self.venue_time(record)
        hour = venue_ns // HOUR_NS * HOUR_NS
        if book.next_hour_ns is None:
            book.boundary_ns, book.next_hour_ns = hour, hour + HOUR_NS
        while venue_ns >= book.next_hour_ns:
            self._venue_phase(k, book.next_hour_ns - 1)
            for index, ledger in enumerate(self.ledgers):
                if ledger.instrument == k:
                    self.boundary_lots[index] = ledger.lots
            book.boundary_ns, book.next_hour_ns = hour, hour + HOUR_NS
        self._venue_phase(k, venue_ns)
        if record.kind == PRINT:
            # reading: builder by builder; strategies act on such a bar when the print is received.
            self.ts = record.ts_receive_ns
            for index, builder in enumerate(self.builders):
                while (
                    builder.instrument == k
                    and builder.start_ns != 0
                    and self._print_time(record) >= builder.start_ns + builder.timeframe_ns
                ):
                    self._close_bar(index)

    def _take_record(self, record: Record) -> None:
        """Steps 5 and 6."""
        k = record.instrument
        self.ts = record.ts_receive_ns
        if record.kind in MOVES_VENUE:
            self.ts = min(self.ts, self.venue_time(record) - self.places[k].offset_ns)
        event = 0
        if record.kind == LEVEL:
            event = self._level(record)
        elif record.kind == PRINT:
            event = self._print(record)
        elif record.kind == QUOTE:
            self._quote(record)
        elif record.kind == MARK:
            self._mark(record)
        elif record.kind == FUNDING:
            self._fund(k, record)
            event = ON_FUNDING
        elif record.kind == GAP:
            event = ON_GAP
            for j in self._named(record):
                self._break_book(j)
                self.books[j].quote = None
        elif record.kind == END:
            self._end()
        self.ts = record.ts_receive_ns
        if self.message is None:
            if event:
                for j in self._named(record):
                    self._dispatch(event, j)
            self._clock_phase(record.ts_receive_ns)
        self.check_identity()

    def _named(self, record: Record) -> Iterable[int]:
        """List the instruments that a record is about."""
        if record.kind == GAP and record.instrument == ALL_INSTRUMENTS:
            return range(len(self.instruments))
        return (record.instrument,)

    def _break_book(self, k: int) -> None:
        if self.books[k].state != NO_BOOK:
            self.books[k].state = BROKEN

    # ── The clock ───────────────────────────────────────────────────────────────────────────────────────────

    def _clock_phase(self, until_ns: int) -> None:
        while True:
            due = sorted(item for item in self._due() if item[0] <= until_ns)
            if not due:
                break
            due_ns, rank, index = due[0]
            self.ts = max(self.ts, due_ns)
            self.report_floor_ns = due_ns
            if rank == 0:
                venue_due = self._venue_due(index)
                assert venue_due is not None
                self._venue_phase(index, venue_due)
            elif rank == 1:
                self._deliver(self.reports.pop(0))
            elif rank == 2:
                self._close_bar(index)
            elif rank == 3:
                self.sample_due = due_ns + self.book_settings.sample_ns
                self._sample()
            else:
                ledger = self.ledgers[index]
                self.timers[index] = due_ns + self._timer_of(ledger)
                self._dispatch(ON_TIMER, ledger.instrument, only=ledger.strategy)
        self.report_floor_ns = self.receive_ns

    def _due(self) -> Iterator[tuple[int, int, int]]:
        """List everything that a time will bring: (host time, rank, index)."""
        lateness = self.book_settings.lateness_ns
        for k, place in enumerate(self.places):
            venue_due = self._venue_due(k)
            if venue_due is not None:
                yield venue_due - place.offset_ns + lateness, 0, k
        if self.reports:
            yield self.reports[0].due_ns, 1, 0
        for index, builder in enumerate(self.builders):
            if builder.start_ns != 0:
                ends_ns = builder.start_ns + builder.timeframe_ns
                yield ends_ns - self.places[builder.instrument].offset_ns + lateness, 2, index
        if self.sample_due is not None:
            yield self.sample_due, 3, 0
        for index, due_ns in self.timers.items():
            yield due_ns, 4, index

    def _sample(self) -> None:
        self._end_step(())
        for k in range(len(self.instruments)):
            self._run_waiting(k)

    # ── The venue's time ────────────────────────────────────────────────────────────────────────────────────

    def _things(self, k: int) -> list[tuple[int, int, int, Order]]:
        """List what waits for a venue time: (time, rank, number, order); rank 0 expiry, 1 arrival, 2 cancel."""
        things = []
        for order in self._orders_of(k):
            way = self.ways[order.id - 1]
            if order.tif == GTD:
                things.append((order.expire_ns, 0, order.id, order))
            if way.arrives_ns is not None and self.books[k].state != BROKEN:
                things.append((way.arrives_ns, 1, way.send_number, order))
            if way.cancel is not None:
                things.append((way.cancel[0], 2, way.cancel[1], order))
        # Arrivals and cancels have one rank, and no send number twice.
        return sorted(things, key=lambda thing: (thing[0], min(thing[1], 1), thing[2]))

    def _venue_due(self, k: int) -> int | None:
        things = self._things(k)
        return things[0][0] if things else None

    def _venue_phase(self, k: int, until_ns: int) -> None:
        before_ns = self.ts
        while True:
            things = self._things(k)
            if not things or things[0][0] > until_ns:
                break
            time_ns, rank, _, order = things[0]
            self.ts = min(time_ns - self.places[k].offset_ns, self.receive_ns)
            if rank == 0:
                self._move(order, EXPIRED, R_EXPIRED)
            elif rank == 1:
                self._arrive(order)
            else:
                self._move(order, CANCELED, R_REQUESTED)
        self.ts = before_ns  # reading: what happened at the venue does not turn the account's clock back

    def check_identity(self) -> None:
        """Beside what holds on bars: what strategies know, and what they are still to learn, is all that there is."""
        super().check_identity()
        for index, ledger in enumerate(self.ledgers):
            coming = [
                report
                for report in self.reports
                if (report.order.strategy, report.order.instrument) == (ledger.strategy, ledger.instrument)
            ]
            lots, cost = self.known[index]
            assert lots + sum(report.lots for report in coming) == ledger.lots
            assert cost + sum(report.cost for report in coming) == ledger.cost
        for order in self.orders:
            way = self.ways[order.id - 1]
            assert (order in self.resting) == way.rests
            assert order.resting or not way.rests
        for book in self.books:
            assert all(size > 0 for size in (*book.bids.values(), *book.asks.values()))

    # ── Records of the book ─────────────────────────────────────────────────────────────────────────────────

    def _level(self, record: Record) -> int:
        """Take one level; gives the event of the message that it ends."""
        k = record.instrument
        if self.message is None:
            self.message = self._begin_message(record)
        message = self.message
        if message.is_applied and record.a > 0:
            self._set_level(record)
        if not record.flags & LAST:
            return 0
        self.message = None
        if message.breaks_chain:
            return ON_GAP
        return self._end_message(k, record, is_snapshot=message.is_snapshot) if message.is_applied else 0

    def _begin_message(self, record: Record) -> Message:
        book = self.books[record.instrument]
        is_snapshot = bool(record.flags & SNAPSHOT)
        is_applied, breaks_chain = False, False
        if is_snapshot:
            book.bids.clear()
            book.asks.clear()
            book.update_id, book.fresh = record.c, True
            is_applied = True
        elif book.state == BROKEN:
            pass
        elif record.c == 0:
            is_applied = True
        elif record.c <= book.update_id:
            pass
        elif record.d in (-1, book.update_id) or (book.fresh and record.e <= book.update_id + 1):
            book.update_id, book.fresh = record.c, False
            is_applied = True
        else:
            self._break_book(record.instrument)
            breaks_chain = True
        return Message(record.instrument, record.c, is_snapshot, is_applied, breaks_chain)

    def _set_level(self, record: Record) -> None:
        k, price, new = record.instrument, record.a, record.b
        is_ask = bool(record.flags & SELL)
        side = self.books[k].asks if is_ask else self.books[k].bids
        old = side.pop(price, 0)
        if new > 0:
            side[price] = new
        if not record.flags & SNAPSHOT:
            for order in self._resting_limits(k, buy=not is_ask):
                if order.limit == price:
                    self._adapt_queue(self.ways[order.id - 1], old, new)

    def _adapt_queue(self, way: Way, old: int, new: int) -> None:
        if self.book_settings.queue_model == TRADES_ONLY:
            way.ahead = min(way.ahead, new)
            return
        change = old - new - way.printed
        way.printed = 0
        if change < 0:
            way.ahead = min(way.ahead, new)
            return
        back = old - way.ahead
        weight_back, weight_ahead = self._weight(back), self._weight(way.ahead)
        total = weight_back + weight_ahead
        p = 1.0 if total == 0 else weight_back / total
        estimate = way.ahead - (1.0 - p) * change + min(back - p * change, 0.0)
        way.ahead = max(0, min(round(estimate), new))

    def _weight(self, size: int) -> float:
        """The f of ProbQueueModel."""
        x = float(max(size, 0))
        if self.book_settings.queue_model == LOG:
            return math.log(1.0 + x)
        weight = x
        for _ in range(self.book_settings.queue_power - 1):
            weight *= x
        return weight

    def _end_message(self, k: int, record: Record, *, is_snapshot: bool) -> int:
        book = self.books[k]
        bid, ask = book.best_bid, book.best_ask
        if bid is not None and ask is not None and bid >= ask:
            self._break_book(k)
            return ON_GAP
        if is_snapshot and book.state == BROKEN:
            book.state = VALID
        book.book_ns = record.ts_receive_ns
        if is_snapshot:
            for buy, side in ((True, book.bids), (False, book.asks)):
                for order in self._resting_limits(k, buy=buy):
                    way = self.ways[order.id - 1]
                    way.ahead = min(way.ahead, side.get(order.limit, 0))
        if not book.print_seen and not book.mark_seen and bid is not None and ask is not None:
            self._set_mark(k, (bid + ask) // 2)
        if book.state != VALID:
            return 0
        self._run_waiting(k)
        self._fill_crossed(k)
        if self.book_settings.stop_trigger == BY_BOOK:
            self._test_stops(k)
        return ON_BOOK

    def _fill_crossed(self, k: int) -> None:
        """Fill resting orders that the book has moved onto."""
        for buy in (True, False):
            while True:
                order = self._first_resting(k, buy=buy)
                if order is None:
                    break
                levels = self._levels_for(order)
                if not levels:
                    break
                size = sum(size for _, size in levels)
                filled = self._fill_lots(order, size, order.limit, MAKER, MODEL_THROUGH, OBSERVED)
                self._take_from(order, filled)

    # ── Orders that rest ────────────────────────────────────────────────────────────────────────────────────

    def _resting_of(self, k: int) -> list[Order]:
        """List resting orders in order of coming to rest."""
        return [
            order for order in self.resting if order.instrument == k and order.resting and self.ways[order.id - 1].rests
        ]

    def _resting_limits(self, k: int, *, buy: bool) -> list[Order]:
        return [order for order in self._resting_of(k) if order.acts_as == LIMIT and order.is_buy == buy]

    def _first_resting(self, k: int, *, buy: bool) -> Order | None:
        """Find the limit that is first in the book: best price, then id."""
        limits = self._resting_limits(k, buy=buy)
        return min(limits, key=lambda order: (-order.sign * order.limit, order.id), default=None)

    def _come_to_rest(self, order: Order) -> None:
        way, book = self.ways[order.id - 1], self.books[order.instrument]
        way.rests = True
        way.printed = 0
        way.ahead = 0
        if book.state == VALID and order.acts_as == LIMIT:
            way.ahead = (book.bids if order.is_buy else book.asks).get(order.limit, 0)
        self.resting.append(order)

    def _stop_resting(self, order: Order) -> None:
        self.ways[order.id - 1].rests = False
        self.resting.remove(order)

    def _test_stops(self, k: int) -> None:
        for buy in (True, False):
            while True:
                stops = [
                    order
                    for order in self._resting_of(k)
                    if order.acts_as in (STOP, STOP_LIMIT) and order.is_buy == buy
                ]
                order = min(stops, key=lambda order: (order.sign * order.stop, order.id), default=None)
                if order is None or not self._is_reached(order):
                    break
                self._stop_resting(order)
                self._trigger(order)

    def _is_reached(self, order: Order) -> bool:
        return self._at_stop(order, self._trigger_price(order))

    def _trigger_price(self, order: Order) -> int:
        book = self.books[order.instrument]
        price = 0
        if self.book_settings.stop_trigger == BY_LAST:
            price = book.last
        elif self.book_settings.stop_trigger == BY_BOOK:
            price = self._opposite_best(order)
        return price or self.markets[order.instrument].mark

    def _opposite_best(self, order: Order) -> int:
        """The best price on the other side, of a valid book or a quote; 0 where there is none."""
        book = self.books[order.instrument]
        if book.state == VALID:
            best = book.best_ask if order.is_buy else book.best_bid
            return best or 0
        if book.state == NO_BOOK and book.quote is not None:
            return book.quote[2] if order.is_buy else book.quote[0]
        return 0

    def _trigger(self, order: Order) -> None:
        order.triggered = True
        if self.books[order.instrument].state == BROKEN:
            self.ways[order.id - 1].waits = True
        else:
            self._go(order)

    # ── Records of trades and prices ────────────────────────────────────────────────────────────────────────

    def _print(self, record: Record) -> int:
        k, price, size = record.instrument, record.a, record.b
        book = self.books[k]
        book.last, book.print_seen = price, True
        self._build(record)
        if not book.mark_seen:
            self._set_mark(k, price)
        if book.state == BROKEN:
            return ON_PRINT
        is_sold, is_bought = bool(record.flags & SELL), not record.flags & SELL
        if record.flags & SIDE_UNKNOWN:
            bid, ask = book.best_bid, book.best_ask
            is_sold = book.state == VALID and bid is not None and price <= bid
            is_bought = not is_sold and book.state == VALID and ask is not None and price >= ask
        if is_sold or is_bought:
            self._fill_by_print(k, price, size, buy=is_sold)
        trigger = self.book_settings.stop_trigger
        is_quoted = book.quote is not None and (book.quote[0] > 0 or book.quote[2] > 0)
        if (
            trigger == BY_LAST
            or (trigger == BY_MARK and not book.mark_seen)
            or (trigger == BY_BOOK and book.state == NO_BOOK and not is_quoted)
        ):
            self._test_stops(k)
        return ON_PRINT

    def _set_mark(self, k: int, price: int) -> None:
        """Mark the instrument at a price it has come to; positions may be liquidated there."""
        previous = self.markets[k].mark
        self.markets[k].mark = price
        self._check_liquidation_at_open(k, price, previous)
        for ledger in self.ledgers:
            if ledger.instrument == k and ledger.trade is not None:
                floating = self.value(k, ledger.lots, price) - ledger.cost
                ledger.trade.excursion(ledger.trade.gross + floating)

    def _fill_by_print(self, k: int, price: int, size: int, *, buy: bool) -> None:
        """Somebody took our side of the market: `buy` for the side of buys."""
        is_valid = self.books[k].state == VALID
        left = size
        while left > 0:
            order = self._first_resting(k, buy=buy)
            if order is None or order.sign * (order.limit - price) <= 0:
                break
            confidence = OBSERVED if is_valid else BOUNDED
            left -= self._fill_lots(order, left, order.limit, MAKER, MODEL_THROUGH, confidence)
        if not is_valid:
            return
        for order in self._resting_limits(k, buy=buy):
            if order.limit != price:
                continue
            way = self.ways[order.id - 1]
            before = way.ahead
            way.printed += size
            way.ahead -= size
            if way.ahead < 0:
                most = min(-way.ahead, left)
                way.ahead = 0
                if most > 0:
                    left -= self._fill_lots(order, most, price, MAKER, MODEL_QUEUE, BOUNDED, ahead=before)

    def _quote(self, record: Record) -> None:
        k = record.instrument
        book = self.books[k]
        book.quote = (record.a, record.b, record.c, record.d)
        if book.state != NO_BOOK:
            return
        for buy, best, size in ((True, record.c, record.d), (False, record.a, record.b)):
            left = size
            while left > 0 and best > 0:
                order = self._first_resting(k, buy=buy)
                if order is None or order.sign * (order.limit - best) < 0:
                    break
                left -= self._fill_lots(order, left, order.limit, MAKER, MODEL_THROUGH, BOUNDED)
        if self.book_settings.stop_trigger == BY_BOOK:
            self._test_stops(k)

    def _mark(self, record: Record) -> None:
        self.books[record.instrument].mark_seen = True
        self._set_mark(record.instrument, whole_ticks(record.a))
        if self.book_settings.stop_trigger == BY_MARK:
            self._test_stops(record.instrument)

    def _fund(self, k: int, record: Record) -> None:
        market, instrument = self.markets[k], self.instruments[k]
        mark = record.b if record.b != 0 else market.mark * MICRO
        late = market.last_funding_ts is not None and record.ts_exchange_ns <= market.last_funding_ts
        if late or instrument.kind == "spot" or mark == 0:
            return
        market.last_funding_ts = record.ts_exchange_ns
        for index, ledger in enumerate(self.ledgers):
            lots = ledger.lots
            if record.ts_exchange_ns <= self.books[k].boundary_ns:
                lots = self.boundary_lots[index]
            if ledger.instrument != k or lots == 0:
                continue
            of, by = (MICRO, mark) if instrument.kind == "inverse" else (mark, MICRO)
            payment = muldiv(muldiv(lots * instrument.factor, of, by), record.a, E12)
            self.cash -= payment
            self.funding += payment
            ledger.funding += payment
            # reading: a position closed since the hour has no trade any more that could bear it.
            if ledger.trade is not None:
                ledger.trade.funding += payment
            self._emit(
                OUT_FUNDING,
                (record.a, mark, lots, payment, self.cash, ledger.trade.id if ledger.trade is not None else 0),
                reason=2 if record.flags & STATIC else 1,
                strategy=ledger.strategy,
                instrument=k,
            )

    def _end(self) -> None:
        self._deliver_all()
        self._cancel_working(self.ledgers, R_END)
        if self.settings.close_at_end:
            for ledger in self.ledgers:
                if ledger.lots != 0:
                    k = ledger.instrument
                    wish = Request(strategy=ledger.strategy, instrument=k, lots=-ledger.lots, flags=SYSTEM)
                    order = self._new_order(wish, closes_why=R_END)
                    self._move(order, ACTIVE)
                    self._go(order)
        self._sample()
        self._deliver_all()

    # ── Bars ────────────────────────────────────────────────────────────────────────────────────────────────

    def _print_time(self, record: Record) -> int:
        if record.ts_exchange_ns > 0:
            return record.ts_exchange_ns
        return record.ts_receive_ns + self.places[record.instrument].offset_ns

    def _build(self, record: Record) -> None:
        for builder in self.builders:
            if builder.instrument != record.instrument:
                continue
            if builder.start_ns == 0:
                builder.start_ns = self._print_time(record) // builder.timeframe_ns * builder.timeframe_ns
                builder.volume = builder.prints = 0
            price = record.a
            if builder.prints == 0:
                builder.open = builder.high = builder.low = price
            builder.high, builder.low = max(builder.high, price), min(builder.low, price)
            builder.close = price
            builder.volume += record.b
            builder.prints += 1

    def _close_bar(self, index: int) -> None:
        bar = self.builders[index]
        k = bar.instrument
        if not any(other.instrument == k for other in self.builders[:index]):
            self.markets[k].bars += 1
        shape = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.prints)
        self.bars.append((index, bar.start_ns, *shape, self.ts))
        bar.start_ns += bar.timeframe_ns
        bar.open = bar.high = bar.low = bar.close
        bar.volume = bar.prints = 0
        self._dispatch(ON_BAR, k, timeframe_ns=bar.timeframe_ns)

    # ── Orders on their way ─────────────────────────────────────────────────────────────────────────────────

    def _latency_at(self, at_ns: int, column: int, constant_ns: int) -> int:
        """The latency at a time: column 1 to the venue, 2 back."""
        rows = self.book_settings.latencies
        if not rows:
            return constant_ns
        if at_ns <= rows[0][0]:
            return rows[0][column]
        for left, right in itertools.pairwise(rows):
            if at_ns < right[0]:
                change = muldiv(right[column] - left[column], at_ns - left[0], right[0] - left[0])
                return left[column] + change
        return rows[-1][column]

    def _send(self) -> tuple[int, int]:
        """Send something off: when it reaches the venue (host time), and its send number."""
        latency = self._latency_at(self.ts, 1, self.book_settings.entry_latency_ns)
        self.last_arrival_ns = max(self.ts + latency, self.last_arrival_ns)
        self.sent += 1
        return self.last_arrival_ns, self.sent

    def _act(self, request: Request) -> None:
        if request.strategy < self.strategies and request.instrument < len(self.instruments):
            super()._act(request)

    def _new_order(self, request: Request, closes_why: int) -> Order:
        self.ways.append(Way())
        return super()._new_order(request, closes_why)

    def _submit_order(self, request: Request, closes_why: int = R_NONE) -> None:
        order = self._new_order(request, closes_why)
        way = self.ways[order.id - 1]
        reason = self._refusal(order)
        if reason != R_NONE:
            super()._move(order, REJECTED, reason)
            self._report(order, max(self.ts, self.last_report_ns))
        elif order.has(SYSTEM):
            way.waits = True
        else:
            host_ns, way.send_number = self._send()
            way.arrives_ns = host_ns + self.places[order.instrument].offset_ns

    def _refusal(self, order: Order) -> int:
        reason = super()._refusal(order)
        if reason in (R_INVALID, R_NO_PRICE, R_HALTED):
            return reason
        held = self.ledger(order.strategy, order.instrument).lots
        only_reduces = opposite(order.lots, held) and abs(order.lots) <= abs(held)
        state = self.books[order.instrument].state
        is_blind = state == BROKEN or (self.book_settings.is_strict and state == NO_BOOK)
        if is_blind and not only_reduces:
            return R_BOOK_INVALID
        return reason

    def _ask_cancel(self, order: Order) -> None:
        way = self.ways[order.id - 1]
        if order.working and not order.cancel_asked:
            order.cancel_asked = True
            host_ns, number = self._send()
            way.cancel = (host_ns + self.places[order.instrument].offset_ns, number)

    # ── Arrival ─────────────────────────────────────────────────────────────────────────────────────────────

    def _refusal_on_arrival(self, order: Order) -> int:
        if self._is_halted_for(order):
            return R_HALTED
        if order.has(POST_ONLY):
            best = self._opposite_best(order)
            if best == 0 and self.books[order.instrument].state == NO_BOOK:
                best = self.markets[order.instrument].mark  # reading: what a taker would be filled at
            if best != 0 and order.sign * (order.limit - best) >= 0:
                return R_POST_ONLY
        if order.type != MARKET:
            at = order.limit or order.stop
            if not self._margin_suffices(order.instrument, order.sign * order.remaining, at):
                return R_MARGIN
        return R_NONE

    def _arrive(self, order: Order) -> None:
        self.ways[order.id - 1].arrives_ns = None
        reason = self._refusal_on_arrival(order)
        if reason != R_NONE:
            self._move(order, REJECTED, reason)
            return
        self._move(order, ACTIVE)
        self._go(order)

    def _go(self, order: Order) -> None:
        """What an order does on arrival, or once it is triggered."""
        if order.acts_as in (STOP, STOP_LIMIT):
            if self._is_reached(order):
                self._trigger(order)
            else:
                self._come_to_rest(order)
            return
        self._walk(order)
        if not order.working:
            return
        if order.has(SYSTEM):
            mark = self.markets[order.instrument].mark
            self._fill_lots(order, order.remaining, mark, TAKER, None, ASSUMED)
        elif order.acts_as == LIMIT and order.tif not in (IOC, FOK):
            self._come_to_rest(order)
        elif order.tif in (IOC, FOK):
            self._cancel_at_once(order)
        else:
            self._move(order, CANCELED, R_NO_LIQUIDITY)

    def _run_waiting(self, k: int) -> None:
        for order in self._orders_of(k):
            way = self.ways[order.id - 1]
            if way.waits and order.working and self.books[k].state != BROKEN:
                way.waits = False
                if order.state == NEW:
                    self._arrive(order)
                else:
                    self._go(order)

    # ── The walk ────────────────────────────────────────────────────────────────────────────────────────────

    def _levels_for(self, order: Order) -> list[tuple[int, int]]:
        """The levels that an order could take, best first."""
        book = self.books[order.instrument]
        levels = sorted((book.asks if order.is_buy else book.bids).items(), reverse=not order.is_buy)
        if order.acts_as != LIMIT:
            return levels
        return [(price, size) for price, size in levels if order.sign * (order.limit - price) >= 0]

    def _take_from(self, order: Order, lots: int) -> None:
        """Our own fill takes this much away, best first."""
        book = self.books[order.instrument]
        side = book.asks if order.is_buy else book.bids
        for price, size in self._levels_for(order):
            taken = min(size, lots)
            lots -= taken
            side[price] -= taken
            if side[price] == 0:
                del side[price]

    def _walk(self, order: Order) -> None:
        """Fill what can be filled at once."""
        k = order.instrument
        book = self.books[k]
        if book.state == NO_BOOK:
            best = self._opposite_best(order)
            base = best or self.markets[k].mark
            if order.acts_as == LIMIT and order.sign * (order.limit - base) < 0:
                return
            model, confidence = (MODEL_SPREAD, BOUNDED) if best else (None, ASSUMED)
            self._fill_lots(order, order.remaining, base, TAKER, model, confidence, slips=True)
        elif book.state == VALID:
            if order.tif == FOK and sum(size for _, size in self._levels_for(order)) < order.remaining:
                self._cancel_at_once(order)
                return
            while order.working and self._levels_for(order):
                price, size = self._levels_for(order)[0]
                filled = self._fill_lots(order, size, price, TAKER, MODEL_DEPTH, OBSERVED)
                self._take_from(order, filled)

    def _fill_lots(
        self,
        order: Order,
        most: int,
        base: int,
        liquidity: int,
        model: int | None,
        confidence: int,
        *,
        slips: bool = False,
        ahead: int = 0,
    ) -> int:
        """Fill an order with up to `most` lots; gives the lots. Without a model: slippage as on bars, and its model."""
        k = order.instrument
        ledger = self.ledger(order.strategy, k)
        lots = min(order.remaining, most)
        if order.has(REDUCE_ONLY):
            if not opposite(order.lots, ledger.lots):
                self._move(order, CANCELED, R_REDUCE_ONLY)
                return 0
            lots = min(lots, abs(ledger.lots))
        price = base
        if slips or model is None:
            slip, slip_model = self._slip(k, base)
            model = slip_model if model is None else model
            price = max(1, base + order.sign * slip)
            if order.acts_as == LIMIT:
                price = min(price, order.limit) if order.is_buy else max(price, order.limit)
        signed = order.sign * lots
        reason = R_NONE if order.has(SYSTEM) else self._fill_refusal(order, signed, price)
        if reason != R_NONE:
            self._move(order, CANCELED, reason)
            return 0
        instrument = self.instruments[k]
        rate = instrument.taker_e12 if liquidity == TAKER else instrument.maker_e12
        fee = muldiv(abs(self.value(k, signed, price)), rate, E12) + self.settings.per_fill
        if order.filled_lots == 0:
            fee += self.settings.per_order
        order.remaining -= lots
        order.filled_lots += lots
        state = FILLED if order.remaining == 0 else PARTIAL
        assert state in ALLOWED[order.state]
        order.state = state
        self.shown = (confidence, ahead)
        self._book(
            ledger,
            signed,
            price,
            base,
            fee,
            liquidity=liquidity,
            model=model,
            state=state,
            order_id=order.id,
            remaining=order.remaining,
            tag=order.tag,
            closes_why=order.closes_why,
        )
        self.shown = (ASSUMED, 0)
        if not order.working and self.ways[order.id - 1].rests:
            self._stop_resting(order)
        if state == PARTIAL and order.has(REDUCE_ONLY) and ledger.lots == 0:
            self._move(order, CANCELED, R_REDUCE_ONLY)
        return lots

    def _book(self, ledger: Ledger, signed: int, price: int, base: int, fee: int, **rest: Any) -> None:
        """Show the book before the fill, book the fill, and send word of it; forced fills are known at once."""
        cost = ledger.cost
        if rest["order_id"] != 0:
            self._show_book(ledger, rest["order_id"], rest["model"])
        super()._book(ledger, signed, price, base, fee, **rest)
        if rest["order_id"] != 0:
            order = self.orders[rest["order_id"] - 1]
            self._report(order, self._answer_due(), signed, ledger.cost - cost)
        else:
            self._change_known(ledger.strategy, ledger.instrument, signed, ledger.cost - cost)

    def _show_book(self, ledger: Ledger, order_id: int, model: int) -> None:
        k = ledger.instrument
        book = self.books[k]
        top = (0, 0, 0, 0)
        if book.state == VALID:
            top = book.top()
        elif book.state == NO_BOOK and book.quote is not None:
            top = book.quote
        age_ns = -1 if book.state == NO_BOOK else max(0, self.ts - book.book_ns)
        confidence, ahead = self.shown
        self._emit(
            OUT_BOOK,
            (order_id, *top, book.update_id, age_ns, ahead),
            reason=confidence,
            detail=model,
            strategy=ledger.strategy,
            instrument=k,
        )

    def _close_by_force(self, ledgers: Sequence[Ledger], price: int) -> None:
        marks = [market.mark for market in self.markets]
        super()._close_by_force(ledgers, price)
        for market, mark in zip(self.markets, marks, strict=True):
            market.mark = mark  # reading: no fill moves the mark on a tape, forced ones neither

    # ── What strategies know ────────────────────────────────────────────────────────────────────────────────

    def _move(self, order: Order, state: int, reason: int = R_NONE) -> None:
        super()._move(order, state, reason)
        if not order.working and self.ways[order.id - 1].rests:
            self._stop_resting(order)
        self._report(order, self._answer_due())

    def _answer_due(self) -> int:
        """When the venue's answer, sent now, is there."""
        latency = self._latency_at(self.ts, 2, self.book_settings.response_latency_ns)
        return max(self.ts + latency, self.report_floor_ns, self.last_report_ns)

    def _report(self, order: Order, due_ns: int, lots: int = 0, cost: int = 0) -> None:
        self.last_report_ns = due_ns
        self.reports.append(Report(due_ns, order, order.state, order.filled_lots, lots, cost))

    def _learn(self, report: Report) -> None:
        way = self.ways[report.order.id - 1]
        way.known_state, way.known_filled = report.state, report.filled_lots
        self._change_known(report.order.strategy, report.order.instrument, report.lots, report.cost)

    def _change_known(self, s: int, k: int, lots: int, cost: int) -> None:
        index = s * len(self.instruments) + k
        self.known[index] = (self.known[index][0] + lots, self.known[index][1] + cost)

    def _deliver(self, report: Report) -> None:
        self._learn(report)
        self._dispatch(ON_ORDER, report.order.instrument, only=report.order.strategy)

    def _deliver_all(self) -> None:
        """Let strategies know everything, due or not, without calling them."""
        for report in self.reports:
            self._learn(report)
        self.reports = []

    def _dispatch(self, event: int, k: int, *, only: int | None = None, timeframe_ns: int = 0) -> None:
        if event in NEEDS_BOOK and self.books[k].state == BROKEN:
            return
        for s, watcher in enumerate(self.watchers):
            is_meant = k in watcher.watches if only is None else s == only
            if event == ON_BAR and watcher.timeframe_ns != timeframe_ns:
                continue
            if is_meant and event in watcher.callbacks:
                known = self.known[s * len(self.instruments) + k]
                self.events.append((self.seq, self.ts, event, s, k, *known))
                for request in self.on_event(event, s, k):
                    self._act(request)


def whole_ticks(micro: int) -> int:
    """A price in micro-ticks as ticks."""
    return (micro + MICRO // 2) // MICRO
