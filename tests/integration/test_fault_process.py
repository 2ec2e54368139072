"""What happens to processes: kill -9 at any moment, a second start, clocks that are wrong or step, other time zones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon.session.clock import SessionClock
from engine.errors import EXIT_LOCKED
from tests.sessions import Daemon, cli, exchange, start

ROOT = Path(__file__).parents[2]
KILLS = 8
HOUR_NS = 3_600 * 10**9
SOON_NS = 2 * 10**9
"""An order that a clock delays is late by an hour; latency is 5 ms, and a busy machine adds to it."""


def test_a_killed_session_stands_where_its_tape_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.session_killing", str(tmp_path / "killed"), str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    assert found["hashes_equal"] >= KILLS // 2
    assert found["records"] >= found["acknowledged"] > 0
    assert found["outputs"] > 0


def test_a_second_start_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue) as daemon:
        daemon.running()
        second = cli("--home", str(daemon.home), "run", str(daemon.config), "--name", "s", *venue.settings())
        assert second.returncode == EXIT_LOCKED, second.stderr
        assert str(daemon.tape.parent / "lock") in second.stderr
        assert f"pid {daemon.process.pid}" in second.stderr
        assert daemon.ctl("status")["state"] == "running"
        daemon.stop()
        assert daemon.verify()["starts"] == 1


@pytest.mark.parametrize(("hours", "zone"), [(1, "Asia/Kolkata"), (-1, "America/St_Johns")])
def test_a_clock_that_is_an_hour_off_changes_nothing(hours: int, zone: str, tmp_path: Path) -> None:
    environment = {"TZ": zone}
    with (
        exchange("--seed", "3", "--clock-offset", str(hours * 3_600)) as venue,
        Daemon(tmp_path / "home", venue, environment=environment) as daemon,
    ):
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=3)
        found = daemon.stop()
        assert not daemon.lines.of("disconnected")
        assert daemon.lines.of("clocks differ")[0]["offset_seconds"] == pytest.approx(hours * 3_600, abs=1)
        delays = delays_ns(daemon)
        assert delays
        assert max(delays) < SOON_NS
        # The same tape, read under other clocks and in other places, is the same run.
        for other in ("UTC", "Pacific/Apia"):
            assert verified(daemon, {"TZ": other})["replay_hash"] == found


def test_a_host_clock_that_is_set_between_two_starts_delays_no_order(tmp_path: Path) -> None:
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue) as daemon:
        port = venue.port
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=2)
        daemon.stop()
    ((first_life,),) = daemon.rows("SELECT max(order_id) FROM strategy_orders")
    # Seen from the host, a venue an hour ahead is a host whose clock was put back by one.
    with exchange("--seed", "3", "--clock-offset", "3600", port=port), daemon.again():
        daemon.running().synchronised()
        assert daemon.lines.of("clocks were set since the session began")
        daemon.lines.wait_for("fill", count=3)
        daemon.stop()
        assert daemon.verify()["starts"] == 2
    later = delays_ns(daemon, after=first_life)
    assert later
    assert max(later) < SOON_NS


def test_a_step_of_the_wall_clock_is_not_seen_by_a_session() -> None:
    wall, steady = [HOUR_NS * 500_000], [7]
    clock = SessionClock(wall_ns=lambda: wall[0], steady_ns=lambda: steady[0])
    begun = clock.now_ns()
    assert begun == wall[0]
    for step in (HOUR_NS, -2 * HOUR_NS, 5 * HOUR_NS):
        wall[0] += step
        steady[0] += 1_000
    assert clock.now_ns() == begun + 3_000


def test_a_clock_that_was_put_back_begins_after_the_tape() -> None:
    clock = SessionClock(floor_ns=HOUR_NS, wall_ns=lambda: 5, steady_ns=lambda: 9)
    assert clock.now_ns() == HOUR_NS + 1


def delays_ns(daemon: Daemon, after: int = 0) -> list[int]:
    """How long it took from its sending until each order was active at the venue; of those with higher numbers."""
    sent: dict[int, int] = {}
    found = []
    sql = f"SELECT order_id, state, ts_ns FROM strategy_orders WHERE order_id > {after} ORDER BY n"
    for order, state, ts_ns in daemon.rows(sql):
        if state == "NEW":
            sent[order] = ts_ns
        elif order in sent:
            found.append(ts_ns - sent.pop(order))
    return found


def verified(daemon: Daemon, environment: dict[str, str], arguments: Sequence[str] = ()) -> Any:
    """`tapewright verify` under another environment."""
    process = start(["--home", str(daemon.home), "verify", daemon.name, "--json", *arguments], environment)
    out, errors = process.communicate()
    assert process.returncode == 0, out + errors
    return json.loads(out)
