"""The end of a step: the sample of the account, and the guards that may stop a strategy or the run."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import add_wrapping, muldiv
from engine.kernels.compile import inner
from engine.kernels.hashing import extend, rotate_left_32
from engine.kernels.layout import (
    BY_HALT,
    DAY_NS,
    E12,
    GTC,
    HALT_BANKRUPT,
    HALT_DAILY,
    HALT_DRAWDOWN,
    HALT_NONE,
    MARKET,
    REDUCE_ONLY,
    RISK_BANKRUPT,
    RISK_DAILY,
    RISK_DRAWDOWN,
    RISK_RESUMED,
    RISK_STRATEGY,
    SYSTEM,
)
from engine.kernels.orders import cancel_ledger
from engine.kernels.outputs import emit_risk
from engine.kernels.requests import send_order
from engine.kernels.tables import instrument_at, ledger_at, ledger_of, sample_at, strategy_at
from engine.kernels.values import value_of


@inner
def _trip(core: Any, first_ledger: int, last_ledger: int) -> None:
    """Cancel the working orders of a span of ledgers and, if the settings say so, close their positions."""
    for index in range(first_ledger, last_ledger):
        cancel_ledger(core, index, BY_HALT)
    if core.is_flatten_on_trip == 0:
        return
    count = core.instrument_count
    for index in range(first_ledger, last_ledger):
        lots = ledger_at(core, index).lots
        if lots != 0:
            send_order(core, index // count, index % count, MARKET, GTC, SYSTEM | REDUCE_ONLY, -lots, 0, 0, 0, 0)


@inner
def _guard_account(core: Any, equity: int) -> None:
    """Halt the account where a guard says so. What follows is left to `end_step`: one way into the orders' code."""
    if equity <= 0 and (core.exposure != 0 or core.cash <= 0):
        emit_risk(core, RISK_BANKRUPT, -1, 0, equity, 0, equity, core.equity_peak)
        core.halt = HALT_BANKRUPT
        return
    if core.max_drawdown_e12 > 0:
        limit = muldiv(core.equity_peak, core.max_drawdown_e12, E12)
        loss = core.equity_peak - equity
        if loss >= limit:
            emit_risk(core, RISK_DRAWDOWN, -1, 0, loss, limit, equity, core.equity_peak)
            core.halt = HALT_DRAWDOWN
            return
    if core.daily_loss_e12 > 0:
        limit = muldiv(core.day_start_equity, core.daily_loss_e12, E12)
        loss = core.day_start_equity - equity
        if loss >= limit:
            emit_risk(core, RISK_DAILY, -1, 0, loss, limit, equity, core.day_start_equity)
            core.halt = HALT_DAILY


@inner
def _is_strategy_tripped(core: Any, index: int) -> bool:
    """Look at one strategy's drawdown; where it is too deep, halt the strategy."""
    strategy = strategy_at(core, index)
    if strategy.is_halted == 1:
        return False
    own = core.initial_cash
    for instrument_index in range(core.instrument_count):
        ledger = ledger_of(core, index, instrument_index)
        own += ledger.realised - ledger.fees - ledger.funding - ledger.cost
        if ledger.lots != 0:
            instrument = instrument_at(core, instrument_index)
            own += value_of(instrument, ledger.lots, instrument.mark)
    strategy.equity_peak = max(strategy.equity_peak, own)
    limit = muldiv(strategy.equity_peak, core.strategy_max_drawdown_e12, E12)
    loss = strategy.equity_peak - own
    if loss < limit:
        return False
    emit_risk(core, RISK_STRATEGY, index, 0, loss, limit, own, strategy.equity_peak)
    strategy.is_halted = 1
    return True


@inner
def end_step(core: Any) -> None:
    """Sample the account, extend the chain, and let the guards look."""
    equity = core.cash + core.floating
    core.step += 1
    sample = sample_at(core, core.sample_count)
    sample.ts_ns, sample.equity, sample.exposure, sample.margin = core.ts_ns, equity, core.exposure, core.margin
    core.sample_count += 1
    core.hash = extend(core.hash, add_wrapping(equity, rotate_left_32(core.exposure)))
    core.equity_peak = max(core.equity_peak, equity)
    day = (core.ts_ns - 1) // DAY_NS
    if day != core.day:
        core.day = day
        core.day_start_equity = core.equity_last
        if core.halt == HALT_DAILY:
            core.halt = HALT_NONE
            emit_risk(core, RISK_RESUMED, -1, 0, equity, 0, equity, core.day_start_equity)
    core.equity_last = equity
    if core.halt == HALT_NONE:
        _guard_account(core, equity)
        if core.halt != HALT_NONE:
            _trip(core, 0, core.ledger_count)
    if core.strategy_max_drawdown_e12 > 0:
        count = core.instrument_count
        for index in range(core.strategy_count):
            if _is_strategy_tripped(core, index):
                _trip(core, index * count, (index + 1) * count)
