"""The live feed and messages that are wrong: only the book that is hit is lost, and it comes back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.captures.record_builder import RecordBuilder
from engine.kernels import layout
from tests.live_feeds import BTC, LIMITS, Follower, gaps_by_symbol, running_feed


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("gap", "sequence"),
        ("reorder", "sequence"),
        ("garbage", "rejected"),
        ("nan", "rejected"),
        ("oversized@1:10000000", "rejected"),
    ],
)
@pytest.mark.asyncio
async def test_only_the_book_that_is_hit_is_lost_and_it_comes_back(fault: str, reason: str) -> None:
    async with running_feed(fault if "@" in fault else f"{fault}@1") as running:
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
    async with running_feed("oversized@1:4000000", limits=limits) as running:
        await running.until_whole_again(losses=2)
    assert running.feed.statistics.reconnects == {"oversized": 1}
    assert running.feed.statistics.connects == {0: 2, 1: 1}


@pytest.mark.asyncio
async def test_messages_that_come_twice_change_nothing() -> None:
    async with running_feed("duplicate@1:60") as running:
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
    async with running_feed("crossed@1") as running:
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


def _crossed(builder: RecordBuilder) -> list[int]:
    """Bids of changes that stand above the asks of quotes, as far as they are still in the builder."""
    records = _peek(builder)
    levels = records[(records["kind"] == layout.LEVEL) & (records["instrument"] == BTC)]
    quotes = records[(records["kind"] == layout.QUOTE) & (records["instrument"] == BTC)]
    if len(quotes) == 0:
        return []
    bids = levels[((levels["flags"] & (layout.SELL | layout.SNAPSHOT)) == 0) & (levels["b"] == 1_000)]
    return [price for price in bids["a"].tolist() if price > int(quotes["c"][-1]) + 5]


def _peek(builder: RecordBuilder) -> Any:
    return np.frombuffer(bytes(builder._buffer), dtype=layout.RECORD)
