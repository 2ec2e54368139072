"""Funding of the time in which no process ran: asked for until the venue says it, and static where it never does."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import anyio
import numpy as np
import pytest

from adapters.feeds.venues import VENUES
from adapters.rest_gate import GateLimits, RestGate
from adapters.tape import TapeInstrument
from daemon.session import funding
from daemon.session.funding import FundingWatch, StaticRate
from tests.rest_server import always, in_turn, rest_server

pytestmark = pytest.mark.asyncio

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
MIDNIGHT = 1_723_075_200 * SECOND  # 2024-08-08, UTC
NOW = MIDNIGHT + 17 * HOUR


class Told:
    """The sequencer: what was told of funding."""

    def __init__(self) -> None:
        self.settlements: list[tuple[int, int, bool]] = []

    def funding(self, _index: int, settled_ns: int, rate: int, _mark: int, *, is_static: bool) -> None:
        """Note it."""
        self.settlements.append((settled_ns, rate, is_static))


def watch_of(
    told: Any, gate: RestGate, rest: str, channels: tuple[Any, ...], static: StaticRate | None, down_from_ns: int | None
) -> FundingWatch:  # fmt: skip
    instrument = TapeInstrument(
        "BTCUSDT", "BINANCE_FUTURES", "linear", Decimal("0.1"), Decimal("0.001"), channels=channels
    )  # fmt: skip
    state = SimpleNamespace(instruments={"funding_ts_ns": np.zeros(1, dtype=np.int64)})
    replay: Any = SimpleNamespace(engine=SimpleNamespace(state=state))
    return FundingWatch(
        (instrument,), replay, told, gate, VENUES["BINANCE_FUTURES"], rest, lambda: NOW, lambda _symbol: 0, static,
        down_from_ns,
    )  # fmt: skip


async def test_what_was_settled_meanwhile_is_asked_for_until_the_venue_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funding, "_ASK_EVERY_NS", SECOND // 50)
    rows = [{"symbol": "BTCUSDT", "fundingTime": (MIDNIGHT + 16 * HOUR) // 10**6, "fundingRate": "0.0001"}]
    told = Told()
    answers = in_turn(always(status=503), always(b"no list"), always(json.dumps(rows).encode()))
    async with rest_server(answers) as server, RestGate(GateLimits(attempts=1)) as gate:
        watch = watch_of(told, gate, server.address, ("funding",), None, MIDNIGHT + 9 * HOUR)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            with anyio.fail_after(10):
                while not told.settlements:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        assert len(server.arrivals) == 3
    assert told.settlements == [(MIDNIGHT + 16 * HOUR, 100_000_000, False)]


@pytest.mark.parametrize(
    ("down_from_hour", "paid_hours"),
    [(None, []), (16.5, []), (9, [16]), (7, [8, 16]), (-1, [0, 8, 16])],
)
async def test_static_funding_is_paid_for_each_time_that_nobody_saw(
    monkeypatch: pytest.MonkeyPatch, down_from_hour: float | None, paid_hours: list[int]
) -> None:
    monkeypatch.setattr(funding, "_LOOK_SECONDS", 0.01)
    told = Told()
    down_from_ns = None if down_from_hour is None else MIDNIGHT + round(down_from_hour * HOUR)
    async with RestGate() as gate:
        watch = watch_of(told, gate, "", (), StaticRate(Decimal("0.0001"), 8), down_from_ns)
        with anyio.move_on_after(0.2):
            await watch.run()
    assert told.settlements == [(MIDNIGHT + hour * HOUR, 100_000_000, True) for hour in paid_hours]
