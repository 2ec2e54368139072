"""In which step of a run an output fell: where a trade was opened, and whether inside a bar or at its open."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bars import IntColumn
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult


def steps_of(result: RunResult, rows: NDArray[Any]) -> IntColumn | None:
    """The step that each output belongs to, from 0; None where the run has no steps of bars (on books and prints)."""
    if result.step_seqs is None or not len(result.step_seqs):
        return None
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


def open_at_end(result: RunResult) -> NDArray[Any]:
    """The opening fills of positions that the run left open."""
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    closed = view_as(result.outputs, layout.TRADE_OUTPUT, layout.TRADE_VIEW)
    opened = fills[opening_rows(fills)]
    found: NDArray[Any] = opened[~np.isin(opened["trade_id"], closed["trade_id"])]
    return found
