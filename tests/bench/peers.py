"""The same EMA cross, long or flat, in backtesting.py and vectorbt: same bars, same trades, how long it takes."""

from __future__ import annotations

import contextlib
import importlib
import io
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from engine.kernels import layout
from engine.reading import kinds_of
from tests.bench.inputs import (
    CASH,
    FAST,
    FEE_BPS,
    SLOW,
    Inputs,
    long_flat_on_bar,
    long_flat_signals,
    replay_of,
    settings_of,
)
from tests.bench.loops import final_equity
from tests.bench.measuring import Contender, Section, Timing, interleaved, seconds_text

_TITLE = "6. peers: EMA(12)/EMA(26), long or flat, one unit, next open, 4 bps, no slippage"
_EXTRA = ("backtesting", "vectorbt", "pandas")


class _Outcome:
    """Closed trades and final equity of one run."""

    def __init__(self, trades: int, equity: float) -> None:
        self.trades = trades
        self.equity = equity


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def peers_section(inputs: Inputs) -> Section:
    """Run all on the bars in memory: from there to the count of trades and the final equity."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        sentence = f"skipped: {', '.join(missing)} is not installed; install the bench extra: uv sync --extra bench"
        return Section("peers", _TITLE, ("", "median"), [], [sentence], {"skipped": sentence})
    with _quiet():
        return _compare(inputs)


def _compare(inputs: Inputs) -> Section:
    backtesting, vectorbt, pandas = (importlib.import_module(name) for name in _EXTRA)
    bars = inputs.bars
    columns = {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close, "Volume": bars.volume}
    frame = pandas.DataFrame(columns, index=pandas.to_datetime(bars.ts_ns, unit="ns"), copy=True)
    names = ("engine, on_bar", "engine, signals", "vectorbt 1.2", "backtesting.py 0.6.6")
    runs = [
        *(_ours(inputs, strategy) for strategy in (long_flat_on_bar(), long_flat_signals())),
        _vectorbt(vectorbt, frame),
        _backtesting(backtesting, pandas, frame),
    ]
    begun = time.perf_counter()
    runs[2].run(None)
    first = time.perf_counter() - begun
    return _section(inputs, names, interleaved(2 if inputs.is_quick else 5, runs), first)


def _section(inputs: Inputs, names: tuple[str, ...], timings: list[Timing], first_vectorbt: float) -> Section:
    ours = timings[1]
    rows, figures = [], {}
    for name, timing in zip(names, timings, strict=True):
        outcome: _Outcome = timing.result
        difference = outcome.equity - ours.result.equity
        rows.append((name, seconds_text(timing.median), f"{len(inputs.bars) / timing.median:,.0f}",
                     f"{timing.median / timings[0].median:.2f}", f"{timing.median / ours.median:.2f}",
                     f"{outcome.trades:,}", f"{outcome.equity:.6f}", f"{difference:+.2e}"))  # fmt: skip
        figures[name] = {
            "seconds": timing.median, "ratio_to_on_bar": timing.median / timings[0].median,
            "ratio_to_signals": timing.median / ours.median, "trades": outcome.trades, "equity": outcome.equity,
            "difference": difference,
        }  # fmt: skip
    agree = all(abs(each.result.equity - ours.result.equity) < 0.005 and each.result.trades == ours.result.trades
                for each in timings)  # fmt: skip
    return Section(
        "peers", _TITLE,
        ("", "median", "bars/s", "× on_bar", "× signals", "trades", "final equity", "difference"), rows,
        [
            "from bars in memory to closed trades and equity at every bar, the making of each engine's input included",
            "trades are equal, and equity to the cent: the rest is the rounding of float money, where ours is exact"
            if agree
            else "TRADES OR EQUITY DO NOT AGREE",
            f"the first run of vectorbt in this process took {first_vectorbt:.1f} s: it compiles, or loads its cache",
        ],
        figures | {"same_result": agree, "vectorbt_first_seconds": first_vectorbt},
    )  # fmt: skip


def _ours(inputs: Inputs, strategy: Any) -> Contender:
    settings = settings_of(0, close_at_end=False)

    def run(_: None) -> _Outcome:
        result = replay_of(inputs, strategy, settings).run()
        closed = int((kinds_of(result.outputs) == layout.TRADE_OUTPUT).sum())
        return _Outcome(closed, final_equity(result))

    return Contender(lambda: None, run)


def _average(close: Any, length: int) -> Any:
    """Pandas' exponential average, unknown until there are `length` closes, as in the other engines."""
    return close.ewm(span=length, adjust=False, min_periods=length).mean()


def _vectorbt(vectorbt: Any, frame: Any) -> Contender:
    def run(_: None) -> _Outcome:
        fast, slow = _average(frame["Close"], FAST), _average(frame["Close"], SLOW)
        up = (fast > slow) & (fast.shift() <= slow.shift())
        down = (fast < slow) & (fast.shift() >= slow.shift())
        portfolio = vectorbt.Portfolio.from_signals(
            frame["Close"], up.shift(fill_value=False), down.shift(fill_value=False), price=frame["Open"], size=1.0,
            fees=FEE_BPS / 10_000, init_cash=float(CASH), freq="1min",
        )  # fmt: skip
        return _Outcome(int(portfolio.trades.closed.count()), float(portfolio.value().iloc[-1]))

    return Contender(lambda: None, run)


def _backtesting(backtesting: Any, pandas: Any, frame: Any) -> Contender:
    backtesting.backtesting._tqdm = lambda rows, **_: rows  # no progress bar

    class LongFlat(backtesting.Strategy):
        """Long one unit from a cross up to the next cross down."""

        def init(self) -> None:
            """Compute the averages."""
            close = pandas.Series(self.data.Close)
            self.fast = self.I(_average, close, FAST)
            self.slow = self.I(_average, close, SLOW)

        def next(self) -> None:
            """Trade a cross."""
            fast, slow = self.fast, self.slow
            if fast[-1] > slow[-1] and fast[-2] <= slow[-2]:
                self.buy(size=1)
            elif fast[-1] < slow[-1] and fast[-2] >= slow[-2]:
                self.position.close()

    def run(_: None) -> _Outcome:
        stats = backtesting.Backtest(frame, LongFlat, cash=float(CASH), commission=FEE_BPS / 10_000).run()
        return _Outcome(int(stats["# Trades"]), float(stats["Equity Final [$]"]))

    return Contender(lambda: None, run)
