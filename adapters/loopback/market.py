"""What a source of a market gives: frames in its own time, a book to ask for, and what is common to all sources.

A source never waits. Whoever plays it asks when the next thing happens, waits for that, and has it happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from adapters.loopback.candles import Candles
from adapters.loopback.frames import Channel, Frame, MarkUpdate, encoded
from adapters.loopback.funding import Funding
from adapters.loopback.timeline import Timeline
from engine.bars import NS_PER_SECOND

Level = tuple[str, str]


class ListedMarket(msgspec.Struct, frozen=True):
    """One instrument as exchangeInfo lists it; decimals are those of the texts."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    price_decimals: int
    size_decimals: int


class DepthSnapshot(msgspec.Struct, frozen=True):
    """A book with the id of the last update in it; bids fall, asks rise."""

    last_id: int
    stamp_ms: int
    bids: list[Level]
    asks: list[Level]


class Board:
    """What is known of one instrument besides its book: candles, funding, mark price."""

    def __init__(self, listed: ListedMarket, funding_seconds: int, seed: str) -> None:
        self.listed = listed
        self.candles = Candles(listed.symbol, listed.price_decimals, listed.size_decimals)
        self.funding = Funding(listed.symbol, funding_seconds, f"{seed}/{listed.symbol}")
        self.mark = ""
        self.next_mark_venue_ns = 0
        self._seed = seed

    def begin(self, now_ms: int, middle: Decimal) -> None:
        """The market opens at a middle price."""
        self.mark = _mark_text(middle)
        self.funding.begin(now_ms, self.mark)
        price = int(middle.scaleb(self.listed.price_decimals))
        self.candles.make_history(now_ms, price, f"{self._seed}/{self.listed.symbol}")

    def trade(self, stamp_ms: int, price: str, size: str, *, is_buyer_maker: bool) -> list[Frame]:
        """Take a trade; what the candles' stream says of it."""
        units = (_units(price, self.listed.price_decimals), _units(size, self.listed.size_decimals))
        found = self.candles.frames(stamp_ms)
        self.candles.trade(stamp_ms, *units, is_buyer_maker=is_buyer_maker)
        return found

    def mark_frame(self, stamp_ms: int, middle: Decimal) -> Frame:
        """A second has passed: settle what is due, and say the mark price."""
        self.mark = _mark_text(middle)
        self.funding.settle(stamp_ms, self.mark)
        self.next_mark_venue_ns += NS_PER_SECOND
        next_ms = self.funding.next_ms
        rate = self.funding.rate(next_ms)
        update = MarkUpdate(stamp_ms, self.listed.symbol, self.mark, self.mark, self.mark, rate, next_ms)
        return encoded(self.listed.symbol, Channel.mark, update)

    def premium(self, now_ms: int) -> dict[str, object]:
        """What premiumIndex says."""
        next_ms = self.funding.next_ms
        return {
            "symbol": self.listed.symbol,
            "markPrice": self.mark,
            "indexPrice": self.mark,
            "estimatedSettlePrice": self.mark,
            "lastFundingRate": self.funding.rate(next_ms),
            "interestRate": "0.00010000",
            "nextFundingTime": next_ms,
            "time": now_ms,
        }


class Market(Protocol):
    """A source."""

    boards: dict[str, Board]

    def begin(self, timeline: Timeline) -> None:
        """The market opens; the timeline has begun."""

    def next_ns(self) -> int | None:
        """When the next thing happens, ns of the market's time since its start; None where it is at its end."""

    def step(self) -> Sequence[Frame]:
        """Let it happen; what is said of it."""

    def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The book as it stands now."""

    def close(self) -> None:
        """Nobody needs it any more."""


def _mark_text(middle: Decimal) -> str:
    return f"{middle:.8f}"


def _units(text: str, decimals: int) -> int:
    """A text as a whole number of its last decimals."""
    return int(Decimal(text).scaleb(decimals))
