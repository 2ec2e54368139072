"""backtesting.py's statistics, under the names that it prints; durations in seconds.

Equity stands at the close of each bar and is labelled by the bar's open, as that package has it: its first row is the
close of the first bar, not the starting balance. Written from its definitions; a year has 365 days where the bars
have weekends, else 252.
"""

from __future__ import annotations

import math

import numpy as np

from engine.bars import NS_PER_DAY, NS_PER_SECOND, FloatColumn, IntColumn
from engine.figures.like_input import LikeInput, deviation, mean, over

_NAN = float("nan")
_MEDIAN_OF_BARS = 100
_WEEKEND_SHARE_MIN = 2 / 7 * 0.6
# Days a bar has where bars are weeks, months or years, and how many of them make a year.
_LONG_PERIODS = {7: 52, 31: 12, 365: 1}
_UNITS_NS = (NS_PER_DAY, 3_600 * NS_PER_SECOND, 60 * NS_PER_SECOND, NS_PER_SECOND, 1_000_000, 1_000, 1)


def backtesting_figures(given: LikeInput) -> dict[str, float]:
    """Every statistic that is a number; those against the market are not-a-number without its closes."""
    equity, open_ns = given.equity, given.open_ns
    span_ns = int(open_ns[-1] - open_ns[0])
    held = np.zeros(len(equity) + 1, dtype=np.int64)
    np.add.at(held, given.entry_bars, 1)
    np.add.at(held, given.exit_bars + 1, -1)
    total = 100 * over(equity[-1] - equity[0], equity[0])
    return (
        {
            "Duration": span_ns / NS_PER_SECOND,
            "Exposure Time [%]": 100 * float(np.mean(np.cumsum(held)[:-1] > 0)),
            "Equity Final [$]": float(equity[-1]),
            "Equity Peak [$]": float(equity.max()),
            "Commissions [$]": math.fsum(float(trade.fees) for trade in given.trades),
            "Return [%]": total,
        }
        | _annual(given, span_ns)
        | _market(given, total)
        | _drawdowns(given)
        | _trades(given)
    )


