"""A tape through the engine: strategies told of books, prints, bars, timers and their own orders, as they were live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, timeframe_ns
from engine.book_engine import BookEngine
from engine.book_state import CALLBACKS, Listener
from engine.boundary import strategy_boundary
from engine.columns import BarRow
from engine.commands import Command
from engine.compiled import CompiledCallback
from engine.ctx import LogLine
from engine.errors import StrategyError
from engine.isolation import Aborted, Failure, Fate, InterruptedCallbackError, Policy, Unwatched, Watch
from engine.kernels import layout
from engine.reading import OrderReader, scale_of
from engine.replay import Progress, RunResult, StrategyRun, packed
from engine.run_bars import RunBars
from engine.settings import RunSettings
from engine.steering import Steering, listen_to
from engine.tape_ctx import TapeAccount, TapeContext, open_orders
from engine.tape_input import TapeInput
from engine.telling import NAMES, Runner, Teller


class TapeReplay:
    """A run over a tape, batch by batch; ends at the tape's end or where the caller stops.

    Bars come from a first pass over the tape, or (`is_growing`) as the run builds them, after the history that it is
    given. `policy` says what becomes of it where a strategy fails, `aborted` which calls are known not to have ended,
    and `watch` looks after callbacks while they run.
    """

    def __init__(
        self, settings: RunSettings, tape: TapeInput, runs: Sequence[StrategyRun], timeframe: str = "1m", *,
        is_growing: bool = False, policy: Policy | None = None, aborted: Sequence[Aborted] = (),
        watch: Watch | None = None,
    ) -> None:  # fmt: skip
        self.tape = tape
        self.runs = list(runs)
        self.policy = policy or Policy()
        self.scales = tuple(scale_of(instrument, settings.cash_decimals) for instrument in tape.instruments)
        self.failures: list[Failure] = []
        self._watch: Watch = watch or Unwatched()
        self._aborted: Mapping[tuple[int, int], Aborted] = {(each.strategy, each.call): each for each in aborted}
        self._calls = [0] * len(runs)
        self._failed = 0
        self._fates: list[Fate] = ["running"] * len(runs)
        self._frames = [run.timeframe or timeframe for run in runs]
        self._compiled_states = [self._compiled_state(run) for run in runs]
        wanted = [(market, frame) for run, frame in zip(runs, self._frames, strict=True) for market in run.markets]
        self.engine = BookEngine(
            settings, tape.instruments, tape.markets,
            [self._listener(index, run) for index, run in enumerate(runs)],
            [(market, timeframe_ns(frame)) for market, frame in wanted], tape.latencies,
        )  # fmt: skip
        with_bars = [
            (market, frame) for run, frame in zip(runs, self._frames, strict=True)
            if run.strategy.on_bar is not None for market in run.markets
        ]  # fmt: skip
        self.bars = RunBars(self.engine, tape, settings, wanted, with_bars, is_growing=is_growing)
        self.account = TapeAccount(self.engine)
        self._states: list[dict[str, Any]] = [{} for _ in runs]
        self._runners = {
            (index, market): self._runner(index, run, market, self.bars.held((market, self._frames[index])))
            for index, run in enumerate(runs) for market in run.markets
        }  # fmt: skip
        self._teller = Teller(self.engine, self.scales, tuple(run.name for run in runs))
        self._steering = Steering(self.engine, self.policy)
        self._consumed = 0
        self._is_started = False

    def _compiled_state(self, run: StrategyRun) -> NDArray[Any] | None:
        make = run.strategy.compiled_state
        if make is None:
            return None
        rows = []
        for own in self.tape.instruments:
            with strategy_boundary(run.name, run.strategy.path, own.symbol, "compiled_state"):
                rows.append(np.atleast_1d(make(dict(run.params), own)))
            for name in CALLBACKS:
                callback = getattr(run.strategy, name)
                if isinstance(callback, CompiledCallback) and (rows[-1].dtype, len(rows[-1])) != (callback.state, 1):
                    raise StrategyError(
                        f"{run.name}: compiled_state gives {len(rows[-1])} × {rows[-1].dtype}, not the state of {name}",
                        remedy=f"Return an array of one row of {callback.state}.",
                    )
        return np.concatenate(rows)

    def _listener(self, index: int, run: StrategyRun) -> Listener:
        return listen_to(run, timeframe_ns(self._frames[index]), self._compiled_states[index])

    def _runner(self, index: int, run: StrategyRun, market: int, bars: Bars) -> Runner:
        context = TapeContext(
            bars, self.account, self.engine, self.scales[market],
            strategy=index, name=run.name, market=market, markets=len(self.tape.instruments), params=dict(run.params),
            state=self._states[index], log=self._log,
        )  # fmt: skip
        return Runner(run, market, context, OrderReader(self.scales))

    def _log(self, level: str, strategy: str, symbol: str, message: str) -> None:
        ts_ns = int(self.engine.state.core["ts_ns"][0])
        self.account.log.append(LogLine(ts_ns, level, strategy, symbol, message))

    @property
    def fates(self) -> tuple[Fate, ...]:
        """What has become of each strategy."""
        return tuple(self._fates)

    def start(self) -> None:
        """Call every `on_init`; raises StrategyError where one fails."""
        for (index, _), runner in self._runners.items():
            self._initialise(index, runner)
        self._is_started = True

    def _initialise(self, index: int, runner: Runner) -> None:
        on_init = runner.run.strategy.on_init
        if on_init is not None:
            runner.told = ("on_init", int(self.engine.state.core["ts_ns"][0]))
            self._call(index, runner, lambda: on_init(runner.context))

    def consume(self, records: NDArray[Any]) -> None:
        """Let the engine and the strategies go on over these records, the next ones of the tape."""
        position, wake = 0, layout.WAKE_DONE
        while True:
            position, wake = self.engine.advance(records, position, len(records))
            if wake != layout.WAKE_EVENT:
                break
            self._tell(records[position - 1])
        self.bars.collect()
        self._consumed += len(records)

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run from the start to the end and return everything; raises StrategyError where a strategy's code raises."""
        if not self._is_started:
            self.start()
        for records in self.tape.batches():
            self.consume(records)
            if progress is not None:
                progress(self._consumed, max(self.tape.records, self._consumed))
        return self.finish()

    def finish(self, *, is_ended: bool = True) -> RunResult:
        """Close the run: END (unless it only pauses here: `is_ended` False), then every `on_finish`."""
        if is_ended:
            end = np.zeros(1, dtype=layout.RECORD)
            end["kind"] = layout.END
            end["ts_receive_ns"] = end["ts_exchange_ns"] = self.engine.state.core["ts_ns"][0]
            self.engine.advance(end, 0, 1)
            for runner in self._runners.values():
                if runner.run.strategy.on_finish is not None:
                    with runner.boundary("on_finish"):
                        runner.run.strategy.on_finish(runner.context)
        core = self.engine.state.core
        return RunResult(
            outputs=self.engine.outputs(), samples=self.engine.samples(), hash=self.engine.hash, scales=self.scales,
            strategies=tuple(run.name for run in self.runs),
            figures={name: int(core[name][0]) for name in layout.FIGURES}, log=self.account.log, bars=self._consumed,
        )  # fmt: skip

    def _tell(self, record: Any) -> None:
        """Call the callback that the engine has stopped for."""
        core = self.engine.state.core
        event, strategy, market = (int(core[name][0]) for name in ("event", "event_strategy", "event_instrument"))
        runner = self._runners[strategy, market]
        bar_index = 0
        if event == layout.BAR_EVENT:
            bar_index = self.bars.show(runner.context, market, int(core["event_word"][0]))
            if bar_index < 0:
                return
        runner.told = (NAMES[event], int(core["ts_ns"][0]))
        self._call(strategy, runner, lambda: self._teller.call(event, runner, record, bar_index))

    def _call(self, strategy: int, runner: Runner, callback: Callable[[], object]) -> None:
        """Call a strategy's code, as its next call; what it raises is its own end, or the run's (see `policy`)."""
        call = self._calls[strategy] = self._calls[strategy] + 1
        aborted = self._aborted.get((strategy, call))
        if aborted is not None:
            self._repeat(aborted, runner)
            return
        self.account.asked.clear()
        try:
            try:
                self._watch.enter(strategy, call)
                callback()
            finally:
                self._watch.leave()
        except InterruptedCallbackError as error:
            self._interrupted(strategy, call, runner, str(error))
        except (Exception, SystemExit):
            if not self.policy.is_isolated or not self._is_started:
                with runner.boundary(runner.told[0]):
                    raise
            self._isolate(strategy, runner)

    def _isolate(self, strategy: int, runner: Runner) -> None:
        """Take out the strategy whose callback has just raised; what is no fault of its code goes on up."""
        try:
            with runner.boundary(runner.told[0]):
                raise  # noqa: PLE0704 - called while the exception is handled
        except StrategyError as error:
            self._fail(strategy, runner, error.message, "faulted", None)

    def _interrupted(self, strategy: int, call: int, runner: Runner, reason: str) -> None:
        """End a strategy whose call was interrupted: what the call has left behind is written down."""
        if not self._is_started:
            raise StrategyError(
                f"{runner.run.name}: {runner.told[0]} on {runner.context.symbol}: {reason}",
                remedy="Do less there: on_init is for setting up.",
            ) from None
        try:
            state = packed(self._states[strategy])
        except StrategyError:
            state = msgspec.msgpack.encode({})
        self._set_state(strategy, state)
        aborted = Aborted(strategy, call, tuple(self.account.asked), reason, state=state)
        self._fail(strategy, runner, f"{runner.told[0]} on {runner.context.symbol}: {reason}", aborted.fate, aborted)

    def _repeat(self, aborted: Aborted, runner: Runner) -> None:
        """Do what a call did that was interrupted then: its requests, and its end."""
        for words in aborted.requests:
            self.engine.submit(np.frombuffer(words, dtype=layout.REQUEST))
        if aborted.state is not None:
            self._set_state(aborted.strategy, aborted.state)
        message = f"{runner.told[0]} on {runner.context.symbol}: {aborted.reason}"
        self._fail(aborted.strategy, runner, message, aborted.fate, None)

    def _fail(self, strategy: int, runner: Runner, message: str, fate: Fate, aborted: Aborted | None) -> None:
        core = self.engine.state.core
        where, ts_ns = runner.told
        failure = Failure(
            self._failed, strategy, int(core["seq"][0]), ts_ns, runner.context.symbol, where, message, aborted
        )  # fmt: skip
        self._failed += 1
        self.failures.append(failure)
        self._fates[strategy] = fate
        self._steering.take_out(strategy, self.runs[strategy].markets, fate)

    def _set_state(self, strategy: int, packed: bytes) -> None:
        state = self._states[strategy]
        state.clear()
        state.update(msgspec.msgpack.decode(packed))

    def take_history(self, market: int, timeframe: str, rows: list[BarRow], partial: BarRow | None) -> None:
        """Take bars of before the run, or of a time that it has not seen, where some strategy has such bars."""
        bars = self.bars.take_history((market, timeframe), rows, partial)
        for runner in self._runners.values():
            if bars is not None and runner.market == market and runner.context.timeframe == timeframe:
                runner.context.show(len(bars), bars)

    def command(self, command: Command) -> None:
        """Carry out a command between two records; one that names what the run has not does nothing."""
        self._steering.carry_out(self, command)

    def set_fate(self, strategy: int, fate: Fate) -> None:
        """Note what has become of a strategy; one that runs again is told again, and initialised."""
        self._fates[strategy] = fate
        if fate != "running":
            return
        self.engine.listen(strategy, self._listener(strategy, self.runs[strategy]))
        for (index, market), runner in self._runners.items():
            if index != strategy:
                continue
            runner.reader.know(open_orders(self.engine, strategy * len(self.scales) + market))
            self._initialise(index, runner)
            if self._fates[strategy] != "running":
                return

    def set_run(self, strategy: int, run: StrategyRun) -> None:
        """Let a strategy go on with other parameters or code; its markets and bars stay."""
        run = msgspec.structs.replace(run, name=self.runs[strategy].name, markets=self.runs[strategy].markets)
        self._compiled_states[strategy] = self._compiled_state(run)
        self.runs[strategy] = run
        self.engine.know(strategy, self._listener(strategy, run))
        for (index, _), runner in self._runners.items():
            if index == strategy:
                runner.run = run
                runner.context.params = dict(run.params)

    def watchers(self) -> list[tuple[str, TapeContext, tuple[str, int]]]:
        """Each strategy on each of its markets: its name, its ctx, the callback called last and when (host's time)."""
        return [(runner.run.name, runner.context, runner.told) for runner in self._runners.values()]

    def snapshot(self) -> bytes:
        """The run between two batches: the engine, each `ctx.state` and what it showed, each compiled one's state."""
        return packed(
            {
                "engine": self.engine.snapshot(),
                "states": self._states,
                "compiled": [None if state is None else state.tobytes() for state in self._compiled_states],
                "consumed": self._consumed,
                "log": self.account.log,
                "shown": [
                    (runner.context.stop, runner.told, runner.context.ind.asked()) for runner in self._runners.values()
                ],
                "calls": self._calls,
                "failed": self._failed,
                "fates": self._fates,
                "bars": self.bars.snapshot(),
                "drained": self.engine.drained,
            }
        )

    def resume(self, snapshot: bytes) -> None:
        """Stand where a snapshot of the same run was taken; the records after it are to be consumed next."""
        found = msgspec.msgpack.decode(snapshot)
        if not self._is_started:
            self._start_again(found["fates"])
        self.engine.restore(found["engine"])
        self.engine.drained = found["drained"]
        for state, stored in zip(self._states, found["states"], strict=True):
            state.clear()
            state.update(stored)
        self._failed = found["failed"]
        for state_array, stored in zip(self._compiled_states, found["compiled"], strict=True):
            if state_array is not None:
                state_array[:] = np.frombuffer(stored, dtype=state_array.dtype)
        self._consumed = found["consumed"]
        self.account.log[:] = [msgspec.convert(line, LogLine) for line in found["log"]]
        self._calls = list(found["calls"])
        self._fates = list(found["fates"])
        for index, fate in enumerate(self._fates):
            if fate != "running":
                self.engine.mute(index)
        self.bars.restore(found["bars"])
        for (strategy, market), (stop, told, asked) in zip(self._runners, found["shown"], strict=True):
            self._show_again(strategy, market, stop, told, [_as_key(key) for key in asked])

    def _start_again(self, fates: Sequence[Fate]) -> None:
        """Call `on_init` for what code keeps outside `ctx.state`; all that it does to the run the snapshot knows."""
        for (index, _), runner in self._runners.items():
            on_init = runner.run.strategy.on_init
            if on_init is not None and fates[index] == "running":
                with suppress(StrategyError), runner.boundary("on_init"):
                    on_init(runner.context)
        self._is_started = True

    def _show_again(self, strategy: int, market: int, stop: int, told: list[Any], asked: list[tuple[Any, ...]]) -> None:
        runner = self._runners[strategy, market]
        self.bars.show_again(runner.context, market, stop)
        with suppress(StrategyError):  # an indicator of other code, which nobody asks for any more
            runner.context.ind.ask(asked)
        runner.told = (told[0], told[1])
        runner.reader.know(open_orders(self.engine, strategy * len(self.scales) + market))


def _as_key(value: Any) -> Any:
    """A key of an indicator as it was before a snapshot made lists of its tuples."""
    return tuple(_as_key(each) for each in value) if isinstance(value, list) else value
