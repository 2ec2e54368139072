"""Warm-up: bars of before let a bar strategy trade from its first live bar on, and its tape proves it with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import numpy as np

from adapters.tape import TapeReader
from adapters.tape.documents import HISTORY, History
from engine.kernels import layout
from tests.sessions import Daemon, exchange
from tests.tapes import read_all

MINUTE = 60_000_000_000
BARS = 30
CONFIG = f"""
mode: paper
symbols: [BTCUSDT]
timeframe: 1m
strategies: [{{name: first_bar}}]
initial_cash: 1000000
book: {{order_latency_ms: 5, response_latency_ms: 5, lateness_ms: 200}}
paper: {{warmup: rest, warmup_bars: {BARS}, snapshot_seconds: 60}}
logs: {{format: json}}
"""
FIRST_BAR = """
def schema():
    return {"id": "first_bar", "name": "First bar"}


def on_bar(ctx, i):
    mean = float(ctx.ind.sma(ctx.close, 20)[i])
    columns = (ctx.open, ctx.high, ctx.low, ctx.close, ctx.volume)
    bar = [int(ctx.time[i]) * 1_000_000, *(float(column[i]) for column in columns)]
    ctx.logger.info(f"bar {i} {mean == mean} {bar}")
    if mean == mean:
        ctx.buy(0.01)
"""
# The venue's clock shows this second of a minute when a session begins: its first bar closes soon after.
START_SECOND = 30


def venue_offset() -> str:
    """What a venue's clock must be ahead of this host's for that."""
    return f"{(START_SECOND - time.time()) % 60:.3f}"


def histories(tape: Path) -> list[History]:
    found = [document.value for document in TapeReader(tape).documents() if document.type == HISTORY]
    return [msgspec.convert(value, History) for value in found]


def the_first_bar(daemon: Daemon) -> tuple[int, bool, list[float]]:
    """The number of the first live bar, whether its average was known, and the bar."""
    line = daemon.lines.wait_for("fill", seconds=120) and next(
        each for each in daemon.lines.events if str(each.get("event", "")).startswith("bar ")
    )
    _, number, is_known, bar = str(line["event"]).split(" ", 3)
    return int(number), is_known == "True", json.loads(bar)


def klines_of(rest: str) -> list[list[Any]]:
    with urlopen(f"{rest}/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=60") as answer:
        rows: list[list[Any]] = json.loads(answer.read())
    return rows


def test_the_first_live_bar_joins_the_open_one_and_is_traded_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "first_bar.py").write_text(FIRST_BAR, encoding="utf-8")
    with (
        exchange("--seed", "5", "--symbol", "BTCUSDT", "--clock-offset", venue_offset()) as venue,
        Daemon(home, venue, config=CONFIG) as daemon,
    ):
        daemon.running().synchronised("BTCUSDT")
        number, is_known, bar = the_first_bar(daemon)
        rows = {int(row[0]) * 1_000_000: row for row in klines_of(venue.rest)}
        first = daemon.stop()
        assert daemon.verify()["session_hash"] == first
        (history,) = histories(daemon.tape)
        assert (number, is_known) == (BARS, True)
        assert len(history.rows) == BARS
        assert history.partial is not None
        assert [row[0] for row in history.rows] == [history.partial[0] - MINUTE * back for back in range(BARS, 0, -1)]
        assert bar[0] == history.partial[0]
        assert bar[1:] == joined(history, prints_in(daemon.tape, history.partial[0]))
        whole = rows[int(bar[0])]
        assert (bar[1], bar[4]) == (float(whole[1]), float(whole[4]))
        assert daemon.rows("SELECT count(*) FROM strategy_fills") == [(1,)]

        daemon.again().running()
        second = daemon.stop()
        verdict = daemon.verify()
        assert (verdict["session_hash"], verdict["starts"]) == (second, 2)
        (_, later) = histories(daemon.tape)
        assert all(row[0] > bar[0] for row in later.rows)


def prints_in(tape: Path, open_ns: int) -> list[tuple[int, int]]:
    """Price and size of the prints of a minute, in ticks and lots."""
    records = read_all(tape)
    is_inside = records["ts_exchange_ns"] // MINUTE * MINUTE == open_ns
    found = records[(records["kind"] == layout.PRINT) & is_inside]
    return list(zip(found["a"].tolist(), found["b"].tolist(), strict=True))


def joined(history: History, prints: list[tuple[int, int]]) -> list[float]:
    """Open, high, low, close and volume of the open bar with these prints after it."""
    assert history.partial is not None
    assert prints
    _, opened, high, low, _, volume = history.partial
    prices = [price for price, _ in prints]
    ticks = [opened, max(high, *prices), min(low, *prices), prices[-1]]
    lots = volume + sum(size for _, size in prints)
    return [*np.round(np.array(ticks) * TICK, 10).tolist(), round(lots * LOT, 10)]


TICK, LOT = 0.1, 0.001
