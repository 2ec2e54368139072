"""What all sections run on: the bars, the market, the settings, the strategies."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.bar_files import read_bars
from adapters.synthetic_market import synthesize
from config.model import InstrumentOverride
from daemon.markets import instrument_of
from engine.bars import Bars
from engine.market import Market
from engine.replay import Replay, StrategyRun
from engine.settings import Commission, RunSettings, Slippage
from engine.strategy import Schema, Strategy, resolve_params
from strategies.loading import load_strategy
from tests.bench.measuring import ROOT

YEAR_BARS = 525_600
QUICK_BARS = 50_000
SEED = 1
FAST, SLOW = 12, 26
CASH = 1_000_000
FEE_BPS, SLIPPAGE_BPS = 4, 2
REAL = ROOT.parent / "shared" / "data" / "ohlcv" / "binance_spot_BTCUSDT_1m_2022.parquet"
_BUILTINS = ROOT / "strategies" / "builtins"


class Inputs(msgspec.Struct):
    """The market of a benchmark, and where it comes from."""

    market: Market
    source: str
    is_quick: bool

    @property
    def bars(self) -> Bars:
        """Its bars."""
        return self.market.bars

    @property
    def ticks_a_unit(self) -> float:
        """How many ticks make a price of 1."""
        return float(1 / self.market.instrument.tick_size)


def load_inputs(data: Path | None, *, is_quick: bool) -> Inputs:
    """The file given, else the real year where it is present, else a synthetic one; cut short for a quick run."""
    count = QUICK_BARS if is_quick else YEAR_BARS
    path = data if data is not None else REAL
    if data is None and not path.exists():
        bars, source = synthesize("SYNTH", "1m", count, SEED), f"synthetic year, seed {SEED}"
    else:
        bars, source = _cut(read_bars(path, "BTCUSDT", "1m"), count), path.name
    return Inputs(Market(instrument_of(bars, InstrumentOverride(), 8), bars), source, is_quick)


def _cut(bars: Bars, count: int) -> Bars:
    columns = (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, *(column[:count].copy() for column in columns))


def settings_of(slippage_bps: int = SLIPPAGE_BPS, *, close_at_end: bool = True) -> RunSettings:
    """One million to start with, 4 bps a fill."""
    fee = Decimal(FEE_BPS)
    return RunSettings(
        initial_cash=Decimal(CASH),
        slippage=Slippage(bps=Decimal(slippage_bps)),
        commission=Commission(maker_bps=fee, taker_bps=fee),
        close_at_end=close_at_end,
    )


def shipped(name: str) -> Strategy:
    """A strategy as it is shipped."""
    return load_strategy(_BUILTINS / f"{name}.py")


def replay_of(inputs: Inputs, strategy: Strategy, settings: RunSettings) -> Replay:
    """A run with the strategy's default parameters, ready to start."""
    run = StrategyRun(strategy.schema.id, strategy, resolve_params(strategy.schema, {}), (0,))
    return Replay(settings, [inputs.market], [run])


def long_flat_on_bar() -> Strategy:
    """Long one unit from a cross up to the next cross down: what every engine can do, as `on_bar`."""

    def on_bar(ctx: Any, i: int) -> None:
        close = ctx.close
        fast, slow = ctx.ind.ema(close, FAST), ctx.ind.ema(close, SLOW)
        if i < 1:
            return
        if fast[i] > slow[i] and fast[i - 1] <= slow[i - 1]:
            ctx.buy(1.0)
        elif fast[i] < slow[i] and fast[i - 1] >= slow[i - 1]:
            ctx.flatten()

    return Strategy(Schema("long_flat", "EMA cross, long or flat"), __file__, "", on_bar=on_bar)


def long_flat_signals() -> Strategy:
    """The same as `signals`."""

    def signals(ctx: Any) -> dict[str, Any]:
        fast, slow = ctx.ind.ema(ctx.close, FAST), ctx.ind.ema(ctx.close, SLOW)
        target = np.full(len(fast), np.nan)
        target[1:][(fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1])] = 1.0
        target[1:][(fast[1:] < slow[1:]) & (fast[:-1] >= slow[:-1])] = 0.0
        return {"target": target}

    return Strategy(Schema("long_flat_signals", "EMA cross, long or flat"), __file__, "", signals=signals)
