"""What every run has in common, on bars and on a tape: its strategies, and the report of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from config.document import to_document
from config.model import RunConfig, StrategyEntry
from engine.bars import Bars, timeframe_ns
from engine.errors import ConfigError, StrategyError
from engine.figures.band import EquityBand
from engine.figures.diagnostics import diagnose
from engine.figures.equity import EquityCurve
from engine.figures.fill_costs import fill_costs
from engine.figures.like_input import LikeReport
from engine.figures.metrics import CostFigures, Metrics, metrics
from engine.figures.money import to_units
from engine.figures.risk_taken import with_risk
from engine.figures.steps import open_at_end, trade_steps
from engine.figures.trades import Trade
from engine.frames import length_over
from engine.indicators import parse_spec
from engine.replay import RunResult, StrategyRun
from strategies.registry import Registry

_TOLD = ("on_bar", "on_book", "on_print", "on_timer")


def strategy_runs(registry: Registry, config: RunConfig, symbols: Sequence[str]) -> list[StrategyRun]:
    """The strategies of a config; `symbols` are the run's markets, by which strategies name theirs.

    Raises ConfigError where there is none, or one wants what the run cannot give.
    """
    if not config.strategies:
        raise ConfigError(
            f"{config.source}: no strategy is named",
            remedy="Name one under `strategy:`, or run with --strategy NAME. See: tapewright strategies list",
        )
    _check_indicators(config)
    return [_strategy_run(registry, entry, config, symbols) for entry in config.strategies]


def refuse_signals_only(runs: Sequence[StrategyRun], remedy: str) -> None:
    """Raise ConfigError for a strategy that needs all bars at once, where bars come one by one."""
    for run in runs:
        if run.strategy.signals is not None and not any(getattr(run.strategy, name) for name in _TOLD):
            raise ConfigError(
                f"{run.name} gives signals for bars only; on books and prints strategies are told as things happen",
                remedy=remedy,
            )


def _check_indicators(config: RunConfig) -> None:
    problems = []
    remedy = ""
    for index, spec in enumerate(config.indicators):
        try:
            timeframe = parse_spec(spec).timeframe
            if timeframe:
                length_over(timeframe, config.timeframe)
        except StrategyError as error:
            problems.append(f"indicators[{index}]: {error.message}")
            remedy = error.remedy
    if problems:
        raise ConfigError(f"{config.source}: indicators", problems=tuple(problems), remedy=remedy)


def _strategy_run(
    registry: Registry, entry: StrategyEntry, config: RunConfig, symbols: Sequence[str]
) -> StrategyRun:  # fmt: skip
    if entry.entry is not None and entry.exit is not None:
        strategy, params = registry.build_entry_exit(
            entry.entry.name, entry.entry.params, entry.exit.name, entry.exit.params, config.sizing,
            (entry.entry.timeframe or "", entry.exit.timeframe or ""),
        )  # fmt: skip
    else:
        strategy, params = registry.build(entry.name, entry.params)
    own = entry.symbols or config.symbols or symbols
    markets = tuple(symbols.index(symbol) for symbol in own)
    return StrategyRun(entry.id, strategy, params, markets, entry.timeframe)


def equity_curve(samples: NDArray[np.int64], start_ns: int, cash_decimals: int) -> EquityCurve:
    """One row a step of a run's samples (n, 4); the closing of positions at the end replaces the last step's row."""
    if len(samples) > 1 and samples[-1, 0] == samples[-2, 0]:
        samples = np.concatenate((samples[:-2], samples[-1:]))
    ts_ns, equity, exposure, margin = (np.ascontiguousarray(samples[:, word]) for word in range(4))
    if len(ts_ns):  # a session's clock runs already while its documents are written, before the first record
        start_ns = min(start_ns, int(ts_ns[0]))
    return EquityCurve(start_ns, ts_ns, equity, exposure, margin, cash_decimals)


def figures_of(
    result: RunResult, start_ns: int, config: RunConfig, bars: Sequence[Bars], band: EquityBand | None = None,
    like: Sequence[str] = (), curve: EquityCurve | None = None,
) -> tuple[EquityCurve, list[Trade], Metrics]:  # fmt: skip
    """The curve, the trades and every figure; `bars` are the markets' in order, none on books and prints.

    One market's closes give buy-and-hold. `like`: packages by whose definitions figures are wanted too. `curve`: the
    run's, where it is there already.
    """
    curve = curve or equity_curve(result.samples, start_ns, config.settings.cash_decimals)
    trades = with_risk(result.trades(), result, _sized_by_risk(config))
    figures = metrics_of(result, curve, trades, config, bars, band)
    alike = _like(like, result, curve, trades, config, bars) if like else {}
    return curve, trades, msgspec.structs.replace(figures, like=alike)


def metrics_of(
    result: RunResult, curve: EquityCurve, trades: Sequence[Trade], config: RunConfig, bars: Sequence[Bars],
    band: EquityBand | None = None,
) -> Metrics:  # fmt: skip
    """Every figure and the diagnostics of a run, or of one symbol's part of it."""
    settings = config.settings
    unit = Decimal(1).scaleb(-settings.cash_decimals)
    lost = fill_costs(result.outputs, result.scales, settings.slippage)
    costs = CostFigures(
        fees=result.figures["fees"] * unit, funding=result.figures["funding"] * unit,
        slippage=lost.slippage * unit, spread=lost.spread * unit,
    )  # fmt: skip
    figures = metrics(
        curve, trades, initial_cash=settings.initial_cash, costs=costs,
        closes=bars[0].close if len(bars) == 1 else None, annualise_short=config.diagnostics.annualise,
        open_since_ns=open_at_end(result)["ts_ns"].tolist(),
    )  # fmt: skip
    found = diagnose(
        result, curve, trades, bars, initial_units=to_units(settings.initial_cash, settings.cash_decimals),
        window_bars=config.diagnostics.regime_bars, band=band,
    )  # fmt: skip
    return msgspec.structs.replace(figures, diagnostics=found)


