"""Diagnostics of runs through the engine on a handful of bars, whose every number can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from config.model import DiagnosticsConfig, RunConfig
from daemon.banding import band_of
from daemon.runs import equity_curve, figures_of
from daemon.stages import Quiet
from engine.bars import NS_PER_SECOND, Bars
from engine.figures.ambiguity import ambiguity
from engine.figures.fill_costs import fill_costs
from engine.figures.risk_taken import with_risk
from engine.instruments import Instrument
from engine.market import Market
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Execution, RunSettings, Slippage
from engine.strategy import Schema, Strategy

MINUTE_NS = 60 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND
LINEAR = Instrument("A", Decimal("0.5"), Decimal(1), maintenance_rate=Decimal(0))

Row = tuple[float, float, float, float]
FLAT = (100.0, 100.0, 100.0, 100.0)


def market(rows: list[Row], instrument: Instrument = LINEAR) -> Market:
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    ts_ns = START_NS + MINUTE_NS * np.arange(len(rows), dtype=np.int64)
    return Market(instrument, Bars(instrument.symbol, "1m", ts_ns, *columns, np.full(len(rows), 1_000.0)))


def runs(**callbacks: Callable[..., None]) -> list[StrategyRun]:
    strategy = Strategy(Schema("own", "Own"), __file__, "", **callbacks)  # type: ignore[arg-type]
    return [StrategyRun("own", strategy, {}, (0,))]


def run(rows: list[Row], settings: RunSettings | None = None, **callbacks: Callable[..., None]) -> RunResult:
    return Replay(settings or RunSettings(), [market(rows)], runs(**callbacks)).run()


def risks(result: RunResult, fraction: Decimal | None = None) -> list[tuple[float | None, float | None]]:
    sized = None if fraction is None else {"own": fraction}
    return [(trade.mae_r, trade.mfe_r) for trade in with_risk(result.trades(), result, sized)]


# --- R ---

# Bought at the open of the second bar for 100; it goes down to 97 and up to 110, and the end closes at 100.
SWING: list[Row] = [FLAT, (100.0, 110.0, 97.0, 100.0), FLAT, FLAT]


@pytest.mark.parametrize(
    ("stop_bar", "stop", "expected"),
    [
        (0, 95.0, (-0.6, 2.0)),  # placed with the entry, 5 below it: lost 3 of 5, won 10 of 5
        (1, 95.0, (-0.6, 2.0)),  # placed at the close of the bar in which it was entered
        (2, 95.0, (None, None)),  # a bar later is not at entry
        (0, 104.0, (None, None)),  # above the entry: no risk (and it sells at once)
    ],
)
def test_r_is_told_by_the_stop_that_stood_at_entry(
    stop_bar: int, stop: float, expected: tuple[float | None, float | None]
) -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.buy(2)
        if i == stop_bar:
            ctx.sell(2, stop, type="stop")

    assert risks(run(SWING, on_bar=on_bar))[0] == expected


def test_r_is_told_by_a_stop_that_answers_the_fill() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.sell(2)

    def on_order(ctx: Any, order: Any) -> None:
        if order.state == "FILLED" and order.side == "sell":
            ctx.buy(2, 104.0, type="stop")

    # Short at 100 with the stop 4 above: the bar goes to 104 after the fill, up by 4 of 4 and down by 3 of 4.
    rows: list[Row] = [FLAT, (100.0, 104.0, 97.0, 100.0), FLAT]
    assert risks(run(rows, on_bar=on_bar, on_order=on_order)) == [(-1.0, 0.75)]


def test_the_nearest_of_several_stops_counts_and_those_gone_before_do_not() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            gone = ctx.sell(2, 99.5, type="stop")
            ctx.cancel(gone)
            ctx.buy(2)
            ctx.sell(1, 90.0, type="stop")
            ctx.sell(1, 95.0, type="stop")

    assert risks(run(SWING, on_bar=on_bar)) == [(-0.6, 2.0)]


def test_r_is_told_by_the_distance_that_sized_the_entry() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.buy(2)

    result = run(SWING, on_bar=on_bar)
    assert risks(result) == [(None, None)]
    assert risks(result, Decimal("0.1")) == [(-0.3, 1.0)]  # a tenth of 100


# --- costs ---


@pytest.mark.parametrize(
    ("slippage", "spread", "slipped"),
    [
        # Ticks of 0.5, two lots bought and two sold: four lots in all, each one tick worth 0.5.
        (Slippage(model="ticks", ticks=3), 0, 4 * 3 * 0.5),
        (Slippage(model="spread", spread_ticks=4), 4 * 2 * 0.5, 0),
        (Slippage(model="spread", spread_ticks=3), 4 * 2 * 0.5, 0),  # half of three, rounded up
        # Half of 300 bps of 200 ticks is 3 ticks; 100 bps more are 2 ticks.
        (Slippage(model="spread", spread_bps=Decimal(300), bps=Decimal(100)), 4 * 3 * 0.5, 4 * 2 * 0.5),
        (Slippage(model="spread", bps=Decimal(100)), 0, 4 * 2 * 0.5),  # no spread is known: slippage alone
    ],
)
def test_the_spread_is_told_from_slippage(slippage: Slippage, spread: float, slipped: float) -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.buy(2)
        if i == 2:
            ctx.flatten()

    settings = RunSettings(slippage=slippage)
    rows: list[Row] = [FLAT, FLAT, FLAT, FLAT]
    result = run(rows, settings, on_bar=on_bar)
    found = fill_costs(result.outputs, result.scales, slippage)
    assert (found.spread, found.slippage) == (spread * 10**8, slipped * 10**8)
    # Nothing else moved: what the account lost is what the fills cost.
    assert result.figures["cash"] == (10_000 - spread - slipped) * 10**8
    config = RunConfig(("A",), "1m", settings=settings)
    costs = figures_of(result, START_NS, config, [market(rows).bars])[2].costs
    assert (costs.spread, costs.slippage, costs.total) == (Decimal(spread), Decimal(slipped), Decimal(spread + slipped))
    assert costs.total_per_trade == Decimal(spread + slipped)
    assert costs.share_of_gross is None  # nothing was earned before costs either


def test_costs_of_an_inverse_contract_are_what_the_ledger_lost() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.buy(300)
        if i == 2:
            ctx.flatten()

    inverse = Instrument("A", Decimal("0.5"), Decimal(1), kind="inverse", maintenance_rate=Decimal(0))
    slippage = Slippage(model="spread", spread_ticks=6, bps=Decimal(100))
    settings = RunSettings(slippage=slippage)
    result = Replay(settings, [market([FLAT] * 4, inverse)], runs(on_bar=on_bar)).run()
    found = fill_costs(result.outputs, result.scales, slippage)
    # 300 of quote bought at 100 + 1.5 + 1 and sold at 100 - 1.5 - 1: in base, to 10^-8, half to even.
    paid = {price: round(300 / price, 8) for price in (100.0, 101.5, 102.5, 98.5, 97.5)}
    assert found.spread == round((paid[100.0] - paid[101.5] + paid[98.5] - paid[100.0]) * 10**8)
    assert found.slippage == round((paid[101.5] - paid[102.5] + paid[97.5] - paid[98.5]) * 10**8)
    assert result.figures["cash"] == 10_000 * 10**8 - found.spread - found.slippage


# --- ambiguous bars ---


def bracket(ctx: Any, i: int) -> None:
    """Buy, with a target above and a stop below: both are met in the third bar."""
    if i == 0:
        ctx.buy(2)
        ctx.sell(2, 105.0, type="limit", reduce_only=True)
        ctx.sell(2, 95.0, type="stop", reduce_only=True)


BRACKET: list[Row] = [FLAT, FLAT, (100.0, 107.0, 93.0, 100.0), FLAT, FLAT]


def test_the_fills_of_an_ambiguous_bar_are_named() -> None:
    result = run(BRACKET, on_bar=bracket)
    found = ambiguity(result, result.trades())
    # Pessimistic: the stop (the third order) fills at 95, and the target has nothing left to reduce.
    assert (found.bars, found.bars_found, found.fills, found.order_ids) == (1, 1, 1, (3,))
    assert (found.trades, found.net_pnl) == (1, Decimal(-10))


def test_a_bar_that_meets_one_side_only_is_not_ambiguous() -> None:
    result = run([FLAT, FLAT, (100.0, 107.0, 96.0, 100.0), FLAT], on_bar=bracket)
    found = ambiguity(result, result.trades())
    assert (found.bars, found.fills, found.trades) == (0, 0, 0)


def test_the_band_holds_what_every_priority_gives() -> None:
    config = RunConfig(("A",), "1m", diagnostics=DiagnosticsConfig(band=True))
    result = run(BRACKET, on_bar=bracket)
    band = band_of(result, START_NS, config, [market(BRACKET)], (), lambda: runs(on_bar=bracket), Quiet())
    assert band is not None
    # From the third bar on: stopped at 95 for a loss of 10, or out at 105 for a gain of 10.
    cash = 10_000 * 10**8
    assert band.worst.tolist() == [cash, cash] + [cash - 10 * 10**8] * 3
    assert band.best.tolist() == [cash, cash] + [cash + 10 * 10**8] * 3
    assert (band.widest, band.final) == (20 * 10**8, 20 * 10**8)
    # Each single priority lies within it, and the two ends are reached.
    for priority in ("pessimistic", "fifo", "ohlc", "olhc", "adaptive"):
        settings = RunSettings(execution=Execution(same_bar_priority=priority))  # type: ignore[arg-type]
        equity = equity_curve(run(BRACKET, settings, on_bar=bracket).samples, START_NS, 8).equity
        assert (equity >= band.worst).all()
        assert (equity <= band.best).all()


def test_no_band_unless_asked_for_and_needed() -> None:
    asked = RunConfig(("A",), "1m", diagnostics=DiagnosticsConfig(band=True))
    result = run(BRACKET, on_bar=bracket)
    unasked = msgspec.structs.replace(asked, diagnostics=DiagnosticsConfig())
    assert band_of(result, START_NS, unasked, [market(BRACKET)], (), lambda: runs(on_bar=bracket), Quiet()) is None
    plain = run([FLAT, FLAT], on_bar=bracket)
    assert band_of(plain, START_NS, asked, [market([FLAT, FLAT])], (), lambda: runs(on_bar=bracket), Quiet()) is None


# --- all of it ---


def test_regimes_belong_to_the_bar_of_the_entry_and_sum_to_the_figures() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i % 7 == 3:
            ctx.buy(1)
        if i % 7 == 5:
            ctx.flatten()

    closes = 100 + np.cumsum(np.random.default_rng(3).integers(-2, 3, 300)) * 0.5
    rows = [(price, price + 1, price - 1, price) for price in closes.tolist()]
    config = RunConfig(("A",), "1m", diagnostics=DiagnosticsConfig(regime_bars=10))
    result = run(rows, on_bar=on_bar)
    _, trades, figures = figures_of(result, START_NS, config, [market(rows).bars])
    assert figures.diagnostics is not None
    table = figures.diagnostics.regimes
    assert len({(row.trend, row.volatility) for row in table}) > 6
    assert sum(row.bars for row in table) == len(rows)
    assert sum(row.trades for row in table) == figures.trades.count == len(trades)
    assert sum((row.net_pnl for row in table), Decimal(0)) == figures.trades.net_pnl
    held = sum(row.in_market_ns for row in table)
    assert held / (len(rows) * MINUTE_NS) == pytest.approx(figures.exposure.time_in_market, rel=1e-12)


def test_a_position_left_open_counts_as_time_in_the_market() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 1:
            ctx.buy(1)

    config = RunConfig(("A",), "1m", settings=RunSettings(close_at_end=False))
    rows = [FLAT] * 8
    result = run(rows, config.settings, on_bar=on_bar)
    _, trades, figures = figures_of(result, START_NS, config, [market(rows).bars])
    assert trades == []
    # From the open of the third bar to the end: six of eight.
    assert figures.exposure.time_in_market == 0.75
    assert figures.diagnostics is not None
    assert sum(row.in_market_ns for row in figures.diagnostics.regimes) == 6 * MINUTE_NS


def test_a_run_without_trades_or_bars_has_diagnostics_too() -> None:
    config = RunConfig(("A",), "1m")
    none = market([FLAT])
    empty = Market(LINEAR, Bars("A", "1m", *(column[:0] for column in (
        none.bars.ts_ns, none.bars.open, none.bars.high, none.bars.low, none.bars.close, none.bars.volume
    ))))  # fmt: skip
    for each in (none, empty):
        result = Replay(config.settings, [each], runs(on_bar=lambda ctx, i: None)).run()
        _, trades, figures = figures_of(result, START_NS, config, [each.bars], like=("quantstats", "freqtrade"))
        assert trades == []
        assert figures.diagnostics is not None
        assert sum(row.bars for row in figures.diagnostics.regimes) == len(each.bars)
        assert figures.diagnostics.deepest_drawdowns == []
        assert (figures.costs.total, figures.costs.total_per_trade) == (Decimal(0), None)
