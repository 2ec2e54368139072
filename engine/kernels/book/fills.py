"""One order meets the book: what it takes, what it is given, and what that costs."""

from __future__ import annotations

from typing import Any

from engine.kernels.book.levels import level_behind, lots_at, set_level
from engine.kernels.book.queue import rest
from engine.kernels.compile import inner
from engine.kernels.fills import fill_refusal, slip_of
from engine.kernels.layout import (
    ACTIVE,
    ASK,
    ASSUMED,
    BID,
    BOOK_INVALID_STATE,
    BOOK_NONE,
    BOOK_OUTPUT,
    BOOK_VALID,
    BOUNDED,
    BY_END,
    BY_FOK,
    BY_HALT,
    BY_IOC,
    BY_REDUCE_ONLY,
    CANCELED,
    FILLED,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MAKER,
    MARKET,
    MODEL_DEPTH,
    MODEL_SPREAD,
    MODEL_THROUGH,
    NEW,
    NO_LIQUIDITY,
    NONE,
    OBSERVED,
    PARTIAL,
    REDUCE_ONLY,
    ROOT_WAITING,
    STOP_LIMIT,
    SYSTEM,
    TAKER,
)
from engine.kernels.orders import change_order, open_order, place, step_state
from engine.kernels.outputs import emit, header
from engine.kernels.portfolio import book_fill, fee_of
from engine.kernels.reports import push_report
from engine.kernels.tables import book_at, instrument_at, ledger_at, ledger_of, order_at


@inner
def remaining_lots(core: Any, slot: int) -> int:
    """What of an order is not filled."""
    order = order_at(core, slot)
    return abs(order.lots) - order.filled_lots


@inner
def emit_book(core: Any, strategy: int, index: int, order_id: int, model: int, confidence: int, ahead: int) -> None:
    """Say what the book was just before a fill."""
    instrument, book = instrument_at(core, index), book_at(core, index)
    bid, bid_lots, ask, ask_lots, age_ns = 0, 0, 0, 0, -1
    if book.state != BOOK_NONE:
        age_ns = max(0, core.ts_ns - book.book_ns)
    if book.state == BOOK_VALID:
        bid, ask = book.best_bid, book.best_ask
        bid_lots = lots_at(core, index, BID, bid) if bid > 0 else 0
        ask_lots = lots_at(core, index, ASK, ask) if ask > 0 else 0
    elif book.state == BOOK_NONE:
        bid, bid_lots = instrument.quote_bid, instrument.quote_bid_lots
        ask, ask_lots = instrument.quote_ask, instrument.quote_ask_lots
    emit(core, header(BOOK_OUTPUT, 0, confidence, model, strategy, index), order_id, bid, bid_lots, ask, ask_lots,
         book.update_id, age_ns, ahead, 0, 0, 0, 0, 0)  # fmt: skip


@inner
def fill_at(core: Any, slot: int, most: int, price: int, base: int, liquidity: int, model: int, confidence: int,
            ahead: int) -> int:  # fmt: skip
    """Fill up to `most` lots of an order at a price; returns how many, 0 where a check ended the order.

    The order is in whatever heap and queue it is in: the caller takes it out where it is done.
    """
    order = order_at(core, slot)
    index = order.instrument
    instrument = instrument_at(core, index)
    ledger = ledger_of(core, order.strategy, index)
    side = 1 if order.lots > 0 else -1
    remaining = remaining_lots(core, slot)
    size = min(remaining, most)
    if order.flags & REDUCE_ONLY != 0:
        if ledger.lots == 0 or (order.lots > 0) == (ledger.lots > 0):
            change_order(core, slot, CANCELED, BY_REDUCE_ONLY)
            return 0
        size = min(size, abs(ledger.lots))
    refusal = fill_refusal(core, slot, side * size, price)
    if refusal != NONE:
        change_order(core, slot, CANCELED, refusal)
        return 0
    fee = fee_of(core, index, size, price, instrument.maker_e12 if liquidity == MAKER else instrument.taker_e12)
    fee += core.fee_per_fill
    if order.filled_lots == 0:
        fee += core.fee_per_order
    order.filled_lots += size
    remaining -= size
    step_state(core, slot, FILLED if remaining == 0 else PARTIAL)
    why = NONE
    if order.flags & SYSTEM != 0:
        why = BY_END if core.is_ending == 1 else BY_HALT
    cost_before = ledger.cost
    emit_book(core, order.strategy, index, order.id, model, confidence, ahead)
    row = core.output_base + core.output_count
    book_fill(core, order.strategy, index, order.id, order.state, remaining, order.tag, side * size, price, base, fee,
              liquidity, model, why)  # fmt: skip
    push_report(core, slot, side * size, ledger.cost - cost_before, row)
    if remaining > 0 and order.flags & REDUCE_ONLY != 0 and ledger.lots == 0:
        change_order(core, slot, CANCELED, BY_REDUCE_ONLY)
    return size


@inner
def is_within(lots: int, limit: int, price: int) -> bool:
    """Whether an order of signed size may trade at a price; limit 0 is no limit."""
    if limit == 0:
        return True
    return price <= limit if lots > 0 else price >= limit


@inner
def opposite_best(core: Any, index: int, lots: int) -> int:
    """The best price that an order of signed size can take; 0 where none is."""
    book = book_at(core, index)
    return book.best_ask if lots > 0 else book.best_bid


