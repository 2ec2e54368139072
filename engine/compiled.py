"""Strategies in machine code: what they are made with, and what they may look at and ask for.

A compiled callback is a plain function `(core, me, market, state)` under `@compiled(STATE)`: `core` is the engine's
state, to be read with the functions below, `me` and `market` number the strategy and the instrument, `state` is the
strategy's own record of the dtype STATE. The core calls it inside its loop by address, so a new strategy compiles
by itself, in a second or so, and the core does not compile again. Prices are in ticks, sizes in lots, times in ns.
What is asked for is carried out when the callback returns, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

from engine.ctx import whole_lots as lots_of
from engine.instruments import Instrument
from engine.kernels.book.levels import level_behind, lots_at
from engine.kernels.compile import inner
from engine.kernels.layout import (
    ASK,
    BID,
    BOOK_VALID,
    CANCEL_ALL_REQUEST,
    CANCEL_REQUEST,
    COMPILED_RAISED,
    FILLED,
    GTC,
    LIMIT,
    MARKET,
    ORDER_REQUEST,
    SELL,
    TARGET_REQUEST,
    TOO_MANY_ASKED,
)
from engine.kernels.tables import asked_at, book_at, core_at, instrument_at, ledger_of, order_at, row_at
from engine.reading import scale_of

Function = Callable[[Any, Any, Any, Any], None]


class CompiledCallback:
    """A callback in machine code: its address, and the dtype of the state that it is handed."""

    def __init__(self, function: Function, state: np.dtype[Any]) -> None:
        self.function = function
        self.state = state
        self._entry: Any = None

    @property
    def address(self) -> int:
        """Where the machine code lies; compiles on first use."""
        if self._entry is None:
            self._entry = _entry_of(self.function, self.state)
        return int(self._entry.address)


def compiled(state: np.dtype[Any]) -> Callable[[Function], CompiledCallback]:
    """Make a callback of a compiled strategy, whose own record has the dtype `state` (numbers only)."""

    def decorate(function: Function) -> CompiledCallback:
        return CompiledCallback(function, state)

    return decorate


def whole_lots(units: float, instrument: Instrument) -> int:
    """In compiled_state: units as whole lots, rounded down, as `ctx.whole_lots` has them."""
    return lots_of(units, scale_of(instrument, 0))


def _entry_of(function: Function, state: np.dtype[Any]) -> Any:
    callback = cast("Any", numba.njit)(_nrt=False, nogil=True)(function)
    own_row = row_at(state)

    def entry(core_address: int, me: int, market: int, state_address: int) -> None:
        core = core_at(core_address)
        try:
            callback(core, me, market, own_row(state_address, 0))
        except Exception:  # the strategy boundary
            core.defect = COMPILED_RAISED

    signature = "void(int64, int64, int64, int64)"
    return cast("Any", numba.cfunc)(signature, nopython=True, nogil=True)(entry)


@inner
def now_ns(core: Any) -> int:
    """The host's time, ns."""
    return core.ts_ns


@inner
def is_book_valid(core: Any, market: int) -> bool:
    """Whether the order book can be trusted."""
    return book_at(core, market).state == BOOK_VALID


@inner
def best_bid(core: Any, market: int) -> int:
    """The highest price bid, ticks; 0 where there is none."""
    return book_at(core, market).best_bid


@inner
def best_ask(core: Any, market: int) -> int:
    """The lowest price asked, ticks; 0 where there is none."""
    return book_at(core, market).best_ask


@inner
def bid_lots(core: Any, market: int, price: int) -> int:
    """The size bid at a price, lots."""
    return lots_at(core, market, BID, price)


@inner
def ask_lots(core: Any, market: int, price: int) -> int:
    """The size asked at a price, lots."""
    return lots_at(core, market, ASK, price)


