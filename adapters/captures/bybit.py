"""Bybit's books: its own archive (`ob500.data.zip`: one message a line) and raw captures `<receive ns> <message>`.

Ids count messages: u follows u − 1. A snapshot comes in the stream and always starts the book anew. `ts` is when the
venue sent the message, `cts` when the matching engine made it: the exchange time on the tape is `cts`. The archive has
no receive time; `ts` stands for it, which is the venue's own clock, so no offset is estimated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import field

from adapters.captures.messages import BookText, Message, TradeText
from adapters.captures.raw_lines import Id, Milliseconds, receive_time
from adapters.captures.report import Reason, RejectedError
from engine.bars import NS_PER_MS
from engine.kernels.layout import SELL
from engine.settings import InstrumentKind

_INVERSE_SYMBOL = re.compile(r"[A-Z0-9]+USD([HMUZ]\d{2})?")


class _Book(msgspec.Struct, frozen=True):
    symbol: str = field(name="s")
    bids: list[tuple[str, str]] = field(name="b")
    asks: list[tuple[str, str]] = field(name="a")
    update_id: Id = field(name="u")


class _Trade(msgspec.Struct, frozen=True):
    symbol: str = field(name="s")
    trade_ms: Milliseconds = field(name="T")
    side: str = field(name="S")
    price: str = field(name="p")
    size: str = field(name="v")


class _Envelope(msgspec.Struct, frozen=True):
    topic: str = ""
    type: str = ""
    sent_ms: Milliseconds = field(name="ts", default=0)
    made_ms: Milliseconds = field(name="cts", default=0)
    data: msgspec.Raw = msgspec.Raw()


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_BOOK = msgspec.json.Decoder(_Book)
_TRADES = msgspec.json.Decoder(list[_Trade])


def read_message(content: bytes) -> Sequence[Message]:
    """The messages of one line; raises RejectedError, and what msgspec raises (see `raw_lines.read_line`)."""
    receive_ns, body = (0, content) if content.startswith(b"{") else receive_time(content)
    envelope = _ENVELOPE.decode(body)
    receive_ns = receive_ns or envelope.sent_ms * NS_PER_MS
    channel = envelope.topic.partition(".")[0]
    if channel == "orderbook":
        return (_book(envelope, receive_ns),)
    if channel == "publicTrade":
        return tuple(_trade(trade, receive_ns) for trade in _TRADES.decode(envelope.data))
    raise RejectedError(Reason.unknown_stream, channel or "no topic")


def market_of(symbol: str) -> tuple[str, InstrumentKind]:
    """Venue and kind that a symbol's form tells: a coin against USD without T or C is settled in the coin."""
    is_inverse = _INVERSE_SYMBOL.fullmatch(symbol) is not None
    return ("bybit_inverse", "inverse") if is_inverse else ("bybit_linear", "linear")


def _book(envelope: _Envelope, receive_ns: int) -> BookText:
    book = _BOOK.decode(envelope.data)
    exchange_ns = (envelope.made_ms or envelope.sent_ms) * NS_PER_MS
    if envelope.type not in ("snapshot", "delta"):
        raise RejectedError(Reason.bad_message, f"type {envelope.type!r}")
    if not receive_ns:
        raise RejectedError(Reason.no_receive_time)
    is_snapshot = envelope.type == "snapshot"
    previous_id, first_id = (-1, 0) if is_snapshot else (book.update_id - 1, book.update_id)
    times = (exchange_ns, receive_ns)
    return BookText(book.symbol, *times, book.update_id, previous_id, first_id, is_snapshot, book.bids, book.asks)


def _trade(trade: _Trade, receive_ns: int) -> TradeText:
    flags = SELL if trade.side == "Sell" else 0
    times = (trade.trade_ms * NS_PER_MS, receive_ns)
    return TradeText(trade.symbol, *times, trade.price, trade.size, 0, flags, is_numbered=False)
