"""backtesting.py's SMA cross on GOOG, driven through the engine: all 30 statistics that its own test asserts.

Its orders fill at the next open, and it sizes them there: floor(0.9999 · equity / price) whole units at the price
of the fill. The strategy contract has no such order, so the strategy here looks the next open up in the test's own
data. Everything else is the engine's: fills, trades, equity. The statistics are then computed from those by
backtesting.py's definitions, written out below; where the project has the same definition, its own figure is
compared too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.figures.equity import EquityCurve
from engine.figures.like import like_figures, like_input
from engine.figures.metrics import metrics
from engine.figures.steps import trade_steps
from engine.instruments import Instrument
from engine.market import Market
from engine.precision import to_units
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import RunSettings
from engine.strategy import Schema, Strategy

GOLDEN = Path(__file__).parents[2].parent / "shared" / "data" / "golden"
CASH = 10_000
FAST, SLOW = 10, 30


def sma_cross(bars: Bars) -> Callable[[Any, int], None]:
    """The rules of the golden case, for a market whose next open is known."""
    last = len(bars) - 1
    open_cents = to_units(bars.open, Decimal("0.01"), "open")

    def on_bar(ctx: Any, i: int) -> None:
        if i + 1 == last:  # the trade still open at the end is closed at the open of the last bar
            ctx.flatten()
            return
        if i < SLOW or i == last:
            return
        fast, slow = ctx.ind.sma(ctx.close, FAST), ctx.ind.sma(ctx.close, SLOW)
        is_above, was_above = fast[i] > slow[i], fast[i - 1] > slow[i - 1]
        if is_above == was_above:
            return
        price = int(open_cents[i + 1])
        # Equity once the position is closed at the next open: that at this close, and what the gap adds.
        gap = round(ctx.position.size) * (price - round(100 * ctx.close[i]))
        units = 9_999 * (round(100 * ctx.portfolio.equity) + gap) // (10_000 * price)
        ctx.flatten()
        if is_above:
            ctx.buy(units)
        else:
            ctx.sell(units)

    return on_bar


def run(bars: Bars) -> RunResult:
    strategy = Strategy(Schema("sma_cross", "SMA cross"), __file__, "", on_bar=sma_cross(bars))
    # Shares, but backtesting.py sells short at will: a linear instrument without maintenance margin.
    instrument = Instrument(bars.symbol, Decimal("0.01"), Decimal(1), maintenance_rate=Decimal(0))
    settings = RunSettings(initial_cash=Decimal(CASH), leverage=Decimal(1))
    return Replay(settings, [Market(instrument, bars)], [StrategyRun("sma_cross", strategy, {}, (0,))]).run()


def goog() -> Bars:
    path = GOLDEN / "backtestingpy_GOOG.csv"
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} under ../shared/data/golden")
    frame = pd.read_csv(path, index_col=0)
    days = [int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9 for day in frame.index]
    columns = [frame[name].to_numpy(dtype=np.float64).copy() for name in ("Open", "High", "Low", "Close", "Volume")]
    return Bars("GOOG", "1d", np.array(days, dtype=np.int64), *columns)


def curve_of(bars: Bars, result: RunResult) -> EquityCurve:
    """Equity at each bar's close; the very last sample is that of the end, after the last bar's."""
    samples = np.delete(result.samples, -2, axis=0)
    assert len(samples) == len(bars)
    return EquityCurve(int(bars.ts_ns[0]), *(samples[:, column].copy() for column in range(4)))


def rounded_up(duration: pd.Timedelta) -> str:
    """Durations are given in whole days, rounded up."""
    return f"{duration.ceil('D').days} days"


def geometric_mean(returns: NDArray[np.float64]) -> float:
    return float(np.exp(np.log1p(returns).mean()) - 1)


def drawdowns(days: pd.DatetimeIndex, depth: NDArray[np.float64]) -> tuple[list[pd.Timedelta], list[float]]:
    """Length and depth of each stretch below a peak, from the bar at the peak to the bar that regains it."""
    at_peak = np.unique(np.append(np.flatnonzero(depth == 0), len(depth) - 1))
    stretches = [(begin, end) for begin, end in pairwise(at_peak) if end > begin + 1]
    return (
        [days[end] - days[begin] for begin, end in stretches],
        [float(depth[begin : end + 1].max()) for begin, end in stretches],
    )


def statistics_of(bars: Bars, result: RunResult) -> dict[str, float | str | int]:
    """What backtesting.py prints, by its definitions, from the engine's trades and equity."""
    days = pd.to_datetime(bars.ts_ns)
    equity = curve_of(bars, result).equity / 1e8
    trades = result.trades()
    pnl = np.array([float(trade.pnl) for trade in trades])
    returns = np.array([trade.pnl_percent / 100 for trade in trades])
    entered = np.searchsorted(bars.ts_ns, [trade.entry_ts_ns for trade in trades])
    left = np.searchsorted(bars.ts_ns, [trade.exit_ts_ns for trade in trades])
    held = np.zeros(len(bars), dtype=bool)
    for begin, end in zip(entered, left, strict=True):
        held[begin : end + 1] = True
    depth = 1 - equity / np.maximum.accumulate(equity)
    lengths, depths = drawdowns(days, depth)
    durations = [days[end] - days[begin] for begin, end in zip(entered, left, strict=True)]
    daily = equity[1:] / equity[:-1] - 1  # of the days that had a bar; 252 make a year
    mean_day = geometric_mean(daily)
    annual = (1 + mean_day) ** 252 - 1
    volatility = float(np.sqrt((daily.var(ddof=1) + (1 + mean_day) ** 2) ** 252 - (1 + mean_day) ** 504))
    downside = float(np.sqrt(np.mean(np.minimum(daily, 0) ** 2)) * np.sqrt(252))
    closes = bars.close
    total = 100 * (equity[-1] / equity[0] - 1)
    hold = 100 * (closes[-1] / closes[SLOW - 1] - 1)
    logs = np.log(equity[1:] / equity[:-1]), np.log(closes[1:] / closes[:-1])
    covariance = np.cov(*logs)
    beta = float(covariance[0, 1] / covariance[1, 1])
    wins, losses = returns[returns > 0], returns[returns < 0]
    win_rate = float((pnl > 0).mean())
    return {
        "# Trades": len(trades),
        "Equity Final [$]": equity[-1],
        "Equity Peak [$]": equity.max(),
        "Return [%]": total,
        "Return (Ann.) [%]": 100 * annual,
        "Volatility (Ann.) [%]": 100 * volatility,
        "CAGR [%]": 100 * ((equity[-1] / equity[0]) ** (365.25 / (days[-1] - days[0]).days) - 1),
        "Buy & Hold Return [%]": hold,
        "Sharpe Ratio": annual / volatility,
        "Sortino Ratio": annual / downside,
        "Calmar Ratio": annual / depth.max(),
        "Alpha [%]": total - beta * hold,
        "Beta": beta,
        "Max. Drawdown [%]": -100 * depth.max(),
        "Avg. Drawdown [%]": -100 * float(np.mean(depths)),
        "Max. Drawdown Duration": rounded_up(max(lengths)),
        "Avg. Drawdown Duration": rounded_up(pd.Series(lengths).mean()),
        "Win Rate [%]": 100 * win_rate,
        "Best Trade [%]": 100 * returns.max(),
        "Worst Trade [%]": 100 * returns.min(),
        "Avg. Trade [%]": 100 * geometric_mean(returns),
        "Max. Trade Duration": rounded_up(max(durations)),
        "Avg. Trade Duration": rounded_up(pd.Series(durations).mean()),
        "Profit Factor": wins.sum() / -losses.sum(),
        "Expectancy [%]": 100 * returns.mean(),
        "SQN": np.sqrt(len(pnl)) * pnl.mean() / pnl.std(ddof=1),
        "Kelly Criterion": win_rate - (1 - win_rate) / (pnl[pnl > 0].mean() / -pnl[pnl < 0].mean()),
        "Exposure Time [%]": 100 * held.mean(),
        "Start": str(days[0].date()),
        "End": str(days[-1].date()),
    }


