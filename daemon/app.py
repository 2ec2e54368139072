"""The composition root: builds the parts of a run and hands them down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.result_files import results_folder, write_results
from adapters.run_log import write_run_log
from adapters.summary import RunFacts
from config.document import to_document
from config.model import RunConfig, StrategyEntry
from daemon.markets import load_market
from daemon.stages import Quiet, Stages
from engine.bars import timeframe_ns
from engine.errors import ConfigError, StrategyError
from engine.figures.equity import EquityCurve
from engine.figures.metrics import CostFigures, Metrics, metrics
from engine.figures.trades import Trade
from engine.indicators import parse_spec
from engine.kernels import layout
from engine.kernels.compile import is_compiled
from engine.market import Market
from engine.reading import view_as
from engine.replay import Replay, RunResult, StrategyRun
from strategies.registry import Registry


class Timings(msgspec.Struct, frozen=True):
    """Seconds of each stage of a run, monotonic clock."""

    load: float
    loop: float
    figures: float
    write: float
    total: float


class BacktestReport(msgspec.Struct, frozen=True):
    """A finished backtest: its figures, its files, how long it took."""

    run_id: str
    folder: Path
    facts: RunFacts
    result: RunResult
    trades: list[Trade]
    metrics: Metrics
    timings: Timings


def _strategy_runs(home: Path, config: RunConfig) -> list[StrategyRun]:
    if not config.strategies:
        raise ConfigError(
            f"{config.source}: no strategy is named",
            remedy="Name one under `strategy:`, or run with --strategy NAME. See: tapewright strategies list",
        )
    _check_indicators(config)
    registry = Registry(home)
    return [_strategy_run(registry, entry, config) for entry in config.strategies]


def _check_indicators(config: RunConfig) -> None:
    problems = []
    remedy = ""
    for index, spec in enumerate(config.indicators):
        try:
            parse_spec(spec)
        except StrategyError as error:
            problems.append(f"indicators[{index}]: {error.message}")
            remedy = error.remedy
    if problems:
        raise ConfigError(f"{config.source}: indicators", problems=tuple(problems), remedy=remedy)


def _strategy_run(registry: Registry, entry: StrategyEntry, config: RunConfig) -> StrategyRun:
    if entry.entry is not None and entry.exit is not None:
        strategy, params = registry.build_entry_exit(
            entry.entry.name, entry.entry.params, entry.exit.name, entry.exit.params, config.sizing
        )
    else:
        strategy, params = registry.build(entry.name, entry.params)
    symbols = entry.symbols or config.symbols
    return StrategyRun(entry.id, strategy, params, tuple(config.symbols.index(symbol) for symbol in symbols))


def _equity_curve(result: RunResult, markets: Sequence[Market], cash_decimals: int) -> EquityCurve:
    """One row a step; the closing of positions at the end replaces the last step's row."""
    samples = result.samples
    if len(samples) > 1 and samples[-1, 0] == samples[-2, 0]:
        samples = np.concatenate((samples[:-2], samples[-1:]))
    start = min((int(market.bars.ts_ns[0]) for market in markets if len(market.bars)), default=0)
    ts_ns, equity, exposure, margin = (np.ascontiguousarray(samples[:, word]) for word in range(4))
    return EquityCurve(start, ts_ns, equity, exposure, margin, cash_decimals)


