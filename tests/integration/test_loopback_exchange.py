"""The loopback exchange on real sockets: what cryptofeed's own class makes of it, the venue's forms, and each fault."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptofeed.connection import RestEndpoint, WebsocketEndpoint

from adapters.captures.messages import BookText, MarkText, QuoteText, TradeText
from adapters.captures.report import ImportReport
from adapters.feeds.exchange import Exchange, read_listing
from adapters.feeds.normaliser import FeedMessage
from adapters.feeds.venues import VENUES
from adapters.loopback import sockets
from adapters.loopback.capture import CaptureMarket, CaptureSettings
from adapters.loopback.faults import TABLE, FaultKind, parse_faults
from adapters.loopback.market import Market
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.loopback.timeline import Burst, Timeline
from daemon.cli import run
from engine.bars import NS_PER_SECOND
from engine.errors import DataError, UsageError

CAPTURE = Path(__file__).parents[3] / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
ROOT = Path(__file__).parents[2]
START_NS = 1_700_000_000 * NS_PER_SECOND
START_MS = START_NS // 10**6
STREAMS = "btcusdt@depth@100ms/btcusdt@aggTrade/btcusdt@bookTicker/ethusdt@depth@100ms/ethusdt@bookTicker"
FULL_SPEED = 0


@asynccontextmanager
async def exchange_of(
    *faults: str,
    market: Market | None = None,
    speed: float = 1,
    waits: bool = True,
    settings: SeededSettings | None = None,
) -> AsyncIterator[LoopbackExchange]:
    """An exchange, by default with a seeded market that opens with the first websocket at a fixed time."""
    options = ExchangeOptions(speed, parse_faults(faults), waits_for_client=waits, start_ns=START_NS)
    exchange = LoopbackExchange(market or SeededMarket(settings or SeededSettings()), options)
    async with exchange.running():
        yield exchange


@asynccontextmanager
async def socket_to(
    exchange: LoopbackExchange, streams: str = STREAMS, route: str = "/stream"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{exchange.websocket_address}{route}?streams={streams}", max_msg_size=0) as socket,
    ):
        yield socket


async def fetch(exchange: LoopbackExchange, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.rest_address}/fapi/v1/{path}") as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/json"
        assert int(answer.headers["X-MBX-USED-WEIGHT-1m"]) > 0
        return await answer.json()


async def texts_of(socket: aiohttp.ClientWebSocketResponse, until_ms: int) -> list[str]:
    """Messages as text, up to the first of a venue time (ms since the start)."""
    found: list[str] = []
    while not (found and _stamp(found[-1]) >= until_ms):
        found.append(await socket.receive_str())
    return found


def _stamp(text: str) -> int:
    try:
        return int(json.loads(text)["data"].get("E", 0)) - START_MS
    except (ValueError, KeyError):
        return 0


def stamped(data: dict[str, Any]) -> int:
    return int(data["E"]) - START_MS


def depths_of(texts: Iterable[str], symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
    datas = [json.loads(text)["data"] for text in texts]
    return [data for data in datas if data["e"] == "depthUpdate" and data["s"] == symbol]


def breaks_of(depths: list[dict[str, Any]]) -> int:
    """How often a depth message does not follow the one before."""
    return sum(second["pu"] != first["u"] for first, second in itertools.pairwise(depths))


async def heard_at_full_speed(*faults: str, until_ms: int = 8_000, streams: str = STREAMS) -> list[str]:
    async with exchange_of(*faults, speed=FULL_SPEED) as exchange, socket_to(exchange, streams) as socket:
        return await texts_of(socket, until_ms)


# -- cryptofeed's own class ---------------------------------------------------------------------------------------


class Follower:
    """Keeps a book as a dictionary of each symbol, and holds its best prices against quotes of the same update."""

    def __init__(self) -> None:
        self.sides: dict[str, tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]] = {}
        self.bests: dict[str, dict[int, tuple[Decimal, ...]]] = {}
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []
        self._quotes: dict[str, dict[int, tuple[Decimal, ...]]] = {}

    def take(self, message: FeedMessage) -> None:
        """Follow one message."""
        self.counts[type(message).__name__] += 1
        if isinstance(message, BookText):
            self._book(message)
        elif isinstance(message, QuoteText):
            quote = tuple(map(Decimal, (message.bid, message.bid_size, message.ask, message.ask_size)))
            self._quotes.setdefault(message.symbol, {})[message.update_id] = quote
            self._compare(message.symbol, message.update_id)

    def _book(self, message: BookText) -> None:
        if message.is_snapshot:
            self.sides[message.symbol] = ({}, {})
            self.counts[f"snapshot {message.symbol}"] += 1
        for side, levels in zip(self.sides[message.symbol], (message.bids, message.asks), strict=True):
            for price, size in levels:
                if Decimal(size):
                    side[Decimal(price)] = Decimal(size)
                else:
                    side.pop(Decimal(price), None)
        bids, asks = self.sides[message.symbol]
        bid, ask = max(bids), min(asks)
        if not message.is_snapshot:
            self.bests.setdefault(message.symbol, {})[message.last_id] = (bid, bids[bid], ask, asks[ask])
            self._compare(message.symbol, message.last_id)

    def _compare(self, symbol: str, update_id: int) -> None:
        best, quote = self.bests.get(symbol, {}).get(update_id), self._quotes.get(symbol, {}).get(update_id)
        if best is None or quote is None:
            return
        self.counts[f"compared {symbol}"] += 1
        if best != quote:
            self.mismatches.append(f"{symbol} {update_id}: book {best}, quote {quote}")


async def follow(exchange: LoopbackExchange, names: list[str], is_enough: Callable[[Follower], bool]) -> Follower:
    """Let cryptofeed's BinanceFutures read the exchange, through our own adapter, until that is enough."""
    address = f"{exchange.rest_address}/fapi/v1/exchangeInfo"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        listing = read_listing(VENUES["BINANCE_FUTURES"], [await answer.read()])
    channels = dict.fromkeys(("l2_book", "trades", "ticker", "funding"), names)
    report = ImportReport()
    reader = Exchange(VENUES["BINANCE_FUTURES"], listing, channels, report)
    feed = reader.feed
    routes = feed.rest_endpoints[0].routes
    feed.rest_endpoints = [RestEndpoint(exchange.rest_address, routes=routes)]
    address = exchange.websocket_address.replace("ws://", "wss://")
    feed.websocket_endpoints = [WebsocketEndpoint(address, options={"compression": None, "max_queue": 256})]
    ((connection, _, _, _),) = feed.connect()
    atexit.unregister(connection.__del__)
    connection.address = connection.address.replace("wss://", "ws://")
    follower = Follower()
    async with connection.connect():
        await reader.open(connection, time.time_ns())
        async for message in connection.read():
            for each in await reader.handle(message, connection, time.time_ns(), lambda: "loopback"):
                follower.take(each)
            if is_enough(follower):
                break
    await feed.http_conn.close()
    assert dict(report.rejects) == {}
    return follower


