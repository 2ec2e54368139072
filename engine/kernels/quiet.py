"""Bars on which nothing can happen: no order works, no request is due, the position is far from liquidation.

Most bars of most runs are such bars, and then the general path spends its time in finding that out. Here the same
arithmetic runs with the account in registers. The loop leaves before the first bar that is not of this kind, and
`tests/property/test_core_against_twin.py` drives both paths against the twin.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64
from engine.kernels.compile import inner
from engine.kernels.hashing import extend, rotate_left_32
from engine.kernels.layout import BAR, DAY_NS, HALT_DAILY, INVERSE, LAST, SLIP_ATR, SPOT
from engine.kernels.opening import volume_share
from engine.kernels.tables import instrument_at, ledger_at, sample_at
from engine.kernels.values import used_margin


@inner
def _is_quiet(core: Any, index: int) -> bool:
    """Whether bars of an instrument can be run through without looking at orders, guards or other ledgers."""
    if core.live_orders > 0 or core.slippage == SLIP_ATR or core.wake_each_step == 1 or core.halt == HALT_DAILY:
        return False
    if core.max_drawdown_e12 > 0 or core.daily_loss_e12 > 0 or core.strategy_max_drawdown_e12 > 0:
        return False
    instrument = instrument_at(core, index)
    if instrument.is_open_done == 1 or (instrument.kind == INVERSE and instrument.net_lots != 0):
        return False
    is_alone = core.strategy_count == 1 and core.instrument_count == 1
    return is_alone or (instrument.net_lots == 0 and instrument.net_cost == 0 and instrument.open_ledgers == 0)


@inner
def run_quiet(core: Any, events: Any, start: int, stop: int, next_request_step: int) -> int:
    """Consume quiet bars from `start` on; returns the index of the first record that is left to the general path."""
    index = as_int64(events[start].instrument)
    if index >= core.instrument_count or not _is_quiet(core, index):
        return start  # a record of no instrument of ours is refused by the general path
    instrument = instrument_at(core, index)
    ledger = ledger_at(core, index)
    lots, cost, factor = instrument.net_lots, instrument.net_cost, instrument.factor
    lot_value = lots * factor
    is_held = lots != 0
    needs_bound = is_held and instrument.kind != SPOT
    own_cash = core.cash + core.floating - instrument.floating
    other_exposure, other_margin = core.exposure - instrument.notional, core.margin - instrument.margin
    isolated = instrument.isolated_margin
    bound_base = isolated if core.is_isolated == 1 else own_cash
    bound_others = 0 if core.is_isolated == 1 else other_exposure
    trade_base = ledger.trade_gross - cost
    mae, mfe = ledger.trade_mae, ledger.trade_mfe
    chain, step, peak, last_equity = core.hash, core.step, core.equity_peak, core.equity_last
    day, day_end = core.day, (core.day + 1) * DAY_NS
    floating, notional, margin = instrument.floating, instrument.notional, instrument.margin
    stop = min(stop, start + core.sample_capacity - core.sample_count, start + next_request_step - step - 1)
    position = start
    while position < stop:
        bar = events[position]
        if bar.kind != BAR or bar.flags & LAST == 0 or bar.instrument != index:
            break
        opened, high, low, closed = bar.a, bar.b, bar.c, bar.d
        if low <= 0 or low > opened or low > closed or high < opened or high < closed or high > instrument.safe_ticks:
            break
        if is_held:
            if needs_bound:
                adverse = lot_value * (low if lots > 0 else high)
                at_open = lot_value * opened
                if bound_base + adverse - cost <= bound_others + abs(adverse):
                    break
                if bound_base + at_open - cost <= bound_others + abs(at_open):
                    break
            value = lot_value * closed
            if own_cash + value - cost <= 0:
                break
            floating, notional = value - cost, abs(value)
            margin = notional
            if instrument.kind != SPOT:
                margin = isolated if core.is_isolated == 1 else used_margin(core, instrument, notional)
            worst, best = trade_base + lot_value * low, trade_base + lot_value * high
            mae, mfe = min(mae, worst, best), max(mfe, worst, best)
        equity = own_cash + floating
        if equity <= 0:
            break
        exposure = other_exposure + notional
        ts_ns = bar.ts_receive_ns
        sample = sample_at(core, core.sample_count + position - start)
        sample.ts_ns, sample.equity, sample.exposure, sample.margin = ts_ns, equity, exposure, other_margin + margin
        chain = extend(chain, equity + rotate_left_32(exposure))
        peak = max(peak, equity)
        if ts_ns > day_end or ts_ns <= day * DAY_NS:
            day = (ts_ns - 1) // DAY_NS
            day_end = (day + 1) * DAY_NS
            core.day_start_equity = last_equity
        last_equity = equity
        step += 1
        position += 1
    count = position - start
    if count == 0:
        return start
    last = events[position - 1]
    instrument.bars += count
    instrument.mark = last.d
    instrument.volume_left = volume_share(core, last.e)
    instrument.floating, instrument.notional, instrument.margin = floating, notional, margin
    if is_held:
        ledger.trade_mae, ledger.trade_mfe = mae, mfe
    core.floating = last_equity - core.cash
    core.exposure, core.margin = other_exposure + notional, other_margin + margin
    core.seq += count
    core.sample_count += count
    core.ts_ns = last.ts_receive_ns
    core.hash, core.step, core.equity_peak, core.equity_last, core.day = chain, step, peak, last_equity, day
    return position
