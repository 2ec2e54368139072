"""`backtest --watch`: the run again whenever config, strategies or plug-ins are saved, on bars that stay loaded."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import assert_never

import anyio
import msgspec

from config.loader import resolve
from config.model import RunConfig
from config.nodes import ListNode, MapNode, Node, ScalarNode
from daemon.app import BacktestReport, backtest
from daemon.kept_markets import KeptMarkets
from daemon.stages import Stages
from daemon.watching import watch_files
from engine.errors import TapewrightError

DEBOUNCE_MS = 400
_FOLDERS = ("custom", "builtins", "entry", "exit", "indicators")


class Rerun(msgspec.Struct, frozen=True):
    """One run of a watch, the first is number 1: its report, or the error that it ended with."""

    number: int
    saved: tuple[Path, ...]
    seconds: float
    report: BacktestReport | None = None
    error: TapewrightError | None = None


class Rerunner:
    """Runs one config as often as it is told to. Strategies are loaded anew each time, bars when they have changed."""

    def __init__(
        self, home: Path, config_file: Path, overrides: Sequence[str], strategy: str | None, stages: Stages,
        like: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._home = home
        self._config_file = config_file
        self._overrides = overrides
        self._strategy = strategy
        self._stages = stages
        self._like = like
        self._markets = KeptMarkets()
        self._configs = {config_file}
        self._words: frozenset[str] = frozenset()  # names that the config gives to strategies, empty: not known
        self.count = 0

    def paths(self) -> set[Path]:
        """What is watched: the config with what it builds on, and every strategy file of the home."""
        folders = [self._home / "strategies" / name for name in _FOLDERS]
        return self._configs | {path for folder in folders for path in folder.glob("*.py")}

    def counts(self, saved: Sequence[Path]) -> bool:
        """Whether a save can change the run: of the config, a plug-in, or a file that has a name of the config."""
        return any(
            path in self._configs
            or not self._words
            or path.parent.name == "indicators"
            or path.stem in self._words
            or any(word in _text(path) for word in self._words)
            for path in saved
        )

    def run(self, saved: Sequence[Path] = ()) -> Rerun:
        """Run once; trouble that is expected is part of what comes back."""
        self.count += 1
        begun = time.perf_counter()
        try:
            config = self._load()
            self._markets.forget_but(config.symbols)
            report = backtest(self._home, config, self._stages, like=self._like, load=self._markets.load)
        except TapewrightError as error:
            return Rerun(self.count, tuple(saved), time.perf_counter() - begun, error=error)
        finally:
            gc.collect()  # contexts and callbacks hold each other, and a run's tables with them
        return Rerun(self.count, tuple(saved), time.perf_counter() - begun, report=report)

    def _load(self) -> RunConfig:
        resolved = resolve(self._config_file, overrides=self._overrides, strategy=self._strategy)
        self._configs = {self._config_file} | {path for path in _origins(resolved.root) if path.is_file()}
        names = set()
        for entry in resolved.config.strategies:
            names |= {entry.name} | {part.name for part in (entry.entry, entry.exit) if part is not None}
        self._words = frozenset(names - {""})
        return resolved.config


def rerun_on_save(rerunner: Rerunner, tell: Callable[[Rerun], None]) -> None:
    """Run now, and again whenever something is saved that matters, until interrupted."""

    async def changed(files: frozenset[Path]) -> None:
        saved = sorted(files)
        if rerunner.counts(saved):
            with _interruptible():
                tell(rerunner.run(saved))

    async def watch() -> None:
        # Watched from before the first run on: what is saved while it runs is told after it.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: watch_files(rerunner.paths, debounce_ms=DEBOUNCE_MS, changed=changed))
            await anyio.sleep(0.1)
            with _interruptible():
                tell(rerunner.run())

    try:
        anyio.run(watch)
    except KeyboardInterrupt:
        return
    except BaseExceptionGroup as group:
        _, rest = group.split(KeyboardInterrupt)
        if rest is not None:
            raise


class _interruptible:  # noqa: N801 - it reads as a statement
    """Inside, Ctrl-C interrupts the run at once; the event loop would wait until it is over."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _origins(node: Node) -> Iterator[Path]:
    """The files in which a config's values stand."""
    yield Path(node.place.origin)
    match node:
        case MapNode():
            for entry in node.entries.values():
                yield from _origins(entry.node)
        case ListNode():
            for item in node.items:
                yield from _origins(item)
        case ScalarNode():
            return
        case _:
            assert_never(node)
