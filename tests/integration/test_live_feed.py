"""The live feed on real sockets: records of the loopback exchange, and each of its faults as the feed survives it."""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from collections import Counter
from pathlib import Path

import anyio
import msgspec
import pytest

from adapters.feeds.live_records import GAP_WORDS
from adapters.loopback.seeded import SeededSettings
from engine.kernels import layout
from tests.live_feeds import CHANNELS, LIMITS, Follower, running_feed

BTC, ETH = 0, 1
MARKET = SeededSettings(events_per_second=60)


def gaps_by_symbol(gaps: list[tuple[int, int]]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for instrument, reason in gaps:
        found.setdefault(instrument, set()).add(GAP_WORDS[reason])
    return found


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
        async with running_feed() as running:
            exchange = running.exchange
            assert exchange is not None
            await running.until(running.are_whole)
            others = len(asyncio.all_tasks())
        assert others > 5
        await anyio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1
        assert exchange._hub.subscribers == []  # noqa: SLF001 - what the venue sees of us
        hooks = atexit._ncallbacks()  # noqa: SLF001 - there is no other way to count them
        for _ in range(3):
            async with running_feed() as running:
                await running.until(running.are_whole)
        assert atexit._ncallbacks() == hooks  # noqa: SLF001 - as above
        assert list(tmp_path.iterdir()) == []  # no log file of cryptofeed's
    finally:
        os.chdir(before)


@pytest.mark.asyncio
async def test_a_feed_that_cannot_reach_its_venue_is_cancelled_at_once() -> None:
    async with running_feed("refused@0.5:60") as running:
        await running.until(lambda: running.feed.statistics.reconnects["unreachable"] >= 2)
    assert len(asyncio.all_tasks()) == 1


# -- faults of connections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "word"), [("reset", "reset"), ("fin", "reset"), ("close", "closed")])
@pytest.mark.asyncio
async def test_a_connection_that_ends_is_made_again_and_what_was_lost_is_said(fault: str, word: str) -> None:
    async with running_feed(f"{fault}@1") as running:
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
    async with running_feed("refused@1:3") as running:
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
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 1.5, "funding": 2.5, "ticker": 30, "trades": 30})
    async with running_feed("stall@2", limits=limits) as running:
        await running.until(lambda: running.feed.statistics.reconnects["silent"] == 2, "noticed")
        await running.until(lambda: running.feed.statistics.connects == {0: 2, 1: 2})
        await running.until(running.are_whole)
    stale = {(symbol, channel): seconds for symbol, channel, seconds in running.sink.of("stale")}
    assert {channel for _, channel in stale} == {"l2_book", "funding"}
    assert all(
        limits.stale_seconds[channel] <= seconds < limits.stale_seconds[channel] + 1
        for (_, channel), seconds in stale.items()
    )
    assert {reason for _, reason in running.sink.of("book_invalid")} == {"disconnected"}


@pytest.mark.asyncio
async def test_a_connection_that_never_says_anything_is_noticed() -> None:
    async with running_feed("mute@0:3") as running:
        await running.until(lambda: running.feed.statistics.reconnects["mute"] >= 1, "noticed")
        assert running.feed.statistics.connects.total() == 1  # the other waits until the venue has said something
        await running.until(running.are_whole)
    assert running.feed.statistics.reconnects["mute"] == 2


@pytest.mark.asyncio
async def test_a_book_alone_that_is_silent_is_lost_and_its_connection_made_anew() -> None:
    limits = msgspec.structs.replace(LIMITS, stale_seconds={"l2_book": 1.5})
    async with running_feed("channel@2:depth", limits=limits) as running:
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


