"""`equity.png` and `drawdown.png`. matplotlib is imported here, when a picture is wanted, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.report.schema import Report
from adapters.result_files import put_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def write_picture(
    path: Path, report: Report, title: str, draw: Callable[[Axes], None], *, is_over_time: bool = True
) -> Path:  # fmt: skip
    """Write one picture of the run; nothing is drawn where the run has no bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415

    from adapters.report import drawing  # noqa: PLC0415

    with drawing.quiet():
        figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(f"{title} · {title_of(report)}", loc="left")
        drawing.plain_axes(axes)
        if report.equity.time.count:
            draw(axes)
            if is_over_time:
                drawing.time_axis(axes, report)
        return put_file(path, lambda place: figure.savefig(place, format="png", metadata=METADATA))
