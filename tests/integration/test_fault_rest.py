"""Faults of a venue's REST interface against a whole daemon: bans are kept, what is missing is found or said."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from adapters.loopback.seeded import SeededSettings
from engine.bars import NS_PER_SECOND
from tests.faults import (
    assert_no_trade_is_missing,
    assert_nothing_is_decided_while_lost,
    daemon_on,
    measured,
    told,
    venue,
)
from tests.sessions import Daemon, wait_until

HOLDER = """
def schema():
    return {"id": "holder", "name": "Holder", "timer_ms": 200, "inputs": {}}


def on_timer(ctx):
    if ctx.position_lots == 0 and not ctx.order_rows():
        ctx.send_lots(ctx.whole_lots(0.1), tif="IOC")
"""
HELD = """
mode: paper
symbols: [BTCUSDT, ETHUSDT, SOLUSDT]
timeframe: 1s
strategies: [{name: holder}]
initial_cash: 1000000
leverage: 5
paper: {warmup: none, snapshot_seconds: 5}
logs: {format: json}
"""
INTERVAL = 60


def test_nothing_is_asked_inside_a_ban_and_the_stream_does_not_wait_for_rest(tmp_path: Path) -> None:
    """Books are lost while REST refuses: who needs a snapshot waits until it may ask."""
    bans = {"banned": (2.0, 4.0), "limited": (9.0, 3.0)}
    faults = [f"{name}@{since}:{seconds}" for name, (since, seconds) in bans.items()]
    faults += ["broken@15:2", "slow@20:1.5/2"]
    losses = (2.2, 3.0, 9.2, 10.0, 15.2, 20.2)
    faults += [f"gap@{since}:1/{'BTCUSDT' if place % 2 == 0 else 'ETHUSDT'}" for place, since in enumerate(losses)]
    with venue(*faults) as at, daemon_on(tmp_path / "home", at) as daemon:
        daemon.running().synchronised()
        at.wait(2.1)
        for since, seconds in bans.values():
            at.wait(since + 0.1)
            before = at.counts()
            at.wait(since + seconds - 0.2)
            inside = at.counts()
            # One request must be refused, or nobody knows of the ban; it is the only one.
            assert inside.refused_requests - before.refused_requests == 1
            assert inside.requests == before.requests
            at.wait(since + seconds + 2.0)
            assert at.counts().refused_requests == inside.refused_requests
            assert at.counts().requests == inside.requests + 2, "both books are fetched once it may be asked"
        refused = at.counts().refused_requests
        at.wait(22.5)
        assert 1 <= at.counts().refused_requests - refused <= 8  # of 503: asked again, ever more rarely
        assert daemon.lines.of("disconnected") == []
        daemon.stop()
    found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    lost = [each for each in found.lost if each.first_seq > 1]
    assert len(lost) == len(losses)
    assert found.lost[-1].last_seq < len(found.records)  # all are whole again
    assert_no_trade_is_missing(found)  # the stream went on


def test_funding_that_the_stream_does_not_tell_is_paid_once_and_an_alarm_comes_within_a_minute(tmp_path: Path) -> None:
    """The stream is silent around the settlement; REST has it never, twice and late, or is banned for that time.

    Then the stream tells all of it, which is once too often where REST has told it.
    """
    names = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    settings = SeededSettings(3, names, events_per_second=5, funding_seconds=INTERVAL)
    with ExitStack() as stack:
        venues = [stack.enter_context(venue(settings=settings)) for _ in range(2)]
        daemons = [
            stack.enter_context(
                daemon_on(tmp_path / f"home{place}", at, config=HELD, strategies={"holder": HOLDER})
            )
            for place, at in enumerate(venues)
        ]  # fmt: skip
        for daemon in daemons:
            daemon.running().synchronised(*names)
            wait_until(partial(_holds, daemon, len(names)), 30, lambda: "it never held all three")
        settled = (time.time() + 3) // INTERVAL * INTERVAL + INTERVAL
        _sleep_until(settled - 2)
        for at in venues:
            at.play("channel", "markPrice/52")
        for name, argument in {"missing": "BTCUSDT", "twice": "ETHUSDT", "late": "30/SOLUSDT"}.items():
            venues[0].play(f"funding_{name}", argument)
        venues[1].play("banned", "100")
        asked = [_alarms(daemons[0], 1), _alarms(daemons[1], 3)]
        for told_by, alarms in zip(("REST but not of BTC", "nobody"), asked, strict=True):
            late = [line["ts"] / NS_PER_SECOND - settled for line in alarms]
            measured(f"told by {told_by}: alarms {[round(each, 1) for each in late]} s after it was due")
            assert max(late) <= 60
        assert {line["symbol"] for line in asked[0]} == {"BTCUSDT"}
        assert {line["symbol"] for line in asked[1]} == set(names)
        assert [instrument for instrument, _ in _paid(daemons[0], settled)] == [1, 2]  # by REST
        _sleep_until(settled + 53)
        for daemon, at in zip(daemons, venues, strict=True):
            wait_until(partial(_is_paid, daemon, settled, len(names)), 20, lambda: "not all was paid")
            daemon.stop()
            rates = _paid(daemon, settled)
            assert [instrument for instrument, _ in rates] == [0, 1, 2]  # each of them once
            assert rates == [(index, at.funding_rate_e12(name, settled)) for index, name in enumerate(names)]
            assert daemon.verify()["equal"]


def _alarms(daemon: Daemon, count: int) -> list[dict[str, Any]]:
    text = "funding missing: neither the stream nor REST has told it"
    daemon.lines.wait_for(text, count=count, seconds=120)
    return daemon.lines.of(text)


def _holds(daemon: Daemon, count: int) -> bool:
    return len(daemon.rows("SELECT DISTINCT instrument FROM strategy_fills")) == count


def _is_paid(daemon: Daemon, settled: float, count: int) -> bool:
    return len(_paid(daemon, settled)) == count


def _paid(daemon: Daemon, settled: float) -> list[tuple[Any, ...]]:
    """Instrument and rate of every payment for one settlement."""
    settled_ns = round(settled) * NS_PER_SECOND
    return daemon.rows(f"SELECT instrument, rate_e12 FROM funding_payments WHERE ts_ns = {settled_ns} ORDER BY 1")


def _sleep_until(seconds: float) -> None:
    time.sleep(max(0.0, seconds - time.time()))
