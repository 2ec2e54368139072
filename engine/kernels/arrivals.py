"""Orders on their way: when they reach the market, and when they end by request or by time."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.fills import fill_order
from engine.kernels.heaps import heap_pop
from engine.kernels.layout import (
    ACTIVE,
    BY_EXPIRY,
    BY_FOK,
    BY_HALT,
    BY_IOC,
    BY_MARGIN,
    BY_POST_ONLY,
    BY_PRICE,
    CANCELED,
    EXPIRED,
    FOK,
    HALT_NONE,
    IOC,
    LIMIT,
    MARKET,
    NOWHERE,
    POST_ONLY,
    REJECTED,
    REQUESTED,
    ROOT_ARRIVING,
    ROOT_CANCEL,
    ROOT_EXPIRY,
    ROOT_QUEUE,
    STOP,
    STOP_LIMIT,
    SYSTEM,
    TAKER,
)
from engine.kernels.orders import change_order, place, place_at_rest
from engine.kernels.tables import instrument_at, ledger_of, node_at, order_at, root_at, strategy_at
from engine.kernels.values import is_margin_enough


@inner
def is_through(core: Any, lots: int, limit_ticks: int, ticks: int) -> bool:
    """Whether the market at a price is through a limit (or touches it, where that is enough)."""
    if core.limit_touch == 1:
        return ticks <= limit_ticks if lots > 0 else ticks >= limit_ticks
    return ticks < limit_ticks if lots > 0 else ticks > limit_ticks


@inner
def only_reduces(core: Any, strategy: int, index: int, lots: int) -> bool:
    """Whether an order can only bring its ledger's position nearer to zero."""
    held = ledger_of(core, strategy, index).lots
    return held != 0 and (held > 0) != (lots > 0) and abs(lots) <= abs(held)


@inner
def is_halted(core: Any, strategy: int, index: int, lots: int, flags: int) -> bool:
    """Whether a guard forbids an order: everything that does not only reduce the ledger's position."""
    if flags & SYSTEM != 0:
        return False
    if core.halt == HALT_NONE and strategy_at(core, strategy).is_halted == 0:
        return False
    return not only_reduces(core, strategy, index, lots)


@inner
def pop_first(core: Any, index: int, root: int) -> int:
    """Take the first order out of one of an instrument's heaps by price."""
    slot = root_at(core, index, root).slot
    root_at(core, index, root).slot = heap_pop(core, BY_PRICE, slot)
    order_at(core, slot).root = NOWHERE
    return slot


@inner
def arrival_refusal(core: Any, slot: int) -> int:
    """Why an order is not let into the market, whatever the market does, or 0."""
    order = order_at(core, slot)
    if is_halted(core, order.strategy, order.instrument, order.lots, order.flags):
        return BY_HALT
    if order.type != MARKET:
        price = order.stop_ticks if order.type == STOP else order.limit_ticks
        if not is_margin_enough(core, order.instrument, order.lots, price):
            return BY_MARGIN
    return 0


@inner
def arrive(core: Any, slot: int, ticks: int, is_open: bool) -> None:
    """An order reaches the market while it trades at `ticks`: fills are queued (open) or made at once (close)."""
    order = order_at(core, slot)
    refusal = arrival_refusal(core, slot)
    if order.flags & POST_ONLY != 0 and refusal != BY_HALT:
        crosses = ticks <= order.limit_ticks if order.lots > 0 else ticks >= order.limit_ticks
        if crosses:
            refusal = BY_POST_ONLY
    if refusal != 0:
        change_order(core, slot, REJECTED, refusal)
        return
    change_order(core, slot, ACTIVE, 0)
    if order.type == STOP or order.type == STOP_LIMIT:
        place_at_rest(core, slot)  # at an open it is taken from its heap again, with those that gapped
        return
    if order.type == LIMIT and not is_through(core, order.lots, order.limit_ticks, ticks):
        if order.tif == IOC:
            change_order(core, slot, CANCELED, BY_IOC)
        elif order.tif == FOK:
            change_order(core, slot, CANCELED, BY_FOK)
        else:
            place_at_rest(core, slot)
        return
    if is_open:
        order.is_triggered = 1 if order.type == LIMIT else 0  # a limit that takes, not one that rested
        place(core, slot, ROOT_QUEUE, 0)
    else:
        fill_order(core, slot, ticks, TAKER, False)


@inner
def arrivals(core: Any, index: int, ticks: int, is_open: bool) -> None:
    """All orders of the instrument that are due to arrive, by id (the key is the bar, the same order)."""
    bars = instrument_at(core, index).bars
    while True:
        slot = root_at(core, index, ROOT_ARRIVING).slot
        if slot < 0 or node_at(core, BY_PRICE, slot).key > bars:
            return
        pop_first(core, index, ROOT_ARRIVING)
        arrive(core, slot, ticks, is_open)


@inner
def cancels_due(core: Any, index: int) -> None:
    """Cancel what was asked for and has reached the market, in order of request."""
    bars = instrument_at(core, index).bars
    while True:
        slot = root_at(core, index, ROOT_CANCEL).slot
        if slot < 0 or order_at(core, slot).cancel_bars >= bars:
            return
        change_order(core, slot, CANCELED, REQUESTED)


@inner
def expiries_due(core: Any, index: int, ts_ns: int) -> None:
    """End what has reached its time, by time and id."""
    while True:
        slot = root_at(core, index, ROOT_EXPIRY).slot
        if slot < 0 or order_at(core, slot).expire_ns > ts_ns:
            return
        change_order(core, slot, EXPIRED, BY_EXPIRY)
