"""An entry and an exit whose windows are cut when they are looked at see what those see that are cut at every bar."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.book_state import TapeMarket
from engine.ctx import Context
from engine.instruments import Instrument
from engine.market import Market
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import BookExecution, RunSettings, Sizing
from engine.strategy import Schema
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.entry_exit import PartWindow, join
from strategies.parts import Part, PartKind
from tests.tapes import FLOW_OFFSET_NS, order_flow

Seen = list[tuple[Any, ...]]
LOOKS = ("price", "close", "close", "item", "own", "frame", "ema", "ema of close", "high", "position", "nothing")


@cache
def bars() -> Bars:
    return synthesize("SYNTH", "1h", 400, 11)


def looked(window: Any, look: str) -> Any:
    """What a rule sees that looks at its window in one way."""
    match look:
        case "price":
            return window.price
        case "close":
            return len(window.close), float(window.close[-1])
        case "item":
            return len(window["close"]), float(window["close"][0])
        case "own":
            return len(window.tf(window.timeframe).close), float(window.tf(window.timeframe).close[-1])
        case "frame":
            frame = window.tf("8h")
            return frame.index, frame.is_new, frame.close[-1:].tolist()
        case "ema":
            return float(window.ind.ema(5)[-1])
        case "ema of close":
            return float(window.ind.ema(window.close, 5)[-1]), len(window.ind.ema(window.close, 5))
        case "high":
            return len(window.high), float(window.high[-1])
        case "position":
            return window.position.size, window.position.pnl
        case _:
            return None


def part(kind: PartKind, asked: Callable[..., bool]) -> Part:
    """An entry or exit of one function, its method."""
    made_of = type("Made", (), {"should_enter": asked, "should_exit": asked})
    return Part(kind, kind, Path(__file__), b"", Schema(kind, kind), {}, made_of)


def joined(seed: int, seen: Seen) -> Any:
    """An entry and an exit that look at this and that, later or never, and now and then want something."""
    random = Random(seed)
    first = {"enter": random.choice([0, 0, 30, 1_000]), "exit": random.choice([0, 30, 1_000, 1_000])}
    timeframes = (random.choice(["", "", "", "2h"]), random.choice(["", "", "", "4h"]))
    sizing = Sizing(random.choice(["fixed", "percent_equity"]), Decimal("0.1"), Decimal("0.1"),
                    random.choice(["exact", "recompute"]))  # fmt: skip

    def ask(what: str, window: PartWindow, *more: float) -> bool:
        wish = Random(f"{seed} {what} {window.index}")
        looks = wish.sample(LOOKS, 3) if window.index >= first[what] else ["price", "nothing"]
        seen.append((what, window.index, window.side, *more, *(looked(window, look) for look in looks)))
        return wish.random() < 0.2

    entry = part("entry", lambda _, window: ask("enter", window))
    leaving = part("exit", lambda _, window, price: ask("exit", window, price))
    return join(entry, leaving, sizing, timeframes)


def run_of(seed: int, *, is_called: bool) -> tuple[RunResult, Seen]:
    seen: Seen = []
    strategy, params = joined(seed, seen)
    if not is_called:
        strategy = msgspec.structs.replace(strategy, bar_caller=None)
    market = Market(Instrument("SYNTH", Decimal("0.01"), Decimal("0.00001")), bars())
    replay = Replay(RunSettings(initial_cash=Decimal(100_000)), [market], [StrategyRun("run", strategy, params, (0,))])
    (_, context, _) = replay.watchers()[0]
    assert (type(context) is Context) is not is_called
    return replay.run(), seen


@settings(max_examples=60)
@given(seed=some.integers(0, 2**32 - 1))
def test_seen_the_same_cut_at_every_bar_or_when_looked_at(seed: int) -> None:
    result, seen = run_of(seed, is_called=True)
    expected, expected_seen = run_of(seed, is_called=False)
    assert repr(seen) == repr(expected_seen)
    assert result.hash == expected.hash
    assert result.log == expected.log
    assert np.array_equal(result.outputs, expected.outputs)


def test_the_cases_reach_what_they_are_for() -> None:
    runs = [run_of(seed, is_called=True) for seed in range(20)]
    assert sum(len(result.trades()) > 10 for result, _ in runs) >= 10
    assert {what for _, seen in runs for what, *_ in seen} == {"enter", "exit"}


def test_a_price_is_the_last_close_where_bars_come_one_by_one() -> None:
    """On a tape the columns are made anew with each bar."""
    prices: list[tuple[float, float, int, int]] = []

    def asked(_: object, window: PartWindow, *__: float) -> bool:
        price = window.price
        prices.append((price, float(window.close[-1]), window.index + 1, len(window.close)))
        return window.index % 3 == 0

    sizing = Sizing("fixed", Decimal("0.1"))
    strategy, params = join(part("entry", asked), part("exit", asked), sizing)
    tape = TapeInput(
        (Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.001")),),
        (TapeMarket(has_book=True, clock_offset_ns=FLOW_OFFSET_NS),), lambda: [order_flow(4_000, 5)],
    )  # fmt: skip
    book = BookExecution(order_latency_ms=Decimal(20), response_latency_ms=Decimal(10))
    run = StrategyRun("run", strategy, params, (0,), timeframe="1s")
    TapeReplay(RunSettings(initial_cash=Decimal(100_000), book=book), tape, [run]).run()
    assert len(prices) > 20
    assert all(price == last and count == length for price, last, count, length in prices)
