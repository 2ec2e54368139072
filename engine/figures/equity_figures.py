"""Figures of the equity curve: return, risk, drawdown, exposure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import numpy as np

from engine.bars import NS_PER_DAY, NS_PER_SECOND, FloatColumn, IntColumn
from engine.figures import money
from engine.figures.drawdowns import under_water_ns
from engine.figures.equity import (
    EquityCurve,
    daily_equity,
    drawdown_fractions,
    equity_from_start,
    running_peak,
)
from engine.figures.trades import Trade

DAYS_A_YEAR = 365
SHORTEST_ANNUALISED_NS = 30 * NS_PER_DAY


class EquityFigures(msgspec.Struct, frozen=True):
    """What the account did. Definitions are in `engine/figures/definitions.py`."""

    initial: Decimal
    final: Decimal
    peak: Decimal
    net_profit: Decimal
    total_return: float | None
    buy_and_hold_return: float | None
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    max_drawdown_money: Decimal | None
    max_drawdown_duration_seconds: float | None
    time_under_water: float | None


class ExposureFigures(msgspec.Struct, frozen=True):
    """How much was at stake, and for how long. Definitions are in `engine/figures/definitions.py`."""

    time_in_market: float | None
    exposure_average: Decimal | None
    exposure_max: Decimal | None
    margin_max: Decimal | None
    leverage_max: float | None
    leverage_average: float | None
    margin_average: Decimal | None
    margin_usage_max: float | None
    margin_usage_average: float | None


class RiskAndReturn(msgspec.Struct, frozen=True):
    """Ratios of a daily series, a year at 365 days."""

    volatility: float | None = None
    sharpe: float | None = None
    sortino: float | None = None


def equity_figures(
    curve: EquityCurve,
    *,
    initial_cash: Decimal,
    annualise_short: bool,
    closes: FloatColumn | None,
) -> EquityFigures:
    """Return, risk and drawdown of a curve; `closes` (one price a bar) gives buy-and-hold."""
    initial = money.to_units(initial_cash, curve.cash_decimals)
    assert initial > 0, "a run starts with cash"
    values = equity_from_start(curve, initial)
    peak = running_peak(values)
    final = int(values[-1])
    annualised = curve.span_ns > 0 and (annualise_short or curve.span_ns >= SHORTEST_ANNUALISED_NS)
    risk = risk_and_return(daily_returns(daily_equity(curve, values))) if annualised else RiskAndReturn()
    cagr = growth_a_year(initial, final, curve.span_ns) if annualised else None
    drawdown = _deepest(values, peak) if len(curve) else None
    below_ns, longest_ns = under_water_ns(curve, initial)
    return EquityFigures(
        initial=money.from_units(initial, curve.cash_decimals),
        final=money.from_units(final, curve.cash_decimals),
        peak=money.from_units(int(peak[-1]), curve.cash_decimals),
        net_profit=money.from_units(final - initial, curve.cash_decimals),
        total_return=(final - initial) / initial if len(curve) else None,
        buy_and_hold_return=_hold_return(closes),
        cagr=cagr,
        volatility=risk.volatility,
        sharpe=risk.sharpe,
        sortino=risk.sortino,
        calmar=cagr / drawdown if cagr is not None and drawdown else None,
        max_drawdown=drawdown,
        max_drawdown_money=(money.from_units(int(np.max(peak - values)), curve.cash_decimals) if len(curve) else None),
        max_drawdown_duration_seconds=longest_ns / NS_PER_SECOND if len(curve) else None,
        time_under_water=below_ns / curve.span_ns if curve.span_ns else None,
    )


def exposure_figures(curve: EquityCurve, trades: Sequence[Trade], open_since_ns: Sequence[int]) -> ExposureFigures:
    """Time in the market and the extremes of exposure, margin and leverage, over bars."""
    if len(curve) == 0:
        return ExposureFigures(None, None, None, None, None, None, None, None, None)
    decimals = curve.cash_decimals
    exposure, margin, equity = (money.column_sum(column) for column in (curve.exposure, curve.margin, curve.equity))
    return ExposureFigures(
        time_in_market=_time_in_market(curve, trades, open_since_ns),
        exposure_average=money.mean(money.from_units(exposure, decimals), len(curve), decimals),
        exposure_max=money.from_units(int(np.max(curve.exposure)), decimals),
        margin_max=money.from_units(int(np.max(curve.margin)), decimals),
        leverage_max=_share_max(curve.exposure, curve.equity),
        leverage_average=exposure / equity if equity > 0 else None,
        margin_average=money.mean(money.from_units(margin, decimals), len(curve), decimals),
        margin_usage_max=_share_max(curve.margin, curve.equity),
        margin_usage_average=margin / equity if equity > 0 else None,
    )


def daily_returns(daily: Sequence[int]) -> list[float] | None:
    """(value - previous) ÷ previous of each day; None if one ends at or below 0, which no ratio bears."""
    if min(daily) <= 0:
        return None
    return [(value - previous) / previous for previous, value in pairwise(daily)]


def risk_and_return(returns: Sequence[float] | None) -> RiskAndReturn:
    """Volatility, Sharpe (Sharpe 1994, risk-free rate 0) and Sortino (Sortino and Price 1994, target 0).

    volatility = std(ddof 1)·√365; Sharpe = mean ÷ std·√365; Sortino = mean ÷ √(Σ min(r, 0)² ÷ N)·√365.
    `math.fsum` rounds once, so the order of additions cannot show.
    """
    if not returns:
        return RiskAndReturn()
    count = len(returns)
    year = math.sqrt(DAYS_A_YEAR)
    average = math.fsum(returns) / count
    volatility = sharpe = sortino = None
    if count > 1:
        # Equal returns have no spread at all, which rounding of the average must not hide.
        spread = max(returns) != min(returns)
        squares = math.fsum((value - average) ** 2 for value in returns) if spread else 0.0
        deviation = math.sqrt(squares / (count - 1))
        volatility = deviation * year
        sharpe = average / deviation * year if deviation > 0 else None
    downside = math.sqrt(math.fsum(value * value for value in returns if value < 0) / count)
    if downside > 0:
        sortino = average / downside * year
    return RiskAndReturn(volatility=volatility, sharpe=sharpe, sortino=sortino)


def growth_a_year(initial: int, final: int, span_ns: int) -> float | None:
    """CAGR = (final ÷ initial)^(365 ÷ calendar days) - 1; None at no equity or past the greatest float."""
    if final <= 0:
        return None
    try:
        return math.pow(final / initial, DAYS_A_YEAR * NS_PER_DAY / span_ns) - 1.0
    except OverflowError:
        return None


def _deepest(values: IntColumn, peak: IntColumn) -> float:
    fractions = drawdown_fractions(values, peak)
    row = int(np.argmax(fractions))
    return (int(peak[row]) - int(values[row])) / int(peak[row])


def _hold_return(closes: FloatColumn | None) -> float | None:
    if closes is None or len(closes) == 0 or closes[0] <= 0:
        return None
    return (float(closes[-1]) - float(closes[0])) / float(closes[0])


def _share_max(held: IntColumn, equity: IntColumn) -> float | None:
    """Greatest part of equity; None where something was held without any."""
    if np.any((equity <= 0) & (held > 0)):
        return None
    row = int(np.argmax(held / np.maximum(equity, 1)))
    return int(held[row]) / max(int(equity[row]), 1)


def _time_in_market(curve: EquityCurve, trades: Sequence[Trade], open_since_ns: Sequence[int]) -> float | None:
    """Share of the span in which any position was open: the length of the union of the trades' intervals."""
    if curve.span_ns == 0:
        return None
    last_ns = int(curve.ts_ns[-1])
    begins_ns = np.array([trade.entry_ts_ns for trade in trades] + list(open_since_ns), dtype=np.int64)
    ends_ns = np.array([trade.exit_ts_ns for trade in trades] + [last_ns] * len(open_since_ns), dtype=np.int64)
    order = np.argsort(begins_ns, kind="stable")
    begins_ns = np.clip(begins_ns[order], curve.start_ns, last_ns)
    covered_ns = np.maximum.accumulate(np.clip(ends_ns[order], curve.start_ns, last_ns))
    covered_before_ns = np.concatenate((np.array([curve.start_ns], dtype=np.int64), covered_ns))[:-1]
    added_ns = covered_ns - np.maximum(begins_ns, covered_before_ns)
    return int(np.sum(np.maximum(added_ns, 0))) / curve.span_ns
