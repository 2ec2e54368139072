"""What the market does to orders that wait for it: crossed books, prints, triggers."""

from __future__ import annotations

from typing import Any

from engine.kernels.arrivals import pop_first
from engine.kernels.book.fills import fill_at, fill_crossed, trade_now
from engine.kernels.book.levels import first_order_at
from engine.kernels.book.queue import side_of
from engine.kernels.compile import inner
from engine.kernels.layout import (
    ACTIVE,
    BOOK_INVALID_STATE,
    BOOK_VALID,
    BOUNDED,
    BY_BOOK,
    BY_MARK,
    FILLED,
    MAKER,
    MODEL_QUEUE,
    MODEL_THROUGH,
    NEW,
    NONE,
    OBSERVED,
    ROOT_BUY_LIMIT,
    ROOT_BUY_STOP,
    ROOT_SELL_LIMIT,
    ROOT_SELL_STOP,
    ROOT_WAITING,
    SELL,
    SIDE_UNKNOWN,
)
from engine.kernels.orders import change_order
from engine.kernels.tables import book_at, instrument_at, order_at, root_at


@inner
def first_of(core: Any, index: int, root: int) -> int:
    """The first order of one of an instrument's heaps by price that still works; -1 where none does."""
    while True:
        slot = root_at(core, index, root).slot
        if slot < 0 or order_at(core, slot).state < FILLED:
            return slot
        pop_first(core, index, root)


@inner
def run_waiting(core: Any, index: int) -> None:
    """Let the core's own orders of an instrument trade, by id; they wait while its book is invalid."""
    while book_at(core, index).state != BOOK_INVALID_STATE:
        slot = first_of(core, index, ROOT_WAITING)
        if slot < 0:
            return
        pop_first(core, index, ROOT_WAITING)
        if order_at(core, slot).state == NEW:
            change_order(core, slot, ACTIVE, NONE)
        trade_now(core, slot)


@inner
def match_crossed(core: Any, index: int) -> None:
    """Fill the resting limits that the book has come to."""
    book = book_at(core, index)
    while True:
        slot = first_of(core, index, ROOT_BUY_LIMIT)
        if slot < 0 or book.best_ask == 0 or book.best_ask > order_at(core, slot).limit_ticks:
            break
        fill_crossed(core, slot)
    while True:
        slot = first_of(core, index, ROOT_SELL_LIMIT)
        if slot < 0 or book.best_bid == 0 or book.best_bid < order_at(core, slot).limit_ticks:
            break
        fill_crossed(core, slot)


@inner
def match_quoted(core: Any, index: int) -> None:
    """The same where only the best bid and ask are known: at most the quoted size."""
    instrument = instrument_at(core, index)
    left = instrument.quote_ask_lots
    while left > 0 and instrument.quote_ask > 0:
        slot = first_of(core, index, ROOT_BUY_LIMIT)
        if slot < 0 or instrument.quote_ask > order_at(core, slot).limit_ticks:
            break
        price = order_at(core, slot).limit_ticks
        left -= fill_at(core, slot, left, price, price, MAKER, MODEL_THROUGH, BOUNDED, 0)
    left = instrument.quote_bid_lots
    while left > 0 and instrument.quote_bid > 0:
        slot = first_of(core, index, ROOT_SELL_LIMIT)
        if slot < 0 or instrument.quote_bid < order_at(core, slot).limit_ticks:
            break
        price = order_at(core, slot).limit_ticks
        left -= fill_at(core, slot, left, price, price, MAKER, MODEL_THROUGH, BOUNDED, 0)


@inner
def _match_side(core: Any, index: int, root: int, price: int, lots: int) -> None:
    """A print of `lots` at a price against one side: first what it has gone through, then the queue at the price."""
    is_valid = book_at(core, index).state == BOOK_VALID
    confidence = OBSERVED if is_valid else BOUNDED
    left = lots
    while left > 0:
        slot = first_of(core, index, root)
        if slot < 0:
            return
        limit = order_at(core, slot).limit_ticks
        if limit <= price if root == ROOT_BUY_LIMIT else limit >= price:
            break
        left -= fill_at(core, slot, left, limit, limit, MAKER, MODEL_THROUGH, confidence, 0)
    if not is_valid:
        return
    side = side_of(1 if root == ROOT_BUY_LIMIT else -1)
    slot = first_order_at(core, index, side, price)
    while slot >= 0:
        order = order_at(core, slot)
        following = order.level_next
        if order.state < FILLED:
            before = order.ahead
            order.printed += lots
            order.ahead -= lots
            if order.ahead < 0:
                due = min(-order.ahead, left)
                order.ahead = 0
                if due > 0:
                    left -= fill_at(core, slot, due, price, price, MAKER, MODEL_QUEUE, BOUNDED, before)
        slot = following


@inner
def match_print(core: Any, index: int, price: int, lots: int, flags: int) -> None:
    """A trade at the venue against our resting limits, on the side that the taker hit."""
    book = book_at(core, index)
    is_sold = flags & SELL != 0
    is_bought = not is_sold
    if flags & SIDE_UNKNOWN != 0:
        is_valid = book.state == BOOK_VALID
        is_sold = is_valid and book.best_bid > 0 and price <= book.best_bid
        is_bought = is_valid and not is_sold and book.best_ask > 0 and price >= book.best_ask
    if is_sold:
        _match_side(core, index, ROOT_BUY_LIMIT, price, lots)
    elif is_bought:
        _match_side(core, index, ROOT_SELL_LIMIT, price, lots)


@inner
def trigger_price(core: Any, index: int, lots: int) -> int:
    """The price that triggers a stop of signed size: as the settings say, else the mark."""
    instrument, book = instrument_at(core, index), book_at(core, index)
    price = 0
    if core.stop_trigger == BY_BOOK:
        if book.state == BOOK_VALID:
            price = book.best_ask if lots > 0 else book.best_bid
        else:
            price = instrument.quote_ask if lots > 0 else instrument.quote_bid
    elif core.stop_trigger != BY_MARK:
        price = instrument.last
    return price if price > 0 else instrument.mark


@inner
def is_triggered_now(core: Any, slot: int) -> bool:
    """Whether the market has reached a stop."""
    order = order_at(core, slot)
    price = trigger_price(core, order.instrument, order.lots)
    if price == 0:
        return False
    return price >= order.stop_ticks if order.lots > 0 else price <= order.stop_ticks


@inner
def match_stops(core: Any, index: int) -> None:
    """Let the stops that the market has reached trade: buys from the lowest, then sells from the highest."""
    for root in range(ROOT_BUY_STOP, ROOT_SELL_STOP + 1):
        while True:
            slot = first_of(core, index, root)
            if slot < 0 or not is_triggered_now(core, slot):
                break
            pop_first(core, index, root)
            order_at(core, slot).is_triggered = 1
            trade_now(core, slot)