@pytest.mark.asyncio
async def test_cryptofeed_keeps_the_books_of_the_seeded_market() -> None:
    names = ["BTC-USDT-PERP", "ETH-USDT-PERP"]

    def is_enough(follower: Follower) -> bool:
        compared = min(follower.counts[f"compared {symbol}"] for symbol in ("BTCUSDT", "ETHUSDT"))
        return compared >= 100 and follower.counts[MarkText.__name__] >= 2

    async with exchange_of(speed=20, waits=False) as exchange:
        follower = await follow(exchange, names, is_enough)
    assert follower.mismatches == []
    assert (follower.counts["snapshot BTCUSDT"], follower.counts["snapshot ETHUSDT"]) == (1, 1)
    assert follower.counts["Loss"] == 0
    assert min(follower.counts[each.__name__] for each in (TradeText, MarkText, QuoteText)) > 0


@pytest.mark.real_data
@pytest.mark.asyncio
@pytest.mark.skipif(not CAPTURE.exists(), reason="needs the recorded market")
async def test_cryptofeed_keeps_the_book_of_a_capture() -> None:
    market = CaptureMarket(CaptureSettings(CAPTURE))
    async with exchange_of(market=market, speed=FULL_SPEED) as exchange:
        follower = await follow(exchange, ["BTC-USDT-PERP"], lambda found: found.counts["BookText"] >= 1_500)
    assert follower.mismatches == []
    assert follower.counts["compared BTCUSDT"] > 100
    assert follower.counts["snapshot BTCUSDT"] == 1
    assert follower.counts["Loss"] == 0
    assert min(follower.counts[each.__name__] for each in (TradeText, MarkText, QuoteText)) > 0


