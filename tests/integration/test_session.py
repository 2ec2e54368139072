"""A paper session as people run it: it trades, is taken up after a restart, is commanded, and equals its replay."""

from __future__ import annotations

from pathlib import Path

from tests.sessions import Daemon, exchange


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
        second = daemon.stop()
        verdict = daemon.verify()
        assert (verdict["equal"], verdict["session_hash"], verdict["replay_hash"]) == (True, second, second)
        assert verdict["starts"] == 2
        assert second != first
