"""Positions at average cost, cash, and the trades that positions become."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import muldiv
from engine.kernels.compile import inner
from engine.kernels.layout import E12, FILL_OUTPUT, INVERSE, OVERFLOWN, SPOT, TRADE_OUTPUT, UNLIMITED
from engine.kernels.outputs import emit, header
from engine.kernels.tables import instrument_at, ledger_at, ledger_of
from engine.kernels.values import isolated_after, mark_instrument, value_of


@inner
def _emit_trade(core: Any, strategy: int, index: int, order_id: int, why: int) -> None:
    ledger = ledger_of(core, strategy, index)
    emit(core, header(TRADE_OUTPUT, 0, why, 0, strategy, index), order_id, ledger.trade_id, ledger.trade_lots_most,
         ledger.trade_lots, ledger.trade_ts_ns, ledger.trade_entry_value, ledger.trade_exit_value, ledger.trade_gross,
         ledger.trade_fees, ledger.trade_funding, ledger.trade_mae, ledger.trade_mfe,
         instrument_at(core, index).bars - ledger.trade_bars)  # fmt: skip
    core.open_ledgers -= 1
    instrument_at(core, index).open_ledgers -= 1


@inner
def _begin_trade(core: Any, strategy: int, index: int) -> None:
    ledger = ledger_of(core, strategy, index)
    core.trade_count += 1
    core.open_ledgers += 1
    instrument_at(core, index).open_ledgers += 1
    ledger.trade_id = core.trade_count
    ledger.trade_ts_ns = core.ts_ns
    ledger.trade_bars = instrument_at(core, index).bars
    ledger.trade_lots, ledger.trade_lots_most = 0, 0
    ledger.trade_entry_value, ledger.trade_exit_value = 0, 0
    ledger.trade_gross, ledger.trade_fees, ledger.trade_funding = 0, 0, 0
    ledger.trade_mae, ledger.trade_mfe = 0, 0


@inner
def note_excursion(core: Any, ledger_index: int, excursion: int) -> None:
    """Let the open trade's worst and best floating result follow."""
    ledger = ledger_at(core, ledger_index)
    ledger.trade_mae = min(ledger.trade_mae, excursion)
    ledger.trade_mfe = max(ledger.trade_mfe, excursion)


@inner
def _book_net(core: Any, index: int, lots: int, ticks: int, cost_change: int) -> None:
    """The instrument's net position after a fill, its isolated margin, and how high a price it can be marked at."""
    instrument = instrument_at(core, index)
    if core.is_isolated == 1 and instrument.kind != SPOT:
        instrument.isolated_margin = isolated_after(core, instrument, lots, ticks)
    instrument.net_lots += lots
    instrument.net_cost += cost_change
    largest = abs(instrument.net_lots)
    for strategy in range(core.strategy_count):
        largest = max(largest, abs(ledger_of(core, strategy, index).lots))
    instrument.safe_ticks = instrument.most_ticks
    if largest > 0 and instrument.kind != INVERSE:
        instrument.safe_ticks = min(instrument.most_ticks, UNLIMITED // (largest * instrument.factor))
    mark_instrument(core, index, instrument.mark)


@inner
def book_fill(core: Any, strategy: int, index: int, order_id: int, order_state: int, remaining: int, tag: int,
              lots: int, ticks: int, base_ticks: int, fee: int, liquidity: int, model: int,
              why: int) -> None:  # fmt: skip
    """Book a fill into the ledger, the instrument and the account, and say so (FILL, then TRADE if one closed).

    Realised pnl = value of what closes − the same share of the ledger's cost, rounded half to even.
    """
    instrument = instrument_at(core, index)
    ledger_index = strategy * core.instrument_count + index
    ledger = ledger_at(core, ledger_index)
    before = ledger.lots
    size = abs(lots)
    closing = min(size, abs(before)) if before != 0 and (before > 0) != (lots > 0) else 0
    opening = size - closing
    side = 1 if lots > 0 else -1
    value = value_of(instrument, lots, ticks)
    pnl, released, fee_closing, closing_value = 0, 0, 0, 0
    if closing > 0:
        released = muldiv(ledger.cost, closing, abs(before))
        closing_value = value_of(instrument, -side * closing, ticks)
        pnl = closing_value - released
        fee_closing = fee if opening == 0 else muldiv(fee, closing, size)
        ledger.trade_gross += pnl
        ledger.trade_fees += fee_closing
        ledger.trade_exit_value += abs(closing_value)
    opening_value = 0
    if opening > 0:
        opening_value = value_of(instrument, side * opening, ticks)
    ledger.lots = before + lots
    ledger.cost += opening_value - released
    ledger.realised += pnl
    ledger.fees += fee
    core.cash += pnl - fee
    core.realised += pnl
    core.fees += fee
    core.fill_count += 1
    if order_id == 0:  # no order, no report: a liquidation is known at once
        ledger.known_lots += lots
        ledger.known_cost += opening_value - released
    _book_net(core, index, lots, ticks, opening_value - released)
    is_closed = closing > 0 and closing == abs(before)
    new_trade = ledger.trade_id
    if opening > 0 and (before == 0 or is_closed):
        new_trade = core.trade_count + 1
    emit(core, header(FILL_OUTPUT, order_state, liquidity, model, strategy, index), order_id, lots, ticks, base_ticks,
         fee, pnl, value, ledger.lots, ledger.cost, core.cash, new_trade, remaining, tag)  # fmt: skip
    if closing > 0:
        rest = ledger.trade_gross
        if not is_closed:
            rest += value_of(instrument, ledger.lots, ticks) - ledger.cost
        note_excursion(core, ledger_index, rest)
    if is_closed:
        _emit_trade(core, strategy, index, order_id, why)
    if opening > 0:
        if before == 0 or is_closed:
            _begin_trade(core, strategy, index)
        ledger.trade_lots += opening
        ledger.trade_entry_value += abs(opening_value)
        if ledger.trade_entry_value > UNLIMITED:
            core.defect = OVERFLOWN
        ledger.trade_fees += fee - fee_closing
        if abs(ledger.lots) > abs(ledger.trade_lots_most):
            ledger.trade_lots_most = ledger.lots


@inner
def fee_of(core: Any, index: int, lots: int, ticks: int, rate_e12: int) -> int:
    """The proportional part of a fee: notional × rate, rounded half to even."""
    return muldiv(abs(value_of(instrument_at(core, index), lots, ticks)), rate_e12, E12)
