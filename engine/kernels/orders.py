"""Order slots: where working orders live, how they are found, and which changes of core are allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.kernels.compile import inner
from engine.kernels.heaps import heap_push, heap_remove
from engine.kernels.layout import (
    ACTIVE,
    BY_CANCEL,
    BY_PRICE,
    BY_TIME,
    CANCELED,
    EXPIRED,
    FILLED,
    GTD,
    LIMIT,
    MARKET,
    NEW,
    NOWHERE,
    ORDER_OUTPUT,
    PARTIAL,
    REFUSED_TRANSITION,
    REJECTED,
    ROOT_BUY_LIMIT,
    ROOT_BUY_STOP,
    ROOT_CANCEL,
    ROOT_EXPIRY,
    ROOT_SELL_LIMIT,
    ROOT_SELL_STOP,
    ROOT_WAITING,
    STOP,
    STOP_LIMIT,
)
from engine.kernels.outputs import emit, header
from engine.kernels.reports import push_report
from engine.kernels.tables import ledger_at, ledger_of, order_at, root_at, table_at


def _bits(*states: int) -> int:
    return sum(1 << core for core in states)


# The transition table: for each core, the states that may follow.
MAY_FOLLOW = np.array(
    [
        _bits(NEW),
        _bits(ACTIVE, CANCELED, EXPIRED, REJECTED),
        _bits(PARTIAL, FILLED, CANCELED, EXPIRED),
        _bits(PARTIAL, FILLED, CANCELED, EXPIRED),
        0,
        0,
        0,
        0,
    ],
    dtype=np.int64,
)


@inner
def _home(core: Any, order_id: int) -> int:
    return order_id & (core.table_size - 1)


@inner
def find_order(core: Any, order_id: int) -> int:
    """The slot of a working order, or -1."""
    mask = core.table_size - 1
    place = _home(core, order_id)
    while True:
        slot = table_at(core, place).slot
        if slot < 0:
            return -1
        if order_at(core, slot).id == order_id:
            return slot
        place = (place + 1) & mask


@inner
def _remember(core: Any, order_id: int, slot: int) -> None:
    mask = core.table_size - 1
    place = _home(core, order_id)
    while table_at(core, place).slot >= 0:
        place = (place + 1) & mask
    table_at(core, place).slot = slot


@inner
def _forget(core: Any, order_id: int) -> None:
    """Remove an order from the table, moving later ones back so that no search breaks off early."""
    mask = core.table_size - 1
    place = _home(core, order_id)
    while order_at(core, table_at(core, place).slot).id != order_id:
        place = (place + 1) & mask
    gap = place
    while True:
        place = (place + 1) & mask
        slot = table_at(core, place).slot
        if slot < 0:
            break
        home = _home(core, order_at(core, slot).id)
        if ((place - home) & mask) >= ((place - gap) & mask):
            table_at(core, gap).slot = slot
            gap = place
    table_at(core, gap).slot = -1


@inner
def open_order(core: Any, strategy: int, instrument: int, order_type: int, tif: int, flags: int, lots: int,
               limit_ticks: int, stop_ticks: int, expire_ns: int, tag: int) -> int:  # fmt: skip
    """Take a free slot for a new order, number it, put it last in its ledger's list; returns the slot."""
    slot = core.free_slot
    if slot >= 0:
        core.free_slot = order_at(core, slot).next
    else:
        slot = core.slots_used
        core.slots_used += 1
    core.order_count += 1
    core.live_orders += 1
    order = order_at(core, slot)
    order.id = core.order_count
    order.lots, order.filled_lots = lots, 0
    order.limit_ticks, order.stop_ticks, order.expire_ns, order.tag = limit_ticks, stop_ticks, expire_ns, tag
    order.strategy, order.instrument = strategy, instrument
    order.type, order.tif, order.flags, order.state = order_type, tif, flags, 0
    order.root, order.is_triggered, order.is_timed, order.is_cancel_due, order.cancel_bars = NOWHERE, 0, 0, 0, 0
    order.send_number, order.is_queued, order.ahead, order.printed = 0, 0, 0, 0
    order.known_state, order.known_filled_lots = NEW, 0
    ledger = ledger_of(core, strategy, instrument)
    order.next = -1
    order.previous = ledger.last_order
    if ledger.last_order >= 0:
        order_at(core, ledger.last_order).next = slot
    else:
        ledger.first_order = slot
    ledger.last_order = slot
    _remember(core, order.id, slot)
    return slot


