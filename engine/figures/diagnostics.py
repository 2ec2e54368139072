"""Deep diagnostics of a run on bars: regimes, drawdowns one by one, excursions, what hangs on the order inside bars.

Tables rather than single figures; they stand in `metrics.json` under `diagnostics`, with these definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from engine.bars import NS_PER_SECOND, Bars, IntColumn
from engine.figures import money
from engine.figures.ambiguity import AmbiguityFigures, ambiguity
from engine.figures.band import EquityBand
from engine.figures.drawdowns import DrawdownPeriod, drawdown_periods
from engine.figures.equity import EquityCurve
from engine.figures.excursions import ExcursionRow, excursion_table
from engine.figures.regimes import RegimeRow, TradedSymbol, regime_table, regimes_of
from engine.figures.steps import open_at_end, opening_rows, step_times_ns, steps_of
from engine.figures.times import utc_text
from engine.figures.trades import Trade
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult

DEFINITIONS = {
    "regimes": (
        "Per symbol, each regime that had a bar; sums over all rows are the run's totals. A bar's regime is "
        "decided by the window_bars bars before it. trend: with r the log returns of their closes, up where Σr > "
        "0 and (Σr)² > Σr², down where Σr < 0 and (Σr)² > Σr², else sideways. volatility: their Σr² against that "
        "of the windows of so many bars that follow each other from the first bar and have ended: low below a "
        "third of them, high above a third of them, else normal; unknown until there are five. bars, "
        "share_of_bars (fraction of the symbol's); span_seconds: from each bar's open to the next one's; "
        "in_market_seconds of it with a position open, time_in_market their quotient; trades, wins, losses, "
        "net_pnl, expectancy, profit_factor as in the figures, of the trades opened in these bars; pnl_share: "
        "net_pnl ÷ that of all trades, null where that is 0."
    ),
    "drawdowns": (
        "The five deepest, as a fraction of their peak, and the five longest. start_time: the last bar at the "
        "peak; trough_time: the first of the deepest bars; end_time: the bar that regains the peak, null where "
        "none did; depth: fraction of the peak; depth_money, peak: money; duration_seconds: from start to end, or"
        " to the run's end; to_trough_seconds; recovery_seconds: from trough to end, null where it did not end."
    ),
    "excursions": (
        "mae: worst floating profit of each trade while open, at most 0; mfe: the best, at least 0. In money, in "
        "percent of the entry notional, in R (money ÷ the risk taken at entry, over trades that knew it). "
        "Average, and quantiles by nearest rank: p05 is the least value that 5 % of the trades are at or below. "
        "winners: pnl > 0; losers: < 0."
    ),
    "ambiguous": (
        "bars: bars that met orders above and below their open, so that the order in which they fill decides. Of "
        "those, bars_found: with orders on both sides that were filled or refused inside; fills: the fills inside"
        " these; order_ids of these; trades: closed trades that they opened, changed or closed; net_pnl: money, "
        "of these trades."
    ),
    "band": (
        "The same run under every same-bar priority; worst and best are the least and greatest equity at each "
        "bar. widest: the greatest distance at any bar; final: that at the end; final_worst, final_best: money."
    ),
}


class Diagnostics(msgspec.Struct, frozen=True):
    """What figures alone do not show. `band` is None where none was asked for, or no bar was ambiguous."""

    regimes: list[RegimeRow]
    regime_window_bars: int
    deepest_drawdowns: list[DrawdownPeriod]
    longest_drawdowns: list[DrawdownPeriod]
    excursions: list[ExcursionRow]
    ambiguous: AmbiguityFigures
    band: EquityBand | None = None


def diagnose(
    result: RunResult,
    curve: EquityCurve,
    trades: Sequence[Trade],
    bars: Sequence[Bars],
    *,
    initial_units: int,
    window_bars: int = 0,
    band: EquityBand | None = None,
) -> Diagnostics:
    """All diagnostics of a run; `bars` are its markets' in order, none where it ran on books and prints."""
    regimes = [regimes_of(each, window_bars) for each in bars]
    symbols = _traded_symbols(result, trades, bars)
    return Diagnostics(
        regimes=regime_table(regimes, symbols, curve.cash_decimals),
        regime_window_bars=regimes[0].window_bars if regimes else 0,
        deepest_drawdowns=drawdown_periods(curve, initial_units),
        longest_drawdowns=drawdown_periods(curve, initial_units, by="duration"),
        excursions=excursion_table(trades, curve.cash_decimals),
        ambiguous=ambiguity(result, trades),
        band=band,
    )


def _traded_symbols(result: RunResult, trades: Sequence[Trade], bars: Sequence[Bars]) -> list[TradedSymbol]:
    left_open = open_at_end(result)
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    opening = fills[opening_rows(fills)]
    steps = steps_of(result, opening)
    symbols = []
    for index, each in enumerate(bars):
        own = [trade for trade in trades if trade.symbol == result.scales[index].instrument.symbol]
        numbers = np.array([trade.trade_id for trade in own], dtype=np.int64)
        places = np.searchsorted(opening["trade_id"], numbers)
        if steps is None:
            entered = np.searchsorted(each.ts_ns, opening["ts_ns"][places], side="right") - 1
        else:  # a step ends at the close of its bar, before the next bar opens
            entered = np.searchsorted(each.ts_ns, step_times_ns(result, steps[places]) - 1, side="right") - 1
        since: list[int] = left_open["ts_ns"][left_open["instrument"] == index].tolist()
        symbols.append(TradedSymbol(each, own, _as_rows(entered), since))
    return symbols


def _as_rows(rows: Any) -> IntColumn:
    return np.asarray(rows, dtype=np.int64)


def diagnostics_json(found: Diagnostics, cash_decimals: int) -> dict[str, Any]:
    """The diagnostics as JSON says them: money as text, times as ISO 8601, spans in seconds."""
    document: dict[str, Any] = {
        "regimes": {
            "window_bars": found.regime_window_bars,
            "rows": [_plain(row, cash_decimals) for row in found.regimes],
        },
        "drawdowns": {
            "deepest": [_plain(period, cash_decimals) for period in found.deepest_drawdowns],
            "longest": [_plain(period, cash_decimals) for period in found.longest_drawdowns],
        },
        "excursions": [_plain(row, cash_decimals) for row in found.excursions],
        "ambiguous": _plain(found.ambiguous, cash_decimals),
        "band": _band_json(found.band, cash_decimals),
        "definitions": DEFINITIONS,
    }
    return document


def _plain(row: msgspec.Struct, cash_decimals: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, Decimal):
            value = money.money_text(value, cash_decimals)
        if not name.endswith("_ns"):
            plain[name] = value
        elif name in {"start_ns", "trough_ns", "end_ns"}:
            plain[name.replace("_ns", "_time")] = None if value is None else utc_text(value)
        else:
            plain[name.replace("_ns", "_seconds")] = None if value is None else value / NS_PER_SECOND
    return plain


def _band_json(band: EquityBand | None, cash_decimals: int) -> dict[str, str] | None:
    if band is None or not len(band.ts_ns):
        return None
    amounts = {
        "widest": band.widest, "final": band.final, "final_worst": int(band.worst[-1]), "final_best": int(band.best[-1])
    }  # fmt: skip
    return {
        name: money.money_text(money.from_units(value, cash_decimals), cash_decimals) for name, value in amounts.items()
    }
