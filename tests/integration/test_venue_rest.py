"""What a venue is asked by REST: lists and their cache, bars, funding, its clock, on real sockets and files."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from adapters.feeds.exchange import read_listing
from adapters.feeds.venues import VENUES
from adapters.loopback.faults import parse_faults
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import GateLimits, RestGate, RestUnavailableError
from adapters.venue_rest.fees import venue_fees
from adapters.venue_rest.funding import SettledFunding, settled_funding
from adapters.venue_rest.kline_rows import KlineBar
from adapters.venue_rest.klines import klines
from adapters.venue_rest.lists import InstrumentCache, fetch_lists, instrument_lists, list_addresses
from adapters.venue_rest.server_time import ROUNDS, clock_offset_ns, time_address
from engine.bars import NS_PER_MS, NS_PER_SECOND, timeframe_ns
from engine.errors import DataError, InputMissingError, UsageError
from tests import feeds
from tests.rest_server import RestServer, rest_server

pytestmark = pytest.mark.asyncio
USDM, SPOT = VENUES["BINANCE_FUTURES"], VENUES["BINANCE"]
QUICK = GateLimits(attempts=2, backoff_seconds=0.02, timeout_seconds=10, patience_seconds=5, weight_per_minute=100_000)
MINUTE_NS = 60 * NS_PER_SECOND
# 2023-11-14 22:13:20 UTC
NOW_NS = 1_700_000_000 * NS_PER_SECOND


@asynccontextmanager
async def exchange_and_gate(
    *faults: str, funding_seconds: int = 60
) -> AsyncIterator[tuple[LoopbackExchange, RestGate]]:
    market = SeededMarket(SeededSettings(funding_seconds=funding_seconds))
    exchange = LoopbackExchange(market, ExchangeOptions(faults=parse_faults(faults)))
    async with exchange.running(), RestGate(QUICK) as gate:
        yield exchange, gate


@asynccontextmanager
async def server_and_gate(answer: Callable[[web.Request], Any]) -> AsyncIterator[tuple[RestServer, RestGate]]:
    """A server that sends what `answer` returns, as JSON unless it is bytes or a whole response."""

    async def answering(request: web.Request) -> web.StreamResponse:
        content = answer(request)
        if isinstance(content, web.StreamResponse):
            return content
        return web.Response(body=content if isinstance(content, bytes) else json.dumps(content).encode())

    async with rest_server(answering) as server, RestGate(QUICK) as gate:
        yield server, gate


# -- lists ----------------------------------------------------------------------------------------------------------

ADDRESS_TABLE = {
    "BINANCE": ["https://api.binance.com/api/v3/exchangeInfo"],
    "BINANCE_FUTURES": ["https://fapi.binance.com/fapi/v1/exchangeInfo"],
    "BYBIT": [
        "https://api.bybit.com/v5/market/instruments-info?&category=linear&status=Trading&limit=1000",
        "https://api.bybit.com/v5/market/instruments-info?&category=spot&status=Trading&limit=1000",
    ],
    "OKX": [
        f"https://www.okx.com/api/v5/public/instruments?instType={kind}"
        for kind in ("SPOT", "SWAP", "FUTURES", "OPTION&uly=BTC-USD", "OPTION&uly=ETH-USD")
    ],
    "KRAKEN": ["https://api.kraken.com/0/public/AssetPairs"],
    "KRAKEN_FUTURES": ["https://futures.kraken.com/derivatives/api/v3/instruments"],
    "COINBASE": ["https://api.coinbase.com/api/v3/brokerage/market/products"],
    "DERIBIT": [
        f"https://www.deribit.com/api/v2/public/get_instruments?currency={currency}"
        for currency in ("BTC", "ETH", "USDC", "SOL")
    ],
    "BITMEX": ["https://www.bitmex.com/api/v1/instrument/active"],
}
# What each address is answered with, in their order, and a name that must be found.
LIST_TABLE: dict[str, tuple[Sequence[object], str]] = {
    "BINANCE_FUTURES": ([feeds.BINANCE_LIST], "BTC-USDT-PERP"),
    "BYBIT": ([feeds.BYBIT_LIST, feeds.BYBIT_SPOT_LIST], "BTC-USDT"),
    "OKX": ([feeds.OKX_SPOT_LIST, feeds.OKX_LIST, {"data": []}, {"data": []}, {"data": []}], "BTC-USDT-PERP"),
    "KRAKEN": ([feeds.KRAKEN_LIST], "BTC-USD"),
    "KRAKEN_FUTURES": ([feeds.KRAKEN_FUTURES_LIST], "BTC-USD-PERP"),
    "COINBASE": ([feeds.COINBASE_LIST], "BTC-USD"),
    "DERIBIT": ([feeds.DERIBIT_LIST, {"result": []}, {"result": []}, {"result": []}], "BTC-USD-PERP"),
    "BITMEX": ([feeds.BITMEX_LIST], "BTC-USD-PERP"),
}


@pytest.mark.parametrize("exchange", ADDRESS_TABLE)
async def test_the_addresses_of_lists(exchange: str) -> None:
    assert list_addresses(VENUES[exchange]) == ADDRESS_TABLE[exchange]
    for address in list_addresses(VENUES[exchange], "http://127.0.0.1:8/"):
        assert address.startswith("http://127.0.0.1:8/")
        assert address.removeprefix("http://127.0.0.1:8") in ADDRESS_TABLE[exchange][0] or "?" in address


@pytest.mark.parametrize("exchange", LIST_TABLE)
async def test_lists_are_fetched_in_the_order_in_which_they_are_read(exchange: str) -> None:
    bodies, name = LIST_TABLE[exchange]
    paths = [each.partition("://")[2].partition("/")[2] for each in list_addresses(VENUES[exchange])]
    by_path = dict(zip((f"/{path}" for path in paths), bodies, strict=True))
    async with server_and_gate(lambda request: by_path[request.path_qs]) as (server, gate):
        found = await fetch_lists(gate, VENUES[exchange], server.address)
        assert found == feeds.list_bodies(*bodies)
        assert name in read_listing(VENUES[exchange], found).names


async def test_lists_of_the_exchange_are_kept_for_when_it_is_gone(tmp_path: Path) -> None:
    cache = InstrumentCache(tmp_path / "lists")
    async with exchange_and_gate() as (exchange, gate):
        rest = exchange.rest_address
        fresh = await instrument_lists(gate, USDM, cache, rest, lambda: NOW_NS)
        assert (fresh.is_cached, fresh.note, fresh.fetched_ns) == (False, "", NOW_NS)
        assert fresh.listing.instruments["BTCUSDT"].tick_size == Decimal("0.10")
    async with RestGate(QUICK) as gate:
        kept = await instrument_lists(gate, USDM, InstrumentCache(tmp_path / "lists"), rest)
    assert (kept.bodies, kept.is_cached, kept.fetched_ns) == (fresh.bodies, True, NOW_NS)
    assert "did not answer" in kept.note
    assert "2023-11-14 22:13+00:00" in kept.note
    assert [path.name for path in (tmp_path / "lists").iterdir()] == ["BINANCE_FUTURES-127.0.0.1.lists.zst"]


BAD_ANSWERS: list[tuple[str, Callable[[web.Request], Any]]] = [
    ("answered 418", lambda _: web.Response(status=418, headers={"Retry-After": "3600"})),
    ("answered 503", lambda _: web.Response(status=503)),
    ("has a form", lambda _: b"<html>maintenance</html>"),
    ("has a form", lambda _: {"code": -1}),
    ("has a form", lambda _: b"\xff\xfe"),
    ("is empty", lambda _: {"symbols": []}),
]


@pytest.mark.parametrize(("words", "answer"), BAD_ANSWERS)
async def test_a_bad_answer_is_not_kept_and_the_last_good_one_is_taken(
    tmp_path: Path, words: str, answer: Callable[[web.Request], Any]
) -> None:
    cache = InstrumentCache(tmp_path)
    answers: list[Callable[[web.Request], Any]] = [lambda _: feeds.BINANCE_LIST]

    def answering(request: web.Request) -> Any:
        return answers[-1](request)

    async with server_and_gate(answering) as (server, gate):
        await instrument_lists(gate, USDM, cache, server.address)
        kept_before = cache.path(USDM, server.address).read_bytes()
        answers.append(answer)
        found = await instrument_lists(gate, USDM, cache, server.address)
        assert found.is_cached
        assert words in found.note
        assert "BTC-USDT-PERP" in found.listing.names
        assert cache.path(USDM, server.address).read_bytes() == kept_before


async def test_without_venue_and_cache_there_is_an_error(tmp_path: Path) -> None:
    async with server_and_gate(lambda _: web.Response(status=503)) as (server, gate):
        with pytest.raises(RestUnavailableError, match="answered 503"):
            await instrument_lists(gate, USDM, InstrumentCache(tmp_path), server.address)


async def test_a_cache_that_is_damaged_or_another_venues_is_none(tmp_path: Path) -> None:
    cache = InstrumentCache(tmp_path)
    bodies = feeds.list_bodies(feeds.BINANCE_LIST)
    cache.store(USDM, "", bodies, NOW_NS)
    path = cache.path(USDM)
    whole = path.read_bytes()
    loaded = cache.load(USDM)
    assert loaded is not None
    assert (loaded.bodies, loaded.fetched_ns) == (bodies, NOW_NS)
    assert cache.load(USDM, "http://127.0.0.1:1") is None
    assert cache.load(SPOT) is None
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], b"x" + whole[1:], _flipped(whole)):
        path.write_bytes(damaged)
        assert cache.load(USDM) is None
    cache.path(SPOT).write_bytes(whole)
    assert cache.load(SPOT) is None


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


async def test_a_cache_that_cannot_be_written_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = InstrumentCache(tmp_path / "file" / "lists")
    async with server_and_gate(lambda _: feeds.BINANCE_LIST) as (server, gate):
        found = await instrument_lists(gate, USDM, cache, server.address)
        assert not found.is_cached
        assert "were not kept" in found.note


# -- bars -----------------------------------------------------------------------------------------------------------


async def test_bars_of_the_exchange_close_before_now() -> None:
    async with exchange_and_gate() as (exchange, gate):
        now_ns = exchange.now_ms() * NS_PER_MS
        found = await klines(gate, USDM, "BTCUSDT", "1m", 300, rest=exchange.rest_address, now_ns=now_ns)
        assert [bar.open_ns for bar in found.bars] == [
            now_ns // MINUTE_NS * MINUTE_NS - count * MINUTE_NS for count in range(300, 0, -1)
        ]
        assert found.partial is not None
        assert found.partial.open_ns == now_ns // MINUTE_NS * MINUTE_NS
        assert all(bar.volume > 0 for bar in found.bars)


async def test_longer_bars_are_put_together_exactly() -> None:
    async with exchange_and_gate() as (exchange, gate):
        now_ns = exchange.now_ms() * NS_PER_MS
        rest = exchange.rest_address
        minutes = await klines(gate, USDM, "BTCUSDT", "1m", 1_400, rest=rest, now_ns=now_ns)
        for timeframe, interval in (("45m", "15m"), ("7m", "1m"), ("90m", "30m")):
            length_ns = timeframe_ns(timeframe)
            found = await klines(gate, USDM, "BTCUSDT", timeframe, 6, rest=rest, now_ns=now_ns)
            assert found.interval == interval
            assert [bar.open_ns for bar in found.bars] == [
                now_ns // length_ns * length_ns - count * length_ns for count in range(6, 0, -1)
            ]
            assert found.bars == [_of_minutes(minutes.bars, bar.open_ns, length_ns) for bar in found.bars]


def _of_minutes(minutes: Sequence[KlineBar], open_ns: int, length_ns: int) -> KlineBar:
    inside = [bar for bar in minutes if open_ns <= bar.open_ns < open_ns + length_ns]
    assert len(inside) == length_ns // MINUTE_NS
    high, low = max(bar.high for bar in inside), min(bar.low for bar in inside)
    return KlineBar(open_ns, inside[0].open, high, low, inside[-1].close, sum(bar.volume for bar in inside))


def venue_rows(start_ns: int, step_ns: int, count: int) -> list[list[object]]:
    return [
        [(start_ns + number * step_ns) // NS_PER_MS, "100.5", f"{101 + number}", "99", "100.25", "3.000", 0, "0", 7]
        for number in range(count)
    ]


def paging(rows: list[list[object]], most: int) -> Callable[[web.Request], Any]:
    def answer(request: web.Request) -> Any:
        start_ms, limit = int(request.query["startTime"]), int(request.query["limit"])
        assert limit <= most
        return [row for row in rows if int(str(row[0])) >= start_ms][:limit]

    return answer


@pytest.mark.parametrize(
    ("exchange", "most", "path"), [("BINANCE", 1_000, "/api/v3"), ("BINANCE_FUTURES", 1_500, "/fapi/v1")]
)
async def test_many_bars_come_in_pages(exchange: str, most: int, path: str) -> None:
    first_ns = NOW_NS // MINUTE_NS * MINUTE_NS - 3_200 * MINUTE_NS
    rows = venue_rows(first_ns, MINUTE_NS, 3_201)
    async with server_and_gate(paging(rows, most)) as (server, gate):
        found = await klines(gate, VENUES[exchange], "X", "1m", 3_200, rest=server.address, now_ns=NOW_NS)
        assert [bar.high for bar in found.bars] == [101 + number for number in range(3_200)]
        assert found.partial is not None
        assert found.partial.high == 101 + 3_200
        assert len(server.arrivals) == -(-3_201 // most)
        assert server.arrivals[0][1].startswith(f"{path}/klines?symbol=X&interval=1m&startTime=")


async def test_a_young_instrument_has_fewer_bars_and_none_without_its_beginning() -> None:
    first_ns = NOW_NS // (45 * MINUTE_NS) * 45 * MINUTE_NS - 90 * MINUTE_NS + 15 * MINUTE_NS
    rows = venue_rows(first_ns, 15 * MINUTE_NS, (NOW_NS - first_ns) // (15 * MINUTE_NS) + 1)
    async with server_and_gate(paging(rows, 1_500)) as (server, gate):
        found = await klines(gate, USDM, "X", "45m", 500, rest=server.address, now_ns=NOW_NS)
        assert [bar.open_ns for bar in found.bars] == [first_ns + 30 * MINUTE_NS]


async def test_what_is_closed_and_what_is_open() -> None:
    """Now is 45 s into the second minute of the three that the venue gives: its clock has gone on meanwhile."""
    start_ns = NOW_NS // MINUTE_NS * MINUTE_NS
    cases = [
        # rows, now after their start in s, closed, has partial, why
        (0, 0, 0, False, "nothing at all"),
        (1, 30, 0, True, "one, open"),
        (1, 60, 1, False, "one, just closed"),
        (2, 105, 1, True, "the second is open"),
        (3, 105, 2, True, "what a later one follows is closed"),
    ]
    for count, seconds, closed, has_partial, why in cases:
        rows = venue_rows(start_ns, MINUTE_NS, count)
        async with server_and_gate(lambda _request, rows=rows: rows) as (server, gate):
            now_ns = start_ns + seconds * NS_PER_SECOND
            found = await klines(gate, USDM, "X", "1m", seconds // 60, rest=server.address, now_ns=now_ns)
            assert (len(found.bars), found.partial is not None) == (closed, has_partial), why


BAD_ROWS: list[tuple[list[object] | bytes, str]] = [
    # the second row, the words of the error
    ([60_000, "NaN", "101", "99", "100", "1"], "row 2 of X's 1m bars .* number that cannot be read"),
    ([60_000, "100", "Infinity", "99", "100", "1"], "row 2 .* number that cannot be read"),
    ([60_000, "100", "101", "ninety", "100", "1"], "row 2 .* number that cannot be read"),
    ([60_000, "1" * 50, "101", "99", "100", "1"], "row 2 .* number that cannot be read"),
    ([60_000, "100", "101", "0", "100", "1"], "row 2 .* not above 0"),
    ([60_000, "-100", "101", "-101", "100", "1"], "row 2 .* not above 0"),
    ([60_000, "100", "101", "99", "100", "-1"], "row 2 .* a volume below"),
    ([60_000, "102", "101", "99", "100", "1"], "row 2 .* outside low and high"),
    ([60_000, "100", "101", "99", "98", "1"], "row 2 .* outside low and high"),
    ([120_000, "100", "101", "99", "100", "1"], "row 2 .* does not follow"),
    ([0, "100", "101", "99", "100", "1"], "row 2 .* does not follow"),
    ([60_001, "100", "101", "99", "100", "1"], "row 2 .* no multiple"),
    (["60000", "100", "101", "99", "100", "1"], "have a form that is not Binance's"),
    ([60_000, 100.0, 101, 99, 100, 1], "have a form that is not Binance's"),
    ([60_000, "100"], "have a form that is not Binance's"),
    (b'{"code":0}', "have a form that is not Binance's"),
    (b"\x00garbage", "have a form that is not Binance's"),
]


@pytest.mark.parametrize(("row", "words"), BAD_ROWS)
async def test_rows_that_cannot_be_right_are_named(row: list[object] | bytes, words: str) -> None:
    start_ms = NOW_NS // MINUTE_NS * 60_000 - 180_000
    rows: Any = row
    if isinstance(row, list):
        moved = [start_ms + row[0] if isinstance(row[0], int) else row[0], *row[1:]]
        rows = [[start_ms, "100", "101", "99", "100", "1"], moved]
    async with server_and_gate(lambda _: rows) as (server, gate):
        with pytest.raises(DataError, match=words) as caught:
            await klines(gate, USDM, "X", "1m", 3, rest=server.address, now_ns=NOW_NS)
        assert "paper.warmup" in caught.value.remedy


async def test_what_has_no_history_says_what_to_do() -> None:
    async with RestGate(QUICK) as gate:
        for venue, timeframe, words in (
            (USDM, "1s", "BINANCE_FUTURES has no bars of 1s"),
            (USDM, "90s", "no bars of 90s"),
            (VENUES["KRAKEN"], "1m", "of BINANCE and BINANCE_FUTURES they can"),
        ):
            with pytest.raises(InputMissingError, match=words) as caught:
                await klines(gate, venue, "X", timeframe, 5, now_ns=NOW_NS)
            assert "`files`" in caught.value.remedy
            assert "`none`" in caught.value.remedy
        with pytest.raises(UsageError):
            await klines(gate, USDM, "X", "1y", 5, now_ns=NOW_NS)
        assert gate.statistics() == []


async def test_an_unknown_symbol_is_told_in_the_venues_words() -> None:
    async with exchange_and_gate() as (exchange, gate):
        with pytest.raises(RestUnavailableError, match="Invalid symbol"):
            await klines(gate, USDM, "NOSUCH", "1m", 5, rest=exchange.rest_address, now_ns=NOW_NS)


# -- funding --------------------------------------------------------------------------------------------------------


async def test_funding_of_the_exchange_that_was_before_the_start() -> None:
    async with exchange_and_gate(funding_seconds=3600) as (exchange, gate):
        since_ns = exchange.now_ms() * NS_PER_MS - 10 * 3600 * NS_PER_SECOND
        found = await settled_funding(gate, USDM, "BTCUSDT", since_ns=since_ns, rest=exchange.rest_address)
        hour_ns = 3600 * NS_PER_SECOND
        first_ns = -(-since_ns // hour_ns) * hour_ns
        assert [each.ts_ns for each in found] == [first_ns + count * hour_ns for count in range(len(found))]
        assert len(found) == 10
        assert all(Decimal(each.mark) > 0 for each in found)


async def test_funding_that_the_exchange_lists_twice_is_there_once() -> None:
    async with exchange_and_gate("funding_twice@0:BTCUSDT", funding_seconds=1) as (exchange, gate):
        since_ns = exchange.now_ms() * NS_PER_MS - 10 * NS_PER_SECOND
        address = f"{exchange.rest_address}/fapi/v1/fundingRate?symbol=BTCUSDT&startTime={since_ns // NS_PER_MS}"
        with anyio.fail_after(30):
            while not _doubled(json.loads((await gate.get(address)).body)):
                await anyio.sleep(0.05)
        found = await settled_funding(gate, USDM, "BTCUSDT", since_ns=since_ns, rest=exchange.rest_address)
        times = [each.ts_ns for each in found]
        assert times == list(range(times[0], times[-1] + 1, NS_PER_SECOND))


def _doubled(rows: list[dict[str, Any]]) -> bool:
    return len(rows) > len({row["fundingTime"] for row in rows})


def funding_row(time_ms: int, rate: str = "0.0001", mark: str = "60000.1") -> dict[str, object]:
    return {"symbol": "X", "fundingTime": time_ms, "fundingRate": rate, "markPrice": mark}


async def test_funding_times_are_whole_seconds_and_marks_may_be_unknown() -> None:
    rows = [funding_row(28_800_007), funding_row(57_599_998, "-0.0003", ""), funding_row(86_400_000, "0", "0.00000000")]
    async with server_and_gate(lambda _: rows) as (server, gate):
        found = await settled_funding(gate, USDM, "X", since_ns=0, rest=server.address)
        assert found == [
            SettledFunding(28_800 * NS_PER_SECOND, "0.0001", "60000.1"),
            SettledFunding(57_600 * NS_PER_SECOND, "-0.0003", ""),
            SettledFunding(86_400 * NS_PER_SECOND, "0", ""),
        ]


async def test_long_funding_comes_in_pages() -> None:
    rows = [funding_row(number * 3_600_000 + 3) for number in range(1, 2_302)]

    def answer(request: web.Request) -> Any:
        start_ms, limit = int(request.query["startTime"]), int(request.query["limit"])
        return [row for row in rows if int(str(row["fundingTime"])) >= start_ms][:limit]

    async with server_and_gate(answer) as (server, gate):
        found = await settled_funding(gate, USDM, "X", since_ns=3600 * NS_PER_SECOND, rest=server.address)
        assert [each.ts_ns // NS_PER_SECOND for each in found] == [3600 * number for number in range(1, 2_302)]
        assert len(server.arrivals) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([funding_row(1_000, "NaN")], "number that cannot be read at 1000 ms"),
        ([funding_row(1_000, "")], "number that cannot be read"),
        ([funding_row(1_000, mark="Infinity")], "number that cannot be read"),
        ([funding_row(1_000), funding_row(1_001, "0.0002")], "two rates for the settlement"),
        ([funding_row(0)], "goes back"),
        ([{"fundingTime": "1000", "fundingRate": "0"}], "not Binance's"),
        (b"garbage", "not Binance's"),
    ],
)
async def test_funding_that_cannot_be_right_is_an_error(rows: object, words: str) -> None:
    async with server_and_gate(lambda _: rows) as (server, gate):
        with pytest.raises(DataError, match=words):
            await settled_funding(gate, USDM, "X", since_ns=0, rest=server.address)


async def test_funding_of_other_venues_is_not_read_here() -> None:
    async with RestGate(QUICK) as gate:
        with pytest.raises(InputMissingError, match="of BINANCE_FUTURES it can"):
            await settled_funding(gate, VENUES["OKX"], "X", since_ns=0)


# -- the venue's clock ----------------------------------------------------------------------------------------------

HOUR_NS = 3600 * NS_PER_SECOND


@pytest.mark.parametrize("wrong_ns", [0, HOUR_NS, -HOUR_NS, 1_270 * NS_PER_MS])
async def test_the_offset_to_the_exchanges_clock_is_within_what_it_claims(wrong_ns: int) -> None:
    async with exchange_and_gate() as (exchange, gate):
        offset = await clock_offset_ns(gate, USDM, exchange.rest_address, lambda: time.time_ns() - wrong_ns)
        # The exchange's clock is this host's at its start, and then the monotonic one.
        assert abs(offset.offset_ns - wrong_ns) <= offset.uncertainty_ns + 5 * NS_PER_MS
        assert offset.source == f"{exchange.rest_address}/fapi/v1/time"
        assert gate.statistics()[0].requests == ROUNDS


CLOCK_TABLE: list[tuple[str, str, Callable[[int], object], int]] = [
    # exchange, path, body at a time in ns, resolution in ns
    ("BINANCE", "/api/v3/time", lambda ns: {"serverTime": ns // 10**6}, 10**6),
    ("BINANCE_FUTURES", "/fapi/v1/time", lambda ns: {"serverTime": ns // 10**6}, 10**6),
    ("BITGET", "/api/v2/public/time", lambda ns: {"data": {"serverTime": str(ns // 10**6)}}, 10**6),
    ("BITMEX", "/api/v1", lambda ns: {"name": "BitMEX API", "timestamp": ns // 10**6}, 10**6),
    ("BYBIT", "/v5/market/time", lambda ns: {"result": {"timeSecond": "1", "timeNano": str(ns)}}, 1),
    ("COINBASE", "/api/v3/brokerage/time", lambda ns: {"epochMillis": str(ns // 10**6)}, 10**6),
    ("DERIBIT", "/api/v2/public/get_time", lambda ns: {"jsonrpc": "2.0", "result": ns // 10**6}, 10**6),
    ("KRAKEN", "/0/public/Time", lambda ns: {"error": [], "result": {"unixtime": ns // 10**9}}, 10**9),
    ("KRAKEN_FUTURES", "/derivatives/api/v3/tickers/PF_XBTUSD", lambda ns: {"serverTime": _iso(ns)}, 10**6),
    ("OKX", "/api/v5/public/time", lambda ns: {"code": "0", "data": [{"ts": str(ns // 10**6)}]}, 10**6),
]


def _iso(ts_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts_ns // 10**9)) + f".{ts_ns // 10**6 % 1000:03d}Z"


@pytest.mark.parametrize(("exchange", "path", "body", "resolution_ns"), CLOCK_TABLE)
async def test_each_venues_clock_is_read(
    exchange: str, path: str, body: Callable[[int], object], resolution_ns: int
) -> None:
    async with server_and_gate(lambda _: body(time.time_ns() + HOUR_NS)) as (server, gate):
        offset = await clock_offset_ns(gate, VENUES[exchange], server.address)
        assert server.arrivals[0][1] == path
        assert offset.source == time_address(VENUES[exchange], server.address) == f"{server.address}{path}"
        assert abs(offset.offset_ns - HOUR_NS) <= offset.uncertainty_ns
        assert offset.uncertainty_ns <= resolution_ns + NS_PER_SECOND


@pytest.mark.parametrize("body", [b"", b"garbage", b"{}", b'{"serverTime":"soon"}', b'{"serverTime":-5}', b"[1]"])
async def test_a_clock_that_cannot_be_read_gives_way_to_the_header(body: bytes) -> None:
    async with server_and_gate(lambda _: body) as (server, gate):
        offset = await clock_offset_ns(gate, USDM, server.address, lambda: time.time_ns() - HOUR_NS)
        assert offset.source == "HTTP Date header"
        assert offset.uncertainty_ns >= NS_PER_SECOND
        assert abs(offset.offset_ns - HOUR_NS) <= offset.uncertainty_ns + NS_PER_SECOND


async def test_neither_clock_nor_header_is_an_error() -> None:
    async with server_and_gate(lambda _: web.Response(body=b"{}", headers={"Date": "today"})) as (server, gate):
        with pytest.raises(DataError, match="without saying a time"):
            await clock_offset_ns(gate, USDM, server.address)


async def test_a_clock_that_is_set_between_rounds_takes_the_narrowest() -> None:
    async with server_and_gate(lambda _: {"serverTime": time.time_ns() // 10**6}) as (server, gate):
        steps = iter([0, 0, 10**12, 10**12, 10**12])
        offset = await clock_offset_ns(gate, USDM, server.address, lambda: time.time_ns() - next(steps))
        nearest_ns = min(abs(offset.offset_ns), abs(offset.offset_ns - 10**12))
        assert nearest_ns <= offset.uncertainty_ns < NS_PER_SECOND


# -- fees -----------------------------------------------------------------------------------------------------------


async def test_every_venue_has_its_fees_with_a_page() -> None:
    for venue in VENUES.values():
        if venue.exchange == "BITGET":
            continue
        perpetual, spot = venue_fees(venue.name, "perpetual"), venue_fees(venue.spot_name, "spot")
        assert perpetual or spot, venue.exchange
        for fees in filter(None, (perpetual, spot)):
            assert Decimal(0) <= fees.maker_bps <= fees.taker_bps <= 60
            assert fees.page
    usdm = venue_fees("binance_usdm", "perpetual")
    assert usdm is not None
    assert (usdm.maker_bps, usdm.taker_bps) == (2, 5)
    assert venue_fees("binance_usdm", "spot") is None
    assert venue_fees("nowhere", "spot") is None
