"""What pictures and pages show, each drawn on given axes from a report alone. Only matplotlib's users import this."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from adapters.report.columns import unpack
from adapters.report.schema import Report, Tables, columns_of
from engine.bars import FloatColumn, IntColumn

FLOATING, CLOSED, GAIN, LOSS, INK, SOFT = "#2962ff", "#f57c00", "#00897b", "#d32f2f", "#1b1f27", "#667085"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HEAT = LinearSegmentedColormap.from_list("profit", [(0.83, 0.18, 0.18), (1.0, 1.0, 1.0), (0.0, 0.54, 0.48)])
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_POINTS_MOST = 4_000
_STRETCHES = 400
_MARKED_EACH_MOST = 250
_MARKS = 100
_BINS = 40
_STRIP_CELLS = 1_000
_TREND_COLOURS = ("#98a2b3", LOSS, "#98a2b3", GAIN)  # unknown, down, sideways, up
_VOLATILITY_DEPTHS = (0.15, 0.3, 0.6, 1.0)  # unknown, low, normal, high

Columns = Mapping[str, FloatColumn]


def columns(table: Tables) -> dict[str, FloatColumn]:
    """All columns of a table, unpacked."""
    packed = columns_of(table)
    return {name: unpack(packed, name) for name in packed}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back matplotlib's warnings, of fonts and of what it will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def thinned(ts_ms: FloatColumn, values: FloatColumn, points: int = _POINTS_MOST) -> tuple[FloatColumn, FloatColumn]:
    """Least and greatest value of equal stretches, so that a picture draws no more than it can show."""
    if len(values) <= points:
        return ts_ms, values
    edges = np.linspace(0, len(values), points // 2 + 1).astype(np.int64)
    chosen = np.unique(
        [
            begin + place
            for begin, end in itertools.pairwise(edges)
            for place in (int(values[begin:end].argmin()), int(values[begin:end].argmax()))
        ]
    )
    return ts_ms[chosen], values[chosen]


def closed_equity(report: Report, spans: Columns) -> tuple[FloatColumn, FloatColumn]:
    """The starting balance with the closed trades' profit added at each exit: times in ms, money."""
    times = np.concatenate(([report.run.start_ms], spans["exit_time"], [report.run.end_ms]))
    pnl = np.concatenate(([report.run.initial_cash], spans["pnl"], [0.0]))
    return times, np.cumsum(pnl)


def days_of(ts_ms: FloatColumn) -> FloatColumn:
    """Times as matplotlib counts them: days since 1970."""
    days: FloatColumn = ts_ms / _DAY_MS
    return days


