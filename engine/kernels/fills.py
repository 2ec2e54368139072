"""One order meets one price: how much fills, how much worse, and whether the account may."""

from __future__ import annotations

import math
from typing import Any

from engine.kernels.arithmetic import as_int64, muldiv, muldiv_ceil
from engine.kernels.compile import inner
from engine.kernels.layout import (
    BY_FOK,
    BY_HALT,
    BY_IOC,
    BY_MARGIN,
    BY_MAX_LEVERAGE,
    BY_MAX_POSITIONS,
    BY_REDUCE_ONLY,
    CANCELED,
    E12,
    FILLED,
    FOK,
    IOC,
    LIMIT,
    MAKER,
    MODEL_ATR,
    MODEL_BPS,
    MODEL_NONE,
    MODEL_SPREAD,
    MODEL_TICKS,
    NO_SHORT,
    NONE,
    OVER_CAPACITY,
    PARTIAL,
    REDUCE_ONLY,
    SLIP_ATR,
    SLIP_SPREAD,
    SLIP_TICKS,
    SPOT,
    SYSTEM,
    TAKER,
    UNLIMITED,
)
from engine.kernels.orders import change_order, place_at_rest, retire, step_state
from engine.kernels.portfolio import book_fill, fee_of
from engine.kernels.tables import instrument_at, ledger_of, order_at
from engine.kernels.values import is_margin_enough, mark_instrument, most_lots, value_of

AT_REST, EXACT = 0, 1


@inner
def slip_of(core: Any, index: int, base: int) -> tuple[int, int]:
    """How many ticks worse than `base` a taker fills, and the model that said so."""
    instrument = instrument_at(core, index)
    if core.slippage == SLIP_TICKS:
        return core.slippage_ticks, MODEL_TICKS
    if core.slippage == SLIP_ATR and instrument.atr_bars >= core.atr_length:
        return as_int64(math.ceil(instrument.atr * core.atr_factor)), MODEL_ATR
    by_bps = muldiv_ceil(base, core.slippage_e12, E12) if core.slippage_e12 > 0 else 0
    if core.slippage == SLIP_SPREAD:
        if core.spread_ticks > 0:
            return by_bps + (core.spread_ticks + 1) // 2, MODEL_SPREAD
        if core.spread_e12 > 0:
            return by_bps + muldiv_ceil(base, core.spread_e12, 2 * E12), MODEL_SPREAD
    return by_bps, MODEL_BPS


@inner
def taker_price(core: Any, slot: int, base: int) -> tuple[int, int]:
    """Price and model of a taker's fill at `base`; a limit is never passed."""
    order = order_at(core, slot)
    slip, model = slip_of(core, order.instrument, base)
    if order.lots > 0:
        price = base + slip
        if order.type == LIMIT:
            price = min(price, order.limit_ticks)
        return price, model
    price = max(1, base - slip)
    if order.type == LIMIT:
        price = max(price, order.limit_ticks)
    return price, model


@inner
def fill_refusal(core: Any, slot: int, lots: int, price: int) -> int:
    """The first check that a fill of `lots` at `price` fails, or NONE."""
    order = order_at(core, slot)
    index = order.instrument
    instrument = instrument_at(core, index)
    ledger = ledger_of(core, order.strategy, index)
    if order.flags & SYSTEM != 0:
        return NONE
    most = most_lots(instrument, price)
    after = instrument.net_lots + lots
    if abs(ledger.lots + lots) > most or abs(after) > most:
        return OVER_CAPACITY
    if instrument.kind == SPOT and lots < 0 and -lots > ledger.lots:
        return NO_SHORT
    if core.max_open_positions > 0 and ledger.lots == 0 and core.open_ledgers >= core.max_open_positions:
        return BY_MAX_POSITIONS
    if abs(after) <= abs(instrument.net_lots):
        return NONE
    if core.max_leverage_e12 > 0:
        fee = fee_of(core, index, lots, price, instrument.taker_e12)
        most_exposure = muldiv(max(0, core.cash + core.floating - fee), core.max_leverage_e12, E12)
        others = core.exposure - instrument.notional
        if others + abs(value_of(instrument, after, price)) > most_exposure:
            return BY_MAX_LEVERAGE
    if not is_margin_enough(core, index, lots, price):
        return BY_MARGIN
    return NONE


@inner
def _is_reducing(order_lots: int, ledger_lots: int) -> bool:
    return ledger_lots != 0 and (order_lots > 0) != (ledger_lots > 0)


@inner
def fill_order(core: Any, slot: int, base: int, liquidity: int, is_exact: bool) -> None:
    """Fill a working order at a base price, as much as the bar's volume allows; it stands in no heap by price.

    `is_exact`: no slippage (a stop-limit in the bar that triggered it).
    """
    order = order_at(core, slot)
    index = order.instrument
    instrument = instrument_at(core, index)
    ledger = ledger_of(core, order.strategy, index)
    side = 1 if order.lots > 0 else -1
    remaining = abs(order.lots) - order.filled_lots
    want = remaining
    if order.flags & REDUCE_ONLY != 0:
        if not _is_reducing(order.lots, ledger.lots):
            change_order(core, slot, CANCELED, BY_REDUCE_ONLY)
            return
        want = min(want, abs(ledger.lots))
    size = min(want, instrument.volume_left)
    if order.tif == FOK and size < remaining:
        change_order(core, slot, CANCELED, BY_FOK)
        return
    if size == 0:
        if order.tif == IOC:
            change_order(core, slot, CANCELED, BY_IOC)
        else:
            place_at_rest(core, slot)
        return
    mark_instrument(core, index, base)
    price, model = base, MODEL_NONE
    if liquidity == TAKER and not is_exact:
        price, model = taker_price(core, slot, base)
    refusal = fill_refusal(core, slot, side * size, price)
    if refusal != NONE:
        change_order(core, slot, CANCELED, refusal)
        return
    fee = fee_of(core, index, size, price, instrument.maker_e12 if liquidity == MAKER else instrument.taker_e12)
    fee += core.fee_per_fill
    if order.filled_lots == 0:
        fee += core.fee_per_order
    order.filled_lots += size
    if instrument.volume_left < UNLIMITED:
        instrument.volume_left -= size
    remaining -= size
    step_state(core, slot, FILLED if remaining == 0 else PARTIAL)
    why = BY_HALT if order.flags & SYSTEM != 0 else NONE
    book_fill(core, order.strategy, index, order.id, order.state, remaining, order.tag, side * size, price, base, fee,
              liquidity, model, why)  # fmt: skip
    if remaining == 0:
        retire(core, slot)
    elif order.flags & REDUCE_ONLY != 0 and ledger.lots == 0:
        change_order(core, slot, CANCELED, BY_REDUCE_ONLY)
    elif order.tif == IOC:
        change_order(core, slot, CANCELED, BY_IOC)
    else:
        place_at_rest(core, slot)