@pytest.mark.real_data
@pytest.mark.asyncio
@pytest.mark.skipif(not CAPTURE.exists(), reason="needs the recorded market")
async def test_a_capture_comes_in_its_own_spacing_and_as_of_now() -> None:
    async with (
        exchange_of(market=CaptureMarket(CaptureSettings(CAPTURE)), speed=10) as exchange,
        socket_to(exchange, "btcusdt@bookTicker/btcusdt@aggTrade/btcusdt@trade") as socket,
    ):
        began_ns = time.monotonic_ns()
        texts = await texts_of(socket, 500)  # of the venue's clock: 5 s of the capture
        taken_ns = time.monotonic_ns() - began_ns
    assert taken_ns > 0.4 * NS_PER_SECOND
    assert all(-2_000 < _stamp(text) <= 520 for text in texts)
    trades = [json.loads(text) for text in texts if "rade" in text]
    singles = [(each["data"]["t"], each["data"]["p"]) for each in trades if each["stream"] == "btcusdt@trade"]
    aggregates = [(each["data"]["a"], each["data"]["p"]) for each in trades if each["stream"] == "btcusdt@aggTrade"]
    assert len(singles) > 10
    assert singles[: len(aggregates)] == aggregates[: len(singles)]


def test_a_capture_that_is_none_of_usdm_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text('1700000000000000000 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","M":true}}\n')
    with pytest.raises(DataError, match="binance_spot"):
        CaptureMarket(CaptureSettings(path))


# -- REST and routes ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_rest_answers_have_the_venues_forms() -> None:
    async with exchange_of(waits=False) as exchange:
        assert await fetch(exchange, "ping") == {}
        assert abs((await fetch(exchange, "time"))["serverTime"] - START_MS) < 60_000
        info = await fetch(exchange, "exchangeInfo")
        assert [each["symbol"] for each in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        filters = {each["filterType"]: each for each in info["symbols"][0]["filters"]}
        assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.10", "0.001")

        depth = await fetch(exchange, "depth?symbol=BTCUSDT&limit=20")
        assert set(depth) == {"lastUpdateId", "E", "T", "bids", "asks"}
        bids, asks = ([Decimal(price) for price, _ in depth[side]] for side in ("bids", "asks"))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]
        assert len(bids) == len(asks) == 20

        rates = await fetch(exchange, "fundingRate?symbol=BTCUSDT&limit=5")
        assert [set(row) for row in rates] == [{"symbol", "fundingTime", "fundingRate", "markPrice"}] * 5
        assert {later["fundingTime"] - row["fundingTime"] for row, later in itertools.pairwise(rates)} == {60_000}
        assert rates[-1]["fundingTime"] <= START_MS + 60_000
        premium = await fetch(exchange, "premiumIndex?symbol=BTCUSDT")
        assert premium["nextFundingTime"] % 60_000 == 0
        assert [each["symbol"] for each in await fetch(exchange, "premiumIndex")] == ["BTCUSDT", "ETHUSDT"]
        assert (await fetch(exchange, "openInterest?symbol=BTCUSDT"))["symbol"] == "BTCUSDT"


