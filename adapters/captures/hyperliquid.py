"""Raw captures of Hyperliquid: `<receive ns> <message>`, the book as whole snapshots of its best levels, and trades.

Each book message replaces the book and has no id. On subscription the venue repeats trades that are seconds old: they
are trades of the tape as well, once each by their `tid`, which is no running number.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import field

from adapters.captures.messages import BookText, Message, QuoteText, TradeText
from adapters.captures.raw_lines import Id, Milliseconds, receive_time
from adapters.captures.report import Reason, RejectedError
from engine.bars import NS_PER_MS
from engine.kernels.layout import SELL


class _Level(msgspec.Struct, frozen=True):
    price: str = field(name="px")
    size: str = field(name="sz")


class _Book(msgspec.Struct, frozen=True):
    coin: str
    time: Milliseconds
    levels: tuple[list[_Level], list[_Level]]


class _Quote(msgspec.Struct, frozen=True):
    coin: str
    time: Milliseconds
    bbo: tuple[_Level | None, _Level | None]


class _Trade(msgspec.Struct, frozen=True):
    coin: str
    side: str
    price: str = field(name="px")
    size: str = field(name="sz")
    time: Milliseconds = 0
    trade_id: Id = field(name="tid", default=0)


class _Envelope(msgspec.Struct, frozen=True):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw()


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_BOOK = msgspec.json.Decoder(_Book)
_QUOTE = msgspec.json.Decoder(_Quote)
_TRADES = msgspec.json.Decoder(list[_Trade])


def read_message(content: bytes) -> Sequence[Message]:
    """The messages of one line; raises RejectedError, and what msgspec raises (see `raw_lines.read_line`)."""
    receive_ns, body = receive_time(content)
    envelope = _ENVELOPE.decode(body)
    match envelope.channel:
        case "l2Book":
            return (_book(_BOOK.decode(envelope.data), receive_ns),)
        case "trades":
            return tuple(_trade(trade, receive_ns) for trade in _TRADES.decode(envelope.data))
        case "bbo":
            return (_quote(_QUOTE.decode(envelope.data), receive_ns),)
    raise RejectedError(Reason.unknown_stream, envelope.channel or "no channel")


def _book(book: _Book, receive_ns: int) -> BookText:
    bids, asks = ([(level.price, level.size) for level in side] for side in book.levels)
    return BookText(
        symbol=book.coin.upper(),
        ts_exchange_ns=book.time * NS_PER_MS,
        ts_receive_ns=receive_ns,
        last_id=0,
        previous_id=-1,
        first_id=0,
        is_snapshot=True,
        bids=bids,
        asks=asks,
    )


def _trade(trade: _Trade, receive_ns: int) -> TradeText:
    flags = SELL if trade.side == "A" else 0
    times = (trade.time * NS_PER_MS, receive_ns)
    return TradeText(trade.coin.upper(), *times, trade.price, trade.size, trade.trade_id, flags, is_numbered=False)


def _quote(quote: _Quote, receive_ns: int) -> QuoteText:
    bid, ask = quote.bbo
    if bid is None or ask is None:
        raise RejectedError(Reason.not_above_zero, "one side of the market is empty")
    prices = (bid.price, bid.size, ask.price, ask.size)
    return QuoteText(quote.coin.upper(), quote.time * NS_PER_MS, receive_ns, *prices, 0)
