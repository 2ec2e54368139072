"""Faults of the stream against a whole daemon: it comes back, it notices, it decides nothing on what it cannot know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.bars import NS_PER_SECOND
from engine.kernels import layout
from tests.faults import BTC, ETH, assert_nothing_is_decided_while_lost, daemon_on, log_seconds, told, venue

BACK_SECONDS = 5.0


def test_after_any_end_of_its_connections_it_is_back_within_five_seconds(tmp_path: Path) -> None:
    ends = {"reset": 2.0, "fin": 5.0, "close": 8.0}
    refused_at, refused_for = 11.0, 6.0
    faults = [f"{name}@{at}" for name, at in ends.items()]
    with venue(*faults, f"refused@{refused_at}:{refused_for}") as at, daemon_on(tmp_path / "home", at) as daemon:
        daemon.running().synchronised()
        returns = [*ends.values(), refused_at + refused_for]
        for count in range(2, len(returns) + 2):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                daemon.lines.wait_for("book synchronised", count=count, symbol=symbol)
            for source in (0, 1):
                daemon.lines.wait_for("connected", count=count, source=source)
        lines = daemon.lines
        for place, since in enumerate(returns, start=1):
            back = [
                log_seconds(line, at.ts_ns(since))
                for line in (
                    *(lines.of("connected", source=source)[place] for source in (0, 1)),
                    *(lines.of("book synchronised", symbol=symbol)[place] for symbol in ("BTCUSDT", "ETHUSDT")),
                )
            ]
            print("back after", since, [round(each, 3) for each in back])
            assert 0 <= min(back) <= max(back) <= BACK_SECONDS
        assert at.counts().connections == 2 * (len(returns) + 1)
        daemon.stop()
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    gaps = found.records[found.records["kind"] == layout.GAP]
    assert set(gaps["a"].tolist()) == {layout.GAP_DISCONNECTED}
    assert (found.records["kind"] == layout.PRINT)[-2_000:].any()



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
    print(f"{what}: noticed after {seconds:.2f} s, limit {limit} s")
    assert limit - 0.3 <= seconds <= limit + 1.0, what


class Starting(str):
    """Equal to every text that begins so."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(str(self))

    __hash__ = str.__hash__


def test_bad_messages_cost_the_instrument_they_are_of_and_nothing_else(tmp_path: Path) -> None:
    hits = {"gap": "sequence", "reorder": "sequence", "garbage": "rejected", "crossed": "crossed", "nan": "rejected"}
    times = {name: 2.0 + 2.5 * place for place, name in enumerate(hits)}
    faults = [f"{name}@{since}:{20 if name == 'nan' else 1}/BTCUSDT" for name, since in times.items()]
    faults += ["slow@1.5:0.6/60", "oversized@14.5:10000000/BTCUSDT", "duplicate@17:100/BTCUSDT"]
    with venue(*faults) as at, daemon_on(tmp_path / "home", at) as daemon:
        daemon.running().synchronised()
        at.wait(19.0)
        lines = daemon.lines
        assert lines.of("book invalid", symbol="ETHUSDT") == []
        assert len(lines.of("book synchronised", symbol="ETHUSDT")) == 1
        assert lines.of("disconnected") == []
        for name, reason in {**hits, "oversized": "rejected"}.items():
            since = at.ts_ns(times.get(name, 14.5))
            lost = [line for line in lines.of("book invalid") if since <= line["ts"] < since + 2.4 * NS_PER_SECOND]
            assert {line["reason"] for line in lost} == {reason}, name
        assert [line for line in lines.of("book invalid") if line["ts"] >= at.ts_ns(17.0)] == []
        daemon.stop()
        assert lines.errors == []
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    first = int(found.records["ts_receive_ns"][0])
    btc = [lost for lost in found.lost if lost.instrument == BTC and lost.first_ns > first]
    assert [lost for lost in found.lost if lost.instrument == ETH and lost.first_ns > first] == []
    assert len(btc) >= len(hits) + 1
    for lost in btc:
        print(f"lost for {lost.seconds:.2f} s")
        if lost.seconds >= 0.3:
            others = found.orders(ETH, lost.first_seq + 1, lost.last_seq)
            assert (others["state"] == layout.NEW).any(), "the other instrument goes on"
    prints = found.records[found.records["kind"] == layout.PRINT]
    for instrument in (BTC, ETH):
        ids = prints["c"][prints["instrument"] == instrument]
        assert len(np.unique(ids)) == len(ids)