@inner
def depth_lots(core: Any, market: int, is_bid: int, levels: int) -> int:
    """The size of the best `levels` levels of a side (bids: 1, asks: 0) together, lots."""
    side = BID if is_bid == 1 else ASK
    price = book_at(core, market).best_bid if is_bid == 1 else book_at(core, market).best_ask
    total = 0
    for _ in range(levels):
        if price == 0:
            break
        total += lots_at(core, market, side, price)
        price = level_behind(core, market, side, price)
    return total


@inner
def last_price(core: Any, market: int) -> int:
    """The last trade's price, ticks; 0 before the first."""
    return instrument_at(core, market).last


@inner
def last_lots(core: Any, market: int) -> int:
    """The last trade's size, lots; negative where the taker sold."""
    instrument = instrument_at(core, market)
    return -instrument.last_lots if instrument.last_flags & SELL != 0 else instrument.last_lots


@inner
def mark_price(core: Any, market: int) -> int:
    """The mark, ticks; 0 where there is none yet."""
    return instrument_at(core, market).mark


@inner
def position_lots(core: Any, me: int, market: int) -> int:
    """What the strategy knows to hold, signed lots."""
    return ledger_of(core, me, market).known_lots


@inner
def first_order(core: Any, me: int, market: int) -> int:
    """The slot of the strategy's oldest order on the market that it knows to work or to be on its way; -1: none."""
    return _known_from(core, ledger_of(core, me, market).first_order)


@inner
def next_order(core: Any, slot: int) -> int:
    """The slot of the order after one; -1: none."""
    return _known_from(core, order_at(core, slot).next)


@inner
def _known_from(core: Any, slot: int) -> int:
    while slot >= 0 and order_at(core, slot).known_state >= FILLED:
        slot = order_at(core, slot).next
    return slot


@inner
def order_id(core: Any, slot: int) -> int:
    """An order's id."""
    return order_at(core, slot).id


@inner
def order_price(core: Any, slot: int) -> int:
    """An order's limit, ticks; 0 where it has none."""
    return order_at(core, slot).limit_ticks


@inner
def order_lots(core: Any, slot: int) -> int:
    """An order's size, signed lots."""
    return order_at(core, slot).lots


@inner
def event_order_id(core: Any) -> int:
    """In on_order: the order's id."""
    return core.event_word


@inner
def event_order_state(core: Any) -> int:
    """In on_order: the order's state that has become known."""
    return core.event_state


@inner
def send(core: Any, me: int, market: int, lots: int, limit: int, tif: int, flags: int, tag: int) -> None:
    """Order signed lots: at a limit, or at the market where `limit` is 0."""
    _ask(core, ORDER_REQUEST, me, market, MARKET if limit == 0 else LIMIT, tif, flags, lots, limit, 0, tag)


@inner
def cancel(core: Any, me: int, market: int, identity: int) -> None:
    """Cancel an order by its id."""
    _ask(core, CANCEL_REQUEST, me, market, 0, GTC, 0, 0, 0, identity, 0)


@inner
def cancel_all(core: Any, me: int, market: int) -> None:
    """Cancel every order of the strategy on the market, oldest first."""
    _ask(core, CANCEL_ALL_REQUEST, me, market, 0, GTC, 0, 0, 0, 0, 0)


@inner
def flatten(core: Any, me: int, market: int) -> None:
    """Close the position by a market order."""
    _ask(core, TARGET_REQUEST, me, market, 0, GTC, 0, 0, 0, 0, 0)


@inner
def _ask(core: Any, kind: int, me: int, market: int, order_type: int, tif: int, flags: int, lots: int, limit: int,
         identity: int, tag: int) -> None:  # fmt: skip
    if core.asked_count >= core.asked_capacity:
        core.defect = TOO_MANY_ASKED
        return
    row = asked_at(core, core.asked_count)
    core.asked_count += 1
    row.kind, row.type, row.tif, row.flags = kind, order_type, tif, flags
    row.strategy, row.instrument, row.step = me, market, 0
    row.lots, row.limit_ticks, row.stop_ticks, row.expire_ns = lots, limit, 0, 0
    row.order_id, row.tag = identity, tag
