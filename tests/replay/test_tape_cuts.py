"""One tape, one hash: however its records are cut, wherever a run is stopped and resumed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from adapters.tape.codec import Records
from engine.replay import RunResult, StrategyRun
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy
from tests.replay.tape_runs import (
    FORMS,
    LIVELY,
    SLOW,
    assert_same,
    flow,
    message_stops,
    ran,
    run_of,
    settings_of,
    tape_of,
    two_flows,
)

# Trades on its own bars and keeps a table of what it heard, so that ctx.state and ctx's columns are resumed as well.
LISTENER = """
def schema():
    return {"id": "listener", "name": "Listener", "timer_ms": 700}


def on_bar(ctx, i):
    ctx.state.setdefault("closes", []).append(float(ctx.close[i]))
    if ctx.position.size == 0:
        ctx.buy(0.01)
    elif i % 3 == 0:
        ctx.flatten()


def on_order(ctx, order):
    ctx.state.setdefault("orders", []).append([order.id, order.state, order.filled])


def on_trade(ctx, trade):
    ctx.logger.info(f"{trade.side} {trade.pnl}")


def on_print(ctx, trade):
    ctx.state["volume"] = ctx.state.get("volume", 0.0) + trade.size


def on_gap(ctx, gap):
    ctx.logger.warn(f"lost: {gap.reason}")


def on_timer(ctx):
    if len(ctx.orders) < 3:
        ctx.buy(0.002, ctx.book.bid, tif="POST_ONLY", tag=len(ctx.orders))
    else:
        ctx.cancel(ctx.orders[0].id)
"""
CASES = [*FORMS, "all", "all on two markets", "listener"]
COMPILED = ["grid_compiled", "market_maker_compiled", "book_imbalance_compiled"]


@cache
def listener(folder: Path) -> Any:
    path = folder / "listener.py"
    path.write_text(LISTENER)
    return load_strategy(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strategies")


def case_of(name: str, folder: Path) -> tuple[Records, Sequence[StrategyRun]]:
    """The tape and the strategies of a case."""
    if name == "listener":
        runs = [StrategyRun(f"on {frame}", listener(folder), {}, (0,), frame) for frame in ("1s", "5s")]
        return flow(4_000, 11), [*runs, run_of("grid_compiled")]
    if name == "all on two markets":
        return two_flows(2_000, 12), [run_of(form, markets=(0, 1)) for form in FORMS]
    return flow(4_000, 11), [run_of(form) for form in (FORMS if name == "all" else [name])]


@cache
def expected_of(name: str, folder: Path) -> RunResult:
    """The run over the whole tape at once."""
    result = ran(*case_of(name, folder))
    assert len(result.trades()) >= 5
    assert result.figures["seq"] >= 4_000
    return result


def random_stops(records: Records, count: int, seed: int) -> list[int]:
    return sorted(Random(seed).sample(range(1, len(records)), count))


@pytest.mark.parametrize("name", CASES)
def test_message_by_message(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    assert_same(ran(records, runs, stops=message_stops(records)), expected_of(name, folder))


@pytest.mark.parametrize("name", CASES)
def test_record_by_record(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    assert_same(ran(records, runs, stops=range(len(records))), expected_of(name, folder))


@pytest.mark.parametrize("name", CASES)
def test_cut_at_a_thousand_random_records(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    assert_same(ran(records, runs, stops=random_stops(records, 1_000, 1)), expected_of(name, folder))


@pytest.mark.parametrize("name", COMPILED)
def test_a_thousand_runs_cut_at_random_records(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    expected, random = expected_of(name, folder), Random(2)
    for _ in range(1_000):
        stops = random.sample(range(1, len(records)), random.choice((1, 1, 2, 5, 40)))
        assert ran(records, runs, stops=stops).hash == expected.hash, sorted(stops)


@pytest.mark.parametrize("name", CASES)
def test_snapshot_and_restored_at_200_random_records(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    settings, tape = settings_of(SLOW), tape_of(records)
    replay = TapeReplay(settings, tape, runs)
    replay.start()
    start = 0
    for stop in random_stops(records, 200, 3):
        replay.consume(records[start:stop])
        start, snapshot = stop, replay.snapshot()
        replay = TapeReplay(settings, tape, runs)
        replay.resume(snapshot)
    replay.consume(records[start:])
    assert_same(replay.finish(), expected_of(name, folder))


@pytest.mark.parametrize("name", CASES)
def test_a_snapshot_does_not_disturb_the_run_that_it_is_of(name: str, folder: Path) -> None:
    records, runs = case_of(name, folder)
    running = TapeReplay(settings_of(SLOW), tape_of(records), runs)
    running.start()
    start, stored = 0, []
    for stop in random_stops(records, 5, 4):
        running.consume(records[start:stop])
        start = stop
        stored.append((stop, running.snapshot()))
    running.consume(records[start:])
    assert_same(running.finish(), expected_of(name, folder))
    for stop, snapshot in stored:
        resumed = TapeReplay(settings_of(SLOW), tape_of(records), runs)
        resumed.resume(snapshot)
        resumed.consume(records[stop:])
        assert_same(resumed.finish(), expected_of(name, folder))
        assert resumed._states == running._states


def test_every_lively_strategy_has_both_forms() -> None:
    assert len(FORMS) == 2 * len(LIVELY) == 6