def plain_axes(axes: Axes) -> None:
    """A faint grid and two spines."""
    axes.grid(visible=True, alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def time_axis(axes: Axes, report: Report) -> None:
    """The run from start to end, as dates."""
    axes.set_xlim(report.run.start_ms / _DAY_MS, report.run.end_ms / _DAY_MS)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def equity(axes: Axes, report: Report, curve: Columns, spans: Columns) -> None:
    """Floating equity, and the starting balance with the closed trades' profit."""
    times, values = closed_equity(report, spans)
    if report.band is not None:
        band = columns(report.band)
        (low_times, lows), (high_times, highs) = (
            thinned(curve["time"], each) for each in (curve["equity"] - band["below"], curve["equity"] + band["above"])
        )
        grid = np.union1d(low_times, high_times)
        axes.fill_between(
            days_of(grid), np.interp(grid, low_times, lows), np.interp(grid, high_times, highs), color=FLOATING,
            alpha=0.15, linewidth=0, label="worst to best where bars are ambiguous",
        )  # fmt: skip
    axes.step(days_of(times), values, where="post", color=CLOSED, linewidth=1.4, label="closed trades")
    times, values = thinned(curve["time"], curve["equity"])
    axes.plot(days_of(times), values, color=FLOATING, linewidth=0.8, label="floating equity")
    axes.axhline(report.run.initial_cash, color="#888888", linewidth=0.8, linestyle=":")
    axes.yaxis.set_major_formatter("{x:,.0f}" if np.ptp(curve["equity"]) >= 50 else "{x:,.6g}")
    axes.legend(loc="best", frameon=False)


def drawdown(axes: Axes, curve: Columns) -> None:
    """Distance below the peak so far, in percent."""
    times, values = thinned(curve["time"], -100.0 * curve["drawdown"])
    axes.fill_between(days_of(times), values, 0.0, color=LOSS, alpha=0.25, linewidth=0)
    axes.plot(days_of(times), values, color=LOSS, linewidth=0.9)
    axes.yaxis.set_major_formatter("{x:.3g} %")
    axes.set_ylim(bottom=min(0.0, float(values.min(initial=0.0)) * 1.08) or -1.0, top=0.0)


def exposure(axes: Axes, curve: Columns) -> None:
    """Gross notional ÷ equity."""
    known = np.isfinite(curve["exposure"])
    times, values = thinned(curve["time"][known], curve["exposure"][known])
    axes.fill_between(days_of(times), values, 0.0, color=SOFT, alpha=0.35, linewidth=0)
    axes.plot(days_of(times), values, color=SOFT, linewidth=0.4)
    axes.yaxis.set_major_formatter("{x:.3g} ×")
    axes.set_ylim(bottom=0.0, top=max(1e-9, float(values.max(initial=0.0)) * 1.08) if len(values) else 1.0)


def price(axes: Axes, bars: Columns, spans: Columns) -> None:
    """Close with high and low, joined to what can be seen, and the trades of the symbol: each one, or joined too."""
    count = len(bars["time"])
    if not count:
        return
    edges = np.unique(np.linspace(0, count, min(count, _STRETCHES) + 1).astype(np.int64))
    starts, lasts = edges[:-1], edges[1:] - 1
    days = days_of(bars["time"][starts])
    highs, lows = np.maximum.reduceat(bars["high"], starts), np.minimum.reduceat(bars["low"], starts)
    axes.fill_between(days, lows, highs, color="#98a2b3", alpha=0.45, linewidth=0, step="post")
    axes.plot(days_of(bars["time"][lasts]), bars["close"][lasts], color=INK, linewidth=0.7)
    axes.yaxis.set_major_formatter("{x:,.6g}")
    if len(spans["trade"]) <= _MARKED_EACH_MOST:
        _each_trade(axes, spans)
    else:
        _joined_trades(axes, bars, spans)


def regime_strip(axes: Axes, regimes: Columns, end_ms: float) -> None:
    """Trend as colour, volatility as depth, along a thin strip."""
    edges = np.append(regimes["time"], end_ms)
    colours = np.array([to_rgb(colour) for colour in _TREND_COLOURS])[regimes["trend"].astype(np.int64)]
    depths = np.array(_VOLATILITY_DEPTHS)[regimes["volatility"].astype(np.int64)]
    # As many cells as can be seen: each has the regime at its middle.
    cells = np.linspace(edges[0], edges[-1], _STRIP_CELLS + 1)
    places = np.searchsorted(edges, (cells[:-1] + cells[1:]) / 2, side="right") - 1
    image = np.concatenate((colours[places], depths[places][:, None]), axis=1)[None]
    begin, end = float(edges[0]) / _DAY_MS, float(edges[-1]) / _DAY_MS
    axes.imshow(image, aspect="auto", extent=(begin, end, 0.0, 1.0), interpolation="nearest")
    axes.set_yticks([])
    axes.grid(visible=False)


def costs(axes: Axes, before: float, paid: Mapping[str, float], net: float) -> None:
    """From what trading would have made without costs to what it made."""
    names = ["before costs", *paid, "net profit"]
    values = [before, *(0.0 - value for value in paid.values()), net]
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, color=[GAIN if value >= 0 else LOSS for value in values], height=0.55)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(places, [f"{name}  {value:+,.2f}" for name, value in zip(names, values, strict=True)])
    axes.xaxis.set_major_formatter("{x:,.6g}")


def _each_trade(axes: Axes, spans: Columns) -> None:
    longs = spans["side"] == 0
    for wanted, mark, label in ((longs, "^", "long entry"), (~longs, "v", "short entry")):
        if wanted.any():
            axes.scatter(
                days_of(spans["entry_time"][wanted]), spans["entry_price"][wanted], marker=mark, s=22, color=FLOATING,
                linewidths=0, label=label, zorder=3,
            )  # fmt: skip
    won = spans["pnl"] > 0
    for wanted, colour, label in ((won, GAIN, "exit with profit"), (~won, LOSS, "exit without profit")):
        if wanted.any():
            axes.scatter(
                days_of(spans["exit_time"][wanted]), spans["exit_price"][wanted], marker="o", s=14, color=colour,
                linewidths=0, label=label, zorder=3,
            )  # fmt: skip
    if len(spans["trade"]):
        axes.legend(loc="best", frameon=False, ncols=4, fontsize=8)


def _joined_trades(axes: Axes, bars: Columns, spans: Columns) -> None:
    """A mark for all entries and one for all exits of a stretch, above and below its prices, as large as they are."""
    first, last = bars["time"][0], bars["time"][-1]
    edges = np.linspace(first, last + 1, _MARKS + 1)
    middles = days_of((edges[:-1] + edges[1:]) / 2)
    begins = np.minimum(np.searchsorted(bars["time"], edges[:-1]), len(bars["time"]) - 1)
    lows, highs = np.minimum.reduceat(bars["low"], begins), np.maximum.reduceat(bars["high"], begins)
    gap = 0.02 * float(np.ptp(bars["close"]))
    entries, _ = np.histogram(spans["entry_time"], edges)
    profit, _ = np.histogram(spans["exit_time"], edges, weights=spans["pnl"])
    sizes = 60.0 * entries / max(1, int(entries.max()))
    days = (edges[1] - edges[0]) / _DAY_MS
    axes.scatter(middles, lows - gap, marker="^", s=sizes, color=FLOATING, linewidths=0, alpha=0.8, zorder=3)
    axes.plot([], [], "^", color=FLOATING, markersize=5, label=f"entries in {days:.3g} days (most {entries.max():,})")
    greatest = float(np.abs(profit).max()) or 1.0
    for sign, colour, label in ((1, GAIN, "profit of exits"), (-1, LOSS, "loss of exits")):
        chosen = np.sign(profit) == sign
        sizes = 60.0 * np.abs(profit[chosen]) / greatest
        axes.scatter(
            middles[chosen], (highs + gap)[chosen], marker="o", s=sizes, color=colour, linewidths=0, alpha=0.8, zorder=3
        )
        axes.plot(
            [],
            [],
            "o",
            color=colour,
            markersize=5,
            label=f"{label} (most {np.abs(profit[chosen]).max(initial=0.0):,.0f})",
        )
    axes.legend(loc="best", frameon=False, ncols=3, fontsize=8)


