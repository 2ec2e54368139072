"""What reaches the venue, and when: orders, cancels, expiries, each at its time on the venue's clock."""

from __future__ import annotations

from typing import Any

from engine.kernels.arrivals import arrival_refusal, pop_first
from engine.kernels.book.fills import opposite_best, trade_now
from engine.kernels.book.matching import is_triggered_now
from engine.kernels.compile import inner
from engine.kernels.heaps import heap_pop
from engine.kernels.layout import (
    ACTIVE,
    BOOK_INVALID_STATE,
    BOOK_NONE,
    BY_CANCEL,
    BY_EXPIRY,
    BY_HALT,
    BY_POST_ONLY,
    BY_TIME,
    CANCELED,
    EXPIRED,
    FILLED,
    HOUR_NS,
    NEVER,
    NONE,
    POST_ONLY,
    REJECTED,
    REQUESTED,
    ROOT_ARRIVING,
    ROOT_CANCEL,
    ROOT_EXPIRY,
    STOP,
    STOP_LIMIT,
)
from engine.kernels.orders import change_order, place_at_rest
from engine.kernels.tables import book_at, instrument_at, ledger_of, order_at, root_at


@inner
def _first_arrival(core: Any, index: int) -> int:
    """The next order on its way to a venue whose book is known; -1 where none is."""
    if book_at(core, index).state == BOOK_INVALID_STATE:
        return -1
    while True:
        slot = root_at(core, index, ROOT_ARRIVING).slot
        if slot < 0 or order_at(core, slot).state < FILLED:
            return slot
        pop_first(core, index, ROOT_ARRIVING)


@inner
def _first_cancel(core: Any, index: int) -> int:
    """The next cancel on its way, of an order that still works."""
    while True:
        root = root_at(core, index, ROOT_CANCEL)
        slot = root.slot
        if slot < 0 or order_at(core, slot).state < FILLED:
            return slot
        order_at(core, slot).is_cancel_due = 0
        root.slot = heap_pop(core, BY_CANCEL, slot)


@inner
def _first_expiry(core: Any, index: int) -> int:
    """The working order that expires next."""
    while True:
        root = root_at(core, index, ROOT_EXPIRY)
        slot = root.slot
        if slot < 0 or order_at(core, slot).state < FILLED:
            return slot
        order_at(core, slot).is_timed = 0
        root.slot = heap_pop(core, BY_TIME, slot)


@inner
def _is_crossing(core: Any, slot: int) -> bool:
    """Whether a limit would trade at once."""
    order = order_at(core, slot)
    index = order.instrument
    best = opposite_best(core, index, order.lots)
    if book_at(core, index).state == BOOK_NONE:
        instrument = instrument_at(core, index)
        best = instrument.quote_ask if order.lots > 0 else instrument.quote_bid
        if best == 0:
            best = instrument.mark
    if best == 0:
        return False
    return best <= order.limit_ticks if order.lots > 0 else best >= order.limit_ticks


@inner
def _arrive(core: Any, slot: int) -> None:
    order = order_at(core, slot)
    refusal = arrival_refusal(core, slot)
    if refusal != BY_HALT and order.flags & POST_ONLY != 0 and _is_crossing(core, slot):
        refusal = BY_POST_ONLY
    if refusal != NONE:
        change_order(core, slot, REJECTED, refusal)
        return
    change_order(core, slot, ACTIVE, NONE)
    if order.type == STOP or order.type == STOP_LIMIT:
        if not is_triggered_now(core, slot):
            place_at_rest(core, slot)
            return
        order.is_triggered = 1
    trade_now(core, slot)


@inner
def _next_thing(core: Any, index: int) -> tuple[int, int, int]:
    """(venue time, rank, slot) of what acts next: rank 0 an expiry, 1 an arrival, 2 a cancel; -1 nothing."""
    offset = instrument_at(core, index).offset_ns
    arrival, cancel, expiry = _first_arrival(core, index), _first_cancel(core, index), _first_expiry(core, index)
    time_ns, rank, found = NEVER, -1, -1
    if arrival >= 0:
        time_ns, rank, found = order_at(core, arrival).arrive_ns + offset, 1, arrival
    if cancel >= 0:
        cancel_ns = order_at(core, cancel).cancel_ns + offset
        is_earlier = found < 0 or order_at(core, cancel).cancel_number < order_at(core, arrival).send_number
        if cancel_ns < time_ns or (cancel_ns == time_ns and is_earlier):
            time_ns, rank, found = cancel_ns, 2, cancel
    if expiry >= 0 and order_at(core, expiry).expire_ns <= time_ns:
        time_ns, rank, found = order_at(core, expiry).expire_ns, 0, expiry
    return time_ns, rank, found


@inner
def expect_venue(core: Any, index: int) -> None:
    """Note when something acts at the venue next, now that its book has become valid or invalid."""
    instrument = instrument_at(core, index)
    instrument.venue_due_ns, _, _ = _next_thing(core, index)
    if instrument.venue_due_ns != NEVER:
        due_ns = instrument.venue_due_ns - instrument.offset_ns + core.lateness_ns
        core.next_due_ns = min(core.next_due_ns, due_ns)


@inner
def venue_phase(core: Any, index: int, until_ns: int) -> None:
    """Let everything act that reaches the venue up to a time of its clock."""
    instrument = instrument_at(core, index)
    now_ns = core.ts_ns
    while True:
        time_ns, rank, slot = _next_thing(core, index)
        if rank < 0 or time_ns > until_ns:
            instrument.venue_due_ns = time_ns
            core.ts_ns = now_ns
            return
        core.ts_ns = min(time_ns - instrument.offset_ns, core.record_ns)
        if rank == 0:
            change_order(core, slot, EXPIRED, BY_EXPIRY)
        elif rank == 1:
            pop_first(core, index, ROOT_ARRIVING)
            _arrive(core, slot)
        else:
            change_order(core, slot, CANCELED, REQUESTED)


@inner
def note_hour(core: Any, index: int, venue_ns: int) -> None:
    """Keep what is held at each whole hour of the venue: funding for it may become known only later."""
    instrument = instrument_at(core, index)
    is_first = instrument.next_hour_ns == NEVER
    if is_first:
        instrument.next_hour_ns = (venue_ns // HOUR_NS) * HOUR_NS
    if venue_ns < instrument.next_hour_ns:
        return
    if not is_first:
        venue_phase(core, index, instrument.next_hour_ns - 1)
        for strategy in range(core.strategy_count):
            ledger = ledger_of(core, strategy, index)
            ledger.boundary_lots = ledger.lots
    instrument.boundary_ns = (venue_ns // HOUR_NS) * HOUR_NS
    instrument.next_hour_ns = instrument.boundary_ns + HOUR_NS
