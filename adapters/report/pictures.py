"""`equity.png` and `drawdown.png`. matplotlib is imported here, when a picture is wanted, and nowhere else."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adapters.report.columns import unpack
from adapters.report.schema import Report, columns_of
from adapters.result_files import put_file
from engine.bars import FloatColumn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS_MOST = 4_000
_INCHES, _DPI = (12.0, 5.0), 120
_FLOATING, _CLOSED, _LOSS = "#2962ff", "#f57c00", "#d32f2f"


def write_pictures(folder: Path, report: Report) -> list[Path]:
    """Write both pictures into an existing folder; raises UsageError where it cannot be written."""
    columns = columns_of(report.equity)
    ts_ms, equity, drawdown = (unpack(columns, name) for name in ("time", "equity", "drawdown"))
    return [
        _write(folder / "equity.png", report, "Equity", lambda axes: _equity(axes, report, ts_ms, equity)),
        _write(folder / "drawdown.png", report, "Drawdown", lambda axes: _drawdown(axes, ts_ms, drawdown)),
    ]


def closed_equity(report: Report) -> tuple[FloatColumn, FloatColumn]:
    """The starting balance with the closed trades' profit added at each exit: times in ms, money."""
    spans = columns_of(report.trade_spans)
    times = np.concatenate(([report.run.start_ms], unpack(spans, "exit_time"), [report.run.end_ms]))
    pnl = np.concatenate(([report.run.initial_cash], unpack(spans, "pnl"), [0.0]))
    return times, np.cumsum(pnl)


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


def _dates(ts_ms: FloatColumn) -> FloatColumn:
    days: FloatColumn = ts_ms / 86_400_000
    return days


def _equity(axes: Axes, report: Report, ts_ms: FloatColumn, equity: FloatColumn) -> None:
    times, values = closed_equity(report)
    axes.step(_dates(times), values, where="post", color=_CLOSED, linewidth=1.4, label="closed trades")
    times, values = thinned(ts_ms, equity)
    axes.plot(_dates(times), values, color=_FLOATING, linewidth=0.8, label="floating equity")
    axes.axhline(report.run.initial_cash, color="#888888", linewidth=0.8, linestyle=":")
    axes.yaxis.set_major_formatter("{x:,.0f}" if np.ptp(equity) >= 50 else "{x:,.4g}")
    axes.legend(loc="best", frameon=False)


def _drawdown(axes: Axes, ts_ms: FloatColumn, drawdown: FloatColumn) -> None:
    times, values = thinned(ts_ms, -100.0 * drawdown)
    axes.fill_between(_dates(times), values, 0.0, color=_LOSS, alpha=0.25, linewidth=0)
    axes.plot(_dates(times), values, color=_LOSS, linewidth=0.9)
    axes.yaxis.set_major_formatter("{x:.3g} %")
    axes.set_ylim(top=0.0)


def _write(path: Path, report: Report, title: str, draw: Callable[[Axes], None]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib's own, of fonts and of what it will change
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        names = ", ".join(symbol.symbol for symbol in report.symbols)
        axes.set_title(f"{title} · {names} · {', '.join(report.run.strategies)} · {report.run.timeframe}", loc="left")
        if report.equity.time.count:
            draw(axes)
            axes.set_xlim(report.run.start_ms / 86_400_000, report.run.end_ms / 86_400_000)
            locator = AutoDateLocator()  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.grid(visible=True, alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return put_file(path, lambda place: figure.savefig(place, format="png", metadata={"Software": "Tapewright"}))