def _slippage(result: RunResult) -> int:
    """What fills cost beside their base prices, in cash units."""
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    total = 0
    for index, scale in enumerate(result.scales):
        own = fills[fills["instrument"] == index]
        gaps, lots = np.abs(own["price_ticks"] - own["base_ticks"]), np.abs(own["lots"])
        if scale.instrument.kind == "inverse":
            factor = scale.instrument.value_factor(scale.cash_decimals)
            total += sum(
                abs(int(size) * factor // int(price) - int(size) * factor // int(base))
                for size, price, base in zip(lots, own["price_ticks"], own["base_ticks"], strict=True)
            )
        else:
            total += int((gaps * lots).sum()) * scale.instrument.value_factor(scale.cash_decimals)
    return total


def _figures(
    result: RunResult, markets: Sequence[Market], config: RunConfig
) -> tuple[EquityCurve, list[Trade], Metrics]:
    decimals = config.settings.cash_decimals
    curve, trades = _equity_curve(result, markets, decimals), result.trades()
    unit = Decimal(1).scaleb(-decimals)
    costs = CostFigures(
        fees=result.figures["fees"] * unit, funding=result.figures["funding"] * unit, slippage=_slippage(result) * unit
    )
    only = markets[0].bars.close if len(markets) == 1 else None
    figures = metrics(curve, trades, initial_cash=config.settings.initial_cash, costs=costs, closes=only)
    return curve, trades, figures


def _facts(config: RunConfig, result: RunResult) -> RunFacts:
    return RunFacts(
        symbol="-".join(config.symbols),
        strategy="-".join(entry.id for entry in config.strategies),
        timeframe=config.timeframe,
        fill_model=config.settings.execution.fill_model,
        ambiguous_bars=result.figures["ambiguous_bars"],
        run_hash=f"{result.hash:016x}",
    )


def _run_document(config: RunConfig, runs: Sequence[StrategyRun], result: RunResult, facts: RunFacts) -> dict[str, Any]:
    """The facts of a run, as they stand beside its figures in metrics.json."""
    return {
        "hash": facts.run_hash,
        "fill_model": facts.fill_model,
        "bars": result.bars,
        "fills": result.figures["fill_count"],
        "orders": result.figures["order_count"],
        "ambiguous_bars": facts.ambiguous_bars,
        "strategies": [
            {"id": run.name, "params": run.params, "source_sha256": run.strategy.source_hash} for run in runs
        ],
        "instruments": [
            {
                "symbol": scale.instrument.symbol,
                "kind": scale.instrument.kind,
                "tick_size": str(scale.instrument.tick_size),
                "lot_size": str(scale.instrument.lot_size),
            }
            for scale in result.scales
        ],
        "config": to_document(config),
    }


def backtest(home: Path, config: RunConfig, stages: Stages | None = None) -> BacktestReport:
    """Run a config on stored data and write its results under the home folder.

    Raises a TapewrightError with its remedy for every expected trouble; then nothing is written.
    """
    stages = stages or Quiet()
    begun = time.perf_counter()
    runs = _strategy_runs(home, config)
    loaded = [load_market(home, symbol, config) for symbol in config.symbols]
    markets = [market for market, _ in loaded]
    for _, lines in loaded:
        for line in lines:
            stages.stage(line)
    count = sum(len(market.bars) for market in markets)
    stages.stage(f"Data loaded ({count:,} candles of {timeframe_ns(config.timeframe) // 10**9} s)")
    if not is_compiled():
        stages.stage("Compiling the engine: once for this version, some 20 seconds")
    replay = Replay(config.settings, markets, runs)
    after_load = time.perf_counter()
    replay.prepare()
    stages.stage("Starting backtest loop...")
    result = replay.run(stages.progress)
    del replay  # its records and tables are as large as all that follows
    after_loop = time.perf_counter()
    stages.stage("Calculating metrics...")
    curve, trades, figures = _figures(result, markets, config)
    after_figures = time.perf_counter()
    facts = _facts(config, result)
    folder = results_folder(home, facts.symbol, facts.strategy, datetime.now(UTC))
    write_results(folder, trades=trades, equity=curve, metrics=figures, run=_run_document(config, runs, result, facts))
    write_run_log(folder, result, [line for _, lines in loaded for line in lines])
    end = time.perf_counter()
    stages.stage(f"Backtest completed: {folder}")
    timings = Timings(
        load=after_load - begun,
        loop=after_loop - after_load,
        figures=after_figures - after_loop,
        write=end - after_figures,
        total=end - begun,
    )
    return BacktestReport(folder.name, folder, facts, result, trades, figures, timings)
