"""Inside a bar: which resting orders it meets, in which order they are taken, and what is left at its close."""

from __future__ import annotations

from typing import Any

from engine.kernels.arrivals import arrivals, expiries_due, is_through, pop_first
from engine.kernels.compile import inner
from engine.kernels.fills import fill_order
from engine.kernels.heaps import heap_pop, heap_push
from engine.kernels.layout import (
    ADAPTIVE,
    AT_CLOSE,
    BY_FOK,
    BY_IOC,
    BY_PRICE,
    CANCELED,
    FOK,
    IOC,
    MAKER,
    OPEN_HIGH_LOW,
    OPEN_LOW_HIGH,
    PESSIMISTIC,
    REDUCE_ONLY,
    ROOT_BUY_STOP,
    ROOT_QUEUE,
    ROOT_SELL_LIMIT,
    ROOT_SELL_STOP,
    ROOT_TRIGGERED,
    ROOT_WAITING,
    SLIP_ATR,
    STOP,
    STOP_LIMIT,
    STOP_NEXT_OPEN,
    TAKER,
)
from engine.kernels.liquidation import liquidate_inside
from engine.kernels.opening import is_anything_reached, is_reached, level_of
from engine.kernels.orders import change_order, displace, place, place_at_rest
from engine.kernels.portfolio import note_excursion
from engine.kernels.tables import instrument_at, ledger_of, node_at, order_at, root_at, set_at
from engine.kernels.values import mark_instrument, value_of


@inner
def _distance(path: int, is_up: bool, level: int, opened: int, high: int, low: int) -> int:
    """How far price has gone inside the bar when it first meets a level; 0 where no path is assumed."""
    if path == OPEN_HIGH_LOW:
        return level - opened if is_up else (high - opened) + (high - level)
    if path == OPEN_LOW_HIGH:
        return (opened - low) + (level - low) if is_up else opened - level
    return 0


@inner
def _settle_triggered(core: Any, slot: int, closed: int) -> None:
    """A stop-limit in the bar that triggered it: it fills only if the bar's close is through the limit."""
    order = order_at(core, slot)
    if is_through(core, order.lots, order.limit_ticks, closed):
        fill_order(core, slot, order.limit_ticks, TAKER, True)
    elif order.tif == IOC:
        change_order(core, slot, CANCELED, BY_IOC)
    elif order.tif == FOK:
        change_order(core, slot, CANCELED, BY_FOK)
    else:
        place_at_rest(core, slot)


@inner
def _class_rank(core: Any, slot: int, root: int) -> int:
    """Pessimistic rank of an order with the ledger as it is now: the least hurts the position most."""
    order = order_at(core, slot)
    held = ledger_of(core, order.strategy, order.instrument).lots
    reduces = held != 0 and (held > 0) != (order.lots > 0)
    if order.flags & REDUCE_ONLY != 0 and not reduces:
        return 4
    if root == ROOT_BUY_STOP or root == ROOT_SELL_STOP:
        return 0 if reduces else 1
    return 3 if reduces else 2


@inner
def _take_inside(core: Any, slot: int, closed: int) -> None:
    order = order_at(core, slot)
    if order.type == STOP:
        order.is_triggered = 1
        if core.stop_fill == STOP_NEXT_OPEN:
            place(core, slot, ROOT_WAITING, 0)
        else:
            fill_order(core, slot, order.stop_ticks, TAKER, False)
    elif order.type == STOP_LIMIT and order.is_triggered == 0:
        order.is_triggered = 1
        _settle_triggered(core, slot, closed)
    else:
        fill_order(core, slot, order.limit_ticks, MAKER, False)


@inner
def _collect(core: Any, index: int, bar: Any, path: int) -> bool:
    """Move every order that the bar meets into its set (strategy, heap, reduce-only); True where order matters.

    All orders of a set have the same rank at any moment, so the next one to take is the first of some set.
    """
    is_up_met, is_down_met = False, False
    for root in range(4):
        is_up = root == ROOT_SELL_LIMIT or root == ROOT_BUY_STOP
        while True:
            slot = root_at(core, index, root).slot
            if slot < 0:
                break
            level = level_of(core, slot, root)
            if not is_reached(core, level, root, bar.b, bar.c):
                break
            pop_first(core, index, root)
            order = order_at(core, slot)
            member = 2 * root + (1 if order.flags & REDUCE_ONLY != 0 else 0)
            key = _distance(path, is_up, level, bar.a, bar.b, bar.c)
            set_at(core, order.strategy, member).slot = heap_push(
                core, BY_PRICE, set_at(core, order.strategy, member).slot, slot, key
            )
            if is_up:
                is_up_met = True
            else:
                is_down_met = True
    return is_up_met and is_down_met


