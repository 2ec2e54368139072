"""`equity.png` and `drawdown.png`. matplotlib is imported here, when a picture is wanted, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.report.schema import Report
from adapters.result_files import put_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES, DPI = (12.0, 5.0), 120
METADATA = {"Software": "Tapewright"}


def write_pictures(folder: Path, report: Report) -> list[Path]:
    """Write both pictures into an existing folder; raises UsageError where it cannot be written."""
    from adapters.report import drawing  # noqa: PLC0415 - matplotlib is a slow import that others need not pay

    curve, spans = drawing.columns(report.equity), drawing.columns(report.trade_spans)
    return [
        write_picture(folder / "equity.png", report, "Equity", lambda axes: drawing.equity(axes, report, curve, spans)),
        write_picture(folder / "drawdown.png", report, "Drawdown", lambda axes: drawing.drawdown(axes, curve)),
    ]


def title_of(report: Report) -> str:
    """What the report is of: symbols, strategies, timeframe."""
    names = ", ".join(symbol.symbol for symbol in report.symbols)
    return f"{names} · {', '.join(report.run.strategies)} · {report.run.timeframe}"


def write_picture(path: Path, report: Report, title: str, draw: Callable[[Axes], None]) -> Path:
    """Write one picture of the run over time; nothing is drawn where the run has no bars."""
    from adapters.report import drawing  # noqa: PLC0415 - as above

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_title(f"{title} · {title_of(report)}", loc="left")
        drawing.plain_axes(axes)
        if report.equity.time.count:
            draw(axes)
            drawing.time_axis(axes, report)

    return write_figure(path, fill)


def write_plots(folder: Path, report: Report) -> list[Path]:
    """Write the plots of a journal: equity with drawdown, price with trades, profits, profit over time."""
    from adapters.report import drawing  # noqa: PLC0415 - as above

    curve, spans = drawing.columns(report.equity), drawing.columns(report.trade_spans)
    bars, title = drawing.columns(report.symbols[0].bars), title_of(report)

    def above_and_below(figure: Figure, titles: Sequence[str], heights: Sequence[float]) -> tuple[Axes, Axes]:
        above, below = figure.subplots(2, 1, height_ratios=heights)
        for axes, text in zip((above, below), titles, strict=True):
            axes.set_title(f"{text} · {title}", loc="left", fontsize=11)
            drawing.plain_axes(axes)
        return above, below

    def account(figure: Figure) -> None:
        above, below = above_and_below(figure, ("Equity", "Drawdown"), (2.2, 1.0))
        drawing.equity(above, report, curve, spans)
        drawing.drawdown(below, curve)
        for axes in (above, below):
            drawing.time_axis(axes, report)

    def profits(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_title(f"P&L distribution, trades by profit · {title}", loc="left")
        drawing.plain_axes(axes)
        drawing.distribution(axes, spans["pnl"])

    def calendar(figure: Figure) -> None:
        years = len(drawing.monthly_returns(curve, report.run.initial_cash)[0])
        titles = ("Return by month and year, in percent", "Profit by weekday and hour of entry, UTC")
        above, below = above_and_below(figure, titles, (max(1.0, 0.6 * years), 2.2))
        drawing.months(above, curve, report.run.initial_cash)
        drawing.hours(below, spans)

    return [
        write_figure(folder / "equity.png", account),
        write_picture(folder / "trades.png", report, "Price and trades", lambda axes: drawing.price(axes, bars, spans)),
        write_figure(folder / "distribution.png", profits),
        write_figure(folder / "heatmap.png", calendar),
    ]


def write_figure(path: Path, fill: Callable[[Figure], None]) -> Path:
    """Write what `fill` puts on an empty figure."""
    from adapters.report import drawing  # noqa: PLC0415 - as above

    with drawing.quiet():
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        return put_file(path, lambda place: figure.savefig(place, format="png", metadata=METADATA))
