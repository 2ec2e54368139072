"""Raw captures of Binance: each line `<receive time, ns> <message>`, of spot, USD-M or COIN-M.

A message is what the websocket sent, with the wrapper of a combined stream or without it, or the body of a REST request
for the book. The three markets say nearly the same: spot's quotes have no time and its books no `pu` (the id before is
U − 1), COIN-M trades contracts. Times on the tape: a trade's is T, when it happened; a book's and a quote's is E.

Trades that no market order made (insurance fund, ADL: `X`, USD-M only) are left out, and counted. A forced order's
price and size are the order's own; its average fill may lie between ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, field

from adapters.captures.messages import BookText, LiquidationText, MarkText, Message, QuoteText, TradeText
from adapters.captures.raw_lines import Id, Milliseconds, receive_time
from adapters.captures.report import Reason, RejectedError
from engine.bars import NS_PER_MS
from engine.kernels.layout import SELL


class Envelope(msgspec.Struct, frozen=True):
    """What every line has: the wrapper of a combined stream, or what tells bare payloads apart."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str = field(name="e", default="")
    last_update_id: Id | None = field(name="lastUpdateId", default=None)
    update_id: Id | None = field(name="u", default=None)


class _Depth(msgspec.Struct, frozen=True):
    event_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    first_id: Id = field(name="U")
    last_id: Id = field(name="u")
    bids: list[tuple[str, str]] = field(name="b")
    asks: list[tuple[str, str]] = field(name="a")
    previous_id: Annotated[int, Meta(ge=-1, le=2**62)] | None = field(name="pu", default=None)


class _Snapshot(msgspec.Struct, frozen=True):
    last_id: Id = field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    event_ms: Milliseconds = field(name="E", default=0)
    symbol: str = ""


class _Trade(msgspec.Struct, frozen=True):
    symbol: str = field(name="s")
    trade_ms: Milliseconds = field(name="T")
    trade_id: Id = field(name="t")
    price: str = field(name="p")
    size: str = field(name="q")
    is_buyer_maker: bool = field(name="m")
    origin: str = field(name="X", default="MARKET")


class _AggregateTrade(_Trade, frozen=True):
    trade_id: Id = field(name="a")


class _Quote(msgspec.Struct, frozen=True):
    symbol: str = field(name="s")
    update_id: Id = field(name="u")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")
    event_ms: Milliseconds = field(name="E", default=0)


class _Mark(msgspec.Struct, frozen=True):
    event_ms: Milliseconds = field(name="E")
    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: str = field(name="i", default="")
    rate: str = field(name="r", default="")
    next_funding_ms: Milliseconds = field(name="T", default=0)


class _ForcedOrder(msgspec.Struct, frozen=True):
    symbol: str = field(name="s")
    side: str = field(name="S")
    price: str = field(name="p")
    size: str = field(name="q")
    trade_ms: Milliseconds = field(name="T", default=0)


class _Forced(msgspec.Struct, frozen=True):
    order: _ForcedOrder = field(name="o")


ENVELOPE = msgspec.json.Decoder(Envelope)
_DEPTH = msgspec.json.Decoder(_Depth)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)
_TRADE = msgspec.json.Decoder(_Trade)
_AGGREGATE = msgspec.json.Decoder(_AggregateTrade)
_QUOTE = msgspec.json.Decoder(_Quote)
_MARK = msgspec.json.Decoder(_Mark)
_MARKS = msgspec.json.Decoder(list[_Mark])
_FORCED = msgspec.json.Decoder(_Forced)


def read_message(content: bytes) -> Sequence[Message]:
    """The messages of one line; raises RejectedError, and what msgspec raises (see `raw_lines.read_line`)."""
    receive_ns, body = receive_time(content)
    envelope = ENVELOPE.decode(body)
    channel = _channel(envelope)
    reader = _READERS.get(channel)
    if reader is None:
        raise RejectedError(Reason.unknown_stream, channel)
    return reader(envelope.data if envelope.stream else body, receive_ns)


def _channel(envelope: Envelope) -> str:
    """The channel of a message: from the stream's name, or for a bare payload from what it says of itself."""
    if envelope.stream:
        symbol, _, rest = envelope.stream.partition("@")
        return symbol[1:] if symbol.startswith("!") else rest.partition("@")[0]
    if envelope.event:
        return _CHANNEL_OF_EVENT.get(envelope.event, envelope.event)
    if envelope.last_update_id is not None:
        return "snapshot"
    return "bookTicker" if envelope.update_id is not None else "no event"


def _depth(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    depth = _DEPTH.decode(body)
    previous_id = depth.first_id - 1 if depth.previous_id is None else depth.previous_id
    ids = (depth.last_id, previous_id, depth.first_id)
    return (
        BookText(depth.symbol, depth.event_ms * NS_PER_MS, receive_ns, *ids, False, depth.bids, depth.asks),  # noqa: FBT003 - fields of a struct, in order
    )


def _snapshot(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    snapshot = _SNAPSHOT.decode(body)
    times = (snapshot.event_ms * NS_PER_MS, receive_ns)
    return (BookText(snapshot.symbol, *times, snapshot.last_id, -1, 0, True, snapshot.bids, snapshot.asks),)  # noqa: FBT003 - as above


def _trade(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    return (_trade_text(_TRADE.decode(body), receive_ns, is_aggregate=False),)


def _aggregate_trade(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    return (_trade_text(_AGGREGATE.decode(body), receive_ns, is_aggregate=True),)


def _trade_text(trade: _Trade, receive_ns: int, *, is_aggregate: bool) -> TradeText:
    return TradeText(
        trade.symbol,
        trade.trade_ms * NS_PER_MS,
        receive_ns,
        trade.price,
        trade.size,
        trade.trade_id,
        SELL if trade.is_buyer_maker else 0,
        is_aggregate,
        trade.origin == "MARKET",
    )


def _quote(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    quote = _QUOTE.decode(body)
    prices = (quote.bid, quote.bid_size, quote.ask, quote.ask_size)
    return (QuoteText(quote.symbol, quote.event_ms * NS_PER_MS, receive_ns, *prices, quote.update_id),)


def _marks(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    text = bytes(body)
    marks = _MARKS.decode(text) if text.startswith(b"[") else [_MARK.decode(text)]
    return tuple(
        MarkText(
            mark.symbol,
            mark.event_ms * NS_PER_MS,
            receive_ns,
            mark.mark,
            mark.index,
            mark.rate,
            mark.next_funding_ms * NS_PER_MS,
        )
        for mark in marks
    )


def _forced(body: bytes | msgspec.Raw, receive_ns: int) -> tuple[Message, ...]:
    order = _FORCED.decode(body).order
    flags = SELL if order.side == "SELL" else 0
    return (LiquidationText(order.symbol, order.trade_ms * NS_PER_MS, receive_ns, order.price, order.size, flags),)


_READERS: dict[str, Callable[[bytes | msgspec.Raw, int], tuple[Message, ...]]] = {
    "depth": _depth,
    "snapshot": _snapshot,
    "trade": _trade,
    "aggTrade": _aggregate_trade,
    "bookTicker": _quote,
    "markPrice": _marks,
    "forceOrder": _forced,
}
_CHANNEL_OF_EVENT = {"depthUpdate": "depth", "markPriceUpdate": "markPrice"}
