"""Random orders on random bars through the engine: what diagnostics read from the outputs, against naive twins."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import NS_PER_SECOND, Bars
from engine.figures.ambiguity import ambiguity
from engine.figures.fill_costs import fill_costs
from engine.figures.risk_taken import with_risk
from engine.figures.steps import trade_steps
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import Market
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Execution, RunSettings, Slippage
from engine.strategy import Schema, Strategy

MINUTE_NS = 60 * NS_PER_SECOND
LINEAR = Instrument("A", Decimal(1), Decimal(1), maintenance_rate=Decimal(0))
CASH = 1_000_000

orders = st.tuples(
    st.integers(0, 11),  # the bar
    st.sampled_from(["market", "limit", "stop", "stop_limit"]),
    st.sampled_from([-2, -1, 1, 2]),
    st.integers(-4, 4),  # from the close
    st.booleans(),  # reduce-only
)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """A dozen bars of a price that moves by whole ticks around 100, up to four of them either way inside."""
    rows = []
    price = 100
    for _ in range(12):
        opened = price + draw(st.integers(-1, 1))
        price = opened + draw(st.integers(-2, 2))
        rows.append(
            (opened, max(opened, price) + draw(st.integers(0, 4)), min(opened, price) - draw(st.integers(0, 4)), price)
        )
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    ts_ns = MINUTE_NS * np.arange(1, 13, dtype=np.int64)
    return Market(LINEAR, Bars("A", "1m", ts_ns, *columns, np.full(12, 1_000.0)))


def strategy(plan: list[tuple[int, str, int, int, bool]]) -> Strategy:
    def on_bar(ctx: Any, i: int) -> None:
        for bar, type_, size, offset, reduce_only in plan:
            if bar != i:
                continue
            price = None if type_ == "market" else float(ctx.close[i]) + offset
            more = {"stop_price": price} if type_ == "stop_limit" else {}
            send = ctx.buy if size > 0 else ctx.sell
            send(abs(size), price, type=type_, reduce_only=reduce_only, **more)

    return Strategy(Schema("plan", "Plan"), __file__, "", on_bar=on_bar)


def run(market: Market, plan: list[tuple[int, str, int, int, bool]], **changes: Any) -> RunResult:
    chosen = RunSettings(initial_cash=Decimal(CASH), **changes)
    return Replay(chosen, [market], [StrategyRun("plan", strategy(plan), {}, (0,))]).run()


def kind_of(row: Any) -> int:
    return int(row[2]) & 0xFF


def state_of(row: Any) -> int:
    return int(row[2]) >> 8 & 0xFF


def twin_stops(result: RunResult) -> dict[int, int]:
    """Trade → the nearest stop at its entry: every stop order against every opening fill, row by row."""
    rows = list(result.outputs)
    assert result.step_seqs is not None
    stops = []
    for begin, row in enumerate(rows):
        if (
            kind_of(row) == layout.ORDER_OUTPUT
            and state_of(row) == layout.NEW
            and row[8] in {layout.STOP, layout.STOP_LIMIT}
        ):
            end = next(
                (
                    place for place, other in enumerate(rows)
                    if kind_of(other) in {layout.ORDER_OUTPUT, layout.FILL_OUTPUT}
                    and other[3] == row[3] and state_of(other) >= layout.FILLED
                ),
                len(rows),
            )  # fmt: skip
            stops.append((begin, end, int(row[0]), int(row[4]), int(row[7])))
    found: dict[int, int] = {}
    seen = set()
    for place, row in enumerate(rows):
        if kind_of(row) != layout.FILL_OUTPUT or row[13] in seen:
            continue
        seen.add(row[13])
        last = min(int(seq) for seq in [*result.step_seqs, 10**9] if seq >= row[0])
        side = 1 if row[10] > 0 else -1
        risks = [
            side * (int(row[5]) - ticks)
            for begin, end, seq, lots, ticks in stops
            if lots * side < 0 and (begin < place < end or (begin > place and seq <= last))
        ]
        nearest = min((risk for risk in risks if risk > 0), default=0)
        if nearest:
            found[int(row[13])] = int(row[5]) - side * nearest
    return found


@settings(max_examples=150, deadline=None)
@given(markets(), st.lists(orders, max_size=14))
def test_r_equals_its_naive_twin(market: Market, plan: list[tuple[int, str, int, int, bool]]) -> None:
    result = run(market, plan)
    stops = twin_stops(result)
    for trade in with_risk(result.trades(), result):
        side = 1 if trade.side == "long" else -1
        risk = side * (trade.entry_price - stops.get(trade.trade_id, trade.entry_price)) * float(trade.size)
        if risk > 0:
            assert trade.mae_r == pytest.approx(float(trade.mae) / risk, rel=1e-12)
            assert trade.mfe_r == pytest.approx(float(trade.mfe) / risk, rel=1e-12)
        else:
            assert (trade.mae_r, trade.mfe_r) == (None, None)


@settings(max_examples=150, deadline=None)
@given(
    markets(), st.lists(orders, max_size=14), st.sampled_from(["pessimistic", "adaptive", "fifo"]),
    st.sampled_from(["close_to_open", "close_to_close"]),
)  # fmt: skip
def test_no_bar_is_called_ambiguous_that_the_core_did_not_count(
    market: Market, plan: list[tuple[int, str, int, int, bool]], priority: Any, fill_model: Any
) -> None:
    result = run(market, plan, execution=Execution(same_bar_priority=priority, fill_model=fill_model))
    found = ambiguity(result, result.trades())
    assert found.bars == result.figures["ambiguous_bars"]
    assert found.bars_found <= found.bars
    assert (found.fills > 0) <= (found.bars_found > 0)
    assert len(found.order_ids) <= found.fills


@settings(max_examples=100, deadline=None)
@given(markets(), st.lists(orders, max_size=14), st.integers(0, 5), st.integers(0, 200))
def test_spread_and_slippage_are_what_a_run_without_them_would_have_kept(
    market: Market, plan: list[tuple[int, str, int, int, bool]], spread_ticks: int, bps: int
) -> None:
    chosen = Slippage(model="spread", spread_ticks=spread_ticks, bps=Decimal(bps))
    result = run(market, plan, slippage=chosen)
    found = fill_costs(result.outputs, result.scales, chosen)
    fills = [row for row in result.outputs if kind_of(row) == layout.FILL_OUTPUT]
    # From the fills alone: each lot's distance from its base price, of which half the spread at most is spread.
    gaps = [(abs(int(row[5] - row[6])), abs(int(row[4]))) for row in fills]
    half = (spread_ticks + 1) // 2
    assert found.spread == sum(min(gap, half) * lots for gap, lots in gaps) * 10**8
    assert found.spread + found.slippage == sum(gap * lots for gap, lots in gaps) * 10**8
    # And the account would have this much more, had every fill been at its base price.
    flat = sum(-int(row[4]) * int(row[6]) for row in fills) * 10**8
    assert int(result.figures["cash"]) == CASH * 10**8 + flat - found.spread - found.slippage


@settings(max_examples=100, deadline=None)
@given(markets(), st.lists(orders, max_size=14))
def test_trades_belong_to_the_bars_that_their_times_name(
    market: Market, plan: list[tuple[int, str, int, int, bool]]
) -> None:
    result = run(market, plan)
    trades = result.trades()
    steps = trade_steps(result, trades)
    assert steps is not None
    opens = market.bars.ts_ns
    for trade, first, last in zip(trades, *(each.tolist() for each in steps), strict=True):
        # A fill at a bar's open carries that time, one inside it the bar's close.
        assert trade.entry_ts_ns in {opens[first], opens[first] + MINUTE_NS}
        assert trade.exit_ts_ns in {opens[last], opens[last] + MINUTE_NS}
        assert first <= last
