"""What whoever runs a session decides about the account and its strategies: said in the chain, as guards say theirs."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.layout import (
    HALT_BANKRUPT,
    HALT_BY_COMMAND,
    HALT_NONE,
    RISK_HALTED,
    RISK_QUARANTINED,
    RISK_RESUMED,
    RISK_STARTED,
    RISK_STOPPED,
)
from engine.kernels.outputs import emit_risk
from engine.kernels.tables import strategy_at


@inner
def halt_account(core: Any) -> None:
    """Refuse everything that opens, until `resume_account`; nothing where a guard has halted it already."""
    if core.halt != HALT_NONE:
        return
    equity = core.cash + core.floating
    emit_risk(core, RISK_HALTED, -1, 0, 0, 0, equity, core.equity_peak)
    core.halt = HALT_BY_COMMAND


@inner
def resume_account(core: Any) -> None:
    """Trade again; a drawdown and a day's loss count from the present equity on. A bankrupt account stays halted."""
    if core.halt == HALT_NONE or core.halt == HALT_BANKRUPT:
        return
    equity = core.cash + core.floating
    core.halt = HALT_NONE
    core.equity_peak, core.day_start_equity = equity, equity
    emit_risk(core, RISK_RESUMED, -1, 0, equity, 0, equity, core.day_start_equity)


@inner
def note_strategy(core: Any, index: int, event: int) -> None:
    """Say that a strategy was stopped, started, faulted or quarantined; one that does not run opens nothing."""
    if event < RISK_STOPPED or event > RISK_QUARANTINED:
        return
    strategy = strategy_at(core, index)
    equity = core.cash + core.floating
    emit_risk(core, event, index, 0, 0, 0, equity, strategy.equity_peak)
    strategy.is_halted = 0 if event == RISK_STARTED else 1
    if event == RISK_STARTED:
        strategy.equity_peak = -(2**62)