@pytest.mark.asyncio
async def test_candles_join_and_reach_back() -> None:
    async with exchange_of(waits=False) as exchange:
        rows = await fetch(exchange, "klines?symbol=BTCUSDT&interval=1m&limit=1000")
        assert {len(row) for row in rows} == {12}
        assert {later[0] - row[0] for row, later in itertools.pairwise(rows)} == {60_000}
        assert all(Decimal(row[3]) <= min(Decimal(row[1]), Decimal(row[4])) for row in rows)
        assert all(Decimal(row[2]) >= max(Decimal(row[1]), Decimal(row[4])) for row in rows)
        (hour,) = await fetch(exchange, f"klines?symbol=BTCUSDT&interval=1h&startTime={START_MS - 7_200_000}&limit=1")
        minutes = [row for row in rows if hour[0] <= row[0] <= hour[6]]
        assert len(minutes) == 60
        assert (hour[1], hour[4]) == (minutes[0][1], minutes[-1][4])
        assert Decimal(hour[5]) == sum(Decimal(row[5]) for row in minutes)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("depth", -1102),
        ("depth?symbol=NONE", -1121),
        ("depth?symbol=BTCUSDT&limit=7", -4021),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?symbol=BTCUSDT&interval=1m&limit=x", -1100),
    ],
)
@pytest.mark.asyncio
async def test_a_wrong_request_is_refused_with_the_venues_code(path: str, code: int) -> None:
    async with (
        exchange_of() as exchange,
        aiohttp.ClientSession() as session,
        session.get(f"{exchange.rest_address}/fapi/v1/{path}") as answer,
    ):
        assert (answer.status, (await answer.json())["code"]) == (400, code)


@pytest.mark.asyncio
async def test_each_route_has_its_own_channels_and_streams_are_asked_for_in_messages_too() -> None:
    every = "btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@aggTrade/btcusdt@markPrice/btcusdt@kline_1m"
    async with exchange_of(speed=10) as exchange:
        heard = {}
        for route in ("/public/stream", "/market/stream"):
            async with socket_to(exchange, every, route) as socket:
                texts = await texts_of(socket, 1_100 + exchange.now_ms() - START_MS)
                heard[route] = {json.loads(text)["stream"].partition("@")[2] for text in texts}
        assert heard["/public/stream"] == {"depth@100ms", "bookTicker"}
        assert heard["/market/stream"] == {"aggTrade", "markPrice", "kline_1m"}
        async with socket_to(exchange, "") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["ethusdt@bookTicker"], "id": 7})
            assert json.loads(await socket.receive_str()) == {"result": None, "id": 7}
            assert json.loads(await socket.receive_str())["stream"] == "ethusdt@bookTicker"


# -- determinism --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_seed_gives_the_same_messages_each_time_and_another_seed_others() -> None:
    first, second = await heard_at_full_speed(), await heard_at_full_speed()
    assert first == second
    assert len(first) > 500
    async with (
        exchange_of(speed=FULL_SPEED, settings=SeededSettings(seed=2)) as exchange,
        socket_to(exchange) as socket,
    ):
        assert await texts_of(socket, 8_000) != first


def test_a_burst_is_more_in_the_same_time() -> None:
    timeline = Timeline(2.0, [Burst(1_000, 2_000, 10)])
    assert [timeline.market_ns(venue) for venue in (0, 1_000, 1_500, 2_000, 3_000)] == [
        0,
        2_000,
        12_000,
        22_000,
        24_000,
    ]
    assert all(timeline.venue_ns(timeline.market_ns(venue)) == venue for venue in range(0, 4_000, 100))


# -- faults of the stream: the same market with and without -------------------------------------------------------


