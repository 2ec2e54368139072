"""The EMA cross of the strategy documents, exactly as printed there, over a year of minutes: money to all eight places.

The expected figures were given beforehand; the made-up month below has its own plain loop. A win is a trade whose
pnl after fees is above 0; the drawdown is on equity at each bar's close, the starting balance included.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.figures.equity import EquityCurve
from engine.figures.metrics import metrics
from engine.indicators import compute
from engine.instruments import Instrument
from engine.market import Market
from engine.precision import infer_unit, to_units
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, RunSettings, Slippage
from strategies.registry import Registry

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "ohlcv"
EXPECTED = """
    symbol  | slip | fills | trades | wins | final equity    | fees            | max drawdown
    BTCUSDT |    2 | 19594 |   9797 | 1721 | 682426.89269200 | 219293.97730800 | 0.317591756813
    BTCUSDT |    0 | 19594 |   9797 | 1973 | 792170.56162400 | 219293.97837600 | 0.207859154854
    ETHUSDT |    2 | 19488 |   9744 | 1914 | 979088.06966000 |  15457.76034000 | 0.020915894084
    ETHUSDT |    0 | 19488 |   9744 | 2134 | 986914.44957200 |  15457.76042800 | 0.013091423370
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in EXPECTED.strip().splitlines()[1:]]


def ema_cross() -> StrategyRun:
    """Document A's example, which ships to the letter (tests/integration/test_shipped_strategies.py holds it to it)."""
    strategy, params = Registry(Path(__file__).parent).build("ema_cross")
    return StrategyRun("ema_cross", strategy, params, (0,))


def run(bars: Bars, slippage_bps: str) -> RunResult:
    settings = RunSettings(
        initial_cash=Decimal(1_000_000),
        slippage=Slippage(bps=Decimal(slippage_bps)),
        commission=Commission(maker_bps=Decimal(4), taker_bps=Decimal(4)),
    )
    instrument = Instrument(bars.symbol, Decimal("0.01"), infer_unit(bars.volume))
    return Replay(settings, [Market(instrument, bars)], [ema_cross()]).run()


def year_of(symbol: str) -> Bars:
    path = DATA / f"binance_spot_{symbol}_1m_2022.parquet"
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} under ../shared/data/ohlcv")
    frame = pl.read_parquet(path)
    columns = [frame[name].to_numpy().copy() for name in ("open", "high", "low", "close", "volume")]
    return Bars(symbol, "1m", frame["ts"].to_numpy() * 1_000_000, *columns)


@pytest.mark.real_data
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}bps")
def test_a_year_to_the_last_unit(row: list[str]) -> None:
    symbol, slippage, fills, count, wins, equity, fees, drawdown = row
    bars = year_of(symbol)
    assert infer_unit(bars.volume) == Decimal("0.000001" if symbol == "BTCUSDT" else "0.00001")
    assert infer_unit(bars.open, bars.high, bars.low, bars.close) == Decimal("0.01")
    result = run(bars, slippage)
    trades = result.trades()
    assert result.figures["fill_count"] == int(fills)
    assert len(trades) == int(count)
    assert sum(trade.pnl > 0 for trade in trades) == int(wins)
    assert Decimal(int(result.samples[-1, 1])).scaleb(-8) == Decimal(equity)
    assert Decimal(result.figures["fees"]).scaleb(-8) == Decimal(fees)
    # The last bar's equity is that after the end, where the open position was closed.
    samples = np.delete(result.samples, -2, axis=0)
    curve = EquityCurve(int(bars.ts_ns[0]), *(samples[:, column].copy() for column in range(4)))
    found = metrics(curve, trades, initial_cash=Decimal(1_000_000))
    assert found.equity.max_drawdown == pytest.approx(float(drawdown), abs=1e-9)
    # The books close: what trades made is what the account gained, and they paid all fees.
    assert sum(trade.pnl for trade in trades) == Decimal(equity) - 1_000_000
    assert sum(trade.fees for trade in trades) == Decimal(fees)


def by_hand(bars: Bars, slippage_bps: int) -> tuple[list[int], list[int], int]:
    """The same in plain integers (units of 10^-8): each trade's pnl, equity at each close, fees."""
    opens, closes = (to_units(column, Decimal("0.01"), "price").tolist() for column in (bars.open, bars.close))
    ((fast,), (slow,)) = (compute("ema", (length,), [bars.close]) for length in (12, 26))
    cash, side, entry, paid, wanted, fees = 10**14, 0, 0, 0, 0, 0
    pnl: list[int] = []
    equity = []
    for bar, (opened, closed) in enumerate(zip(opens, closes, strict=True)):
        if wanted:
            price = opened + wanted * -(-opened * slippage_bps // 10_000)
            fee = price * 400  # 4 bps of price · 10^6 units, whole
            fees += fee
            if side == 0:
                side, entry, paid = wanted, price, fee
            else:
                pnl.append(side * (price - entry) * 10**6 - paid - fee)
                cash += pnl[-1]
                side = paid = 0
        equity.append(cash - paid + side * (closed - entry) * 10**6)
        wanted = 0
        if bar >= 1 and fast[bar] > slow[bar] and fast[bar - 1] <= slow[bar - 1]:
            wanted = 1
        if bar >= 1 and fast[bar] < slow[bar] and fast[bar - 1] >= slow[bar - 1]:
            wanted = -1
    return pnl, equity, fees


@pytest.mark.parametrize("slippage", [0, 2])
def test_a_made_up_month_equals_a_plain_loop(slippage: int) -> None:
    bars = synthesize("MADEUP", "1m", 40_000, 12)
    pnl, equity, fees = by_hand(bars, slippage)
    result = run(bars, str(slippage))
    closed = [int(trade.pnl.scaleb(8)) for trade in result.trades()]
    assert closed[: len(pnl)] == pnl
    assert len(pnl) > 500
    assert np.array_equal(result.samples[:-1, 1], equity)
    if len(closed) == len(pnl):
        assert result.figures["fees"] == fees
