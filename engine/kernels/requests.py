"""What strategies ask for: orders, cancels, targets; checked at once, sent on their way."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64
from engine.kernels.arrivals import arrive, is_halted, only_reduces
from engine.kernels.compile import inner
from engine.kernels.control import halt_account, note_strategy, resume_account
from engine.kernels.heaps import heap_push
from engine.kernels.latency import entry_latency
from engine.kernels.layout import (
    AT_CLOSE,
    BELOW_MINIMUM,
    BOOK_INVALID,
    BOOK_INVALID_STATE,
    BOOK_NONE,
    BY_CANCEL,
    BY_HALT,
    CANCEL_ALL_REQUEST,
    CANCEL_REQUEST,
    CANCELED,
    FILLED,
    GTC,
    GTD,
    HALT_REQUEST,
    INVALID,
    LIMIT,
    MARKET,
    NEW,
    NO_PRICE,
    NO_SHORT,
    NONE,
    NOTE_REQUEST,
    ORDER_REQUEST,
    OVER_CAPACITY,
    POST_ONLY,
    REDUCE_ONLY,
    REJECTED,
    REQUESTED,
    RESUME_REQUEST,
    ROOT_ARRIVING,
    ROOT_CANCEL,
    ROOT_WAITING,
    SPOT,
    STOP,
    STOP_LIMIT,
    SYSTEM,
    TARGET_REQUEST,
    UNLIMITED,
)
from engine.kernels.orders import change_order, find_order, open_order, place, start_expiry
from engine.kernels.tables import book_at, instrument_at, ledger_of, order_at, root_at
from engine.kernels.values import most_lots, value_of


@inner
def _is_well_formed(core: Any, slot: int) -> bool:
    order = order_at(core, slot)
    needs_limit = order.type == LIMIT or order.type == STOP_LIMIT
    needs_stop = order.type == STOP or order.type == STOP_LIMIT
    if order.lots == 0 or order.lots > UNLIMITED or order.lots < -UNLIMITED:
        return False
    if order.type < MARKET or order.type > STOP_LIMIT or order.tif < GTC or order.tif > GTD:
        return False
    if needs_limit != (order.limit_ticks > 0) or needs_stop != (order.stop_ticks > 0):
        return False
    if (not needs_limit and order.limit_ticks != 0) or (not needs_stop and order.stop_ticks != 0):
        return False
    if order.flags & POST_ONLY != 0 and (order.type != LIMIT or (order.tif != GTC and order.tif != GTD)):
        return False
    if order.tif == GTD:
        return order.expire_ns > core.ts_ns
    return order.expire_ns == 0


@inner
def _is_blind(core: Any, slot: int) -> bool:
    """Whether an order would decide something new on a book that is not valid."""
    order = order_at(core, slot)
    state = book_at(core, order.instrument).state
    is_trusted = state != BOOK_INVALID_STATE and (core.is_strict == 0 or state != BOOK_NONE)
    if order.flags & SYSTEM != 0 or is_trusted:
        return False
    return not only_reduces(core, order.strategy, order.instrument, order.lots)


@inner
def _refusal(core: Any, slot: int) -> int:
    order = order_at(core, slot)
    index = order.instrument
    instrument = instrument_at(core, index)
    if not _is_well_formed(core, slot):
        return INVALID
    if instrument.mark == 0:
        return NO_PRICE
    if is_halted(core, order.strategy, index, order.lots, order.flags):
        return BY_HALT
    if core.is_book == 1 and _is_blind(core, slot):
        return BOOK_INVALID
    reference = instrument.mark
    if order.limit_ticks > 0:
        reference = order.limit_ticks
    elif order.stop_ticks > 0:
        reference = order.stop_ticks
    if abs(order.lots) > most_lots(instrument, reference):
        return OVER_CAPACITY
    reduces = only_reduces(core, order.strategy, index, order.lots)
    if not reduces and abs(value_of(instrument, order.lots, reference)) < instrument.minimum_notional:
        return BELOW_MINIMUM
    held = ledger_of(core, order.strategy, index).lots
    if instrument.kind == SPOT and order.lots < 0 and -order.lots > held:
        return NO_SHORT
    return NONE


@inner
def _next_arrival(core: Any) -> int:
    """When what is sent now reaches the venue, host's time: one connection, so nothing overtakes what went before."""
    core.send_count += 1
    core.last_arrival_ns = max(core.last_arrival_ns, core.ts_ns + entry_latency(core, core.ts_ns))
    return core.last_arrival_ns


@inner
def _expect(core: Any, index: int, venue_ns: int) -> None:
    """Let the loop look at an instrument at the venue's time given, or when its records are late."""
    instrument = instrument_at(core, index)
    instrument.venue_due_ns = min(instrument.venue_due_ns, venue_ns)
    core.next_due_ns = min(core.next_due_ns, venue_ns - instrument.offset_ns + core.lateness_ns)