@pytest.mark.real_data
def test_every_statistic_of_backtesting_py_comes_out_of_the_engine() -> None:
    bars = goog()
    expected = json.loads((GOLDEN / "backtestingpy_GOOG_SmaCross.expected.json").read_text())["expected"]
    result = run(bars)
    found = statistics_of(bars, result)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, str):
            assert found[name] == value, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-12), name
    # The json's float is a sum of floats; the engine's money is to the cent.
    assert result.samples[-1, 1] == 5_142_299 * 10**6
    assert result.figures["fill_count"] == 2 * 66


@pytest.mark.real_data
def test_the_projects_own_figures_agree_where_they_share_a_definition() -> None:
    bars = goog()
    expected = json.loads((GOLDEN / "backtestingpy_GOOG_SmaCross.expected.json").read_text())["expected"]
    result = run(bars)
    found = metrics(curve_of(bars, result), result.trades(), initial_cash=Decimal(CASH), closes=bars.close[SLOW - 1 :])
    pairs = [
        (float(found.equity.final), "Equity Final [$]", 1),
        (float(found.equity.peak), "Equity Peak [$]", 1),
        (found.equity.total_return, "Return [%]", 100),
        (found.equity.buy_and_hold_return, "Buy & Hold Return [%]", 100),
        (found.equity.max_drawdown, "Max. Drawdown [%]", -100),
        (found.trades.win_rate, "Win Rate [%]", 100),
        (found.trades.best_percent, "Best Trade [%]", 1),
        (found.trades.worst_percent, "Worst Trade [%]", 1),
        (found.trades.average_percent_geometric, "Avg. Trade [%]", 1),
        (found.trades.profit_factor_percent, "Profit Factor", 1),
        (found.trades.expectancy_percent, "Expectancy [%]", 1),
    ]
    for value, name, factor in pairs:
        assert value is not None
        assert factor * value == pytest.approx(expected[name], rel=1e-12), name
    assert found.equity.max_drawdown_duration_seconds == 584 * 86_400
    assert found.trades.duration_max_seconds == 183 * 86_400


