"""Where our resting orders stand in the queue of their level, and how they move forward.

The models are those of Rigtorp (2013, "Estimating order queue position") as hftbacktest has them: what happened
ahead of an order is not known, only prints and the size of the level are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.kernels.arithmetic import as_int64
from engine.kernels.book.levels import first_order_at, lots_at, set_first_order
from engine.kernels.compile import inner
from engine.kernels.layout import ASK, BID, BOOK_VALID, POWER, TRADES_ONLY
from engine.kernels.orders import place_at_rest
from engine.kernels.tables import book_at, order_at


@inner
def side_of(lots: int) -> int:
    """The side of the book on which an order of signed size rests."""
    return BID if lots > 0 else ASK


@inner
def rest(core: Any, slot: int) -> None:
    """Let a limit wait at its price, behind all that stands there."""
    order = order_at(core, slot)
    place_at_rest(core, slot)
    if book_at(core, order.instrument).state != BOOK_VALID:
        return
    side, price = side_of(order.lots), order.limit_ticks
    order.ahead, order.printed, order.is_queued = lots_at(core, order.instrument, side, price), 0, 1
    order.level_next, order.level_previous = -1, -1
    last = first_order_at(core, order.instrument, side, price)
    if last < 0:
        set_first_order(core, order.instrument, side, price, slot)
        return
    while order_at(core, last).level_next >= 0:
        last = order_at(core, last).level_next
    order_at(core, last).level_next = slot
    order.level_previous = last


@inner
def leave_queue(core: Any, slot: int) -> None:
    """Take an order out of the list of its level."""
    order = order_at(core, slot)
    if order.is_queued == 0:
        return
    order.is_queued = 0
    if order.level_next >= 0:
        order_at(core, order.level_next).level_previous = order.level_previous
    if order.level_previous >= 0:
        order_at(core, order.level_previous).level_next = order.level_next
    else:
        set_first_order(core, order.instrument, side_of(order.lots), order.limit_ticks, order.level_next)


@inner
def _share(core: Any, size: float) -> float:
    """The weight that the model gives to a part of the queue."""
    positive = max(size, 0.0)
    if core.queue_model == POWER:
        weight = positive
        for _ in range(core.queue_power - 1):
            weight *= positive
        return weight
    return math.log(1.0 + positive)


@inner
def _moved(core: Any, ahead: int, old: int, new: int, printed: int) -> int:
    """What is ahead of an order after its level went from `old` to `new` with `printed` traded in between."""
    change = old - new - printed
    if core.queue_model == TRADES_ONLY or change < 0:
        return min(ahead, new)
    back_weight = _share(core, np.float64(old - ahead))
    weights = back_weight + _share(core, np.float64(ahead))
    behind = 1.0 if weights == 0.0 else back_weight / weights
    moved = ahead - (1.0 - behind) * change + min((old - ahead) - behind * change, 0.0)
    return max(min(as_int64(np.rint(moved)), new), 0)


@inner
def level_changed(core: Any, first: int, old: int, new: int) -> None:
    """Let the orders of a level, from the first one's slot on, move with it."""
    slot = first
    while slot >= 0:
        order = order_at(core, slot)
        order.ahead = _moved(core, order.ahead, old, new, order.printed)
        if core.queue_model != TRADES_ONLY:
            order.printed = 0
        slot = order.level_next
