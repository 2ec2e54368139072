"""Calling a strategy's callbacks in Python: what the core stopped for, in the words of the contract."""

from __future__ import annotations

from typing import Any

from engine.book_engine import BookEngine
from engine.boundary import strategy_boundary
from engine.compiled import CompiledCallback
from engine.kernels import layout
from engine.reading import OrderReader, Scale, TradeReader
from engine.replay import StrategyRun
from engine.tape_ctx import GAP_REASONS, FundingEvent, Gap, Print, Side, TapeContext

NAMES = {
    layout.BOOK_EVENT: "on_book", layout.PRINT_EVENT: "on_print", layout.BAR_EVENT: "on_bar",
    layout.TIMER_EVENT: "on_timer", layout.ORDER_EVENT: "on_order", layout.FUNDING_EVENT: "on_funding",
    layout.GAP_EVENT: "on_gap",
}  # fmt: skip


class Runner:
    """One strategy on one market of a tape; `told` is the callback called last, with the host's time."""

    __slots__ = ("context", "market", "reader", "run", "told")

    def __init__(self, run: StrategyRun, market: int, context: TapeContext, reader: OrderReader) -> None:
        self.run = run
        self.market = market
        self.context = context
        self.reader = reader
        self.told: tuple[str, int] = ("", 0)

    def boundary(self, where: str) -> Any:
        """What the strategy's code raises inside becomes an error that names it and the place."""
        return strategy_boundary(self.run.name, self.run.strategy.path, self.context.symbol, where)


class Teller:
    """Turns an event of the core into the arguments of a callback, and calls it."""

    def __init__(self, engine: BookEngine, scales: tuple[Scale, ...], names: tuple[str, ...]) -> None:
        self._engine = engine
        self._scales = scales
        self._trades = TradeReader(scales, names)

    def call(self, event: int, runner: Runner, record: Any, bar_index: int) -> None:
        """Call what the event is for; `record` is the one consumed last, `bar_index` the bar's where it is one."""
        strategy, context = runner.run.strategy, runner.context
        match event:
            case layout.TIMER_EVENT:
                strategy.on_timer(context)  # type: ignore[misc]
            case layout.BOOK_EVENT:
                strategy.on_book(context)  # type: ignore[misc]
            case layout.PRINT_EVENT:
                strategy.on_print(context, self._print(record))  # type: ignore[misc]
            case layout.BAR_EVENT:
                strategy.on_bar(context, bar_index)  # type: ignore[misc]
            case layout.ORDER_EVENT:
                self._tell_order(runner)
            case layout.FUNDING_EVENT:
                strategy.on_funding(context, self._funding(record))  # type: ignore[misc]
            case _:
                strategy.on_gap(context, self._gap(record))  # type: ignore[misc]

    def _print(self, record: Any) -> Print:
        scale, flags = self._scales[int(record["instrument"])], int(record["flags"])
        side: Side = "" if flags & layout.SIDE_UNKNOWN else "sell" if flags & layout.SELL else "buy"
        return Print(
            scale.price(int(record["a"])), float(scale.size(int(record["b"]))), side, int(record["c"]),
            int(record["ts_exchange_ns"]) or int(record["ts_receive_ns"]),
        )  # fmt: skip

    def _funding(self, record: Any) -> FundingEvent:
        scale = self._scales[int(record["instrument"])]
        mark = int(record["b"]) / layout.MICRO * scale.tick if record["b"] else float("nan")
        return FundingEvent(int(record["a"]) / layout.E12, mark, int(record["ts_exchange_ns"]))

    def _gap(self, record: Any) -> Gap:
        if record["kind"] != layout.GAP:  # the book's own ids or prices make no sense
            return Gap("sequence", None, int(record["ts_receive_ns"]))
        lost = int(record["b"])
        reason = int(record["a"])
        name = GAP_REASONS[reason] if 0 <= reason < len(GAP_REASONS) else str(reason)
        return Gap(name, lost if lost >= 0 else None, int(record["ts_receive_ns"]))

    def _tell_order(self, runner: Runner) -> None:
        row = int(self._engine.state.core["event_row"][0])
        strategy, context = runner.run.strategy, runner.context
        on_order = strategy.on_order
        for each in self._engine.output_rows(row, 1).tolist():
            update = runner.reader.update(each)
            if update is not None and on_order is not None and not isinstance(on_order, CompiledCallback):
                on_order(context, update)
        if strategy.on_trade is None:
            return
        for each in self._engine.output_rows(row + 1, 1).tolist():
            if each[2] & 0xFF == layout.TRADE_OUTPUT:
                trade = self._trades.trade(each, fills=0)
                with runner.boundary("on_trade"):
                    strategy.on_trade(context, trade)
