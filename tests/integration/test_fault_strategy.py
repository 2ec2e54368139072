"""Strategies that fail, next to healthy ones: each falls alone, the others miss nothing, the replay does the same."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sessions import CONFIG, Daemon, cli, exchange, wait_until

HEAD = """
def schema():
    return {{"id": "{name}", "name": "{name}", "timer_ms": 200}}


def on_init(ctx):
    ctx.state.setdefault("count", 0)


def on_timer(ctx):
    ctx.state["count"] += 1
    if ctx.state["count"] == {at}:
        fail(ctx)


def fail(ctx):
"""
LATE = "took longer than 200 ms"
HOLDS_ON = """
    while True:
        try:
            while True:
                ctx.state["turns"] = 1
        except Exception:
            pass
"""
SWALLOWS = """
    try:
        while True:
            pass
    except BaseException:
        ctx.buy(0.01)
"""
ORDERS_FIRST = """
    for _ in range(3):
        ctx.buy(0.01)
    ctx.state["sent"] = (1, 2, 3)
    while True:
        pass
"""
WRITES = """
    pass


def on_bar(ctx, i):
"""
BODIES = {
    "raises": ("    raise ValueError('no such luck')", "ValueError: no such luck"),
    "leaves": ("    raise SystemExit(3)", "SystemExit: 3"),
    "loops": ("    while True:\n        pass", LATE),
    "holds_on": (HOLDS_ON, LATE),
    "swallows": (SWALLOWS, LATE),
    "orders_first": (ORDERS_FIRST, LATE),
    "writes": (WRITES + "    ctx.close[0] = 0.0", "read-only"),
    "writes_volume": (WRITES + "    ctx.volume *= 2", "read-only"),
}
"""What each does at its tenth timer (or first bar), and what is said of it."""
HEALTHY = ("ema_cross", "market_maker")
MARK = struct.Struct("<qqq")


def write(home: Path, name: str, body: str, *, at: int = 10) -> None:
    """A strategy of the home folder that runs into `body` at its so many-th timer."""
    folder = home / "strategies" / "custom"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(HEAD.format(name=name, at=at) + body + "\n", encoding="utf-8")


def config_with(*names: str) -> str:
    """The usual config, with strategies of the home folder behind the healthy ones."""
    lines = "".join(f"  - {{name: {name}, symbols: [BTCUSDT]}}\n" for name in names)
    return CONFIG.replace("initial_cash:", lines + "initial_cash:", 1)


def states(daemon: Daemon) -> dict[str, tuple[str, str]]:
    """What has become of each strategy, and why."""
    return {each["id"]: (each["state"], each["why"]) for each in daemon.ctl("strategies")}


def fills(store: Path, run: str) -> list[tuple[Any, ...]]:
    """The fills of the healthy strategies of a run, in their order."""
    sql = (
        "SELECT s.strategy_id, f.seq, f.ts_ns, f.instrument, f.lots, f.price_ticks, f.fee FROM strategy_fills f"
        " JOIN run_strategies s USING (run_id, strategy) JOIN strategy_runs r USING (run_id)"
        " WHERE s.strategy_id IN (?, ?) AND r.name LIKE ? ORDER BY f.n"
    )
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql, (*HEALTHY, f"{run}%")).fetchall()


def test_each_that_fails_falls_alone_and_the_others_miss_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name, (body, _) in BODIES.items():
        write(home, name, body)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with(*BODIES)) as daemon:
        daemon.running().synchronised()
        for name in BODIES:
            daemon.lines.wait_for("strategy faulted: it is told nothing more, the others run on", strategy=name)
        seen = len(daemon.lines.of("fill"))
        daemon.lines.wait_for("fill", count=seen + 3)
        found = states(daemon)
        for name, (_, why) in BODIES.items():
            assert found[name][0] == "faulted", name
            assert why in found[name][1], name
        assert [found[name] for name in HEALTHY] == [("running", "")] * 2
        _repair_and_start(daemon)
        daemon.kill()
        daemon.again().running()
        assert {name for name, (state, _) in states(daemon).items() if state == "faulted"} == set(BODIES) - {"loops"}
        assert BODIES["raises"][1] in states(daemon)["raises"][1]
        found_hash = daemon.stop()
        assert daemon.verify()["session_hash"] == found_hash
        rows = daemon.rows("SELECT strategy_id, message, kind FROM errors ORDER BY strategy_id")
        assert [name for name, _, _ in rows] == sorted(BODIES)
        assert all(BODIES[name][1] in message and kind == "strategy_faulted" for name, message, kind in rows)
    _assert_nothing_missed(daemon, tmp_path)


def _repair_and_start(daemon: Daemon) -> None:
    """New code alone starts nothing; a command does, and what the strategy kept is as the interrupted call left it."""
    write(daemon.home, "loops", "    ctx.logger.info('passed by')", at=12)
    daemon.lines.wait_for("reloaded", strategy="loops")
    assert states(daemon)["loops"][0] == "faulted"
    daemon.ctl("start", "loops")
    assert states(daemon)["loops"][0] == "running"
    daemon.lines.wait_for("passed by", strategy="loops")


def _assert_nothing_missed(daemon: Daemon, folder: Path) -> None:
    """The session's tape through the healthy strategies alone gives the fills that they had beside the others."""
    config, store = folder / "healthy.yaml", folder / "healthy.sqlite"
    config.write_text(CONFIG.replace("mode: paper", "mode: backtest"), encoding="utf-8")
    done = cli(
        "--home", str(folder / "other"), "replay", str(daemon.tape), str(config), "--store-path", str(store), "--json"
    )
    assert done.returncode == 0, done.stderr
    alone = fills(store, "")
    beside = fills(daemon.store, "s-")
    assert len(beside) >= 5
    assert alone[: len(beside)] == beside
    assert all(fill[1] == alone[-1][1] for fill in alone[len(beside) :]), "a backtest closes at its end what is open"


