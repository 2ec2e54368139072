"""The benchmark itself runs, and what it compares is the same work. No times are judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report() -> Any:
    command = [sys.executable, "-m", "tests.bench.bars", "--quick", "--json", "--only", "on_bar,signals,orders"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_it_says_what_it_ran_on(report: Any) -> None:
    assert report["bars"] == 50_000
    assert report["quick"] is True
    assert report["source"]
    assert set(report) == {"source", "bars", "quick", "machine", "on_bar", "signals", "orders"}


def test_the_engine_sends_the_orders_of_the_bare_loop(report: Any) -> None:
    found = report["on_bar"]
    assert found["ratio"] == pytest.approx(found["engine_seconds"] / found["bare_seconds"])
    assert found["same_orders"] is True
    assert found["engine_orders"] == found["bare_orders"]
    assert sum(found["engine_orders"]) > 500


def test_signals_trade_as_the_bare_compiled_loop_and_as_on_bar(report: Any) -> None:
    found = report["signals"]
    assert found["ratio"] == pytest.approx(found["engine_seconds"] / found["bare_seconds"])
    assert min(found[name] for name in ("construct_seconds", "start_seconds", "finish_seconds")) > 0
    assert found["same_result"] is True
    assert (found["engine_trades"], found["engine_fills"]) == (found["bare_trades"], found["bare_fills"])
    assert found["engine_equity"] == pytest.approx(found["bare_equity"], abs=5e-5)
    assert found["engine_equity"] == report["on_bar"]["final_equity"]
    assert found["engine_trades"] == report["on_bar"]["trades"]


def test_every_order_has_one_fate(report: Any) -> None:
    found = report["orders"]
    fates = ("limits_filled", "stops_triggered", "cancelled", "open_at_end", "rejected")
    assert sum(found[name] for name in fates) == found["orders"]
    assert found["cancels"] == found["orders"] // 2
    assert min(found[name] for name in ("limits_filled", "stops_triggered", "cancelled", "orders_per_second")) > 0
    assert found["state_bytes"] > 0
    assert found["memory_growth_bytes"] > 0


@pytest.fixture(scope="module")
def daemon_report() -> Any:
    command = [
        sys.executable, "-m", "tests.bench.daemon", "--quick", "--json", "--messages", "8000", "--seconds", "2",
        "--rate", "500",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_all_messages_of_the_path_are_stored_however_many_make_a_step(daemon_report: Any) -> None:
    found = daemon_report["path"]
    one, many = found["step_1"], found["step_16"]
    assert one["messages"] == many["messages"] == 8_000
    assert one["records"] == many["records"] > 8_000
    assert one["hash"] == many["hash"]
    assert one["outputs"] == many["outputs"] > 0
    assert one["rows"] == many["rows"] > 0
    assert one["ratio"] > 0
    assert set(found["phases_us"]) >= {"engine and strategies", "tape: append, pack, write"}


def test_every_message_of_the_load_is_decided_on(daemon_report: Any) -> None:
    found = daemon_report["latency"]
    assert found["missing"] == 0
    assert found["warnings"] == []
    assert 0 < found["messages"] <= 1_000
    for name in ("due_to_decision", "receive_to_decision", "due_to_sent"):
        assert 0 <= found[name]["p50"] <= found[name]["p99"] <= found[name]["p100"]
    assert found["due_to_decision"]["p50"] >= found["receive_to_decision"]["p50"]


def test_daemon_and_peer_are_measured_at_the_same_sockets(daemon_report: Any) -> None:
    found = daemon_report["sockets"]
    assert found["ratio"] == pytest.approx(found["own_us"] / found["peer_us"])
    assert min(found["own_us"], found["peer_us"]) > 0