@inner
def limit_of(core: Any, slot: int) -> int:
    """The price beyond which an order does not trade; 0 where it takes any."""
    order = order_at(core, slot)
    return order.limit_ticks if order.type == LIMIT or order.type == STOP_LIMIT else 0


@inner
def _take_all(core: Any, index: int, lots: int, limit: int, wanted: int, is_taken: bool) -> int:
    """How much the book offers an order up to its limit, at most `wanted`; `is_taken`: it is gone afterwards."""
    side = ASK if lots > 0 else BID
    price = opposite_best(core, index, lots)
    found = 0
    while price > 0 and found < wanted and is_within(lots, limit, price):
        standing = lots_at(core, index, side, price)
        size = min(wanted - found, standing)
        found += size
        if is_taken:
            set_level(core, index, side, price, standing - size)
            price = opposite_best(core, index, lots)
        else:
            price = level_behind(core, index, side, price)
    return found


@inner
def fill_crossed(core: Any, slot: int) -> None:
    """A resting limit that the book has come to: it is given what stands at its price or better, at its own price."""
    order = order_at(core, slot)
    offered = _take_all(core, order.instrument, order.lots, order.limit_ticks, remaining_lots(core, slot), False)
    if order.flags & REDUCE_ONLY != 0:
        offered = min(offered, abs(ledger_of(core, order.strategy, order.instrument).lots))
    price = order.limit_ticks
    filled = fill_at(core, slot, max(offered, 1), price, price, MAKER, MODEL_THROUGH, OBSERVED, 0)
    if filled > 0:
        _take_all(core, order.instrument, order.lots, price, filled, True)


@inner
def _walk_book(core: Any, slot: int) -> None:
    order = order_at(core, slot)
    limit = limit_of(core, slot)
    if order.tif == FOK:
        wanted = remaining_lots(core, slot)
        if _take_all(core, order.instrument, order.lots, limit, wanted, False) < wanted:
            change_order(core, slot, CANCELED, BY_FOK)
            return
    side = ASK if order.lots > 0 else BID
    while order.state < FILLED:
        price = opposite_best(core, order.instrument, order.lots)
        if price == 0 or not is_within(order.lots, limit, price):
            return
        standing = lots_at(core, order.instrument, side, price)
        filled = fill_at(core, slot, standing, price, price, TAKER, MODEL_DEPTH, OBSERVED, 0)
        if filled == 0:
            return
        set_level(core, order.instrument, side, price, standing - filled)


@inner
def _assumed_fill(core: Any, slot: int, base: int, is_quoted: bool) -> None:
    """Fill a whole order at a price that the book does not show, with slippage."""
    order = order_at(core, slot)
    slip, model = slip_of(core, order.instrument, base)
    price = base + slip if order.lots > 0 else max(1, base - slip)
    limit = limit_of(core, slot)
    if limit > 0:
        price = min(price, limit) if order.lots > 0 else max(price, limit)
    confidence = BOUNDED if is_quoted else ASSUMED
    fill_at(core, slot, remaining_lots(core, slot), price, base, TAKER, MODEL_SPREAD if is_quoted else model,
            confidence, 0)  # fmt: skip


@inner
def _fill_without_book(core: Any, slot: int) -> None:
    order = order_at(core, slot)
    instrument = instrument_at(core, order.instrument)
    quoted = instrument.quote_ask if order.lots > 0 else instrument.quote_bid
    base = quoted if quoted > 0 else instrument.mark
    if is_within(order.lots, limit_of(core, slot), base):
        _assumed_fill(core, slot, base, quoted > 0)


@inner
def trade_now(core: Any, slot: int) -> None:
    """An order that is at the market takes what it may; what is left rests, waits or ends."""
    order = order_at(core, slot)
    index = order.instrument
    state = book_at(core, index).state
    if state == BOOK_VALID:
        _walk_book(core, slot)
    elif state == BOOK_NONE:
        _fill_without_book(core, slot)
    else:
        place(core, slot, ROOT_WAITING, 0)
        return
    if order.state >= FILLED:
        return
    if order.tif == IOC:
        change_order(core, slot, CANCELED, BY_IOC)
    elif order.tif == FOK:
        change_order(core, slot, CANCELED, BY_FOK)
    elif limit_of(core, slot) > 0:
        rest(core, slot)
    elif order.flags & SYSTEM != 0:
        _assumed_fill(core, slot, instrument_at(core, index).mark, False)
    else:
        change_order(core, slot, CANCELED, NO_LIQUIDITY)


@inner
def close_now(core: Any, ledger_index: int) -> None:
    """Close a ledger's position at the end of a run: as the book allows, what it does not hold at the mark."""
    strategy, index = ledger_index // core.instrument_count, ledger_index % core.instrument_count
    lots = -ledger_at(core, ledger_index).lots
    slot = open_order(core, strategy, index, MARKET, GTC, SYSTEM, lots, 0, 0, 0, 0)
    core.send_count += 1
    order_at(core, slot).send_number = core.send_count
    change_order(core, slot, NEW, NONE)
    change_order(core, slot, ACTIVE, NONE)
    if book_at(core, index).state == BOOK_INVALID_STATE:
        _assumed_fill(core, slot, instrument_at(core, index).mark, False)
    else:
        trade_now(core, slot)