def changes(clean: list[str], heard: list[str]) -> tuple[list[str], list[str]]:
    """What is missing from a run with a fault, and what is in it beyond the clean one."""
    last = min(_stamp(clean[-1]), _stamp(heard[-1])) - 200
    wanted, found = (Counter(text for text in texts if _stamp(text) < last) for texts in (clean, heard))
    return list((wanted - found).elements()), list((found - wanted).elements())


@pytest.mark.asyncio
async def test_faults_of_the_stream_do_what_they_say_to_one_instrument() -> None:
    clean = await heard_at_full_speed()
    assert breaks_of(depths_of(clean)) == 0

    heard = await heard_at_full_speed("gap@2:3")
    missing, added = changes(clean, heard)
    assert ([each["s"] for each in depths_of(missing)], added) == (["BTCUSDT"] * 3, [])
    assert (breaks_of(depths_of(heard)), breaks_of(depths_of(heard, "ETHUSDT"))) == (1, 0)
    assert 2_000 <= stamped(depths_of(missing)[0]) < 2_200

    heard = await heard_at_full_speed("gap@2:2/ETHUSDT")
    assert (breaks_of(depths_of(heard)), breaks_of(depths_of(heard, "ETHUSDT"))) == (0, 1)

    heard = await heard_at_full_speed("duplicate@2:5")
    assert list(dict.fromkeys(heard)) == list(dict.fromkeys(clean))[: len(dict.fromkeys(heard))]
    assert 1 <= len(changes(clean, heard)[1]) <= 5  # single trades and candles, not asked for, count as well

    heard = await heard_at_full_speed("reorder@2:2")
    assert changes(clean, heard) == ([], [])
    ids = [each["u"] for each in depths_of(heard)]
    assert sum(later < earlier for earlier, later in itertools.pairwise(ids)) == 2

    heard = await heard_at_full_speed("garbage@2:2")
    missing, added = changes(clean, heard)
    assert len(depths_of(missing)) == len(added) == 2
    for text in added:
        with pytest.raises(ValueError, match=r"."):
            json.loads(text)

    heard = await heard_at_full_speed("oversized@2:3000000")
    missing, (huge,) = changes(clean, heard)
    assert (missing, len(huge) > 3_000_000, "BTCUSDT" in huge) == ([], True, True)

    heard = await heard_at_full_speed("crossed@2")
    (was,), (crossed,) = (depths_of(texts) for texts in changes(clean, heard))
    quotes = [json.loads(text)["data"] for text in heard if '"btcusdt@bookTicker"' in text]
    ask = [Decimal(quote["a"]) for quote in quotes if quote["u"] <= crossed["u"]][-1]
    assert crossed["u"] == was["u"]
    assert max(Decimal(price) for price, _ in crossed["b"]) > ask

    heard = await heard_at_full_speed("nan@2:6")
    _, added = changes(clean, heard)
    assert 1 <= len(added) <= 6
    assert all('"NaN"' in text and "BTCUSDT" in text for text in added)


# -- faults of connections ----------------------------------------------------------------------------------------


async def raw_end(exchange: LoopbackExchange) -> str:
    """How a websocket's TCP connection ends, read from the socket itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port)
    writer.write(
        f"GET /stream?streams={STREAMS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    last = b""
    try:
        while found := await reader.read(65_536):
            last = found
    except ConnectionResetError:
        return "reset"
    finally:
        writer.close()
    return "close frame" if last[-4:-2] == b"\x88\x02" else "end"


@pytest.mark.asyncio
async def test_connections_end_by_reset_by_fin_and_by_close() -> None:
    async with exchange_of("reset@0.2") as exchange:
        assert await raw_end(exchange) == "reset"
        async with socket_to(exchange) as socket:  # and a new one lives
            await texts_of(socket, 400)
    async with exchange_of("fin@0.2") as exchange:
        assert await raw_end(exchange) == "end"
    async with exchange_of("close@0.2") as exchange:
        assert await raw_end(exchange) == "close frame"
    async with exchange_of("close@0.2:1012") as exchange, socket_to(exchange) as socket:
        async for _ in socket:
            pass
        assert socket.close_code == 1012


@pytest.mark.asyncio
async def test_refused_for_a_while_then_back() -> None:
    async with exchange_of("refused@0.2:1") as exchange:
        assert await raw_end(exchange) == "reset"
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(exchange, "ping")
        while True:
            try:
                assert await fetch(exchange, "ping") == {}
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
        async with socket_to(exchange) as socket:
            assert await socket.receive_str()


async def heard_before_answer(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """What came until the exchange answered a question: answers come in order with everything else."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    found = []
    while "id" not in (message := json.loads(await socket.receive_str())):
        found.append(message["data"])
    return found


