"""Faults of the stream against a whole daemon: it comes back, it notices, it decides nothing on what it cannot know."""

from __future__ import annotations

import gzip
import itertools
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

from adapters.captures.record_builder import RecordBuilder
from adapters.feeds.exchange import read_listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live_parts import build_parts
from adapters.feeds.live_plan import plan_feed
from adapters.feeds.statistics import FeedStatistics
from adapters.feeds.venues import VENUES
from adapters.rest_gate import RestGate
from engine.bars import NS_PER_SECOND
from engine.kernels import layout
from tests.faults import (
    BTC,
    ETH,
    assert_nothing_is_decided_while_lost,
    daemon_on,
    lasting,
    log_seconds,
    measured,
    told,
    venue,
)
from tests.live_feeds import CHANNELS, SYMBOLS, Sink

BACK_SECONDS = 5.0


def test_after_any_end_of_its_connections_it_is_back_within_five_seconds(tmp_path: Path) -> None:
    ends = {"reset": 2.0, "fin": 5.0, "close": 8.0}
    refused_at, refused_for = 11.0, 6.0
    faults = [f"{name}@{at}" for name, at in ends.items()]
    with venue(*faults, f"refused@{refused_at}:{refused_for}") as at, daemon_on(tmp_path / "home", at) as daemon:
        daemon.running().synchronised()
        returns = {**ends, "refused": refused_at + refused_for}
        for count in range(2, len(returns) + 2):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                daemon.lines.wait_for("book synchronised", count=count, symbol=symbol)
            for source in (0, 1):
                daemon.lines.wait_for("connected", count=count, source=source)
        lines = daemon.lines
        for place, (what, since) in enumerate(returns.items(), start=1):
            back = [
                log_seconds(line, at.ts_ns(since))
                for line in (
                    *(lines.of("connected", source=source)[place] for source in (0, 1)),
                    *(lines.of("book synchronised", symbol=symbol)[place] for symbol in ("BTCUSDT", "ETHUSDT")),
                )
            ]
            measured(f"{what}: back after {min(back):.2f} to {max(back):.2f} s")
            assert 0 <= min(back) <= max(back) <= BACK_SECONDS
        assert at.counts().connections == 2 * (len(returns) + 1)
        daemon.stop()
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    gaps = found.records[found.records["kind"] == layout.GAP]
    assert set(gaps["a"].tolist()) == {layout.GAP_DISCONNECTED}
    assert (found.records["kind"] == layout.PRINT)[-2_000:].any()


def test_a_hostile_venue_sees_no_more_connects_than_the_budget_allows(tmp_path: Path) -> None:
    """Whoever connects is thrown out, in another way each time: 10 at once and one each 6 s are 60 in 5 minutes."""
    seconds = lasting(25.0, 300.0)
    ways = itertools.cycle(
        [("reset", ""), ("fin", ""), ("close", "1001"), ("close", "1013"), ("mute", "3"), ("reset", "")]
    )
    counted: list[tuple[float, int]] = []
    with venue() as at, daemon_on(tmp_path / "home", at, "feed.first_message_seconds=2") as daemon:
        daemon.running().synchronised()
        begun = at.seconds()
        while (now := at.seconds()) < begun + seconds:
            at.play(*next(ways))
            counted.append((now, at.counts().connections))
            time.sleep(0.2)
        ended = at.seconds()
        measured(f"{counted[-1][1]} connects in {counted[-1][0]:.0f} s, {len(counted)} times thrown out")
        for now, connections in counted:  # the market has opened with the first of them, a moment after it was begun
            assert connections <= 10 + (now + 1) / 6
        assert counted[-1][1] >= 8  # it does try
        before = len(daemon.lines.of("book synchronised", symbol="BTCUSDT"))
        daemon.lines.wait_for("book synchronised", symbol="BTCUSDT", count=before + 1)
        measured(f"whole again {at.seconds() - ended:.1f} s after it was thrown out last")
        daemon.stop()
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)


