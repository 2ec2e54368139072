"""Downloads from the loopback exchange: the very bars, whatever goes wrong on the way, and only what is missing."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import msgspec
import numpy as np
import pytest
from aiohttp import web

from adapters.bar_files import content_hash, path_of, read_bars, stored_sources, write_bars
from adapters.bar_import import import_bars
from adapters.bar_quality import Gap
from adapters.downloads.download import download
from adapters.downloads.model import DownloadOrder, DownloadReport
from adapters.funding_files import funding_path, import_funding, mark_path, read_funding, read_mark, read_stored
from adapters.loopback.faults import parse_faults
from adapters.loopback.history import History
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import GateLimits, RestGate, RestUnavailableError
from adapters.synthetic_market import synthesize
from engine.bars import NS_PER_MS, NS_PER_SECOND, Bars
from engine.errors import DataError, InputMissingError, UsageError
from tests.rest_server import RestServer, rest_server

pytestmark = pytest.mark.asyncio

SHARED = Path(__file__).parents[3] / "shared" / "data"
MINUTE_NS = 60 * NS_PER_SECOND
HOUR_NS = 60 * MINUTE_NS
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01
COUNT = 6_000
END_NS = START_NS + COUNT * MINUTE_NS
QUICK = GateLimits(attempts=6, backoff_seconds=0.03, timeout_seconds=2, patience_seconds=5, weight_per_minute=100_000)
ORDER = DownloadOrder("BTCUSDT", "1m", START_NS, END_NS)


def made_up(count: int = COUNT) -> Bars:
    bars = synthesize("BTCUSDT", "1m", count, 5)
    return msgspec.structs.replace(bars, ts_ns=START_NS + np.arange(count) * MINUTE_NS)


def without(bars: Bars, *places: int) -> Bars:
    keep = np.ones(len(bars), np.bool_)
    keep[list(places)] = False
    columns = {name: getattr(bars, name)[keep] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
    return msgspec.structs.replace(bars, **columns)


@asynccontextmanager
async def exchange_with(
    bars: Bars | None = None, *faults: str, history: History | None = None
) -> AsyncIterator[LoopbackExchange]:
    history = history or History()
    if bars is not None:
        history.add_bars(bars)
    options = ExchangeOptions(1, parse_faults(faults))
    exchange = LoopbackExchange(SeededMarket(SeededSettings()), options, history)
    async with exchange.running():
        await anyio.sleep(0.05)  # so that faults at 0 have begun
        yield exchange


async def fetched(
    home: Path, exchange: LoopbackExchange, order: DownloadOrder = ORDER, pages: int = 20
) -> DownloadReport:
    order = msgspec.structs.replace(order, rest=exchange.rest_address)
    async with RestGate(QUICK) as gate:
        return await download(gate, home, order, pages_a_piece=pages)


def stored(home: Path) -> Bars:
    return read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m")


async def test_what_the_venue_has_is_what_is_stored(tmp_path: Path) -> None:
    bars = made_up()
    async with exchange_with(bars) as exchange:
        report = await fetched(tmp_path, exchange)
    assert content_hash(stored(tmp_path)) == content_hash(bars) == report.content_sha256
    assert (report.rows_count, report.rows_fetched, report.gaps) == (COUNT, COUNT, ())
    assert stored_sources(path_of(tmp_path, "BTCUSDT", "1m")) == (f"{exchange.rest_address}/fapi/v1/klines",)


async def test_spot_comes_in_pages_of_its_own(tmp_path: Path) -> None:
    async with exchange_with(made_up()) as exchange:
        report = await fetched(tmp_path, exchange, msgspec.structs.replace(ORDER, exchange="BINANCE"))
    assert report.source.endswith("/api/v3/klines")
    assert content_hash(stored(tmp_path)) == content_hash(made_up())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real bars are not here")
async def test_real_bars_funding_and_mark_prices_come_back_as_they_are(tmp_path: Path) -> None:
    history = History()
    month = DownloadOrder("BTCUSDT", "1m", START_NS, START_NS + 31 * 24 * HOUR_NS)
    real = tmp_path / "real"
    import_real(real, history)
    async with exchange_with(history=history) as exchange:
        await fetched(tmp_path, exchange, month)
        for kind, timeframe in (("funding", ""), ("mark", "8h")):
            end_ns = START_NS + 365 * 24 * HOUR_NS
            order = DownloadOrder("BTCUSDT", timeframe, START_NS, end_ns, kind=kind)
            report = await fetched(tmp_path, exchange, order)
            assert (report.rows_count, report.gaps) == (1_095, ())
    expected = read_bars(path_of(real, "BTCUSDT", "1m"), "BTCUSDT", "1m", month.start_ns, month.end_ns)
    assert len(expected) == 31 * 1_440
    assert content_hash(stored(tmp_path)) == content_hash(expected)
    for read, path in ((read_funding, funding_path), (read_mark, mark_path)):
        for got, wanted in zip(read(path(tmp_path, "BTCUSDT")), read(path(real, "BTCUSDT")), strict=True):
            assert got.tolist() == wanted.tolist()


def import_real(home: Path, history: History) -> None:
    import_bars(home, SHARED / "ohlcv" / "binance_spot_BTCUSDT_1m_2022.parquet", "BTCUSDT", "1m")
    import_funding(home, SHARED / "funding" / "binance_usdm_BTCUSDT_funding_2022.parquet", "BTCUSDT", "funding")
    import_funding(home, SHARED / "mark" / "binance_usdm_BTCUSDT_mark_8h_2022.parquet", "BTCUSDT", "mark")
    history.add_bars(read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m"))
    series = read_stored(funding_path(home, "BTCUSDT"), "BTCUSDT", "funding")
    history.add_funding("BTCUSDT", series.ts_ns, series.values)
    history.add_marks("BTCUSDT", *read_mark(mark_path(home, "BTCUSDT")))


FAULTS = (
    ("limited@0:1",),
    ("banned@0:1",),
    ("broken@0:0.5",),
    ("slow@0:0.1/2",),
    ("refused@0.1:0.1",),
    ("rest_reset@0:2",),
    ("rest_truncated@0:2",),
    ("rest_repeating@0:3",),
    ("rest_lacking@0:3",),
    ("rest_lacking@0:1", "rest_repeating@0:1", "rest_truncated@0:1", "rest_reset@0:1"),
)


@pytest.mark.parametrize("faults", FAULTS, ids=[" ".join(each) for each in FAULTS])
async def test_whatever_goes_wrong_the_file_is_the_same(faults: tuple[str, ...], tmp_path: Path) -> None:
    bars = made_up()
    async with exchange_with(bars, *faults) as exchange:
        await fetched(tmp_path, exchange)
        refusing = faults[0].startswith(("limited", "banned", "broken"))
        assert (exchange.counts().refused_requests > 0) == refusing
    assert content_hash(stored(tmp_path)) == content_hash(bars)


async def test_a_ban_that_lasts_is_told_with_its_end_and_what_came_is_kept(tmp_path: Path) -> None:
    async with exchange_with(made_up()) as exchange:
        await fetched(tmp_path, exchange, msgspec.structs.replace(ORDER, end_ns=START_NS + HOUR_NS))
    before = path_of(tmp_path, "BTCUSDT", "1m").read_bytes()
    async with exchange_with(made_up(), "banned@0:300") as exchange:
        with pytest.raises(RestUnavailableError, match=r"418 .*The ban ends at 20\d\d-.* UTC, in \d+ s") as caught:
            await fetched(tmp_path, exchange)
        assert caught.value.exit_code == 69
        assert "goes on from there" in caught.value.remedy
        assert exchange.counts().refused_requests == 1
    assert path_of(tmp_path, "BTCUSDT", "1m").read_bytes() == before


async def test_what_was_cancelled_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    async with exchange_with(made_up(20_000)) as exchange:
        order = msgspec.structs.replace(ORDER, end_ns=START_NS + 20_000 * MINUTE_NS)
        await fetched(tmp_path / "whole", exchange, order)
        whole = path_of(tmp_path / "whole", "BTCUSDT", "1m")
        for seconds in (0.05, 0.1, 0.15, 0.2, 0.3):
            with anyio.move_on_after(seconds):
                await fetched(tmp_path / "cut", exchange, order, 2)
        report = await fetched(tmp_path / "cut", exchange, order, 2)
    assert report.rows_count == 20_000
    assert path_of(tmp_path / "cut", "BTCUSDT", "1m").read_bytes() == whole.read_bytes()


@asynccontextmanager
async def noting_server(bars: Bars) -> AsyncIterator[RestServer]:
    """A venue of bars that remembers what it was asked."""
    history = History()
    history.add_bars(bars)

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/time"):
            return web.json_response({"serverTime": time.time_ns() // NS_PER_MS})
        query = request.query
        end_ms = int(query["endTime"]) if "endTime" in query else None
        rows = history.klines("BTCUSDT", "1m", int(query["limit"]), int(query["startTime"]), end_ms, is_mark=False)
        return web.json_response(rows)

    async with rest_server(answer) as server:
        yield server


def asked(server: RestServer) -> list[tuple[int, int]]:
    """Which minutes since the start were asked for: from, up to."""
    queries = [parse_qs(urlsplit(path).query) for _, path in server.arrivals if "/klines" in path]
    return [
        (
            (int(query["startTime"][0]) * NS_PER_MS - START_NS) // MINUTE_NS,
            (int(query["endTime"][0]) * NS_PER_MS - START_NS) // MINUTE_NS + 1,
        )
        for query in queries
        if "endTime" in query
    ]


async def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    bars = made_up()
    kept = without(bars, *range(500), *range(2_000, 2_200), *range(5_000, 6_000))
    write_bars(path_of(tmp_path, "BTCUSDT", "1m"), kept)
    async with noting_server(bars) as server, RestGate(QUICK) as gate:
        order = msgspec.structs.replace(ORDER, rest=server.address)
        report = await download(gate, tmp_path, order)
        # Each with the stored minutes beside it, by which a file of another market is found out.
        assert asked(server) == [(0, 501), (1_999, 2_201), (4_999, 6_000)]
        assert (report.rows_fetched, report.rows_count) == (1_700, COUNT)
        server.arrivals.clear()
        again = await download(gate, tmp_path, order)
        assert server.arrivals == []
        assert (again.rows_fetched, again.content_sha256) == (0, content_hash(bars))


async def test_what_the_venue_lacks_is_told_with_its_places_and_is_no_error(tmp_path: Path) -> None:
    bars = without(made_up(), 100, *range(3_000, 3_010))
    async with noting_server(bars) as server, RestGate(QUICK) as gate:
        report = await download(gate, tmp_path, msgspec.structs.replace(ORDER, rest=server.address))
        assert report.gaps == (Gap(START_NS + 100 * MINUTE_NS, 1), Gap(START_NS + 3_000 * MINUTE_NS, 10))
        assert (report.rows_missing, report.gaps_count, report.rows_count) == (11, 2, COUNT - 11)
        # Nothing is taken for absent because of one answer.
        assert len([span for span in asked(server) if span[0] <= 3_005 < span[1]]) >= 2
    assert content_hash(stored(tmp_path)) == content_hash(bars)


async def test_a_range_from_before_the_listing_says_when_it_begins(tmp_path: Path) -> None:
    async with exchange_with(made_up()) as exchange:
        early = msgspec.structs.replace(ORDER, start_ns=START_NS - 900 * 24 * HOUR_NS)
        report = await fetched(tmp_path, exchange, early)
        assert (report.listed_ns, report.rows_count, report.gaps) == (START_NS, COUNT, ())
        nowhere = msgspec.structs.replace(early, end_ns=START_NS - HOUR_NS)
        with pytest.raises(InputMissingError, match="its first are of 2022-01-01 00:00:00"):
            await fetched(tmp_path, exchange, nowhere)


@pytest.mark.parametrize("kind", ["bars", "mark"])
async def test_the_candle_that_has_not_ended_is_never_stored(kind: str, tmp_path: Path) -> None:
    async with exchange_with() as exchange:
        now_ns = exchange.now_ms() * NS_PER_MS // MINUTE_NS * MINUTE_NS
        order = DownloadOrder("ETHUSDT", "1m", now_ns - HOUR_NS, now_ns + HOUR_NS, kind=kind)  # type: ignore[arg-type]
        report = await fetched(tmp_path, exchange, order)
        after_ns = exchange.now_ms() * NS_PER_MS
        later = msgspec.structs.replace(order, start_ns=after_ns + MINUTE_NS, end_ns=after_ns + HOUR_NS)
        with pytest.raises(InputMissingError, match="Nothing of ETHUSDT has ended since --start"):
            await fetched(tmp_path / "later", exchange, later)
    assert report.last_ts_ns + MINUTE_NS <= after_ns
    assert report.last_ts_ns + MINUTE_NS >= now_ns
    assert report.rows_count in (60, 61)  # where a minute ended meanwhile
    assert report.gaps == ()
    assert "has not ended yet" in report.notes[0]


async def test_a_file_of_another_market_does_not_grow_on(tmp_path: Path) -> None:
    bars = made_up()
    other = without(msgspec.structs.replace(bars, close=bars.open), *range(3_000, COUNT))
    write_bars(path_of(tmp_path, "BTCUSDT", "1m"), other)
    before = path_of(tmp_path, "BTCUSDT", "1m").read_bytes()
    async with exchange_with(bars) as exchange:
        with pytest.raises(DataError, match=r"data/raw/BTCUSDT_1m.parquet: close of 2022-01-03 01:59:00 is .* here"):
            await fetched(tmp_path, exchange)
    assert path_of(tmp_path, "BTCUSDT", "1m").read_bytes() == before


async def test_funding_and_marks_grow_on(tmp_path: Path) -> None:
    times = START_NS + np.arange(2_500) * 8 * HOUR_NS
    rates = np.round(np.sin(np.arange(2_500)) / 1_000, 8)
    history = History()
    history.add_funding("BTCUSDT", times, rates)
    history.add_marks("BTCUSDT", times, 40_000 + rates)
    async with exchange_with(history=history) as exchange:
        for kind, timeframe in (("funding", ""), ("mark", "8h")):
            for days in (10, 300, 500):
                end_ns = START_NS + days * 24 * HOUR_NS
                order = DownloadOrder("BTCUSDT", timeframe, START_NS, end_ns, kind=kind)
                report = await fetched(tmp_path, exchange, order)
                assert (report.rows_count, report.rows_missing) == (3 * days, 0)
    ts_ns, rates_e12 = read_funding(funding_path(tmp_path, "BTCUSDT"))
    assert (ts_ns.tolist(), rates_e12.tolist()) == (times[:1_500].tolist(), np.rint(rates[:1_500] * 1e12).tolist())
    assert read_mark(mark_path(tmp_path, "BTCUSDT"))[1].tolist() == (40_000 + rates)[:1_500].tolist()


WRONG: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"symbol": "NOPE"}, UsageError, "--symbol NOPE is none that BINANCE_FUTURES knows: http.*-1121"),
    ({"timeframe": "7m"}, UsageError, "--timeframe 7m is none"),
    ({"timeframe": "1y"}, UsageError, "is not a timeframe"),
    ({"end_ns": START_NS}, UsageError, "--start 2022-01-01 00:00:00 is not before --end"),
    ({"kind": "funding", "exchange": "BINANCE"}, InputMissingError, "of BINANCE cannot be had"),
    ({"kind": "mark", "exchange": "BINANCE"}, UsageError, "BINANCE has no mark"),
    ({"symbol": "BTC/USDT"}, UsageError, "not a symbol"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), WRONG, ids=[words for _, _, words in WRONG])
async def test_what_cannot_be_asked_is_named_and_stores_nothing(
    changes: dict[str, object], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    async with exchange_with(made_up()) as exchange:
        with pytest.raises(kind, match=words):
            await fetched(tmp_path, exchange, msgspec.structs.replace(ORDER, **changes))
    assert not list(tmp_path.rglob("*.parquet"))


async def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    order = msgspec.structs.replace(ORDER, rest="http://127.0.0.1:9")
    async with RestGate(QUICK) as gate:
        with pytest.raises(RestUnavailableError, match=re.escape("http://127.0.0.1:9/fapi/v1/time did not")) as caught:
            await download(gate, tmp_path, order)
    assert "network" in caught.value.remedy


UNREADABLE = (b"[[1640995200000,", b'{"code":0}', b"<html>", b'[[1640995200000,"1","1","2","1","0"]]')


@pytest.mark.parametrize("body", UNREADABLE)
async def test_answers_that_cannot_be_read_are_asked_for_again_and_then_named(body: bytes, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/time"):
            return web.json_response({"serverTime": time.time_ns() // NS_PER_MS})
        return web.Response(body=body)

    async with rest_server(answer) as server, RestGate(QUICK) as gate:
        with pytest.raises(DataError, match="1m bars from http") as caught:
            await download(gate, tmp_path, msgspec.structs.replace(ORDER, rest=server.address))
        assert len(asked(server)) == 3
        assert "feed.rest" not in caught.value.remedy