def test_a_state_that_no_snapshot_can_keep_ends_nobody(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home, "odd", "    ctx.state['odd'] = object()", at=3)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with("odd")) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("no snapshot: a restart will go through more of the tape")
        daemon.lines.wait_for("fill", count=2)
        found = daemon.stop()
        assert daemon.verify()["session_hash"] == found
        daemon.again().running()
        assert daemon.lines.wait_for("taken up")["hash"] == found
        daemon.stop()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("exits", "    import os\n    os._exit(9)"),
        ("hangs", "    import numpy\n    numpy.broadcast_to(1.0, 10**13).sum()"),
    ],
)
def test_a_call_that_kills_the_process_twice_is_left_out(name: str, body: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home, name, body)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with(name)) as daemon:
        _await_end(daemon)
        _await_end(daemon.again())
        daemon.again().running().synchronised()
        daemon.lines.wait_for("strategy faulted: it is told nothing more, the others run on", strategy=name)
        seen = len(daemon.lines.of("fill"))
        daemon.lines.wait_for("fill", count=seen + 2)
        found = states(daemon)
        assert found[name][0] == "quarantined"
        assert "the process died in it 2 times" in found[name][1]
        assert [found[each] for each in HEALTHY] == [("running", "")] * 2
        last = daemon.stop()
        assert daemon.verify()["session_hash"] == last
        daemon.again().running()
        assert daemon.lines.wait_for("taken up")["hash"] == last
        assert states(daemon)[name][0] == "quarantined"
        daemon.stop()
        assert len(daemon.rows("SELECT * FROM errors")) == 1
        assert daemon.verify()["starts"] == 4


def _await_end(daemon: Daemon) -> None:
    """Wait until a process has died by itself, or stands still inside a callback: then do what a watchdog does."""
    mark = daemon.tape.parent / "callback.mark"
    standing: list[bytes] = []

    def is_over() -> bool:
        if daemon.process.poll() is not None:
            return True
        content = mark.read_bytes() if mark.exists() else b""
        is_inside = len(content) == MARK.size and MARK.unpack(content)[0] == 1 and bool(daemon.lines.of("running"))
        if not is_inside or (standing and standing[-1] != content):
            standing.clear()
        else:
            standing.append(content)
        return len(standing) > 50

    wait_until(is_over, 60, daemon.lines.tail)
    daemon.kill()
