"""One run, one hash: however its records are cut, wherever it is stopped and resumed, in whichever process.

The chain covers every output and, at each step, equity and exposure, so equal hashes mean equal runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.core import Engine
from engine.errors import DataError, StrategyError
from engine.instruments import Instrument
from engine.market import Market, static_funding
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, Execution, Risk, RunSettings, Slippage
from engine.strategy import Schema, Strategy

ROOT = Path(__file__).parents[2]
YEAR = ROOT.parent / "shared" / "data" / "ohlcv" / "binance_spot_BTCUSDT_1m_2022.parquet"
SETTINGS = RunSettings(
    initial_cash=Decimal(1_000_000),
    leverage=Decimal(3),
    slippage=Slippage(bps=Decimal(2)),
    commission=Commission(maker_bps=Decimal(1), taker_bps=Decimal(4), per_order=Decimal("0.01")),
    execution=Execution(max_volume_share=Decimal("0.05")),
    risk=Risk(daily_loss_limit=Decimal("0.2")),
)


# How the core was driven, not what it did.
BESIDE = {"wake", "free_slot", "slots_used", "output_count", "sample_count", "next_request"}


def strategy(**functions: Callable[..., Any]) -> Strategy:
    return Strategy(Schema("made_up", "Made up"), __file__, "", **functions)


# ── Strategies ──────────────────────────────────────────────────────────────────────────────────────────────


def cross_on_bar(ctx: Any, i: int) -> None:
    fast, slow = ctx.ind.ema(ctx.close, 12), ctx.ind.ema(ctx.close, 26)
    if i >= 1 and fast[i] > slow[i] and fast[i - 1] <= slow[i - 1]:
        ctx.buy(1.0)
    if i >= 1 and fast[i] < slow[i] and fast[i - 1] >= slow[i - 1]:
        ctx.sell(1.0)


def cross_ahead(ctx: Any) -> dict[str, Any]:
    """The same crosses, as whole arrays."""
    fast, slow = ctx.ind.ema(ctx.close, 12), ctx.ind.ema(ctx.close, 26)
    above, below = np.zeros(len(fast), dtype=bool), np.zeros(len(fast), dtype=bool)
    above[1:] = (fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1])
    below[1:] = (fast[1:] < slow[1:]) & (fast[:-1] >= slow[:-1])
    return {"buy": above, "sell": below, "size": 1.0}


def cross_looking(ctx: Any, i: int) -> None:
    """The same, and a look at everything there is, in every bar."""
    seen = (ctx.position.size, ctx.position.pnl, ctx.portfolio.equity, ctx.portfolio.margin, ctx.orders)
    ctx.logger.info(len(seen))
    cross_on_bar(ctx, i)


def bracket_bar(ctx: Any, i: int) -> None:
    """Enters on a cross with a size that depends on what trades made so far; logs and remembers."""
    ctx.state["bars"] = ctx.state.get("bars", 0) + 1
    fast, slow = ctx.ind.ema(ctx.close, 5), ctx.ind.ema(ctx.close, 11)
    if i < 1 or ctx.position.size or ctx.orders:
        return
    size = 1.0 + 0.5 * (ctx.state.get("wins", 0) % 3)
    if fast[i] > slow[i] and fast[i - 1] <= slow[i - 1]:
        ctx.buy(size, tag=1)
    elif fast[i] < slow[i] and fast[i - 1] >= slow[i - 1]:
        ctx.sell(size, tag=1)


def bracket_order(ctx: Any, order: Any) -> None:
    """A target and a stop beside each entry; whichever fills first takes the other with it."""
    ctx.state.setdefault("seen", []).append([order.id, order.state, order.filled])
    if order.state == "FILLED" and order.tag == 1:
        (price, out) = (order.fill_price, ctx.sell if order.side == "buy" else ctx.buy)
        sign = 1 if order.side == "buy" else -1
        out(order.size, price * (1 + 0.004 * sign), "limit", tag=2, reduce_only=True)
        out(order.size, price * (1 - 0.003 * sign), "stop", tag=3, reduce_only=True)


def bracket_trade(ctx: Any, trade: Any) -> None:
    ctx.state["wins"] = ctx.state.get("wins", 0) + (trade.pnl > 0)
    ctx.state["pnl"] = ctx.state.get("pnl", 0.0) + float(trade.pnl)
    ctx.logger.info(f"trade {trade.trade_id}: {trade.pnl}")
    ctx.cancel_all()


def ladder(ctx: Any, i: int) -> None:
    """Up to 60 resting orders of every kind around the price, some of them cancelled again."""
    if i % 3:
        return
    price = float(ctx.close[i])
    distance = price * 0.0005 * (1 + i % 7)
    working = ctx.orders
    if len(working) > 60:
        for order in working[: 10 + i % 5]:
            ctx.cancel(order.id)
    ctx.buy(0.05, price - distance)
    ctx.sell(0.05, price + distance, "limit")
    ctx.buy(0.03, price + 2 * distance, "stop")
    ctx.sell(0.03, price - 2 * distance, "stop", reduce_only=True)
    expire = int(ctx.time[i]) + 45 * 60_000
    ctx.sell(0.02, price + 3 * distance, "stop_limit", "GTD", stop_price=price - 3 * distance, expire=expire)
    if i % 40 == 0:
        ctx.flatten()


QUIET = strategy(on_bar=cross_on_bar)
AHEAD = strategy(signals=cross_ahead)
LOOKING = strategy(on_bar=cross_looking)
BRACKETS = strategy(on_bar=bracket_bar, on_order=bracket_order, on_trade=bracket_trade)
LADDER = strategy(on_bar=ladder)
ALL = {"quiet": QUIET, "ahead": AHEAD, "looking": LOOKING, "brackets": BRACKETS, "ladder": LADDER}


def market(symbol: str = "MADEUP", seed: int = 7, count: int = 2_000) -> Market:
    bars = synthesize(symbol, "1m", count, seed)
    funding = static_funding(bars, Decimal("0.0001"), 1)
    return Market(Instrument(symbol, Decimal("0.01"), Decimal("0.00001")), bars, funding)


def replay_of(*names: str, markets: int = 1, bars: int = 2_000) -> Replay:
    made = [market(f"M{index}", 7 + index, bars) for index in range(markets)]
    runs = [StrategyRun(f"{name}{n}", ALL[name], {}, tuple(range(markets))) for n, name in enumerate(names)]
    return Replay(SETTINGS, made, runs)


def same(found: RunResult, expected: RunResult) -> None:
    assert found.hash == expected.hash
    assert np.array_equal(found.outputs, expected.outputs)
    assert np.array_equal(found.samples, expected.samples)
    assert found.log == expected.log
    for name, value in expected.figures.items():
        assert found.figures[name] == value or name in BESIDE, name


CASES = [("quiet", 1), ("brackets", 1), ("ladder", 1), ("brackets ladder quiet", 2)]


# ── Cuts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cuts", ["one", "two", "random", "whole"])
def test_batches_of_any_size_give_the_same_hash(cuts: str) -> None:
    expected = replay_of("ahead", markets=2).run()
    ahead = replay_of("ahead", markets=2)
    ahead.start()
    records, requests = ahead.stream.records, ahead.account.pending
    assert len(requests) > 100
    random = Random(4)
    engine = Engine(SETTINGS, [one.instrument for one in ahead.markets], 1, samples=16, orders=2)
    position = 0
    while position < len(records):
        size = {"one": 1, "two": 2, "random": random.choice([1, 2, 3, 50, 999]), "whole": len(records)}[cuts]
        position, _ = engine.advance(records, position, min(len(records), position + size), requests)
    assert engine.hash == expected.hash
    assert np.array_equal(engine.outputs(), expected.outputs)
    assert np.array_equal(engine.samples(), expected.samples)


@pytest.mark.parametrize(("names", "markets"), CASES)
def test_bars_made_in_portions_give_the_same_run(names: str, markets: int) -> None:
    expected = replay_of(*names.split(), markets=markets).run()
    for choices in ([1], [1, 2, 7, 500]):
        random, replay = Random(5), replay_of(*names.split(), markets=markets)
        replay.start()
        while replay.run_bars(random.choice(choices)):
            pass
        same(replay.finish(), expected)


def test_the_same_bars_twice() -> None:
    same(replay_of("ladder", "brackets").run(), replay_of("ladder", "brackets").run())


def test_another_market_gives_another_hash() -> None:
    runs = [StrategyRun("quiet", QUIET, {}, (0,))]
    one, other = (Replay(SETTINGS, [market(seed=seed)], runs).run().hash for seed in (1, 2))
    assert one != other


# ── Ways to write the same strategy ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("markets", [1, 3])
def test_arrays_ahead_equal_bar_by_bar(markets: int) -> None:
    same(replay_of("ahead", markets=markets).run(), replay_of("quiet", markets=markets).run())


def test_looking_changes_nothing() -> None:
    looking, blind = replay_of("looking").run(), replay_of("quiet").run()
    assert looking.hash == blind.hash
    assert np.array_equal(looking.outputs, blind.outputs)


def test_listening_changes_nothing() -> None:
    heard: list[Any] = []
    listening = strategy(on_bar=ladder, on_order=lambda ctx, order: heard.append(order))
    replay = Replay(SETTINGS, [market()], [StrategyRun("ladder0", listening, {}, (0,))])
    expected = Replay(SETTINGS, [market()], [StrategyRun("ladder0", LADDER, {}, (0,))]).run()
    same(replay.run(), expected)
    assert len(heard) > 2_000


# ── Processes ───────────────────────────────────────────────────────────────────────────────────────────────


def hash_of_all() -> str:
    return f"{replay_of('brackets', 'ladder', markets=2, bars=500).run().hash:016x}"


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_processes_with_other_hash_seeds_agree(seed: str) -> None:
    code = "from tests.replay.test_determinism import hash_of_all; print(hash_of_all())"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == hash_of_all(), found.stderr


# ── Stopped and resumed ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("names", "markets"), [*CASES, ("ahead", 2), ("ahead brackets", 1)])
def test_a_run_resumed_after_any_bar_goes_on_as_if_nothing_had_been(names: str, markets: int) -> None:
    count = 600
    expected_replay = replay_of(*names.split(), markets=markets, bars=count)
    expected = expected_replay.run()
    random = Random(6)
    total = expected_replay._calls_total
    stops = sorted({0, min(1, total), min(2, total), total, *(random.randrange(total + 1) for _ in range(6))})
    running = replay_of(*names.split(), markets=markets, bars=count)
    running.start()
    made = 0
    for stop in stops:
        made += running.run_bars(stop - made)
        assert made == stop
        resumed = replay_of(*names.split(), markets=markets, bars=count)
        resumed.resume(running.snapshot())
        same(resumed.finish(), expected)
        assert resumed._states == expected_replay._states
    same(running.finish(), expected)  # and a snapshot does not disturb the run it is of


def test_equal_runs_have_equal_snapshots() -> None:
    """Byte for byte, though their tables lie elsewhere; and a run that was resumed has those of one that was not."""
    first, second = (replay_of("brackets", "ladder", markets=2, bars=300) for _ in range(2))
    first.start()
    second.start()
    for _ in range(6):
        first.run_bars(50)
        second.run_bars(50)
        stored = first.snapshot()
        assert second.snapshot() == stored
        second = replay_of("brackets", "ladder", markets=2, bars=300)
        second.resume(stored)


def test_a_chain_of_resumes() -> None:
    # Resumed, run on a little, stopped, resumed ...: twenty times over.
    expected = replay_of("brackets", "ladder", bars=1_500).run()
    replay = replay_of("brackets", "ladder", bars=1_500)
    replay.start()
    random = Random(8)
    for _ in range(20):
        replay.run_bars(random.randrange(200))
        snapshot = replay.snapshot()
        replay = replay_of("brackets", "ladder", bars=1_500)
        replay.resume(snapshot)
    same(replay.finish(), expected)


def test_state_keeps_numbers_texts_lists_and_tables() -> None:
    kept = {"count": 3, "level": 0.1, "name": "x", "nested": {"list": [1, 2.5, None, True], "deep": {"a": []}}}

    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.state.update(kept)

    def replay() -> Replay:
        return Replay(SETTINGS, [market(count=20)], [StrategyRun("s", strategy(on_bar=on_bar), {}, (0,))])

    first, second = replay(), replay()
    first.start()
    first.run_bars(5)
    second.resume(first.snapshot())
    assert second._states == [kept]


def test_state_keeps_numpys_numbers_and_refuses_what_it_cannot_keep() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        ctx.state["close"] = ctx.close[i]
        ctx.state["rising"] = [ctx.close[i] > ctx.open[i], np.int64(i)]
        if i == 9:
            ctx.state["strange"] = object()

    def replay() -> Replay:
        return Replay(SETTINGS, [market(count=20)], [StrategyRun("s", strategy(on_bar=on_bar), {}, (0,))])

    first, second = replay(), replay()
    first.start()
    first.run_bars(5)
    second.resume(first.snapshot())
    assert second._states == first._states
    assert type(second._states[0]["close"]) is float
    first.run_bars(5)
    with pytest.raises(StrategyError, match=r"ctx.state holds a object"):
        first.snapshot()


def test_the_engine_alone_restored_anywhere() -> None:
    ahead = replay_of("ahead", markets=2, bars=1_000)
    ahead.start()
    records, requests = ahead.stream.records, ahead.account.pending
    instruments = [one.instrument for one in ahead.markets]
    straight = Engine(SETTINGS, instruments, 1)
    straight.advance(records, 0, len(records), requests)
    random, engine = Random(9), Engine(SETTINGS, instruments, 1)
    position = 0
    while position < len(records):
        position, _ = engine.advance(records, position, min(len(records), position + random.randrange(200)), requests)
        stored = engine.snapshot()
        engine = Engine(SETTINGS, instruments, 1, samples=8, orders=4)
        engine.restore(stored)
    assert engine.hash == straight.hash
    assert np.array_equal(engine.outputs(), straight.outputs())
    assert np.array_equal(engine.samples(), straight.samples())


def test_a_snapshot_of_another_run_is_refused() -> None:
    stored = replay_of("quiet", markets=2, bars=100).engine.snapshot()
    engine = replay_of("quiet", bars=100).engine
    for wrong in (stored, b"", b"nothing of the kind", stored[: len(stored) // 2]):
        with pytest.raises(DataError):
            engine.restore(wrong)


# ── A year of minutes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.real_data
def test_a_year_resumed_and_ahead() -> None:
    if not YEAR.exists():
        pytest.skip(f"real data is absent: {YEAR.name} under ../shared/data/ohlcv")
    frame = pl.read_parquet(YEAR)
    columns = [frame[name].to_numpy().copy() for name in ("open", "high", "low", "close", "volume")]
    bars = Bars("BTCUSDT", "1m", frame["ts"].to_numpy() * 1_000_000, *columns)
    btc = Market(Instrument("BTCUSDT", Decimal("0.01"), Decimal("0.000001")), bars)

    def replay(chosen: Strategy) -> Replay:
        return Replay(SETTINGS, [btc], [StrategyRun("cross", chosen, {}, (0,))])

    running = replay(QUIET)
    running.start()
    stored = []
    for stop in (100_000, 400_000):
        running.run_bars(stop - running._calls)
        stored.append(running.snapshot())
    expected = running.finish()
    for snapshot in stored:
        resumed = replay(QUIET)
        resumed.resume(snapshot)
        assert resumed.finish().hash == expected.hash
    assert replay(AHEAD).run().hash == expected.hash
