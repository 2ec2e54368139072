"""Which bars of a run are told as entries and exits: orders of each kind, on a market of which every bar is known."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.bars import Bars
from engine.instruments import Instrument
from engine.market import Market
from engine.order_signals import order_signals
from engine.replay import Replay, StrategyRun
from engine.settings import Risk, RunSettings
from engine.strategy import Schema, Strategy
from engine.symbol_accounts import timeline_of

MINUTE_NS = 60 * 10**9
CLOSES = [100, 101, 102, 103, 104, 103, 102, 101, 100, 99, 98, 99]


def _market(symbol: str = "UP", kept: list[int] | None = None) -> Market:
    """Bars that rise to 104 and fall again; each reaches half a unit beyond its open and close."""
    rows = kept if kept is not None else list(range(len(CLOSES)))
    closes = np.array(CLOSES, dtype=np.float64)[rows]
    opens = np.array([100, *CLOSES[:-1]], dtype=np.float64)[rows]
    high, low = np.maximum(opens, closes) + 0.5, np.minimum(opens, closes) - 0.5
    ts_ns = np.array(rows, dtype=np.int64) * MINUTE_NS
    bars = Bars(symbol, "1m", ts_ns, opens, high, low, closes, np.full(len(rows), 1000.0))
    return Market(Instrument(symbol, Decimal("0.5"), Decimal(1)), bars)


def _signals(
    orders: dict[int, Callable[[Any], Any]], *, cash: int = 100_000, risk: Risk | None = None,
    markets: list[Market] | None = None, runs: int = 1,
) -> list[tuple[list[int], list[int]]]:  # fmt: skip
    """Bars with entries and bars with exits of each market; `orders` at the close of bars, by their number."""

    def on_bar(ctx: Any, i: int) -> None:
        if i in orders:
            orders[i](ctx)

    markets = markets or [_market()]
    strategy = Strategy(schema=Schema(id="s", name="s", inputs=()), path="s.py", source_hash="", on_bar=on_bar)
    settings = RunSettings(initial_cash=Decimal(cash), leverage=Decimal(10), risk=risk or Risk())
    named = [StrategyRun(f"s{number}", strategy, {}, (0,)) for number in range(runs)]
    replay = Replay(settings, markets, named)
    result = replay.run()
    timeline = timeline_of(replay.stream)
    return [
        tuple(found.tolist() for found in order_signals(result.outputs, index, timeline))  # type: ignore[misc]
        for index in range(len(markets))
    ]


CASES: list[tuple[str, dict[int, Callable[[Any], Any]], list[int], list[int]]] = [
    # why | orders by bar | bars with an entry | bars with an exit
    ("nothing is ordered", {}, [], []),
    ("a market order in and one out", {1: lambda c: c.buy(2), 4: lambda c: c.sell(2)}, [1], [4]),
    ("flatten", {1: lambda c: c.buy(2), 4: lambda c: c.flatten()}, [1], [4]),
    ("more of the same is an entry too", {1: lambda c: c.buy(2), 2: lambda c: c.buy(1)}, [1, 2], []),
    ("less of it is an exit", {1: lambda c: c.buy(2), 2: lambda c: c.sell(1)}, [1], [2]),
    ("through flat to the other side is both", {1: lambda c: c.buy(2), 4: lambda c: c.sell(3)}, [1, 4], [4]),
    ("short, and bought back", {1: lambda c: c.sell(2), 4: lambda c: c.buy(2)}, [1], [4]),
    # a target at 103.5 is passed by bar 4 (high 104.5); it was placed with the entry
    ("a target exits where it fills", {1: lambda c: (c.buy(2), c.sell(2, price=103.5, type="limit"))}, [1], [4]),
    # a stop at 100 is passed by bar 8 (low 99.5)
    ("a stop exits where it fills", {1: lambda c: (c.buy(2), c.sell(2, price=100, type="stop"))}, [1], [8]),
    ("a stop that is never reached is none", {1: lambda c: (c.buy(2), c.sell(2, price=50, type="stop"))}, [1], []),
    # a bid at 100 rests from bar 4 on and fills in bar 8 (low 99.5); wanting in was decided at bar 4
    ("a bid enters where it is placed", {4: lambda c: c.buy(2, price=100, type="limit")}, [4], []),
    ("reduce-only while flat is neither", {1: lambda c: c.sell(2, reduce_only=True)}, [], []),
    ("refused for want of margin", {1: lambda c: c.buy(90_000)}, [1], []),
    ("the run's end closes without a signal", {9: lambda c: c.buy(2)}, [9], []),
]


@pytest.mark.parametrize(("orders", "entries", "exits"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_bars_with_signals(
    orders: dict[int, Callable[[Any], Any]], entries: list[int], exits: list[int]
) -> None:  # fmt: skip
    assert _signals(orders) == [(entries, exits)]


def test_a_guard_that_closes_is_no_signal_and_what_it_refuses_is() -> None:
    """2,000 units lose 2,000 a bar from bar 5 on: at bar 6 more than 5 % is gone, and the guard sells."""
    orders = {1: lambda c: c.buy(2_000), 8: lambda c: c.buy(1)}
    assert _signals(orders, cash=60_000, risk=Risk(max_drawdown=Decimal("0.05"))) == [([1, 8], [])]


def test_strategies_are_judged_by_their_own_positions() -> None:
    """Two strategies do the same: neither's order reduces what the other holds."""
    assert _signals({1: lambda c: c.buy(2), 4: lambda c: c.sell(2)}, runs=2) == [([1], [4])]


def test_steps_are_the_runs_where_markets_have_other_bars() -> None:
    """The second market has every other bar; the first is traded, and the steps are those of both."""
    found = _signals(
        {1: lambda c: c.buy(2), 4: lambda c: c.sell(2)}, markets=[_market(), _market("HALF", [0, 2, 4, 6])]
    )
    assert found == [([1], [4]), ([], [])]
