"""The runs that a check makes: each loads the strategies anew, so that nothing a module remembers is shared."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from adapters.bar_catalog import stored_paths
from adapters.bar_files import name_of, path_of, read_bars, write_bars
from config.model import RunConfig
from daemon.runs import strategy_runs
from engine.indicators import use_plugins
from engine.lookahead.observed import ObservedReplay
from engine.lookahead.veil import HighReplay, LowReplay
from engine.lookahead.worlds import Poison, copied, cut, other_bars, poisoned
from engine.market import Market
from engine.replay import texts_of
from strategies.plugins import load_named
from strategies.registry import Registry


class World(msgspec.Struct, frozen=True):
    """One way to run the config. `how` says what is other in it; `until_ns` is up to when it must be the same."""

    how: str
    make: Callable[[], ObservedReplay]
    until_ns: int | None = None


class Worlds:
    """Makes the runs of one config on its markets."""

    def __init__(self, home: Path, config: RunConfig, markets: Sequence[Market], seed: int) -> None:
        self._home = home
        self._config = config
        self._markets = tuple(markets)
        self._seed = seed

    def same(self) -> World:
        """The run as it is."""
        return World("run again", lambda: self._run(ObservedReplay, copied(self._markets)))

    def veiled(self) -> list[World]:
        """Runs that hold other values in memory for bars that are not over."""
        return [
            World("with high values in memory after each bar", lambda: self._run(HighReplay, copied(self._markets))),
            World("with low values in memory after each bar", lambda: self._run(LowReplay, copied(self._markets))),
        ]

    def without_later(self, moment_ns: int) -> World:
        """The run without the bars after a moment."""
        return World(
            "without later bars", lambda: self._run(ObservedReplay, cut(self._markets, moment_ns)), moment_ns
        )  # fmt: skip

    def with_other_later(self, moment_ns: int, poison: Poison) -> World:
        """The run with other bars after a moment."""
        return World(
            f"with other later bars ({poison})",
            lambda: self._run(ObservedReplay, poisoned(self._markets, moment_ns, poison, self._seed)),
            moment_ns,
        )

    def with_other_files(self, folder: Path) -> World:
        """The run itself, in a home whose stored bars are others: for code that reads files where nobody sees it."""
        return World(
            "with other bars in the stored files",
            lambda: self._run(ObservedReplay, copied(self._markets), folder),
        )

    @contextlib.contextmanager
    def other_home(self, folder: Path) -> Iterator[None]:
        """Fill a folder with the strategies and with other bars under the stored names; inside, be there."""
        strategies = self._home / "strategies"
        if strategies.is_dir():
            shutil.copytree(strategies, folder / "strategies", ignore=shutil.ignore_patterns("__pycache__"))
        ticks = {market.bars.symbol: market.instrument for market in self._markets}
        for path in stored_paths(self._home):
            named = name_of(path)
            if named is not None and named[0] in ticks:
                symbol, timeframe = named
                bars = other_bars(read_bars(path, symbol, timeframe), ticks[symbol], self._seed)
                target = path_of(folder, symbol, timeframe)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_bars(target, bars)
        before = os.environ.get("TAPEWRIGHT_HOME")
        os.environ["TAPEWRIGHT_HOME"] = str(folder)
        try:
            with contextlib.chdir(folder):
                yield
        finally:
            os.environ.pop("TAPEWRIGHT_HOME")
            if before is not None:
                os.environ["TAPEWRIGHT_HOME"] = before

    def _run(self, kind: type[ObservedReplay], markets: Sequence[Market], home: Path | None = None) -> ObservedReplay:
        folder = self._home if home is None else home
        runs = strategy_runs(Registry(folder), self._config, self._config.symbols)
        if home is not None:  # a plug-in that reads a file reads it there too
            plugins = load_named(folder, [*self._config.indicators, *texts_of(runs)])
            use_plugins(plugin.definition for plugin in plugins)
        return kind(self._config.settings, markets, runs)
