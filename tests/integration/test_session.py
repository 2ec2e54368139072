"""A paper session as people run it: it trades, is taken up after a restart, is commanded, and equals its replay."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from adapters.tape import TapeReader
from engine.kernels import layout
from tests.sessions import CONFIG, Daemon, exchange, wait_until


def test_a_session_trades_goes_on_after_a_restart_and_equals_its_replay(tmp_path: Path) -> None:
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=5)
        first = daemon.stop()
        assert daemon.verify()["session_hash"] == first
        daemon.again().running()
        taken_up = daemon.lines.wait_for("taken up")
        assert taken_up["hash"] == first
        daemon.lines.wait_for("fill", count=3)
        while_it_runs = daemon.verify()
        assert (while_it_runs["equal"], while_it_runs["session_hash"]) == (True, "")
        second = daemon.stop()
        verdict = daemon.verify()
        assert (verdict["equal"], verdict["session_hash"], verdict["replay_hash"]) == (True, second, second)
        assert verdict["starts"] == 2
        assert second != first


def test_raw_frames_are_kept_beside_the_tape_where_asked(tmp_path: Path) -> None:
    with exchange("--seed", "3") as venue, Daemon(
        tmp_path / "home", venue, arguments=["--set", "feed.keep_raw=true"]
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=2)
        daemon.stop()
    lines = [
        line.split(b" ", 2)
        for path in sorted((daemon.tape.parent / "raw").glob("*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    times = [int(line[0]) for line in lines]
    assert times == sorted(times)
    frames = [json.loads(line[2]) for line in lines]
    told = {int(frame["data"]["a"]) for frame in frames if frame["stream"] == "btcusdt@aggTrade"}
    reader = TapeReader(daemon.tape)
    prints = {
        int(number)
        for batch in reader.batches()
        for number in batch.records["c"][(batch.records["kind"] == layout.PRINT) & (batch.records["instrument"] == 0)]
    }
    assert told == prints
    assert {int(line[1]) for line in lines} == {0, 1}


def test_it_says_what_it_trades(tmp_path: Path) -> None:
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue) as daemon:
        daemon.running().synchronised()
        wait_until(
            lambda: any(line["event"].startswith("EXIT at ") for line in daemon.lines.events), 60, daemon.lines.tail
        )
        daemon.stop()
        trades = daemon.rows("SELECT exit_ns, pnl FROM strategy_trades ORDER BY n")
    told = [line for line in daemon.lines.events if line["event"].startswith("EXIT at ")]
    assert all(re.fullmatch(r"EXIT at [0-9.]+, P&L: -?[0-9]+\.[0-9]{2}%", line["event"]) for line in told)
    assert [round(float(line["pnl"]) * 10**8) for line in told] == [pnl for _, pnl in trades]
    assert sum(line["event"].startswith("ENTER at ") for line in daemon.lines.events) >= len(told)


LOOKER = """
from engine.indicators import DEFINITIONS


def schema():
    return {"id": "looker", "name": "Looks which indicators are machine code", "timer_ms": 100, "inputs": {}}


NAMED = ("macd", "psar")


def on_timer(ctx):
    ctx.logger.info(f"not loaded: {[name for name in (*NAMED, 'ema') if not DEFINITIONS[name].kernel.signatures]}")
"""


def test_what_strategies_name_is_machine_code_before_the_session_runs(tmp_path: Path) -> None:
    """Else the first that asks for one holds up the feed, the clock and all others while it compiles."""
    custom = tmp_path / "home" / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "looker.py").write_text(LOOKER, encoding="utf-8")
    config = CONFIG.replace("initial_cash:", "  - {name: looker, symbols: [BTCUSDT]}\ninitial_cash:", 1)
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue, config=config) as daemon:
        wait_until(lambda: any("strategy" in line for line in daemon.lines.events), 60, daemon.lines.tail)
        daemon.stop()
    first = next(line for line in daemon.lines.events if line.get("strategy") == "looker")
    assert first["event"] == "not loaded: []"
