"""The composition root: builds the parts of a run and hands them down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.indicator_cache import provide
from adapters.result_files import run_places, write_results
from adapters.run_log import write_run_log
from adapters.summary import RunFacts
from config.model import RunConfig
from daemon.banding import band_of
from daemon.fallbacks import fallback_lines
from daemon.markets import LoadMarket, load_market
from daemon.runs import equity_curve, figures_of, run_document, strategy_runs
from daemon.stages import Quiet, Stages
from daemon.storing import store_failed
from daemon.storing_aside import Storing, begin_storing
from daemon.symbol_outputs import SymbolOutput, Trace, symbol_outputs, trace_of, write_journals, write_symbols
from engine.bars import Bars, timeframe_ns
from engine.errors import ConfigError, StrategyError, TapewrightError
from engine.figures.equity import EquityCurve
from engine.figures.metrics import Metrics
from engine.figures.trades import Trade
from engine.frames import length_over
from engine.indicators import parse_spec, use_plugins
from engine.kernels.compile import is_compiled
from engine.market import Market, shown_bars
from engine.replay import KnownIndicators, Replay, RunResult, StrategyRun, texts_of
from strategies.plugins import Plugin, load_named
from strategies.registry import Registry

if TYPE_CHECKING:
    from adapters.report.build import ReportInput


class Timings(msgspec.Struct, frozen=True):
    """Seconds of each stage of a run, monotonic clock.

    `journal` is written while the figures are computed, and `store` goes on beside all stages from the loop on: what is
    left of them when the others are through is in `write`.
    """

    load: float
    loop: float
    figures: float
    journal: float
    write: float
    total: float
    store: float = 0.0


class BacktestReport(msgspec.Struct, frozen=True):
    """A finished backtest: its figures, its files, how long it took.

    `symbols`: each symbol's part, where there are several. `journals`: the bar journal of each symbol.
    """

    run_id: str
    folder: Path
    facts: RunFacts
    result: RunResult
    trades: list[Trade]
    metrics: Metrics
    timings: Timings
    bars: tuple[Bars, ...]
    curve: EquityCurve
    symbols: tuple[SymbolOutput, ...]
    journals: dict[str, Path]
    store_trouble: TapewrightError | None = None
    """Why the run is not in the store, where it should be: its files are written all the same."""


def refuse_what_needs_a_tape(config: RunConfig) -> None:
    """Raise ConfigError where a config cannot be run on stored bars."""
    _refuse_no_symbols(config)
    _refuse_timeframes(config)


def _refuse_no_symbols(config: RunConfig) -> None:
    if not config.symbols:
        raise ConfigError(
            f"{config.source}: no symbol is named",
            remedy="Name them under `symbols:`. Without them a run takes all of a tape: tapewright replay TAPE CONFIG",
        )


def _refuse_timeframes(config: RunConfig) -> None:
    """Refuse strategies' own timeframes that bars of the run's do not make up."""
    problems, remedy = [], ""
    for index, entry in enumerate(config.strategies):
        try:
            length_over(entry.timeframe or config.timeframe, config.timeframe)
        except StrategyError as error:
            problems.append(f"strategies[{index}]: {error.message}")
            remedy = error.remedy
    if problems:
        raise ConfigError(f"{config.source}: timeframes", problems=tuple(problems), remedy=remedy)


def _facts(config: RunConfig, result: RunResult) -> RunFacts:
    return RunFacts(
        symbol="+".join(config.symbols),
        strategy="-".join(entry.id for entry in config.strategies),
        timeframe=config.timeframe,
        fill_model=config.settings.execution.fill_model,
        ambiguous_bars=result.figures["ambiguous_bars"],
        run_hash=f"{result.hash:016x}",
    )


def _indicators(
    home: Path, config: RunConfig, markets: Sequence[Market], stages: Stages
) -> list[KnownIndicators]:  # fmt: skip
    """What `indicators` names, for each market: from the cache, or computed and put there."""
    if not config.indicators:
        return []
    specs = [parse_spec(text) for text in config.indicators]
    found: list[KnownIndicators] = []
    for market in markets:
        columns, lines = provide(home, shown_bars(market), specs)
        found.append(columns)
        for line in lines:
            stages.stage(line)
    return found


class _Prepared(msgspec.Struct, frozen=True):
    """What a run is made of: its strategies and markets, the lines of its log about them, what is known already."""

    runs: list[StrategyRun]
    markets: list[Market]
    lines: list[str]
    known: list[KnownIndicators]
    plugins: list[Plugin]
    start_ns: int


class _Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """What has passed since the last lap was spent on this."""
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def timings(self, journal: float, store: float) -> Timings:
        """All laps, what lies between the first and the last, and what went on beside them."""
        return Timings(**self._laps, total=self._last - self._begun, journal=journal, store=store)


def _prepare(home: Path, config: RunConfig, load: LoadMarket, stages: Stages) -> _Prepared:
    refuse_what_needs_a_tape(config)
    use_plugins(plugin.definition for plugin in load_named(home, config.indicators))
    runs = strategy_runs(Registry(home), config, config.symbols)
    if config.data.download == "missing":
        from daemon.downloading import fetch_missing  # what REST needs is a fifth of a second that most runs do without

        fetch_missing(home, config, stages)
    plugins = load_named(home, [*config.indicators, *texts_of(runs)])
    use_plugins(plugin.definition for plugin in plugins)
    loaded = [load(home, symbol, config) for symbol in config.symbols]
    markets, lines = [market for market, _ in loaded], [line for _, own in loaded for line in own]
    for line in lines:
        stages.stage(line)
    count = sum(len(market.bars) for market in markets)
    stages.stage(f"Data loaded ({count:,} candles of {timeframe_ns(config.timeframe) // 10**9} s)")
    known = _indicators(home, config, markets, stages)
    start_ns = min((int(market.bars.ts_ns[0]) for market in markets if len(market.bars)), default=0)
    return _Prepared(runs, markets, lines, known, plugins, start_ns)


def _run(
    home: Path, config: RunConfig, prepared: _Prepared, storing: Storing, stages: Stages, watch: _Stopwatch
) -> tuple[RunResult, Trace]:  # fmt: skip
    """Drive the run to its end; one whose strategy raises is stored as failed, up to there.

    The replay ends here: its records and tables are as large as all that follows.
    """
    if not is_compiled():
        stages.stage("Compiling the engine: once for this version, some 20 seconds")
    replay = Replay(config.settings, prepared.markets, prepared.runs, prepared.known)
    watch.lap("load")
    replay.prepare()
    stages.stage("Starting backtest loop...")
    try:
        result = replay.run(storing.following(replay, stages.progress))
    except StrategyError as error:
        storing.abandon()
        store_failed(home, config, prepared.runs, replay, prepared.start_ns, error, stages)
        raise
    return result, trace_of(replay, prepared.known, config)


def backtest(
    home: Path, config: RunConfig, stages: Stages | None = None, *, like: Sequence[str] = (),
    load: LoadMarket = load_market,
) -> BacktestReport:  # fmt: skip
    """Run a config on stored data and write its results under the home folder.

    `like`: packages by whose definitions figures are wanted too. `load` brings the markets: from their files, or those
    that were kept. Raises a TapewrightError with its remedy for every expected trouble; then nothing is written.
    """
    stages, watch = stages or Quiet(), _Stopwatch()
    prepared = _prepare(home, config, load, stages)
    with begin_storing(home, config, prepared.runs, prepared.markets, prepared.start_ns) as storing:
        return _backtest(home, config, prepared, storing, stages, watch, like)


def _backtest(
    home: Path, config: RunConfig, prepared: _Prepared, storing: Storing, stages: Stages, watch: _Stopwatch,
    like: Sequence[str],
) -> BacktestReport:  # fmt: skip
    markets, start_ns = prepared.markets, prepared.start_ns
    result, trace = _run(home, config, prepared, storing, stages, watch)
    watch.lap("loop")
    stages.stage("Calculating metrics...")
    facts = _facts(config, result)
    places = run_places(home, config.symbols, facts.strategy, datetime.now(UTC))
    storing.end(places.folder.name, result)
    bars = tuple(market.bars for market in markets)
    fresh_runs = partial(strategy_runs, Registry(home), config, config.symbols)
    band = band_of(result, start_ns, config, markets, prepared.known, fresh_runs, stages)
    curve = equity_curve(result.samples, start_ns, config.settings.cash_decimals)
    with ThreadPoolExecutor(1, "journal") as beside:  # polars writes without Python's lock
        writing = beside.submit(_timed, partial(write_journals, places, config, markets, trace, result, curve))
        _, trades, figures = figures_of(result, start_ns, config, bars, band, like, curve)
        symbols = symbol_outputs(places, config, markets, trace, result, trades, facts)
        watch.lap("figures")
        journals, journal_seconds = writing.result()
    told = {symbol: path.relative_to(home).as_posix() for symbol, path in journals.items()}
    document = run_document(config, prepared.runs, result) | {"journals": told} | _plugin_facts(prepared.plugins)
    write_results(places.folder, trades=trades, equity=curve, metrics=figures, run=document)
    fallen = fallback_lines(config.settings, result, is_book=False)
    write_run_log(places.folder, result, prepared.lines + fallen)
    write_symbols(symbols, document, places.folder.name, told)
    store_trouble = storing.trouble()
    watch.lap("write")
    _tell(fallen, journals, symbols, places.folder, stages)
    timings = watch.timings(journal_seconds, storing.seconds)
    return BacktestReport(
        places.folder.name, places.folder, facts, result, trades, figures, timings, bars, curve, symbols, journals,
        store_trouble,
    )  # fmt: skip


def _timed(call: Callable[[], dict[str, Path]]) -> tuple[dict[str, Path], float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _plugin_facts(plugins: Sequence[Plugin]) -> dict[str, Any]:
    if not plugins:
        return {}
    facts = [{"name": each.definition.name, "source_sha256": each.definition.source_hash} for each in plugins]
    return {"indicators": facts}


def _tell(
    fallen: Sequence[str], journals: Mapping[str, Path], symbols: Sequence[SymbolOutput], folder: Path, stages: Stages
) -> None:
    for line in fallen:
        stages.stage(line)
    for path in journals.values():
        stages.stage(f"Journal: {path}")
    for output in symbols:
        stages.stage(f"{output.facts.symbol}: {output.folder}")
    stages.stage(f"Backtest completed: {folder}")


def report_input(finished: BacktestReport) -> ReportInput:
    """What the pictures and the page of a finished backtest are made of."""
    from adapters.report.build import ReportInput

    return ReportInput(
        finished.run_id, finished.facts.timeframe, finished.facts.fill_model, finished.result, finished.bars,
        finished.curve, finished.trades, finished.metrics,
    )  # fmt: skip


def symbol_report_input(output: SymbolOutput) -> ReportInput:
    """The same of one symbol of a run of several."""
    from adapters.report.build import ReportInput

    return ReportInput(
        output.folder.name, output.facts.timeframe, output.facts.fill_model, output.result, (output.bars,),
        output.curve, output.trades, output.metrics,
    )  # fmt: skip