@inner
def send_order(core: Any, strategy: int, index: int, order_type: int, tif: int, flags: int, lots: int,
               limit_ticks: int, stop_ticks: int, expire_ns: int, tag: int) -> None:  # fmt: skip
    """Number a new order, check it, and let it arrive when it is due."""
    slot = open_order(core, strategy, index, order_type, tif, flags, lots, limit_ticks, stop_ticks, expire_ns, tag)
    change_order(core, slot, NEW, NONE)
    refusal = _refusal(core, slot)
    if refusal != NONE:
        change_order(core, slot, REJECTED, refusal)
        return
    if core.is_book == 1:
        if flags & SYSTEM != 0:
            core.send_count += 1
            order_at(core, slot).send_number = core.send_count
            place(core, slot, ROOT_WAITING, 0)
        else:
            start_expiry(core, slot)
            order = order_at(core, slot)
            order.arrive_ns = _next_arrival(core)
            order.send_number = core.send_count
            place(core, slot, ROOT_ARRIVING, order.send_number)
            due_ns = order.arrive_ns + instrument_at(core, index).offset_ns
            _expect(core, index, min(due_ns, order.expire_ns) if order.tif == GTD else due_ns)
        return
    start_expiry(core, slot)
    instrument = instrument_at(core, index)
    latency = 0 if flags & SYSTEM != 0 else core.latency_bars
    if core.fill_model == AT_CLOSE:
        if latency == 0:
            arrive(core, slot, instrument.mark, False)
        else:
            place(core, slot, ROOT_ARRIVING, instrument.bars + latency)
    else:
        place(core, slot, ROOT_ARRIVING, instrument.bars + 1 + latency)


@inner
def _cancel(core: Any, slot: int) -> None:
    latency = core.latency_bars
    order = order_at(core, slot)
    if core.is_book == 1:
        if order.state < FILLED and order.is_cancel_due == 0:
            order.is_cancel_due = 1
            order.cancel_ns = _next_arrival(core)
            order.cancel_number = core.send_count
            root = root_at(core, order.instrument, ROOT_CANCEL).slot
            root_at(core, order.instrument, ROOT_CANCEL).slot = heap_push(
                core, BY_CANCEL, root, slot, order.cancel_number
            )
            _expect(core, order.instrument, order.cancel_ns + instrument_at(core, order.instrument).offset_ns)
    elif latency == 0:
        change_order(core, slot, CANCELED, REQUESTED)
    elif order.is_cancel_due == 0:
        core.cancel_count += 1
        order.is_cancel_due = 1
        order.cancel_bars = instrument_at(core, order.instrument).bars + latency
        root = root_at(core, order.instrument, ROOT_CANCEL).slot
        root_at(core, order.instrument, ROOT_CANCEL).slot = heap_push(core, BY_CANCEL, root, slot, core.cancel_count)


@inner
def apply_request(core: Any, request: Any) -> None:
    """Carry out one request; one of a strategy or instrument that the run does not have does nothing."""
    strategy, index = as_int64(request.strategy), as_int64(request.instrument)
    if strategy >= core.strategy_count or index >= core.instrument_count:
        return
    flags = as_int64(request.flags) & (POST_ONLY | REDUCE_ONLY)  # nobody but the core sends SYSTEM orders
    if request.kind == ORDER_REQUEST:
        send_order(core, strategy, index, as_int64(request.type), as_int64(request.tif), flags, request.lots,
                   request.limit_ticks, request.stop_ticks, request.expire_ns, request.tag)  # fmt: skip
    elif request.kind == CANCEL_REQUEST:
        slot = find_order(core, request.order_id)
        if slot >= 0 and order_at(core, slot).strategy == strategy:
            _cancel(core, slot)
    elif request.kind == TARGET_REQUEST:
        wanted = max(-UNLIMITED, min(UNLIMITED, request.lots))
        lots = wanted - ledger_of(core, strategy, index).lots
        if wanted == 0:
            flags |= REDUCE_ONLY  # flattening twice, while the first order is on its way, must not turn the position
        if lots != 0:
            send_order(core, strategy, index, MARKET, GTC, flags, lots, 0, 0, 0, request.tag)
    elif request.kind == CANCEL_ALL_REQUEST:
        slot = ledger_of(core, strategy, index).first_order
        while slot >= 0:
            following = order_at(core, slot).next
            _cancel(core, slot)
            slot = following
    elif request.kind == HALT_REQUEST:
        halt_account(core)
    elif request.kind == RESUME_REQUEST:
        resume_account(core)
    elif request.kind == NOTE_REQUEST:
        note_strategy(core, strategy, request.tag)
