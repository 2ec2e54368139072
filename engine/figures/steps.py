"""In which step of a run an output fell: where a trade was opened, and whether inside a bar or at its open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bars import IntColumn
from engine.figures.trades import Trade
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult


def steps_of(result: RunResult, rows: NDArray[Any]) -> IntColumn | None:
    """The step that each output belongs to, from 0; None where the run has no steps of bars (on books and prints)."""
    if result.step_seqs is None:
        return None
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    steps = np.searchsorted(result.step_seqs, rows["seq"], side="left")
    found: IntColumn = np.minimum(steps, len(result.step_seqs) - 1)
    return found


def step_times_ns(result: RunResult, steps: IntColumn) -> IntColumn:
    """When each step ended: the close of its bars, in UTC ns."""
    times: IntColumn = result.samples[steps, 0]
    return times


def opening_rows(fills: NDArray[Any]) -> IntColumn:
    """Which of the fills opened a trade: the first of each, in the order of the trades' numbers."""
    numbers, first = np.unique(fills["trade_id"], return_index=True)
    found: IntColumn = first[numbers > 0].astype(np.int64)
    return found


def trade_steps(result: RunResult, trades: Sequence[Trade]) -> tuple[IntColumn, IntColumn] | None:
    """The steps in which each trade was opened and closed; None where the run has no steps of bars."""
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    opened = fills[opening_rows(fills)]
    closed = view_as(result.outputs, layout.TRADE_OUTPUT, layout.TRADE_VIEW)
    closed = closed[np.argsort(closed["trade_id"], kind="stable")]
    opened_at, closed_at = steps_of(result, opened), steps_of(result, closed)
    if opened_at is None or closed_at is None:
        return None
    numbers = np.array([trade.trade_id for trade in trades], dtype=np.int64)
    return (
        opened_at[np.searchsorted(opened["trade_id"], numbers)],
        closed_at[np.searchsorted(closed["trade_id"], numbers)],
    )


def open_at_end(result: RunResult) -> NDArray[Any]:
    """The opening fills of positions that the run left open."""
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    closed = view_as(result.outputs, layout.TRADE_OUTPUT, layout.TRADE_VIEW)
    opened = fills[opening_rows(fills)]
    found: NDArray[Any] = opened[~np.isin(opened["trade_id"], closed["trade_id"])]
    return found
