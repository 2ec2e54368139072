"""What a session says of itself: each step's orders, fills, trades and failures as lines, counts and stream items."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from daemon.control.stream import Broadcast, StreamKind
from daemon.logs import enter_line, exit_line, get_logger
from daemon.session.loop import Step
from engine.ctx import LogLine
from engine.figures.trades import Trade
from engine.isolation import Failure
from engine.kernels import layout
from engine.reading import LIQUIDITY, MODELS, REASONS, RISKS, STATES, Scale, trades_of

Row = list[int]
# Of more outputs in one step each is counted, but not told alone: nobody reads a thousand lines of one moment.
_TOLD_MOST = 500


class Narrator:
    """Hears of every step. `on_failure` is called for each strategy that was taken out."""

    def __init__(
        self, scales: tuple[Scale, ...], names: tuple[str, ...], broadcast: Broadcast,
        on_failure: Callable[[Failure], None],
    ) -> None:  # fmt: skip
        self.orders: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.settlements = 0
        self.last_why: dict[str, str] = {}
        self._scales = scales
        self._names = names
        self._broadcast = broadcast
        self._on_failure = on_failure
        self._log = get_logger("trading").bind()
        self._strategy_log = get_logger("strategy").bind()
        self._is_detailed = self._log.is_enabled_for(logging.DEBUG)

    def take(self, step: Step) -> None:
        """Tell what a step brought."""
        outputs = step.said.outputs
        if len(outputs):
            rows: list[Row] = outputs.tolist()
            self._count(rows)
            for row in rows[:_TOLD_MOST]:
                self._tell(row)
            if len(rows) > _TOLD_MOST:
                self._log.warning("many outputs in one step", count=len(rows), told=_TOLD_MOST)
            closed = [place for place, row in enumerate(rows) if row[2] & 0xFF == layout.TRADE_OUTPUT]
            if closed:
                for trade in trades_of(outputs[closed], self._scales, self._names):
                    self._closed(trade, int(step.said.last_seq))
        for line in step.lines:
            self._line(line)
        for failure in step.failures:
            self._failed(failure)

    def _count(self, rows: list[Row]) -> None:
        settled = set()
        for row in rows:
            head = row[2]
            kind, state = head & 0xFF, (head >> 8) & 0xFF
            if kind == layout.ORDER_OUTPUT:
                self.orders[STATES[state]] += 1
                if state == layout.REJECTED:
                    self.rejections[REASONS[(head >> 16) & 0xFF]] += 1
            elif kind == layout.FILL_OUTPUT:
                if row[3] > 0:
                    self.orders[STATES[state]] += 1
                self.models[MODELS[(head >> 24) & 0xFF]] += 1
            elif kind == layout.FUNDING_OUTPUT:
                settled.add((row[0], head >> 48))
        self.settlements += len(settled)

    def _tell(self, row: Row) -> None:
        head = row[2]
        facts = {"seq": row[0], "ts_ns": row[1]}
        match head & 0xFF:
            case layout.ORDER_OUTPUT:
                # A market maker's orders come by the thousand: what nobody reads is not made.
                if self._is_detailed or self._broadcast.is_watched or (head >> 8) & 0xFF == layout.REJECTED:
                    self._order(row, head, facts)
            case layout.FILL_OUTPUT:
                self._fill(row, head, facts)
            case layout.FUNDING_OUTPUT:
                self._funding(row, head, facts)
            case layout.RISK_OUTPUT:
                self._risk(row, head, facts)
            case _:
                pass  # a book stands beside its fill, a trade is told whole

    def _owner(self, head: int) -> tuple[str, Scale]:
        return self._names[(head >> 32) & 0xFFFF], self._scales[head >> 48 & 0xFFFF]

    def _order(self, row: Row, head: int, facts: dict[str, int]) -> None:
        strategy, scale = self._owner(head)
        state, reason = STATES[(head >> 8) & 0xFF], REASONS[(head >> 16) & 0xFF]
        order: dict[str, Any] = {
            "strategy": strategy, "symbol": scale.instrument.symbol, "order": row[3], "state": state,
            "size": scale.size(row[4]), "remaining": scale.size(row[5]),
        }  # fmt: skip
        if row[6]:
            order["price"] = row[6] * scale.instrument.tick_size
        if reason:
            order["reason"] = reason
        level = self._log.warning if state == "REJECTED" else self._log.debug
        level("order", **order, **facts)
        self._broadcast.publish(StreamKind.ORDER, str(row[3]), order | facts)

    def _fill(self, row: Row, head: int, facts: dict[str, int]) -> None:
        strategy, scale = self._owner(head)
        price, lots, ledger = row[5] * scale.instrument.tick_size, row[4], row[10]
        fill: dict[str, Any] = {
            "strategy": strategy, "symbol": scale.instrument.symbol, "order": row[3], "price": price,
            "size": scale.size(lots), "fee": scale.money(row[7]), "position": scale.size(ledger),
            "model": MODELS[(head >> 24) & 0xFF], "liquidity": LIQUIDITY[(head >> 16) & 0xFF],
        }  # fmt: skip
        self._log.info("fill", **fill, **facts)
        if ledger and abs(ledger) <= abs(lots) and (ledger > 0) == (lots > 0):
            self._log.info(enter_line(price), strategy=strategy, symbol=scale.instrument.symbol, order=row[3], **facts)
        self._broadcast.publish(StreamKind.FILL, str(row[3]), fill | facts)

    def _closed(self, trade: Trade, seq: int) -> None:
        line = exit_line(trade.exit_price, trade.pnl_percent)
        self._log.info(
            line, strategy=trade.strategy, symbol=trade.symbol, pnl=trade.pnl, fees=trade.fees, funding=trade.funding,
            trade=trade.trade_id, exit_reason=trade.exit_reason, seq=seq,
        )  # fmt: skip
        self._broadcast.publish(StreamKind.TRADE, f"{trade.trade_id}", trade)

    def _funding(self, row: Row, head: int, facts: dict[str, int]) -> None:
        strategy, scale = self._owner(head)
        paid = {
            "strategy": strategy, "symbol": scale.instrument.symbol, "rate": Decimal(row[3]).scaleb(-12),
            "size": scale.size(row[5]), "payment": scale.money(row[6]),
            "source": "static" if (head >> 16) & 0xFF == layout.BY_STATIC_RATE else "venue",
        }  # fmt: skip
        self._log.info("funding", **paid, **facts)
        self._broadcast.publish(StreamKind.FUNDING, scale.instrument.symbol, paid | facts)

    def _risk(self, row: Row, head: int, facts: dict[str, int]) -> None:
        event, owner = RISKS[(head >> 16) & 0xFF], (head >> 32) & 0xFFFF
        scale = self._scales[0]
        said: dict[str, Any] = {"event": event, "equity": scale.money(row[5])}
        if owner != layout.ACCOUNT_WIDE:
            said["strategy"] = self._names[owner]
        self._log.warning(
            f"risk: {event.replace('_', ' ')}", **{key: said[key] for key in said if key != "event"}, **facts
        )
        self._broadcast.publish(StreamKind.RISK, event, said | facts)

    def _line(self, line: LogLine) -> None:
        level = {"info": self._strategy_log.info, "warn": self._strategy_log.warning}.get(
            line.level, self._strategy_log.error
        )
        level(line.message, strategy=line.strategy, symbol=line.symbol, ts_ns=line.ts_ns)
        self._broadcast.publish(StreamKind.LOG, line.strategy, line)

    def _failed(self, failure: Failure) -> None:
        name = self._names[failure.strategy]
        self.faults[name] += 1
        self.last_why[name] = failure.message
        self._strategy_log.error(
            "strategy faulted: it is told nothing more, the others run on", strategy=name, symbol=failure.symbol,
            where=failure.where, why=failure.message, seq=failure.seq,
        )  # fmt: skip
        self._on_failure(failure)
