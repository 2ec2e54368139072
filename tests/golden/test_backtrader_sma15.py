"""backtrader's SMA(15) test strategy, driven through the engine: its 23 fills and its final value, in both cases.

`stocklike`: shares paid for in full, so a spot instrument, and `ctx.portfolio.cash` is what backtrader calls cash.
`futures`: contracts of 10 with 2.0 a unit and side (per_fill 2.0, as the size is 1). backtrader books a fixed
margin of 1000 a contract out of its cash; the engine's margin is a proportion, so there cash is value less 1000.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import Market
from engine.reading import view_as
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, RunSettings
from engine.strategy import Schema, Strategy

GOLDEN = Path(__file__).parents[2].parent / "shared" / "data" / "golden"
CASES: dict[str, tuple[Instrument, RunSettings]] = {
    "stocklike": (
        Instrument("2006", Decimal("0.01"), Decimal(1), kind="spot"),
        RunSettings(close_at_end=False),
    ),
    "futures": (
        Instrument("2006", Decimal("0.01"), Decimal(1), multiplier=Decimal(10)),
        RunSettings(leverage=Decimal(20), commission=Commission(per_fill=Decimal(2)), close_at_end=False),
    ),
}


def on_bar(ctx: Any, i: int) -> None:
    if i < 15:
        return
    average = ctx.ind.sma(ctx.close, 15)
    above = ctx.close[: i + 1] > average
    is_long = ctx.position.size > 0
    if above[i] and not above[i - 1] and not is_long:
        ctx.state.setdefault("signals", []).append(float(ctx.close[i]))
        ctx.buy(1)
    if not above[i] and above[i - 1] and is_long:
        ctx.state.setdefault("signals", []).append(float(ctx.close[i]))
        ctx.flatten()


def run(case: str, bars: Bars) -> tuple[RunResult, dict[str, Any]]:
    """The result, and what the strategy saw: closes of its signals, cash and equity at the end."""
    seen: dict[str, Any] = {}

    def on_finish(ctx: Any) -> None:
        seen.update(ctx.state, cash=ctx.portfolio.cash, equity=ctx.portfolio.equity, size=ctx.position.size)

    instrument, settings = CASES[case]
    strategy = Strategy(Schema("sma15", "SMA 15"), __file__, "", on_bar=on_bar, on_finish=on_finish)
    return Replay(settings, [Market(instrument, bars)], [StrategyRun("sma15", strategy, {}, (0,))]).run(), seen


def days_of_2006() -> Bars:
    path = GOLDEN / "backtrader_2006-day-001.txt"
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} under ../shared/data/golden")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times = [int(datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC).timestamp()) * 10**9 for row in rows]
    columns = [np.array([float(row[name]) for row in rows]) for name in ("Open", "High", "Low", "Close", "Volume")]
    return Bars("2006", "1d", np.array(times, dtype=np.int64), *columns)


@pytest.mark.real_data
@pytest.mark.parametrize("case", CASES)
def test_fills_and_value_are_backtraders(case: str) -> None:
    bars = days_of_2006()
    expected = json.loads((GOLDEN / "backtrader_sma15.expected.json").read_text())["expected"]
    result, seen = run(case, bars)
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    assert len(fills) == 23
    prices = [f"{price / 100:.2f}" for price in fills["price_ticks"]]
    assert prices[0::2] == expected["buy_exec"]
    assert prices[1::2] == expected["sell_exec"]
    assert fills["lots"].tolist() == [1, -1] * 11 + [1]
    signals = [f"{close:.2f}" for close in seen["signals"]]
    assert signals[0::2] == expected["buy_signal_close"]
    assert signals[1::2] == expected["sell_signal_close"]
    assert f"{seen['equity']:.2f}" == expected[case]["value"]
    assert result.samples[-1, 1] == int(Decimal(expected[case]["value"]) * 10**8)
    assert seen["size"] == 1.0
    margin = 1000 * seen["size"] if case == "futures" else 0
    cash = seen["equity"] - margin if case == "futures" else seen["cash"]
    assert f"{cash:.2f}" == expected[case]["cash"]


@pytest.mark.parametrize("case", CASES)
def test_the_same_strategy_on_a_made_up_year_adds_up(case: str) -> None:
    bars = synthesize("2006", "1d", 255, 6, start_price=1_000.0)
    result, seen = run(case, bars)
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    assert len(fills) > 8
    places = np.searchsorted(bars.ts_ns, fills["ts_ns"])
    assert (bars.ts_ns[places] == fills["ts_ns"]).all()
    assert np.array_equal(fills["price_ticks"], np.rint(bars.open[places] * 100))
    multiplier, fee = (10, 2) if case == "futures" else (1, 0)
    spent = sum(int(lots) * int(price) for lots, price in zip(fills["lots"], fills["price_ticks"], strict=True))
    held = int(fills["lots"].sum())
    close = round(100 * bars.close[-1])
    value = 1_000_000 + multiplier * (held * close - spent) - 100 * fee * len(fills)  # in cents
    assert result.samples[-1, 1] == value * 10**6
    if case == "stocklike":
        assert seen["cash"] == pytest.approx((value - held * close) / 100, abs=1e-9)
