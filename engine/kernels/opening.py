"""The open of a bar: marks, cancels, liquidation, expiries, arrivals, and everything that fills there."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import muldiv_floor
from engine.kernels.arrivals import arrivals, cancels_due, expiries_due, pop_first
from engine.kernels.compile import inner
from engine.kernels.fills import fill_order
from engine.kernels.layout import (
    AT_OPEN,
    BY_PRICE,
    E12,
    LIMIT,
    MAKER,
    MARKET,
    ROOT_BUY_LIMIT,
    ROOT_BUY_STOP,
    ROOT_QUEUE,
    ROOT_SELL_LIMIT,
    ROOT_TRIGGERED,
    ROOT_WAITING,
    STOP,
    STOP_AT_TRIGGER,
    STOP_LIMIT,
    STOP_NEXT_OPEN,
    TAKER,
    UNLIMITED,
)
from engine.kernels.liquidation import liquidate_at_open
from engine.kernels.orders import place
from engine.kernels.tables import instrument_at, node_at, order_at, root_at
from engine.kernels.values import mark_instrument


@inner
def volume_share(core: Any, volume: int) -> int:
    """How many lots of a bar's volume orders may take; volume < 0 is unknown, and then unlimited."""
    if core.max_volume_share_e12 > 0 and volume >= 0:
        return muldiv_floor(volume, core.max_volume_share_e12, E12)
    return UNLIMITED


@inner
def level_of(core: Any, slot: int, root: int) -> int:
    """The price at which a resting order meets the market (buy limits and sell stops are keyed by its negative)."""
    key = node_at(core, BY_PRICE, slot).key
    return key if root == ROOT_SELL_LIMIT or root == ROOT_BUY_STOP else -key


@inner
def is_reached(core: Any, level: int, root: int, high: int, low: int) -> bool:
    """Whether a market that trades from `low` to `high` fills or triggers a resting order at a level."""
    touch = core.limit_touch == 1
    if root == ROOT_BUY_LIMIT:
        return low < level or (touch and low == level)
    if root == ROOT_SELL_LIMIT:
        return high > level or (touch and high == level)
    return high >= level if root == ROOT_BUY_STOP else low <= level


@inner
def is_anything_reached(core: Any, index: int, high: int, low: int) -> bool:
    """Whether any resting order of the instrument meets a market that trades from `low` to `high`."""
    for root in range(4):
        slot = root_at(core, index, root).slot
        if slot >= 0 and is_reached(core, level_of(core, slot, root), root, high, low):
            return True
    return False


@inner
def _queue_gapped(core: Any, index: int, opened: int) -> None:
    for root in range(4):
        while True:
            slot = root_at(core, index, root).slot
            if slot < 0 or not is_reached(core, level_of(core, slot, root), root, opened, opened):
                break
            pop_first(core, index, root)
            place(core, slot, ROOT_QUEUE, 0)


@inner
def _trigger_at_open(core: Any, slot: int, opened: int) -> None:
    order = order_at(core, slot)
    order.is_triggered = 1
    if order.type == STOP_LIMIT:
        place(core, slot, ROOT_TRIGGERED, 0)
    elif core.stop_fill == STOP_NEXT_OPEN:
        place(core, slot, ROOT_WAITING, 0)
    else:
        base = order.stop_ticks if core.stop_fill == STOP_AT_TRIGGER else opened
        fill_order(core, slot, base, TAKER, False)


@inner
def _fill_at_open(core: Any, index: int, opened: int) -> None:
    """Everything that trades at the open, by order id."""
    # Waiting market orders become the queue; what comes to wait during the queue waits for the next open.
    while root_at(core, index, ROOT_WAITING).slot >= 0:
        place(core, pop_first(core, index, ROOT_WAITING), ROOT_QUEUE, 0)
    _queue_gapped(core, index, opened)
    while root_at(core, index, ROOT_QUEUE).slot >= 0:
        slot = pop_first(core, index, ROOT_QUEUE)
        order = order_at(core, slot)
        if order.type == MARKET or (order.type == STOP and order.is_triggered == 1):
            fill_order(core, slot, opened, TAKER, False)
        elif order.type == LIMIT:
            liquidity = TAKER if order.is_triggered == 1 else MAKER
            order.is_triggered = 0
            fill_order(core, slot, opened, liquidity, False)
        elif order.is_triggered == 1:
            fill_order(core, slot, opened, MAKER, False)
        else:
            _trigger_at_open(core, slot, opened)


@inner
def open_phase(core: Any, index: int, ts_ns: int, opened: int, volume: int) -> None:
    """The open of a bar: marks, cancels, liquidation, expiries, arrivals, and what fills at the open."""
    instrument = instrument_at(core, index)
    core.ts_ns = ts_ns
    instrument.bars += 1
    instrument.is_open_done = 1
    before = instrument.mark
    mark_instrument(core, index, opened)
    instrument.volume_left = volume_share(core, volume)
    if core.live_orders > 0:
        cancels_due(core, index)
    liquidate_at_open(core, index, before)
    if core.live_orders > 0:
        expiries_due(core, index, ts_ns)
        if core.fill_model == AT_OPEN:
            arrivals(core, index, opened, True)
        _fill_at_open(core, index, opened)
