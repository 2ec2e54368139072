"""What goes over the websocket: one payload of the venue's, with the channel it is of."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import field


class Channel(StrEnum):
    """A stream's second word, without speed and interval."""

    depth = "depth"
    trade = "trade"
    aggregate = "aggTrade"
    quote = "bookTicker"
    mark = "markPrice"
    kline = "kline_1m"
    forced = "forceOrder"


# Since April 2026 books and quotes have a route of their own; what is asked for on the wrong one never comes.
PUBLIC_CHANNELS = frozenset({Channel.depth, Channel.quote})
MARKET_CHANNELS = frozenset(Channel) - PUBLIC_CHANNELS


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A payload (JSON) of one channel and instrument; `is_cut`: the message ends within it, as it was damaged."""

    symbol: str
    channel: Channel
    body: bytes
    is_cut: bool = False


class DepthUpdate(msgspec.Struct, frozen=True):
    """Levels that changed, sizes absolute, since the update id `previous_id`."""

    event_ms: int = field(name="E")
    transaction_ms: int = field(name="T")
    symbol: str = field(name="s")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    previous_id: int = field(name="pu")
    bids: list[tuple[str, str]] = field(name="b")
    asks: list[tuple[str, str]] = field(name="a")
    event: str = field(name="e", default="depthUpdate")


class AggregateTrade(msgspec.Struct, frozen=True):
    """Trades of one taker at one price."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    aggregate_id: int = field(name="a")
    price: str = field(name="p")
    size: str = field(name="q")
    first_id: int = field(name="f")
    last_id: int = field(name="l")
    trade_ms: int = field(name="T")
    is_buyer_maker: bool = field(name="m")
    event: str = field(name="e", default="aggTrade")


class SingleTrade(msgspec.Struct, frozen=True):
    """One trade."""

    event_ms: int = field(name="E")
    trade_ms: int = field(name="T")
    symbol: str = field(name="s")
    trade_id: int = field(name="t")
    price: str = field(name="p")
    size: str = field(name="q")
    is_buyer_maker: bool = field(name="m")
    origin: str = field(name="X", default="MARKET")
    event: str = field(name="e", default="trade")


class BookTicker(msgspec.Struct, frozen=True):
    """Best bid and ask after an update of the book."""

    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")
    transaction_ms: int = field(name="T")
    event_ms: int = field(name="E")
    event: str = field(name="e", default="bookTicker")


class MarkUpdate(msgspec.Struct, frozen=True):
    """Mark and index price, and the rate that will be paid at `next_funding_ms`."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: str = field(name="i")
    settle: str = field(name="P")
    rate: str = field(name="r")
    next_funding_ms: int = field(name="T")
    event: str = field(name="e", default="markPriceUpdate")


def encoded(symbol: str, channel: Channel, payload: msgspec.Struct | dict[str, object]) -> Frame:
    """A payload as a frame."""
    return Frame(symbol, channel, msgspec.json.encode(payload))


def wrapped(stream: str, frame: Frame) -> bytes:
    """A frame as a combined stream sends it, under the name that the client asked for."""
    head = b'{"stream":"' + stream.encode() + b'","data":' + frame.body
    return head if frame.is_cut else head + b"}"