@pytest.mark.real_data
def test_the_figures_like_backtesting_py_are_its_published_ones() -> None:
    bars = goog()
    expected = json.loads((GOLDEN / "backtestingpy_GOOG_SmaCross.expected.json").read_text())["expected"]
    result = run(bars)
    trades = result.trades()
    steps = trade_steps(result, trades)
    assert steps is not None
    given = like_input(
        curve_of(bars, result), trades, initial_units=CASH * 10**8, bar_ns=86_400 * 10**9, closes=bars.close,
        entry_bars=steps[0], exit_bars=steps[1],
    )  # fmt: skip
    assert given is not None
    found = like_figures("backtesting.py", given)
    # Its buy-and-hold begins after the indicators' warm-up, here at the first bar; alpha is made of it.
    for name in expected.keys() - {"Start", "End", "Buy & Hold Return [%]", "Alpha [%]"}:
        value = expected[name]
        if isinstance(value, str):
            assert found[name] == int(value.split()[0]) * 86_400, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-12), name


def by_hand(bars: Bars) -> tuple[list[int], list[int]]:
    """The same rules in whole cents, without the engine: each trade's pnl, and equity at each close."""
    opens, closes = (to_units(column, Decimal("0.01"), "price").tolist() for column in (bars.open, bars.close))

    def is_above(bar: int) -> bool:
        return sum(closes[bar - 9 : bar + 1]) * 3 > sum(closes[bar - 29 : bar + 1])

    cash, units, entry, wanted = 100 * CASH, 0, 0, 0
    pnl, equity = [], []
    last = len(opens) - 1
    for bar, price in enumerate(opens):
        if wanted or bar == last:
            if units:
                pnl.append(units * (price - entry))
                cash += pnl[-1]
            units = 0 if bar == last else wanted * (9_999 * cash // (10_000 * price))
            entry = price
        equity.append(cash + units * (closes[bar] - entry))
        wanted = 0
        if bar >= SLOW and is_above(bar) != is_above(bar - 1):
            wanted = 1 if is_above(bar) else -1
    return pnl, equity


@pytest.mark.parametrize("seed", range(4))
def test_the_engine_gives_what_a_plain_loop_in_cents_gives(seed: int) -> None:
    bars = synthesize("MADEUP", "4h", 1_500, seed, start_price=500.0)
    pnl, equity = by_hand(bars)
    assert len(pnl) > 30
    result = run(bars)
    assert [int(100 * trade.pnl) for trade in result.trades()] == pnl
    assert (curve_of(bars, result).equity // 10**6).tolist() == equity
    assert result.figures["cash"] == equity[-1] * 10**6