def test_any_silence_is_noticed_within_its_limit_and_a_second(tmp_path: Path) -> None:
    limits = {"book": 2, "trades": 4, "ticker": 3, "funding": 5}
    settings = [f"feed.stale_{name}_seconds={seconds}" for name, seconds in limits.items()]
    alone = {"depth": ("l2_book", 2, 2.0), "bookTicker": ("ticker", 3, 6.0), "aggTrade": ("trades", 4, 10.0)}
    faults = [f"channel@{at}:{name}/{seconds + 1.5}" for name, (_, seconds, at) in alone.items()]
    faults += ["stall@17", "mute@22:4", "reset@22.1"]
    with venue(*faults) as at, daemon_on(
        tmp_path / "home", at, *settings, "feed.first_message_seconds=2"
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        for channel, seconds, since in alone.values():
            for symbol in ("BTCUSDT", "ETHUSDT"):
                line = daemon.lines.wait_for("stale", symbol=symbol, channel=channel)
                _noticed(f"{channel} alone", log_seconds(line, at.ts_ns(since)), seconds)
        at.wait(22.0)
        stalled = [line for line in daemon.lines.of("stale") if line["ts"] > at.ts_ns(17.0)]
        _noticed("stall", log_seconds(stalled[0], at.ts_ns(17.0)), limits["book"])
        assert stalled[0]["channel"] == "l2_book"
        mute = daemon.lines.wait_for("disconnected", source=0, reason=Starting("mute"))
        opened = [line for line in daemon.lines.of("connected", source=0) if line["ts"] < mute["ts"]][-1]
        assert opened["ts"] > at.ts_ns(22.0)
        _noticed("stall from the start", log_seconds(mute, opened["ts"]), 2)
        before = {symbol: len(daemon.lines.of("book synchronised", symbol=symbol)) for symbol in ("BTCUSDT", "ETHUSDT")}
        for symbol, count in before.items():
            daemon.lines.wait_for("book synchronised", symbol=symbol, count=count + 1)
        daemon.stop()
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)


def _noticed(what: str, seconds: float, limit: float) -> None:
    measured(f"{what}: noticed after {seconds:.2f} s, limit {limit} s")
    assert limit - 1.0 <= seconds <= limit + 1.0, what  # it counts from the last message before


