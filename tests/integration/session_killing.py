"""A paper session killed again and again under load; one JSON object at the end says what was found.

`python -m tests.integration.session_killing FOLDER KILLS [RATE]`. The exchange sends RATE events a second for each of
two instruments. Each life of the daemon is killed at a random moment, some while it starts. What it says to be
acknowledged is asked for all the while, from outside. After each kill the tape must be sound but for a torn tail and
hold every acknowledged record; the store must hold exactly the rows that a replay of that tape gives, as far as it
reaches, and no fewer than it had committed before; and the next life must begin with the replay's hash.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from adapters.tape.findings import FindingKind
from daemon.control.client import ControlClient, socket_path
from daemon.session_verifying import SessionVerdict, verify_session
from engine.errors import TapewrightError
from tests.sessions import Daemon, exchange

STARTING_SHARE = 0.15
"""Of the kills, those that hit a start."""
_START_SECONDS, _LIFE_SECONDS = 1.5, 2.5
_ASK_SECONDS = 0.03


class Reached(msgspec.Struct):
    """What a session had acknowledged, as seen from outside: a record, and rows committed to the store."""

    seq: int = 0
    outputs: int = 0
    samples: int = 0


def watch(daemon: Daemon, reached: Reached, seconds: float) -> None:
    """Ask a session for what is acknowledged, for so long."""
    end = time.monotonic() + seconds
    with suppress(TapewrightError, OSError), ControlClient(socket_path(daemon.home, daemon.name)) as client:
        while time.monotonic() < end:
            reached.seq = max(reached.seq, client.status().acknowledged_seq)
            _, reached.outputs, reached.samples = stored(daemon.store)
            time.sleep(min(_ASK_SECONDS, max(0.0, end - time.monotonic())))
    time.sleep(max(0.0, end - time.monotonic()))


def stored(store: Path) -> tuple[str, int, int]:
    """The run in the store, and how many of its outputs and samples are committed."""
    sql = "SELECT name, outputs_stored, samples_stored FROM strategy_runs"
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        rows = connection.execute(sql).fetchall()
    assert len(rows) == 1, rows
    return rows[0][0], rows[0][1], rows[0][2]


def checked(daemon: Daemon, reached: Reached) -> SessionVerdict:
    """Hold what a killed session has left against the replay of its tape, and against what it had acknowledged."""
    verdict = verify_session(daemon.home, daemon.tape.parent)
    others = [each for each in verdict.findings if each.kind != FindingKind.TORN_TAIL]
    assert not others, others
    assert verdict.equal, (verdict.difference, verdict.marks)
    assert verdict.records >= reached.seq, (verdict.records, reached)
    _, outputs, samples = stored(daemon.store)
    assert verdict.outputs >= outputs >= reached.outputs, (verdict.outputs, outputs, reached)
    assert verdict.samples >= samples >= reached.samples, (verdict.samples, samples, reached)
    with closing(sqlite3.connect(daemon.store)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        for table, column in (("strategy_orders", "n"), ("strategy_fills", "n"), ("equity_curve", "n")):
            sql = f"SELECT count(*) - count(DISTINCT {column}) FROM {table}"
            assert connection.execute(sql).fetchall() == [(0,)], table
    return verdict


def ready_again(daemon: Daemon, begun: float, expected: str) -> tuple[float, float]:
    """Wait until a session runs, with the hash that was expected; how long that took, and how much processor."""
    daemon.lines.wait_for("running")
    ready, used = time.monotonic() - begun, processor_seconds(daemon.process.pid)
    found = daemon.lines.of("taken up")
    assert [each["hash"] for each in found] == [expected], (found, expected)
    return ready, used


def processor_seconds(pid: int) -> float:
    """What a process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(folder: Path, kills: int, rate: int) -> None:
    """Kill a session so many times; raises where it does not stand where its tape says."""
    dice = random.Random(kills)
    # Bytecode as an installation keeps it, though this environment may keep none.
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    folder.mkdir(exist_ok=True)
    ready: list[float] = []
    processor: list[float] = []
    torn = starting = 0
    reached, expected = Reached(), ""
    with exchange("--seed", "5", "--rate", str(rate)) as venue:
        begun = time.monotonic()
        daemon = Daemon(folder / "home", venue, environment=environment)
        daemon.running()  # compiles what is not in the cache; its time counts for nothing
        ready_first = time.monotonic() - begun
        daemon.synchronised()
        watch(daemon, reached, 3.0)
        for number in range(kills):
            daemon.kill()
            verdict = checked(daemon, reached)
            torn += bool(verdict.findings)
            expected = verdict.replay_hash
            begun = time.monotonic()
            daemon.again()
            if dice.random() < STARTING_SHARE and number < kills - 1:
                starting += 1
                time.sleep(dice.uniform(0, _START_SECONDS))
                continue
            seconds, used = ready_again(daemon, begun, expected)
            ready.append(seconds)
            processor.append(used)
            watch(daemon, reached, dice.uniform(0, _LIFE_SECONDS))
        last = daemon.stop()
        verdict = checked(daemon, reached)
        assert (verdict.session_hash, verdict.sound) == (last, True)
    print(json.dumps({  # noqa: T201
        "kills": kills, "while_starting": starting, "torn_tails": torn, "records": verdict.records,
        "acknowledged": reached.seq, "outputs": verdict.outputs, "samples": verdict.samples, "starts": verdict.starts,
        "hashes_equal": len(ready), "first_start_seconds": round(ready_first, 2),
        "ready_seconds": spread(ready), "of_it_processor_seconds": spread(processor),
        "load_average": round(os.getloadavg()[1], 1),
    }))  # fmt: skip


def spread(values: list[float]) -> dict[str, float]:
    """Half, nine tenths and all of them were no more than this."""
    ordered = sorted(values)
    places = {"p50": len(ordered) // 2, "p90": len(ordered) * 9 // 10, "most": len(ordered) - 1}
    return {name: round(ordered[place], 2) for name, place in places.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 300)
