"""From the results of a run to its report. Pure: the same run gives the same report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from importlib import metadata
from typing import Any

import msgspec
import numpy as np

from adapters.report.columns import Column, pack, pack_against, pack_floats
from adapters.report.schema import (
    EXIT_REASONS,
    LEVEL_ENDS,
    LEVEL_KINDS,
    MARKER_KINDS,
    SCHEMA_VERSION,
    SIDES,
    BandTable,
    BarTable,
    EquityTable,
    LevelTable,
    MarkerTable,
    RegimeTable,
    Report,
    RunPart,
    SpanTable,
    SymbolPart,
)
from adapters.report.traces import fills_of, levels_of, marker_kinds
from engine.bars import NS_PER_MS, Bars, FloatColumn, IntColumn, timeframe_ns
from engine.figures import money
from engine.figures.definitions import definitions
from engine.figures.diagnostics import diagnostics_json
from engine.figures.equity import EquityCurve, drawdown_series
from engine.figures.metrics import Metrics, as_json
from engine.figures.regimes import TRENDS, UNKNOWN, VOLATILITIES, regimes_of
from engine.figures.trades import Trade
from engine.reading import Scale
from engine.replay import RunResult

CODES = {
    "markers.kind": MARKER_KINDS, "levels.kind": LEVEL_KINDS, "levels.ended": LEVEL_ENDS, "trade_spans.side": SIDES,
    "trade_spans.exit_reason": EXIT_REASONS, "regimes.trend": TRENDS, "regimes.volatility": VOLATILITIES,
}  # fmt: skip
_EQUITY_STEPS = 100_000
_BAND_STEPS = 1_000
_MONEY_DECIMALS_MAX = 4
_PERCENT_DECIMALS = 4
_FRACTION_DECIMALS = 5


class ReportInput(msgspec.Struct, frozen=True):
    """What a report is made of: a finished run with its bars, curve, trades and figures."""

    run_id: str
    timeframe: str
    fill_model: str
    result: RunResult
    bars: tuple[Bars, ...]
    curve: EquityCurve
    trades: Sequence[Trade]
    metrics: Metrics


def build_report(given: ReportInput) -> Report:
    """Make the report of a run."""
    result, curve = given.result, given.curve
    start_ms = curve.start_ns // NS_PER_MS
    end_ns = curve.start_ns + curve.span_ns
    levels, left_out = _levels(result, end_ns)
    return Report(
        schema_version=SCHEMA_VERSION,
        run=RunPart(
            id=given.run_id, hash=f"{result.hash:016x}", version=metadata.version("tapewright"),
            timeframe=given.timeframe, timeframe_ms=timeframe_ns(given.timeframe) // NS_PER_MS,
            fill_model=given.fill_model, strategies=result.strategies,
            initial_cash=float(given.metrics.equity.initial), cash_decimals=curve.cash_decimals, start_ms=start_ms,
            end_ms=end_ns // NS_PER_MS, ambiguous_bars=result.figures.get("ambiguous_bars", 0),
        ),
        symbols=tuple(
            _symbol(bars, scale, given.metrics) for bars, scale in zip(given.bars, result.scales, strict=True)
        ),
        codes=CODES,
        markers=_markers(result),
        levels=levels,
        levels_left_out=left_out,
        trade_spans=_spans(given.trades, result),
        equity=_equity(curve, given.metrics.equity.initial),
        stats=as_json(given.metrics),
        definitions=definitions(),
        diagnostics=_diagnostics(given.metrics),
        band=_band(given.metrics, curve),
    )  # fmt: skip


def _decimals(unit: Decimal) -> int:
    """Places after the point that whole multiples of a unit can need."""
    exponent = unit.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a unit is a number"
    return max(0, -exponent)


def _symbol(bars: Bars, scale: Scale, metrics: Metrics) -> SymbolPart:
    places = _decimals(scale.instrument.tick_size)
    opens, highs, lows, closes = (
        np.rint(prices * 10.0**places).astype(np.int64) for prices in (bars.open, bars.high, bars.low, bars.close)
    )
    table = BarTable(
        time=pack(bars.ts_ns // NS_PER_MS, order=1),
        open=pack_against(opens, {"close": closes}, decimals=places, lag=1),
        high=pack_against(highs, {"open": opens, "close": closes}, decimals=places, rule="max"),
        low=pack_against(lows, {"open": opens, "close": closes}, decimals=places, rule="min"),
        close=pack(closes, decimals=places, order=1),
    )
    found = metrics.diagnostics
    regimes = _regimes(bars, found.regime_window_bars) if found is not None and found.regimes else None
    return SymbolPart(bars.symbol, places, scale.tick, table, regimes)


def _regimes(bars: Bars, window_bars: int) -> RegimeTable:
    found = regimes_of(bars, window_bars)
    trend, volatility = (codes.astype(np.int64) - UNKNOWN for codes in (found.trend, found.volatility))
    changes = np.flatnonzero(np.diff(trend * len(VOLATILITIES) + volatility, prepend=-1))
    times = bars.ts_ns[changes] // NS_PER_MS
    return RegimeTable(pack(times, order=1), pack(trend[changes]), pack(volatility[changes]))


def _diagnostics(metrics: Metrics) -> dict[str, Any]:
    if metrics.diagnostics is None:
        return {}
    # As JSON has it: what is read back from a page is equal to it.
    found: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(diagnostics_json(metrics.diagnostics, metrics.cash_decimals))
    )
    return found


def _band(metrics: Metrics, curve: EquityCurve) -> BandTable | None:
    band = None if metrics.diagnostics is None else metrics.diagnostics.band
    if band is None or not np.array_equal(band.ts_ns, curve.ts_ns):
        return None
    unit = 10.0**curve.cash_decimals
    below, above = ((distance / unit) for distance in (curve.equity - band.worst, band.best - curve.equity))
    widest = float(max(below.max(initial=0.0), above.max(initial=0.0)))
    places = min(curve.cash_decimals, math.ceil(math.log10(_BAND_STEPS / widest))) if widest else 0
    return BandTable(
        *(pack(np.rint(each * 10.0**places).astype(np.int64), decimals=places, order=1) for each in (below, above))
    )


def _markers(result: RunResult) -> MarkerTable:
    fills = fills_of(result)
    scales = result.scales
    money_unit = _money_unit(scales)
    ticks, lots = (
        np.array([getattr(scale, name) for scale in scales])[fills["instrument"]] for name in ("tick", "lot")
    )
    price_places = max((_decimals(scale.instrument.tick_size) for scale in scales), default=0)
    size_places = max((_decimals(scale.instrument.lot_size) for scale in scales), default=0)
    return MarkerTable(
        time=pack(fills["ts_ns"] // NS_PER_MS, order=1),
        symbol=_codes(fills["instrument"]),
        strategy=_codes(fills["strategy"]),
        kind=_codes(marker_kinds(fills)),
        price=pack_floats(fills["price_ticks"] * ticks, price_places),
        size=pack_floats(fills["lots"] * lots, size_places),
        pnl=pack_floats(fills["pnl"] * money_unit, _money_places(scales)),
        fee=pack_floats(fills["fee"] * money_unit, _money_places(scales)),
        trade=pack(fills["trade_id"].astype(np.int64), order=1),
    )


def _levels(result: RunResult, end_ns: int) -> tuple[LevelTable, int]:
    levels, left_out = levels_of(result, end_ns)
    places = max((_decimals(scale.instrument.tick_size) for scale in result.scales), default=0)
    starts = _whole(level.start_ns // NS_PER_MS for level in levels)
    trades = np.array([level.trade if level.trade >= 0 else np.nan for level in levels], dtype=np.float64)
    prices = np.array([result.scales[level.symbol].price(level.ticks) for level in levels], dtype=np.float64)
    table = LevelTable(
        symbol=_codes(_whole(level.symbol for level in levels)),
        strategy=_codes(_whole(level.strategy for level in levels)),
        kind=_codes(_whole(level.kind for level in levels)),
        price=pack_floats(prices, places),
        start=pack(starts, order=1),
        end=pack_against(_whole(level.end_ns // NS_PER_MS for level in levels), {"start": starts}),
        ended=_codes(_whole(level.ended for level in levels)),
        trade=pack_floats(trades, 0),
    )
    return table, left_out


def _spans(trades: Sequence[Trade], result: RunResult) -> SpanTable:
    scales = result.scales
    symbols = [scale.instrument.symbol for scale in scales]
    # An average over several fills may lie between two ticks.
    price_places = max((_decimals(scale.instrument.tick_size) for scale in scales), default=0) + 2
    size_places = max((_decimals(scale.instrument.lot_size) for scale in scales), default=0)
    money_places = _money_places(scales)

    def floats(read: Callable[[Trade], Any], places: int) -> Column:
        values = (read(trade) for trade in trades)
        return pack_floats(np.array([math.nan if value is None else float(value) for value in values]), places)

    exits = _whole(trade.exit_ts_ns // NS_PER_MS for trade in trades)
    return SpanTable(
        trade=pack(_whole(trade.trade_id for trade in trades), order=1),
        symbol=_codes(_whole(symbols.index(trade.symbol) for trade in trades)),
        strategy=_codes(_whole(result.strategies.index(trade.strategy) for trade in trades)),
        side=_codes(_whole(SIDES.index(trade.side) for trade in trades)),
        entry_time=pack_against(_whole(trade.entry_ts_ns // NS_PER_MS for trade in trades), {"exit_time": exits}),
        exit_time=pack(exits, order=1),
        entry_price=floats(lambda trade: trade.entry_price, price_places),
        exit_price=floats(lambda trade: trade.exit_price, price_places),
        size=floats(lambda trade: trade.size, size_places),
        pnl=floats(lambda trade: trade.pnl, money_places),
        pnl_percent=floats(lambda trade: trade.pnl_percent, _PERCENT_DECIMALS),
        fees=floats(lambda trade: trade.fees, money_places),
        funding=floats(lambda trade: trade.funding, money_places),
        mae=floats(lambda trade: trade.mae, money_places),
        mfe=floats(lambda trade: trade.mfe, money_places),
        mae_percent=floats(lambda trade: trade.mae_percent, _PERCENT_DECIMALS),
        mfe_percent=floats(lambda trade: trade.mfe_percent, _PERCENT_DECIMALS),
        mae_r=floats(lambda trade: trade.mae_r, _PERCENT_DECIMALS),
        mfe_r=floats(lambda trade: trade.mfe_r, _PERCENT_DECIMALS),
        bars_held=pack(_whole(trade.bars_held for trade in trades)),
        exit_reason=_codes(_whole(EXIT_REASONS.index(trade.exit_reason) for trade in trades)),
    )


def _equity(curve: EquityCurve, initial: Decimal) -> EquityTable:
    unit = 10.0**curve.cash_decimals
    values: FloatColumn = curve.equity / unit
    spread = float(np.ptp(values)) if len(values) else 0.0
    # As fine as a screen could ever show it; the exact curve is in equity.parquet.
    places = curve.cash_decimals
    if spread > 0:
        places = min(places, math.ceil(math.log10(_EQUITY_STEPS / spread)))
    drawdown = drawdown_series(curve, money.to_units(initial, curve.cash_decimals)) if len(values) else values
    with np.errstate(divide="ignore", invalid="ignore"):
        exposure = np.where(curve.equity > 0, curve.exposure / curve.equity, np.nan)
    return EquityTable(
        time=pack(curve.ts_ns // NS_PER_MS, order=1),
        equity=pack(np.rint(values * 10.0**places).astype(np.int64), decimals=places, order=1),
        drawdown=pack(
            np.rint(drawdown * 10.0**_FRACTION_DECIMALS).astype(np.int64), decimals=_FRACTION_DECIMALS, order=1
        ),
        exposure=pack_floats(exposure, 2),
    )


def _money_unit(scales: Sequence[Scale]) -> float:
    return 10.0 ** -scales[0].cash_decimals if scales else 1.0


def _money_places(scales: Sequence[Scale]) -> int:
    return min(_MONEY_DECIMALS_MAX, scales[0].cash_decimals) if scales else 0


def _whole(values: Iterable[int]) -> IntColumn:
    return np.array(list(values), dtype=np.int64)


def _codes(values: Any) -> Column:
    return pack(np.asarray(values, dtype=np.int64))
