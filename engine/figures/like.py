"""Figures by the definitions of other packages, from the same equity and trades: for who compares runs across them.

Values are those that the package gives, its own stand-ins for what is undefined among them (freqtrade's -100); what is
not a finite number is None. Nothing of the packages is needed: the definitions are written out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from engine.bars import FloatColumn, IntColumn
from engine.errors import UsageError
from engine.figures.equity import EquityCurve, daily_equity, equity_from_start
from engine.figures.like_backtesting import backtesting_figures
from engine.figures.like_freqtrade import freqtrade_figures
from engine.figures.like_input import LikeFigures, LikeInput, LikeReport
from engine.figures.like_quantstats import quantstats_figures
from engine.figures.trades import Trade


class Package(msgspec.Struct, frozen=True):
    """A package: the version whose definitions these are, and the figures by them."""

    version: str
    figures: Callable[[LikeInput], Mapping[str, float]]
    made_of: str


PACKAGES: dict[str, Package] = {
    "quantstats": Package(
        "0.0.86",
        quantstats_figures,
        "Daily returns of UTC days, flat days included, the first against the starting balance; its defaults: 252 days"
        " a year, risk-free rate 0.",
    ),
    "backtesting.py": Package(
        "0.6.6",
        backtesting_figures,
        "Equity at each bar's close, labelled by the bar's open; returns of trades net of costs on the entry notional;"
        " durations in seconds. What compares with the market needs a run of one symbol.",
    ),
    "freqtrade": Package(
        "2026.9",
        freqtrade_figures,
        "Closed trades in the order they closed, profit net of costs; wallet_ figures from equity at each bar's close.",
    ),
}


def check_like(name: str) -> str:
    """Return the name of a package; raises UsageError where its figures are not known here."""
    if name not in PACKAGES:
        raise UsageError(f"--like {name}: no such package is known", remedy=f"Give one of: {', '.join(PACKAGES)}")
    return name


def like_figures(name: str, given: LikeInput | None) -> LikeFigures:
    """One package's figures of a run; nothing at all of a run without bars."""
    package = PACKAGES[check_like(name)]
    if given is None:
        return {}
    with np.errstate(all="ignore"):
        found = package.figures(given)
    return {figure: _finite(value) for figure, value in found.items()}


def like_report(name: str, given: LikeInput | None) -> LikeReport:
    """The same with the package's version and what its figures are made of."""
    return LikeReport(PACKAGES[name].version, PACKAGES[name].made_of, like_figures(name, given))


def like_input(
    curve: EquityCurve, trades: Sequence[Trade], *, initial_units: int, bar_ns: int, closes: FloatColumn | None,
    entry_bars: IntColumn, exit_bars: IntColumn,
) -> LikeInput | None:  # fmt: skip
    """What the figures are made of; None of a run without bars.

    `bar_ns`: the length of a bar. `closes`: the market's close at each row of the curve, where there is one market.
    `entry_bars`, `exit_bars`: the rows of the curve in which each of `trades` was opened and closed.
    """
    if curve.span_ns == 0:
        return None
    places = np.array([place for place, _ in _closing_order(trades)], dtype=np.int64)
    unit = 10.0**curve.cash_decimals
    return LikeInput(
        initial=initial_units / unit,
        equity=curve.equity / unit,
        daily=np.array(daily_equity(curve, equity_from_start(curve, initial_units)), dtype=np.float64) / unit,
        open_ns=curve.ts_ns - bar_ns,
        closes=closes if closes is not None and len(closes) == len(curve) else None,
        trades=tuple(trade for _, trade in _closing_order(trades)),
        entry_bars=entry_bars[places],
        exit_bars=exit_bars[places],
    )


def _closing_order(trades: Sequence[Trade]) -> list[tuple[int, Trade]]:
    return sorted(enumerate(trades), key=lambda each: (each[1].exit_ts_ns, each[1].trade_id))


def _finite(value: float) -> float | int | None:
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None