class Starting(str):
    """Equal to every text that begins so."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(str(self))

    __hash__ = str.__hash__


def test_bad_messages_cost_the_instrument_they_are_of_and_nothing_else(tmp_path: Path) -> None:
    hits = {
        "gap": layout.GAP_SEQUENCE,
        "reorder": layout.GAP_SEQUENCE,
        "garbage": layout.GAP_REJECTED,
        "crossed": layout.GAP_CROSSED,
        "nan": layout.GAP_REJECTED,
        "oversized": layout.GAP_REJECTED,
    }
    arguments = {"nan": 200, "oversized": 10_000_000}  # a sweep alone can be a hundred messages
    times = {name: 2.0 + 2.5 * place for place, name in enumerate(hits)}
    faults = [f"{name}@{since}:{arguments.get(name, 1)}/BTCUSDT" for name, since in times.items()]
    with venue("slow@1.5:0.6/60", *faults, "duplicate@17:100/BTCUSDT") as at, daemon_on(
        tmp_path / "home", at
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        at.wait(18.5)
        starts = {name: at.ts_ns(since) for name, since in times.items()}
        daemon.stop()
    assert daemon.lines.of("disconnected") == []
    assert daemon.lines.errors == []
    found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    gaps = found.records[found.records["kind"] == layout.GAP]
    assert set(gaps["instrument"].tolist()) == {BTC}
    for name, since in starts.items():
        own = gaps[(gaps["ts_receive_ns"] >= since) & (gaps["ts_receive_ns"] < since + 2.4 * NS_PER_SECOND)]
        assert set(own["a"].tolist()) == {hits[name]}, name
    assert (gaps["ts_receive_ns"] < starts["oversized"] + 2.4 * NS_PER_SECOND).all(), "copies cost nothing"
    lost = [each for each in found.lost if each.first_seq > 1]
    assert {each.instrument for each in lost} == {BTC}
    assert len(lost) >= len(hits)
    for each in lost:
        measured(f"lost for {each.seconds:.2f} s")
        assert each.seconds > 0.3  # REST is slow: the other instrument has time to go on
        assert (found.orders(ETH, each.first_seq + 1, each.last_seq)["state"] == layout.NEW).any()
    prints = found.records[found.records["kind"] == layout.PRINT]
    for instrument in (BTC, ETH):
        ids = prints["c"][prints["instrument"] == instrument]
        assert len(np.unique(ids)) == len(ids)


def test_messages_that_come_twice_leave_the_hash_of_a_clean_run(tmp_path: Path) -> None:
    """Two runs never hear the same at the same nanosecond, so the clean run is made of the very same frames.

    The daemon keeps each frame as it came. Those without their copies, at their times, go through the feed's own parts
    again; that must give the records that the session's tape has, bit for bit. The tape is then that of a clean run,
    and its hash, which `verify` has from the tape alone, is a clean run's.
    """
    twice = [f"duplicate@0:1000000/{symbol}" for symbol in SYMBOLS]
    with venue(*twice) as at, daemon_on(tmp_path / "home", at, "feed.keep_raw=true") as daemon:
        daemon.running().synchronised()
        at.wait(6.0)
        with urllib.request.urlopen(f"{at.rest}/fapi/v1/exchangeInfo") as answer:
            listing = answer.read()
        session_hash = daemon.stop()
        assert daemon.verify()["replay_hash"] == session_hash
        found = told(daemon)
    frames = _frames(daemon.tape.parent / "raw")
    firsts = list({(source, frame): (ns, source, frame) for ns, source, frame in reversed(frames)}.values())[::-1]
    assert len(frames) - len(firsts) > 0.9 * len(firsts) > 300
    records = found.records
    is_market = np.isin(records["kind"], (layout.LEVEL, layout.PRINT, layout.QUOTE, layout.MARK, layout.GAP))
    assert len(np.unique(records["kind"][is_market])) == 4  # and no gap
    clean = anyio.run(_records_of, listing, firsts, records[is_market])
    assert len(clean) == int(is_market.sum())
    assert clean.tobytes() == records[is_market].tobytes()
    orders = found.orders(BTC, 1, len(records))
    assert len(orders) > 100


def _frames(folder: Path) -> list[tuple[int, int, str]]:
    """Receive time, source and text of all frames that a session has kept."""
    lines = [
        line for path in sorted(folder.iterdir()) for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    return [(int(ns), int(source), text) for ns, source, text in (line.split(" ", 2) for line in lines)]


async def _records_of(listing: bytes, frames: list[tuple[int, int, str]], told_before: NDArray[Any]) -> NDArray[Any]:
    """What a feed makes of frames, and of the snapshots that stand on a tape, each at its time."""
    builder, sink, statistics, limits = RecordBuilder(), Sink(), FeedStatistics(), FeedLimits()
    known = read_listing(VENUES["BINANCE_FUTURES"], [listing])
    plan = plan_feed(VENUES["BINANCE_FUTURES"], known, SYMBOLS, CHANNELS)
    parts = build_parts(
        VENUES["BINANCE_FUTURES"], known, plan, limits, builder, sink, statistics,
        clock_ns=time.time_ns, gate=RestGate(), rest="http://127.0.0.1", websocket="ws://127.0.0.1", keys=None,
    )  # fmt: skip
    for link in parts.links:
        link.exchange.normaliser.open(frames[0][0])
    bodies = [(ns, -1, index, body) for ns, index, body in _snapshots(told_before, plan.instruments)]
    for ns, source, *rest in sorted([*frames, *bodies], key=lambda each: each[0]):
        if source < 0:
            exchange, number = parts.links[0].exchange, len(parts.links)
            messages = [exchange.snapshot(plan.planned[rest[0]].name, rest[1], ns)]
        else:
            link, number = parts.links[source], source
            messages = await link.exchange.handle(rest[0], link.connection.raw, ns, parts.places[source].place)
        for message in messages:
            parts.transcriber.take_feed(message, number)
    return builder.take()


def _snapshots(records: NDArray[Any], instruments: Any) -> list[tuple[int, int, bytes]]:
    """The snapshots on a tape as REST gave them: receive time, instrument, body."""
    levels = records[(records["kind"] == layout.LEVEL) & ((records["flags"] & layout.SNAPSHOT) != 0)]
    found = []
    for key in dict.fromkeys(zip(levels["instrument"].tolist(), levels["c"].tolist(), strict=True)):
        own = levels[(levels["instrument"] == key[0]) & (levels["c"] == key[1])]
        instrument = instruments[key[0]]
        is_ask = (own["flags"] & layout.SELL) != 0
        sides = [
            [
                (str(int(row["a"]) * instrument.tick_size), str(int(row["b"]) * instrument.lot_size))
                for row in own[chosen]
            ]
            for chosen in (~is_ask, is_ask)
        ]
        stamp_ms = int(own["ts_exchange_ns"][0]) // 1_000_000
        body = {"lastUpdateId": key[1], "E": stamp_ms, "T": stamp_ms, "bids": sides[0], "asks": sides[1]}
        found.append((int(own["ts_receive_ns"][0]), key[0], json.dumps(body).encode()))
    return found
