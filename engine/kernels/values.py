"""What positions are worth, and the margin they bind."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import muldiv
from engine.kernels.compile import inner
from engine.kernels.layout import E12, INVERSE, SPOT, VALUE_LIMIT
from engine.kernels.tables import instrument_at, tier_at


@inner
def value_of(instrument: Any, lots: int, ticks: int) -> int:
    """Signed value in cash units: rises with the price for a long in every kind of instrument."""
    if instrument.kind == INVERSE:
        return -muldiv(lots * instrument.factor, 1, ticks)
    return lots * ticks * instrument.factor


@inner
def most_lots(instrument: Any, ticks: int) -> int:
    """The greatest size whose value stays inside the capacity of the integers."""
    factor = instrument.factor
    if instrument.kind == INVERSE:
        return VALUE_LIMIT // factor
    if ticks > VALUE_LIMIT // factor:
        return 0
    return VALUE_LIMIT // (ticks * factor)


@inner
def maintenance_of(core: Any, instrument: Any, notional: int) -> int:
    """Maintenance margin by tiers: notional × rate − amount, of the tier that the notional falls into."""
    if instrument.kind == SPOT or notional == 0:
        return 0
    first = instrument.tier_start
    tier = first
    for candidate in range(first + 1, first + instrument.tier_count):
        if tier_at(core, candidate).floor > notional:
            break
        tier = candidate
    row = tier_at(core, tier)
    return max(0, muldiv(notional, row.rate_e12, E12) - row.amount)


@inner
def used_margin(core: Any, instrument: Any, notional: int) -> int:
    """Initial margin of a cross or spot position of this notional."""
    leverage_e12 = core.leverage_e12
    if instrument.kind == SPOT or leverage_e12 == E12:
        return notional
    return muldiv(notional, E12, leverage_e12)


@inner
def mark_instrument(core: Any, index: int, ticks: int) -> None:
    """Mark an instrument's net position at a price and bring the account's sums up to date."""
    instrument = instrument_at(core, index)
    instrument.mark = ticks
    if instrument.net_lots == 0 and instrument.net_cost == 0 and instrument.floating == 0 and instrument.notional == 0:
        return
    value = value_of(instrument, instrument.net_lots, ticks)
    floating = value - instrument.net_cost
    notional = abs(value)
    margin = notional
    if instrument.kind != SPOT:
        if core.is_isolated == 1:
            margin = instrument.isolated_margin
        else:
            margin = used_margin(core, instrument, notional)
    core.floating += floating - instrument.floating
    core.exposure += notional - instrument.notional
    core.margin += margin - instrument.margin
    instrument.floating = floating
    instrument.notional = notional
    instrument.margin = margin


@inner
def isolated_after(core: Any, instrument: Any, lots: int, ticks: int) -> int:
    """Isolated margin of an instrument after its net position changes by `lots` at a price."""
    net = instrument.net_lots
    margin = instrument.isolated_margin
    opening = abs(lots)
    if net != 0 and (net > 0) != (lots > 0):
        closed = min(opening, abs(net))
        margin -= muldiv(margin, closed, abs(net))
        opening -= closed
    if opening > 0:
        notional = abs(value_of(instrument, opening, ticks))
        margin += muldiv(notional, E12, core.leverage_e12)
    return margin


@inner
def is_margin_enough(core: Any, index: int, lots: int, ticks: int) -> bool:
    """Whether the account can carry `lots` more of an instrument at a price, the taker's fee counted."""
    instrument = instrument_at(core, index)
    after = instrument.net_lots + lots
    if abs(after) <= abs(instrument.net_lots):
        return True
    fee = muldiv(abs(value_of(instrument, lots, ticks)), instrument.taker_e12, E12)
    others = core.margin - instrument.margin
    if core.is_isolated == 1:
        used = (
            abs(value_of(instrument, after, ticks))
            if instrument.kind == SPOT
            else isolated_after(core, instrument, lots, ticks)
        )
        return others + used <= core.cash - fee
    used = used_margin(core, instrument, abs(value_of(instrument, after, ticks)))
    return others + used <= core.cash + core.floating - fee
