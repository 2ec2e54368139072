"""Run by test_like.py in an environment of its own: the figures that the packages themselves give of runs.

Reads runs as JSON from standard input, writes {package: {figure: number or null}} for each to standard output.
"""

import importlib.util
import json
import math
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting._stats import compute_stats
from quantstats import stats

warnings.simplefilter("ignore")
np.seterr(all="ignore")


QUANTSTATS = """
comp expected_return best worst avg_return avg_win avg_loss volatility cagr rar exposure skew kurtosis sharpe
sortino adjusted_sortino autocorr_penalty smart_sharpe smart_sortino probabilistic_sharpe_ratio
probabilistic_sortino_ratio probabilistic_adjusted_sortino_ratio risk_return_ratio max_drawdown calmar
recovery_factor ulcer_index ulcer_performance_index serenity_index win_rate payoff_ratio profit_factor
profit_ratio gain_to_pain_ratio omega kelly_criterion cpc_index consecutive_wins consecutive_losses
risk_of_ruin value_at_risk conditional_value_at_risk tail_ratio common_sense_ratio outlier_win_ratio
outlier_loss_ratio
"""


def plain(value):
    if value is pd.NaT:
        return None
    if isinstance(value, pd.Timedelta):
        return value.total_seconds()
    if isinstance(value, int | np.integer):
        return int(value)
    value = float(value)
    return value if math.isfinite(value) else None


def quantstats(run):
    daily = np.array(run["daily"])
    returns = pd.Series(daily[1:] / daily[:-1] - 1, index=pd.date_range("2022-01-01", periods=len(daily) - 1))
    found = {}
    for name in QUANTSTATS.split():
        try:
            found[name] = plain(getattr(stats, name)(returns.copy()))
        except (ZeroDivisionError, ValueError):
            found[name] = None
    return found


def backtesting(run):
    index = pd.DatetimeIndex(pd.to_datetime(run["open_ns"]))
    closes = run["closes"] or [math.nan] * len(index)
    entry, exit_ = np.array(run["entry_bars"], dtype=int), np.array(run["exit_bars"], dtype=int)
    trades = pd.DataFrame(
        {
            "EntryBar": entry,
            "ExitBar": exit_,
            "PnL": np.array(run["pnl"], dtype=float),
            "ReturnPct": np.array(run["returns"], dtype=float),
            "Duration": index[exit_] - index[entry],
        }
    )
    data = pd.DataFrame({"Close": closes}, index=index, dtype=float)
    found = compute_stats(trades, np.array(run["equity"]), data, None, 0.0)
    return {
        name: plain(value)
        for name, value in found.items()
        if not name.startswith("_") and name not in {"Start", "End"} and not isinstance(value, pd.Timestamp)
    }


def freqtrade_metrics():
    """The one module that holds the figures; the package around it wants an exchange library and a database."""
    for folder in sys.path:
        path = Path(folder) / "freqtrade" / "data" / "metrics.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("freqtrade_metrics", path)
            module = importlib.util.module_from_spec(spec)
            sys.modules["freqtrade_metrics"] = module
            spec.loader.exec_module(module)
            return module
    raise SystemExit("freqtrade is not installed")


def freqtrade(run):
    metrics = freqtrade_metrics()
    start = run["initial"]
    trades = pd.DataFrame(
        {
            "profit_abs": np.array(run["pnl"], dtype=float),
            "profit_ratio": np.array(run["returns"], dtype=float),
            "close_date": pd.to_datetime(np.array(run["exit_ns"], dtype="int64"), utc=True),
        }
    )
    first, last = (datetime.fromtimestamp(run["open_ns"][row] / 1e9, UTC) for row in (0, -1))
    wallet = pd.DataFrame({"date": pd.to_datetime(run["open_ns"], utc=True), "total_quote": run["equity"]})
    expectancy, expectancy_ratio = metrics.calculate_expectancy(trades)
    found = {
        "cagr": metrics.calculate_cagr((last - first).days or 1, start, run["equity"][-1]),
        "sqn": metrics.calculate_sqn(trades, start),
        "p_value": metrics.calculate_p_value(trades, start),
        "expectancy": expectancy,
        "expectancy_ratio": expectancy_ratio,
        "sharpe": metrics.calculate_sharpe(trades, first, last, start),
        "sortino": metrics.calculate_sortino(trades, first, last, start),
        "calmar": metrics.calculate_calmar(trades, first, last, start),
        "wallet_sharpe": metrics.calculate_sharpe_from_balance(wallet),
        "wallet_sortino": metrics.calculate_sortino_from_balance(wallet),
        "wallet_calmar": metrics.calculate_calmar_from_balance(wallet),
    }
    if len(trades):
        deepest = metrics.calculate_max_drawdown(trades, starting_balance=start)
        relative = metrics.calculate_max_drawdown(trades, starting_balance=start, relative=True)
        low, high = metrics.calculate_csum(trades, start)
        found |= {
            "max_drawdown_abs": deepest.drawdown_abs,
            "max_drawdown_account": deepest.relative_account_drawdown,
            "max_relative_drawdown": relative.relative_account_drawdown,
            "max_drawdown_high": deepest.high_value,
            "max_drawdown_low": deepest.low_value,
            "drawdown_duration_s": (deepest.low_date - deepest.high_date).total_seconds(),
            "csum_min": low,
            "csum_max": high,
        }
    if len(wallet) > 1:
        deepest = metrics.calculate_max_drawdown_from_balance(wallet)
        relative = metrics.calculate_max_drawdown_from_balance(wallet, relative=True)
        found |= {
            "wallet_max_drawdown_abs": deepest.drawdown_abs,
            "wallet_max_drawdown_account": deepest.relative_account_drawdown,
            "wallet_max_relative_drawdown": relative.relative_account_drawdown,
        }
    return {name: plain(value) for name, value in found.items()}


if __name__ == "__main__":
    runs = json.load(sys.stdin)
    json.dump(
        [
            {"quantstats": quantstats(run), "backtesting.py": backtesting(run), "freqtrade": freqtrade(run)}
            for run in runs
        ],
        sys.stdout,
    )
