"""From cryptofeed's callbacks to messages of a tape: each exchange's words in one form, numbers still as text.

One normaliser serves one connection. Whoever drives the exchange object calls `begin` with the time at which a message
came, lets the object handle it, and `take`s what it said. The receive time is ours: cryptofeed's own is a float of the
wall clock, and for a fetched snapshot the time of its parsing.

A book comes from the deltas alone. cryptofeed's own book is sorted when it is read, which costs more than all the rest,
so it is read only where a snapshot is meant (delta None).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from adapters.captures.messages import (
    BookText,
    InterestText,
    LiquidationText,
    MarkText,
    QuoteText,
    TradeText,
)
from adapters.feeds.depth import DepthLimit
from adapters.feeds.venues import NO_IDS, QuoteFields, Raw, Venue
from engine.bars import NS_PER_MS, NS_PER_SECOND
from engine.kernels.layout import SELL

# A trade of that much before the connection was opened is history, not news.
HISTORY_NS = 5 * NS_PER_SECOND
_HEAD_CHARACTERS = 200
_ID_BITS = 2**63 - 1


class Loss(msgspec.Struct, frozen=True):
    """Data of an instrument were lost (symbol empty: of all on this connection); `reason` is one of the GAP's."""

    symbol: str
    ts_receive_ns: int
    reason: int


class FundingText(msgspec.Struct, frozen=True):
    """A funding that was settled at `ts_settled_ns`; mark prices are not told with it."""

    symbol: str
    ts_settled_ns: int
    ts_receive_ns: int
    rate: str


class FeedSymbol(msgspec.Struct, frozen=True):
    """How an instrument is called on the tape, and whether it is spot."""

    name: str
    is_spot: bool


FeedMessage: TypeAlias = (
    BookText | TradeText | QuoteText | MarkText | InterestText | LiquidationText | Loss | FundingText
)
Callback: TypeAlias = Callable[[Any, float], Awaitable[None]]


