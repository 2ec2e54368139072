"""A tape through the engine: strategies told of books, prints, bars, timers and their own orders, as they were live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, timeframe_ns
from engine.book_engine import BookEngine
from engine.book_state import CALLBACKS, Latency, Listener, TapeMarket
from engine.boundary import strategy_boundary
from engine.compiled import CompiledCallback
from engine.ctx import LogLine
from engine.errors import StrategyError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.reading import OrderReader, scale_of, trades_of
from engine.replay import Progress, RunResult, StrategyRun, plain_state
from engine.settings import RunSettings
from engine.tape_ctx import GAP_REASONS, FundingEvent, Gap, Print, Side, TapeAccount, TapeContext, open_orders

Batches = Callable[[], Iterable[NDArray[Any]]]
_NAMES = {
    layout.BOOK_EVENT: "on_book", layout.PRINT_EVENT: "on_print", layout.BAR_EVENT: "on_bar",
    layout.TIMER_EVENT: "on_timer", layout.ORDER_EVENT: "on_order", layout.FUNDING_EVENT: "on_funding",
    layout.GAP_EVENT: "on_gap",
}  # fmt: skip


class TapeInput(msgspec.Struct, frozen=True):
    """What a run on a tape reads: instruments, what it holds of each; at each call all its records from the start."""

    instruments: tuple[Instrument, ...]
    markets: tuple[TapeMarket, ...]
    batches: Batches
    latencies: tuple[Latency, ...] = ()
    records: int = 0


def bars_of_tape(tape: TapeInput, settings: RunSettings, timeframes: Sequence[tuple[int, str]]) -> list[Bars]:
    """Bars built from the tape's prints, one Bars for each (instrument, timeframe): exactly those the engine builds."""
    pairs = [(market, timeframe_ns(timeframe)) for market, timeframe in timeframes]
    engine = BookEngine(settings, tape.instruments, tape.markets, (), pairs, tape.latencies)
    parts = []
    for records in tape.batches():
        engine.advance(records, 0, len(records))
        parts.append(engine.bar_rows())
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=layout.BAR_ROW)
    numbers = [(int(row["instrument"]), int(row["timeframe_ns"])) for row in engine.state.builders]
    return [
        _bars(
            rows[rows["builder"] == numbers.index((market, timeframe_ns(timeframe)))],
            tape.instruments[market],
            timeframe,
        )
        for market, timeframe in timeframes
    ]


def _bars(rows: NDArray[Any], instrument: Instrument, timeframe: str) -> Bars:
    def prices(name: str) -> NDArray[np.float64]:
        found, places = np.unique(rows[name], return_inverse=True)
        exact = np.array([float(int(ticks) * instrument.tick_size) for ticks in found], dtype=np.float64)
        return exact[places]

    volumes, places = np.unique(rows["volume"], return_inverse=True)
    exact = np.array([float(int(lots) * instrument.lot_size) for lots in volumes], dtype=np.float64)
    return Bars(
        instrument.symbol, timeframe, np.ascontiguousarray(rows["start_ns"]), prices("open"), prices("high"),
        prices("low"), prices("close"), exact[places],
    )  # fmt: skip


def _no_bars(instrument: Instrument, timeframe: str) -> Bars:
    empty = np.zeros(0)
    return Bars(instrument.symbol, timeframe, np.zeros(0, dtype=np.int64), empty, empty, empty, empty, empty)


class _Runner:
    """One strategy on one market of a tape; `told` is the callback called last, with the host's time."""

    __slots__ = ("context", "reader", "run", "told")

    def __init__(self, run: StrategyRun, context: TapeContext, reader: OrderReader) -> None:
        self.run = run
        self.context = context
        self.reader = reader
        self.told: tuple[str, int] = ("", 0)


