"""A run that hears what its strategies decide, and can be stopped at any moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn, timeframe_ns
from engine.core import NO_REQUESTS, Engine
from engine.errors import StrategyError
from engine.lookahead.decisions import Decision, Place, in_order, request_of
from engine.replay import Replay
from engine.series import Window

_CALLS_AT_ONCE = 8_192
Listener = Callable[[NDArray[Any]], None]


class ListeningEngine(Engine):
    """The core, with someone who hears each request before it is carried out."""

    listener: Listener | None = None

    def submit(self, requests: NDArray[Any]) -> int:
        """As the engine's own."""
        if self.listener is not None and len(requests):
            self.listener(requests)
        return super().submit(requests)


class IndicatorColumns(msgspec.Struct, frozen=True):
    """An output of an indicator that a strategy asked for on one of its markets, whole.

    `closes_ns`: when the bar of each value was over.
    """

    strategy: int
    market: int
    name: str
    values: FloatColumn
    closes_ns: NDArray[np.int64]


class Outcome(msgspec.Struct, frozen=True):
    """What a run came to: its decisions in order, the indicators and timeframes that its strategies asked for.

    `error`: what they raised, where they did; then `stopped_ns` is the close of the bar at which it happened.
    """

    decisions: list[Decision]
    indicators: list[IndicatorColumns]
    timeframes: tuple[str, ...]
    error: StrategyError | None = None
    stopped_ns: int = 0


class ObservedReplay(Replay):
    """A run whose decisions are heard. `until_ns`: the close of the last bar that it is to see; None: all of them."""

    engine_type = ListeningEngine

    def observe(
        self, until_ns: int | None = None, *, traced: AbstractContextManager[object] | None = None,
        traced_calls: int = 0,
    ) -> Outcome:  # fmt: skip
        """Run up to a moment, and say what was decided; `traced` is entered for the last so many calls of `on_bar`.

        What a strategy raises ends the run and is part of the outcome.
        """
        self._decisions: list[Decision] = []
        self._paths: Collection[str] = {file.path for run in self.runs for file in run.strategy.files}
        assert isinstance(self.engine, ListeningEngine)
        self.prepare()
        self.engine.listener = self._hear
        around = nullcontext() if traced is None else traced
        error = None
        stop = self._stop_at(until_ns)
        try:
            if any(run.strategy.signals is not None for run in self.runs):
                with around:
                    self.start()
            else:
                self.start()
            self._run_to(stop, around, traced_calls)
        except StrategyError as raised:
            error = raised
        made = [*self._decisions, *self._ahead(stop)]
        stopped_ns = self._time_of(self.account.stop)
        return Outcome(in_order(made), list(self._indicators()), self._timeframes(), error, stopped_ns)

    def _run_to(self, stop: int, around: AbstractContextManager[object], traced_calls: int) -> None:
        calls = sum(
            int(np.searchsorted(runner.bar_stops, stop, side="right"))
            for runner in self._runners
            if runner.on_bar is not None
        )
        plain = max(0, calls - traced_calls)
        while plain:
            plain -= self.run_bars(min(plain, _CALLS_AT_ONCE))
        if traced_calls:
            with around:
                self.run_bars(min(calls, traced_calls))
        self._follow(stop)

    def _stop_at(self, until_ns: int | None) -> int:
        """How many records have been seen when a moment is over; never the run's own end, which is no bar."""
        stops = self.stream.step_stops
        if until_ns is not None:
            closes = self.stream.records["ts_receive_ns"][stops - 1]
            stops = stops[: int(np.searchsorted(closes, until_ns, side="right"))]
        return int(stops[-1]) if len(stops) else 0

    def _time_of(self, stop: int) -> int:
        return int(self.stream.records["ts_receive_ns"][stop - 1]) if stop else 0

    def _hear(self, requests: NDArray[Any]) -> None:
        ts_ns, place = self._time_of(self.account.stop), self._place()
        self._decisions += [Decision(ts_ns, request_of(row), place) for row in requests]

    def _place(self) -> Place | None:
        """The innermost line of a strategy's own file that is being run."""
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the only way to a caller's line
        while frame is not None:
            if frame.f_code.co_filename in self._paths:
                return Place(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return None

    def _ahead(self, stop: int) -> Iterator[Decision]:
        """What `signals` asked for, up to a moment: all of it is there from the start."""
        if self.account.pending is NO_REQUESTS:
            return
        stops = self.stream.step_stops
        for row in self.account.pending:
            seen = int(stops[int(row["step"]) - 1])
            if seen > stop:
                break
            signals = self.runs[int(row["strategy"])].strategy.signals
            code = getattr(signals, "__code__", None)
            place = Place(code.co_filename, code.co_firstlineno) if code is not None else None
            yield Decision(self._time_of(seen), request_of(row), place)

    def _timeframes(self) -> tuple[str, ...]:
        return tuple(sorted({frame.timeframe for runner in self._runners for frame in runner.context.frames}))

    def _indicators(self) -> Iterator[IndicatorColumns]:
        for runner in self._runners:
            base = runner.context
            windows: list[tuple[str, Window]] = [(base.timeframe, base)]
            windows += [(frame.timeframe, frame) for frame in base.frames]
            for timeframe, window in windows:
                closes_ns = window.ts_ns + timeframe_ns(timeframe)
                for name, column in window.ind.columns():
                    yield IndicatorColumns(runner.index, runner.market, name, column, closes_ns)

    def bars_over(self, strategy: int, market: int, moment_ns: int) -> int:
        """How many bars of a strategy's own a moment has seen the end of."""
        for runner in self._runners:
            if (runner.index, runner.market) == (strategy, market):
                closes_ns = runner.context.ts_ns + timeframe_ns(runner.context.timeframe)
                return int(np.searchsorted(closes_ns, moment_ns, side="right"))
        return 0
