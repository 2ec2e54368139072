"""Drawdowns one by one: where each began, how deep it went, how long it took, whether it ended."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec
import numpy as np

from engine.bars import IntColumn
from engine.figures import money
from engine.figures.equity import EquityCurve, equity_from_start, running_peak

DRAWDOWNS_LISTED = 5


class DrawdownPeriod(msgspec.Struct, frozen=True):
    """A stretch below a peak. Times in UTC ns; definitions are in `engine/figures/diagnostics.py`.

    `start_ns` is the last bar at the peak, `end_ns` the bar that regains it; None where none did.
    """

    start_ns: int
    trough_ns: int
    end_ns: int | None
    depth: float
    depth_money: Decimal
    peak: Decimal
    duration_ns: int
    to_trough_ns: int
    recovery_ns: int | None


class _Stretches(msgspec.Struct, frozen=True):
    """All stretches of a curve, as columns. `begins` and `ends` are rows of equity with the start before it."""

    values: IntColumn
    begins: IntColumn
    ends: IntColumn
    lowest: IntColumn
    durations_ns: IntColumn


def drawdown_periods(
    curve: EquityCurve, initial: int, *, most: int = DRAWDOWNS_LISTED, by: Literal["depth", "duration"] = "depth"
) -> list[DrawdownPeriod]:
    """The deepest (or the longest) drawdowns of a curve, the first of equals first; `initial` in cash units."""
    found = _stretches(curve, initial)
    if by == "depth":
        peaks = found.values[found.begins]
        keys = (peaks - found.lowest) / peaks
    else:
        keys = found.durations_ns.astype(np.float64)
    order = np.argsort(-keys, kind="stable")[:most]
    return [_period(curve, found, int(place)) for place in order]


def under_water_ns(curve: EquityCurve, initial: int) -> tuple[int, int]:
    """How long equity stood below a peak: in all, and at most at a time.

    A drawdown lasts from the last bar at its peak to the bar that regains it, or to the end.
    """
    durations_ns = _stretches(curve, initial).durations_ns
    return int(durations_ns.sum()), int(durations_ns.max(initial=0))


def _stretches(curve: EquityCurve, initial: int) -> _Stretches:
    values = equity_from_start(curve, initial)
    at_peak = np.flatnonzero(values == running_peak(values))
    ends = np.append(at_peak, len(values) - 1)[1:]
    fell = ends - at_peak > 1
    fell[-1] = ends[-1] > at_peak[-1]  # the last stretch may be a single bar that never came back
    lowest = np.minimum.reduceat(values, at_peak)[fell]
    begins, ends = at_peak[fell], ends[fell]
    return _Stretches(values, begins, ends, lowest, _times_ns(curve, ends) - _times_ns(curve, begins))


def _times_ns(curve: EquityCurve, rows: IntColumn) -> IntColumn:
    """Times of rows of equity with the start before it."""
    if not len(curve):
        return np.zeros(0, dtype=np.int64)
    times: IntColumn = np.where(rows > 0, curve.ts_ns[np.maximum(rows - 1, 0)], curve.start_ns)
    return times


def _period(curve: EquityCurve, found: _Stretches, place: int) -> DrawdownPeriod:
    begin, end = int(found.begins[place]), int(found.ends[place])
    peak, low = int(found.values[begin]), int(found.lowest[place])
    trough = begin + int(np.argmin(found.values[begin : end + 1]))
    start_ns, trough_ns, end_ns = (int(time) for time in _times_ns(curve, np.array([begin, trough, end])))
    has_ended = int(found.values[end]) >= peak
    return DrawdownPeriod(
        start_ns=start_ns,
        trough_ns=trough_ns,
        end_ns=end_ns if has_ended else None,
        depth=(peak - low) / peak,
        depth_money=money.from_units(peak - low, curve.cash_decimals),
        peak=money.from_units(peak, curve.cash_decimals),
        duration_ns=end_ns - start_ns,
        to_trough_ns=trough_ns - start_ns,
        recovery_ns=end_ns - trough_ns if has_ended else None,
    )
