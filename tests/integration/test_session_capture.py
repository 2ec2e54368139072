"""Acceptance on the real capture: a session that hears it whole loses nothing, and its tape proves all it did.

At full speed the exchange waits for the daemon, so that each message must be on the tape once; at ten times the
capture's own speed a piece of it shows that time passes as it should.
"""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.store import RunRow, StoreReader
from adapters.store.rows import COLUMNS
from adapters.tape.codec import Records
from daemon.store_compare import compare_runs
from engine.kernels import layout
from tests.sessions import Daemon, cli, exchange
from tests.tapes import read_all

CAPTURE = Path(__file__).parents[3] / "shared/data/l2/binance_usdm_btcusdt_20240808.gz"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not CAPTURE.exists(), reason=f"{CAPTURE} is absent: it is not part of the project"),
]
STRATEGIES = ("ema_cross", "market_maker", "grid")
CONFIG = """
mode: paper
symbols: [BTCUSDT]
timeframe: 1s
strategies:
  - {name: ema_cross, params: {fast: 2, slow: 3}}
  - {name: market_maker, params: {liquidity: 20.0, average: 30, warm_up: 10, horizon: 20}}
  - {name: grid}
initial_cash: 1000000
leverage: 5
commission: {schedule: venue}
book: {order_latency_ms: 5, response_latency_ms: 5}
paper: {warmup: none, snapshot_seconds: 2}
feed: {stale_book_seconds: 4}
logs: {format: json}
"""
PIECE_SECONDS = 60


class Played(msgspec.Struct, frozen=True):
    """A session that has heard a capture to its end: what was sent, what is on its tape, what proves it."""

    home: Path
    ids: dict[str, list[int]]  # of the capture's depth messages and trades
    records: Records
    hash: str
    verdict: dict[str, Any]
    replayed: dict[str, Any]

    @property
    def tape(self) -> Path:
        """Where its tape lies."""
        return self.home / "sessions" / "s" / "tape"

    @property
    def store(self) -> Path:
        """The store with both runs."""
        return self.home / "strategy.sqlite"


def play(home: Path, capture: Path, speed: str, funding_seconds: int) -> Played:
    """Let a session hear a capture until nothing more comes, and replay its tape into its own store."""
    arguments = ["--capture", str(capture), "--speed", speed, "--funding-seconds", str(funding_seconds), "--stay"]
    with exchange(*arguments) as venue, Daemon(home, venue, config=CONFIG) as daemon:
        daemon.running().synchronised("BTCUSDT")
        daemon.lines.wait_for("stale", channel="l2_book", seconds=180)
        found = daemon.stop()
        verdict = daemon.verify()
    words = ("--home", str(home), "replay", str(daemon.tape), str(daemon.config), "--store", "--json")
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    return Played(home, ids_of(capture), read_all(daemon.tape), found, verdict, json.loads(done.stdout))


def ids_of(capture: Path) -> dict[str, list[int]]:
    """The ids of a capture's depth messages and trades at the market, in its order."""
    ids: dict[str, list[int]] = {"depth": [], "trades": []}
    with gzip.open(capture) as file:
        for line in file:
            message = msgspec.json.decode(line.partition(b" ")[2])
            stream, data = message.get("stream", ""), message.get("data", message)
            if "@depth" in stream:
                ids["depth"].append(data["u"])
            elif stream.endswith("@trade") and data["X"] == "MARKET":
                ids["trades"].append(data["t"])
    return ids


def piece_of(capture: Path, path: Path) -> Path:
    """The first seconds of a capture as a capture of their own."""
    with gzip.open(capture) as file, gzip.open(path, "wb", compresslevel=1) as piece:
        first_ns = None
        for line in file:
            receive_ns = int(line.partition(b" ")[0])
            first_ns = first_ns or receive_ns
            if receive_ns - first_ns > PIECE_SECONDS * 1_000_000_000:
                break
            piece.write(line)
    return path


def stored_runs(played: Played) -> tuple[RunRow, RunRow]:
    """The paper run and the replay's."""
    with StoreReader(played.store) as reader:
        paper, replay = sorted(reader.runs(), key=lambda run: run.mode)
    assert (paper.mode, replay.mode) == ("paper", "replay")
    return paper, replay


def messages(records: Records) -> Records:
    """The last level of each book message."""
    return records[(records["kind"] == layout.LEVEL) & ((records["flags"] & layout.LAST) != 0)]


def every_depth_message_after_the_snapshot_is_on_the_tape_once_in_order(played: Played) -> None:
    found = messages(played.records)
    is_snapshot = (found["flags"] & layout.SNAPSHOT) != 0
    assert is_snapshot.tolist() == [True] + [False] * (len(found) - 1)
    ids = found["c"][~is_snapshot].tolist()
    sent = played.ids["depth"]
    assert ids == sent[bisect_right(sent, int(found["c"][0])) :]
    assert len(ids) > 0.9 * len(sent)


