"""What a session shows of itself to whoever asks: read from the engine's memory at the moment of asking."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from adapters.captures.importing import software
from adapters.feeds.live import LiveFeed
from daemon.control import model
from daemon.control.stream import Broadcast, Subscription
from daemon.session.clock import SessionClock
from daemon.session.commanding import Commander
from daemon.session.feedwatch import FeedWatch
from daemon.session.narrator import Narrator
from daemon.session.pump import ROWS_WAITING_MAX, StorePump
from daemon.session.recorder import Recorder
from daemon.session.sequencer import RECORDS_WAITING_MAX, Sequencer
from engine.bars import NS_PER_MS, NS_PER_SECOND
from engine.kernels import layout
from engine.reading import STATES, TIFS, TYPES, Scale
from engine.tape_ctx import open_orders
from engine.tape_replay import TapeReplay

_BOOKS: dict[int, model.BookState] = {
    layout.BOOK_NONE: "none", layout.BOOK_VALID: "valid", layout.BOOK_INVALID_STATE: "invalid",
}  # fmt: skip
HALTS = {
    layout.HALT_NONE: "", layout.HALT_DRAWDOWN: "max_drawdown", layout.HALT_DAILY: "daily_loss_limit",
    layout.HALT_BANKRUPT: "bankrupt", layout.HALT_BY_COMMAND: "halted by command",
}  # fmt: skip


class SessionFacts(msgspec.Struct, frozen=True):
    """What does not change while a session runs."""

    name: str
    config_source: str
    started_ns: int
    exchange: str
    restarts: int


class SessionController:
    """The session as `daemon.control` asks for it."""

    def __init__(
        self, facts: SessionFacts, replay: TapeReplay, feed: LiveFeed, watch: FeedWatch, sequencer: Sequencer,
        recorder: Recorder, pump: StorePump, narrator: Narrator, commander: Commander, clock: SessionClock,
        broadcast: Broadcast, state: Callable[[], model.SessionState], applied_seq: Callable[[], int],
    ) -> None:  # fmt: skip
        self._facts = facts
        self._replay = replay
        self._feed = feed
        self._watch = watch
        self._sequencer = sequencer
        self._recorder = recorder
        self._pump = pump
        self._narrator = narrator
        self._commander = commander
        self._clock = clock
        self._broadcast = broadcast
        self._state = state
        self._applied_seq = applied_seq

    def status(self) -> model.Status:
        """The session now."""
        core = self._replay.engine.state.core
        scale = self._replay.scales[0]
        equity = int(core["cash"][0]) + int(core["floating"][0])
        peak = int(core["equity_peak"][0])
        now_ns = self._clock.now_ns()
        return model.Status(
            session=self._facts.name, mode="paper", state=self._state(), pid=os.getpid(), version=software(),
            config_source=self._facts.config_source, started_ns=self._facts.started_ns, now_ns=now_ns,
            seq=self._applied_seq(), acknowledged_seq=min(self._recorder.acknowledged_seq, self._pump.stored_seq),
            hash=f"{self._replay.engine.hash:016x}", equity=scale.money(equity), cash=scale.money(int(core["cash"][0])),
            exposure=scale.money(int(core["exposure"][0])),
            drawdown=max(0.0, (peak - equity) / peak) if peak > 0 else 0.0,
            halted=self._halted(int(core["halt"][0])),
            symbols=tuple(self._symbol(index, each, now_ns) for index, each in enumerate(self._replay.scales)),
            connections=tuple(self._connections(now_ns)), queues=self._queues(),
        )  # fmt: skip

    def _halted(self, code: int) -> str:
        reason = self._commander.halt_reason if code == layout.HALT_BY_COMMAND else ""
        return f"{HALTS[code]}: {reason}" if reason else HALTS[code]

    def _symbol(self, index: int, scale: Scale, now_ns: int) -> model.SymbolStatus:
        state = self._replay.engine.state
        book, instrument, symbol = state.books[index], state.instruments[index], scale.instrument.symbol
        is_valid = int(book["state"]) == layout.BOOK_VALID
        bid, ask = (book["best_bid"], book["best_ask"]) if is_valid else (0, 0)
        if int(book["state"]) == layout.BOOK_NONE:
            bid, ask = instrument["quote_bid"], instrument["quote_ask"]
        heard = self._feed.statistics.last_receive_ns()
        return model.SymbolStatus(
            symbol=symbol, book=_BOOKS[int(book["state"])], bid=_price(scale, bid), ask=_price(scale, ask),
            last=_price(scale, instrument["last"]), mark=_price(scale, instrument["mark"]),
            age_ms=(now_ns - int(book["book_ns"])) // NS_PER_MS if book["book_ns"] else None,
            last_message_ms={
                channel: (now_ns - last_ns) // NS_PER_MS
                for (channel, own), last_ns in heard.items() if own == symbol and last_ns
            },
        )  # fmt: skip

    def _connections(self, now_ns: int) -> list[model.ConnectionStatus]:
        now, frames = time.monotonic(), self._feed.statistics.frames
        return [
            model.ConnectionStatus(
                name=each.address, state=each.state, since_ns=now_ns - round((now - each.since) * NS_PER_SECOND),
                why=each.why, connects_count=each.connects, messages_count=frames[source],
            )
            for source, each in sorted(self._watch.connections.items())
        ]  # fmt: skip

    def _queues(self) -> tuple[model.QueueStatus, ...]:
        return (
            model.QueueStatus("records", self._sequencer.records_waiting, RECORDS_WAITING_MAX),
            model.QueueStatus("store", self._pump.rows_waiting, ROWS_WAITING_MAX),
        )

    def strategies(self) -> list[model.StrategyStatus]:
        """All strategies, in the order of the config."""
        return [self._strategy(index) for index in range(len(self._replay.runs))]

    def _strategy(self, index: int) -> model.StrategyStatus:
        run, fate = self._replay.runs[index], self._replay.fates[index]
        count, scales = len(self._replay.scales), self._replay.scales
        ledgers = self._replay.engine.state.ledgers[index * count : (index + 1) * count]
        return model.StrategyStatus(
            id=run.name, state=fate, why="" if fate == "running" else self._narrator.last_why.get(run.name, ""),
            params=dict(run.params), symbols=tuple(scales[market].instrument.symbol for market in run.markets),
            positions={
                scales[market].instrument.symbol: scales[market].size(int(ledgers["lots"][market]))
                for market in run.markets
            },
            orders_count=sum(len(list(self._working(index, market))) for market in run.markets),
            realised=scales[0].money(int(ledgers["realised"].sum())), fees=scales[0].money(int(ledgers["fees"].sum())),
            source_hash=run.strategy.source_hash,
            file=", ".join(str(path) for path in sorted(self._commander.files[index])),
        )  # fmt: skip

    def _working(self, index: int, market: int) -> Any:
        engine = self._replay.engine
        ledger = index * len(self._replay.scales) + market
        return (row for row in open_orders(engine, ledger) if row["state"] < layout.FILLED)

    def orders(self) -> list[model.OrderStatus]:
        """All orders that work."""
        return [
            self._order(run.name, self._replay.scales[market], row)
            for index, run in enumerate(self._replay.runs)
            for market in run.markets
            for row in self._working(index, market)
        ]

    def _order(self, strategy: str, scale: Scale, row: Any) -> model.OrderStatus:
        tick = scale.instrument.tick_size
        return model.OrderStatus(
            id=int(row["id"]), strategy=strategy, symbol=scale.instrument.symbol,
            side="buy" if row["lots"] > 0 else "sell", type=TYPES[int(row["type"])], state=STATES[int(row["state"])],
            time_in_force=TIFS[int(row["tif"])], size=scale.size(abs(int(row["lots"]))),
            filled=scale.size(int(row["filled_lots"])),
            price=int(row["limit_ticks"]) * tick if row["limit_ticks"] else None,
            stop_price=int(row["stop_ticks"]) * tick if row["stop_ticks"] else None, created_ns=int(row["arrive_ns"]),
        )  # fmt: skip

    def positions(self) -> list[model.PositionStatus]:
        """All positions that are not flat."""
        found = []
        count, state = len(self._replay.scales), self._replay.engine.state
        for index, run in enumerate(self._replay.runs):
            for market in run.markets:
                ledger, scale = state.ledgers[index * count + market], self._replay.scales[market]
                lots, cost = int(ledger["lots"]), int(ledger["cost"])
                if lots == 0:
                    continue
                mark = int(state.instruments["mark"][market])
                value = lots * mark * int(state.instruments["factor"][market])
                is_linear = scale.instrument.kind != "inverse"
                found.append(
                    model.PositionStatus(
                        strategy=run.name, symbol=scale.instrument.symbol, size=scale.size(lots),
                        entry_price=Decimal(str(scale.average_price(abs(cost), abs(lots)))), mark=_price(scale, mark),
                        unrealised=scale.money(value - cost) if is_linear else _inverse_pnl(scale, lots, mark, cost),
                        realised=scale.money(int(ledger["realised"])),
                    )
                )  # fmt: skip
        return found

    async def command(self, command: model.Command) -> model.CommandResult:
        """Apply a command; raises TapewrightError where it makes no sense."""
        return await self._commander.carry_out(command)

    def subscribe(self) -> contextlib.AbstractContextManager[Subscription]:
        """A stream of what happens."""
        return self._broadcast.subscribe()


def _price(scale: Scale, ticks: Any) -> Decimal | None:
    return int(ticks) * scale.instrument.tick_size if int(ticks) > 0 else None


def _inverse_pnl(scale: Scale, lots: int, mark: int, cost: int) -> Decimal:
    """The floating result of an inverse contract: what it is worth in the base currency, less what it cost."""
    if mark <= 0:
        return Decimal(0)
    worth = abs(lots) * scale.instrument.value_factor(scale.cash_decimals) // mark
    return scale.money((-worth if lots > 0 else worth) - cost)
