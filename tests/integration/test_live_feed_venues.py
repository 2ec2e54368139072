"""Live feeds of venues that send snapshots in their stream, on real websockets that say what the test says."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream
from websockets.asyncio.server import ServerConnection, serve

from adapters.captures.record_builder import RecordBuilder
from adapters.feeds.exchange import read_listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live import LiveFeed
from adapters.feeds.venues import VENUES
from adapters.rest_gate import RestGate
from engine.kernels import layout
from tests.feeds import (
    BINANCE_LIST,
    BITMEX_LIST,
    BYBIT_LIST,
    BYBIT_SPOT_LIST,
    COINBASE_LIST,
    DERIBIT_LIST,
    KRAKEN_FUTURES_LIST,
    KRAKEN_LIST,
    OKX_LIST,
    OKX_SPOT_LIST,
    list_bodies,
)
from tests.live_feeds import LIMITS, Running, Sink, run_beside

# Trades of before the connection would be history.
NOW_MS = int(time.time() * 1000) + 3_600_000
STAMP = datetime.fromtimestamp(NOW_MS / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
OKX_BOOK = {"asks": [["100.1", "2", "0", "1"]], "bids": [["100.0", "1", "0", "1"]], "ts": str(NOW_MS), "checksum": 0}
DERIBIT_BOOK = {"instrument_name": "BTC-PERPETUAL", "timestamp": NOW_MS, "bids": [["new", 100.0, 10.0]],
                "asks": [["new", 100.5, 20.0]]}  # fmt: skip


def okx(channel: str, data: dict[str, Any], action: str = "") -> dict[str, Any]:
    message = {"arg": {"channel": channel, "instId": "BTC-USDT-SWAP"}, "data": [data]}
    return {**message, "action": action} if action else message


def deribit(channel: str, data: object) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {"channel": f"{channel}.BTC-PERPETUAL.100ms", "data": data},
    }


# exchange, its lists, instrument, frames: a snapshot, a change, a trade
VENUE_FRAMES: list[tuple[str, Sequence[object], str, list[Any]]] = [
    (
        "OKX", [OKX_SPOT_LIST, OKX_LIST], "BTC-USDT-SWAP",
        [
            {"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}},
            okx("books", {**OKX_BOOK, "seqId": 10, "prevSeqId": -1}, "snapshot"),
            okx("books", {**OKX_BOOK, "seqId": 15, "prevSeqId": 10}, "update"),
            okx("trades", {"instId": "BTC-USDT-SWAP", "tradeId": "7", "px": "100.1", "sz": "1", "side": "buy",
                           "ts": str(NOW_MS)}),
        ],
    ),
    (
        "BYBIT", [BYBIT_LIST, BYBIT_SPOT_LIST], "BTCUSDT",
        [
            {"success": True, "ret_msg": "", "op": "subscribe", "conn_id": "1"},
            {"topic": "orderbook.200.BTCUSDT", "type": "snapshot", "ts": NOW_MS,
             "data": {"s": "BTCUSDT", "b": [["100.0", "1"]], "a": [["100.1", "2"]], "u": 10, "seq": 1}},
            {"topic": "orderbook.200.BTCUSDT", "type": "delta", "ts": NOW_MS,
             "data": {"s": "BTCUSDT", "b": [["100.0", "3"]], "a": [], "u": 11, "seq": 2}},
            {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": NOW_MS,
             "data": [{"T": NOW_MS, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "100.1", "i": "ab-1", "BT": False}]},
        ],
    ),
    (
        "KRAKEN", [KRAKEN_LIST], "XBT/USD",
        [
            {"event": "systemStatus", "status": "online", "version": "1.9.6", "connectionID": 1},
            [336, {"as": [["100.1", "2.0", "1.0"]], "bs": [["100.0", "1.0", "1.0"]]}, "book-1000", "XBT/USD"],
            [336, {"b": [["99.9", "4.0", "2.0"]], "c": "974942666"}, "book-1000", "XBT/USD"],
            [337, [["100.1", "0.5", f"{NOW_MS // 1000}.000123", "s", "l", ""]], "trade", "XBT/USD"],
        ],
    ),
    (
        "KRAKEN_FUTURES", [KRAKEN_FUTURES_LIST], "PI_XBTUSD",
        [
            {"event": "info", "version": 1},
            {"product_id": "PI_XBTUSD", "timestamp": NOW_MS, "feed": "book_snapshot", "seq": 8,
             "bids": [{"price": 100.0, "qty": 5}], "asks": [{"price": 100.5, "qty": 5}]},
            {"product_id": "PI_XBTUSD", "timestamp": NOW_MS, "feed": "book", "seq": 9, "side": "buy", "price": 99.5,
             "qty": 4},
            {"feed": "trade", "product_id": "PI_XBTUSD", "uid": "b5a1c239-7987", "side": "sell", "type": "fill",
             "seq": 1, "time": NOW_MS, "qty": 5, "price": 100.0},
        ],
    ),
    (
        "COINBASE", [COINBASE_LIST], "BTC-USD",
        [
            {"channel": "l2_data", "timestamp": STAMP, "events": [{"type": "snapshot", "product_id": "BTC-USD",
             "updates": [{"side": "bid", "event_time": STAMP, "price_level": "100.00", "new_quantity": "1"},
                         {"side": "offer", "event_time": STAMP, "price_level": "100.01", "new_quantity": "2"}]}]},
            {"channel": "l2_data", "timestamp": STAMP, "events": [{"type": "update", "product_id": "BTC-USD",
             "updates": [{"side": "bid", "event_time": STAMP, "price_level": "99.99", "new_quantity": "1"}]}]},
            {"channel": "market_trades", "timestamp": STAMP, "events": [{"type": "update", "trades": [
                {"trade_id": "7", "product_id": "BTC-USD", "price": "100.01", "size": "0.5", "side": "BUY",
                 "time": STAMP}]}]},
        ],
    ),
    (
        "DERIBIT", [DERIBIT_LIST], "BTC-PERPETUAL",
        [
            {"jsonrpc": "2.0", "id": "102", "result": ["book.BTC-PERPETUAL.100ms"]},
            deribit("book", {**DERIBIT_BOOK, "type": "snapshot", "change_id": 5}),
            deribit("book", {**DERIBIT_BOOK, "type": "change", "change_id": 7, "prev_change_id": 5}),
            deribit("trades", [{"instrument_name": "BTC-PERPETUAL", "timestamp": NOW_MS, "trade_id": "48079269",
                                "trade_seq": 1, "price": 100.5, "amount": 10.0, "direction": "buy"}]),
        ],
    ),
    (
        "BITMEX", [BITMEX_LIST], "XBTUSD",
        [
            {"info": "Welcome", "version": "2.0", "timestamp": STAMP},
            {"table": "orderBookL2", "action": "partial", "data": [
                {"symbol": "XBTUSD", "id": 1, "side": "Sell", "size": 200, "price": 100.5, "timestamp": STAMP},
                {"symbol": "XBTUSD", "id": 2, "side": "Buy", "size": 100, "price": 100, "timestamp": STAMP}]},
            {"table": "orderBookL2", "action": "update", "data": [
                {"symbol": "XBTUSD", "id": 2, "side": "Buy", "size": 300}]},
            {"table": "trade", "action": "insert", "data": [
                {"symbol": "XBTUSD", "timestamp": STAMP, "side": "Sell", "size": 100, "price": 100.5,
                 "trdMatchID": "8f8fe9db-eb13-26a5-dea2-a398d89e04a8"}]},
        ],
    ),
]  # fmt: skip


class SayingVenue:
    """Says to each connection what is next in `scripts` (the last one again and again), and then keeps quiet."""

    def __init__(self, *scripts: Sequence[Any]) -> None:
        self._scripts = list(scripts)
        self.connections_count = 0
        self.heard: list[str] = []
        self.open: list[ServerConnection] = []

    async def handle(self, connection: ServerConnection) -> None:
        """One connection."""
        script = self._scripts[min(self.connections_count, len(self._scripts) - 1)]
        self.connections_count += 1
        self.open.append(connection)
        for frame in script:
            await connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
        async for message in connection:
            self.heard.append(str(message))


@asynccontextmanager
async def running_venue(
    exchange: str,
    lists: Sequence[object],
    symbols: Sequence[str],
    *scripts: Sequence[Any],
    channels: Sequence[str] = ("l2_book", "trades"),
    limits: FeedLimits = LIMITS,
) -> AsyncIterator[tuple[Running, SayingVenue]]:
    """A feed of a venue that says what it is told to say."""
    venue = SayingVenue(*scripts)
    async with serve(venue.handle, "127.0.0.1", 0) as server, RestGate() as gate:
        port = next(iter(server.sockets)).getsockname()[1]
        sink, builder = Sink(), RecordBuilder()
        feed = LiveFeed(
            VENUES[exchange],
            read_listing(VENUES[exchange], list_bodies(*lists)),
            symbols,
            channels,
            builder=builder,
            sink=sink,
            clock_ns=time.time_ns,
            gate=gate,
            limits=limits,
            websocket=f"ws://127.0.0.1:{port}",
        )
        async with run_beside(feed):
            yield Running(feed, builder, sink, None), venue


@pytest.mark.parametrize(("exchange", "lists", "symbol", "frames"), VENUE_FRAMES)
@pytest.mark.asyncio
async def test_each_venue_is_read_from_its_websocket(
    exchange: str, lists: Sequence[object], symbol: str, frames: list[Any]
) -> None:
    async with running_venue(exchange, lists, [symbol], frames) as (running, venue):
        await running.until(lambda: running.feed.statistics.messages()["trades", symbol] == 1)
        records = running.builder.take()
    assert running.books == {symbol: True}
    assert running.feed.statistics.messages() == {("l2_book", symbol): 2, ("trades", symbol): 1}
    levels = records[records["kind"] == layout.LEVEL]
    assert (levels["flags"] & layout.SNAPSHOT != 0).sum() == 2
    assert len(levels) > 2
    (trade,) = records[records["kind"] == layout.PRINT].tolist()
    assert trade[7] > 0
    assert running.sink.of("rejected") == []
    assert len(venue.heard) >= 1  # the subscriptions
    assert venue.connections_count == 1


@pytest.mark.asyncio
async def test_a_book_whose_snapshots_come_in_the_stream_is_begun_anew_with_its_connection() -> None:
    exchange, lists, symbol, frames = VENUE_FRAMES[0]
    broken = [*frames, okx("books", {**OKX_BOOK, "seqId": 30, "prevSeqId": 29}, "update")]
    async with running_venue(exchange, lists, [symbol], broken, frames) as (running, venue):
        await running.until_whole_again()
        await anyio.sleep(0.2)
        assert venue.connections_count == 2
    assert running.sink.of("book_invalid") == [(symbol, "sequence")]
    assert running.feed.statistics.reconnects == {"book": 1}


@pytest.mark.asyncio
async def test_a_book_that_is_broken_each_time_does_not_cost_the_others_theirs_for_ever() -> None:
    exchange, lists, symbol, frames = VENUE_FRAMES[0]
    broken = [*frames, okx("books", {**OKX_BOOK, "seqId": 30, "prevSeqId": 29}, "update")]
    limits = msgspec.structs.replace(LIMITS, quiet_book_seconds=0.1, patience_seconds=100.0)
    async with running_venue(exchange, lists, [symbol], broken, limits=limits) as (running, venue):
        await running.until(lambda: venue.connections_count == 2)
        await anyio.sleep(2.5)
        assert venue.connections_count == 2  # the next is due in 100 s
    assert running.books == {symbol: False}


@pytest.mark.parametrize(
    "frame",
    [
        "no JSON at all",
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":5,"a":[]}}',
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1"]],"a":[]}}',
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[[{},[]]],"a":[]}}',
        '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":"x","s":"BTCUSDT","b":[],"B":{},"a":"1","A":"1"}}',
        '{"stream":"nosuch@aggTrade","data":{"e":"aggTrade","s":"NOSUCH"}}',
        '{"stream":"x"}',
        "[" * 100_000,
        "null",
        b"\xff\xfe\x00binary",
    ],
)
@pytest.mark.asyncio
async def test_no_frame_ends_the_feed(frame: str | bytes) -> None:
    good = {"e": "bookTicker", "u": 9, "s": "BTCUSDT", "b": "100.0", "B": "4", "a": "100.1", "A": "5", "E": NOW_MS}
    script = [frame, {"stream": "btcusdt@bookTicker", "data": good}]
    channels = ("l2_book", "ticker")
    async with running_venue("BINANCE_FUTURES", [BINANCE_LIST], ["BTCUSDT"], script, channels=channels) as (
        running,
        venue,
    ):
        await running.until(lambda: running.feed.statistics.messages()["ticker", "BTCUSDT"] == 1)
        assert venue.connections_count == 1
    assert len(running.sink.of("rejected")) + sum(running.feed.ignored().values()) >= 1  # left out, and counted


@pytest.mark.asyncio
async def test_a_venue_that_accepts_and_closes_at_once_is_not_flooded() -> None:
    accepted: list[float] = []

    async def accept(stream: SocketStream) -> None:
        accepted.append(time.monotonic())
        await stream.aclose()

    # The promise of 60 in 300 s on a scale of 1 to 50: at most 4 + 6 in 3 s.
    limits = msgspec.structs.replace(
        LIMITS, connects_burst=4, connect_every_seconds=0.5, backoff_seconds=0.01, backoff_seconds_max=0.1
    )
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    sink = Sink()
    async with RestGate() as gate, anyio.create_task_group() as tasks:
        feed = LiveFeed(
            VENUES["BINANCE_FUTURES"],
            read_listing(VENUES["BINANCE_FUTURES"], list_bodies(BINANCE_LIST)),
            ["BTCUSDT"],
            ("l2_book", "trades"),
            builder=RecordBuilder(),
            sink=sink,
            clock_ns=time.time_ns,
            gate=gate,
            limits=limits,
            websocket=f"ws://127.0.0.1:{port}",
        )
        tasks.start_soon(listener.serve, accept)
        tasks.start_soon(feed.run)
        await anyio.sleep(3)
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert 5 <= len(accepted) <= 10
    assert {reason.partition(":")[0] for _, _, reason in sink.of("disconnected")} == {"refused"}
