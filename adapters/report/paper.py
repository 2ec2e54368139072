"""A page of `report.pdf`: its size, its axes, and figures as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adapters.report import drawing
from adapters.report.drawing import INK
from adapters.report.schema import Report
from engine.figures.metrics import JsonScalar

A4_INCHES = (11.69, 8.27)
LEFT, RIGHT, TOP, BOTTOM = 0.055, 0.965, 0.9, 0.095
_UNIT = re.compile(r" Unit: ([^.]+)\.")


def new_page(title: str) -> Figure:
    """An empty page with its title."""
    figure = Figure(figsize=A4_INCHES)
    figure.text(LEFT, 0.945, title, fontsize=13, fontweight="bold", color=INK)
    return figure


def new_plot(figure: Figure, title: str, box: tuple[float, float, float, float]) -> Axes:
    """Axes in a box of the page: left, bottom, right, top."""
    left, bottom, right, top = box
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    axes.set_title(title, color=INK)
    drawing.plain_axes(axes)
    return axes


def figure_text(report: Report, group: str, name: str, value: JsonScalar) -> str:
    """A figure with its unit, as its definition names it."""
    if value is None:
        return "–"
    found = _UNIT.search(report.definitions.get(group, {}).get(name, ""))
    unit = found[1] if found else ""
    if isinstance(value, str) and unit == "time":
        return value.replace("T", " ").replace(".000Z", "")
    number = float(value)
    match unit:
        case "fraction":
            text = f"{100 * number:,.2f} %"
        case "percent":
            text = f"{number:,.3f} %"
        case "count":
            text = f"{number:,.0f}"
        case "seconds":
            text = duration_text(number)
        case "money":
            text = f"{number:,.2f}"
        case "R" | "days" | "bars":
            text = f"{number:,.2f} {unit}"
        case _:
            text = f"{number:,.3f}"
    return text.replace("-", "−")


def duration_text(seconds: float) -> str:
    """A span in its two greatest units."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def moment_text(ms: float) -> str:
    """A time in UTC to the minute."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
