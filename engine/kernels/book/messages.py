"""Book messages: all levels of one count at once, and only those that follow what the book knows."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64
from engine.kernels.book.events import begin_event, lacks_room
from engine.kernels.book.levels import (
    clear_book,
    first_order_at,
    follow_market,
    has_room,
    lots_at,
    move_window,
    set_level,
)
from engine.kernels.book.marks import mark_at
from engine.kernels.book.matching import match_crossed, match_stops, run_waiting
from engine.kernels.book.queue import level_changed, side_of
from engine.kernels.book.venue import expect_venue
from engine.kernels.compile import inner
from engine.kernels.layout import (
    ASK,
    BID,
    BOOK_EVENT,
    BOOK_INVALID_STATE,
    BOOK_NONE,
    BOOK_VALID,
    BY_BOOK,
    GAP_EVENT,
    LAST,
    LEVEL,
    MESSAGE_APPLIED,
    MESSAGE_BROKEN,
    MESSAGE_SKIPPED,
    SELL,
    SNAPSHOT,
    WAKE_BAD_RECORD,
    WAKE_BOOK_FULL,
    WAKE_DONE,
)
from engine.kernels.tables import book_at, cell_at, first_at, instrument_at, ledger_of, order_at


@inner
def invalidate(core: Any, index: int) -> None:
    """What the book says is not known to be true any more; it stays so until a snapshot."""
    book = book_at(core, index)
    if book.state != BOOK_NONE:
        book.state = BOOK_INVALID_STATE
        expect_venue(core, index)


@inner
def continues(core: Any, record: Any) -> bool:
    """Whether a record belongs to the message that is open."""
    if record.kind != LEVEL or as_int64(record.instrument) != core.open_message - 1 or record.c != core.message_id:
        return False
    return (record.flags & SNAPSHOT != 0) == (core.is_message_snapshot == 1)


@inner
def break_message(core: Any) -> None:
    """The open message has no end: what was applied of it is not to be trusted."""
    if core.message_mode == MESSAGE_APPLIED:
        invalidate(core, core.open_message - 1)
    core.open_message = 0


@inner
def _mode_of(core: Any, record: Any, index: int) -> int:
    """Whether a message may be applied: it must follow the last one by its ids."""
    book = book_at(core, index)
    if record.flags & SNAPSHOT != 0:
        return MESSAGE_APPLIED
    if book.state == BOOK_INVALID_STATE:
        return MESSAGE_SKIPPED
    if record.c == 0:
        return MESSAGE_APPLIED
    if record.c <= book.update_id:
        book.stale += 1
        return MESSAGE_SKIPPED
    if record.d == -1 or record.d == book.update_id or (book.is_fresh == 1 and record.e <= book.update_id + 1):
        return MESSAGE_APPLIED
    book.broken += 1
    return MESSAGE_BROKEN


@inner
def begin_message(core: Any, record: Any, index: int) -> None:
    """Open a message with its first record, which is consumed afterwards."""
    book = book_at(core, index)
    mode = _mode_of(core, record, index)
    core.open_message, core.message_mode, core.message_id = index + 1, mode, record.c
    core.is_message_snapshot = 1 if record.flags & SNAPSHOT != 0 else 0
    if mode == MESSAGE_BROKEN:
        invalidate(core, index)
    if mode != MESSAGE_APPLIED:
        return
    if core.is_message_snapshot == 1:
        clear_book(core, index)
        if record.a > 0:
            move_window(core, index, max(1, record.a - book.window // 2))
        book.is_fresh, book.update_id = 1, record.c
    elif record.c != 0:
        book.is_fresh, book.update_id = 0, record.c


@inner
def _adapt_queues(core: Any, index: int) -> None:
    """After a snapshot: nobody stands behind more than the level holds."""
    for strategy in range(core.strategy_count):
        slot = ledger_of(core, strategy, index).first_order
        while slot >= 0:
            order = order_at(core, slot)
            if order.is_queued == 1:
                order.ahead = min(order.ahead, lots_at(core, index, side_of(order.lots), order.limit_ticks))
            slot = order.next


@inner
def _end_message(core: Any, index: int) -> None:
    """All levels of a message stand: look at the book as a whole."""
    book, instrument = book_at(core, index), instrument_at(core, index)
    if book.best_bid > 0 and book.best_ask > 0 and book.best_bid >= book.best_ask:
        book.crossed += 1
        invalidate(core, index)
        begin_event(core, GAP_EVENT, index, index + 1)
        return
    book.messages += 1
    book.book_ns = core.record_ns
    if core.is_message_snapshot == 1:
        if book.state == BOOK_INVALID_STATE:
            book.state = BOOK_VALID
            expect_venue(core, index)
        if core.live_orders > 0:
            _adapt_queues(core, index)
    follow_market(core, index)
    if instrument.has_mark == 0 and book.best_bid > 0 and book.best_ask > 0:
        mark_at(core, index, (book.best_bid + book.best_ask) // 2)
    if book.state == BOOK_VALID and core.live_orders > 0:
        run_waiting(core, index)
        match_crossed(core, index)
        if core.stop_trigger == BY_BOOK:
            match_stops(core, index)
    if core.tells_books == 1 and book.state == BOOK_VALID:
        begin_event(core, BOOK_EVENT, index, 0)


@inner
def _close_message(core: Any, record: Any, index: int) -> None:
    mode = core.message_mode
    core.open_message = 0
    core.record_ns = record.ts_receive_ns
    core.ts_ns = record.ts_receive_ns
    if core.uses_feed_latency == 1 and record.ts_exchange_ns > 0:
        core.ts_ns = min(core.ts_ns, record.ts_exchange_ns - instrument_at(core, index).offset_ns)
    if mode == MESSAGE_APPLIED:
        _end_message(core, index)
    elif mode == MESSAGE_BROKEN:
        begin_event(core, GAP_EVENT, index, index + 1)
    core.ts_ns = record.ts_receive_ns
    core.is_record_open = 1


@inner
def _set_levels(core: Any, events: Any, start: int, stop: int) -> int:
    """Apply the levels of the open message that lie near the market: the fast way, figures in registers.

    Stops before the message's last record, and before one that needs more care.
    """
    index = core.open_message - 1
    book = book_at(core, index)
    identity, is_snapshot = core.message_id, core.is_message_snapshot == 1
    is_queue_moving = core.live_orders > 0 and not is_snapshot
    base, window = book.base, book.window
    bids, asks = book.cell_offset, book.cell_offset + window
    best_bid, best_ask, bid_change, ask_change = book.best_bid, book.best_ask, 0, 0
    position = start
    while position < stop:
        record = events[position]
        price, lots, flags = record.a, record.b, record.flags
        if record.kind != LEVEL or record.c != identity or as_int64(record.instrument) != index:
            break
        if flags & LAST != 0 or (flags & SNAPSHOT != 0) != is_snapshot:
            break
        if price < base or price - base >= window or lots < 0:
            break
        place = price & (window - 1)
        if flags & SELL == 0:
            if price == best_bid and lots == 0:
                break
            place += bids
            cell = cell_at(core, place)
            before = cell.lots
            bid_change += (1 if lots > 0 else 0) - (1 if before > 0 else 0)
            cell.lots = lots
            if price > best_bid and lots > 0:
                best_bid = price
        else:
            if price == best_ask and lots == 0:
                break
            place += asks
            cell = cell_at(core, place)
            before = cell.lots
            ask_change += (1 if lots > 0 else 0) - (1 if before > 0 else 0)
            cell.lots = lots
            if lots > 0 and (price < best_ask or best_ask == 0):
                best_ask = price
        if is_queue_moving:
            first = first_at(core, place).slot
            if first > 0:
                level_changed(core, first - 1, before, lots)
        position += 1
    book.best_bid, book.best_ask = best_bid, best_ask
    book.window_bids += bid_change
    book.window_asks += ask_change
    book.level_count += bid_change + ask_change
    core.level_total += bid_change + ask_change
    return position


@inner
def run_levels(core: Any, events: Any, start: int, stop: int) -> int:
    """Consume the records of the open message, up to its end or the batch's; returns the next index."""
    index = core.open_message - 1
    book = book_at(core, index)
    is_applied = core.message_mode == MESSAGE_APPLIED
    is_queue_moving = core.live_orders > 0 and core.is_message_snapshot == 0
    position = start
    while position < stop:
        if is_applied and has_room(core, book):
            position = _set_levels(core, events, position, stop)
            if position == stop:
                break
        record = events[position]
        if not continues(core, record):
            break
        if record.a < 0 or record.b < 0:
            core.wake = WAKE_BAD_RECORD
            break
        is_last = record.flags & LAST != 0
        if is_last and core.live_orders > 0:
            core.wake = lacks_room(core, core.ledger_count)
            if core.wake != WAKE_DONE:
                break
        if is_applied and record.a > 0:
            if not has_room(core, book):
                core.room_needed = index
                core.wake = WAKE_BOOK_FULL
                break
            side = ASK if record.flags & SELL != 0 else BID
            before = set_level(core, index, side, record.a, record.b)
            if is_queue_moving:
                first = first_order_at(core, index, side, record.a)
                if first >= 0:
                    level_changed(core, first, before, record.b)
        position += 1
        if is_last:
            core.seq += position - start
            _close_message(core, record, index)
            return position
    core.seq += position - start
    if position > start:
        core.ts_ns = events[position - 1].ts_receive_ns
    return position
