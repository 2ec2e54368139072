"""A session's guard, snapshots, lock and warm-up: what must hold when processes die and others take over.

Real signals, real processes that are killed, real locks and files, and a venue's REST on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.feeds.venues import VENUES
from adapters.rest_gate import GateLimits, RestGate
from adapters.tape import SESSION, TapeInstrument, TapeReader, TapeWriter
from config.daemon_model import PaperConfig
from daemon.session.beginning import write_history
from daemon.session.folder import SessionFolder, SessionLockedError
from daemon.session.guard import Guard, note_death
from daemon.session.snapshots import SessionSnapshot, read_session_snapshots, write_session_snapshot
from daemon.session.warmup import Wanted, stored_history, venue_history
from engine.bars import Bars
from engine.errors import DataError, InputMissingError, UsageError
from engine.isolation import InterruptedCallbackError
from tests.rest_server import always, rest_server
from tests.tapes import a_session, some_records

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


# ── Guard ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "callback.mark"


def looping(guard: Guard) -> None:
    guard.enter(0, 1)
    while True:
        pass


def test_a_call_that_loops_is_interrupted_and_others_are_not(mark: Path) -> None:
    guard = Guard(mark, 50)
    try:
        with pytest.raises(InterruptedCallbackError, match="took longer than 50 ms"):
            looping(guard)
        with contextlib.suppress(InterruptedCallbackError):
            guard.leave()
        guard.enter(0, 2)
        guard.leave()
        end = time.monotonic() + 0.15
        while time.monotonic() < end:
            pass  # no longer inside
    finally:
        guard.close()


def test_a_call_that_catches_everything_is_interrupted_until_it_ends(mark: Path) -> None:
    caught = 0
    guard = Guard(mark, 20)
    try:
        guard.enter(0, 1)
        while caught < 3:
            try:
                looping(guard)
            except:  # noqa: E722 - what a strategy may write
                caught += 1
        with pytest.raises(InterruptedCallbackError):
            guard.leave()
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass  # and nothing is interrupted afterwards
    finally:
        guard.close()


def test_an_order_that_is_being_sent_is_not_interrupted(mark: Path) -> None:
    guard = Guard(mark, 20)
    end = time.monotonic() + 0.2
    guard.is_busy = lambda: time.monotonic() < end
    try:
        with pytest.raises(InterruptedCallbackError):
            looping(guard)
        assert time.monotonic() >= end
    finally:
        guard.close()


def test_leaving_says_that_it_was_interrupted_whatever_the_code_made_of_it(mark: Path) -> None:
    guard = Guard(mark, 20)
    try:
        guard.enter(0, 1)
        with contextlib.suppress(BaseException):
            while True:
                pass
        with pytest.raises(InterruptedCallbackError):
            guard.leave()
        guard.enter(0, 2)
        guard.leave()
    finally:
        guard.close()


def test_without_a_limit_no_signal_is_touched(mark: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    guard = Guard(mark, 0)
    guard.enter(0, 1)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    guard.leave()
    guard.close()


def test_closing_gives_the_signal_back(mark: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    guard = Guard(mark, 50)
    assert signal.getsignal(signal.SIGALRM) == guard._interrupt
    guard.close()
    assert signal.getsignal(signal.SIGALRM) is before


DIES = """
import os, sys
from pathlib import Path
from daemon.session.guard import Guard
guard = Guard(Path(sys.argv[1]), 0)
if sys.argv[2] == "inside":
    guard.enter(1, 41)
    guard.leave()
    guard.enter(1, int(sys.argv[3]))
elif sys.argv[2] == "outside":
    guard.enter(1, 41)
    guard.leave()