@inner
def _take_sets(core: Any, is_pessimistic: bool, closed: int) -> None:
    """Take the sets' orders one by one, each time the one that the priority names next."""
    while True:
        best, best_rank, best_key, best_id, best_strategy, best_member = -1, 0, 0, 0, 0, 0
        for strategy in range(core.strategy_count):
            for member in range(8):
                slot = set_at(core, strategy, member).slot
                if slot < 0:
                    continue
                rank = _class_rank(core, slot, member // 2) if is_pessimistic else 0
                key, order_id = node_at(core, BY_PRICE, slot).key, order_at(core, slot).id
                if best < 0 or (rank, key, order_id) < (best_rank, best_key, best_id):
                    best, best_rank, best_key, best_id = slot, rank, key, order_id
                    best_strategy, best_member = strategy, member
        if best < 0:
            return
        set_at(core, best_strategy, best_member).slot = heap_pop(core, BY_PRICE, best)
        _take_inside(core, best, closed)


@inner
def _excursions(core: Any, index: int, high: int, low: int) -> None:
    instrument = instrument_at(core, index)
    count = core.instrument_count
    for strategy in range(core.strategy_count):
        ledger = ledger_of(core, strategy, index)
        if ledger.lots != 0:
            base = ledger.trade_gross - ledger.cost
            note_excursion(core, strategy * count + index, base + value_of(instrument, ledger.lots, low))
            note_excursion(core, strategy * count + index, base + value_of(instrument, ledger.lots, high))


@inner
def _advance_atr(core: Any, index: int, high: int, low: int, closed: int) -> None:
    """Average true range in ticks: Wilder's average, seeded with the mean of the first `atr_length` ranges."""
    instrument = instrument_at(core, index)
    true_range = high - low
    if instrument.atr_bars > 0:
        true_range = max(true_range, abs(high - instrument.close), abs(low - instrument.close))
    length = core.atr_length
    instrument.atr_bars += 1
    if instrument.atr_bars <= length:
        instrument.atr_sum += true_range
        instrument.atr = instrument.atr_sum / length
    else:
        instrument.atr = (instrument.atr * (length - 1) + true_range) / length
    instrument.close = closed


@inner
def inside_phase(core: Any, index: int, bar: Any) -> None:
    """Everything of a BAR after its open: a = open, b = high, c = low, d = close, in ticks."""
    instrument = instrument_at(core, index)
    instrument.is_open_done = 0
    core.ts_ns = bar.ts_receive_ns
    if core.live_orders > 0:
        # Stop-limits triggered at this bar's open; what is left of them stays out of this bar's set.
        while root_at(core, index, ROOT_TRIGGERED).slot >= 0:
            slot = pop_first(core, index, ROOT_TRIGGERED)
            order_id = order_at(core, slot).id
            _settle_triggered(core, slot, bar.d)
            if order_at(core, slot).id == order_id:
                displace(core, slot)
                place(core, slot, ROOT_QUEUE, 0)
        if is_anything_reached(core, index, bar.b, bar.c):
            path = core.priority
            if path == ADAPTIVE:
                path = OPEN_HIGH_LOW if bar.b - bar.a <= bar.a - bar.c else OPEN_LOW_HIGH
            if _collect(core, index, bar, path):
                core.ambiguous_bars += 1
            _take_sets(core, core.priority == PESSIMISTIC, bar.d)
        while root_at(core, index, ROOT_QUEUE).slot >= 0:
            place_at_rest(core, pop_first(core, index, ROOT_QUEUE))
    liquidate_inside(core, index, bar.a, bar.b, bar.c)
    mark_instrument(core, index, bar.d)
    if instrument.open_ledgers > 0:
        _excursions(core, index, bar.b, bar.c)
    if core.slippage == SLIP_ATR:
        _advance_atr(core, index, bar.b, bar.c, bar.d)
    if core.live_orders > 0:
        expiries_due(core, index, core.ts_ns)
        if core.fill_model == AT_CLOSE:
            arrivals(core, index, bar.d, False)
