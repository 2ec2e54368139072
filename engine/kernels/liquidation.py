"""When an account or an isolated position can no longer carry its loss."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.layout import (
    BY_LIQUIDATION,
    FILLED,
    MODEL_LIQUIDATION,
    RISK_LIQUIDATION,
    SPOT,
    TAKER,
)
from engine.kernels.orders import cancel_ledger
from engine.kernels.outputs import emit_risk
from engine.kernels.portfolio import book_fill, fee_of
from engine.kernels.tables import instrument_at, ledger_of
from engine.kernels.values import maintenance_of, mark_instrument, value_of


@inner
def _carried_at(core: Any, index: int, ticks: int) -> int:
    """What stands behind the position at a price: its isolated margin or the account, with its floating result."""
    instrument = instrument_at(core, index)
    floating = value_of(instrument, instrument.net_lots, ticks) - instrument.net_cost
    if core.is_isolated == 1:
        return instrument.isolated_margin + floating
    return core.cash + core.floating - instrument.floating + floating


@inner
def _maintenance_at(core: Any, index: int, ticks: int) -> int:
    instrument = instrument_at(core, index)
    needed = maintenance_of(core, instrument, abs(value_of(instrument, instrument.net_lots, ticks)))
    if core.is_isolated == 1:
        return needed
    for other in range(core.instrument_count):
        if other != index:
            needed += maintenance_of(core, instrument_at(core, other), instrument_at(core, other).notional)
    return needed


@inner
def is_liquidated_at(core: Any, index: int, ticks: int) -> bool:
    """Whether the position cannot be carried at a price."""
    instrument = instrument_at(core, index)
    carried = _carried_at(core, index, ticks)
    notional = abs(value_of(instrument, instrument.net_lots, ticks))
    others = 0 if core.is_isolated == 1 else core.exposure - instrument.notional
    if carried > others + notional:  # maintenance is never more than the notional
        return False
    return carried <= _maintenance_at(core, index, ticks)


@inner
def first_liquidated_tick(core: Any, index: int, start: int, extreme: int) -> int:
    """The first tick from `start` toward `extreme` at which the position cannot be carried; it holds at `extreme`."""
    if is_liquidated_at(core, index, start):
        return start
    safe, gone = start, extreme
    while abs(gone - safe) > 1:
        middle = safe + (gone - safe) // 2
        if is_liquidated_at(core, index, middle):
            gone = middle
        else:
            safe = middle
    return gone


@inner
def _insured_tick(core: Any, index: int, start: int, mark: int) -> int:
    """The first tick from `start` back toward `mark` at which an isolated position still covers its loss."""
    if _carried_at(core, index, start) >= 0:
        return start
    if start == mark or _carried_at(core, index, mark) < 0:
        return mark
    lost, covered = start, mark
    while abs(covered - lost) > 1:
        middle = lost + (covered - lost) // 2
        if _carried_at(core, index, middle) >= 0:
            covered = middle
        else:
            lost = middle
    return covered


@inner
def _close_all(core: Any, index: int, ticks: int) -> None:
    instrument = instrument_at(core, index)
    rate_e12 = instrument.taker_e12 + core.liquidation_fee_e12
    for strategy in range(core.strategy_count):
        ledger = ledger_of(core, strategy, index)
        lots = -ledger.lots
        if lots != 0:
            fee = fee_of(core, index, lots, ticks, rate_e12)
            book_fill(core, strategy, index, 0, FILLED, 0, 0, lots, ticks, ticks, fee, TAKER, MODEL_LIQUIDATION,
                      BY_LIQUIDATION)  # fmt: skip


@inner
def _liquidate(core: Any, index: int, ticks: int) -> None:
    count = core.instrument_count
    emit_risk(core, RISK_LIQUIDATION, -1, index, ticks, _maintenance_at(core, index, ticks),
              _carried_at(core, index, ticks), 0)  # fmt: skip
    if core.is_isolated == 1:
        for strategy in range(core.strategy_count):
            cancel_ledger(core, strategy * count + index, BY_LIQUIDATION)
        mark_instrument(core, index, ticks)
        _close_all(core, index, ticks)
        return
    for ledger_index in range(core.ledger_count):
        cancel_ledger(core, ledger_index, BY_LIQUIDATION)
    mark_instrument(core, index, ticks)
    _close_all(core, index, ticks)
    for other in range(count):
        if other != index and instrument_at(core, other).kind != SPOT:
            _close_all(core, other, instrument_at(core, other).mark)


@inner
def liquidate_at_open(core: Any, index: int, before: int) -> None:
    """Check at the open of a bar; `before` is the mark before it."""
    instrument = instrument_at(core, index)
    if instrument.net_lots == 0 or instrument.kind == SPOT or not is_liquidated_at(core, index, instrument.mark):
        return
    ticks = instrument.mark
    if core.is_isolated == 1:
        ticks = _insured_tick(core, index, ticks, before)
    _liquidate(core, index, ticks)


@inner
def liquidate_inside(core: Any, index: int, opened: int, high: int, low: int) -> None:
    """Check at the bar's extreme that hurts the net position."""
    instrument = instrument_at(core, index)
    if instrument.net_lots == 0 or instrument.kind == SPOT:
        return
    extreme = low if instrument.net_lots > 0 else high
    if is_liquidated_at(core, index, extreme):
        _liquidate(core, index, first_liquidated_tick(core, index, opened, extreme))
