"""Bars on which nothing can happen: no order works, no request is due, the position is far from liquidation.

Most bars of most runs are such bars, and then the general path spends its time in finding that out. Here the same
arithmetic runs with the account in registers. The loop leaves before the first bar that is not of this kind, and
`tests/property/test_core_against_twin.py` drives both paths against the twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.kernels.arithmetic import add_wrapping, as_int64
from engine.kernels.compile import inner
from engine.kernels.hashing import extend, rotate_left_32
from engine.kernels.layout import BAR, DAY_NS, E12, HALT_DAILY, INVERSE, LAST, SLIP_ATR, SPOT
from engine.kernels.opening import volume_share
from engine.kernels.portfolio import note_excursion
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
    if instrument.kind == INVERSE and instrument.net_lots != 0:
        return False
    is_alone = core.strategy_count == 1 and core.instrument_count == 1
    return is_alone or (instrument.net_lots == 0 and instrument.net_cost == 0 and instrument.open_ledgers == 0)


@inner
def _price_bounds(core: Any, index: int, own_cash: int) -> tuple[int, int]:
    """The lowest and the highest price that need no closer look; the first above the second where none is.

    Between them prices are inside the capacity, equity is above 0, and a position is far from liquidation:
    maintenance is never more than the notional. A long's value rises as its notional does, so that it is far from it
    at every price or at none.
    """
    instrument = instrument_at(core, index)
    lot_value, cost = instrument.net_lots * instrument.factor, instrument.net_cost
    lowest, highest = 1, instrument.safe_ticks
    if lot_value == 0:
        return lowest, highest if own_cash - cost > 0 else 0
    if lot_value > 0:
        lowest = max(1, (cost - own_cash) // lot_value + 1)
    else:
        highest = min(highest, (own_cash - cost - 1) // -lot_value)
    if instrument.kind != SPOT:
        room = own_cash - cost - (core.exposure - instrument.notional)
        if core.is_isolated == 1:
            room = instrument.isolated_margin - cost
        if room <= 0:
            highest = 0
        elif lot_value < 0:
            highest = min(highest, (room - 1) // (-2 * lot_value))
    return lowest, highest


@inner
def _spread_margin(core: Any, instrument: Any, first: int, last: int, exposure: int, margin: int) -> None:
    """Add a cross position's margin to samples [first, last); `exposure` and `margin` are those of the others."""
    for row in range(first, last):
        sample = sample_at(core, row)
        sample.margin = margin + used_margin(core, instrument, sample.exposure - exposure)


@inner
def run_quiet(core: Any, events: Any, start: int, stop: int, steps: int) -> int:
    """Consume up to `steps` quiet bars from `start` on; returns the index of the first record that is left.

    The first may be one whose open phase is over. The loop carries as little as it can, so that it stays in registers.
    """
    index = as_int64(events[start].instrument)
    if index >= core.instrument_count or not _is_quiet(core, index):
        return start  # a record of no instrument of ours is refused by the general path
    instrument = instrument_at(core, index)
    lot_value = instrument.net_lots * instrument.factor
    own_cash = core.cash + core.floating - instrument.floating
    own_base = own_cash - instrument.net_cost  # equity less the value of the position
    other_exposure, other_margin = core.exposure - instrument.notional, core.margin - instrument.margin
    is_isolated = core.is_isolated == 1 and instrument.kind != SPOT
    fixed_margin = other_margin + (instrument.isolated_margin if is_isolated else 0)
    margin_mask = 0 if is_isolated else -1
    least, most = _price_bounds(core, index, own_cash)
    lowest, highest = most, least
    chain, peak, equity, day_begin = core.hash, core.equity_peak, core.equity_last, core.day * DAY_NS
    first_sample = core.sample_count - start
    stop = min(stop, start + core.sample_capacity - core.sample_count, start + steps)
    position = start
    while position < stop:
        bar = events[np.uint64(position)]  # an index that may be negative costs a test
        if bar.kind != BAR or bar.flags & LAST == 0 or bar.instrument != index:
            break
        opened, high, low, closed = bar.a, bar.b, bar.c, bar.d
        if low < least or high > most or low > opened or low > closed or high < opened or high < closed:
            break
        lowest, highest = min(lowest, low), max(highest, high)
        ts_ns = bar.ts_receive_ns
        if ts_ns - day_begin <= 0 or ts_ns - day_begin > DAY_NS:
            core.day = (ts_ns - 1) // DAY_NS
            core.day_start_equity = equity
            day_begin = core.day * DAY_NS
        value = lot_value * closed
        equity, notional = own_base + value, abs(value)
        exposure = other_exposure + notional
        sample = sample_at(core, first_sample + position)
        sample.ts_ns, sample.equity = ts_ns, equity
        sample.exposure, sample.margin = exposure, fixed_margin + (notional & margin_mask)
        chain = extend(chain, add_wrapping(equity, rotate_left_32(exposure)))
        peak = max(peak, equity)
        position += 1
    if position == start:
        return start
    core.hash, core.equity_peak, core.equity_last = chain, peak, equity
    if not is_isolated and instrument.kind != SPOT and core.leverage_e12 != E12:
        _spread_margin(core, instrument, core.sample_count, first_sample + position, other_exposure, other_margin)
    _settle(core, index, events[position - 1], position - start)
    if lot_value != 0:
        base = ledger_at(core, index).trade_gross - instrument.net_cost
        note_excursion(core, index, base + lot_value * lowest)
        note_excursion(core, index, base + lot_value * highest)
    return position


@inner
def _settle(core: Any, index: int, last: Any, count: int) -> None:
    """Bring instrument and account to the end of `count` quiet bars, from the last of them and its sample."""
    instrument = instrument_at(core, index)
    core.step += count
    core.seq += count
    core.sample_count += count
    core.ts_ns = last.ts_receive_ns
    sample = sample_at(core, core.sample_count - 1)
    instrument.floating += sample.equity - core.cash - core.floating
    instrument.notional += sample.exposure - core.exposure
    instrument.margin += sample.margin - core.margin
    core.floating, core.exposure, core.margin = sample.equity - core.cash, sample.exposure, sample.margin
    opens = count - instrument.is_open_done
    instrument.bars += opens
    instrument.is_open_done = 0
    instrument.mark = last.d
    if opens > 0:
        instrument.volume_left = volume_share(core, last.e)
