"""The live feed on real sockets: records of the loopback exchange, and REST that is not there."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path

import anyio
import msgspec
import pytest
from cryptofeed.connection import AsyncConnection

from adapters.loopback.seeded import SeededSettings
from engine.kernels import layout
from tests.live_feeds import BTC, CHANNELS, ETH, LIMITS, Follower, running_feed

HOUR_NS = 3_600 * 10**9
MARKET = SeededSettings(events_per_second=60)


@pytest.mark.asyncio
async def test_a_market_becomes_records_and_its_books_are_its_quotes() -> None:
    async with running_feed(
        speed=10, channels=(*CHANNELS, "liquidations", "open_interest"), settings=MARKET
    ) as running:
        await running.until(running.are_whole)
        await running.hear(300)
        records = running.builder.take()
    follower = Follower(records)
    assert follower.mismatches == []
    assert min(follower.compared[BTC], follower.compared[ETH]) > 20
    assert follower.gaps == []
    kinds = (layout.LEVEL, layout.PRINT, layout.QUOTE, layout.MARK, layout.INTEREST)
    assert min(follower.counts[kind] for kind in kinds) > 0
    assert (records["ts_receive_ns"][1:] >= records["ts_receive_ns"][:-1]).all()
    feed = running.feed
    assert [each.symbol for each in feed.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert [each.kind for each in feed.sources] == ["websocket", "websocket", "rest"]
    assert [each.name.partition("/p")[2] or each.name.partition("/m")[2] for each in feed.sources][:2] == [
        "ublic/stream",
        "arket/stream",
    ]
    by_source = {source: set(records["kind"][records["source"] == source].tolist()) for source in range(3)}
    assert by_source[0] == {layout.LEVEL, layout.QUOTE}
    assert {layout.PRINT, layout.MARK} <= by_source[1]
    assert by_source[2] == {layout.LEVEL, layout.INTEREST}
    statistics = feed.statistics
    assert statistics.connects == {0: 1, 1: 1}
    assert set(statistics.rejects) <= {"old update id"}
    assert statistics.messages()["open_interest", "ETHUSDT"] == 1
    assert all(0 < statistics.last_receive_ns()[key] <= time.time_ns() for key in (("trades", "BTCUSDT"),))
    assert running.sink.changes > 100


@pytest.mark.asyncio
async def test_cancelling_leaves_no_task_no_socket_and_nothing_for_the_end_of_the_process(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        gc.collect()  # what other tests have left goes now, not meanwhile
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        async with running_feed() as running:
            exchange = running.exchange
            assert exchange is not None
            await running.until(running.are_whole)
            others = len(asyncio.all_tasks())
        assert others > 5
        await anyio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1
        assert exchange._hub.subscribers == []  # what the venue sees of us
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
        del running, exchange
        gc.collect()
        assert [each for each in gc.get_objects() if isinstance(each, AsyncConnection)] == []  # atexit lets them go
        assert list(tmp_path.iterdir()) == []  # no log file of cryptofeed's
    finally:
        os.chdir(before)


@pytest.mark.asyncio
async def test_a_feed_that_cannot_reach_its_venue_is_cancelled_at_once() -> None:
    async with running_feed("refused@0.5:60") as running:
        await running.until(lambda: running.feed.statistics.reconnects["unreachable"] >= 2)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.asyncio
async def test_a_clock_that_jumps_ends_nothing() -> None:
    hours = [0]
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 3.0, "funding": 5.0})
    async with running_feed(limits=limits, clock_ns=lambda: time.time_ns() + hours[0] * HOUR_NS) as running:
        await running.until(running.are_whole)
        for hour in (1, -1, 0):
            hours[0] = hour
            await running.hear(20)
        records = running.builder.take()
    assert running.sink.of("disconnected") == []
    assert running.sink.of("stale") == []
    assert (records["ts_receive_ns"][1:] >= records["ts_receive_ns"][:-1]).all()
    assert Follower(records).mismatches == []


# -- faults of REST -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["banned@0:1", "limited@0:1", "broken@0:1", "slow@0:1/4"])
@pytest.mark.asyncio
async def test_books_wait_for_rest_and_the_rest_of_the_feed_does_not(fault: str) -> None:
    async with running_feed(fault) as running:
        await running.until(lambda: running.feed.statistics.messages()["ticker", "BTCUSDT"] > 10)
        assert running.books == {"BTCUSDT": False, "ETHUSDT": False}
        await running.until(running.are_whole)
        await running.hear(20)
    assert Follower(running.builder.take()).mismatches == []
    assert running.sink.of("disconnected") == []


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_raw_frames_are_given_as_they_came() -> None:
    async with running_feed(keep_raw=True) as running:
        await running.until(running.are_whole)
        await running.hear(20)
    frames = running.sink.raw_frames
    assert {source for source, _, _ in frames} == {0, 1}
    assert all(str(frame).startswith('{"stream":"') for _, _, frame in frames)
    assert [receive_ns for _, receive_ns, _ in frames] == sorted(receive_ns for _, receive_ns, _ in frames)


@pytest.mark.asyncio
async def test_instruments_keep_the_numbers_of_an_earlier_session() -> None:
    async with running_feed() as running:
        earlier = running.feed.instruments
    async with running_feed(instruments=(earlier[ETH], earlier[BTC])) as running:
        await running.until(running.are_whole)
        records = running.builder.take()
    assert [each.symbol for each in running.feed.instruments] == ["ETHUSDT", "BTCUSDT"]
    prices = {
        number: records["a"][(records["kind"] == layout.QUOTE) & (records["instrument"] == number)] for number in (0, 1)
    }
    assert prices[0].max() < 400_000 < prices[1].min()  # ETH in 0.01, BTC in 0.10
