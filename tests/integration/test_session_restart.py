"""Restarts: a session drains and goes on exactly, positions and orders kept; what may change meanwhile, what not."""

from __future__ import annotations

import time
from pathlib import Path

from adapters.tape import TapeReader
from engine.errors import EXIT_CONFIG
from engine.kernels import layout
from tests.holding import HOLDER, config_with_holder, held, home_with_holder
from tests.sessions import Daemon, cli, exchange

DRAIN_SECONDS = 5.0


def test_positions_and_orders_are_kept_and_the_downtime_is_a_gap(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        before = held(daemon)
        assert [len(each) for each in before] == [1, 1]
        begun = time.monotonic()
        first = daemon.stop()
        assert time.monotonic() - begun < DRAIN_SECONDS + 2, "the process has to end, too"
        daemon.again().running()
        assert daemon.lines.wait_for("taken up")["hash"] == first
        assert daemon.lines.of("taken up")[0]["records"] == 0, "the last snapshot is of the very end"
        assert held(daemon) == before
        daemon.lines.wait_for("gap downtime", strategy="holder")
        daemon.lines.wait_for("told, size 0.05", strategy="holder")
        daemon.kill()
        daemon.again().running()
        assert held(daemon) == before
        daemon.stop()
        assert daemon.verify()["starts"] == 3
    assert len(downtimes(daemon.tape)) == 2
    assert all(length_ns > 0 for length_ns in downtimes(daemon.tape))


def test_without_snapshots_the_tape_alone_gives_the_state(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        before, last = held(daemon), daemon.stop()
        for index, path in enumerate(sorted((daemon.tape.parent / "snapshots").iterdir())):
            if index % 2:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:-7])  # torn, as by a disk that lied
        daemon.again().running()
        taken_up = daemon.lines.wait_for("taken up")
        assert taken_up["records"] == taken_up["seq"]
        assert taken_up["hash"] == last
        assert held(daemon) == before
        assert daemon.ctl("status")["seq"] > taken_up["seq"]
        daemon.stop()
        assert daemon.verify()["equal"]


def test_reset_begins_anew_and_keeps_what_was_recorded_aside(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        daemon.stop()
        daemon.again("--set", "paper.on_restart=reset").running()
        daemon.lines.wait_for("told, size 0.05")
        assert not daemon.lines.of("taken up")
        daemon.stop()
        assert daemon.verify()["starts"] == 1
    (aside,) = daemon.tape.parent.glob("before-*/tape")
    done = cli("--home", str(home), "tape", "check", str(aside))
    assert done.returncode == 0, done.stdout
    assert daemon.rows("SELECT status FROM strategy_runs") == [("stopped",), ("stopped",)]


def test_settings_that_an_account_cannot_change_are_refused_and_others_become_commands(tmp_path: Path) -> None:
    home = home_with_holder(tmp_path)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config_with_holder()) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("told, size 0.05")
        before = daemon.stop()
        for setting in ("initial_cash=5", "leverage=2", "symbols=[BTCUSDT]", "timeframe=5s", "paper.on_fault=flatten"):
            _assert_refused(daemon, venue.settings(), setting)
        daemon.config.write_text(config_with_holder(", params: {size: 0.07}"), encoding="utf-8")
        source = home / "strategies" / "custom" / "holder.py"
        source.write_text(HOLDER.replace("told", "other told"), encoding="utf-8")
        daemon.again("--set", "paper.snapshot_seconds=3", "--set", "logs.level=debug").running()
        assert daemon.lines.wait_for("taken up")["hash"] == before
        daemon.lines.wait_for("goes on with other code or parameters", strategy="holder")
        daemon.lines.wait_for("other told, size 0.07", strategy="holder")
        source.write_text("def schema(:\n", encoding="utf-8")  # what a session runs is on its tape
        last = daemon.stop()
        assert daemon.verify()["session_hash"] == last
        source.write_text(HOLDER.replace("told", "third told"), encoding="utf-8")
        daemon.again().running()
        assert daemon.lines.wait_for("taken up")["hash"] == last
        daemon.lines.wait_for("third told, size 0.07", strategy="holder")
        daemon.stop()
        assert daemon.verify()["starts"] == 3


def _assert_refused(daemon: Daemon, venue: list[str], setting: str) -> None:
    arguments = ["--home", str(daemon.home), "run", str(daemon.config), "--name", daemon.name, *venue]
    done = cli(*arguments, "--set", setting)
    assert done.returncode == EXIT_CONFIG, (setting, done.stderr)
    name = setting.partition("=")[0]
    assert f"{name}: " in done.stderr, (setting, done.stderr)


def downtimes(folder: Path) -> list[int]:
    """How long each time was that nobody recorded, as the tape says."""
    found = []
    for batch in TapeReader(folder).batches(1):
        records = batch.records
        gaps = records[(records["kind"] == layout.GAP) & (records["a"] == layout.GAP_DOWNTIME)]
        found += [int(row["ts_receive_ns"]) - int(row["c"]) for row in gaps]
    return found
