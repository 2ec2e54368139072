"""`report.pdf`: the report as pages to print, A4 across."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from adapters.report import drawing
from adapters.report.document_diagnostics import diagnosed_pages
from adapters.report.drawing import GAIN, INK, LOSS, SOFT, Columns
from adapters.report.paper import (
    A4_INCHES,
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    figure_text,
    moment_text,
    new_page,
    new_plot,
)
from adapters.report.pictures import title_of
from adapters.report.schema import EXIT_REASONS, SIDES, Report
from adapters.result_files import put_file

_SETTINGS: Any = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left"}
_SYMBOLS_MOST = 12
_TRADES_LISTED = 15
_LINES_A_PAGE = 62


def write_document(path: Path, report: Report) -> Path:
    """Write the pages; the same report gives the same bytes. Raises UsageError where the path cannot be written."""

    def write(place: Path) -> None:
        metadata = {"Title": title_of(report), "Creator": "Tapewright", "CreationDate": None}
        with drawing.quiet(), rc_context(_SETTINGS), PdfPages(place, metadata=metadata) as pages:
            for figure in pages_of(report):
                pages.savefig(figure)

    return put_file(path, write)


def pages_of(report: Report) -> Iterator[Figure]:
    """The pages, one after another, as figures of A4 across."""
    curve, spans = drawing.columns(report.equity), drawing.columns(report.trade_spans)
    for number, made in enumerate(_contents(report, curve, spans), start=1):
        made.text(LEFT, 0.03, title_of(report), fontsize=7, color=SOFT)
        made.text(RIGHT, 0.03, f"run {report.run.id} · page {number}", fontsize=7, color=SOFT, ha="right")
        yield made


def _contents(report: Report, curve: Columns, spans: Columns) -> Iterator[Figure]:
    yield _front(report)
    if report.equity.time.count:
        yield _account(report, curve, spans)
    for index in range(min(len(report.symbols), _SYMBOLS_MOST)):
        yield _market(report, index, spans)
    if report.diagnostics:
        yield from diagnosed_pages(report)
    if len(spans["trade"]):
        yield _trades(spans)
        yield _calendar(report, curve, spans)
        yield _listed(report, spans)
    if report.stats:
        yield from _definitions(report)


# --- pages ---


def _front(report: Report) -> Figure:
    run = report.run
    figure = Figure(figsize=A4_INCHES)
    figure.text(LEFT, 0.925, title_of(report), fontsize=20, fontweight="bold", color=INK)
    facts = [
        ("from", f"{moment_text(run.start_ms)} UTC"),
        ("to", f"{moment_text(run.end_ms)} UTC"),
        ("bars", f"{sum(symbol.bars.time.count for symbol in report.symbols):,} of {run.timeframe}"),
        ("fills", run.fill_model),
        ("starting balance", f"{run.initial_cash:,.2f}"),
        ("ambiguous bars", f"{run.ambiguous_bars:,}"),
        ("run", run.id),
        ("hash", run.hash),
        ("made by", f"Tapewright {run.version}"),
    ]
    for row, (name, text) in enumerate(fact for fact in facts if fact[1]):
        x, y = LEFT + 0.46 * (row % 2), 0.89 - 0.025 * (row // 2)
        figure.text(x, y, name, fontsize=9, color=SOFT)
        figure.text(x + 0.115, y, text, fontsize=9, color=INK)
    figure.text(LEFT, 0.89 - 0.025 * 5, run.note, fontsize=8, color=SOFT)
    stats = report.stats
    groups = [name for name in ("equity", "exposure", "costs") if name in stats]
    y = 0.735
    for name in groups:
        y = _group(figure, report, name, (LEFT, 0.4), y)
    sides = [name for name in ("trades", "long", "short") if name in stats]
    if sides:
        _sides(figure, report, sides)
    return figure


def _group(figure: Figure, report: Report, group: str, box: tuple[float, float], y: float) -> float:
    """One group of figures as lines of name and value; return where the next may begin."""
    left, right = box
    figure.text(left, y, group, fontsize=9, fontweight="bold", color=INK)
    for name, value in report.stats[group].items():
        y -= 0.0178
        figure.text(left, y, name.removesuffix("_seconds").replace("_", " "), fontsize=8, color=SOFT)
        figure.text(right, y, figure_text(report, group, name, value), fontsize=8, color=INK, ha="right")
    return y - 0.03


def _sides(figure: Figure, report: Report, sides: Sequence[str]) -> None:
    rights = [0.78, 0.875, RIGHT][: len(sides)]
    y = 0.735
    figure.text(0.53, y, "trades", fontsize=9, fontweight="bold", color=INK)
    for right, side in zip(rights, sides, strict=True):
        figure.text(right, y, "all" if side == "trades" else side, fontsize=8, color=SOFT, ha="right")
    for name in report.stats[sides[0]]:
        y -= 0.0178
        figure.text(0.53, y, name.removesuffix("_seconds").replace("_", " "), fontsize=8, color=SOFT)
        for right, side in zip(rights, sides, strict=True):
            text = figure_text(report, side, name, report.stats[side][name])
            figure.text(right, y, text, fontsize=8, color=INK, ha="right")


def _account(report: Report, curve: Columns, spans: Columns) -> Figure:
    figure = new_page("Account")
    has_exposure = bool(np.isfinite(curve["exposure"]).any())
    foot = 0.27 if has_exposure else BOTTOM
    above = new_plot(figure, "Equity, in money", (0.085, 0.48, RIGHT, TOP))
    drawing.equity(above, report, curve, spans)
    middle = new_plot(figure, "Drawdown: distance below the peak so far", (0.085, foot, RIGHT, 0.435))
    drawing.drawdown(middle, curve)
    plots = [above, middle]
    if has_exposure:
        below = new_plot(figure, "Exposure: gross notional ÷ equity", (0.085, BOTTOM, RIGHT, 0.225))
        drawing.exposure(below, curve)
        plots.append(below)
    for axes in plots:
        drawing.time_axis(axes, report)
        axes.tick_params(labelbottom=axes is plots[-1])
    return figure


def _market(report: Report, index: int, spans: Columns) -> Figure:
    symbol = report.symbols[index]
    own = {name: values[spans["symbol"] == index] for name, values in spans.items()}
    figure = new_page(f"{symbol.symbol}: price and trades")
    axes = new_plot(figure, f"Close; shaded: high to low; {len(own['trade']):,} trades", (0.085, BOTTOM, RIGHT, TOP))
    drawing.price(axes, drawing.columns(symbol.bars), own)
    drawing.time_axis(axes, report)
    return figure


def _trades(spans: Columns) -> Figure:
    figure = new_page("Trades")
    left = new_plot(figure, "P&L distribution: trades by profit, in money", (0.085, 0.12, 0.49, TOP))
    left.set_ylabel("trades")
    left.set_xlabel("profit, net of fees and funding; the outermost bins hold all beyond them")
    drawing.distribution(left, spans["pnl"])
    right = new_plot(figure, "Excursions: worst and best floating profit", (0.57, 0.12, RIGHT, TOP))
    right.set_xlabel("MAE, percent of the entry, against the trade")
    right.set_ylabel("MFE, percent of the entry, with the trade")
    drawing.excursions(right, spans)
    return figure


def _calendar(report: Report, curve: Columns, spans: Columns) -> Figure:
    figure = new_page("Calendar")
    years = len(drawing.monthly_returns(curve, report.run.initial_cash)[0])
    foot = max(0.5, 0.87 - 0.07 * years)
    top = new_plot(figure, "Return by month and year, in percent", (0.085, foot, RIGHT, 0.87))
    drawing.months(top, curve, report.run.initial_cash)
    ceiling = foot - 0.11
    below = new_plot(figure, "Profit by weekday and hour of entry, UTC", (0.085, ceiling - 0.3, RIGHT, ceiling))
    drawing.hours(below, spans)
    greatest = float(np.nanmax(np.abs(drawing.hourly_profit(spans))))
    said = f"the deepest colour: {greatest:,.2f} in an hour of the week"
    figure.text(RIGHT, ceiling + 0.012, said, fontsize=8, color=SOFT, ha="right")
    return figure


def _listed(report: Report, spans: Columns) -> Figure:
    figure = new_page("Best and worst trades")
    order = np.argsort(spans["pnl"], kind="stable")
    half = min(_TRADES_LISTED, max(1, len(order) // 2))
    best = [int(place) for place in order[::-1][:half]]
    worst = [int(place) for place in order[:half] if int(place) not in best]
    y = _table(figure, report, "Best", best, spans, 0.9)
    _table(figure, report, "Worst", worst, spans, y - 0.03)
    return figure


_Cell = Callable[[int], str]


def _table(figure: Figure, report: Report, title: str, places: Sequence[int], spans: Columns, y: float) -> float:
    names = [symbol.symbol for symbol in report.symbols]
    digits = [symbol.price_decimals for symbol in report.symbols]

    def value(name: str, text: str) -> _Cell:
        return lambda i: text.format(spans[name][i]) if np.isfinite(spans[name][i]) else "–"

    def price(name: str) -> _Cell:
        return lambda i: f"{spans[name][i]:,.{digits[int(spans['symbol'][i])]}f}"

    shown: list[tuple[str, float, _Cell]] = [
        ("#", 0.09, value("trade", "{:.0f}")),
        ("symbol", 0.175, lambda i: names[int(spans["symbol"][i])][:12]),
        ("side", 0.215, lambda i: SIDES[int(spans["side"][i])]),
        ("entry, UTC", 0.32, lambda i: moment_text(spans["entry_time"][i])),
        ("price", 0.4, price("entry_price")),
        ("exit, UTC", 0.505, lambda i: moment_text(spans["exit_time"][i])),
        ("price", 0.585, price("exit_price")),
        ("size", 0.645, value("size", "{:,.6g}")),
        ("P&L", 0.72, value("pnl", "{:+,.2f}")),
        ("%", 0.77, value("pnl_percent", "{:+.2f}")),
        ("MAE %", 0.82, value("mae_percent", "{:+.2f}")),
        ("MFE %", 0.87, value("mfe_percent", "{:+.2f}")),
        ("bars", 0.91, value("bars_held", "{:,.0f}")),
        ("closed by", RIGHT, lambda i: EXIT_REASONS[int(spans["exit_reason"][i])]),
    ]
    figure.text(LEFT, y, title, fontsize=9, fontweight="bold", color=INK)
    y -= 0.024
    for head, right, _ in shown:
        figure.text(right, y, head, fontsize=7.5, color=SOFT, ha="right")
    for i in places:
        y -= 0.0225
        for head, right, cell in shown:
            colour = (GAIN if spans["pnl"][i] > 0 else LOSS) if head in ("P&L", "%") else INK
            figure.text(right, y, cell(i), fontsize=7.5, color=colour, ha="right")
    return y - 0.02


def _definitions(report: Report) -> Iterator[Figure]:
    """What every figure means, in two columns; those of one side of the trades are those of all."""
    lines: list[tuple[str, str]] = []
    for group, own in report.definitions.items():
        if group in ("long", "short") or group not in report.stats:
            continue
        title = "trades; long and short: the same of one side" if group == "trades" else group
        lines += [("", ""), ("head", title)] if lines else [("head", title)]
        for name, text in own.items():
            wrapped = textwrap.wrap(f"{name}: {text}", 105, subsequent_indent="    ")
            lines += [("name", wrapped[0]), *(("more", line) for line in wrapped[1:])]
    for begin in range(0, len(lines), 2 * _LINES_A_PAGE):
        figure = new_page("Definitions")
        for column in range(2):
            start = begin + column * _LINES_A_PAGE
            for row, (kind, text) in enumerate(lines[start : start + _LINES_A_PAGE]):
                weight = "bold" if kind == "head" else "normal"
                x, y = (LEFT, 0.515)[column], 0.9 - 0.0134 * row
                figure.text(x, y, text, fontsize=6.2, fontweight=weight, color=SOFT if kind == "more" else INK)
        yield figure