@pytest.mark.asyncio
async def test_a_stalled_connection_says_nothing_while_a_new_one_is_served() -> None:
    async with exchange_of("stall@0.3") as exchange, socket_to(exchange) as stalled:
        while not exchange.counts().faults:
            await asyncio.sleep(0.01)
        async with socket_to(exchange) as served:
            await texts_of(served, 800)
        heard = await heard_before_answer(stalled)
        assert heard
        assert max(stamped(data) for data in heard) <= 300
        assert not stalled.closed


@pytest.mark.asyncio
async def test_a_stall_of_some_time_ends_and_what_came_in_it_is_lost() -> None:
    async with exchange_of("stall@0.3:0.4") as exchange, socket_to(exchange) as socket:
        texts = await texts_of(socket, 1_000)
    assert not [text for text in texts if 320 < _stamp(text) < 680]
    assert breaks_of(depths_of(texts)) == 1


@pytest.mark.asyncio
async def test_a_connection_that_is_mute_from_its_start() -> None:
    async with exchange_of("mute@0:60", waits=False) as exchange:
        while not exchange.counts().faults:
            await asyncio.sleep(0.01)
        async with socket_to(exchange) as socket:
            start = (await fetch(exchange, "depth?symbol=BTCUSDT"))["lastUpdateId"]
            while (await fetch(exchange, "depth?symbol=BTCUSDT"))["lastUpdateId"] < start + 20:
                await asyncio.sleep(0.02)
            assert await heard_before_answer(socket) == []


@pytest.mark.asyncio
async def test_one_channel_falls_silent_alone() -> None:
    async with exchange_of("channel@0.3:depth") as exchange, socket_to(exchange) as socket:
        texts = await texts_of(socket, 1_000)
    assert max(stamped(data) for data in depths_of(texts)) <= 300
    assert len([text for text in texts if "bookTicker" in text and _stamp(text) > 400]) > 3


@pytest.mark.asyncio
async def test_a_burst_is_ten_times_the_messages_in_the_same_time() -> None:
    async with exchange_of("burst@0.5:10/0.5") as exchange, socket_to(exchange) as socket:
        texts = await texts_of(socket, 1_500)
    stamps = [stamped(data) for data in depths_of(texts)]
    before, within = sum(each < 500 for each in stamps), sum(500 <= each < 1_000 for each in stamps)
    assert before <= 6
    assert 30 <= within <= 51


@pytest.mark.asyncio
async def test_a_client_that_lets_its_queue_overflow_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "QUEUE_FRAMES", 2)
    async with exchange_of(speed=200) as exchange:
        assert await raw_end(exchange) == "reset"
        assert exchange.counts().overflows >= 1


# -- faults of REST -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("limited", 429), ("banned", 418), ("broken", 503)])
@pytest.mark.asyncio
async def test_rest_refuses_for_a_while(name: str, status: int) -> None:
    async with exchange_of(f"{name}@0:0.5", waits=False) as exchange, aiohttp.ClientSession() as session:
        while not exchange.counts().faults:
            await asyncio.sleep(0.01)
        statuses: list[int] = []
        while not statuses or statuses[-1] != 200:
            async with session.get(f"{exchange.rest_address}/fapi/v1/depth?symbol=BTCUSDT") as answer:
                statuses.append(answer.status)
                if answer.status in (418, 429):
                    assert int(answer.headers["Retry-After"]) == 1
                    assert (await answer.json())["code"] == -1003
            await asyncio.sleep(0.05)
        assert set(statuses[:-1]) == {status}
        assert exchange.counts().refused_requests == len(statuses) - 1