class TapeReplay:
    """A run over a tape, batch by batch; ends at the tape's end or where the caller stops."""

    def __init__(
        self, settings: RunSettings, tape: TapeInput, runs: Sequence[StrategyRun], timeframe: str = "1m"
    ) -> None:  # fmt: skip
        self.tape = tape
        self.runs = tuple(runs)
        self.scales = tuple(scale_of(instrument, settings.cash_decimals) for instrument in tape.instruments)
        self._compiled_states = [self._compiled_state(run) for run in runs]
        frames = [run.timeframe or timeframe for run in runs]
        wanted = [(market, frame) for run, frame in zip(runs, frames, strict=True) for market in run.markets]
        with_bars = [
            (market, frame) for run, frame in zip(runs, frames, strict=True)
            if run.strategy.on_bar is not None for market in run.markets
        ]  # fmt: skip
        listeners = [self._listener(index, run, frames[index]) for index, run in enumerate(runs)]
        self.engine = BookEngine(
            settings, tape.instruments, tape.markets, listeners,
            [(market, timeframe_ns(frame)) for market, frame in wanted], tape.latencies,
        )  # fmt: skip
        bars = dict(zip(with_bars, bars_of_tape(tape, settings, with_bars), strict=True)) if with_bars else {}
        self.account = TapeAccount(self.engine)
        self._states: list[dict[str, Any]] = [{} for _ in runs]
        self._runners = {
            (index, market): self._runner(index, run, market, bars.get((market, frames[index])), frames[index])
            for index, run in enumerate(runs) for market in run.markets
        }  # fmt: skip
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

    def _listener(self, index: int, run: StrategyRun, timeframe: str) -> Listener:
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
        state = self._compiled_states[index]
        timer = strategy.schema.timer_ms
        interval_ms = int(run.params[timer]) if isinstance(timer, str) and timer else int(timer or 0)
        return Listener(
            run.markets, timeframe_ns(timeframe), interval_ms * layout.MICRO, tuple(targets),
            0 if state is None else state.ctypes.data, 0 if state is None else state.itemsize,
        )  # fmt: skip

    def _runner(self, index: int, run: StrategyRun, market: int, bars: Bars | None, timeframe: str) -> _Runner:
        context = TapeContext(
            bars or _no_bars(self.tape.instruments[market], timeframe), self.account, self.engine, self.scales[market],
            strategy=index, name=run.name, market=market, markets=len(self.tape.instruments), params=dict(run.params),
            state=self._states[index], log=self._log,
        )  # fmt: skip
        return _Runner(run, context, OrderReader(self.scales))

    def _log(self, level: str, strategy: str, symbol: str, message: str) -> None:
        ts_ns = int(self.engine.state.core["ts_ns"][0])
        self.account.log.append(LogLine(ts_ns, level, strategy, symbol, message))

    def start(self) -> None:
        """Call every `on_init`."""
        self._is_started = True
        for runner in self._runners.values():
            if runner.run.strategy.on_init is not None:
                with self._boundary(runner, "on_init"):
                    runner.run.strategy.on_init(runner.context)

    def _boundary(self, runner: _Runner, where: str) -> Any:
        return strategy_boundary(runner.run.name, runner.run.strategy.path, runner.context.symbol, where)

    def consume(self, records: NDArray[Any]) -> None:
        """Let the engine and the strategies go on over these records, the next ones of the tape."""
        position, wake = 0, layout.WAKE_DONE
        while True:
            position, wake = self.engine.advance(records, position, len(records))
            if wake != layout.WAKE_EVENT:
                break
            self._tell(records, position)
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

    def finish(self) -> RunResult:
        """Close the run: END, then every `on_finish`."""
        end = np.zeros(1, dtype=layout.RECORD)
        end["kind"] = layout.END
        end["ts_receive_ns"] = end["ts_exchange_ns"] = self.engine.state.core["ts_ns"][0]
        self.engine.advance(end, 0, 1)
        for runner in self._runners.values():
            if runner.run.strategy.on_finish is not None:
                with self._boundary(runner, "on_finish"):
                    runner.run.strategy.on_finish(runner.context)
        core = self.engine.state.core
        return RunResult(
            outputs=self.engine.outputs(), samples=self.engine.samples(), hash=self.engine.hash, scales=self.scales,
            strategies=tuple(run.name for run in self.runs),
            figures={name: int(core[name][0]) for name in layout.FIGURES}, log=self.account.log, bars=self._consumed,
        )  # fmt: skip

    def _tell(self, records: NDArray[Any], position: int) -> None:
        """Call the callback that the engine has stopped for."""
        core = self.engine.state.core
        event, strategy, market = (int(core[name][0]) for name in ("event", "event_strategy", "event_instrument"))
        runner = self._runners[strategy, market]
        runner.told = (_NAMES[event], int(core["ts_ns"][0]))
        try:
            self._call(event, runner, records, position)
        except Exception:
            with self._boundary(runner, _NAMES[event]):
                raise

    def _call(self, event: int, runner: _Runner, records: NDArray[Any], position: int) -> None:
        strategy, context = runner.run.strategy, runner.context
        match event:
            case layout.TIMER_EVENT:
                strategy.on_timer(context)  # type: ignore[misc]
            case layout.BOOK_EVENT:
                strategy.on_book(context)  # type: ignore[misc]
            case layout.PRINT_EVENT:
                strategy.on_print(context, self._print(records[position - 1]))  # type: ignore[misc]
            case layout.BAR_EVENT:
                builder = int(self.engine.state.core["event_word"][0])
                index = int(self.engine.state.builders["closed_count"][builder]) - 1
                context.show(index + 1)
                strategy.on_bar(context, index)  # type: ignore[misc]
            case layout.ORDER_EVENT:
                self._tell_order(runner)
            case layout.FUNDING_EVENT:
                strategy.on_funding(context, self._funding(records[position - 1]))  # type: ignore[misc]
            case _:
                strategy.on_gap(context, self._gap(records[position - 1]))  # type: ignore[misc]

    def _print(self, record: Any) -> Print:
        scale, flags = self.scales[int(record["instrument"])], int(record["flags"])
        side: Side = "" if flags & layout.SIDE_UNKNOWN else "sell" if flags & layout.SELL else "buy"
        return Print(
            scale.price(int(record["a"])), float(scale.size(int(record["b"]))), side, int(record["c"]),
            int(record["ts_exchange_ns"]) or int(record["ts_receive_ns"]),
        )  # fmt: skip

    def _funding(self, record: Any) -> FundingEvent:
        scale = self.scales[int(record["instrument"])]
        mark = int(record["b"]) / layout.MICRO * scale.tick if record["b"] else float("nan")
        return FundingEvent(int(record["a"]) / layout.E12, mark, int(record["ts_exchange_ns"]))

    def _gap(self, record: Any) -> Gap:
        if record["kind"] != layout.GAP:  # the book's own ids or prices make no sense
            return Gap("sequence", None, int(record["ts_receive_ns"]))
        lost = int(record["b"])
        reason = int(record["a"])
        name = GAP_REASONS[reason] if 0 <= reason < len(GAP_REASONS) else str(reason)
        return Gap(name, lost if lost >= 0 else None, int(record["ts_receive_ns"]))

    def _tell_order(self, runner: _Runner) -> None:
        row = int(self.engine.state.core["event_row"][0])
        strategy, context = runner.run.strategy, runner.context
        for update in runner.reader.updates(self.engine.output_rows(row, 1)):
            if strategy.on_order is not None and not isinstance(strategy.on_order, CompiledCallback):
                strategy.on_order(context, update)
        if strategy.on_trade is None:
            return
        after = self.engine.output_rows(row + 1, 1)
        if len(after) and int(after[0, 2]) & 0xFF == layout.TRADE_OUTPUT:
            trade = trades_of(after, self.scales, [run.name for run in self.runs])[0]
            with self._boundary(runner, "on_trade"):
                strategy.on_trade(context, trade)

    def watchers(self) -> list[tuple[str, TapeContext, tuple[str, int]]]:
        """Each strategy on each of its markets: its name, its ctx, the callback called last and when (host's time)."""
        return [(runner.run.name, runner.context, runner.told) for runner in self._runners.values()]

    def snapshot(self) -> bytes:
        """The run between two batches: the engine, each `ctx.state` and what it showed, each compiled one's state."""
        return msgspec.msgpack.encode(
            {
                "engine": self.engine.snapshot(),
                "states": self._states,
                "compiled": [None if state is None else state.tobytes() for state in self._compiled_states],
                "consumed": self._consumed,
                "log": self.account.log,
                "shown": [
                    (runner.context.stop, runner.told, runner.context.ind.asked()) for runner in self._runners.values()
                ],
            },
            enc_hook=plain_state,
        )

    def resume(self, snapshot: bytes) -> None:
        """Stand where a snapshot of the same run was taken; the records after it are to be consumed next."""
        if not self._is_started:
            self.start()
        found = msgspec.msgpack.decode(snapshot)
        self.engine.restore(found["engine"])
        for state, stored in zip(self._states, found["states"], strict=True):
            state.clear()
            state.update(stored)
        for state_array, stored in zip(self._compiled_states, found["compiled"], strict=True):
            if state_array is not None:
                state_array[:] = np.frombuffer(stored, dtype=state_array.dtype)
        self._consumed = found["consumed"]
        self.account.log[:] = [msgspec.convert(line, LogLine) for line in found["log"]]
        for (strategy, market), (stop, told, asked) in zip(self._runners, found["shown"], strict=True):
            runner = self._runners[strategy, market]
            runner.context.show(stop)
            runner.context.ind.ask([_as_key(key) for key in asked])
            runner.told = (told[0], told[1])
            runner.reader.know(open_orders(self.engine, strategy * len(self.scales) + market))


def _as_key(value: Any) -> Any:
    """A key of an indicator as it was before a snapshot made lists of its tuples."""
    return tuple(_as_key(each) for each in value) if isinstance(value, list) else value