os.kill(os.getpid(), 9)
"""


def die(mark: Path, where: str, call: int = 42) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(mark), where, str(call)], check=False)
    assert done.returncode == -9


def deaths_after(mark: Path, *ways: tuple[str, int]) -> list[tuple[int, int, int] | None]:
    """What each start finds of the process before it: strategy, call, how often in a row."""
    found = []
    for where, call in ways:
        die(mark, where, call)
        death = note_death(mark, mark.with_name("deaths.json"))
        found.append(None if death is None else (death.strategy, death.call, death.count))
    return found


def test_a_process_that_dies_in_a_call_leaves_its_mark(mark: Path) -> None:
    assert deaths_after(mark, ("inside", 42), ("inside", 42), ("inside", 43), ("outside", 0), ("inside", 43)) == [
        (1, 42, 1), (1, 42, 2), (1, 43, 1), None, (1, 43, 1),
    ]  # fmt: skip


def test_one_that_dies_before_its_first_call_has_not_died_in_the_last_one_s(mark: Path) -> None:
    """Else a healthy strategy would be left out after two kills, one of them while the process was starting."""
    assert deaths_after(mark, ("inside", 42), ("starting", 0)) == [(1, 42, 1), None]


def test_there_is_no_death_where_there_is_no_mark(mark: Path) -> None:
    assert note_death(mark, mark.with_name("deaths.json")) is None
    mark.write_bytes(b"short")
    assert note_death(mark, mark.with_name("deaths.json")) is None


def test_a_note_that_cannot_be_read_counts_from_one(mark: Path) -> None:
    mark.with_name("deaths.json").write_text("{")
    assert deaths_after(mark, ("inside", 42)) == [(1, 42, 1)]
    assert json.loads(mark.with_name("deaths.json").read_text()) == {"strategy": 1, "call": 42, "count": 1}


# ── Snapshots ───────────────────────────────────────────────────────────────────────────────────────────────


def a_snapshot(seq: int) -> SessionSnapshot:
    return SessionSnapshot("id", "tapewright", seq, 2 * seq, seq, f"{seq:016x}", bytes(range(256)) * 40)


def test_snapshots_are_read_newest_first_and_old_ones_go(tmp_path: Path) -> None:
    for seq in (5, 70, 800, 9_000, 10_000, 11_000):
        path = write_session_snapshot(tmp_path / "snapshots", a_snapshot(seq))
        assert path.exists()
    found = read_session_snapshots(tmp_path / "snapshots")
    assert found == [a_snapshot(seq) for seq in (11_000, 10_000, 9_000, 800)]
    assert len(list((tmp_path / "snapshots").iterdir())) == 4


def test_snapshots_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    assert read_session_snapshots(folder) == []
    paths = [write_session_snapshot(folder, a_snapshot(seq)) for seq in (1, 2, 3, 4)]
    paths[3].write_bytes(b"")
    paths[2].write_bytes(paths[1].read_bytes()[:-9])
    whole = bytearray(paths[1].read_bytes())
    paths[1].write_bytes(b"\x00" * len(whole))
    assert read_session_snapshots(folder) == [a_snapshot(1)]


# ── The folder and its lock ─────────────────────────────────────────────────────────────────────────────────


def test_a_session_has_one_process(tmp_path: Path) -> None:
    with SessionFolder(tmp_path, "one") as folder:
        with pytest.raises(SessionLockedError, match=f"pid {os.getpid()}") as caught, SessionFolder(tmp_path, "one"):
            pass
        assert caught.value.exit_code == 75
        with SessionFolder(tmp_path, "two"):
            pass
        assert folder.path == tmp_path / "sessions" / "one"
    with SessionFolder(tmp_path, "one"):
        pass


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from daemon.session.folder import SessionFolder\n"
        "SessionFolder(Path(sys.argv[1]), 'one').__enter__(); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(SessionLockedError, match=f"pid {process.pid}"), SessionFolder(tmp_path, "one"):
            pass
        process.kill()
    with SessionFolder(tmp_path, "one"):
        pass


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a" * 65, "with space"])
def test_names_that_are_no_folder_s_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a session"):
        SessionFolder(tmp_path, name)


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"file/sessions/one cannot be written"),
        SessionFolder(tmp_path / "file", "one"),
    ):
        pass


def test_what_was_recorded_is_set_aside_whole(tmp_path: Path) -> None:
    with SessionFolder(tmp_path, "one") as folder:
        assert not folder.has_tape
        with TapeWriter(folder.tape, is_new=True) as writer:
            writer.document(SESSION, a_session())
            writer.append(some_records(100))
        write_session_snapshot(folder.snapshots, a_snapshot(1))
        folder.mark.write_bytes(b"\x01")
        assert folder.has_tape
        aside = folder.set_aside()
        assert not folder.has_tape
        assert {each.name for each in aside.iterdir()} == {"tape", "snapshots", "callback.mark"}
        assert TapeReader(aside / "tape").facts().records_count > 100
        assert sorted(each.name for each in folder.path.iterdir()) == [aside.name, "lock"]
        with TapeWriter(folder.tape, is_new=True) as writer:
            writer.document(SESSION, a_session())
        assert folder.set_aside() != aside


# ── Warm-up ─────────────────────────────────────────────────────────────────────────────────────────────────

BTC = TapeInstrument("BTCUSDT", "binance_usdm", "linear", Decimal("0.1"), Decimal("0.001"))
NOW_NS = 1_700_000_000 * SECOND // MINUTE * MINUTE + 20 * SECOND


def kline(open_ns: int, price: str, volume: str = "1.5") -> list[object]:
    high, low = str(Decimal(price) + 1), str(Decimal(price) - 1)
    return [open_ns // 10**6, price, high, low, price, volume, open_ns // 10**6 + 59_999, "0", 1, "0", "0", "0"]


async def venue_s(rows: list[list[object]], count: int, after_ns: int = 0) -> Any:
    wanted = Wanted(0, BTC, "1m", count, after_ns)
    async with rest_server(always(json.dumps(rows).encode())) as server, RestGate() as gate:
        return await venue_history(gate, VENUES["BINANCE_FUTURES"], server.address, wanted, NOW_NS)


@pytest.mark.asyncio
async def test_the_venue_s_bars_become_ticks_and_lots_and_the_open_one_stands_apart() -> None:
    this = NOW_NS // MINUTE * MINUTE
    rows = [kline(this - MINUTE * back, f"{61_000 - back}.3") for back in (3, 2, 1, 0)]
    history = await venue_s(rows, 3)
    assert history.rows == tuple(
        (this - MINUTE * back, price := (61_000 - back) * 10 + 3, price + 10, price - 10, price, 1_500)
        for back in (3, 2, 1)
    )
    assert history.partial == (this, 610_003, 610_013, 609_993, 610_003, 1_500)
    assert (history.instrument, history.timeframe, history.source) == (0, "1m", "BINANCE_FUTURES 1m")


@pytest.mark.asyncio
async def test_after_a_restart_only_bars_after_the_last_known_one_are_taken() -> None:
    this = NOW_NS // MINUTE * MINUTE
    rows = [kline(this - MINUTE * back, "61000.0") for back in (3, 2, 1, 0)]
    history = await venue_s(rows, 3, after_ns=this - 2 * MINUTE)
    assert [row[0] for row in history.rows] == [this - MINUTE]
    assert history.partial is not None
    history = await venue_s(rows, 3, after_ns=this)
    assert (history.rows, history.partial) == ((), None)


def stored_bars(home: Path, count: int, first_ns: int) -> None:
    closes = 61_000 + np.arange(count, dtype=np.float64) / 10
    ts_ns = first_ns + MINUTE * np.arange(count, dtype=np.int64)
    path = path_of(home, "BTCUSDT", "1m")
    path.parent.mkdir(parents=True)
    bars = Bars("BTCUSDT", "1m", ts_ns, closes, closes + 0.5, closes - 0.5, closes, np.full(count, 0.25))
    write_bars(path, bars)


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [always(status=503), always(b"[[1]]")])
async def test_a_start_goes_on_without_bars_that_the_venue_does_not_give(tmp_path: Path, answer: Any) -> None:
    limits = GateLimits(attempts=1)
    async with rest_server(answer) as server, RestGate(limits) as gate:
        assert await history_documents(tmp_path, gate, PaperConfig(warmup="rest"), server.address) == []
        assert server.arrivals


@pytest.mark.asyncio
async def test_a_stored_file_that_is_spoiled_is_to_be_corrected(tmp_path: Path) -> None:
    path = path_of(tmp_path, "BTCUSDT", "1m")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no bars")
    async with RestGate() as gate:
        with pytest.raises(DataError, match="BTCUSDT"):
            await history_documents(tmp_path, gate, PaperConfig(warmup="files"), "")


async def history_documents(home: Path, gate: RestGate, paper: PaperConfig, rest: str) -> list[object]:
    """The documents that a start writes for one strategy with bars of a minute."""
    documents: list[object] = []
    run = SimpleNamespace(markets=(0,), strategy=SimpleNamespace(on_bar=print))
    columns = {(0, "1m"): SimpleNamespace(last_ns=0)}
    replay: Any = SimpleNamespace(runs=[run], bars=SimpleNamespace(columns=columns))
    config: Any = SimpleNamespace(daemon=SimpleNamespace(paper=paper, feed=SimpleNamespace(rest=rest)))
    sequencer: Any = SimpleNamespace(document=lambda _type, value: documents.append(value))
    session: Any = SimpleNamespace(instruments=(BTC,))
    await write_history(home, config, gate, VENUES["BINANCE_FUTURES"], sequencer, session, replay, NOW_NS)
    return documents


def test_stored_bars_that_have_closed_are_taken_the_last_ones(tmp_path: Path) -> None:
    this = NOW_NS // MINUTE * MINUTE
    stored_bars(tmp_path, 10, this - 7 * MINUTE)
    history = stored_history(tmp_path, Wanted(0, BTC, "1m", 5, 0), NOW_NS)
    assert [row[0] for row in history.rows] == [this - MINUTE * back for back in (5, 4, 3, 2, 1)]
    assert history.rows[-1][1:] == (610_006, 610_011, 610_001, 610_006, 250)
    assert history.partial is None
    later = stored_history(tmp_path, Wanted(0, BTC, "1m", 5, this - 2 * MINUTE), NOW_NS)
    assert [row[0] for row in later.rows] == [this - MINUTE]


def test_no_stored_bars_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="BTCUSDT"):
        stored_history(tmp_path, Wanted(0, BTC, "1m", 5, 0), NOW_NS)
