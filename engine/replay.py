"""The run: events through the engine, strategies woken at the end of each step. One code for history and live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bar_runner import BarRunner
from engine.bars import Bars, FloatColumn
from engine.core import Engine
from engine.ctx import NEVER, Account, Context, LogLine
from engine.errors import StrategyError
from engine.figures.trades import Trade
from engine.frames import aggregate
from engine.indicators import IndicatorSpec
from engine.kernels import layout
from engine.market import EventStream, Market, event_stream, shown_bars
from engine.reading import OrderReader, Scale, TradeReader, scale_of, trades_of
from engine.schedule import Call, calls_in_order
from engine.settings import RunSettings
from engine.signals import signal_requests
from engine.strategy import InputValue, Strategy
from engine.uncut_ctx import UncutContext

_CHUNK = 8_192
_CALM_RECORDS = 4_096  # looked ahead at once: a position that ends sooner makes the rest a waste
_OUTPUTS_EACH_ORDER = 4  # NEW, ACTIVE, a fill, and every other time a trade
_ECHOES_MOST = 1_000
_ECHO_OUTPUTS_MOST = 20_000  # where each answer gives several updates, rounds grow too fast to be counted out


class StrategyRun(msgspec.Struct, frozen=True):
    """A strategy of a run: what it is called there, its parameters, the indexes of the markets it trades.

    `timeframe`: its own bars, made of the run's on stored bars and of prints on a tape; empty: the run's.
    """

    name: str
    strategy: Strategy
    params: dict[str, InputValue]
    markets: tuple[int, ...]
    timeframe: str = ""


class RunResult(msgspec.Struct, frozen=True):
    """What a run gave: every output and sample of the core, its chain, its log.

    `step_seqs`: the number of the last record of each step, for runs on bars.
    """

    outputs: NDArray[np.int64]
    samples: NDArray[np.int64]
    hash: int
    scales: tuple[Scale, ...]
    strategies: tuple[str, ...]
    figures: dict[str, int]
    log: list[LogLine]
    bars: int
    step_seqs: NDArray[np.int64] | None = None

    def trades(self) -> list[Trade]:
        """All closed trades with exact money, in the order in which they closed."""
        return trades_of(self.outputs, self.scales, self.strategies)


Progress = Callable[[int, int], None]
KnownIndicators = Mapping[IndicatorSpec, tuple[FloatColumn, ...]]


class Replay:
    """A run that can be driven to its end at once, or stopped, snapshot, and resumed after any bar."""

    engine_type: type[Engine] = Engine  # the look-ahead check listens in by types of its own
    context_type: type[Context] = Context

    def __init__(
        self, settings: RunSettings, markets: Sequence[Market], runs: Sequence[StrategyRun],
        known: Sequence[KnownIndicators] = (),
    ) -> None:  # fmt: skip
        """`known`: for each market, indicators of its `shown_bars` that need not be computed again."""
        self._known = known
        self.markets = tuple(markets)
        self.shown = tuple(shown_bars(market) for market in markets)  # those before the run's own among them
        self.runs = tuple(runs)
        self.stream: EventStream = event_stream(self.markets)
        self.engine = self.engine_type(settings, [market.instrument for market in markets], max(1, len(runs)),
                                       samples=len(self.stream.step_stops) + 8)  # fmt: skip
        self.scales = tuple(scale_of(market.instrument, settings.cash_decimals) for market in markets)
        self.account = Account(self.engine, self.stream.records)
        self._trade_reader = TradeReader(self.scales, [run.name for run in runs])
        self._states: list[dict[str, Any]] = [{} for _ in runs]
        self._runners = [self._runner(index, market) for index, run in enumerate(runs) for market in run.markets]
        self._told: list[NDArray[np.int64]] = []
        self._listens = any(run.strategy.on_order or run.strategy.on_trade for run in runs)
        self._is_asked_ahead = False
        self._bars = sum(len(market.bars) for market in markets)
        self._calls = 0
        self._calls_total = sum(len(runner.bar_stops) for runner in self._runners if runner.on_bar is not None)
        self._schedule: Iterator[Call] = iter(())

    def _runner(self, index: int, market: int) -> BarRunner:
        run = self.runs[index]
        own, steps, first = _bars_of(
            run, self.shown[market], self.stream.bar_steps[market], self.markets[market].first
        )  # fmt: skip
        # Who has a caller of its own stands between: whether `close` is read at a bar is for others to say.
        is_plain = run.strategy.bar_caller is None or self.context_type is not Context
        context = (self.context_type if is_plain else UncutContext)(
            own, self.account, self.scales[market], strategy=index, name=run.name, market=market,
            markets=len(self.markets), params=dict(run.params), state=self._states[index], log=self._log,
        )  # fmt: skip
        if self._known:
            base = self.markets[market].bars.timeframe
            for spec, columns in self._known[market].items():
                context.ind.know(msgspec.structs.replace(spec, timeframe=spec.timeframe or base), columns)
        if first:
            context.show(first)
        return BarRunner(
            run.name, run.strategy, index, market, context, bar_steps=steps, bar_stops=self.stream.step_stops[steps],
            orders=OrderReader(self.scales), trades=self._trade_reader, first=first,
        )  # fmt: skip

    def _log(self, level: str, strategy: str, symbol: str, message: str) -> None:
        stop = self.account.stop
        ts_ns = int(self.stream.records["ts_receive_ns"][stop - 1]) if stop else 0
        self.account.log.append(LogLine(ts_ns, level, strategy, symbol, message))

    def prepare(self) -> None:
        """Compile the core, or load it from its cache, before the clock of the loop starts."""
        self.engine.advance(self.stream.records, 0, 0)
        self.engine.submit(self.account.pending)
        if self._listens:
            self.engine.calm_until(self.stream.records, 0, 0)

    def start(self) -> None:
        """Call every `on_init`, and turn `signals` into requests."""
        pending: list[NDArray[Any]] = []
        for runner in self._runners:
            if runner.strategy.on_init is not None:
                with runner.boundary("on_init"):
                    runner.strategy.on_init(runner.context)
            if runner.strategy.bar_caller is not None:
                runner.on_bar = runner.strategy.bar_caller(runner.context)
            if runner.strategy.signals is not None:
                with runner.boundary("signals"):
                    pending.append(self._signals(runner))
        if pending:
            self.account.pending = pending[0] if len(pending) == 1 else _by_step(np.concatenate(pending))
            self.engine.reserve(_OUTPUTS_EACH_ORDER * len(self.account.pending))
            # Who listens is told of these at their bars, though no bar's call has asked for them.
            self._is_asked_ahead = self._listens
            self.account.calm_until = 0 if self._is_asked_ahead else NEVER
        self._schedule = calls_in_order(self._runners)

    def _signals(self, runner: BarRunner) -> NDArray[Any]:
        assert runner.strategy.signals is not None
        runner.context.show(len(runner.context.ts_ns))
        found = runner.strategy.signals(runner.context)
        runner.context.show(runner.first)
        scale = self.scales[runner.market]
        return signal_requests(found, runner.index, runner.market, scale, runner.bar_steps, runner.first)

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run from the start to the end and return everything; raises StrategyError where a strategy's code raises."""
        self.start()
        return self.finish(progress)

    def run_bars(self, count: int) -> int:
        """Make up to `count` more calls of `on_bar`; returns how many were made."""
        made = min(count, self._calls_total - self._calls)
        if made:
            self._call_bars(islice(self._schedule, made))
            self._calls += made
        return made

    def finish(self, progress: Progress | None = None) -> RunResult:
        """Run on to the end and return everything."""
        while self.run_bars(_CHUNK):
            if progress is not None and self._calls < self._calls_total:
                progress(self._calls, self._calls_total)
        self._follow(len(self.stream.records))
        for runner in self._runners:
            if runner.strategy.on_finish is not None:
                with runner.boundary("on_finish"):
                    runner.context.show(len(runner.context.ts_ns))
                    runner.strategy.on_finish(runner.context)
        if progress is not None:
            progress(self._bars, self._bars)
        return self._result()

    def so_far(self) -> RunResult:
        """What the run has given until where it stands: of one that somebody stopped, or whose strategy raised."""
        if not self._listens:  # who listens has been told up to here
            self.account.catch_up()
        return self._result()

    def samples_after(self, count: int) -> NDArray[np.int64]:
        """The samples taken so far, from the `count`th on; they stay as they are until the run's end."""
        return self.engine.samples_after(count)

    def run_all_bars(self) -> None:
        """Run every bar there is, without the end: what is open stays open."""
        while self.run_bars(_CHUNK):
            pass
        self._follow(len(self.stream.records) - 1)

    def watchers(self) -> list[tuple[str, Context, tuple[str, int]]]:
        """Each strategy on each of its markets: its name, its ctx, the callback called last and when (bar's close)."""
        return [(runner.name, runner.context, self._last_call(runner)) for runner in self._runners]

    def _last_call(self, runner: BarRunner) -> tuple[str, int]:
        stop = runner.context.stop - runner.first
        if runner.on_bar is None or not stop:
            return ("", 0)
        return "on_bar", int(self.stream.records["ts_receive_ns"][runner.bar_stops[stop - 1] - 1])

    def _call_bars(self, calls: Iterator[Call]) -> None:
        account = self.account
        runner, index = self._runners[0], 0
        try:
            for stop, index, (runner, context, show, on_bar) in calls:  # noqa: B007 - named where one of them raises
                if stop > account.calm_until:
                    self._follow(stop)
                    account.calm_until = 0 if self._is_asked_ahead else self._calm_until(stop)
                account.stop = stop
                show(index + 1)
                on_bar(context, index)
        except (Exception, SystemExit):
            with runner.boundary(f"on_bar at bar {index}"):
                raise

    def _calm_until(self, position: int) -> int:
        """How many records strategies may see before the engine, which has consumed `position`, has to follow."""
        if not self.engine.is_moving(self._listens):
            return NEVER
        end = min(position + _CALM_RECORDS, len(self.stream.records))
        return self.engine.calm_until(self.stream.records, position, end)

    def _follow(self, stop: int) -> None:
        """Bring the engine to `stop`; strategies that listen are told what happened, step by step."""
        account = self.account
        account.catch_up()
        if not self._listens:
            account.stop = stop
            account.catch_up()
            return
        self.engine.wake_on_updates()
        self._tell()
        while account.position < stop:
            account.position, _ = self.engine.advance(account.records, account.position, stop, account.pending)
            account.stop = account.position
            self._tell()

    def _tell(self) -> None:
        """Hand new outputs to `on_order` and `on_trade`; what they order is handed on in turn."""
        echoes = -1  # outputs that answers to the first ones caused
        for _ in range(_ECHOES_MOST):
            if not self.engine.has_outputs():
                return
            rows = self.engine.outputs()
            self._told.append(rows)
            echoes = 0 if echoes < 0 else echoes + len(rows)
            if echoes > _ECHO_OUTPUTS_MOST:
                break
            listed = rows.tolist()
            for runner in self._runners:
                runner.show(self.account.stop)
                runner.tell(listed)
        raise StrategyError(
            f"callbacks answered each other more than {_ECHOES_MOST} times at one bar"
            if echoes <= _ECHO_OUTPUTS_MOST
            else f"callbacks answered each other with more than {_ECHO_OUTPUTS_MOST} updates at one bar",
            remedy="Let on_order not send an order for every update of an order.",
        )

    def snapshot(self) -> bytes:
        """The run after the last bar made: the engine, each `ctx.state`, and where the run stands."""
        told = np.concatenate(self._told) if self._told else np.zeros((0, layout.OUTPUT_WORDS), dtype=np.int64)
        return packed(
            {
                "engine": self.engine.snapshot(),
                "states": self._states,
                "calls": self._calls,
                "position": self.account.position,
                "stop": self.account.stop,
                "calm_until": self.account.calm_until,
                "told": told.tobytes(),
                "log": self.account.log,
            }
        )

    def resume(self, snapshot: bytes) -> None:
        """Stand where a snapshot of the same run was taken; `finish` then runs on from there."""
        self.start()
        found = msgspec.msgpack.decode(snapshot)
        self.engine.restore(found["engine"])
        for state, stored in zip(self._states, found["states"], strict=True):
            state.clear()
            state.update(stored)
        account = self.account
        account.position, account.stop, account.calm_until = found["position"], found["stop"], found["calm_until"]
        account.log[:] = [msgspec.convert(line, LogLine) for line in found["log"]]
        self._calls = found["calls"]
        for _ in islice(self._schedule, self._calls):
            pass
        told = np.frombuffer(found["told"], dtype=np.int64).reshape(-1, layout.OUTPUT_WORDS)
        self._told = [told]
        listed = told.tolist()
        for runner in self._runners:
            runner.take_up(listed)

    def _result(self) -> RunResult:
        untold = self.engine.outputs()
        outputs = np.concatenate([*self._told, untold]) if self._told else untold
        core = self.engine.state.core
        return RunResult(
            outputs=outputs, samples=self.engine.samples(), hash=self.engine.hash,
            scales=self.scales, strategies=tuple(run.name for run in self.runs),
            figures={name: int(core[name][0]) for name in layout.FIGURES}, log=self.account.log, bars=self._bars,
            step_seqs=self.stream.step_stops,
        )  # fmt: skip