class Normaliser:
    """State of one connection: what came since `begin`, what was left out and why (`ignored`, by reason)."""

    def __init__(self, venue: Venue, symbols: Mapping[str, FeedSymbol]) -> None:
        self.ignored: Counter[str] = Counter()
        self._venue = venue
        self._symbols = symbols
        self._quoted = {
            name: each for name, each in symbols.items() if not (each.is_spot and "ticker" in venue.ignored_for_spot)
        }
        self._quote_fields = _quote_reader(venue.quotes)
        self._messages: list[FeedMessage] = []
        self._ts_receive_ns = 0
        self._ts_opened_ns = 0
        self._is_history = False
        self._message_number = 0
        self._first_messages: dict[str, int] = {}
        self._depths: dict[str, DepthLimit] = {}

    def callbacks(self) -> dict[str, Callback]:
        """What to give to the exchange class, by cryptofeed's name of the channel."""
        return {
            "l2_book": self._on_book,
            "trades": self._on_trade,
            "ticker": self._on_ticker,
            "funding": self._on_funding,
            "liquidations": self._on_liquidation,
            "open_interest": self._on_interest,
        }

    def open(self, ts_receive_ns: int) -> None:
        """The connection was opened: what it says of trades before is history."""
        self._ts_opened_ns = ts_receive_ns
        self._first_messages.clear()

    def begin(self, message: str, ts_receive_ns: int) -> None:
        """A message came: what is called back from now on is of it."""
        self._ts_receive_ns = ts_receive_ns
        self._message_number += 1
        if self._venue.history_words:
            head = message[:_HEAD_CHARACTERS].replace(" ", "")
            self._is_history = any(all(word in head for word in words) for words in self._venue.history_words)

    def arrive(self, ts_receive_ns: int) -> None:
        """An answer that the message in hand had to wait for came later than it."""
        self._ts_receive_ns = max(self._ts_receive_ns, ts_receive_ns)

    def lose(self, symbol: str, reason: int) -> None:
        """Note that data of an instrument (cryptofeed's name; empty: of all) were lost."""
        name = self._symbols[symbol].name if symbol else ""
        self._messages.append(Loss(name, self._ts_receive_ns, reason))

    def take(self) -> list[FeedMessage]:
        """Give away what was called back, in order."""
        messages, self._messages = self._messages, []
        return messages

    async def _on_book(self, book: Any, _receipt: float) -> None:
        symbol = self._symbol(book.symbol, "l2_book")
        if symbol is None:
            return
        is_snapshot = book.delta is None
        sides = book.book.to_dict() if is_snapshot else book.delta
        bids, asks = _levels(sides["bid"]), _levels(sides["ask"])
        ids = NO_IDS if self._venue.ids is None else self._venue.ids(book.raw)
        if self._venue.book_depth:
            depth = self._depths.setdefault(symbol.name, DepthLimit(self._venue.book_depth))
            bids, asks = depth.follow(bids, asks, is_snapshot=is_snapshot)
        if not (is_snapshot or bids or asks or ids[0]):
            return
        times = (self._exchange_ns(book.timestamp, "l2_book") or self._book_ns(book.raw), self._ts_receive_ns)
        self._messages.append(BookText(symbol.name, *times, *ids, is_snapshot, bids, asks))

    def take_delta(self, name: str, raw: Raw, bids: Any, asks: Any, ts_exchange_ns: int) -> None:
        """Note a delta of an instrument's book (cryptofeed's name): levels as text, ids in the raw message."""
        symbol = self._symbol(name, "l2_book")
        if symbol is None:
            return
        ids = NO_IDS if self._venue.ids is None else self._venue.ids(raw)
        if bids or asks or ids[0]:
            is_snapshot, times = False, (ts_exchange_ns, self._ts_receive_ns)
            self._messages.append(BookText(symbol.name, *times, *ids, is_snapshot, bids, asks))

    def snapshot(self, symbol: str, raw: Raw, ts_receive_ns: int) -> BookText:
        """A book that was fetched beside the stream, from its parsed body; its levels stand in it as text."""
        ids = NO_IDS if self._venue.ids is None else self._venue.ids(raw)
        ts_ns, is_snapshot = int(raw.get("E", 0)) * NS_PER_MS, True
        return BookText(self._symbols[symbol].name, ts_ns, ts_receive_ns, *ids, is_snapshot, raw["bids"], raw["asks"])

    async def _on_trade(self, trade: Any, _receipt: float) -> None:
        ts_ns = self._exchange_ns(trade.timestamp, "trades")
        self.take_trade(trade.symbol, trade.price, trade.amount, ts_ns, trade.id, SELL if trade.side == "sell" else 0)

    def take_trade(self, name: str, price: Any, size: Any, ts_exchange_ns: int, trade: Any, flags: int) -> None:
        """Note a trade of an instrument (cryptofeed's name), its numbers as texts or decimals, `trade` its id."""
        symbol = self._symbol(name, "trades")
        if symbol is None:
            return
        if self._is_old(symbol.name, ts_exchange_ns):
            self.ignored["trade of before the subscription"] += 1
            return
        if not type(price) is type(size) is str:
            price, size = _text(price), _text(size)
        self._messages.append(
            TradeText(
                symbol.name, ts_exchange_ns, self._ts_receive_ns, price, size, trade_id(trade), flags,
                is_numbered=self._venue.has_numbered_trades,
            )
        )  # fmt: skip

    async def _on_ticker(self, ticker: Any, _receipt: float) -> None:
        ts_ns = self._exchange_ns(ticker.timestamp, "ticker")
        self.take_quote(ticker.symbol, ticker.raw, ts_ns, ticker.bid, ticker.ask)

    def take_quote(self, name: str, raw: Raw, ts_ns: int, bid_read: Any = None, ask_read: Any = None) -> None:
        """Note a quote of an instrument (cryptofeed's name) from the raw message, its prices as the class read them."""
        symbol = self._quoted.get(name) or self._symbol(name, "ticker")
        if symbol is None:
            return
        bid_size, ask_size, update_id, bid, ask = self._quote_fields(raw)
        if bid_size is None or ask_size is None:
            self.ignored["quote without sizes"] += 1
            return
        if bid is None or ask is None:
            bid, ask = bid_read, ask_read
        if type(bid) is type(ask) is type(bid_size) is type(ask_size) is str:
            # Nine of ten messages come here; what begins with a digit above 0 is not nothing.
            is_half = not (bid_size and ask_size) or (
                (bid < "1" or ask < "1") and (_is_nothing(bid) or _is_nothing(ask))
            )
        else:
            is_half = not (bid_size and ask_size) or _is_nothing(bid) or _is_nothing(ask)
            bid, bid_size, ask, ask_size = _text(bid), _text(bid_size), _text(ask), _text(ask_size)
        if is_half:
            self.ignored["quote of one side only"] += 1
            return
        self._messages.append(
            QuoteText(symbol.name, ts_ns, self._ts_receive_ns, bid, bid_size, ask, ask_size, int(update_id or 0))
        )  # fmt: skip

    async def _on_funding(self, funding: Any, _receipt: float) -> None:
        symbol = self._symbol(funding.symbol, "funding")
        if symbol is None:
            return
        rate = "" if funding.rate is None else _text(funding.rate)
        ts_ns = self._exchange_ns(funding.timestamp, "funding")
        if self._venue.is_funding_settled:
            settled_ns = (ts_ns + NS_PER_SECOND // 2) // NS_PER_SECOND * NS_PER_SECOND
            self._messages.append(FundingText(symbol.name, settled_ns, self._ts_receive_ns, rate))
            return
        if self._venue.is_funding_time_next:
            ts_ns, next_ns = 0, ts_ns
        else:
            next_ns = self._exchange_ns(funding.next_funding_time, "funding")
        index = funding.raw.get(self._venue.index_field) if self._venue.index_field else None
        self._messages.append(
            MarkText(
                symbol.name, ts_ns, self._ts_receive_ns, _text(funding.mark_price), _text(index), rate, next_ns
            )
        )  # fmt: skip

    async def _on_liquidation(self, liquidation: Any, _receipt: float) -> None:
        symbol = self._symbol(liquidation.symbol, "liquidations")
        if symbol is None:
            return
        is_buy = liquidation.side == "buy"
        is_long = is_buy if self._venue.is_liquidation_side_position else not is_buy
        if isinstance(liquidation.raw, dict) and liquidation.raw.get("liquidation") == "M":
            is_long = not is_long  # Deribit's side is the taker's, and here the maker was liquidated
        times = (self._exchange_ns(liquidation.timestamp, "liquidations"), self._ts_receive_ns)
        amounts = (_text(liquidation.price), _text(liquidation.quantity))
        self._messages.append(LiquidationText(symbol.name, *times, *amounts, SELL if is_long else 0))

    async def _on_interest(self, interest: Any, _receipt: float) -> None:
        symbol = self._symbol(interest.symbol, "open_interest")
        if symbol is None:
            return
        times = (self._exchange_ns(interest.timestamp, "open_interest"), self._ts_receive_ns)
        self._messages.append(InterestText(symbol.name, *times, _text(interest.open_interest)))

    def _symbol(self, symbol: str, channel: str) -> FeedSymbol | None:
        """The instrument, None (and counted) where it is none of ours or the channel is of no use for it."""
        found = self._symbols.get(symbol)
        if found is None:
            self.ignored["instrument that was not asked for"] += 1
            return None
        if found.is_spot and channel in self._venue.ignored_for_spot:
            self.ignored[self._venue.ignored_for_spot[channel]] += 1
            return None
        return found

    def _exchange_ns(self, time: float | datetime | None, channel: str) -> int:
        """A time of cryptofeed's as ns; 0 where it has none."""
        if type(time) is float:
            return to_ns(time / 1000 if channel in self._venue.millisecond_channels else time)
        if time is None:
            return 0
        if isinstance(time, datetime):
            return to_ns(time.timestamp())
        return to_ns(time / 1000 if channel in self._venue.millisecond_channels else time)

    def _book_ns(self, raw: Raw) -> int:
        """The time in a raw book message that cryptofeed leaves out; 0 where there is none."""
        time = _field(raw, self._venue.book_time)
        if isinstance(time, datetime):
            return to_ns(time.timestamp())
        return int(time) * NS_PER_MS if isinstance(time, int) else 0

    def _is_old(self, name: str, ts_exchange_ns: int) -> bool:
        """Whether a trade is history. By its time that is told in an instrument's first message only.

        A recorder's clock that is ahead of the exchange's would else make history of everything.
        """
        if self._is_history:
            return True
        if self._first_messages.setdefault(name, self._message_number) != self._message_number:
            return False
        return 0 < ts_exchange_ns < self._ts_opened_ns - HISTORY_NS


def to_ns(seconds: float) -> int:
    """A time in float seconds as ns. Venues say µs at most, and a double holds those of our days exactly."""
    return round(seconds * 1_000_000) * 1000


def trade_id(text: str | int | None) -> int:
    """A trade's id as a number: itself where it is one, else 63 bits of the BLAKE2b hash of its text; 0 for none."""
    if type(text) is int and 0 <= text <= _ID_BITS:
        return text
    if text is None or text == "":
        return 0
    digits = str(text)
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= _ID_BITS:
        return int(digits)
    return int.from_bytes(hashlib.blake2b(digits.encode(), digest_size=8).digest(), "big") & _ID_BITS


def _levels(side: Mapping[Any, Any] | Sequence[tuple[Any, Any]]) -> list[tuple[str, str]]:
    pairs = side.items() if isinstance(side, Mapping) else side
    return [(_text(price), _text(size)) for price, size in pairs]


def _is_nothing(price: Any) -> bool:
    """Whether a price is none, or zero; raises TypeError for what can be no price."""
    if isinstance(price, list | dict):
        raise TypeError(f"a price cannot be a {type(price).__name__}")
    return not price or (type(price) is str and price[0] in "0." and not price.strip("0."))


def _text(value: Decimal | str | float | None) -> str:
    """A number as plain decimal text, without exponent; empty for None."""
    if type(value) is str:
        return value
    if type(value) is Decimal:
        return format(value, "f")
    return "" if value is None else str(value)


def _quote_reader(fields: QuoteFields | None) -> Callable[[Raw], tuple[Any, Any, Any, Any, Any]]:
    """What reads size of bid and ask, update id, bid and ask from a raw quote; None for what does not stand there."""
    if fields is None:
        return lambda _raw: (None, None, None, None, None)
    paths = (fields.bid_size, fields.ask_size, fields.update_id, fields.bid, fields.ask)
    if any(len(path) != 1 for path in paths):
        return lambda raw: tuple(_field(raw, path) for path in paths)
    (bid_size,), (ask_size,), (update_id,), (bid,), (ask,) = paths

    def read(raw: Raw) -> tuple[Any, Any, Any, Any, Any]:
        get = raw.get
        return get(bid_size), get(ask_size), get(update_id), get(bid), get(ask)

    return read


def _field(raw: Raw, path: tuple[str | int, ...]) -> Any:
    """What stands at a place in the raw message; None where there is nothing, or the path is empty."""
    if not path:
        return None
    for key in path:
        if isinstance(raw, Mapping):
            raw = raw.get(key)
        elif isinstance(raw, Sequence) and isinstance(key, int) and key < len(raw):
            raw = raw[key]
        else:
            return None
    return raw
