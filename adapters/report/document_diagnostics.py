"""The pages of `report.pdf` on what figures alone do not show: regimes, drawdowns one by one, where money went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure

from adapters.report import drawing
from adapters.report.drawing import GAIN, INK, LOSS, SOFT
from adapters.report.paper import LEFT, RIGHT, TOP, duration_text, new_page, new_plot
from adapters.report.schema import Report

_ROWS_A_PAGE = 26
_COSTS = ("fees", "spread", "slippage", "funding")


def diagnosed_pages(report: Report) -> Iterator[Figure]:
    """Regimes of each symbol, then drawdowns and costs."""
    rows = report.diagnostics.get("regimes", {}).get("rows", [])
    for symbol in report.symbols:
        own = [row for row in rows if row["symbol"] == symbol.symbol]
        if own and symbol.regimes is not None and symbol.bars.time.count:
            yield _regimes(report, symbol.symbol, drawing.columns(symbol.regimes), own)
    periods = report.diagnostics.get("drawdowns", {}).get("deepest", [])
    if periods or "costs" in report.stats:
        yield _drawdowns(report, periods)


def _regimes(report: Report, symbol: str, regimes: drawing.Columns, rows: Sequence[dict[str, Any]]) -> Figure:
    figure = new_page(f"{symbol}: regimes")
    window = report.diagnostics["regimes"]["window_bars"]
    title = f"The market by the {window:,} bars before: green up, grey sideways, red down; the deeper the more volatile"
    strip = new_plot(figure, title, (LEFT, 0.82, RIGHT, TOP - 0.03))
    drawing.regime_strip(strip, regimes, report.run.end_ms)
    drawing.time_axis(strip, report)
    heads = (
        "trend",
        "volatility",
        "of bars",
        "in market",
        "trades",
        "won",
        "net P&L",
        "a trade",
        "profit factor",
        "of P&L",
    )
    rights = (0.13, 0.23, 0.32, 0.41, 0.49, 0.57, 0.69, 0.79, 0.88, RIGHT)
    cells = [
        (
            row["trend"], row["volatility"], _share(row["share_of_bars"]), _share(row["time_in_market"]),
            f"{row['trades']:,}", _share(_won(row)), _money(row["net_pnl"]),
            _money(row["expectancy"]), "–" if row["profit_factor"] is None else f"{row['profit_factor']:.2f}",
            _share(row["pnl_share"]),
        )
        for row in rows[:_ROWS_A_PAGE]
    ]  # fmt: skip
    _table(figure, heads, rights, cells, 0.73, coloured=("net P&L", "a trade"))
    return figure


def _drawdowns(report: Report, periods: Sequence[dict[str, Any]]) -> Figure:
    figure = new_page("Drawdowns and costs")
    figure.text(LEFT, 0.88, "Deepest drawdowns", fontsize=10, color=INK)
    heads = ("depth", "in money", "from, UTC", "trough, UTC", "regained, UTC", "to the trough", "in all")
    rights = (0.13, 0.26, 0.41, 0.56, 0.71, 0.84, RIGHT)
    cells = [
        (
            f"−{100 * each['depth']:.2f} %", f"−{float(each['depth_money']):,.2f}", _moment(each["start_time"]),
            _moment(each["trough_time"]), _moment(each["end_time"]), duration_text(each["to_trough_seconds"]),
            duration_text(each["duration_seconds"]),
        )
        for each in periods[:8]
    ]  # fmt: skip
    _table(figure, heads, rights, cells, 0.845)
    own = report.stats.get("costs", {})
    total, net = own.get("total"), report.stats.get("equity", {}).get("net_profit")
    if total is not None and net is not None:
        axes = new_plot(
            figure, "Costs: what trading made, what it cost, what was left, in money", (0.2, 0.1, RIGHT, 0.5)
        )
        paid = {name: float(own[name] or 0) for name in _COSTS}
        drawing.costs(axes, float(net) + float(total), paid, float(net))
    return figure


def _table(
    figure: Figure, heads: Sequence[str], rights: Sequence[float], rows: Sequence[Sequence[str]], y: float,
    coloured: Sequence[str] = (),
) -> None:  # fmt: skip
    for head, right in zip(heads, rights, strict=True):
        figure.text(right, y, head, fontsize=8, color=SOFT, ha="right")
    for row in rows:
        y -= 0.026
        for head, right, cell in zip(heads, rights, row, strict=True):
            colour = (LOSS if cell.startswith("−") else GAIN) if head in coloured and cell != "–" else INK
            figure.text(right, y, cell, fontsize=8, color=colour, ha="right")


def _won(row: dict[str, Any]) -> float | None:
    return row["wins"] / row["trades"] if row["trades"] else None


def _share(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:,.1f} %".replace("-", "−")


def _money(amount: str | None) -> str:
    return "–" if amount is None else f"{float(amount):+,.2f}".replace("-", "−")


def _moment(text: str | None) -> str:
    return "not yet" if text is None else text[:16].replace("T", " ")