def _bars_of(
    run: StrategyRun, bars: Bars, steps: NDArray[np.int64], first: int
) -> tuple[Bars, NDArray[np.int64], int]:  # fmt: skip
    """The bars that a strategy gets: the market's, or higher ones of them.

    With them the step at whose end each is known, and how many are known before that: at the market's own `first`.
    """
    if run.timeframe in {"", bars.timeframe}:
        return bars, steps, first
    made = aggregate(bars, run.timeframe)
    own_first = int(made.known[first - 1]) if first else 0
    counts = np.arange(own_first + 1, len(made.bars) + 1)
    return made.bars, steps[np.searchsorted(made.known, counts) - first], own_first


def texts_of(runs: Sequence[StrategyRun]) -> list[str]:
    """Where strategies can name an indicator: their sources and their parameters."""
    sources = [file.source.decode(errors="replace") for run in runs for file in run.strategy.files]
    return [*sources, *(str(run.params) for run in runs)]


def packed(value: object) -> bytes:
    """What a snapshot keeps, `ctx.state` in it; raises StrategyError where that holds what no snapshot can keep."""
    try:
        return msgspec.msgpack.encode(value, enc_hook=plain_state)
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise StrategyError(
            f"ctx.state holds what no snapshot can keep: {error}",
            remedy="Keep numbers of up to 64 bits, texts, lists and dicts there, none within itself.",
        ) from None


def plain_state(value: object) -> object:
    """A value of `ctx.state` as a snapshot keeps it: numpy's numbers become Python's, equal to the bit."""
    if isinstance(value, np.generic):
        return value.item()
    raise StrategyError(
        f"ctx.state holds a {type(value).__name__}, which no snapshot can keep",
        remedy="Keep numbers, texts, lists and dicts there.",
    )


def _by_step(requests: NDArray[Any]) -> NDArray[Any]:
    return requests[np.argsort(requests["step"], kind="stable")]