# -- faults of messages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("gap", "sequence"),
        ("reorder", "sequence"),
        ("garbage", "rejected"),
        ("nan", "rejected"),
        ("oversized@3:10000000", "rejected"),
    ],
)
@pytest.mark.asyncio
async def test_only_the_book_that_is_hit_is_lost_and_it_comes_back(fault: str, reason: str) -> None:
    async with running_feed(fault if "@" in fault else f"{fault}@3") as running:
        await running.until_whole_again()
        await running.hear(20)
        records = running.builder.take()
    follower = Follower(records)
    assert follower.mismatches == []
    assert running.sink.of("book_invalid") == [("BTCUSDT", reason)]
    assert [symbol for (symbol,) in running.sink.of("book_resynced")].count("ETHUSDT") == 1
    assert gaps_by_symbol(follower.gaps) == {BTC: {reason}}
    assert running.feed.statistics.connects == {0: 1, 1: 1}


@pytest.mark.asyncio
async def test_a_frame_above_the_limit_costs_its_connection_and_no_more() -> None:
    limits = msgspec.structs.replace(LIMITS, message_bytes_max=1 << 20)
    async with running_feed("oversized@2:4000000", limits=limits) as running:
        await running.until_whole_again(losses=2)
    assert running.feed.statistics.reconnects == {"oversized": 1}
    assert running.feed.statistics.connects == {0: 2, 1: 1}


@pytest.mark.asyncio
async def test_messages_that_come_twice_change_nothing() -> None:
    async with running_feed("duplicate@2:30") as running:
        await running.until(
            lambda: (
                running.feed.statistics.rejects["duplicate trade id"] + running.feed.statistics.rejects["old update id"]
                > 20
            )
        )
        records = running.builder.take()
    follower = Follower(records)
    assert follower.mismatches == []
    assert follower.gaps == []
    prints = records[(records["kind"] == layout.PRINT) & (records["instrument"] == BTC)]
    assert max(Counter(prints["c"].tolist()).values()) == 1
    assert running.sink.of("book_invalid") == []


@pytest.mark.asyncio
async def test_a_book_that_crosses_is_begun_anew_when_the_engine_says_so() -> None:
    async with running_feed("crossed@2") as running:
        await running.until(lambda: len(_crossed(running.builder)) > 0, "crossed")
        assert running.are_whole()  # no id was missing
        fetched = running.feed.statistics.snapshots["BTCUSDT"]
        running.feed.resync("BTCUSDT")
        running.feed.resync("NOSUCH")
        assert running.books == {"BTCUSDT": False, "ETHUSDT": True}
        await running.until(running.are_whole)
        await running.hear(20)
        records = running.builder.take()
    assert running.feed.statistics.snapshots == {"BTCUSDT": fetched + 1, "ETHUSDT": 1}
    after = records[int((records["kind"] == layout.GAP).nonzero()[0][0]) + 1 :]
    own = after[(after["instrument"] == BTC) | (after["kind"] != layout.LEVEL)]
    follower = Follower(own[own["instrument"] == BTC])
    assert follower.mismatches == []
    assert follower.compared[BTC] > 0
    assert running.sink.of("book_invalid") == [("BTCUSDT", "crossed")]


def _crossed(builder: object) -> list[int]:
    """Bids of changes that stand above the asks of quotes, as far as they are still in the builder."""
    records = _peek(builder)
    levels = records[(records["kind"] == layout.LEVEL) & (records["instrument"] == BTC)]
    quotes = records[(records["kind"] == layout.QUOTE) & (records["instrument"] == BTC)]
    if len(quotes) == 0:
        return []
    bids = levels[((levels["flags"] & (layout.SELL | layout.SNAPSHOT)) == 0) & (levels["b"] == 1_000)]
    return [price for price in bids["a"].tolist() if price >= int(quotes["c"].max()) + 50]


def _peek(builder: object) -> object:
    import numpy as np

    return np.frombuffer(bytes(builder._buffer), dtype=layout.RECORD)  # noqa: SLF001


# -- faults of REST -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["banned@0:1", "limited@0:1", "broken@0:2", "slow@0:1/4"])
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
    assert prices[0].max() < 300_000 < 500_000 < prices[1].min()  # ETH in 0.01, BTC in 0.10
