"""freqtrade's own backtests, trade by trade through the engine: 296 USD-M trades with funding, and 45 spot trades.

USD-M. The strategies' rules are not published, so each trade is replayed: a market order a bar before freqtrade's
entry, another a bar before its exit. All 592 fills are at a bar's open (freqtrade's floats of some prices end in
…000001; to the tick they are those opens). freqtrade charges funding at every t with open <= t <= close, both ends
in. The engine settles funding at the time of an open before what fills at that open, so the one at the exit is
charged by itself, and the one at the entry, which the engine rightly leaves to those who held before, is moved a
nanosecond into the bar to be counted as freqtrade counts it. As the funding at a border then belongs to the trade
that ends there and to the one that begins there, each trade is a run of its own.

Spot. Entries are at opens. An exit by a signal is a market order for the open; an exit by the return-on-investment
table is a limit order and one by the stop-loss a stop order, at freqtrade's rate, sent for the bar in which it
exits. Those limits lie between ticks (1340.8956756756756), so a tick is 10^-10 here and cash has 14 decimals. One
trade exits in the bar of its entry: a spot account cannot be asked to sell what it does not hold yet, so that one
is run on a linear instrument, where the two orders go out together and the money is the same.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from adapters.funding_files import read_funding_table
from engine.bars import NS_PER_MS, Bars, IntColumn, timeframe_ns
from engine.figures.trades import Trade
from engine.instruments import Instrument
from engine.market import FundingSeries, Market
from engine.precision import infer_unit
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, RunSettings
from engine.strategy import Schema, Strategy

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PRECISION = Decimal("5e-9")  # profit_abs is given to eight decimals
FILES = {"ours": 225, "hibou": 48, "abeille": 23}


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data is absent: {name} under ../shared/data")
    return path


def result_of(name: str) -> dict[str, Any]:
    (found,) = json.loads(data(f"golden/freqtrade_2022Q4_{name}.result.json").read_text("utf-8"))["strategy"].values()
    return dict(found)


def bars_of(path: Path, symbol: str, timeframe: str) -> Bars:
    frame = pl.read_parquet(path)
    columns = [frame[name].to_numpy().copy() for name in ("open", "high", "low", "close", "volume")]
    return Bars(symbol, timeframe, frame["ts"].to_numpy() * NS_PER_MS, *columns)


def cut(bars: Bars, start: int, stop: int) -> Bars:
    columns = (getattr(bars, name)[start:stop].copy() for name in ("ts_ns", "open", "high", "low", "close", "volume"))
    return Bars(bars.symbol, bars.timeframe, *columns)


@cache
def perpetual(symbol: str, timeframe: str) -> tuple[Bars, Decimal, FundingSeries]:
    """Bars, tick, and funding with its marks; freqtrade drops what has no 8 h mark bar (SOL's 2 h fundings)."""
    bars = bars_of(data(f"perp/binance_usdm_{symbol}_{timeframe}_2022Q4.parquet"), symbol, timeframe)
    table = read_funding_table(
        symbol,
        data(f"funding/binance_usdm_{symbol}_funding_2022Q4.parquet"),
        data(f"mark/binance_usdm_{symbol}_mark_8h_2022Q4.parquet"),
        drop_without_mark=True,
    )
    tick = infer_unit(bars.open, bars.high, bars.low, bars.close)
    return bars, tick, FundingSeries(table.ts_ns, table.rate_e12, table.mark_e8)


class Plan:
    """One trade to replay: sides, size, and the bars at whose opens it begins and ends."""

    def __init__(self, bars: Bars, lots_side: int, amount: float, opened_ns: int, closed_ns: int) -> None:
        self.side, self.amount = lots_side, amount
        self.entry, self.exit = np.searchsorted(bars.ts_ns, [opened_ns, closed_ns]).tolist()
        assert bars.ts_ns[self.entry] == opened_ns
        assert bars.ts_ns[self.exit] == closed_ns

    def on_bar(self, ctx: Any, i: int) -> None:
        """Bar 0 is the one before the entry."""
        if i == 0:
            (ctx.buy if self.side > 0 else ctx.sell)(self.amount)
        if i == self.exit - self.entry:
            ctx.flatten()


def both_ends_in(funding: FundingSeries, opened_ns: int) -> FundingSeries:
    """The funding at the entry just after it."""
    ts_ns = funding.ts_ns + (funding.ts_ns == opened_ns)
    return FundingSeries(ts_ns, funding.rate_e12, funding.mark_e8)


def replayed(bars: Bars, tick: Decimal, funding: FundingSeries, plan: Plan, amount: float, fee_bps: str) -> Trade:
    """The closed trade: the bars from the one before the entry to that of the exit."""
    bars_now = cut(bars, plan.entry - 1, plan.exit + 1)
    lot = infer_unit(np.array([amount]))
    settings = RunSettings(
        initial_cash=Decimal(10_000),
        cash_decimals=11,  # sizes, prices and fees have ten decimals together
        commission=Commission(maker_bps=Decimal(fee_bps), taker_bps=Decimal(fee_bps)),
    )
    market = Market(Instrument(bars.symbol, tick, lot), bars_now, funding)
    strategy = Strategy(Schema("replayed", "Replayed"), __file__, "", on_bar=plan.on_bar)
    result = Replay(settings, [market], [StrategyRun("replayed", strategy, {}, (0,))]).run()
    (trade,) = result.trades()
    assert result.figures["fill_count"] == 2
    assert Decimal(int(result.samples[-1, 1])).scaleb(-11) - 10_000 == trade.pnl
    return trade


@pytest.mark.real_data
@pytest.mark.parametrize("name", FILES)
def test_every_futures_trade_makes_what_freqtrade_says(name: str) -> None:
    found = result_of(name)
    rows = found["trades"]
    assert len(rows) == FILES[name]
    total, charged, at_entry, at_exit = Decimal(0), 0, 0, 0
    for row in rows:
        bars, tick, funding = perpetual(row["pair"].replace("/", ""), found["timeframe"])
        opened_ns, closed_ns = row["open_timestamp"] * NS_PER_MS, row["close_timestamp"] * NS_PER_MS
        assert (row["fee_open"], row["fee_close"], row["leverage"]) == (0.0002, 0.0002, 1.0)
        plan = Plan(bars, -1 if row["is_short"] else 1, row["amount"], opened_ns, closed_ns)
        trade = replayed(bars, tick, both_ends_in(funding, opened_ns), plan, row["amount"], "2")
        assert (trade.entry_ts_ns, trade.exit_ts_ns) == (opened_ns, closed_ns)
        assert trade.side == ("short" if row["is_short"] else "long")
        assert trade.entry_price == pytest.approx(row["open_rate"], rel=1e-14)
        assert trade.exit_price == pytest.approx(row["close_rate"], rel=1e-14)
        assert abs(trade.pnl - Decimal(row["profit_abs"])) <= PRECISION, row
        total += trade.pnl
        charged += trade.funding != 0
        at_entry += bool((funding.ts_ns == opened_ns).any())
        at_exit += bool((funding.ts_ns == closed_ns).any())
    assert abs(total - Decimal(found["profit_total_abs"])) <= PRECISION * len(rows)
    # The borders matter: without them some trades would differ.
    assert charged > 10
    assert at_entry > 0
    assert at_exit > 0


SPOT_SETTINGS = RunSettings(
    initial_cash=Decimal(1_000),
    cash_decimals=14,
    commission=Commission(maker_bps=Decimal(10), taker_bps=Decimal(10)),
)


class SpotPlan:
    """freqtrade's spot trades as orders, each sent at the close of the bar before it fills."""

    def __init__(self, bars: Bars, rows: list[dict[str, Any]]) -> None:
        self.orders: dict[int, list[tuple[str, float, float | None]]] = {}
        for row in rows:
            begin, end = np.searchsorted(
                bars.ts_ns, [row[name] * NS_PER_MS for name in ("open_timestamp", "close_timestamp")]
            ).tolist()
            opened, rate, amount = float(bars.open[end]), row["close_rate"], row["amount"]
            assert bars.open[begin] == row["open_rate"]
            kind = "market" if rate == opened else "stop" if rate < opened else "limit"
            usual = {"roi": {"limit", "market"}, "stop_loss": {"stop"}}.get(row["exit_reason"], {"market"})
            assert kind in usual
            self.orders.setdefault(begin - 1, []).append(("buy", amount, None))
            self.orders.setdefault(end - 1, []).append((kind, amount, rate))

    def on_bar(self, ctx: Any, i: int) -> None:
        """Send what fills in the next bar."""
        for kind, amount, rate in self.orders.get(i, ()):
            if kind == "buy":
                ctx.buy(amount)
            elif kind == "market":
                ctx.sell(amount)
            else:
                ctx.sell(amount, rate, kind)


def run_spot(bars: Bars, rows: list[dict[str, Any]], kind: Any = "spot") -> RunResult:
    instrument = Instrument(bars.symbol, Decimal("1e-10"), Decimal("0.0001"), kind=kind)
    strategy = Strategy(Schema("replayed", "Replayed"), __file__, "", on_bar=SpotPlan(bars, rows).on_bar)
    return Replay(SPOT_SETTINGS, [Market(instrument, bars)], [StrategyRun("replayed", strategy, {}, (0,))]).run()


@pytest.mark.real_data
def test_every_spot_trade_makes_what_freqtrade_says() -> None:
    found = result_of("SampleStrategy")
    rows = found["trades"]
    assert len(rows) == 45
    bars = bars_of(data("golden/binance_spot_ETHUSDT_5m_2022Q4.parquet"), "ETHUSDT", "5m")
    step_ns = timeframe_ns("5m")
    in_one_bar = [row for row in rows if row["open_timestamp"] == row["close_timestamp"]]
    longer = [row for row in rows if row["open_timestamp"] < row["close_timestamp"]]
    assert len(in_one_bar) == 1
    trades = run_spot(bars, longer).trades() + run_spot(bars, in_one_bar, "linear").trades()
    assert len(trades) == 45
    for trade, row in zip(trades, longer + in_one_bar, strict=True):
        assert trade.entry_ts_ns == row["open_timestamp"] * NS_PER_MS
        # What fills inside a bar is stamped with its close.
        assert trade.exit_ts_ns - row["close_timestamp"] * NS_PER_MS in {0, step_ns}
        assert trade.exit_price == pytest.approx(row["close_rate"], abs=1e-10)
        assert abs(trade.pnl - Decimal(row["profit_abs"])) <= PRECISION, row
    total = sum((trade.pnl for trade in trades), Decimal(0))
    assert abs(total + SPOT_SETTINGS.initial_cash - Decimal(found["final_balance"])) <= PRECISION * 45


# --- the rules that the above leans on, on a market made up by hand ---

HOUR_NS = timeframe_ns("1h")
RATE_E12 = 10**8  # 0.01 %


def steps_of(prices: list[float]) -> Bars:
    """Hourly bars that open at the prices given and stay there."""
    level = np.array(prices)
    ts_ns = HOUR_NS * np.arange(len(prices), dtype=np.int64)
    return Bars("MADEUP", "1h", ts_ns, level, level + 1, level - 1, level.copy(), np.ones(len(prices)))


def funding_at(hours: list[float]) -> FundingSeries:
    ts_ns: IntColumn = (np.array(hours) * HOUR_NS).astype(np.int64)
    return FundingSeries(ts_ns, np.full(len(hours), RATE_E12), np.full(len(hours), 200 * 10**8))


@pytest.mark.parametrize(
    ("hours", "own", "freqtrades", "why"),
    [
        ([1], 0, 1, "at the entry: who held before pays; freqtrade charges the new position"),
        ([3], 1, 1, "at the exit: still held when it settled"),
        ([2], 1, 1, "in between"),
        ([2.5], 1, 1, "inside a bar"),
        ([0, 4], 0, 0, "before and after"),
        ([1, 2, 3], 2, 3, "both ends and between"),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_funding_at_the_borders(hours: list[float], own: int, freqtrades: int, why: str, side: int) -> None:
    # In at 100 (bar 1), out at 110 (bar 3), 2 units: 20 either way, fees of 0.02 % on 200 and 220. Funding is
    # 2 · 200 · 0.01 % = 0.04 each time, paid by longs.
    bars, opened_ns = steps_of([100.0, 100.0, 105.0, 110.0, 90.0]), HOUR_NS
    plan = Plan(bars, side, 2.0, opened_ns, 3 * HOUR_NS)
    gross, fees, each = side * 20, Decimal("0.084"), side * Decimal("0.04")
    for count, funding in ((own, funding_at(hours)), (freqtrades, both_ends_in(funding_at(hours), opened_ns))):
        trade = replayed(bars, Decimal("0.01"), funding, plan, 2.0, "2")
        assert (trade.gross_pnl, trade.fees) == (gross, fees), why
        assert trade.funding == each * count, why
        assert trade.pnl == gross - fees - each * count


def test_exits_between_ticks_and_in_the_bar_of_the_entry() -> None:
    # Bars 0..6 at 100 ± 1: a limit at 100.8956756756 and a stop at 99.5 fill inside, a market order at the open.
    bars = Bars("MADEUP", "5m", 300 * 10**9 * np.arange(7, dtype=np.int64), *(np.full(7, price) for price in
                (100.0, 101.0, 99.0, 100.0, 1.0)))  # fmt: skip

    def row(begin: int, end: int, rate: float, reason: str) -> dict[str, Any]:
        return {"open_timestamp": begin * 300_000, "close_timestamp": end * 300_000, "open_rate": 100.0,
                "close_rate": rate, "amount": 0.25, "exit_reason": reason}  # fmt: skip

    rows = [row(1, 2, 100.8956756756, "roi"), row(3, 4, 99.5, "stop_loss"), row(5, 6, 100.0, "exit_signal")]
    expected = [Decimal(text) for text in ("0.1736949999811", "-0.174875", "-0.05")]
    trades = run_spot(bars, rows).trades()
    assert [abs(trade.pnl - pnl) < Decimal("1e-13") for trade, pnl in zip(trades, expected, strict=True)] == [True] * 3
    together = [row(1, 1, 100.8956756756, "roi")]
    (trade,) = run_spot(bars, together, "linear").trades()
    assert trade.pnl == trades[0].pnl
    assert trade.bars_held == 0
    assert not run_spot(bars, together).figures["realised"]  # spot refuses to sell what is not held yet
