"""The look-ahead check of a config: the run, held against runs in which what comes later is missing or is other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.model import RunConfig
from daemon.app import refuse_what_needs_a_tape
from daemon.lookahead.ambient import Ambient, listening, telling_readers
from daemon.lookahead.explaining import Explainer
from daemon.lookahead.model import Finding, LookaheadReport
from daemon.lookahead.worlds import World, Worlds
from daemon.markets import load_market
from daemon.runs import strategy_runs
from daemon.stages import Stages
from engine.bars import IntColumn
from engine.errors import StrategyError
from engine.indicators import use_plugins
from engine.kernels.compile import is_compiled
from engine.lookahead.decisions import Difference, first_difference
from engine.lookahead.moments import moments
from engine.lookahead.observed import Outcome
from engine.lookahead.worlds import POISONS, closes_of
from engine.replay import StrategyRun, texts_of
from strategies.plugins import Plugin, load_named
from strategies.registry import SHIPPED, Registry

CUTS = 12
SEED = 1
_EXPLAINED_MOST = 5


def check_lookahead(
    home: Path, config: RunConfig, stages: Stages, *, cuts_most: int = CUTS, seed: int = SEED
) -> LookaheadReport:  # fmt: skip
    """Run the config over other futures and say what its decisions depended on.

    Raises as a backtest does where the config, the data or a strategy is broken.
    """
    begun = time.perf_counter()
    home = home.absolute()
    refuse_what_needs_a_tape(config)
    ambient = Ambient()
    with listening(ambient):
        use_plugins(plugin.definition for plugin in load_named(home, config.indicators))
        runs = strategy_runs(Registry(home), config, config.symbols)
        plugins = load_named(home, [*config.indicators, *texts_of(runs)])
        use_plugins(plugin.definition for plugin in plugins)
    markets = [load_market(home, symbol, config)[0] for symbol in config.symbols]
    count = sum(len(market.bars) for market in markets)
    stages.stage(f"Data loaded ({count:,} candles)")
    if not is_compiled():
        stages.stage("Compiling the engine: once for this version, some 20 seconds")
    worlds = Worlds(home, config, markets, seed)
    sources = [*texts_of(runs), *(plugin.source.decode(errors="replace") for plugin in plugins)]
    with telling_readers(sources), listening(ambient):
        check = _Check(home, worlds, runs, plugins, stages, count)
        check.run(closes_of(max((market.bars for market in markets), key=len)), cuts_most)
    findings = [*check.findings, *check.explainer.outside(ambient.found)]
    decided = {decision.strategy for decision in check.reference.decisions}
    idle = tuple(run.name for index, run in enumerate(runs) if index not in decided)
    return LookaheadReport(
        clean=not findings and not idle,
        findings=tuple(findings),
        idle=idle,
        decisions=len(check.reference.decisions),
        bars=count,
        cuts=tuple(check.cuts),
        runs=check.made,
        seed=seed,
        seconds=round(time.perf_counter() - begun, 3),
        notes=tuple(check.notes),
    )


class _Seen(msgspec.Struct, frozen=True):
    """A decision that moved, before it is explained."""

    world: World
    difference: Difference
    outcome: Outcome
    indicator: Finding | None


class _Check:
    """The runs of one check, and what they have found so far."""

    def __init__(
        self, home: Path, worlds: Worlds, runs: Sequence[StrategyRun], plugins: Sequence[Plugin], stages: Stages,
        bars: int,
    ) -> None:  # fmt: skip
        self._worlds = worlds
        self._runs = runs
        self._plugins = plugins
        self._stages = stages
        self._bars = bars
        self.made = 0
        self._total = 0
        self.cuts: list[int] = []
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        self.reference = Outcome([], [], ())
        self.explainer = Explainer(home, worlds, runs, plugins)
        self._seen: list[_Seen] = []
        self._indicators: list[Finding] = []

    def run(self, closes_ns: IntColumn, cuts_most: int) -> None:
        """Make all runs."""
        self.reference = self._outcome(self._worlds.same())
        if self.reference.error is not None:
            raise self.reference.error
        self.explainer.reference = self.reference
        again = self._worlds.same()
        difference = first_difference(self.reference.decisions, self._outcome(again).decisions)
        if difference is not None:
            self.findings.append(self.explainer.decision(again, difference, "not_repeatable"))
            self.notes.append("nothing else was compared: two runs of the same differ already")
            return
        is_ahead = any(run.strategy.signals is not None for run in self._runs)
        self.cuts = moments(
            closes_ns, self.reference.decisions, self.reference.timeframes, cuts_most, is_ahead=is_ahead
        )  # fmt: skip
        worlds = self._worlds.veiled() if any(run.strategy.on_bar is not None for run in self._runs) else []
        for place, moment in enumerate(self.cuts):
            worlds.append(self._worlds.with_other_later(moment, POISONS[place % len(POISONS)]))
            worlds.append(self._worlds.without_later(moment))
        has_files = self._has_own_code()
        self._total = self.made + len(worlds) + has_files
        for world in worlds:
            self._try(world)
        self._explain()
        if has_files:
            self._try_files()
        self._tell_progress(self._total)

    def _has_own_code(self) -> bool:
        """Whether any code but the shipped runs."""
        paths = [Path(file.path) for run in self._runs for file in run.strategy.files]
        paths += [plugin.path for plugin in self._plugins]
        shipped = [SHIPPED / name for name in ("builtins", "entry", "exit")]
        return any(path.resolve().parent not in shipped for path in paths)

    def _outcome(self, world: World) -> Outcome:
        found = world.make().observe(world.until_ns)
        self.made += 1
        if self.made < self._total:
            self._tell_progress(self.made)
        return found

    def _tell_progress(self, done: int) -> None:
        self._stages.progress(done * self._bars, self._total * self._bars)

    def _try(self, world: World) -> None:
        outcome = self._outcome(world)
        difference = first_difference(self.reference.decisions, outcome.decisions, world.until_ns)
        if difference is None and outcome.error is not None:
            difference = Difference(len(outcome.decisions), None, None)
        indicator = self.explainer.indicator(world, outcome)
        if difference is not None:
            light = Outcome([], [], (), outcome.error, outcome.stopped_ns)
            self._seen.append(_Seen(world, difference, light, indicator))
        elif indicator is not None:
            self._indicators.append(indicator)

    def _explain(self) -> None:
        """Explain the earliest of what moved at each line that asked; later ones may follow from it."""
        lines: set[object] = set()
        causes: list[object] = []
        for seen in sorted(self._seen, key=_moment_of):
            is_error = seen.difference.was is None and seen.difference.became is None
            line = "error" if is_error else (seen.difference.first.strategy, seen.difference.first.place)
            if line in lines or len(lines) >= _EXPLAINED_MOST:
                continue
            lines.add(line)
            finding = (
                self.explainer.raised(seen.world, seen.outcome)
                if is_error
                else self.explainer.decision(seen.world, seen.difference, "decision", seen.outcome, seen.indicator)
            )
            if finding.cause is None or finding.cause.line not in causes:
                self.findings.append(finding)
            causes.append(finding.cause.line if finding.cause is not None else None)
        told = {(each.strategy, each.indicator.name) for each in self.findings if each.indicator is not None}
        for finding in self._indicators:
            assert finding.indicator is not None
            key = (finding.strategy, finding.indicator.name)
            if key not in told:
                told.add(key)
                self.findings.append(finding)

    def _try_files(self) -> None:
        with tempfile.TemporaryDirectory(prefix="tapewright-") as name, listening(Ambient()):
            folder = Path(name).resolve()
            world = self._worlds.with_other_files(folder)
            with self._worlds.other_home(folder):
                try:
                    outcome = self._outcome(world)
                except StrategyError as error:
                    outcome = Outcome([], [], (), error)
                difference = first_difference(self.reference.decisions, outcome.decisions)
                if difference is not None:
                    self.findings.append(self.explainer.files(world, difference, outcome, folder))


def _moment_of(seen: _Seen) -> int:
    """When a decision moved; a run that raised did so at its end."""
    if seen.difference.was is None and seen.difference.became is None:
        return seen.outcome.stopped_ns
    return seen.difference.first.ts_ns
