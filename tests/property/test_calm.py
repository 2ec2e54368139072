"""A strategy that listens, run ahead over calm bars, is told the same at the same bars as one taken bar by bar."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.bars import Bars, timeframe_ns
from engine.ctx import Context
from engine.instruments import Instrument
from engine.market import Market, static_funding
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, Risk, RunSettings
from engine.strategy import Schema, Strategy

HOUR_NS = timeframe_ns("1h")
START_NS = 20_000 * 24 * HOUR_NS
Told = list[tuple[Any, ...]]


class BarByBar(Replay):
    """The same run without a look ahead: the engine follows at every bar while a position is open."""

    def _calm_until(self, position: int) -> int:
        return 0 if self.engine.is_moving(True) else super()._calm_until(position)


def walk(random: Random, symbol: str, count: int) -> Bars:
    """Bars around 100 that now and then lose or win half."""
    rows, price = [], 100.0
    for _ in range(count):
        opened = price
        price = max(2.0, round(2 * price * random.choice([0.5, 0.9, 0.99, 0.99, 1, 1, 1, 1.01, 1.01, 1.1, 1.5])) / 2)
        high, low = max(opened, price) + random.choice([0, 0.5]), min(opened, price) - random.choice([0, 0.5])
        rows.append((opened, high, low, price))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Bars(symbol, "1h", START_NS + HOUR_NS * np.arange(count), *columns, np.full(count, 1_000.0))


def case_of(seed: int) -> tuple[RunSettings, list[Market], list[dict[tuple[int, int], tuple[float, str]]]]:
    """Settings, markets, and for each strategy what it orders: (market, bar) → (size, where it looks)."""
    random = Random(seed)
    settings = RunSettings(
        initial_cash=Decimal(random.choice([1_000, 10_000])),
        leverage=Decimal(random.choice([1, 3, 20])),
        margin=random.choice(["cross", "cross", "cross", "isolated"]),
        commission=Commission(taker_bps=Decimal(4)),
        risk=random.choice([Risk(), Risk(), Risk(), Risk(max_drawdown=Decimal("0.5"))]),
        close_at_end=random.random() < 0.5,
    )
    count = random.choice([5, 40, 120])
    markets = []
    for index in range(random.choice([1, 1, 2, 3])):
        kind = random.choice(["linear", "linear", "linear", "spot", "inverse"])
        own = walk(random, f"S{index}", count)
        funding = static_funding(own, Decimal("0.001"), 8) if kind == "linear" and random.random() < 0.5 else None
        markets.append(Market(Instrument(own.symbol, Decimal("0.5"), Decimal("0.01"), kind=kind), own, funding))
    wishes = [
        {
            (random.randrange(len(markets)), random.randrange(count)): (
                random.choice([-60, -8, -1, 0, 1, 8, 60]) * random.random(), random.choice(["", "pnl", "equity"]),
            )
            for _ in range(random.choice([1, 4, 12]))
        }
        for _ in range(random.choice([1, 1, 2]))
    ]  # fmt: skip
    return settings, markets, wishes


def run_case(made_of: type[Replay], seed: int) -> tuple[RunResult, Told, int]:
    """The run, what strategies were told and saw, and how often the engine was followed."""
    settings, markets, wishes = case_of(seed)
    told: Told = []

    def strategy(number: int) -> Strategy:
        numbers = {market.bars.symbol: index for index, market in enumerate(markets)}

        def on_bar(ctx: Context, i: int) -> None:
            size, look = wishes[number].get((numbers[ctx.symbol], i), (None, ""))
            if look:
                told.append((number, ctx.symbol, i, ctx.position.pnl, ctx.portfolio.equity))
            if size is not None:
                ctx.flatten() if size == 0 else (ctx.buy if size > 0 else ctx.sell)(abs(size))

        return Strategy(
            Schema("made_up", "Made up"), __file__, "", on_bar=on_bar,
            on_order=lambda ctx, order: told.append((number, ctx.symbol, len(ctx.close), order)),
            on_trade=lambda ctx, trade: told.append((number, ctx.symbol, len(ctx.close), trade)),
        )  # fmt: skip

    runs = [
        StrategyRun(f"s{number}", strategy(number), {}, tuple(range(len(markets)))) for number in range(len(wishes))
    ]
    replay = made_of(settings, markets, runs)
    followed = 0
    follow = replay._follow

    def counted(stop: int) -> None:
        nonlocal followed
        followed += 1
        follow(stop)

    replay._follow = counted  # type: ignore[method-assign]
    return replay.run(), told, followed


@given(seed=some.integers(0, 2**32 - 1))
def test_told_the_same_as_bar_by_bar(seed: int) -> None:
    result, told, followed = run_case(Replay, seed)
    expected, expected_told, expected_followed = run_case(BarByBar, seed)
    assert told == expected_told
    assert result.hash == expected.hash
    assert np.array_equal(result.outputs, expected.outputs)
    assert followed <= expected_followed


def test_the_cases_reach_what_they_are_for() -> None:
    kinds = {"liquidated": 0, "ahead": 0, "calm shorts": 0}
    for seed in range(300):
        result, _, followed = run_case(Replay, seed)
        _, _, all_followed = run_case(BarByBar, seed)
        kinds["liquidated"] += any(trade.exit_reason == "liquidation" for trade in result.trades())
        kinds["ahead"] += followed < all_followed // 2
        shorts = [trade for trade in result.trades() if trade.side == "short" and trade.bars_held > 5]
        kinds["calm shorts"] += bool(shorts) and followed < all_followed // 2
    assert min(kinds.values()) >= 10, kinds


@pytest.mark.parametrize(("size", "is_calm"), [(50, True), (-50, False), (-20, True)])
def test_a_short_is_calm_while_its_value_may_double(size: float, is_calm: bool) -> None:
    """Of 10,000 in cash: 50 units at 100 sold are worth 10,000 at 200; 20 units 4,000, of which twice may be lost."""
    own = walk(Random(1), "ONE", 60)
    for column in (own.open, own.high, own.low, own.close):
        column[:] = 100.0
    own.high[30], own.close[30], own.open[31], own.high[31] = 200.0, 200.0, 200.0, 200.0
    market = Market(Instrument("ONE", Decimal("0.5"), Decimal("0.01")), own, None)
    seen: list[int] = []

    def on_bar(ctx: Context, i: int) -> None:
        if i == 0:
            (ctx.buy if size > 0 else ctx.sell)(abs(size))

    strategy = Strategy(Schema("made_up", "Made up"), __file__, "", on_bar=on_bar, on_trade=lambda ctx, trade: None)
    replay = Replay(RunSettings(leverage=Decimal(5)), [market], [StrategyRun("s", strategy, {}, (0,))])
    follow = replay._follow
    replay._follow = lambda stop: (seen.append(stop), follow(stop))[1]  # type: ignore[method-assign]
    replay.run()
    assert (31 in seen) is not is_calm  # the record of bar 30 is the 31st
