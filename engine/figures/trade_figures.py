"""Figures of closed trades: how often, how much, how far against and how far in favour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import groupby

import msgspec

from engine.bars import NS_PER_SECOND
from engine.figures import money
from engine.figures.trades import Trade
from engine.settings import ZERO


class TradeFigures(msgspec.Struct, frozen=True):
    """Figures of one group of trades. Definitions are in `engine/figures/definitions.py`."""

    count: int
    wins: int
    losses: int
    breakevens: int
    win_rate: float | None
    net_pnl: Decimal
    gross_profit: Decimal
    gross_loss: Decimal
    profit_factor: float | None
    profit_factor_percent: float | None
    expectancy: Decimal | None
    expectancy_percent: float | None
    average_percent_geometric: float | None
    best: Decimal | None
    best_percent: float | None
    worst: Decimal | None
    worst_percent: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    payoff_ratio: float | None
    longest_winning_run: int
    longest_losing_run: int
    mae_average: Decimal | None
    mae_average_percent: float | None
    mae_average_r: float | None
    mfe_average: Decimal | None
    mfe_average_percent: float | None
    mfe_average_r: float | None
    bars_held_average: float | None
    duration_average_seconds: float | None
    duration_max_seconds: float | None
    liquidations: int
    trades_per_day: float | None


def in_order(trades: Iterable[Trade]) -> list[Trade]:
    """Sort trades by the time they closed, then by `trade_id`: the order in which runs are counted."""
    return sorted(trades, key=lambda trade: (trade.exit_ts_ns, trade.trade_id))


def trade_figures(trades: Sequence[Trade], *, cash_decimals: int, days: float) -> TradeFigures:
    """Return the figures of trades that stand in the order they closed; `days` is the span of the run."""
    pnl = [trade.pnl for trade in trades]
    percents = [trade.pnl_percent for trade in trades]
    outcomes = [(amount > ZERO) - (amount < ZERO) for amount in pnl]
    won = [amount for amount, outcome in zip(pnl, outcomes, strict=True) if outcome > 0]
    lost = [amount for amount, outcome in zip(pnl, outcomes, strict=True) if outcome < 0]
    profit, loss = money.exact_sum(won), -money.exact_sum(lost)
    durations_ns = [trade.exit_ts_ns - trade.entry_ts_ns for trade in trades]

    def average(amounts: Sequence[Decimal]) -> Decimal | None:
        return money.mean(money.exact_sum(amounts), len(amounts), cash_decimals) if amounts else None

    return TradeFigures(
        count=len(trades),
        wins=len(won),
        losses=len(lost),
        breakevens=len(trades) - len(won) - len(lost),
        win_rate=len(won) / len(trades) if trades else None,
        net_pnl=money.exact_sum((profit, -loss)),
        gross_profit=profit,
        gross_loss=loss,
        profit_factor=money.ratio(profit, loss),
        profit_factor_percent=_profit_factor_percent(percents),
        expectancy=average(pnl),
        expectancy_percent=_average_float(percents),
        average_percent_geometric=_geometric_percent(percents),
        best=max(pnl, default=None),
        best_percent=max(percents, default=None),
        worst=min(pnl, default=None),
        worst_percent=min(percents, default=None),
        average_win=average(won),
        average_loss=average(lost),
        payoff_ratio=money.ratio(profit * len(lost), loss * len(won)) if won else None,
        longest_winning_run=_longest_run(outcomes, 1),
        longest_losing_run=_longest_run(outcomes, -1),
        mae_average=average([trade.mae for trade in trades]),
        mae_average_percent=_average_float([trade.mae_percent for trade in trades]),
        mae_average_r=_average_float([trade.mae_r for trade in trades if trade.mae_r is not None]),
        mfe_average=average([trade.mfe for trade in trades]),
        mfe_average_percent=_average_float([trade.mfe_percent for trade in trades]),
        mfe_average_r=_average_float([trade.mfe_r for trade in trades if trade.mfe_r is not None]),
        bars_held_average=sum(trade.bars_held for trade in trades) / len(trades) if trades else None,
        duration_average_seconds=sum(durations_ns) / (len(trades) * NS_PER_SECOND) if trades else None,
        duration_max_seconds=max(durations_ns) / NS_PER_SECOND if trades else None,
        liquidations=sum(trade.exit_reason == "liquidation" for trade in trades),
        trades_per_day=len(trades) / days if days > 0 else None,
    )


def _profit_factor_percent(percents: Sequence[float]) -> float | None:
    loss = -math.fsum(value for value in percents if value < 0)
    return math.fsum(value for value in percents if value > 0) / loss if loss > 0 else None


def _average_float(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _geometric_percent(percents: Sequence[float]) -> float | None:
    """100·((Π (1 + p ÷ 100))^(1 ÷ N) - 1), through logarithms; None without trades or after a total loss."""
    if not percents or min(percents) <= -100:
        return None
    return 100 * math.expm1(math.fsum(math.log1p(value / 100) for value in percents) / len(percents))


def _longest_run(outcomes: Sequence[int], wanted: int) -> int:
    runs = (len(list(run)) for outcome, run in groupby(outcomes) if outcome == wanted)
    return max(runs, default=0)