def distribution(axes: Axes, pnl: FloatColumn) -> None:
    """Trades by profit; the outermost half percents stand in the outermost bins."""
    if not len(pnl):
        return
    reach = max(float(np.abs(np.quantile(pnl, [0.005, 0.995])).max()), 1e-9)
    counts, edges = np.histogram(np.clip(pnl, -reach, reach), _BINS, (-reach, reach))
    middles = (edges[:-1] + edges[1:]) / 2
    axes.bar(middles, counts, 0.9 * (edges[1] - edges[0]), color=[LOSS if middle < 0 else GAIN for middle in middles])
    axes.axvline(float(pnl.mean()), color=INK, linewidth=1.0, linestyle="--", label=f"mean {pnl.mean():,.2f}")
    axes.axvline(float(np.median(pnl)), color=INK, linewidth=1.0, linestyle=":", label=f"median {np.median(pnl):,.2f}")
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.legend(loc="best", frameon=False, fontsize=8)


def excursions(axes: Axes, spans: Columns) -> None:
    """MAE against MFE in percent of the entry."""
    won = spans["pnl"] > 0
    for wanted, colour, label in ((won, GAIN, "with profit"), (~won, LOSS, "without profit")):
        axes.scatter(
            -spans["mae_percent"][wanted], spans["mfe_percent"][wanted], s=6, color=colour, linewidths=0,
            alpha=0.35 if len(won) > 1_000 else 0.7, label=label, rasterized=len(won) > 1_000,
        )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:.3g} %")
    axes.yaxis.set_major_formatter("{x:.3g} %")
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="best", frameon=False, fontsize=8)


def monthly_returns(curve: Columns, initial: float) -> tuple[list[int], FloatColumn]:
    """Years, and the return of each of their months as a fraction, (years, 12); not-a-number where there is none."""
    # A bar that closes at midnight belongs to the day that ends there.
    months: IntColumn = (
        (curve["time"] - 1).astype(np.int64).astype("datetime64[ms]").astype("datetime64[M]").astype("i8")
    )
    if not len(months):
        return [], np.zeros((0, 12))
    last = np.append(np.flatnonzero(np.diff(months)), len(months) - 1)
    ends = curve["equity"][last]
    before = np.concatenate(([initial], ends[:-1]))
    years = months[last] // 12 + 1970
    table = np.full((int(years[-1] - years[0]) + 1, 12), np.nan)
    table[years - years[0], months[last] % 12] = np.where(
        before > 0, ends / np.where(before > 0, before, 1.0) - 1, np.nan
    )
    return list(range(int(years[0]), int(years[-1]) + 1)), table


def months(axes: Axes, curve: Columns, initial: float) -> None:
    """Return by month and year, in percent."""
    years, table = monthly_returns(curve, initial)
    _heatmap(axes, 100 * table, MONTHS, [str(year) for year in years], "{:+.1f}")


def hourly_profit(spans: Columns) -> FloatColumn:
    """Profit by weekday (from Monday) and hour of entry, (7, 24); not-a-number where there was no entry."""
    hours = (spans["entry_time"] // _HOUR_MS).astype(np.int64)
    places = (hours // 24 + 3) % 7 * 24 + hours % 24  # 1 January 1970 was a Thursday
    counts = np.bincount(places, minlength=168)
    sums = np.bincount(places, weights=spans["pnl"], minlength=168)
    table: FloatColumn = np.where(counts > 0, sums, np.nan).reshape(7, 24)
    return table


def hours(axes: Axes, spans: Columns) -> None:
    """Profit by weekday and hour of entry, UTC."""
    _heatmap(axes, hourly_profit(spans), [str(hour) for hour in range(24)], DAYS, "")


def _heatmap(
    axes: Axes, table: FloatColumn, columns_: tuple[str, ...] | list[str], rows: tuple[str, ...] | list[str], text: str
) -> None:
    reach = float(np.nanmax(np.abs(table))) if np.isfinite(table).any() else 1.0
    axes.pcolormesh(
        table, cmap=_HEAT, vmin=-1.4 * (reach or 1.0), vmax=1.4 * (reach or 1.0), edgecolors="white", linewidth=2
    )
    axes.set_xticks(np.arange(len(columns_)) + 0.5, columns_)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.set_ylim(max(1, len(rows)), 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if text:
        for row, column in np.argwhere(np.isfinite(table)):
            axes.text(column + 0.5, row + 0.5, text.format(table[row, column]), ha="center", va="center", fontsize=8)
