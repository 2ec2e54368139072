"""quantstats' statistics of daily returns, with its defaults: 252 periods a year, risk-free rate 0.

Names are those of its functions. Written from their definitions; the sources are the package's documentation and, for
what is common property, the papers behind it (Bailey and Lopez de Prado 2012 for the probabilistic ratios).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec
import numpy as np

from engine.bars import FloatColumn
from engine.figures.like_input import LikeInput, deviation, mean, over

_YEAR = 252
_NORMAL = NormalDist()
_TAIL = 1 - 0.95


class _Basis(msgspec.Struct, frozen=True):
    """What the figures share. `depths`: price ÷ peak - 1 at each day, the start of 1 being a peak."""

    returns: FloatColumn
    wins: FloatColumn
    losses: FloatColumn
    total: float
    depths: FloatColumn
    win_rate: float
    exposure: float
    skew: float
    kurtosis: float


def quantstats_figures(given: LikeInput) -> dict[str, float]:
    """Every figure that is one number of the daily returns."""
    basis = _basis(given.daily[1:] / given.daily[:-1] - 1)
    return _of_returns(basis) | _of_risk(basis) | _of_wins(basis) | _of_tails(basis)


def _basis(returns: FloatColumn) -> _Basis:
    growth = np.cumprod(1 + returns)
    prices = np.concatenate((np.ones(1), 1 + (growth - 1)))
    depths = (prices / np.maximum.accumulate(prices) - 1)[1:]
    moved = int(np.count_nonzero(returns))
    return _Basis(
        returns=returns,
        wins=returns[returns > 0],
        losses=returns[returns < 0],
        total=float(growth[-1] - 1),
        depths=depths,
        win_rate=len(returns[returns > 0]) / moved if moved else 0.0,
        exposure=math.ceil(moved / len(returns) * 100) / 100,
        skew=_skew(returns),
        kurtosis=_kurtosis(returns),
    )


def _of_returns(basis: _Basis) -> dict[str, float]:
    returns = basis.returns
    return {
        "comp": basis.total,
        "expected_return": float(np.float64(np.prod(1 + returns)) ** (1 / len(returns)) - 1),
        "best": float(returns.max()),
        "worst": float(returns.min()),
        "avg_return": mean(returns[returns != 0]),
        "avg_win": mean(basis.wins),
        "avg_loss": mean(basis.losses),
        "volatility": deviation(returns) * math.sqrt(_YEAR),
        "cagr": _cagr(basis),
        "rar": over(_cagr(basis), basis.exposure),
        "exposure": basis.exposure,
        "skew": basis.skew,
        "kurtosis": basis.kurtosis,
    }


def _cagr(basis: _Basis) -> float:
    wealth = basis.total + 1
    return float(np.float64(wealth) ** (_YEAR / len(basis.returns)) - 1) if wealth >= 0 else float("nan")


def _of_risk(basis: _Basis) -> dict[str, float]:
    returns, year = basis.returns, math.sqrt(_YEAR)
    average, count = mean(returns), len(returns)
    deepest = min(float(basis.depths.min()), 0.0)
    sharpe = over(average, deviation(returns))
    downside = math.sqrt(float((basis.losses**2).sum()) / count)
    sortino = average / downside if downside else float("nan")
    penalty = _autocorrelation_penalty(returns)
    ulcer = float(np.sqrt(np.float64((basis.depths**2).sum()) / (count - 1)))
    pitfall = over(-_expected_shortfall(basis.depths), deviation(returns))
    adjusted = sortino / math.sqrt(2)
    return {
        "sharpe": sharpe * year,
        "sortino": sortino * year,
        "adjusted_sortino": adjusted * year,
        "autocorr_penalty": penalty,
        "smart_sharpe": sharpe / penalty * year,
        "smart_sortino": sortino / penalty * year,
        "probabilistic_sharpe_ratio": _probabilistic(basis, sharpe),
        "probabilistic_sortino_ratio": _probabilistic(basis, sortino),
        "probabilistic_adjusted_sortino_ratio": _probabilistic(basis, adjusted),
        "risk_return_ratio": sharpe if deviation(returns) else float("nan"),
        "max_drawdown": deepest,
        "calmar": over(_cagr(basis), abs(deepest)),
        "recovery_factor": over(abs(float(returns.sum())), abs(deepest)),
        "ulcer_index": ulcer,
        "ulcer_performance_index": over(basis.total, ulcer),
        "serenity_index": over(float(returns.sum()), ulcer * pitfall),
    }


def _of_wins(basis: _Basis) -> dict[str, float]:
    returns = basis.returns
    payoff = over(mean(basis.wins), abs(mean(basis.losses)))
    gained, lost = float(returns[returns >= 0].sum()), abs(float(basis.losses.sum()))
    factor = gained / lost if lost else (0.0 if gained == 0 else math.inf)
    pain = over(float(returns.sum()), lost)
    is_kelly = payoff not in {0.0, math.inf} and not math.isnan(payoff)
    return {
        "win_rate": basis.win_rate,
        "payoff_ratio": payoff,
        "profit_factor": factor,
        "profit_ratio": _profit_ratio(returns),
        "gain_to_pain_ratio": pain if lost else float("nan"),
        "omega": gained / lost if lost and len(returns) > 1 else float("nan"),
        "kelly_criterion": (payoff * basis.win_rate - (1 - basis.win_rate)) / payoff if is_kelly else float("nan"),
        "cpc_index": factor * basis.win_rate * payoff,
        "consecutive_wins": _longest(returns > 0),
        "consecutive_losses": _longest(returns < 0),
        "risk_of_ruin": math.pow((1 - basis.win_rate) / (1 + basis.win_rate), len(returns)),
    }


def _of_tails(basis: _Basis) -> dict[str, float]:
    returns = basis.returns
    high, low = float(np.quantile(returns, 0.95)), float(np.quantile(returns, _TAIL))
    tail = abs(high / low) if low else float("nan")
    spread = deviation(returns)
    factor = _of_wins(basis)["profit_factor"]
    return {
        "value_at_risk": mean(returns) + spread * _NORMAL.inv_cdf(_TAIL) if spread else float("nan"),
        "conditional_value_at_risk": _expected_shortfall(returns),
        "tail_ratio": tail,
        "common_sense_ratio": factor * tail,
        "outlier_win_ratio": over(float(np.quantile(returns, 0.99)), mean(returns[returns >= 0]) or float("nan")),
        "outlier_loss_ratio": over(float(np.quantile(returns, 0.01)), mean(basis.losses)),
    }


def _skew(values: FloatColumn) -> float:
    """Adjusted Fisher-Pearson skewness G1; not-a-number of fewer than three, or where nothing varies."""
    count = len(values)
    if count < 3:
        return float("nan")
    apart = values - mean(values)
    second, third = float((apart**2).sum()), float((apart**3).sum())
    if second == 0:
        return float("nan")
    return count * math.sqrt(count - 1) / (count - 2) * (third / math.pow(second, 1.5))


def _kurtosis(values: FloatColumn) -> float:
    """Excess kurtosis G2; not-a-number of fewer than four, or where nothing varies."""
    count = len(values)
    if count < 4:
        return float("nan")
    squares = (values - mean(values)) ** 2
    second, fourth = float(squares.sum()), float((squares**2).sum())
    if second == 0:
        return float("nan")
    scale = (count - 2) * (count - 3)
    return count * (count + 1) * (count - 1) / scale * (fourth / second**2) - 3 * (count - 1) ** 2 / scale


def _autocorrelation_penalty(returns: FloatColumn) -> float:
    """√(1 + 2·Σ (n - k) ÷ n·|c|^k) with c the correlation of each return with the next, k from 1 to n - 1."""
    count = len(returns)
    if count < 2:
        return 1.0
    coefficient = abs(float(np.corrcoef(returns[:-1], returns[1:])[0, 1])) if count > 2 else float("nan")
    if math.isnan(coefficient):
        return 1.0
    lags = np.arange(1, count)
    return math.sqrt(1 + 2 * float(((count - lags) / count * coefficient**lags).sum()))


def _probabilistic(basis: _Basis, ratio: float) -> float:
    """The chance that the true ratio is above 0 (Bailey and Lopez de Prado 2012)."""
    spread = 1 - basis.skew * ratio + (basis.kurtosis + 3 - 1) / 4 * ratio**2
    error = float(np.sqrt(np.float64(spread) / (len(basis.returns) - 1)))
    value = over(ratio, error)
    return float("nan") if math.isnan(value) else _NORMAL.cdf(value)


def _expected_shortfall(values: FloatColumn) -> float:
    """Mean of the worst 5 % of a normal distribution with these values' mean and deviation."""
    spread = deviation(values)
    if not spread or math.isnan(spread):
        return mean(values)
    return mean(values) - spread * _NORMAL.pdf(_NORMAL.inv_cdf(_TAIL)) / _TAIL


def _profit_ratio(returns: FloatColumn) -> float:
    gains, losses = returns[returns >= 0], returns[returns < 0]
    if not len(gains):
        return 0.0
    if not len(losses):
        return float("nan")
    return abs(mean(gains) / len(gains)) / abs(mean(losses) / len(losses))


def _longest(wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    best = run = 0
    for is_one in wanted.tolist():
        run = run + 1 if is_one else 0
        best = max(best, run)
    return best