def _like(
    names: Sequence[str], result: RunResult, curve: EquityCurve, trades: Sequence[Trade], config: RunConfig,
    bars: Sequence[Bars],
) -> dict[str, LikeReport]:  # fmt: skip
    from engine.figures.like import like_input, like_report

    steps = trade_steps(result, trades)
    assert steps is not None, "a run with bars has steps"
    settings = config.settings
    made_of = like_input(
        curve, trades, initial_units=to_units(settings.initial_cash, settings.cash_decimals),
        bar_ns=timeframe_ns(config.timeframe), closes=bars[0].close if len(bars) == 1 else None, entry_bars=steps[0],
        exit_bars=steps[1],
    )  # fmt: skip
    return {name: like_report(name, made_of) for name in names}


def _sized_by_risk(config: RunConfig) -> dict[str, Decimal]:
    """Strategies whose entries the run itself sizes by the distance of a stop, and that fraction of the price."""
    if config.sizing.type != "risk":
        return {}
    return {entry.id: config.sizing.stop_distance for entry in config.strategies if entry.entry is not None}


def run_document(config: RunConfig, runs: Sequence[StrategyRun], result: RunResult) -> dict[str, Any]:
    """The facts of a run, as they stand beside its figures in metrics.json."""
    return {
        "hash": f"{result.hash:016x}",
        "fill_model": config.settings.execution.fill_model,
        "bars": result.bars,
        "fills": result.figures["fill_count"],
        "orders": result.figures["order_count"],
        "ambiguous_bars": result.figures["ambiguous_bars"],
        "strategies": [
            {"id": run.name, "params": run.params, "source_sha256": run.strategy.source_hash} for run in runs
        ],
        "instruments": [
            {
                "symbol": scale.instrument.symbol,
                "kind": scale.instrument.kind,
                "tick_size": str(scale.instrument.tick_size),
                "lot_size": str(scale.instrument.lot_size),
                "multiplier": str(scale.instrument.multiplier),
                "minimum_notional": str(scale.instrument.minimum_notional),
            }
            for scale in result.scales
        ],
        "config": to_document(config),
    }
