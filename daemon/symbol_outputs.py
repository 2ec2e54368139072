"""What a backtest writes of each of its symbols: the bar journal and, where there are several, a results folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.bar_journal import write_journal
from adapters.result_files import RunPlaces, write_results
from adapters.summary import RunFacts
from config.model import RunConfig
from daemon.runs import metrics_of
from engine.bars import Bars, IntColumn, timeframe_ns
from engine.figures import money
from engine.figures.equity import EquityCurve
from engine.figures.metrics import Metrics
from engine.figures.trades import Trade
from engine.journal import ROWS, IndicatorColumn, JournalInput, indicator_columns, journal_pieces
from engine.kernels import layout
from engine.market import Market
from engine.precision import to_units
from engine.replay import KnownIndicators, Replay, RunResult
from engine.symbol_accounts import Moves, Timeline, moves_of, symbol_curve, timeline_of

_INSTRUMENT_BITS = 48


class Trace(msgspec.Struct, frozen=True):
    """What is kept of a replay when it is over: its steps, and for each market its journal's indicators."""

    timeline: Timeline
    indicators: tuple[tuple[IndicatorColumn, ...], ...]


class SymbolOutput(msgspec.Struct, frozen=True):
    """One symbol of a run of several: its part of the account, as if it had the initial cash to itself."""

    folder: Path
    facts: RunFacts
    result: RunResult
    bars: Bars
    curve: EquityCurve
    trades: list[Trade]
    metrics: Metrics


def trace_of(replay: Replay, known: Sequence[KnownIndicators], config: RunConfig) -> Trace:
    """Keep of a finished replay what the outputs of its symbols need besides its result."""
    indicators: list[tuple[IndicatorColumn, ...]] = []
    if config.journal.enabled:
        contexts = [context for _, context, _ in replay.watchers()]
        for index, market in enumerate(replay.markets):
            own = [context for context in contexts if context.symbol == market.bars.symbol]
            given = known[index] if known else {}
            indicators.append(indicator_columns(replay.shown[index], given, own, market.first))
    return Trace(timeline_of(replay.stream), tuple(indicators))


def write_journals(
    places: RunPlaces, config: RunConfig, markets: Sequence[Market], trace: Trace, result: RunResult, curve: EquityCurve
) -> dict[str, Path]:
    """Write the journal of each symbol; symbol → path, nothing where journals are switched off."""
    if not config.journal.enabled:
        return {}
    moves = moves_of(result.outputs, trace.timeline)
    initial = money.to_units(config.settings.initial_cash, curve.cash_decimals)
    written = {}
    for index, market in enumerate(markets):
        indicators = trace.indicators[index]
        given = JournalInput(
            index, market.bars, result.scales[index], result.outputs, moves, trace.timeline, curve.equity, initial,
            indicators,
        )  # fmt: skip
        symbol = market.bars.symbol
        names = [column.name for column in indicators]
        written[symbol] = write_journal(places.journals[symbol], symbol, journal_pieces(given), names, ROWS)
    return written


def symbol_outputs(
    places: RunPlaces, config: RunConfig, markets: Sequence[Market], trace: Trace, result: RunResult,
    trades: Sequence[Trade], facts: RunFacts,
) -> tuple[SymbolOutput, ...]:  # fmt: skip
    """The figures of each symbol of a run of several; nothing for one symbol, whose figures are the run's."""
    if len(markets) == 1:
        return ()
    moves = moves_of(result.outputs, trace.timeline)
    return tuple(
        _output(places.folders[market.bars.symbol], config, market, index, trace.timeline, moves, result, trades, facts)
        for index, market in enumerate(markets)
    )


def write_symbols(
    symbols: Sequence[SymbolOutput], document: Mapping[str, Any], account: str, journals: Mapping[str, str]
) -> None:
    """Write the folder of each symbol; `document` is the run's, `account` the name of its own folder."""
    for index, output in enumerate(symbols):
        symbol, figures = output.facts.symbol, output.result.figures
        left_out = {"ambiguous_bars", "journals"}  # counted for the account only; named by its own field
        own = {name: value for name, value in document.items() if name not in left_out} | {
            "symbol": symbol,
            "account": account,
            "bars": len(output.bars),
            "fills": figures["fill_count"],
            "orders": figures["order_count"],
            "instruments": [document["instruments"][index]],
            "journal": journals.get(symbol),
        }
        write_results(output.folder, trades=output.trades, equity=output.curve, metrics=output.metrics, run=own)


def _output(
    folder: Path, config: RunConfig, market: Market, index: int, timeline: Timeline, moves: Moves, result: RunResult,
    trades: Sequence[Trade], facts: RunFacts,
) -> SymbolOutput:  # fmt: skip
    bars, settings = market.bars, config.settings
    closes = to_units(bars.close, market.instrument.tick_size, f"{bars.symbol} close")
    rows = symbol_curve(moves, index, timeline, market.instrument, settings, closes)
    initial = money.to_units(settings.initial_cash, settings.cash_decimals)
    steps = timeline.bar_steps[index].copy()
    steps[-1:] = len(timeline) - 1  # the last row is the run's last: positions may be closed at its end
    curve = EquityCurve(
        int(bars.ts_ns[0]) if len(bars) else 0, bars.ts_ns + timeframe_ns(bars.timeframe), rows.gain[steps] + initial,
        rows.exposure[steps], rows.margin[steps], settings.cash_decimals,
    )  # fmt: skip
    own_trades = [trade for trade in trades if trade.symbol == bars.symbol]
    own_result = _restricted(result, index, bars, curve, initial, timeline.bar_steps[index])
    figures = metrics_of(own_result, curve, own_trades, config, (bars,))
    own_facts = msgspec.structs.replace(facts, symbol=bars.symbol, ambiguous_bars=None)
    return SymbolOutput(folder, own_facts, own_result, bars, curve, own_trades, figures)


def _restricted(
    result: RunResult, index: int, bars: Bars, curve: EquityCurve, initial: int, steps: IntColumn
) -> RunResult:  # fmt: skip
    """The result with the outputs of one instrument only, as the only instrument there is.

    What the engine counts for the account alone (its hash, ambiguous bars) stays the account's.
    """
    heads = result.outputs[:, 2]
    outputs = result.outputs[(heads >> _INSTRUMENT_BITS == index) & ((heads & 0xFF) != layout.RISK_OUTPUT)]
    outputs[:, 2] &= (1 << _INSTRUMENT_BITS) - 1
    kinds = outputs[:, 2] & 0xFF
    fills, paid = outputs[kinds == layout.FILL_OUTPUT], outputs[kinds == layout.FUNDING_OUTPUT]
    placed = (kinds == layout.ORDER_OUTPUT) & (outputs[:, 2] >> 8 & 0xFF == layout.NEW)
    figures = result.figures | {
        "fees": int(fills[:, 7].sum()), "realised": int(fills[:, 8].sum()), "funding": int(paid[:, 6].sum()),
        "fill_count": len(fills), "order_count": int(placed.sum()),
        "trade_count": int((kinds == layout.TRADE_OUTPUT).sum()),
    }  # fmt: skip
    figures["cash"] = initial + figures["realised"] - figures["fees"] - figures["funding"]
    figures["floating"] = (int(curve.equity[-1]) if len(curve) else initial) - figures["cash"]
    samples = np.column_stack((curve.ts_ns, curve.equity, curve.exposure, curve.margin))
    return msgspec.structs.replace(
        result, outputs=outputs, samples=samples, scales=(result.scales[index],), figures=figures, bars=len(bars),
        step_seqs=None if result.step_seqs is None else result.step_seqs[steps],
    )  # fmt: skip
