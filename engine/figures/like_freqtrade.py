"""freqtrade's figures of a backtest, under the names of its result; those of its wallet history begin with `wallet_`.

Most are made of closed trades: profit as a fraction of the starting balance, spread over the days of the run. What has
no denominator is -100 there, and 0 without trades; these values are kept. Written from its definitions.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from engine.bars import NS_PER_DAY, NS_PER_SECOND, FloatColumn, IntColumn
from engine.figures.like_input import LikeInput, deviation, mean, over

_YEAR = 365
_NOT_GOOD = -100.0


class _Drawdown(msgspec.Struct, frozen=True):
    """The greatest fall of cumulated profit from its greatest value, 0 included. `relative`: of the account then."""

    money: float = 0.0
    relative: float = 0.0
    high: float = 0.0
    low: float = 0.0
    duration_ns: int = 0


def freqtrade_figures(given: LikeInput) -> dict[str, float]:
    """Every figure that is one number of trades or of the wallet's history."""
    pnl, count = given.pnl, len(given.trades)
    profits = pnl / given.initial
    is_short = np.array([trade.side == "short" for trade in given.trades], dtype=bool)
    days = int((given.open_ns[-1] - given.open_ns[0]) // NS_PER_DAY)
    won, lost = float(pnl[pnl > 0].sum()), float(pnl[pnl < 0].sum())
    ratios = given.returns
    return (
        {
            "total_trades": count,
            "trade_count_long": int(np.count_nonzero(~is_short)),
            "trade_count_short": int(np.count_nonzero(is_short)),
            "wins": int(np.count_nonzero(ratios > 0)),
            "losses": int(np.count_nonzero(ratios < 0)),
            "draws": int(np.count_nonzero(ratios == 0)),
            "winrate": float(np.mean(ratios > 0)) if count else 0.0,
            "profit_mean": mean(ratios) if count else 0.0,
            "profit_median": float(np.median(ratios)) if count else 0.0,
            "profit_total": float(pnl.sum()) / given.initial,
            "profit_total_abs": float(pnl.sum()),
            "profit_total_long": float(pnl[~is_short].sum()) / given.initial,
            "profit_total_long_abs": float(pnl[~is_short].sum()),
            "profit_total_short": float(pnl[is_short].sum()) / given.initial,
            "profit_total_short_abs": float(pnl[is_short].sum()),
            "profit_factor": won / -lost if lost else 0.0,
            "backtest_days": days or 1,
            "trades_per_day": round(count / (days or 1), 2),
            "cagr": _cagr(days or 1, given.initial, float(given.equity[-1])),
            "sqn": _sqn(profits),
            "p_value": _p_value(profits),
        }
        | _expectancy(pnl)
        | _of_trades(given, profits, days)
        | _of_wallet(given)
    )


def _ratio(average: float, spread: float) -> float:
    """Average ÷ spread, with a year of 365 days; -100 without a spread."""
    return average / spread * math.sqrt(_YEAR) if spread and not math.isnan(spread) else _NOT_GOOD


def _cagr(days: int, start: float, final: float) -> float:
    if final < 0:
        return 0.0
    try:
        return float((final / start) ** (1 / (days / _YEAR)) - 1)
    except OverflowError:
        return 0.0


def _sqn(profits: FloatColumn) -> float:
    if not len(profits):
        return 0.0
    spread = deviation(profits)
    if not spread or math.isnan(spread):
        return _NOT_GOOD
    return round(math.sqrt(len(profits)) * (mean(profits) / spread), 4)


def _expectancy(pnl: FloatColumn) -> dict[str, float]:
    """Mean profit, and expectancy ÷ mean loss; 100 where nothing lost."""
    won, lost = pnl[pnl > 0], pnl[pnl < 0]
    if not len(pnl):
        return {"expectancy": 0.0, "expectancy_ratio": 100.0}
    average_win = mean(won) if len(won) else 0.0
    average_loss = -mean(lost) if len(lost) else 0.0
    win_rate, loss_rate = len(won) / len(pnl), len(lost) / len(pnl)
    ratio = (1 + average_win / average_loss) * win_rate - 1 if average_loss > 0 else 100.0
    return {"expectancy": win_rate * average_win - loss_rate * average_loss, "expectancy_ratio": ratio}


def _of_trades(given: LikeInput, profits: FloatColumn, days: int) -> dict[str, float]:
    has_span = bool(len(profits)) and given.open_ns[-1] > given.open_ns[0]
    a_day = float(profits.sum()) / max(1, days)
    closed_ns = np.array([trade.exit_ts_ns for trade in given.trades], dtype=np.int64)
    deepest = _max_drawdown(given.pnl, closed_ns, given.initial)
    relative = _max_drawdown(given.pnl, closed_ns, given.initial, is_relative=True)
    reached = np.cumsum(given.pnl)
    lost = profits[profits < 0]
    return {
        "sharpe": _ratio(a_day, float(np.std(profits))) if has_span else 0.0,
        "sortino": _ratio(a_day, float(np.std(lost)) if len(lost) else 0.0) if has_span else 0.0,
        "calmar": _ratio(100 * a_day, deepest.relative) if has_span else 0.0,
        "max_drawdown_abs": deepest.money,
        "max_drawdown_account": deepest.relative,
        "max_relative_drawdown": relative.relative,
        "max_drawdown_high": deepest.high,
        "max_drawdown_low": deepest.low,
        "drawdown_duration_s": deepest.duration_ns / NS_PER_SECOND,
        "csum_min": given.initial + float(reached.min()) if len(reached) else 0.0,
        "csum_max": given.initial + float(reached.max()) if len(reached) else 0.0,
    }


def _max_drawdown(profits: FloatColumn, times_ns: IntColumn, start: float, *, is_relative: bool = False) -> _Drawdown:
    if not len(profits):
        return _Drawdown()
    reached = np.concatenate((np.zeros(1), np.cumsum(profits)))
    high = np.maximum.accumulate(np.maximum(reached, 0))
    fallen = high - reached
    relative = np.concatenate((np.zeros(1), ((start + high) - (start + reached))[1:] / (start + high)[1:]))
    row = int(np.argmax(relative) if is_relative else np.argmax(fallen))
    top = int(np.argmax(high[: row + 1]))
    duration_ns = int(times_ns[max(row - 1, 0)] - times_ns[max(top - 1, 0)])
    return _Drawdown(float(fallen[row]), float(relative[row]), float(reached[top]), float(reached[row]), duration_ns)


def _of_wallet(given: LikeInput) -> dict[str, float]:
    """From equity at each bar's close, labelled by its open: the last of each UTC day that has a bar."""
    equity = given.equity
    ends = np.append(np.flatnonzero(np.diff(given.open_ns // NS_PER_DAY)), len(equity) - 1)
    daily = equity[ends]
    returns = daily[1:] / daily[:-1] - 1
    lost = returns[returns < 0]
    changes = np.concatenate((np.zeros(1), np.diff(equity)))
    is_long_enough = len(equity) > 1
    nothing = _Drawdown()
    start = float(equity[0])
    deepest = _max_drawdown(changes, given.open_ns, start) if is_long_enough else nothing
    relative = _max_drawdown(changes, given.open_ns, start, is_relative=True) if is_long_enough else nothing
    days = max(1, int((given.open_ns[-1] - given.open_ns[0]) // NS_PER_DAY))
    a_day = over(equity[-1] - start, start) / days
    return {
        "wallet_sharpe": _ratio(mean(returns), float(np.std(returns))) if len(returns) else 0.0,
        "wallet_sortino": (_ratio(mean(returns), float(np.std(lost)) if len(lost) else 0.0) if len(returns) else 0.0),
        "wallet_calmar": _ratio(100 * a_day, deepest.relative) if is_long_enough else 0.0,
        "wallet_max_drawdown_abs": deepest.money,
        "wallet_max_drawdown_account": deepest.relative,
        "wallet_max_relative_drawdown": relative.relative,
    }


def _p_value(profits: FloatColumn) -> float:
    """Two-sided p of Student's t for a mean of 0; 1 of fewer than two trades, or without spread."""
    spread = deviation(profits)
    if len(profits) < 2 or not spread:
        return 1.0
    freedom = len(profits) - 1
    value = mean(profits) / (spread / math.sqrt(len(profits)))
    return _incomplete_beta(
        freedom / 2, 0.5, freedom / (freedom + value * value), value * value / (freedom + value * value)
    )


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function at x = 1 - rest (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, rest) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction."""
    tiny, step = 1e-300, 1.0
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    total = d
    index = 1
    while abs(step - 1) > 1e-16 or index == 1:
        even = index * (b - index) * x / ((a + 2 * index - 1) * (a + 2 * index))
        odd = -(a + index) * (a + b + index) * x / ((a + 2 * index) * (a + 2 * index + 1))
        for factor in (even, odd):
            d = 1 / ((1 + factor * d) or tiny)
            c = (1 + factor / c) or tiny
            step = d * c
            total *= step
        index += 1
        if index > 10_000:
            break
    return total
