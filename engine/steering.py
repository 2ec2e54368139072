"""How commands, and the end of a strategy that failed, reach the core: who is told, what is cancelled, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from engine.book_engine import BookEngine
from engine.book_state import CALLBACKS, Listener
from engine.commands import EVERY, Command, Flatten, Halt, Replace, Resume, StartStrategy, StopStrategy
from engine.compiled import CompiledCallback
from engine.isolation import Fate, Policy
from engine.kernels import layout
from engine.replay import StrategyRun

_NOTES: dict[Fate, int] = {
    "running": layout.RISK_STARTED, "stopped": layout.RISK_STOPPED, "faulted": layout.RISK_FAULTED,
    "quarantined": layout.RISK_QUARANTINED,
}  # fmt: skip


class Steered(Protocol):
    """The run as commands see it."""

    runs: list[StrategyRun]

    @property
    def fates(self) -> tuple[Fate, ...]:
        """What has become of each strategy."""

    def set_fate(self, strategy: int, fate: Fate) -> None:
        """Note what becomes of a strategy."""

    def set_run(self, strategy: int, run: StrategyRun) -> None:
        """Give a strategy other parameters or code."""


def listen_to(run: StrategyRun, timeframe_ns: int, state: NDArray[Any] | None) -> Listener:
    """What the core needs to know of a strategy: whom to call for what."""
    strategy = run.strategy
    targets = []
    for name in CALLBACKS:
        callback = getattr(strategy, name)
        if name == "on_order" and strategy.on_trade is not None and callback is None:
            callback = strategy.on_trade
        if isinstance(callback, CompiledCallback):
            targets.append(callback.address)
        else:
            targets.append(layout.TO_NOBODY if callback is None else layout.TO_HOST)
    timer = strategy.schema.timer_ms
    interval_ms = int(run.params[timer]) if isinstance(timer, str) and timer else int(timer or 0)
    return Listener(
        run.markets, timeframe_ns, interval_ms * layout.MICRO, tuple(targets),
        0 if state is None else state.ctypes.data, 0 if state is None else state.itemsize,
    )  # fmt: skip


class Steering:
    """Carries out commands on one engine."""

    def __init__(self, engine: BookEngine, policy: Policy) -> None:
        self._engine = engine
        self._policy = policy

    def carry_out(self, run: Steered, command: Command) -> None:
        """Do what a command says; nothing where it names a strategy or market that the run has not."""
        count = len(run.runs)
        match command:
            case StartStrategy() if 0 <= command.strategy < count:
                if run.fates[command.strategy] != "running":
                    self._note(command.strategy, layout.RISK_STARTED)
                    run.set_fate(command.strategy, "running")
            case StopStrategy() if 0 <= command.strategy < count:
                if run.fates[command.strategy] == "running":
                    run.set_fate(command.strategy, "stopped")
                    self._engine.mute(command.strategy)
                    self._cancel(command.strategy, run.runs[command.strategy].markets)
                    self._note(command.strategy, layout.RISK_STOPPED)
            case Replace() if 0 <= command.strategy < count:
                run.set_run(command.strategy, command.run)
                if run.fates[command.strategy] == "running":
                    run.set_fate(command.strategy, "running")
            case Flatten():
                self._flatten(run.runs, command)
            case Halt():
                self._request(kind=layout.HALT_REQUEST)
                for index, each in enumerate(run.runs):
                    self._cancel(index, each.markets)
            case Resume():
                self._request(kind=layout.RESUME_REQUEST)
            case StartStrategy() | StopStrategy() | Replace():
                pass  # of a strategy that this run has not
            case _:
                assert_never(command)

    def take_out(self, strategy: int, markets: Sequence[int], fate: Fate) -> None:
        """End a strategy that failed: it is told nothing more, its orders go, its position as the policy says."""
        self._engine.mute(strategy)
        self._cancel(strategy, markets)
        if self._policy.is_flattened:
            for market in markets:
                self._request(kind=layout.TARGET_REQUEST, strategy=strategy, instrument=market)
        self._note(strategy, _NOTES[fate])

    def _flatten(self, runs: Sequence[StrategyRun], command: Flatten) -> None:
        for index, each in enumerate(runs):
            if command.strategy not in (EVERY, index):
                continue
            markets = [market for market in each.markets if command.market in (EVERY, market)]
            self._cancel(index, markets)
            for market in markets:
                self._request(kind=layout.TARGET_REQUEST, strategy=index, instrument=market)

    def _cancel(self, strategy: int, markets: Sequence[int]) -> None:
        for market in markets:
            self._request(kind=layout.CANCEL_ALL_REQUEST, strategy=strategy, instrument=market)

    def _note(self, strategy: int, event: int) -> None:
        self._request(kind=layout.NOTE_REQUEST, strategy=strategy, tag=event)

    def _request(self, **fields: int) -> None:
        row = np.zeros(1, dtype=layout.REQUEST)
        for name, value in fields.items():
            row[name] = value
        self._engine.submit(row)