@pytest.mark.asyncio
async def test_rest_is_slow_and_the_stream_is_not() -> None:
    async with exchange_of("slow@0:0.6/30", waits=False) as exchange, socket_to(exchange) as socket:
        while not exchange.counts().faults:
            await asyncio.sleep(0.01)
        began_ns = time.monotonic_ns()
        await fetch(exchange, "ping")
        assert time.monotonic_ns() - began_ns >= 0.6 * NS_PER_SECOND
        assert len(await heard_before_answer(socket)) > 3


@pytest.mark.asyncio
async def test_settlements_go_missing_come_twice_and_come_late() -> None:
    faults = ("funding_missing@0", "funding_twice@0", "funding_late@0:1")
    async with exchange_of(*faults, waits=False, settings=SeededSettings(funding_seconds=1)) as exchange:
        seen: dict[int, int] = {}  # settlement to when it was first listed, seconds of the venue's clock
        while 3 not in seen or 4 not in seen:
            rows = await fetch(exchange, f"fundingRate?symbol=BTCUSDT&startTime={START_MS + 1}")
            now_ms = exchange.now_ms() - START_MS
            times = [(row["fundingTime"] - START_MS) // 1_000 for row in rows]
            for each in times:
                seen.setdefault(each, now_ms)
            await asyncio.sleep(0.05)
        assert 1 not in times
        assert times.count(2) == 2
        assert times.count(3) == times.count(4) == 1
        assert seen[3] >= 4_000


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gap", "no time"),
        ("nothing@3", "none of the faults"),
        ("gap@soon", "no number"),
        ("gap@-1", "out of range"),
        ("gap@nan", "out of range"),
        ("gap@1:0", "out of range"),
        ("gap@1:2/BTCUSDT/3", "3 values"),
        ("channel@1:books", "names the channel"),
    ],
)
def test_a_fault_that_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_faults([text])


def test_faults_are_listed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exchange", "--faults", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [kind.value for kind in FaultKind]
    assert [info.kind for info in TABLE] == list(FaultKind)
    assert run(["exchange", "--faults"]) == 0
    assert "Retry-After" in capsys.readouterr().out


def test_a_capture_and_a_seed_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exchange", "--capture", "x", "--seed", "1"]) == 64
    assert "Leave one of them out" in capsys.readouterr().err
    assert run(["exchange", "--port", "0", "--fault", "gap@1:1/NONE"]) == 64
    assert "NONE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--speed", "nan"], "--speed"),
        (["--speed", "0.0001"], "--speed"),
        (["--rate", "inf"], "--rate"),
        (["--symbol", "BTC"], "BTC"),
    ],
)
def test_a_setting_that_makes_no_market_is_named(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["exchange", "--port", "0", *arguments]) == 64
    assert says in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_named() -> None:
    async with exchange_of() as first:
        second = LoopbackExchange(SeededMarket(SeededSettings()), ExchangeOptions(port=first.port))
        with pytest.raises(UsageError, match=str(first.port)):
            async with second.running():
                pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_and_stops_cleanly(number: signal.Signals) -> None:
    main = "from daemon.cli import main; main()"
    command = [sys.executable, "-c", main, "exchange", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        asyncio.run(_hear_once(first["websocket"]))
        process.send_signal(number)
        last = json.loads(process.stdout.readline())
        assert (process.wait(), process.stderr.read()) == (0, "")
    assert first["event"] == "listening"
    assert (last["event"], last["reason"], last["connections"]) == ("stopped", number.name, 1)


async def _hear_once(address: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/stream?streams={STREAMS}") as socket:
        assert await socket.receive_str()
