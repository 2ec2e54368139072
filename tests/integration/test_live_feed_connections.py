"""The live feed's connections on real sockets: each way in which a venue can end them, or say nothing on them."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from engine.kernels import layout
from tests.live_feeds import BTC, ETH, LIMITS, Follower, gaps_by_symbol, running_feed


@pytest.mark.parametrize(("fault", "word"), [("reset", "reset"), ("fin", "reset"), ("close", "closed")])
@pytest.mark.asyncio
async def test_a_connection_that_ends_is_made_again_and_what_was_lost_is_said(fault: str, word: str) -> None:
    async with running_feed(f"{fault}@0.6") as running:
        await running.until_whole_again(losses=2)
        await running.until(lambda: running.feed.statistics.connects == {0: 2, 1: 2})
        await running.until(running.are_whole)
        await running.hear(20)
        records = running.builder.take()
    follower = Follower(records)
    assert follower.mismatches == []
    assert gaps_by_symbol(follower.gaps) == {BTC: {"disconnected"}, ETH: {"disconnected"}}
    assert running.feed.statistics.reconnects == {word: 2}
    assert running.feed.statistics.attempts == 4
    ended = [reason for _, _, reason in running.sink.of("disconnected")]
    assert all(reason.startswith(f"{word}: ") for reason in ended)


@pytest.mark.asyncio
async def test_a_venue_that_refuses_for_a_while_is_found_again() -> None:
    async with running_feed("refused@0.6:2") as running:
        await running.until(running.are_whole)
        await running.until(lambda: running.feed.statistics.reconnects["unreachable"] >= 2, "refused")
        await running.until(lambda: running.feed.statistics.connects == {0: 2, 1: 2}, "back")
        await running.until(running.are_whole)
    statistics = running.feed.statistics
    assert statistics.attempts == 4 + statistics.reconnects["unreachable"]  # these cost no connect
    assert statistics.reconnects["reset"] == 2
    assert len([gap for gap in statistics.gaps if gap[1] == layout.GAP_DISCONNECTED]) == 2


@pytest.mark.asyncio
async def test_a_stall_is_noticed_within_its_limit_and_a_second() -> None:
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 1.2, "funding": 2.2, "ticker": 30, "trades": 30})
    async with running_feed("stall@0.8", limits=limits) as running:
        ended = running.feed.statistics.reconnects
        await running.until(lambda: ended.total() == 2, "noticed")
        await running.until(lambda: running.feed.statistics.connects == {0: 2, 1: 2})
        await running.until(running.are_whole)
    stale = {(symbol, channel): seconds for symbol, channel, seconds in running.sink.of("stale")}
    assert {channel for _, channel in stale} == {"l2_book", "funding"}
    assert all(
        limits.stale_seconds[channel] <= seconds < limits.stale_seconds[channel] + 1
        for (_, channel), seconds in stale.items()
    )
    assert set(ended) <= {"silent", "stale"}
    assert {reason for _, reason in running.sink.of("book_invalid")} == {"disconnected"}


@pytest.mark.asyncio
async def test_a_connection_that_never_says_anything_is_noticed() -> None:
    async with running_feed("mute@0:3", waits=False) as running:
        await running.until(running.are_whole)
    told = [(each.name, each.values[0]) for each in running.sink.told if each.name in ("connected", "disconnected")]
    # One at a time: the other waits until the venue has said something.
    assert told[:4] == [("connected", 0), ("disconnected", 0), ("connected", 1), ("disconnected", 1)]
    assert running.feed.statistics.reconnects == {"mute": 2}


@pytest.mark.asyncio
async def test_a_book_alone_that_is_silent_is_lost_and_its_connection_made_anew() -> None:
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 1.5})
    async with running_feed("channel@0.8:depth", limits=limits) as running:
        await running.until(lambda: running.feed.statistics.reconnects["stale"] == 1, "noticed")
        await running.until(lambda: running.feed.statistics.connects == {0: 2, 1: 1})
        await running.until(running.are_whole)
        await running.hear(20)
    assert ("BTCUSDT", "l2_book") in {values[:2] for values in running.sink.of("stale")}
    assert running.feed.statistics.reconnects == {"stale": 1}


@pytest.mark.asyncio
async def test_trades_that_go_quiet_are_an_alarm_and_nothing_else() -> None:
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"trades": 1.5})
    async with running_feed("channel@1:aggTrade", limits=limits) as running:
        await running.until(lambda: len(running.sink.of("stale")) >= 2, "noticed")
        await running.hear(20)
    assert {values[:2] for values in running.sink.of("stale")} == {("BTCUSDT", "trades"), ("ETHUSDT", "trades")}
    assert running.feed.statistics.connects == {0: 1, 1: 1}
    assert running.are_whole()
    assert running.feed.statistics.gaps == {}


@pytest.mark.asyncio
async def test_waiting_for_room_is_no_silence_of_the_venue() -> None:
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 1.0, "funding": 2.0})
    async with running_feed(limits=limits) as running:
        await running.until(running.are_whole)
        running.sink.is_full = True
        await anyio.sleep(2.5)
        waiting = len(running.builder)
        running.sink.is_full = False
        await running.hear(60)
    assert waiting < 2_000
    assert running.sink.of("disconnected") == []
    assert running.feed.statistics.gaps == {}
    assert Follower(running.builder.take()).mismatches == []
