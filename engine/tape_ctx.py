"""`ctx` on a tape: beside what every strategy has, the order book, the last trade, the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
import numpy as np

from engine.book_engine import BookEngine
from engine.ctx import Account, Context, Sizes, whole_lots
from engine.kernels import layout
from engine.reading import Scale
from engine.strategy import InputValue

Side = Literal["buy", "sell", ""]


class Print(msgspec.Struct, frozen=True):
    """A trade at the venue. `side`: what the taker did, empty where the venue does not say."""

    price: float
    size: float
    side: Side
    id: int
    ts_ns: int


class FundingEvent(msgspec.Struct, frozen=True):
    """A funding settlement: its rate (a fraction), its mark price (NaN: the engine's own), its time."""

    rate: float
    mark: float
    ts_ns: int


class Gap(msgspec.Struct, frozen=True):
    """Data that were lost: why, how many records (None: not known)."""

    reason: str
    lost: int | None
    ts_ns: int


GAP_REASONS = ("", "disconnected", "sequence", "rot", "downtime", "crossed", "cut", "rejected")


def open_orders(engine: BookEngine, ledger: int) -> Iterator[Any]:
    """A ledger's rows of the order table, oldest first: also what has ended and is still to be reported."""
    state = engine.state
    slot = int(state.ledgers["first_order"][ledger])
    while slot >= 0:
        row = state.orders[slot]
        slot = int(row["next"])
        yield row


class TapeAccount(Account):
    """The account on a tape: the engine is always where the strategy looks."""

    __slots__ = ("asked", "is_busy", "offset", "ts_ns")

    def __init__(self, engine: BookEngine) -> None:
        super().__init__(engine, np.zeros(0, dtype=layout.RECORD))
        self.held, self.costs = "known_lots", "known_cost"
        self.ts_ns = 0
        self.asked: list[bytes] = []  # what the callback that runs has asked for, as REQUEST rows
        self.is_busy = False  # a request is being carried out: no moment to interrupt the callback

    def request(self, *values: Any, **fields: Any) -> int:
        """Carry out one request now, and remember it for as long as the callback runs."""
        self.is_busy = True
        try:
            identity = super().request(*values, **fields)
            self.asked.append(bytes(self._buffer))
        finally:
            self.is_busy = False
        return identity

    def catch_up(self) -> None:
        """Nothing to do: strategies are told while the engine stands still."""


class Book:
    """`ctx.book`: the order book between two messages. Prices as the venue prints them, sizes in units."""

    __slots__ = ("_engine", "_market", "_scale")

    def __init__(self, engine: BookEngine, market: int, scale: Scale) -> None:
        self._engine = engine
        self._market = market
        self._scale = scale

    @property
    def _row(self) -> Any:
        return self._engine.state.books[self._market]

    @property
    def is_valid(self) -> bool:
        """Whether the book can be trusted."""
        return bool(self._row["state"] == layout.BOOK_VALID)

    @property
    def update_id(self) -> int:
        """The venue's number of the last change."""
        return int(self._row["update_id"])

    @property
    def ts_ns(self) -> int:
        """When the last message was received, host's time."""
        return int(self._row["book_ns"])

    @property
    def bid_ticks(self) -> int:
        """The highest price bid, in ticks; 0 where there is none."""
        return int(self._row["best_bid"])

    @property
    def ask_ticks(self) -> int:
        """The lowest price asked, in ticks; 0 where there is none."""
        return int(self._row["best_ask"])

    @property
    def bid(self) -> float:
        """The highest price bid; NaN where there is none."""
        return self._price(self.bid_ticks)

    @property
    def ask(self) -> float:
        """The lowest price asked; NaN where there is none."""
        return self._price(self.ask_ticks)

    @property
    def mid(self) -> float:
        """Halfway between bid and ask; NaN where one is missing."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Ask less bid; NaN where one is missing."""
        return self.ask - self.bid

    @property
    def bid_size(self) -> float:
        """The size at the highest bid."""
        return self._size_of(self._engine.depth(self._market, layout.BID, 1))

    @property
    def ask_size(self) -> float:
        """The size at the lowest ask."""
        return self._size_of(self._engine.depth(self._market, layout.ASK, 1))

    def bids(self, levels: int = 10) -> list[tuple[float, float]]:
        """The best bids as (price, size), best first."""
        return self._levels(layout.BID, levels)

    def asks(self, levels: int = 10) -> list[tuple[float, float]]:
        """The best asks as (price, size), best first."""
        return self._levels(layout.ASK, levels)

    def depth_lots(self, side: Literal["bid", "ask"], levels: int) -> int:
        """The size of the best levels of a side together, in lots."""
        rows = self._engine.depth(self._market, layout.BID if side == "bid" else layout.ASK, levels)
        return int(rows[:, 1].sum())

    def average_price(self, size: float) -> float:
        """The average price at which `size` units (negative: to sell) could be taken now; NaN beyond the book."""
        lots = round(abs(size) / self._scale.lot)
        rows = self._engine.depth(self._market, layout.ASK if size > 0 else layout.BID, 1 << 30)
        reached = np.minimum(rows[:, 1], np.maximum(lots - (np.cumsum(rows[:, 1]) - rows[:, 1]), 0))
        if lots == 0 or int(reached.sum()) < lots:
            return math.nan
        total = sum(int(price) * int(part) for price, part in zip(rows[:, 0], reached, strict=True))
        return total / lots * self._scale.tick

    def _levels(self, side: int, levels: int) -> list[tuple[float, float]]:
        rows = self._engine.depth(self._market, side, levels)
        return [(self._scale.price(int(price)), float(self._scale.size(int(lots)))) for price, lots in rows]

    def _size_of(self, rows: Any) -> float:
        return float(self._scale.size(int(rows[0, 1]))) if len(rows) else 0.0

    def _price(self, ticks: int) -> float:
        return self._scale.price(ticks) if ticks > 0 else math.nan


class TapeSizes(Sizes):
    """`ctx.size` where there may be no bars: at the mark."""

    __slots__ = ("_engine", "_market")

    def __init__(self, context: TapeContext, engine: BookEngine, market: int, scale: Scale) -> None:
        super().__init__(context.portfolio, context, scale)
        self._engine = engine
        self._market = market

    def _price(self) -> float:
        return self._scale.price(int(self._engine.state.instruments["mark"][self._market])) or math.nan


class TapeContext(Context):
    """All that a strategy sees and can do on one market of a tape."""

    __slots__ = ("_engine", "book")

    def __init__(
        self, bars: Any, account: TapeAccount, engine: BookEngine, scale: Scale, *, strategy: int, name: str,
        market: int, markets: int, params: dict[str, InputValue], state: dict[str, Any],
        log: Callable[[str, str, str, str], None],
    ) -> None:  # fmt: skip
        super().__init__(bars, account, scale, strategy=strategy, name=name, market=market, markets=markets,
                         params=params, state=state, log=log)  # fmt: skip
        self._engine = engine
        self.book = Book(engine, market, scale)
        self.size = TapeSizes(self, engine, market, scale)

    @property
    def now_ns(self) -> int:
        """The host's time, UTC ns."""
        return int(self._engine.state.core["ts_ns"][0])

    @property
    def last(self) -> float:
        """The last trade's price; NaN before the first."""
        ticks = int(self._engine.state.instruments["last"][self._market])
        return self._scale.price(ticks) if ticks else math.nan

    @property
    def mark(self) -> float:
        """The mark price; NaN while there is none."""
        ticks = int(self._engine.state.instruments["mark"][self._market])
        return self._scale.price(ticks) if ticks else math.nan

    @property
    def position_lots(self) -> int:
        """What the strategy knows to hold, signed lots."""
        return self.position.lots()

    def whole_lots(self, units: float) -> int:
        """Units as whole lots, rounded down."""
        return whole_lots(float(units), self._scale)

    def send_lots(
        self, lots: int, price_ticks: int = 0, *, tif: str = "GTC", post_only: bool = False, tag: int = 0
    ) -> int:
        """Order signed lots, at a limit in ticks or (0) at the market; returns the order's id. For exact arithmetic."""
        return self._account.request(
            layout.ORDER_REQUEST, self._strategy, self._market, type=layout.LIMIT if price_ticks else layout.MARKET,
            tif={"GTC": layout.GTC, "IOC": layout.IOC, "FOK": layout.FOK}[tif],
            flags=layout.POST_ONLY if post_only else 0, lots=lots, limit_ticks=price_ticks, tag=tag,
        )  # fmt: skip

    def order_rows(self) -> list[tuple[int, int, int]]:
        """The strategy's orders as (id, signed lots, limit in ticks), oldest first; those it knows to be at work."""
        return [
            (int(row["id"]), int(row["lots"]), int(row["limit_ticks"]))
            for row in open_orders(self._engine, self._ledger)
            if row["known_state"] < layout.FILLED
        ]