def _annual(given: LikeInput, span_ns: int) -> dict[str, float]:
    period_ns = _period_ns(given.open_ns)
    days = int(period_ns // NS_PER_DAY) if not math.isnan(period_ns) else 0
    ends = _ends_of_periods(given.open_ns, days)
    daily = given.equity[ends]
    returns = daily[1:] / daily[:-1] - 1
    returns = returns[~np.isnan(returns)]
    weekdays = (given.open_ns // NS_PER_DAY + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    has_weekends = float(np.mean(weekdays >= 5)) > _WEEKEND_SHARE_MIN
    year = _LONG_PERIODS.get(days, 365 if has_weekends else 252)
    average = _geometric_mean(returns)
    annual = float(np.float64(1 + average) ** year - 1)
    variance = float(np.var(returns, ddof=1)) if len(returns) > 1 else _NAN
    volatility = float(
        np.sqrt(np.float64(variance + (1 + average) ** 2) ** year - np.float64(1 + average) ** (2 * year))
    )
    downside = math.sqrt(mean(np.minimum(returns, 0) ** 2)) * math.sqrt(year) if len(returns) else _NAN
    # Whole seconds, as that package counts them.
    years = span_ns // NS_PER_SECOND / 86_400 / 365.25
    growth = over(given.equity[-1], given.equity[0])
    deepest = float((1 - given.equity / np.maximum.accumulate(given.equity)).max())
    return {
        "Return (Ann.) [%]": 100 * annual,
        "Volatility (Ann.) [%]": 100 * volatility,
        "CAGR [%]": 100 * float(np.float64(growth) ** (1 / years) - 1) if years else _NAN,
        "Sharpe Ratio": annual / volatility if volatility else _NAN,
        "Sortino Ratio": over(annual, downside),
        "Calmar Ratio": annual / deepest if deepest else _NAN,
    }


def _period_ns(open_ns: IntColumn) -> float:
    """The median distance of the last hundred bars."""
    gaps = np.diff(open_ns[-_MEDIAN_OF_BARS:])
    return float(np.median(gaps)) if len(gaps) else _NAN


def _ends_of_periods(open_ns: IntColumn, days: int) -> IntColumn:
    """The last bar of each UTC day that has one; of each week to Sunday, month or year where bars are so long."""
    times = open_ns.astype("datetime64[ns]")
    match days:
        case 7:
            periods = (open_ns // NS_PER_DAY + 3) // 7
        case 31:
            periods = times.astype("datetime64[M]").astype(np.int64)
        case 365:
            periods = times.astype("datetime64[Y]").astype(np.int64)
        case _:
            periods = open_ns // NS_PER_DAY
    ends: IntColumn = np.append(np.flatnonzero(np.diff(periods)), len(periods) - 1)
    return ends


def _geometric_mean(returns: FloatColumn) -> float:
    """exp(mean(log(1 + r))) - 1; 0 where something lost all, not-a-number of nothing."""
    if np.any(returns <= -1):
        return 0.0
    return math.exp(mean(np.log(returns + 1))) - 1 if len(returns) else _NAN


def _market(given: LikeInput, total: float) -> dict[str, float]:
    closes = given.closes
    if closes is None:
        return {"Buy & Hold Return [%]": _NAN, "Alpha [%]": _NAN, "Beta": _NAN}
    hold = 100 * over(closes[-1] - closes[0], closes[0])
    beta = _NAN
    if len(closes) > 2:
        covariances = np.cov(np.log(given.equity[1:] / given.equity[:-1]), np.log(closes[1:] / closes[:-1]))
        beta = over(covariances[0, 1], covariances[1, 1])
    return {"Buy & Hold Return [%]": hold, "Alpha [%]": total - beta * hold, "Beta": beta}


def _drawdowns(given: LikeInput) -> dict[str, float]:
    depth = 1 - given.equity / np.maximum.accumulate(given.equity)
    at_peak = np.unique(np.append(np.flatnonzero(depth == 0), len(depth) - 1))
    begins, ends = at_peak[:-1], at_peak[1:]
    is_stretch = ends > begins + 1  # a single bar below the last peak, at the very end, is none
    begins, ends = begins[is_stretch], ends[is_stretch]
    deepest = -float(np.nan_to_num(depth.max()))
    if not len(begins):
        average = mean(depth[depth != 0])
        durations_ns = np.zeros(0, dtype=np.int64)
    else:
        average = mean(np.array([depth[begin : end + 1].max() for begin, end in zip(begins, ends, strict=True)]))
        durations_ns = given.open_ns[ends] - given.open_ns[begins]
    return {
        "Max. Drawdown [%]": 100 * deepest,
        "Avg. Drawdown [%]": -100 * average,
        "Max. Drawdown Duration": _longest_seconds(durations_ns, given.open_ns),
        "Avg. Drawdown Duration": _average_seconds(durations_ns, given.open_ns),
    }


def _trades(given: LikeInput) -> dict[str, float]:
    pnl, returns = given.pnl, given.returns
    count = len(pnl)
    durations_ns = given.open_ns[given.exit_bars] - given.open_ns[given.entry_bars]
    win_rate = float(np.mean(pnl > 0)) if count else _NAN
    lost = abs(float(returns[returns < 0].sum()))
    payoff = over(mean(pnl[pnl > 0]), -mean(pnl[pnl < 0]))
    return {
        "# Trades": count,
        "Win Rate [%]": 100 * win_rate,
        "Best Trade [%]": 100 * float(returns.max()) if count else _NAN,
        "Worst Trade [%]": 100 * float(returns.min()) if count else _NAN,
        "Avg. Trade [%]": 100 * _geometric_mean(returns),
        "Max. Trade Duration": _longest_seconds(durations_ns, given.open_ns),
        "Avg. Trade Duration": _average_seconds(durations_ns, given.open_ns),
        "Profit Factor": float(returns[returns > 0].sum()) / lost if lost else _NAN,
        "Expectancy [%]": 100 * mean(returns),
        "SQN": math.sqrt(count) * over(mean(pnl), deviation(pnl) or _NAN),
        "Kelly Criterion": win_rate - over(1 - win_rate, payoff),
    }


def _rounded_up_seconds(duration_ns: int, open_ns: IntColumn) -> float:
    """A duration in the unit that bars are counted in (days for daily bars, minutes for 15 minutes), rounded up."""
    period_ns = _period_ns(open_ns)
    if math.isnan(period_ns):
        return _NAN
    unit_ns = next(unit for unit in _UNITS_NS if int(period_ns) % unit == 0)
    return -(-duration_ns // unit_ns) * unit_ns / NS_PER_SECOND


def _longest_seconds(durations_ns: IntColumn, open_ns: IntColumn) -> float:
    return _rounded_up_seconds(int(durations_ns.max()), open_ns) if len(durations_ns) else _NAN


def _average_seconds(durations_ns: IntColumn, open_ns: IntColumn) -> float:
    return _rounded_up_seconds(int(mean(durations_ns.astype(np.float64))), open_ns) if len(durations_ns) else _NAN
