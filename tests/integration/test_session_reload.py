"""Hot reload: good code takes over with position and state kept, bad code does not; a replay runs what ran."""

from __future__ import annotations

from pathlib import Path

from tests.holding import HOLDER, config_with_holder, held, home_with_holder
from tests.sessions import Daemon, exchange


def edited(home: Path, text: str) -> None:
    """Replace the holder's file as editors do: another one, renamed over it."""
    path = home / "strategies" / "custom" / "holder.py"
    partial = path.with_suffix(".swp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def test_good_code_takes_over_and_bad_code_does_not(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        before, hash_before = held(daemon), source_of(daemon)
        edited(home, HOLDER.replace("def on_timer(ctx):", "def on_timer(ctx:"))
        refused = daemon.lines.wait_for("reload refused: the old code runs on", strategy="holder")
        assert "holder.py:11" in refused["why"]
        assert source_of(daemon) == hash_before
        told = len(daemon.lines.of("told, size 0.05"))
        daemon.lines.wait_for("told, size 0.05", count=told + 2)
        edited(home, HOLDER.replace('{"id": "holder"', '{"id": 7'))
        daemon.lines.wait_for("reload refused: the old code runs on", strategy="holder", count=2)
        edited(home, HOLDER.replace("told", "new told"))
        daemon.lines.wait_for("reloaded", strategy="holder")
        daemon.lines.wait_for("new told, size 0.05")
        assert held(daemon) == before
        assert source_of(daemon) != hash_before
        assert not daemon.lines.of("reloaded", strategy="ema_cross")
        edited(home, "raise RuntimeError('gone')\n")  # and what is there now is not what a replay runs
        daemon.lines.wait_for("reload refused: the old code runs on", strategy="holder", count=3)
        daemon.kill()
        edited(home, HOLDER.replace("told", "new told"))
        daemon.again().running()
        daemon.lines.wait_for("new told, size 0.05")
        assert held(daemon) == before
        last = daemon.stop()
        (home / "strategies" / "custom" / "holder.py").unlink()
        assert daemon.verify()["session_hash"] == last


def test_commands_reload_and_set_parameters(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with (
        exchange("--seed", "3") as venue,
        Daemon(home, venue, config=config_with_holder(), arguments=["--set", "reload.enabled=false"]) as daemon,
    ):
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        edited(home, HOLDER.replace("told", "new told"))
        told = len(daemon.lines.of("told, size 0.05"))
        daemon.lines.wait_for("told, size 0.05", count=told + 4)  # nobody reads the file again
        assert "holder" in daemon.ctl("reload")["text"]
        daemon.lines.wait_for("new told, size 0.05")
        daemon.ctl("params", "holder", "size=0.09")
        daemon.lines.wait_for("new told, size 0.09")
        last = daemon.stop()
        assert daemon.verify()["session_hash"] == last


def source_of(daemon: Daemon) -> str:
    """The hash of the code that the holder runs."""
    return next(each["source_hash"] for each in daemon.ctl("strategies") if each["id"] == "holder")


def test_the_code_that_fails_in_on_init_faults_alone(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    loops = HOLDER.replace('    ctx.state.setdefault("timers", 0)', "    while True:\n        ctx.state['turns'] = 1")
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        edited(home, loops)
        daemon.lines.wait_for("strategy faulted: it is told nothing more, the others run on", strategy="holder")
        seen = len(daemon.lines.of("fill"))
        daemon.lines.wait_for("fill", count=seen + 2)
        daemon.kill()
        daemon.again().running()
        found = {each["id"]: each["state"] for each in daemon.ctl("strategies")}
        assert found == {"ema_cross": "running", "market_maker": "running", "holder": "faulted"}
        last = daemon.stop()
        assert daemon.verify()["session_hash"] == last
        edited(home, HOLDER)
        daemon.again().running()
        assert daemon.lines.wait_for("taken up")["hash"] == last
        daemon.ctl("start", "holder")
        daemon.lines.wait_for("told, size 0.05")
        daemon.stop()
        assert daemon.verify()["starts"] == 3