@inner
def place(core: Any, slot: int, root: int, key: int) -> None:
    """Put an order into one of the instrument's heaps by price."""
    order = order_at(core, slot)
    order.root = root
    index = order.instrument
    root_at(core, index, root).slot = heap_push(core, BY_PRICE, root_at(core, index, root).slot, slot, key)


@inner
def displace(core: Any, slot: int) -> None:
    """Take an order out of the heap by price that it stands in, if any."""
    order = order_at(core, slot)
    if order.root == NOWHERE:
        return
    index, root = order.instrument, order.root
    root_at(core, index, root).slot = heap_remove(core, BY_PRICE, root_at(core, index, root).slot, slot)
    order.root = NOWHERE


@inner
def place_at_rest(core: Any, slot: int) -> None:
    """Put a working order where it waits for the market: by its price, or for the next open."""
    order = order_at(core, slot)
    if order.type == MARKET or (order.type == STOP and order.is_triggered == 1):
        place(core, slot, ROOT_WAITING, 0)
    elif order.type == LIMIT or (order.type == STOP_LIMIT and order.is_triggered == 1):
        if order.lots > 0:
            place(core, slot, ROOT_BUY_LIMIT, -order.limit_ticks)
        else:
            place(core, slot, ROOT_SELL_LIMIT, order.limit_ticks)
    elif order.lots > 0:
        place(core, slot, ROOT_BUY_STOP, order.stop_ticks)
    else:
        place(core, slot, ROOT_SELL_STOP, -order.stop_ticks)


@inner
def start_expiry(core: Any, slot: int) -> None:
    """From now on the order ends at its time."""
    order = order_at(core, slot)
    if order.tif != GTD:
        return
    order.is_timed = 1
    root = root_at(core, order.instrument, ROOT_EXPIRY).slot
    root_at(core, order.instrument, ROOT_EXPIRY).slot = heap_push(core, BY_TIME, root, slot, order.expire_ns)


@inner
def step_state(core: Any, slot: int, after: int) -> None:
    """Change an order's core; anything the transition table refuses is a defect and stops the core."""
    order = order_at(core, slot)
    if (MAY_FOLLOW[order.state] >> after) & 1 == 0:
        core.defect = REFUSED_TRANSITION
    order.state = after


@inner
def retire(core: Any, slot: int) -> None:
    """Give a finished order's slot back."""
    displace(core, slot)
    order = order_at(core, slot)
    index = order.instrument
    if order.is_timed == 1:
        expiry = root_at(core, index, ROOT_EXPIRY)
        expiry.slot = heap_remove(core, BY_TIME, expiry.slot, slot)
    if order.is_cancel_due == 1:
        due = root_at(core, index, ROOT_CANCEL)
        due.slot = heap_remove(core, BY_CANCEL, due.slot, slot)
    ledger = ledger_of(core, order.strategy, index)
    if order.previous >= 0:
        order_at(core, order.previous).next = order.next
    else:
        ledger.first_order = order.next
    if order.next >= 0:
        order_at(core, order.next).previous = order.previous
    else:
        ledger.last_order = order.previous
    _forget(core, order.id)
    order.id = 0
    order.next = core.free_slot
    core.free_slot = slot
    core.live_orders -= 1


@inner
def change_order(core: Any, slot: int, after: int, reason: int) -> None:
    """Change an order's core and say so; a final core gives the slot back."""
    step_state(core, slot, after)
    order = order_at(core, slot)
    head = header(ORDER_OUTPUT, after, reason, 0, order.strategy, order.instrument)
    emit(core, head, order.id, order.lots, abs(order.lots) - order.filled_lots, order.limit_ticks, order.stop_ticks,
         order.type, order.tif, order.flags, order.expire_ns, order.tag, 0, 0, 0)  # fmt: skip
    if core.is_book == 1:
        if after != NEW:
            # A finished order keeps its slot until this has been delivered.
            push_report(core, slot, 0, 0, core.output_base + core.output_count - 1)
    elif after >= FILLED:
        retire(core, slot)


@inner
def cancel_ledger(core: Any, ledger_index: int, reason: int) -> None:
    """Cancel every working order of a ledger, oldest first."""
    slot = ledger_at(core, ledger_index).first_order
    while slot >= 0:
        following = order_at(core, slot).next
        if order_at(core, slot).state < FILLED:
            change_order(core, slot, CANCELED, reason)
        slot = following