def every_trade_since_the_connection_is_on_the_tape_once_in_order(played: Played) -> None:
    ids = played.records["c"][played.records["kind"] == layout.PRINT].tolist()
    assert ids == played.ids["trades"][-len(ids) :]
    assert len(ids) > 0.9 * len(played.ids["trades"])


def nothing_was_lost_before_the_end(played: Played) -> None:
    gaps = played.records[played.records["kind"] == layout.GAP]
    last = int(messages(played.records)["ts_receive_ns"][-1])
    assert [int(gap["a"]) for gap in gaps if gap["ts_receive_ns"] <= last] == []


def the_books_bear_out_the_venues_quotes(played: Played) -> None:
    done = cli("verify", str(played.tape), "--json")
    verdict = json.loads(done.stdout)
    assert done.returncode == 0, verdict
    assert verdict["quotes"]["mismatches"] == 0
    assert verdict["quotes"]["compared"] >= (400 if len(played.ids["depth"]) > 6_000 else 40)
    assert verdict["hash"] == verdict["hash_cut_elsewhere"] == played.hash
    assert verdict["strategies"] == list(STRATEGIES)


def the_session_equals_its_replay(played: Played) -> None:
    verdict = played.verdict
    assert (verdict["equal"], verdict["sound"], verdict["starts"]) == (True, True, 1)
    assert verdict["session_hash"] == verdict["replay_hash"] == played.hash == played.replayed["hash"]
    assert verdict["marks"]
    assert verdict["records"] == len(played.records)


def the_replay_of_its_tape_gives_the_same_rows(played: Played) -> None:
    paper, replay = stored_runs(played)
    assert compare_runs(played.store, paper, replay) is None
    assert (paper.outputs_stored, paper.samples_stored, paper.hash) == (
        replay.outputs_stored, replay.samples_stored, replay.hash,
    )  # fmt: skip
    with StoreReader(played.store) as reader:
        for table in COLUMNS:
            rows = [_rows(reader, table, run.run_id) for run in (paper, replay)]
            assert rows[0] == rows[1], table


def _rows(reader: StoreReader, table: str, run_id: int) -> list[tuple[Any, ...]]:
    """A table's rows of a run, without its number."""
    columns = ", ".join(COLUMNS[table][1:])
    return list(reader.stream(f"SELECT {columns} FROM {table} WHERE run_id = ? ORDER BY n", (run_id,)))


def every_strategy_traded_and_paid_or_got_funding(played: Played) -> None:
    """Equal rows of nothing would prove nothing."""
    paper, _ = stored_runs(played)
    with StoreReader(played.store) as reader:
        fills, trades = reader.fills(paper.run_id), reader.trades(paper.run_id)
        payments, equity = reader.funding(paper.run_id), reader.equity(paper.run_id)
        names = [each.strategy_id for each in reader.strategies(paper.run_id)]
    assert names == list(STRATEGIES)
    assert {each.strategy_id for each in fills} == set(names)
    assert len(trades) >= 3
    assert any(each.lots and each.payment for each in payments)
    assert len({each.ts_ns for each in payments}) >= 2
    assert len(equity) >= 4
    assert equity[-1].equity != equity[0].equity


def what_was_held_back_waited_and_was_not_left_out(played: Played) -> None:
    """Receive times never fall, and records of the capture stand in the order of its messages."""
    times = played.records["ts_receive_ns"]
    assert bool((np.diff(times) >= 0).all())
    ids = messages(played.records)["c"]
    assert bool((np.diff(ids) > 0).all())


@pytest.mark.parametrize("speed", ["full speed", "ten times"])
def test_a_session_that_hears_a_capture_proves_all_it_did(tmp_path: Path, speed: str) -> None:
    """One test for each speed: what it plays takes long, and is looked at from every side."""
    if speed == "full speed":
        played = play(tmp_path / "home", CAPTURE, "0", 10)
    else:
        played = play(tmp_path / "home", piece_of(CAPTURE, tmp_path / "piece.gz"), "10", 2)
    every_depth_message_after_the_snapshot_is_on_the_tape_once_in_order(played)
    every_trade_since_the_connection_is_on_the_tape_once_in_order(played)
    nothing_was_lost_before_the_end(played)
    the_books_bear_out_the_venues_quotes(played)
    the_session_equals_its_replay(played)
    the_replay_of_its_tape_gives_the_same_rows(played)
    every_strategy_traded_and_paid_or_got_funding(played)
    what_was_held_back_waited_and_was_not_left_out(played)


def test_the_capture_can_be_read_at_all() -> None:
    """The ids that the tests above hold the tape against are there."""
    ids = ids_of(CAPTURE)
    assert (len(ids["depth"]), len(ids["trades"])) == (6_551, 21_313)
    assert all(before < after for before, after in zip(ids["depth"], islice(ids["depth"], 1, None), strict=False))
